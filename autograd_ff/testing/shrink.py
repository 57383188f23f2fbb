"""Smaller arrays that still show the same failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["shrink"]

_TRIES = 400
_SECONDS = 20.0


def shrink(leaves: Sequence[Any], fails: Callable[[list[Any]], bool]) -> list[Any]:
    """The smallest and simplest arrays found among those that ``fails`` accepts; what is no array stays.

    First fewer elements, then rounder numbers. ``leaves`` themselves must fail.

    >>> import numpy as np
    >>> shrink([np.array([[3.7, -4.2], [1.3, 8.8]])], lambda leaves: bool(np.any(leaves[0] < -1)))
    [array(-1.25)]
    """
    current = list(leaves)
    tries, end = _TRIES, time.monotonic() + _SECONDS
    for candidates in (_smaller, _rounder):
        improved = True
        while improved and tries > 0 and time.monotonic() < end:
            improved = False
            for candidate in candidates(current):
                tries -= 1
                if tries <= 0 or time.monotonic() > end:
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
    """Rounder numbers. None is an integer or a half and no two are equal: there, functions have their corners, and a
    test at a corner would not pass when the gradient is right."""
    floating = [(position, leaf) for position, leaf in _arrays(leaves) if leaf.dtype.kind == "f" and leaf.size]
    taken = 0
    for position, leaf in floating:
        steps = np.arange(taken, taken + leaf.size).reshape(leaf.shape)
        taken += leaf.size
        for scale in (1.0, 0.5, -1.0):
            value = scale * (1.25 + steps / 2)
            if _new(value, leaf):
                yield _with(leaves, position, value)
        for parts in (2, 64):  # odd multiples of a quarter, or of a finer part
            with np.errstate(all="ignore"):
                value = (np.floor(leaf * parts) + 0.5) / parts
            if _new(value, leaf) and np.unique(value).size == leaf.size:
                yield _with(leaves, position, value)
                break


def _new(value: np.ndarray, leaf: np.ndarray) -> bool:
    """Whether a candidate differs from what is there, and that is not as simple already."""
    return not np.array_equal(value, leaf, equal_nan=True) and not np.array_equal(np.round(leaf * 8), leaf * 8)


def _with(leaves: list[Any], position: int, leaf: Any) -> list[Any]:
    changed = list(leaves)
    changed[position] = np.array(leaf)
    return changed
