"""Derivatives from function values alone, each with an estimate of its own error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["LARGEST_STEP", "complex_step", "derivative"]

# The first step is right for smooth functions of numbers near 1. The smaller ones are for kinks and poles nearby, the
# large one is for noisy functions (float32 inside), and the tiny ones only for where all others gave no number at all.
_STEPS = tuple(2.0**power for power in (-8, -13, -18, -23, -4))
_TINY_STEPS = tuple(2.0**power for power in (-30, -38, -46))
LARGEST_STEP = _STEPS[0]  # for a well-behaved function; samplers keep further than this from kinks

_LEVELS = 3
_GOAL = 1e-8
_EPSILON = float(np.finfo(np.float64).eps)


def derivative(curve: Callable[[float], np.ndarray], epsilon: float = _EPSILON) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of ``curve`` at 0, and an estimate of its error, entry by entry.

    Central differences at steps h, h/2 and h/4, extrapolated to h = 0 (Richardson), so that the error falls with the
    sixth power of h. The estimate is what the last extrapolation still changed, plus the rounding of the function's
    values. Where it is poor, other steps are tried, and each entry keeps its best.

    Args:
        curve: a function of one number that returns a float64 array, of any shape, always the same.
        epsilon: the relative rounding of the function's values; float64's unless it rounds them more coarsely.

    Returns:
        The derivative and the error estimate, of the shape that ``curve`` returns. Where no step gave a finite number,
        the estimate is infinite.

    Source: C. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4 (1982).

    >>> import numpy as np
    >>> value, error = derivative(lambda t: np.exp(np.array([0.0, 1.0]) + t))
    >>> bool(np.all(np.abs(value - np.exp([0.0, 1.0])) < 1e-10)), bool(np.all(error < 1e-8))
    (True, True)
    """
    with np.errstate(all="ignore"):
        best, estimate, size = _extrapolated(curve, _STEPS[0], epsilon)
        for step in (*_STEPS[1:], *_TINY_STEPS):
            if _good(best, estimate, size) or (step in _TINY_STEPS and np.all(np.isfinite(estimate))):
                break
            value, error, _ = _extrapolated(curve, step, epsilon)
            better = error < estimate
            best, estimate = np.where(better, value, best), np.where(better, error, estimate)
    return best, estimate


def _good(value: np.ndarray, estimate: np.ndarray, size: np.ndarray) -> bool:
    """Whether no other step can do much better: a derivative of 0 is known only to the rounding of the values."""
    scale = np.max(np.abs(value), initial=0.0)
    return bool(np.all(estimate <= _GOAL * (np.abs(value) + scale) + 1e-11 * size))


def _extrapolated(
    curve: Callable[[float], np.ndarray], step: float, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neville's tableau over the squares of the steps: each column removes one more power of h².

    Returns the derivative, the estimate of its error, and the size of the function's values.
    """
    column: list[np.ndarray] = []
    largest = np.zeros(())
    change = np.full((), np.inf)
    for level in range(_LEVELS):
        h = step / 2**level
        above, below = np.asarray(curve(h), np.float64), np.asarray(curve(-h), np.float64)
        largest = np.maximum(largest, np.maximum(np.abs(above), np.abs(below)))
        row = [(above - below) / (2 * h)]
        for order, before in enumerate(column, 1):
            row.append(row[-1] + (row[-1] - before) / (4**order - 1))
        if column:
            change = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - column[-1]))
        column = row
    # Twice the change: of several steps the one with the smallest estimate is taken, which flatters it.
    error = 2 * change + 4 * epsilon * largest / (step / 2 ** (_LEVELS - 1))
    value = column[-1]
    failed = ~(np.isfinite(value) & np.isfinite(error))
    return np.where(failed, 0.0, value), np.where(failed, np.inf, error), largest


def complex_step(
    function: Callable[..., np.ndarray], values: list[np.ndarray], directions: list[np.ndarray]
) -> np.ndarray:
    """The derivative of an analytic function of arrays along ``directions``, exact to rounding: Im f(x + i h d) / h.

    There is no difference of nearly equal numbers in it, so h may be 1e-20. It is silently wrong for functions that are
    not analytic (abs, comparisons, conj).

    Source: W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40
    (1998).

    >>> import numpy as np
    >>> float(complex_step(np.square, [np.array(3.0)], [np.array(1.0)]))
    6.0
    """
    h = 1e-20
    moved = [value + 1j * h * direction for value, direction in zip(values, directions, strict=True)]
    return np.imag(function(*moved)) / h
