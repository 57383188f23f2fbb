"""Normalisation: numbers less their mean, over their standard deviation.

They differ in which numbers are normalised together: the last dimensions of each sample (`layer_norm`, and `rms_norm`
without the mean), a group of its channels (`group_norm`), or a channel over the whole batch (`batch_norm`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import TensorCore, apply, apply_raw, here, no_grad, scope
from ..engine.core_ops import cast
from ..errors import DtypeError, ShapeError
from ..kernels import batch_norm as by_batch
from ..kernels import layer_norm as by_row
from ..rules import elementwise

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["batch_norm", "group_norm", "layer_norm", "rms_norm"]

_F16, _F32 = np.dtype(np.float16), np.dtype(np.float32)


# ---------------------------------------------------------------- what they share


def as_shape(name: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The sides of the dimensions that are normalised, at least one; a whole number stands for one side."""
    given = (normalized_shape,) if isinstance(normalized_shape, (int, np.integer)) else tuple(normalized_shape)
    if not given or not all(isinstance(side, (int, np.integer)) and side >= 0 for side in given):
        raise ShapeError(
            f"{name}: normalized_shape is a side, or a sequence of one or more, got {normalized_shape!r}{here()}"
        )
    return tuple(int(side) for side in given)


def _shape_of(name: str, input: Any) -> tuple[int, ...]:
    if not isinstance(input, TensorCore):
        raise DtypeError(f"the input of {name} must be a Tensor, got {type(input).__name__}; use tensor(...).{here()}")
    if input.array.dtype.kind not in "fbiu":
        raise DtypeError(f"{name} normalises real numbers, not {input.array.dtype}{here()}")
    return tuple(input.array.shape)


def _check_parameters(name: str, shape: tuple[int, ...], what: str, **parameters: Any) -> None:
    for role, parameter in parameters.items():
        if parameter is not None and tuple(np.shape(getattr(parameter, "array", parameter))) != shape:
            found = tuple(np.shape(getattr(parameter, "array", parameter)))
            raise ShapeError(f"{name}: the {role} has shape {found}, and {what} takes one of shape {shape}.{here()}")


def _normalized(name: str, input: Any, normalized_shape: int | Sequence[int], **parameters: Any) -> int:
    """How many of the last dimensions are normalised, after all shapes have been checked."""
    shape, inner = _shape_of(name, input), as_shape(name, normalized_shape)
    if shape[-len(inner) :] != inner:
        message = (
            f"{name} over {inner} takes an input whose last dimensions are these, got one of shape {shape}.{here()}"
        )
        if len(inner) == 1 and shape.count(inner[0]) == 1:
            dim = shape.index(inner[0])
            message += f"\n  Dimension {dim} has that side; make it the last: x.movedim({dim}, -1)"
        elif shape and math.prod(inner) == shape[-1]:
            message += f"\n  Its last dimension holds as many numbers; unflatten it: x.unflatten(-1, {inner})"
        raise ShapeError(message)
    _check_parameters(name, inner, f"normalized_shape {inner}", **parameters)
    return len(inner)


def _across(parameter: Tensor, ndim: int) -> Tensor:
    """One number for each channel, (C,), in a shape that broadcasts against (N, C, …)."""
    return parameter.reshape(-1, *[1] * (ndim - 2)) if ndim > 2 else parameter


# ---------------------------------------------------------------- of each sample


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - mean) / √(var + eps) * weight + bias``, with mean and variance over the last dimensions.

    Args:
        input: (…, *normalized_shape).
        normalized_shape: the sides of the last dimensions, which are normalised together; one number for the last alone.
        weight: of shape ``normalized_shape``, or None for 1.
        bias: of shape ``normalized_shape``, or None for 0.
        eps: keeps the root from zero. The variance is the biased one, the mean of the squares.

    Returns:
        The shape of ``input``.

    Raises:
        ShapeError: the last dimensions are others, or those of the parameters.

    Source: Ba, Kiros and Hinton, 2016, "Layer normalization".

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.layer_norm(af.tensor([[1.0, 3.0], [0.0, 10.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    dims = _normalized("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return apply(by_row.layer_norm, (input, weight, bias), {"dims": dims, "eps": eps})


def rms_norm(
    input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """``x / √(mean(x²) + eps) * weight``, with the mean over the last dimensions.

    Args:
        input: (…, *normalized_shape).
        normalized_shape: the sides of the last dimensions, which are normalised together; one number for the last alone.
        weight: of shape ``normalized_shape``, or None for 1.
        eps: keeps the root from zero; None for the distance from 1 to the next number of the input's dtype (of float32
            for float16, which computes in it).

    Returns:
        The shape of ``input``.

    Raises:
        ShapeError: the last dimensions are others, or those of the weight.

    Source: Zhang and Sennrich, 2019, "Root mean square layer normalization".

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.rms_norm(af.tensor([2.0, -2.0, 2.0, 2.0]), (4,))
    tensor([ 1., -1.,  1.,  1.])
    """
    dims = _normalized("rms_norm", input, normalized_shape, weight=weight)
    if eps is None:
        eps = float(np.finfo(np.float64 if input.array.dtype == np.float64 else np.float32).eps)
    return apply(by_row.rms_norm, (input, weight), {"dims": dims, "eps": eps})


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """``(x - mean) / √(var + eps) * weight + bias``, with mean and variance over each group of a sample's channels.

    Args:
        input: (N, C, …).
        num_groups: into how many groups the C channels are divided, neighbours together.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        eps: keeps the root from zero.

    Returns:
        The shape of ``input``.

    Raises:
        ShapeError: the groups do not divide the channels, or the shapes of the parameters are others.

    Source: Wu and He, 2018, "Group normalization".

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.group_norm(af.tensor([[1.0, 3.0, 0.0, 10.0]]), 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    shape = _shape_of("group_norm", input)
    if len(shape) < 2:
        raise ShapeError(f"group_norm takes an input of shape (N, C, …), got {shape}.{here()}")
    samples, channels = shape[:2]
    if num_groups < 1 or channels % num_groups:
        raise ShapeError(
            f"group_norm divides the channels, dimension 1, into groups of one size, and {channels} channels (input "
            f"{shape}) do not make {num_groups} groups.{here()}"
        )
    _check_parameters("group_norm", (channels,), f"an input of shape {shape}", weight=weight, bias=bias)
    if math.prod(shape) // num_groups == 1:
        raise ShapeError(f"group_norm of one number a group, and one sample, is 0 whatever it was: {shape}{here()}")
    with scope("composite", "group_norm", "group_norm"):
        size = math.prod(shape[1:]) // num_groups
        rows = input.reshape(samples, num_groups, size)
        out = apply(by_row.layer_norm, (rows, None, None), {"dims": 1, "eps": eps}).reshape(*shape)
        if weight is not None:
            out = apply(elementwise.multiply, (out, _across(weight, len(shape))))
        if bias is not None:
            out = apply(elementwise.add, (out, _across(bias, len(shape))))
        return out


# ---------------------------------------------------------------- over the batch


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    unbiased: bool = True,
) -> Tensor:
    """``(x - mean) / √(var + eps) * weight + bias``, with mean and variance of each channel over the batch.

    In training they are the batch's own, and the running ones, where given, are overwritten with
    ``(1 - momentum) * running + momentum * new``, the new variance being the unbiased one (n / (n - 1) of that which
    normalises) unless told otherwise. Outside of training they are the running ones.

    Args:
        input: (N, C, …).
        running_mean: (C,), or None where training keeps none.
        running_var: (C,), or None where training keeps none.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        training: whether the batch's own statistics are used.
        momentum: the part of the new in the running statistics.
        eps: keeps the root from zero.
        unbiased: whether the unbiased variance goes into the running one, as in PyTorch, or that which normalises, as in
            Keras. Only the latter takes a single number a channel.

    Returns:
        The shape of ``input``.

    Raises:
        ShapeError: training with a single number a channel, shapes that do not fit, or no running statistics where they
            are needed.

    Source: Ioffe and Szegedy, 2015, "Batch normalization".

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> mean, var = af.zeros(1), af.ones(1)
    >>> F.batch_norm(af.tensor([[1.0], [3.0]]), mean, var, training=True, eps=0.0).tolist()
    [[-1.0], [1.0]]
    >>> mean
    tensor([0.2])
    """
    shape = _shape_of("batch_norm", input)
    if len(shape) < 2:
        raise ShapeError(
            f"batch_norm takes an input of shape (N, C, …), got {shape}.{here()}\n  A single sample has no batch to be "
            "normalised over: x.unsqueeze(0) makes it a batch of one, which eval mode takes."
        )
    channels = shape[1:2]
    _check_parameters(
        "batch_norm",
        channels,
        f"an input of shape {shape}, whose dimension 1 holds the channels,",
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
    )
    if training:
        return _with_batch_statistics(input, running_mean, running_var, weight, bias, momentum, eps, unbiased)
    if running_mean is None or running_var is None:
        raise ShapeError(f"batch_norm outside of training needs running_mean and running_var.{here()}")
    with scope("composite", "batch_norm", "batch_norm"):
        factor = apply(elementwise.add, (running_var, eps)).rsqrt()
        if weight is not None:
            factor = apply(elementwise.multiply, (factor, weight))
        centred = apply(elementwise.subtract, (input, _across(running_mean, len(shape))))
        out = apply(elementwise.multiply, (centred, _across(factor, len(shape))))
        return out if bias is None else apply(elementwise.add, (out, _across(bias, len(shape))))


def _with_batch_statistics(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
    unbiased: bool,
) -> Tensor:
    shape = input.array.shape
    count = shape[0] * math.prod(shape[2:])
    if count == 1 and unbiased:
        raise ShapeError(
            f"batch_norm in training takes more than one number a channel, got an input of shape {shape}: one number "
            f"less its own mean is 0, whatever it was.{here()}\n  Use a larger batch (drop_last=True drops an incomplete "
            "one), or eval mode."
        )
    with scope("composite", "batch_norm", "batch_norm"):
        mean = var = None
        # The statistics of an empty batch would be NaN, and stay in the running ones.
        if count and (running_mean is not None or running_var is not None):
            with no_grad():
                # Those of float16 are of the float32 that it computes in.
                wide = apply(cast, (input,), {"dtype": _F32}) if input.array.dtype == _F16 else input
                mean, var = apply(by_batch.batch_statistics, (wide,))
            correction = count / (count - 1) if unbiased else 1.0
            for running, new, factor in ((running_mean, mean, 1.0), (running_var, var, correction)):
                if running is not None:
                    options = {"momentum": momentum, "factor": factor}
                    apply_raw(by_batch.update_running_statistic, (running.array, new.array), options)
        return apply(by_batch.batch_norm, (input, weight, bias, mean, var), {"eps": eps})
