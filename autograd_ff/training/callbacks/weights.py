"""A model's numbers at one moment, by name: parameters and all buffers, such as running statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...engine import here, no_grad
from ...errors import StateDictError
from ...nn import Module

__all__ = ["copy_weights", "put_weights"]


def _named(model: Module) -> Iterator[tuple[str, Any]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def copy_weights(model: Module) -> dict[str, np.ndarray]:
    """Copies of all parameters and buffers.

    >>> import autograd_ff as af
    >>> copy_weights(af.nn.Linear(2, 1)).keys()
    dict_keys(['weight', 'bias'])
    """
    return {name: tensor.array.copy() for name, tensor in _named(model)}


def put_weights(model: Module, weights: Mapping[str, Any]) -> None:
    """Write what `copy_weights` took back, into the memory that the model has, which optimizers share.

    Raises:
        StateDictError: the model has other parameters, or of other shapes; nothing is written then.
    """
    own = dict(_named(model))
    fits = own.keys() == weights.keys() and all(own[name].array.shape == weights[name].shape for name in own)
    if not fits:
        other = sorted(
            name
            for name in own.keys() | weights.keys()
            if name not in own or name not in weights or own[name].array.shape != weights[name].shape
        )
        raise StateDictError(
            f"the weights kept are not those of this {type(model).__name__}: {', '.join(other[:5])} differ.{here()}"
        )
    with no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
