"""Functions of each element by itself: arithmetic, powers, exponentials, trigonometry, rounding, choice.

They broadcast, and compute in the dtype that PyTorch would: whole numbers become the default dtype where the function
is real-valued. Where a function is not defined the result is NaN or infinite, as IEEE arithmetic has it, and NumPy warns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..engine import TensorCore, apply, here, result_type, scope, wrap
from ..engine.core_ops import cast, write_index
from ..engine.tensor import note_read
from ..errors import DtypeError, ShapeError
from ..rules import elementwise, indexing, special

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "addcdiv", "addcmul", "arccos", "arccosh", "arcsin",
    "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "clamp", "clip",
    "cos", "cosh", "digamma", "div", "divide", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "fix", "floor",
    "floor_divide", "fmod", "frac", "hypot", "lerp", "lgamma", "log", "log10", "log1p", "log2", "logaddexp",
    "logit", "maximum", "minimum", "mul", "multiply", "nan_to_num", "neg", "negative", "pow", "reciprocal",
    "remainder", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "sub", "subtract", "tan", "tanh",
    "true_divide", "trunc", "where", "xlogy",
]  # fmt: skip

Operand: TypeAlias = "Tensor | np.ndarray | float | int | bool"

# ---------------------------------------------------------------- of two operands


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """``input + alpha * other``.

    >>> import autograd_ff as af
    >>> af.add(af.tensor([1.0, 2.0]), af.tensor([10.0]), alpha=2)
    tensor([21., 22.])
    """
    if alpha == 1:
        return apply(elementwise.add, (input, other))
    with scope("composite", "add", "add"):
        return apply(elementwise.add, (input, apply(elementwise.multiply, (other, alpha))))


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """``input - alpha * other``.

    >>> import autograd_ff as af
    >>> af.sub(af.tensor([1.0, 2.0]), af.tensor([10.0]), alpha=2)
    tensor([-19., -18.])
    """
    if alpha == 1:
        return apply(elementwise.subtract, (input, other))
    with scope("composite", "sub", "sub"):
        return apply(elementwise.subtract, (input, apply(elementwise.multiply, (other, alpha))))


def mul(input: Operand, other: Operand) -> Tensor:
    """``input * other``.

    >>> import autograd_ff as af
    >>> af.mul(af.tensor([1.0, 2.0]), af.tensor([[1.0], [10.0]]))
    tensor([[ 1.,  2.],
            [10., 20.]])
    """
    return apply(elementwise.multiply, (input, other))


def division(rounding_mode: str | None) -> Any:
    """The op that divides and rounds in this way."""
    modes = {None: elementwise.divide, "floor": elementwise.floor_divide, "trunc": elementwise.trunc_divide}
    if rounding_mode not in modes:
        raise ShapeError(f'rounding_mode is None, "floor" or "trunc", got {rounding_mode!r}{here()}')
    return modes[rounding_mode]


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``.

    Args:
        input, other: dividend and divisor.
        rounding_mode: None divides truly, and whole numbers become the default dtype; ``"floor"`` rounds down and
            ``"trunc"`` towards 0, keep whole numbers whole, and have the gradient 0.

    Raises:
        AutogradError: whole numbers divided by zero with rounding.

    >>> import autograd_ff as af
    >>> x, y = af.tensor([-7, 7]), af.tensor(2)
    >>> af.div(x, y).tolist(), af.div(x, y, rounding_mode="floor"), af.div(x, y, rounding_mode="trunc")
    ([-3.5, 3.5], tensor([-4,  3]), tensor([-3,  3]))
    """
    return apply(elementwise.divide if rounding_mode is None else division(rounding_mode), (input, other))


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """``input / other``, rounded down; its gradient is 0.

    >>> import autograd_ff as af
    >>> af.floor_divide(af.tensor([-7, 7]), 2)
    tensor([-4,  3])
    """
    return apply(elementwise.floor_divide, (input, other))


def remainder(input: Operand, other: Operand) -> Tensor:
    """``input - other * floor(input / other)``: the remainder with the divisor's sign, as Python's ``%``.

    >>> import autograd_ff as af
    >>> af.remainder(af.tensor([-3.0, 3.0]), 2), af.fmod(af.tensor([-3.0, 3.0]), 2)
    (tensor([1., 1.]), tensor([-1.,  1.]))
    """
    return apply(elementwise.remainder, (input, other))


def fmod(input: Operand, other: Operand) -> Tensor:
    """``input - other * trunc(input / other)``: the remainder with the dividend's sign, as in C.

    >>> import autograd_ff as af
    >>> af.fmod(af.tensor([-3.0, 3.0]), 2)
    tensor([-1.,  1.])
    """
    return apply(elementwise.fmod, (input, other))


def power_of(input: Any, exponent: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The op, inputs and parameters of ``input ** exponent``: a Python number needs no gradient, and is cheaper."""
    if not isinstance(exponent, (int, float)) or not isinstance(input, TensorCore):
        return elementwise.power, (input, exponent), {}
    kind = input.array.dtype.kind
    if isinstance(exponent, float) and kind not in "fc":  # the result is floating where the input is not
        return elementwise.power, (input, exponent), {}
    if exponent == 2 and kind != "b":
        return elementwise.square, (input,), {}
    return elementwise.power_scalar, (input,), {"exponent": exponent}


def pow(input: Operand, exponent: Operand) -> Tensor:
    """``input ** exponent``.

    Args:
        input: the base.
        exponent: a number, or a Tensor that broadcasts with ``input``. Whole numbers to a negative whole power raise.

    >>> import autograd_ff as af
    >>> af.pow(af.tensor([1.0, 2.0, 3.0]), 3)
    tensor([ 1.,  8., 27.])
    """
    return apply(*power_of(input, exponent))


def atan2(input: Operand, other: Operand) -> Tensor:
    """The angle of the point (``other``, ``input``), in (-π, π].

    >>> import autograd_ff as af
    >>> af.atan2(af.tensor([0.0, 1.0, -1.0]), af.tensor([1.0, 0.0, 0.0]))
    tensor([ 0.0000,  1.5708, -1.5708])
    """
    return apply(elementwise.arctan2, (input, other))


def hypot(input: Operand, other: Operand) -> Tensor:
    """``sqrt(input² + other²)``, without overflow in between.

    >>> import autograd_ff as af
    >>> af.hypot(af.tensor(3e30), af.tensor(4e30))
    tensor(5.e+30)
    """
    return apply(elementwise.hypot, (input, other))


def logaddexp(input: Operand, other: Operand) -> Tensor:
    """``log(exp(input) + exp(other))``, without overflow.

    >>> import autograd_ff as af
    >>> af.logaddexp(af.tensor(1000.0), af.tensor(1000.0))
    tensor(1000.6932)
    """
    return apply(elementwise.logaddexp, (input, other))


def xlogy(input: Operand, other: Operand) -> Tensor:
    """``input * log(other)``, and 0 where the input is 0.

    >>> import autograd_ff as af
    >>> af.xlogy(af.tensor([0.0, 2.0]), af.tensor([0.0, 3.0]))
    tensor([0.0000, 2.1972])
    """
    return apply(special.xlogy, (input, other))


def maximum(input: Operand, other: Operand) -> Tensor:
    """The larger of two elements, NaN where one is; where both are equal each gets half of the gradient.

    >>> import autograd_ff as af
    >>> x = af.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = af.maximum(x, af.tensor(2.0))
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([2.0, 2.0, 3.0], [0.0, 0.5, 1.0])
    """
    return apply(elementwise.maximum, (input, other))


def minimum(input: Operand, other: Operand) -> Tensor:
    """The smaller of two elements, NaN where one is; where both are equal each gets half of the gradient.

    >>> import autograd_ff as af
    >>> x = af.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = af.minimum(x, af.tensor(2.0))
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([1.0, 2.0, 2.0], [1.0, 0.5, 0.0])
    """
    return apply(elementwise.minimum, (input, other))


# ---------------------------------------------------------------- of one operand


def neg(input: Tensor) -> Tensor:
    """``-input``.

    >>> import autograd_ff as af
    >>> af.neg(af.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    return apply(elementwise.negative, (input,))


def abs(input: Tensor) -> Tensor:
    """The absolute value; its gradient at 0 is 0.

    >>> import autograd_ff as af
    >>> af.abs(af.tensor([-2.0, 0.0, 1.0]))
    tensor([2., 0., 1.])
    """
    return apply(elementwise.absolute, (input,))


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; its gradient is 0.

    >>> import autograd_ff as af
    >>> af.sign(af.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """
    return apply(elementwise.sign, (input,))


def reciprocal(input: Tensor) -> Tensor:
    """``1 / input``.

    >>> import autograd_ff as af
    >>> af.reciprocal(af.tensor([2.0, 4.0])).tolist()
    [0.5, 0.25]
    """
    return apply(elementwise.reciprocal, (input,))


def square(input: Tensor) -> Tensor:
    """``input * input``.

    >>> import autograd_ff as af
    >>> af.square(af.tensor([2.0, -3.0]))
    tensor([4., 9.])
    """
    return apply(elementwise.square, (input,))


def sqrt(input: Tensor) -> Tensor:
    """The square root; NaN for negative numbers, and an infinite gradient at 0.

    >>> import autograd_ff as af
    >>> af.sqrt(af.tensor([0.0, 4.0]))
    tensor([0., 2.])
    """
    return apply(elementwise.sqrt, (input,))


def rsqrt(input: Tensor) -> Tensor:
    """``1 / sqrt(input)``.

    >>> import autograd_ff as af
    >>> af.rsqrt(af.tensor([0.25, 4.0])).tolist()
    [2.0, 0.5]
    """
    return apply(elementwise.rsqrt, (input,))


def exp(input: Tensor) -> Tensor:
    """e to the power of the input.

    >>> import autograd_ff as af
    >>> af.exp(af.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return apply(elementwise.exp, (input,))


def exp2(input: Tensor) -> Tensor:
    """2 to the power of the input.

    >>> import autograd_ff as af
    >>> af.exp2(af.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """
    return apply(elementwise.exp2, (input,))


def expm1(input: Tensor) -> Tensor:
    """``exp(input) - 1``, exact for small numbers.

    >>> import autograd_ff as af
    >>> af.expm1(af.tensor(1e-10))
    tensor(1.e-10)
    """
    return apply(elementwise.expm1, (input,))


def log(input: Tensor) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below.

    >>> import autograd_ff as af
    >>> af.log(af.tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """
    return apply(elementwise.log, (input,))


def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2.

    >>> import autograd_ff as af
    >>> af.log2(af.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return apply(elementwise.log2, (input,))


def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10.

    >>> import autograd_ff as af
    >>> af.log10(af.tensor([1.0, 100.0]))
    tensor([0., 2.])
    """
    return apply(elementwise.log10, (input,))


def log1p(input: Tensor) -> Tensor:
    """``log(1 + input)``, exact for small numbers.

    >>> import autograd_ff as af
    >>> af.log1p(af.tensor(1e-10))
    tensor(1.e-10)
    """
    return apply(elementwise.log1p, (input,))


def sin(input: Tensor) -> Tensor:
    """The sine of radians.

    >>> import autograd_ff as af
    >>> af.sin(af.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return apply(elementwise.sin, (input,))


def cos(input: Tensor) -> Tensor:
    """The cosine of radians.

    >>> import autograd_ff as af
    >>> af.cos(af.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return apply(elementwise.cos, (input,))


def tan(input: Tensor) -> Tensor:
    """The tangent of radians.

    >>> import autograd_ff as af
    >>> af.tan(af.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """
    return apply(elementwise.tan, (input,))


def asin(input: Tensor) -> Tensor:
    """The inverse sine, in radians; NaN outside [-1, 1].

    >>> import autograd_ff as af
    >>> af.asin(af.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """
    return apply(elementwise.arcsin, (input,))


def acos(input: Tensor) -> Tensor:
    """The inverse cosine, in radians; NaN outside [-1, 1].

    >>> import autograd_ff as af
    >>> af.acos(af.tensor([1.0, 0.0]))
    tensor([0.0000, 1.5708])
    """
    return apply(elementwise.arccos, (input,))


def atan(input: Tensor) -> Tensor:
    """The inverse tangent, in radians.

    >>> import autograd_ff as af
    >>> af.atan(af.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """
    return apply(elementwise.arctan, (input,))


def sinh(input: Tensor) -> Tensor:
    """The hyperbolic sine.

    >>> import autograd_ff as af
    >>> af.sinh(af.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """
    return apply(elementwise.sinh, (input,))


def cosh(input: Tensor) -> Tensor:
    """The hyperbolic cosine.

    >>> import autograd_ff as af
    >>> af.cosh(af.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """
    return apply(elementwise.cosh, (input,))


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent.

    >>> import autograd_ff as af
    >>> af.tanh(af.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return apply(elementwise.tanh, (input,))


def asinh(input: Tensor) -> Tensor:
    """The inverse hyperbolic sine.

    >>> import autograd_ff as af
    >>> af.asinh(af.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """
    return apply(elementwise.arcsinh, (input,))


def acosh(input: Tensor) -> Tensor:
    """The inverse hyperbolic cosine; NaN below 1.

    >>> import autograd_ff as af
    >>> af.acosh(af.tensor([1.0, 2.0]))
    tensor([0.000, 1.317])
    """
    return apply(elementwise.arccosh, (input,))


def atanh(input: Tensor) -> Tensor:
    """The inverse hyperbolic tangent; NaN outside [-1, 1].

    >>> import autograd_ff as af
    >>> af.atanh(af.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """
    return apply(elementwise.arctanh, (input,))


def erf(input: Tensor) -> Tensor:
    """The error function, ``2/√π ∫₀ˣ exp(-t²) dt``, by SciPy.

    >>> import autograd_ff as af
    >>> af.erf(af.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return apply(special.erf, (input,))


def erfc(input: Tensor) -> Tensor:
    """``1 - erf(input)``, exact where that is small.

    >>> import autograd_ff as af
    >>> af.erfc(af.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    return apply(special.erfc, (input,))


def erfinv(input: Tensor) -> Tensor:
    """The inverse of `erf`.

    >>> import autograd_ff as af
    >>> af.erfinv(af.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.4769,    inf])
    """
    return apply(special.erfinv, (input,))


def lgamma(input: Tensor) -> Tensor:
    """The logarithm of the absolute value of the gamma function.

    >>> import autograd_ff as af
    >>> f"{af.lgamma(af.tensor(5.0)).exp().item():.3f}"
    '24.000'
    """
    return apply(special.gammaln, (input,))


def digamma(input: Tensor) -> Tensor:
    """The derivative of `lgamma`.

    >>> import autograd_ff as af
    >>> af.digamma(af.tensor([1.0, 2.0]))
    tensor([-0.5772,  0.4228])
    """
    return apply(special.digamma, (input,))


def floor(input: Tensor) -> Tensor:
    """The largest whole number that is not above; its gradient is 0. Integers stay as they are.

    >>> import autograd_ff as af
    >>> af.floor(af.tensor([-1.5, 1.5]))
    tensor([-2.,  1.])
    """
    return apply(elementwise.floor, (input,))


def ceil(input: Tensor) -> Tensor:
    """The smallest whole number that is not below; its gradient is 0.

    >>> import autograd_ff as af
    >>> af.ceil(af.tensor([-1.5, 1.5]))
    tensor([-1.,  2.])
    """
    return apply(elementwise.ceil, (input,))


def trunc(input: Tensor) -> Tensor:
    """The whole number next towards 0; its gradient is 0.

    >>> import autograd_ff as af
    >>> af.trunc(af.tensor([-1.5, 1.5]))
    tensor([-1.,  1.])
    """
    return apply(elementwise.trunc, (input,))


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with so many decimals, the even one of two that are equally near; its gradient is 0.

    >>> import autograd_ff as af
    >>> af.round(af.tensor([0.5, 1.5, 2.6])), af.round(af.tensor([127.0]), decimals=-1)
    (tensor([0., 2., 3.]), tensor([130.]))
    """
    return apply(elementwise.round, (input,), {"decimals": decimals})


def frac(input: Tensor) -> Tensor:
    """``input - trunc(input)``.

    >>> import autograd_ff as af
    >>> af.frac(af.tensor([-1.5, 1.25])).tolist()
    [-0.5, 0.25]
    """
    with scope("composite", "frac", "frac"):
        return apply(elementwise.subtract, (input, apply(elementwise.trunc, (input,))))


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(input / (1 - input))``, the inverse of `sigmoid`; with ``eps`` the input is first clamped to [eps, 1 - eps].

    >>> import autograd_ff as af
    >>> af.logit(af.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    >>> af.logit(af.tensor([0.0, 1.0]), eps=0.1)
    tensor([-2.1972,  2.1972])
    """
    if eps is None:
        return apply(special.logit, (input,))
    with scope("composite", "logit", "logit"):
        return apply(special.logit, (apply(elementwise.clip, (input, eps, 1 - eps)),))


def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN and infinities replaced, by default by 0 and the largest and smallest numbers; the gradient there is 0.

    >>> import autograd_ff as af
    >>> af.nan_to_num(af.tensor([1.0, af.nan, af.inf]), posinf=9.0)
    tensor([1., 0., 9.])
    """
    return apply(elementwise.nan_to_num, (input,), {"nan": nan, "posinf": posinf, "neginf": neginf})


# ---------------------------------------------------------------- bounds, mixtures, choice


def bounds(min: Any, max: Any) -> tuple[Any, Any]:
    """The two bounds of a clamp, one of which may be missing."""
    if min is None and max is None:
        raise ShapeError(f"clamp needs min, max or both{here()}")
    return min, max


def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """``minimum(maximum(input, min), max)``.

    The gradient goes to the input where it lies within the bounds, at the bounds included; elsewhere to the bound, where
    that is a Tensor. Where ``min > max`` the result is ``max``.

    Args:
        input: any shape.
        min, max: a number or a Tensor that broadcasts with the input; one of them may be None.

    >>> import autograd_ff as af
    >>> af.clamp(af.tensor([-2.0, 0.5, 2.0]), -1, 1).tolist()
    [-1.0, 0.5, 1.0]
    """
    return apply(elementwise.clip, (input, *bounds(min, max)))


def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """``input + weight * (end - input)``: the input where the weight is 0, the end where it is 1.

    >>> import autograd_ff as af
    >>> af.lerp(af.tensor([0.0, 10.0]), af.tensor([1.0, 20.0]), 0.5).tolist()
    [0.5, 15.0]
    """
    with scope("composite", "lerp", "lerp"):
        difference = apply(elementwise.subtract, (end, input))
        return apply(elementwise.add, (input, apply(elementwise.multiply, (weight, difference))))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``.

    >>> import autograd_ff as af
    >>> af.addcmul(af.tensor([1.0, 2.0]), af.tensor([3.0, 4.0]), af.tensor([5.0, 6.0]), value=2)
    tensor([31., 50.])
    """
    with scope("composite", "addcmul", "addcmul"):
        product = apply(elementwise.multiply, (tensor1, tensor2))
        return apply(elementwise.add, (input, product if value == 1 else apply(elementwise.multiply, (product, value))))


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``.

    >>> import autograd_ff as af
    >>> af.addcdiv(af.tensor([1.0, 2.0]), af.tensor([6.0, 8.0]), af.tensor([2.0, 4.0]), value=2)
    tensor([7., 6.])
    """
    with scope("composite", "addcdiv", "addcdiv"):
        ratio = apply(elementwise.divide, (tensor1, tensor2))
        return apply(elementwise.add, (input, ratio if value == 1 else apply(elementwise.multiply, (ratio, value))))


def where(condition: Tensor | np.ndarray | bool, input: Any = None, other: Any = None, *operands: Any) -> Any:
    """The elements of ``input`` where the condition holds, and of ``other`` elsewhere.

    Three forms:

    ``where(condition, input, other)``
        chooses between two values, which broadcast with the condition. Both were computed everywhere, so a NaN in the
        gradient of the one that was not chosen comes through: 0 · NaN is NaN.
    ``where(condition, f, g, x, …)``
        chooses between two *functions* and computes each only where it is chosen: ``f`` is called with the elements of
        ``x`` where the condition holds, gathered into one dimension, ``g`` with the others, and their results are put
        where the elements came from. What would go wrong on the other elements never happens, so no NaN arises, in the
        value or in the gradient. ``f`` and ``g`` must work element by element (they see a 1-d tensor, which may be
        empty); a number may stand in place of one of them.
    ``where(condition)``
        the positions where the condition holds, as a tuple of int64 tensors, one for each dimension.

    Raises:
        DtypeError: the condition is not boolean.

    >>> import autograd_ff as af
    >>> x = af.tensor([0.0, 4.0], requires_grad=True)
    >>> y = af.where(x > 0, af.sqrt, 0.0, x)
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()  # with where(x > 0, af.sqrt(x), 0.0) the gradient at 0 would be NaN
    ([0.0, 2.0], [0.0, 0.25])
    """
    array = condition.array if isinstance(condition, TensorCore) else np.asarray(condition)
    if array.dtype.kind != "b":
        raise DtypeError(
            f"the condition of where must be boolean, this one is {array.dtype}; write condition != 0.{here()}"
        )
    if operands:
        with scope("composite", "where", "where"):
            return _where_functions(condition, array, input, other, operands)
    if callable(input) or callable(other):
        raise ShapeError(
            f"where with functions needs what to call them with: where(condition, f, g, x).{here()}\n"
            "  Or pass their results: where(condition, f(x), g(x))."
        )
    if input is None and other is None:
        if isinstance(condition, TensorCore):
            note_read(condition, "index")
        return tuple(wrap(index) for index in np.nonzero(array))
    if input is None or other is None:
        raise ShapeError(f"where takes a condition alone, or two values to choose from{here()}")
    if not isinstance(input, (TensorCore, np.ndarray)) and not isinstance(other, (TensorCore, np.ndarray)):
        input = np.asarray(input, result_type([input, other]))  # NumPy would make float64 of two Python numbers
    return apply(elementwise.where, (condition, input, other))


def _where_functions(condition: Any, array: np.ndarray, f: Any, g: Any, operands: tuple[Any, ...]) -> Any:
    if isinstance(condition, TensorCore):
        note_read(condition, "index")  # the sizes of what f and g see depend on its values
    tensors = [one if isinstance(one, TensorCore) else wrap(np.asarray(one)) for one in operands]
    shapes = [array.shape, *(one.array.shape for one in tensors)]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(
            f"the condition {shapes[0]} and the operands {', '.join(map(str, shapes[1:]))} of where do not broadcast.{here()}"
        ) from None
    mask = np.broadcast_to(array, shape)
    full = [one if one.array.shape == shape else np.broadcast_to(one, shape) for one in tensors]
    parts = []
    for chosen, function in ((mask, f), (~mask, g)):
        size = int(np.count_nonzero(chosen))
        if callable(function):
            value = function(*(apply(indexing.take, (one,), {"index": chosen}) for one in full))
        else:
            value = function
        found = np.shape(value.array) if isinstance(value, TensorCore) else np.shape(value)
        if found not in ((), (size,)):
            raise ShapeError(
                f"a function in where(condition, f, g, x) got {size} elements and returned shape {found}; it must work "
                f"element by element.{here()}"
            )
        parts.append((chosen, value))
    dtype = result_type([value.array if isinstance(value, TensorCore) else value for _, value in parts])
    result = wrap(np.zeros(shape, dtype))
    for chosen, value in parts:
        if isinstance(value, TensorCore) and value.array.dtype != dtype:
            value = apply(cast, (value,), {"dtype": dtype})
        result = apply(write_index, (result, value), {"index": chosen})
    return result


# ---------------------------------------------------------------- PyTorch's other names

subtract, multiply, divide, true_divide = sub, mul, div, div
negative, absolute, clip, fix = neg, abs, clamp, trunc
arcsin, arccos, arctan, arctan2, arcsinh, arccosh, arctanh = asin, acos, atan, atan2, asinh, acosh, atanh


class Pointwise(TensorCore):
    """The functions of this file as methods of a Tensor."""

    __slots__ = ()

    add = add
    sub = sub
    mul = mul
    div = div
    floor_divide = floor_divide
    remainder = remainder
    fmod = fmod
    pow = pow
    atan2 = atan2
    hypot = hypot
    logaddexp = logaddexp
    xlogy = xlogy
    maximum = maximum
    minimum = minimum
    neg = neg
    abs = abs
    sign = sign
    reciprocal = reciprocal
    square = square
    sqrt = sqrt
    rsqrt = rsqrt
    exp = exp
    exp2 = exp2
    expm1 = expm1
    log = log
    log2 = log2
    log10 = log10
    log1p = log1p
    sin = sin
    cos = cos
    tan = tan
    asin = asin
    acos = acos
    atan = atan
    sinh = sinh
    cosh = cosh
    tanh = tanh
    asinh = asinh
    acosh = acosh
    atanh = atanh
    erf = erf
    erfc = erfc
    erfinv = erfinv
    lgamma = lgamma
    digamma = digamma
    floor = floor
    ceil = ceil
    trunc = trunc
    round = round
    frac = frac
    logit = logit
    nan_to_num = nan_to_num
    clamp = clamp
    lerp = lerp
    addcmul = addcmul
    addcdiv = addcdiv
    subtract = subtract
    multiply = multiply
    divide = divide
    true_divide = true_divide
    negative = negative
    absolute = absolute
    clip = clip
    fix = fix
    arcsin = arcsin
    arccos = arccos
    arctan = arctan
    arctan2 = arctan2
    arcsinh = arcsinh
    arccosh = arccosh
    arctanh = arctanh

    def where(self, condition: Tensor | np.ndarray | bool, other: Any) -> Tensor:
        """This tensor's elements where the condition holds, and those of ``other`` elsewhere."""
        return where(condition, self, other)
