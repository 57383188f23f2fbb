"""The structure of a network that has not run: its modules as a tree, with the shapes of their parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from autograd_ff.nn.module import Module

from ..graph.view import Edge, GraphView, Node
from ..tracing.names import module_detail
from .labels import shape_text

__all__ = ["module_tree"]

_SHOWN = 4  # arrays of one module that are named


@dataclass(eq=False)
class _Branch:
    name: str
    module: Module
    children: list[_Branch] = field(default_factory=list)
    same_as: str = ""  # where the module stands already
    structure: int = 0  # equal structures have equal numbers
    size: int = 0  # numbers in its parameters and those of its children


def module_tree(module: Module) -> GraphView:
    """The tree of a module and its children, with the shapes of their parameters; nothing is run.

    Equal neighbours are one node, and a module that stands in several places is opened in the first.

    >>> import autograd_ff as af
    >>> block = lambda: af.nn.Sequential(af.nn.Linear(4, 4), af.nn.ReLU())
    >>> view = module_tree(af.nn.Sequential(block(), block(), af.nn.Linear(4, 2)))
    >>> [(node.path, node.op, node.count) for node in view.nodes]
    [('', 'Sequential', 1), ('0–1', 'Sequential', 2), ('0', 'Linear', 1), ('1', 'ReLU', 1), ('2', 'Linear', 1)]
    """
    root, order = _branches(module)
    known: dict[Any, int] = {}
    for branch in reversed(order):  # children before their parents
        own = sum(parameter.numel() for parameter in branch.module._parameters.values() if parameter is not None)
        branch.size = 0 if branch.same_as else own + sum(child.size for child in branch.children)
        key = (_node(branch), tuple((child.name, child.structure) for child in branch.children))
        branch.structure = known.setdefault(key, len(known))
    nodes: list[Node] = []
    edges: list[Edge] = []
    todo: list[tuple[list[_Branch], int | None]] = [([root], None)]
    while todo:
        run, parent = todo.pop()
        path = run[0].name if len(run) == 1 else f"{run[0].name}–{run[-1].name}"
        nodes.append(replace(_node(run[0]), id=len(nodes), path=path, count=len(run)))
        if parent is not None:
            edges.append(Edge(parent, nodes[-1].id))
        todo += [(children, nodes[-1].id) for children in reversed(_runs(run[0].children))]
    return GraphView(tuple(nodes), tuple(edges), name=type(module).__name__)


def _branches(module: Module) -> tuple[_Branch, list[_Branch]]:
    """The tree, and all its branches, parents before their children."""
    root = _Branch("", module)
    order: list[_Branch] = []
    seen: dict[int, str] = {}
    stack = [(root, "")]
    while stack:
        branch, path = stack.pop()
        order.append(branch)
        if id(branch.module) in seen:
            branch.same_as = seen[id(branch.module)]
            continue
        seen[id(branch.module)] = path or type(module).__name__
        children = [(name, child) for name, child in branch.module._modules.items() if child is not None]
        branch.children = [_Branch(name, child) for name, child in children]
        stack += [(child, f"{path}.{child.name}" if path else child.name) for child in reversed(branch.children)]
    return root, order


def _runs(branches: list[_Branch]) -> list[list[_Branch]]:
    """Neighbours of equal structure together."""
    found: list[list[_Branch]] = []
    for branch in branches:
        if found and found[-1][0].structure == branch.structure:
            found[-1].append(branch)
        else:
            found.append([branch])
    return found


def _node(branch: _Branch) -> Node:
    """A module by itself, without its name."""
    module = branch.module
    if branch.same_as:
        return Node(0, "view", f"the same {type(module).__name__} as {branch.same_as}")
    arrays = {**module._parameters, **module._buffers}
    shapes = [(name, shape_text(array.shape)) for name, array in arrays.items() if array is not None]
    if len(shapes) > _SHOWN:
        shapes[_SHOWN - 1 :] = [("…", "")]
    if branch.children and branch.size:
        shapes.append(("", f"{branch.size:,} parameters"))
    holds = bool(arrays or branch.children)
    return Node(
        0,
        "module" if holds else "op",
        type(module).__name__,
        detail=module_detail(module),
        arguments=tuple(shapes),
    )
