"""The backward pass in a picture: run once on what was recorded, under an observer, and left without a trace.

The engine runs its derivative rules on Tensors while an observer asks for it, so that every operation of the rules is
seen. Gradients go nowhere but into the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.engine import Leaf, Observer, Op, Scope, TensorCore
from autograd_ff.engine import Node as Recorded

from ..errors import PictureError, here
from ..graph.view import GraphView
from .drafts import Draft, Walk

__all__ = ["add_backward", "with_ancestors", "without_forward"]

_SUMS = {"add", "index_add"}  # how contributions to one gradient are put together
_FITS = {"sum", "cast"}  # how a gradient takes the shape and dtype of its input


def add_backward(walk: Walk, results: list[tuple[str, Any]]) -> list[Draft]:
    """Add the backward pass of results to a walk that knows their forward pass.

    Returns:
        The gradients of all leaves that they depend on, one node each.
    """
    roots: dict[Recorded, TensorCore] = {}
    for _, value in results:
        if isinstance(value, TensorCore) and value.node is not None and value.array.dtype.kind in "fc":
            roots.setdefault(value.node, value)
    if not roots:
        raise PictureError(
            f"there is no backward pass to draw: no result requires grad{here()}\n"
            "  Make a parameter or an input with requires_grad=True."
        )
    name = _name_of(walk, roots)
    nodes = with_ancestors(roots)
    leaves = [node for node in nodes if isinstance(node, Leaf)]
    for node in nodes:
        _remember_saved(walk, node)
    seeds = []
    walk.going_back = True
    for node, root in roots.items():
        seed = engine.wrap(np.ones_like(root.array))
        draft = walk.add_array(
            "constant",
            seed.array,
            (f"∂{name}/∂{name if len(roots) == 1 and root.array.size == 1 else _named(walk, node) or 'output'}",),
        )
        draft.arguments = (("value", "1"),)
        draft.belongs_to = walk.place(node)[0]
        seeds.append(seed)
    recorder = _Recorder(walk, name)
    with _without_hooks(nodes), engine.observe(recorder):
        found = engine.run_backward(list(roots), seeds, wanted=leaves, retain_graph=True)
    gradients = []
    for leaf in leaves:
        if leaf in found:
            recorder.owns(leaf, found[leaf].array)
            place = walk.find(found[leaf])
            if place is not None:
                gradients.append(walk.add_result(f"∂{name}/∂{_named(walk, leaf) or '?'}", place, walk.place(leaf)[0]))
    return gradients


def without_forward(view: GraphView) -> GraphView:
    """The backward part of a view. Forward values that it reads stand as they are, made by nobody."""
    kept = {node.id for node in view.nodes if node.backward}
    kept |= {edge.source for edge in view.edges if edge.target in kept}
    numbers = {id: number for number, id in enumerate(sorted(kept))}
    nodes = []
    for id, number in numbers.items():
        node = view.nodes[id]
        belongs = None if node.belongs_to is None else numbers.get(node.belongs_to)
        if node.op and not node.backward:
            label = node.names or (f"output of {node.op}",)
            nodes.append(replace(node, id=number, kind="input", op="", names=label, arguments=(), belongs_to=belongs))
        else:
            nodes.append(replace(node, id=number, belongs_to=belongs))
    edges = tuple(
        replace(edge, source=numbers[edge.source], target=numbers[edge.target])
        for edge in view.edges
        if edge.target in kept and view.nodes[edge.target].backward
    )
    return GraphView(tuple(nodes), edges, view.modules, view.name)


def with_ancestors(nodes: Iterable[Recorded]) -> list[Recorded]:
    """The nodes and all that lead to them, oldest first."""
    seen = set(nodes)
    stack = list(seen)
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.number)


def _named(walk: Walk, node: Recorded) -> str:
    names = walk.place(node)[0].names
    return names[0] if names else ""


def _name_of(walk: Walk, roots: dict[Recorded, TensorCore]) -> str:
    if len(roots) > 1:
        return "sum of outputs"
    ((node, root),) = roots.items()
    name = _named(walk, node)
    return (name or "loss") if root.array.size == 1 else f"sum({name or 'output'})"


def _remember_saved(walk: Walk, node: Recorded) -> None:
    """Where the arrays come from that the rules of a node will read."""
    saved = node.saved
    if isinstance(node, Leaf) or not isinstance(saved, (list, tuple)):
        return
    count = len(node.parents)
    for position, value in enumerate(saved):
        if isinstance(value, np.ndarray):
            if position >= count:  # its output, or what its forward computed for the rule alone
                walk.remember_first(value, walk.place(node))
            elif node.parents[position] is not None:
                walk.remember_first(value, walk.place(node.parents[position]))
        elif isinstance(value, tuple) and position == count:
            for output, one in enumerate(value):
                if isinstance(one, np.ndarray):
                    walk.remember_first(one, (walk.place(node)[0], output))


@contextmanager
def _without_hooks(nodes: list[Recorded]) -> Iterator[None]:
    """Hooks and retained gradients belong to the user's own backward passes."""
    before = [(node, node.hooks) for node in nodes if node.hooks is not None]
    for node, _ in before:
        node.hooks = None
    try:
        yield
    finally:
        for node, hooks in before:
            node.hooks = hooks


class _Recorder(Observer):
    """Hands the operations of the rules to the walk, and says which value each gradient belongs to."""

    traces_backward = True

    def __init__(self, walk: Walk, name: str) -> None:
        self._walk = walk
        self._name = name
        self._since: list[tuple[Draft, bool]] = []  # drafts since the last node, and whether a rule made them
        self._sums: set[Draft] = set()  # sums of gradients that nobody has owned yet

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Recorded | None,
           scope: Scope | None) -> None:  # fmt: skip
        draft = self._walk.observed(op, inputs, params, outputs, node, scope)
        if draft is not None:
            inside = scope is not None and any(one.kind == "backward" for one in scope.chain())
            self._since.append((draft, inside))

    def backward(self, node: Recorded, gradient: Any, input_gradients: list[Any]) -> None:
        place = self._walk.place(node)[0]
        rule = None
        for draft, inside in self._since:
            if not inside and draft.op in _SUMS:
                draft.scope = node.scope  # where the last one comes from, so that one sum leaves that module
                self._sums.add(draft)
                continue
            if not inside and draft.op in _FITS:
                # The engine fits a gradient to its input when the rule is done; to the reader it is part of the rule.
                if rule is None:
                    rule = Scope("backward", node.op.name, node.op.name, node.code, node.offset, node.scope)
                draft.scope = rule
            rule = draft.scope
            draft.belongs_to = place
        self._since.clear()
        for one in gradient if isinstance(gradient, (list, tuple)) else (gradient,):
            if isinstance(one, TensorCore):
                self.owns(node, one.array)

    def owns(self, node: Recorded, array: np.ndarray) -> None:
        """This is the gradient of that node."""
        found = self._walk.find(array)
        if found is None:
            return
        draft = found[0]
        value = self._walk.place(node)[0]
        pending = [draft]
        while pending:
            one = pending.pop()
            if one in self._sums:  # the sums of a sum belong to the same value
                self._sums.discard(one)
                one.belongs_to = value
                pending += [link.source for link in one.incoming]
        if value.names and not isinstance(node, Leaf) and draft.op and len(draft.outputs) == 1:
            name = f"∂{self._name}/∂{value.names[0]}"
            if name not in draft.names:
                draft.names += (name,)
