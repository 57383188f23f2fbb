"""Two derivatives of one function held against each other: the one that backward gives, and the numeric one."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import Site, observe
from ..engine.site import in_package
from .branches import BranchRecorder
from .numeric import derivative, one_sided
from .recording import Replay
from .report import FAIL, KINK, NONDETERMINISTIC, NONFINITE, PASS, UNRELIABLE, WORST_FIRST, Entry

__all__ = ["BackwardFailed", "Comparison", "Outcome", "Tolerance", "dense", "told"]

_FULL_SIDE = 64  # a Jacobian with at most this many outputs is checked output by output …
_FULL_INPUT = 256  # … and input by input where it has at most this many: each costs several evaluations
_DIRECTIONS = 4

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Tolerance:
    """What an entry may differ by beside the estimate of the numeric error, and how much is computed."""

    rtol: float = 1e-6  # relative to the entry itself
    atol: float = 1e-8  # relative to the largest entry of the same input
    seed: int = 0  # of the random upstream gradients and directions
    full: int = 4096  # a Jacobian of at most this many entries is computed whole

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value < np.inf):
                raise ValueError(f"{name} is a number from 0 on, not {value!r}")
        for name in ("seed", "full"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 0:
                raise ValueError(f"{name} is a whole number from 0 on, not {value!r}")


@dataclass
class Outcome:
    """What a comparison found: the worst entry of each input."""

    verdict: str
    entries: list[Entry] = field(default_factory=list)
    note: str = ""


def dense(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of magnitude 0.5 to 1.5: no component is so small that a mistake could hide in it."""
    return np.asarray(generator.uniform(0.5, 1.5, shape) * generator.choice([-1.0, 1.0], shape))


@dataclass
class _Judged:
    """The derivatives of one input: a row for each upstream gradient, a column for each direction."""

    found: np.ndarray  # analytic
    numeric: np.ndarray
    estimate: np.ndarray  # of the numeric error
    allowed: np.ndarray  # by the tolerance
    wrong: np.ndarray  # further apart than both together
    verdicts: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """How far apart the derivatives are, in multiples of what is allowed."""
        limit = self.allowed + self.estimate
        return np.nan_to_num(np.abs(self.found - self.numeric) / np.where(limit > 0, limit, 1.0), nan=np.inf)

    def worst_columns(self) -> list[int]:
        """The columns, the one furthest off first."""
        return np.argsort(-np.max(self.excess, axis=0, initial=0.0), kind="stable").tolist()

    def worst(self, single: list[bool]) -> tuple[int, int]:
        """Where the worst verdict is: rather in a row that names an output (``single``), then furthest off."""
        order = [PASS, *reversed(WORST_FIRST[:-1])]
        rank = [order.index(verdict) for verdict in self.verdicts.flat]
        named = np.repeat(single, self.verdicts.shape[1]).tolist()
        furthest = self.excess.ravel().tolist()
        best = max(range(len(rank)), key=lambda at: (rank[at], named[at], furthest[at]))
        row, column = divmod(best, self.verdicts.shape[1])
        return row, column


class Unstable(Exception):
    """Two backward passes through the same graph disagree."""


class BackwardFailed(Exception):
    """The backward pass raised an error of its own, which is the cause of this one."""


def told(failed: BackwardFailed) -> str:
    """What was raised, and by which line of the user's."""
    error = failed.__cause__
    assert error is not None
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not in_package(frame.f_code):
            place = f"\n  at {Site(frame.f_code.co_filename, line, '')}"
    message = f"{type(error).__name__}: {error}"
    return message if "\n  at " in message else message.split("\n")[0] + place


class Comparison:
    """One function of a flat list of float64 arrays, and the comparison of its two derivatives.

    Args:
        evaluate: from values to the outputs, all of them floating arrays.
        gradients: from a flat upstream gradient of all outputs to the gradients of all inputs.
        values: the point.
        names: what reports call the inputs.
        tolerance: see `Tolerance`.
        exact: the function again, for complex numbers, where there is one; its derivatives are exact to rounding.
        epsilon: the relative rounding of what the function computes.
        one_op: the function is a single operation, so where it has a kink the gradient must lie between its one-sided
            derivatives. Of a composition that need not hold: relu(x) - relu(-x) is x, and its gradient at 0 is 0.
    """

    def __init__(
        self,
        evaluate: Callable[[Arrays], Sequence[np.ndarray]],
        gradients: Callable[[np.ndarray], Arrays],
        values: Arrays,
        names: Sequence[str],
        tolerance: Tolerance,
        *,
        exact: Replay | None = None,
        epsilon: float = float(np.finfo(np.float64).eps),
        one_op: bool = False,
    ) -> None:
        self.evaluate = evaluate
        self.gradients = gradients
        self.values = values
        self.names = names
        self.tolerance = tolerance
        self.exact = exact
        self.one_op = one_op
        self.generator = np.random.default_rng(tolerance.seed)
        self.evaluations = 0
        self.epsilon = epsilon
        self.value = np.zeros(0)  # of the function at the point itself
        self.home = self.signature = b""  # the smooth piece that the point lies on, and that of the last evaluation
        self.crossed = False  # whether a curve left the point's piece
        self.upstreams = np.zeros((0, 0))
        self.analytic: list[Arrays] = []  # for each upstream gradient, the gradients of all inputs

    # ---------------------------------------------------------------- the function

    def flat(self, values: Arrays) -> np.ndarray:
        """All outputs end to end; `signature` then tells on which smooth piece they were computed."""
        self.evaluations += 1
        with observe(recorder := BranchRecorder()):
            outputs = [np.asarray(output) for output in self.evaluate(values)]
        self.signature = recorder.digest
        return np.concatenate([np.ravel(one) for one in outputs]).astype(np.float64) if outputs else np.zeros(0)

    def _curve(self, position: int, direction: np.ndarray, smooth: bool = True) -> Callable[[float], np.ndarray]:
        """The outputs along a line through the point; not a number where the line has left the point's own piece."""

        def along(t: float) -> np.ndarray:
            moved = list(self.values)
            moved[position] = self.values[position] + t * direction
            try:
                value = self.flat(moved)
                if not smooth or self.signature == self.home:
                    return value
            except Exception:  # beyond the function's domain, as probabilities below 0 are
                pass
            self.crossed = True  # no difference to take here; a smaller step may stay on this piece
            return np.full(self.value.shape, np.nan)

        return along

    # ---------------------------------------------------------------- the comparison

    def outcome(self) -> Outcome:
        """The verdict.

        Raises:
            BackwardFailed: the backward pass did.
        """
        with np.errstate(all="ignore"):  # the verdict says it
            return self._outcome()

    def _outcome(self) -> Outcome:
        value = self.value = self.flat(self.values)
        self.home = self.signature
        if not np.array_equal(value, self.flat(self.values), equal_nan=True):
            return Outcome(NONDETERMINISTIC, note="two calls with the same inputs gave different outputs")
        if not np.all(np.isfinite(value)):
            where = int(np.flatnonzero(~np.isfinite(value))[0])
            return Outcome(NONFINITE, note=f"output element {where} is {value[where]}")
        self.upstreams, rows = self._upstreams(value.size)
        try:
            self.analytic = self._analytic()
        except Unstable:
            return Outcome(NONDETERMINISTIC, note="two backward passes gave different gradients")
        entries = [self._worst(position, rows) for position in range(len(self.values))]
        verdicts = [entry.verdict for entry in entries]
        return Outcome(next((one for one in WORST_FIRST if one in verdicts), PASS), entries)

    def _upstreams(self, size: int) -> tuple[np.ndarray, list[int | None]]:
        """Upstream gradients, one a row, and the output that each singles out: the dense ones single out none."""
        largest = max((value.size for value in self.values), default=0)
        if size <= _FULL_SIDE and size * largest <= self.tolerance.full:
            single = np.diag(dense(self.generator, (size,)))
            return np.concatenate([dense(self.generator, (1, size)), single]), [None, *range(size)]
        return dense(self.generator, (_DIRECTIONS, size)), [None] * _DIRECTIONS

    def _analytic(self) -> list[Arrays]:
        results = []
        for number, upstream in enumerate([self.upstreams[0], *self.upstreams]):  # the first twice: does it repeat?
            try:
                results.append(self.gradients(upstream))
            except Exception as error:
                raise BackwardFailed from error
            if number == 1 and not all(map(_same, results[0], results[1])):
                raise Unstable
        return results[1:]

    def whole(self, position: int) -> bool:
        """Whether the Jacobian of this input is computed entry by entry."""
        size = self.values[position].size
        return size <= _FULL_INPUT and size * self.value.size <= self.tolerance.full

    def directions(self, position: int) -> Arrays:
        """Along which the input is moved: each of its elements, or some random dense directions."""
        value = self.values[position]
        if self.whole(position):
            return [unit(value, index) for index in range(value.size)]
        return [dense(self.generator, value.shape) for _ in range(_DIRECTIONS)]

    def jacobian(self, position: int, directions: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        """Numeric derivatives of all outputs (rows) along the directions (columns), the error estimates, which columns
        met the end of the smooth piece, and whether all are exact to rounding."""
        exact = self._trusted_exact(position)
        numeric = np.zeros((self.value.size, len(directions)))
        estimate = np.zeros_like(numeric)
        crossed = np.zeros(len(directions), bool)
        for column, direction in enumerate(directions):
            if exact is not None:
                numeric[:, column] = exact.derivative(position, direction / self._length(position, direction))
            else:
                self.crossed = False
                numeric[:, column], estimate[:, column] = self._derivative(position, direction)
                crossed[column] = self.crossed
        if exact is not None:
            own = np.max(np.abs(numeric), axis=1, keepdims=True, initial=0.0)
            estimate += 1e-12 * own + 1e-14 * np.abs(self.value)[:, None]
        return numeric, estimate, crossed, exact is not None

    def _derivative(self, position: int, direction: np.ndarray, careful: bool = False) -> tuple[np.ndarray, np.ndarray]:
        numeric, estimate = derivative(self._curve(position, direction), self.epsilon, careful)
        length = self._length(position, direction)
        return numeric / length, estimate / length

    def _length(self, position: int, direction: np.ndarray) -> float:
        """From steps to derivatives: of one element, how far a step of 1 moves it."""
        return float(np.max(direction, initial=0.0)) if self.whole(position) else 1.0

    def _trusted_exact(self, position: int) -> Replay | None:
        """The exact derivative, where the replay gives the very values of the function at other points too: it does not
        see what left the graph on the way, through NumPy say."""
        if self.exact is None or not self.values[position].size:
            return None
        direction = dense(self.generator, self.values[position].shape)
        for step in (2.0**-8, -(2.0**-12), 2.0**-20):
            moved = list(self.values)
            moved[position] = self.values[position] + step * direction
            try:
                if not np.array_equal(self.exact(moved), self.flat(moved), equal_nan=True):
                    self.exact = None
                    return None
            except Exception:  # beyond the domain: nothing to compare with
                self.exact = None
                return None
        try:
            usable = bool(np.all(np.isfinite(self.exact.derivative(position, direction))))
        except Exception:  # an op that takes no complex numbers after all
            usable = False
        if not usable:
            self.exact = None
        return self.exact

    def _worst(self, position: int, rows: list[int | None]) -> Entry:
        """All entries of one input compared; the worst of them."""
        whole, directions = self.whole(position), self.directions(position)
        moved, error, crossed, exact = self.jacobian(position, directions)
        found = self._analytic_along(position, directions)
        judged = self._judge(moved, error, found)
        doubtful = [] if exact else np.flatnonzero(np.any(judged.wrong, axis=0)).tolist()
        for column in doubtful:  # before it is called wrong: how noisy are the function's values?
            moved[:, column], error[:, column] = self._derivative(position, directions[column], careful=True)
        if doubtful:
            judged = self._judge(moved, error, found)
        self._judge_kinks(position, directions, crossed, judged)
        if not judged.verdicts.size:
            return Entry(self.names[position], None, None, 0.0, 0.0, 0.0, 0.0, PASS, self.values[position].shape)
        row, column = judged.worst([output is not None for output in rows])
        output = rows[row]
        scaling = 1.0 if output is None else float(self.upstreams[row, output])  # back from the upstream gradient
        shape = self.values[position].shape
        return Entry(
            self.names[position],
            tuple(int(one) for one in np.unravel_index(column, shape)) if whole else None,
            output,
            float(found[row, column] / scaling),
            float(judged.numeric[row, column] / scaling),
            float(abs(judged.estimate[row, column] / scaling)),
            float(abs(judged.allowed[row, column] / scaling)),
            str(judged.verdicts[row, column]),
            shape,
        )

    def _analytic_along(self, position: int, directions: Arrays) -> np.ndarray:
        """For each upstream gradient (row) the analytic derivative along each direction (column)."""
        if self.whole(position):  # element by element: 0 × infinity would spread from one element to all
            found = [np.ravel(row[position]) for row in self.analytic]
        else:
            found = [np.array([np.sum(row[position] * one) for one in directions]) for row in self.analytic]
        return np.array(found).reshape(len(self.upstreams), len(directions))

    def _judge(self, moved: np.ndarray, error: np.ndarray, found: np.ndarray) -> _Judged:
        """A verdict on each derivative, for what the numeric ones (``moved``, of every output) and their errors say."""
        upstreams, tolerance = self.upstreams, self.tolerance
        numeric = upstreams @ moved
        spread = np.abs(upstreams)[:, :, None] * error[None]
        # 0 × infinity: an output that this upstream gradient does not see
        estimate = np.nan_to_num(spread, nan=0.0, posinf=np.inf).sum(axis=1)
        scale = float(np.max(np.abs(numeric), initial=0.0))
        size = float(np.max(np.abs(upstreams) @ np.abs(self.value), initial=0.0))
        # Of the output's own derivatives: what stands beside much larger ones of other outputs must be right as well.
        own = np.max(np.abs(numeric), axis=1, keepdims=True, initial=0.0)
        allowed = tolerance.rtol * np.maximum(np.abs(found), np.abs(numeric)) + tolerance.atol * np.maximum(own, 1e-5)
        wrong = np.abs(found - numeric) > allowed + estimate
        poor = (estimate > allowed) & (estimate > 0.01 * np.maximum(np.maximum(scale, np.abs(found)), 1e-6 * size))
        finite = np.isfinite(found) & np.isfinite(estimate)
        verdicts = np.where(~finite, NONFINITE, np.where(wrong, FAIL, np.where(poor, UNRELIABLE, PASS))).astype(object)
        return _Judged(found, numeric, estimate, allowed, wrong, verdicts)

    def _judge_kinks(self, position: int, directions: Arrays, crossed: np.ndarray, judged: _Judged) -> None:
        """Look closer at what stands between pieces, or may do."""
        declared = crossed & ~np.all(np.isfinite(judged.estimate), axis=0)  # by an op: every step led to another piece
        for column in np.flatnonzero(declared).tolist():
            stuck = ~np.isfinite(judged.estimate[:, column]) & np.isfinite(judged.found[:, column])
            if np.any(stuck):
                self._judge_kink(position, column, directions[column], stuck, True, judged)
        # The rest may be a kink that no op declares, in a user's own NumPy code. One that is none is enough to fail.
        suspects = np.isin(judged.verdicts.astype(str), (FAIL, UNRELIABLE)) & ~declared
        for column in judged.worst_columns():
            if np.any(suspects[:, column]):
                self._judge_kink(position, column, directions[column], suspects[:, column], False, judged)
                if FAIL in judged.verdicts[:, column]:
                    return

    def _judge_kink(
        self, position: int, column: int, direction: np.ndarray, stuck: np.ndarray, declared: bool, judged: _Judged
    ) -> None:
        """Where there may be a kink: is the gradient one that it allows, between the two one-sided derivatives?"""
        found, verdicts = judged.found, judged.verdicts
        if declared and not self.one_op:
            verdicts[stuck, column] = KINK
            return
        curve, length = self._curve(position, direction, smooth=not declared), self._length(position, direction)
        after, after_error = (one / length for one in one_sided(curve, 1, self.epsilon))
        before, before_error = (one / length for one in one_sided(curve, -1, self.epsilon))
        for row in np.flatnonzero(stuck):
            upstream = self.upstreams[row]
            seen = upstream != 0  # outputs without a weight have no say, however badly they are known
            ends = np.array([upstream[seen] * after[seen], upstream[seen] * before[seen]])
            slack = float(np.sum(np.abs(upstream[seen]) * (after_error[seen] + before_error[seen])))
            low, high = float(np.sum(ends.min(axis=0))), float(np.sum(ends.max(axis=0)))
            limit = judged.allowed[row, column] + slack
            if not np.isfinite(slack):
                if declared:  # a jump or a pole: there is no one-sided derivative to judge by
                    verdicts[row, column] = KINK
                continue
            if low - limit <= found[row, column] <= high + limit and (declared or high - low > 2 * limit):
                verdicts[row, column] = KINK
            elif declared:
                verdicts[row, column] = FAIL
                judged.numeric[row, column] = low if found[row, column] < low else high


def unit(value: np.ndarray, index: int) -> np.ndarray:
    """The direction of one element, longer for numbers beyond 1 so that a step moves them as much, relatively."""
    direction = np.zeros_like(value)
    size = max(1.0, abs(float(value.flat[index])))
    direction.flat[index] = 2.0 ** min(np.ceil(np.log2(size)), 1000.0) if np.isfinite(size) else 1.0
    return direction


def _same(first: Any, second: Any) -> bool:
    return np.array_equal(first, second, equal_nan=True)
