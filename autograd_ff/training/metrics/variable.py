"""What a metric of one's own counts in, where it is written as for Keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import TensorCore
from ...functions.tensor import Tensor

__all__ = ["Variable"]


class Variable(Tensor):
    """A Tensor of float64 that is written by `assign`, `assign_add` and `assign_sub`; see `Metric.add_weight`.

    >>> total = Variable(np.zeros(()))
    >>> total.assign_add(2.0)
    >>> total.assign_sub(0.5)
    >>> float(total)
    1.5
    """

    __slots__ = ()

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self.array = np.array(values, np.float64)

    def assign(self, value: Any) -> None:
        """Take over a number, an array, or the values of a Tensor."""
        self.array[...] = _values(value)

    def assign_add(self, value: Any) -> None:
        """Add to what is there."""
        self.array += _values(value)

    def assign_sub(self, value: Any) -> None:
        """Take away from what is there."""
        self.array -= _values(value)

    def __deepcopy__(self, memo: Any) -> Variable:
        return type(self)(self.array)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.array,)


def _values(value: Any) -> Any:
    return value.array if isinstance(value, TensorCore) else value
