"""The functional API: a model as the way from `KerasTensor` s to those that layers made of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ..engine import here
from ..errors import ModuleError, ShapeError
from .graph import Graph, Slot, trace
from .layers.input_layer import InputLayer
from .layers.layer import Layer
from .layers.serialization import deserialize, serialize
from .layers.symbolic import KerasTensor, as_shape, flat, is_shape, mapped
from .model import Model
from .naming import key_of
from .registry import custom_object_scope, may_build

__all__ = ["Functional"]


class Functional(Model):
    """What ``keras.Model(inputs, outputs)`` makes.

    Args:
        inputs: a `keras.Input`, or a list or dict of them; also what a layer of another model gave: this model begins there.
        outputs: what layers made of these, alone or in a list or dict.
        name: of the model.
        trainable: whether its weights are trained.

    A layer that is called several times is one layer. A model can be called as a layer of another.

    Raises:
        ModuleError: the outputs need an input that is not among ``inputs``; two layers have one name.

    >>> import numpy as np
    >>> from autograd_ff import keras
    >>> left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    >>> shared = keras.layers.Dense(4, activation="relu")
    >>> joined = keras.layers.Concatenate()([shared(left), shared(right)])
    >>> model = keras.Model([left, right], keras.layers.Dense(1)(joined))
    >>> model.predict([np.ones((5, 3)), np.ones((5, 3))], verbose=0).shape, model.count_params()
    ((5, 1), 25)
    """

    _names_are_keys = True

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True, **kwargs: Any
    ) -> None:
        for what, given in (("inputs", inputs), ("outputs", outputs)):
            tensors = flat(given)
            if not tensors or not all(isinstance(one, KerasTensor) for one in tensors):
                raise ModuleError(
                    f"keras.Model(inputs, outputs), the functional API, takes what keras.Input gives and what layers make of "
                    f"it, and {what} is {given!r}.{here()}"
                )
        super().__init__(trainable=trainable, name=name, **kwargs)
        self._take(*trace(inputs, outputs))

    def _take(self, graph: Graph, values: list[KerasTensor] | None) -> None:
        own = self.__dict__
        own["_graph"], own["_values"] = graph, values
        if _is_made_of_graph(type(self)):
            own["_made_with"] = ((), {})  # a copy does not go through the tensors
        names: set[str] = set()
        for layer in graph.layers:
            if layer.name in names:
                raise ModuleError(
                    f"two layers of {self.name!r} are called {layer.name!r}, and names are unique in a model.{here()}\n"
                    f"  Give one another: {type(layer).__name__}(…, name=…)."
                )
            names.add(layer.name)
            if not isinstance(layer, InputLayer):
                self.add_module(key_of(layer, self._modules), layer)
        if may_build():
            self._connected()
            self._finish_building(None)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_values": None}

    # ---------------------------------------------------------------- what it is made of

    @property
    def layers(self) -> list[Any]:
        """The layers in Keras's order: those of the inputs first, the farthest from the outputs before nearer ones."""
        return list(self.__dict__["_graph"].layers)

    @property
    def graph(self) -> Graph:
        """The steps of the model."""
        return self.__dict__["_graph"]

    def _connected(self) -> list[KerasTensor]:
        """The `KerasTensor` of each value."""
        if self.__dict__["_values"] is None:
            begins = [layer.output for layer in self.graph.input_layers]
            self.__dict__["_values"] = self.graph.run(begins, lambda layer, args, kwargs: layer.connect(args, kwargs))
        return self.__dict__["_values"]

    def _symbols(self, structure: Any) -> Any:
        values = self._connected()
        return mapped(lambda slot: values[slot.number], structure)

    @property
    def input(self) -> Any:
        """The `KerasTensor` s that stand for the inputs, as they were given."""
        return self._symbols(self.graph.inputs)

    @property
    def output(self) -> Any:
        """The `KerasTensor` s that stand for the outputs, as they were given."""
        return self._symbols(self.graph.outputs)

    @property
    def inputs(self) -> list[KerasTensor]:
        """The inputs in a list."""
        return flat(self.input)

    @property
    def outputs(self) -> list[KerasTensor]:
        """The outputs in a list."""
        return flat(self.output)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, by which a dict of data is taken."""
        return [layer.name for layer in self.graph.input_layers]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that make the outputs."""
        return [tensor.layer.name for tensor in self.outputs]

    @property
    def input_shape(self) -> Any:
        """The shape of the input, None for the batch; a list of them where there are several inputs."""
        shapes = [layer.batch_shape for layer in self.graph.input_layers]
        return shapes if len(shapes) > 1 else shapes[0]

    @property
    def output_shape(self) -> Any:
        """The shape of the output, None for the batch; a list of them where there are several outputs."""
        shapes = [one.shape for one in self.outputs]
        return shapes if len(shapes) > 1 else shapes[0]

    def sources(self, layer: Any) -> list[KerasTensor]:
        """What a layer of this model is called with, of all its calls."""
        values = self._connected()
        return [values[number] for number in self.graph.sources(layer)]

    def connections(self, layer: Any) -> str:
        """The same as `summary` shows it: ``dense[0][0]`` is the first value of dense's first call."""
        sources = [(one.call, one.place) for one in self.sources(layer)]
        return ", ".join(f"{call.layer.name}[{call.index}][{place}]" for call, place in sources if call) or "-"

    # ---------------------------------------------------------------- computing

    def build(self, input_shape: Any = None) -> None:
        """The layers were built when they were called, for the shapes of the inputs."""
        self._connected()

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The outputs, in the structure in which they were given."""
        graph = self.graph
        values = graph.run(list(self._fitted(inputs)), _called)
        return graph.results(values)

    def _fitted(self, inputs: Any) -> Iterator[Any]:
        """The inputs in the order of the model's, as they were declared."""
        given, structure = inputs, self.graph.inputs
        if isinstance(structure, Mapping) and isinstance(inputs, Mapping):
            given = {name: _named(inputs, name, self) for name in structure}
        elif isinstance(inputs, Mapping):
            given = [_named(inputs, name, self) for name in self.input_names]
        elif isinstance(structure, Mapping) and len(structure) > 1 and list(structure) != sorted(structure):
            raise ShapeError(f"{self.name!r} takes a dict of {', '.join(structure)}.{here()}")
        several = flat(given)
        if len(several) != len(self.graph.input_layers):
            raise ShapeError(
                f"{self.name!r} has {len(self.graph.input_layers)} inputs ({', '.join(self.input_names)}), and "
                f"{len(several)} were given.{here()}"
            )
        for layer, value in zip(self.graph.input_layers, several, strict=True):
            wanted = layer.batch_shape
            if value.ndim == len(wanted) - 1 and wanted[-1] == 1:
                value = value.unsqueeze(-1)
            elif value.ndim == len(wanted) + 1 and value.shape[-1] == 1:
                value = value.squeeze(-1)
            fits = value.ndim == len(wanted) and all(
                side in (None, own) for side, own in zip(wanted[1:], value.shape[1:], strict=True)
            )
            if not fits:
                raise ShapeError(
                    f"the input {layer.name!r} of {self.name!r} has shape {wanted}, and {tuple(value.shape)} was given."
                    f"{here()}\n  One sample is a batch of one: x[None]."
                )
            if value.array.dtype.kind in "biu" and layer.dtype.startswith("float"):
                value = value.to(layer.dtype)
            yield value

    def last_layer(self) -> Any:
        """The layer that makes the output, where there is one output."""
        step = self.graph.last()
        return None if step is None else step.layer

    def _several_outputs(self) -> bool:
        return len(flat(self.graph.outputs)) > 1

    def activation_name(self) -> str:
        """The name of the last layer's activation."""
        last = self.last_layer()
        if last is None or last._hooks is not None or last.activity_regularizer is not None:
            return "linear"
        return last.activation_name()

    def before_activation(self, inputs: Any) -> Any:
        """What the last layer's activation is applied to."""
        graph, last = self.graph, self.graph.last()
        assert last is not None
        others = [step for step in graph.steps if step is not last]
        values = graph.run(list(self._fitted(inputs)), _called, others)
        return last.layer.split(mapped(lambda one: values[one.number] if isinstance(one, Slot) else one, last.args)[0])[
            0
        ]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shapes of the outputs for inputs of these shapes."""
        shapes = flat(as_shape(input_shape), is_shape)
        begins = [KerasTensor(shape, layer.dtype) for shape, layer in zip(shapes, self.graph.input_layers, strict=True)]
        values = self.graph.run(begins, _imagined)
        return mapped(lambda one: one.shape, self.graph.results(values))

    # ---------------------------------------------------------------- writing down

    def get_config(self) -> dict[str, Any]:
        """The layers, and how they are called."""
        if not _is_made_of_graph(type(self)):
            config = super().get_config()
            return config | self._given_arguments(config)
        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [serialize(layer) for layer in self.layers],
            **self.graph.get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The model whose `get_config` this is, with new weights."""
        if not _is_made_of_graph(cls):
            return cls(**config)
        with custom_object_scope(custom_objects):
            layers = [deserialize(one) for one in config["layers"]]
        model = cls.__new__(cls)
        Model.__init__(model, trainable=config.get("trainable", True), name=config.get("name"))
        model._take(Graph.from_config(config, layers), None)
        return model


def _called(layer: Layer, args: Any, kwargs: Any) -> Any:
    return layer(*args, **kwargs)


def _imagined(layer: Layer, args: Any, kwargs: Any) -> Any:
    """What comes of a call in shapes alone."""
    return mapped(lambda one: KerasTensor(one, layer.dtype), layer.shapes_after(args, kwargs), is_shape)


def _named(inputs: Mapping[str, Any], name: str, model: Any) -> Any:
    if name not in inputs:
        raise ShapeError(
            f"{model.name!r} needs the input {name!r}, and was given {', '.join(map(str, inputs))}.{here()}"
        )
    return inputs[name]


def _is_made_of_graph(cls: type) -> bool:
    """Whether a class is made by inputs and outputs; one's own may have arguments of its own."""
    return cls is Functional or {"inputs", "outputs"} <= set(inspect.signature(cls).parameters)
