"""Tensors inside tuples, lists and dicts, as a flat list."""

from __future__ import annotations

from typing import Any

__all__ = ["flatten", "rebuild"]


def flatten(tree: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dicts, from left to right.

    >>> flatten((1, [2, {"a": 3}]))
    [1, 2, 3]
    """
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in flatten(part)]
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in flatten(part)]
    return [tree]


def rebuild(tree: Any, leaves: list[Any]) -> Any:
    """A tree like ``tree`` with other leaves, which are taken off the front of ``leaves``.

    >>> rebuild((1, [2, {"a": 3}]), [4, 5, 6])
    (4, [5, {'a': 6}])
    """
    if isinstance(tree, dict):
        return {key: rebuild(part, leaves) for key, part in tree.items()}
    if isinstance(tree, (tuple, list)):
        parts = [rebuild(part, leaves) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return leaves.pop(0)
