"""Smaller arrays that still show the same failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["shrink"]

_TRIES = 400
_SIMPLE = (1.0, 2.0, 0.5, -1.0)


def shrink(leaves: Sequence[Any], fails: Callable[[list[Any]], bool]) -> list[Any]:
    """The smallest and simplest arrays found among those that ``fails`` accepts; what is no array stays.

    First fewer elements, then rounder numbers. ``leaves`` themselves must fail.

    >>> import numpy as np
    >>> shrink([np.array([[3.7, -4.2], [1.3, 8.8]])], lambda leaves: bool(np.any(leaves[0] < -1)))
    [array(-4.)]
    """
    current = list(leaves)
    tries = _TRIES
    for candidates in (_smaller, _rounder):
        improved = True
        while improved and tries > 0:
            improved = False
            for candidate in candidates(current):
                tries -= 1
                if tries <= 0:
                    break
                if fails(candidate):
                    current, improved = candidate, True
                    break
    return current


def _arrays(leaves: Sequence[Any]) -> Iterator[tuple[int, np.ndarray]]:
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, np.ndarray):
            yield position, leaf


def _smaller(leaves: list[Any]) -> Iterator[list[Any]]:
    """Fewer dimensions, then shorter ones: a length is cut wherever it occurs, and then in one array alone."""
    deep = [position for position, leaf in _arrays(leaves) if leaf.ndim]
    if deep:
        for place in (0, -1):
            yield [np.array(one[place]) if at in deep and len(one) else one for at, one in enumerate(leaves)]
    lengths = sorted({side for _, leaf in _arrays(leaves) for side in leaf.shape if side > 1}, reverse=True)
    for length in lengths:
        for part in _parts(length):
            yield [_cut(leaf, length, part) for leaf in leaves]
    for position, leaf in _arrays(leaves):
        for axis, side in enumerate(leaf.shape):
            for part in _parts(side) if side > 1 else ():
                yield _with(leaves, position, leaf[(slice(None),) * axis + (part,)])
        if leaf.ndim and len(leaf):
            yield _with(leaves, position, leaf[0])


def _parts(length: int) -> list[slice]:
    half = (length + 1) // 2
    parts = [slice(0, 1), slice(length - 1, length), slice(0, half), slice(length - half, length), slice(0, length - 1)]
    return [part for part in parts if part.stop - part.start < length]


def _cut(leaf: Any, length: int, part: slice) -> Any:
    if not isinstance(leaf, np.ndarray):
        return leaf
    return leaf[tuple(part if side == length else slice(None) for side in leaf.shape)]


def _rounder(leaves: list[Any]) -> Iterator[list[Any]]:
    floating = [(position, leaf) for position, leaf in _arrays(leaves) if leaf.dtype.kind == "f"]
    for position, leaf in floating:
        for value in _SIMPLE:
            if not np.all(leaf == value):
                yield _with(leaves, position, np.full_like(leaf, value))
        for digits in (0, 1, 2):
            rounded = np.round(leaf, digits)
            if not np.array_equal(rounded, leaf, equal_nan=True):
                yield _with(leaves, position, rounded)
                break


def _with(leaves: list[Any], position: int, leaf: Any) -> list[Any]:
    changed = list(leaves)
    changed[position] = np.array(leaf)
    return changed
