"""Dimensions as users give them: negative, several, or under NumPy's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import here
from ..errors import DimensionError, DtypeError

__all__ = ["dim_of", "dims_of", "integers_of"]


def dim_of(dim: Any, ndim: int, what: str) -> int:
    """One dimension as a non-negative number. A 0-d tensor has the dimension 0, as in PyTorch.

    >>> dim_of(-1, 3, "sum"), dim_of(-1, 0, "sum")
    (2, 0)
    """
    try:
        number = dim.__index__() if not isinstance(dim, bool) else None
    except (AttributeError, TypeError):
        number = None
    if number is None:
        raise DtypeError(f"{what}: a dimension is an integer, got {dim!r}{here()}")
    last = max(ndim, 1)
    if not -last <= number < last:
        raise DimensionError(
            f"{what}: dimension {number} is out of range for a tensor of {ndim} dimensions "
            f"(from {-last} to {last - 1}).{here()}"
        )
    return int(number % last)


def dims_of(dim: Any, ndim: int, what: str) -> tuple[int, ...]:
    """One or several dimensions as non-negative numbers, each at most once.

    >>> dims_of((0, -1), 3, "sum")
    (0, 2)
    """
    given = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    found = tuple(dim_of(one, ndim, what) for one in given)
    if len(set(found)) < len(found):
        raise DimensionError(f"{what}: a dimension appears twice in {tuple(given)}{here()}")
    return found


def integers_of(given: tuple[Any, ...], named: int | Sequence[int] | None, what: str) -> tuple[int, ...]:
    """Integers that were given one by one, as one sequence, or by name.

    >>> integers_of((2, 3), None, "repeat"), integers_of(([2, 3],), None, "repeat"), integers_of((), 2, "repeat")
    ((2, 3), (2, 3), (2,))
    """
    if named is not None:
        given = (named,)
    try:
        if len(given) == 1 and not hasattr(given[0], "__index__"):
            given = tuple(given[0])
        return tuple(one.__index__() for one in given)
    except (AttributeError, TypeError):
        raise DtypeError(f"{what} takes integers, got {given!r}{here()}") from None
