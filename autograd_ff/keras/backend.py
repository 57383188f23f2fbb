"""The few things that programs ask Keras's backend for."""

from __future__ import annotations

import numpy as np

from ..engine import get_default_dtype, set_default_dtype
from .naming import reset_names

__all__ = ["backend", "clear_session", "epsilon", "floatx", "set_floatx"]


def backend() -> str:
    """The name of what computes.

    >>> from autograd_ff import keras
    >>> keras.backend.backend()
    'autograd_ff'
    """
    return "autograd_ff"


def clear_session(free_memory: bool = True) -> None:
    """Count the names of layers anew: the next `Dense` is ``dense`` again. There is no other state to clear.

    >>> from autograd_ff import keras
    >>> keras.backend.clear_session()
    >>> keras.layers.Dense(1).name, keras.layers.Dense(1).name
    ('dense', 'dense_1')
    """
    reset_names()


def floatx() -> str:
    """The name of the default dtype.

    >>> from autograd_ff import keras
    >>> keras.backend.floatx()
    'float32'
    """
    return get_default_dtype().name


def set_floatx(value: str) -> None:
    """Set the default dtype, of weights made from now on and of float64 arrays of data.

    >>> from autograd_ff import keras
    >>> keras.backend.set_floatx("float64")
    >>> keras.layers.Dense(2)(np.ones((1, 3))).dtype
    dtype('float64')
    >>> keras.backend.set_floatx("float32")
    """
    set_default_dtype(np.dtype(value))


def epsilon() -> float:
    """The small number that keeps logarithms and quotients finite.

    >>> from autograd_ff import keras
    >>> keras.backend.epsilon()
    1e-07
    """
    return 1e-7
