"""A tensor in another dtype or in memory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import TensorCore, apply, cast, copy, here
from ..engine.core_ops import cast_to_integers
from ..errors import AutogradError
from .dtypes import as_dtype, bool_, float16, float32, float64, int8, int16, int32, int64, uint8

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["Conversions", "check_device", "clone", "contiguous", "to"]


def check_device(device: Any) -> None:
    """There is one device, the CPU."""
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise AutogradError(f"tensors live in the computer's main memory; there is no device {str(device)!r}.{here()}")


def convert(input: Any, dtype: np.dtype[Any]) -> Any:
    """The tensor in another dtype, recorded; itself where it has that dtype already."""
    if input.array.dtype == dtype:
        return input
    converted = apply(cast if dtype.kind in "fc" else cast_to_integers, (input,), {"dtype": dtype})
    if converted.node is not None:
        converted.node.place_here()
    return converted


def to(input: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **_: Any) -> Tensor:
    """The tensor with another dtype; itself where nothing changes, unless ``copy``.

    Args:
        args: a dtype, ``"cpu"``, or a Tensor whose dtype to take.
        dtype, device: the same by name.
        copy: always make a copy.

    A conversion to integers or booleans has no gradient, and the result does not require one.

    >>> import autograd_ff as af
    >>> af.tensor([1.5, 2.0]).to(af.int64)
    tensor([1, 2])
    """
    for position, value in enumerate(args):
        if isinstance(value, TensorCore):
            dtype = value.array.dtype
        elif isinstance(value, bool):
            copy = value if position == len(args) - 1 and position > 1 else copy  # to(dtype, non_blocking, copy)
        elif isinstance(value, str) and _names_a_device(value):
            device = value
        elif value is not None:
            dtype = value
    check_device(device)
    converted: Any = input if dtype is None else convert(input, as_dtype(dtype))
    return clone(input) if copy and converted is input else converted


def _names_a_device(text: str) -> bool:
    try:
        np.dtype(text)
    except TypeError:
        return True
    return False


def clone(input: Tensor) -> Tensor:
    """A copy, through which gradients flow.

    >>> import autograd_ff as af
    >>> x = af.ones(2, requires_grad=True)
    >>> (2 * x.clone()).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    return apply(copy, (input,))


def contiguous(input: Tensor) -> Tensor:
    """The tensor with its elements one after the other in memory: itself where they are, else a copy."""
    return input if input.array.flags.c_contiguous else apply(copy, (input,))


class Conversions(TensorCore):
    """The methods of a Tensor that are named after dtypes.

    They have a class of their own because ``float``, ``int`` and ``bool`` mean the methods inside its body.
    """

    __slots__ = ()

    to = to
    clone = clone
    contiguous = contiguous

    def float(self) -> Tensor:
        """The tensor as float32."""
        return convert(self, float32)

    def double(self) -> Tensor:
        """The tensor as float64."""
        return convert(self, float64)

    def half(self) -> Tensor:
        """The tensor as float16."""
        return convert(self, float16)

    def long(self) -> Tensor:
        """The tensor as int64; fractions are cut off."""
        return convert(self, int64)

    def int(self) -> Tensor:
        """The tensor as int32; fractions are cut off."""
        return convert(self, int32)

    def short(self) -> Tensor:
        """The tensor as int16; fractions are cut off."""
        return convert(self, int16)

    def char(self) -> Tensor:
        """The tensor as int8; fractions are cut off."""
        return convert(self, int8)

    def byte(self) -> Tensor:
        """The tensor as uint8; fractions are cut off."""
        return convert(self, uint8)

    def bool(self) -> Tensor:
        """The tensor as booleans: whether each element is not 0."""
        return convert(self, bool_)

    def type(self, dtype: Any = None) -> Any:
        """The tensor as ``dtype``; without an argument, the name of its dtype."""
        return self.array.dtype.name if dtype is None else convert(self, as_dtype(dtype))

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor in the dtype of another one."""
        return convert(self, other.array.dtype)

    def astype(self, dtype: Any) -> Tensor:
        """The tensor as ``dtype``: NumPy's name for `to`."""
        return convert(self, as_dtype(dtype))

    def cpu(self) -> Tensor:
        """The tensor itself: it is in main memory already."""
        return self  # type: ignore[return-value]
