"""The nodes of a view in the making, and the `Walk` that collects them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.engine import Leaf, Op, Scope, TensorCore, cast
from autograd_ff.engine import Node as Recorded
from autograd_ff.engine.dispatch import SELECT
from autograd_ff.engine.site import in_package, resolve

from ..errors import PACKAGE, user_frame
from ..graph.view import Source, Value
from .arguments import arguments, text_of
from .names import Names, storage
from .sources import source_of

__all__ = ["Draft", "Link", "Place", "Walk"]

_ENGINE_BACKWARD = engine.run_backward.__code__.co_filename
_PASSING_ON = {"select", "alias"}  # the engine's own nodes that only hand a value on


@dataclass(eq=False, slots=True)
class Draft:
    """A node in the making."""

    kind: str
    op: str = ""
    outputs: list[Value] = field(default_factory=list)
    names: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    scope: Scope | None = None
    source: Source | None = None
    tracked: bool = False
    backward: bool = False
    step: int | None = None
    belongs_to: Draft | None = None
    incoming: list[Link] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Link:
    """An array on its way from the draft that made it to the one that holds this link."""

    source: Draft
    output: int
    input: int
    name: str
    value: Value
    tracked: bool


Place = tuple[Draft, int]  # one output of a node


class Walk:
    """Collects drafts of nodes; every draft comes after those that it reads."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.drafts: list[Draft] = []
        self.inputs: list[Draft] = []
        self.going_back = False  # the backward pass is running
        self._by_node: dict[Recorded, Place] = {}
        self._by_array: dict[int, Place] = {}
        self._by_storage: dict[int, list[np.ndarray]] = {}  # arrays on one piece of memory; an id means something only
        self.leaves: dict[Draft, bool] = {}  # whether a module owns them
        self._leaf_of: dict[int, Leaf] = {}  # while its array lives
        self._sources: dict[tuple[CodeType, int], Source | None] = {}
        self._values: dict[tuple[Any, Any], Value] = {}

    # ---------------------------------------------------------------- what was recorded

    def place(self, node: Recorded) -> Place:
        """Where a recorded node's tensor comes from. Nodes not met before join the graph, with all before them."""
        if node not in self._by_node:
            fresh = {node}
            stack = [node]
            while stack:
                for parent in stack.pop().parents:
                    if parent is not None and parent not in fresh and parent not in self._by_node:
                        fresh.add(parent)
                        stack.append(parent)
            for one in sorted(fresh, key=lambda one: one.number):
                self._add_recorded(one)
        return self._by_node[node]

    def _add_recorded(self, node: Recorded) -> None:
        if isinstance(node, Leaf):
            self._add_leaf(node)
            return
        if node.op.name in _PASSING_ON and node.parents[0] is not None:
            draft, output = self._by_node[node.parents[0]]
            self._by_node[node] = (draft, node.params["position"] if node.op is SELECT else output)
            draft.names += tuple(name for name in self.names.of_node(node) if name not in draft.names)
            return
        saved = node.saved if isinstance(node.saved, (list, tuple)) else ()
        values = [saved[at] if at < len(saved) else None for at in range(len(node.parents))]
        shape, dtype = node.shape, node.dtype
        if isinstance(dtype, tuple):  # of an op with several outputs
            outputs = [self._value(one, its) for one, its in zip(shape, dtype, strict=True)]
        else:
            outputs = [self._value(shape, dtype)]
        self._add_op(node.op, values, node.params, outputs, node, node.scope)

    def _add_leaf(self, leaf: Leaf) -> None:
        draft = Draft(
            "parameter", names=self.names.of_node(leaf), outputs=[self._value(leaf.shape, leaf.dtype)], tracked=True
        )
        self.leaves[draft] = self.names.is_parameter(leaf)
        self.drafts.append(draft)
        self._by_node[leaf] = (draft, 0)
        tensor = leaf.tensor()
        if tensor is not None and id(tensor.array) not in self._by_array:  # it may be read without a gradient, too
            self.remember(tensor.array, (draft, 0))
            self._leaf_of[id(tensor.array)] = leaf

    # ---------------------------------------------------------------- what an observer saw

    def observed(
        self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Recorded | None,
        scope: Scope | None, step: int | None = None,
    ) -> Draft | None:  # fmt: skip
        """Add an operation that an observer saw; None where it is no node of its own."""
        if _inside_function(scope):  # the user's Function is one node, which follows
            return None
        if op is cast and node is None:  # a promotion: the same values, not a step of their own
            self.remember(outputs[0], self._array_place(inputs[0]))
            return None
        arrays = [one for one in outputs[: op.outputs] if isinstance(one, np.ndarray)]
        draft = self._add_op(op, inputs, params, [self._value(one.shape, one.dtype) for one in arrays], node, scope)
        draft.step = step
        written = [inputs[at] for at in op.mutates if isinstance(inputs[at], np.ndarray)]
        for array in written:
            # Whoever reads this memory from now on, through whatever array, reads what was written.
            for known in self._by_storage.get(storage(array), ()):
                if np.may_share_memory(known, array):
                    self._by_array[id(known)] = (draft, 0)
                    if id(known) in self._leaf_of:
                        self._by_node[self._leaf_of[id(known)]] = (draft, 0)
        for position, array in enumerate(arrays):
            self.remember(array, (draft, position))
        for array in outputs[op.outputs :]:  # what only the derivative rule reads
            if isinstance(array, np.ndarray):
                self.remember(array, (draft, 0))
        return draft

    def add_input(self, name: str, value: Any) -> None:
        """An array that a module or function is called with."""
        array = value.array if isinstance(value, TensorCore) else value
        place = self._by_array.get(id(array))
        if place is not None:
            place[0].names += (name,)
        else:
            tracked = isinstance(value, TensorCore) and value.node is not None
            draft = Draft("input", names=(name,), outputs=[self._value(array.shape, array.dtype)], tracked=tracked)
            self.drafts.append(draft)
            self.inputs.append(draft)
            place = (draft, 0)
            self.remember(array, place)
        if isinstance(value, TensorCore) and value.node is not None:
            self._by_node[value.node] = place

    def find(self, value: Any) -> Place | None:
        """Where a result comes from."""
        if isinstance(value, TensorCore):
            if value.node is not None:
                return self.place(value.node)
            value = value.array
        return self._by_array.get(id(value))

    def remember(self, array: np.ndarray, place: Place) -> None:
        """From now on, who reads this array reads that place."""
        if id(array) not in self._by_array:
            self._by_storage.setdefault(storage(array), []).append(array)
        self._by_array[id(array)] = place

    def remember_first(self, array: np.ndarray, place: Place) -> None:
        """The same for an array that is not known yet."""
        if id(array) not in self._by_array:
            self.remember(array, place)

    def add_array(self, kind: str, array: np.ndarray, names: tuple[str, ...]) -> Draft:
        """An array that no op made."""
        draft = Draft(kind, names=names, outputs=[self._value(array.shape, array.dtype)], backward=self.going_back)
        self.drafts.append(draft)
        self.remember(array, (draft, 0))
        return draft

    def add_result(self, name: str, place: Place, belongs_to: Draft | None = None) -> Draft:
        """What comes out at the end."""
        draft, output = place
        value = draft.outputs[output]
        last = Draft("output", names=(name,), outputs=[value], tracked=draft.tracked, belongs_to=belongs_to)
        last.backward = self.going_back
        last.incoming.append(Link(draft, output, 0, "", value, draft.tracked))
        self.drafts.append(last)
        return last

    def _array_place(self, array: np.ndarray) -> Place:
        place = self._by_array.get(id(array))
        if place is not None:
            return place
        leaf = self.names.leaf_of(array)
        place = None if leaf is None else self.place(leaf)
        if place is None:
            kind, names = self.names.of_array(array)
            arguments = (("value", text_of(array.reshape(-1)[0])),) if array.size == 1 and kind == "constant" else ()
            draft = Draft(kind, names=names, outputs=[self._value(array.shape, array.dtype)], arguments=arguments)
            draft.backward = self.going_back and kind == "constant"
            self.drafts.append(draft)
            place = (draft, 0)
        self.remember(array, place)
        return place

    # ---------------------------------------------------------------- one operation

    def _add_op(
        self, op: Op, values: list[Any], params: dict[str, Any], outputs: list[Value], node: Recorded | None,
        scope: Scope | None,
    ) -> Draft:  # fmt: skip
        kind = "write" if op.mutates else "view" if op.view else "kernel" if op.kind == "kernel" else "op"
        draft = Draft(kind, op.name, outputs, scope=scope, tracked=node is not None)
        draft.arguments = tuple(arguments(op, params))
        parents = node.parents if node is not None else ()
        for position, value in enumerate(values):
            parent = parents[position] if position < len(parents) else None
            name = op.inputs[position] if not op.variadic and position < len(op.inputs) else ""
            if parent is not None:
                source, output = self.place(parent)
                read = self._value(parent.shape, parent.dtype)
            elif isinstance(value, np.ndarray):
                source, output = self._array_place(value)
                read = self._value(value.shape, value.dtype)
            else:
                if isinstance(value, (bool, int, float, complex)):
                    draft.arguments += ((name or f"input {position}", text_of(value)),)
                continue
            draft.incoming.append(Link(source, output, position, name, read, parent is not None))
        for name, value in params.items():  # the index of a lookup, say: an input, or another op's result
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray) and id(array) in self._by_array:
                    source, output = self._by_array[id(array)]
                    read = self._value(array.shape, array.dtype)
                    draft.incoming.append(Link(source, output, len(draft.incoming), name, read, False))
        if node is None:
            rule = _rule(scope)
            draft.backward = rule is not None or self.going_back
            draft.source = self._running_line() if rule is None else self.source(rule.code, rule.offset, rule.parent)
        else:
            draft.source = self.source(node.code, node.offset, node.scope)
            code = node.code
            draft.backward = (code is not None and code.co_filename == _ENGINE_BACKWARD) or _rule(scope) is not None
            self._by_node[node] = (draft, 0)
            draft.names = self.names.of_node(node)
        self.drafts.append(draft)
        return draft

    def source(self, code: CodeType | None, offset: int, scope: Scope | None) -> Source | None:
        """The user's line that recorded something: the innermost outside the library, climbing out of its scopes."""
        while code is None or in_package(code):
            if scope is None:
                return None
            code, offset, scope = scope.code, scope.offset, scope.parent
        key = (code, offset)
        if key not in self._sources:
            self._sources[key] = _source(code, offset)
        return self._sources[key]

    def _running_line(self) -> Source | None:
        """The user's innermost line that is running now."""
        frame = user_frame()
        return None if frame is None or self.going_back else self.source(frame.f_code, frame.f_lasti, None)

    def _value(self, shape: Any, dtype: Any) -> Value:
        key = (shape, dtype)
        known = self._values.get(key)
        if known is None:
            known = self._values[key] = Value(tuple(int(side) for side in shape), str(dtype))
        return known

    def mark_losses(self, places: Iterable[Place]) -> None:
        """A result that is one tracked number is a loss."""
        for draft, output in places:
            if draft.kind in ("op", "kernel") and draft.tracked and not draft.backward:
                value = draft.outputs[output]
                if math.prod(value.shape) == 1 and value.dtype.startswith(("float", "bfloat")):
                    draft.kind = "loss"


def _rule(scope: Scope | None) -> Scope | None:
    """The outermost derivative rule that is running, where one is."""
    found = None
    while scope is not None:
        if scope.kind == "backward":
            found = scope
        scope = scope.parent
    return found


def _inside_function(scope: Scope | None) -> bool:
    while scope is not None:
        if scope.kind == "function":
            return True
        scope = scope.parent
    return False


def _source(code: CodeType, offset: int) -> Source | None:
    if code.co_filename.startswith(PACKAGE):
        return None  # the module that was run for the picture: no line of the user's called it
    return source_of(resolve(code, offset))
