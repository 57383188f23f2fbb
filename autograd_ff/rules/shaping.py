"""Functions that arrange elements anew: reshape, permute, broadcast, join, repeat, pad."""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONDIFFERENTIABLE, REAL, Call, Draw, primitive


def _draw_reshape(draw: Draw) -> Call:
    shape = draw.shape()
    size = math.prod(shape)
    options = [(size,), (1, size), shape[::-1], (*shape, 1)]
    return Call((draw.array(shape),), {"shape": draw.choice(options)})


reshape = primitive(
    np.reshape,
    lambda g, meta_a: np.reshape(g, meta_a.shape),
    inputs=("a",),
    params={"shape": None},
    view=True,
    domain=_draw_reshape,
    analytic=True,
)


def _draw_transpose(draw: Draw) -> Call:
    shape = draw.shape()
    axes = list(range(len(shape)))
    for position in range(len(axes)):
        other = draw.integer(position, len(axes) - 1)
        axes[position], axes[other] = axes[other], axes[position]
    return Call((draw.array(shape),), {"axes": draw.choice([None, tuple(axes)])})


def _inverse(axes, ndim):
    """The permutation that undoes ``axes``."""
    return None if axes is None else tuple(sorted(range(ndim), key=lambda position: axes[position] % ndim))


transpose = primitive(
    np.transpose,
    lambda g, axes: np.transpose(g, _inverse(axes, len(g.shape))),
    inputs=("a",),
    params={"axes": None},
    view=True,
    domain=_draw_transpose,
    analytic=True,
)


def _draw_two_axes(first: str, second: str):
    def sample(draw: Draw) -> Call:
        shape = draw.shape(min_dims=1)
        last = len(shape) - 1
        return Call((draw.array(shape),), {first: draw.integer(0, last), second: draw.integer(-1, last)})

    return sample


swapaxes = primitive(
    np.swapaxes,
    lambda g, axis1, axis2: np.swapaxes(g, axis1, axis2),
    inputs=("a",),
    params={"axis1": 0, "axis2": 1},
    view=True,
    domain=_draw_two_axes("axis1", "axis2"),
    analytic=True,
)
moveaxis = primitive(
    np.moveaxis,
    lambda g, source, destination: np.moveaxis(g, destination, source),
    inputs=("a",),
    params={"source": 0, "destination": 0},
    view=True,
    domain=_draw_two_axes("source", "destination"),
    analytic=True,
)


def _draw_broadcast(draw: Draw) -> Call:
    shape = draw.shape()
    narrow = tuple(1 if draw.boolean() else side for side in shape)
    return Call((draw.array(narrow),), {"shape": (draw.integer(1, 3), *shape)})


broadcast_to = primitive(
    np.broadcast_to,
    lambda g: g,  # the engine sums over what was broadcast
    inputs=("array",),
    params={"shape": None},
    view=True,
    broadcasts=True,
    domain=_draw_broadcast,
    analytic=True,
)


def _draw_expand(draw: Draw) -> Call:
    shape = draw.shape()
    return Call((draw.array(shape),), {"axis": draw.integer(-len(shape) - 1, len(shape))})


expand_dims = primitive(
    np.expand_dims,
    lambda g, meta_a: np.reshape(g, meta_a.shape),
    inputs=("a",),
    params={"axis": 0},
    view=True,
    domain=_draw_expand,
    analytic=True,
)


def _draw_squeeze(draw: Draw) -> Call:
    shape = draw.shape()
    axis = draw.integer(0, len(shape))
    return Call((draw.array((*shape[:axis], 1, *shape[axis:])),), {"axis": draw.choice([None, axis])})


squeeze = primitive(
    np.squeeze,
    lambda g, meta_a: np.reshape(g, meta_a.shape),
    inputs=("a",),
    params={"axis": None},
    view=True,
    domain=_draw_squeeze,
    analytic=True,
)


def _draw_flip(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    axes: list = [None, *range(-len(shape), len(shape)), tuple(range(len(shape)))]
    return Call((draw.array(shape),), {"axis": draw.choice(axes)})


flip = primitive(
    np.flip,
    lambda g, axis: np.flip(g, axis),
    inputs=("m",),
    params={"axis": None},
    forward=lambda m, axis=None: np.flip(m, axis).copy(),  # PyTorch's flip is a copy
    domain=_draw_flip,
    analytic=True,
)


def _negated(shift):
    return tuple(-one for one in shift) if isinstance(shift, tuple) else -shift


def _draw_roll(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    return Call((draw.array(shape),), {"shift": draw.integer(-3, 3), "axis": draw.choice([None, 0, -1])})


roll = primitive(
    np.roll,
    lambda g, shift, axis: np.roll(g, _negated(shift), axis),
    inputs=("a",),
    params={"shift": 0, "axis": None},
    domain=_draw_roll,
    analytic=True,
)


def _pieces(g, metas, axis):
    """The part of a concatenation's gradient that belongs to each input."""
    if axis is None:
        g, axis, sides = np.reshape(g, (-1,)), 0, [math.prod(meta.shape) for meta in metas]
    else:
        axis = axis % len(g.shape)
        sides = [meta.shape[axis] for meta in metas]
    starts = [sum(sides[:position]) for position in range(len(sides))]
    parts = [
        g[(slice(None),) * axis + (slice(start, start + side),)] for start, side in zip(starts, sides, strict=True)
    ]
    return [np.reshape(part, meta.shape) for part, meta in zip(parts, metas, strict=True)]


def _draw_concatenate(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    axis = draw.integer(0, len(shape) - 1)
    sides = [draw.integer(1, 3) for _ in range(draw.integer(1, 3))]
    arrays = tuple(draw.array((*shape[:axis], side, *shape[axis + 1 :])) for side in sides)
    return Call(arrays, {"axis": draw.choice([axis, axis - len(shape)])})


concatenate = primitive(
    np.concatenate,
    joint=lambda g, meta_arrays, axis: _pieces(g, meta_arrays, axis),
    inputs=("arrays",),
    params={"axis": 0},
    forward=lambda *arrays, axis=0: np.concatenate(arrays, axis=axis),
    variadic=True,
    promotion="common",
    domain=_draw_concatenate,
    analytic=True,
)


# shapes of arrays, filled anew: nothing of the input's values is used
for _function in (np.zeros_like, np.ones_like):
    primitive(_function, NONDIFFERENTIABLE, inputs=("a",), params={"dtype": None}, domain=REAL)
