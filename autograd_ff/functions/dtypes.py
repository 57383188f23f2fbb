"""The dtypes, under PyTorch's names. They are NumPy's own ``np.dtype`` objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import get_default_dtype, here
from ..errors import DtypeError

__all__ = [
    "bool_", "complex64", "complex128", "finfo", "float16", "float32", "float64", "iinfo", "int8", "int16", "int32",
    "int64", "uint8",
]  # fmt: skip

float16 = np.dtype(np.float16)
float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
bool_ = np.dtype(np.bool_)
complex64 = np.dtype(np.complex64)
complex128 = np.dtype(np.complex128)

finfo = np.finfo
iinfo = np.iinfo


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """What a user gave as a dtype, as an ``np.dtype`` that a Tensor can have.

    >>> as_dtype("float32"), as_dtype(int)
    (dtype('float32'), dtype('int64'))
    """
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or dtype is None or found.kind not in "buifc":
        raise DtypeError(f"{dtype!r} is no dtype of a Tensor; use af.float32, af.int64, af.bool, ….{here()}")
    return found if found.isnative else np.dtype(found.type)


def dtype_of(value: Any) -> np.dtype[Any]:
    """The dtype that a Python number gets in a new tensor.

    >>> dtype_of(1.0), dtype_of(1), dtype_of(True)
    (dtype('float32'), dtype('int64'), dtype('bool'))
    """
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, float):
        return get_default_dtype()
    return complex128 if get_default_dtype() == float64 else complex64
