"""The layer at which a model's input comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...engine import here
from ...errors import ShapeError
from .layer import Layer
from .symbolic import Call, as_shape

__all__ = ["InputLayer"]


class InputLayer(Layer):
    """Hands on its input; says which shape it has. Usually made by `Input`.

    Args:
        shape: of one sample, without the batch.
        batch_size: of all batches, where it is always the same.
        dtype: of the input; the default dtype if None.
        batch_shape: the shape with the batch, in place of both.

    Attributes:
        batch_shape: with None for the batch.
        output: a `KerasTensor`, to call layers with.

    >>> from autograd_ff.keras import layers
    >>> layers.InputLayer(shape=(784,)).batch_shape
    (None, 784)
    """

    def __init__(
        self,
        shape: Sequence[int | None] | int | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        *,
        batch_shape: Sequence[int | None] | None = None,
        **options: Any,
    ) -> None:
        if shape is None and batch_shape is None:
            shape = options.pop("input_shape", None)
        super().__init__(dtype=dtype, **options)
        if (shape is None) == (batch_shape is None):
            raise ShapeError(f"an input has a shape, or a batch_shape with the batch in it; give one of them.{here()}")
        whole = (batch_size, *as_shape(shape)) if batch_shape is None else as_shape(batch_shape)
        own = self.__dict__
        own["batch_shape"] = own["declared_shape"] = own["_input_shape"] = whole
        own["built"] = True
        own["output"] = Call(self, (), {}, whole, self.name).outputs

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any = None) -> Any:
        """The shape of the input."""
        return self.batch_shape

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "batch_shape": list(self.batch_shape)}
