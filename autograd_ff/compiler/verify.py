"""Holding a replay to the step that it stands for: the same call, run as usual and replayed from the same state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import OPS, Observer, TensorCore, observe
from ..engine.site import here
from ..errors import CaptureError
from .capture import Call, Captured
from .compare import same_record
from .trees import flatten

__all__ = ["verified"]

# What rounding may change of a result or a gradient: parts of the largest number of its array.
TOLERANCE = 1e-3
# Of state: parts of the largest change. An adaptive update divides by the size of the gradients, so that a gradient that
# is nothing but rounding (of a bias before a BatchNorm, say) changes its parameter as much as any other: what has
# gradients smaller than this part of the largest one is not compared.
STATE_TOLERANCE, NOISE = 2e-2, 1e-3
_BESIDE = "what it does beside its operations (steps of an optimizer or a scheduler)"


class _Actions(Observer):
    """What the step's actions returned."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    def host(self, action: Callable[..., Any], arguments: tuple[Any, ...], result: Any) -> None:
        self.results.append(dict(result) if isinstance(result, dict) else result)


def verified(captured: Captured, call: Call, run: Callable[[], Any], exact: bool, name: str) -> Any:
    """Run a call as usual, and hold its replay on copies of the state to what it did.

    Args:
        exact: every bit must agree; otherwise all up to rounding.

    Returns:
        What the call returned.

    Raises:
        CaptureError: they did not do the same. The state is that of the usual run.
    """
    entries = captured.entry_gradients(call)
    targets = _targets(captured, call)  # what both of them write
    gradients = [(tensor, array) for tensor, _, array in captured.gradients]
    gradients += [(call.tensors[position], array) for position, array in captured._passed_gradients]
    for (tensor, position, written), array in zip(captured._entries, entries, strict=True):
        tensor = tensor if position is None else call.tensors[position]
        if written and all(tensor is not one for one, _ in gradients):
            gradients.append((tensor, array))  # it stays where it was
    begin = _Moment([*targets, *entries], captured.generators)
    with observe(_Actions()) as actions:
        result = run()
    tensors = [tensor for tensor, _ in gradients]
    found = [None if tensor._grad is None else tensor._grad.array for tensor in tensors]
    end = _Moment([*targets, *entries, *(one for one in found if one is not None)], captured.generators)
    done = iter(actions.results)  # type: ignore[attr-defined]
    replay = captured.program.function(**{action: lambda: next(done) for action in captured.program.actions})
    begin.restore()
    try:
        returned = replay(*call.arrays, *entries)
        replayed = [array.copy() for array in targets]
        planned = [None if array is None else array.copy() for _, array in gradients]
    except StopIteration:
        raise _wrong(name, _BESIDE) from None
    except Exception as error:
        raise _wrong(name, f"an error, {error!r}, which is the replay's alone") from error
    finally:
        end.restore()
    if next(done, done) is not done:
        raise _wrong(name, _BESIDE)
    expected = _results(captured, call, result)
    if expected is None:
        raise _wrong(name, "what it returns beside tensors")
    for one, other in zip(expected, returned, strict=True):
        if not _agree(one, other, 0.0 if exact else TOLERANCE):
            raise _wrong(name, f"a result, {one.dtype} {one.shape}")
    largest = max((_largest(one) for one in found if one is not None), default=0.0)
    for eager, mine in zip(found, planned, strict=True):
        if eager is None or mine is None:
            if eager is not mine:
                raise _wrong(name, "whether there is a gradient")
        elif not _agree(eager, mine, 0.0 if exact else TOLERANCE, NOISE * TOLERANCE * largest):
            raise _wrong(name, f"a gradient, {eager.dtype} {eager.shape}")
    noise = {} if exact else _noise(targets, tensors, found, NOISE * largest)
    for array, before, other in zip(targets, begin.arrays, replayed, strict=False):  # entries come after the targets
        if not (_agree(array, other, 0.0) if exact else _moved_alike(before, array, other, noise.get(array.shape))):
            raise _wrong(name, f"the state, {array.dtype} {array.shape}")
    return result


def _targets(captured: Captured, call: Call) -> list[np.ndarray]:
    """What a replay writes of state and arguments, but an optimizer's scratch memory."""
    scratch = set()
    for one in captured.plan.instructions:
        if one.updates and one.form == "write":
            value = one.inputs[OPS[one.name].inputs.index("scratch")]
            scratch.add(value.array_in(value.memory.array).__array_interface__["data"][0])
    state = [one for one in captured.state if one.__array_interface__["data"][0] not in scratch]
    return state + [call.arrays[position] for position in captured._written_arguments]


def _results(captured: Captured, call: Call, result: Any) -> list[np.ndarray] | None:
    """The arrays of a result that a replay computes; None where the rest is not as the plan has it."""
    leaves: list[Any] = []
    if flatten(result, leaves) != captured.outcome.structure:
        return None
    found: list[np.ndarray] = []
    for leaf, (kind, known) in zip(leaves, captured.outcome.leaves, strict=True):
        if kind == "argument":
            same = leaf is call.leaves[known]
        elif kind == "object":
            same = same_record(leaf, known)
        else:
            same = isinstance(leaf, TensorCore)
        if not same:
            return None
        if kind == "value":
            found.append(leaf.array)
    return found


class _Moment:
    """What is in arrays and generators now."""

    def __init__(self, arrays: list[np.ndarray], generators: list[np.random.Generator]) -> None:
        self._memory, self._generators = arrays, generators
        self.arrays = [array.copy() for array in arrays]
        self._states = [generator.bit_generator.state for generator in generators]

    def restore(self) -> None:
        for array, value in zip(self._memory, self.arrays, strict=True):
            if array.tobytes() != value.tobytes():  # what nobody wrote may be read-only
                np.copyto(array, value)
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.bit_generator.state = state


def _agree(one: np.ndarray, other: np.ndarray, tolerance: float, noise: float = 0.0) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if tolerance == 0 or one.dtype.kind not in "fc":
        return one.tobytes() == other.tobytes()
    allowed = max(tolerance * _largest(one), noise, 16 * float(np.finfo(one.dtype).tiny))
    return bool(np.allclose(one, other, rtol=tolerance, atol=allowed, equal_nan=True))


def _largest(array: np.ndarray) -> float:
    if array.dtype.kind not in "fc":
        return 0.0
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(array), initial=0, where=np.isfinite(array)))


def _noise(
    targets: list[np.ndarray], tensors: list[Any], gradients: list[np.ndarray | None], limit: float
) -> dict[tuple[int, ...], np.ndarray]:
    """Which elements have gradients of rounding only: by the shape of the arrays that an optimizer keeps side by side."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    for tensor, gradient in zip(tensors, gradients, strict=True):
        part = tensor.array
        for whole in targets:
            if gradient is None or not (part.flags.c_contiguous and whole.flags.c_contiguous):
                continue
            start = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
            if part.dtype == whole.dtype and start >= 0 and start + part.nbytes <= whole.nbytes:
                mask = found.setdefault(whole.shape, np.zeros(whole.shape, np.bool_)).reshape(-1)
                start //= part.itemsize
                mask[start : start + part.size] |= (np.abs(gradient) <= limit).reshape(-1)
    return found


def _moved_alike(before: np.ndarray, one: np.ndarray, other: np.ndarray, noise: np.ndarray | None) -> bool:
    """Whether an array came to the same by both ways, as far as it changed and rounding allows."""
    if one.dtype.kind not in "fc":
        return one.tobytes() == other.tobytes()
    if noise is not None:
        before, one, other = before[~noise], one[~noise], other[~noise]
    with np.errstate(all="ignore"):
        moved = _largest(one - before)
    rounding = 64 * float(np.finfo(one.dtype).eps)
    allowed = STATE_TOLERANCE * moved + rounding * _largest(one)
    return bool(np.allclose(one, other, rtol=rounding, atol=allowed, equal_nan=True))


def _wrong(name: str, what: str) -> CaptureError:
    return CaptureError(
        f"a replay of {name} did not do what the step itself does: it differs in {what}.{here()}\n"
        "  The step depends on something that a plan does not know: a Python variable, a file, an attribute of an object. "
        "Pass it as an argument."
    )
