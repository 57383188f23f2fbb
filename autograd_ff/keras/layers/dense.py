"""The dense layer, and layers that are an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import nn
from ...engine import here
from ...errors import ModuleError, ShapeError
from ...functions.tensor import Tensor
from .. import activations, initializers, regularizers
from .layer import Layer
from .weight import Weight

__all__ = [
    "ELU", "Activation", "Dense", "Elementwise", "LeakyReLU", "PReLU", "ReLU", "Softmax", "as_floating", "initialize",
    "refuse_constraints",
]  # fmt: skip


def as_floating(inputs: Any, layer: Layer) -> Any:
    """Whole numbers, such as the bytes of an image, in the layer's dtype; floating numbers as they are."""
    return inputs if inputs.array.dtype.kind == "f" else inputs.to(layer.dtype)


def initialize(weight: Weight, initializer: Any) -> None:
    """Fill a weight by an initializer, which works in Keras's layout."""
    weight.assign(initializer(weight.shape, dtype=weight.tensor.array.dtype))


def refuse_constraints(layer: str, **constraints: Any) -> None:
    """Constraints on weights are not offered; None is."""
    for name, value in constraints.items():
        if value is not None:
            raise ModuleError(
                f"{layer} takes no {name}: limits on weights are not offered.{here()}\n"
                "  A regularizer (keras.regularizers.L2) or weight_decay= of the optimizer keeps weights small."
            )


class _Activated(Layer):
    """A layer that ends in an activation: a function of `keras.activations`, or any other, or a module."""

    activation: Callable[..., Any]

    def _set_activation(self, activation: Any) -> None:
        chosen = activations.get(activation)
        if isinstance(chosen, nn.Module):
            self.activation = chosen  # a child
        else:
            self.__dict__["activation"] = chosen

    def call(self, inputs: Any) -> Any:
        result = self.before_activation(inputs)
        return result if self.activation is activations.linear else self.activation(result)

    def activation_name(self) -> str:
        return activations.name_of(self.activation) or "linear"


class Dense(_Activated):
    """activation(x W + b), by an `nn.Linear` that is made when the number of inputs is known.

    Args:
        units: the last side of the output.
        activation: its name in `keras.activations`, or a function, or None for none.
        use_bias: whether to add b.
        kernel_initializer, bias_initializer: what W and b start from.
        kernel_regularizer, bias_regularizer: what large values of them cost.
        options: those of every `Layer`.

    Attributes:
        linear: the `nn.Linear`, once the layer is built; its weight is (units, inputs).
        kernel: W, (inputs, units).
        bias: b, (units,), or None.

    Inputs of more than two dimensions are worked on along the last one.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layer = layers.Dense(10, activation="relu")
    >>> layer(af.ones(32, 784)).shape, layer.kernel.shape, layer.count_params()
    ((32, 10), (784, 10), 7850)
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        refuse_constraints("Dense", kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)
        if isinstance(units, bool) or not hasattr(units, "__index__") or units < 1:
            raise ShapeError(f"units is a whole number, 1 or more, not {units!r}.{here()}")
        self.units = int(units)
        self.use_bias = use_bias
        self._set_activation(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Any) -> None:
        """Make the `nn.Linear` for inputs of shape (…, inputs)."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ShapeError(
                f"{self.name} takes inputs of shape (batch, …, inputs) with a known number of inputs, not "
                f"{input_shape}.{here()}\n  One sample is a batch of one: x.reshape(1, -1)."
            )
        self.linear = nn.Linear(input_shape[-1], self.units, bias=self.use_bias, dtype=self.dtype)
        self.track("kernel", self.linear, "weight", transposed=True, regularizer=self.kernel_regularizer)
        initialize(self._weights[-1], self.kernel_initializer)
        if self.use_bias:
            self.track("bias", self.linear, "bias", regularizer=self.bias_regularizer)
            initialize(self._weights[-1], self.bias_initializer)

    @property
    def kernel(self) -> Tensor:
        """W, (inputs, units): the transpose of the weight of the `nn.Linear`."""
        return self.linear.weight.T

    @property
    def bias(self) -> Any:
        """b, (units,), or None."""
        return self.linear.bias

    def before_activation(self, inputs: Any) -> Any:
        return self.linear(inputs if inputs.array.dtype.kind == "f" else as_floating(inputs, self))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(…, inputs) to (…, units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
        }


class Activation(_Activated):
    """An activation as a layer.

    Args:
        activation: its name in `keras.activations`, or a function.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Activation("relu")(af.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self._set_activation(activation)

    def before_activation(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class Elementwise(Layer):
    """A layer whose output has the shape of its input."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape


class ReLU(Elementwise):
    """max(x, 0) as a layer; the arguments are those of `keras.activations.relu`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.ReLU(max_value=1.0)(af.tensor([-1.0, 2.0])).tolist()
    [0.0, 1.0]
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        for name, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if value is not None and value < 0:
                raise ShapeError(f"{name} of ReLU is not negative, got {value}.{here()}")
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        own = {"max_value": self.max_value, "negative_slope": self.negative_slope, "threshold": self.threshold}
        return {**super().get_config(), **own}


class LeakyReLU(Elementwise):
    """x where positive, else negative_slope · x. The slope of the layer is 0.3, that of the activation 0.2, as in Keras.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.LeakyReLU(0.5)(af.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        if negative_slope is None or negative_slope < 0:
            raise ShapeError(f"negative_slope of LeakyReLU is not negative, got {negative_slope}.{here()}")
        self.negative_slope = negative_slope

    def call(self, inputs: Any) -> Any:
        return activations.leaky_relu(inputs, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "negative_slope": self.negative_slope}


class ELU(Elementwise):
    """x where positive, else alpha (exp(x) - 1).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.ELU()(af.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def call(self, inputs: Any) -> Any:
        return activations.elu(inputs, self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


class PReLU(Elementwise):
    """max(x, 0) + alpha · min(x, 0), where alpha, a number for each feature, is learned.

    Args:
        alpha_initializer: what alpha starts from.
        alpha_regularizer: what large values of it cost.
        shared_axes: the axes, counted with the batch as 0, along which one number serves all.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.PReLU(alpha_initializer="ones")(af.tensor([[-1.0, 2.0]])).tolist()
    [[-1.0, 2.0]]
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        refuse_constraints("PReLU", alpha_constraint=alpha_constraint)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        shared = [shared_axes] if isinstance(shared_axes, int) else shared_axes
        self.shared_axes = None if shared is None else list(shared)

    def build(self, input_shape: Any) -> None:
        """Make alpha for inputs of a shape."""
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        self.alpha = self.add_weight(shape, self.alpha_initializer, regularizer=self.alpha_regularizer, name="alpha")

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs) - self.alpha * activations.relu(-inputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "shared_axes": self.shared_axes,
        }


class Softmax(Elementwise):
    """exp(x_i) / Σ_j exp(x_j) along an axis.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Softmax()(af.zeros(1, 4)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def before_activation(self, inputs: Any) -> Any:
        return inputs

    def call(self, inputs: Any) -> Any:
        return activations.softmax(inputs, self.axis)

    def activation_name(self) -> str:
        return "softmax" if self.axis == -1 else "linear"

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
