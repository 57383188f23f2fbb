"""Comparison, logic, and tests of numbers. The results are booleans and have no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..engine import OPS, TensorCore, apply
from ..engine.tensor import note_read
from .pointwise import Operand

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "allclose", "eq", "equal", "ge", "greater", "greater_equal", "gt", "isclose", "isfinite", "isinf",
    "isnan", "le", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "ne",
    "not_equal", "signbit",
]  # fmt: skip


def eq(input: Operand, other: Operand) -> Tensor:
    """Elementwise ``input == other``, broadcasting.

    >>> import autograd_ff as af
    >>> af.eq(af.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return apply(OPS["equal"], (input, other))


def ne(input: Operand, other: Operand) -> Tensor:
    """Elementwise ``input != other``, broadcasting.

    >>> import autograd_ff as af
    >>> af.ne(af.tensor([1, 2, 3]), 2)
    tensor([ True, False,  True])
    """
    return apply(OPS["not_equal"], (input, other))


def lt(input: Operand, other: Operand) -> Tensor:
    """Elementwise ``input < other``, broadcasting.

    >>> import autograd_ff as af
    >>> af.lt(af.tensor([1, 2, 3]), 2)
    tensor([ True, False, False])
    """
    return apply(OPS["less"], (input, other))


def le(input: Operand, other: Operand) -> Tensor:
    """Elementwise ``input <= other``, broadcasting.

    >>> import autograd_ff as af
    >>> af.le(af.tensor([1, 2, 3]), 2)
    tensor([ True,  True, False])
    """
    return apply(OPS["less_equal"], (input, other))


def gt(input: Operand, other: Operand) -> Tensor:
    """Elementwise ``input > other``, broadcasting.

    >>> import autograd_ff as af
    >>> af.gt(af.tensor([1, 2, 3]), 2)
    tensor([False, False,  True])
    """
    return apply(OPS["greater"], (input, other))


def ge(input: Operand, other: Operand) -> Tensor:
    """Elementwise ``input >= other``, broadcasting.

    >>> import autograd_ff as af
    >>> af.ge(af.tensor([1, 2, 3]), 2)
    tensor([False,  True,  True])
    """
    return apply(OPS["greater_equal"], (input, other))


def logical_and(input: Operand, other: Operand) -> Tensor:
    """Whether both are not 0, elementwise.

    >>> import autograd_ff as af
    >>> af.logical_and(af.tensor([0, 0, 1, 1]), af.tensor([0, 1, 0, 1]))
    tensor([False, False, False,  True])
    """
    return apply(OPS["logical_and"], (input, other))


def logical_or(input: Operand, other: Operand) -> Tensor:
    """Whether one of both is not 0, elementwise.

    >>> import autograd_ff as af
    >>> af.logical_or(af.tensor([0, 0, 1, 1]), af.tensor([0, 1, 0, 1]))
    tensor([False,  True,  True,  True])
    """
    return apply(OPS["logical_or"], (input, other))


def logical_xor(input: Operand, other: Operand) -> Tensor:
    """Whether just one of both is not 0, elementwise.

    >>> import autograd_ff as af
    >>> af.logical_xor(af.tensor([0, 0, 1, 1]), af.tensor([0, 1, 0, 1]))
    tensor([False,  True,  True, False])
    """
    return apply(OPS["logical_xor"], (input, other))


def logical_not(input: Tensor) -> Tensor:
    """Whether each element is 0.

    >>> import autograd_ff as af
    >>> af.logical_not(af.tensor([0, 1, 2]))
    tensor([ True, False, False])
    """
    return apply(OPS["logical_not"], (input,))


def isnan(input: Tensor) -> Tensor:
    """Which elements are NaN.

    >>> import autograd_ff as af
    >>> af.isnan(af.tensor([1.0, af.inf, af.nan]))
    tensor([False, False,  True])
    """
    return apply(OPS["isnan"], (input,))


def isinf(input: Tensor) -> Tensor:
    """Which elements are infinite.

    >>> import autograd_ff as af
    >>> af.isinf(af.tensor([1.0, af.inf, af.nan]))
    tensor([False,  True, False])
    """
    return apply(OPS["isinf"], (input,))


def isfinite(input: Tensor) -> Tensor:
    """Which elements are neither infinite nor NaN.

    >>> import autograd_ff as af
    >>> af.isfinite(af.tensor([1.0, af.inf, af.nan]))
    tensor([ True, False, False])
    """
    return apply(OPS["isfinite"], (input,))


def signbit(input: Tensor) -> Tensor:
    """Which elements are negative, -0.0 included.

    >>> import autograd_ff as af
    >>> af.signbit(af.tensor([-1.0, -0.0, 0.0]))
    tensor([ True,  True, False])
    """
    return apply(OPS["signbit"], (input,))


def isclose(input: Tensor, other: Operand, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Elementwise ``|input - other| <= atol + rtol * |other|``; equal infinities are close.

    >>> import autograd_ff as af
    >>> af.isclose(af.tensor([1.0, 1.1]), af.tensor([1.000001, 1.0]))
    tensor([ True, False])
    """
    return apply(OPS["isclose"], (input, other), {"rtol": rtol, "atol": atol, "equal_nan": equal_nan})


def allclose(input: Tensor, other: Operand, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds for all elements, as a Python bool.

    >>> import autograd_ff as af
    >>> af.allclose(af.tensor([1.0, 2.0]), af.tensor([1.0, 2.000001]))
    True
    """
    return bool(apply(OPS["allclose"], (input, other), {"rtol": rtol, "atol": atol, "equal_nan": equal_nan}))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and the same elements, as a Python bool.

    >>> import autograd_ff as af
    >>> af.equal(af.tensor([1.0, 2.0]), af.tensor([1.0, 2.0])), af.equal(af.ones(2), af.ones(1))
    (True, False)
    """
    arrays = []
    for one in (input, other):
        if isinstance(one, TensorCore):
            note_read(one, "equal")
            arrays.append(one.array)
        else:
            arrays.append(np.asarray(one))
    return bool(np.array_equal(arrays[0], arrays[1]))


not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


class Comparison(TensorCore):
    """The functions of this file as methods of a Tensor."""

    __slots__ = ()

    eq = eq
    ne = not_equal = ne
    lt = less = lt
    le = less_equal = le
    gt = greater = gt
    ge = greater_equal = ge
    logical_and = logical_and
    logical_or = logical_or
    logical_xor = logical_xor
    logical_not = logical_not
    isnan = isnan
    isinf = isinf
    isfinite = isfinite
    signbit = signbit
    isclose = isclose
    allclose = allclose
    equal = equal
