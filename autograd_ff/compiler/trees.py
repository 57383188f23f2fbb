"""Arguments and results: nested tuples, lists, dicts and dataclasses, taken apart into leaves and put together again."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

__all__ = ["flatten", "rebuild"]


def flatten(tree: Any, leaves: list[Any]) -> Any:
    """Append the leaves of a tree, and return its structure: equal for trees that differ in leaves only."""
    kind = tree.__class__
    if kind is tuple or kind is list:
        return kind, tuple([flatten(one, leaves) for one in tree])
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a named tuple
        return kind, tuple([flatten(one, leaves) for one in tree])
    if isinstance(tree, dict):
        empty = kind if kind is dict else _Empty(tree)
        return empty, tuple(tree), tuple([flatten(one, leaves) for one in tree.values()])
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(one.name for one in dataclasses.fields(tree) if one.init)
        return _Fields(kind), names, tuple([flatten(getattr(tree, name), leaves) for name in names])
    leaves.append(tree)
    return None


@dataclasses.dataclass(frozen=True)
class _Fields:
    """Makes instances of a dataclass."""

    kind: type

    def __call__(self, items: Any) -> Any:
        return self.kind(**dict(items))


class _Empty:
    """Makes dicts of another kind than ``dict``: a copy of the given one, with other values."""

    def __init__(self, tree: Any) -> None:
        self._tree = copy.copy(tree)
        self._tree.clear()

    def __call__(self, items: Any) -> Any:
        made = copy.copy(self._tree)
        made.update(items)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Empty) and type(self._tree) is type(other._tree)

    def __hash__(self) -> int:
        return hash(type(self._tree))


def rebuild(structure: Any, take: Callable[[], Any]) -> Any:
    """The tree of a structure, its leaves in order from ``take``."""
    if structure is None:
        return take()
    kind, *rest = structure
    if len(rest) == 2:
        keys, parts = rest
        return kind(zip(keys, [rebuild(part, take) for part in parts], strict=True))
    values = [rebuild(part, take) for part in rest[0]]
    return kind(*values) if hasattr(kind, "_fields") else kind(values)
