"""Gradient checks of one thing on several examples: inputs are drawn as asked for, or guessed."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..autograd import Function, grad
from ..engine import Op, TensorCore, wrap
from ..errors import InplaceError
from ..functions.random import manual_seed
from ..nn import Linear, Module
from ..testing import NumPyDraw, Report, gradcheck, table
from ..testing.tree import flatten, rebuild
from .arguments import (
    OnCopies,
    Parameter,
    Plan,
    Shape,
    UnfitError,
    count_text,
    needed_keywords,
    parameters_of,
    plans,
    shape_text,
)  # fmt: skip
from .target import Thing, told

__all__ = ["NOT_CHECKED", "Choices", "Result", "argument_names", "check", "check_op"]

NOT_CHECKED = "NOT CHECKED"
ERROR = "ERROR"

Interval = tuple[float, float]

_ENOUGH = 3  # guesses that work
_FULL = 1024  # entries of a Jacobian that are computed one by one
# Tried in turn where no range was asked for: the first on which all outputs are finite.
_RANGES = ((-2.0, 2.0), (0.2, 2.0), (-0.9, 0.9))


@dataclass(frozen=True)
class Choices:
    """How to check: what was asked for on the command line."""

    shapes: tuple[Shape, ...] = ()
    examples: int = 3
    order: int = 1
    seed: int = 0
    low: float | None = None
    high: float | None = None
    constants: frozenset[str] = frozenset()  # names of arguments that are not differentiated

    @property
    def orders(self) -> range:
        return range(1, self.order + 1)

    @property
    def ranges(self) -> tuple[Interval, ...]:
        if self.low is None and self.high is None:
            return _RANGES
        low = self.low if self.low is not None else min(-2.0, (self.high or 0.0) - 1.0)
        return ((low, self.high if self.high is not None else max(2.0, low + 1.0)),)


@dataclass
class Result:
    """What came of checking one thing: the verdict of the first example that does not pass, or PASS."""

    thing: Thing
    verdict: str
    detail: str  # what it was checked on, or why it was not
    report: Report | None = field(default=None, repr=False)  # of that example

    @property
    def failed(self) -> bool:
        return self.verdict not in ("PASS", NOT_CHECKED)


def check(thing: Thing, choices: Choices) -> Result:
    """Check whatever a target named; what its code raises, or that it ends the program, is a result like others."""
    try:
        if isinstance(thing.value, Op):
            return check_op(thing, choices)
        if thing.kind == "Module":
            return _check_module(thing, choices)
        if thing.kind == "Function":
            return _check_user_function(thing, choices)
        return _check_callable(thing, thing.value, choices)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Result(thing, ERROR, told(error))


# ---------------------------------------------------------------- ops


class OpCall:
    """An op with its parameters, as a function of its inputs."""

    def __init__(self, op: Op, params: dict[str, Any]) -> None:
        self.op = op
        self.params = params
        kind = inspect.Parameter.POSITIONAL_ONLY
        if not op.variadic:
            self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in op.inputs])

    def __call__(self, *inputs: Any) -> Any:
        return table.run(self.op, inputs, self.params)


def check_op(thing: Thing, choices: Choices) -> Result:
    """An op of the table, on examples from the domain that it was registered with."""
    op: Op = thing.value
    if op.domain is None:
        return Result(thing, NOT_CHECKED, "it has no domain to draw examples from")
    checked = 0
    for number in range(choices.examples):
        seed = choices.seed + number
        with np.errstate(all="ignore"):
            call = table.sample(op, NumPyDraw(seed))
            detail = f"{_drawn(op, call.inputs, call.params)}, seed {seed}"
            try:
                if not op.differentiable:
                    table.check_not_differentiable(op, call)
                    continue
                table.check_definition(op, call)
                positions = table.checked_positions(op, call)
                if not positions:
                    continue
                checked += 1
                for order in choices.orders:
                    report = gradcheck(
                        OpCall(op, call.params), _tracked(call.inputs, positions), order=order, full=_FULL
                    )
                    if not report.passed:
                        return Result(thing, report.verdict, detail, report)
            except AssertionError as error:
                return Result(thing, "FAIL", f"{detail}\n  {error}")
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                return Result(thing, ERROR, f"{detail}\n  {told(error)}")
    if not op.differentiable:
        return Result(
            thing, "PASS", f"has no derivative, and its results say so; {count_text(choices.examples, 'example')}"
        )
    if not checked:
        return Result(thing, NOT_CHECKED, "no example of its domain has a floating input")
    return Result(thing, "PASS", f"{count_text(checked, 'example')} from its domain{_twice(choices)}")


def _tracked(inputs: Any, positions: Sequence[int]) -> Any:
    leaves: list[Any] = []
    for position, leaf in enumerate(flatten(inputs)):
        if isinstance(leaf, np.ndarray):
            leaf = wrap(leaf)
            leaf.requires_grad = position in positions
        leaves.append(leaf)
    return rebuild(inputs, leaves)


def _drawn(op: Op, inputs: Any, params: dict[str, Any]) -> str:
    names = op.inputs if not op.variadic else [op.inputs[0]] * len(inputs)
    parts = [
        f"{name} {' · '.join(_value_text(leaf) for leaf in flatten(value)) or 'empty'}"
        for name, value in zip(names, inputs, strict=False)
    ]
    parts += [f"{name}={value!r:.40}" for name, value in params.items() if not isinstance(value, np.random.Generator)]
    return ", ".join(parts)


def _value_text(value: Any) -> str:
    return shape_text(value.shape) if hasattr(value, "shape") else f"{value!r:.40}"


# ---------------------------------------------------------------- functions


def _check_user_function(thing: Thing, choices: Choices) -> Result:
    function: type[Function] = thing.value
    for name in ("forward", "backward"):
        if getattr(function, name) is getattr(Function, name):
            return Result(thing, NOT_CHECKED, f"it has no {name}")
    return _check_callable(thing, function.apply, choices)


def argument_names(thing: Thing) -> list[str]:
    """What the arguments are called that a thing takes; of an op, nothing."""
    return [one.name for one in _parameters(thing) or ()]


def _signed(thing: Thing) -> tuple[Any, int]:
    """The function whose signature counts, and how many of its parameters the user does not give."""
    value = thing.value
    if thing.kind == "Function":
        return value.forward, int(value.setup_context is Function.setup_context)
    if thing.kind == "Module":
        return value.forward, int(inspect.isclass(value))
    return value, 0


def _parameters(thing: Thing) -> list[Parameter] | None:
    if isinstance(thing.value, Op):
        return []
    signed, skip = _signed(thing)
    return parameters_of(signed, skip)


def _check_callable(
    thing: Thing, function: Callable[..., Any], choices: Choices, guesses: Sequence[tuple[Shape, ...]] = ()
) -> Result:
    """A function of Tensors, on inputs of the shapes asked for, or of those guessed ones on which it runs."""
    call = f"{thing.name}{'.apply' if thing.kind == 'Function' else ''}"
    wrapping = f"\n  Write a function of Tensors alone that calls {call}, and name that: file.py:name"
    if keywords := needed_keywords(_signed(thing)[0]):
        if thing.kind == "Function":
            return Result(thing, NOT_CHECKED, f"apply cannot give its keyword-only arguments: {', '.join(keywords)}")
        return Result(thing, NOT_CHECKED, f"it needs keyword-only arguments: {', '.join(keywords)}{wrapping}")
    try:
        tried = plans(_parameters(thing), choices.shapes, guesses, choices.constants)
    except UnfitError as error:
        way_out = wrapping if "it needs" in str(error) else ""
        return Result(thing, NOT_CHECKED, f"{error}{way_out}")
    if thing.kind != "Module" and not tried[0].free:
        return Result(thing, NOT_CHECKED, "each of its Tensors is a constant, so there is nothing to differentiate")
    found = _runs(function, tried, choices)
    if found.ended is not None:
        plan, refusal = found.ended
        return Result(thing, ERROR, f"{plan}\n  {refusal}")
    if not found.working:
        plan, refusal = found.refusals[0]
        way_out = refusal.way_out(bool(choices.shapes), wrapping)
        return Result(thing, NOT_CHECKED, f"it does not run on {plan}: {refusal}{way_out}")
    function, working = found.function, found.working
    names = working[0][0].names
    remarks = [f"{name}: constant" for name in names if name in choices.constants]
    remarks += ["on copies of its inputs, which it writes"] if isinstance(function, OnCopies) else []
    if thing.kind == "Function":
        without = _without_gradient(function, *working[0], choices)
        working = [(plan.with_constants(without), interval) for plan, interval in working]
        remarks += [f"{name}: no gradient (None)" for name in names if name in without]
    remark = "".join(f"; {one}" for one in remarks)
    for number, (plan, interval) in _spread(working, choices.examples):
        bad = _check_example(thing, function, plan, interval, choices, number, remark)
        if bad is not None:
            return bad
    counted = max(choices.examples, len(working))
    used = list(dict.fromkeys(str(plan) for plan, _ in working))
    if found.usual and not choices.shapes:
        plan, interval = working[0]
        wider = plan.broadcast()
        if wider is not None and not isinstance(_try(function, wider, choices), Refusal):
            bad = _check_example(thing, function, wider, interval, choices, 0, remark)
            if bad is not None and _wrong_where_broadcast(bad):
                bad.detail += (
                    f"\n  Right on {used[0]}; but forward also takes unequal shapes, and there the gradient is wrong."
                    "\n  Sum the gradient over the axes that were broadcast, or let forward refuse unequal shapes."
                )
                return bad
            if bad is None:
                used.append(str(wider))
                counted += 1
    shown = "; ".join(used)
    examples = count_text(counted, "example")
    return Result(thing, "PASS", f"{shown}{_interval_text(working[0][1])}; {examples}{_twice(choices)}{remark}")


# ---------------------------------------------------------------- what it runs on


@dataclass(frozen=True)
class Refusal:
    """Why a function does not run on some inputs."""

    text: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return self.text

    def way_out(self, shapes_given: bool, wrapping: str) -> str:
        """What may help, where the kind of error tells."""
        if isinstance(self.error, (ValueError, IndexError, AssertionError)):
            return "" if shapes_given else "\n  Give the shape of each argument: --shape 3x4 4 scalar"
        # It may not want a Tensor. An AttributeError of something else is a mistake in the code.
        unwanted = isinstance(self.error, (TypeError, KeyError))
        unwanted = unwanted or (isinstance(self.error, AttributeError) and "Tensor" in self.text)
        return wrapping if unwanted else ""


@dataclass
class _Found:
    """What a function runs on, of the calls that were tried."""

    function: Callable[..., Any]
    working: list[tuple[Plan, Interval]] = field(default_factory=list)
    refusals: list[tuple[Plan, Refusal]] = field(default_factory=list)
    usual: bool = False  # whether the likeliest guess works: then no unlikelier ones are tried
    ended: tuple[Plan, Refusal] | None = None  # where it ended the program


def _runs(function: Callable[..., Any], tried: list[Plan], choices: Choices) -> _Found:
    found = _Found(function)
    for plan in tried:
        if plan.fallback and (found.usual or len(found.working) >= _ENOUGH):
            break
        outcome = _try(found.function, plan, choices)
        if isinstance(outcome, Refusal) and isinstance(outcome.error, InplaceError):
            copying = OnCopies(function, plan.names)  # it writes its inputs, which may not be leaves then
            outcome = _try(copying, plan, choices)
            if not isinstance(outcome, Refusal):
                found.function = copying
        if not isinstance(outcome, Refusal):
            found.working.append((plan, outcome))
            found.usual = found.usual or plan is tried[0]
        elif isinstance(outcome.error, (Exception, type(None))):
            found.refusals.append((plan, outcome))
        else:
            found.ended = plan, outcome
            break
    return found


def _floating(outputs: Any) -> list[Any]:
    return [one for one in flatten(outputs) if isinstance(one, TensorCore) and one.array.dtype.kind == "f"]


def _try(function: Callable[..., Any], plan: Plan, choices: Choices) -> Refusal | Interval:
    """Why the function does not run on such inputs, or the range of numbers on which its outputs are finite."""
    chosen: Interval | None = None
    for interval in choices.ranges:
        finite = True
        for number in range(choices.examples):
            try:
                with np.errstate(all="ignore"):
                    outputs = function(*plan.draw(choices.seed + number, interval))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                return Refusal(told(error), error)
            tensors = _floating(outputs)
            if not tensors:
                kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in flatten(outputs))) or "nothing"
                return Refusal(f"it returns no floating Tensor, but {kinds}")
            finite = finite and all(np.isfinite(one.array).all() for one in tensors)
        if finite:
            return interval
        chosen = chosen or interval
    return chosen or choices.ranges[0]


def _without_gradient(function: Callable[..., Any], plan: Plan, interval: Interval, choices: Choices) -> frozenset[str]:
    """The arguments for which a Function's backward returns None, where it is not all of them: by intention."""
    inputs = plan.draw(choices.seed, interval)
    wanted = {name: one for name, one in zip(plan.names, inputs, strict=True) if getattr(one, "requires_grad", False)}
    try:
        with np.errstate(all="ignore"):
            outputs = [one for one in _floating(function(*inputs)) if one.requires_grad]
            seeds = [wrap(np.ones(one.shape, one.array.dtype)) for one in outputs]
            found = grad(outputs, list(wanted.values()), seeds, allow_unused=True)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the check itself is going to report it
        return frozenset()
    missing = frozenset(name for name, one in zip(wanted, found, strict=True) if one is None)
    return missing if len(missing) < len(wanted) else frozenset()


# ---------------------------------------------------------------- one example


def _check_example(
    thing: Thing,
    function: Callable[..., Any],
    plan: Plan,
    interval: Interval,
    choices: Choices,
    number: int,
    remark: str,
) -> Result | None:
    """What is wrong on one example, or None."""
    seed = choices.seed + number
    detail = f"{plan}{_interval_text(interval)}, seed {seed}{remark}"
    for order in choices.orders:
        try:
            with np.errstate(all="ignore"):
                report = gradcheck(function, plan.draw(seed, interval), order=order, frozen=True, seed=seed)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Result(thing, ERROR, f"{detail}\n  {told(error)}")
        if not report.passed:
            return Result(thing, report.verdict, detail, report)
    return None


def _wrong_where_broadcast(bad: Result) -> bool:
    """Whether a gradient has the wrong value or shape; a backward that stumbles over unequal shapes says so itself."""
    report = bad.report
    if report is None or report.verdict != "FAIL":
        return False
    return any(entry.verdict == "FAIL" for entry in report.entries) or ".backward returned" in report.note


def _spread(working: list[Any], examples: int) -> Iterator[tuple[int, Any]]:
    """Each plan at least once, in turn."""
    return zip(range(max(examples, len(working))), itertools.cycle(working), strict=False)


# ---------------------------------------------------------------- modules


def _check_module(thing: Thing, choices: Choices) -> Result:
    """A network: all its parameters and inputs, by their names. Dropout draws the same masks in each evaluation."""
    manual_seed(choices.seed)
    module = thing.value
    if not isinstance(module, Module):
        wanted = [one.name for one in parameters_of(module) or () if one.required] + needed_keywords(module)
        if wanted:
            hint = f"\n  Make an instance in the file, and name it: name = {thing.name}(…)"
            return Result(thing, NOT_CHECKED, f"it needs arguments: {', '.join(wanted)}{hint}")
        try:
            module = module()
        except Exception as error:
            return Result(thing, NOT_CHECKED, f"it cannot be made without arguments: {told(error)}")
    if type(module).forward is Module.forward:
        return Result(thing, NOT_CHECKED, "it has no forward")
    parameters = parameters_of(module.forward)
    linear = next((one for one in module.modules() if isinstance(one, Linear)), None)
    guesses = []
    if linear is not None:
        count = sum(one.required and one.kind == "Tensor" for one in parameters) if parameters else 1
        guesses.append(((4, linear.in_features),) * max(1, count))
    result = _check_callable(replace(thing, value=module), module, choices, guesses)
    if result.verdict == "PASS":
        count = sum(one.requires_grad for one in module.parameters())
        result.detail = f"{count_text(count, 'parameter')}, {result.detail}"
    return result


# ---------------------------------------------------------------- words


def _twice(choices: Choices) -> str:
    return ", first and second order" if choices.order == 2 else ""


def _interval_text(interval: Interval) -> str:
    return f" from {interval[0]:g} to {interval[1]:g}"
