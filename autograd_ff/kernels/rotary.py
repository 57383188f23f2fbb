"""Pairs of features turned by angles, as rotary positions turn queries and keys."""

from __future__ import annotations

import numpy as np

from ..engine import Call, Draw, kernel
from ..rules.nested import nested


def definition(x, cos, sin, interleaved=False):
    """Pair (a, b) of the first features becomes (a cos - b sin, a sin + b cos); the features after them stay.

    Args:
        x: (…, L, D).
        cos, sin: of the angles, (…, L, R) with 2 R ≤ D; they broadcast against x.
        interleaved: whether a pair are neighbours, features 2i and 2i + 1, or i and i + R.
    """
    count = cos.shape[-1]
    if interleaved:
        first, second = x[..., 0 : 2 * count : 2], x[..., 1 : 2 * count : 2]
    else:
        first, second = x[..., :count], x[..., count : 2 * count]
    turned = (first * cos - second * sin, first * sin + second * cos)
    if interleaved:
        together = np.stack(turned, axis=-1)
        return np.concatenate([np.reshape(together, (*together.shape[:-2], 2 * count)), x[..., 2 * count :]], axis=-1)
    return np.concatenate([*turned, x[..., 2 * count :]], axis=-1)


def forward(x, cos, sin, interleaved=False):
    out = np.empty_like(x, order="K")
    fill_forward(out, x, cos, sin, interleaved)
    return out


def fill_forward(out, x, cos, sin, interleaved):
    """`forward` into an array."""
    count = cos.shape[-1]
    if interleaved:
        places = (slice(0, 2 * count, 2), slice(1, 2 * count, 2))
    else:
        places = (slice(0, count), slice(count, 2 * count))
    (first, second), (left, right) = [[one[..., place] for place in places] for one in (x, out)]
    np.multiply(first, cos, out=left)
    left -= second * sin
    np.multiply(first, sin, out=right)
    right += second * cos
    out[..., 2 * count :] = x[..., 2 * count :]


def draw(draw: Draw) -> Call:
    lead, rows, count = draw.shape(max_dims=2), draw.integer(1, 3), draw.integer(1, 2)
    x = draw.array((*lead, rows, 2 * count + draw.choice([0, 1])))
    angles = draw.array((rows, count))
    return Call((x, np.cos(angles), np.sin(angles)), {"interleaved": draw.boolean()})


def gradient(g, cos, sin, interleaved):
    """The transposed rotation, which is that by the opposite angle."""
    return nested(rotate)(g, cos, -sin, interleaved)


rotate = kernel(
    definition,
    gradient,
    None,
    None,
    name="rotate",
    forward=forward,
    inputs=("x", "cos", "sin"),
    params={"interleaved": False},
    promotion="float",
    promoted=(0,),
    domain=draw,
)
