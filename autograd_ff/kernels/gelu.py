"""``x Φ(x)``, the exact GELU, in cache-sized chunks; in float32 with a Φ of its own.

SciPy computes Φ element by element, in 13 ns each. In float32 the chunks take 3: with z the logit of Φ, an odd and smooth
function of x, Φ is ``1 / (1 + exp(-z))``, and ``z / x`` a rational function of x². Unlike ``(1 + erf(x / √2)) / 2``, the
usual form, this stays precise where Φ is small, for no number near 1 is taken from 1.

The largest error of Φ is 1.2e-7 (the distance between float32 numbers at 1), and, relative to Φ, 3e-7 from x = -1 upward
and 6e-5 down to x = -7, beyond which x Φ(x) is under 1e-11. float64 is SciPy's.
"""

from __future__ import annotations

import math

import numpy as np

from ..engine import REAL, Call, Draw, kernel
from ..rules.nested import nested
from ..rules.special import SQRT_TWO_PI, ndtr

_normal_cdf = nested(ndtr)

# Elements of one chunk: x, the result and two arrays between stay in the second level cache.
CHUNK = 1 << 15
# From this size on the chunks' two dozen calls cost less than SciPy's time for the elements.
FEWEST = 1 << 11
# Beyond it 1 - Φ is nothing in float32, and exp(-z) and x⁸ still are numbers.
_LIMIT = 12.0

# z / x = P(x²) / Q(x²) with Q's first coefficient 1, fitted to |x| ≤ 7 for the least largest error of Φ and, where that
# allows, of log Φ. Highest power first.
_NUMERATOR = (0.01637457895869093, 6.485857246379491, 219.91950565262272, 2729.3417765524523, 19891.282647112508)
_DENOMINATOR = (86.34736363081281, 1142.712661220962, 12465.011080828017)
_F32 = np.dtype(np.float32)
_COEFFICIENTS = [np.array([value], _F32) for value in (*_NUMERATOR, *_DENOMINATOR)]  # faster than Python's floats


def definition(x):
    return x * _normal_cdf(x)


def _odds(x, square, ratio, scratch):
    """``exp(-z)`` in ``ratio``, and x² in ``square``, for an ``x`` within the limits."""
    a4, a3, a2, a1, a0, b2, b1, b0 = _COEFFICIENTS
    np.multiply(x, x, out=square)
    np.multiply(square, a4, out=ratio)
    for coefficient in (a3, a2, a1):
        np.add(ratio, coefficient, out=ratio)
        np.multiply(ratio, square, out=ratio)
    np.add(ratio, a0, out=ratio)
    np.add(square, b2, out=scratch)
    for coefficient in (b1, b0):
        np.multiply(scratch, square, out=scratch)
        np.add(scratch, coefficient, out=scratch)
    np.divide(ratio, scratch, out=ratio)
    np.multiply(ratio, x, out=ratio)
    np.negative(ratio, out=ratio)
    np.exp(ratio, out=ratio)


def _by_chunks(x):
    return x.dtype == _F32 and x.size >= FEWEST


def forward(x):
    out = np.empty(x.shape, x.dtype)
    fill_forward(out, x)
    return out


def fill_forward(result, x):
    """`forward` into the contiguous array ``result``."""
    if not _by_chunks(x):
        # At -∞ the limit, which is 0 and not the NaN of -∞ · 0
        np.multiply(np.maximum(x, -40.0), _normal_cdf(x), out=result)
        return
    flat, out = x.reshape(-1), result.reshape(-1)
    square, ratio, scratch = (np.empty(min(flat.size, CHUNK), _F32) for _ in range(3))
    for start in range(0, flat.size, CHUNK):
        part, result = flat[start : start + CHUNK], out[start : start + CHUNK]
        size = part.size
        part.clip(-_LIMIT, _LIMIT, out=result)
        _odds(result, square[:size], ratio[:size], scratch[:size])
        np.add(ratio[:size], 1, out=ratio[:size])
        part.clip(-_LIMIT, math.inf, out=result)
        np.divide(result, ratio[:size], out=result)


def backward(g, x):
    """g (Φ(x) + x φ(x)), φ being the density."""
    out = np.empty(x.shape, x.dtype)
    fill_backward(out, g, x)
    return (out,)


def fill_backward(gradient, g, x, needs=None):
    """`backward` into the contiguous array ``gradient``."""
    if not _by_chunks(x):
        near = x.clip(-40, 40)
        np.multiply(g, _normal_cdf(x) + near * (np.exp(-0.5 * near * near) / SQRT_TWO_PI), out=gradient)
        return
    flat, upstream, out = x.reshape(-1), np.reshape(g, -1), gradient.reshape(-1)
    square, ratio, scratch = (np.empty(min(flat.size, CHUNK), _F32) for _ in range(3))
    for start in range(0, flat.size, CHUNK):
        part, slope = flat[start : start + CHUNK], out[start : start + CHUNK]
        size = part.size
        s, cdf, density = square[:size], ratio[:size], scratch[:size]
        part.clip(-_LIMIT, _LIMIT, out=slope)
        _odds(slope, s, cdf, density)
        np.add(cdf, 1, out=cdf)
        np.reciprocal(cdf, out=cdf)
        np.multiply(s, -0.5, out=s)
        np.exp(s, out=density)
        np.multiply(density, 1 / SQRT_TWO_PI, out=density)
        np.multiply(slope, density, out=slope)
        np.add(slope, cdf, out=slope)
        np.multiply(slope, upstream[start : start + CHUNK], out=slope)


def draw(draw: Draw) -> Call:
    return Call((draw.array(draw.shape(), REAL),))


gelu = kernel(
    definition,
    name="gelu",
    forward=forward,
    backward=backward,
    inputs=("x",),
    promotion="float",
    promoted=(0,),
    domain=draw,
)
