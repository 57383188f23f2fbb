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
    """A parameter, or the room for its gradient, as a vector."""
    return None if parameter is None else np.reshape(parameter, -1)


def _reciprocal_root(mean_square, eps):
    with np.errstate(divide="ignore"):  # with eps 0, a row of equal numbers
        return 1 / np.sqrt(mean_square + eps)


def forward(x, weight=None, bias=None, dims=1, eps=1e-5):
    rows = len(as_rows(x, dims))
    out, mean, rstd = np.empty(x.shape, x.dtype), np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    fill_forward(out, mean, rstd, x, weight, bias, dims, eps)
    return out, mean, rstd


def rms_forward(x, weight=None, dims=1, eps=1e-5):
    out, rstd = np.empty(x.shape, x.dtype), np.empty(len(as_rows(x, dims)), x.dtype)
    fill_rms_forward(out, rstd, x, weight, dims, eps)
    return out, rstd


def fill_rms_forward(out, rstd, x, weight, dims, eps):
    """`rms_forward` into contiguous arrays."""
    fill_forward(out, None, rstd, x, weight, None, dims, eps)


def fill_forward(out, mean, rstd, x, weight, bias, dims, eps):
    """`forward` into contiguous arrays; without ``mean``, that of `rms_forward`."""
    rows, out, weight, bias = as_rows(x, dims), as_rows(out, dims), _flat(weight), _flat(bias)
    width = rows.shape[1]
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


def backward(g, x, weight, bias, mean, rstd, dims, needs):
    gradient, of_weight, of_bias = gradients = _room(needs, x, weight, bias)
    fill_backward(gradient, of_weight, of_bias, g, x, weight, bias, mean, rstd, dims)
    return gradients


def rms_backward(g, x, weight, rstd, dims, needs):
    gradient, of_weight = gradients = _room(needs, x, weight)
    fill_rms_backward(gradient, of_weight, g, x, weight, rstd, dims)
    return gradients


def _room(needs, *inputs):
    return tuple(
        np.empty(one.shape, inputs[0].dtype) if need else None for need, one in zip(needs, inputs, strict=True)
    )


def fill_rms_backward(gradient, of_weight, g, x, weight, rstd, dims, needs=None):
    """`rms_backward` into contiguous arrays."""
    fill_backward(gradient, of_weight, None, g, x, weight, None, None, rstd, dims)


def fill_backward(gradient, of_weight, of_bias, g, x, weight, bias, mean, rstd, dims, needs=None):
    """`backward` into contiguous arrays, None for a gradient that is not wanted.

    With x̂ the normalised row and h = g * weight: rstd (h - mean(h) - x̂ mean(h x̂)); Σ g x̂; Σ g.
    """
    rows, upstream = as_rows(x, dims), as_rows(g, dims)
    width = rows.shape[1]
    gradient = None if gradient is None else as_rows(gradient, dims)
    weight, of_weight, of_bias = _flat(weight), _flat(of_weight), _flat(of_bias)
    for total in (of_weight, of_bias):
        if total is not None:
            total.fill(0)
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
