"""``x @ weight.T + bias``, the feedforward layer's affine map."""

from __future__ import annotations

import math

import numpy as np

from ..engine import Call, Draw, here, kernel
from ..errors import ShapeError


def definition(x, weight, bias=None):
    product = np.matmul(x, np.swapaxes(weight, -1, -2))
    return product if bias is None else product + bias


def forward(x, weight, bias=None):
    try:
        if weight.ndim != 2:
            raise ValueError
        if x.ndim <= 2:
            out = np.matmul(x, weight.T)
        else:  # one product of all rows, rather than one for each matrix of the batch
            fan_out, fan_in = weight.shape
            if x.shape[-1] != fan_in:
                raise ValueError
            out = np.matmul(rows(x, fan_in), weight.T).reshape((*x.shape[:-1], fan_out))
    except ValueError:
        raise misfit(x, weight) from None
    if bias is not None:
        if bias.shape != weight.shape[:1]:
            raise ShapeError(
                f"linear: the bias has shape {bias.shape}, and for a weight of shape {weight.shape} (out_features, "
                f"in_features) it must be {weight.shape[:1]}.{here()}"
            )
        out += bias  # the product is ours, so the sum needs no second array
    return out


def misfit(x, weight):
    """The error for an input whose last dimension is not in_features."""
    shape = tuple(x.shape)
    if weight.ndim != 2:
        return ShapeError(
            f"linear: the weight must be a matrix (out_features, in_features), not {weight.shape}.{here()}"
        )
    fan_out, fan_in = weight.shape
    message = (
        f"linear: an input of shape {shape} does not fit a weight of shape {(fan_out, fan_in)} (out_features, "
        f"in_features): its last dimension must be {fan_in}.{here()}"
    )
    for start in range(len(shape)):
        if math.prod(shape[start:]) == fan_in:
            return ShapeError(f"{message}\n  Its dimensions {shape[start:]} hold {fan_in} numbers together; flatten "
                              f"first: x.flatten({start})")  # fmt: skip
    if len(shape) == 2 and shape[0] == fan_in:
        return ShapeError(f"{message}\n  Its first dimension is; transpose first: x.T")
    return ShapeError(message)


def rows(x, width):
    """All leading dimensions as one."""
    return np.reshape(x, (math.prod(x.shape[:-1]), width))


def input_gradient(g, weight):
    if len(g.shape) <= 2:
        return np.matmul(g, weight)
    out_features, in_features = weight.shape
    return np.reshape(np.matmul(rows(g, out_features), weight), (*g.shape[:-1], in_features))


def weight_gradient(g, x, meta_weight):
    out_features, in_features = meta_weight.shape
    return np.matmul(np.swapaxes(rows(g, out_features), 0, 1), rows(x, in_features))


def bias_gradient(g, meta_bias):
    # A product with ones runs on BLAS, which is several times faster than a sum over rows.
    flat = rows(g, meta_bias.shape[0])
    return np.matmul(np.ones(flat.shape[0], dtype=g.dtype), flat)


def draw(draw: Draw) -> Call:
    batch, fan_in, fan_out = draw.shape(max_dims=2), draw.integer(1, 4), draw.integer(1, 4)
    weight, bias = draw.array((fan_out, fan_in)), draw.array((fan_out,))
    return Call((draw.array((*batch, fan_in)), weight, bias if draw.boolean() else None))


linear = kernel(
    definition,
    input_gradient,
    weight_gradient,
    bias_gradient,
    name="linear",
    forward=forward,
    inputs=("x", "weight", "bias"),
    promotion="common",
    promoted=(0, 1, 2),
    domain=draw,
)
