"""The last resort for graphs without structure: stretches of operations become one node each.

First those that one line of the user's code made, one after another; then, if that leaves too many, equally long ones.
Operations that follow one another in time never stand in a circle, so this always works.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from ..graph.view import GraphView, Node
from .chains import joined
from .contraction import End, Group, contract, folded

__all__ = ["merge_lines", "merge_stretches"]

_LONG = 40  # characters of a line that a label has room for


def merge_lines(view: GraphView) -> GraphView:
    """A view in which operations made one after another by one line of code are one node, which shows the line.

    They must stand in one module; what is marked stays by itself.

    >>> import autograd_ff as af, visualize
    >>> def function(x):
    ...     y = x.exp() * 2 - x.matmul(x).sum()
    ...     return y.sum()
    >>> len(visualize.trace(function, af.ones(2, 2)).nodes), len(merge_lines(visualize.trace(function, af.ones(2, 2))).nodes)
    (8, 4)
    """
    runs: list[list[Node]] = []
    for node in view.nodes:
        if not node.op or node.mark or node.source is None or node.kind == "loss":
            continue
        if runs and _line(runs[-1][0]) == _line(node):
            runs[-1].append(node)
        else:
            runs.append([node])
    groups: list[Group] = [([node.id for node in run], partial(_of_line, view)) for run in runs if len(run) > 1]
    return contract(view, groups)


def _line(node: Node) -> tuple[object, ...]:
    assert node.source is not None
    return node.source.file, node.source.line, node.module, node.backward


def _of_line(view: GraphView, members: list[Node], results: list[End]) -> Node:
    source = members[0].source
    text = "" if source is None else source.text.split("#")[0].strip()
    if not text or len(text) > _LONG:
        text = joined([node.op for node in members])
    return folded(view, members, results, kind="module", op=text, arguments=())


def merge_stretches(view: GraphView, most: int) -> GraphView:
    """A view of at most about ``most`` nodes: equally long stretches of operations, each one node.

    Arrays go where they are first read. What is marked stays by itself, unless that is too much.

    >>> import autograd_ff as af, visualize
    >>> def function(x):
    ...     for step in range(50):
    ...         x = x.sin() + x.cos() if step % 3 else x.exp()
    ...     return x
    >>> len(merge_stretches(visualize.trace(function, af.ones(2)), 10).nodes) <= 10
    True
    """
    first: dict[int, int] = {}
    for edge in view.edges:
        first[edge.source] = min(edge.target, first.get(edge.source, edge.target))
    results = [node for node in view.nodes if node.kind == "output" and not node.op]
    arrays = [node for node in view.nodes if not node.op and node.kind != "output"]
    shown = {node.id for node in arrays if node.kind == "input"}  # they tell most of all arrays
    ends = {node.id for node in results}
    shown = shown if len(shown) <= most // 5 else set()
    ends = ends if len(ends) <= most // 5 else set()
    marked = {node.id for node in view.nodes if node.mark}
    if len(marked) > most // 4:
        marked = set()
    order: list[tuple[float, int]] = []
    for node in view.nodes:
        if node.id not in shown and node.id not in ends and node.id not in marked:
            key = first.get(node.id, node.id) - 0.5 if not node.op and node.kind != "output" else node.id
            order.append((key, node.id))
    order.sort()
    # What stands alone cuts the stretches, so that they stay free of circles.
    cuts = sorted(marked)
    pieces = max(1, most - len(shown) - len(ends) - 2 * len(marked))
    size = -(-max(1, len(order)) // pieces)
    groups: list[Group] = []
    current: list[int] = []
    cut = 0
    for key, id in order:
        while cut < len(cuts) and cuts[cut] < key:
            cut += 1
            if current:
                groups.append((current, partial(_of_stretch, view)))
                current = []
        current.append(id)
        if len(current) == size:
            groups.append((current, partial(_of_stretch, view)))
            current = []
    if current:
        groups.append((current, partial(_of_stretch, view)))
    return contract(view, groups)


def _of_stretch(view: GraphView, members: list[Node], results: list[End]) -> Node:
    operations = [node for node in members if node.op]
    if len(members) == 1:
        return members[0]
    counts = Counter(node.op for node in operations for _ in range(node.count))
    usual = [f"{op} ×{count:,}" if count > 1 else op for op, count in counts.most_common(2)]
    more = ["…"] if len(counts) > 2 else []
    total = sum(node.inside or node.count for node in operations)
    name = f"{total:,} operations: {', '.join([*usual, *more])}" if operations else f"{len(members):,} arrays"
    kind = "loss" if any(node.kind == "loss" for node in members) else "module"
    return folded(view, members, results, kind=kind, op=name)
