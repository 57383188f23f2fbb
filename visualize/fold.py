"""Views made simpler: what is one thing to the reader becomes one node."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from .graph import Edge, GraphView, Module, Node

__all__ = ["fold", "fold_functions"]

_FOLDED = {"composite": "op", "function": "kernel", "backward": "op", "module": "module"}


def fold_functions(view: GraphView, open: bool | str | Collection[str] = False) -> GraphView:
    """One node for each call of a composite op and of a derivative rule.

    Args:
        view: what to fold.
        open: names of composites and rules that keep their inside; True for all.

    >>> import autograd_ff as af, visualize
    >>> view = visualize.trace(lambda x: af.lerp(x, x, 0.5), af.ones(2))
    >>> [node.op for node in view.nodes if node.op], [node.op for node in fold_functions(view).nodes if node.op]
    (['subtract', 'multiply', 'add'], ['lerp'])
    """
    if open is True:
        return view
    kept = {open} if isinstance(open, str) else set(open or ())
    return fold(
        view,
        lambda module: module.kind in ("composite", "backward") and module.name not in kept and module.type not in kept,
    )


def fold(view: GraphView, chosen: Callable[[Module], bool]) -> GraphView:
    """A view in which each chosen module, with all in it, is one node.

    The outermost chosen module counts. A folded node reads what its inside read from outside, and its outputs are those
    that are read outside, or by nobody.

    >>> import autograd_ff as af, visualize
    >>> view = visualize.trace(af.nn.Sequential(af.nn.Linear(3, 2), af.nn.ReLU()), af.ones(1, 3))
    >>> folded = fold(view, lambda module: module.type == "Linear")
    >>> [(node.kind, node.op) for node in folded.nodes if node.op]
    [('module', 'Linear'), ('op', 'relu')]
    """
    outermost: list[int | None] = []  # for each module the outermost chosen one around it
    for module in view.modules:  # a parent comes before its children
        above = None if module.parent is None else outermost[module.parent]
        outermost.append(above if above is not None else module.id if chosen(module) else None)
    group = [None if node.module is None else outermost[node.module] for node in view.nodes]
    if not any(one is not None for one in group):
        return view
    # A call of a module is an uninterrupted stretch of operations, so it may stand where its last one stood.
    last = {one: node.id for node, one in zip(view.nodes, group, strict=True) if one is not None}
    read_inside: set[tuple[int, int]] = set()
    read_outside: set[tuple[int, int]] = set()
    for edge in view.edges:
        inside = group[edge.source] is not None and group[edge.source] == group[edge.target]
        (read_inside if inside else read_outside).add((edge.source, edge.output))
    members: dict[int, list[Node]] = {}
    for node, one in zip(view.nodes, group, strict=True):
        if one is not None:
            members.setdefault(one, []).append(node)
    results: dict[int, list[tuple[int, int]]] = {}
    for one, nodes in members.items():
        ends = [(node.id, output) for node in nodes for output in range(len(node.outputs))]
        results[one] = [end for end in ends if end in read_outside] or [end for end in ends if end not in read_inside]
    modules, numbers = _without(view, {index for index, one in enumerate(outermost) if one is not None})
    nodes_left: list[Node] = []
    ids: dict[int, int] = {}
    for node, one in zip(view.nodes, group, strict=True):
        if one is None:
            ids[node.id] = len(nodes_left)
            kept = None if node.module is None else numbers[node.module]
            nodes_left.append(replace(node, id=len(nodes_left), module=kept))
        elif last[one] == node.id:
            for member in members[one]:
                ids[member.id] = len(nodes_left)
            whole = _folded(view, view.modules[one], members[one], results[one])
            parent = view.modules[one].parent
            nodes_left.append(replace(whole, id=len(nodes_left), module=None if parent is None else numbers[parent]))
    edges: list[Edge] = []
    counts: dict[int, int] = {}
    seen: set[tuple[int, int, int]] = set()
    for edge in sorted(view.edges, key=lambda edge: ids[edge.target]):
        source, target, output = ids[edge.source], ids[edge.target], edge.output
        if source == target:
            continue
        if group[edge.source] is not None:
            output = results[group[edge.source]].index((edge.source, edge.output))  # type: ignore[index]
        position, name = edge.input, edge.name
        if group[edge.target] is not None:
            if (source, output, target) in seen:
                continue  # read several times inside
            seen.add((source, output, target))
            position = counts[target] = counts.get(target, -1) + 1
        edges.append(replace(edge, source=source, target=target, output=output, input=position, name=name))
    return GraphView(tuple(nodes_left), tuple(edges), modules, view.name)


def _without(view: GraphView, gone: set[int]) -> tuple[tuple[Module, ...], dict[int, int]]:
    numbers: dict[int, int] = {}
    left: list[Module] = []
    for module in view.modules:
        if module.id not in gone:
            numbers[module.id] = len(left)
            parent = None if module.parent is None else numbers[module.parent]
            left.append(replace(module, id=len(left), parent=parent))
    return tuple(left), numbers


def _folded(view: GraphView, module: Module, members: list[Node], results: list[tuple[int, int]]) -> Node:
    kinds = {node.kind for node in members}
    ops = [node for node in members if node.op]
    by_id = {node.id: node for node in members}
    single = ops[0] if len(ops) == 1 and module.kind == "composite" else None
    kind = "loss" if "loss" in kinds else "write" if "write" in kinds else _FOLDED[module.kind]
    if single is not None:
        kind = single.kind
    elif module.kind == "composite" and ops and all(node.kind == "view" for node in ops):
        kind = "view"
    return Node(
        id=0,
        kind=kind,
        op=f"∇ {module.type}" if module.kind == "backward" else module.type,
        outputs=tuple(by_id[node].outputs[output] for node, output in results),
        names=tuple(dict.fromkeys(name for node, _ in results for name in by_id[node].names if by_id[node].op)),
        arguments=single.arguments if single is not None else (),
        source=module.source or (ops[-1].source if ops else None),
        tracked=any(node.tracked for node in members),
        backward=module.backward,
    )
