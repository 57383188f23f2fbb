"""Where a layer's weight is kept, under which name Keras knows it, and in which layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import no_grad, wrap
from ...engine.inplace import assign
from ...functions.tensor import Tensor

__all__ = ["Weight"]


class Weight:
    """One weight of a layer.

    It is found anew by module and attribute at each use, so that a copy, and a loaded model, mean their own.

    Attributes:
        name: Keras's, such as ``"kernel"``.
        owner: the module that keeps it.
        attribute: under which name; None as long as a weight from `Layer.add_weight` has not been assigned to any.
        transposed: whether the module keeps the transpose of what Keras shows: (out, in) for (in, out).
        trainable: whether training changes it, as long as its layer is trainable.
        regularizer: what large values of it cost, or None.
    """

    __slots__ = ("attribute", "name", "owner", "pending", "regularizer", "trainable", "transposed")

    def __init__(
        self,
        name: str,
        owner: Any,
        attribute: str | None,
        *,
        transposed: bool = False,
        trainable: bool = True,
        regularizer: Any = None,
        pending: Any = None,
    ) -> None:
        self.name = name
        self.owner = owner
        self.attribute = attribute
        self.transposed = transposed
        self.trainable = trainable
        self.regularizer = regularizer
        self.pending = pending

    @property
    def tensor(self) -> Any:
        """The Parameter or buffer itself."""
        return self.pending if self.attribute is None else getattr(self.owner, self.attribute)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that Keras shows."""
        shape = tuple(self.tensor.shape)
        return shape[::-1] if self.transposed else shape

    def numpy(self) -> np.ndarray:
        """A copy of the values in Keras's layout."""
        array = self.tensor.array
        return np.array(array.T if self.transposed else array, order="C")

    def assign(self, values: Any) -> None:
        """Take over values in Keras's layout, into the memory that is there."""
        tensor: Tensor = self.tensor
        array = values.array if isinstance(values, Tensor) else np.asarray(values)
        array = array.T if self.transposed else array
        with no_grad():
            assign(tensor, wrap(np.array(array, tensor.array.dtype, order="C")))

    def __repr__(self) -> str:
        return f"<Weight {self.name}, shape={self.shape}, trainable={self.trainable}>"
