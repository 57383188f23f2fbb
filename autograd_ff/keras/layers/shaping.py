"""Layers that change shapes or scales, and layers around a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import nn
from ...engine import here, wrap
from ...errors import ModuleError, ShapeError
from .dense import Elementwise
from .layer import Layer

__all__ = ["Flatten", "Identity", "Lambda", "Permute", "Rescaling", "Reshape"]


class Flatten(Layer):
    """All dimensions but the batch as one.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Flatten()(af.zeros(64, 28, 28)).shape
    (64, 784)
    """

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        if data_format not in (None, "channels_last"):
            raise ModuleError(
                f"Flatten takes the dimensions in their order; data_format={data_format!r} is not offered.{here()}\n"
                "  Put layers.Permute((2, 3, 1)) before it."
            )
        self.flatten = nn.Flatten()

    def call(self, inputs: Any) -> Any:
        return self.flatten(inputs) if inputs.ndim > 1 else inputs.reshape(-1, 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, …) to (batch, the product of the rest)."""
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))


class Reshape(Layer):
    """The elements of each sample in another shape.

    Args:
        target_shape: of a sample, without the batch; one side may be -1.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Reshape((28, 28))(af.zeros(64, 784)).shape
    (64, 28, 28)
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.target_shape = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)

    def call(self, inputs: Any) -> Any:
        return inputs.reshape(inputs.shape[0], *self.compute_output_shape(inputs.shape)[1:])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, …) to (batch, *target_shape)."""
        target, rest = self.target_shape, input_shape[1:]
        if None in rest:
            return (input_shape[0], *(None if side == -1 else side for side in target))
        known, total = math.prod(side for side in target if side != -1), math.prod(rest)
        fits = total % known == 0 if -1 in target and known else total == known
        if not fits or target.count(-1) > 1:
            raise ShapeError(
                f"{self.name} cannot give samples of shape {tuple(rest)}, {total} numbers, the shape {target}.{here()}"
            )
        return (input_shape[0], *(total // known if side == -1 else side for side in target))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": list(self.target_shape)}


class Permute(Layer):
    """The dimensions of each sample in another order.

    Args:
        dims: the dimensions, counted from 1, the batch staying first.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Permute((2, 1))(af.zeros(64, 10, 20)).shape
    (64, 20, 10)
    """

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        if sorted(dims) != list(range(1, len(dims) + 1)):
            raise ShapeError(f"dims names each dimension from 1 to {len(dims)} once, not {tuple(dims)}.{here()}")
        self.dims = tuple(dims)

    def call(self, inputs: Any) -> Any:
        return inputs.permute(0, *self.dims)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, …) to (batch, … in the other order)."""
        return (input_shape[0], *(input_shape[dim] for dim in self.dims))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": list(self.dims)}


class Rescaling(Elementwise):
    """x · scale + offset, for bytes to begin with: ``Rescaling(1 / 255)``.

    Args:
        scale, offset: numbers, or sequences that broadcast against the input.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Rescaling(2.0, offset=-1.0)(af.tensor([0, 1])).tolist()
    [-1.0, 1.0]
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale
        self.offset = offset

    def call(self, inputs: Any) -> Any:
        scaled = inputs.to(self.dtype) * self._number(self.scale)
        return scaled + self._number(self.offset) if np.any(self.offset) else scaled

    def _number(self, value: Any) -> Any:
        return value if isinstance(value, (int, float)) else wrap(np.asarray(value, self.dtype))

    def get_config(self) -> dict[str, Any]:
        plain = [
            one if isinstance(one, (int, float)) else np.asarray(one).tolist() for one in (self.scale, self.offset)
        ]
        return {**super().get_config(), "scale": plain[0], "offset": plain[1]}


class Identity(Elementwise):
    """Hands on its input.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Identity()(af.tensor([1.0])).tolist()
    [1.0]
    """

    def call(self, inputs: Any) -> Any:
        return inputs


class Lambda(Layer):
    """Any function of Tensors as a layer.

    A model with one cannot be saved as a whole, for a function cannot; its weights can. A subclass of `Layer` can.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Lambda(lambda x: x ** 2)(af.tensor([3.0])).tolist()
    [9.0]
    """

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.__dict__["function"] = function
        self.arguments = dict(arguments or {})

    def call(self, inputs: Any) -> Any:
        return self.function(inputs, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        raise ModuleError(
            f"{self.name} cannot be written down: a Lambda holds a function of Python.{here()}\n"
            "  Make it a subclass of keras.layers.Layer, or save the weights alone: model.save_weights(path)."
        )
