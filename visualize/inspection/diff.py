"""What changed between two graphs: two models, two steps of a training, two versions of a program."""

from __future__ import annotations

import heapq
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autograd_ff.nn.module import Module as NetworkModule

from ..drawing.labels import node_title, place_text, shape_text, value_text
from ..errors import PictureError, here
from ..graph.view import MEASURES, Edge, GraphView, Module, Node, Value
from ..tracing.names import caller_variables
from ..tracing.observed import names_of
from ..tracing.walk import trace_from

__all__ = ["diff", "diff_text"]

_TIMES = ("forward", "backward")
_MOST = 1000  # edits in one stretch between two anchors, beyond which it counts as replaced


def diff(
    before: Any,
    after: Any,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    tolerance: float = 0.1,
    measures: Collection[str] | None = None,
) -> GraphView:
    """Both graphs in one, with marks on what was ``"added"``, ``"removed"`` or ``"changed"``.

    Nodes belong together where they are the same op in the same place of the module of the same qualified name;
    parameters, where they have the same name. Where a module was given another name (an insertion renumbers the rest of
    a ``Sequential``), its type decides. A node counts as changed if its shapes, dtypes or arguments differ, or whether
    a gradient flows through it, or a measurement that both have; its remark says from what to what. Names and lines of
    source code may differ freely.

    The nodes and modules are those of ``after``, and between them what is left only in ``before``.

    Args:
        before: a `GraphView`, or what `trace` takes.
        after: the same.
        inputs: for both, where they are modules or functions.
        kwargs: keyword arguments for both.
        tolerance: how far a measurement may move, as a share of the larger of the two (a mean, extremes: or of the
            larger spread), before it counts as changed.
        measures: which measurements to compare; by default all but the times, which differ in every run.

    >>> import autograd_ff as af, visualize
    >>> x = af.ones(2, 3)
    >>> view = diff(lambda x: x.exp().sum(), lambda x: x.exp().relu().sum(dim=1), x)
    >>> [(node.op, node.mark, node.remark) for node in view.nodes if node.mark]
    [('relu', 'added', ''), ('sum', 'changed', 'scalar → 2, axis: none → 1'), ('', 'changed', 'scalar → 2')]
    """
    frame = sys._getframe(1)
    old, new = (_traced(frame, one, inputs, kwargs) for one in (before, after))
    chosen = [name for name in MEASURES if name not in _TIMES] if measures is None else list(measures)
    unknown = [name for name in chosen if name not in MEASURES]
    if unknown:
        raise PictureError(f"no measurement is called {unknown[0]!r}; there are {', '.join(MEASURES)}{here()}")
    return _Merge(old, new, _partners(old, new), tolerance, chosen).view()


def _traced(frame: Any, target: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> GraphView:
    if isinstance(target, GraphView):
        return target
    # Beside its own parameters, the other model's names would only confuse.
    names = names_of(target, None, caller_variables(frame)) if isinstance(target, NetworkModule) else None
    return trace_from(frame, target, inputs, kwargs, names)


def diff_text(view: GraphView) -> str:
    """What `diff` found, in words: one line for each node that differs.

    >>> import autograd_ff as af, visualize
    >>> print(diff_text(visualize.diff(lambda x: x.exp(), lambda x: x.exp().tanh(), af.ones(2))))
    1 added
      + tanh, 2 float32 (...)
    """
    marks = Counter(node.mark for node in view.nodes)
    gone = ("added", "removed")
    came = {(edge.target, edge.input) for edge in view.edges if view.nodes[edge.source].mark in gone}
    heads = [f"{marks[mark]} {mark}" for mark in ("added", "removed", "changed") if marks[mark]]
    edges = Counter(edge.mark for edge in view.edges if not _explained(view, edge, came))
    heads += [
        f"{edges[mark]} connection{'s' * (edges[mark] > 1)} {mark}" for mark in ("added", "removed") if edges[mark]
    ]
    if not heads:
        return "no difference"
    incoming: dict[int, list[Edge]] = {}
    outgoing: dict[int, list[Edge]] = {}
    for edge in view.edges:
        incoming.setdefault(edge.target, []).append(edge)
        outgoing.setdefault(edge.source, []).append(edge)
    lines = [", ".join(heads)]
    for node in view.nodes:
        sign = {"added": "+", "removed": "-", "changed": "~"}.get(node.mark)
        if sign is None:
            continue
        title = node_title(node, incoming.get(node.id, ()), outgoing.get(node.id, ())).replace("\n", ", ")
        around = [view.modules[one].name for one in view.path(node.module) if view.modules[one].kind == "module"]
        place = f" in {around[-1]}" if around and node.op else ""
        value = node.remark or ", ".join(map(value_text, node.outputs))
        line = f" ({place_text(node.source)})" if node.source and node.op else ""
        lines.append(f"  {sign} {title}{place}{':' if node.remark else ','} {value}{line}")
    return "\n".join(lines)


def _explained(view: GraphView, edge: Edge, came: set[tuple[int, int]]) -> bool:
    """Whether an edge came or went with one of its ends, or because a node came or went between them."""
    return (
        edge.mark in (view.nodes[edge.source].mark, view.nodes[edge.target].mark) or (edge.target, edge.input) in came
    )


# ---------------------------------------------------------------- which nodes belong together


def _module_keys(view: GraphView) -> tuple[list[Hashable], list[Hashable]]:
    """For each module a key by its name, and one by its type; both with those of the modules around it."""
    named: list[Any] = []
    typed: list[Any] = []
    for module in view.modules:
        # What a network as a whole is called is no part of where something stands in it.
        name = "" if module.parent is None and module.name == module.type else module.name
        above = () if module.parent is None else named[module.parent]
        named.append((*above, (module.kind, name, module.call, module.backward)))
        above = () if module.parent is None else typed[module.parent]
        typed.append((*above, (module.kind, module.type, module.backward)))
    return named, typed


def _keys(view: GraphView) -> Iterator[list[Hashable]]:
    """Ways to say what a node is and where it stands, from the strictest to the loosest."""
    named, typed = _module_keys(view)
    alike = [(node.op, node.backward, node.kind if not node.op else "") for node in view.nodes]
    # What an array is called says which one it is; what a result is called does not.
    names = [node.names if not node.op else () for node in view.nodes]
    looks = [(node.outputs, node.arguments) for node in view.nodes]
    places: list[Hashable] = [() if node.module is None else named[node.module] for node in view.nodes]
    types: list[Hashable] = [() if node.module is None else typed[node.module] for node in view.nodes]
    yield list(zip(alike, names, places, looks, strict=True))
    yield list(zip(alike, names, places, strict=True))
    yield list(zip(alike, types, looks, strict=True))
    yield list(zip(alike, types, strict=True))


def _match(old: GraphView, new: GraphView) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of nodes that belong together: first those in the same order in both views, then those that moved."""
    spans = [(0, len(old.nodes), 0, len(new.nodes))]
    pairs: list[tuple[int, int]] = []
    strict: list[list[Hashable]] = []
    for mine, theirs in zip(_keys(old), _keys(new), strict=True):
        strict = strict or [mine, theirs]
        if not spans:
            break
        for low, high, start, stop in spans:
            found = _common(mine[low:high], theirs[start:stop])
            pairs += [(low + one, start + other) for one, other in found]
        pairs.sort()
        spans = list(_gaps(pairs, len(old.nodes), len(new.nodes)))
    mine, theirs = strict
    waiting: dict[Hashable, list[int]] = {}
    taken = {one for one, _ in pairs}, {other for _, other in pairs}
    for at, key in enumerate(mine):
        if at not in taken[0]:
            waiting.setdefault(key, []).append(at)
    moved = []
    for at, key in enumerate(theirs):
        if at not in taken[1] and waiting.get(key):
            moved.append((waiting[key].pop(0), at))
    return pairs, moved


def _gaps(pairs: list[tuple[int, int]], old: int, new: int) -> Iterator[tuple[int, int, int, int]]:
    """The stretches between pairs in which both sides have something left."""
    low = start = 0
    for high, stop in [*pairs, (old, new)]:
        if low < high and start < stop:
            yield low, high, start, stop
        low, start = high + 1, stop + 1


def _common(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of positions.

    Keys that occur once on each side anchor it (Cohen's patience diff); between them Myers' algorithm is exact.
    """
    found: list[tuple[int, int]] = []
    work = [(0, len(old), 0, len(new))]
    while work:
        low, high, start, stop = work.pop()
        while low < high and start < stop and old[low] == new[start]:
            found.append((low, start))
            low, start = low + 1, start + 1
        while low < high and start < stop and old[high - 1] == new[stop - 1]:
            high, stop = high - 1, stop - 1
            found.append((high, stop))
        if low == high or start == stop:
            continue
        anchors = _anchors(old, new, low, high, start, stop)
        if not anchors:
            found += _myers(old, new, low, high, start, stop)
            continue
        found += anchors
        for one, other in [*anchors, (high, stop)]:
            work.append((low, one, start, other))
            low, start = one + 1, other + 1
    return sorted(found)


def _anchors(
    old: Sequence[Hashable], new: Sequence[Hashable], low: int, high: int, start: int, stop: int
) -> list[tuple[int, int]]:
    """The longest sequence of keys that occur once on each side and stand in the same order on both."""
    counts, others = Counter(old[low:high]), Counter(new[start:stop])
    places = {new[at]: at for at in range(start, stop) if others[new[at]] == 1}
    pairs = [(at, places[old[at]]) for at in range(low, high) if counts[old[at]] == 1 and old[at] in places]
    tails: list[int] = []
    heads: list[int] = []  # of the best sequence of each length, the index of its last pair
    before: list[int] = []
    for index, (_, other) in enumerate(pairs):
        length = bisect_left(tails, other)
        before.append(heads[length - 1] if length else -1)
        tails[length : length + 1] = [other]
        heads[length : length + 1] = [index]
    chain: list[tuple[int, int]] = []
    index = heads[-1] if heads else -1
    while index >= 0:
        chain.append(pairs[index])
        index = before[index]
    return chain[::-1]


def _myers(
    old: Sequence[Hashable], new: Sequence[Hashable], low: int, high: int, start: int, stop: int
) -> list[tuple[int, int]]:
    """Myers (1986), "An O(ND) difference algorithm and its variations"; gives up beyond `_MOST` edits."""
    rows, columns = high - low, stop - start
    reach = {1: 0}
    history: list[dict[int, int]] = []
    for edits in range(min(rows + columns, _MOST) + 1):
        history.append(dict(reach))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
            x = reach[diagonal + 1] if down else reach[diagonal - 1] + 1
            y = x - diagonal
            while x < rows and y < columns and old[low + x] == new[start + y]:
                x, y = x + 1, y + 1
            reach[diagonal] = x
            if x >= rows and y >= columns:
                return _trail(history, rows, columns, low, start)
    return []


def _trail(history: list[dict[int, int]], x: int, y: int, low: int, start: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for edits in range(len(history) - 1, -1, -1):
        reach, diagonal = history[edits], x - y
        down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
        source = diagonal + 1 if down else diagonal - 1
        from_x = reach[source]
        from_y = from_x - source
        while x > max(from_x, 0) and y > max(from_y, 0):
            x, y = x - 1, y - 1
            pairs.append((low + x, start + y))
        x, y = from_x, from_y
    return pairs


def _partners(old: GraphView, new: GraphView) -> dict[int, int]:
    """For each node of the old view the one of the new view that it belongs to."""
    # Where several answers are equally good, the same one is given whichever view comes first.
    if len(old.nodes) > len(new.nodes) or (len(old.nodes) == len(new.nodes) and _later(old, new)):
        return {one: other for other, one in _partners_in_order(new, old).items()}
    return _partners_in_order(old, new)


def _later(old: GraphView, new: GraphView) -> bool:
    return next(
        (repr(one) > repr(other) for one, other in zip(old.nodes, new.nodes, strict=True) if one != other), False
    )


def _partners_in_order(old: GraphView, new: GraphView) -> dict[int, int]:
    pairs, moved = _match(old, new)
    merge = _Merge(old, new, dict(pairs))
    merge.join(moved)
    return merge.partner


# ---------------------------------------------------------------- both in one


class _Merge:
    """Two views as one. A place in it is ``(side, id)``: side 1 for all that is in ``after``, 0 for the rest."""

    def __init__(
        self,
        old: GraphView,
        new: GraphView,
        partner: dict[int, int],
        tolerance: float = 0.0,
        measures: Collection[str] = (),
    ) -> None:
        self.old, self.new = old, new
        self.partner = partner  # of a node of `old`, the one of `new`
        self.tolerance = tolerance
        self.measures = measures

    def _place(self, node: int) -> tuple[int, int]:
        """Where a node of the old view stands in the common one."""
        other = self.partner.get(node)
        return (0, node) if other is None else (1, other)

    def _links(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        for edge in self.new.edges:
            yield (1, edge.source), (1, edge.target)
        for edge in self.old.edges:
            yield self._place(edge.source), self._place(edge.target)

    def join(self, moved: list[tuple[int, int]]) -> None:
        """Join the nodes that moved, but for those whose joining would make data flow in a circle."""
        if not moved:
            return
        self.partner.update(moved)
        while True:
            left = self._order()[1]
            if not left:
                return
            before: dict[tuple[int, int], tuple[int, int]] = {}
            for source, target in self._links():
                if source in left and target in left:
                    before.setdefault(target, source)
            place, seen = min(left), set()
            while place not in seen and place in before:
                seen.add(place)
                place = before[place]
            circle, start = {place}, before.get(place, place)
            while start != place:
                circle.add(start)
                start = before[start]
            # Nodes in the same order in both views make no circle, so one that moved is in it.
            one, _ = next(pair for pair in moved if (1, pair[1]) in circle and self.partner.get(pair[0]) == pair[1])
            del self.partner[one]

    def _order(self) -> tuple[list[tuple[int, int]], set[tuple[int, int]]]:
        """All places so that every edge leads forward, near to where they stood; and those caught in a circle."""
        # What was removed stands where it would stand behind the last node before it that is still there.
        rank: dict[tuple[int, int], tuple[int, int, int]] = {(1, node.id): (node.id, 1, 0) for node in self.new.nodes}
        last = -1
        for node in self.old.nodes:
            if node.id in self.partner:
                last = max(last, self.partner[node.id])
            else:
                rank[0, node.id] = (last + 1, 0, node.id)
        waits = dict.fromkeys(rank, 0)
        readers: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for source, target in self._links():
            waits[target] += 1
            readers.setdefault(source, []).append(target)
        ready = [(key, place) for place, key in rank.items() if not waits[place]]
        heapq.heapify(ready)
        order: list[tuple[int, int]] = []
        while ready:
            _, place = heapq.heappop(ready)
            order.append(place)
            for reader in readers.get(place, ()):
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, (rank[reader], reader))
        return order, rank.keys() - set(order)

    def view(self) -> GraphView:
        """Both views in one, with marks."""
        modules, numbers = self._modules()
        order, _ = self._order()
        ids = {place: at for at, place in enumerate(order)}
        partner = {new: old for old, new in self.partner.items()}
        nodes: list[Node] = []
        for side, node_id in order:
            node = (self.old, self.new)[side].nodes[node_id]
            mark, remark = ("added" if side else "removed"), ""
            if side and node_id in partner:
                remark = ", ".join(self._changes(self.old.nodes[partner[node_id]], node))
                mark = "changed" if remark else ""
            module = None if node.module is None else numbers[side][node.module]
            owner = node.belongs_to
            if owner is not None:
                owner = ids[1, owner] if side else ids[self._place(owner)]
            nodes.append(replace(node, id=len(nodes), module=module, belongs_to=owner, mark=mark, remark=remark))
        edges = self._edges(ids)
        return GraphView(tuple(nodes), tuple(edges), tuple(modules), self.new.name or self.old.name)

    def _edges(self, ids: dict[tuple[int, int], int]) -> list[Edge]:
        def key(edge: Edge) -> tuple[Any, ...]:
            return edge.source, edge.target, edge.output, edge.input, edge.name

        def moved(edge: Edge, place: Callable[[int], tuple[int, int]], mark: str) -> Edge:
            return replace(edge, source=ids[place(edge.source)], target=ids[place(edge.target)], mark=mark)

        left = [moved(edge, self._place, "removed") for edge in self.old.edges]
        known = Counter(key(edge) for edge in left)
        edges: list[Edge] = []
        for edge in self.new.edges:
            edge = moved(edge, lambda node: (1, node), "")
            if known[key(edge)]:
                known[key(edge)] -= 1
                edges.append(edge)
            else:
                edges.append(replace(edge, mark="added"))
        for edge in left:
            if known[key(edge)]:
                known[key(edge)] -= 1
                edges.append(edge)
        return sorted(
            edges, key=lambda edge: (edge.target, edge.input, edge.mark == "removed", edge.source, edge.output)
        )

    def _modules(self) -> tuple[list[Module], tuple[dict[int, int], dict[int, int]]]:
        """The modules of both views, those with the same name in the same place once; their new ids by side."""
        inside: Counter[tuple[int, int]] = Counter()
        for old, new in self.partner.items():
            pairs = zip(
                self.old.path(self.old.nodes[old].module), self.new.path(self.new.nodes[new].module), strict=False
            )
            inside.update((one, other) for one, other in pairs)
        keys = _module_keys(self.old)[0], _module_keys(self.new)[0]
        numbers: tuple[dict[int, int], dict[int, int]] = {}, {module.id: module.id for module in self.new.modules}
        merged = list(self.new.modules)
        by_key = {key: at for at, key in reversed(list(enumerate(keys[1])))}
        best: dict[int, int] = {}
        for (one, other), _ in sorted(inside.items(), key=lambda item: (-item[1], item[0])):
            if one not in best and other not in best.values():
                best[one] = other  # modules whose nodes belong together, whatever they are called
        for module in self.old.modules:
            above = None if module.parent is None else numbers[0][module.parent]
            same = best.get(module.id, by_key.get(keys[0][module.id]))
            if same is not None and self.new.modules[same].parent == above:
                numbers[0][module.id] = same
                continue
            numbers[0][module.id] = len(merged)
            merged.append(replace(module, id=len(merged), parent=above))
        return merged, numbers

    def _changes(self, old: Node, new: Node) -> Iterator[str]:
        """What differs between two nodes that belong together."""
        for at in range(max(len(old.outputs), len(new.outputs))):
            one = old.outputs[at] if at < len(old.outputs) else None
            other = new.outputs[at] if at < len(new.outputs) else None
            if one != other:
                yield _value_change(one, other)
        if old.arguments != new.arguments:
            given, now = dict(old.arguments), dict(new.arguments)
            for name in dict.fromkeys((*given, *now)):
                if given.get(name) != now.get(name):
                    yield f"{name}: {given.get(name, 'none')} → {now.get(name, 'none')}"
        if old.kind != new.kind:
            yield f"{old.kind} → {new.kind}"
        if old.tracked != new.tracked:
            yield "now with a gradient" if new.tracked else "now without a gradient"
        if old.count != new.count:
            yield f"×{old.count} → ×{new.count}"
        for name in self.measures if old.measures and new.measures else ():
            was, now = old.measure(name), new.measure(name)  # type: ignore[assignment]
            if was is not None and now is not None and self._differ(name, old, new):
                yield f"{name} {was:.3g} → {now:.3g}"

    def _differ(self, name: str, old: Node, new: Node) -> bool:
        was, now = old.measure(name) or 0.0, new.measure(name) or 0.0
        scale = max(abs(was), abs(now))
        if name in ("mean", "smallest", "largest", "gradient mean"):  # near zero, what matters is how they are spread
            spread = "gradient spread" if name.startswith("gradient") else "spread"
            scale = max(scale, old.measure(spread) or 0.0, new.measure(spread) or 0.0)
        elif MEASURES[name] == "share":
            scale = 1.0
        return abs(was - now) > self.tolerance * scale


def _value_change(old: Value | None, new: Value | None) -> str:
    if old is None or new is None:
        there = old or new
        assert there is not None
        text = value_text(there)
        return f"{text} → nothing" if new is None else f"nothing → {text}"
    parts = []
    if old.shape != new.shape:
        parts.append(f"{shape_text(old.shape)} → {shape_text(new.shape)}")
    if old.dtype != new.dtype:
        parts.append(f"{old.dtype} → {new.dtype}")
    return ", ".join(parts)
