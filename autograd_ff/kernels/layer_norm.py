"""Normalising each row: by its mean and variance (layer normalisation), or by its mean square alone (RMS).

A row is what lies along the last ``dims`` dimensions. The backward pass needs the input and two numbers a row, its mean
and ``1 / √(variance + eps)``; the normalised rows are computed again rather than kept. Both passes work on as many rows at
once as stay in the processor's cache, and sums along a row are products with a vector, which run on BLAS.
"""

from __future__ import annotations

import math

import numpy as np

from ..engine import Call, Draw, kernel

# Elements of one chunk of rows.
CHUNK = 1 << 16


def row_axes(dims):
    return tuple(range(-dims, 0))


def definition(x, weight=None, bias=None, dims=1, eps=1e-5):
    """``(x - mean) / √(var + eps) * weight + bias``, mean and (biased) variance being those of the last dims."""
    centred = x - np.mean(x, axis=row_axes(dims), keepdims=True)
    out = centred / np.sqrt(np.mean(centred * centred, axis=row_axes(dims), keepdims=True) + eps)
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


def rms_definition(x, weight=None, dims=1, eps=1e-5):
    """``x / √(mean(x²) + eps) * weight``, the mean being that of the last dims."""
    out = x / np.sqrt(np.mean(x * x, axis=row_axes(dims), keepdims=True) + eps)
    return out if weight is None else out * weight


def as_rows(x, dims):
    width = math.prod(x.shape[x.ndim - dims :])
    return np.reshape(x, (x.size // width if width else 0, width))


def chunks(rows):
    count, width = rows.shape
    step = max(1, CHUNK // max(width, 1))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def scratch(rows, parts):
    """Memory for a chunk's intermediate values: one array for all chunks, because fresh memory costs more than the work."""
    return np.empty((parts[0].stop if parts else 0, rows.shape[1]), rows.dtype)


def _flat(parameter):
    return None if parameter is None else np.reshape(parameter, -1)


def _reciprocal_root(mean_square, eps):
    with np.errstate(divide="ignore"):  # with eps 0, a row of equal numbers
        return 1 / np.sqrt(mean_square + eps)


def forward(x, weight=None, bias=None, dims=1, eps=1e-5):
    return _forward(x, _flat(weight), _flat(bias), dims, eps, True)


def rms_forward(x, weight=None, dims=1, eps=1e-5):
    out, _, rstd = _forward(x, _flat(weight), None, dims, eps, False)
    return out, rstd


def _forward(x, weight, bias, dims, eps, centre):
    rows = as_rows(x, dims)
    count, width = rows.shape
    out = np.empty(rows.shape, x.dtype)
    rstd = np.empty(count, x.dtype)
    mean = np.empty(count, x.dtype) if centre else None
    ones, divisor = np.ones(width, x.dtype), max(width, 1)
    parts = chunks(rows)
    memory = None if mean is None else scratch(rows, parts)
    for part in parts:
        row, result = rows[part], out[part]
        if mean is not None:
            middle = row @ ones
            middle /= divisor  # a product with 1/n would round the mean of equal numbers to another number
            mean[part] = middle
            row = np.subtract(row, middle[:, None], out=result)
        squares = np.multiply(row, row, out=result if memory is None else memory[: len(row)])
        scale = rstd[part] = _reciprocal_root((squares @ ones) / divisor, eps)
        np.multiply(row, scale[:, None], out=result)
        if weight is not None:
            np.multiply(result, weight, out=result)
        if bias is not None:
            np.add(result, bias, out=result)
    return out.reshape(x.shape), mean, rstd


def backward(g, x, weight, bias, mean, rstd, dims, needs):
    gradient, scale, shift = _backward(g, x, _flat(weight), mean, rstd, dims, needs[0], needs[1], needs[2])
    return gradient, _shaped(scale, weight), _shaped(shift, bias)


def rms_backward(g, x, weight, rstd, dims, needs):
    gradient, scale, _ = _backward(g, x, _flat(weight), None, rstd, dims, needs[0], needs[1], False)
    return gradient, _shaped(scale, weight)


def _shaped(gradient, parameter):
    return None if gradient is None else gradient.reshape(parameter.shape)


def _backward(g, x, weight, mean, rstd, dims, for_x, for_weight, for_bias):
    """With x̂ the normalised row and h = g * weight: rstd (h - mean(h) - x̂ mean(h x̂)); Σ g x̂; Σ g."""
    rows, upstream = as_rows(x, dims), as_rows(g, dims)
    width = rows.shape[1]
    gradient = np.empty(rows.shape, x.dtype) if for_x else None
    of_weight = np.zeros(width, x.dtype) if for_weight else None
    of_bias = np.zeros(width, x.dtype) if for_bias else None
    average = np.full(width, 1 / max(width, 1), x.dtype)
    if weight is not None:
        average *= weight  # so that g @ average is the mean of h
    parts = chunks(rows)
    memory, more = scratch(rows, parts), None if mean is None else scratch(rows, parts)
    for part in parts:
        row, up, scale = rows[part], upstream[part], rstd[part]
        if of_bias is not None:
            of_bias += np.ones(len(up), x.dtype) @ up
        if gradient is None and of_weight is None:
            continue
        centred = row if mean is None or more is None else np.subtract(row, mean[part][:, None], out=more[: len(row)])
        product = np.multiply(up, centred, out=memory[: len(row)])
        if of_weight is not None:
            of_weight += scale @ product
        if gradient is None:
            continue
        result = gradient[part]
        along = product @ average
        along *= scale
        along *= scale  # mean(h x̂) times the factor of x̂, which is centred * rstd
        np.multiply(centred, along[:, None], out=product)
        if mean is not None:
            product += (up @ average)[:, None]
        if weight is not None:
            up = np.multiply(up, weight, out=result)
        np.subtract(up, product, out=result)
        np.multiply(result, scale[:, None], out=result)
    return None if gradient is None else gradient.reshape(x.shape), of_weight, of_bias


def _shapes(draw: Draw):
    # At least two numbers a row, and a row of different ones: of equal ones the derivative is that of √eps alone.
    inner = draw.choice([(4,), (2, 3), (3,), (5,)])
    return (*draw.shape(max_dims=2), *inner), inner


def _spread(array):
    """The numbers, moved apart along the last dimension, so that no row's variance is near 0."""
    return array + np.arange(array.shape[-1])


def draw(draw: Draw) -> Call:
    shape, inner = _shapes(draw)
    weight = draw.array(inner) if draw.boolean() else None
    bias = draw.array(inner) if draw.boolean() else None
    return Call((_spread(draw.array(shape)), weight, bias), {"dims": len(inner), "eps": draw.choice([1e-5, 0.1])})


def draw_rms(draw: Draw) -> Call:
    shape, inner = _shapes(draw)
    weight = draw.array(inner) if draw.boolean() else None
    return Call((_spread(draw.array(shape)), weight), {"dims": len(inner), "eps": draw.choice([1e-5, 0.1])})


layer_norm = kernel(
    definition,
    name="layer_norm",
    forward=forward,
    backward=backward,
    residuals=("mean", "rstd"),
    inputs=("x", "weight", "bias"),
    params={"dims": 1, "eps": 1e-5},
    promotion="float",
    promoted=(0, 1, 2),
    domain=draw,
)

rms_norm = kernel(
    rms_definition,
    name="rms_norm",
    forward=rms_forward,
    backward=rms_backward,
    residuals=("rstd",),
    inputs=("x", "weight"),
    params={"dims": 1, "eps": 1e-5},
    promotion="float",
    promoted=(0, 1),
    domain=draw_rms,
)
