"""Which dtype an operation computes in: PyTorch's rules, decided here for both front doors.

Dtypes rank bool < integer < floating < complex. Tensors with dimensions decide; a 0-d tensor or a Python scalar counts
only where its rank is higher. Python scalars stay Python scalars, which NumPy takes as weak. float16 computes in
float32 and its result is cast back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import DtypeError
from .site import here

__all__ = ["get_default_dtype", "promote", "promote_types", "result_type", "set_default_dtype"]

F16, F32, F64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
SCALARS = (float, int, bool, complex)
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_DTYPE_OF_SCALAR = {bool: np.dtype(bool), int: np.dtype(np.int64)}

_default = F32


def set_default_dtype(dtype: Any) -> None:
    """The dtype of new floating tensors: float32, or float64.

    >>> import autograd_ff as af
    >>> af.set_default_dtype(af.float64)
    >>> af.zeros(1).dtype
    dtype('float64')
    >>> af.set_default_dtype(af.float32)
    """
    global _default
    wanted = np.dtype(dtype)
    if wanted.kind != "f":
        raise DtypeError(f"the default dtype must be floating, got {wanted}{here()}")
    _default = wanted


def get_default_dtype() -> np.dtype[Any]:
    """The dtype of new floating tensors.

    >>> import autograd_ff as af
    >>> af.get_default_dtype()
    dtype('float32')
    """
    return _default


def rank(dtype: np.dtype[Any]) -> int:
    try:
        return _RANK[dtype.kind]
    except KeyError:
        raise DtypeError(
            f"dtype {dtype} cannot be computed with; a Tensor holds booleans, integers or floating numbers.{here()}"
        ) from None


@lru_cache(maxsize=256)
def promote_types(first: np.dtype[Any], second: np.dtype[Any]) -> np.dtype[Any]:
    """The smallest dtype that holds both, a floating one being wide enough for every integer.

    >>> promote_types(np.dtype("float32"), np.dtype("int64"))
    dtype('float32')
    """
    low, high = sorted((first, second), key=rank)
    if rank(high) >= 2 and rank(low) < 2:
        return high
    return np.promote_types(first, second)


def result_type(values: list[Any]) -> np.dtype[Any] | None:
    """The common dtype of arrays and Python scalars; None where there is neither."""
    by_priority: list[np.dtype[Any] | None] = [None, None, None]  # with dimensions, 0-d, Python scalars
    for value in values:
        if isinstance(value, np.ndarray):
            priority, dtype = (0 if value.ndim else 1), value.dtype
        elif isinstance(value, SCALARS):
            priority = 2
            dtype = _DTYPE_OF_SCALAR.get(type(value)) or (
                _default if isinstance(value, float) else np.result_type(_default, np.complex64)
            )
        else:
            continue
        known = by_priority[priority]
        by_priority[priority] = dtype if known is None else promote_types(known, dtype)
    result: np.dtype[Any] | None = None
    for dtype in by_priority:
        if dtype is not None and (result is None or rank(dtype) > rank(result)):
            # A higher rank from a lower priority keeps the width of the default, as PyTorch has it.
            result = dtype
    return result


def promote(kind: str, arrays: list[Any], promoted: tuple[int, ...] | None) -> tuple[list[Any], np.dtype[Any] | None]:
    """The op's inputs in the dtype that it computes in, and the dtype to cast its result to where that is another."""
    positions = range(len(arrays)) if promoted is None else promoted
    dtype = result_type([arrays[position] for position in positions])
    if dtype is None:
        return arrays, None
    if kind == "float" and rank(dtype) < 2:
        dtype = _default
    elif kind == "number" and rank(dtype) == 0:  # truth values count as 0 and 1; NumPy would make int8 of them
        dtype = _DTYPE_OF_SCALAR[int]
    computed = F32 if dtype == F16 else dtype
    arrays = list(arrays)
    for position in positions:
        value = arrays[position]
        if isinstance(value, np.ndarray):
            if value.dtype != computed:
                arrays[position] = value.astype(computed)
        elif isinstance(value, SCALARS) and kind == "float" and isinstance(value, (int, bool)):
            arrays[position] = float(value)
    return arrays, (F16 if computed is not dtype and dtype == F16 else None)
