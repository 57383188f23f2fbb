"""Derivatives from function values alone, each with an estimate of its own error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["LARGEST_STEP", "complex_step", "derivative", "one_sided"]

# The first step is right for smooth functions of numbers near 1. The smaller ones are for kinks and poles nearby, the
# large one is for noisy functions (float32 inside), and the tiny ones only for where all others gave no number at all.
_STEPS = tuple(2.0**power for power in (-8, -13, -18, -21, -24, -4))
_TINY_STEPS = tuple(2.0**power for power in (-27, -30, -38, -46))
LARGEST_STEP = _STEPS[0]  # for a well-behaved function; samplers keep further than this from kinks

_SIDE_STEPS = tuple(2.0**power for power in (-10, -14, -18, -22))

_CLOSE = 2.0**-32  # apart are the points that rounding noise is measured at, or further where values are coarser
_LEVELS = 3
_GOAL = 1e-8
_EPSILON = float(np.finfo(np.float64).eps)


def derivative(
    curve: Callable[[float], np.ndarray], epsilon: float = _EPSILON, careful: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of ``curve`` at 0, and an estimate of its error, entry by entry.

    Central differences at steps h, h/2 and h/4, extrapolated to h = 0 (Richardson), so that the error falls with the
    sixth power of h. The estimate is what the last extrapolation still changed, plus the rounding of the function's
    values. Where it is poor, other steps are tried, and each entry keeps its best: a larger step counts only as far as
    the smaller ones agree with it, because among many kinks the differences can converge to the slope of the large
    view rather than to the derivative.

    Args:
        curve: a function of one number that returns a float64 array, of any shape, always the same.
        epsilon: the relative rounding of the function's values; float64's unless it rounds them more coarsely.
        careful: measure the noise of the values in any case, which can be far above their last digit. By default only
            where the first step was not good enough.

    Returns:
        The derivative and the error estimate, of the shape that ``curve`` returns. Where no step gave a finite number,
        the estimate is infinite.

    Source: C. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4 (1982).
    The noise is measured in the spirit of J. Moré, S. Wild, "Estimating computational noise", SIAM Journal on Scientific
    Computing 33 (2011).

    >>> import numpy as np
    >>> value, error = derivative(lambda t: np.exp(np.array([0.0, 1.0]) + t))
    >>> bool(np.all(np.abs(value - np.exp([0.0, 1.0])) < 1e-10)), bool(np.all(error < 1e-8))
    (True, True)
    """
    with np.errstate(all="ignore"):
        first = _extrapolated(curve, _STEPS[0], epsilon)
        if _good(first) and not careful:
            return first.value, first.error
        noise = _noise(curve, max(_CLOSE, 32 * epsilon))
        tried: list[_Try] = []
        for step in (*_STEPS, *_TINY_STEPS):
            if step in _TINY_STEPS and any(np.all(np.isfinite(one.error)) for one in tried):
                break
            tried.append(_extrapolated(curve, step, epsilon, noise))
            if _good(tried[-1]):
                break
        return _best(tried)


def one_sided(
    curve: Callable[[float], np.ndarray], side: int, epsilon: float = _EPSILON
) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of ``curve`` at 0 from the right (``side=1``) or from the left (-1), and an estimate of its error.

    Forward differences, extrapolated to h = 0. Where they do not settle, as at a jump, the estimate is infinite.

    >>> import numpy as np
    >>> [round(float(one_sided(lambda t: np.abs(np.float64(t)), side)[0]), 9) for side in (1, -1)]
    [1.0, -1.0]
    """
    tried: list[_Try] = []
    with np.errstate(all="ignore"):
        start = np.asarray(curve(0.0), np.float64)
        for step in _SIDE_STEPS:
            column: list[np.ndarray] = []
            change, size = np.full((), np.inf), np.abs(start)
            for level in range(_LEVELS + 1):
                h = step / 2**level
                value = np.asarray(curve(side * h), np.float64)
                size = np.maximum(size, np.abs(value))
                row = [(value - start) / (side * h)]
                for order, before in enumerate(column, 1):
                    row.append(row[-1] + (row[-1] - before) / (2**order - 1))
                if column:
                    change = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - column[-1]))
                column = row
            error = 2 * change + 8 * epsilon * size / (step / 2**_LEVELS)
            failed = ~(np.isfinite(column[-1]) & np.isfinite(error))
            tried.append(_Try(step, np.where(failed, 0.0, column[-1]), np.where(failed, np.inf, error), size))
        value, error = _best(tried)
        # A jump's differences grow like 1/h, and settle nowhere.
        jump = error > 1e-3 * np.maximum(np.abs(value), 1e-6 * np.maximum.reduce([one.size for one in tried]))
    return value, np.where(jump, np.inf, error)


def _best(tried: list[_Try]) -> tuple[np.ndarray, np.ndarray]:
    """Of several steps the best one, entry by entry."""
    best, estimate = tried[0].value, np.full(np.shape(tried[0].value), np.inf)
    for one in tried:
        smaller = [other for other in tried if other.step < one.step and np.all(np.isfinite(other.error))]
        apart = [np.abs(one.value - other.value) - other.error for other in smaller]
        error = np.maximum.reduce([one.error, *apart])
        better = error < estimate
        best, estimate = np.where(better, one.value, best), np.where(better, error, estimate)
    return best, estimate


class _Try(NamedTuple):
    """The derivative at one step."""

    step: float
    value: np.ndarray
    error: np.ndarray
    size: np.ndarray  # of the function's values


def _good(one: _Try) -> bool:
    """Whether no other step can do much better: a derivative of 0 is known only to the rounding of the values."""
    scale = np.max(np.abs(one.value), initial=0.0)
    return bool(np.all(one.error <= _GOAL * (np.abs(one.value) + scale) + 1e-11 * one.size))


def _extrapolated(
    curve: Callable[[float], np.ndarray], step: float, epsilon: float, noise: np.ndarray | float = 0.0
) -> _Try:
    """Neville's tableau over the squares of the steps: each column removes one more power of h²."""
    column: list[np.ndarray] = []
    size = np.zeros(())
    change = np.full((), np.inf)
    for level in range(_LEVELS):
        h = step / 2**level
        above, below = np.asarray(curve(h), np.float64), np.asarray(curve(-h), np.float64)
        size = np.maximum(size, np.maximum(np.abs(above), np.abs(below)))
        row = [(above - below) / (2 * h)]
        for order, before in enumerate(column, 1):
            row.append(row[-1] + (row[-1] - before) / (4**order - 1))
        if column:
            change = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - column[-1]))
        column = row
    # Twice the change: of several steps the one with the smallest estimate is taken, which flatters it.
    error = 2 * change + 4 * np.maximum(epsilon * size, noise) / (step / 2 ** (_LEVELS - 1))
    value = column[-1]
    failed = ~(np.isfinite(value) & np.isfinite(error))
    return _Try(step, np.where(failed, 0.0, value), np.where(failed, np.inf, error), size)


# Irregular, or values that are rounded to a grid of their own could all be hit alike, as if there were no rounding.
_OFFSETS = np.array([-4.0, -2.847, -1.618, -0.741, 0.0, 0.577, 1.414, 2.718, 3.9])
_PARABOLAS = np.linalg.qr(_OFFSETS[:, None] ** np.arange(3))[0]


def _noise(curve: Callable[[float], np.ndarray], apart: float) -> np.ndarray:
    """The rounding noise of the function's values: what a parabola leaves of values so close together that all else is
    smooth.

    It can be far above the last digit of the values where large numbers cancel inside the function.
    """
    values = np.array([np.asarray(curve(offset * apart), np.float64) for offset in _OFFSETS])
    flat = values.reshape(len(_OFFSETS), -1)
    left = flat - _PARABOLAS @ (_PARABOLAS.T @ flat)
    noise = np.sqrt(np.sum(left * left, axis=0) / (len(_OFFSETS) - 3)).reshape(values.shape[1:])
    return np.where(np.isfinite(noise), noise, 0.0)


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
