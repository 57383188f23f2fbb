"""Equal neighbours become one: "Block ×12".

At every level of a graph (its outermost, and the inside of each module) operations and module calls follow one another
like letters. Where a word repeats, and each repetition reads what the one before it made, the first stands for all. It
takes a few passes over the nodes, whatever their number, and no recursion.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..graph.view import Edge, GraphView, Module, Node
from .periods import repetitions

__all__ = ["Box", "Repeats", "merge_repeats", "merged_repeats"]

# Arguments that may differ from one repetition to the next: which part, which number; not which axis.
_VARYING = {"index", "geometry", "position", "value", "x1", "x2"}
_SOURCES = ("parameter", "buffer", "constant", "input")  # arrays that each repetition may have of its own

Item = int  # a node's id, or -1 - id of a module


def merge_repeats(view: GraphView, at_least: int = 2) -> GraphView:
    """A view in which equal neighbours, one fed by the other, are one with a `count`.

    Modules are equal if their types, the operations inside, shapes, dtypes, marks and connections are; names, values of
    constants and indices may differ. Of plain operations, three or more must repeat; where several alternate, a box of
    kind "repeat" stands around them.

    Args:
        view: what to simplify.
        at_least: so many neighbours, or more, become one.

    >>> import autograd_ff as af, visualize
    >>> layers = [af.nn.Linear(4, 4) for _ in range(12)]
    >>> view = merge_repeats(visualize.trace(af.nn.Sequential(*layers), af.ones(1, 4)))
    >>> [(module.name, module.count) for module in view.modules]
    [('Sequential', 1), ('0–11', 12)]
    """
    return merged_repeats(view, at_least)[0]


def merged_repeats(view: GraphView, at_least: int = 2) -> tuple[GraphView, list[list[int]]]:
    """`merge_repeats`, and for each module of the new view those of the old one that it stands for."""
    from .merged import merged  # it reads what this file finds

    found = Repeats(view, max(at_least, 2))
    found.find()
    return merged(found)


@dataclass(slots=True)
class _Level:
    """Items that follow one another: what is inside a module, or a word that repeats there."""

    items: list[Item]
    module: int | None
    base: int = 0  # position of the first in the whole inside of that module
    box: int | None = None


@dataclass(slots=True)
class _Shape:
    """What an item looks like to its neighbours."""

    signature: int
    sources: list[tuple[int, int]] = field(default_factory=list)  # (node, output) read from outside, each once


@dataclass(slots=True)
class Box:
    """Around a word of several items that repeats."""

    parent: int | None  # another box …
    module: int | None  # … or, without one, a module
    count: int
    word: list[Item]


class Repeats:
    """Finds which nodes and modules stand for which: `twin` and `module_twin`, and the boxes around repeated words."""

    def __init__(self, view: GraphView, at_least: int) -> None:
        self.view = view
        self.at_least = at_least
        nodes, modules = view.nodes, view.modules
        self.incoming: list[list[Edge]] = [[] for _ in nodes]
        for edge in view.edges:
            self.incoming[edge.target].append(edge)
        self.paths: list[tuple[int, ...]] = []
        for module in modules:
            self.paths.append((*(() if module.parent is None else self.paths[module.parent]), module.id))
        self.levels: dict[int | None, list[Item]] = {None: []}
        for node in nodes:
            if node.op:
                place = node.module
                item: Item = node.id
                while place is not None and place not in self.levels:
                    self.levels[place] = [item]
                    item, place = -1 - place, modules[place].parent
                self.levels[place].append(item)
        self.index = {item: at for level in self.levels.values() for at, item in enumerate(level)}
        self._number()
        self.known: dict[object, int] = {}  # signatures by what they stand for
        self.shapes: dict[Item, _Shape] = {}
        self.twin: dict[int, int] = {}  # a node, and an earlier one that stands for it
        self.module_twin: dict[int, int] = {}
        self.entries: set[tuple[int, int]] = set()  # what fed a first word, and what fed the ones after it
        self.boxes: list[Box] = []
        self.box_of: dict[Item, int] = {}

    def _number(self) -> None:
        """Positions of operations and modules, so that the inside of every item is an uninterrupted stretch of both."""
        self.operations: list[int] = []
        self.inner: list[int] = []  # modules
        self.place: dict[int, int] = {}  # of an operation
        self.starts: dict[Item, tuple[int, int]] = {}  # where an item's operations and modules begin …
        self.ends: dict[Item, tuple[int, int]] = {}  # … and end
        stack: list[tuple[Item, bool]] = [(item, False) for item in reversed(self.levels[None])]
        while stack:
            item, done = stack.pop()
            if done:
                self.ends[item] = (len(self.operations), len(self.inner))
                continue
            self.starts[item] = (len(self.operations), len(self.inner))
            if item >= 0:
                self.place[item] = len(self.operations)
                self.operations.append(item)
                self.ends[item] = (len(self.operations), len(self.inner))
            else:
                self.inner.append(-1 - item)
                stack.append((item, True))
                stack += [(one, False) for one in reversed(self.levels[-1 - item])]

    # ---------------------------------------------------------------- signatures

    def _id(self, what: object) -> int:
        return self.known.setdefault(what, len(self.known))

    def _item_around(self, node: int, module: int | None) -> Item | None:
        """Which item of a module's inside (None: of the whole) a node is in; None where it is outside."""
        own = self.view.nodes[node].module
        path = () if own is None else self.paths[own]
        depth = 0 if module is None else len(self.paths[module])
        if module is not None and (len(path) < depth or path[depth - 1] != module):
            return None
        return -1 - path[depth] if len(path) > depth else node

    def _position(self, node: int, module: int | None) -> tuple[int, int] | None:
        """Where in a module's inside an operation is: which item, and where in it."""
        if node not in self.place:
            return None
        item = self._item_around(node, module)
        return None if item is None else (self.index[item], self.place[node] - self.starts[item][0])

    def _source_signature(self, node: Node) -> int:
        return self._id((node.kind, node.outputs, node.tracked, node.backward, node.mark, node.count))

    def _node_shape(self, node: Node) -> _Shape:
        sources: dict[tuple[int, int], int] = {}
        wiring = tuple(
            (edge.name, edge.value, edge.mark, sources.setdefault((edge.source, edge.output), len(sources)))
            for edge in self.incoming[node.id]
        )
        arguments = tuple(
            (name, "" if name in _VARYING or name.startswith("input ") else text) for name, text in node.arguments
        )
        own = (node.kind, node.op, arguments, node.outputs, node.backward, node.count, node.inside, node.mark)
        return _Shape(self._id((own, wiring)), list(sources))

    def _module_shape(self, module: Module) -> _Shape:
        outside: dict[tuple[int, int], int] = {}
        arrays: dict[int, int] = {}
        word: list[object] = []
        for at, item in enumerate(self.levels[module.id]):
            shape = self.shapes[item]
            word.append(shape.signature)
            for source in shape.sources:
                node = source[0]
                position = self._position(node, module.id)
                if position is not None:
                    word.append((at - position[0], position[1], source[1]))
                elif self._item_around(node, module.id) is None:
                    word.append(("outside", outside.setdefault(source, len(outside))))
                else:
                    signature = self._source_signature(self.view.nodes[node])
                    word.append(("array", signature, arrays.setdefault(node, len(arrays))))
        own = (module.kind, module.type, module.detail, module.backward, module.count)
        return _Shape(self._id((own, tuple(word))), list(outside))

    # ---------------------------------------------------------------- finding repetitions

    def find(self) -> None:
        for node in self.view.nodes:
            if node.op:
                self.shapes[node.id] = self._node_shape(node)
        for module in reversed(self.view.modules):  # children before parents
            if module.id in self.levels:
                self.shapes[-1 - module.id] = self._module_shape(module)
        levels = [_Level(self.levels[None], None)]
        while levels:
            level = levels.pop()
            inner = self._merge_level(level)
            # In the order of time: a backward pass must find its forward pass merged.
            inner.sort(key=lambda one: self.starts[one.items[0]], reverse=True)
            levels += inner
        if self.twin:
            self._merge_results()

    def _merge_level(self, level: _Level) -> list[_Level]:
        """Merge what repeats; the levels that are left to look into."""
        letters = np.array([self.shapes[item].signature for item in level.items])
        gone: set[int] = set()
        inner: list[_Level] = []
        for start, period, count in repetitions(letters, [self._line(item) for item in level.items]):
            begin, end = start, start + period * count
            while begin < end:
                word = level.items[begin : begin + period]
                units = self._chained(level, begin, period, (end - begin) // period)
                if units >= (self.at_least if any(item < 0 for item in word) else max(self.at_least, 3)):
                    self._merge(level, begin, period, units)
                    gone.update(range(begin + (period == 1), begin + period * units))
                    if period > 1:
                        self.boxes.append(Box(level.box, level.module, units, word))
                        self.box_of.update(dict.fromkeys(word, len(self.boxes) - 1))
                        inner.append(_Level(word, level.module, level.base + begin, len(self.boxes) - 1))
                begin += period * units
        inner += [
            _Level(self.levels[-1 - item], -1 - item)
            for at, item in enumerate(level.items)
            if item < 0 and at not in gone
        ]
        return inner

    def _line(self, item: Item) -> int:
        source = self.view.nodes[item].source if item >= 0 else self.view.modules[-1 - item].source
        return 0 if source is None else source.line

    def _chained(self, level: _Level, begin: int, period: int, count: int) -> int:
        """How many words from ``begin`` on read alike, each fed by the one before it."""
        first = level.base + begin  # positions in the inside of the module
        entries: set[tuple[int, int]] = set()
        units = 1
        while units < count:
            fed = False
            now = begin + period * units
            for at in range(now, now + period):
                before, after = self.shapes[level.items[at - period]].sources, self.shapes[level.items[at]].sources
                for (one, its), (other, others) in zip(before, after, strict=True):
                    there = self._position(other, level.module)
                    if there is None or there[0] < first or there[0] >= first + period * count:
                        if not self._same(one, other):
                            return units
                        continue
                    earlier = self._position(one, level.module)
                    feeds = there[0] < first + period * units
                    if its == others and earlier == (there[0] - period, there[1]):
                        fed = fed or feeds
                    elif units == 1 and feeds and (earlier is None or earlier[0] < first):
                        fed = True  # what fed the first came from before
                        entries.add((one, other))
                    else:
                        return units
            if not fed:
                return units
            units += 1
            self.entries |= entries
        return units

    def _same(self, one: int, other: int) -> bool:
        """Whether two words may read these two: the same one, or equal arrays that each has of its own."""
        one, other = self.original(one), self.original(other)
        if one == other or (one, other) in self.entries or (other, one) in self.entries:
            return True
        first, second = self.view.nodes[one], self.view.nodes[other]
        return (
            not first.op
            and first.kind in _SOURCES
            and not second.op
            and self._source_signature(first) == self._source_signature(second)
        )

    def original(self, node: int) -> int:
        while node in self.twin:
            node = self.twin[node]
        return node

    def original_module(self, module: int) -> int:
        while module in self.module_twin:
            module = self.module_twin[module]
        return module

    def _merge_results(self) -> None:
        """What comes out of merged nodes, under whatever name, is one result."""
        first: dict[tuple[int, int, str, bool], int] = {}
        for node in self.view.nodes:
            edges = self.incoming[node.id]
            if node.op or len(edges) != 1:
                continue
            key = (self.original(edges[0].source), edges[0].output, node.kind, node.backward)
            other = first.setdefault(key, node.id)
            if other != node.id and self.incoming[other][0].source != edges[0].source:
                self.twin[node.id] = other

    def _merge(self, level: _Level, begin: int, period: int, units: int) -> None:
        for at in range(begin + period, begin + period * units):
            first, other = level.items[begin + (at - begin) % period], level.items[at]
            start, end = self.starts[first], self.ends[first]
            here = self.starts[other]
            for offset in range(end[0] - start[0]):
                one, two = self.operations[start[0] + offset], self.operations[here[0] + offset]
                self.twin[two] = one
                for edge, its in zip(self.incoming[one], self.incoming[two], strict=True):
                    source, copy = self.original(edge.source), self.original(its.source)
                    if source != copy and copy not in self.place and source not in self.place:
                        self.twin[copy] = source
            for offset in range(end[1] - start[1]):
                self.module_twin[self.inner[here[1] + offset]] = self.inner[start[1] + offset]
