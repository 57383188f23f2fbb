"""Marks: which nodes stand out, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import PictureError, here
from .view import MARKS, GraphView

__all__ = ["STRONG", "mark", "strongest"]

STRONG = ("wrong", "origin", "cut")  # what the whole picture is about, where it occurs

_ORDER = {name: position for position, name in enumerate(MARKS)}


def mark(view: GraphView, marks: Mapping[int, str | tuple[str, str]]) -> GraphView:
    """A view in which some nodes stand out.

    Args:
        view: what to mark; its other marks stay.
        marks: for ids of nodes, one of `MARKS`, or a pair of that and a remark; ``""`` takes a mark off.

    Raises:
        PictureError: (a ValueError) no such node or mark.

    >>> import autograd_ff as af, visualize
    >>> view = visualize.trace(lambda x: af.exp(x), af.zeros(2))
    >>> mark(view, {1: ("suspect", "too large")}).nodes[1].mark
    'suspect'
    """
    nodes = list(view.nodes)
    for id, given in marks.items():
        name, remark = (given, "") if isinstance(given, str) else given
        if not isinstance(id, int) or not 0 <= id < len(nodes):
            raise PictureError(f"there is no node {id!r} to mark among {len(nodes)}{here()}")
        if name and name not in MARKS:
            raise PictureError(f"{name!r} is no mark; marks are {', '.join(MARKS)}{here()}")
        nodes[id] = replace(nodes[id], mark=name, remark=remark)
    return GraphView(tuple(nodes), view.edges, view.modules, view.name)


def strongest(marks: list[str]) -> str:
    """The one that comes first in `MARKS`, or "".

    >>> strongest(["", "dead", "wrong", "added"])
    'wrong'
    """
    return min((one for one in marks if one), key=_ORDER.__getitem__, default="")
