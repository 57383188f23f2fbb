"""One way through a step, recorded and ready to be replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Leaf, TensorCore, get_default_dtype, versions, wrap
from ..engine.site import at, calling_code
from ..engine.state import LOCAL
from ..errors import CaptureError
from .build import build
from .compare import Difference, _same
from .emit import Program, emit
from .guards import Guards
from .plan import Options, Plan
from .record import Recorder
from .trees import flatten, rebuild
from .values import Value

__all__ = ["Call", "Captured", "Outcome"]


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
            if isinstance(leaf, TensorCore):
                array, tensor = leaf.array, leaf
                kind: Any = None if leaf.node is None else isinstance(leaf.node, Leaf)
            elif isinstance(leaf, np.ndarray):
                array, tensor, kind = leaf, None, "array"
            else:
                described.append(_static(leaf))
                continue
            self.arrays.append(array)
            self.tensors.append(tensor)
            self.positions.append(position)
            described.append((kind, array.shape, array.dtype, array.strides, array.flags.writeable))
        self.key = (structure, tuple(described), mode)

    def position_of(self, tensor: Any) -> int | None:
        """Which of the arrays is this tensor's."""
        return next((at for at, one in enumerate(self.tensors) if one is tensor), None)


def _static(leaf: Any) -> Any:
    """What stands for an argument that is no array: its value, or for other objects, which one it is."""
    if leaf is None or isinstance(leaf, (int, float, complex, str, bytes, slice, np.dtype, np.generic)):
        return type(leaf), repr(leaf)
    return id(leaf)


class Outcome:
    """What a recorded call returned, as what later calls have to return in its place."""

    def __init__(self, record: Recorder, call: Call, result: Any) -> None:
        leaves: list[Any] = []
        self.structure = flatten(result, leaves)
        self.leaves = [self._leaf(record, call, one) for one in leaves]

    def _leaf(self, record: Recorder, call: Call, leaf: Any) -> tuple[str, Any]:
        for position in call.positions:
            if call.leaves[position] is leaf:
                return "argument", position
        if isinstance(leaf, np.ndarray):
            raise Difference(
                f"it returned a NumPy array of shape {leaf.shape}, which was computed outside of Tensors. Return a Tensor."
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
        if value is None:
            return "constant", np.array(leaf.array)
        if value.memory.kind == "state" and any(leaf is one for one in record.owners.values()):
            return "owned", leaf
        return "value", value

    def same(self, other: Outcome) -> bool:
        if self.structure != other.structure:
            return False
        for (kind, mine), (theirs_kind, theirs) in zip(self.leaves, other.leaves, strict=True):
            if kind != theirs_kind or not _same(mine, theirs):
                return False
        return True

    def values(self) -> dict[int, Value]:
        return {position: leaf for position, (kind, leaf) in enumerate(self.leaves) if kind == "value"}


class Captured:
    """A plan with its program, what it rests on, and how its results go back to the caller."""

    def __init__(
        self, record: Recorder, call: Call, outcome: Outcome, arguments: list[Value], title: str, options: Options
    ) -> None:
        passed = {id(one) for one in call.tensors if one is not None}
        entries = [one for one in record.touched.values() if one.entry is not None]
        self.guards = Guards(record, passed)
        self.outcome = outcome
        self.plan: Plan = build(
            record, [*arguments, *(one.entry for one in entries if one.entry)], outcome.values(), options.fast
        )
        self.program: Program = emit(self.plan, title, options.threads)
        self.replay: Callable[..., tuple[np.ndarray, ...]] = self.program.function()
        self._entries = [(one.tensor, call.position_of(one.tensor)) for one in entries]
        self.gradients, self._passed_gradients = self._targets(call)
        self.state = _written_state(self.plan)  # what a replay writes that somebody owns
        self._written = versions.Writer(self.state)
        self.generators = _generators(self.plan)
        self._one = [kind for kind, _ in outcome.leaves] == ["value"] and outcome.structure is None
        self.accepts = self._quick_test(call)
        self.examples: list[np.ndarray] | None = (
            None  # of a provisional plan, copies of the arrays it was recorded with
        )

    def _targets(self, call: Call) -> tuple[list[tuple[Any, Any]], list[tuple[int, np.ndarray | None]]]:
        """The ``.grad`` of each tensor after a call: of fixed tensors as Tensors, of arguments as arrays to copy."""
        fixed: list[tuple[Any, Any]] = []
        passed: list[tuple[int, np.ndarray | None]] = []
        for tensor, value in self.plan.gradients:
            if value is not None and value.memory.kind == "gradient":
                continue  # as it was
            array = None
            if value is not None:
                if value.memory.array is None:
                    raise Difference("a .grad was set to something that is allocated anew at each call.")
                array = value.array_in(value.memory.array)
            position = call.position_of(tensor)
            if position is None:
                fixed.append((tensor, None if array is None else wrap(array)))
            else:
                passed.append((position, array))
        return fixed, passed

    def fits(self, call: Call) -> bool:
        """Whether a plan that was seen with one set of arguments only was seen with these."""
        return self.examples is None or all(
            np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
            for one, other in zip(self.examples, call.arrays, strict=True)
        )

    def _quick_test(self, call: Call) -> Callable[[tuple[Any, ...]], list[np.ndarray] | None] | None:
        """A test of plain positional arguments, where there are no others; it returns their arrays."""
        plain = call.key[0] == flatten((tuple(call.leaves), {}), [])
        writes = any(value.memory.kind == "argument" for one in self.plan.instructions for value in one.writes)
        if not plain or writes or len(call.arrays) < len(call.leaves) or self._entries or self._passed_gradients:
            return None
        if any(kind == "argument" for kind, _ in self.outcome.leaves):
            return None
        expected = [
            (leaf.__class__, leaf.__class__ is np.ndarray, array.shape, array.dtype, array.strides)
            for leaf, array in zip(call.leaves, call.arrays, strict=True)
        ]
        if any(tensor is not None and tensor.node is not None for tensor in call.tensors):
            return None
        count, (_, _, mode) = len(expected), call.key
        graded, default = mode
        state = LOCAL

        def accepts(args: tuple[Any, ...]) -> list[np.ndarray] | None:
            if len(args) != count or state.state.grad_enabled is not graded or get_default_dtype() is not default:
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
                arrays.append(array)
            return arrays if self.examples is None else None

        return accepts

    def run(self, call: Call) -> Any:
        """Replay, and hand out the results."""
        arrays = [*call.arrays, *self.entry_gradients(call)] if self._entries else call.arrays
        returned = self.quick_run(arrays, calling_code())
        for position, array in self._passed_gradients:
            call.tensors[position]._grad = None if array is None else wrap(array.copy())
        return self._results(call, iter(returned))

    def quick_run(self, arrays: list[np.ndarray], line: Any) -> tuple[np.ndarray, ...]:
        """Replay on arrays, and set the gradients."""
        returned = self.replay(*arrays)
        for tensor, gradient in self.gradients:
            tensor._grad = gradient
        self._written.bump(line)
        return returned

    def quick_results(self, returned: tuple[np.ndarray, ...]) -> Any:
        """The results of a call without arguments among them."""
        return wrap(returned[0]) if self._one else self._results(None, iter(returned))

    def entry_gradients(self, call: Call) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for tensor, position in self._entries:
            array = (tensor if position is None else call.tensors[position])._grad.array
            # The plan's own memory is overwritten while the replay still reads what was there.
            found.append(array.copy())
        return found

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
            return leaf

        return rebuild(self.outcome.structure, take)


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
