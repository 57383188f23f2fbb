"""`Layer`: the base of Keras's layers, an `nn.Module` that makes its weights when it sees its first input."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from ...engine import TensorCore, get_default_dtype, here, no_grad, wrap
from ...errors import ModuleError, ShapeError
from ...functions.dtypes import as_dtype
from ...nn import Buffer, Module, ModuleDict, ModuleList, Parameter
from .. import initializers, regularizers
from ..activations import as_tensor
from ..naming import automatic_name
from .symbolic import Call, KerasTensor, as_shape, flat, is_shape, is_symbolic, mapped
from .weight import Weight

__all__ = ["Layer", "as_tensors", "is_plain", "shape_of"]

_Build = TypeVar("_Build", bound=Callable[..., Any])


def building(build: _Build) -> _Build:
    """Around a `build`: before it the shape is put in order, after it the layer is built."""

    @functools.wraps(build)
    def built(self: Layer, input_shape: Any = None) -> None:
        shape = None if input_shape is None else as_shape(input_shape)
        build(self, shape)
        self._finish_building(shape)

    return built  # type: ignore[return-value]


class Layer(Module):
    """The base of all layers: an `nn.Module` with Keras's ways.

    A subclass defines `call`, and `build` where it has weights, which it makes by `add_weight` or by assigning
    parameters and modules of `nn`. Lists and dicts of layers that are assigned become `nn.ModuleList` and
    `nn.ModuleDict`. A layer starts in evaluation mode, as in Keras: ``layer(x)`` drops nothing, ``layer(x,
    training=True)`` and training by ``fit`` do.

    Args:
        name: of the layer; by default that of its class, counted.
        trainable: whether training changes its weights.
        dtype: of its weights; the default dtype if None.
        activity_regularizer: what large outputs cost, divided by the batch's size.
        input_shape: the shape of a sample, where the layer is the first of a `Sequential`.
        input_dim: the same for samples of one dimension.
        batch_size: the size of all batches, with ``input_shape``.

    Attributes:
        name: see above.
        built: whether the weights exist.
        calls: the `Call` s of this layer while models were put together.
        input, output: what it was given, and gave, at the first of these.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> class Scale(layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")
    ...     def call(self, inputs):
    ...         return inputs * self.factor
    >>> layer = Scale(name="scale")
    >>> layer.built, layer(af.ones(2, 3)).shape, layer.built
    (False, (2, 3), True)
    >>> layer.count_params(), layer.input_shape, [weight.name for weight in layer.named_weights()]
    (3, (None, 3), ['factor'])
    """

    _call_takes_training = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = building(cls.__dict__["build"])  # type: ignore[method-assign]
        if "call" in cls.__dict__:
            parameters = inspect.signature(cls.__dict__["call"]).parameters
            cls._call_takes_training = "training" in parameters

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self.__dict__["_made_with"] = (args, kwargs)  # for a get_config that a subclass does not write
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: all but the penalties of the last call, which belong to its graph, and the models that
        were put together with this layer."""
        return {**self.__dict__, "_call_losses": [], "calls": []}

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        activity_regularizer: Any = None,
        input_shape: Any = None,
        input_dim: int | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise ModuleError(
                f"{type(self).__name__} has no argument {', '.join(map(repr, unknown))}.{here()}\n  It takes "
                f"{', '.join(_arguments(type(self)))}."
            )
        super().__init__()
        own = self.__dict__
        own["training"] = False
        own["name"] = automatic_name(type(self).__name__) if name is None else str(name)
        own["built"] = False
        own["_trainable"] = bool(trainable)
        own["_weights"] = []
        own["_call_losses"] = []
        own["calls"] = []
        own["_input_shape"] = None
        own["dtype"] = (get_default_dtype() if dtype is None else as_dtype(dtype)).name
        own["activity_regularizer"] = regularizers.get(activity_regularizer)
        if input_dim is not None and input_shape is None:
            input_shape = (input_dim,)
        own["declared_shape"] = None if input_shape is None else (batch_size, *as_shape(input_shape))

    # ---------------------------------------------------------------- building

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of a shape, whose first side, the batch, is None. A subclass writes this."""
        self._finish_building(None if input_shape is None else as_shape(input_shape))

    def _finish_building(self, shape: Any) -> None:
        for weight in self._weights:
            if weight.attribute is None:  # never assigned to an attribute
                attribute, number = weight.name, 1
                while hasattr(self, attribute):
                    attribute, number = f"{weight.name}_{number}", number + 1
                setattr(self, attribute, weight.pending)
        if shape is not None:
            self.__dict__["_input_shape"] = shape
        self.__dict__["built"] = True
        self.train(self.training)  # the new parts too
        if not self._trainable:
            self.trainable = False

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        regularizer: Any = None,
        name: str | None = None,
    ) -> Any:
        """A new weight of this layer, to be assigned to an attribute.

        Args:
            shape: of the weight.
            initializer: its name, or itself; ``"glorot_uniform"`` if None.
            dtype: of the weight; the layer's if None.
            trainable: whether training changes it. One that is not is a buffer: saved, but not trained.
            regularizer: what large values cost; its name, or itself.
            name: of the weight.

        Returns:
            A Parameter, or a buffer.
        """
        make = initializers.get("glorot_uniform" if initializer is None else initializer)
        values = make(tuple(shape), dtype=self.dtype if dtype is None else dtype)
        array = values.array if isinstance(values, TensorCore) else np.asarray(values)
        weight = Parameter(array, self._trainable) if trainable else Buffer(array)
        self._weights.append(
            Weight(
                name or "variable",
                self,
                None,
                trainable=trainable,
                regularizer=regularizers.get(regularizer),
                pending=weight,
            )
        )
        return weight

    def track(self, name: str, owner: Module, attribute: str, **options: Any) -> None:
        """Say that the tensor which a module keeps under an attribute is the weight of that name; see `Weight`."""
        self._weights.append(Weight(name, owner, attribute, **options))

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            if isinstance(value, (list, tuple)) and value and all(isinstance(one, Module) for one in value):
                value = ModuleList(value)
            elif isinstance(value, dict) and value and all(isinstance(one, Module) for one in value.values()):
                value = ModuleDict(value)
        super().__setattr__(name, value)
        if isinstance(value, (Parameter, Buffer)):
            for weight in self.__dict__.get("_weights", ()):
                if weight.pending is value and weight.attribute is None:
                    weight.attribute, weight.pending = name, None

    # ---------------------------------------------------------------- calling

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes. A subclass writes it, with a parameter ``training`` if it wants to know the mode."""
        raise NotImplementedError(f"{type(self).__name__} does not define call()")

    def before_activation(self, inputs: Any) -> Any:
        """What the activation is applied to, in layers that end in one."""
        raise NotImplementedError(f"{type(self).__name__} ends in no activation")

    def forward(self, *args: Any, training: bool | None = None, _split: bool = False, **kwargs: Any) -> Any:
        """Build the layer where it is not built, then `call` it.

        Args:
            args: the inputs; arrays become Tensors.
            training: the mode of this call; that of the layer (`train`, `eval`) if None.
            kwargs: further arguments of `call`.
        """
        for one in (*args, *kwargs.values()) if kwargs else args:
            if one.__class__ is KerasTensor or (isinstance(one, (list, tuple, dict)) and is_symbolic(one)):
                return self.connect(args, kwargs if training is None else {**kwargs, "training": training})
        if args and not isinstance(args[0], TensorCore):
            args = (as_tensors(args[0]), *args[1:])
        if not self.built:
            self.build(shape_of(args[0]) if args else None)
        if training is not None and bool(training) != self.training:
            before = self.training
            self.train(bool(training))
            try:
                return self._run(args, kwargs, _split)
            finally:
                self.train(before)
        return self._run(args, kwargs, _split)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], split: bool) -> Any:
        if self._call_losses:
            self._call_losses.clear()
        if split:
            return self.before_activation(*args)
        if self._call_takes_training:
            kwargs["training"] = self.training
        result = self.call(*args, **kwargs)
        if self.activity_regularizer is not None:
            for one in result if isinstance(result, (list, tuple)) else (result,):
                self._call_losses.append(self.activity_regularizer(one) / max(len(one), 1))
        return result

    def split(self, inputs: Any) -> tuple[Any, str]:
        """The result before the layer's activation, and the activation's name; (the result, "linear") without one.

        With ``Dense(10, activation="softmax")`` last, these are the logits and ``"softmax"``, and a loss can work on the
        logits, which neither overflows nor loses small probabilities.

        >>> import autograd_ff as af
        >>> from autograd_ff.keras import layers
        >>> logits, name = layers.Dense(10, activation="softmax").split(af.ones(2, 4))
        >>> logits.shape, name
        ((2, 10), 'softmax')
        """
        name = self.activation_name()
        # Who watches the outputs (a hook, a penalty) is to see them.
        if name == "linear" or self._hooks is not None or self.activity_regularizer is not None:
            return self(inputs), "linear"
        return self(inputs, _split=True), name

    def activation_name(self) -> str:
        """The name of the activation that the layer ends in, in `keras.activations`; "linear" where there is none."""
        return "linear"

    def connect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the layer with `KerasTensor` s: it is built, and what comes of it are `KerasTensor` s too."""
        alone = len(args) == 1 and not is_symbolic(kwargs)
        if alone and not self.built:
            self.build(mapped(lambda one: one.shape, args[0]))
        return Call(self, args, kwargs, self.shapes_after(args, kwargs)).outputs

    def shapes_after(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The shapes of what a call with these `KerasTensor` s gives."""
        alone = len(args) == 1 and not is_symbolic(kwargs)
        if alone and type(self).compute_output_shape is not Layer.compute_output_shape:
            return self.compute_output_shape(mapped(lambda one: one.shape, args[0]))
        return self._seen(args, kwargs)

    def _seen(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The shapes of the outputs, seen by a call on zeros, with 1 in the place of each None."""

        def zeros(value: Any) -> Any:
            if value.__class__ is not KerasTensor:
                return value
            return wrap(np.zeros([side or 1 for side in value.shape], value.dtype))

        before = list(self._call_losses)
        with no_grad():
            result = self(*mapped(zeros, args), **mapped(zeros, {**kwargs, "training": False}))
        self._call_losses[:] = before
        first = next(one.shape[:1] for one in flat([args, kwargs]) if one.__class__ is KerasTensor)
        return mapped(lambda one: (*first, *one.shape[1:]), result)

    def __getattr__(self, name: str) -> Any:
        if name in ("input", "output") and self.__dict__.get("calls") and name not in self._modules:
            call = self.calls[0]
            return call.outputs if name == "output" else call.args[0]
        return super().__getattr__(name)

    def add_loss(self, loss: Any) -> None:
        """Add a penalty to the model's loss, from within `call`; it counts until the layer is called again."""
        self._call_losses.append(loss)

    # ---------------------------------------------------------------- shapes

    @property
    def input_shape(self) -> Any:
        """The shape that the layer was built for, None for the batch; None before it is built."""
        return self._input_shape

    @property
    def output_shape(self) -> Any:
        """The shape of its outputs, None for the batch; None before it is built."""
        return None if self._input_shape is None else self.compute_output_shape(self._input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs for inputs of a shape.

        Unless a subclass computes it, it is seen by a call on zeros, with a batch of one in the place of None.
        """
        return self._seen((mapped(lambda one: KerasTensor(one, self.dtype), as_shape(input_shape), is_shape),), {})

    # ---------------------------------------------------------------- weights

    def named_weights(self) -> list[Weight]:
        """The weights of this layer and the layers in it, in Keras's order: `Weight` objects, each once."""
        found: list[Weight] = []
        seen: set[int] = set()
        for weight in _weights_below(self, set()):
            if id(weight.tensor) not in seen:
                seen.add(id(weight.tensor))
                found.append(weight)
        return found

    @property
    def weights(self) -> list[Any]:
        """The tensors behind the weights: Parameters, and buffers such as moving means.

        They have the layout of `nn`, (out, in) for a dense layer; `get_weights` gives Keras's.
        """
        return [weight.tensor for weight in self.named_weights()]

    @property
    def trainable_weights(self) -> list[Any]:
        """The Parameters that training changes."""
        return [one.tensor for one in self.named_weights() if one.trainable and one.tensor.requires_grad]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The tensors that training does not change by gradients: frozen ones, and moving statistics."""
        return [one.tensor for one in self.named_weights() if not (one.trainable and one.tensor.requires_grad)]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; set it to freeze the layer and all in it, or to thaw them."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.__dict__["_trainable"] = bool(value)
        for module in self.modules():
            if module is not self and isinstance(module, Layer):
                module.__dict__["_trainable"] = bool(value)
        self.requires_grad_(bool(value))

    @property
    def losses(self) -> list[Any]:
        """The penalties of this layer and the layers in it: of its weights, of its outputs, and those of `add_loss`."""
        found: list[Any] = []
        for module in self.modules():
            if isinstance(module, Layer):
                found.extend(module._call_losses)
                found.extend(one.regularizer(one.tensor) for one in module._weights if one.regularizer is not None)
        return found

    def count_params(self) -> int:
        """How many numbers the weights hold.

        Raises:
            ModuleError: the layer is not built.
        """
        if not self.built and not self._makes_nothing():
            raise ModuleError(
                f"{self.name} is not built, so its weights cannot be counted.{here()}\n"
                "  Call it, or build it: layer.build((None, number_of_inputs))."
            )
        return sum(weight.tensor.array.size for weight in self.named_weights())

    def _makes_nothing(self) -> bool:
        return type(self).build is Layer.build

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights as arrays, in Keras's order and layout: (in, out) for a dense kernel.

        >>> from autograd_ff.keras import layers
        >>> layer = layers.Dense(2)
        >>> layer.build((None, 3))
        >>> [array.shape for array in layer.get_weights()]
        [(3, 2), (2,)]
        """
        return [weight.numpy() for weight in self.named_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Take over what `get_weights` gave, of this layer or of Keras's of the same kind.

        Raises:
            ShapeError: there are other numbers of weights, or shapes; nothing is written then.
        """
        own, given = self.named_weights(), list(weights)
        shapes = [tuple(np.shape(one.array if isinstance(one, TensorCore) else one)) for one in given]
        if len(own) != len(given):
            hint = "" if self.built else "\n  It is not built yet: call it, or layer.build(input_shape), first."
            raise ShapeError(f"{self.name} has {len(own)} weights, and {len(given)} were given.{here()}{hint}")
        for weight, shape in zip(own, shapes, strict=True):
            if weight.shape != shape:
                raise ShapeError(
                    f"the weight {weight.name!r} of {self.name} has shape {weight.shape}, and the given one {shape}.{here()}"
                )
        for weight, values in zip(own, given, strict=True):
            weight.assign(values)

    # ---------------------------------------------------------------- writing down

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal layer, which can be written as JSON.

        A subclass adds its own to ``super().get_config()``; one that does not is written down by the arguments that it
        was made with, where they are numbers, strings and the like.
        """
        config: dict[str, Any] = {"name": self.name, "trainable": self._trainable, "dtype": self.dtype}
        if self.declared_shape is not None:
            config["input_shape"] = list(self.declared_shape[1:])
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        if type(self).get_config is Layer.get_config and type(self).__init__ is not Layer.__init__:
            config |= self._given_arguments(config)
        return config

    def _given_arguments(self, known: dict[str, Any]) -> dict[str, Any]:
        args, kwargs = self.__dict__["_made_with"]
        signature = inspect.signature(type(self).__init__)
        given: dict[str, Any] = {}
        for name, value in list(signature.bind(self, *args, **kwargs).arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                given |= value
            elif kind is inspect.Parameter.VAR_POSITIONAL or not is_plain(value):
                raise ModuleError(
                    f"{type(self).__name__} was made with {name}={value!r}, which cannot be written down.{here()}\n"
                    f"  Define get_config(self) in {type(self).__name__}, and from_config(cls, config) if need be."
                )
            else:
                given[name] = value
        accepted = signature.parameters
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values()):
            for name in [one for one in known if one not in accepted]:
                del known[name]
        return {name: value for name, value in given.items() if name not in known}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer whose `get_config` this is."""
        return cls(**config)

    def extra_repr(self) -> str:
        return f"name={self.name!r}, built={self.built}"


def _weights_below(module: Any, covered: set[tuple[int, str]]) -> Iterator[Weight]:
    """The weights of a module and those below it, the trainable ones of each layer first."""
    if isinstance(module, Layer):
        own = module.__dict__["_weights"]
        covered |= {(id(one.owner), one.attribute) for one in own}
        hidden = {id(one.owner) for one in own} - {id(module)}  # what else such a module keeps is its own affair
        yield from (one for one in own if one.trainable)
        yield from (one for one in own if not one.trainable)
    else:
        hidden = set()
    for name, parameter in module._parameters.items():
        if parameter is not None and (id(module), name) not in covered:
            yield Weight(name, module, name)
    for name, buffer in module._buffers.items():
        if buffer is not None and buffer.array.dtype.kind == "f" and (id(module), name) not in covered:
            yield Weight(name, module, name, trainable=False)
    for child in module.children():
        if id(child) not in hidden:
            yield from _weights_below(child, covered)


def as_tensors(value: Any) -> Any:
    """An array as a Tensor, also within lists, tuples and dicts."""
    if isinstance(value, dict):
        return {key: as_tensors(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)) and any(isinstance(one, (TensorCore, np.ndarray)) for one in value):
        return type(value)(as_tensors(one) for one in value)
    return as_tensor(value)


def shape_of(value: Any) -> Any:
    """The shape to build for. Batches differ in size, and so it is left open."""
    if isinstance(value, (list, tuple)):
        return [shape_of(one) for one in value]
    if isinstance(value, dict):
        return {name: shape_of(one) for name, one in value.items()}
    return (None, *value.shape[1:]) if value.ndim else ()


def is_plain(value: Any) -> bool:
    """Whether a value can be written as JSON."""
    if isinstance(value, (list, tuple)):
        return all(is_plain(one) for one in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def _arguments(cls: type) -> list[str]:
    """The names of the arguments that a class of layers takes, its own and those of every layer."""
    names: list[str] = []
    for one in (cls, Layer):
        for name, parameter in inspect.signature(one.__init__).parameters.items():  # type: ignore[misc]
            if name != "self" and parameter.kind not in (
                inspect.Parameter.VAR_KEYWORD,
                inspect.Parameter.VAR_POSITIONAL,
            ):
                names.append(name)
    return list(dict.fromkeys(names))
