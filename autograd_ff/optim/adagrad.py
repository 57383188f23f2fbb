"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..engine import apply_raw, host, wrap
from ..kernels.optimizers import adagrad_update
from .flat import FlatBuffer, ParameterState
from .optimizer import FlatOptimizer, check_hints, check_number

__all__ = ["Adagrad"]


class Adagrad(FlatOptimizer):
    """Adagrad: the gradient divided by the root of the sum of all its squares so far.

    With the gradient ``g`` (plus ``weight_decay * p``), and ``t`` the number of steps this parameter has taken::

        s = s + g²                                s starts as initial_accumulator_value
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    The sum only grows, so steps become smaller by themselves: rare features, whose sum grows slowly, keep learning.
    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011).

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of groups; see `Optimizer`.
        lr: learning rate.
        lr_decay: by how much of itself the learning rate's divisor grows with each step.
        weight_decay: factor of the L2 penalty, added to the gradient.
        initial_accumulator_value: what the sum of squares starts as; above 0 it dampens the first steps.
        eps: keeps the denominator from zero. It is added to the root, outside of it.
        maximize: climb instead of descending.
        hints: PyTorch's ``foreach``, ``fused`` and ``differentiable``: accepted; every update runs over flat arrays.

    Raises:
        OptimizerError: an option out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> w = af.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in w.tolist()]
    [0.9, 1.9]
    >>> optimizer.state[w]["sum"]
    tensor([ 4., 16.])
    """

    moment_names = ("sum",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        check_hints(hints.items())
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        start = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(params, {**options, **start, "maximize": maximize})

    def _check_options(self, group: dict[str, Any]) -> None:
        check_number("learning rate", group["lr"])
        check_number("lr_decay value", group["lr_decay"])
        check_number("weight_decay value", group["weight_decay"])
        check_number("initial_accumulator_value value", group["initial_accumulator_value"])
        check_number("epsilon value", group["eps"])

    def _course_options(self, group: dict[str, Any]) -> Any:
        return group["maximize"], not group["weight_decay"]

    def _update(self, buffer: FlatBuffer, gradients: list[np.ndarray | None], group: dict[str, Any]) -> None:
        buffer.require("sum")
        for first, last in buffer.runs(gradients, by_count=True):
            window = buffer.window(first, last)
            options = host(self._advance, buffer, first, last, group)
            apply_raw(
                adagrad_update, (window["param"], window["sum"], window["scratch"], *gradients[first:last]), options
            )

    @staticmethod
    def _advance(buffer: FlatBuffer, first: int, last: int, group: dict[str, Any]) -> dict[str, Any]:
        """Count a step, and give the numbers that it takes."""
        step = buffer.count(first, last)
        return {
            "lr": float(group["lr"]) / (1 + (step - 1) * float(group["lr_decay"])),
            "eps": float(group["eps"]),
            # Until the first step the sum is kept as zero, like every moment; that step adds what it starts as.
            "initial": float(group["initial_accumulator_value"]) if step == 1 else 0.0,
            "weight_decay": float(group["weight_decay"]),
            "maximize": bool(group["maximize"]),
        }

    # PyTorch's Adagrad has a state before its first step, and reads it there when a state dict is loaded.

    def _states(self) -> Iterator[tuple[Any, FlatBuffer, int]]:
        for layout in self._layouts:
            for param, home in zip(layout.params, layout.homes, strict=True):
                if home is not None:
                    yield param, *home

    def _show(self, buffer: FlatBuffer, position: int) -> Mapping[str, Any]:
        if buffer.counts[position]:
            return super()._show(buffer, position)
        param = buffer.params[position]
        group = next(one for one in self.param_groups if any(param is member for member in one["params"]))
        start = np.full(param.array.shape, group["initial_accumulator_value"], buffer.dtype)
        return MappingProxyType({"step": wrap(np.zeros((), np.float32)), "sum": wrap(start)})

    def _parse_state(self, values: Mapping[str, Any], shape: tuple[int, ...], index: int) -> ParameterState:
        state = super()._parse_state(values, shape, index)
        return state if state.count else ParameterState()
