"""Many nodes into one: what every way of folding stands on.

A group of nodes becomes one node that reads what the group read from outside, and whose outputs are those that are read
outside, or by nobody. Everything is linear in the size of the graph, but for one sort.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..graph.enclosing import common_module
from ..graph.marks import strongest
from ..graph.view import Edge, GraphView, Module, Node

__all__ = [
    "ADD_UP", "End", "Group", "contract", "folded", "repeated_measures", "repeated_memory", "used_modules", "without_empty_modules",
]  # fmt: skip

End = tuple[int, int]  # a node and which of its outputs
Group = tuple[Sequence[int], Callable[[list[Node], list[End]], Node]]  # ids, and what makes one node of them

ADD_UP = ("forward", "backward", "saved")  # measurements of which several nodes have the sum
_NAMING = ("buffer",)  # numbers that stand for something, and have no mean
_SEVERAL = 4
_LARGEST = {"zeros", "nonfinite", "largest", "gradient zeros", "gradient nonfinite"}


def contract(view: GraphView, groups: Iterable[Group]) -> GraphView:
    """A view in which each group is one node.

    A group is left as it is where folding it would close a circle: where what it reads depends on what it makes.
    """
    wanted = list(groups)
    while wanted:
        owner: list[int] = [-1] * len(view.nodes)  # which group a node is in
        for number, (ids, _) in enumerate(wanted):
            for id in ids:
                owner[id] = number
        order, circular = _order(view, owner, len(wanted))
        if not circular:
            return _contracted(view, wanted, owner, order)
        wanted = [group for number, group in enumerate(wanted) if number not in circular]
    return view


def _order(view: GraphView, owner: list[int], groups: int) -> tuple[list[int], set[int]]:
    """Nodes and groups in topological order, groups as ``-1 - number``; or the groups that stand in circles."""
    last = [-1] * groups
    for id, number in enumerate(owner):
        if number >= 0:
            last[number] = id
    # A group may most often stand where its last member stood.
    if all(
        (edge.source if (one := owner[edge.source]) < 0 else last[one])
        < (edge.target if (other := owner[edge.target]) < 0 else last[other])
        or (one == other and one >= 0)
        for edge in view.edges
    ):
        return [
            id if number < 0 else -1 - number for id, number in enumerate(owner) if number < 0 or last[number] == id
        ], set()
    readers: dict[int, list[int]] = {}
    missing: dict[int, int] = {}
    for id, number in enumerate(owner):
        missing[id if number < 0 else -1 - number] = 0
    for edge in view.edges:
        source = edge.source if owner[edge.source] < 0 else -1 - owner[edge.source]
        target = edge.target if owner[edge.target] < 0 else -1 - owner[edge.target]
        if source != target:
            readers.setdefault(source, []).append(target)
            missing[target] += 1
    ready = [(one if one >= 0 else last[-1 - one], one) for one, count in missing.items() if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, one = heapq.heappop(ready)
        order.append(one)
        for reader in readers.get(one, ()):
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, (reader if reader >= 0 else last[-1 - reader], reader))
    circular = {-1 - one for one, count in missing.items() if count and one < 0}
    return order, circular


def _contracted(view: GraphView, groups: list[Group], owner: list[int], order: list[int]) -> GraphView:
    inside: set[End] = set()
    outside: set[End] = set()
    rules_read: set[End] = set()  # forward values that derivative rules read: not what a module is there to make
    for edge in view.edges:
        one = owner[edge.source]
        if one >= 0 and one == owner[edge.target]:
            inside.add((edge.source, edge.output))
        elif view.nodes[edge.target].backward and not view.nodes[edge.source].backward:
            rules_read.add((edge.source, edge.output))
        else:
            outside.add((edge.source, edge.output))
    positions: dict[End, int] = {}  # of a group's result among its outputs
    new_id: list[int] = [0] * len(view.nodes)
    nodes: list[Node] = []
    rules: dict[int, list[Node]] = {}  # what derivative rules were folded, by where they are now
    for number, one in enumerate(order):
        if one >= 0:
            new_id[one] = number
            node = view.nodes[one]
            nodes.append(node if node.id == number else replace(node, id=number))
            continue
        ids, make = groups[-1 - one]
        members = [view.nodes[id] for id in sorted(ids)]
        ends = [(node.id, output) for node in members for output in range(len(node.outputs))]
        results = [end for end in ends if end in outside] or [end for end in ends if end not in inside]
        results = results or [end for end in ends if end in rules_read][-1:]
        positions.update((end, position) for position, end in enumerate(results))
        for id in ids:
            new_id[id] = number
        rules[number] = [node for node in members if node.op and node.backward and node.belongs_to is not None]
        nodes.append(replace(make(members, results), id=number))
    for number, node in enumerate(nodes):  # what a gradient belongs to may itself have moved
        owners = {new_id[one.belongs_to] for one in rules.get(number, (node,)) if one.belongs_to is not None}
        belongs = owners.pop() if len(owners) == 1 else None
        belongs = belongs if belongs != number else None
        if belongs != node.belongs_to:
            nodes[number] = replace(node, belongs_to=belongs)
    edges: list[Edge] = []
    counts: dict[int, int] = {}
    seen: set[tuple[int, int, int]] = set()
    for edge in sorted(view.edges, key=lambda edge: new_id[edge.target]):
        source, target = new_id[edge.source], new_id[edge.target]
        if source == target:
            continue
        output, position = edge.output, edge.input
        if owner[edge.source] >= 0:
            end = positions.get((edge.source, edge.output))
            output = end or 0
            if end is None:  # what a rule needs of the inside: one line says it
                edge = replace(edge, value=None, name="saved")
        if owner[edge.target] >= 0:
            key = (source, output if edge.name != "saved" else -1, target)
            if key in seen:
                continue  # read several times inside
            seen.add(key)
            position = counts[target] = counts.get(target, -1) + 1
        if (source, target, output, position) == (edge.source, edge.target, edge.output, edge.input):
            edges.append(edge)
        else:
            edges.append(replace(edge, source=source, target=target, output=output, input=position))
    return without_empty_modules(GraphView(tuple(nodes), tuple(edges), view.modules, view.name))


def without_empty_modules(view: GraphView) -> GraphView:
    """Modules that hold no node, and none that does, are left out."""
    kept = used_modules(view)
    if all(kept):
        return view
    numbers: dict[int, int] = {}
    modules: list[Module] = []
    for module in view.modules:
        if kept[module.id]:
            numbers[module.id] = len(modules)
            parent = None if module.parent is None else numbers[module.parent]
            modules.append(replace(module, id=len(modules), parent=parent))
    nodes = tuple(
        node
        if node.module is None or numbers[node.module] == node.module
        else replace(node, module=numbers[node.module])
        for node in view.nodes
    )
    return GraphView(nodes, view.edges, tuple(modules), view.name)


def used_modules(view: GraphView) -> list[bool]:
    """For each module whether there is a node in it."""
    used = [False] * len(view.modules)
    for node in view.nodes:
        if node.module is not None:
            used[node.module] = True
    for module in reversed(view.modules):  # a parent comes before its children
        if used[module.id] and module.parent is not None:
            used[module.parent] = True
    return used


def folded(view: GraphView, members: list[Node], results: list[End], *, kind: str, op: str, **more: object) -> Node:
    """One node for several, with what can be said of them all."""
    by_id = {node.id: node for node in members}
    ends = [by_id[id] for id, _ in results]
    operations = [node for node in members if node.op]
    mark = strongest([node.mark for node in members])
    details: dict[str, object] = {
        "outputs": tuple(by_id[id].outputs[output] for id, output in results),
        "names": tuple(dict.fromkeys(name for node in ends if node.op for name in node.names)),
        "module": common_module(view.modules, (node.module for node in members)),
        "source": operations[-1].source if operations else None,
        "tracked": any(node.tracked for node in members),
        "backward": bool(operations) and all(node.backward for node in operations),
        "inside": sum(node.inside or node.count for node in operations),
        "mark": mark,
        "remark": next((node.remark for node in members if node.mark == mark), "") if mark else "",
        "measures": regroup_measures(members, ends),
        "histograms": ends[0].histograms if len({node.id for node in ends}) == 1 else (),
        "memory": ends[0].memory if len({node.id for node in ends}) == 1 else "",
    }
    return Node(id=0, kind=kind, op=op, **{**details, **more})  # type: ignore[arg-type]


def regroup_measures(members: list[Node], ends: list[Node]) -> tuple[tuple[str, float], ...]:
    """Times and bytes add up; what was measured of a value is that of the result, where there is one."""
    totals: dict[str, float] = {}
    for node in members:
        for name, value in node.measures:
            if name in ADD_UP:
                totals[name] = totals.get(name, 0) + value
    if len({node.id for node in ends}) == 1:
        totals.update((name, value) for name, value in ends[0].measures if name not in ADD_UP)
    return tuple(totals.items())


def repeated_measures(copies: list[Node]) -> tuple[tuple[str, float], ...]:
    """The measurements of several equal nodes: times and bytes add up, shares show the worst, the rest the mean."""
    found: dict[str, list[float]] = {}
    for node in copies:
        for name, value in node.measures:
            found.setdefault(name, []).append(value)
    combine: dict[str, Callable[[list[float]], float]] = {
        "smallest": min,
        **dict.fromkeys(ADD_UP, sum),
        **dict.fromkeys(_LARGEST, max),
    }
    return tuple(
        (name, combine[name](values) if name in combine else sum(values) / len(values))
        for name, values in found.items()
        if name not in _NAMING or len(set(values)) == 1
    )


def repeated_memory(copies: list[Node]) -> str:
    """Where the results of several equal nodes lie: the place that they share, or the buffers that they take in turn."""
    if len({node.memory for node in copies}) == 1:
        return copies[0].memory
    buffers = sorted({number for node in copies if (number := node.measure("buffer")) is not None})
    if not buffers:
        return ""
    shown = [f"{number:g}" for number in buffers]
    several = ", ".join(shown if len(shown) <= _SEVERAL else [*shown[: _SEVERAL - 1], "…", shown[-1]])
    return f"buffer{'s' if len(buffers) > 1 else ''} {several}"
