"""Holding a replay to the step that it stands for: the same call, run as usual and replayed from the same state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Observer, observe
from ..engine.site import here
from ..errors import CaptureError
from .capture import Call, Captured
from .trees import flatten

__all__ = ["verified"]

# What rounding may change: parts of the largest number of an array. Of state more, for an update may divide one
# gradient that is nothing but rounding by another.
TOLERANCE, STATE_TOLERANCE = 1e-3, 2e-2


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
    state, generators = captured.state, captured.generators
    before = [array.copy() for array in state]
    seeds = [generator.bit_generator.state for generator in generators]
    entries = captured.entry_gradients(call)
    with observe(_Actions()) as actions:
        result = run()
    after = [array.copy() for array in state]
    later = [generator.bit_generator.state for generator in generators]
    gradients = [(None if one[0]._grad is None else one[0]._grad.array) for one in captured.gradients]
    done = iter(actions.results)  # type: ignore[attr-defined]
    replay = captured.program.function(**{action: lambda: next(done) for action in captured.program.actions})
    try:
        for array, value in zip(state, before, strict=True):
            np.copyto(array, value)
        for generator, seed in zip(generators, seeds, strict=True):
            generator.bit_generator.state = seed
        returned = replay(*call.arrays, *entries)
        replayed = [array.copy() for array in state]
    finally:
        for array, value in zip(state, after, strict=True):
            np.copyto(array, value)
        for generator, seed in zip(generators, later, strict=True):
            generator.bit_generator.state = seed
    leaves: list[Any] = []
    flatten(result, leaves)
    tensors = [leaf for leaf, (kind, _) in zip(leaves, captured.outcome.leaves, strict=True) if kind == "value"]
    pairs = [("a result", tensor.array, array, TOLERANCE) for tensor, array in zip(tensors, returned, strict=True)]
    for eager, (_, _, planned) in zip(gradients, captured.gradients, strict=True):
        if (eager is None) != (planned is None):
            raise _wrong(name, "whether there is a gradient")
        if eager is not None and planned is not None:
            pairs.append(("a gradient", eager, planned, TOLERANCE))
    pairs += [("the state", one, other, STATE_TOLERANCE) for one, other in zip(after, replayed, strict=True)]
    for what, one, other, tolerance in pairs:
        if not _agree(one, other, 0.0 if exact else tolerance):
            raise _wrong(name, f"{what}, {one.dtype} {one.shape}")
    return result


def _agree(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if tolerance == 0 or one.dtype.kind not in "fc":
        return one.tobytes() == other.tobytes()
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(one), initial=0, where=np.isfinite(one)))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True))


def _wrong(name: str, what: str) -> CaptureError:
    return CaptureError(
        f"a replay of {name} did not do what the step itself does: it differs in {what}.{here()}\n"
        "  The step depends on something that a plan does not know: a Python variable, a file, an attribute of an object. "
        "Pass it as an argument."
    )
