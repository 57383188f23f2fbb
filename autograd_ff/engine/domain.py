"""Where an op is defined: what its property tests draw.

A domain is data for one number, such as `POSITIVE`; an elementwise op has one for each input. An op whose inputs have
shapes or parameters that depend on each other names a *sampler* instead: a function that asks a `Draw` for shapes,
numbers and arrays and returns a `Call`. The engine draws nothing itself; whoever tests, documents or benchmarks the
table brings a `Draw`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

__all__ = ["BOOLEAN", "NONZERO", "POSITIVE", "REAL", "UNIT", "Call", "Domain", "Draw", "Sampler"]

T = TypeVar("T")


@dataclass(frozen=True)
class Domain:
    """The numbers between ``low`` and ``high`` that keep at least ``margin`` from every one in ``avoid``.

    >>> Domain(-1.0, 1.0).away_from(0.0).fit(np.array([0.0, 0.49, 0.51])).tolist()
    [-1.0, -0.1, 0.1]
    """

    low: float = -3.0
    high: float = 3.0
    avoid: tuple[float, ...] = ()
    margin: float = 0.1
    boolean: bool = False

    def away_from(self, *points: float) -> Domain:
        """The same numbers, except near ``points`` (the kinks of a piecewise function).

        >>> REAL.away_from(0.0).avoid
        (0.0,)
        """
        return replace(self, avoid=self.avoid + points)

    def fit(self, values: np.ndarray) -> np.ndarray:
        """Uniform numbers from [0, 1) made numbers of this domain."""
        if self.boolean:
            return values < 0.5
        values = self.low + (self.high - self.low) * values
        for point in self.avoid:
            near = np.abs(values - point) < self.margin
            values = np.where(near, np.where(values < point, point - self.margin, point + self.margin), values)
        return values


REAL = Domain()
POSITIVE = Domain(0.2, 4.0)
NONZERO = Domain(-3.0, 3.0, avoid=(0.0,), margin=0.3)
UNIT = Domain(-0.9, 0.9)
PROBABILITY = Domain(0.05, 0.95)
BOOLEAN = Domain(boolean=True)


class Draw(Protocol):
    """A source of examples."""

    def integer(self, low: int, high: int) -> int:
        """An integer, both ends included; simpler ones are nearer to ``low``."""

    def boolean(self) -> bool: ...

    def choice(self, options: Sequence[T]) -> T:
        """One of the options; simpler ones come first."""

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> tuple[int, ...]: ...

    def array(self, shape: tuple[int, ...], domain: Domain = REAL) -> np.ndarray:
        """Float64 (or bool) numbers of the domain."""

    def distinct(self, shape: tuple[int, ...]) -> np.ndarray:
        """Float64 numbers that are apart from each other, for ops that compare or sort."""

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """Int64 numbers, both ends included."""

    def generator(self) -> np.random.Generator: ...


@dataclass
class Call:
    """The arguments of one example: inputs (arrays or scalars, in the op's order) and parameters."""

    inputs: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)


Sampler = Callable[[Draw], Call]


def draw_broadcastable(draw: Draw, count: int) -> list[tuple[int, ...]]:
    """``count`` shapes that broadcast together: a full one, and others with leading dims dropped and sides made 1."""
    full = draw.shape()
    shapes = [full]
    for _ in range(count - 1):
        keep = draw.integer(0, len(full))
        tail = full[len(full) - keep :]
        shapes.append(tuple(1 if draw.boolean() else side for side in tail))
    turn = draw.integer(0, count - 1)
    return shapes[turn:] + shapes[:turn]


def elementwise(*domains: Domain) -> Sampler:
    """A sampler of broadcasting arrays, one for each domain."""

    def sample(draw: Draw) -> Call:
        shapes = draw_broadcastable(draw, len(domains))
        return Call(tuple(draw.array(shape, domain) for shape, domain in zip(shapes, domains, strict=True)))

    return sample
