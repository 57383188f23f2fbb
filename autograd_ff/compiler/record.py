"""What one call of a step did: every op with its arrays, and what Python did beside the ops.

The `Recorder` is an observer that makes the backward pass run its rules on Tensors, so that it sees all of forward,
backward and update as operations on arrays. Arrays are told apart by identity: what an op got is what another one made,
what the step was given, or what somebody owns (a parameter, a buffer, an optimizer's moments). The record names arrays
by number and keeps none of the step's own alive, so recording takes no more memory than running.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import Node, Observer, Op, Scope, Site, TensorCore, calling_site
from ..engine.site import at
from ..engine.versions import owner_of
from ..errors import CaptureError
from ..nn.naming import ModuleScope
from .values import Memory, Value

__all__ = ["Action", "Applied", "Recorder", "Touched", "map_arrays"]

# What else may be done with a value: it stays in the graph's world.
_HARMLESS = ("detach", "data")


@dataclass(eq=False)
class Applied:
    """One op that ran."""

    op: Op
    inputs: tuple[Any, ...]  # Values, Python scalars, None
    params: dict[str, Any]  # arrays in it are Values too
    outputs: tuple[Value | None, ...]
    scope: Scope | None
    site: Site | None
    runtime: Action | None  # whose result the params are

    @property
    def output(self) -> Value:
        """The first output, which every op has."""
        assert self.outputs[0] is not None
        return self.outputs[0]


@dataclass(eq=False)
class Action:
    """Something that Python itself did, and does again at each replay."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    result: Any
    site: Site | None


@dataclass(eq=False)
class Touched:
    """A tensor whose ``.grad`` was used: by its first use, what the course of the step may depend on."""

    tensor: Any
    entry: Value | None  # its .grad before, where the first use was to read it
    read: bool


def map_arrays(value: Any, function: Callable[[np.ndarray], Any]) -> Any:
    """A parameter with ``function`` applied to the arrays in it."""
    if isinstance(value, np.ndarray):
        return function(value)
    if isinstance(value, (tuple, list)):
        return type(value)([map_arrays(one, function) for one in value])
    return value


@dataclass(eq=False)
class Recorder(Observer):
    """Everything that one call did, in order."""

    traces_backward = True
    events: list[Applied | Action] = field(default_factory=list)
    questions: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    owners: dict[int, Any] = field(default_factory=dict)  # by id of the array: the Tensor that an op was given
    touched: dict[int, Touched] = field(default_factory=dict)
    modules: dict[int, Any] = field(default_factory=dict)  # the outermost modules that ran
    walked: set[int] = field(default_factory=set)  # numbers of the nodes that the backward pass went through
    indices: list[tuple[Any, Site | None]] = field(default_factory=list)  # index arrays, which must be known as inputs
    _values: dict[int, Value] = field(default_factory=dict)  # by id of the array
    _memories: dict[int, Memory] = field(default_factory=dict)  # by id of the array that owns it
    _declared: dict[int, np.ndarray] = field(default_factory=dict)
    _actions: dict[int, Action] = field(default_factory=dict)  # by id of the result
    _scope: Scope | None = None  # the last one seen

    # ---------------------------------------------------------------- arrays

    def value(self, array: np.ndarray, kind: str = "state", source: Any = None) -> Value:
        """The value that an array is; one not seen before is of memory of this ``kind``."""
        known = self._values.get(id(array))
        if known is not None and known.weak() is array:
            return known
        root = owner_of(array)
        memory = self._memories.get(id(root))
        if memory is None or memory.weak() is not root:
            memory = Memory(kind, len(self.memories), root, source)
            memory.declared = id(array) in self._declared
            memory.where = calling_site() if kind == "state" else None
            self.memories.append(memory)
            self._memories[id(root)] = memory
        made = Value(len(self.values), array, memory)
        self.values.append(made)
        self._values[id(array)] = made
        return made

    def known(self, array: np.ndarray) -> Value | None:
        found = self._values.get(id(array))
        return found if found is not None and found.weak() is array else None

    # ---------------------------------------------------------------- what the engine tells

    def takes(self, op: Op, inputs: tuple[Any, ...]) -> None:
        for one in inputs:
            if isinstance(one, TensorCore) and self.known(one.array) is None:
                self.owners[id(one.array)] = one

    def op(
        self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Node | None,
        scope: Scope | None,
    ) -> None:  # fmt: skip
        self._note_modules(scope)
        if op.kind == "function":  # a user's Function: the ops inside were seen one by one
            return
        site = (None if node is None else node.site) or calling_site()
        before = len(self.memories)
        given = tuple(self.value(one) if isinstance(one, np.ndarray) else one for one in inputs)
        action = self._actions.get(id(params))
        kept = params if action is not None else {key: map_arrays(one, self.value) for key, one in params.items()}
        if _in_rule(scope):  # what a rule makes itself follows from shapes: the dialect allows nothing else
            for memory in self.memories[before:]:
                memory.declared = True
        made = tuple(None if one is None else self.value(one, "internal") for one in outputs)
        first = given[0] if given else None
        out = made[0]
        if isinstance(first, Value) and out is not None and out is not first and not op.mutates:
            shown = out.memory is first.memory
            if shown and out.made_from is None:
                out.made_from = (op, first, kept)
        self.events.append(Applied(op, given, kept, made, scope, site, action))

    def backward(self, node: Node, gradient: Any, input_gradients: list[Any]) -> None:
        self.walked.add(node.number)

    def read(self, tensor: Any, how: str) -> None:
        if how in _HARMLESS:
            return
        array = tensor.array
        if how == "index" and array.dtype.kind in "iu":
            self.indices.append((self.value(array), calling_site()))
            return
        raise CaptureError(_reading(how, array))

    def touch(self, tensor: Any, how: str) -> None:
        if id(tensor) in self.touched:
            return
        entry = None
        if how == "read" and tensor._grad is not None:
            entry = self.value(tensor._grad.array, "gradient", tensor)
        self.touched[id(tensor)] = Touched(tensor, entry, how == "read")

    def constant(self, array: Any) -> None:
        self._declared[id(array)] = array

    def host(self, action: Callable[..., Any], arguments: tuple[Any, ...], result: Any) -> None:
        done = Action(action, arguments, result, calling_site())
        self.events.append(done)
        if result is not None:
            self._actions[id(result)] = done

    def depend(self, question: Callable[..., Any], arguments: tuple[Any, ...], answer: Any) -> None:
        self.questions.append((question, arguments, answer))

    def _note_modules(self, scope: Scope | None) -> None:
        if scope is self._scope:
            return
        self._scope = scope
        outermost = None
        while scope is not None:
            if scope.__class__ is ModuleScope and scope.module is not None:
                outermost = scope.module
            scope = scope.parent
        if outermost is not None:
            self.modules[id(outermost)] = outermost


def _in_rule(scope: Scope | None) -> bool:
    """Whether an op ran inside a derivative rule, and not in a user's Function."""
    found = False
    while scope is not None:
        if scope.kind == "function":
            return False
        found = found or scope.kind == "backward"
        scope = scope.parent
    return found


def _reading(how: str, array: np.ndarray) -> str:
    """The message for a value that leaves the graph while a step is captured."""
    place = at(calling_site())
    what = f"a {array.dtype} tensor of shape {array.shape}"
    reasons = {
        "bool": f"the truth of {what} decides how the step goes on",
        "nonzero": f"the shape of the result of nonzero depends on the values of {what}",
        "index": f"the shape of what a mask selects depends on the values of {what}",
    }
    if how in reasons:
        return (
            f"a compiled step is replayed for other values, and {reasons[how]}.{place}\n"
            "  Compute with masks instead: where(mask, a, b), x * mask; or leave this part out of the compiled step."
        )
    return (
        f"a compiled step is replayed for other values, and {what} leaves it for Python ({how}).{place}\n"
        "  Return the tensor, and read it outside of the step: loss = step(x, y); loss.item()."
    )
