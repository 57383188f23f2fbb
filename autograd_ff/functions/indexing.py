"""Selecting and placing elements: by position, by mask, along a dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import TensorCore, apply, condition, here, no_grad, scope, wrap
from ..engine import index_add as add_at
from ..engine.core_ops import write_index
from ..engine.inplace import set_item
from ..engine.tensor import note_read
from ..errors import DimensionError, DtypeError, ShapeError
from ..rules import elementwise, shaping
from ..rules import indexing as rules
from ..rules import sorting as sort_rules
from .composition import composed
from .conversion import convert
from .dims import dim_of
from .dtypes import int64

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "diag", "diag_embed", "diagonal", "embedding", "gather", "index_add", "index_put", "index_select", "masked_fill",
    "masked_select", "narrow", "nonzero", "one_hot", "scatter", "scatter_add", "select", "take", "take_along_dim",
    "trace", "tril", "triu",
]  # fmt: skip


# ---------------------------------------------------------------- t[index]


def apart_item(input: Any, first: Any, rest: Any) -> Any:
    """``input[first][rest]``, integers before arrays: the two parts that `plain_index` returned."""
    with scope("composite", "index", "index"):
        view = apply(rules.slice_view, (input,), {"index": first})
        return apply(rules.take, (view,), {"index": rest})


def put_item(input: Any, index: Any, value: Any) -> None:
    """``input[index] = value``."""
    first, rest = plain_index(index)
    if rest is None:
        set_item(input, first, value)
        return
    with scope("composite", "index", "index"):
        region = input[first]
        set_item(region, rest, value)
        set_item(input, first, region)  # it was written through its own view: the graph hears of it, no copy is made


def plain_index(index: Any) -> tuple[Any, Any]:
    """An index without Tensors and lists, which become arrays, in the two parts of `_apart`."""
    if index.__class__ is tuple:
        return _apart(tuple(_plain_part(part) for part in index))
    return _plain_part(index), None


def _plain_part(part: Any) -> Any:
    kind = part.__class__
    if kind is int or kind is slice or part is None or part is Ellipsis or kind is bool:
        return part
    if isinstance(part, TensorCore):
        note_read(part, "index")
        array = part.array
    elif isinstance(part, (list, range)):
        array = np.asarray([one.array if isinstance(one, TensorCore) else one for one in part])
        if not array.size:
            array = array.astype(np.intp)
    else:
        array = np.asarray(part)
    if array.dtype.kind not in "biu":
        raise DtypeError(f"an index must be integers or booleans, not {array.dtype}{here()}")
    if not array.ndim and array.dtype.kind in "iu":
        return int(array)
    return array


def _apart(index: tuple[Any, ...]) -> tuple[Any, Any]:
    """The integers of an index apart from its arrays, where NumPy would mix them and PyTorch does not.

    In ``x[0, :, rows]`` PyTorch takes ``x[0]`` first; NumPy counts the 0 as an index array and moves its dimension, and
    that of ``rows``, to the front. The pair is (integers, the rest), or (the whole index, None) where both agree.
    """
    advanced = [part.__class__ is int or isinstance(part, (np.ndarray, bool)) for part in index]
    if not any(isinstance(part, np.ndarray) for part in index) or not any(part.__class__ is int for part in index):
        return index, None
    start, stop = advanced.index(True), len(advanced) - advanced[::-1].index(True)
    if all(advanced[start:stop]):
        return index, None
    first: list[Any] = []
    for part in index:
        if part.__class__ is int or part is Ellipsis:
            first.append(part)
        elif part is not None and not isinstance(part, bool):
            consumed = part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1
            first.extend([slice(None)] * consumed)
    return tuple(first), tuple(part for part in index if part.__class__ is not int)


# ---------------------------------------------------------------- slices


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at one position of a dimension, without that dimension: a view.

    >>> import autograd_ff as af
    >>> af.arange(6).reshape(2, 3).select(1, 0)
    tensor([0, 3])
    """
    axis = dim_of(dim, input.array.ndim, "select")
    _check_index(input, np.asarray(index), axis, "select", negative=True)
    return apply(rules.slice_view, (input,), {"index": (*(slice(None),) * axis, int(index))})


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """The ``length`` positions of a dimension from ``start`` on: a view.

    >>> import autograd_ff as af
    >>> af.arange(5).narrow(0, 1, 3)
    tensor([1, 2, 3])
    """
    axis = dim_of(dim, input.array.ndim, "narrow")
    size = input.array.shape[axis] if input.array.ndim else 0
    begin = start + size if start < 0 else start
    if length < 0 or not 0 <= begin <= size - length:
        raise DimensionError(f"narrow: {length} positions from {start} on, of dimension {dim} of size {size}{here()}")
    return apply(rules.slice_view, (input,), {"index": (*(slice(None),) * axis, slice(begin, begin + length))})


# ---------------------------------------------------------------- along a dimension


def _index_array(index: Any, what: str) -> np.ndarray:
    if isinstance(index, TensorCore):
        note_read(index, "index")
    array: np.ndarray = index.array if isinstance(index, TensorCore) else np.asarray(index)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{what}: the index holds {array.dtype}, it must be integers{here()}")
    return array


def _check_index(input: Tensor, index: np.ndarray, axis: int, what: str, negative: bool = False) -> None:
    if not index.size:
        return
    size = input.array.shape[axis] if input.array.ndim else 1
    if not condition(_are_positions, index, -size if negative else 0, size):
        low, high = int(index.min()), int(index.max())
        raise DimensionError(
            f"{what}: index {high if high >= size else low} is out of range for dimension {axis} of size {size}{here()}"
        )


def _are_positions(index: np.ndarray, low: int, size: int) -> bool:
    return bool(index.min() >= low and index.max() < size)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension at the positions of a 1-d index, a copy.

    >>> import autograd_ff as af
    >>> af.tensor([[1, 2], [3, 4]]).index_select(0, af.tensor([1, 0, 1])).tolist()
    [[3, 4], [1, 2], [3, 4]]
    """
    positions = _index_array(index, "index_select")
    if positions.ndim > 1:
        raise ShapeError(f"index_select takes a 1-d index, got one of shape {positions.shape}; see gather.{here()}")
    axis = dim_of(dim, input.array.ndim, "index_select")
    _check_index(input, positions, axis, "index_select")
    if not input.array.ndim:
        return apply(shaping.reshape, (input,), {"shape": ()})
    return apply(rules.take, (input,), {"index": (*(slice(None),) * axis, positions.reshape(-1))})


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of ``weight`` at the positions that ``input`` holds, in its shape.

    Args:
        input: whole numbers in [0, n), any shape.
        weight: (n, d).
        padding_idx: a row that gets no gradient; negative ones count from the end.
        max_norm: rows that are looked up and have a larger norm are scaled down to it, in ``weight`` itself.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it is looked up here.
        sparse: without effect; PyTorch makes the gradient a sparse tensor.

    Returns:
        The shape of ``input`` and a last side d.

    Raises:
        DimensionError: a position out of range.
        DtypeError: ``input`` is not of whole numbers.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.embedding(af.tensor([[2, 0]]), af.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).tolist()
    [[[5.0, 6.0], [1.0, 2.0]]]
    """
    positions = _index_array(input, "embedding")
    if weight.array.ndim != 2:
        raise ShapeError(f"embedding looks up rows of a matrix, not of a tensor of shape {weight.shape}.{here()}")
    count = weight.array.shape[0]
    if padding_idx is not None and not -count <= padding_idx < count:
        raise DimensionError(f"embedding: padding_idx {padding_idx} is out of range for {count} rows.{here()}")
    _check_index(weight, positions, 0, "embedding")
    with scope("composite", "embedding", "embedding"):
        if max_norm is not None:
            _limit_rows(input, weight, np.unique(positions), max_norm, norm_type)
        rows: Any = apply(rules.take, (weight,), {"index": positions})
        if padding_idx is None and not scale_grad_by_freq:
            return rows
        fixed = rows.detach()
        if padding_idx is not None:
            trained = (input != padding_idx % count).unsqueeze(-1)
            rows = apply(elementwise.where, (trained, rows, fixed))
        if scale_grad_by_freq and weight.array.dtype.kind == "f":
            note_read(input, "embedding")
            times = np.bincount(positions.reshape(-1), minlength=count)[positions]
            share = (1 / times).astype(weight.array.dtype)
            rows = fixed + (rows - fixed) * share[..., None]  # the same values, with that part of the gradient
        return rows


def _limit_rows(input: Any, weight: Any, looked_up: np.ndarray, max_norm: float, norm_type: float) -> None:
    """Scale the rows whose norm is larger down to it, in place."""
    note_read(input, "embedding")
    with no_grad():
        chosen = weight.array[looked_up]
        norms = np.linalg.norm(chosen, norm_type, axis=1)
        large = norms > max_norm
        if large.any():
            scaled = chosen[large] * (max_norm / (norms[large] + 1e-7))[:, None].astype(chosen.dtype)
            put_item(weight, looked_up[large], wrap(scaled))


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened tensor at the positions of an index, in its shape.

    >>> import autograd_ff as af
    >>> af.take(af.tensor([[1, 2], [3, 4]]), af.tensor([0, 3]))
    tensor([1, 4])
    """
    with scope("composite", "take", "take"):
        flat = apply(shaping.reshape, (input,), {"shape": (-1,)})
        return apply(rules.take, (flat,), {"index": _index_array(index, "take")})


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """The elements along ``dim`` at the positions of an index that broadcasts to the other dimensions.

    Without ``dim``, of the flattened tensor. What `argsort` and `argmax(keepdim=True)` return fits here.

    >>> import autograd_ff as af
    >>> x = af.tensor([[30, 10, 20]])
    >>> af.take_along_dim(x, x.argsort(1), 1).tolist()
    [[10, 20, 30]]
    """
    index = _index_array(indices, "take_along_dim")
    if dim is None:
        index = index.reshape(-1)
        _check_index(input.reshape(-1), index, 0, "take_along_dim", negative=True)
        return apply(sort_rules.take_along_axis, (input, index), {"axis": None})
    axis = dim_of(dim, input.array.ndim, "take_along_dim")
    if index.ndim != input.array.ndim:
        raise ShapeError(
            f"take_along_dim: an index of shape {index.shape} for a tensor of shape {input.shape}; they need equally "
            f"many dimensions.{here()}"
        )
    _check_index(input, index, axis, "take_along_dim", negative=True)
    return apply(sort_rules.take_along_axis, (input, index), {"axis": axis})


def _check_sizes(input: Tensor, index: np.ndarray, axis: int, what: str) -> None:
    shape = input.array.shape
    if index.ndim != len(shape) or any(
        mine > side for at, (mine, side) in enumerate(zip(index.shape, shape, strict=True)) if at != axis
    ):
        raise ShapeError(
            f"{what}: an index of shape {index.shape} does not fit a tensor of shape {shape}: they need equally many "
            f"dimensions, and the index no larger side except in dimension {axis}.{here()}"
        )
    _check_index(input, index, axis, what)


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """For each position of ``index``, the element of ``input`` there, with the index in place of its coordinate ``dim``.

    In three dimensions and dim 0: ``out[i, j, k] = input[index[i, j, k], j, k]``.

    Args:
        index: integers, of as many dimensions as the input, and no larger than it except in ``dim``.

    >>> import autograd_ff as af
    >>> af.gather(af.tensor([[1, 2], [3, 4]]), 1, af.tensor([[0, 0], [1, 0]])).tolist()
    [[1, 1], [4, 3]]
    """
    positions = _index_array(index, "gather")
    axis = dim_of(dim, input.array.ndim, "gather")
    if not input.array.ndim:
        _check_index(input, positions, 0, "gather")
        return apply(shaping.broadcast_to, (input,), {"shape": positions.shape})
    _check_sizes(input, positions, axis, "gather")
    with scope("composite", "gather", "gather"):
        corner = _corner(input, positions.shape, axis)
        return apply(sort_rules.take_along_axis, (corner, index), {"axis": axis})


def _corner(input: Any, sides: tuple[int, ...], axis: int | None) -> Any:
    """The first ``sides`` positions of each dimension, and all of dimension ``axis``."""
    shape = input.array.shape
    wanted = tuple(side if at == axis else one for at, (one, side) in enumerate(zip(sides, shape, strict=True)))
    if wanted == shape:
        return input
    return apply(rules.slice_view, (input,), {"index": tuple(slice(one) for one in wanted)})


def _sources(src: Any, positions: np.ndarray, what: str) -> Any:
    """The values for each position: the corner of a tensor of the index's shape."""
    shape = src.array.shape
    if len(shape) != positions.ndim or any(one > side for one, side in zip(positions.shape, shape, strict=True)):
        raise ShapeError(f"{what}: a source of shape {shape} for an index of shape {positions.shape}{here()}")
    return _corner(src, positions.shape, None)


def _same_dtype(input: Tensor, other: Any, what: str) -> None:
    if isinstance(other, TensorCore) and other.array.dtype != input.array.dtype:
        raise DtypeError(
            f"{what}: the tensor is {input.array.dtype} and the source {other.array.dtype}; convert one of them.{here()}"
        )


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy with each element of ``src`` added where its index points: the reverse of `gather`.

    In two dimensions and dim 0: ``out[index[i, j], j] += src[i, j]``.

    >>> import autograd_ff as af
    >>> af.scatter_add(af.zeros(3), 0, af.tensor([0, 0, 2]), af.tensor([1.0, 2.0, 3.0]))
    tensor([3., 0., 3.])
    """
    positions = _index_array(index, "scatter_add")
    axis = dim_of(dim, input.array.ndim, "scatter_add")
    _same_dtype(input, src, "scatter_add")
    with scope("composite", "scatter_add", "scatter_add"):
        if not input.array.ndim:
            return input + src
        _check_sizes(input, positions, axis, "scatter_add")
        values = _sources(src, positions, "scatter_add")
        added = apply(sort_rules.add_along_axis, (values, index), {"axis": axis, "shape": input.array.shape})
        return apply(elementwise.add, (input, added))


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """A copy with the elements of ``src`` (or one number) placed where their indices point.

    Of several with one place the last stays, and only it gets a gradient.

    Args:
        reduce: ``"add"`` makes it `scatter_add`.

    >>> import autograd_ff as af
    >>> af.scatter(af.zeros(3), 0, af.tensor([2, 0]), af.tensor([5.0, 7.0]))
    tensor([7., 0., 5.])
    """
    given = src if value is None else value
    positions = _index_array(index, "scatter")
    axis = dim_of(dim, input.array.ndim, "scatter")
    if given is None:
        raise ShapeError(f"scatter needs a source: src or value{here()}")
    if not isinstance(given, TensorCore):
        with scope("composite", "scatter", "scatter"):
            given = apply(elementwise.positive, (np.full(positions.shape, given, input.array.dtype),))
    if reduce == "add":
        return scatter_add(input, dim, index, given)
    if reduce is not None:
        raise ShapeError(f'scatter: reduce is "add" or None, got {reduce!r}{here()}')
    _same_dtype(input, given, "scatter")
    with scope("composite", "scatter", "scatter"):
        if not input.array.ndim:
            return apply(write_index, (input, given), {"index": ()})
        _check_sizes(input, positions, axis, "scatter")
        values = _sources(given, positions, "scatter")
        grids = list(np.ogrid[tuple(slice(side) for side in positions.shape)])
        grids[axis] = positions
        return apply(write_index, (input, values), {"index": tuple(grids)})


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """A copy with the slices of ``source`` times ``alpha`` added at the positions of a 1-d index.

    >>> import autograd_ff as af
    >>> af.index_add(af.zeros(3), 0, af.tensor([0, 2, 0]), af.ones(3))
    tensor([2., 0., 1.])
    """
    positions = _index_array(index, "index_add").reshape(-1)
    axis = dim_of(dim, input.array.ndim, "index_add")
    _check_index(input, positions, axis, "index_add")
    _same_dtype(input, source, "index_add")
    expected = (*input.array.shape[:axis], len(positions), *input.array.shape[axis + 1 :])
    if input.array.ndim and source.array.shape != expected:
        raise ShapeError(f"index_add: the source has shape {source.shape}, it must be {expected}{here()}")
    with scope("composite", "index_add", "index_add"):
        if alpha != 1:
            source = source * alpha
        if not input.array.ndim:
            return input + source.sum()
        return apply(add_at, (input, source), {"index": (*(slice(None),) * axis, positions)})


def index_put(input: Tensor, indices: tuple[Any, ...], values: Any, accumulate: bool = False) -> Tensor:
    """A copy with ``copy[indices] = values``; with ``accumulate``, ``+=``, counting every repeated position.

    >>> import autograd_ff as af
    >>> af.index_put(af.zeros(3), (af.tensor([0, 0]),), af.tensor([1.0, 2.0]), accumulate=True)
    tensor([3., 0., 0.])
    """
    index = tuple(_plain_part(part) for part in indices)
    _same_dtype(input, values, "index_put")
    return apply(add_at if accumulate else write_index, (input, values), {"index": index})


# ---------------------------------------------------------------- masks


def _mask(mask: Any, what: str) -> Any:
    array = mask.array if isinstance(mask, TensorCore) else np.asarray(mask)
    if array.dtype.kind != "b":
        raise DtypeError(f"{what}: the mask holds {array.dtype}, it must be booleans: mask.bool() or x > 0{here()}")
    return array


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """A copy with ``value`` (a number or a 0-d tensor) where the mask is true.

    A value that the dtype cannot hold, such as 1.5 in an integer tensor, raises; PyTorch cuts it off.

    >>> import autograd_ff as af
    >>> af.tensor([1.0, 2.0]).masked_fill(af.tensor([True, False]), -1)
    tensor([-1.,  2.])
    """
    _mask(mask, "masked_fill")
    if isinstance(value, TensorCore) and value.array.ndim:
        raise ShapeError(f"masked_fill: the value is one number, got a tensor of shape {value.array.shape}{here()}")
    dtype = input.array.dtype
    if not isinstance(value, TensorCore) and np.array(value).astype(dtype) == value:
        value = np.array(value).astype(dtype)
    out = apply(elementwise.where, (mask, value, input))
    if out.array.dtype != dtype:
        raise DtypeError(f"masked_fill: the value {value!r} is no {dtype}; convert the tensor first.{here()}")
    return out


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is true, in one dimension.

    >>> import autograd_ff as af
    >>> x = af.tensor([1, 5, 3])
    >>> x.masked_select(x > 2)
    tensor([5, 3])
    """
    positions = _mask(mask, "masked_select")
    if isinstance(mask, TensorCore):
        note_read(mask, "index")
    try:
        shape = np.broadcast_shapes(input.array.shape, positions.shape)
    except ValueError:
        raise ShapeError(
            f"masked_select: a mask of shape {positions.shape} for a tensor of shape {input.shape}{here()}"
        ) from None
    with scope("composite", "masked_select", "masked_select"):
        if input.array.shape != shape:
            input = apply(shaping.broadcast_to, (input,), {"shape": shape})
        return apply(rules.take, (input,), {"index": np.broadcast_to(positions, shape)})


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The positions of the elements that are not 0: an (n, dimensions) tensor, or one tensor for each dimension.

    >>> import autograd_ff as af
    >>> af.tensor([0, 3, 5]).nonzero().tolist()
    [[1], [2]]
    """
    note_read(input, "nonzero")
    found: Any = apply(rules.argwhere, (input,))
    if not as_tuple:
        return found
    return tuple(found.unbind(1)) if input.array.ndim else (found.new_zeros(len(found)),)


# ---------------------------------------------------------------- patterns


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A row of zeros with a one at the class, for each class index: shape (…, num_classes), int64.

    ``num_classes`` is one more than the largest index where it is not given.

    >>> import autograd_ff as af
    >>> af.one_hot(af.tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    index = _index_array(tensor, "one_hot")
    if num_classes == -1:
        note_read(tensor, "one_hot")  # the shape depends on the values
    if num_classes == -1 and not index.size:
        raise ShapeError(f"one_hot of no index at all: give num_classes{here()}")
    low, high = (int(index.min()), int(index.max())) if index.size else (0, -1)
    classes = high + 1 if num_classes == -1 else num_classes
    if low < 0 or high >= classes:
        raise DimensionError(f"one_hot: class {low if low < 0 else high} is out of range for {classes} classes{here()}")
    with scope("composite", "one_hot", "one_hot"):
        column: Any = apply(shaping.expand_dims, (tensor,), {"axis": -1})
        return convert(column == np.arange(classes), int64)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices (…, n, m): zeros above the diagonal with the given offset.

    >>> import autograd_ff as af
    >>> af.tril(af.ones(2, 2)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return apply(rules.tril, (input,), {"k": diagonal})


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices (…, n, m): zeros below the diagonal with the given offset.

    >>> import autograd_ff as af
    >>> af.triu(af.ones(3, 3))
    tensor([[1., 1., 1.],
            [0., 1., 1.],
            [0., 0., 1.]])
    """
    return apply(rules.triu, (input,), {"k": diagonal})


@composed
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonals of the matrices in two dimensions, along a new last dimension. A copy.

    >>> import autograd_ff as af
    >>> af.arange(4).reshape(2, 2).diagonal()
    tensor([0, 3])
    """
    axis1, axis2 = dim_of(dim1, input.array.ndim, "diagonal"), dim_of(dim2, input.array.ndim, "diagonal")
    if axis1 == axis2:
        raise DimensionError(f"diagonal: the two dimensions {dim1} and {dim2} are the same{here()}")
    return rules.diagonal(input, offset=offset, axis1=axis1, axis2=axis2)


@composed
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector as its diagonal, or the diagonal of a matrix.

    >>> import autograd_ff as af
    >>> af.diag(af.tensor([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    if input.array.ndim not in (1, 2):
        raise ShapeError(f"diag takes a vector or a matrix, got a tensor of shape {input.shape}{here()}")
    return rules.diag(input, k=diagonal)


@composed
def diag_embed(input: Tensor) -> Tensor:
    """Matrices with the vectors of the last dimension as their diagonals: (…, n) to (…, n, n).

    >>> import autograd_ff as af
    >>> af.diag_embed(af.tensor([[1, 2]])).tolist()
    [[[1, 0], [0, 2]]]
    """
    side = input.array.shape[-1]
    zero = np.zeros((), input.array.dtype)
    return apply(elementwise.where, (np.eye(side, dtype=bool), input.unsqueeze(-1), zero))


@composed
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    >>> import autograd_ff as af
    >>> af.trace(af.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    if input.array.ndim != 2:
        raise ShapeError(f"trace takes a matrix, got a tensor of shape {input.shape}{here()}")
    return rules.trace(input)
