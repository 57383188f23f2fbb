"""Functions that reduce dimensions: sums, products, extremes, moments, norms; and sums along a dimension."""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONDIFFERENTIABLE, NONZERO, REAL, Call, Domain, Draw, composite, here, primitive
from ..errors import NoRuleError


def axes_of(axis, ndim):
    """The reduced axes as a tuple of non-negative numbers; None means all of them.

    >>> axes_of(-1, 3), axes_of(None, 2)
    ((2,), (0, 1))
    """
    if axis is None:
        return tuple(range(ndim))
    return tuple(one % ndim if ndim else 0 for one in (axis if isinstance(axis, tuple) else (axis,)))


def kept(shape, axis):
    """The shape of a reduction with its reduced dimensions kept as 1.

    >>> kept((2, 3, 4), (0, -1))
    (1, 3, 1)
    """
    axes = axes_of(axis, len(shape))
    return tuple(1 if position in axes else side for position, side in enumerate(shape))


def count(shape, axis):
    """How many numbers go into each result."""
    return math.prod(shape[one] for one in axes_of(axis, len(shape))) if shape else 1


def spread(g, meta, axis):
    """A reduction's gradient, brought back to the shape of its input."""
    return np.broadcast_to(np.reshape(g, kept(meta.shape, axis)), meta.shape)


def draw_reduction(draw: Draw, domain: Domain = REAL, distinct: bool = False) -> Call:
    shape = draw.shape()
    array = draw.distinct(shape) if distinct else draw.array(shape, domain)
    axes: list = [None, *range(-len(shape), len(shape))]
    if len(shape) > 1 and not distinct:
        axes += [(0, 1), (-1, 0)]
    return Call((array,), {"axis": draw.choice(axes), "keepdims": draw.boolean()})


_REDUCTION = {"axis": None, "keepdims": False}
_WITH_DTYPE = {"axis": None, "dtype": None, "keepdims": False}

# ---------------------------------------------------------------- sums


def _sum(a, axis=None, dtype=None, keepdims=False):
    if dtype is None and a.dtype.kind in "bui":
        dtype = np.int64  # PyTorch's; NumPy's depends on the input's sign and on the platform
    # np.sum costs twice as much on a small array
    return np.add.reduce(a, axis, dtype, None, keepdims)  # type: ignore[call-overload]


sum = primitive(
    np.sum,
    lambda g, meta_a, axis: spread(g, meta_a, axis),
    inputs=("a",),
    params=_WITH_DTYPE,
    forward=_sum,
    promotion="common",
    domain=draw_reduction,
    analytic=True,
)


def _draw_reduce(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    axes: list = [0, None, -1, tuple(range(len(shape)))]
    return Call((draw.array(shape),), {"axis": draw.choice(axes), "keepdims": draw.boolean()})


add_reduce = primitive(
    np.add,
    lambda g, meta_array, axis: spread(g, meta_array, axis),
    name="add.reduce",
    method="reduce",
    inputs=("array",),
    params={"axis": 0, "dtype": None, "keepdims": False},
    forward=lambda array, axis=0, dtype=None, keepdims=False: _sum(array, axis, dtype, keepdims),
    promotion="common",
    domain=_draw_reduce,
    analytic=True,
)


def _mean(a, axis=None, dtype=None, keepdims=False):
    number = count(a.shape, axis)
    total = np.add.reduce(a, axis, dtype, None, keepdims=keepdims)
    return total / number if number else total * math.nan  # of no numbers: NaN, silently, as in PyTorch


mean = primitive(
    np.mean,
    lambda g, meta_a, axis: spread(g / max(count(meta_a.shape, axis), 1), meta_a, axis),
    inputs=("a",),
    params=_WITH_DTYPE,
    forward=_mean,
    promotion="float",
    domain=draw_reduction,
    analytic=True,
)


def _draw_cumulative(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    return Call((draw.array(shape),), {"axis": draw.choice([None, *range(-len(shape), len(shape))])})


def _cumsum(a, axis=None, dtype=None):
    if dtype is None and a.dtype.kind in "bui":
        dtype = np.int64
    return np.cumsum(a, axis, dtype)


def _suffix_sums(g, meta, axis):
    """For each element, the sum of the gradients from its position on."""
    last = 0 if axis is None else axis
    return np.reshape(np.flip(np.cumsum(np.flip(g, last), axis=last), last), meta.shape)


cumsum = primitive(
    np.cumsum,
    lambda g, meta_a, axis: _suffix_sums(g, meta_a, axis),
    inputs=("a",),
    params={"axis": None, "dtype": None},
    forward=_cumsum,
    promotion="common",
    domain=_draw_cumulative,
    analytic=True,
)

# ---------------------------------------------------------------- products


def _others(a):
    """For each element, the product of all the others along the last axis, exact where there are zeros.

    Pairs are multiplied and the products taken among themselves, again and again; what belongs to a pair's other half
    comes back on the way out. It is made of products only, so it can be differentiated any number of times.
    """
    *rest, size = a.shape
    rest = tuple(rest)
    if size <= 1:
        return np.ones_like(a)
    if size % 2:
        a = np.concatenate([a, np.ones((*rest, 1), dtype=a.dtype)], axis=-1)
    pairs = np.reshape(a, (*rest, (size + 1) // 2, 2))
    first, second = pairs[..., 0], pairs[..., 1]
    outside = _others(first * second)
    both = np.stack([outside * second, outside * first], axis=-1)
    return np.reshape(both, (*rest, size + size % 2))[..., :size]


def _product_gradient(g, a, axis):
    axes = axes_of(axis, len(a.shape)) if a.shape else ()
    rest = tuple(one for one in range(len(a.shape)) if one not in axes)
    order = rest + axes
    moved = tuple(a.shape[one] for one in order)
    flat = np.reshape(np.transpose(a, order), (*moved[: len(rest)], math.prod(moved[len(rest) :])))
    inverse = tuple(sorted(range(len(order)), key=lambda position: order[position]))
    return spread(g, a, axis) * np.transpose(np.reshape(_others(flat), moved), inverse)


def _prod(a, axis=None, dtype=None, keepdims=False):
    if dtype is None and a.dtype.kind in "bui":
        dtype = np.int64
    return np.multiply.reduce(a, axis, dtype, None, keepdims=keepdims)


prod = primitive(
    np.prod,
    lambda g, a, axis: _product_gradient(g, a, axis),
    inputs=("a",),
    params=_WITH_DTYPE,
    forward=_prod,
    promotion="common",
    domain=draw_reduction,
    analytic=True,
)


@composite(np.cumprod, domain=_draw_cumulative)
def cumprod(a, axis=None):
    """Products of all elements up to each one.

    Each pass multiplies by the products that end 1, 2, 4, … places before: products only, so the gradient is exact where
    there are zeros.
    """
    if axis is None:
        a, axis = np.reshape(a, (math.prod(a.shape),)), 0
    axis = axis % max(len(a.shape), 1)
    before = (slice(None),) * axis
    reach = 1
    while a.shape and reach < a.shape[axis]:
        head = a[(*before, slice(reach))]
        tail = a[(*before, slice(reach, None))] * a[(*before, slice(None, -reach))]
        a = np.concatenate([head, tail], axis=axis)
        reach *= 2
    return a


# ---------------------------------------------------------------- extremes


def _where_equal(a, out, axis):
    """Where the elements equal their reduction; a NaN counts as equal to a NaN."""
    out = np.reshape(out, kept(a.shape, axis))
    return np.equal(a, out) | (np.not_equal(a, a) & np.not_equal(out, out))


def _share(g, a, out, axis):
    """The gradient of an extreme value, shared evenly among the elements that attain it, as PyTorch has it."""
    chosen = _where_equal(a, out, axis) * np.ones((), dtype=a.dtype)
    return np.reshape(g, kept(a.shape, axis)) / np.sum(chosen, axis=axis, keepdims=True) * chosen


def _draw_distinct(draw: Draw) -> Call:
    return draw_reduction(draw, distinct=True)


def _draw_distinct_reduce(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    return Call((draw.distinct(shape),), {"axis": draw.choice([0, None, -1]), "keepdims": draw.boolean()})


amax = primitive(
    np.max, _share, name="amax", inputs=("a",), params=_REDUCTION, domain=_draw_distinct, branches=_where_equal,
    forward=lambda a, axis=None, keepdims=False: np.maximum.reduce(a, axis, None, None, keepdims=keepdims),
)  # fmt: skip
amin = primitive(
    np.min, _share, name="amin", inputs=("a",), params=_REDUCTION, domain=_draw_distinct, branches=_where_equal,
    forward=lambda a, axis=None, keepdims=False: np.minimum.reduce(a, axis, None, None, keepdims=keepdims),
)  # fmt: skip
for _ufunc in (np.maximum, np.minimum):
    primitive(
        _ufunc,
        lambda g, array, out, axis: _share(g, array, out, axis),
        name=f"{_ufunc.__name__}.reduce",
        method="reduce",
        inputs=("array",),
        params={"axis": 0, "keepdims": False},
        forward=lambda array, axis=0, keepdims=False, ufunc=_ufunc: ufunc.reduce(
            array, axis, None, None, keepdims=keepdims
        ),
        domain=_draw_distinct_reduce,
        branches=lambda array, out, axis: _where_equal(array, out, axis),
    )


def _draw_one_axis(draw: Draw) -> Call:
    shape = draw.shape()
    return Call((draw.distinct(shape),), {"axis": draw.choice([None, *range(-len(shape), len(shape))])})


argmax = primitive(
    np.argmax, NONDIFFERENTIABLE, inputs=("a",), params=_REDUCTION, domain=_draw_one_axis,
    forward=lambda a, axis=None, keepdims=False: np.argmax(a, axis, keepdims=keepdims),
)  # fmt: skip
argmin = primitive(
    np.argmin, NONDIFFERENTIABLE, inputs=("a",), params=_REDUCTION, domain=_draw_one_axis,
    forward=lambda a, axis=None, keepdims=False: np.argmin(a, axis, keepdims=keepdims),
)  # fmt: skip

# ---------------------------------------------------------------- moments


def _per(number):
    """1 / number; NaN for the moments that too few numbers have."""
    return 1 / number if number > 0 else math.nan


def _var(a, axis=None, ddof=0, keepdims=False):
    number = count(a.shape, axis)
    centred = a - np.add.reduce(a, axis, None, None, keepdims=True) * _per(number)
    squares = np.add.reduce(np.square(centred), axis, None, None, keepdims=keepdims)
    return squares * _per(number - ddof)


def _centred(a, axis):
    return a - np.mean(a, axis=axis, keepdims=True)


def _draw_moment(draw: Draw) -> Call:
    call = draw_reduction(draw)
    number = count(call.inputs[0].shape, call.params["axis"])
    return Call(call.inputs, {**call.params, "ddof": draw.integer(0, 1) if number > 1 else 0})


def _draw_deviation(draw: Draw) -> Call:
    """Two numbers or more that differ: at a deviation of 0 there is a kink."""
    shape = draw.shape(min_dims=1, min_side=2)
    axis = draw.choice([None, *range(-len(shape), len(shape))])
    return Call((draw.distinct(shape),), {"axis": axis, "ddof": draw.integer(0, 1), "keepdims": draw.boolean()})


_MOMENT = {"axis": None, "ddof": 0, "keepdims": False}

var = primitive(
    np.var,
    lambda g, a, axis, ddof: spread(g * (2 * _per(count(a.shape, axis) - ddof)), a, axis) * _centred(a, axis),
    inputs=("a",),
    params=_MOMENT,
    forward=_var,
    promotion="float",
    domain=_draw_moment,
    analytic=True,
)


def _over(g, out):
    """g / out, and 0 where out is 0: the subgradient that PyTorch takes there."""
    none = np.equal(out, 0)
    return np.where(none, np.zeros((), g.dtype), g / np.where(none, np.ones((), g.dtype), out))


std = primitive(
    np.std,
    lambda g, a, out, axis, ddof: (
        spread(_over(g, out) * _per(count(a.shape, axis) - ddof), a, axis) * _centred(a, axis)
    ),
    inputs=("a",),
    params=_MOMENT,
    forward=lambda a, axis=None, ddof=0, keepdims=False: np.sqrt(_var(a, axis, ddof, keepdims)),
    promotion="float",
    domain=_draw_deviation,
    branches=lambda out: np.equal(out, 0),
)

# ---------------------------------------------------------------- logsumexp and norms


def _logsumexp(a, axis=None, keepdims=False):
    if not count(a.shape, axis):
        return np.add.reduce(a, axis, None, None, keepdims=keepdims) - math.inf
    top = np.maximum.reduce(a, axis, None, None, keepdims=True)
    # An infinite maximum is the result itself, and inf - inf has none.
    shift = np.where(np.isfinite(top), top, np.zeros((), a.dtype))
    total = np.add.reduce(np.exp(a - shift), axis, None, None, keepdims=True)
    with np.errstate(divide="ignore"):
        out = np.log(total) + shift
    return out if keepdims else np.reshape(out, [a.shape[i] for i in range(a.ndim) if i not in axes_of(axis, a.ndim)])


def _softmax(a, out, axis):
    out = np.reshape(out, kept(a.shape, axis))
    return np.exp(a - np.where(np.isinf(out), np.zeros((), a.dtype), out))


logsumexp = primitive(
    _logsumexp,
    lambda g, a, out, axis: spread(g, a, axis) * _softmax(a, out, axis),
    name="logsumexp",
    inputs=("a",),
    params=_REDUCTION,
    promotion="float",
    domain=draw_reduction,
)


def _vector_norm(x, ord=2, axis=None, keepdims=False):
    if ord == 2:
        return np.sqrt(np.add.reduce(np.square(x), axis, None, None, keepdims=keepdims))
    size = np.abs(x)
    if ord == 1:
        return np.add.reduce(size, axis, None, None, keepdims=keepdims)
    if ord == 0:
        return np.add.reduce(np.not_equal(x, 0), axis, x.dtype, None, keepdims=keepdims)
    if math.isinf(ord):
        extreme = np.maximum if ord > 0 else np.minimum
        if ord > 0 and not count(x.shape, axis):
            return np.add.reduce(size, axis, None, None, keepdims=keepdims)
        return extreme.reduce(size, axis, None, None, keepdims=keepdims)
    if ord < 0:
        with np.errstate(divide="ignore"):
            return np.power(np.add.reduce(np.power(size, ord), axis, None, None, keepdims=keepdims), 1 / ord)
    return np.power(np.add.reduce(np.power(size, ord), axis, None, None, keepdims=keepdims), 1 / ord)


def _norm_gradient(g, x, out, ord, axis):
    if ord == 0:
        return np.zeros_like(x)
    out, g = np.reshape(out, kept(x.shape, axis)), np.reshape(g, kept(x.shape, axis))
    if ord == 2:
        return _over(g, out) * x
    if ord == 1:
        return g * np.sign(x)
    if math.isinf(ord):
        chosen = np.equal(np.abs(x), out) * np.ones((), dtype=x.dtype)
        number = np.sum(chosen, axis=axis, keepdims=True)
        return g / np.maximum(number, 1) * (chosen * np.sign(x))
    none = np.equal(x, 0)
    size = np.abs(np.where(none, np.ones((), x.dtype), x))
    # The quotient first: powers of x and of the norm may each overflow where their quotient is below 1.
    share = np.power(size / np.where(np.equal(out, 0), np.ones((), x.dtype), out), ord - 1)
    return np.where(none, np.zeros((), x.dtype), g * (np.sign(x) * share))


def _draw_norm(draw: Draw) -> Call:
    shape = draw.shape()
    ord = draw.choice([2, 1, 3, 0, 0.5, math.inf, -math.inf, 2.5, -1])
    x = draw.distinct(shape) + 10.0 if isinstance(ord, float) and math.isinf(ord) else draw.array(shape, NONZERO)
    axis = draw.choice([None, *range(-len(shape), len(shape))])
    return Call((x,), {"ord": ord, "axis": axis, "keepdims": draw.boolean()})


vector_norm = primitive(
    np.linalg.vector_norm,
    _norm_gradient,
    inputs=("x",),
    params={"ord": 2, "axis": None, "keepdims": False},
    forward=_vector_norm,
    promotion="float",
    domain=_draw_norm,
    branches=lambda x: np.sign(x),
)


def _draw_numpy_norm(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1, max_dims=2)
    ord = draw.choice([None, "fro", 1, math.inf] if len(shape) == 2 else [None, 1, 2, 3])
    return Call((draw.distinct(shape) + 10.0,), {"ord": ord, "axis": None, "keepdims": draw.boolean()})


@composite(np.linalg.norm, domain=_draw_numpy_norm, name="linalg.norm")
def norm(x, ord=None, axis=None, keepdims=False):
    """NumPy's norm: of vectors, or of matrices where two axes are reduced and an order is given."""
    if ord is None:
        return vector_norm(x, ord=2, axis=axis, keepdims=keepdims)
    axes = axes_of(axis, len(x.shape))
    if len(axes) == 1:
        return vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)
    if ord == "fro":
        return vector_norm(x, ord=2, axis=axes, keepdims=keepdims)
    if len(axes) != 2 or ord not in (1, -1, math.inf, -math.inf):
        raise NoRuleError(f"np.linalg.norm with ord={ord!r} over axes {axes} has no derivative rule{here()}")
    summed, compared = axes if abs(ord) == 1 else axes[::-1]
    sums = np.sum(np.abs(x), axis=summed, keepdims=True)
    extreme = np.max if ord > 0 else np.min
    out = extreme(sums, axis=compared, keepdims=True)
    return out if keepdims else np.squeeze(out, axis=axes)


# ---------------------------------------------------------------- truth

any = primitive(
    np.any, NONDIFFERENTIABLE, inputs=("a",), params=_REDUCTION, domain=draw_reduction,
    forward=lambda a, axis=None, keepdims=False: np.any(a, axis, keepdims=keepdims),
)  # fmt: skip
all = primitive(
    np.all, NONDIFFERENTIABLE, inputs=("a",), params=_REDUCTION, domain=draw_reduction,
    forward=lambda a, axis=None, keepdims=False: np.all(a, axis, keepdims=keepdims),
)  # fmt: skip
count_nonzero = primitive(
    np.count_nonzero, NONDIFFERENTIABLE, inputs=("a",), params=_REDUCTION, domain=draw_reduction,
    forward=lambda a, axis=None, keepdims=False: np.count_nonzero(a, axis, keepdims=keepdims),
)  # fmt: skip
