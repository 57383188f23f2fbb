"""Initial values of parameters: each function fills a tensor in place, without recording, and returns it.

The random ones draw from ``generator``, or from the default one that `manual_seed` seeds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import apply, here, no_grad, warn
from ..engine.inplace import assign
from ..errors import ShapeError
from ..functions.random import source
from ..functions.tensor import Tensor
from ..rules import random

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights grow so that the variance survives a nonlinearity.

    1 for ``"linear"``, ``"sigmoid"`` and convolutions; 5/3 for ``"tanh"``; √2 for ``"relu"``; √(2 / (1 + slope²)) for
    ``"leaky_relu"``; 3/4 for ``"selu"``.

    Args:
        nonlinearity: the function's name in `autograd_ff.nn.functional`.
        param: the slope of ``"leaky_relu"``; 0.01 if None.

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity == "leaky_relu":
        slope: Any = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ShapeError(f"the slope of leaky_relu is a number, not {param!r}.{here()}")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity in ("linear", "sigmoid") or nonlinearity.startswith("conv"):
        return 1.0
    gains = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    if nonlinearity not in gains:
        raise ShapeError(
            f"no gain is known for {nonlinearity!r}; known are linear, sigmoid, leaky_relu, {', '.join(gains)} and the "
            f"convolutions.{here()}"
        )
    return gains[nonlinearity]


def _fill(tensor: Tensor, value: Any) -> Tensor:
    with no_grad():
        return assign(tensor, value)


def _draw(op: Any, tensor: Tensor, generator: Any, dtype: Any = None, **params: float) -> Any:
    given: dict[str, Any] = {
        "generator": source(generator),
        "shape": tensor.shape,
        "dtype": dtype or tensor.array.dtype,
        **params,
    }
    return apply(op, (None,), given)


def _uniform(tensor: Tensor, low: float, high: float, generator: Any) -> Any:
    return _draw(random.uniform, tensor, generator, low=low, high=high)


def _normal(tensor: Tensor, mean: float, std: float, generator: Any) -> Any:
    return _draw(random.normal, tensor, generator, mean=mean, std=std)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from U(a, b).

    >>> import autograd_ff as af
    >>> w = af.nn.init.uniform_(af.empty(3, 5))
    >>> bool((w >= 0).all() and (w < 1).all())
    True
    """
    if a > b:
        raise ShapeError(f"U(a, b) needs a <= b, got {a} and {b}.{here()}")
    return _fill(tensor, _uniform(tensor, a, b, generator))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from the normal distribution N(mean, std²).

    >>> import autograd_ff as af
    >>> af.nn.init.normal_(af.empty(3, 5)).shape
    (3, 5)
    """
    _check_std(std)
    return _fill(tensor, _normal(tensor, mean, std, generator))


def _check_std(std: float) -> None:
    if not std >= 0:
        raise ShapeError(f"a standard deviation is 0 or more, got {std}.{here()}")


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Draw from N(mean, std²), limited to [a, b]: the part outside is not moved to the ends but drawn again.

    ``a`` and ``b`` are values, not numbers of standard deviations: with std 0.02 the default ends cut nothing.

    >>> import autograd_ff as af
    >>> w = af.nn.init.trunc_normal_(af.empty(100), std=2.0, a=-1.0, b=1.0)
    >>> bool((w.abs() <= 1).all())
    True
    """
    from scipy.special import ndtr, ndtri  # here, because it takes long to import

    _check_std(std)
    if not a <= b:
        raise ShapeError(f"trunc_normal_ needs a <= b, got {a} and {b}.{here()}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            f"the mean {mean} is more than 2 standard deviations ({std}) outside [{a}, {b}]: nearly all values will be at "
            "one end"
        )
    if std == 0:
        return _fill(tensor, min(max(mean, a), b))
    low, high = (a - mean) / std, (b - mean) / std
    mirrored = low > 0  # probabilities near 1 have no digits left; those near 0 have
    if mirrored:
        low, high = -high, -low
    uniform = _draw(random.uniform, tensor, generator, low=0.0, high=1.0, dtype=np.dtype(np.float64)).array
    standard = ndtri(ndtr(low) + uniform * (ndtr(high) - ndtr(low)))
    values = mean + std * (-standard if mirrored else standard)
    limits = np.asarray([a, b], tensor.array.dtype)
    return _fill(tensor, np.clip(values.astype(tensor.array.dtype), limits[0], limits[1]))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number.

    >>> import autograd_ff as af
    >>> af.nn.init.constant_(af.empty(2), 0.5).tolist()
    [0.5, 0.5]
    """
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1.

    >>> import autograd_ff as af
    >>> af.nn.init.ones_(af.empty(2))
    tensor([1., 1.])
    """
    return _fill(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0.

    >>> import autograd_ff as af
    >>> af.nn.init.zeros_(af.empty(2))
    tensor([0., 0.])
    """
    return _fill(tensor, 0)


def _check_ndim(tensor: Tensor, name: str, *allowed: int) -> None:
    if tensor.ndim not in allowed:
        wanted = " or ".join(map(str, allowed))
        raise ShapeError(
            f"{name} fills tensors of {wanted} dimensions, this one has shape {tuple(tensor.shape)}.{here()}"
        )


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    >>> import autograd_ff as af
    >>> af.nn.init.eye_(af.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    _check_ndim(tensor, "eye_", 2)
    return _fill(tensor, np.eye(*tensor.shape, dtype=tensor.array.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it passes on its input, as many channels as it has outputs for.

    >>> import autograd_ff as af
    >>> af.nn.init.dirac_(af.empty(1, 1, 3))
    tensor([[[0., 1., 0.]]])
    """
    _check_ndim(tensor, "dirac_", 3, 4, 5)
    outputs, inputs, *sides = tensor.shape
    if outputs % groups:
        raise ShapeError(f"{outputs} output channels cannot be split into {groups} groups.{here()}")
    value = np.zeros(tensor.shape, tensor.array.dtype)
    centre = tuple(side // 2 for side in sides)
    each = outputs // groups
    for group in range(groups):
        for channel in range(min(each, inputs)):
            value[(group * each + channel, channel, *centre)] = 1
    return _fill(tensor, value)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output of this weight sums over, and how many outputs each input goes to."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"a weight of shape {tuple(tensor.shape)} has no fan-in and fan-out; it takes 2 dimensions or more.{here()}\n"
            "  For a bias use zeros_, constant_, uniform_ or normal_."
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(tensor: Tensor, mode: str) -> int:
    modes = ("fan_in", "fan_out")
    if str(mode).lower() not in modes:
        raise ShapeError(f"mode is 'fan_in' or 'fan_out', not {mode!r}.{here()}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from U(-k, k) with k = gain √(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".

    >>> import autograd_ff as af
    >>> w = af.nn.init.xavier_uniform_(af.empty(3, 3))
    >>> bool((w.abs() <= 1).all())
    True
    """
    bound = math.sqrt(3.0) * gain * math.sqrt(2.0 / max(1, sum(_calculate_fan_in_and_fan_out(tensor))))
    return _fill(tensor, _uniform(tensor, -bound, bound, generator))


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from N(0, s²) with s = gain √(2 / (fan_in + fan_out)). Source: Glorot and Bengio 2010.

    >>> import autograd_ff as af
    >>> w = af.nn.init.xavier_normal_(af.empty(200, 300))
    >>> abs(w.std().item() - (2 / (200 + 300)) ** 0.5) < 0.002
    True
    """
    std = gain * math.sqrt(2.0 / max(1, sum(_calculate_fan_in_and_fan_out(tensor))))
    return _fill(tensor, _normal(tensor, 0.0, std, generator))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Draw from U(-k, k) with k = gain √(3 / fan).

    Args:
        tensor: a weight of two dimensions or more.
        a: the negative slope of the leaky_relu that follows.
        mode: ``"fan_in"`` keeps the variance on the way forward, ``"fan_out"`` on the way back.
        nonlinearity: what follows the weight, for `calculate_gain`.
        generator: the source of the random numbers.

    Source: He et al. 2015, "Delving deep into rectifiers".

    >>> import autograd_ff as af
    >>> w = af.nn.init.kaiming_uniform_(af.empty(3, 6), nonlinearity="relu")
    >>> bool((w.abs() <= 1).all())
    True
    """
    fan = _fan(tensor, mode)
    bound = math.sqrt(3.0) * calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))
    return _fill(tensor, _uniform(tensor, -bound, bound, generator))


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Draw from N(0, s²) with s = gain / √fan; the arguments are those of `kaiming_uniform_`. Source: He et al. 2015.

    >>> import autograd_ff as af
    >>> w = af.nn.init.kaiming_normal_(af.empty(200, 300), nonlinearity="relu")
    >>> abs(w.std().item() - (2 / 300) ** 0.5) < 0.002
    True
    """
    std = calculate_gain(nonlinearity, a) / math.sqrt(max(1, _fan(tensor, mode)))
    return _fill(tensor, _normal(tensor, 0.0, std, generator))


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill with an orthogonal matrix, uniformly drawn; dimensions beyond the first are taken as one.

    The rows are orthonormal where they are fewer than the columns, else the columns are.

    Source: Saxe, McClelland and Ganguli 2014; the uniform distribution: Mezzadri 2007.

    >>> import autograd_ff as af
    >>> w = af.nn.init.orthogonal_(af.empty(2, 5))
    >>> bool(((w @ w.T - af.eye(2)).abs() < 1e-5).all())
    True
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ fills tensors of 2 dimensions or more, not {tuple(tensor.shape)}.{here()}")
    if not tensor.array.size:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.array.size // rows
    gaussian = _normal(tensor, 0.0, 1.0, generator).array.reshape(rows, columns).astype(np.float64)
    q, r = np.linalg.qr(gaussian.T if rows < columns else gaussian)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # without it the distribution would not be uniform
    matrix = (q.T if rows < columns else q) * gain
    return _fill(tensor, matrix.reshape(tensor.shape).astype(tensor.array.dtype))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Draw a matrix from N(0, std²) and set the share ``sparsity`` of each column to zero. Source: Martens 2010.

    >>> import autograd_ff as af
    >>> w = af.nn.init.sparse_(af.empty(10, 4), sparsity=0.3)
    >>> (w == 0).sum(0).tolist()
    [3, 3, 3, 3]
    """
    _check_ndim(tensor, "sparse_", 2)
    if not 0 <= sparsity <= 1:
        raise ShapeError(f"sparsity is a share between 0 and 1, got {sparsity}.{here()}")
    _check_std(std)
    rows = tensor.shape[0]
    value = _normal(tensor, 0.0, std, generator).array
    order = np.argsort(_uniform(tensor, 0.0, 1.0, generator).array, axis=0)
    np.put_along_axis(value, order[: math.ceil(sparsity * rows)], 0, axis=0)
    return _fill(tensor, value)
