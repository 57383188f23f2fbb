"""`Input`, and what stands for a value before there is one: its shape, its dtype, and the layer that will make it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...engine import get_default_dtype, here
from ...errors import ShapeError
from ...functions.dtypes import as_dtype
from ..naming import automatic_name

__all__ = ["Call", "Input", "KerasTensor", "Shape", "as_shape", "flat", "is_shape", "is_symbolic", "mapped"]

Shape = tuple[int | None, ...]


def as_shape(shape: Any) -> Any:
    """A shape as a tuple of whole numbers and None; several shapes, of several inputs, as a list or dict of such tuples."""
    if isinstance(shape, Mapping):
        return {name: as_shape(one) for name, one in shape.items()}
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        return (int(shape),)
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise ShapeError(f"a shape is a sequence of whole numbers and None, not {shape!r}.{here()}")
    if shape and all(isinstance(one, (Sequence, Mapping)) for one in shape):
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
        call: the `Call` that makes the value; None where nothing does.
        place: which of the values of that call it is.

    >>> from autograd_ff.keras import layers
    >>> x = layers.Input(shape=(784,), name="pixels")
    >>> x
    <KerasTensor shape=(None, 784), dtype=float32, name=pixels>
    >>> layers.Dense(10)(x).shape
    (None, 10)
    """

    __slots__ = ("call", "dtype", "name", "place", "shape")

    def __init__(
        self, shape: Any, dtype: Any = None, name: str | None = None, call: Call | None = None, place: int = 0
    ) -> None:
        self.shape: Shape = as_shape(shape)
        self.dtype = (get_default_dtype() if dtype is None else as_dtype(dtype)).name
        self.name = automatic_name("KerasTensor") if name is None else name
        self.call = call
        self.place = place

    @property
    def layer(self) -> Any:
        """The layer that makes the value; an `InputLayer` for an input."""
        return None if self.call is None else self.call.layer

    @property
    def parents(self) -> tuple[KerasTensor, ...]:
        """The `KerasTensor` s that the layer was called with."""
        return () if self.call is None else self.call.parents

    @property
    def ndim(self) -> int:
        """The number of dimensions, the batch among them."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


class Call:
    """That a layer was called while a model was put together: with what, and what came of it.

    Attributes:
        layer: which was called.
        args, kwargs: what with; `KerasTensor` s, also in lists, tuples and dicts, and anything else.
        parents: the `KerasTensor` s among these.
        outputs: a `KerasTensor`, or a list, tuple or dict of them.
        index: how many such calls of the layer there were before.
    """

    __slots__ = ("args", "index", "kwargs", "layer", "outputs", "parents")

    def __init__(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any, name: str | None = None):
        self.layer = layer
        self.args = args
        self.kwargs = kwargs
        self.parents = tuple(one for one in flat([args, kwargs]) if one.__class__ is KerasTensor)
        self.index = len(layer.calls)
        layer.calls.append(self)
        places = itertools.count()
        self.outputs = mapped(lambda shape: KerasTensor(shape, layer.dtype, name, self, next(places)), shapes, is_shape)


# ---------------------------------------------------------------- values within lists, tuples and dicts


def is_shape(value: Any) -> bool:
    """Whether it is one shape, and not several."""
    return isinstance(value, (list, tuple)) and not any(isinstance(one, (list, tuple, Mapping)) for one in value)


def mapped(action: Callable[[Any], Any], value: Any, leaf: Callable[[Any], bool] = lambda value: False) -> Any:
    """The structure of lists, tuples and dicts with what ``action`` makes of each thing in it."""
    if not leaf(value):
        if isinstance(value, Mapping):
            parts = {key: mapped(action, value[key], leaf) for key in sorted(value, key=str)}
            return {key: parts[key] for key in value}
        if isinstance(value, (list, tuple)):
            several = [mapped(action, one, leaf) for one in value]
            return several if isinstance(value, list) else tuple(several)
    return action(value)


def flat(value: Any, leaf: Callable[[Any], bool] = lambda value: False) -> list[Any]:
    """The things in lists, tuples and dicts; those of a dict in the order of its keys, as in Keras."""
    if not leaf(value):
        if isinstance(value, Mapping):
            return [one for key in sorted(value, key=str) for one in flat(value[key], leaf)]
        if isinstance(value, (list, tuple)):
            return [one for part in value for one in flat(part, leaf)]
    return [value]


def is_symbolic(value: Any) -> bool:
    """Whether it is a `KerasTensor`, or holds one."""
    if isinstance(value, (list, tuple)):
        return any(is_symbolic(one) for one in value if one.__class__ in (KerasTensor, list, tuple, dict))
    if isinstance(value, Mapping):
        return any(map(is_symbolic, value.values()))
    return value.__class__ is KerasTensor


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
