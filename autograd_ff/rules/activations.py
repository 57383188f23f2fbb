"""Activation functions, each one op with its derivative, and the softmax family.

The derivatives at the kinks are PyTorch's. Maxima over a constant are written with ``clip``, which NumPy computes
several times faster than ``maximum``.
"""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONZERO, REAL, Call, Domain, Draw, primitive
from .nested import nested
from .special import sigmoid, stands_for

_sigmoid = nested(sigmoid)


def _activation(function, vjp, name, params=None, domain=None, branches=None, analytic=False):
    """An elementwise op of one input; ``params`` are drawn from the choices that it maps each name to."""
    choices = params or {}

    def sample(draw: Draw) -> Call:
        return Call(
            (draw.array(draw.shape(), domain or REAL),), {key: draw.choice(values) for key, values in choices.items()}
        )

    return primitive(
        function,
        vjp,
        name=name,
        inputs=("x",),
        params={key: values[0] for key, values in choices.items()},
        promotion="float",
        domain=sample,
        branches=branches,
        analytic=analytic,
    )


def positive_part(x):
    """max(x, 0) of an array; NaN stays NaN."""
    return x.clip(0, math.inf) if x.dtype.kind == "f" else np.maximum(x, 0)


def _where_positive(x):
    return np.greater(x, 0)


# the rectifier and its relatives

relu = primitive(
    positive_part,
    lambda g, out: g * np.greater(out, 0),
    name="relu",
    inputs=("x",),
    promotion="common",  # whole numbers stay whole
    domain=NONZERO,
    branches=lambda out: np.greater(out, 0),
)


def _leaky_relu(x, negative_slope=0.01):
    scaled = x * negative_slope
    return np.maximum(x, scaled) if 0 <= negative_slope <= 1 else np.where(x > 0, x, scaled)


leaky_relu = _activation(
    _leaky_relu,
    # np.where would choose between the two factors in float64, and slowly
    lambda g, x, negative_slope: g * np.greater(x, 0) * (1 - negative_slope) + g * negative_slope,
    "leaky_relu",
    params={"negative_slope": [0.01, 0.2, 1.5]},
    domain=NONZERO,
    branches=_where_positive,
)


def _elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    positive, negative = positive_part(x), np.clip(x, -math.inf, 0)
    if input_scale != 1:
        negative *= input_scale
    negative = np.expm1(negative)
    if alpha * scale != 1:
        negative *= alpha * scale
    if scale != 1:
        positive *= scale
    return positive + negative


def _elu_slope(x, alpha, scale, input_scale):
    """``scale`` where x > 0, else ``steep exp(input_scale x)``, without an exponential that overflows."""
    steep = alpha * scale * input_scale
    slope = steep * np.exp(np.clip(x, -math.inf, 0) * input_scale)  # steep where x > 0
    return slope if steep == scale else slope + (scale - steep) * (np.greater(x, 0) * np.ones((), x.dtype))


# scale (max(x, 0) + alpha (exp(input_scale min(x, 0)) - 1)): elu, selu and celu
elu = _activation(
    _elu,
    lambda g, x, alpha, scale, input_scale: g * _elu_slope(x, alpha, scale, input_scale),
    "elu",
    params={"alpha": [1.0, 0.5, 2.0], "scale": [1.0, 1.5], "input_scale": [1.0, 0.5]},
    domain=NONZERO,
    branches=_where_positive,
)
threshold = _activation(
    lambda x, threshold=0.0, value=0.0: np.where(x <= threshold, x.dtype.type(value), x),  # NaN stays NaN
    lambda g, x, threshold: g * np.logical_not(np.less_equal(x, threshold)),
    "threshold",
    params={"threshold": [0.0], "value": [0.0, -1.5]},
    domain=NONZERO,
    branches=_where_positive,
)
hardtanh = _activation(
    lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
    lambda g, x, min_val, max_val: g * np.logical_and(np.greater(x, min_val), np.less(x, max_val)),
    "hardtanh",
    params={"min_val": [-1.0, -2.0], "max_val": [1.0, 2.0]},
    domain=REAL.away_from(-2.0, -1.0, 1.0, 2.0),
    branches=lambda x, min_val, max_val: np.greater(x, min_val) + 0 + np.less(x, max_val),
)

_BEYOND_THREE = Domain(-5.0, 5.0, avoid=(-3.0, 3.0))


def _within_three(x):
    return np.logical_and(np.greater(x, -3), np.less(x, 3))


hardsigmoid = _activation(
    lambda x: np.clip(x + 3, 0, 6) / 6,
    lambda g, x: g * _within_three(x) / 6,
    "hardsigmoid",
    domain=_BEYOND_THREE,
    branches=lambda x: np.greater(x, -3) + 0 + np.greater(x, 3),
)
hardswish = _activation(
    lambda x: x * np.clip(x + 3, 0, 6) / 6,
    lambda g, x: g * (_within_three(x) * (x / 3 + 0.5) + np.greater_equal(x, 3)),
    "hardswish",
    domain=_BEYOND_THREE,
    branches=lambda x: np.greater(x, -3) + 0 + np.greater(x, 3),
)

# the smooth ones


def _silu(x):
    return x * _sigmoid(x)


def _silu_slope(g, x):
    s = _sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


silu = _activation(_silu, _silu_slope, "silu", analytic=True)


def _log1p_exp(x):
    """log(1 + exp(x)) without overflow, and with full precision where exp(x) is small."""
    small = np.abs(x)
    if small.ndim:
        np.negative(small, out=small)
        np.exp(small, out=small)
        np.log1p(small, out=small)
        small += positive_part(x)
        return small
    return np.log1p(np.exp(-small)) + positive_part(x)


def _softplus(x, beta=1.0, threshold=20.0):
    scaled = x if beta == 1 else x * beta
    smooth = _log1p_exp(scaled)
    if beta != 1:
        smooth /= beta
    return smooth if _is_smooth(x.dtype, beta, threshold) else np.where(scaled > threshold, x, smooth)


def _is_smooth(dtype, beta, threshold):
    """Whether log(1 + exp(x)) is x anyway beyond the threshold, but for rounding: then nothing has to be chosen."""
    return math.isinf(threshold) or (threshold >= 17 and beta == 1 and dtype != np.float64)


def _softplus_slope(x, beta, threshold):
    smooth = _sigmoid(x if beta == 1 else x * beta)
    if _is_smooth(x.dtype, beta, threshold):
        return smooth
    return np.where(np.greater(x * beta, threshold), 1.0, smooth)


softplus = _activation(
    _softplus,
    lambda g, x, beta, threshold: g * _softplus_slope(x, beta, threshold),
    "softplus",
    params={"beta": [1.0, 2.0, 0.5], "threshold": [20.0]},
)
_smooth_relu = nested(softplus)
logsigmoid = stands_for(
    "log_expit", _activation(lambda x: -_log1p_exp(-x), lambda g, x: g * _sigmoid(-x), "logsigmoid")
)


def _mish_slope(g, x):
    t = np.tanh(_smooth_relu(x))
    return g * (t + x * _sigmoid(x) * (1 - t * t))


mish = _activation(lambda x: x * np.tanh(_log1p_exp(x)), _mish_slope, "mish")

softsign = _activation(
    lambda x: x / (1 + np.abs(x)), lambda g, x: g / np.square(1 + np.abs(x)), "softsign", domain=NONZERO
)
tanhshrink = _activation(lambda x: x - np.tanh(x), lambda g, x: g * np.square(np.tanh(x)), "tanhshrink", analytic=True)

_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(_GELU_SCALE * (x + _GELU_CUBIC * (x * x * x))))


def _gelu_tanh_slope(g, x):
    t = np.tanh(_GELU_SCALE * (x + _GELU_CUBIC * (x * x * x)))
    return g * (0.5 * (1 + t) + (0.5 * _GELU_SCALE) * x * (1 - t * t) * (1 + (3 * _GELU_CUBIC) * (x * x)))


gelu_tanh = _activation(_gelu_tanh, _gelu_tanh_slope, "gelu_tanh", analytic=True)

# the softmax family


def _draw_softmax(draw: Draw) -> Call:
    shape = draw.shape()
    return Call((draw.array(shape),), {"axis": draw.integer(-max(len(shape), 1), max(len(shape) - 1, 0))})


def _below_top(x, axis):
    """x less the maximum along the axis, so that no exponential overflows."""
    # The ufuncs' own reductions skip the Python of np.max and np.sum.
    return np.subtract(x, np.maximum.reduce(x, axis=axis, keepdims=True, initial=-math.inf))


def _softmax(x, axis=-1):
    out = np.exp(_below_top(x, axis))
    out /= np.add.reduce(out, axis=axis, keepdims=True)
    return out


def _log_softmax(x, axis=-1):
    out = _below_top(x, axis)
    out -= np.log(np.add.reduce(np.exp(out), axis=axis, keepdims=True))
    return out


softmax = primitive(
    _softmax,
    lambda g, out, axis: out * (g - np.sum(g * out, axis=axis, keepdims=True)),
    name="softmax",
    inputs=("x",),
    params={"axis": -1},
    promotion="float",
    domain=_draw_softmax,
)
log_softmax = primitive(
    _log_softmax,
    lambda g, out, axis: g - np.exp(out) * np.sum(g, axis=axis, keepdims=True),
    name="log_softmax",
    inputs=("x",),
    params={"axis": -1},
    promotion="float",
    domain=_draw_softmax,
)
