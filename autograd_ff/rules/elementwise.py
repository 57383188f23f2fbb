"""Ufuncs: arithmetic, powers, exponentials, trigonometry, comparison, and the piecewise ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import BOOLEAN, NONDIFFERENTIABLE, NONZERO, POSITIVE, REAL, UNIT, Call, Domain, Draw, primitive
from ..engine.domain import draw_broadcastable
from .nested import nested


def zero(g):
    """The gradient of a function that is constant between its jumps."""
    return np.zeros_like(g)


# arithmetic
add = primitive(np.add, lambda g: g, lambda g: g, domain=(REAL, REAL), analytic=True)
subtract = primitive(np.subtract, lambda g: g, lambda g: -g, domain=(REAL, REAL), analytic=True)
multiply = primitive(np.multiply, lambda g, x2: g * x2, lambda g, x1: g * x1, domain=(REAL, REAL), analytic=True)
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
square = primitive(np.square, lambda g, x: g * (2 * x), domain=REAL, promotion="number", analytic=True)
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
    promotion="number",
)


def _power_scalar(x, exponent=2):
    if x.dtype.kind in "fc":  # np.power is a hundred times slower than what it stands for here
        if exponent == 2:
            return x * x
        if exponent == 3:
            return x * x * x
        if exponent == 0.5:
            return np.sqrt(x)
        if exponent == -1:
            return 1 / x
        if exponent == 1:
            return np.positive(x)
    return np.power(x, exponent)


def _draw_power_scalar(draw: Draw) -> Call:
    exponent = draw.choice([2, 3, 0.5, -1, 1, 0, -2, 2.5])
    return Call((draw.array(draw.shape(), POSITIVE),), {"exponent": exponent})


# x ** exponent for a Python number, which is no input of the graph
power_scalar = primitive(
    _power_scalar,
    lambda g, x, exponent: g * (exponent * _power_of(x, exponent - 1)) if exponent else np.zeros_like(g),
    name="power_scalar",
    inputs=("x",),
    params={"exponent": 2},
    promotion="number",
    domain=_draw_power_scalar,
    analytic=True,
)
_power_of: Any = nested(power_scalar)

# exponentials and logarithms
exp = primitive(np.exp, lambda g, out: g * out, domain=REAL, promotion="float", analytic=True)
exp2 = primitive(np.exp2, lambda g, out: g * (out * math.log(2)), domain=REAL, promotion="float", analytic=True)
expm1 = primitive(np.expm1, lambda g, out: g * (out + 1), domain=REAL, promotion="float", analytic=True)
log = primitive(np.log, lambda g, x: g / x, domain=POSITIVE, promotion="float", analytic=True)
log2 = primitive(np.log2, lambda g, x: g / (x * math.log(2)), domain=POSITIVE, promotion="float", analytic=True)
log10 = primitive(np.log10, lambda g, x: g / (x * math.log(10)), domain=POSITIVE, promotion="float", analytic=True)
log1p = primitive(np.log1p, lambda g, x: g / (1 + x), domain=POSITIVE, promotion="float", analytic=True)
sqrt = primitive(np.sqrt, lambda g, out: g / (2 * out), domain=POSITIVE, promotion="float", analytic=True)
rsqrt = primitive(
    lambda x: 1 / np.sqrt(x),
    lambda g, out: g * (-0.5 * (out * out * out)),
    name="rsqrt",
    inputs=("x",),
    promotion="float",
    domain=POSITIVE,
    analytic=True,
)
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
arcsin = primitive(np.arcsin, lambda g, x: g / np.sqrt(1 - x * x), domain=UNIT, promotion="float", analytic=True)
arccos = primitive(np.arccos, lambda g, x: -g / np.sqrt(1 - x * x), domain=UNIT, promotion="float", analytic=True)
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
arcsinh = primitive(np.arcsinh, lambda g, x: g / np.sqrt(x * x + 1), domain=REAL, promotion="float", analytic=True)
arccosh = primitive(
    np.arccosh, lambda g, x: g / np.sqrt(x * x - 1), domain=Domain(1.2, 4.0), promotion="float", analytic=True
)
arctanh = primitive(np.arctanh, lambda g, x: g / (1 - x * x), domain=UNIT, promotion="float", analytic=True)
hypot = primitive(
    np.hypot,
    lambda g, x1, out: g * x1 / out,
    lambda g, x2, out: g * x2 / out,
    domain=(NONZERO, NONZERO),
    promotion="float",
)
tanh = primitive(np.tanh, lambda g, out: g * (1 - out * out), domain=REAL, promotion="float", analytic=True)

# piecewise: what decides the piece is named in `branches`
absolute = primitive(
    np.absolute, lambda g, x: g * np.sign(x), domain=NONZERO, branches=lambda x: np.sign(x), name="abs"
)
sign = primitive(np.sign, zero, domain=NONZERO, promotion="number", branches=lambda out: out)


def _keeping_integers(function):
    """Whole numbers are what they are; NumPy before 2.1 makes float64 of them."""
    return lambda x: function(x) if x.dtype.kind not in "biu" else np.array(x)


_WHOLE = REAL.away_from(*range(-3, 4))
_HALVES = REAL.away_from(*(n + 0.5 for n in range(-4, 4)))

floor = primitive(np.floor, zero, forward=_keeping_integers(np.floor), domain=_WHOLE, branches=lambda out: out)
ceil = primitive(np.ceil, zero, forward=_keeping_integers(np.ceil), domain=_WHOLE, branches=lambda out: out)
trunc = primitive(np.trunc, zero, forward=_keeping_integers(np.trunc), domain=_WHOLE, branches=lambda out: out)
rint = primitive(np.rint, zero, forward=_keeping_integers(np.rint), domain=_HALVES, branches=lambda out: out)


def _draw_round(draw: Draw) -> Call:
    decimals = draw.choice([0, 1, -1])
    return Call((draw.array(draw.shape(), _HALVES) / 10.0**decimals,), {"decimals": decimals})


# to a number of decimals, the even neighbour where two are equally near
round = primitive(
    np.round,
    zero,
    name="round",
    inputs=("a",),
    params={"decimals": 0},
    forward=lambda a, decimals=0: np.rint(a) if not decimals and a.dtype.kind == "f" else np.round(a, decimals),
    promotion="common",
    domain=_draw_round,
    branches=lambda out: out,
)


def _draw_finite(draw: Draw) -> Call:
    return Call((draw.array(draw.shape()),), {"nan": 0.0, "posinf": draw.choice([None, 4.0]), "neginf": None})


nan_to_num = primitive(
    np.nan_to_num,
    lambda g, x: g * np.isfinite(x),
    inputs=("x",),
    params={"nan": 0.0, "posinf": None, "neginf": None},
    promotion="common",
    domain=_draw_finite,
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
    return g * np.greater(mine, other) + (0.5 * g) * np.equal(mine, other)


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


def _dividing(function):
    """Whole numbers divided by zero raise, as in Python; NumPy would return 0."""

    def forward(x1, x2):
        divisor = np.asarray(x2)
        if divisor.dtype.kind in "biu" and np.asarray(x1).dtype.kind in "biu" and not np.all(divisor):
            raise ZeroDivisionError("a whole number is divided by zero")
        return function(x1, x2)

    return forward


def _trunc_divide(x1, x2):
    if np.asarray(x1).dtype.kind in "biu" and np.asarray(x2).dtype.kind in "biu":  # exact beyond 2 ** 53
        quotient = np.floor_divide(x1, x2)
        return quotient + ((quotient < 0) & (quotient * x2 != x1))
    return np.trunc(np.divide(x1, x2))


# The remainder has the divisor's sign in `remainder`, as in Python, and the dividend's in `fmod`, as in C.
remainder = primitive(
    np.remainder,
    lambda g: g,
    lambda g, x1, x2: -g * np.floor(x1 / x2),
    forward=_dividing(np.remainder),
    promotion="number",
    domain=_draw_remainder,
    branches=lambda x1, x2: np.floor(x1 / x2),
)
fmod = primitive(
    np.fmod,
    lambda g: g,
    lambda g, x1, x2: -g * np.trunc(x1 / x2),
    forward=_dividing(np.fmod),
    promotion="number",
    domain=_draw_remainder,
    branches=lambda x1, x2: np.trunc(x1 / x2),
)
floor_divide = primitive(
    np.floor_divide,
    zero,
    zero,
    forward=_dividing(np.floor_divide),
    promotion="number",
    domain=_draw_remainder,
    branches=lambda out: out,
)
trunc_divide = primitive(
    _trunc_divide,
    zero,
    zero,
    name="trunc_divide",
    inputs=("x1", "x2"),
    forward=_dividing(_trunc_divide),
    promotion="number",
    broadcasts=True,
    domain=_draw_remainder,
    branches=lambda out: out,
)


def _clip(a, a_min=None, a_max=None):
    if a_min is None:
        return np.minimum(a, a_max)
    return np.maximum(a, a_min) if a_max is None else np.clip(a, a_min, a_max)


def _within(a, a_min, a_max):
    if a_min is None:
        return np.less_equal(a, a_max)
    if a_max is None:
        return np.greater_equal(a, a_min)
    return np.logical_and(np.greater_equal(a, a_min), np.less_equal(a, a_max))


def _below(a, a_min, a_max):
    """Where the lower bound is the result."""
    below = np.less(a, a_min)
    return below if a_max is None else np.logical_and(below, np.less(a_min, a_max))


def _above(a, a_min, a_max):
    """Where the upper bound is the result."""
    above = np.greater(a, a_max)
    return above if a_min is None else np.logical_or(above, np.greater(a_min, a_max))


def _draw_clip(draw: Draw) -> Call:
    shape = draw.shape()
    side = draw.integers(shape, -1, 1)
    low, high = -1.0 + 0.3 * draw.array(shape, UNIT), 1.0 + 0.3 * draw.array(shape, UNIT)
    inside = 0.5 * draw.array(shape, UNIT)
    a = np.where(side < 0, low - 0.5 + inside / 2, np.where(side > 0, high + 0.5 + inside / 2, inside))
    kind = draw.choice(["both", "low", "high", "scalars"])
    if kind == "scalars":
        return Call((draw.array(shape, REAL.away_from(-1.0, 1.5)), -1.0, 1.5))
    return Call((a, None if kind == "high" else low, None if kind == "low" else high))


# At a bound the gradient goes to the input, as PyTorch has it.
clip = primitive(
    np.clip,
    lambda g, a, a_min, a_max: g * _within(a, a_min, a_max),
    lambda g, a, a_min, a_max: g * _below(a, a_min, a_max),
    lambda g, a, a_min, a_max: g * _above(a, a_min, a_max),
    inputs=("a", "a_min", "a_max"),
    params={"a_min": None, "a_max": None},
    forward=_clip,
    promotion="common",
    broadcasts=True,
    domain=_draw_clip,
    branches=_within,
)


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
_function: Any
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
for _function in (np.isclose, np.allclose):
    primitive(
        _function,
        NONDIFFERENTIABLE,
        inputs=("a", "b"),
        params={"rtol": 1e-5, "atol": 1e-8, "equal_nan": False},
        promotion="common",
        domain=(REAL, REAL),
    )
