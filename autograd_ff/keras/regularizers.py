"""Penalties on a layer's weights, under Keras's names; they are those of `autograd_ff.nn.regularizers`."""

from __future__ import annotations

from typing import Any

from ..nn.regularizers import L1, L1L2, L2, Regularizer
from .lookup import describe, find

__all__ = ["L1", "L1L2", "L2", "Regularizer", "deserialize", "get", "l1", "l1_l2", "l2", "serialize"]

l1 = L1
l2 = L2
l1_l2 = L1L2

_TABLE = {"l1": L1, "l2": L2, "l1_l2": L1L2, "L1": L1, "L2": L2, "L1L2": L1L2, "l1l2": L1L2}


def get(identifier: Any) -> Any:
    """The regularizer of a name, or of what `serialize` gave; a regularizer or function stays as it is.

    >>> from autograd_ff.keras import regularizers
    >>> regularizers.get("l2")
    L2(l2=0.01)
    """
    return find(identifier, _TABLE, "regularizer")


def serialize(regularizer: Any) -> Any:
    """A regularizer as its name and arguments.

    >>> from autograd_ff.keras import regularizers
    >>> regularizers.serialize(regularizers.L1(0.5))
    {'class_name': 'L1', 'config': {'l1': 0.5}}
    """
    return describe(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The regularizer that `serialize` wrote down.

    >>> from autograd_ff.keras import regularizers
    >>> regularizers.deserialize({"class_name": "L1", "config": {"l1": 0.5}})
    L1(l1=0.5)
    """
    return find(config, _TABLE, "regularizer", custom_objects)
