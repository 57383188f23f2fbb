"""Gradient checks of one thing on several examples: inputs are drawn as asked for, or guessed."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd import Function
from ..engine import Domain, Op, TensorCore, wrap
from ..functions.random import manual_seed
from ..nn import Linear, Module
from ..testing import NumPyDraw, Report, gradcheck, table
from ..testing.tree import flatten, rebuild
from .target import Thing, told

__all__ = ["NOT_CHECKED", "Choices", "Result", "check", "check_op", "shape_text"]

NOT_CHECKED = "NOT CHECKED"
ERROR = "ERROR"

Shape = tuple[int, ...]

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

    @property
    def orders(self) -> range:
        return range(1, self.order + 1)

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
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
    """Check whatever a target named."""
    if isinstance(thing.value, Op):
        return check_op(thing, choices)
    if thing.kind == "Module":
        return _check_module(thing, choices)
    if thing.kind == "Function":
        return _check_user_function(thing, choices)
    return _check_callable(thing, thing.value, _parameters(thing.value), choices)


def shape_text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


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
            except Exception as error:
                return Result(thing, ERROR, f"{detail}\n  {told(error)}")
    if not op.differentiable:
        return Result(
            thing, "PASS", f"has no derivative, and its results say so; {_count(choices.examples, 'example')}"
        )
    if not checked:
        return Result(thing, NOT_CHECKED, "no example of its domain has a floating input")
    return Result(thing, "PASS", f"{_count(checked, 'example')} from its domain{_twice(choices)}")


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


@dataclass(frozen=True)
class _Parameter:
    name: str
    annotation: Any = None
    required: bool = True


def _parameters(function: Any, skip: int = 0) -> list[_Parameter] | None:
    """The positional parameters; None for ``*args`` alone, or where nobody can tell."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)][skip:]
    if not positional and any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return None
    return [_Parameter(one.name, one.annotation, one.default is one.empty) for one in positional]


# What an argument gets whose annotation says that it is a plain number.
_PLAIN: dict[Any, Any] = {int: 2, float: 0.5, bool: True, "int": 2, "float": 0.5, "bool": True}


def _check_user_function(thing: Thing, choices: Choices) -> Result:
    function: type[Function] = thing.value
    for name in ("forward", "backward"):
        if getattr(function, name) is getattr(Function, name):
            return Result(thing, NOT_CHECKED, f"it has no {name}")
    with_context = function.setup_context is Function.setup_context
    return _check_callable(thing, function.apply, _parameters(function.forward, skip=int(with_context)), choices)


def _check_callable(
    thing: Thing,
    function: Callable[..., Any],
    parameters: list[_Parameter] | None,
    choices: Choices,
    guesses: Sequence[tuple[Shape, ...]] = (),
) -> Result:
    """A function of Tensors, on inputs of the shapes asked for, or of those guessed ones on which it runs."""
    try:
        plans = _plans(parameters, choices.shapes, guesses)
    except ValueError as error:
        return Result(thing, NOT_CHECKED, str(error))
    refusals: list[str] = []
    working: list[tuple[_Plan, tuple[float, float]]] = []
    usual = False  # whether the likeliest guess works: then no unlikelier ones are tried
    for plan in plans:
        if plan.fallback and (usual or len(working) >= _ENOUGH):
            break
        refusal, interval = _try(function, plan, choices)
        if refusal:
            refusals.append(f"on {plan}: {refusal}")
        else:
            working.append((plan, interval))
            usual = usual or plan is plans[0]
    if not working:
        way_out = "" if choices.shapes else "\n  Give the shape of each argument: --shape 3x4 4 scalar"
        return Result(thing, NOT_CHECKED, f"it does not run {refusals[0]}{way_out}")
    for number, (plan, interval) in _spread(working, choices.examples):
        detail = f"{plan}{_interval_text(interval)}, seed {choices.seed + number}"
        for order in choices.orders:
            try:
                with np.errstate(all="ignore"):
                    inputs = plan.draw(choices.seed + number, interval)
                    report = gradcheck(function, inputs, order=order, frozen=True, seed=choices.seed + number)
            except Exception as error:
                return Result(thing, ERROR, f"{detail}\n  {told(error)}")
            if not report.passed:
                return Result(thing, report.verdict, detail, report)
    used = "; ".join(dict.fromkeys(str(plan) for plan, _ in working))
    count = _count(max(choices.examples, len(working)), "example")
    return Result(thing, "PASS", f"{used}{_interval_text(working[0][1])}; {count}{_twice(choices)}")


@dataclass(frozen=True)
class _Plan:
    """The arguments of a call: for each a shape, or a plain number."""

    names: tuple[str, ...]
    arguments: tuple[Any, ...]
    fallback: bool = False  # to be used only where no better guess works

    def draw(self, seed: int, interval: tuple[float, float]) -> tuple[Any, ...]:
        numbers = np.random.default_rng(seed)
        domain = Domain(*interval)
        drawn: list[Any] = []
        for one in self.arguments:
            if isinstance(one, tuple):
                one = wrap(np.asarray(domain.fit(numbers.random(one)), dtype=np.float64))
                one.requires_grad = True
            drawn.append(one)
        return tuple(drawn)

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {shape_text(one)}" if isinstance(one, tuple) else f"{name}={one!r}"
            for name, one in zip(self.names, self.arguments, strict=True)
        )


def _plans(
    parameters: list[_Parameter] | None, shapes: Sequence[Shape], guesses: Sequence[tuple[Shape, ...]]
) -> list[_Plan]:
    """The calls to try, the likeliest first.

    Raises:
        ValueError: there are more shapes than arguments, or fewer.
    """
    if parameters is None:
        count = len(shapes) or 1
        taken = [_Parameter(f"input {position}") for position in range(count)]
    else:
        required = [one for one in parameters if one.required]
        tensors = [one for one in parameters if one.annotation not in _PLAIN]
        taken = required
        if len(shapes) > len([one for one in required if one.annotation not in _PLAIN]):
            if len(shapes) > len(tensors):
                raise ValueError(
                    f"{_count(len(shapes), 'shape')} given, and it takes "
                    f"{_count(len(tensors), 'argument')}: {', '.join(one.name for one in tensors) or 'none'}"
                )
            last = tensors[len(shapes) - 1]
            taken = parameters[: parameters.index(last) + 1]
        elif not required:
            taken = tensors[:1]
    if not taken:
        raise ValueError("it takes no argument, so there is nothing to differentiate")
    free = [one for one in taken if one.annotation not in _PLAIN]
    if not free:
        raise ValueError("it takes plain numbers only; a gradient needs a Tensor")
    if len(shapes) == 1:
        candidates: list[tuple[tuple[Shape, ...], bool]] = [((shapes[0],) * len(free), False)]
    elif shapes:
        if len(shapes) != len(free):
            raise ValueError(
                f"{_count(len(shapes), 'shape')} given for {_count(len(free), 'argument')}: "
                f"{', '.join(one.name for one in free)}\n  Give one for each, or one for all."
            )
        candidates = [(tuple(shapes), False)]
    else:
        candidates = [(guess, False) for guess in guesses if len(guess) == len(free)]
        candidates += [(guess, bool(candidates) or late) for guess, late in _guesses(len(free))]
    plans = []
    for candidate, fallback in candidates:
        given = iter(candidate)
        arguments = [_PLAIN[one.annotation] if one.annotation in _PLAIN else next(given) for one in taken]
        plans.append(_Plan(tuple(one.name for one in taken), tuple(arguments), fallback))
    return plans


def _guesses(count: int) -> Iterator[tuple[tuple[Shape, ...], bool]]:
    """Shapes of ``count`` arguments: equal ones; then, to be used where those do not work, some that fit each other."""
    equal: list[Shape] = [(3, 4), (4,), ()]
    unusual: list[Shape] = [(3, 3), (2, 3, 4), (2, 3, 4, 4)]
    for shape in equal:
        yield (shape,) * count, False
    if count == 2:
        yield ((3, 4), (4, 2)), True
        yield ((3, 4), (4,)), True
        yield ((3, 4), (2, 4)), True
    if count == 3:
        yield ((3, 4), (4, 2), (2,)), True
        yield ((3, 4), (2, 4), (2,)), True
    for shape in unusual:
        yield (shape,) * count, True
    if count > 1:
        yield ((3, 4), *((),) * (count - 1)), True


def _try(function: Callable[..., Any], plan: _Plan, choices: Choices) -> tuple[str, tuple[float, float]]:
    """Why the function does not run on such inputs, or "" and the range of numbers on which its outputs are finite."""
    chosen: tuple[float, float] | None = None
    for interval in choices.ranges:
        finite = True
        for number in range(choices.examples):
            try:
                with np.errstate(all="ignore"):
                    outputs = flatten(function(*plan.draw(choices.seed + number, interval)))
            except Exception as error:
                return told(error), interval
            tensors = [one for one in outputs if isinstance(one, TensorCore) and one.array.dtype.kind == "f"]
            if not tensors:
                kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in outputs)) or "nothing"
                return f"it returns no floating Tensor, but {kinds}", interval
            finite = finite and all(np.isfinite(one.array).all() for one in tensors)
        if finite:
            return "", interval
        chosen = chosen or interval
    return "", chosen or choices.ranges[0]


def _spread(working: list[Any], examples: int) -> Iterator[tuple[int, Any]]:
    """Each plan at least once, in turn."""
    return zip(range(max(examples, len(working))), itertools.cycle(working), strict=False)


# ---------------------------------------------------------------- modules


def _check_module(thing: Thing, choices: Choices) -> Result:
    """A network: all its parameters and inputs, by their names. Dropout draws the same masks in each evaluation."""
    manual_seed(choices.seed)
    module = thing.value
    if not isinstance(module, Module):
        wanted = [one.name for one in _parameters(module) or () if one.required]
        if wanted:
            hint = f"\n  Make an instance in the file, and name it: name = {thing.name}(…)"
            return Result(thing, NOT_CHECKED, f"it needs arguments: {', '.join(wanted)}{hint}")
        try:
            module = module()
        except Exception as error:
            return Result(thing, NOT_CHECKED, f"it cannot be made without arguments: {told(error)}")
    if type(module).forward is Module.forward:
        return Result(thing, NOT_CHECKED, "it has no forward")
    parameters = _parameters(module.forward)
    linear = next((one for one in module.modules() if isinstance(one, Linear)), None)
    guesses = []
    if linear is not None:
        count = sum(one.required for one in parameters) if parameters else 1
        guesses.append(((4, linear.in_features),) * max(1, count))
    result = _check_callable(thing, module, parameters, choices, guesses)
    if result.verdict == "PASS":
        count = sum(one.requires_grad for one in module.parameters())
        result.detail = f"{_count(count, 'parameter')}, {result.detail}"
    return result


# ---------------------------------------------------------------- words


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _twice(choices: Choices) -> str:
    return ", first and second order" if choices.order == 2 else ""


def _interval_text(interval: tuple[float, float]) -> str:
    return f" from {interval[0]:g} to {interval[1]:g}"
