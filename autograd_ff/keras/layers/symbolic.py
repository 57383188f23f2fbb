"""`Input`, and what stands for a value before there is one: its shape, its dtype, and the layer that will make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine import get_default_dtype, here
from ...errors import ShapeError
from ...functions.dtypes import as_dtype
from ..naming import automatic_name

__all__ = ["Input", "KerasTensor", "Shape", "as_shape"]

Shape = tuple[int | None, ...]


def as_shape(shape: Any) -> Any:
    """A shape as a tuple of whole numbers and None; several shapes, of several inputs, as a list of such tuples."""
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        return (int(shape),)
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise ShapeError(f"a shape is a sequence of whole numbers and None, not {shape!r}.{here()}")
    if shape and all(isinstance(one, Sequence) for one in shape):
        return [as_shape(one) for one in shape]
    for side in shape:
        if side is not None and (isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < 0):
            raise ShapeError(f"a shape is a sequence of whole numbers and None, not {shape!r}.{here()}")
    return tuple(None if side is None else int(side) for side in shape)


class KerasTensor:
    """What a layer is given in place of a value while a model is put together.

    Attributes:
        shape: with None for the batch, and for any other side that is not known.
        dtype: the name of the dtype.
        layer: which makes the value; an `InputLayer` for an input.
        parents: the `KerasTensor` s that the layer was called with.

    >>> from autograd_ff.keras import layers
    >>> x = layers.Input(shape=(784,), name="pixels")
    >>> x
    <KerasTensor shape=(None, 784), dtype=float32, name=pixels>
    >>> layers.Dense(10)(x).shape
    (None, 10)
    """

    __slots__ = ("dtype", "layer", "name", "parents", "shape")

    def __init__(
        self, shape: Any, dtype: Any = None, name: str | None = None, layer: Any = None, parents: Sequence[Any] = ()
    ) -> None:
        self.shape: Shape = as_shape(shape)
        self.dtype = (get_default_dtype() if dtype is None else as_dtype(dtype)).name
        self.name = automatic_name("KerasTensor") if name is None else name
        self.layer = layer
        self.parents = tuple(parents)

    @property
    def ndim(self) -> int:
        """The number of dimensions, the batch among them."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def Input(
    shape: Sequence[int | None] | int | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    name: str | None = None,
    batch_shape: Sequence[int | None] | None = None,
) -> KerasTensor:
    """The input of a model: the first element of a `Sequential`, or what the first layers are called with.

    Args:
        shape: of one sample, without the batch.
        batch_size: of all batches, where it is always the same.
        dtype: of the input; the default dtype if None.
        name: of the input.
        batch_shape: the shape with the batch, in place of both.

    >>> from autograd_ff.keras import layers
    >>> layers.Input(shape=(28, 28)).shape
    (None, 28, 28)
    """
    from .input_layer import InputLayer  # it is a layer, and layers know KerasTensor

    return InputLayer(shape, batch_size, dtype, name=name, batch_shape=batch_shape).output
