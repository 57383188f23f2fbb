"""Functions of one number that LLVM can turn into vector instructions: no branch on a value, no call into libm.

They are plain Python that numba compiles: `source` hands out their text, which goes into the kernels that use them.
float32 has its own forms, since libm's are called for one number at a time; each is within 3 units in the last place of
the true value, keeps NaN, and reaches the right infinities, zeros and subnormals. float64 calls libm.

The exponential is reduced by x = n log 2 + r to a polynomial in r and a power of two, after Cephes (Moshier 1984-1992);
so is the logarithm. tanh is the rational function of Eigen.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import numpy as np

__all__ = ["source"]

F = np.float32
# Adding and subtracting it rounds a float32 of moderate size to the nearest whole number.
MAGIC = F(12582912.0)
MAGIC_BITS = np.int32(0x4B400000)
LOG2E = F(1.44269504088896341)
LN2_HIGH = F(0.693359375)
LN2_LOW = F(-2.12194440e-4)
BIAS = np.int32(127)
SHIFT = np.int32(23)
HALF_SHIFT = np.int32(1)
MANTISSA = np.int32(0x007FFFFF)
ONE_BITS = np.int32(0x3F800000)
ROOT_HALF_BITS = np.int32(0x3F3504F3)
# What is smaller than the key of every number of a row, shifts and masks for the keys.
LOWEST_32, SIGN_SHIFT_32, BELOW_SIGN_32 = np.int32(-(2**31)), np.int32(31), np.int32(2**31 - 1)
LOWEST_64, SIGN_SHIFT_64, BELOW_SIGN_64 = np.int64(-(2**63)), np.int64(63), np.int64(2**63 - 1)
ZERO, HALF, ONE, TWO = F(0.0), F(0.5), F(1.0), F(2.0)
INFINITE, NOT_A_NUMBER = F(np.inf), F(np.nan)
TINY, TWO_23, TWENTY_THREE = F(1.17549435e-38), F(8388608.0), F(23.0)
EXP_HIGH, EXP_LOW = F(89.0), F(-104.0)
EXPM1_LOW = F(-80.0)
E0, E1, E2 = F(1.9875691500e-4), F(1.3981999507e-3), F(8.3334519073e-3)
E3, E4, E5 = F(4.1665795894e-2), F(1.6666665459e-1), F(5.0000001201e-1)
L0, L1, L2 = F(7.0376836292e-2), F(-1.1514610310e-1), F(1.1676998740e-1)
L3, L4, L5 = F(-1.2420140846e-1), F(1.4249322787e-1), F(-1.6668057665e-1)
L6, L7, L8 = F(2.0000714765e-1), F(-2.4999993993e-1), F(3.3333331174e-1)
TANH_HIGH = F(7.90531110763549805)
TANH_LINEAR = F(4e-4)
TANH_ONE = F(9.0109)  # beyond it, 1 is the nearest float32
T1, T3, T5 = F(4.89352455891786e-03), F(6.37261928875436e-04), F(1.48572235717979e-05)
T7, T9, T11 = F(5.12229709037114e-08), F(-8.60467152213735e-11), F(2.00018790482477e-13)
T13 = F(-2.76076847742355e-16)
U0, U2, U4, U6 = F(4.89352518554385e-03), F(2.26843463243900e-03), F(1.18534705686654e-04), F(1.19825839466702e-06)
GELU_HIGH = F(12.0)
# As in kernels/gelu.py: log(Φ / (1 - Φ)) = x P(x²) / Q(x²), highest power first.
P4, P3, P2 = F(0.01637457895869093), F(6.485857246379491), F(219.91950565262272)
P1, P0 = F(2729.3417765524523), F(19891.282647112508)
Q2, Q1, Q0 = F(86.34736363081281), F(1142.712661220962), F(12465.011080828017)
MINUS_HALF, DENSITY_SCALE = F(-0.5), F(0.3989422804014327)


def exp_f32(x: Any) -> Any:
    """Through two factors of 2 ** (n / 2), so that subnormal results are reached and infinity only where it should be."""
    t = EXP_HIGH if x > EXP_HIGH else x
    t = EXP_LOW if t < EXP_LOW else t
    z = t * LOG2E + MAGIC
    n = z - MAGIC
    whole = np.float32(z).view(np.int32) - MAGIC_BITS
    r = (t - n * LN2_HIGH) - n * LN2_LOW
    p = ((((E0 * r + E1) * r + E2) * r + E3) * r + E4) * r + E5
    p = (p * (r * r) + r) + ONE
    half = np.int32(whole >> HALF_SHIFT)
    first = np.int32((half + BIAS) << SHIFT).view(np.float32)
    second = np.int32(((whole - half) + BIAS) << SHIFT).view(np.float32)
    return (p * first) * second


def expm1_f32(x: Any) -> Any:
    """2 (2ⁿ⁻¹ (eʳ - 1) + (2ⁿ⁻¹ - ½)): precise at 0, where n = 0 leaves eʳ - 1."""
    t = EXP_HIGH if x > EXP_HIGH else x
    t = EXPM1_LOW if t < EXPM1_LOW else t
    z = t * LOG2E + MAGIC
    n = z - MAGIC
    whole = np.float32(z).view(np.int32) - MAGIC_BITS
    r = (t - n * LN2_HIGH) - n * LN2_LOW
    p = ((((E0 * r + E1) * r + E2) * r + E3) * r + E4) * r + E5
    p = p * (r * r) + r
    scale = np.int32((whole + (BIAS - HALF_SHIFT)) << SHIFT).view(np.float32)
    result = (scale * p + (scale - HALF)) * TWO
    return x if x == ZERO else result


def log_f32(x: Any) -> Any:
    subnormal = x < TINY
    y = x * TWO_23 if subnormal else x
    bits = np.int32(np.float32(y).view(np.int32) - ROOT_HALF_BITS)
    exponent = np.float32(np.int32(bits >> SHIFT)) - (TWENTY_THREE if subnormal else ZERO)
    f = np.int32((bits & MANTISSA) + ROOT_HALF_BITS).view(np.float32) - ONE
    p = ((((((((L0 * f + L1) * f + L2) * f + L3) * f + L4) * f + L5) * f + L6) * f + L7) * f + L8) * f
    square = f * f
    low = p * square + exponent * LN2_LOW
    result = ((low - HALF * square) + f) + exponent * LN2_HIGH
    result = result if x > ZERO else (-INFINITE if x == ZERO else NOT_A_NUMBER)
    return INFINITE if x == INFINITE else result


def log1p_f32(x: Any) -> Any:
    """log(u) + (x - (u - 1)) / u with u = 1 + x rounded: the second term gives back what the rounding took."""
    u = ONE + x
    correction = (x - (u - ONE)) / u
    result = log_f32(u) + correction
    return result if (u > ZERO) & (u < INFINITE) & (x != ZERO) else (x if x == ZERO else log_f32(u))


def tanh_f32(x: Any) -> Any:
    t = TANH_HIGH if x > TANH_HIGH else x
    t = -TANH_HIGH if t < -TANH_HIGH else t
    s = t * t
    p = ((((((T13 * s + T11) * s + T9) * s + T7) * s + T5) * s + T3) * s + T1) * t
    q = ((U6 * s + U4) * s + U2) * s + U0
    inner = x if abs(x) < TANH_LINEAR else p / q
    inner = ONE if x > TANH_ONE else inner  # the slopes of what is made of it end at 0
    return -ONE if x < -TANH_ONE else inner


def sigmoid_f32(x: Any) -> Any:
    return ONE / (ONE + exp_f32(-x))


def normal_odds_f32(x: Any) -> Any:
    """(1 - Φ) / Φ for an x within ±12."""
    s = x * x
    p = (((P4 * s + P3) * s + P2) * s + P1) * s + P0
    q = ((s + Q2) * s + Q1) * s + Q0
    return exp_f32(-(x * (p / q)))


def gelu_f32(x: Any) -> Any:
    low = -GELU_HIGH if x < -GELU_HIGH else x
    near = GELU_HIGH if low > GELU_HIGH else low
    return low / (ONE + normal_odds_f32(near))


def gelu_slope_f32(x: Any) -> Any:
    near = -GELU_HIGH if x < -GELU_HIGH else x
    near = GELU_HIGH if near > GELU_HIGH else near
    cdf = ONE / (ONE + normal_odds_f32(near))
    return near * (exp_f32((near * near) * MINUS_HALF) * DENSITY_SCALE) + cdf


def sum_line(p: Any, start: Any, step: Any, count: Any, zero: Any) -> Any:
    """Σ p[start + k step]. The order of the additions is left open, so that several go on at once."""
    total = zero
    for k in range(count):
        total += p[start + k * step]
    return total


def wide_sum_line(p: Any, start: Any, step: Any, count: Any) -> Any:
    """The same in float64, whatever the numbers are: for sums whose precision is all that they are about."""
    total = 0.0
    for k in range(count):
        total += np.float64(p[start + k * step])
    return total


def dot_line(p: Any, start: Any, step: Any, q: Any, begin: Any, stride: Any, count: Any, zero: Any) -> Any:
    total = zero
    for k in range(count):
        total += p[start + k * step] * q[begin + k * stride]
    return total


def squares_line(p: Any, start: Any, step: Any, count: Any, middle: Any, zero: Any) -> Any:
    """Σ (p[start + k step] - middle)²."""
    total = zero
    for k in range(count):
        difference = p[start + k * step] - middle
        total += difference * difference
    return total


def max_line_f32(p: Any, start: Any, step: Any, count: Any) -> Any:
    """The largest number of a line. Only NaN of positive sign counts as larger than infinity, others are left out.

    The bits of a float, those but the sign turned over where it is negative, are whole numbers in the same order, and
    the largest of whole numbers is a reduction that LLVM does in any order without leave.
    """
    top = LOWEST_32
    for k in range(count):
        bits = np.float32(p[start + k * step]).view(np.int32)
        key = np.int32(bits ^ np.int32(np.int32(bits >> SIGN_SHIFT_32) & BELOW_SIGN_32))
        top = key if key > top else top
    return np.int32(top ^ np.int32(np.int32(top >> SIGN_SHIFT_32) & BELOW_SIGN_32)).view(np.float32)


def max_line_f64(p: Any, start: Any, step: Any, count: Any) -> Any:
    top = LOWEST_64
    for k in range(count):
        bits = np.float64(p[start + k * step]).view(np.int64)
        key = bits ^ ((bits >> SIGN_SHIFT_64) & BELOW_SIGN_64)
        top = key if key > top else top
    return np.int64(top ^ ((top >> SIGN_SHIFT_64) & BELOW_SIGN_64)).view(np.float64)


def norm_sums(g: Any, begin: Any, p: Any, start: Any, count: Any, middle: Any, zero: Any) -> Any:
    """Σ g and Σ g (x - middle), of lines that lie in one piece."""
    total, along = zero, zero
    for k in range(count):
        total += g[begin + k]
        along += g[begin + k] * (p[start + k] - middle)
    return total, along


def weighted_norm_sums(
    g: Any, begin: Any, p: Any, start: Any, w: Any, first: Any, count: Any, middle: Any, zero: Any
) -> Any:
    """Σ g w and Σ g w (x - middle)."""
    total, along = zero, zero
    for k in range(count):
        h = g[begin + k] * w[first + k]
        total += h
        along += h * (p[start + k] - middle)
    return total, along


# What may be computed in any order.
_SUMS = ("sum_line", "wide_sum_line", "dot_line", "squares_line", "norm_sums", "weighted_norm_sums")
_NAMES = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def source(names: set[str]) -> str:
    """The text of these functions, with the functions and constants that they use, in an order that runs."""
    module = vars(sys.modules[__name__])
    functions: list[str] = []
    constants: list[str] = []

    def need(name: str) -> None:
        one = module.get(name)
        if name == "F" or name.startswith("_"):
            return
        if isinstance(one, np.generic):
            line = f"{name} = np.{one.dtype.name}({_literal(one)})"
            if line not in constants:
                constants.append(line)
        elif inspect.isfunction(one) and one.__module__ == __name__ and name != "source":
            text = _code(one)
            if text not in functions:
                for used in sorted(set(_NAMES.findall(text)) - {name}):
                    need(used)
                functions.append(text)

    for name in sorted(names):
        need(name)
    return "\n".join([*constants, *("\n\n" + text for text in functions)])


def _literal(number: np.generic) -> str:
    return repr(number.item()).replace("inf", "np.inf").replace("nan", "np.nan")


def _code(function: Any) -> str:
    text = inspect.getsource(function).replace(": Any", "").replace(" -> Any", "")
    return f"@{'summing' if function.__name__ in _SUMS else 'helper'}\n{text.rstrip()}"
