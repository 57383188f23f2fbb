"""Selecting elements: slices, integers, masks, index arrays."""

from __future__ import annotations

import operator

import numpy as np

from ..engine import BOOLEAN, Call, Draw, Scatter, primitive
from ..engine.core_ops import is_basic


def _draw_basic(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    index = []
    for side in shape[: draw.integer(0, len(shape))]:
        start, stop = draw.integer(0, side - 1), draw.integer(1, side)
        index.append(draw.choice([slice(None), draw.integer(-side, side - 1), slice(start, stop), slice(None, None, -1)]))
    if draw.boolean():
        index.insert(0, None)
    return Call((draw.array(shape),), {"index": tuple(index)})


def _draw_advanced(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    if draw.boolean():
        return Call((draw.array(shape),), {"index": draw.array(shape, BOOLEAN)})
    index = draw.integers(draw.shape(max_dims=2), -shape[0], shape[0] - 1)
    return Call((draw.array(shape),), {"index": index})


def normal(index):
    """An index as a tuple with an Ellipsis, so that NumPy returns a 0-d view where it would return a scalar.

    >>> normal(0), normal((slice(2), ...))
    ((0, Ellipsis), (slice(None, 2, None), Ellipsis))
    """
    parts = index if isinstance(index, tuple) else (index,)
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


# a[index] by integers, slices, None and Ellipsis: a view
slice_view = primitive(
    operator.getitem,
    lambda g, index: Scatter(index, g),
    name="slice",
    forward=lambda a, index: a[normal(index)],
    inputs=("a",),
    params={"index": ()},
    view=True,
    domain=_draw_basic,
    analytic=True,
)


def _take(a, index):
    return a[index]


# a[index] by masks and index arrays: a copy
take = primitive(
    _take,
    lambda g, index: Scatter(index, g),
    name="index",
    inputs=("a",),
    params={"index": ()},
    domain=_draw_advanced,
    analytic=True,
)


def select(a, index):
    """The op and index for ``a[index]``."""
    return slice_view if is_basic(index) else take
