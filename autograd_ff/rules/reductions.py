"""Functions that reduce dimensions: sums, products, extremes, moments, norms."""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONDIFFERENTIABLE, NONZERO, REAL, Call, Domain, Draw, composite, primitive


def axes_of(axis, ndim):
    """The reduced axes as a tuple of non-negative numbers; None means all of them.

    >>> axes_of(-1, 3), axes_of(None, 2)
    ((2,), (0, 1))
    """
    if axis is None:
        return tuple(range(ndim))
    return tuple(one % ndim if ndim else 0 for one in (axis if isinstance(axis, tuple) else (axis,)))


def kept(shape, axis):
    """The shape of a reduction with its reduced dimensions kept as 1.

    >>> kept((2, 3, 4), (0, -1))
    (1, 3, 1)
    """
    axes = axes_of(axis, len(shape))
    return tuple(1 if position in axes else side for position, side in enumerate(shape))


def count(shape, axis):
    """How many numbers go into each result."""
    return math.prod(shape[one] for one in axes_of(axis, len(shape))) if shape else 1


def spread(g, meta, axis):
    """A reduction's gradient, brought back to the shape of its input."""
    return np.broadcast_to(np.reshape(g, kept(meta.shape, axis)), meta.shape)


def draw_reduction(draw: Draw, domain: Domain = REAL, distinct: bool = False) -> Call:
    shape = draw.shape()
    array = draw.distinct(shape) if distinct else draw.array(shape, domain)
    axes: list = [None, *range(-len(shape), len(shape))]
    if len(shape) > 1 and not distinct:
        axes += [(0, 1), (-1, 0)]
    return Call((array,), {"axis": draw.choice(axes), "keepdims": draw.boolean()})


_REDUCTION = {"axis": None, "keepdims": False}

sum = primitive(
    np.sum,
    lambda g, meta_a, axis: spread(g, meta_a, axis),
    inputs=("a",),
    params=_REDUCTION,
    promotion="common",
    domain=draw_reduction,
    analytic=True,
)
mean = primitive(
    np.mean,
    lambda g, meta_a, axis: spread(g, meta_a, axis) / max(count(meta_a.shape, axis), 1),
    inputs=("a",),
    params=_REDUCTION,
    promotion="float",
    domain=draw_reduction,
    analytic=True,
)


def _share(g, a, out, axis):
    """The gradient of an extreme value, shared evenly among the elements that attain it."""
    chosen = np.equal(a, np.reshape(out, kept(a.shape, axis)))
    return spread(g, a, axis) * (chosen / np.sum(chosen, axis=axis, keepdims=True))


def _where_extreme(a, out, axis):
    return np.equal(a, np.reshape(out, kept(a.shape, axis)))


amax = primitive(
    np.max,
    _share,
    name="amax",
    inputs=("a",),
    params=_REDUCTION,
    domain=lambda draw: draw_reduction(draw, distinct=True),
    branches=_where_extreme,
)
amin = primitive(
    np.min,
    _share,
    name="amin",
    inputs=("a",),
    params=_REDUCTION,
    domain=lambda draw: draw_reduction(draw, distinct=True),
    branches=_where_extreme,
)


def _others(a, axis):
    """For each element, the product of all the others along its axis: exact where there are zeros."""
    size = a.shape[axis]
    columns = [
        np.prod(np.concatenate([_part(a, axis, 0, i), _part(a, axis, i + 1, size)], axis=axis), axis=axis, keepdims=True)
        for i in range(size)
    ]
    return np.concatenate(columns, axis=axis)


def _part(a, axis, start, stop):
    return a[(slice(None),) * axis + (slice(start, stop),)]
