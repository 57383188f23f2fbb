"""`compile`: a step that is recorded at its first calls and replayed at later ones."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from ..engine import get_default_dtype, here, observe, warn
from ..engine.state import LOCAL
from ..errors import CaptureError
from .capture import Call, Captured, Outcome
from .compare import Difference, compare, refusal
from .plan import Plan
from .record import Recorder

__all__ = ["CompiledStep", "compile"]

ATTEMPTS = 5  # calls among which two in a row must do the same: the first ones of a training still set things up
VARIANTS = 8  # plans for one set of shapes: training and evaluation, with and without some parameters frozen, …
SHAPES = 64  # sets of shapes and other arguments


class _Attempt:
    """A recorded call that waits for one that does the same."""

    def __init__(self, record: Recorder, outcome: Outcome, call: Call) -> None:
        self.record = record
        self.outcome = outcome
        self.call = call
        self.number = 1


class CompiledStep:
    """A function whose calls are replayed; see `compile`.

    Attributes:
        source: the Python that the last plan became.
        plan: the last plan as data, which ``visualize`` draws.
    """

    def __init__(self, function: Callable[..., Any], verify: int = 0) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.verify = verify
        self._variants: dict[Any, list[Captured]] = {}
        self._attempts: dict[Any, _Attempt] = {}
        self._refused: dict[Any, CaptureError] = {}
        self._last: Captured | None = None
        self._lock = threading.Lock()
        self._running: int | None = None  # the thread that is inside

    @property
    def source(self) -> str:
        return self._captured().program.source

    @property
    def plan(self) -> Plan:
        return self._captured().plan

    def _captured(self) -> Captured:
        if self._last is None:
            raise CaptureError(
                f"{self._name} has no plan yet: its first two calls run as usual and are compared.{here()}"
            )
        return self._last

    @property
    def _name(self) -> str:
        return getattr(self.function, "__qualname__", None) or type(self.function).__name__

    def __repr__(self) -> str:
        return f"<compiled {self._name}, {sum(map(len, self._variants.values()))} plans>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = LOCAL.state
        thread = threading.get_ident()
        if state.observers is not None or self._running == thread:  # somebody wants to see the ops, or a step within it
            return self.function(*args, **kwargs)
        with self._lock:
            self._running = thread
            try:
                call = Call(args, kwargs, (state.grad_enabled, get_default_dtype()))
                for captured in self._variants.get(call.key, ()):
                    if captured.guards.hold() and captured.fits(call):
                        self._last = captured
                        return captured.run(call)
                return self._record(call, args, kwargs)
            finally:
                self._running = None

    def _record(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = call.key
        if key in self._refused:
            raise self._refused[key]
        if key not in self._attempts and len(self._attempts) + len(self._variants) >= SHAPES:
            warn(
                f"{self._name} was recorded for {SHAPES} combinations of shapes and other arguments; more of them run "
                "without a plan. Pad to a few shapes, and pass numbers that change as Tensors."
            )
            return self.function(*args, **kwargs)
        record = Recorder()
        arguments = [record.value(array, "argument", at) for at, array in enumerate(call.arrays)]
        with observe(record):
            result = self.function(*args, **kwargs)
        waiting = self._attempts.pop(key, None)
        try:
            outcome = Outcome(record, call, result)
            _check_indices(record)
            if waiting is None:
                self._attempts[key] = _Attempt(record, outcome, call)
                return result
            explained = compare(waiting.record, record)
            if not outcome.same(waiting.outcome):
                raise Difference("they did not return the same.")
            captured = Captured(record, call, outcome, arguments, self._name)
            if not explained and not _differ(waiting.call, call):
                captured.examples = [array.copy() for array in call.arrays]
        except Difference as difference:
            if waiting is None or waiting.number >= ATTEMPTS - 1:
                self._refused[key] = refusal(difference, self._name)
                raise self._refused[key] from None
            self._attempts[key] = attempt = _Attempt(record, outcome, call)
            attempt.number = waiting.number + 1
            return result
        variants = self._variants.setdefault(key, [])
        variants[:] = [one for one in variants if one.examples is None]
        variants.insert(0, captured)
        del variants[VARIANTS:]
        self._last = captured
        return result


def _check_indices(record: Recorder) -> None:
    """Index arrays must reach their op as they are, or a replay could not exchange them."""


def _differ(first: Call, second: Call) -> bool:
    """Whether two calls brought different numbers."""
    return any(
        not np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
        for one, other in zip(first.arrays, second.arrays, strict=True)
    )


@overload
def compile(model: Callable[..., Any], *, verify: int = 0) -> CompiledStep: ...
@overload
def compile(model: None = None, *, verify: int = 0) -> Callable[[Callable[..., Any]], CompiledStep]: ...
def compile(model: Callable[..., Any] | None = None, *, verify: int = 0) -> Any:
    """Capture a step."""
    if model is None:
        return lambda function: compile(function, verify=verify)
    return CompiledStep(model, verify)
