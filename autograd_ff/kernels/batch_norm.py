"""Normalising each channel by its mean and variance over the batch.

The channels are dimension 1, ``(N, C, …)``; for (N, C) they are the columns. `batch_statistics` gives the mean and the
biased variance of each, `batch_norm` uses them, and `update_running_statistic` mixes each into the running one. Mean
and variance come into `batch_norm` as inputs, so that they are computed once; they are what its definition computes
itself, and its gradient is that of the whole.
"""

from __future__ import annotations

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, kernel

# Elements of one chunk of rows.
CHUNK = 1 << 16


def reduced_axes(ndim):
    return (0, *range(2, ndim))


def per_channel(value, ndim):
    """Numbers (C,) in a shape that broadcasts against (N, C, …)."""
    return np.reshape(value, (-1, *[1] * (ndim - 2)))


def definition(x, weight=None, bias=None, mean=None, var=None, eps=1e-5):
    """``(x - mean) / √(var + eps) * weight + bias``, mean and (biased) variance being those of each channel of x."""
    axes = reduced_axes(x.ndim)
    centred = x - np.mean(x, axis=axes, keepdims=True)
    out = centred / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + eps)
    if weight is not None:
        out = out * per_channel(weight, x.ndim)
    return out if bias is None else out + per_channel(bias, x.ndim)


def _as_columns(x):
    """(N, C, …) as rows with the channels as columns."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) if x.ndim > 2 else x


def _as_channels(columns, shape):
    if len(shape) == 2:
        return columns
    return np.ascontiguousarray(np.moveaxis(columns.reshape(shape[0], *shape[2:], shape[1]), -1, 1))


def _mean_of_columns(columns):
    # A product with a vector runs on BLAS, which is several times faster than a sum over rows.
    rows = len(columns)
    return (np.ones(rows, columns.dtype) @ columns) / max(rows, 1)


def _chunks(columns):
    """As many rows at once as stay in the processor's cache."""
    count, width = columns.shape
    step = max(1, CHUNK // max(width, 1))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _mean_of_products(columns, middle, other):
    """The mean over the rows of (columns - middle) times itself, or times ``other``, chunk by chunk."""
    total = np.zeros(columns.shape[1], columns.dtype)
    parts = _chunks(columns)
    if not parts:
        return total
    ones = np.ones(parts[0].stop, columns.dtype)
    # One array for all chunks: fresh memory costs more than the work.
    memory = np.empty((parts[0].stop, columns.shape[1]), columns.dtype)
    for part in parts:
        rows = part.stop - part.start
        product = np.subtract(columns[part], middle, out=memory[:rows])
        np.multiply(product, product if other is None else other[part], out=product)
        total += ones[:rows] @ product
    total /= len(columns)
    return total


def _statistics(columns):
    mean = _mean_of_columns(columns)
    return mean, _mean_of_products(columns, mean, None)


def _batch_statistics(x):
    return _statistics(_as_columns(x))


def forward(x, weight=None, bias=None, mean=None, var=None, eps=1e-5):
    columns = _as_columns(x)
    if mean is None:
        mean, var = _statistics(columns)
    with np.errstate(divide="ignore"):  # with eps 0, a channel of equal numbers
        rstd = 1 / np.sqrt(var + eps)
    scale = rstd if weight is None else rstd * weight
    out = np.empty(columns.shape, x.dtype)
    for part in _chunks(columns):
        result = np.subtract(columns[part], mean, out=out[part])
        np.multiply(result, scale, out=result)
        if bias is not None:
            np.add(result, bias, out=result)
    return _as_channels(out, x.shape), mean, rstd


def backward(g, x, weight, bias, middle, rstd, needs):
    """With x̂ the normalised channel: weight rstd (g - mean(g) - x̂ mean(g x̂)); Σ g x̂; Σ g."""
    columns, up = _as_columns(x), _as_columns(g)
    count = len(columns)
    mean_up = _mean_of_columns(up)
    of_weight, gradient = None, None
    if needs[0] or needs[1]:
        along = _mean_of_products(columns, middle, up) * rstd  # mean(g x̂)
        of_weight = along * count if needs[1] else None
        if needs[0]:
            out = np.empty(columns.shape, x.dtype)
            scale = rstd if weight is None else rstd * weight
            along = along * rstd
            for part in _chunks(columns):
                result = np.subtract(columns[part], middle, out=out[part])
                np.multiply(result, along, out=result)
                np.add(result, mean_up, out=result)
                np.subtract(up[part], result, out=result)
                np.multiply(result, scale, out=result)
            gradient = _as_channels(out, x.shape)
    return gradient, of_weight, mean_up * count if needs[2] else None, None, None


def _draw_input(draw: Draw):
    shape = (draw.integer(2, 4), draw.integer(1, 3), *draw.choice([(), (2,), (3,), (2, 2)]))
    # Apart from each other along the batch, so that no channel's variance is near 0.
    apart = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return draw.array(shape) + 3.0 * apart


def draw(draw: Draw) -> Call:
    x = _draw_input(draw)
    weight = draw.array(x.shape[1:2]) if draw.boolean() else None
    bias = draw.array(x.shape[1:2]) if draw.boolean() else None
    # Without the statistics: with them x would have a gradient that moving x alone does not show.
    return Call((x, weight, bias, None, None), {"eps": draw.choice([1e-5, 0.1])})


def draw_statistics(draw: Draw) -> Call:
    return Call((_draw_input(draw),))


batch_norm = kernel(
    definition,
    name="batch_norm",
    forward=forward,
    backward=backward,
    residuals=("middle", "rstd"),
    inputs=("x", "weight", "bias", "mean", "var"),
    params={"eps": 1e-5},
    promotion="float",
    promoted=(0, 1, 2),
    domain=draw,
)

# Mean and biased variance of each channel.
batch_statistics = kernel(
    None,
    NONDIFFERENTIABLE,
    name="batch_statistics",
    forward=_batch_statistics,
    inputs=("x",),
    outputs=2,
    promotion="float",
    promoted=(0,),
    domain=draw_statistics,
)


def _update(running, new, momentum, factor):
    np.multiply(running, 1 - momentum, out=running)
    return np.add(running, new * (momentum * factor), out=running, casting="same_kind")


def draw_update(draw: Draw) -> Call:
    size = (draw.integer(1, 4),)
    return Call((draw.array(size), draw.array(size)), {"momentum": draw.choice([0.1, 1.0]), "factor": 1.5})


# running = (1 - momentum) running + momentum factor new. The factor makes the unbiased variance of the biased one.
update_running_statistic = kernel(
    None,
    NONDIFFERENTIABLE,
    name="update_running_statistic",
    forward=_update,
    inputs=("running", "new"),
    mutates=("running",),
    params={"momentum": 0.1, "factor": 1.0},
    domain=draw_update,
)
