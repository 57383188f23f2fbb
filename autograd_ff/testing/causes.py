"""What probably went wrong in a wrong rule, told from the numbers that it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from .comparison import Arrays, Comparison
from .report import FAIL, Entry

__all__ = ["likely_cause"]

_CLOSE = 1e-5


def likely_cause(
    comparison: Comparison, entries: Sequence[Entry], rerun: Callable[[], Callable[[np.ndarray], Arrays]]
) -> str:
    """A likely cause of the worst failure, or "" where none fits.

    Args:
        comparison: of the one op, with its analytic gradients.
        entries: the worst entry of each input.
        rerun: records the op again, and gives what the new node's backward returns.
    """
    failing = [position for position, entry in enumerate(entries) if entry.verdict == FAIL]
    if not failing:
        return ""
    position = max(failing, key=lambda one: entries[one].error)
    if not comparison.whole(position):
        return _from_directions(comparison, position)
    return _Suspect(comparison, position, rerun).cause()


def _from_directions(comparison: Comparison, position: int) -> str:
    """Of a large op only the share of each derivative that came out."""
    directions = comparison.directions(position)
    numeric, *_ = comparison.jacobian(position, directions)
    right = comparison.upstreams @ numeric
    got = np.array([[np.sum(row[position] * one) for one in directions] for row in comparison.analytic])
    return _share(got, right)


class _Suspect:
    """The wrong gradient of one input, and the right one."""

    def __init__(
        self, comparison: Comparison, position: int, rerun: Callable[[], Callable[[np.ndarray], Arrays]]
    ) -> None:
        self.comparison = comparison
        self.position = position
        self.rerun = rerun
        self.value = comparison.values[position]
        self.upstream = comparison.upstreams[0]
        self.jacobian = self._jacobian(position)
        self.right = self._right(self.upstream)
        self.got = comparison.analytic[0][position]

    def _jacobian(self, position: int) -> np.ndarray:
        directions = self.comparison.directions(position)
        numeric, *_ = self.comparison.jacobian(position, directions)
        return numeric

    def _right(self, upstream: np.ndarray) -> np.ndarray:
        return (upstream @ self.jacobian).reshape(self.value.shape)

    def cause(self) -> str:
        tests = (
            self.not_finite, self.zero, self.stale, self.upstream_unused, self.share, self.transposed, self.broadcast, self.swapped,
            self.one_branch, self.some_elements,
        )  # fmt: skip
        for test in tests:
            found = test()
            if found:
                return found
        return ""

    def not_finite(self) -> str:
        wrong = int(np.sum(~np.isfinite(self.got)))
        return f"{wrong} of {self.got.size} elements are NaN or infinite" if wrong else ""

    def zero(self) -> str:
        return "the gradient is zero everywhere" if not np.any(self.got) else ""

    def stale(self) -> str:
        try:
            again = self.rerun()(self.upstream)[self.position]
        except Exception:  # it was worth a try
            return ""
        if close(again, self.right) and not close(again, self.got):
            return "a stale value: what the op saved for backward was changed after it ran"
        return ""

    def upstream_unused(self) -> str:
        twice = self.comparison.gradients(2 * self.upstream)[self.position]
        if close(twice, 2 * self.got):
            return ""
        if close(twice, self.got):
            return "the upstream gradient is not used"
        return "the gradient is not proportional to the upstream gradient"

    def share(self) -> str:
        return _share(self.got, self.right)

    def transposed(self) -> str:
        if self.value.ndim < 2:
            return ""
        turned = np.swapaxes(self.right, -1, -2)
        return "transposed" if close(turned.reshape(self.value.shape), self.got) else ""

    def broadcast(self) -> str:
        shape = np.shape(self._output())
        missing = len(shape) - self.value.ndim
        for axis, side in enumerate(shape):
            own = axis - missing
            if side < 2 or (own >= 0 and self.value.shape[own] == side):
                continue
            for place in (0, side - 1):
                only = np.zeros(shape)
                index = (slice(None),) * axis + (place,)
                only[index] = self.upstream[: only.size].reshape(shape)[index]
                if close(self._right(only.ravel()), self.got):
                    return f"a missing sum over the broadcast axis {axis}: only one element of it is taken"
        return ""

    def _output(self) -> np.ndarray:
        return np.asarray(self.comparison.evaluate(self.comparison.values)[0])

    def swapped(self) -> str:
        for other, value in enumerate(self.comparison.values):
            if other != self.position and value.shape == self.value.shape and self.comparison.whole(other):
                right = (self.upstream @ self._jacobian(other)).reshape(value.shape)
                if close(right, self.got):
                    return f"swapped operands: this is the gradient of {self.comparison.names[other]}"
        return ""

    def _wrong(self) -> np.ndarray:
        limit = _CLOSE * np.max(np.abs(self.right), initial=0.0)
        return ~np.isclose(self.got, self.right, rtol=_CLOSE, atol=limit)

    def one_branch(self) -> str:
        wrong = self._wrong()
        if np.all(wrong) or self.value.size < 2:
            return ""
        name = self.comparison.names[self.position]
        for text, mask in ((f"{name} > 0", self.value > 0), (f"{name} < 0", self.value < 0)):
            if np.array_equal(mask, wrong):
                inside = _share(self.got[wrong], self.right[wrong])
                return f"wrong only where {text}" + (f": {inside}" if inside else "")
        return ""

    def some_elements(self) -> str:
        wrong = self._wrong()
        if np.all(wrong) or not np.any(wrong):
            return ""
        inside = _share(self.got[wrong], self.right[wrong])
        return f"{int(wrong.sum())} of {wrong.size} elements are wrong" + (f": {inside}" if inside else "")


def _share(got: np.ndarray, right: np.ndarray) -> str:
    """The one number that the right gradient was multiplied by, if there is one."""
    norm = float(np.sum(right * right))
    if not norm:
        return ""
    share = float(np.sum(got * right)) / norm
    if abs(share - 1) < _CLOSE or abs(share) < 1e-12 or not close(share * right, got):
        return ""
    if abs(share + 1) < _CLOSE:
        return "the sign is wrong"
    fraction = Fraction(share).limit_denominator(32)
    exact = abs(float(fraction) - share) < 1e-6 * abs(share)
    if not exact and np.count_nonzero(right) < 2:
        return ""  # one number is always some multiple of another
    number = f"{fraction}" if exact else f"{share:.6g}"
    return f"a factor: the gradient is {number} of what it should be"


def close(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two gradients are the same, to what can be told of a numeric one."""
    if np.shape(first) != np.shape(second):
        return False
    scale = max(float(np.max(np.abs(first), initial=0.0)), float(np.max(np.abs(second), initial=0.0)))
    return bool(np.all(np.abs(first - second) <= 1e-6 * scale))
