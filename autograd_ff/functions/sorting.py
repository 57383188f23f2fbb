"""Sorting along a dimension. The gradient goes to the elements where they stood before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine import apply, here
from ..errors import ShapeError
from ..rules import indexing as index_rules
from ..rules import sorting as rules
from .composition import composed
from .dims import dim_of
from .operands import check_tensors
from .reductions import ValuesAndIndices

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["argsort", "kthvalue", "msort", "sort", "topk"]


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort a tensor along ``dim``. Equal elements keep their order; NaN counts as the largest number.

    >>> import autograd_ff as af
    >>> af.tensor([30, 10, 20]).argsort()
    tensor([1, 2, 0])
    """
    check_tensors("argsort", input)
    axis = dim_of(dim, input.array.ndim, "argsort")
    return apply(rules.argsort, (input,), {"axis": axis, "descending": bool(descending)})


@composed
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesAndIndices:
    """The elements in order along ``dim``, and where they stood: a named tuple (values, indices).

    Always stable: equal elements keep their order. NaN counts as the largest number.

    >>> import autograd_ff as af
    >>> values, indices = af.tensor([3.0, 1.0, 2.0]).sort(descending=True)
    >>> values, indices
    (tensor([3., 2., 1.]), tensor([0, 2, 1]))
    """
    check_tensors("sort", input)
    axis = dim_of(dim, input.array.ndim, "sort")
    indices = apply(rules.argsort, (input,), {"axis": axis, "descending": bool(descending)})
    return ValuesAndIndices(_take(input, indices, axis), indices)


def _take(input: Any, indices: Any, axis: int) -> Any:
    if not input.array.ndim:
        return input.clone()
    return apply(rules.take_along_axis, (input, indices), {"axis": axis})


@composed
def msort(input: Tensor) -> Tensor:
    """The elements in ascending order along dimension 0.

    >>> import autograd_ff as af
    >>> af.msort(af.tensor([[3, 1], [2, 4]])).tolist()
    [[2, 1], [3, 4]]
    """
    return sort(input, 0).values


@composed
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """The ``k`` largest (or smallest) elements along ``dim``, and their indices: a named tuple (values, indices).

    They come in order, also where ``sorted`` does not ask for it. Of equal elements the first ones are taken.

    >>> import autograd_ff as af
    >>> values, indices = af.tensor([1.0, 4.0, 2.0, 3.0]).topk(2)
    >>> values, indices
    (tensor([4., 3.]), tensor([1, 3]))
    """
    check_tensors("topk", input)
    axis = dim_of(dim, input.array.ndim, "topk")
    size = input.array.shape[axis] if input.array.ndim else 1
    if not 0 <= k <= size:
        raise ShapeError(
            f"topk: {k} of the {size} elements along dimension {dim} of a tensor of shape {input.shape}{here()}"
        )
    indices = apply(rules.argsort, (input,), {"axis": axis, "descending": bool(largest)})
    if input.array.ndim:
        indices = apply(index_rules.slice_view, (indices,), {"index": (*(slice(None),) * axis, slice(k))}).contiguous()
    elif not k:
        raise ShapeError(f"topk: no element of a 0-d tensor{here()}")
    return ValuesAndIndices(_take(input, indices, axis), indices)


@composed
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The ``k``-th smallest element along ``dim`` (counted from 1), and its index: a named tuple (values, indices).

    >>> import autograd_ff as af
    >>> af.kthvalue(af.tensor([3.0, 1.0, 2.0]), 2).values
    tensor(2.)
    """
    axis = dim_of(dim, input.array.ndim, "kthvalue")
    size = input.array.shape[axis] if input.array.ndim else 1
    if not 1 <= k <= size:
        raise ShapeError(f"kthvalue: element {k} of {size} along dimension {dim}{here()}")
    values, indices = sort(input, axis)
    if input.array.ndim:
        part = (*(slice(None),) * axis, slice(k - 1, k) if keepdim else k - 1)
        values, indices = values[part], indices[part]
    return ValuesAndIndices(values, indices)
