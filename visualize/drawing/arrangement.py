"""Where nodes stand beside each other: parameters beside who reads them, gradients beside their values."""

from __future__ import annotations

from ..graph.view import Edge, GraphView
from .nesting import Nesting

__all__ = ["Arrangement"]

_SIDES = 4  # so many arrays stand beside one node
_GRADIENTS = 4  # and so many gradients


class Arrangement:
    """What stands beside what.

    Attributes:
        beside: for each node the edges from arrays that stand at its sides, left and right in turn.
        gradients: for each forward node its gradients, which stand next to it, so that the backward pass runs up beside
            the forward one. Empty where there is no forward pass to stand beside, or where derivative rules are drawn
            in full.
        results: for each operation of the backward pass the gradients that come out of it.
    """

    def __init__(self, view: GraphView, nesting: Nesting) -> None:
        self._view = view
        self.beside = _beside(view, nesting)
        self.gradients = _gradients(view)
        self.results: dict[int, list[int]] = {}
        for edge in view.edges:
            source, target = view.nodes[edge.source], view.nodes[edge.target]
            if self.gradients and source.backward and target.kind == "output":
                self.results.setdefault(edge.source, []).append(edge.target)
        self._row = {edge.source: reader for reader, edges in self.beside.items() for edge in edges}
        self._right = {edge for edges in self.beside.values() for edge in edges[1::2]}

    def saved(self, edge: Edge) -> bool:
        """Whether an edge leads across, from a forward value to a gradient beside it that reads it."""
        nodes = self._view.nodes
        return bool(self.gradients) and nodes[edge.target].backward and not nodes[edge.source].backward

    def level(self, edge: Edge) -> bool:
        """Whether both ends of an edge that leads across stand in one row."""
        return self._row.get(edge.source, edge.source) == self._view.nodes[edge.target].belongs_to

    def turned(self, edge: Edge) -> bool:
        """Whether an edge leads against the direction of the picture: up, or to the left."""
        source, target = self._view.nodes[edge.source], self._view.nodes[edge.target]
        if edge in self._right:
            return True
        if not self.gradients or not source.backward:
            return False
        if target.kind == "output":
            return target.id in self.results.get(source.id, ())[::2]
        return target.backward and source.belongs_to != target.belongs_to

    def lowest(self, up: bool = False) -> list[int]:
        """A few nodes at the end of the graph, those with the longest way from its beginning; or (up) the reverse."""
        nodes = self._view.nodes
        edges = [edge for edge in self._view.edges if not (self.gradients and nodes[edge.target].backward)]
        depth = [0] * len(nodes)
        if up:
            for edge in sorted(edges, key=lambda edge: -edge.target):
                depth[edge.source] = max(depth[edge.source], depth[edge.target] + 1)
        else:
            for edge in sorted(edges, key=lambda edge: edge.source):
                depth[edge.target] = max(depth[edge.target], depth[edge.source] + 1)
        deepest = max(depth, default=0)
        found = [node.id for node in nodes if depth[node.id] == deepest]
        return (found if up else found[::-1])[:4]


def _beside(view: GraphView, nesting: Nesting) -> dict[int, list[Edge]]:
    """For each node the arrays that stand at its sides, so that the data flow past them in a straight line.

    These are parameters and constants that only this node reads, in one box with it.
    """
    readers: dict[int, list[Edge]] = {}
    sources: dict[int, set[int]] = {}
    for edge in view.edges:
        sources.setdefault(edge.target, set()).add(edge.source)
        if not view.nodes[edge.source].op:
            readers.setdefault(edge.source, []).append(edge)
    beside: dict[int, list[Edge]] = {}
    for source, edges in readers.items():
        forward = [edge for edge in edges if not view.nodes[edge.target].backward]
        if view.nodes[source].kind in ("parameter", "buffer", "constant") and len(forward) == 1:
            reader = view.nodes[forward[0].target]
            if nesting.box(view.nodes[source].module) == nesting.box(reader.module):
                beside.setdefault(reader.id, []).append(forward[0])
    for target, edges in beside.items():
        # At least one array must come from above, or the node has no place in the flow of its own.
        if len(sources[target]) == len(edges):
            constants = [edge for edge in edges if view.nodes[edge.source].kind == "constant"]
            edges[:] = [edge for edge in edges if edge not in constants] if constants else []
        if len(edges) > _SIDES:
            edges.clear()
    for edges in beside.values():  # left and right in turn; what gradients read too comes to the right
        edges.sort(key=lambda edge: len(readers[edge.source]))
    return {target: edges for target, edges in beside.items() if edges}


def _gradients(view: GraphView) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for node in view.nodes:
        if node.backward and node.belongs_to is not None and not view.nodes[node.belongs_to].backward:
            found.setdefault(node.belongs_to, []).append(node.id)
    forward = any(node.op and not node.backward for node in view.nodes)
    return found if forward and all(len(gradients) <= _GRADIENTS for gradients in found.values()) else {}
