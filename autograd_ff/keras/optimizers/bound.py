"""The optimizers of `autograd_ff.optim` with what Keras's do besides: schedules, limits to gradients, weight decay.

Where Keras's formula differs from PyTorch's, the numbers that a step takes are chosen so that it is Keras's:

- Adam: Keras adds epsilon to the root of the uncorrected second moment, PyTorch to that of the corrected one; so epsilon
  is divided by √(1 - beta_2^t).
- RMSprop: Keras adds epsilon inside of the root.
- Adagrad: Keras adds epsilon inside of the root, too; with the sum of squares starting at 0.1 that is no difference in
  float32, and it is added outside.
- Weight decay shrinks the weights directly in all of Keras's optimizers, as in AdamW.
- SGD and RMSprop with momentum: Keras puts the learning rate into the velocity, PyTorch puts it on the way out. As long
  as it stays the same there is no difference; when it changes, what is left of older steps changes with it here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ... import optim
from ...engine import depend, enable_grad, host, no_grad
from ...nn.utils import clip_grad_norm_, clip_grad_value_

if TYPE_CHECKING:
    from .optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "RMSprop"]


class _Stepping:
    """What comes before a step. It is no subclass of `optim.Optimizer`, and says itself what a recorded step rests on."""

    param_groups: list[dict[str, Any]]
    asked: Optimizer  # which knows what was asked for

    def step(self, closure: Any = None) -> Any:
        """Set the learning rate of the schedule, limit the gradients, decay the weights; then the step itself."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        asked = self.asked
        decays: list[float] = []
        if asked.weight_decay and not asked.decays_itself:
            depend(self._decays)  # before a replay, too: the factors are constants of a recorded step
            decays = self._decays()
        if asked.schedule is not None:
            host(self._follow)
        parameters = [param for group in self.param_groups for param in group["params"]]
        if asked.clipnorm is not None:
            for param in parameters:
                clip_grad_norm_([param], asked.clipnorm)
        elif asked.global_clipnorm is not None:
            clip_grad_norm_(parameters, asked.global_clipnorm)
        elif asked.clipvalue is not None:
            clip_grad_value_(parameters, asked.clipvalue)
        for factor, group in zip(decays, self.param_groups, strict=False):
            for param in group["params"]:
                if param.grad is not None:
                    with no_grad():
                        param.mul_(factor)
        super().step()  # type: ignore[misc]
        return loss

    def _decays(self) -> list[float]:
        """What the coming step leaves of the weights of each group."""
        schedule, decay = self.asked.schedule, float(self.asked.weight_decay or 0)
        rates = [
            group["lr"] if schedule is None else schedule(group.get("iterations", 0)) for group in self.param_groups
        ]
        return [1 - float(rate) * decay for rate in rates]

    def _follow(self) -> None:
        """Take the learning rate of the schedule. The steps are counted in the options, which are saved and loaded."""
        schedule = self.asked.schedule
        assert schedule is not None
        for group in self.param_groups:
            step = group.get("iterations", 0)
            group["lr"] = float(schedule(step))
            group["iterations"] = step + 1


class SGD(_Stepping, optim.SGD):
    """`optim.SGD` as Keras's `SGD`."""


class Adam(_Stepping, optim.Adam):
    """`optim.Adam` as Keras's `Adam` and `AdamW`."""

    @staticmethod
    def _advance(buffer: Any, first: int, last: int, group: dict[str, Any]) -> dict[str, Any]:
        options = optim.Adam._advance(buffer, first, last, group)
        options["eps"] /= math.sqrt(1 - options["beta2"] ** options["step"])
        return options


class RMSprop(_Stepping, optim.RMSprop):
    """`optim.RMSprop` as Keras's `RMSprop`."""

    @staticmethod
    def _advance(buffer: Any, first: int, last: int, group: dict[str, Any]) -> dict[str, Any]:
        return {**optim.RMSprop._advance(buffer, first, last, group), "inside": True}


class Adagrad(_Stepping, optim.Adagrad):
    """`optim.Adagrad` as Keras's `Adagrad`."""
