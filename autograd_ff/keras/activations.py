"""Activation functions under Keras's names and arguments; they are those of `autograd_ff.nn.functional`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from ..engine import TensorCore, get_default_dtype, scope, wrap
from ..functions.tensor import Tensor
from ..nn import functional as F
from .lookup import describe, find

__all__ = [
    "celu", "deserialize", "elu", "exponential", "gelu", "get", "glu", "hard_sigmoid", "hard_silu", "hard_swish",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "serialize",
    "sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip

_Function = TypeVar("_Function", bound=Callable[..., Any])
_TABLE: dict[str, Any] = {}


def as_tensor(value: Any) -> Any:
    """A Tensor as it is; anything else as a Tensor, floating numbers in the default dtype."""
    if isinstance(value, TensorCore):
        return value
    array = np.asarray(value)
    return wrap(array.astype(get_default_dtype()) if array.dtype.kind == "f" else array)


def _activation(function: _Function) -> _Function:
    """Enter a function into the table by its name; its argument may be an array."""
    name = function.__name__

    @functools.wraps(function)
    def activation(x: Any, *args: Any, **kwargs: Any) -> Any:
        if x.__class__ is Tensor:
            return function(x, *args, **kwargs)
        with scope("composite", name, name):
            return function(as_tensor(x), *args, **kwargs)

    _TABLE[name] = activation
    return activation  # type: ignore[return-value]


@_activation
def linear(x: Tensor) -> Tensor:
    """x itself.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.linear(af.tensor([-1.0])).tolist()
    [-1.0]
    """
    return x


@_activation
def relu(x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """max(x, 0), with further possibilities.

    Args:
        x: any shape.
        negative_slope: the slope below the threshold, from there.
        max_value: what the result is limited to.
        threshold: below which x counts as 0.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.relu(af.tensor([-2.0, 1.0, 8.0]), negative_slope=0.5, max_value=6.0).tolist()
    [-1.0, 1.0, 6.0]
    """
    if not negative_slope and not threshold:
        return F.relu(x) if max_value is None else F.hardtanh(x, 0.0, max_value)
    if max_value is None and not threshold:
        return F.leaky_relu(x, negative_slope)
    with scope("composite", "relu", "relu"):
        above = F.threshold(x, threshold, 0.0) if threshold else F.relu(x)
        if max_value is not None:
            above = above.clamp(0.0, max_value)
        return above - F.relu(threshold - x) * negative_slope if negative_slope else above


@_activation
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """x where positive, else negative_slope · x. The slope is Keras's, 0.2, where `nn.LeakyReLU` has 0.01.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.leaky_relu(af.tensor([-1.0, 2.0]))
    tensor([-0.2,  2.0])
    """
    return F.leaky_relu(x, negative_slope)


@_activation
def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.relu6(af.tensor([-1.0, 8.0])).tolist()
    [0.0, 6.0]
    """
    return F.relu6(x)


@_activation
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha (exp(x) - 1).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.elu(af.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return F.elu(x, alpha)


@_activation
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1)).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.celu(af.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return F.celu(x, alpha)


@_activation
def selu(x: Tensor) -> Tensor:
    """The scaled ELU, which keeps mean 0 and variance 1.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.selu(af.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    return F.selu(x)


@_activation
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x Φ(x) with the normal distribution Φ, or its approximation by tanh.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.gelu(af.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """
    return F.gelu(x, approximate="tanh" if approximate else "none")


@_activation
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.sigmoid(af.tensor([0.0])).tolist()
    [0.5]
    """
    return F.sigmoid(x)


@_activation
def log_sigmoid(x: Tensor) -> Tensor:
    """The logarithm of the sigmoid.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.log_sigmoid(af.tensor([0.0]))
    tensor([-0.6931])
    """
    return F.logsigmoid(x)


@_activation
def tanh(x: Tensor) -> Tensor:
    """tanh(x).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.tanh(af.tensor([1.0]))
    tensor([0.7616])
    """
    return F.tanh(x)


@_activation
def tanh_shrink(x: Tensor) -> Tensor:
    """x - tanh(x).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.tanh_shrink(af.tensor([1.0]))
    tensor([0.2384])
    """
    return F.tanhshrink(x)


@_activation
def hard_tanh(x: Tensor) -> Tensor:
    """x, limited to [-1, 1].

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.hard_tanh(af.tensor([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """
    return F.hardtanh(x)


@_activation
def hard_sigmoid(x: Tensor) -> Tensor:
    """min(max(x + 3, 0), 6) / 6.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.hard_sigmoid(af.tensor([-4.0, 0.0])).tolist()
    [0.0, 0.5]
    """
    return F.hardsigmoid(x)


@_activation
def hard_silu(x: Tensor) -> Tensor:
    """x · min(max(x + 3, 0), 6) / 6; also called hard_swish.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.hard_silu(af.tensor([1.5, 4.0])).tolist()
    [1.125, 4.0]
    """
    return F.hardswish(x)


@_activation
def silu(x: Tensor) -> Tensor:
    """x σ(x); also called swish.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.silu(af.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """
    return F.silu(x)


@_activation
def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.mish(af.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """
    return F.mish(x)


@_activation
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.softplus(af.tensor([0.0]))
    tensor([0.6931])
    """
    return F.softplus(x)


@_activation
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.softsign(af.tensor([1.0])).tolist()
    [0.5]
    """
    return F.softsign(x)


@_activation
def exponential(x: Tensor) -> Tensor:
    """exp(x).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.exponential(af.tensor([0.0])).tolist()
    [1.0]
    """
    return x.exp()


@_activation
def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """x where it is above the threshold, else the default value.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.threshold(af.tensor([0.5, 2.0]), 1.0, -1.0).tolist()
    [-1.0, 2.0]
    """
    return F.threshold(x, threshold, default_value)


@_activation
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x_i) / Σ_j exp(x_j) along an axis.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.softmax(af.zeros(1, 4)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    return F.softmax(x, axis)


@_activation
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """x_i - log Σ_j exp(x_j) along an axis.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.log_softmax(af.zeros(1, 2))
    tensor([[-0.6931, -0.6931]])
    """
    return F.log_softmax(x, axis)


@_activation
def glu(x: Tensor, axis: int = -1) -> Tensor:
    """The first half of an axis times the sigmoid of the second.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import activations
    >>> activations.glu(af.tensor([3.0, 4.0, 0.0, 0.0])).tolist()
    [1.5, 2.0]
    """
    return F.glu(x, axis)


swish = silu
hard_swish = hard_silu
_ALIASES: Mapping[str, Any] = {"swish": silu, "hard_swish": hard_silu}


def get(identifier: Any) -> Any:
    """The activation of a name; None is `linear`, and a function stays as it is.

    >>> from autograd_ff.keras import activations
    >>> activations.get("swish") is activations.silu, activations.get(None) is activations.linear
    (True, True)
    >>> activations.get("rleu")
    Traceback (most recent call last):
    autograd_ff.errors.ShapeError: there is no activation 'rleu'; did you mean 'relu' or 'relu6'?...
    """
    return linear if identifier is None else find(identifier, {**_TABLE, **_ALIASES}, "activation")


def name_of(activation: Any) -> str | None:
    """The name of one of the functions of this file; None for any other."""
    name = getattr(activation, "__name__", None)
    return name if name is not None and _TABLE.get(name) is activation else None


def serialize(activation: Any) -> Any:
    """An activation as its name.

    >>> from autograd_ff.keras import activations
    >>> activations.serialize(activations.relu)
    'relu'
    """
    return describe(activation)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The activation that `serialize` wrote down.

    >>> from autograd_ff.keras import activations
    >>> activations.deserialize("relu") is activations.relu
    True
    """
    return find(config, {**_TABLE, **_ALIASES}, "activation", custom_objects)
