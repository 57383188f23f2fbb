"""Arranging elements anew: reshape, permute, broadcast, join, cut, repeat, pad.

The results of reshape, view, flatten, permute, transpose, squeeze, unsqueeze, expand, split, chunk and unbind show the
memory of their input where that is possible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import TensorCore, apply, here
from ..errors import DimensionError, DtypeError, ShapeError
from ..rules import indexing as index_rules
from ..rules import shaping as rules
from .composition import composed
from .dims import dim_of, dims_of, integers_of
from .operands import check_tensors

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "adjoint", "broadcast_tensors", "broadcast_to", "cat", "chunk", "concat", "concatenate", "expand", "expand_as",
    "flatten", "flip", "fliplr", "flipud", "hstack", "moveaxis", "movedim", "pad", "permute", "ravel", "repeat",
    "repeat_interleave", "reshape", "reshape_as", "roll", "rot90", "split", "squeeze", "stack", "swapaxes", "swapdims",
    "t", "tensor_split", "tile", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as", "vstack",
]  # fmt: skip


# ---------------------------------------------------------------- shape


def reshape(input: Tensor, *sides: int | Sequence[int], shape: Sequence[int] | None = None) -> Tensor:
    """The elements in the same order in another shape; one side may be -1 and follows from the others.

    Shows the input's memory where its layout allows that, else a copy.

    >>> import autograd_ff as af
    >>> af.arange(6).reshape(2, -1).shape
    (2, 3)
    """
    return apply(rules.reshape, (input,), {"shape": integers_of(sides, shape, "reshape")})


def view(input: Tensor, *shape: int | Sequence[int]) -> Tensor:
    """`reshape` that never copies.

    Raises:
        ShapeError: the layout of the elements in memory allows no view of that shape.

    >>> import autograd_ff as af
    >>> af.zeros(2, 3).view(6).shape
    (6,)
    """
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type)):
        raise DtypeError(f"view takes a shape; the same numbers in another dtype are x.to({shape[0]!r}).{here()}")
    out = apply(rules.reshape, (input,), {"shape": integers_of(shape, None, "view")})
    if not input.array.flags.c_contiguous and out.array.size and not np.may_share_memory(out.array, input.array):
        raise ShapeError(
            f"no view of shape {out.shape} exists of a tensor of shape {input.shape} with strides (in bytes) "
            f"{input.array.strides}: its elements do not lie in order.{here()}\n"
            "  Use x.reshape(...), which copies where it must."
        )
    return out


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of another tensor.

    >>> import autograd_ff as af
    >>> af.arange(6).reshape_as(af.zeros(2, 3)).shape
    (2, 3)
    """
    return apply(rules.reshape, (input,), {"shape": other.array.shape})


@composed
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of another tensor.

    >>> import autograd_ff as af
    >>> af.arange(6).view_as(af.zeros(2, 3)).shape
    (2, 3)
    """
    return view(input, *other.array.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim``, both included, made one; a 0-d tensor becomes 1-d.

    >>> import autograd_ff as af
    >>> af.zeros(64, 1, 28, 28).flatten(1).shape
    (64, 784)
    """
    check_tensors("flatten", input)
    shape = input.array.shape
    start, end = dim_of(start_dim, len(shape), "flatten"), dim_of(end_dim, len(shape), "flatten")
    if start > end:
        raise DimensionError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}{here()}")
    if shape and start == end:
        return input
    flat = (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
    return apply(rules.reshape, (input,), {"shape": flat})


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension.

    >>> import autograd_ff as af
    >>> af.ravel(af.tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return apply(rules.reshape, (input,), {"shape": (input.array.size,)})


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension ``dim`` as several, of the given sizes; one of them may be -1.

    >>> import autograd_ff as af
    >>> af.zeros(2, 6).unflatten(1, (3, -1)).shape
    (2, 3, 2)
    """
    shape = input.array.shape
    at = dim_of(dim, len(shape), "unflatten")
    sides = integers_of((sizes,), None, "unflatten")
    known = -math.prod(sides) if -1 in sides else math.prod(sides)
    if sides.count(-1) > 1 or (known != shape[at] if -1 not in sides else known <= 0 or shape[at] % known):
        raise ShapeError(f"unflatten: the sizes {sides} do not make up dimension {dim} of size {shape[at]}{here()}")
    sides = tuple(shape[at] // known if side == -1 else side for side in sides)
    return apply(rules.reshape, (input,), {"shape": (*shape[:at], *sides, *shape[at + 1 :])})


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dimensions of size 1, or without those of ``dim`` that have size 1.

    >>> import autograd_ff as af
    >>> af.zeros(1, 2, 1).squeeze().shape, af.zeros(1, 2, 1).squeeze((0, 1)).shape
    ((2,), (2, 1))
    """
    check_tensors("squeeze", input)
    shape = input.array.shape
    axes = range(len(shape)) if dim is None else dims_of(dim, len(shape), "squeeze")
    return apply(rules.squeeze, (input,), {"axis": tuple(one for one in axes if shape and shape[one] == 1)})


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1 at ``dim``.

    >>> import autograd_ff as af
    >>> af.zeros(2, 3).unsqueeze(-1).shape
    (2, 3, 1)
    """
    check_tensors("unsqueeze", input)
    return apply(rules.expand_dims, (input,), {"axis": dim_of(dim, input.array.ndim + 1, "unsqueeze")})


# ---------------------------------------------------------------- order of dimensions


def permute(input: Tensor, *order: int | Sequence[int], dims: Sequence[int] | None = None) -> Tensor:
    """The dimensions in another order.

    >>> import autograd_ff as af
    >>> af.zeros(2, 3, 4).permute(2, 0, 1).shape
    (4, 2, 3)
    """
    ndim = input.array.ndim
    axes = dims_of(integers_of(order, dims, "permute"), ndim, "permute")
    if len(axes) != ndim:
        raise DimensionError(f"permute: {len(axes)} dimensions were given for a tensor of {ndim}{here()}")
    return apply(rules.transpose, (input,), {"axes": axes})


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    >>> import autograd_ff as af
    >>> af.zeros(2, 3, 4).transpose(0, 2).shape
    (4, 3, 2)
    """
    check_tensors("transpose", input)
    ndim = input.array.ndim
    axis1, axis2 = dim_of(dim0, ndim, "transpose"), dim_of(dim1, ndim, "transpose")
    if not ndim:
        return apply(rules.transpose, (input,), {"axes": ()})
    return apply(rules.swapaxes, (input,), {"axis1": axis1, "axis2": axis2})


swapaxes = transpose
swapdims = transpose


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or a 0-d tensor as it is.

    >>> import autograd_ff as af
    >>> af.zeros(2, 3).t().shape
    (3, 2)
    """
    if input.array.ndim > 2:
        raise DimensionError(
            f"t() transposes a matrix, and this tensor has shape {input.shape}; use x.mT for a batch of matrices, or "
            f"x.transpose(dim0, dim1).{here()}"
        )
    return apply(rules.transpose, (input,), {"axes": None})


def reversed_dims(input: Tensor) -> Tensor:
    """The dimensions in reverse order (``x.T``).

    >>> import autograd_ff as af
    >>> af.ones(2, 3).T.shape
    (3, 2)
    """
    return apply(rules.transpose, (input,), {"axes": None})


def matrix_transpose(input: Tensor) -> Tensor:
    """The last two dimensions exchanged (``x.mT``).

    >>> import autograd_ff as af
    >>> af.ones(4, 2, 3).mT.shape
    (4, 3, 2)
    """
    if input.array.ndim < 2:
        raise DimensionError(f"a matrix transpose needs two dimensions, this tensor has shape {input.shape}{here()}")
    return apply(rules.swapaxes, (input,), {"axis1": -2, "axis2": -1})


adjoint = matrix_transpose


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Dimensions moved to other places, the rest in order.

    >>> import autograd_ff as af
    >>> af.zeros(2, 3, 4).movedim(0, -1).shape
    (3, 4, 2)
    """
    check_tensors("movedim", input)
    ndim = input.array.ndim
    start, end = dims_of(source, ndim, "movedim"), dims_of(destination, ndim, "movedim")
    if len(start) != len(end):
        raise DimensionError(f"movedim: {len(start)} source dimensions for {len(end)} destinations{here()}")
    if not ndim:
        return apply(rules.transpose, (input,), {"axes": ()})
    return apply(rules.moveaxis, (input,), {"source": start, "destination": end})


moveaxis = movedim


# ---------------------------------------------------------------- broadcasting


def expand(input: Tensor, *sizes: int | Sequence[int]) -> Tensor:
    """Dimensions of size 1 shown several times without a copy; -1 keeps a dimension, new ones may come in front.

    The result cannot be written in place: its elements share memory.

    >>> import autograd_ff as af
    >>> af.zeros(3, 1).expand(2, -1, 4).shape
    (2, 3, 4)
    """
    check_tensors("expand", input)
    shape, wanted = input.array.shape, integers_of(sizes, None, "expand")
    extra = len(wanted) - len(shape)
    if extra < 0:
        raise ShapeError(f"expand: {len(wanted)} sizes for a tensor of {len(shape)} dimensions{here()}")
    if any(side < 0 for side in wanted[:extra]) or any(side < -1 for side in wanted):
        raise ShapeError(f"expand: {wanted} has a negative size for a new dimension{here()}")
    full = (*wanted[:extra], *(old if new == -1 else new for old, new in zip(shape, wanted[extra:], strict=True)))
    for dim, (old, new) in enumerate(zip(shape, full[extra:], strict=True)):
        if old not in (1, new):
            raise ShapeError(
                f"expand: dimension {dim} of size {old} cannot become {new}; only dimensions of size 1 expand.{here()}"
            )
    return apply(rules.broadcast_to, (input,), {"shape": full})


@composed
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor.

    >>> import autograd_ff as af
    >>> af.tensor([[1], [2]]).expand_as(af.zeros(2, 3)).tolist()
    [[1, 1, 1], [2, 2, 2]]
    """
    return expand(input, other.array.shape)


@composed
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """`expand` to ``size``.

    >>> import autograd_ff as af
    >>> af.broadcast_to(af.arange(2), (3, 2)).tolist()
    [[0, 1], [0, 1], [0, 1]]
    """
    return expand(input, size)


@composed
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to the shape that they broadcast to.

    >>> import autograd_ff as af
    >>> [one.shape for one in af.broadcast_tensors(af.zeros(3, 1), af.zeros(2))]
    [(3, 2), (3, 2)]
    """
    given = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = broadcast_shape(*(one.array.shape for one in given))
    return tuple(apply(rules.broadcast_to, (one,), {"shape": shape}) for one in given)


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that several broadcast to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"the shapes {', '.join(map(str, shapes))} do not broadcast together{here()}") from None


# ---------------------------------------------------------------- joining


def _sequence(tensors: Any, what: str) -> tuple[Any, ...]:
    if isinstance(tensors, TensorCore):
        raise DtypeError(f"{what} takes a list or tuple of tensors, got one Tensor{here()}")
    if not isinstance(tensors, Iterable):
        raise DtypeError(f"{what} takes a list or tuple of tensors, got {tensors!r}{here()}")
    given = tuple(tensors)
    if not given:
        raise ShapeError(f"{what} of no tensors at all{here()}")
    check_tensors(what, *given)
    return given


def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors one after the other along a dimension; their other sides are equal.

    As in PyTorch, empty tensors of shape (0,) are left out.

    >>> import autograd_ff as af
    >>> af.cat([af.zeros(2, 3), af.ones(1, 3)]).shape
    (3, 3)
    """
    given = _sequence(tensors, "cat")
    kept = [one for one in given if one.array.shape != (0,)] if any(one.array.ndim != 1 for one in given) else given
    chosen = dim if axis is None else axis
    if not kept[0].array.ndim:
        raise ShapeError(f"cat joins along a dimension that 0-d tensors do not have; use stack.{here()}")
    return apply(rules.concatenate, tuple(kept), {"axis": dim_of(chosen, kept[0].array.ndim, "cat")})


concat = cat
concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension.

    >>> import autograd_ff as af
    >>> af.stack([af.zeros(3), af.ones(3)], dim=1).shape
    (3, 2)
    """
    given = _sequence(tensors, "stack")
    first = given[0].array.shape
    for position, one in enumerate(given):
        if one.array.shape != first:
            raise ShapeError(
                f"stack: all tensors need one shape; tensor 0 has {first} and tensor {position} has "
                f"{one.array.shape}{here()}"
            )
    return apply(rules.stack, given, {"axis": dim_of(dim, len(first) + 1, "stack")})


@composed
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side: along dimension 1, vectors along dimension 0.

    >>> import autograd_ff as af
    >>> af.hstack([af.tensor([[1], [2]]), af.tensor([[3], [4]])]).tolist()
    [[1, 3], [2, 4]]
    """
    given = [one if one.array.ndim else ravel(one) for one in _sequence(tensors, "hstack")]
    return cat(given, 0 if given[0].array.ndim == 1 else 1)


@composed
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors below each other: along dimension 0, vectors as rows.

    >>> import autograd_ff as af
    >>> af.vstack([af.tensor([1, 2]), af.tensor([3, 4])]).tolist()
    [[1, 2], [3, 4]]
    """
    given = _sequence(tensors, "vstack")
    return cat([one if one.array.ndim > 1 else reshape(one, (1, -1)) for one in given], 0)


# ---------------------------------------------------------------- cutting


def _parts(input: Tensor, dim: int, cuts: Sequence[tuple[int, int]], what: str) -> tuple[Tensor, ...]:
    before = (slice(None),) * dim
    parts = tuple(
        apply(index_rules.slice_view, (input,), {"index": (*before, slice(start, stop))}) for start, stop in cuts
    )
    return _seal(parts, what)


def _seal(parts: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    for part in parts:
        if part.view_of is not None:
            part.view_of.sealed = f"it is an output of {what}, which gives several views of one tensor"
    return parts


@composed
def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces along a dimension: of one size (the last may be smaller), or of the given sizes.

    >>> import autograd_ff as af
    >>> [one.tolist() for one in af.arange(5).split(2)]
    [[0, 1], [2, 3], [4]]
    >>> [one.tolist() for one in af.arange(5).split([1, 4])]
    [[0], [1, 2, 3, 4]]
    """
    check_tensors("split", tensor)
    axis = dim_of(dim, tensor.array.ndim, "split")
    if not tensor.array.ndim:
        raise DimensionError(f"split of a 0-d tensor{here()}")
    length = tensor.array.shape[axis]
    if hasattr(split_size_or_sections, "__index__"):
        size = split_size_or_sections.__index__()
        if size < 0 or (size == 0 and length):
            raise ShapeError(f"split: pieces of size {size} of a dimension of size {length}{here()}")
        starts = range(0, length, size) if length else range(1)
        return _parts(tensor, axis, [(start, min(start + size, length)) for start in starts], "split")
    sizes = integers_of((split_size_or_sections,), None, "split")
    if sum(sizes) != length or any(size < 0 for size in sizes):
        raise ShapeError(f"split: the sizes {sizes} do not add up to dimension {dim} of size {length}{here()}")
    ends = np.cumsum(sizes).tolist()
    return _parts(tensor, axis, [(end - size, end) for size, end in zip(sizes, ends, strict=True)], "split")


@composed
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size along a dimension; the last may be smaller.

    >>> import autograd_ff as af
    >>> [one.tolist() for one in af.arange(5).chunk(2)]
    [[0, 1, 2], [3, 4]]
    """
    check_tensors("chunk", input)
    axis = dim_of(dim, input.array.ndim, "chunk")
    if chunks < 1 or not input.array.ndim:
        raise ShapeError(f"chunk: {chunks} pieces of a tensor of shape {input.shape}{here()}")
    length = input.array.shape[axis]
    size = -(-length // chunks)
    cuts = [(start, min(start + size, length)) for start in range(0, length, size)] if length else [(0, 0)] * chunks
    return _parts(input, axis, cuts, "chunk")


@composed
def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views along a dimension: that many, of sizes that differ by at most 1; or cut at the given indices.

    >>> import autograd_ff as af
    >>> [one.tolist() for one in af.arange(5).tensor_split(3)]
    [[0, 1], [2, 3], [4]]
    >>> [one.tolist() for one in af.arange(5).tensor_split([1, 3])]
    [[0], [1, 2], [3, 4]]
    """
    axis = dim_of(dim, input.array.ndim, "tensor_split")
    cuts = rules.cuts(input.array.shape[axis], indices_or_sections)
    return _parts(input, axis, cuts, "tensor_split")


@composed
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all the slices along a dimension, without that dimension.

    >>> import autograd_ff as af
    >>> [one.tolist() for one in af.arange(4).reshape(2, 2).unbind(1)]
    [[0, 2], [1, 3]]
    """
    check_tensors("unbind", input)
    axis = dim_of(dim, input.array.ndim, "unbind")
    if not input.array.ndim:
        raise DimensionError(f"unbind of a 0-d tensor{here()}")
    before = (slice(None),) * axis
    parts = tuple(
        apply(index_rules.slice_view, (input,), {"index": (*before, position)})
        for position in range(input.array.shape[axis])
    )
    return _seal(parts, "unbind")


# ---------------------------------------------------------------- order and number of elements


def flip(input: Tensor, *which: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """A copy with the elements in reverse order along some dimensions.

    >>> import autograd_ff as af
    >>> af.arange(3).flip(0)
    tensor([2, 1, 0])
    """
    check_tensors("flip", input)
    axes = dims_of(integers_of(which, dims, "flip"), input.array.ndim, "flip")
    return apply(rules.flip, (input,), {"axis": axes if input.array.ndim else ()})


@composed
def fliplr(input: Tensor) -> Tensor:
    """A copy with dimension 1 in reverse order.

    >>> import autograd_ff as af
    >>> af.fliplr(af.tensor([[1, 2], [3, 4]])).tolist()
    [[2, 1], [4, 3]]
    """
    return flip(input, 1)


@composed
def flipud(input: Tensor) -> Tensor:
    """A copy with dimension 0 in reverse order.

    >>> import autograd_ff as af
    >>> af.flipud(af.tensor([[1, 2], [3, 4]])).tolist()
    [[3, 4], [1, 2]]
    """
    return flip(input, 0)


@composed
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy, turned ``k`` times by 90° from the first towards the second of two dimensions.

    >>> import autograd_ff as af
    >>> af.tensor([[1, 2], [3, 4]]).rot90().tolist()
    [[2, 4], [1, 3]]
    """
    first, second = dims_of(dims, input.array.ndim, "rot90")
    turned: Any = {
        0: lambda: apply(rules.flip, (input,), {"axis": ()}),
        1: lambda: transpose(flip(input, second), first, second),
        2: lambda: flip(input, first, second),
        3: lambda: flip(transpose(input, first, second), second),
    }[k % 4]()
    return turned


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements moved by ``shifts``, those that leave at the end coming in at the front; flattened where no dims are given.

    >>> import autograd_ff as af
    >>> af.arange(4).roll(1)
    tensor([3, 0, 1, 2])
    """
    check_tensors("roll", input)
    moves = integers_of((shifts,), None, "roll")
    if dims is None:
        if len(moves) != 1:
            raise ShapeError(f"roll: {len(moves)} shifts without dims{here()}")
        return apply(rules.roll, (input,), {"shift": moves[0], "axis": None})
    axes = tuple(dim_of(one, input.array.ndim, "roll") for one in integers_of((dims,), None, "roll"))
    if len(moves) != len(axes):
        raise ShapeError(f"roll: {len(moves)} shifts for {len(axes)} dims{here()}")
    return apply(rules.roll, (input,), {"shift": moves, "axis": axes if input.array.ndim else None})


def tile(input: Tensor, *counts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The tensor repeated along each dimension; missing leading numbers count as 1.

    >>> import autograd_ff as af
    >>> af.tensor([1, 2]).tile(2, 2).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    return apply(rules.tile, (input,), {"reps": _counts(integers_of(counts, dims, "tile"), "tile")})


def _counts(counts: tuple[int, ...], what: str) -> tuple[int, ...]:
    if any(one < 0 for one in counts):
        raise ShapeError(f"{what}: a negative number of repetitions in {counts}{here()}")
    return counts


def repeat(input: Tensor, *counts: int | Sequence[int], repeats: Sequence[int] | None = None) -> Tensor:
    """`tile` with a number for every dimension (PyTorch's ``repeat``; NumPy's is `repeat_interleave`).

    >>> import autograd_ff as af
    >>> af.tensor([1, 2]).repeat(2, 1).tolist()
    [[1, 2], [1, 2]]
    """
    numbers = _counts(integers_of(counts, repeats, "repeat"), "repeat")
    if len(numbers) < input.array.ndim:
        raise ShapeError(f"repeat: {len(numbers)} numbers for a tensor of {input.array.ndim} dimensions{here()}")
    return apply(rules.tile, (input,), {"reps": numbers})


@composed
def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Each element (or slice along ``dim``) several times in a row; flattened where no dim is given.

    ``repeats`` is one number, or an integer tensor with one for each.

    >>> import autograd_ff as af
    >>> af.tensor([1, 2]).repeat_interleave(2)
    tensor([1, 1, 2, 2])
    """
    if dim is None or not input.array.ndim:
        input, dim = ravel(input), 0 if dim is None else dim
    axis = dim_of(dim, input.array.ndim, "repeat_interleave")
    counts = repeats.array if isinstance(repeats, TensorCore) else np.asarray(repeats)
    try:
        index = np.repeat(np.arange(input.array.shape[axis]), counts)
    except (ValueError, TypeError) as error:
        raise ShapeError(
            f"repeat_interleave: repeats {counts.tolist()} for dimension {dim} of size "
            f"{input.array.shape[axis]}: {error}{here()}"
        ) from None
    return apply(index_rules.take, (input,), {"index": (*(slice(None),) * axis, index)})


# ---------------------------------------------------------------- padding

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@composed
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Elements added at the ends of dimensions.

    Args:
        pad: how many before and after the last dimension, then before and after the one before it, and so on. Negative
            numbers (constant mode) cut off.
        mode: ``"constant"`` (``value``, 0 by default), ``"reflect"`` (mirrored, without the edge itself),
            ``"replicate"`` (the edge again) or ``"circular"`` (the other end).

    Unlike PyTorch, every mode works on any number of dimensions.

    >>> import autograd_ff as af
    >>> af.pad(af.tensor([1, 2, 3]), (1, 2)).tolist()
    [0, 1, 2, 3, 0, 0]
    >>> af.pad(af.tensor([1, 2, 3]), (1, 2), "reflect").tolist()
    [2, 1, 2, 3, 2, 1]
    """
    amounts = integers_of((pad,), None, "pad")
    shape = input.array.shape
    if len(amounts) % 2 or len(amounts) > 2 * len(shape):
        raise ShapeError(
            f"pad: {len(amounts)} numbers for a tensor of {len(shape)} dimensions; give two for each padded dimension, "
            f"the last dimension first.{here()}"
        )
    widths = [(0, 0)] * (len(shape) - len(amounts) // 2)
    widths += [(amounts[at], amounts[at + 1]) for at in range(len(amounts) - 2, -1, -2)]
    if mode == "constant":
        cut = tuple(slice(max(-low, 0), side - max(-high, 0)) for (low, high), side in zip(widths, shape, strict=True))
        if any(min(low, high) < 0 for low, high in widths):
            if any(low + side + high < 0 for (low, high), side in zip(widths, shape, strict=True)):
                raise ShapeError(f"pad: {amounts} cuts off more than a tensor of shape {shape} has{here()}")
            input = apply(index_rules.slice_view, (input,), {"index": cut})
        grown = tuple((max(low, 0), max(high, 0)) for low, high in widths)
        return apply(rules.pad_constant, (input,), {"pad_width": grown, "constant_values": value or 0})
    if mode not in _MODES:
        raise ShapeError(f"pad: the mode is constant, reflect, replicate or circular, got {mode!r}{here()}")
    if value:
        raise ShapeError(f"pad: mode {mode!r} takes no value, got {value!r}{here()}")
    for dim, ((low, high), side) in enumerate(zip(widths, shape, strict=True)):
        most = {"reflect": side - 1, "circular": side}.get(mode, math.inf if side else 0)
        if min(low, high) < 0 or max(low, high) > most:
            raise ShapeError(
                f"pad: mode {mode!r} cannot add {low} before and {high} after dimension {dim} of size {side}{here()}"
            )
    return rules.pad(input, tuple(widths), mode=_MODES[mode])
