"""Nodes left out on demand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..errors import PictureError, here
from ..graph.view import KINDS, Edge, GraphView
from .contraction import without_empty_modules

__all__ = ["hide"]

_ALWAYS = ("op", "kernel", "module", "loss")  # a picture without these says nothing


def hide(view: GraphView, what: str | Collection[str]) -> GraphView:
    """A view without some kinds of nodes.

    Arrays (parameters, constants …) vanish with their edges. Who read an operation (a view, a write, an op by name)
    reads on from its first input. What is marked stays.

    Args:
        view: what to simplify.
        what: kinds (``"constant"``, ``"view"``, ``"parameter"``, ``"buffer"``, ``"input"``, ``"output"``, ``"write"``)
            and names of operations (``"cast"``), one or several.

    Raises:
        PictureError: (a ValueError) a kind that cannot be hidden, or a name that no node of the graph has.

    >>> import autograd_ff as af, visualize
    >>> view = hide(visualize.trace(lambda x: af.exp(x.reshape(4)), af.ones(2, 2)), "view")
    >>> [node.op for node in view.nodes if node.op], view.edges[0].value.shape
    (['exp'], (4,))
    """
    chosen = {what} if isinstance(what, str) else set(what)
    if not chosen:
        return view
    known = {node.op for node in view.nodes if node.op}
    for one in sorted(chosen, key=str):
        if one in _ALWAYS or not isinstance(one, str) or (one not in KINDS and one not in known):
            kinds = [kind for kind in KINDS if kind not in _ALWAYS]
            raise PictureError(
                f"{one!r} cannot be hidden: give {', '.join(kinds)}, or the name of an operation of this graph{here()}"
            )
    gone = {node.id for node in view.nodes if (node.kind in chosen or node.op in chosen - {""}) and not node.mark}
    if not gone:
        return view
    first: dict[int, Edge] = {}  # what an operation that is gone reads first
    edges: list[Edge] = []
    # In this order what an operation reads is known before who reads it.
    for edge in sorted(view.edges, key=lambda edge: edge.target):
        if edge.source in gone:
            passed = first.get(edge.source)
            if passed is None:
                continue
            value = edge.value or view.output(edge)
            edge = replace(edge, source=passed.source, output=passed.output, value=value)
        if edge.target in gone:
            if view.nodes[edge.target].op:
                known_edge = first.get(edge.target)
                if known_edge is None or edge.input < known_edge.input:
                    first[edge.target] = edge
            continue
        edges.append(edge)
    numbers: dict[int, int] = {}
    for node in view.nodes:
        if node.id not in gone:
            numbers[node.id] = len(numbers)
    nodes = tuple(
        replace(
            view.nodes[id],
            id=number,
            belongs_to=None if (owner := view.nodes[id].belongs_to) is None else numbers.get(owner),
        )
        for id, number in numbers.items()
    )
    moved = tuple(replace(edge, source=numbers[edge.source], target=numbers[edge.target]) for edge in edges)
    return without_empty_modules(GraphView(nodes, moved, view.modules, view.name))
