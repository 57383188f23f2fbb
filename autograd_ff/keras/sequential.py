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
        if isinstance(layers, (Module, str)) or (layers is not None and not isinstance(layers, Iterable)):
            raise ModuleError(
                f"Sequential takes a list of layers, not {layers!r}.{here()}\n  Put them in brackets: "
                "keras.Sequential([keras.layers.Dense(10)])."
            )
        for layer in layers or ():
            self.add(layer)

    @property
    def layers(self) -> list[Any]:
        """The layers in their order, without the input."""
        return list(self._modules.values())

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
        self.add_module(self._key(layer), layer)
        self.__dict__["built"] = False
        first = self.layers[0] if self.__dict__["_input"] is None else self.__dict__["_input"]
        shape = getattr(first, "declared_shape", None) or (first.input_shape if isinstance(first, Model) else None)
        if shape is not None and may_build():
            self.build(shape)

    def _key(self, layer: Any) -> str:
        """Under which name the weights of a layer stand in the model: its own, or, where it was given none, one that counts
        in this model alone, so that the same program finds its weights in a file again."""
        stem = snake_case(type(layer).__name__)
        key = base = stem if re.fullmatch(rf"{stem}(_\d+)?", layer.name) else layer.name
        number = 0
        while key in self._modules:
            number += 1
            key = f"{base}_{number}"
        return key

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
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of all layers for inputs of a shape, ``(None, 784)``."""
        given = self.__dict__["_input"]
        if input_shape is None:
            input_shape = None if given is None else given.batch_shape
        if input_shape is None:
            raise ShapeError(f"{self.name!r} is built for a shape: build((None, 784)), say.{here()}")
        shape = input_shape
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
            "layers": [serialize_layer(layer) for layer in ([] if given is None else [given]) + self.layers],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The model whose `get_config` this is, with new weights."""
        with custom_object_scope(custom_objects):
            layers = [deserialize_layer(one) for one in config["layers"]]
        return cls(layers, name=config.get("name"), trainable=config.get("trainable", True))
