"""Gradients on request: `grad` and `backward`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..engine import Node, TensorCore, constant, here, run_backward, warn, wrap
from ..engine.site import at
from ..errors import DtypeError, GraphError, ShapeError
from ..functions.tensor import Tensor

__all__ = ["backward", "grad"]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, (TensorCore, np.ndarray)) else (value,)


def _targets(inputs: Any) -> tuple[Any, ...]:
    targets = _as_tuple(inputs)
    for position, target in enumerate(targets):
        if not isinstance(target, TensorCore):
            raise DtypeError(
                f"gradients are taken by Tensors, and input {position} is a {type(target).__name__}{here()}"
            )
    return targets


def _roots(outputs: tuple[Any, ...], gradients: tuple[Any, ...]) -> tuple[list[Node], list[Any]]:
    if gradients and len(gradients) != len(outputs):
        raise GraphError(f"{len(outputs)} outputs need {len(outputs)} upstream gradients, got {len(gradients)}{here()}")
    nodes: list[Node] = []
    seeds: list[Any] = []
    for position, output in enumerate(outputs):
        if not isinstance(output, TensorCore):
            raise DtypeError(f"gradients start at a Tensor, not at a {type(output).__name__}{here()}")
        if output.node is None:
            raise GraphError(
                "this tensor does not require grad: nothing that it was computed from does, or it was computed under "
                f"no_grad or after detach().{here()}\n"
                "  Make the inputs with requires_grad=True before computing it."
            )
        if output.view_of is not None:
            output.view_of.check()
        given = gradients[position] if gradients else None
        if given is None:
            if output.array.size != 1:
                raise GraphError(
                    f"a gradient needs one number to start from, and this tensor has shape {output.array.shape}."
                    f"{at(output.node.site, 'computed at')}{here()}\n"
                    "  Reduce it (x.sum(), x.mean()), or pass the upstream gradient: backward(gradient)."
                )
            seed: Any = wrap(constant(np.ones_like(output.array)))
        else:
            seed = given if isinstance(given, TensorCore) else wrap(np.asarray(given))
            if seed.array.dtype.kind not in "buifc":
                raise DtypeError(f"an upstream gradient is a Tensor, not a {type(given).__name__}{here()}")
            if seed.array.shape != output.array.shape:
                raise ShapeError(
                    f"an upstream gradient of shape {seed.array.shape} for an output of shape {output.array.shape}{here()}"
                )
            if seed.array.dtype != output.array.dtype:
                seed = seed.to(output.array.dtype)
        nodes.append(output.node)
        seeds.append(seed)
    return nodes, seeds


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of ``tensors`` to the ``.grad`` of the leaves that they depend on.

    See `Tensor.backward`; this one takes several tensors.

    >>> import autograd_ff as af
    >>> x = af.tensor([2.0, 3.0], requires_grad=True)
    >>> af.autograd.backward([x[0] ** 2, x[1] ** 2])
    >>> x.grad
    tensor([4., 6.])
    """
    outputs = _as_tuple(tensors)
    nodes, seeds = _roots(outputs, _as_tuple(grad_tensors))
    keep = create_graph if retain_graph is None else retain_graph
    if create_graph:
        warn(
            "backward(create_graph=True) stores in .grad a gradient whose graph leads back to the parameters, a "
            "reference cycle that lives until .grad is reset to None; autograd.grad(..., create_graph=True) has none."
        )
    if inputs is None:
        run_backward(nodes, seeds, retain_graph=keep, create_graph=create_graph)
        return
    targets = _targets(inputs)
    if not targets:
        raise GraphError(f"backward(inputs=()) asks for no gradient at all{here()}")
    for tensor in targets:
        if tensor.node is None:
            raise GraphError(f"one of the inputs does not require grad{here()}")
    run_backward(
        nodes, seeds, wanted=[tensor.node for tensor in targets], retain_graph=keep, create_graph=create_graph,
        accumulate=targets,
    )  # fmt: skip


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``, without touching any ``.grad``.

    Args:
        outputs: what to differentiate; each of one element, or with an upstream gradient.
        inputs: with respect to what; any tracked tensors, leaves or not.
        grad_outputs: upstream gradients, one for each output.
        retain_graph: keep what the graph saved; ``create_graph`` by default.
        create_graph: record the computation of the gradients, so that they can be differentiated in turn.
        allow_unused: return None for an input on which no output depends, instead of raising.
        materialize_grads: return zeros instead of None there.

    Returns:
        One gradient for each input, of its shape and dtype.

    >>> from autograd_ff import tensor
    >>> x = tensor(2.0, requires_grad=True)
    >>> (dx,) = grad(x**3, x, create_graph=True)
    >>> (ddx,) = grad(dx, x)
    >>> dx.item(), ddx.item()
    (12.0, 12.0)
    """
    targets = _targets(inputs)
    nodes, seeds = _roots(_as_tuple(outputs), _as_tuple(grad_outputs))
    for position, tensor in enumerate(targets):
        if tensor.node is None:
            raise GraphError(
                f"input {position} does not require grad.{here()}\n  Make it with requires_grad=True before it is used."
            )
    keep = create_graph if retain_graph is None else retain_graph
    wanted = [tensor.node for tensor in targets]
    found = run_backward(nodes, seeds, wanted=wanted, retain_graph=keep, create_graph=create_graph)
    results: list[Tensor | None] = []
    for position, tensor in enumerate(targets):
        gradient = found.get(tensor.node)
        if gradient is None and materialize_grads:
            gradient = wrap(constant(np.zeros_like(tensor.array)))
        if gradient is None and not allow_unused:
            raise GraphError(
                f"no output depends on input {position}, a tensor of shape {tensor.shape}.{here()}\n"
                "  Pass allow_unused=True to get None for it, or check where the path is cut (detach, no_grad, numpy)."
            )
        results.append(gradient)
    return tuple(results)
