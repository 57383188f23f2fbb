"""Ufuncs: arithmetic, powers, exponentials, trigonometry, comparison, and the piecewise ones."""

from __future__ import annotations

import math

import numpy as np

from ..engine import BOOLEAN, NONDIFFERENTIABLE, NONZERO, POSITIVE, REAL, UNIT, Call, Draw, primitive
from ..engine.domain import draw_broadcastable


def zero(g):
    """The gradient of a function that is constant between its jumps."""
    return np.zeros_like(g)


# arithmetic
add = primitive(np.add, lambda g: g, lambda g: g, domain=(REAL, REAL), analytic=True)
subtract = primitive(np.subtract, lambda g: g, lambda g: -g, domain=(REAL, REAL), analytic=True)
multiply = primitive(
    np.multiply, lambda g, x2: g * x2, lambda g, x1: g * x1, domain=(REAL, REAL), analytic=True
)
divide = primitive(
    np.divide,
    lambda g, x2: g / x2,
    lambda g, x2, out: -g * out / x2,
    domain=(REAL, NONZERO),
    promotion="float",
    analytic=True,
)
negative = primitive(np.negative, lambda g: -g, domain=REAL, analytic=True)
positive = primitive(np.positive, lambda g: g, domain=REAL, analytic=True)
square = primitive(np.square, lambda g, x: g * (2 * x), domain=REAL, analytic=True)
reciprocal = primitive(
    np.reciprocal, lambda g, out: -g * np.square(out), domain=NONZERO, promotion="float", analytic=True
)


def _log_or_zero(x1, x2):
    """log(x1), and 0 where x1 = 0 and x2 ≥ 0: there 0 ** x2 does not depend on x2."""
    dead = np.equal(x1, 0) & np.greater_equal(x2, 0)
    return np.where(dead, 0.0, np.log(np.where(dead, 1.0, x1)))


power = primitive(
    np.power,
    # The factor x2 = 0 must win over x1 ** -1 at x1 = 0.
    lambda g, x1, x2: g * (x2 * np.power(x1, np.where(np.equal(x2, 0), 1.0, x2 - 1.0))),
    lambda g, x1, x2, out: g * (out * _log_or_zero(x1, x2)),
    domain=(POSITIVE, REAL),
)

# exponentials and logarithms
exp = primitive(np.exp, lambda g, out: g * out, domain=REAL, promotion="float", analytic=True)
exp2 = primitive(np.exp2, lambda g, out: g * (out * math.log(2)), domain=REAL, promotion="float", analytic=True)
expm1 = primitive(np.expm1, lambda g, out: g * (out + 1), domain=REAL, promotion="float", analytic=True)
log = primitive(np.log, lambda g, x: g / x, domain=POSITIVE, promotion="float", analytic=True)
log2 = primitive(np.log2, lambda g, x: g / (x * math.log(2)), domain=POSITIVE, promotion="float", analytic=True)
log10 = primitive(np.log10, lambda g, x: g / (x * math.log(10)), domain=POSITIVE, promotion="float", analytic=True)
log1p = primitive(np.log1p, lambda g, x: g / (1 + x), domain=POSITIVE, promotion="float", analytic=True)
sqrt = primitive(np.sqrt, lambda g, out: g / (2 * out), domain=POSITIVE, promotion="float", analytic=True)
logaddexp = primitive(
    np.logaddexp,
    lambda g, x1, out: g * np.exp(x1 - out),
    lambda g, x2, out: g * np.exp(x2 - out),
    domain=(REAL, REAL),
    promotion="float",
)

# trigonometry
sin = primitive(np.sin, lambda g, x: g * np.cos(x), domain=REAL, promotion="float", analytic=True)
cos = primitive(np.cos, lambda g, x: -g * np.sin(x), domain=REAL, promotion="float", analytic=True)
tan = primitive(np.tan, lambda g, out: g * (1 + out * out), domain=UNIT, promotion="float", analytic=True)
arcsin = primitive(
    np.arcsin, lambda g, x: g / np.sqrt(1 - x * x), domain=UNIT, promotion="float", analytic=True
)
arccos = primitive(
    np.arccos, lambda g, x: -g / np.sqrt(1 - x * x), domain=UNIT, promotion="float", analytic=True
)
arctan = primitive(np.arctan, lambda g, x: g / (1 + x * x), domain=REAL, promotion="float", analytic=True)
arctan2 = primitive(
    np.arctan2,
    lambda g, x1, x2: g * x2 / (x1 * x1 + x2 * x2),
    lambda g, x1, x2: -g * x1 / (x1 * x1 + x2 * x2),
    domain=(REAL, NONZERO),
    promotion="float",
)
sinh = primitive(np.sinh, lambda g, x: g * np.cosh(x), domain=REAL, promotion="float", analytic=True)
cosh = primitive(np.cosh, lambda g, x: g * np.sinh(x), domain=REAL, promotion="float", analytic=True)
tanh = primitive(np.tanh, lambda g, out: g * (1 - out * out), domain=REAL, promotion="float", analytic=True)

# piecewise: what decides the piece is named in `branches`
absolute = primitive(
    np.absolute, lambda g, x: g * np.sign(x), domain=NONZERO, branches=lambda x: np.sign(x), name="abs"
)
sign = primitive(np.sign, zero, domain=NONZERO, branches=lambda out: out)
floor = primitive(np.floor, zero, domain=REAL.away_from(*range(-3, 4)), branches=lambda out: out)
ceil = primitive(np.ceil, zero, domain=REAL.away_from(*range(-3, 4)), branches=lambda out: out)
trunc = primitive(np.trunc, zero, domain=REAL.away_from(*range(-3, 4)), branches=lambda out: out)
rint = primitive(
    np.rint, zero, domain=REAL.away_from(*(n + 0.5 for n in range(-4, 4))), branches=lambda out: out, name="round"
)


def _draw_apart(draw: Draw) -> Call:
    """Two arrays whose elements differ by at least 0.2 wherever they meet."""
    first, second = draw_broadcastable(draw, 2)
    x1 = draw.array(first)
    full = np.broadcast_shapes(first, second)
    gap = np.where(draw.array(full) < 0, -1.0, 1.0) * (0.2 + np.abs(draw.array(full)))
    return Call((x1, np.broadcast_to(x1, full) + gap) if second == full else (x1, draw.array(second) * 0.05 + 10.0))


def _half_at_ties(g, mine, other):
    """The gradient goes to the chosen element, and half of it to each where both are equal (as PyTorch has it)."""
    return g * (np.greater(mine, other) + 0.5 * np.equal(mine, other))


maximum = primitive(
    np.maximum,
    lambda g, x1, x2: _half_at_ties(g, x1, x2),
    lambda g, x1, x2: _half_at_ties(g, x2, x1),
    domain=_draw_apart,
    branches=lambda x1, x2: np.sign(x1 - x2),
)
minimum = primitive(
    np.minimum,
    lambda g, x1, x2: _half_at_ties(g, x2, x1),
    lambda g, x1, x2: _half_at_ties(g, x1, x2),
    domain=_draw_apart,
    branches=lambda x1, x2: np.sign(x1 - x2),
)


def _draw_remainder(draw: Draw) -> Call:
    shape = draw.shape()
    quotient = draw.integers(shape, -3, 3) + 0.2 + 0.6 * draw.array(shape, POSITIVE) / 4.0
    divisor = draw.array(shape, POSITIVE)
    return Call((quotient * divisor, divisor))


remainder = primitive(
    np.remainder,
    lambda g: g,
    lambda g, x1, x2: -g * np.floor(x1 / x2),
    domain=_draw_remainder,
    branches=lambda x1, x2: np.floor(x1 / x2),
)
floor_divide = primitive(np.floor_divide, zero, zero, domain=_draw_remainder, branches=lambda out: out)


def _draw_where(draw: Draw) -> Call:
    shapes = draw_broadcastable(draw, 3)
    return Call((draw.array(shapes[0], BOOLEAN), draw.array(shapes[1]), draw.array(shapes[2])))


where = primitive(
    np.where,
    None,
    lambda g, condition: np.where(condition, g, np.zeros((), g.dtype)),
    lambda g, condition: np.where(condition, np.zeros((), g.dtype), g),
    inputs=("condition", "x", "y"),
    promotion="common",
    broadcasts=True,
    domain=_draw_where,
    branches=lambda condition: condition,
)


def _draw_modf(draw: Draw) -> Call:
    return Call((draw.array(draw.shape(), REAL.away_from(*range(-3, 4))),))


# Two outputs, the fractional and the integral part; only the first one moves with x.
modf = primitive(np.modf, lambda g: g[0], domain=_draw_modf, promotion="float", branches=lambda x: np.floor(x))

# no derivative: the result is a boolean or an integer
for _function in (
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.logical_and, np.logical_or, np.logical_xor,
):  # fmt: skip
    primitive(_function, NONDIFFERENTIABLE, domain=(REAL, REAL))
for _function in (np.isnan, np.isinf, np.isfinite, np.signbit, np.logical_not):
    primitive(_function, NONDIFFERENTIABLE, domain=REAL)
for _function in (np.bitwise_and, np.bitwise_or, np.bitwise_xor):
    primitive(_function, NONDIFFERENTIABLE, domain=(BOOLEAN, BOOLEAN))
primitive(np.invert, NONDIFFERENTIABLE, domain=BOOLEAN)
