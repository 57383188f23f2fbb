"""One way through a step, recorded and ready to be replayed."""

from __future__ import annotations

import contextlib
import ctypes
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..engine import Leaf, TensorCore, get_default_dtype, versions, wrap
from ..engine.dispatch import NUMPY_ERRORS
from ..engine.site import at, calling_code, here
from ..engine.state import LOCAL
from ..engine.versions import owner_of
from ..errors import AutogradError, CaptureError, DimensionError, DtypeError, ShapeError
from ..nn import Module, Parameter
from .build import build
from .compare import same_record
from .emit import PROGRAM, Program, emit
from .guards import Guards, has_gradient_like
from .lower import way_from_argument
from .plan import Options, Plan
from .record import Condition, Recorder
from .trees import flatten, rebuild
from .values import Value

__all__ = ["Call", "Captured", "Outcome"]


class Key(NamedTuple):
    """Equal for calls that one plan may serve."""

    structure: Any  # of the arguments
    leaves: tuple[Any, ...]  # shapes and dtypes of arrays, and all else as it is
    mode: Any  # grad mode and default dtype
    overlaps: tuple[tuple[int, int, bool], ...]  # of two arrays: whether they are the same one


class Call:
    """What one call brings: the leaves of its arguments, of which arrays may change and all else may not."""

    __slots__ = ("arrays", "key", "leaves", "positions", "tensors")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Any) -> None:
        self.leaves: list[Any] = []
        structure = flatten((args, kwargs), self.leaves)
        self.arrays: list[np.ndarray] = []
        self.tensors: list[Any] = []  # beside each array, the Tensor whose it is, or None
        self.positions: list[int] = []  # of each array's leaf
        described: list[Any] = []
        for position, leaf in enumerate(self.leaves):
            if isinstance(leaf, Parameter):  # a part of the state, like those that are not passed
                described.append(_ByIdentity(leaf))
                continue
            if isinstance(leaf, TensorCore):
                array, tensor = leaf.array, leaf
                kind: Any = None if leaf.node is None else isinstance(leaf.node, Leaf)
                if leaf.view_of is not None and LOCAL.state.grad_enabled:
                    leaf.view_of.check()
            elif isinstance(leaf, np.ndarray):
                array, tensor, kind = leaf, None, "array"
            else:
                described.append(_static(leaf))
                continue
            self.arrays.append(array)
            self.tensors.append(tensor)
            self.positions.append(position)
            described.append((kind, array.shape, array.dtype, array.strides, array.flags.writeable))
        self.key = Key(structure, tuple(described), mode, _overlaps(self.arrays))

    def names(self, function: Callable[..., Any]) -> list[str]:
        """Of the arrays: those of the parameters that took them."""
        try:
            signature = inspect.signature(function.forward if isinstance(function, Module) else function)
            parameters = [one.name for one in signature.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
        except (TypeError, ValueError):
            parameters = []
        _, ((_, positional), (_, keys, _)) = self.key.structure
        if all(part is None for part in positional):
            names = [*parameters[: len(positional)], *keys]
            if len(names) == len(self.leaves):
                return [names[position] for position in self.positions]
        return [f"x{at}" for at in range(len(self.arrays))]

    def position_of(self, tensor: Any) -> int | None:
        """Which of the arrays is this tensor's."""
        return next((at for at, one in enumerate(self.tensors) if one is tensor), None)


class _ByIdentity:
    """Equal for one and the same object, which it keeps alive: another one cannot come to have its address."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


def _static(leaf: Any) -> Any:
    """What stands for an argument that is no array: its value, or for other objects, which one it is."""
    if leaf is None or isinstance(leaf, (int, float, complex, str, bytes, slice, np.dtype, np.generic)):
        return type(leaf), repr(leaf)
    return _ByIdentity(leaf)


def _overlaps(arrays: list[np.ndarray]) -> tuple[tuple[int, int, bool], ...]:
    """Which arrays are one and the same (as positions), and which show common memory."""
    if len(arrays) < 2:
        return ()
    found = []
    for later, array in enumerate(arrays):
        for earlier in range(later):
            other = arrays[earlier]
            if other is array:
                found.append((earlier, later, True))
            elif np.may_share_memory(other, array):
                found.append((earlier, later, False))
    return tuple(found)


class Outcome:
    """What a recorded call returned, as what later calls have to return in its place."""

    def __init__(self, record: Recorder, call: Call, result: Any) -> None:
        leaves: list[Any] = []
        self._values: dict[int, Value | None] = {}  # by id of a leaf from outside
        self.structure = flatten(result, leaves)
        self.returned = {id(leaf) for leaf in leaves}
        self.leaves = [self._leaf(record, call, one) for one in leaves]

    def _leaf(self, record: Recorder, call: Call, leaf: Any) -> tuple[str, Any]:
        for position in call.positions:
            if call.leaves[position] is leaf:
                return "argument", position
        if isinstance(leaf, np.ndarray):
            raise CaptureError(
                f"a compiled step returned a NumPy array of shape {leaf.shape}, whose numbers were computed outside of "
                f"Tensors, where a replay cannot follow.{here()}\n  Return a Tensor: from_numpy(array), or the tensor itself."
            )
        if not isinstance(leaf, TensorCore):
            return "object", leaf
        if leaf.node is not None and not isinstance(leaf.node, Leaf) and leaf.node.number not in record.walked:
            raise CaptureError(
                f"the step returned a tensor of shape {leaf.array.shape} whose graph goes on outside, and a replay makes no "
                f"graph.{at(leaf.node.site, 'computed at')}\n"
                "  Compile the whole step with its backward(), call it under no_grad(), or return x.detach()."
            )
        value = record.known(leaf.array)
        if value is None or value.memory.kind == "state":
            self._values[id(leaf)] = value
            return "outside", leaf  # settled by the next call, which shows what stays
        return "value", value

    def settle(self, before: Outcome) -> None:
        """With the outcome of a call that did the same: what was returned of tensors that the step did not make."""
        pairs = zip(self.leaves, before.leaves, strict=True)
        for position, ((kind, leaf), (_, earlier)) in enumerate(pairs):
            if kind != "outside":
                continue
            value = self._values[id(leaf)]
            if leaf is earlier:
                self.leaves[position] = "object", leaf
            elif leaf.array is earlier.array:
                self.leaves[position] = "shared", leaf.array
            elif value is not None and value.memory.kind == "state" and value.memory.array is not None:
                self.leaves[position] = "shared", value.array_in(value.memory.array)  # a view of what stays
            else:
                self.leaves[position] = "constant", leaf.array.copy()

    def same(self, other: Outcome) -> bool:
        if self.structure != other.structure:
            return False
        for (kind, mine), (theirs_kind, theirs) in zip(self.leaves, other.leaves, strict=True):
            if kind == theirs_kind == "outside":
                if mine is not theirs and not (mine.array is theirs.array or same_record(mine.array, theirs.array)):
                    return False
            elif kind != theirs_kind or not same_record(mine, theirs):
                return False
        return True

    def values(self) -> dict[int, Value]:
        return {position: leaf for position, (kind, leaf) in enumerate(self.leaves) if kind == "value"}


class Captured:
    """A plan with its program, what it rests on, and how its results go back to the caller."""

    def __init__(
        self, record: Recorder, call: Call, outcome: Outcome, arguments: list[Value], guards: Guards, title: str,
        options: Options,
    ) -> None:  # fmt: skip
        touched = [one for one in record.touched if one.lasts]
        entries = [one for one in touched if one.entry is not None]
        self.guards = guards
        self.outcome = outcome
        self._owned = {
            id(owner_of(one.array)) for one in record.memories if one.kind == "state" and one.array is not None
        }
        self._aliased = self._shows_state(call.arrays)
        self.plan: Plan = build(
            record,
            [*arguments, *(one.entry for one in entries if one.entry)],
            outcome.values(),
            options.fast,
            self._aliased,
            any(not same for _, _, same in call.key.overlaps),
        )
        self.program: Program = emit(self.plan, title, options.threads)
        self.replay: Callable[..., tuple[np.ndarray, ...]] = self.program.function()
        written = {value.memory for one in self.plan.instructions for value in (*one.writes, *one.made)}
        # A gradient found on entry: whose, and whether it is written where it lies.
        self._entries = [
            (one.tensor, call.position_of(one.tensor), one.entry is not None and one.entry.memory in written)
            for one in entries
        ]
        # What is known of the gradients of arguments on entry.
        self._passed_entries = [
            (at, one.entry) for one in touched if one.read and (at := call.position_of(one.tensor)) is not None
        ]
        self._written_arguments = [
            at for at, value in enumerate(arguments) if value.memory in written and value.memory.kind == "argument"
        ]
        numbers = {value.memory: position for position, value in enumerate(arguments)}
        # State that an argument's array belongs to: it does so again, or the step computes with something else.
        self._lent = [
            (tensor, numbers[value.memory])
            for weak, value in record.lent
            if (tensor := weak()) is not None and value.memory in numbers and id(tensor) not in outcome.returned
        ]
        # What is asked of arguments before each replay: which one, by what views, and the question.
        self._conditions = [
            (numbers[event.value.memory], way, event)
            for event in record.events
            if isinstance(event, Condition) and (way := way_from_argument(event.value)) is not None
        ]
        self.gradients, self._passed_gradients = self._targets(call)
        self.state = _written_state(self.plan)  # what a replay writes that somebody owns
        kept = [memory.array for memory in self.plan.memories if memory.kept and memory.array is not None]
        self._written = versions.Writer([*self.state, *kept])
        self._kept = {id(owner_of(array)) for array in kept}  # what the replay itself writes before it is done
        self.generators = _generators(self.plan)
        self._one = [kind for kind, _ in outcome.leaves] == ["value"] and outcome.structure is None
        self.is_new = True  # not replayed yet
        self.accepts: Callable[[tuple[Any, ...]], list[np.ndarray] | None] | None = None  # until then
        self._accepts = self._quick_test(call)
        # Of a plan that was seen with one set of numbers only, copies of them.
        self.examples: list[np.ndarray] | None = None

    def _targets(self, call: Call) -> tuple[list[list[Any]], list[tuple[int, np.ndarray | None]]]:
        """The ``.grad`` of each tensor after a call: of fixed tensors as Tensors, of arguments as arrays to copy."""
        fixed: list[list[Any]] = []
        passed: list[tuple[int, np.ndarray | None]] = []
        for tensor, value in self.plan.gradients:
            if value is not None and value.memory.kind == "gradient":
                continue  # as it was
            array = None
            if value is not None:
                if value.memory.array is None:
                    raise CaptureError(
                        f"a compiled step sets a .grad of shape {value.shape} to an array that is another one at each call."
                        f"{here()}\n  Let backward() make it, or copy into it: x.grad.copy_(new)."
                    )
                array = value.array_in(value.memory.array)
            position = call.position_of(tensor)
            if position is None:
                fixed.append([tensor, None if array is None else wrap(array), array])
            else:
                passed.append((position, array))
        return fixed, passed

    def _shows_state(self, arrays: list[np.ndarray]) -> bool:
        """Whether an argument lies in memory that the step knows as its state, and may write."""
        return any(id(_owner(array)) in self._owned for array in arrays)

    def fits(self, call: Call) -> bool:
        """Whether the gradients of the arguments are there or not as they were, and a plan that was seen with one set of
        arguments only was seen with these."""
        if any(tensor.array is not call.arrays[position] for tensor, position in self._lent):
            return False
        if self._shows_state(call.arrays) is not self._aliased or not conditions_hold(self._conditions, call.arrays):
            return False
        for position, entry in self._passed_entries:
            tensor = call.tensors[position]
            if entry is None:
                if tensor._grad is not None:
                    return False
            elif not has_gradient_like(tensor, entry.shape, entry.dtype, entry.strides):
                return False
        return self.examples is None or all(
            np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
            for one, other in zip(self.examples, call.arrays, strict=True)
        )

    def _quick_test(self, call: Call) -> Callable[[tuple[Any, ...]], list[np.ndarray] | None] | None:
        """A test of plain positional arguments, where there are no others; it returns their arrays."""
        alike = call.key.overlaps and any(same for _, _, same in call.key.overlaps)
        plain = not alike and call.key.structure == flatten((tuple(call.leaves), {}), [])
        if (
            not plain
            or self._written_arguments
            or len(call.arrays) < len(call.leaves)
            or self._entries
            or self._passed_gradients
        ):
            return None
        if any(kind == "argument" for kind, _ in self.outcome.leaves):
            return None
        expected = [
            (leaf.__class__, leaf.__class__ is np.ndarray, array.shape, array.dtype, array.strides)
            for leaf, array in zip(call.leaves, call.arrays, strict=True)
        ]
        if any(tensor is not None and tensor.node is not None for tensor in call.tensors):
            return None
        conditions = self._conditions
        count, mode, elsewhere = len(expected), call.key.mode, self._owned | self._kept
        graded, default = mode
        local = LOCAL

        def accepts(args: tuple[Any, ...]) -> list[np.ndarray] | None:
            if len(args) != count or local.state.grad_enabled is not graded or get_default_dtype() is not default:
                return None
            arrays = []
            for arg, (kind, is_array, shape, dtype, strides) in zip(args, expected):  # noqa: B905 (equal, see above)
                if arg.__class__ is not kind:
                    return None
                if is_array:
                    array = arg
                elif arg.node is not None or arg.view_of is not None:
                    return None
                else:
                    array = arg.array
                if array.shape != shape or array.dtype is not dtype or array.strides != strides:
                    return None
                if id(_owner(array)) in elsewhere:
                    return None
                arrays.append(array)
            return arrays if not conditions or conditions_hold(conditions, arrays) else None

        return accepts

    def run(self, call: Call) -> Any:
        """Replay, and hand out the results."""
        arrays = [array.copy() if self._is_own(array) else array for array in call.arrays]
        if self._entries:
            arrays += self.entry_gradients(call)
        returned = self.quick_run(arrays, calling_code())
        for position, array in self._passed_gradients:
            call.tensors[position]._grad = None if array is None else wrap(array.copy())
        if self._written_arguments:
            versions.bump(*(call.arrays[position] for position in self._written_arguments))
        return self._results(call, iter(returned))

    def begin(self, call: Call) -> Any:
        """The first `run`. From here on no gradient of a recorded call is left, so that what those took can be returned.

        The C library would keep it for later: of a large model as much again as the replay, which has memory of its own.
        """
        result = self.run(call)
        self.is_new, self.accepts = False, self._accepts
        with contextlib.suppress(OSError, AttributeError, TypeError):  # a function of glibc's
            ctypes.CDLL(None).malloc_trim(0)
        return result

    def quick_run(self, arrays: list[np.ndarray], line: Any) -> tuple[np.ndarray, ...]:
        """Replay on arrays, and set the gradients."""
        try:
            returned = self.replay(*arrays)
        except BaseException as error:
            self._written.bump(line)  # as far as it came
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error
        for known in self.gradients:
            tensor, gradient, array = known
            if gradient is not None and (gradient.array is not array or gradient.node is not None):
                gradient = known[1] = wrap(array)  # somebody made something else of the Tensor
            tensor._grad = gradient
        self._written.bump(line)
        return returned

    def _explained(self, error: BaseException) -> BaseException:
        """What NumPy raised in a replay, told with the user's line that it carried out; all else as it is."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != PROGRAM:
            trace = trace.tb_next
        theirs = trace is not None and self.program.acts(trace.tb_lineno)  # raised by a scheduler's function, say
        if not isinstance(error, NUMPY_ERRORS) or isinstance(error, AutogradError) or theirs:
            return error
        site = "" if trace is None else f"\n  in {self.program.site(trace.tb_lineno)}"
        kinds = ((IndexError, DimensionError), (ValueError, ShapeError), (TypeError, DtypeError))
        kind: type[AutogradError] = next((ours for theirs, ours in kinds if isinstance(error, theirs)), AutogradError)
        return kind(f"a replayed step: {error}{site}{here()}")

    def quick_results(self, returned: tuple[np.ndarray, ...]) -> Any:
        """The results of a call without arguments among them."""
        return wrap(returned[0]) if self._one else self._results(None, iter(returned))

    def entry_gradients(self, call: Call) -> list[np.ndarray]:
        """The gradients that the call finds present."""
        found: list[np.ndarray] = []
        for tensor, position, written in self._entries:
            array = (tensor if position is None else call.tensors[position])._grad.array
            # One in the plan's own memory would be overwritten while it is still needed.
            found.append(array if written or not self._is_own(array) else array.copy())
        return found

    def _is_own(self, array: np.ndarray) -> bool:
        return id(_owner(array)) in self._kept

    def _results(self, call: Call | None, returned: Any) -> Any:
        leaves = iter(self.outcome.leaves)

        def take() -> Any:
            kind, leaf = next(leaves)
            if kind == "value":
                return wrap(next(returned))
            if kind == "argument" and call is not None:
                return call.leaves[leaf]
            if kind == "constant":
                return wrap(leaf.copy())
            if kind == "shared":
                return wrap(leaf)
            return leaf

        return rebuild(self.outcome.structure, take)


def conditions_hold(conditions: list[tuple[int, Any, Condition]], arrays: list[np.ndarray]) -> bool:
    """Whether the numbers of the arguments are such that the step does what was recorded."""
    for position, way, condition in conditions:
        array = arrays[position]
        for view, params in way:
            array = view(array, **params)
        if not condition.holds(array):
            return False
    return True


def _owner(array: np.ndarray) -> np.ndarray:
    return array if array.base is None else owner_of(array)


def _written_state(plan: Plan) -> list[np.ndarray]:
    found: dict[Any, np.ndarray] = {}
    for one in plan.instructions:
        for value in (*one.writes, *one.made):
            if value.memory.kind == "state" and value.memory.array is not None:
                found.setdefault((value.memory, value.geometry), value.array_in(value.memory.array))
    return list(found.values())


def _generators(plan: Plan) -> list[np.random.Generator]:
    """What random numbers are drawn from."""
    found = [value for one in plan.instructions for value in one.params.values()]
    return list({id(one): one for one in found if isinstance(one, np.random.Generator)}.values())
