"""Sources of examples for the samplers of the op table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from ..engine import REAL, Domain
from .values import numbers

__all__ = ["HypothesisDraw", "NumPyDraw"]

T = TypeVar("T")


class _Arrays:
    """Arrays from a shape and a generator: drawing element by element would be slow and full of repeated values."""

    def generator(self) -> np.random.Generator:
        """A generator with a stream of its own."""
        raise NotImplementedError

    def array(self, shape: tuple[int, ...], domain: Domain = REAL) -> np.ndarray:
        """Numbers of a domain."""
        return numbers(self.generator(), shape, domain=domain)

    def distinct(self, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers at least 0.15 apart, in random order."""
        return numbers(self.generator(), shape, spread=0.15)

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """Whole numbers from ``low`` to ``high``, both included."""
        return numbers(self.generator(), shape, np.int64, Domain(low, high))


class NumPyDraw(_Arrays):
    """Draws from a NumPy generator: quick, and the same for the same seed.

    >>> draw = NumPyDraw(0)
    >>> draw.array((2, 3)).shape, 1 <= draw.integer(1, 4) <= 4
    ((2, 3), True)
    """

    def __init__(self, seed: int | np.random.Generator = 0) -> None:
        self._generator = np.random.default_rng(seed)

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(self._generator.integers(2**63))

    def integer(self, low: int, high: int) -> int:
        return int(self._generator.integers(low, high, endpoint=True))

    def boolean(self) -> bool:
        return bool(self._generator.integers(2))

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> tuple[int, ...]:
        return tuple(self.integer(min_side, max_side) for _ in range(self.integer(min_dims, max_dims)))


class HypothesisDraw(_Arrays):
    """Draws through Hypothesis, which shrinks shapes and choices; of an array it draws the shape and a seed.

    It is made of what ``strategies.data()`` gives, or of the ``draw`` of a strategy made with
    ``strategies.composite``.

    >>> from hypothesis import given, settings, strategies
    >>> @settings(max_examples=5, database=None)
    ... @given(strategies.data())
    ... def test(data):
    ...     assert HypothesisDraw(data).array((2, 3)).shape == (2, 3)
    >>> test()
    """

    def __init__(self, data: Any) -> None:
        import hypothesis.strategies

        self._draw = getattr(data, "draw", data)
        self._strategies = hypothesis.strategies
        self._count = 0

    def generator(self) -> np.random.Generator:
        # The number keeps arrays apart whose seeds were both shrunk to 0.
        self._count += 1
        return np.random.default_rng([self._draw(self._strategies.integers(0, 2**32 - 1), label="seed"), self._count])

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(self._strategies.integers(low, high), label="integer"))

    def boolean(self) -> bool:
        return bool(self._draw(self._strategies.booleans(), label="boolean"))

    def choice(self, options: Sequence[T]) -> T:
        return options[self._draw(self._strategies.integers(0, len(options) - 1), label="choice")]

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> tuple[int, ...]:
        sides = self._strategies.integers(min_side, max_side)
        shapes = self._strategies.lists(sides, min_size=min_dims, max_size=max_dims)
        return tuple(self._draw(shapes, label="shape"))
