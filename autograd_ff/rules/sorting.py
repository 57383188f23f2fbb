"""Sorting: an op that finds indices, which has no derivative, and `take_along_axis`, which has."""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, composite, primitive


def _add_along_axis(values, indices, axis, shape):
    if axis is None:
        flat = np.where(indices < 0, indices + math.prod(shape), indices)
    else:
        # By flat positions: one index array adds several times faster than a tuple of them.
        axis = axis % len(shape)
        flat = np.where(indices < 0, indices + shape[axis], indices) * math.prod(shape[axis + 1 :])
        for position, side in enumerate(values.shape):
            if position != axis:
                steps = np.arange(side) * math.prod(shape[position + 1 :])
                flat = flat + np.reshape(steps, [-1 if one == position else 1 for one in range(len(shape))])
    total = np.zeros(math.prod(shape), values.dtype)
    flat = np.reshape(np.broadcast_to(flat, values.shape), -1)
    if axis is not None and values.shape[axis] == 1:  # one place in each row: nothing to add up
        total[flat] = np.reshape(values, -1)
    else:
        np.add.at(total, flat, np.reshape(values, -1))
    return np.reshape(total, shape)


def _draw_along(draw: Draw) -> tuple:
    shape = draw.shape(min_dims=1)
    axis = draw.integer(-len(shape), len(shape) - 1)
    sides = list(shape)
    sides[axis] = draw.integer(1, 4)
    return shape, axis, draw.integers(tuple(sides), -shape[axis], shape[axis] - 1)


def _corner(g, shape, axis):
    """The first positions of each dimension, as many as ``shape`` has, and all along the axis."""
    if axis is None:
        return g
    axis = axis % len(shape)
    return g[tuple(slice(None) if one == axis else slice(side) for one, side in enumerate(shape))]


def _draw_add(draw: Draw) -> Call:
    shape, axis, indices = _draw_along(draw)
    indices = indices[tuple(slice(draw.integer(1, side)) for side in indices.shape)]
    return Call((draw.array(indices.shape), indices), {"axis": axis, "shape": shape})


# zeros of a shape, with each value added where its index along the axis points
add_along_axis = primitive(
    _add_along_axis,
    lambda g, meta_values, indices, axis: np.take_along_axis(_corner(g, meta_values.shape, axis), indices, axis=axis),
    None,
    name="add_along_axis",
    inputs=("values", "indices"),
    params={"axis": None, "shape": ()},
    domain=_draw_add,
    analytic=True,
)


def _draw_take(draw: Draw) -> Call:
    shape, axis, indices = _draw_along(draw)
    if draw.boolean():
        return Call((draw.array(shape), indices), {"axis": axis})
    return Call((draw.array(shape), draw.integers((3,), 0, math.prod(shape) - 1)), {"axis": None})


take_along_axis = primitive(
    np.take_along_axis,
    lambda g, meta_arr, indices, axis: add_along_axis(g, indices, axis=axis, shape=meta_arr.shape),
    None,
    inputs=("arr", "indices"),
    params={"axis": -1},
    domain=_draw_take,
    analytic=True,
)


def _draw_sort(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    return Call((draw.distinct(shape),), {"axis": draw.integer(-len(shape), len(shape) - 1)})


def _argsort(a, axis=-1, kind=None, stable=None, descending=False):
    """Always stable. NaN counts as the largest number."""
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    if not a.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(a, axis, kind="stable")
    # Sorted from the far end and read backwards: descending, and equal elements in their order all the same.
    backwards = np.argsort(np.flip(a, axis), axis, kind="stable")
    return np.ascontiguousarray(np.flip(a.shape[axis] - 1 - backwards, axis))


argsort = primitive(
    np.argsort,
    NONDIFFERENTIABLE,
    inputs=("a",),
    params={"axis": -1, "kind": None, "stable": None, "descending": False},
    forward=_argsort,
    domain=_draw_sort,
)


@composite(np.sort, domain=_draw_sort, name="np.sort")
def sort(a, axis=-1, kind=None, stable=None):
    """NumPy's sort, ascending and stable."""
    if axis is None:
        a, axis = np.reshape(a, (math.prod(a.shape),)), 0
    return np.take_along_axis(a, np.argsort(a, axis=axis), axis=axis)


def _argmedian(a, axis):
    """The place of the lower of the two middle elements; of a NaN, where there is one."""
    order = np.argsort(a, axis, kind="stable")
    lower = np.take(order, [(a.shape[axis] - 1) // 2], axis)
    last = np.take(order, [a.shape[axis] - 1], axis)
    return np.where(np.isnan(np.take_along_axis(a, last, axis)), last, lower)


argmedian = primitive(
    _argmedian, NONDIFFERENTIABLE, name="argmedian", inputs=("a",), params={"axis": -1}, domain=_draw_sort
)
