"""Arrays that one node alone reads, or gradients that it alone makes, as one node where they are many."""

from __future__ import annotations

import math
from dataclasses import replace

from ..graph.view import Edge, GraphView, Node, Value

__all__ = ["merge_ends"]

_MANY = 5
_NAMED = 3


def merge_ends(view: GraphView) -> GraphView:
    """A view in which the gradients that come out of one node, and the parameters and constants that go into the same nodes, are one
    node each, where they are five or more: "gradients of 26 parameters". So are edges between the same two operations.

    A fused loop over a whole pass would have a row of them as wide as the network is deep.
    """
    around: dict[int, set[tuple[int, bool]]] = {}
    for edge in view.edges:
        around.setdefault(edge.target, set()).add((edge.source, False))
        around.setdefault(edge.source, set()).add((edge.target, True))
    groups: dict[object, list[Node]] = {}
    for node in view.nodes:
        if (
            not node.op
            and not node.mark
            and (node.kind in ("parameter", "constant") or (node.kind == "output" and node.backward))
        ):
            key = (node.kind, node.module, frozenset(around.get(node.id, ())))
            groups.setdefault(key, []).append(node)
    many = [group for group in groups.values() if len(group) >= _MANY]
    if not many:
        return _with_one_edge(view)
    stands_for = {node.id: group[0].id for group in many for node in group}
    whole = {group[0].id: _whole(group) for group in many}
    left = [node for node in view.nodes if stands_for.get(node.id, node.id) == node.id]
    numbers = {node.id: number for number, node in enumerate(left)}
    nodes = []
    for node in left:
        belongs = None if node.belongs_to is None else numbers[stands_for.get(node.belongs_to, node.belongs_to)]
        nodes.append(replace(whole.get(node.id, node), id=numbers[node.id], belongs_to=belongs))
    edges: list[Edge] = []
    seen: set[tuple[int, int]] = set()
    for edge in view.edges:
        source, target = stands_for.get(edge.source, edge.source), stands_for.get(edge.target, edge.target)
        both = whole.get(source) or whole.get(target)
        if both is not None:
            if (source, target) in seen:
                continue
            seen.add((source, target))
            edge = replace(edge, value=both.outputs[0] if both.outputs else None)
        edges.append(replace(edge, source=numbers[source], target=numbers[target]))
    edges.sort(key=lambda edge: edge.target)
    return _with_one_edge(GraphView(tuple(nodes), tuple(edges), view.modules, view.name))


def _with_one_edge(view: GraphView) -> GraphView:
    """One edge for five or more between the same two operations, as if their arrays lay end to end."""
    between: dict[tuple[int, int], list[Edge]] = {}
    for edge in view.edges:
        between.setdefault((edge.source, edge.target), []).append(edge)
    if all(len(edges) < _MANY for edges in between.values()):
        return view
    left: list[Edge] = []
    for edges in between.values():
        if len(edges) < _MANY or any(edge.mark for edge in edges):
            left += edges
        else:
            values = [(value, 1) for edge in edges if (value := edge.value or view.output(edge)) is not None]
            left.append(replace(edges[0], name=f"{len(edges)} arrays", value=_end_to_end(values)))
    left.sort(key=lambda edge: edge.target)
    return GraphView(view.nodes, tuple(left), view.modules, view.name)


def _end_to_end(values: list[tuple[Value, int]]) -> Value | None:
    """Arrays, and how often each, as one; None where they have several dtypes."""
    dtypes = {value.dtype for value, _ in values}
    total = sum(math.prod(value.shape) * times for value, times in values)
    return Value((total,), dtypes.pop()) if len(dtypes) == 1 else None


def _whole(group: list[Node]) -> Node:
    """One node for many: as if their arrays lay end to end."""
    count = sum(node.count for node in group)
    value = _end_to_end([(value, node.count) for node in group for value in node.outputs[:1]])
    names = [node.names[0] for node in group if node.names]
    return replace(
        group[0],
        names=(f"gradients of {count:,} parameters" if group[0].kind == "output" else f"{count:,} {group[0].kind}s",),
        outputs=() if value is None else (value,),
        arguments=(("holds", ", ".join([*names[:_NAMED], *["…"] * (len(names) > _NAMED)])),) if names else (),
        count=1,
    )
