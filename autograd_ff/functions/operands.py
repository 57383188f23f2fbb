"""What a function was given where it needs a Tensor."""

from __future__ import annotations

from typing import Any

from ..engine import TensorCore, here
from ..errors import DtypeError

__all__ = ["check_tensors"]


def check_tensors(what: str, *values: Any) -> None:
    """Raise where one of the values is no Tensor, with the way to make one.

    >>> check_tensors("mean", [1.0, 2.0])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    autograd_ff.errors.DtypeError: mean takes a Tensor, got a list: [1.0, 2.0].
    """
    for value in values:
        if not isinstance(value, TensorCore):
            shown = f", of shape {value.shape}" if hasattr(value, "shape") else f": {value!r}"
            way_out = "" if value is None or isinstance(value, str) else "\n  Make one first: af.tensor(...)."
            raise DtypeError(f"{what} takes a Tensor, got a {type(value).__name__}{shown[:80]}.{here()}{way_out}")
