"""The view that is left when equal neighbours are one: what `repeats` found, carried out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..graph.enclosing import common_module, module_path
from ..graph.view import Edge, GraphView, Module, Node
from .contraction import repeated_measures, repeated_memory, used_modules, without_empty_modules
from .repeats import Box, Repeats

__all__ = ["merged", "range_of", "repeated_word"]

_WORD = 4  # items of a repeated word that its name shows


def merged(found: Repeats) -> tuple[GraphView, list[list[int]]]:
    """The view, and for each of its modules those of the old one that it stands for."""
    view = found.view
    if not found.twin:
        return view, [[module.id] for module in view.modules]
    groups: dict[int, list[int]] = {}
    for node in view.nodes:
        groups.setdefault(found.original(node.id), []).append(node.id)
    tree = _Tree(found)
    homes = {one: tree.home(view.nodes[one]) for one in groups}
    edges = _edges(found)
    _move_in(found, homes, edges, tree.modules)
    order = _order(found, groups, edges)
    numbers = {one: number for number, one in enumerate(order)}
    nodes = []
    for number, one in enumerate(order):
        node, place = view.nodes[one], homes[one]
        belongs = None if node.belongs_to is None else numbers.get(found.original(node.belongs_to))
        node = replace(node, id=number, module=place, belongs_to=belongs)
        copies = [view.nodes[copy] for copy in groups[one]]
        if len(copies) > 1:
            node = _for_all(node, copies, len(copies) // (1 if place is None else tree.times[place]))
        nodes.append(node)
    moved = [replace(edge, source=numbers[edge.source], target=numbers[edge.target]) for edge in edges]
    moved.sort(key=lambda edge: edge.target)
    result = GraphView(tuple(nodes), tuple(moved), tuple(tree.modules), view.name)
    stands_for = [ids for ids, used in zip(tree.stands_for, used_modules(result), strict=True) if used]
    return without_empty_modules(result), stands_for


def _for_all(node: Node, copies: list[Node], count: int) -> Node:
    """One node for its copies. It stands for ``count`` where it is; the boxes around it count the rest."""
    count = max(1, count)
    names = node.names
    if count > 1 and names and not node.op:
        names = (range_of([copy.names[0] for copy in copies if copy.names]),)
    return replace(
        node,
        names=names,
        count=node.count * count,
        inside=node.inside * count,
        arguments=_arguments_of(copies),
        measures=repeated_measures(copies),
        histograms=(),
        memory=repeated_memory(copies),
        step=None,
    )


@dataclass(frozen=True, slots=True)
class _Branch:
    """A module that is left, or a box."""

    module: int | None = None
    box: int | None = None


class _Tree:
    """Modules and boxes, parents first."""

    def __init__(self, found: Repeats) -> None:
        self.modules: list[Module] = []
        self.stands_for: list[list[int]] = []
        self.times: list[int] = []  # how often what is inside each happens
        self._found = found
        self._ids: dict[_Branch, int] = {}
        same: dict[int, list[int]] = {}
        for module in found.view.modules:
            same.setdefault(found.original_module(module.id), []).append(module.id)
        children: dict[_Branch, list[_Branch]] = {}
        for one in same:
            box = found.box_of.get(-1 - one)
            parent = found.view.modules[one].parent
            around = _Branch(module=None if parent is None else found.original_module(parent))
            around = around if box is None else _Branch(box=box)
            children.setdefault(around, []).append(_Branch(module=one))
        for number, inner in enumerate(found.boxes):
            around = _Branch(module=inner.module) if inner.parent is None else _Branch(box=inner.parent)
            children.setdefault(around, []).append(_Branch(box=number))
        stack: list[tuple[_Branch, int | None]] = [(_Branch(), None)]
        while stack:
            branch, above = stack.pop()
            inside = above
            if branch != _Branch():
                inside = self._ids[branch] = self._add(branch, above, same)
            below = sorted(children.get(branch, ()), key=self._start, reverse=True)
            stack += [(child, inside) for child in below]

    def home(self, node: Node) -> int | None:
        """The module or box that a node is in."""
        box = self._found.box_of.get(node.id)
        if box is not None:
            return self._ids[_Branch(box=box)]
        return None if node.module is None else self._ids[_Branch(module=self._found.original_module(node.module))]

    def _start(self, branch: _Branch) -> tuple[int, int]:
        if branch.box is not None:
            return self._found.starts[self._found.boxes[branch.box].word[0]]
        assert branch.module is not None
        return self._found.starts.get(-1 - branch.module, (-1, -1))

    def _add(self, branch: _Branch, parent: int | None, same: dict[int, list[int]]) -> int:
        above = 1 if parent is None else self.times[parent]
        if branch.box is not None:
            ids: list[int] = []
            module = repeated_word(self._found.view, self._found.boxes[branch.box])
            count = module.count
        else:
            assert branch.module is not None
            ids = same[branch.module]
            module = self._found.view.modules[branch.module]
            count = max(1, len(ids) // above)
            if len(ids) > 1 and (count > 1 or -1 - module.id in self._found.box_of):
                module = replace(module, name=range_of([self._found.view.modules[one].name for one in ids]))
            module = replace(module, count=module.count * count)
        self.modules.append(replace(module, id=len(self.modules), parent=parent))
        self.stands_for.append(ids)
        self.times.append(above * count)
        return len(self.modules) - 1


def repeated_word(view: GraphView, box: Box) -> Module:
    """The box around a word that repeats: "linear · relu ×500"."""
    words = [view.nodes[item].op if item >= 0 else view.modules[-1 - item].type for item in box.word]
    if len(words) > _WORD:
        words[_WORD - 1 :] = ["…"]
    first = view.nodes[box.word[0]] if box.word[0] >= 0 else view.modules[-1 - box.word[0]]
    return Module(0, "repeat", "", " · ".join(words), source=first.source, backward=first.backward, count=box.count)


def _edges(found: Repeats) -> list[Edge]:
    """What is left of the edges: those of the first of each repetition, and those that lead out of it."""
    left: list[Edge] = []
    seen: set[tuple[int, int, int]] = set()
    for edge in found.view.edges:
        if edge.target in found.twin:
            continue
        source = found.original(edge.source)
        if source != edge.source:
            key = (source, edge.output, edge.target)
            if key in seen or (source in found.place and source >= edge.target):
                continue  # one line from twelve blocks that are one
            seen.add(key)
            edge = replace(edge, source=source)
        left.append(edge)
    return left


def _move_in(found: Repeats, homes: dict[int, int | None], edges: list[Edge], modules: list[Module]) -> None:
    """Arrays whose every reader is now inside one module go there."""
    readers: dict[int, list[int]] = {}
    for edge in edges:
        if edge.source not in found.place:
            readers.setdefault(edge.source, []).append(edge.target)
    for one, its in readers.items():
        if found.view.nodes[one].kind not in ("parameter", "buffer", "constant"):
            continue
        forward = [reader for reader in its if not found.view.nodes[reader].backward] or its
        inner = common_module(modules, (homes[reader] for reader in forward), ("module", "repeat"))
        home = homes[one]
        if inner is not None and (home is None or home in module_path(modules, inner)):
            homes[one] = inner


def _order(found: Repeats, groups: dict[int, list[int]], edges: list[Edge]) -> list[int]:
    """The nodes that are left in an order in which edges lead forward: arrays come before their first reader."""
    keys: dict[int, tuple[float, int]] = {one: (one, one) for one in groups}
    for edge in edges:
        if edge.source not in found.place and keys[edge.source][0] > edge.target:
            keys[edge.source] = (edge.target - 0.5, edge.source)
    return sorted(groups, key=keys.__getitem__)


def _arguments_of(copies: list[Node]) -> tuple[tuple[str, str], ...]:
    """The arguments of several equal nodes; where they differ, from the first to the last."""
    last = dict(copies[-1].arguments)
    return tuple(
        (name, text if last.get(name, text) == text else f"{text} … {last[name]}") for name, text in copies[0].arguments
    )


def range_of(names: list[str]) -> str:
    """One name for several.

    >>> range_of(["layers.0.fc", "layers.1.fc", "layers.2.fc"]), range_of(["fc", "fc"]), range_of(["stem", "head"])
    ('layers.0–2.fc', 'fc', 'stem … head')
    """
    first, last = names[0], names[-1]
    if len(set(names)) == 1:
        return first
    one, other = re.split(r"(\d+)", first), re.split(r"(\d+)", last)
    different = [at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    if len(one) == len(other) and len(different) == 1 and different[0] % 2:
        at = different[0]
        low, high = sorted((one[at], other[at]), key=int)
        return "".join([*one[:at], f"{low}–{high}", *one[at + 1 :]])
    return f"{first} … {last}"
