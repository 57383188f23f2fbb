"""Functions that arrange elements anew: reshape, permute, broadcast, join, repeat, pad."""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONDIFFERENTIABLE, REAL, Call, Draw, composite, here, primitive
from ..errors import ShapeError


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
    signature=("a", "shape"),  # NumPy 2.0 has another name for the second one
    forward=lambda a, shape: a.reshape(shape),
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


def _cut(g, metas, axis, sides):
    """Pieces of these sides along an axis, each in the shape of its input."""
    starts = [sum(sides[:position]) for position in range(len(sides))]
    before = (slice(None),) * axis
    parts = [g[(*before, slice(start, start + side))] for start, side in zip(starts, sides, strict=True)]
    return [np.reshape(part, meta.shape) for part, meta in zip(parts, metas, strict=True)]


def _pieces(g, metas, axis):
    """The part of a concatenation's gradient that belongs to each input."""
    if axis is None:
        return _cut(np.reshape(g, (-1,)), metas, 0, [math.prod(meta.shape) for meta in metas])
    axis = axis % len(g.shape)
    return _cut(g, metas, axis, [meta.shape[axis] for meta in metas])


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


def _slices(g, metas, axis):
    axis = axis % len(g.shape)
    return [g[(slice(None),) * axis + (position,)] for position in range(len(metas))]


def _draw_stack(draw: Draw) -> Call:
    shape = draw.shape()
    arrays = tuple(draw.array(shape) for _ in range(draw.integer(1, 3)))
    return Call(arrays, {"axis": draw.integer(-len(shape) - 1, len(shape))})


stack = primitive(
    np.stack,
    joint=lambda g, meta_arrays, axis: _slices(g, meta_arrays, axis),
    inputs=("arrays",),
    params={"axis": 0},
    forward=lambda *arrays, axis=0: np.stack(arrays, axis=axis),
    variadic=True,
    promotion="common",
    domain=_draw_stack,
    analytic=True,
)


def _side_by_side(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    return Call(tuple(draw.array(shape) for _ in range(draw.integer(1, 3))))


hstack = primitive(
    np.hstack,
    joint=lambda g, meta_tup: _pieces(g, meta_tup, 0 if len(meta_tup[0].shape) <= 1 else 1),
    inputs=("tup",),
    forward=lambda *tup: np.hstack(tup),
    variadic=True,
    promotion="common",
    domain=_side_by_side,
    analytic=True,
)


def _rows(g, metas):
    """The rows of a `vstack` that belong to each input."""
    return _cut(g, metas, 0, [meta.shape[0] if len(meta.shape) > 1 else 1 for meta in metas])


vstack = primitive(
    np.vstack,
    joint=lambda g, meta_tup: _rows(g, meta_tup),
    inputs=("tup",),
    forward=lambda *tup: np.vstack(tup),
    variadic=True,
    promotion="common",
    domain=_side_by_side,
    analytic=True,
)


def cuts(length, sections):
    """Start and end of each piece: that many of nearly equal size, or cut at the given indices.

    >>> cuts(5, 2), cuts(5, [1, 4])
    ([(0, 3), (3, 5)], [(0, 1), (1, 4), (4, 5)])
    """
    if isinstance(sections, int):
        if sections < 1:
            raise ShapeError(f"cannot cut a dimension into {sections} pieces{here()}")
        small, larger = divmod(length, sections)
        sides = [small + 1] * larger + [small] * (sections - larger)
        ends = [sum(sides[: position + 1]) for position in range(sections)]
        return [(end - side, end) for side, end in zip(sides, ends, strict=True)]
    starts = [0, *(slice(None, int(one)).indices(length)[1] for one in sections)]
    ends = [*starts[1:], length]
    return [(start, max(start, end)) for start, end in zip(starts, ends, strict=True)]


def _draw_split(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    axis = draw.integer(0, len(shape) - 1)
    return Call((draw.array(shape),), {"indices_or_sections": draw.choice([shape[axis], [1], [0, 2]]), "axis": axis})


@composite(np.split, domain=_draw_split, name="np.split")
def split(ary, indices_or_sections=1, axis=0):
    """NumPy's split: pieces of equal size, or cut at indices."""
    axis = axis % len(ary.shape)
    if isinstance(indices_or_sections, int) and ary.shape[axis] % indices_or_sections:
        raise ShapeError(
            f"np.split: dimension {axis} of size {ary.shape[axis]} cannot be cut into {indices_or_sections} equal "
            f"pieces{here()}"
        )
    before = (slice(None),) * axis
    return tuple(ary[(*before, slice(start, end))] for start, end in cuts(ary.shape[axis], indices_or_sections))


# ---------------------------------------------------------------- repetition


def _reps(reps, ndim):
    """The numbers of repetitions, one for every dimension of the result."""
    reps = tuple(reps) if isinstance(reps, (tuple, list)) else (reps,)
    return (1,) * (ndim - len(reps)) + reps


def _fold(g, meta, reps):
    """Sum of a tiled tensor's copies."""
    reps = _reps(reps, len(meta.shape))
    shape = (1,) * (len(reps) - len(meta.shape)) + tuple(meta.shape)
    pairs = [side for pair in zip(reps, shape, strict=True) for side in pair]
    copies = np.sum(np.reshape(g, tuple(pairs)), axis=tuple(range(0, len(pairs), 2)))
    return np.reshape(copies, meta.shape)


def _draw_tile(draw: Draw) -> Call:
    reps = draw.choice([2, (2, 3), (1, 2, 1), ()])
    return Call((draw.array(draw.shape()),), {"reps": reps})


tile = primitive(
    np.tile,
    lambda g, meta_A, reps: _fold(g, meta_A, reps),
    inputs=("A",),
    params={"reps": 1},
    domain=_draw_tile,
    analytic=True,
)


def _draw_repeat(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    if draw.boolean():
        return Call((draw.array(shape),), {"repeats": draw.integer(0, 3), "axis": draw.choice([None, 0, -1])})
    return Call((draw.array(shape),), {"repeats": draw.integers((shape[0],), 0, 3), "axis": 0})


@composite(np.repeat, domain=_draw_repeat, name="np.repeat")
def repeat(a, repeats=1, axis=None):
    """NumPy's repeat: each element, or slice along the axis, several times in a row."""
    if axis is None:
        a, axis = np.reshape(a, (math.prod(a.shape),)), 0
    axis = axis % len(a.shape)
    return a[(*(slice(None),) * axis, np.repeat(np.arange(a.shape[axis]), repeats))]


# ---------------------------------------------------------------- padding


def _widths(pad_width, ndim):
    """NumPy's pad_width as one pair for every dimension."""
    pairs = np.broadcast_to(np.asarray(pad_width, dtype=np.intp), (ndim, 2))
    return tuple((int(low), int(high)) for low, high in pairs)


def _inner(g, pad_width):
    return g[tuple(slice(low, side - high) for (low, high), side in zip(pad_width, g.shape, strict=True))]


def _pad_constant(array, pad_width, constant_values):
    out = np.empty([low + side + high for (low, high), side in zip(pad_width, array.shape, strict=True)], array.dtype)
    out[...] = constant_values
    out[tuple(slice(low, low + side) for (low, _), side in zip(pad_width, array.shape, strict=True))] = array
    return out


def _draw_pad(draw: Draw) -> Call:
    shape = draw.shape()
    widths = tuple((draw.integer(0, 2), draw.integer(0, 2)) for _ in shape)
    return Call((draw.array(shape),), {"pad_width": widths, "constant_values": 0.5})


pad_constant = primitive(
    _pad_constant,
    lambda g, pad_width: _inner(g, pad_width),
    name="pad_constant",
    inputs=("array",),
    params={"pad_width": (), "constant_values": 0},
    domain=_draw_pad,
    analytic=True,
)


def _draw_pad_mode(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1, max_dims=2)
    widths = tuple((draw.integer(0, side - 1), draw.integer(0, side - 1)) for side in shape)
    mode = draw.choice(["constant", "reflect", "edge", "wrap", "symmetric"])
    return Call((draw.array(shape),), {"pad_width": widths, "mode": mode})


@composite(np.pad, domain=_draw_pad_mode)
def pad(array, pad_width=0, mode="constant", constant_values=0):
    """NumPy's pad: with a constant, or with elements of the array itself."""
    widths = _widths(pad_width, len(array.shape))
    if mode == "constant":
        return pad_constant(array, pad_width=widths, constant_values=constant_values)
    for axis, (low, high) in enumerate(widths):
        if low or high:
            index = np.pad(np.arange(array.shape[axis]), (low, high), mode=mode)
            array = array[(*(slice(None),) * axis, index)]
    return array


# shapes of arrays, filled anew: nothing of the input's values is used
for _function in (np.zeros_like, np.ones_like):
    primitive(_function, NONDIFFERENTIABLE, inputs=("a",), params={"dtype": None}, domain=REAL)


def _draw_full_like(draw: Draw) -> Call:
    return Call((draw.array(draw.shape()),), {"fill_value": 2.0})


primitive(
    np.full_like, NONDIFFERENTIABLE, inputs=("a",), params={"fill_value": 0, "dtype": None}, domain=_draw_full_like
)
