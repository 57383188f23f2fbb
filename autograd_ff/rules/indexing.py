"""Selecting elements: slices, integers, masks, index arrays."""

from __future__ import annotations

import operator

import numpy as np

from ..engine import BOOLEAN, NONDIFFERENTIABLE, REAL, Call, Draw, Scatter, composite, primitive
from ..engine.core_ops import index_add, is_basic, keep_array


def _draw_basic(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    index = []
    for side in shape[: draw.integer(0, len(shape))]:
        start, stop = draw.integer(0, side - 1), draw.integer(1, side)
        index.append(
            draw.choice([slice(None), draw.integer(-side, side - 1), slice(start, stop), slice(None, None, -1)])
        )
    if draw.boolean():
        index.insert(0, None)
    return Call((draw.array(shape),), {"index": tuple(index)})


def _draw_advanced(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    if draw.boolean():
        return Call((draw.array(shape),), {"index": draw.array(shape, BOOLEAN)})
    index = draw.integers(draw.shape(max_dims=2), -shape[0], shape[0] - 1)
    return Call((draw.array(shape),), {"index": index})


def _slice(a, index):
    out = a[index]
    return out if out.__class__ is np.ndarray else a[keep_array(index)]


# a[index] by integers, slices, None and Ellipsis: a view
slice_view = primitive(
    operator.getitem,
    lambda g, index: Scatter(index, g),
    name="slice",
    forward=_slice,
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


def _draw_permutation(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    order = np.argsort(draw.distinct((shape[0],)), kind="stable")
    return Call((draw.array(shape), order, np.argsort(order, kind="stable")))


def _permute_back(g, order, inverse):
    return permute_rows(g, inverse, order)


# a[order], for an order of all rows whose inverse is known: its gradient gathers, which is many times faster than the
# adding up that the gradient of a[index] needs where places may repeat
permute_rows = primitive(
    lambda a, order, inverse: a[order],
    _permute_back,
    None,
    None,
    name="permute_rows",
    inputs=("a", "order", "inverse"),
    domain=_draw_permutation,
    analytic=True,
)


def select(a, index):
    """The op and index for ``a[index]``."""
    return slice_view if is_basic(index) else take


def _draw_triangle(draw: Draw) -> Call:
    shape = draw.shape(max_dims=1)
    matrix = (draw.integer(1, 4), draw.integer(1, 4))
    return Call((draw.array((*shape, *matrix)),), {"k": draw.integer(-3, 3)})


tril = primitive(
    np.tril, lambda g, k: np.tril(g, k), inputs=("m",), params={"k": 0}, domain=_draw_triangle, analytic=True
)
triu = primitive(
    np.triu, lambda g, k: np.triu(g, k), inputs=("m",), params={"k": 0}, domain=_draw_triangle, analytic=True
)

# the positions of the elements that are not 0, one a row
argwhere = primitive(np.argwhere, NONDIFFERENTIABLE, inputs=("a",), domain=REAL)


def diagonal_index(rows, columns, offset):
    """Row and column of each element of a diagonal.

    >>> diagonal_index(2, 3, 1)
    (array([0, 1]), array([1, 2]))
    """
    length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    return np.arange(length) - min(offset, 0), np.arange(length) + max(offset, 0)


def _draw_diagonal(draw: Draw) -> Call:
    shape = draw.shape(min_dims=2)
    axis1 = draw.integer(0, len(shape) - 1)
    axis2 = (axis1 + draw.integer(1, len(shape) - 1)) % len(shape)
    return Call((draw.array(shape),), {"offset": draw.integer(-2, 2), "axis1": axis1, "axis2": axis2})


@composite(np.diagonal, domain=_draw_diagonal)
def diagonal(a, offset=0, axis1=0, axis2=1):
    """The diagonals of the matrices in two axes, along a last axis."""
    moved = np.moveaxis(a, (axis1, axis2), (-2, -1))
    return moved[(..., *diagonal_index(moved.shape[-2], moved.shape[-1], offset))]


@composite(np.trace, domain=_draw_diagonal)
def trace(a, offset=0, axis1=0, axis2=1):
    """The sums of the diagonals of the matrices in two axes."""
    return np.sum(diagonal(a, offset=offset, axis1=axis1, axis2=axis2), axis=-1)


def _draw_diag(draw: Draw) -> Call:
    return Call((draw.array(draw.shape(min_dims=1, max_dims=2)),), {"k": draw.integer(-2, 2)})


@composite(np.diag, domain=_draw_diag)
def diag(v, k=0):
    """The diagonal of a matrix, or the matrix with a vector as its diagonal."""
    if len(v.shape) == 2:
        return diagonal(v, offset=k)
    side = v.shape[0] + abs(k)
    index = diagonal_index(side, side, k)
    return index_add(np.zeros((side, side), dtype=v.dtype), v, index=index)
