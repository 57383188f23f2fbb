"""Random expressions over the op table, with inputs at which they are smooth.

An expression is grown op by op while its values are known. The op's own sampler says which shapes, numbers and parameters
it takes; where it asks for an array, it is offered a value that the expression has already computed, as it is or squashed
into the op's domain. Each value is computed at the inputs and a small step to either side, along random directions, and
an op stays only if it takes the same branch everywhere and does not bend or grow too much: so the expression keeps clear
of kinks and poles, and does not explode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import OPS, REAL, Call, Domain, Op, TensorCore, apply, apply_raw, here, no_grad, observe, wrap
from ..engine.dispatch import run_composite
from ..errors import AutogradError, ShapeError
from .branches import BranchRecorder
from .draws import NumPyDraw
from .strategies import Strategy, as_op, hypothesis_strategies, shapes
from .table import checked_positions, sample
from .tree import flatten, rebuild
from .values import numbers, segments

__all__ = ["Expression", "Step", "Use", "differentiable_ops", "expressions"]

_STEP = 2.0**-8  # of the probes, further than those of numeric derivatives go
_LARGEST = 100.0  # value of an expression
_STEEPEST = 1000.0
_FLATTEST = 1e-3
_MOST_ELEMENTS = 64
_ATTEMPTS = 4  # at finding an op whose result will do
_STRIDE = 7919  # through the list of ops, of which it is no multiple


@dataclass(frozen=True)
class Use:
    """An argument of a step that is a value computed before: the input or step of that number."""

    number: int


@dataclass(frozen=True)
class Step:
    """One op of an expression: its arguments, in which `Use` stands for earlier values, and its parameters."""

    op: Op
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    part: int | None = None  # which output, of an op with several
    # Where the op wants the values used at these positions of `inputs` to lie.
    domains: tuple[tuple[int, Domain], ...] = ()

    def arguments(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments, with the values themselves."""
        return rebuild(
            self.inputs, [values[one.number] if isinstance(one, Use) else one for one in flatten(self.inputs)]
        )

    def run(self, values: Sequence[Any]) -> Any:
        """The op's result, or the part of it that is used."""
        result = _run(self.op, self.arguments(values), self.params)
        return result if self.part is None else result[self.part]


class Expression:
    """A random function of a few inputs; call it with Tensors or arrays like them.

    ``str`` shows it as source text. ``inputs`` are float64 arrays at which it is smooth.

    >>> x = np.array([0.5, 1.0])
    >>> f = Expression([x], [Step(OPS["sin"], (Use(0),), {}), Step(OPS["multiply"], (Use(1), Use(0)), {})])
    >>> print(f)
    def expression(x):  # x: (2,)
        a = sin(x)
        return multiply(a, x)
    >>> bool(np.all(f(x) == np.sin(x) * x))
    True
    """

    def __init__(self, inputs: Sequence[np.ndarray], steps: Sequence[Step]) -> None:
        self.inputs = tuple(inputs)
        self.steps = tuple(steps)
        self.__name__ = "expression"

    def __call__(self, *inputs: Any) -> Any:
        if len(inputs) != len(self.inputs):
            raise ShapeError(f"this expression takes {len(self.inputs)} inputs, got {len(inputs)}.{here()}")
        return self.trace(*inputs)[-1]

    def trace(self, *inputs: Any) -> list[Any]:
        """The values of all steps, the inputs before them."""
        values = list(inputs)
        for step in self.steps:
            values.append(step.run(values))
        return values

    @property
    def ops(self) -> tuple[str, ...]:
        """The names of the ops, in order."""
        return tuple(step.op.name for step in self.steps)

    def __str__(self) -> str:
        names = [*_letters("xyzuvwpqrst", len(self.inputs)), *_letters("abcdefghijklmno", len(self.steps))]
        head = names[: len(self.inputs)]
        shapes = ", ".join(f"{name}: {value.shape}" for name, value in zip(head, self.inputs, strict=True))
        lines = [f"def expression({', '.join(head)}):  # {shapes}"]
        for number, step in enumerate(self.steps):
            last = number == len(self.steps) - 1
            lines.append(f"    {'return' if last else f'{names[len(head) + number]} ='} {_text(step, names)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def differentiable_ops() -> list[Op]:
    """The ops of the table that expressions are made of: all that have a derivative, write nowhere and draw no numbers.

    >>> names = [op.name for op in differentiable_ops()]
    >>> "tanh" in names, "argmax" in names
    (True, False)
    """
    found = [
        op
        for op in OPS.values()
        if op.differentiable and not op.mutates and op.domain is not None and "generator" not in op.params
    ]
    return sorted(found, key=lambda op: (len(op.inputs) + len(op.params), op.name))  # simple ones first


def expressions(
    ops: Sequence[Op | str] | None = None, *, max_ops: int = 6, max_dims: int = 2, max_side: int = 3
) -> Strategy:
    """Random `Expression`s over the op table: compositions whose gradients can be checked.

    Values lie within the domain of every op, keep clear of kinks and poles, and stay below 100; some inputs and
    intermediate values are used several times. What fails shrinks to few ops and small shapes.

    Args:
        ops: the ops or their names, your own ones too; `differentiable_ops` if None.
        max_ops: the most ops that are put together. Steps that bring values into an op's domain come on top.
        max_dims: the most dimensions of a value that is begun with.
        max_side: its longest side.

    >>> from hypothesis import given, settings
    >>> from autograd_ff.testing import assert_gradients
    >>> @settings(max_examples=10, database=None)
    ... @given(expressions(max_ops=3))
    ... def test(f):
    ...     assert_gradients(f, f.inputs)
    >>> test()
    """
    st = hypothesis_strategies()
    chosen = differentiable_ops() if ops is None else [as_op(one) for one in ops]
    if not chosen or max_ops < 1:
        raise ShapeError(f"an expression is made of one op or more.{here()}")
    for op in chosen:
        if not op.differentiable or op.mutates or op.domain is None:
            raise ShapeError(f"{op.name} cannot be part of an expression: it has no derivative, or writes.{here()}")

    # A seed for each op, so that any of them can be taken out while shrinking and the others stay as they are.
    seeds = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=max_ops)

    home = shapes(0, max_dims, 1, max_side)

    @st.composite
    def expression(draw: Callable[..., Any]) -> Expression:
        growth = _Growth(draw(home))
        taken: list[int] = []
        for seed in draw(seeds):
            first = taken.count(seed) * _ATTEMPTS  # the same seed again is for other ops and other numbers
            for attempt in range(first, first + _ATTEMPTS):
                op = chosen[(seed + attempt * _STRIDE) % len(chosen)]
                if growth.add(op, np.random.default_rng([seed, attempt])):
                    break
            taken.append(seed)
        return growth.expression()

    return expression()


# ---------------------------------------------------------------- growing


class _Offer(NumPyDraw):
    """A draw for one op's sampler that steers it to shapes at hand, and remembers which array it gave for which domain."""

    def __init__(self, generator: np.random.Generator, shapes: list[tuple[int, ...]]) -> None:
        super().__init__(generator)
        self._shapes = shapes  # the last one is that of the whole expression
        self.given: dict[int, tuple[np.ndarray, Domain | None]] = {}

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> tuple[int, ...]:
        fitting = [
            shape
            for shape in self._shapes
            if min_dims <= len(shape) <= max_dims and all(min_side <= side <= max_side for side in shape)
        ]
        if fitting:
            return fitting[0] if self.boolean() else self.choice(fitting)
        home = self._shapes[-1]
        longest = max(min_side, min(max_side, max(home, default=1)))
        return super().shape(min_dims, max(min_dims, min(max_dims, len(home))), min_side, longest)

    def array(self, shape: tuple[int, ...], domain: Domain = REAL) -> np.ndarray:
        made = super().array(shape, domain)
        self.given[id(made)] = (made, domain)
        return made

    def distinct(self, shape: tuple[int, ...]) -> np.ndarray:
        made = super().distinct(shape)
        self.given[id(made)] = (made, None)
        return made


class _Growth:
    """An expression in the making: its inputs and steps, and the value of each at the inputs and at the probes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.items: list[np.ndarray | Step] = []  # inputs and steps, in the order in which they were made
        self.values: list[list[np.ndarray]] = []  # of each item: at the inputs, then at the probes in opposite pairs

    def add(self, op: Op, generator: np.random.Generator) -> bool:
        """Apply one more op, and say whether its result will do and moves with the inputs."""
        offer = _Offer(generator, [*(values[0].shape for values in reversed(self.values)), self.shape])
        call = sample(op, offer)
        for reuse in ("as it is", "squashed", "not at all"):
            mark = len(self.items)
            if self._apply(op, call, offer.given, reuse, generator):
                return _moves(self.values[-1])
            del self.items[mark:], self.values[mark:]
        return False

    def _apply(
        self,
        op: Op,
        call: Call,
        given: dict[int, tuple[np.ndarray, Domain | None]],
        reuse: str,
        generator: np.random.Generator,
    ) -> bool:
        leaves = flatten(call.inputs)
        differentiable = checked_positions(op, call)
        domains: list[tuple[int, Domain]] = []
        taken: list[int] = []
        for position in differentiable:
            array, domain = given.get(id(leaves[position]), (leaves[position], None))
            number = None
            if reuse != "not at all" and id(leaves[position]) in given:
                if all(values[0].shape != array.shape for values in self.values):
                    self._reshaped(array.shape, generator)
                number = self._at_hand(array.shape, domain, reuse == "squashed", taken, generator)
            if number is None:
                number = self._new_input(array, generator)
            else:
                taken.append(number)
            if domain is not None:
                domains.append((position, domain))
            leaves[position] = Use(number)
        if not differentiable or (reuse != "not at all" and not taken):
            return False
        step = Step(op, rebuild(call.inputs, leaves), call.params, domains=tuple(domains))
        result = self._probe(step)
        if isinstance(result, tuple):  # of several outputs one that moves is taken
            moving = [part for part, values in enumerate(zip(*result, strict=True)) if _moves(values)]
            if not moving:
                return False
            step = Step(op, step.inputs, step.params, moving[0], step.domains)
            result = [one[moving[0]] for one in result]
        return result is not None and self._push(step, result)

    def _at_hand(
        self, shape: tuple[int, ...], domain: Domain | None, squash: bool, taken: list[int], pick: np.random.Generator
    ) -> int | None:
        """An earlier value of this shape that the op can take: rather a late one, and none that it takes already."""
        fitting = [
            number for number, values in enumerate(self.values) if values[0].shape == shape and number not in taken
        ]
        while fitting:
            number = fitting.pop(-1 if pick.random() < 0.7 else int(pick.integers(len(fitting))))
            if domain is None or _inside(self.values[number], domain):
                return number
            if squash:
                return self._squashed(number, domain)
        return None

    def _reshaped(self, shape: tuple[int, ...], pick: np.random.Generator) -> None:
        """A new value of this shape, made of elements of a larger one."""
        size = math.prod(shape)
        larger = [
            number for number, values in enumerate(self.values) if values[0].shape != shape and values[0].size >= size
        ]
        if not larger:
            return
        number = larger[-1]
        places = pick.choice(self.values[number][0].size, size, replace=False).reshape(shape)
        flat = Step(OPS["reshape"], (Use(number),), {"shape": (-1,)})
        if self._push(flat, self._probe(flat)):
            chosen = Step(OPS["index"], (Use(len(self.items) - 1),), {"index": places})
            self._push(chosen, self._probe(chosen))

    def _squashed(self, number: int, domain: Domain) -> int | None:
        """A value brought into a domain by tanh or arctan, each element into the interval that it is next to."""
        here = self.values[number][0]
        squeeze, reach = ("tanh", 1.0) if np.max(np.abs(here), initial=0.0) < 2 else ("arctan", 0.5 * np.pi)
        pieces = [(low, high) for low, high in segments(domain) if high - low > 0.1]
        if not pieces:
            return None
        centres = np.round([(low + high) / 2 for low, high in pieces], 4)
        nearest = np.argmin(np.abs(here[..., None] - centres), axis=-1)
        widths = np.round([0.49 * (high - low) / reach for low, high in pieces], 4)
        one = len(pieces) == 1
        for op, extra in (
            (squeeze, ()),
            ("multiply", (float(widths[0]) if one else widths[nearest],)),
            ("add", (float(centres[0]) if one else centres[nearest],)),
        ):
            step = Step(OPS[op], (Use(number), *extra), {})
            result = self._probe(step)
            if result is None or not self._push(step, result):
                return None
            number = len(self.items) - 1
        return number

    def _new_input(self, array: np.ndarray, direction: np.random.Generator) -> int:
        values = [array]
        for _ in range(2):
            step = _STEP * direction.uniform(0.5, 1.5, array.shape) * direction.choice([-1.0, 1.0], array.shape)
            values += [array + step, array - step]
        self.items.append(array)
        self.values.append(values)
        return len(self.items) - 1

    def _probe(self, step: Step) -> Any:
        """What the op gives at the inputs and at the probes; None where it takes another branch, or has no answer."""
        used = [one.number for one in flatten(step.inputs) if isinstance(one, Use)]
        results, home = [], None
        for point in range(5):
            values = {number: wrap(self.values[number][point]) for number in used}
            try:
                with np.errstate(all="ignore"), no_grad(), observe(recorder := BranchRecorder()):
                    result = step.run(values)  # type: ignore[arg-type]
            except AutogradError:
                return None
            if home not in (None, recorder.digest):
                return None
            home = recorder.digest
            results.append(tuple(one.array for one in result) if isinstance(result, tuple) else result.array)
        return tuple(results) if isinstance(results[0], tuple) else results

    def _push(self, step: Step, values: Any) -> bool:
        values = list(values or ())
        if not values or not _tame(values):
            return False
        self.items.append(step)
        self.values.append(values)
        return True

    def expression(self) -> Expression:
        """The sum of the values that no other is made of, as far as they fit, and what they need, in order."""
        used = {
            one.number
            for step in self.items
            if isinstance(step, Step)
            for one in flatten(step.inputs)
            if isinstance(one, Use)
        }
        loose = [
            number
            for number, item in enumerate(self.items)
            if isinstance(item, Step) and number not in used and _moves(self.values[number])
        ]
        if not loose:  # none of the ops that were drawn would do
            x = numbers(np.random.default_rng(0), self.shape)
            return Expression([x], [Step(OPS["positive"], (Use(0),), {})])
        last = loose.pop()
        while loose:
            total = Step(OPS["add"], (Use(last), Use(loose.pop())), {})
            result = self._probe(total)
            if result is not None and _moves(result) and self._push(total, result):
                last = len(self.items) - 1
        return self._down_to(last)

    def _down_to(self, last: int) -> Expression:
        needed = {last}
        for number in range(last, -1, -1):
            item = self.items[number]
            if number in needed and isinstance(item, Step):
                needed |= {one.number for one in flatten(item.inputs) if isinstance(one, Use)}
        inputs = [number for number in sorted(needed) if not isinstance(self.items[number], Step)]
        steps = [number for number in sorted(needed) if isinstance(self.items[number], Step)]
        renumbered = {old: new for new, old in enumerate([*inputs, *steps])}
        moved: list[Step] = []
        for number in steps:
            step: Any = self.items[number]
            leaves = [Use(renumbered[one.number]) if isinstance(one, Use) else one for one in flatten(step.inputs)]
            moved.append(Step(step.op, rebuild(step.inputs, leaves), step.params, step.part, step.domains))
        arrays: list[Any] = [self.items[number] for number in inputs]
        return Expression(arrays, moved)


def _inside(values: list[np.ndarray], domain: Domain) -> bool:
    """Whether a value lies in a domain, at the probes too. The plain reals end where numbers get large."""
    if domain == REAL:
        return bool(np.max(np.abs(values[0]), initial=0.0) <= 10)
    return all(
        np.all((value >= domain.low) & (value <= domain.high))
        and all(np.all(np.abs(value - point) >= domain.margin / 2) for point in domain.avoid)
        for value in values
    )


def _moves(values: Sequence[np.ndarray]) -> bool:
    """Whether a value depends on the inputs by more than what is left when large numbers cancel."""
    here, *probes = values
    return any(np.max(np.abs(here - probe), initial=0.0) > _FLATTEST * _STEP for probe in probes)


def _tame(values: list[np.ndarray]) -> bool:
    """Whether a value is one of few moderate float64 numbers, and neither jumps nor bends between the probes."""
    here, *probes = values
    if (
        here.dtype != np.float64
        or not 0 < here.size <= _MOST_ELEMENTS
        or any(one.shape != here.shape for one in probes)
    ):
        return False
    if not all(np.all(np.isfinite(one)) for one in values) or np.max(np.abs(here)) > _LARGEST:
        return False
    for ahead, behind in zip(probes[::2], probes[1::2], strict=True):
        slope, bend = np.max(np.abs(ahead - behind)), np.max(np.abs(ahead + behind - 2 * here))
        if slope > _STEEPEST * _STEP or bend > 0.5 * _STEP:
            return False
    return True


def _run(op: Op, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    if op.kind == "composite":
        return run_composite(op, inputs, params)
    if any(isinstance(one, TensorCore) for one in inputs):
        return apply(op, inputs, params)
    return apply_raw(op, inputs, params)


# ---------------------------------------------------------------- as text


def _letters(alphabet: str, count: int) -> Iterator[str]:
    for number in range(count):
        turn, letter = divmod(number, len(alphabet))
        yield alphabet[letter] + (str(turn) if turn else "")


def _text(step: Step, names: Sequence[str]) -> str:
    shown = [names[one.number] if isinstance(one, Use) else _value(one) for one in flatten(step.inputs)]
    if not step.op.variadic:  # arguments that may be left out
        while shown and shown[-1] == "None" and step.op.inputs[len(shown) - 1] in step.op.params:
            shown.pop()
    arguments = ", ".join(shown)
    if step.op.name == "einsum":  # which takes its subscripts first
        return f"einsum({step.params['subscripts']!r}, {arguments})"
    if step.op.variadic:
        arguments = f"[{arguments}]"
    params = [f"{key}={_value(value)}" for key, value in step.params.items() if not _is_absent(step.op, key, value)]
    call = f"{step.op.name}({', '.join([arguments, *params])})"
    return call if step.part is None else f"{call}[{step.part}]"


def _is_absent(op: Op, key: str, value: Any) -> bool:
    return (value is None or value is False) and op.params.get(key) is value


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        numbers = np.array2string(value, separator=", ", threshold=100, max_line_width=10**6).replace("\n", "")
        # NumPy makes int64 of whole numbers, which is another argument than bits in uint16.
        dtype = "" if value.dtype.kind in "fcb" or value.dtype == np.int64 else f", dtype={value.dtype.name!r}"
        return f"array({' '.join(numbers.split())}{dtype})"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(_value, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    if isinstance(value, slice):  # slice(…) would be taken for the op of that name
        parts = ["" if part is None else str(part) for part in (value.start, value.stop, value.step)]
        return f"np.s_[{':'.join(parts)}]"
    return repr(value)
