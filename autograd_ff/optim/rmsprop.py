"""RMSprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import apply_raw, host
from ..kernels.optimizers import (
    rmsprop_centered_momentum_update,
    rmsprop_centered_update,
    rmsprop_momentum_update,
    rmsprop_update,
)
from .flat import FlatBuffer
from .optimizer import FlatOptimizer, check_hints, check_number

__all__ = ["RMSprop"]

# By (centered, momentum): the kernel, and the moments that it works on.
_KERNELS: dict[tuple[bool, bool], tuple[Any, tuple[str, ...]]] = {
    (False, False): (rmsprop_update, ("square_avg",)),
    (True, False): (rmsprop_centered_update, ("square_avg", "grad_avg")),
    (False, True): (rmsprop_momentum_update, ("square_avg", "momentum_buffer")),
    (True, True): (rmsprop_centered_momentum_update, ("square_avg", "grad_avg", "momentum_buffer")),
}


class RMSprop(FlatOptimizer):
    """RMSprop: the gradient divided by a running root mean square of itself.

    With the gradient ``g`` (plus ``weight_decay * p``)::

        v = alpha * v + (1 - alpha) * g²
        d = g / (sqrt(v) + eps)                   centered: g / (sqrt(v - mean²) + eps), mean as v, of g
        p = p - lr * d                            with momentum: b = momentum * b + d;  p = p - lr * b

    Hinton, "Neural networks for machine learning", lecture 6e (2012); centered: Graves, "Generating sequences with
    recurrent neural networks" (2013). As in PyTorch ``eps`` is added to the root, where TensorFlow adds it inside.

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of groups; see `Optimizer`.
        lr: learning rate.
        alpha: how much of the running mean each step keeps.
        eps: keeps the denominator from zero.
        weight_decay: factor of the L2 penalty, added to the gradient.
        momentum: how much of the last step each step keeps.
        centered: divide by the standard deviation instead of the root mean square.
        maximize: climb instead of descending.
        hints: PyTorch's ``foreach``, ``capturable`` and ``differentiable``: accepted; every update runs over flat arrays.

    Raises:
        OptimizerError: an option out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> w = af.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.RMSprop([w], lr=0.01)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in w.tolist()]
    [0.9, 1.9]
    """

    moment_names = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints(hints.items())
        options = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered}
        super().__init__(params, {**options, "weight_decay": weight_decay, "maximize": maximize})

    def _check_options(self, group: dict[str, Any]) -> None:
        check_number("learning rate", group["lr"])
        check_number("epsilon value", group["eps"])
        check_number("momentum value", group["momentum"])
        check_number("weight_decay value", group["weight_decay"])
        check_number("alpha value", group["alpha"])

    def _course_options(self, group: dict[str, Any]) -> Any:
        return group["centered"], group["momentum"] > 0, group["maximize"], not group["weight_decay"]

    def _course_state(self, buffer: FlatBuffer) -> Any:
        return None

    def _update(self, buffer: FlatBuffer, gradients: list[np.ndarray | None], group: dict[str, Any]) -> None:
        op, moments = _KERNELS[bool(group["centered"]), group["momentum"] > 0]
        buffer.require(*moments)
        for first, last in buffer.runs(gradients, by_count=False):
            window = buffer.window(first, last)
            options = host(self._advance, buffer, first, last, group)
            arrays = (window["param"], *[window[name] for name in moments], window["scratch"], *gradients[first:last])
            apply_raw(op, arrays, options)

    @staticmethod
    def _advance(buffer: FlatBuffer, first: int, last: int, group: dict[str, Any]) -> dict[str, Any]:
        """Count a step, and give the numbers that it takes."""
        buffer.count_each(first, last)
        options = {
            "lr": float(group["lr"]),
            "alpha": float(group["alpha"]),
            "eps": float(group["eps"]),
            "weight_decay": float(group["weight_decay"]),
            "maximize": bool(group["maximize"]),
        }
        if group["momentum"] > 0:
            options["momentum"] = float(group["momentum"])
        return options
