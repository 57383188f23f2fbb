"""Keeping gradients from exploding: limit their common norm, or each element. Call it between backward and step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...engine import TensorCore, apply_raw, get_default_dtype, here, touch, wrap
from ...engine.tensor import note_read
from ...errors import DtypeError, InplaceError, ShapeError
from ...functions.tensor import Tensor
from ...kernels import clipping

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _tensors(tensors: Tensor | Iterable[Tensor]) -> list[Any]:
    if isinstance(tensors, TensorCore):
        return [tensors]
    if not isinstance(tensors, Iterable):
        way_out = "its .parameters()" if hasattr(tensors, "parameters") else "model.parameters()"
        raise DtypeError(
            f"gradients of Tensors are clipped, not those of a {type(tensors).__name__}.{here()}\n  Pass {way_out}."
        )
    return list(tensors)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Any]:
    found = []
    for one in _tensors(parameters):
        touch(one, "read")
        if one._grad is not None:
            found.append(one._grad)
    return found


def _check_writable(gradients: list[Any]) -> None:
    for gradient in gradients:
        if not gradient.array.flags.writeable:
            raise InplaceError(f"a gradient on read-only memory cannot be clipped in place.{here()}")


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of several tensors, as if they were one vector.

    Args:
        tensors: the tensors, usually gradients; 0 for none of them.
        norm_type: the p of the p-norm, ``inf`` among them.
        error_if_nonfinite: raise where the norm is NaN or infinite.
        foreach: without effect; PyTorch has it.

    >>> import autograd_ff as af
    >>> af.nn.utils.get_total_norm([af.tensor([3.0]), af.tensor([[4.0]])])
    tensor(5.)
    """
    arrays = tuple(one.array for one in _tensors(tensors))
    if not arrays:
        return wrap(np.zeros((), get_default_dtype()))
    norm = wrap(apply_raw(clipping.gradient_norm, arrays, {"norm_type": float(norm_type)}))
    if error_if_nonfinite:
        note_read(norm, "item")
        if not np.isfinite(norm.array):
            bad = sum(not np.isfinite(array).all() for array in arrays)
            raise ShapeError(
                f"the norm of the gradients is {norm.array.item()}, so they cannot be clipped; {bad} of {len(arrays)} hold a "
                f"NaN or an infinity.{here()}\n  Find the operation that made the first one with detect_anomaly()."
            )
    return norm


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiply the gradients by min(1, max_norm / (total_norm + 1e-6)), in place.

    Args:
        parameters: the tensors whose ``.grad`` to write; those without one are left out.
        max_norm: the norm that they shall have at most.
        total_norm: the norm that they have, from `get_total_norm`.
        foreach: without effect; PyTorch has it.

    >>> import autograd_ff as af
    >>> w = af.zeros(2, requires_grad=True)
    >>> (w * af.tensor([30.0, 40.0])).sum().backward()
    >>> norm = af.nn.utils.get_total_norm([w.grad])
    >>> af.nn.utils.clip_grads_with_norm_([w], 5.0, norm)
    >>> w.grad
    tensor([3., 4.])
    """
    gradients = _gradients(parameters)
    _check_writable(gradients)
    for gradient in gradients:
        apply_raw(clipping.scale_gradient, (gradient.array, total_norm.array), {"max_norm": float(max_norm)})


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients in place so that their common norm is at most ``max_norm``.

    Args:
        parameters: the tensors whose ``.grad`` to write; those without one are left out.
        max_norm: the norm that they shall have at most.
        norm_type: the p of the p-norm, ``inf`` among them.
        error_if_nonfinite: raise where the norm is NaN or infinite, and leave the gradients as they are.
        foreach: without effect; PyTorch has it.

    Returns:
        The norm before clipping.

    Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks".

    >>> import autograd_ff as af
    >>> w = af.zeros(2, requires_grad=True)
    >>> (w * af.tensor([30.0, 40.0])).sum().backward()
    >>> af.nn.utils.clip_grad_norm_([w], max_norm=5.0)
    tensor(50.)
    >>> w.grad
    tensor([3., 4.])
    """
    listed = _tensors(parameters)
    norm = get_total_norm(_gradients(listed), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, norm)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value], in place.

    >>> import autograd_ff as af
    >>> w = af.zeros(2, requires_grad=True)
    >>> (w * af.tensor([30.0, -0.5])).sum().backward()
    >>> af.nn.utils.clip_grad_value_([w], 1.0)
    >>> w.grad.tolist()
    [1.0, -0.5]
    """
    gradients = _gradients(parameters)
    _check_writable(gradients)
    for gradient in gradients:
        apply_raw(clipping.clip_gradient, (gradient.array,), {"clip_value": float(clip_value)})
