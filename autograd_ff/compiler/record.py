"""What one call of a step did: every op with its arrays, and what Python did beside the ops.

The `Recorder` is an observer that makes the backward pass run its rules on Tensors, so that it sees all of forward,
backward and update as operations on arrays. Arrays are told apart by identity: what an op got is what another one made,
what the step was given, or what somebody owns (a parameter, a buffer, an optimizer's moments). The record names arrays
by number and keeps none of the step's own alive, so recording takes no more memory than running.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from ..engine import Node, Observer, Op, Scope, Site, TensorCore, calling_site
from ..engine.site import at
from ..engine.subnormals import is_flushing
from ..engine.versions import owner_of
from ..errors import CaptureError
from ..nn.naming import ModuleScope
from .values import Memory, Value, is_blank

__all__ = ["Action", "Applied", "Condition", "Recorder", "Touched"]

# Ways of taking a value that hand it to no Python.
_HARMLESS = ("detach", "data")


class _Window:
    """The making of a view that Python itself took of an array."""

    name = "window"

    @staticmethod
    def forward(array: np.ndarray, offset: int, shape: Any, strides: Any, dtype: Any) -> np.ndarray:
        buffer = array if array.flags.c_contiguous else array.T
        return np.ndarray(shape, dtype, buffer, offset, strides)


WINDOW = _Window()


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
    flushed: bool  # subnormal numbers counted as zero

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
class Condition:
    """A question about the numbers of an array that must have the same answer at each replay."""

    question: Callable[..., Any]
    value: Value
    arguments: tuple[Any, ...]
    answer: Any
    site: Site | None

    def holds(self, array: np.ndarray) -> bool:
        return bool(self.question(array, *self.arguments) == self.answer)


@dataclass(eq=False)
class Touched:
    """A tensor whose ``.grad`` was used: by its first use, what the course of the step may depend on."""

    weak: weakref.ref[Any]  # a leaf of the step's own goes with it
    entry: Value | None  # its .grad before, where the first use was to read it
    read: bool
    lasts: bool = False  # whether the next call meets it again, or one like it among its arguments

    @property
    def tensor(self) -> Any:
        return self.weak()


def _map_arrays(value: Any, function: Callable[[np.ndarray], Any]) -> Any:
    """A parameter with ``function`` applied to the arrays in it."""
    if isinstance(value, np.ndarray):
        return function(value)
    if isinstance(value, (tuple, list)):
        return type(value)([_map_arrays(one, function) for one in value])
    return value


@dataclass(eq=False)
class Recorder(Observer):
    """Everything that one call did, in order."""

    traces_backward = True
    events: list[Applied | Action | Condition] = field(default_factory=list)
    questions: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    passed: list[Any] = field(default_factory=list)  # the tensors among the arguments
    lent: list[tuple[weakref.ref[Any], Value]] = field(default_factory=list)  # others on the array of an argument
    owners: dict[int, weakref.ref[Any]] = field(default_factory=dict)  # by id of the array: the Tensor an op was given
    touched: list[Touched] = field(default_factory=list)
    modules: dict[int, Any] = field(default_factory=dict)  # the outermost modules that ran
    functions: set[str] = field(default_factory=set)  # names of users' Functions
    walked: set[int] = field(default_factory=set)  # numbers of the nodes that the backward pass went through
    indices: list[tuple[Any, Site | None]] = field(default_factory=list)  # index arrays, which must be known as inputs
    _values: dict[int, Value] = field(default_factory=dict)  # by id of the array
    _memories: dict[int, Memory] = field(default_factory=dict)  # by id of the array that owns it
    _brought: dict[Memory, np.ndarray] = field(default_factory=dict)  # arguments and gradients found on entry
    _touched: dict[int, Touched] = field(default_factory=dict)  # by id of the tensor
    _declared: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _actions: dict[int, Action] = field(default_factory=dict)  # by id of the result
    _scope: Scope | None = None  # the last one seen

    # ---------------------------------------------------------------- arrays

    def argument(self, array: np.ndarray, kind: str, source: Any) -> Value:
        """The value of an array that each call brings: a memory of its own, whatever it is a part of."""
        known = self.known(array)
        if known is not None:
            return known
        memory = self._new_memory(kind, array, source)
        self._brought[memory] = array
        return self._new_value(array, memory)

    def value(self, array: np.ndarray, kind: str = "state", near: tuple[Any, ...] = ()) -> Value:
        """The value that an array is; one not seen before is of memory of this ``kind``.

        Args:
            near: values whose memory it may show.
        """
        known = self.known(array)
        if known is not None:
            return known
        root = owner_of(array)
        for one in near:
            if isinstance(one, Value) and self._lies_in(array, root, one.memory):
                return self._new_value(array, one.memory)
        memory = self._memories.get(id(root))
        if memory is None or memory.weak() is not root:
            inside = next((one for one in self._brought if self._lies_in(array, root, one)), None)
            if inside is not None:
                return self._window(array, inside)
            memory = self._new_memory(kind, root, None)
            if kind == "state" and id(array) in self._declared:
                memory.declared, memory.array = True, self._declared[id(array)][1]
            memory.where = calling_site() if kind == "state" else None
            self._memories[id(root)] = memory
        return self._new_value(array, memory)

    def _new_memory(self, kind: str, root: np.ndarray, source: Any) -> Memory:
        memory = Memory(kind, len(self.memories), root, source)
        self.memories.append(memory)
        return memory

    def _new_value(self, array: np.ndarray, memory: Memory) -> Value:
        made = Value(len(self.values), array, memory)
        self.values.append(made)
        self._values[id(array)] = made
        return made

    def _lies_in(self, array: np.ndarray, root: np.ndarray, memory: Memory) -> bool:
        """Whether an array is a part of one that the call brought."""
        brought = self._brought.get(memory)
        if brought is None or owner_of(brought) is not root:
            return False
        low, high = byte_bounds(brought)
        first, last = byte_bounds(array)
        return low <= first and last <= high

    def _window(self, array: np.ndarray, memory: Memory) -> Value:
        """What Python itself took of an argument: a slice of its array, say."""
        brought = self._brought[memory]
        if not (brought.flags.c_contiguous or brought.flags.f_contiguous):
            raise CaptureError(
                f"NumPy took a part of an argument whose numbers do not lie in one piece.{at(calling_site())}\n"
                "  Make a Tensor of the argument first, and take the part of that: from_numpy(x)[1:]."
            )
        made = self._new_value(array, memory)
        whole = next(one for one in self.values if one.memory is memory)
        place = {"offset": made.offset, "shape": made.shape, "strides": made.strides, "dtype": made.dtype}
        made.made_from = (WINDOW, whole, place)
        return made

    def known(self, array: np.ndarray) -> Value | None:
        found = self._values.get(id(array))
        return found if found is not None and found.weak() is array else None

    # ---------------------------------------------------------------- what the engine tells

    def takes(self, op: Op, inputs: tuple[Any, ...]) -> None:
        for one in inputs:
            if isinstance(one, TensorCore):
                known = self.known(one.array)
                if known is None:
                    self.owners[id(one.array)] = weakref.ref(one)
                elif self._brought.get(known.memory) is one.array and not any(one is passed for passed in self.passed):
                    self.lent.append((weakref.ref(one), known))

    def op(
        self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Node | None,
        scope: Scope | None,
    ) -> None:  # fmt: skip
        self._note_modules(scope)
        if op.kind == "function":  # a user's Function: the ops inside were seen one by one
            self.functions.add(op.name)
            return
        site = (None if node is None else node.site) or calling_site()
        before = len(self.memories)
        given = tuple(self.value(one) if isinstance(one, np.ndarray) else one for one in inputs)
        action = self._actions.get(id(params))
        kept = params if action is not None else {key: _map_arrays(one, self.value) for key, one in params.items()}
        if _in_rule(scope):  # what a rule makes itself follows from shapes: the dialect allows nothing else
            for memory in self.memories[before:]:
                memory.declared = True
        made = tuple(None if one is None else self.value(one, "internal", given) for one in outputs)
        first = given[0] if given else None
        out = made[0]
        if isinstance(first, Value) and out is not None and out is not first and not op.mutates:
            shown = out.memory is first.memory
            if shown and out.made_from is None:
                out.made_from = (op, first, kept)
        flushed = bool(op.mutates) and is_flushing()
        self.events.append(Applied(op, given, kept, made, scope, site, action, flushed))

    def backward(self, node: Node, gradient: Any, input_gradients: list[Any]) -> None:
        self.walked.add(node.number)

    def read(self, tensor: Any, how: str) -> None:
        if how in _HARMLESS:
            return
        array = tensor.array
        if how == "index" and array.dtype.kind in "iu":
            self.indices.append((self.value(array), calling_site()))
            return
        if how == "replace":
            raise CaptureError(
                f"the memory of a tensor of shape {array.shape} is exchanged in a compiled step, which a replay would not "
                f"do.{at(calling_site())}\n  Write into it: with no_grad(): x.copy_(new)."
            )
        raise CaptureError(_reading(how, array))

    def touch(self, tensor: Any, how: str) -> None:
        known = self._touched.get(id(tensor))
        if known is not None and known.weak() is tensor:
            return
        entry = None
        if how == "read" and tensor._grad is not None:
            entry = self.argument(tensor._grad.array, "gradient", tensor)
        self._touched[id(tensor)] = touched = Touched(weakref.ref(tensor), entry, how == "read")
        self.touched.append(touched)

    def constant(self, array: Any) -> None:
        # As it is now: the step may go on to write into it. Fresh zeros take no memory until somebody writes there.
        self._declared[id(array)] = array, np.zeros(array.shape, array.dtype) if is_blank(array) else array.copy()

    def host(self, action: Callable[..., Any], arguments: tuple[Any, ...], result: Any) -> None:
        done = Action(action, arguments, result, calling_site())
        self.events.append(done)
        if result is not None:
            self._actions[id(result)] = done

    def condition(self, question: Callable[..., Any], array: Any, arguments: tuple[Any, ...], answer: Any) -> None:
        self.events.append(Condition(question, self.value(array), arguments, answer, calling_site()))

    def enter(self, scope: Scope) -> None:
        self._note_modules(scope)

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
        "one_hot": f"the number of classes of one_hot depends on the values of {what}; give num_classes",
        "nonzero": f"the shape of the result of nonzero depends on the values of {what}",
        "index": f"the shape of what a mask selects depends on the values of {what}",
        "experts": f"how many tokens each expert computes depends on the values of {what}, the router's choice",
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
