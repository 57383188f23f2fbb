"""The methods of a Tensor that write in place, for the functions of each element by itself.

Each returns the tensor that it wrote. What they may write, and what happens to the graph, is told in
`autograd_ff.engine.inplace`; the result must fit the tensor's dtype and shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine import Op, TensorCore, apply
from ..engine.inplace import assign, update
from ..rules import activations, elementwise, special
from .pointwise import bounds, division, power_of

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["InPlace"]


def _unary(op: Op, of: str) -> Any:
    def method(self: Any) -> Any:
        return update(op, self, ())

    method.__name__ = method.__qualname__ = f"{of}_"
    method.__doc__ = f"`{of}` in place."
    return method


def _binary(op: Op, of: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return update(op, self, (other,))

    method.__name__ = method.__qualname__ = f"{of}_"
    method.__doc__ = f"`{of}` with ``other`` in place."
    return method


def _times(factor: float, other: Any) -> Any:
    return other if factor == 1 else apply(elementwise.multiply, (other, factor))


class InPlace(TensorCore):
    """Arithmetic and functions of one element, in place."""

    __slots__ = ()

    def add_(self, other: Any, *, alpha: float = 1) -> Tensor:
        """Add ``alpha * other`` in place."""
        return update(elementwise.add, self, (_times(alpha, other),))

    def sub_(self, other: Any, *, alpha: float = 1) -> Tensor:
        """Subtract ``alpha * other`` in place."""
        return update(elementwise.subtract, self, (_times(alpha, other),))

    mul_ = multiply_ = _binary(elementwise.multiply, "mul")

    def div_(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """Divide by ``other`` in place, rounding as `div` does."""
        return update(division(rounding_mode), self, (other,))

    remainder_ = _binary(elementwise.remainder, "remainder")
    fmod_ = _binary(elementwise.fmod, "fmod")
    floor_divide_ = _binary(elementwise.floor_divide, "floor_divide")

    def pow_(self, exponent: Any) -> Tensor:
        """Raise to a power in place."""
        op, inputs, params = power_of(self, exponent)
        return update(op, self, inputs[1:], params)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        """`clamp` in place."""
        return update(elementwise.clip, self, bounds(min, max))

    clip_ = clamp_

    def fill_(self, value: Any) -> Tensor:
        """Overwrite every element with one number (a Python number or a 0-d Tensor).

        >>> import autograd_ff as af
        >>> af.zeros(2).fill_(3)
        tensor([3., 3.])
        """
        return assign(self, value)

    def zero_(self) -> Tensor:
        """Overwrite every element with 0."""
        return assign(self, 0)

    def copy_(self, source: Any, non_blocking: bool = False) -> Tensor:
        """Overwrite with the values of ``source``, broadcast to this shape and cast to this dtype."""
        return assign(self, source)

    def addcmul_(self, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
        """Add ``value * tensor1 * tensor2`` in place."""
        return update(elementwise.add, self, (_times(value, apply(elementwise.multiply, (tensor1, tensor2))),))

    def addcdiv_(self, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
        """Add ``value * tensor1 / tensor2`` in place."""
        return update(elementwise.add, self, (_times(value, apply(elementwise.divide, (tensor1, tensor2))),))

    def lerp_(self, end: Any, weight: Any) -> Tensor:
        """`lerp` in place."""
        difference = apply(elementwise.subtract, (end, self))
        return update(elementwise.add, self, (apply(elementwise.multiply, (weight, difference)),))

    def nan_to_num_(self, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
        """`nan_to_num` in place."""
        return update(elementwise.nan_to_num, self, (), {"nan": nan, "posinf": posinf, "neginf": neginf})

    def round_(self, *, decimals: int = 0) -> Tensor:
        """`round` in place."""
        return update(elementwise.round, self, (), {"decimals": decimals})

    neg_ = negative_ = _unary(elementwise.negative, "neg")
    abs_ = absolute_ = _unary(elementwise.absolute, "abs")
    sign_ = _unary(elementwise.sign, "sign")
    reciprocal_ = _unary(elementwise.reciprocal, "reciprocal")
    square_ = _unary(elementwise.square, "square")
    sqrt_ = _unary(elementwise.sqrt, "sqrt")
    rsqrt_ = _unary(elementwise.rsqrt, "rsqrt")
    exp_ = _unary(elementwise.exp, "exp")
    exp2_ = _unary(elementwise.exp2, "exp2")
    expm1_ = _unary(elementwise.expm1, "expm1")
    log_ = _unary(elementwise.log, "log")
    log2_ = _unary(elementwise.log2, "log2")
    log10_ = _unary(elementwise.log10, "log10")
    log1p_ = _unary(elementwise.log1p, "log1p")
    sin_ = _unary(elementwise.sin, "sin")
    cos_ = _unary(elementwise.cos, "cos")
    tan_ = _unary(elementwise.tan, "tan")
    tanh_ = _unary(elementwise.tanh, "tanh")
    erf_ = _unary(special.erf, "erf")
    floor_ = _unary(elementwise.floor, "floor")
    ceil_ = _unary(elementwise.ceil, "ceil")
    trunc_ = _unary(elementwise.trunc, "trunc")
    relu_ = _unary(activations.relu, "relu")
    sigmoid_ = _unary(special.sigmoid, "sigmoid")
