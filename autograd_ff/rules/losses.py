"""Losses that compare a prediction with a target element by element, each one op."""

from __future__ import annotations

import math

import numpy as np

from ..engine import PROBABILITY, REAL, Call, Domain, Draw, here, primitive
from ..errors import ShapeError
from .nested import nested
from .special import sigmoid

_sigmoid = nested(sigmoid)


def _pair(first: Domain, second: Domain, **params):
    """A sampler of two arrays of one shape; ``params`` are drawn from the choices that it maps each name to."""

    def sample(draw: Draw) -> Call:
        shape = draw.shape()
        chosen = {key: draw.choice(values) for key, values in params.items()}
        return Call((draw.array(shape, first), draw.array(shape, second)), chosen)

    return sample


def _loss(function, *vjps, name, domain, params=None, branches=None):
    return primitive(
        function,
        *vjps,
        name=name,
        inputs=("input", "target"),
        params=params,
        promotion="float",
        domain=domain,
        branches=branches,
    )


def _squared_error(input, target, reduction="mean"):
    difference = np.subtract(input, target)
    if reduction == "none":
        return np.square(difference)
    flat = difference.reshape(-1)
    total = np.dot(flat, flat)  # one pass, without an array of squares
    return total if reduction == "sum" else np.divide(total, difference.size)


def _twice(g, shape, reduction):
    """2 g, divided among the elements where the loss is their mean."""
    return g * (2 / max(math.prod(shape), 1) if reduction == "mean" else 2.0)


mse = _loss(
    _squared_error,
    lambda g, input, target, reduction: _twice(g, input.shape, reduction) * (input - target),
    lambda g, input, target, reduction: _twice(g, input.shape, reduction) * (target - input),
    name="mse_loss",
    params={"reduction": "mean"},
    domain=_pair(REAL, REAL, reduction=["mean", "sum", "none"]),
)


def _huber(input, target, delta=1.0, scale=1.0):
    size = np.abs(input - target)
    near = np.minimum(size, delta)
    return (scale * near) * (size - 0.5 * near)


def _huber_slope(input, target, delta, scale):
    return scale * np.clip(input - target, -delta, delta)


def _draw_huber(draw: Draw) -> Call:
    shape = draw.shape()
    target = draw.array(shape)
    difference = draw.array(shape, REAL.away_from(-2.0, -1.0, 0.0, 1.0, 2.0))
    return Call((target + difference, target), {"delta": draw.choice([1.0, 2.0]), "scale": draw.choice([1.0, 0.5])})


# scale (d² / 2) where |d| ≤ delta, and its tangent beyond: huber with scale 1, smooth L1 with scale 1 / beta
huber = _loss(
    _huber,
    lambda g, input, target, delta, scale: g * _huber_slope(input, target, delta, scale),
    lambda g, input, target, delta, scale: -g * _huber_slope(input, target, delta, scale),
    name="huber_loss",
    params={"delta": 1.0, "scale": 1.0},
    domain=_draw_huber,
    branches=lambda input, target, delta: np.greater(np.abs(input - target), delta),
)


def _binary_cross_entropy(input, target):
    if input.size and not (input.min() >= 0 and input.max() <= 1):
        raise ShapeError(
            f"binary_cross_entropy takes probabilities in [0, 1], got numbers from {input.min()} to {input.max()}.{here()}"
            "\n  Pass them through sigmoid first, or the logits themselves to binary_cross_entropy_with_logits."
        )
    with np.errstate(divide="ignore"):
        hit, miss = np.log(input), np.log1p(-input)
    return -(target * np.maximum(hit, -100) + (1 - target) * np.maximum(miss, -100))


# The logarithms are bounded by -100, and so is the gradient's denominator from below, as PyTorch has it.
binary_cross_entropy = _loss(
    _binary_cross_entropy,
    lambda g, input, target: g * (input - target) / np.maximum(input * (1 - input), 1e-12),
    lambda g, input: g * (np.maximum(np.log1p(-input), -100) - np.maximum(np.log(input), -100)),
    name="binary_cross_entropy",
    domain=_pair(PROBABILITY, PROBABILITY),
)


def _with_logits(input, target):
    loss = np.log1p(np.exp(-np.abs(input)))
    return loss + np.maximum(input, 0) - input * target


binary_cross_entropy_with_logits = _loss(
    _with_logits,
    lambda g, input, target: g * (_sigmoid(input) - target),
    lambda g, input: -g * input,
    name="binary_cross_entropy_with_logits",
    domain=_pair(REAL, PROBABILITY),
)
