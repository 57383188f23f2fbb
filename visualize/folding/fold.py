"""Views made simpler by modules: what is one thing to the reader becomes one node."""

from __future__ import annotations

from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from ..errors import PictureError, here
from ..graph.view import GraphView, Module, Node
from .contraction import End, Group, contract, folded

__all__ = ["FOLDED", "Selection", "fold", "fold_functions", "groups_by_module", "outermost", "selector"]

# The kind of node that a module is when it is folded.
FOLDED = {
    "composite": "op",
    "function": "op",
    "backward": "op",
    "module": "module",
    "repeat": "module",
    "phase": "module",
}

# Which modules: names, patterns of names, types, a predicate, or several of these; True for all.
Selection = bool | str | type | Callable[[Module], bool] | Collection[Any]


def selector(chosen: Selection | None) -> Callable[[Module], bool]:
    """The predicate that a selection of modules means.

    A text means the module of that qualified name (``"encoder.layers.0"``), those whose name matches it as a pattern
    (``"encoder.layers.*"``), and those of that type (``"Linear"``); a class means its modules.

    >>> linear = Module(0, "module", "layers.0.fc1", "Linear")
    >>> [selector(one)(linear) for one in ("layers.*", "Linear", ["layers.1", "fc1"], lambda module: module.id == 0)]
    [True, True, False, True]
    """
    if chosen is None or chosen is False or chosen is True:
        return lambda module: chosen is True
    if isinstance(chosen, type):
        return lambda module: module.type == chosen.__name__
    if isinstance(chosen, str):
        return lambda module: (
            chosen in (module.name, module.type)
            or (fnmatchcase(module.name, chosen) or fnmatchcase(module.type, chosen))
        )
    if callable(chosen):
        return chosen
    if not isinstance(chosen, Collection):
        raise PictureError(
            "modules are chosen by name, pattern, type or a predicate, or several of these, not by "
            f"{type(chosen).__name__}{here()}"
        )
    each = [selector(one) for one in chosen]
    return lambda module: any(one(module) for one in each)


def fold_functions(view: GraphView, open: Selection = False) -> GraphView:
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
    kept = selector(open)
    return fold(view, lambda module: module.kind in ("composite", "backward") and not kept(module))


def fold(view: GraphView, chosen: Selection) -> GraphView:
    """A view in which each chosen module, with all in it, is one node.

    The outermost chosen module counts. A folded node reads what its inside read from outside, and its outputs are those
    that are read outside, or by nobody.

    Args:
        view: what to fold.
        chosen: qualified names, patterns of names (``"encoder.*"``), types, or a predicate on `Module`.

    >>> import autograd_ff as af, visualize
    >>> view = visualize.trace(af.nn.Sequential(af.nn.Linear(3, 2), af.nn.ReLU()), af.ones(1, 3))
    >>> [(node.kind, node.op) for node in fold(view, "Linear").nodes if node.op]
    [('module', 'Linear'), ('op', 'relu')]
    """
    return contract(view, groups_by_module(view, outermost(view, selector(chosen))))


def outermost(view: GraphView, chosen: Callable[[Module], bool]) -> list[int | None]:
    """For each module the outermost chosen one around it, itself included."""
    found: list[int | None] = []
    for module in view.modules:  # a parent comes before its children
        above = None if module.parent is None else found[module.parent]
        found.append(above if above is not None else module.id if chosen(module) else None)
    return found


def groups_by_module(view: GraphView, around: list[int | None]) -> list[Group]:
    """The nodes in each of the modules that `outermost` found, each group to become one node."""
    members: dict[int, list[int]] = {}
    for node in view.nodes:
        one = None if node.module is None else around[node.module]
        if one is not None:
            members.setdefault(one, []).append(node.id)
    return [(ids, partial(_folded, view, view.modules[one])) for one, ids in members.items()]


def _folded(view: GraphView, module: Module, members: list[Node], results: list[End]) -> Node:
    kinds = {node.kind for node in members}
    operations = [node for node in members if node.op]
    single = operations[0] if len(operations) == 1 and module.kind == "composite" else None
    kind = "loss" if "loss" in kinds else "write" if "write" in kinds else FOLDED[module.kind]
    if single is not None:
        kind = single.kind
    elif module.kind == "composite" and operations and all(node.kind == "view" for node in operations):
        kind = "view"
    source = module.source or (operations[-1].source if operations else None)
    # What stands in a box that stands for twelve is there twelve times.
    inside = 0
    for node in operations:
        times, place = 1, node.module
        while place is not None:
            times *= view.modules[place].count
            if place == module.id:
                break
            place = view.modules[place].parent
        inside += times * (node.inside or node.count)
    return folded(
        view,
        members,
        results,
        kind=kind,
        op=f"∇ {module.type}" if module.backward and module.kind != "repeat" else module.type,
        arguments=single.arguments if single is not None else (),
        module=module.parent,
        source=source,
        backward=module.backward,
        count=module.count,
        inside=inside,
        path=module.name if module.kind == "module" else "",
        detail=module.detail if module.kind == "module" else "",
        step=single.step if single is not None else None,
    )
