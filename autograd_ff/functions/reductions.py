"""Reducing dimensions: sums, products, extremes, moments, norms, truth; and sums along a dimension.

Where a function takes ``dim``, that is an integer, negative ones counting from the end, or a tuple of them, or None for
all. NumPy's spellings ``axis`` and ``keepdims`` work too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..engine import TensorCore, apply, here, scope
from ..errors import DtypeError, ShapeError
from ..rules import elementwise, shaping
from ..rules import reductions as rules
from ..rules import sorting as sort_rules
from .composition import composed
from .conversion import convert
from .dims import dim_of, dims_of
from .dtypes import as_dtype
from .operands import check_tensors

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum", "logsumexp",
    "max", "mean", "median", "min", "norm", "prod", "std", "std_mean", "sum", "var", "var_mean",
]  # fmt: skip

Dims = int | Sequence[int] | None


class ValuesAndIndices(NamedTuple):
    """What `max`, `min`, `median`, `sort` and `topk` along a dimension return."""

    values: Tensor
    indices: Tensor


class MinAndMax(NamedTuple):
    """What `aminmax` returns."""

    min: Tensor
    max: Tensor


def _axis(input: Tensor, dim: Any, what: str) -> Any:
    """``dim`` as NumPy's axis: an integer, a tuple, or None for all."""
    check_tensors(what, input)
    if dim is None:
        return None
    ndim = input.array.ndim
    if isinstance(dim, (tuple, list)):
        axes = dims_of(dim, ndim, what)
        return axes if axes and ndim else None
    axis = dim_of(dim, ndim, what)
    return axis if ndim else None


def _to(input: Tensor, dtype: Any, what: str) -> Tensor:
    with scope("composite", what, what):
        return convert(input, as_dtype(dtype))


# ---------------------------------------------------------------- sums


def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None, axis: Dims = None,
    keepdims: bool | None = None,
) -> Tensor:  # fmt: skip
    """The sum of all elements, or along ``dim``.

    Integers and booleans sum to int64. ``dtype`` converts the input first.

    >>> import autograd_ff as af
    >>> af.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=0)
    tensor([4., 6.])
    """
    if dtype is not None:
        input, dtype = _to(input, dtype, "sum"), as_dtype(dtype)
    axes = _axis(input, dim if axis is None else axis, "sum")
    return apply(
        rules.sum, (input,), {"axis": axes, "dtype": dtype, "keepdims": keepdim if keepdims is None else keepdims}
    )


def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None, axis: Dims = None,
    keepdims: bool | None = None,
) -> Tensor:  # fmt: skip
    """The mean of all elements, or along ``dim``; NaN where there is none.

    Raises:
        DtypeError: the tensor holds integers or booleans; convert it, or give a floating ``dtype``.

    >>> import autograd_ff as af
    >>> af.tensor([1.0, 2.0, 6.0]).mean()
    tensor(3.)
    """
    if dtype is not None:
        input = _to(input, dtype, "mean")
    _check_floating(input, "mean")
    axes = _axis(input, dim if axis is None else axis, "mean")
    return apply(rules.mean, (input,), {"axis": axes, "keepdims": keepdim if keepdims is None else keepdims})


def _check_floating(input: Tensor, what: str) -> None:
    check_tensors(what, input)
    if input.array.dtype.kind not in "fc":
        raise DtypeError(
            f"{what} of a tensor of dtype {input.array.dtype} is not defined; it would have to be a floating one."
            f"{here()}\n  Convert the tensor first: x.float().{what}()."
        )


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Sums of all elements up to each one, along ``dim``.

    >>> import autograd_ff as af
    >>> af.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    if dtype is not None:
        input, dtype = _to(input, dtype, "cumsum"), as_dtype(dtype)
    axis = dim_of(dim, input.array.ndim, "cumsum")
    if not input.array.ndim:
        return apply(rules.sum, (input,), {"axis": None, "dtype": dtype, "keepdims": False})
    return apply(rules.cumsum, (input,), {"axis": axis, "dtype": dtype})


# ---------------------------------------------------------------- products


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None, axis: int | None = None,
    keepdims: bool | None = None,
) -> Tensor:  # fmt: skip
    """The product of all elements, or along ``dim``. The gradient is exact where elements are 0.

    >>> import autograd_ff as af
    >>> x = af.tensor([0.0, 2.0, 3.0], requires_grad=True)
    >>> x.prod().backward()
    >>> x.grad
    tensor([6., 0., 0.])
    """
    if dtype is not None:
        input, dtype = _to(input, dtype, "prod"), as_dtype(dtype)
    axes = _axis(input, dim if axis is None else axis, "prod")
    return apply(
        rules.prod, (input,), {"axis": axes, "dtype": dtype, "keepdims": keepdim if keepdims is None else keepdims}
    )


@composed
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Products of all elements up to each one, along ``dim``. The gradient is exact where elements are 0.

    >>> import autograd_ff as af
    >>> af.tensor([1.0, 2.0, 3.0]).cumprod(0)
    tensor([1., 2., 6.])
    """
    if dtype is not None:
        input = convert(input, as_dtype(dtype))
    axis = dim_of(dim, input.array.ndim, "cumprod")
    if input.array.dtype.kind in "bui":
        input = convert(input, np.dtype(np.int64) if dtype is None else as_dtype(dtype))
    return rules.cumprod(input, axis=axis) if input.array.ndim else input.clone()


# ---------------------------------------------------------------- extremes


def amax(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, keepdims: bool | None = None
) -> Tensor:
    """The largest element, of all or along ``dim``. Elements that tie share the gradient evenly.

    >>> import autograd_ff as af
    >>> x = af.tensor([1.0, 3.0, 3.0], requires_grad=True)
    >>> x.amax().backward()
    >>> x.grad
    tensor([0.0, 0.5, 0.5])
    """
    axes = _axis(input, dim if axis is None else axis, "amax")
    return apply(rules.amax, (input,), {"axis": axes, "keepdims": keepdim if keepdims is None else keepdims})


def amin(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, keepdims: bool | None = None
) -> Tensor:
    """The smallest element, of all or along ``dim``. Elements that tie share the gradient evenly.

    >>> import autograd_ff as af
    >>> af.amin(af.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1)
    tensor([1., 3.])
    """
    axes = _axis(input, dim if axis is None else axis, "amin")
    return apply(rules.amin, (input,), {"axis": axes, "keepdims": keepdim if keepdims is None else keepdims})


@composed
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinAndMax:
    """`amin` and `amax` at once.

    >>> import autograd_ff as af
    >>> af.aminmax(af.tensor([3, 1, 2]))
    MinAndMax(min=tensor(1), max=tensor(3))
    """
    return MinAndMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


def argmax(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, axis: int | None = None,
    keepdims: bool | None = None,
) -> Tensor:  # fmt: skip
    """The index of the first largest element, in the flattened tensor or along ``dim``.

    >>> import autograd_ff as af
    >>> af.tensor([[1, 5], [7, 2]]).argmax(1)
    tensor([1, 0])
    """
    axes = _one_axis(input, dim if axis is None else axis, "argmax")
    return apply(rules.argmax, (input,), {"axis": axes, "keepdims": keepdim if keepdims is None else keepdims})


def argmin(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, axis: int | None = None,
    keepdims: bool | None = None,
) -> Tensor:  # fmt: skip
    """The index of the first smallest element, in the flattened tensor or along ``dim``.

    >>> import autograd_ff as af
    >>> af.argmin(af.tensor([[1.0, 2.0], [4.0, 3.0]]), dim=1)
    tensor([0, 1])
    """
    axes = _one_axis(input, dim if axis is None else axis, "argmin")
    return apply(rules.argmin, (input,), {"axis": axes, "keepdims": keepdim if keepdims is None else keepdims})


def _one_axis(input: Tensor, dim: Any, what: str) -> Any:
    if dim is None or not input.array.ndim:
        return None if dim is None else dim_of(dim, 0, what) or None
    return dim_of(dim, input.array.ndim, what)


def max(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:  # fmt: skip
    """The largest element; or, with ``dim``, the largest ones along it and their indices; or of two tensors each larger one.

    Returns:
        ``max(x)``: a 0-d tensor; elements that tie share the gradient evenly.
        ``max(x, dim)``: a named tuple (values, indices); the gradient goes to the element at the index.
        ``max(x, y)``: `maximum`.

    >>> import autograd_ff as af
    >>> x = af.tensor([[1.0, 5.0], [7.0, 2.0]])
    >>> x.max()
    tensor(7.)
    >>> values, indices = x.max(dim=1)
    >>> values, indices
    (tensor([5., 7.]), tensor([1, 0]))
    """
    return _extreme(input, dim if axis is None else axis, keepdim if keepdims is None else keepdims, other, "max")


def min(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None, axis: int | None = None,
    keepdims: bool | None = None,
) -> Any:  # fmt: skip
    """The smallest element; or, with ``dim``, the smallest ones along it and their indices; or of two tensors. See `max`.

    >>> import autograd_ff as af
    >>> values, indices = af.min(af.tensor([[1.0, 2.0], [4.0, 3.0]]), 1)
    >>> values, indices
    (tensor([1., 3.]), tensor([0, 1]))
    """
    return _extreme(input, dim if axis is None else axis, keepdim if keepdims is None else keepdims, other, "min")


def _extreme(input: Tensor, dim: Any, keepdim: bool, other: Any, what: str) -> Any:
    with scope("composite", what, what):
        if isinstance(dim, TensorCore):
            dim, other = None, dim
        if other is not None:
            return apply(elementwise.maximum if what == "max" else elementwise.minimum, (input, other))
        if dim is None:
            return apply(rules.amax if what == "max" else rules.amin, (input,), {"axis": None, "keepdims": keepdim})
        chooser = rules.argmax if what == "max" else rules.argmin
        return _along(input, dim, keepdim, what, lambda x, axis: apply(chooser, (x,), {"axis": axis, "keepdims": True}))


def _along(input: Tensor, dim: Any, keepdim: bool, what: str, choose: Any) -> ValuesAndIndices:
    """Values and indices of the elements that ``choose`` finds along a dimension."""
    check_tensors(what, input)
    axis = dim_of(dim, input.array.ndim, what)
    if not input.array.ndim:
        vector = apply(shaping.reshape, (input,), {"shape": (1,)})
        values, indices = _along(vector, 0, False, what, choose)
        return ValuesAndIndices(values, indices)
    if not input.array.shape[axis]:
        raise ShapeError(f"{what} along dimension {dim}, which is empty in a tensor of shape {input.shape}{here()}")
    indices = choose(input, axis)
    values = apply(sort_rules.take_along_axis, (input, indices), {"axis": axis})
    if not keepdim:
        values = apply(shaping.squeeze, (values,), {"axis": (axis,)})
        indices = apply(shaping.squeeze, (indices,), {"axis": (axis,)})
    return ValuesAndIndices(values, indices)


@composed
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower one of two: of all, or along ``dim`` with its index. NaN where there is one.

    >>> import autograd_ff as af
    >>> af.tensor([3.0, 1.0, 2.0, 4.0]).median()
    tensor(2.)
    """

    def middle(x: Any, axis: int) -> Any:
        return apply(sort_rules.argmedian, (x,), {"axis": axis})

    if dim is None:
        flat = apply(shaping.reshape, (input,), {"shape": (input.array.size,)})
        return _along(flat, 0, False, "median", middle).values
    return _along(input, dim, keepdim, "median", middle)


# ---------------------------------------------------------------- moments


def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None, axis: Dims = None, keepdims: bool | None = None,
) -> Tensor:  # fmt: skip
    """The variance ``sum((x - mean(x))²) / (n - correction)``, of all elements or along ``dim``.

    Args:
        unbiased: False stands for ``correction=0``, True for 1.
        correction: what is subtracted from the number of elements, 1 by default (Bessel's correction).

    The variance of a single element with the default correction is NaN, without PyTorch's warning.

    >>> import autograd_ff as af
    >>> x = af.tensor([1.0, 2.0, 3.0])
    >>> x.var(), x.var(correction=0)
    (tensor(1.), tensor(0.6667))
    """
    return apply(rules.var, (input,), _moment(input, dim, unbiased, keepdim, correction, axis, keepdims, "var"))


def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None, axis: Dims = None, keepdims: bool | None = None,
) -> Tensor:  # fmt: skip
    """The standard deviation, the root of `var`. Its gradient where it is 0 is 0.

    >>> import autograd_ff as af
    >>> af.tensor([1.0, 2.0, 3.0]).std()
    tensor(1.)
    """
    return apply(rules.std, (input,), _moment(input, dim, unbiased, keepdim, correction, axis, keepdims, "std"))


def _moment(
    input: Tensor, dim: Any, unbiased: Any, keepdim: Any, correction: Any, axis: Any, keepdims: Any, what: str
) -> dict[str, Any]:
    _check_floating(input, what)
    if isinstance(dim, bool):  # var(x, unbiased), PyTorch's older form
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    elif unbiased is not None:
        raise TypeError(f"{what} takes unbiased or correction, not both{here()}")
    axes = _axis(input, dim if axis is None else axis, what)
    return {"axis": axes, "ddof": correction, "keepdims": keepdim if keepdims is None else keepdims}


@composed
def var_mean(input: Tensor, dim: Dims = None, *, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """`var` and `mean` at once.

    >>> import autograd_ff as af
    >>> af.var_mean(af.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    return var(input, dim, keepdim=keepdim, correction=correction), mean(input, dim, keepdim)


@composed
def std_mean(input: Tensor, dim: Dims = None, *, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """`std` and `mean` at once.

    >>> import autograd_ff as af
    >>> af.std_mean(af.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    return std(input, dim, keepdim=keepdim, correction=correction), mean(input, dim, keepdim)


# ---------------------------------------------------------------- logsumexp and norms


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` along ``dim``, without overflow; -inf where all elements are.

    >>> import autograd_ff as af
    >>> af.tensor([1000.0, 1000.0]).logsumexp(0)
    tensor(1000.6932)
    """
    return apply(rules.logsumexp, (input,), {"axis": _axis(input, dim, "logsumexp"), "keepdims": keepdim})


def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """The p-norm ``sum(|x|^p)^(1/p)`` of all elements, or of the vectors along ``dim``.

    Args:
        p: the order. ``"fro"`` and None are 2; ``inf`` is the largest absolute value, ``-inf`` the smallest; 0 counts
            the elements that are not 0.

    The gradient at 0 is 0.

    >>> import autograd_ff as af
    >>> x = af.tensor([3.0, -4.0])
    >>> x.norm(), x.norm(1), x.norm(float("inf"))
    (tensor(5.), tensor(7.), tensor(4.))
    """
    order = 2 if p is None or p == "fro" else p
    if isinstance(order, str):
        try:
            order = float(order)
        except ValueError:
            order = math.nan
    if isinstance(order, bool) or not order == order:
        raise ShapeError(f'norm: the order p is a number, "fro" or None, got {p!r}{here()}')
    if dtype is not None:
        input = _to(input, dtype, "norm")
    _check_floating(input, "norm")
    axes = _axis(input, dim, "norm")
    return apply(rules.vector_norm, (input,), {"ord": order, "axis": axes, "keepdims": keepdim})


# ---------------------------------------------------------------- truth


def any(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, keepdims: bool | None = None
) -> Tensor:
    """Whether any element is not 0.

    >>> import autograd_ff as af
    >>> af.tensor([False, True]).any()
    tensor(True)
    """
    axes = _axis(input, dim if axis is None else axis, "any")
    return apply(rules.any, (input,), {"axis": axes, "keepdims": keepdim if keepdims is None else keepdims})


def all(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, axis: Dims = None, keepdims: bool | None = None
) -> Tensor:
    """Whether no element is 0.

    >>> import autograd_ff as af
    >>> af.tensor([False, True]).all()
    tensor(False)
    """
    axes = _axis(input, dim if axis is None else axis, "all")
    return apply(rules.all, (input,), {"axis": axes, "keepdims": keepdim if keepdims is None else keepdims})


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not 0.

    >>> import autograd_ff as af
    >>> af.count_nonzero(af.tensor([0, 3, 5]))
    tensor(2)
    """
    return apply(rules.count_nonzero, (input,), {"axis": _axis(input, dim, "count_nonzero"), "keepdims": False})
