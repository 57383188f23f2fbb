"""Layers that make one tensor of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError
from ...functions import pointwise, shaping
from .layer import Layer

__all__ = [
    "Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract", "add", "concatenate", "multiply",
]  # fmt: skip


class _Merge(Layer):
    """A layer called with a list of tensors of one shape."""

    def _several(self, inputs: Any) -> Sequence[Any]:
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ShapeError(f"{self.name} is called with a list of two tensors or more.{here()}")
        return inputs

    def call(self, inputs: Any) -> Any:
        first, *others = self._several(inputs)
        for other in others:
            first = self.merge(first, other)
        return first

    def merge(self, first: Any, second: Any) -> Any:
        """What becomes of two of the inputs."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The common shape of the inputs."""
        shapes = self._several(input_shape)
        whole = np.broadcast_shapes(*[[side or 0 for side in shape] for shape in shapes])
        return tuple(side or None for side in whole)


class Add(_Merge):
    """The sum of the inputs.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Add()([af.tensor([[1.0]]), af.tensor([[2.0]])]).tolist()
    [[3.0]]
    """

    def merge(self, first: Any, second: Any) -> Any:
        return first + second


class Subtract(_Merge):
    """The first of two inputs less the second.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Subtract()([af.tensor([[1.0]]), af.tensor([[2.0]])]).tolist()
    [[-1.0]]
    """

    def merge(self, first: Any, second: Any) -> Any:
        return first - second


class Multiply(_Merge):
    """The product of the inputs.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Multiply()([af.tensor([[3.0]]), af.tensor([[2.0]])]).tolist()
    [[6.0]]
    """

    def merge(self, first: Any, second: Any) -> Any:
        return first * second


class Average(Add):
    """The mean of the inputs.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Average()([af.tensor([[3.0]]), af.tensor([[2.0]])]).tolist()
    [[2.5]]
    """

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / len(inputs)


class Maximum(_Merge):
    """The largest of the inputs, element by element.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Maximum()([af.tensor([[3.0]]), af.tensor([[2.0]])]).tolist()
    [[3.0]]
    """

    def merge(self, first: Any, second: Any) -> Any:
        return pointwise.maximum(first, second)


class Minimum(_Merge):
    """The smallest of the inputs, element by element.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Minimum()([af.tensor([[3.0]]), af.tensor([[2.0]])]).tolist()
    [[2.0]]
    """

    def merge(self, first: Any, second: Any) -> Any:
        return pointwise.minimum(first, second)


class Concatenate(_Merge):
    """The inputs end to end along an axis.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Concatenate()([af.zeros(2, 3), af.zeros(2, 4)]).shape
    (2, 7)
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        return shaping.cat(list(self._several(inputs)), self.axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs, with the sum of their sides along the axis."""
        shapes = self._several(input_shape)
        sides = [shape[self.axis] for shape in shapes]
        whole = list(shapes[0])
        whole[self.axis] = None if None in sides else sum(sides)
        return tuple(whole)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


def add(inputs: Sequence[Any], **options: Any) -> Any:
    """The sum of tensors, by a new `Add` layer.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.add([af.tensor([[1.0]]), af.tensor([[2.0]])]).tolist()
    [[3.0]]
    """
    return Add(**options)(inputs)


def multiply(inputs: Sequence[Any], **options: Any) -> Any:
    """The product of tensors, by a new `Multiply` layer.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.multiply([af.tensor([[3.0]]), af.tensor([[2.0]])]).tolist()
    [[6.0]]
    """
    return Multiply(**options)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Any:
    """Tensors end to end, by a new `Concatenate` layer.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.concatenate([af.zeros(2, 3), af.zeros(2, 4)]).shape
    (2, 7)
    """
    return Concatenate(axis, **options)(inputs)
