"""What can be opened and closed on a page: modules, composite operations, equal neighbours, and parts of long chains.

A page lays out one level at a time, so every level must be small enough to be read and laid out: where a module, or a
graph without any, holds hundreds of operations, consecutive ones stand together in parts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..drawing.appearance import Appearance
from ..drawing.labels import bytes_text, inside_text, measure_text, module_label, node_note, op_text
from ..folding.contraction import ADD_UP
from ..folding.fold import FOLDED, Selection, selector
from ..folding.merged import range_of, repeated_word
from ..folding.repeats import Repeats
from ..folding.simplify import check_found
from ..graph.marks import STRONG, strongest
from ..graph.view import MEASURES, Module, Node, Value

__all__ = ["Container", "Tree"]

_MANY = 150  # items of one level that are laid out beside each other
_PART = 100  # items of one part
_FEW = 3  # nodes that are no picture
_SHARED = 40  # arrays that several parts read and that stand beside them


@dataclass(eq=False)
class Container:
    """Something with an inside."""

    kind: str  # one of MODULE_KINDS, or "part"
    parent: Container | None
    module: Module | None = None
    title: str = ""
    name: str = ""  # qualified
    count: int = 1  # how many equal ones: "×12"
    backward: bool = False
    times: int = 1  # how many of what stands in it there are, in a view whose equal neighbours are one already
    id: int = -1
    look: str = "module"  # how it looks while it is closed: a kind of node
    mark: str = ""  # the strongest inside
    outputs: list[Value] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)  # what there is to say about all of it
    sums: dict[str, float] = field(default_factory=dict)
    inside: str = ""  # how much is in it

    @property
    def note(self) -> str:
        """The second line while it is closed."""
        return node_note(Node(0, "op", outputs=tuple(self.outputs)))


class Tree:
    """The containers of a view, parents before children, and the one that each node stands in.

    Args:
        looks: the view and its words.
        group: whether equal neighbours stand together.

    >>> import autograd_ff as af, visualize
    >>> view = visualize.trace(af.nn.Sequential(*(af.nn.Linear(3, 3) for _ in range(4))), af.ones(1, 3))
    >>> [one.title for one in Tree(Appearance(view, "light"), group=True).containers][:2]
    ['Sequential', '0–3 · Linear(3→3) ×4']
    """

    def __init__(self, looks: Appearance, group: bool) -> None:
        self.view = looks.view
        self._looks = looks
        self._boxes: dict[int, Container] = {}
        self.home: list[Container | None] = []
        self._boxes_of_modules()
        if group:
            self._group(Repeats(self.view, 2))
            self._arrays_into_groups()
        self._split()
        self._number()
        self._tell()

    # ---------------------------------------------------------------- building

    def _boxes_of_modules(self) -> None:
        nest, modules = self._looks.nesting, self.view.modules
        inner: dict[int | None, list[int]] = {}
        for module in modules:
            if nest.is_box(module.id):
                inner.setdefault(nest.box(module.parent), []).append(module.id)
        own = Counter(nest.box(node.module) for node in self.view.nodes)
        for module in modules:
            if not nest.is_box(module.id):
                continue
            parent = nest.box(module.parent)
            if parent is not None and len(inner[parent]) == 1 and not own[parent] and module.count == 1:
                around = self._boxes[module.id] = self._boxes[parent]  # two boxes around the same are one
                if around.kind != "module" and module.kind == "module":
                    around.kind, around.module, around.name = module.kind, module, module.name
                    around.title = self._looks.box_title(module)
                continue
            self._boxes[module.id] = Container(
                module.kind,
                None if parent is None else self._boxes[parent],
                module,
                self._looks.box_title(module),
                module.name,
                module.count,
                module.backward,
                module.count,
            )
        self.home = [None if (box := nest.box(node.module)) is None else self._boxes[box] for node in self.view.nodes]

    def _levels(self) -> dict[Container | None, list[Node | Container]]:
        """For each container what stands in it, in an order in which data flow."""
        found: dict[Container | None, list[Node | Container]] = {}
        last: dict[Container, int] = {}
        for node, home in zip(self.view.nodes, self.home, strict=True):
            found.setdefault(home, []).append(node)
            while home is not None and node.op:
                last[home] = node.id
                home = home.parent
        for one in dict.fromkeys(self._boxes.values()):
            found.setdefault(one.parent, []).append(one)
        for level in found.values():
            level.sort(key=lambda one: (one.id, 0) if isinstance(one, Node) else (last.get(one, -1), 1))
        return found

    def _group(self, found: Repeats) -> None:
        """Containers around equal neighbours."""
        found.find()
        if not found.twin:
            return
        for home, level in self._levels().items():
            keys: dict[object, list[int]] = {}
            working = [one for one in level if isinstance(one, Container) or one.op]
            for at, one in enumerate(working):
                keys.setdefault(self._kin(found, one), []).append(at)
            for key, places in keys.items():
                # Only what follows one another may stand together, or data would flow in a circle.
                if len(places) < 2 or places[-1] - places[0] != len(places) - 1:
                    continue
                self._surround(home, [working[at] for at in places], len(places) == len(level), found, key)

    def _kin(self, found: Repeats, one: Node | Container) -> object:
        """What all that stands in for one another has in common."""
        if isinstance(one, Container):
            assert one.module is not None
            item = -1 - found.original_module(one.module.id)
        else:
            module, nest = one.module, self._looks.nesting
            around = None
            while module is not None and not nest.is_box(module):
                around, module = module, self.view.modules[module].parent
            item = found.original(one.id) if around is None else -1 - found.original_module(around)
        box = found.box_of.get(item)
        if box is None:
            return item
        while (outer := found.boxes[box].parent) is not None:
            box = outer
        return ("box", box)

    def _surround(
        self, home: Container | None, members: list[Node | Container], fills: bool, found: Repeats, key: object
    ) -> None:
        within = "" if home is None else home.name
        first = members[0]
        if isinstance(key, tuple):
            word = repeated_word(self.view, found.boxes[key[1]])
            group = Container("repeat", home, title=module_label(word), count=word.count, backward=word.backward)
        elif isinstance(first, Container):
            assert first.module is not None
            names = [one.name for one in members if isinstance(one, Container)]
            whole = Module(
                0, "module", range_of(names), first.module.type, detail=first.module.detail,
                backward=first.backward, count=len(members),
            )  # fmt: skip
            group = Container("repeat", home, title=module_label(whole, within), name=whole.name, count=len(members))
            group.backward = first.backward
            # A module that holds equal ones and nothing else is that group.
            if fills and home is not None and home.parent is not None:
                home.kind, home.count, home.name = "repeat", group.count, group.name
                home.title = module_label(whole, "" if home.parent is None else home.parent.name)
                return
        else:
            title = f"{op_text(first.op)} ×{len(members)}"
            group = Container("repeat", home, title=title, count=len(members), backward=first.backward)
        self._move(members, group)

    def _move(self, members: Sequence[Node | Container], group: Container) -> None:
        """Into a new container."""
        for one in members:
            if isinstance(one, Container):
                one.parent = group
            else:
                self.home[one.id] = group
        self._boxes[-1 - len(self._boxes)] = group

    def _arrays_into_groups(self) -> None:
        """Arrays that are read in one group only go there."""
        for node in self.view.nodes:
            if node.op or node.kind == "input" or not self._looks.outgoing[node.id]:
                continue
            common: list[Container] | None = None
            for edge in self._looks.outgoing[node.id]:
                around = list(_around(self.home[edge.target]))[::-1]
                common = around if common is None else [a for a, b in zip(common, around, strict=False) if a is b]
            groups = [one for one in common or () if one.kind == "repeat"]
            if groups and self.home[node.id] in (None, *_around(groups[-1].parent)):
                self.home[node.id] = groups[-1]

    def _split(self) -> None:
        """Parts of levels that hold too much."""
        for home, level in self._levels().items():
            if len(level) <= _MANY:
                continue
            working = [one for one in level if isinstance(one, Container) or one.op or self._looks.incoming[one.id]]
            total = len(working)
            below: list[Node | Container] = list(working)
            reached = [(at, at + 1) for at in range(total)]  # which items each of these stands for
            while len(below) > _MANY:
                parts: list[Node | Container] = []
                ends: list[tuple[int, int]] = []
                for start in range(0, len(below), _PART):
                    inside = below[start : start + _PART]
                    first, last = reached[start][0], reached[start + len(inside) - 1][1]
                    part = Container("part", home, title=f"{first + 1:,}–{last:,} of {total:,}")
                    part.name = _most_common(working[first:last])
                    self._move(inside, part)
                    parts.append(part)
                    ends.append((first, last))
                below, reached = parts, ends
            arrays = [one for one in level if isinstance(one, Node) and self.home[one.id] is home and not one.op]
            shared = [one for one in arrays if len(self._readers(one, home)) > 1]
            for one in arrays:
                readers = self._readers(one, home)
                if readers and (len(readers) == 1 or (len(shared) > _SHARED and one.kind != "input")):
                    self.home[one.id] = readers[0]

    def _readers(self, array: Node, home: Container | None) -> list[Container]:
        """The innermost parts of a level in which an array is read."""
        found: dict[Container, None] = {}
        for edge in self._looks.outgoing[array.id]:
            inner = None
            for one in _around(self.home[edge.target]):  # innermost first
                if one is home:
                    break
                if one.kind == "part" and inner is None:
                    inner = one
            if inner is not None:
                found[inner] = None
        return list(found)

    def _number(self) -> None:
        """Parents first, and otherwise in the order of what they hold."""
        first: dict[Container, int] = {}
        for node, home in zip(self.view.nodes, self.home, strict=True):
            while home is not None and home not in first:
                first[home] = node.id
                home = home.parent
        depth = {one: len(list(_around(one))) for one in first}
        self.containers = sorted(first, key=lambda one: (first[one], depth[one]))
        for number, one in enumerate(self.containers):
            one.id = number
        assert all(one.parent is None or one.parent.id < one.id for one in self.containers)

    # ---------------------------------------------------------------- what there is to say

    def _tell(self) -> None:
        view = self.view
        inside: dict[Container, Counter[str]] = {one: Counter() for one in self.containers}
        marks: dict[Container, list[str]] = {one: [] for one in self.containers}
        kinds: dict[Container, set[str]] = {one: set() for one in self.containers}
        for node in view.nodes:
            numbers = {name: number for name, number in node.measures if name in ADD_UP}
            times = node.count
            for one in _around(self.home[node.id]):
                times *= one.times
                counts = inside[one]
                if node.op:
                    counts["operations"] += max(node.inside // node.count, 1) * times
                    kinds[one].add(node.kind)
                elif node.kind == "parameter":
                    counts["arrays"] += times
                    counts["bytes"] += node.nbytes * times
                    counts["numbers"] += sum(math.prod(value.shape) for value in node.outputs) * times
                if node.mark:
                    marks[one].append(node.mark)
                for name, number in numbers.items():
                    one.sums[name] = one.sums.get(name, 0.0) + number
        for one in self.containers:
            counts = inside[one]
            one.mark = strongest(marks[one])
            one.look = self._folded_look(one, kinds[one])
            one.inside = inside_text(Node(0, "module", count=one.count, inside=counts["operations"]))
            if one.count > 1:
                one.rows.append(("equal ones", str(one.count)))
            one.rows.append(("operations", f"{counts['operations']:,}"))
            if counts["arrays"]:
                arrays = f"{counts['arrays']:,} array{'s' if counts['arrays'] > 1 else ''}"
                one.rows.append(("parameters", f"{counts['numbers']:,} in {arrays}, {bytes_text(counts['bytes'])}"))
            for name in ADD_UP:
                if name in one.sums:
                    one.rows.append((name, measure_text(name, one.sums[name], MEASURES[name])))
        self._outputs()

    @staticmethod
    def _folded_look(one: Container, kinds: set[str]) -> str:
        if "loss" in kinds:
            return "loss"
        if one.kind == "composite" and kinds == {"view"}:
            return "view"
        if one.kind == "composite" and "write" in kinds:
            return "write"
        look = FOLDED.get(one.kind, "module")
        return "gradient" if one.backward else look

    def _outputs(self) -> None:
        """What is read outside of each container, or by nobody."""
        seen: set[tuple[Container, int, int]] = set()
        ends: set[tuple[int, int]] = {
            (node.id, at) for node in self.view.nodes if node.op for at in range(len(node.outputs))
        }
        leaving: dict[Container, list[tuple[int, int]]] = {}
        view = self.view
        for edge in view.edges:
            ends.discard((edge.source, edge.output))
            reader = set(_around(self.home[edge.target]))
            kept = view.nodes[edge.target].backward and not view.nodes[edge.source].backward
            if kept:
                continue  # what a gradient reads is no result
            for one in _around(self.home[edge.source]):
                key = (one, edge.source, edge.output)
                if one in reader:
                    break
                if view.nodes[edge.source].op and key not in seen:
                    seen.add(key)
                    leaving.setdefault(one, []).append((edge.source, edge.output))
        for node, output in sorted(ends):
            for one in _around(self.home[node]):
                leaving.setdefault(one, []).append((node, output))
        for one, values in leaving.items():
            known = (self.view.nodes[node].outputs for node, _ in values)
            one.outputs = [outputs[at] for outputs, (_, at) in zip(known, values, strict=True) if at < len(outputs)]

    # ---------------------------------------------------------------- what is open at first

    def opened(self, depth: int | None, open: Selection, fold: Selection, limit: int) -> list[int]:
        """The ids of the containers that are open when the page is."""
        for chosen, option in ((open, "open"), (fold, "fold")):
            predicate = selector(chosen)
            check_found(self.view, chosen, {one.id for one in self.view.modules if predicate(one)}, option)
        is_closed = selector(fold)
        closed = {one for one in self.containers if one.module is not None and is_closed(one.module)}
        if open is True:
            every = {one for one in self.containers if depth is None or self._level(one) < depth}
            return self._ids(every - closed)
        asked = self._with_around(one for one in self._asked(selector(open))) - closed
        if depth is not None:
            return self._ids(asked | (self._to_depth(depth) - closed))
        marked = [node for node in self.view.nodes if node.mark and self.home[node.id] is not None]
        choices = (
            self._with_around(self.home[node.id] for node in marked) - closed,
            self._with_around(self.home[node.id] for node in marked if node.mark in STRONG) - closed,
        )
        deepest = 1 + max((self._level(one) for one in self.containers), default=0)
        for around in choices:
            fitting = [
                found
                for level in range(deepest, -1, -1)
                if (count := self._count(found := asked | around | (self._to_depth(level, alike=True) - closed)))
                <= limit
                or (level == 1 and count <= 2 * limit)  # one box says too little
            ]
            if fitting:
                return self._ids(self._not_too_few(fitting[0], closed, limit))
        return self._ids(self._not_too_few(asked | choices[-1], closed, limit))

    def _asked(self, chosen: Callable[[Module], bool]) -> Iterable[Container]:
        wanted = [one for one in self.containers if one.module is not None and chosen(one.module)]
        groups: dict[Container, list[Container]] = {}
        for one in wanted:
            if one.parent is not None and one.parent.kind == "repeat":
                groups.setdefault(one.parent, []).append(one)
        for one in wanted:  # of twelve equal ones the first shows what is inside
            its = groups.get(one.parent) if one.parent is not None else None
            if its is None or one is its[0] or len(its) < one.parent.count:  # type: ignore[union-attr]
                yield one

    def _not_too_few(self, opened: set[Container], closed: set[Container], limit: int) -> set[Container]:
        """Opened further where there is almost nothing to see: one box around all."""
        for one in self.containers:
            if one not in opened and one not in closed and (one.parent is None or one.parent in opened):
                if self._count(opened) > _FEW:
                    break
                if self._count(opened | {one}) <= 3 * limit:
                    opened = opened | {one}
        return opened

    def _to_depth(self, depth: int, alike: bool = False) -> set[Container]:
        found = {one for one in self.containers if one.kind == "module" and self._level(one) < depth}
        if not alike:
            return found
        # What is closed inside of something closed is closed everywhere: one LayerNorm as the other.
        around = {one.parent for one in self.containers if one.kind in ("module", "repeat")}
        shown: set[Container | None] = {None}
        for one in self.containers:
            if one in found and one.parent in shown:
                shown.add(one)
        types = {
            one.module.type
            for one in self.containers
            if one not in shown and one not in around and one.kind == "module" and one.module is not None
        }
        return {one for one in found if one in around or one.module is None or one.module.type not in types}

    def _level(self, one: Container) -> int:
        """How many modules are around it."""
        return sum(above.kind == "module" for above in _around(one.parent))

    def _count(self, opened: set[Container]) -> int:
        """How many nodes are shown."""
        shown: set[Container | None] = {None}
        count = 0
        for one in self.containers:
            if one.parent in shown:
                if one in opened:
                    shown.add(one)
                else:
                    count += 1
        return count + sum(home in shown for home in self.home)

    @staticmethod
    def _with_around(some: Iterable[Container | None]) -> set[Container]:
        return {above for one in some for above in _around(one)}

    def _ids(self, some: set[Container]) -> list[int]:
        """Of those that can be seen: what is inside of something closed is closed when that is opened."""
        shown: set[Container | None] = {None}
        for one in self.containers:
            if one in some and one.parent in shown:
                shown.add(one)
        return [one.id for one in self.containers if one in shown]


def _around(one: Container | None) -> Iterable[Container]:
    """A container and those around it, innermost first."""
    while one is not None:
        yield one
        one = one.parent


def _most_common(items: Sequence[Node | Container]) -> str:
    """The words for the operations of a part."""
    words = Counter(op_text(one.op) if isinstance(one, Node) else one.title for one in items)
    common = [word for word, _ in words.most_common(3) if word]
    return ", ".join(common) + (" …" if len(words) > 3 else "")
