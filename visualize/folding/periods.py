"""Words that repeat in a sequence of letters, in a few passes over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

__all__ = ["repetitions"]

_PERIODS = 24  # lengths of words that are tried …
_MEMORY = 8  # … as suggested by this many earlier places of the same letter


def repetitions(letters: np.ndarray, lines: Sequence[int]) -> list[tuple[int, int, int]]:
    """Words that repeat, as (start, length, times), no two overlapping: those that save most, shorter words first.

    >>> repetitions(np.array([7, 1, 2, 1, 2, 1, 2, 9, 9, 9]), [0] * 10)
    [(1, 2, 3), (7, 1, 3)]
    """
    found: list[tuple[int, int, int, int]] = []
    for period in _periods(letters):
        equal = letters[period:] == letters[:-period]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], equal.view(np.int8), [0]))))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            count = (end - start) // period + 1
            if count < 2:
                continue
            # A word may begin at several letters; a loop's begins at its first line.
            slack = min((end - start) % period, period - 1)
            start += min(range(slack + 1), key=lambda shift: lines[start + shift])
            found.append(((count - 1) * period, period, start, count))
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    taken = np.zeros(len(letters), bool)
    chosen: list[tuple[int, int, int]] = []
    for _, period, start, count in found:
        if not taken[start : start + period * count].any():
            taken[start : start + period * count] = True
            chosen.append((start, period, count))
    return sorted(chosen)


def _periods(letters: np.ndarray) -> list[int]:
    """Distances at which equal letters stand, the most frequent ones."""
    size = len(letters)
    if size < 2:
        return []
    order = np.argsort(letters, kind="stable")
    distances: Counter[int] = Counter()
    for step in range(1, min(_MEMORY, size - 1) + 1):
        same = letters[order[step:]] == letters[order[:-step]]
        values, counts = np.unique((order[step:] - order[:-step])[same], return_counts=True)
        distances.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    usual = [one for one, _ in distances.most_common(_PERIODS) if one <= size // 2]
    return sorted(usual)
