"""Layers as a name and arguments, and back."""

from __future__ import annotations

from typing import Any

from ..lookup import find
from ..registry import get_registered_name

__all__ = ["deserialize", "get", "serialize"]


def _table() -> dict[str, Any]:
    from .. import layers  # the package that hands this on

    return {
        name: one
        for name in layers.__all__
        if isinstance(one := getattr(layers, name), type) and issubclass(one, layers.Layer)
    }


def serialize(layer: Any) -> dict[str, Any]:
    """A layer as the name of its class and its arguments, which can be written as JSON.

    >>> from autograd_ff.keras import layers
    >>> layers.serialize(layers.Flatten(name="flat"))
    {'class_name': 'Flatten', 'config': {'name': 'flat', 'trainable': True, 'dtype': 'float32'}}
    """
    return {"class_name": get_registered_name(type(layer)), "config": layer.get_config()}


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The layer that `serialize` wrote down, not built, with weights still to be made.

    Args:
        config: the class's name and the arguments.
        custom_objects: classes of layers that are not Keras's, by name.

    >>> from autograd_ff.keras import layers
    >>> layers.deserialize({"class_name": "Dense", "config": {"units": 3, "name": "out"}}).units
    3
    """
    return find(config, _table(), "layer", custom_objects)


def get(identifier: Any) -> Any:
    """The layer that a config means; a layer stays as it is.

    >>> from autograd_ff.keras import layers
    >>> layers.get({"class_name": "Flatten", "config": {}}).built
    False
    """
    return find(identifier, _table(), "layer")
