"""`compile`: a step that is recorded at its first calls and replayed at later ones."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from ..engine import Leaf, get_default_dtype, here, observe, warn
from ..engine.site import at
from ..engine.state import LOCAL
from ..errors import CaptureError
from .capture import Call, Captured, Outcome
from .compare import Difference, compare, refusal
from .fuse import is_available
from .guards import Guards, conditions
from .plan import Options, Plan, values_in
from .record import Applied, Recorder
from .values import Value
from .verify import verified

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
        self.conditions = conditions(record)


class CompiledStep:
    """A function whose calls are replayed; see `compile`.

    Attributes:
        source: the Python that the last plan became.
        plan: the last plan as data, which ``visualize`` draws.
    """

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.options = options
        self._variants: dict[Any, list[Captured]] = {}
        self._attempts: dict[Any, list[_Attempt]] = {}
        self._refused: dict[Any, str] = {}
        self._last: Captured | None = None
        self._calls = 0
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

    def __getattr__(self, name: str) -> Any:
        # The rest is the function's, or the module's: parameters(), train(), state_dict(), …
        if name == "function":  # asked for by a copy in the making
            raise AttributeError(name)
        return getattr(self.function, name)

    def __repr__(self) -> str:
        return f"<compiled {self._name}, {sum(map(len, self._variants.values()))} plans>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        """A copy has plans of its own."""
        return CompiledStep, (self.function, self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = LOCAL.state
        thread = threading.get_ident()
        if state.observers is not None or self._running == thread:  # somebody wants to see the ops, or a step within it
            return self.function(*args, **kwargs)
        with self._lock:
            self._running = thread
            try:
                last = self._last
                if last is not None and not kwargs and last.accepts is not None and last.examples is None:
                    arrays = last.accepts(args)
                    if arrays is not None and not self.options.verify and last.guards.hold():
                        frame = sys._getframe(1)
                        return last.quick_results(last.quick_run(arrays, (frame.f_code, frame.f_lasti)))
                return self._call(args, kwargs, Call(args, kwargs, (state.grad_enabled, get_default_dtype())))
            finally:
                self._running = None

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        for captured in self._variants.get(call.key, ()):
            if captured.guards.hold() and captured.fits(call):
                self._last = captured
                self._calls += 1
                if self.options.verify and self._calls % self.options.verify == 0:
                    exact = not self.options.fast and not self.options.threads
                    return verified(captured, call, lambda: self.function(*args, **kwargs), exact, self._name)
                return captured.begin(call) if captured.is_new else captured.run(call)
        return self._record(call, args, kwargs)

    def _record(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = call.key
        if key in self._refused:
            raise CaptureError(self._refused[key])
        known = self._attempts.keys() | self._variants.keys()
        if key not in known and len(known) >= SHAPES:
            warn(
                f"{self._name} was recorded for {SHAPES} combinations of shapes and other arguments; more of them run "
                "without a plan. Pad to a few shapes, and pass numbers that change as Tensors."
            )
            return self.function(*args, **kwargs)
        _refuse_graphs(call)
        record = Recorder(passed=[tensor for tensor in call.tensors if tensor is not None])
        arguments = [record.argument(array, "argument", at) for at, array in enumerate(call.arrays)]
        for value, name in zip(arguments, call.names(self.function), strict=True):
            value.name = value.name or name
        with observe(record):
            result = self.function(*args, **kwargs)
        try:
            attempt = _Attempt(record, Outcome(record, call, result), call)
            _check_indices(record)
            captured = self._matched(attempt, arguments)
        except (Difference, CaptureError) as error:
            self._attempts.pop(key, None)
            self._refused[key] = refusal(error, self._name) if isinstance(error, Difference) else str(error)
            raise CaptureError(self._refused[key]) from None
        if captured is not None:
            variants = self._variants.setdefault(key, [])
            variants[:] = [one for one in variants if one.examples is None]
            variants.insert(0, captured)
            del variants[VARIANTS:]
            self._last = captured
        return result

    def _matched(self, attempt: _Attempt, arguments: list[Value]) -> Captured | None:
        """The plan of a call, if an earlier one did the same; else it waits for a later one.

        Raises:
            Difference: too many calls did something else each; or one that met the same conditions did.
        """
        waiting = self._attempts.setdefault(attempt.call.key, [])
        passed = [tensor for tensor in attempt.call.tensors if tensor is not None]
        found: Difference | None = None
        for earlier in reversed(waiting):
            try:
                explained = compare(earlier.record, attempt.record, passed)
                if not attempt.outcome.same(earlier.outcome):
                    raise Difference("they did not return the same.")
            except Difference as difference:
                found = found or difference
                if len(waiting) > 1 and earlier.conditions == attempt.conditions:
                    break  # what lies further back may have done the same by chance: the next one need not
                continue
            attempt.outcome.settle(earlier.outcome)
            guards = Guards(attempt.record, passed)
            captured = Captured(
                attempt.record, attempt.call, attempt.outcome, arguments, guards, self._name, self.options
            )
            # A Tensor cannot be looked at unnoticed, an array can.
            unseen = any(tensor is None for tensor in attempt.call.tensors)
            if (unseen or not explained) and not _differ(earlier.call, attempt.call):
                captured.examples = [array.copy() for array in attempt.call.arrays]
            else:
                del self._attempts[attempt.call.key]
            return captured
        waiting.append(attempt)
        if found is not None and len(waiting) >= ATTEMPTS:
            raise found
        return None


def _refuse_graphs(call: Call) -> None:
    """A replay makes no graph, so gradients cannot go on into that of an argument."""
    for tensor in call.tensors:
        if (
            tensor is not None
            and LOCAL.state.grad_enabled
            and tensor.node is not None
            and not isinstance(tensor.node, Leaf)
        ):
            raise CaptureError(
                f"an argument of a compiled step, of shape {tensor.array.shape}, was computed outside of it with a graph of "
                f"its own.{at(tensor.node.site, 'computed at')}{here()}\n"
                "  Compute it inside the step, or pass x.detach()."
            )


def _check_indices(record: Recorder) -> None:
    """Index arrays must reach their op as they are, or a replay could not exchange them."""
    used = {value.memory for event in record.events if isinstance(event, Applied) for value in _operands(event)}
    for value, site in record.indices:
        if value.memory not in used and value.memory.kind != "state":
            raise CaptureError(
                f"the numbers of an index tensor of shape {value.shape} are looked at outside of the operations, and a "
                f"replay would keep them.{at(site)}\n  Index by a tensor of indices that are not negative and in range, "
                "or by slices; or leave this part out of the compiled step."
            )


def _operands(event: Applied) -> list[Value]:
    return [*values_in(event.inputs), *values_in(tuple(event.params.values()))]


def _differ(first: Call, second: Call) -> bool:
    """Whether two calls brought different numbers."""
    return any(
        not np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
        for one, other in zip(first.arrays, second.arrays, strict=True)
    )


@overload
def compile(
    model: Callable[..., Any], *, fast: bool | None = None, threads: bool = True, verify: int = 0, **hints: Any
) -> CompiledStep: ...
@overload
def compile(
    model: None = None, *, fast: bool | None = None, threads: bool = True, verify: int = 0, **hints: Any
) -> Callable[[Callable[..., Any]], CompiledStep]: ...
def compile(
    model: Callable[..., Any] | None = None,
    *,
    fast: bool | None = None,
    threads: bool = True,
    verify: int = 0,
    **hints: Any,
) -> Any:
    """A function that is recorded at its first calls and replayed, without the engine, at later ones.

    What a call does is a list of operations on arrays: those of the forward pass, of the derivative rules, of the
    optimizer's update. The second call is recorded too, and where both did the same the list becomes a plan: what is
    computed twice is computed once, results go into memory that is allocated once and shared over time, gradients
    straight to where the optimizer reads them. Later calls run the plan. A whole training step (``zero_grad``, forward,
    loss, ``backward``, clipping, ``optimizer.step``, ``scheduler.step``) can be compiled, and so can inference under
    `no_grad`, `autograd.grad` and gradients of gradients. A call with other shapes, dtypes or other plain values gets a
    plan of its own.

    **What may change between calls**: the numbers in arguments that are Tensors or arrays, learning rates and step counts
    of this package's optimizers, the generators that dropout draws from, parameters and state written in place
    (``load_state_dict``, ``copy_``). Replaced parameters, ``train()`` and ``eval()``, ``requires_grad``, options of modules
    and optimizers, and gradients that are there or not are noticed, and recorded anew.

    **What a plan cannot see**: changes of Python variables and of other objects than the above, and what the step does
    beside operations on Tensors: prints, appends, counting. A count that enters an operation is refused; one that only
    decides (``if n % 10 == 0: optimizer.step()``) is not seen: leave that out of the step, or compile two. ``verify``
    looks for such things.

    A returned tensor is the caller's. It has no graph, and what is no Tensor is returned as the recorded call returned it. A
    ``.grad`` shows memory that the next call overwrites. Calls of several threads wait for each other. While something
    observes the operations (`visualize.trace`, ``detect_anomaly``), and inside another compiled step, the function runs as
    it is. A compiled method keeps the objects alive that it was called on.

    Args:
        model: the function or module.
        fast: put neighbouring operations into loops that numba compiles, once, and keeps on disk. By default, where it
            is installed (``pip install "autograd_ff[fast]"``). It changes results by rounding, as ``threads`` does.
        threads: run small matrix products on one BLAS thread, where waiting for a second one would take longer than it
            saves. The number of threads is as before after each call.
        verify: every so many calls, run the function as it is, roll the state back, replay, and hold the two against each
            other; the state is then that of the usual run. 0 for never.
        hints: PyTorch's ``fullgraph``, ``dynamic``, ``backend``, ``mode`` and ``options``: accepted, there is nothing to
            choose. With ``disable=True`` the function itself is returned.

    Returns:
        The function, with two attributes more: ``source``, the plan as Python over NumPy, and ``plan``, the same as data,
        which ``visualize.render`` draws.

    Raises:
        CaptureError: at one of the first calls, where a step cannot be replayed: a value leaves it for Python (``item()``,
            ``if``), a shape depends on values (``x[mask]``), it does something else at each call. Or an argument of
            `compile` that makes no sense.

    >>> import autograd_ff as af
    >>> w = af.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = af.optim.SGD([w], lr=0.1)
    >>> @af.compile
    ... def step(x):
    ...     optimizer.zero_grad()
    ...     loss = (w * x).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> [round(step(af.tensor([1.0, 10.0])).item(), 1) for _ in range(4)]
    [21.0, 10.9, 0.8, -9.3]
    >>> len(step.plan.instructions) < 10
    True
    """
    unknown = sorted(hints.keys() - {"fullgraph", "dynamic", "backend", "mode", "options", "disable"})
    if unknown:
        raise CaptureError(f"compile has no argument {unknown[0]!r}; it takes fast, threads and verify.{here()}")
    if model is None:
        return lambda function: compile(function, fast=fast, threads=threads, verify=verify, **hints)
    _check(model, verify)
    if hints.get("disable"):
        return model
    if fast and not is_available():
        raise ImportError(f'fast=True needs numba: pip install "autograd_ff[fast]"{here()}')
    return CompiledStep(model, Options(is_available() if fast is None else bool(fast), bool(threads), verify))


def _check(model: Any, verify: Any) -> None:
    if not callable(model):
        raise CaptureError(f"compile takes a function or a module, got {type(model).__name__}.{here()}")
    called = getattr(model, "forward", model)
    if inspect.iscoroutinefunction(called) or inspect.isgeneratorfunction(called) or inspect.isclass(model):
        kind = "a class" if inspect.isclass(model) else "a generator or coroutine function"
        name = getattr(model, "__name__", type(model).__name__)
        raise CaptureError(
            f"compile takes a function that returns when it is done, and {name} is {kind}.{here()}\n"
            "  Compile the step that it calls."
        )
    if isinstance(verify, bool) or not isinstance(verify, int) or verify < 0:
        raise CaptureError(f"verify is a number of calls, 0 or more, got {verify!r}.{here()}")
