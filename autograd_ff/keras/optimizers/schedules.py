"""Learning rates that depend on the number of steps taken, under Keras's names.

A schedule is given to an optimizer in place of a learning rate, ``Adam(learning_rate=ExponentialDecay(…))``, and is asked
before each step with the number of steps before it. What depends on epochs, or on how training goes, is a callback:
`LearningRateScheduler`, `ReduceLROnPlateau`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

from ...engine import here
from ...errors import OptimizerError
from ...optim.lr_scheduler import cosine_between, line_between
from ..lookup import describe, find

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "LearningRateSchedule",
    "PiecewiseConstantDecay", "PolynomialDecay", "deserialize", "serialize",
]  # fmt: skip


def _positive(name: str, value: Any) -> Any:
    if not value > 0:
        raise OptimizerError(f"{name} is a number above 0, not {value!r}.{here()}")
    return value


class LearningRateSchedule:
    """The base of all schedules: a subclass defines ``__call__(step)``, and `get_config` to be saved.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> class Halving(schedules.LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 / 2**step
    >>> Halving()(1)
    0.05
    """

    def __call__(self, step: int) -> float:
        """The learning rate of the step before which ``step`` steps were taken."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__()")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_config(), so it cannot be written down")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The schedule whose `get_config` this is."""
        return cls(**config)


class _Kept(LearningRateSchedule):
    """A schedule whose arguments are its attributes."""

    def __init__(self, **arguments: Any) -> None:
        self._names = tuple(arguments)
        for name, value in arguments.items():
            setattr(self, name, value)

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}


class _Decay(_Kept):
    """A schedule of what remains after so many times ``decay_steps`` steps.

    Args:
        initial_learning_rate: where it starts.
        decay_steps: the steps that ``decay_rate`` is for.
        decay_rate: how much it decays in that many.
        staircase: only after each such number of steps, and not in between.
        name: accepted as Keras does.
    """

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            initial_learning_rate=initial_learning_rate, decay_steps=_positive("decay_steps", decay_steps),
            decay_rate=decay_rate, staircase=staircase, name=type(self).__name__ if name is None else name,
        )  # fmt: skip

    def _part(self, step: int) -> float:
        part = step / self.decay_steps
        return math.floor(part) if self.staircase else part


class ExponentialDecay(_Decay):
    """initial_learning_rate · decay_rate^(step / decay_steps); with ``staircase`` the exponent is rounded down.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> rate = schedules.ExponentialDecay(0.5, decay_steps=10, decay_rate=0.5)
    >>> rate(0), rate(10)
    (0.5, 0.25)
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._part(step)


class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate · step / decay_steps); with ``staircase`` the quotient is rounded down.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> rate = schedules.InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)
    >>> rate(0), rate(10)
    (0.5, 0.25)
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._part(step))


class PiecewiseConstantDecay(_Kept):
    """values[0] up to and with step boundaries[0], values[1] up to and with boundaries[1], and so on.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> rate = schedules.PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1])
    >>> rate(10), rate(11), rate(21)
    (1.0, 0.5, 0.1)
    """

    boundaries: list[float]
    values: list[float]

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(values) != len(boundaries) + 1:
            raise OptimizerError(
                f"there is one value more than there are boundaries, got {len(values)} and {len(boundaries)}.{here()}"
            )
        if list(boundaries) != sorted(boundaries):
            raise OptimizerError(f"boundaries are in ascending order, not {list(boundaries)}.{here()}")
        super().__init__(boundaries=list(boundaries), values=list(values), name=name)

    def __call__(self, step: int) -> float:
        return self.values[bisect.bisect_left(self.boundaries, step)]


class PolynomialDecay(_Kept):
    """From the initial to the end learning rate as (1 - step / decay_steps)^power; there it stays.

    Args:
        initial_learning_rate, end_learning_rate: where it starts and ends.
        decay_steps: how many steps it takes.
        power: 1 for a straight line.
        cycle: begin anew, over twice as many steps, then three times, whenever the end is reached.
        name: accepted as Keras does.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> rate = schedules.PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.5)
    >>> rate(0), rate(5), rate(20)
    (1.0, 0.75, 0.5)
    """

    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float
    power: float
    cycle: bool

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        super().__init__(
            initial_learning_rate=initial_learning_rate, decay_steps=_positive("decay_steps", decay_steps),
            end_learning_rate=end_learning_rate, power=power, cycle=cycle, name=name,
        )  # fmt: skip

    def __call__(self, step: int) -> float:
        steps: float = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        part = (1 - min(step, steps) / steps) ** self.power
        return line_between(self.end_learning_rate, self.initial_learning_rate, part)


class CosineDecay(_Kept):
    """Along half a cosine down to ``alpha`` times where it starts; before that, if asked for, up along a line.

    Args:
        initial_learning_rate: where it starts.
        decay_steps: how many steps the way down takes.
        alpha: where it ends, as a part of where it started.
        name: accepted as Keras does.
        warmup_target: where the line ends and the way down begins; None for no warmup.
        warmup_steps: how many steps the line takes.

    Source: Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts".

    >>> from autograd_ff.keras.optimizers import schedules
    >>> rate = schedules.CosineDecay(1.0, decay_steps=10)
    >>> rate(0), round(rate(5), 6), rate(10)
    (1.0, 0.5, 0.0)
    """

    initial_learning_rate: float
    decay_steps: float
    alpha: float
    warmup_target: float | None
    warmup_steps: int

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(
            initial_learning_rate=initial_learning_rate, decay_steps=_positive("decay_steps", decay_steps), alpha=alpha,
            name=name, warmup_target=warmup_target, warmup_steps=warmup_steps,
        )  # fmt: skip

    def __call__(self, step: int) -> float:
        start = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return line_between(start, self.warmup_target, step / self.warmup_steps)
            start, step = self.warmup_target, step - self.warmup_steps
        return cosine_between(start, self.alpha * start, min(step, self.decay_steps) / self.decay_steps)


class CosineDecayRestarts(_Kept):
    """Half a cosine down, again and again: each time over ``t_mul`` times the steps, from ``m_mul`` times the height.

    Args:
        initial_learning_rate: where the first one starts.
        first_decay_steps: how many steps the first one takes.
        t_mul: how much longer each is than the one before.
        m_mul: how much higher each starts than the one before.
        alpha: where each ends, as a part of the initial learning rate.
        name: accepted as Keras does.

    Source: Loshchilov and Hutter 2017.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> rate = schedules.CosineDecayRestarts(1.0, first_decay_steps=10)
    >>> rate(0), round(rate(5), 6), rate(10), round(rate(20), 6)
    (1.0, 0.5, 1.0, 0.5)
    """

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float
    m_mul: float
    alpha: float

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        super().__init__(
            initial_learning_rate=initial_learning_rate,
            first_decay_steps=_positive("first_decay_steps", first_decay_steps),
            t_mul=_positive("t_mul", t_mul), m_mul=m_mul, alpha=alpha, name=name,
        )  # fmt: skip

    def __call__(self, step: int) -> float:
        place, length, height = float(step), float(self.first_decay_steps), 1.0
        while place >= length:
            place, length, height = place - length, length * self.t_mul, height * self.m_mul
        # Keras puts the cosine of that height on the part alpha: (1 - alpha) · height · cosine + alpha.
        top = (1 - self.alpha) * height + self.alpha
        return self.initial_learning_rate * cosine_between(top, self.alpha, place / length)


_TABLE = {
    one.__name__: one
    for one in (
        ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay, CosineDecayRestarts,
    )
}  # fmt: skip


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """A schedule as its name and arguments.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> schedules.serialize(schedules.CosineDecay(0.1, 1000))["class_name"]
    'CosineDecay'
    """
    return describe(schedule)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The schedule that `serialize` wrote down.

    >>> from autograd_ff.keras.optimizers import schedules
    >>> schedules.deserialize(schedules.serialize(schedules.CosineDecay(0.1, 1000)))(0)
    0.1
    """
    return find(config, _TABLE, "schedule", custom_objects)
