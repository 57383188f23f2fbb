"""Clipping gradients: their common norm, and writing them smaller in place."""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, kernel

__all__ = ["clip_gradient", "gradient_norm", "scale_gradient"]


def _euclidean(arrays):
    total = 0.0
    for array in arrays:
        flat = array.ravel()
        total += float(np.dot(flat, flat))
    if not math.isfinite(total) or total < 1e-30:  # the squares may have left float32's range where the norm does not
        total = sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays)
    return math.sqrt(total)


def _gradient_norm(*gradients, norm_type=2.0):
    dtype = np.result_type(*gradients)
    with np.errstate(all="ignore"):  # an infinite norm is an answer
        if norm_type == 2:
            norm = _euclidean(gradients)
        else:
            norm = np.linalg.norm([np.linalg.norm(one.ravel(), norm_type) for one in gradients], norm_type)
        return np.asarray(norm, dtype)


def _draw_norm(draw: Draw) -> Call:
    return Call((draw.array(draw.shape()),), {"norm_type": draw.choice([2.0, 1.0, math.inf])})


# The norm of the gradients (one or more) as of one vector: for every p it is the norm of their norms.
gradient_norm = kernel(
    None,
    NONDIFFERENTIABLE,
    name="gradient_norm",
    forward=_gradient_norm,
    inputs=("gradient",),
    params={"norm_type": 2.0},
    domain=_draw_norm,
)


def _scale_gradient(gradient, norm, max_norm):
    factor = max_norm / (float(norm) + 1e-6)
    if not factor >= 1:  # true of NaN, which goes on into the gradient, as in PyTorch
        with np.errstate(all="ignore"):
            np.multiply(gradient, factor, out=gradient)
    return gradient


def _draw_scale(draw: Draw) -> Call:
    return Call((draw.array(draw.shape()), np.asarray(2.0)), {"max_norm": draw.choice([1.0, 3.0])})


# gradient *= min(1, max_norm / (norm + 1e-6)). Pascanu, Mikolov and Bengio 2013; the small number is PyTorch's.
scale_gradient = kernel(
    None,
    NONDIFFERENTIABLE,
    name="scale_gradient",
    forward=_scale_gradient,
    inputs=("gradient", "norm"),
    mutates=("gradient",),
    params={"max_norm": 1.0},
    domain=_draw_scale,
)


def _clip_gradient(gradient, clip_value):
    return np.clip(gradient, -clip_value, clip_value, out=gradient)


def _draw_clip(draw: Draw) -> Call:
    return Call((draw.array(draw.shape()),), {"clip_value": 1.0})


# gradient = min(max(gradient, -clip_value), clip_value)
clip_gradient = kernel(
    None,
    NONDIFFERENTIABLE,
    name="clip_gradient",
    forward=_clip_gradient,
    inputs=("gradient",),
    mutates=("gradient",),
    params={"clip_value": 1.0},
    domain=_draw_clip,
)
