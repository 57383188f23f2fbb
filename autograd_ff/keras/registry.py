"""Classes and functions of one's own, found by their names when a model is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = [
    "custom_object_scope", "get_custom_objects", "get_registered_name", "known_objects", "may_build",
    "register_keras_serializable", "unbuilt",
]  # fmt: skip

C = TypeVar("C", bound=Callable[..., Any])
_registered: dict[str, Any] = {}
_scopes: list[Mapping[str, Any]] = []
_reading: list[bool] = []


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[C], C]:
    """Let `load_model` find a class or a function of one's own, without ``custom_objects=``.

    Args:
        package: accepted as Keras does; names are looked up without it.
        name: under which it is found; by default its own.

    >>> from autograd_ff import keras
    >>> @keras.saving.register_keras_serializable()
    ... class Doubled(keras.layers.Layer):
    ...     def call(self, inputs):
    ...         return inputs * 2
    >>> keras.saving.get_custom_objects()["Doubled"] is Doubled
    True
    """

    def register(thing: C) -> C:
        _registered[name or thing.__name__] = thing
        return thing

    return register


def get_custom_objects() -> dict[str, Any]:
    """The classes and functions that were registered, by name. What is put into it is found as well.

    >>> from autograd_ff import keras
    >>> isinstance(keras.saving.get_custom_objects(), dict)
    True
    """
    return _registered


def get_registered_name(thing: Any) -> str:
    """The name under which a class or function is found.

    >>> from autograd_ff import keras
    >>> keras.saving.get_registered_name(keras.layers.Dense)
    'Dense'
    """
    return next((name for name, one in _registered.items() if one is thing), thing.__name__)


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """While the ``with`` block runs, these classes and functions are found by their names.

    >>> from autograd_ff import keras
    >>> class Halved(keras.layers.Layer):
    ...     def call(self, inputs):
    ...         return inputs / 2
    >>> with keras.saving.custom_object_scope({"Halved": Halved}):
    ...     copy = keras.Sequential.from_config(keras.Sequential([Halved()]).get_config())
    >>> type(copy.layers[0]).__name__
    'Halved'
    """
    _scopes.append(custom_objects or {})
    try:
        yield
    finally:
        _scopes.pop()


def known_objects() -> dict[str, Any]:
    """The caller's own classes and functions, the innermost scope's before others'."""
    found = dict(_registered)
    for one in _scopes:
        found.update(one)
    return found


@contextmanager
def unbuilt() -> Iterator[None]:
    """While a file is read, models are put together without weights: whether those fit is seen before they are made."""
    _reading.append(True)
    try:
        yield
    finally:
        _reading.pop()


def may_build() -> bool:
    return not _reading
