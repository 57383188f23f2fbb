"""Which memory was written in place, when, and by which line.

One clock numbers nodes and writes alike. A saved array is stale when its memory was written after the node that saved
it was made; comparing the two numbers says so, and nothing has to be stored when a node is made. Writes are kept by
the array that owns the memory, for as long as it lives, with the span of bytes that they touched.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable
from functools import partial
from types import CodeType
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .site import Site, calling_code, resolve

tick = itertools.count(1).__next__

# The number of the last write anywhere. A node younger than it holds nothing stale: the usual case, decided by one
# comparison.
latest = 0

# How often something was exchanged that a recorded computation may rest on: the memory of a tensor, whether it requires
# grad, a parameter of a module, its training flag. Equal numbers say that nothing of the kind has happened since.
structure = 0


def restructured() -> None:
    """Note that what a recorded computation may rest on has been exchanged."""
    global structure
    structure += 1


# When a tensor or module was last taken out of the place where somebody kept it: by its id, while it lives.
_retired: dict[int, tuple[weakref.ref[Any], int]] = {}


def retire(thing: Any) -> None:
    """Note that an attribute now holds something else than this parameter, buffer or module."""
    key = id(thing)
    _retired[key] = weakref.ref(thing, lambda _: _retired.pop(key, None)), structure


def retired_since(thing: Any, number: int) -> bool:
    """Whether it was retired after `structure` was ``number``."""
    entry = _retired.get(id(thing))
    return entry is not None and entry[0]() is thing and entry[1] > number


_SPANS = 64  # more separate spans than this in one array are merged into one


class _Writes:
    __slots__ = ("count", "owner", "spans")

    def __init__(self, owner: weakref.ref[Any]) -> None:
        self.owner = owner  # keeps the entry's clean-up callback alive
        self.count = 0
        # span of bytes: number of the write, and the unresolved site of its line
        self.spans: dict[tuple[int, int], tuple[int, tuple[CodeType, int] | None]] = {}


_writes: dict[int, _Writes] = {}


def _forget(key: int, _: weakref.ref[Any]) -> None:
    _writes.pop(key, None)


def owner_of(array: np.ndarray) -> np.ndarray:
    """The array that owns (or first wrapped) the memory that ``array`` shows."""
    base: Any = array
    while True:
        below = getattr(base, "base", None)  # as_strided puts an object with a base of its own in between
        if below is None:
            return array
        if isinstance(below, np.ndarray):
            array = below
        base = below


def bump(*arrays: np.ndarray) -> None:
    """Note that the memory of these arrays has just been written."""
    global latest
    line = calling_code()
    latest = number = tick()
    for array in arrays:
        owner = owner_of(array)
        key = id(owner)
        entry = _writes.get(key)
        if entry is None:
            entry = _writes[key] = _Writes(weakref.ref(owner, partial(_forget, key)))
        entry.count += 1
        spans = entry.spans
        if len(spans) >= _SPANS:
            low, high = min(span[0] for span in spans), max(span[1] for span in spans)
            newest = max(spans.values(), key=lambda write: write[0])
            spans.clear()
            spans[low, high] = newest
        spans[byte_bounds(array)] = (number, line)


class Writer:
    """`bump` for the same arrays again and again, which it looks up once."""

    __slots__ = ("_arrays", "_writes")

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self._arrays = list(arrays)  # alive, so that their entries stay
        bump(*self._arrays)
        self._writes = [(_writes[id(owner_of(array))], byte_bounds(array)) for array in self._arrays]

    def bump(self, line: tuple[CodeType, int] | None) -> None:
        """Note that they have all just been written, by this line."""
        global latest
        latest = number = tick()
        for entry, span in self._writes:
            entry.count += 1
            spans = entry.spans
            if len(spans) >= _SPANS and span not in spans:
                bump(*self._arrays)
                return
            spans[span] = (number, line)


def version(array: np.ndarray) -> int:
    """How many writes the memory of ``array`` has seen."""
    entry = _writes.get(id(owner_of(array)))
    return 0 if entry is None else entry.count


def written_since(array: np.ndarray, number: int) -> tuple[bool, Site | None]:
    """Whether the memory of ``array`` was written after ``number``, and where the last such write stands."""
    entry = _writes.get(id(owner_of(array)))
    if entry is None:
        return False, None
    low, high = byte_bounds(array)
    last, site = number, None
    for (start, stop), (written, line) in entry.spans.items():
        if written > last and start < high and low < stop:
            last, site = written, line
    return last > number, None if site is None else resolve(*site)
