"""Gradients of any function of Tensors, held against numeric derivatives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..autograd import grad
from ..engine import TensorCore, enable_grad, here, observe, wrap
from ..errors import AutogradError, GraphError
from .branches import BranchRecorder
from .numeric import derivative
from .report import FAIL, KINK, NONDETERMINISTIC, NONFINITE, PASS, UNRELIABLE, WORST_FIRST, Entry, Report
from .tree import flatten, rebuild

__all__ = ["assert_gradients", "compare", "dense", "gradcheck"]

_FULL_ENTRIES = 4096  # a Jacobian of at most this many entries is computed whole …
_FULL_SIDE = 64  # … output by output where there are at most this many
_DIRECTIONS = 4


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    order: int = 1,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
    full: int = _FULL_ENTRIES,
) -> Report:
    """Hold the gradient of ``fn`` against its numeric derivative.

    Everything is computed in float64, on read-only copies of the inputs. The numeric derivative comes with an estimate
    of its own error, and only a difference beyond tolerance and estimate fails. Steps that cross to another piece of a
    piecewise function are made smaller; a point where none is small enough is a KINK, neither right nor wrong. A small Jacobian is checked entry by
    entry; a large one along random dense directions, input by input. Upstream gradients are random and dense as well,
    so a rule that forgets the upstream gradient does not pass.

    Args:
        fn: a function of Tensors that returns a Tensor, or a tuple, list or dict of them.
        inputs: a Tensor or array, or a tuple of arguments, which may be tuples, lists and dicts of Tensors too. Checked
            are the tensors that require grad; where none does, all floating ones.
        order: 1 for the gradient, 2 for the gradient of the gradient.
        rtol: what an entry may differ by, relative to itself.
        atol: what an entry may differ by, relative to the largest entry of the same input.
        seed: of the random upstream gradients and directions.
        full: how many entries the Jacobian of an input may have to be checked whole.

    Returns:
        A report: ``passed``, ``verdict``, ``worst`` and a readable ``str``.

    Raises:
        GraphError: there is nothing to check: no floating input or no floating output.

    >>> import autograd_ff as af
    >>> x = af.tensor([0.5, 1.5])
    >>> gradcheck(lambda x: (x * x).sum(), x).passed
    True
    >>> report = gradcheck(lambda x: x * x.detach(), x)
    >>> report.verdict, report.worst.input
    ('FAIL', 'x')
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    leaves = flatten(arguments)
    positions = _checked(leaves)
    if not positions:
        raise GraphError(f"there is no floating Tensor or array among the inputs, so no gradient to check.{here()}")
    values = [np.array(_array_of(leaves[position]), dtype=np.float64) for position in positions]
    fixed = [_as_argument(leaf) for leaf in leaves]

    def function(*tensors: Any) -> list[Any]:
        given = list(fixed)
        for position, tensor in zip(positions, tensors, strict=True):
            given[position] = tensor
        return _outputs(fn(*rebuild(arguments, given)))

    names = _names(fn, arguments, leaves)
    check = _Check(function, values, [names[position] for position in positions], rtol, atol, seed, full)
    if order == 1:
        return check.report(1)
    if order != 2:
        raise ValueError(f"order is 1 or 2, not {order}")
    shapes = [output.shape for output in check.evaluate(values)]
    upstream = [dense(check.generator, shape) for shape in shapes]
    labels = [*check.names, *(f"upstream gradient {position}" for position in range(len(upstream)))]
    second = _gradient_of(function, len(values))
    return _Check(second, [*values, *upstream], labels, rtol, atol, seed, full).report(2)


def assert_gradients(fn: Callable[..., Any], inputs: Any, *, order: int = 1, **options: Any) -> None:
    """Raise an AssertionError with the report where a gradient of ``fn`` is wrong; see `gradcheck`.

    With ``order=2`` the gradient is checked, and the gradient of the gradient.

    >>> import autograd_ff as af
    >>> assert_gradients(lambda x, y: x * y, (af.tensor([1.0, 2.0]), af.tensor(3.0)), order=2)
    """
    for one in range(1, order + 1):
        report = gradcheck(fn, inputs, order=one, **options)
        if not report.passed:
            raise AssertionError(str(report))


def dense(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of magnitude 0.5 to 1.5: no component is so small that a mistake could hide in it."""
    return np.asarray(generator.uniform(0.5, 1.5, shape) * generator.choice([-1.0, 1.0], shape))


def compare(
    names: tuple[str, tuple[int, ...] | None, int | None],
    analytic: float,
    numeric: float,
    estimate: float,
    scale: float,
    size: float,
    rtol: float,
    atol: float,
) -> Entry:
    """The entry for one derivative, judged.

    ``scale`` is the size of the derivatives that it stands among, ``size`` that of the function's values.
    """
    tolerance = rtol * max(abs(analytic), abs(numeric)) + atol * max(scale, 1e-5)
    if not np.isfinite(analytic) or not np.isfinite(estimate):
        verdict = NONFINITE
    elif abs(analytic - numeric) > tolerance + estimate:
        verdict = FAIL
    elif estimate > tolerance and estimate > 0.01 * max(scale, abs(analytic), 1e-6 * size):
        verdict = UNRELIABLE
    else:
        verdict = PASS
    return Entry(*names, float(analytic), float(numeric), float(estimate), float(tolerance), verdict)


class _Check:
    """One function of a flat list of float64 arrays, and the comparison of its two derivatives."""

    def __init__(
        self,
        function: Callable[..., list[Any]],
        values: list[np.ndarray],
        names: list[str],
        rtol: float,
        atol: float,
        seed: int,
        full: int,
    ) -> None:
        self.function = function
        self.values = values
        self.names = names
        self.rtol = rtol
        self.atol = atol
        self.full = full
        self.generator = np.random.default_rng(seed)
        self.evaluations = 0
        self.epsilon = float(np.finfo(np.float64).eps)  # or more, where an output is of a narrower dtype
        self.value = np.zeros(0)  # of the function at the point itself
        self.home = self.signature = b""  # the smooth piece that the point lies on, and that of the last evaluation
        self.crossed = False

    def evaluate(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs as arrays, nothing tracked."""
        self.evaluations += 1
        outputs = [output.array for output in self.function(*(wrap(_read_only(value)) for value in values))]
        for output in outputs:
            self.epsilon = max(self.epsilon, float(np.finfo(output.dtype).eps))
        return outputs

    def flat(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """All outputs end to end; `signature` then tells on which smooth piece they were computed."""
        with observe(recorder := BranchRecorder()):
            outputs = [np.ravel(output) for output in self.evaluate(values)]
        self.signature = recorder.digest
        return np.concatenate(outputs).astype(np.float64, copy=False) if outputs else np.zeros(0)

    def report(self, order: int) -> Report:
        value = self.value = self.flat(self.values)
        self.home = self.signature
        if not np.array_equal(value, self.flat(self.values), equal_nan=True):
            return Report(NONDETERMINISTIC, order, note="two calls with the same inputs gave different outputs")
        if not np.all(np.isfinite(value)):
            where = int(np.flatnonzero(~np.isfinite(value))[0])
            return Report(NONFINITE, order, note=f"output element {where} is {value[where]}")
        upstreams, rows = self._upstreams(value.size)
        try:
            analytic = self._analytic(upstreams)
        except _Unstable:
            return Report(NONDETERMINISTIC, order, note="two backward passes gave different gradients")
        entries = [
            self._worst(position, upstreams, rows, [row[position] for row in analytic])
            for position in range(len(self.values))
        ]
        verdicts = [entry.verdict for entry in entries]
        verdict = next((one for one in WORST_FIRST if one in verdicts), PASS)
        return Report(verdict, order, entries, evaluations=self.evaluations)

    def _upstreams(self, size: int) -> tuple[np.ndarray, list[int | None]]:
        """Upstream gradients, one a row, and the output that each singles out: the dense ones single out none."""
        if size <= _FULL_SIDE and size * max(value.size for value in self.values) <= self.full:
            single = np.diag(dense(self.generator, (size,)))
            return np.concatenate([dense(self.generator, (1, size)), single]), [None, *range(size)]
        return dense(self.generator, (_DIRECTIONS, size)), [None] * _DIRECTIONS

    def _analytic(self, upstreams: np.ndarray) -> list[list[np.ndarray]]:
        """The gradients of all inputs for each upstream gradient."""
        tensors = [wrap(_read_only(value)) for value in self.values]
        for tensor in tensors:
            tensor.requires_grad = True
        with enable_grad():
            outputs = self.function(*tensors)
        tracked = [output for output in outputs if output.requires_grad]
        zeros = [np.zeros_like(value) for value in self.values]
        results = []
        for number, upstream in enumerate([upstreams[0], *upstreams]):  # the first one twice, to see that it repeats
            if not tracked:
                results.append(zeros)
                continue
            seeds = _split(upstream, outputs)
            gradients = grad(
                tracked,
                tensors,
                [seed for output, seed in zip(outputs, seeds, strict=True) if output.requires_grad],
                retain_graph=True,
                allow_unused=True,
            )
            results.append(
                [
                    zero if gradient is None else np.asarray(gradient.detach().array, np.float64)
                    for gradient, zero in zip(gradients, zeros, strict=True)
                ]
            )
            if number == 1 and not all(map(_same, results[0], results[1])):
                raise _Unstable
        return results[1:]

    def _worst(self, position: int, upstreams: np.ndarray, rows: list[int | None], analytic: list[np.ndarray]) -> Entry:
        """All entries of one input compared; the worst of them."""
        value = self.values[position]
        whole = value.size * upstreams.shape[1] <= self.full
        if whole:
            directions = [_unit(value, index) for index in range(value.size)]
        else:
            directions = [dense(self.generator, value.shape) for _ in range(_DIRECTIONS)]
        self.crossed = False
        numeric = np.zeros((len(upstreams), len(directions)))
        estimate = np.zeros_like(numeric)
        for column, direction in enumerate(directions):

            def along(t: float, direction: np.ndarray = direction) -> np.ndarray:
                return self._at(position, t, direction)

            moved, error = derivative(along, self.epsilon)
            numeric[:, column] = upstreams @ moved
            with np.errstate(invalid="ignore"):  # 0 × infinity: an output that this upstream gradient does not see
                estimate[:, column] = np.nan_to_num(np.abs(upstreams) * error, nan=0.0, posinf=np.inf).sum(axis=1)
        found = np.array([[np.sum(row * direction) for direction in directions] for row in analytic])
        found = found.reshape(numeric.shape)
        scale = float(np.max(np.abs(numeric), initial=0.0))
        size = float(np.max(np.abs(upstreams) @ np.abs(self.value), initial=0.0))
        worst: Entry | None = None
        with np.errstate(invalid="ignore"):
            excess = np.abs(found - numeric) / (
                self.rtol * np.maximum(np.abs(found), np.abs(numeric)) + self.atol * max(scale, 1e-5) + estimate
            )
        # Only the largest excess and the largest estimate can decide the verdict.
        candidates = {int(np.argmax(np.nan_to_num(part, nan=np.inf))) for part in (excess, estimate) if part.size}
        for candidate in candidates:
            row, column = divmod(candidate, numeric.shape[1])
            index = tuple(int(one) for one in np.unravel_index(column, value.shape)) if whole else None
            unit = float(np.max(directions[column])) if whole else 1.0  # back from steps to derivatives
            entry = compare(
                (self.names[position], index, rows[row]),
                found[row, column] / unit,
                numeric[row, column] / unit,
                estimate[row, column] / unit,
                scale / unit,
                size,
                self.rtol,
                self.atol,
            )
            if entry.verdict == NONFINITE and self.crossed and np.isfinite(entry.analytic):
                entry = replace(entry, verdict=KINK)
            if worst is None or (entry.verdict != PASS, entry.error) > (worst.verdict != PASS, worst.error):
                worst = entry
        return worst or compare((self.names[position], None, None), 0.0, 0.0, 0.0, 0.0, 0.0, self.rtol, self.atol)

    def _at(self, position: int, t: float, direction: np.ndarray) -> np.ndarray:
        moved = list(self.values)
        moved[position] = self.values[position] + t * direction
        try:
            value = self.flat(moved)
            if self.signature == self.home:
                return value
        except AutogradError:  # beyond the function's domain, as probabilities below 0 are
            pass
        self.crossed = True  # another piece: no difference to take here, a smaller step may stay on this one
        return np.full(self.value.shape, np.nan)


class _Unstable(Exception):
    """Two backward passes through the same graph disagree."""


def _gradient_of(function: Callable[..., list[Any]], count: int) -> Callable[..., list[Any]]:
    """The gradients of the first ``count`` arguments of ``function``; the rest are the upstream gradients."""

    def gradient(*arguments: Any) -> list[Any]:
        record = any(argument.requires_grad for argument in arguments)
        if not record:  # for a numeric derivative only the value of the gradient counts: the plain backward pass
            arguments = tuple(wrap(argument.array) for argument in arguments)
            for argument in arguments[:count]:
                argument.requires_grad = True
        tensors, upstream = list(arguments[:count]), arguments[count:]
        with enable_grad():
            outputs = function(*tensors)
        pairs = [(output, seed) for output, seed in zip(outputs, upstream, strict=True) if output.requires_grad]
        if not pairs:
            return [wrap(np.zeros(tensor.shape)) for tensor in tensors]
        found = grad(
            [output for output, _ in pairs],
            tensors,
            [seed for _, seed in pairs],
            create_graph=record,
            allow_unused=True,
        )
        return [
            wrap(np.zeros(tensor.shape)) if one is None else one for tensor, one in zip(tensors, found, strict=True)
        ]

    return gradient


def _checked(leaves: list[Any]) -> list[int]:
    """Positions of the leaves to check: those that require grad, or all floating ones where none does."""
    floating = [
        position
        for position, leaf in enumerate(leaves)
        if isinstance(leaf, (TensorCore, np.ndarray)) and _array_of(leaf).dtype.kind == "f"
    ]
    wanted = [position for position in floating if getattr(leaves[position], "requires_grad", False)]
    return wanted or floating


def _array_of(leaf: Any) -> np.ndarray:
    return leaf.array if isinstance(leaf, TensorCore) else leaf


def _as_argument(leaf: Any) -> Any:
    """What is not checked, as it is handed to the function: floating numbers in float64, so that nothing is rounded."""
    if not isinstance(leaf, (TensorCore, np.ndarray)):
        return leaf
    array = _array_of(leaf)
    return wrap(_read_only(np.array(array, dtype=np.float64 if array.dtype.kind == "f" else array.dtype)))


def _read_only(array: np.ndarray) -> np.ndarray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _outputs(result: Any) -> list[Any]:
    outputs = [
        leaf for leaf in flatten(result) if isinstance(leaf, TensorCore) and np.dtype(leaf.array.dtype).kind == "f"
    ]
    if not outputs:
        raise GraphError(f"the function returned no floating Tensor, so there is no gradient to check.{here()}")
    return outputs


def _names(fn: Callable[..., Any], arguments: tuple[Any, ...], leaves: list[Any]) -> list[str]:
    """What to call each leaf: the function's parameter, with the position inside it where that holds several."""
    try:
        parameters = [
            one.name
            for one in inspect.signature(fn).parameters.values()
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for position, argument in enumerate(arguments):
        name = parameters[position] if position < len(parameters) else f"input {position}"
        count = len(flatten(argument))
        single = not isinstance(argument, (tuple, list, dict))
        names += [name] if single else [f"{name}[{inner}]" for inner in range(count)]
    assert len(names) == len(leaves)
    return names


def _unit(value: np.ndarray, index: int) -> np.ndarray:
    """The direction of one element, longer for numbers beyond 1 so that a step moves them as much, relatively."""
    direction = np.zeros_like(value)
    size = max(1.0, abs(float(value.flat[index])))
    direction.flat[index] = 2.0 ** np.ceil(np.log2(size))
    return direction


def _split(flat: np.ndarray, outputs: list[Any]) -> list[Any]:
    """A flat upstream gradient as one Tensor for each output, read-only."""
    ends = np.cumsum([output.array.size for output in outputs])[:-1]
    parts = np.split(flat, ends)
    return [
        wrap(_read_only(part.reshape(output.array.shape).astype(output.array.dtype)))
        for part, output in zip(parts, outputs, strict=True)
    ]


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=True)
