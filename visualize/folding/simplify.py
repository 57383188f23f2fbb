"""`simplify`: a graph of any size as one that a person can read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable

from ..errors import PictureError, here
from ..graph.marks import STRONG
from ..graph.view import GraphView, Module
from .chains import merge_chains
from .contraction import contract
from .ends import merge_ends
from .fold import Selection, groups_by_module, outermost, selector
from .hiding import hide as without
from .repeats import merged_repeats
from .stretches import merge_lines, merge_stretches

__all__ = ["READABLE", "check_depth", "check_found", "simplify"]

READABLE = 40  # nodes that a person takes in at once
READABLE_PLAN = 80  # of a plan, which is drawn to see its instructions: a small network's step is shown in full


def simplify(
    view: GraphView,
    *,
    depth: int | None = None,
    open: Selection = False,
    fold: Selection = False,
    hide: str | Collection[str] = (),
    repeats: bool | None = None,
    chains: bool | None = None,
    limit: int = READABLE,
) -> GraphView:
    """A view that a person can read. A small graph is shown in full, a large one folded to at most ``limit`` nodes.

    Left alone, it opens as many levels of modules as fit; equal neighbours become one ("Block ×12"), elementwise chains
    become one ("multiply · add · tanh"), and a graph without modules is folded by lines of code and at last by stretches.
    The modules around a marked node are opened. Composite operations and derivative rules are one node each, unless
    opened.

    Modules are chosen by qualified name (``"encoder.layers.0"``), pattern (``"encoder.*"``), type (``"Linear"``), class or
    predicate on `Module`, or several of these.

    Args:
        view: the graph.
        depth: how many levels of modules are open: 0 shows each outermost module as one node, 1 its parts. What is
            asked for is shown, whatever the size.
        open: modules, composites and rules that are opened all the same, with those around them; True opens all.
        fold: modules that are one node all the same.
        hide: kinds of nodes and names of operations to leave out: ``("constant", "view")``; see `hide`.
        repeats: make equal neighbours one. By default, where the graph is too large without.
        chains: make elementwise chains one node. By default, where the graph is too large without.
        limit: how many nodes are too many.

    Raises:
        PictureError: (a ValueError) options that mean nothing.

    >>> import autograd_ff as af, visualize
    >>> layers = [af.nn.Linear(4, 4) for _ in range(30)]
    >>> view = visualize.trace(af.nn.Sequential(*layers), af.ones(1, 4))
    >>> len(view.nodes), [(node.op, node.count) for node in simplify(view, depth=1).nodes if node.op]
    (92, [('Linear', 30)])
    """
    check_depth(depth)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise PictureError(f"limit is a number of nodes from 1, not {limit!r}{here()}")
    view = without(view, hide)
    if repeats is not False and open is not True and _is_plan(view):
        view = merge_ends(view)
    choice = _Choice(view, open, fold)
    large = open is not True and choice.count(None) > limit
    if repeats or (repeats is None and large):
        choice = choice.on(*merged_repeats(view))
    if large and depth is None:
        return choice.readable(limit, chains)
    shown = choice.folded(depth)
    return merge_chains(shown) if chains or (chains is None and large and len(shown.nodes) > limit) else shown


class _Choice:
    """Which modules of a view are open, by what was asked for."""

    def __init__(self, view: GraphView, open: Selection, fold: Selection) -> None:
        self.view = view
        self.all_open = open is True
        self.merges_ends = _is_plan(view) and not self.all_open
        opened = selector(False if self.all_open else open)
        closed = selector(fold)
        self.opened = _with_those_around(view, (module.id for module in view.modules if opened(module)))
        self.closed = {module.id for module in view.modules if closed(module)} - self.opened
        check_found(view, open, self.opened, "open")
        check_found(view, fold, self.closed | self.opened, "fold")
        self._prepare()

    def _prepare(self) -> None:
        view = self.view
        self.levels: list[int] = []  # of modules around each
        for module in view.modules:
            above = None if module.parent is None else view.modules[module.parent]
            self.levels.append(0 if above is None else self.levels[above.id] + (above.kind == "module"))
        parents = {module.parent for module in view.modules if module.kind == "module"}
        self.leaves = {one.id for one in view.modules if one.kind == "module" and one.id not in parents}
        self.deepest = max((self.levels[one.id] + 1 for one in view.modules if one.kind == "module"), default=0)
        marked = [node for node in view.nodes if node.mark]
        places = [
            [node.module for node in marked if node.module is not None],
            [node.module for node in marked if node.module is not None and node.mark in STRONG],
            [],
        ]
        self.around_marks = [_with_those_around(view, one) - self.closed for one in places]

    def on(self, view: GraphView, stands_for: list[list[int]]) -> _Choice:
        """The same choice on a view in which one module stands for several."""
        other = object.__new__(_Choice)
        other.view, other.all_open, other.merges_ends = view, self.all_open, self.merges_ends
        inside = {new: set(old) for new, old in enumerate(stands_for)}
        other.opened = _with_those_around(view, (new for new, old in inside.items() if old & self.opened))
        other.closed = {new for new, old in inside.items() if old and old <= self.closed} - other.opened
        other._prepare()
        return other

    def _around(self, depth: int | None, marks: int, boxes: bool, alike: bool = False) -> list[int | None]:
        """For each module the one that it is folded into.

        ``alike``: what has no modules inside is folded everywhere, if others of its type are somewhere.
        """
        opened = self.opened | self.around_marks[marks]
        types: set[str] = set()

        def is_folded(module: Module) -> bool:
            if module.id in self.closed:
                return True
            if module.id in opened or (self.all_open and depth is None):
                return False
            if module.kind == "module":
                deep = depth is not None and self.levels[module.id] >= depth
                return deep or (module.id in self.leaves and module.type in types)
            if module.kind == "repeat":
                return boxes
            return module.kind in ("composite", "backward") and not self.all_open

        around = outermost(self.view, is_folded)
        if alike:
            types |= {one.type for one in self.view.modules if one.id in self.leaves and around[one.id] == one.id}
            around = outermost(self.view, is_folded)
        return around

    def count(self, depth: int | None, marks: int = 0, boxes: bool = False, alike: bool = False) -> int:
        """How many nodes a picture so folded has."""
        around = self._around(depth, marks, boxes, alike)
        alone, folded = 0, set()
        for node in self.view.nodes:
            into = None if node.module is None else around[node.module]
            if into is None:
                alone += 1
            else:
                folded.add(into)
        return alone + len(folded)

    def folded(self, depth: int | None, marks: int = 0, boxes: bool = False, alike: bool = False) -> GraphView:
        """Folded to so many levels; None opens all."""
        around = self._around(depth, marks, boxes, alike)
        found = _without_boxes_around_one(contract(self.view, groups_by_module(self.view, around)))
        return merge_ends(found) if self.merges_ends else found

    def readable(self, limit: int, chains: bool | None) -> GraphView:
        """As deep as fits."""
        for marks in range(3):
            if marks and self.around_marks[marks] == self.around_marks[marks - 1]:
                continue
            for depth in range(self.deepest, -1, -1):
                for boxes in (False, True):
                    count = self.count(depth, marks, boxes, alike=True)
                    if count <= limit or (count <= 4 * limit and chains is not False):
                        found = self.folded(depth, marks, boxes, alike=True)
                        if chains or (len(found.nodes) > limit and chains is None):
                            found = merge_chains(found)
                        if len(found.nodes) <= limit:
                            return found
        found = self.folded(0, 2, True)
        if chains is not False:
            found = merge_chains(found)
        if len(found.nodes) <= limit:
            return found
        by_lines = merge_lines(found)
        if self.merges_ends:
            by_lines = merge_ends(by_lines)
        if limit // 5 < len(by_lines.nodes) <= limit:  # fewer, and the lines have swallowed the picture
            return by_lines
        return merge_stretches(found, limit)


def _is_plan(view: GraphView) -> bool:
    return any(node.memory for node in view.nodes)


def _with_those_around(view: GraphView, modules: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for one in modules:
        place: int | None = one
        while place is not None and place not in found:
            found.add(place)
            place = view.modules[place].parent
    return found


def _without_boxes_around_one(view: GraphView) -> GraphView:
    """A box that stands for several, and holds one node, is that node: a box around one is not drawn."""
    sizes = [0] * len(view.modules)
    for node in view.nodes:
        if node.module is not None:
            sizes[node.module] += 1
    for module in reversed(view.modules):
        if module.parent is not None:
            sizes[module.parent] += sizes[module.id]
    chosen: Callable[[Module], bool] = lambda module: module.count > 1 and sizes[module.id] == 1  # noqa: E731
    return contract(view, groups_by_module(view, outermost(view, chosen)))


def check_depth(depth: int | None) -> None:
    """
    Raises:
        PictureError: (a ValueError) it is no number of levels.
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise PictureError(f"depth is a number of levels from 0, or None, not {depth!r}{here()}")


def check_found(view: GraphView, chosen: Selection, found: set[int], option: str) -> None:
    """A name that no module has is a mistake; tell the names that there are."""
    if not isinstance(chosen, str) or found or not view.modules:
        return
    names = list(dict.fromkeys(name for module in view.modules for name in (module.name, module.type)))
    some = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
    close = difflib.get_close_matches(chosen, names, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    if chosen.lower() == "all":
        hint = f" ({option}=True means all of them)"
    raise PictureError(f"{option}={chosen!r} is no module of this graph{hint}; there are {some}{here()}")
