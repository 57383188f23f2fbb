"""`Sequential`: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..engine import here
from ..errors import ModuleError, ShapeError
from ..nn import Module
from .layers.input_layer import InputLayer
from .layers.layer import Layer
from .layers.serialization import deserialize, serialize
from .layers.symbolic import KerasTensor, is_shape
from .model import Model
from .naming import key_of
from .registry import custom_object_scope, may_build

__all__ = ["Sequential"]


class Sequential(Model):
    """Layers one after the other.

    Args:
        layers: a list of layers; the first may be a `keras.Input`. Without one the model is built for the first data that
            it sees.
        trainable: whether the weights are trained.
        name: of the model.

    >>> import autograd_ff as af
    >>> from autograd_ff import keras
    >>> model = keras.Sequential([keras.layers.Dense(3, activation="relu"), keras.layers.Dense(2)])
    >>> model.built, model(af.ones(5, 4)).shape, model.count_params()
    (False, (5, 2), 23)
    """

    _names_are_keys = True

    def __init__(self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None) -> None:
        super().__init__(trainable=trainable, name=name)
        self.__dict__["_input"] = None
        self.__dict__["_ends"] = None
        if isinstance(layers, (Module, str)) or (layers is not None and not isinstance(layers, Iterable)):
            raise ModuleError(
                f"Sequential takes a list of layers, not {layers!r}.{here()}\n  Put them in brackets: "
                "keras.Sequential([keras.layers.Dense(10)])."
            )
        for layer in layers or ():
            self.add(layer)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_ends": None}

    @property
    def layers(self) -> list[Any]:
        """The layers in their order, without the input."""
        return list(self._modules.values())

    def last_layer(self) -> Any:
        """The last of them; None where there is none."""
        return self.layers[-1] if self._modules else None

    @property
    def input(self) -> KerasTensor:
        """The `KerasTensor` that stands for the input, for a `keras.Model` that begins here."""
        return self._connected()[0]

    @property
    def output(self) -> KerasTensor:
        """The `KerasTensor` that stands for the output."""
        return self._connected()[1]

    @property
    def inputs(self) -> list[KerasTensor]:
        """The input in a list."""
        return [self.input]

    @property
    def outputs(self) -> list[KerasTensor]:
        """The output in a list."""
        return [self.output]

    def _connected(self) -> tuple[KerasTensor, KerasTensor]:
        if self.__dict__["_ends"] is None:
            if not self.built or not is_shape(self.input_shape):
                raise ShapeError(f"{self.name!r} has not been built for a shape: begin it with keras.Input.{here()}")
            self._connect(self.input_shape)
        return self.__dict__["_ends"]

    def _connect(self, shape: Any) -> None:
        """Call the layers one after the other with what stands for their inputs, which builds them."""
        own = self.__dict__
        if own["_input"] is None or own["_input"].batch_shape != shape:
            begin = InputLayer(batch_shape=shape).output
        else:
            begin = own["_input"].output
        end = begin
        for layer in self.layers:
            end = layer.connect((end,), {})
        own["_ends"] = (begin, end)

    def add(self, layer: Any) -> None:
        """Put a layer at the end.

        >>> from autograd_ff import keras
        >>> model = keras.Sequential()
        >>> model.add(keras.Input((4,)))
        >>> model.add(keras.layers.Dense(2))
        >>> model.output_shape
        (None, 2)
        """
        layer = getattr(layer, "layer", layer) if isinstance(layer, KerasTensor) else layer
        if isinstance(layer, InputLayer):
            if self._modules or self.__dict__["_input"] is not None:
                raise ModuleError(f"an Input is the first element of a Sequential, and the only one.{here()}")
            self.__dict__["_input"] = layer
            return
        self._check_layer(layer)
        self.add_module(key_of(layer, self._modules), layer)
        self.__dict__["built"] = False
        if self.__dict__["_ends"] is not None:
            begin, end = self.__dict__["_ends"]
            self.__dict__["_ends"] = None  # as long as the layer does not fit
            self.__dict__["_ends"] = begin, layer.connect((end,), {})
            self._finish_building(begin.shape)
            return
        first = self.layers[0] if self.__dict__["_input"] is None else self.__dict__["_input"]
        shape = getattr(first, "declared_shape", None) or (first.input_shape if isinstance(first, Model) else None)
        if shape is not None and may_build():
            self.build(shape)

    def _check_layer(self, layer: Any) -> None:
        if isinstance(layer, type):
            raise ModuleError(f"{layer.__name__} is a class; add a layer of it: {layer.__name__}(…).{here()}")
        if isinstance(layer, Module) and not isinstance(layer, Layer):
            raise ModuleError(
                f"a keras.Sequential consists of keras layers, and {type(layer).__name__} is a module of nn.{here()}\n"
                "  Put it into a layer: class Wrapped(keras.layers.Layer) with the module in __init__ and call(self, x). Or "
                "use nn.Sequential, and autograd_ff.training.Trainer to train it."
            )
        if not isinstance(layer, Layer):
            raise ModuleError(f"a Sequential consists of layers, and {layer!r} is none.{here()}")
        if any(one is self for one in layer.modules()):
            raise ModuleError(f"{self.name!r} would be a layer of itself.{here()}")
        for other in self.layers:
            if other.name == layer.name and other is not layer:
                raise ModuleError(
                    f"there is a layer {layer.name!r} in {self.name!r} already, and names are unique in a model.{here()}\n"
                    f"  Give this one another: {type(layer).__name__}(…, name=…)."
                )

    def pop(self) -> Any:
        """Take the last layer out and return it."""
        if not self._modules:
            raise ModuleError(f"{self.name!r} has no layer to take out.{here()}")
        key = list(self._modules)[-1]
        layer = self._modules[key]
        delattr(self, key)
        self.__dict__["_ends"] = None
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of all layers for inputs of a shape, ``(None, 784)``."""
        given = self.__dict__["_input"]
        if input_shape is None:
            input_shape = None if given is None else given.batch_shape
        if input_shape is None:
            raise ShapeError(f"{self.name!r} is built for a shape: build((None, 784)), say.{here()}")
        if is_shape(input_shape):
            self._connect(input_shape)
            return
        shape = input_shape  # of several inputs, which the first layer makes one of
        for layer in self.layers:
            if not layer.built:
                layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The result of the last layer."""
        for layer in self._modules.values():
            inputs = layer(inputs)
        return inputs

    def before_activation(self, inputs: Any) -> Any:
        """What the last layer's activation is applied to."""
        *others, last = self._modules.values()
        for layer in others:
            inputs = layer(inputs)
        return last.split(inputs)[0]

    def activation_name(self) -> str:
        """The name of the last layer's activation."""
        if not self._modules:
            return "linear"
        last = self.layers[-1]
        if last._hooks is not None or last.activity_regularizer is not None:  # it has to be called as a whole
            return "linear"
        return last.activation_name()

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs for inputs of a shape."""
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The layers, and the shape that they were built for."""
        given = self.__dict__["_input"]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [serialize(layer) for layer in ([] if given is None else [given]) + self.layers],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The model whose `get_config` this is, with new weights."""
        with custom_object_scope(custom_objects):
            layers = [deserialize(one) for one in config["layers"]]
        return cls(layers, name=config.get("name"), trainable=config.get("trainable", True))
