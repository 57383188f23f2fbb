"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import apply_raw, here, host
from ..errors import OptimizerError
from ..kernels.optimizers import momentum_start, momentum_update, sgd_update
from .flat import FlatBuffer
from .optimizer import FlatOptimizer, check_hints, check_number

__all__ = ["SGD"]


class SGD(FlatOptimizer):
    r"""Stochastic gradient descent, with momentum and Nesterov's look ahead.

    With the gradient ``g`` (plus ``weight_decay * p``), the buffer ``b`` and the parameter ``p``, each step is::

        b = g                                     the first time
        b = momentum * b + (1 - dampening) * g    afterwards
        p = p - lr * b                            or, nesterov: p - lr * (g + momentum * b)

    and ``p - lr * g`` without momentum. Sutskever et al., "On the importance of initialization and momentum in deep
    learning" (2013), with the learning rate outside of the buffer as in PyTorch, so that changing it acts at once.

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of groups; see `Optimizer`.
        lr: learning rate.
        momentum: how much of the buffer each step keeps.
        dampening: how much less than the whole gradient the buffer takes in.
        weight_decay: factor of the L2 penalty, added to the gradient.
        nesterov: look ahead; needs momentum and no dampening.
        maximize: climb instead of descending.
        hints: PyTorch's ``foreach``, ``fused`` and ``differentiable``: accepted; every update runs over flat arrays.

    Raises:
        OptimizerError: an option out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> w = af.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in w.tolist()]
    [0.8, 1.6]
    """

    moment_names = ("momentum_buffer",)
    counts_steps = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints(hints.items())
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**options, "nesterov": nesterov, "maximize": maximize})

    def _check_options(self, group: dict[str, Any]) -> None:
        check_number("learning rate", group["lr"])
        check_number("momentum value", group["momentum"])
        check_number("weight_decay value", group["weight_decay"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise OptimizerError(
                "Nesterov momentum requires a momentum and zero dampening, got "
                f"momentum={group['momentum']} and dampening={group['dampening']}.{here()}"
            )

    def _course_options(self, group: dict[str, Any]) -> Any:
        momentum = group["momentum"] != 0
        return momentum, group["dampening"], group["nesterov"], group["maximize"], not group["weight_decay"]

    def _course_state(self, buffer: FlatBuffer) -> Any:
        return buffer.pattern, buffer.counts[0]

    def _update(self, buffer: FlatBuffer, gradients: list[np.ndarray | None], group: dict[str, Any]) -> None:
        moments = ("momentum_buffer",) if group["momentum"] else ()
        buffer.require(*moments)
        for first, last in buffer.runs(gradients, by_count=bool(moments)):
            window = buffer.window(first, last)
            arrays = (window["param"], *[window[name] for name in moments], window["scratch"], *gradients[first:last])
            op: Any = sgd_update
            if moments:  # the count says whether there is a buffer, and is not PyTorch's to know
                op = momentum_update if buffer.counts[first] else momentum_start
            apply_raw(op, arrays, host(self._advance, buffer, first, last, group))

    @staticmethod
    def _advance(buffer: FlatBuffer, first: int, last: int, group: dict[str, Any]) -> dict[str, Any]:
        """Note that there is a momentum buffer from now on, and give the numbers that the step takes."""
        options = {
            "lr": float(group["lr"]),
            "weight_decay": float(group["weight_decay"]),
            "maximize": bool(group["maximize"]),
        }
        momentum = float(group["momentum"])
        if momentum:
            options |= {"momentum": momentum, "nesterov": bool(group["nesterov"])}
            if buffer.counts[first]:
                options["dampening"] = float(group["dampening"])
            else:
                buffer.count(first, last)
        return options
