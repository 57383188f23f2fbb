"""The ways to get a derivative rule wrong, as transformations of a right one.

`faults` lists, for one gradient of one op, what people do to rules by mistake. Nothing in it knows a formula, so it
works on any op of the table and on a user's own. `cuts` lists the rules whose values are right and whose own derivatives
are not, which only the second order can notice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Op, Scatter, TensorCore, wrap

__all__ = ["FAMILIES", "Fault", "cuts", "faults"]

Values = dict[str, Any]
Right = Callable[[Any, Values], Any]  # the right rule, of the upstream gradient and the values by name

FAMILIES = (
    "factor", "sign", "off by 0.1 %", "zero", "dropped term", "upstream gradient", "transposed", "swapped operands",
    "missing sum", "one branch", "some shapes", "cut",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One wrong version of a rule: ``wrong(right, g, values)`` returns the wrong gradient.

    ``values`` holds by name what the right rule asks for, and what ``asks`` names beyond that.
    """

    family: str
    name: str
    wrong: Callable[[Right, Any, Values], Any]
    asks: tuple[str, ...] = ()


def faults(op: Op, position: int) -> list[Fault]:
    """The wrong versions of the rule for one input (of a joint rule: of one of the gradients that it returns).

    >>> from autograd_ff.engine import OPS
    >>> [fault.name for fault in faults(OPS["exp"], 0)][:4]
    ['doubled', 'halved', 'opposite sign', 'times 1.001']
    """
    return [
        *_scaled(), *_dropped(op, position), *_upstream(), *_transposed(), *_swapped(op, position),
        *_unsummed(op, position), *_on_branches(op, position), *_for_shapes(op, position),
    ]  # fmt: skip


def cuts(op: Op, position: int) -> list[Fault]:
    """Rules with the right value, through which no gradient of a gradient flows, or not all of it.

    >>> from autograd_ff.engine import OPS
    >>> [fault.name for fault in cuts(OPS["exp"], 0)]
    ['no derivative', 'no derivative through g', 'no derivative through out']
    """
    found = [
        Fault("cut", "no derivative", lambda right, g, values: _each(right(g, values), _detached)),
        Fault("cut", "no derivative through g", lambda right, g, values: right(_each(g, _detached), values)),
    ]
    return found + [
        Fault("cut", f"no derivative through {name}", _replacing(name, lambda value: _each(value, _detached)))
        for name in _arrays_of(op, position)
    ]


# ---------------------------------------------------------------- values of every kind


def _each(result: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` of every array in what a rule takes or returns: an array, several, or a `Scatter`."""
    if result is None:
        return None
    if isinstance(result, (tuple, list)):
        return type(result)([_each(one, change) for one in result])
    if isinstance(result, Scatter):
        return Scatter(result.index, change(result.gradient))
    return change(result)


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of an array or Tensor; None for what is neither."""
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _detached(value: Any) -> Any:
    return wrap(value.array) if isinstance(value, TensorCore) else value


def _arrays_of(op: Op, position: int) -> list[str]:
    """The names of the arrays that a rule asks for: inputs, outputs and residuals."""
    return [name for name in _rule(op, position).names if name in op.inputs or name in ("out", *op.residuals)]


def _rule(op: Op, position: int) -> Any:
    return op.joint if op.joint is not None else op.vjps[position]


def _after(change: Callable[[Any], Any]) -> Callable[[Right, Any, Values], Any]:
    """A wrong rule that changes what the right one returns."""
    return lambda right, g, values: _each(right(g, values), change)


def _before(change: Callable[[Any], Any]) -> Callable[[Right, Any, Values], Any]:
    """A wrong rule that hands the right one another upstream gradient."""
    return lambda right, g, values: right(_each(g, change), values)


def _replacing(name: str, change: Callable[[Any], Any]) -> Callable[[Right, Any, Values], Any]:
    """A wrong rule that hands the right one another value under ``name``."""
    return lambda right, g, values: right(g, {**values, name: change(values[name])})


# ---------------------------------------------------------------- the families


def _scaled() -> Iterator[Fault]:
    for family, name, factor in (
        ("factor", "doubled", 2.0),
        ("factor", "halved", 0.5),
        ("sign", "opposite sign", -1.0),
        ("off by 0.1 %", "times 1.001", 1.001),
    ):
        yield Fault(family, name, _after(lambda one, factor=factor: one * factor))  # type: ignore[misc]
    yield Fault("off by 0.1 %", "times 1.001 in the last element", _after(_last_times_1001))
    yield Fault("zero", "zero", _after(np.zeros_like))


def _last_times_1001(one: Any) -> Any:
    shape = _shape(one) or ()
    size = math.prod(shape)
    return one * (1.0 + 0.001 * np.reshape(np.arange(size) == size - 1, shape))


def _dropped(op: Op, position: int) -> Iterator[Fault]:
    """The rule without one of the values or parameters that it asks for."""

    def filled(like: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda value: _each(value, lambda one: one if _shape(one) is None else like(one))

    for name in _arrays_of(op, position):
        yield Fault("dropped term", f"{name} taken for 1", _replacing(name, filled(np.ones_like)))
        yield Fault("dropped term", f"{name} taken for 0", _replacing(name, filled(np.zeros_like)))
    for name in _rule(op, position).names:
        if name in op.params:
            default = op.params[name]
            yield Fault("dropped term", f"{name} ignored", _replacing(name, lambda value, default=default: default))  # type: ignore[misc]


def _upstream() -> Iterator[Fault]:
    """The upstream gradient forgotten, or used where it is not linear in it."""
    yield Fault("upstream gradient", "g taken for 1", _before(np.ones_like))
    yield Fault("upstream gradient", "g squared", _before(lambda g: g * g))
    yield Fault("upstream gradient", "g taken for its size", _before(np.abs))


def _transposed() -> Iterator[Fault]:
    """Elements in the wrong order."""

    def swap(one: Any) -> Any:
        shape = _shape(one) or ()
        return np.reshape(np.swapaxes(one, -1, -2), shape) if len(shape) > 1 else one

    def reverse(one: Any) -> Any:
        return np.flip(one, -1) if _shape(one) else one

    yield Fault("transposed", "gradient transposed", _after(swap))
    yield Fault("transposed", "g transposed", _before(swap))
    yield Fault("transposed", "gradient reversed", _after(reverse))


def _swapped(op: Op, position: int) -> Iterator[Fault]:
    """One value in the place of another one of the same shape."""
    names = _arrays_of(op, position)
    if op.variadic:
        for name in names:
            yield Fault("swapped operands", f"{name} in reverse", _replacing(name, _reversed))
        return

    def taking(*swaps: tuple[str, str]) -> Callable[[Right, Any, Values], Any]:
        """The right rule with one value under the name of another, for each pair of names."""

        def wrong(right: Right, g: Any, values: Values) -> Any:
            if not all(_alike(values[name], values[other]) for name, other in swaps):
                return right(g, values)
            return right(g, {**values, **{name: values[other] for name, other in swaps}})

        return wrong

    others = names if op.joint is not None else [*op.inputs, "out"]
    for name in names:
        for other in others:
            if other != name:
                yield Fault(
                    "swapped operands",
                    f"{other} for {name}",
                    taking((name, other)),
                    () if other in names else (other,),
                )
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            yield Fault("swapped operands", f"{name} and {other} exchanged", taking((name, other), (other, name)))


def _alike(first: Any, second: Any) -> bool:
    return _shape(first) is not None and _shape(first) == _shape(second)


def _reversed(several: list[Any]) -> list[Any]:
    return several[::-1] if all(_alike(one, several[0]) for one in several) else several


def _unsummed(op: Op, position: int) -> Iterator[Fault]:
    """One term, or the mean, where the gradient is a sum."""

    def first_row(g: Any) -> Any:
        shape = _shape(g) or ()
        return g * np.reshape(np.arange(shape[0]) == 0, (-1,) + (1,) * (len(shape) - 1)) if shape else g

    yield Fault("missing sum", "only the first row of g", _before(first_row))
    if not op.broadcasts or op.joint is not None:
        return
    meta = f"meta_{op.inputs[position]}"

    def narrowed(how: Callable[[Any, int], Any]) -> Callable[[Right, Any, Values], Any]:
        def wrong(right: Right, g: Any, values: Values) -> Any:
            return _each(right(g, values), lambda one: _narrowed(one, tuple(values[meta].shape), how))

        return wrong

    def first(one: Any, axis: int) -> Any:
        return one[(slice(None),) * axis + (slice(0, 1),)]

    def mean(one: Any, axis: int) -> Any:
        return np.mean(one, axis=axis, keepdims=True)

    yield Fault("missing sum", "first element of a broadcast axis", narrowed(first), (meta,))
    yield Fault("missing sum", "mean over a broadcast axis", narrowed(mean), (meta,))


def _narrowed(one: Any, shape: tuple[int, ...], how: Callable[[Any, int], Any]) -> Any:
    """A gradient brought to the shape of an input that was broadcast, by something else than the sum."""
    for _ in range(len(_shape(one) or ()) - len(shape)):
        one = how(one, 0)[0]
    for axis, side in enumerate(shape):
        if side == 1 and one.shape[axis] != 1:
            one = how(one, axis)
    return one


def _on_branches(op: Op, position: int) -> Iterator[Fault]:
    """Doubled for some of the elements only: where something is positive, or at some places."""

    def where(condition: Callable[[Any, Any, Values], Any]) -> Callable[[Right, Any, Values], Any]:
        def wrong(right: Right, g: Any, values: Values) -> Any:
            def change(one: Any) -> Any:
                chosen = condition(one, g, values)
                return one if chosen is None else one * (1.0 + chosen)

            return _each(right(g, values), change)

        return wrong

    def positive(one: Any, value: Any) -> Any:
        """Where a value is positive, if it lies over the gradient element by element."""
        shape, here = _shape(value), _shape(one) or ()
        if shape is None or len(shape) > len(here):
            return None
        if any(side not in (1, full) for side, full in zip(shape[::-1], here[::-1], strict=False)):
            return None
        return np.greater(value, 0) + 0.0

    def places(pick: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[Any, Any, Values], Any]:
        def chosen(one: Any, g: Any, values: Values) -> Any:
            shape = _shape(one) or ()
            size = math.prod(shape)
            return np.reshape(pick(np.arange(size), size), shape) + 0.0

        return chosen

    yield Fault("one branch", "doubled where positive", where(lambda one, g, values: positive(one, one)))
    yield Fault("one branch", "doubled where g > 0", where(lambda one, g, values: positive(one, g)))
    if not op.variadic:
        asked = _arrays_of(op, position)
        for name in asked if op.joint is not None else (*op.inputs, "out"):
            yield Fault(
                "one branch",
                f"doubled where {name} > 0",
                where(lambda one, g, values, name=name: positive(one, values[name])),  # type: ignore[misc]
                () if name in asked else (name,),
            )
    picks: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
        "in the first element": lambda place, size: place == 0,
        "in the last element": lambda place, size: place == size - 1,
        "in the first half": lambda place, size: place < size / 2,
        "in every other element": lambda place, size: place % 2 == 1,
    }
    for name, pick in picks.items():
        yield Fault("one branch", f"doubled {name}", where(places(pick)))


def _for_shapes(op: Op, position: int) -> Iterator[Fault]:
    """Doubled for some shapes of the input only."""
    meta = None if op.joint is not None else f"meta_{op.inputs[position]}"

    def where(condition: Callable[[tuple[int, ...], tuple[int, ...]], bool]) -> Callable[[Right, Any, Values], Any]:
        def wrong(right: Right, g: Any, values: Values) -> Any:
            found = right(g, values)
            shape = tuple(values[meta].shape) if meta else _shape(found) or ()
            wide = _shape(g) or ()
            return _each(found, lambda one: one * 2.0) if condition(shape, wide) else found

        return wrong

    conditions: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
        "0-d": lambda shape, wide: not shape,
        "vectors": lambda shape, wide: len(shape) == 1,
        "matrices": lambda shape, wide: len(shape) == 2,
        "more than two dimensions": lambda shape, wide: len(shape) > 2,
        "a side of 1": lambda shape, wide: 1 in shape,
        "more than 4 elements": lambda shape, wide: math.prod(shape) > 4,
        "unequal sides": lambda shape, wide: len(set(shape)) > 1,
    }
    if op.broadcasts:
        conditions["what was broadcast"] = lambda shape, wide: shape != wide
    for name, condition in conditions.items():
        yield Fault("some shapes", f"doubled for {name}", where(condition), (meta,) if meta else ())
