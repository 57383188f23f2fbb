"""Layers as a name and arguments, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine import here
from ...errors import FileFormatError, ModuleError
from ..lookup import find, near
from ..registry import custom_object_scope, get_registered_name, known_objects
from .layer import Layer

__all__ = ["deserialize", "get", "serialize"]


def _table() -> dict[str, Any]:
    """The classes that are looked up by name: layers, and the models that are made of data."""
    from .. import layers, models  # the packages that hand this on

    known = {name: getattr(layers, name) for name in layers.__all__}
    known |= {"Sequential": models.Sequential, "Functional": models.Functional}
    return {name: one for name, one in known.items() if isinstance(one, type) and issubclass(one, Layer)}


def serialize(layer: Any) -> dict[str, Any]:
    """A layer as the name of its class and its arguments, which can be written as JSON.

    >>> from autograd_ff.keras import layers
    >>> layers.serialize(layers.Flatten(name="flat"))
    {'class_name': 'Flatten', 'config': {'name': 'flat', 'trainable': True, 'dtype': 'float32'}}
    """
    return {"class_name": get_registered_name(type(layer)), "config": layer.get_config()}


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The layer or model that `serialize` wrote down, not built, with weights still to be made.

    Args:
        config: the class's name and the arguments.
        custom_objects: classes of layers that are not Keras's, by name.

    Raises:
        ModuleError: there is no such class of layers.
        FileFormatError: it is not written down in this way.

    >>> from autograd_ff.keras import layers
    >>> layers.deserialize({"class_name": "Dense", "config": {"units": 3, "name": "out"}}).units
    3
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        raise FileFormatError(f"a layer is written down by class_name and config, not as {str(config)[:80]}.{here()}")
    name, arguments = config["class_name"], config.get("config") or {}
    with custom_object_scope(custom_objects):
        known = {**_table(), **known_objects()}
        made = known.get(name)
        if not (isinstance(made, type) and issubclass(made, Layer)):
            alike = near(name[:80], known)
            hint = f"; did you mean {' or '.join(map(repr, alike))}?" if alike else "."
            raise ModuleError(
                f"there is no layer or model {name[:80]!r} here{hint}{here()}\n"
                f"  If it is your own, name its class: load_model(path, custom_objects={{{name[:80]!r}: …}}), or decorate it "
                "with @keras.saving.register_keras_serializable()."
            )
        if not isinstance(arguments, Mapping):
            raise FileFormatError(f"the arguments of {name!r} are no dict.{here()}")
        return made.from_config(dict(arguments))


def get(identifier: Any) -> Any:
    """The layer that a config means; a layer stays as it is.

    >>> from autograd_ff.keras import layers
    >>> layers.get({"class_name": "Flatten", "config": {}}).built
    False
    """
    return deserialize(identifier) if isinstance(identifier, dict) else find(identifier, _table(), "layer")
