"""The few ops that the engine itself needs: a dtype cast, a copy, sums into an index, and writes in place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .dispatch import apply
from .domain import BOOLEAN, REAL, Call, Draw
from .op import NONDIFFERENTIABLE, OPS
from .register import primitive
from .tensor import TensorCore

__all__ = [
    "Geometry",
    "Scatter",
    "cast",
    "cast_to_integers",
    "copy",
    "index_add",
    "is_basic",
    "keep_array",
    "write",
    "write_index",
    "write_view",
]


def _draw_cast(draw: Draw) -> Call:
    return Call((draw.array(draw.shape()),), {"dtype": np.dtype(np.float64)})


def _cast(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


def _cast_to_integers(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


# The engine casts every gradient to its input's dtype, so a cast has nothing left to do.
cast = primitive(
    _cast, lambda g: g, name="cast", inputs=("x",), params={"dtype": np.dtype(np.float32)}, domain=_draw_cast
)

# To whole numbers and booleans: no gradient.
cast_to_integers = primitive(
    _cast_to_integers,
    NONDIFFERENTIABLE,
    name="cast_to_integers",
    inputs=("x",),
    params={"dtype": np.dtype(np.int64)},
    domain=_draw_cast,
)

copy = primitive(
    np.copy, lambda g: g, name="copy", inputs=("a",), domain=REAL, forward=lambda a: np.array(a, order="C")
)


def is_basic(index: Any) -> bool:
    """Whether an index selects by integers, slices, None and Ellipsis only, so that NumPy returns a view."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, slice)
        or (isinstance(part, (int, np.integer)) and not isinstance(part, (bool, np.bool_)))
        for part in parts
    )  # fmt: skip


def keep_array(index: Any) -> tuple[Any, ...]:
    """An index as a tuple with an Ellipsis, so that NumPy returns a 0-d view where it would return a scalar.

    >>> keep_array(0), keep_array((slice(2), ...))
    ((0, Ellipsis), (slice(None, 2, None), Ellipsis))
    """
    parts = index if isinstance(index, tuple) else (index,)
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


class Scatter:
    """The gradient of an indexing: ``gradient`` summed into zeros of the input's shape at ``index``.

    The engine adds it into one buffer per input, so that a thousand slices of a tensor cost a thousand slices and not a
    thousand tensors.
    """

    __slots__ = ("gradient", "index")

    def __init__(self, index: Any, gradient: Any) -> None:
        self.index = index
        self.gradient = gradient

    def add_into(self, buffer: np.ndarray) -> None:
        index, gradient = self.index, self.gradient
        if is_basic(index) or (isinstance(index, np.ndarray) and index.dtype == bool):
            buffer[index] += gradient
        elif not _add_rows(buffer, index, gradient):
            np.add.at(buffer, index, gradient)


# Rows of fewer numbers are added one by one as fast as by rows.
ROW = 32


def _add_rows(buffer: np.ndarray, index: Any, gradient: Any) -> bool:
    """``np.add.at`` for an index array into the first dimension, many times faster where rows are long; or False.

    Rows for the same place are first summed, in their order, so that the buffer takes each place once.
    """
    if (
        index.__class__ is not np.ndarray or index.dtype.kind not in "iu" or buffer.ndim < 2
        or gradient.__class__ is not np.ndarray or gradient.dtype != buffer.dtype
        or gradient.shape != index.shape + buffer.shape[1:]
    ):  # fmt: skip
        return False
    width = math.prod(buffer.shape[1:])
    count = len(buffer)
    if width < ROW or not index.size or not -count <= index.min() <= index.max() < count:
        return False  # also where it is out of range: np.add.at says so
    places = index.reshape(-1).astype(np.intp)
    places[places < 0] += count
    order = np.argsort(places, kind="stable")
    places = places[order]
    starts = np.flatnonzero(np.concatenate(([True], places[1:] != places[:-1])))
    rows = gradient.reshape(-1, *buffer.shape[1:])
    if len(starts) == len(places):
        buffer[places] += rows[order]
        return True
    stops = np.append(starts[1:], len(places))
    rows = rows[order]
    totals = rows[starts]
    repeated = np.flatnonzero(stops - starts > 1)
    for at, start, stop in zip(repeated.tolist(), starts[repeated].tolist(), stops[repeated].tolist(), strict=True):
        np.add.reduce(rows[start:stop], axis=0, out=totals[at])
    buffer[places[starts]] += totals
    return True


def _index_add(x: Any, values: Any, index: Any) -> Any:
    total = np.array(x)
    Scatter(index, values).add_into(total)
    return total


def _draw_index_add(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    index = draw.integers((draw.integer(1, 5),), 0, shape[0] - 1)
    return Call((draw.array(shape), draw.array((len(index), *shape[1:]))), {"index": index})


index_add = primitive(
    _index_add,
    lambda g: g,
    lambda g, index: g[index],
    name="index_add",
    inputs=("x", "values"),
    params={"index": None},
    domain=_draw_index_add,
    broadcasts=True,
)


class Geometry:
    """How a view lies in its base: the view ops that lead from one to the other, callable on arrays and Tensors."""

    __slots__ = ("steps",)

    def __init__(self, steps: tuple[tuple[Any, dict[str, Any]], ...]) -> None:
        self.steps = steps

    def __call__(self, base: Any) -> Any:
        for op, params in self.steps:
            base = apply(op, (base,), params) if isinstance(base, TensorCore) else op.forward(base, **params)
        return base

    def outside(self, shape: tuple[int, ...]) -> np.ndarray:
        """True where the base is not covered by the view."""
        # By numbers and not by writing through the view: a base in another memory order need not have the same views.
        mask = np.ones(math.prod(shape), dtype=bool)
        mask[self(np.arange(mask.size).reshape(shape))] = False
        return mask.reshape(shape)

    def __repr__(self) -> str:
        return " ".join(f"{op.name}{params}" for op, params in self.steps)


def _write(target: Any, value: Any) -> Any:
    np.copyto(target, value, casting="unsafe")
    return target


def _draw_write(draw: Draw) -> Call:
    shape = draw.shape()
    return Call((draw.array(shape), draw.array(shape)))


# Writing all of a tensor: nothing of its old value is left for a gradient to flow to.
write = primitive(
    _write,
    lambda g: np.zeros_like(g),
    lambda g: g,
    name="write",
    inputs=("target", "value"),
    mutates=("target",),
    domain=_draw_write,
    promotion=None,
    broadcasts=True,
)


def _write_view(base: Any, value: Any, geometry: Any) -> Any:
    np.copyto(geometry(base), value, casting="unsafe")
    return base


def _draw_write_view(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    low = draw.integer(0, shape[0] - 1)
    step = (OPS["slice"], {"index": slice(low, shape[0])})  # entered by the rules, long before anything is drawn
    return Call((draw.array(shape), draw.array(shape[1:])), {"geometry": Geometry((step,))})


write_view = primitive(
    _write_view,
    lambda g, geometry, meta_base: np.where(geometry.outside(meta_base.shape), g, np.zeros((), meta_base.dtype)),
    lambda g, geometry: geometry(g),
    name="write_view",
    inputs=("base", "value"),
    params={"geometry": None},
    mutates=("base",),
    domain=_draw_write_view,
    promotion=None,
    broadcasts=True,
)


def _write_index(x: Any, values: Any, index: Any) -> Any:
    result = np.array(x)
    result[index] = values
    return result


def _outside_index(shape: tuple[int, ...], index: Any) -> np.ndarray:
    mask = np.ones(shape, dtype=bool)
    mask[index] = False
    return mask


def _draw_write_index(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    index = draw.array(shape, BOOLEAN)
    return Call((draw.array(shape), draw.array(())), {"index": index})


def _values_gradient(g: Any, meta_x: Any, index: Any) -> Any:
    """The gradient at the places written; none for a value that a later one at the same place overwrote."""
    if isinstance(index, np.ndarray) and index.dtype == bool:
        return g[index]
    order = np.zeros(meta_x.shape, dtype=np.intp)
    places = order[index]
    numbers = np.arange(places.size).reshape(places.shape)
    order[index] = numbers
    return np.where(order[index] == numbers, g[index], np.zeros((), meta_x.dtype))


# ``t[mask] = v`` and ``t[[0, 2]] = v``: the new value of t, which `write` then puts in place.
write_index = primitive(
    _write_index,
    lambda g, index, meta_x: np.where(_outside_index(meta_x.shape, index), g, np.zeros((), meta_x.dtype)),
    _values_gradient,
    name="write_index",
    inputs=("x", "values"),
    params={"index": None},
    domain=_draw_write_index,
    broadcasts=True,
)
