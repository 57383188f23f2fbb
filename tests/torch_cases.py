"""Arguments for every public function that PyTorch has too, drawn by Hypothesis.

A case takes a `Draw` and returns ``(args, kwargs)``, with NumPy arrays where tensors go.
"""

from __future__ import annotations

import math

import numpy as np

from autograd_ff.engine import BOOLEAN, NONZERO, POSITIVE, PROBABILITY, REAL, UNIT, Domain
from autograd_ff.engine.domain import draw_broadcastable

__all__ = ["CASES", "SKIPPED"]

ABOVE_ONE = Domain(1.2, 4.0)
NO_INTEGERS = REAL.away_from(*range(-3, 4))
NO_HALVES = REAL.away_from(*(n + 0.5 for n in range(-4, 4)))
KINKS = Domain(-5.0, 5.0, avoid=(-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 6.0))

CASES = {}


def case(*names):
    def register(function):
        CASES.update(dict.fromkeys(names, function))
        return function

    return register


def unary(domain, *names):
    CASES.update(dict.fromkeys(names, lambda draw: ((draw.array(draw.shape(), domain),), {})))


def binary(first, second, *names):
    def draw_both(draw):
        shapes = draw_broadcastable(draw, 2)
        return (draw.array(shapes[0], first), draw.array(shapes[1], second)), {}

    CASES.update(dict.fromkeys(names, draw_both))


def axis(draw, shape):
    return draw.integer(-len(shape), len(shape) - 1)


def axes(draw, shape):
    """None, one dimension, or two."""
    options = [None, *range(-len(shape), len(shape))]
    if len(shape) > 1:
        options += [(0, 1), (-1, 0), [1, 0]]
    return draw.choice(options)


# ---------------------------------------------------------------- elementwise

unary(
    REAL, "asinh", "arcsinh", "atan", "arctan", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "neg", "negative",
    "positive", "sin", "sinh", "square", "tanh", "sigmoid", "isfinite", "isinf", "isnan", "logical_not", "nan_to_num",
    "silu", "mish", "softplus", "logsigmoid", "tanhshrink", "signbit",
)  # fmt: skip
unary(NONZERO, "abs", "absolute", "sign", "reciprocal", "relu", "selu", "elu", "celu", "leaky_relu", "softsign")
unary(POSITIVE, "digamma", "lgamma", "log", "log10", "log1p", "log2", "rsqrt", "sqrt")
unary(UNIT, "acos", "arccos", "asin", "arcsin", "atanh", "arctanh", "erfinv", "tan")
unary(ABOVE_ONE, "acosh", "arccosh")
unary(PROBABILITY, "logit")
unary(NO_INTEGERS, "ceil", "floor", "trunc", "fix", "frac")
unary(KINKS, "relu6", "hardtanh", "hardsigmoid", "hardswish")
binary(REAL, REAL, "logical_and", "logical_or", "logical_xor", "eq", "ne", "not_equal", "logaddexp")
binary(
    REAL, REAL, "ge", "gt", "le", "lt", "greater", "greater_equal", "less", "less_equal", "mul", "multiply", "isclose"
)
binary(REAL, POSITIVE, "xlogy")
binary(NONZERO, NONZERO, "atan2", "arctan2", "hypot", "true_divide")


@case("add", "sub", "subtract")
def _(draw):
    shapes = draw_broadcastable(draw, 2)
    return (draw.array(shapes[0]), draw.choice([draw.array(shapes[1]), 2, 0.5])), draw.choice([{}, {"alpha": 2}])


@case("div", "divide")
def _(draw):
    shapes = draw_broadcastable(draw, 2)
    return (draw.array(shapes[0]), draw.array(shapes[1], NONZERO)), draw.choice(
        [{}, {"rounding_mode": "floor"}, {"rounding_mode": "trunc"}]
    )


@case("remainder", "fmod", "floor_divide")
def _(draw):
    shape = draw.shape()
    divisor = draw.array(shape, POSITIVE)
    return ((draw.integers(shape, -3, 3) + 0.2 + 0.6 * draw.array(shape, PROBABILITY)) * divisor, divisor), {}


@case("pow")
def _(draw):
    shapes = draw_broadcastable(draw, 2)
    exponent = draw.choice([2, 3, -1, 0.5, 0, 2.5, draw.array(shapes[1])])
    return (draw.array(shapes[0], POSITIVE), exponent), {}


@case("maximum", "minimum")
def _(draw):
    shape = draw.shape(min_dims=1)
    both = draw.distinct((2, *shape))
    return (both[0], both[1]), {}


@case("clamp", "clip")
def _(draw):
    bounds = draw.choice([{"min": -1.0}, {"max": 2.0}, {"min": -2.0, "max": 1.0}, {"min": -1, "max": 2}])
    return (draw.array(draw.shape(), REAL.away_from(-2.0, -1.0, 1.0, 2.0)),), bounds


@case("round")
def _(draw):
    return (draw.array(draw.shape(), NO_HALVES),), {}


@case("lerp")
def _(draw):
    shape = draw.shape()
    return (draw.array(shape), draw.array(shape), draw.choice([0.3, draw.array(shape)])), {}


@case("addcmul", "addcdiv")
def _(draw):
    shapes = draw_broadcastable(draw, 3)
    return (draw.array(shapes[0]), draw.array(shapes[1]), draw.array(shapes[2], NONZERO)), draw.choice(
        [{}, {"value": 2}]
    )


@case("where")
def _(draw):
    shapes = draw_broadcastable(draw, 3)
    return (draw.array(shapes[0], BOOLEAN), draw.array(shapes[1]), draw.array(shapes[2])), {}


@case("threshold")
def _(draw):
    return (draw.array(draw.shape(), NONZERO), 0.0, draw.choice([0.0, -1.5])), {}


@case("gelu")
def _(draw):
    return (draw.array(draw.shape()),), {"approximate": draw.choice(["none", "tanh"])}


@case("glu")
def _(draw):
    shape = (*draw.shape(max_dims=2), 4)
    return (draw.array(shape),), {"dim": -1}


@case("softmax", "log_softmax", "softmin")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape),), {"dim": axis(draw, shape)}


@case("allclose", "equal")
def _(draw):
    x = draw.array(draw.shape())
    return (x, draw.choice([x, x + 1e-3])), {}


# ---------------------------------------------------------------- reductions


@case("sum", "mean", "amax", "amin", "all", "any", "norm")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axes(draw, shape)
    x = draw.distinct(shape)
    return (x,), {} if dim is None else {"dim": dim, "keepdim": draw.boolean()}


@case("var", "std")
def _(draw):
    shape = draw.shape(min_dims=1, min_side=2)
    dim = axes(draw, shape)
    spread = draw.choice([{}, {"correction": 0}, {"unbiased": False}])
    if dim is None:
        return (draw.distinct(shape),), spread
    return (draw.distinct(shape),), {"dim": dim, "keepdim": draw.boolean(), **spread}


@case("var_mean", "std_mean")
def _(draw):
    shape = draw.shape(min_dims=1, min_side=2)
    return (draw.distinct(shape),), {"dim": axis(draw, shape), "keepdim": draw.boolean()}


@case("logsumexp")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape), draw.choice([0, -1, (0,)])), {"keepdim": draw.boolean()}


@case("prod", "argmax", "argmin", "max", "min", "median")
def _(draw):
    shape = draw.shape(min_dims=1)
    x = draw.distinct(shape)
    return (x,), draw.choice([{}, {"dim": axis(draw, shape)}, {"dim": axis(draw, shape), "keepdim": True}])


@case("aminmax")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.distinct(shape),), draw.choice([{}, {"dim": axis(draw, shape), "keepdim": draw.boolean()}])


@case("count_nonzero")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.integers(shape, 0, 1),), draw.choice([{}, {"dim": axis(draw, shape)}])


@case("cumsum", "cumprod")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape, NONZERO), axis(draw, shape)), {}


@case("sort", "argsort")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.distinct(shape),), {"dim": axis(draw, shape), "descending": draw.boolean()}


@case("msort")
def _(draw):
    return (draw.distinct(draw.shape(min_dims=1)),), {}


@case("topk")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axis(draw, shape)
    return (draw.distinct(shape), draw.integer(1, shape[dim])), {"dim": dim, "largest": draw.boolean()}


@case("kthvalue")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axis(draw, shape)
    return (draw.distinct(shape), draw.integer(1, shape[dim])), {"dim": dim, "keepdim": draw.boolean()}


# ---------------------------------------------------------------- linear algebra


@case("matmul")
def _(draw):
    n, k, m, b = (draw.integer(1, 4) for _ in range(4))
    shapes = draw.choice([((n, k), (k, m)), ((k,), (k, m)), ((n, k), (k,)), ((k,), (k,)), ((b, n, k), (b, k, m)),
                          ((b, n, k), (k, m)), ((n, k), (b, k, m)), ((b, 1, n, k), (b, k, m)), ((b, n, k), (k,))])  # fmt: skip
    return tuple(draw.array(shape) for shape in shapes), {}


@case("mm")
def _(draw):
    n, k, m = (draw.integer(1, 4) for _ in range(3))
    return (draw.array((n, k)), draw.array((k, m))), {}


@case("bmm")
def _(draw):
    n, k, m, b = (draw.integer(1, 4) for _ in range(4))
    return (draw.array((b, n, k)), draw.array((b, k, m))), {}


@case("mv")
def _(draw):
    n, k = draw.integer(1, 4), draw.integer(1, 4)
    return (draw.array((n, k)), draw.array((k,))), {}


@case("dot", "inner")
def _(draw):
    k = draw.integer(1, 4)
    return (draw.array((k,)), draw.array((k,))), {}


@case("outer", "ger")
def _(draw):
    return (draw.array((draw.integer(1, 4),)), draw.array((draw.integer(1, 4),))), {}


@case("kron")
def _(draw):
    return (draw.array((draw.integer(1, 3), draw.integer(1, 3))), draw.array((2, draw.integer(1, 3)))), {}


@case("addmm")
def _(draw):
    n, k, m = (draw.integer(1, 4) for _ in range(3))
    return (draw.array(draw.choice([(n, m), (m,)])), draw.array((n, k)), draw.array((k, m))), draw.choice(
        [{}, {"beta": 3, "alpha": 2}]
    )


@case("tensordot")
def _(draw):
    a, b, c = (draw.integer(1, 3) for _ in range(3))
    return (draw.array((a, b, c)), draw.array((b, c, a))), {"dims": draw.choice([([1, 2], [0, 1]), ([0], [2])])}


@case("einsum")
def _(draw):
    i, j, k = (draw.integer(1, 3) for _ in range(3))
    shapes = {"ij,jk->ik": ((i, j), (j, k)), "ij->ji": ((i, j),), "ij,ij->": ((i, j), (i, j)), "ii->i": ((i, i),),
              "bij,bjk->bik": ((2, i, j), (2, j, k)), "...i,i->...": ((k, j, i), (i,)), "i,j,k": ((i,), (j,), (k,))}  # fmt: skip
    equation = draw.choice(list(shapes))
    return (equation, *(draw.array(shape) for shape in shapes[equation])), {}


@case("linear")
def _(draw):
    lead, n, m = draw.shape(max_dims=2), draw.integer(1, 4), draw.integer(1, 4)
    arguments = (draw.array((*lead, n)), draw.array((m, n)))
    return (*arguments, draw.array((m,))) if draw.boolean() else arguments, {}


@case("bilinear")
def _(draw):
    lead, n, m, k = draw.shape(min_dims=1, max_dims=2), draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 3)
    return (draw.array((*lead, n)), draw.array((*lead, m)), draw.array((k, n, m)), draw.array((k,))), {}


# ---------------------------------------------------------------- shaping


@case("reshape")
def _(draw):
    shape = draw.shape()
    size = math.prod(shape)
    return (draw.array(shape), draw.choice([(-1,), (size, 1), shape[::-1]])), {}


@case("ravel")
def _(draw):
    return (draw.array(draw.shape()),), {}


@case("flatten")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape),), draw.choice([{}, {"start_dim": len(shape) - 1}, {"start_dim": 0, "end_dim": 0}])


@case("unflatten")
def _(draw):
    return (draw.array((draw.integer(1, 3), 6)), 1, draw.choice([(2, 3), (-1, 2), (6, 1)])), {}


@case("transpose", "swapaxes", "swapdims")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape), axis(draw, shape), axis(draw, shape)), {}


@case("t")
def _(draw):
    return (draw.array(draw.shape(max_dims=2)),), {}


@case("adjoint")
def _(draw):
    return (draw.array(draw.shape(min_dims=2)),), {}


@case("permute")
def _(draw):
    return (draw.array(draw.shape(min_dims=3)), draw.choice([(2, 0, 1), (0, 1, 2), (-1, 1, 0)])), {}


@case("moveaxis", "movedim")
def _(draw):
    shape = draw.shape(min_dims=2)
    return (draw.array(shape), axis(draw, shape), axis(draw, shape)), {}


@case("squeeze")
def _(draw):
    shape = (1, *draw.shape(max_dims=2), 1)
    return (draw.array(shape),), draw.choice([{}, {"dim": 0}, {"dim": -1}])


@case("unsqueeze")
def _(draw):
    shape = draw.shape()
    return (draw.array(shape), draw.integer(-len(shape) - 1, len(shape))), {}


@case("broadcast_to")
def _(draw):
    shape = draw.shape(min_dims=1)
    narrow = tuple(1 if draw.boolean() else side for side in shape)
    return (draw.array(narrow), draw.choice([shape, (2, *shape)])), {}


@case("meshgrid")
def _(draw):
    return (draw.array((3,)), draw.array((draw.integer(0, 3),))), {"indexing": draw.choice(["ij", "xy"])}


@case("broadcast_tensors")
def _(draw):
    return (draw.array((3,)), draw.array(draw.choice([(1,), (3,)]))), {}


@case("cat", "concat", "concatenate")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axis(draw, shape) % len(shape)
    parts = [draw.array((*shape[:dim], draw.integer(1, 3), *shape[dim + 1 :])) for _ in range(draw.integer(1, 3))]
    return (parts, dim), {}


@case("stack")
def _(draw):
    shape = draw.shape()
    return ([draw.array(shape), draw.array(shape)], draw.integer(-len(shape) - 1, len(shape))), {}


@case("hstack", "vstack")
def _(draw):
    shape = draw.shape()
    return ([draw.array(shape), draw.array(shape)],), {}


@case("split")
def _(draw):
    side = draw.integer(1, 5)
    sections = draw.choice([1, 2, 3, [side], [1, side - 1]])
    return (draw.array((side, 2)), sections), {}


@case("chunk")
def _(draw):
    return (draw.array((draw.integer(1, 5), 2)), draw.integer(1, 4)), {"dim": draw.choice([0, -1])}


@case("tensor_split")
def _(draw):
    return (draw.array((draw.integer(1, 6), 2)), draw.choice([1, 2, 3, (1, 2)])), {}


@case("unbind")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape),), {"dim": axis(draw, shape)}


@case("flip")
def _(draw):
    shape = draw.shape(min_dims=2)
    return (draw.array(shape), draw.choice([(0,), (1, 0), (-1,)])), {}


@case("fliplr", "flipud")
def _(draw):
    return (draw.array(draw.shape(min_dims=2)),), {}


@case("roll")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape), draw.integer(-3, 3)), draw.choice([{}, {"dims": axis(draw, shape)}])


@case("rot90")
def _(draw):
    return (draw.array(draw.shape(min_dims=2)),), {"k": draw.integer(-1, 5), "dims": draw.choice([(0, 1), (1, 0)])}


@case("tile")
def _(draw):
    return (draw.array(draw.shape()), draw.choice([(2,), (2, 1), (1, 2, 3)])), {}


@case("repeat_interleave")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape), draw.integer(1, 3)), draw.choice([{}, {"dim": axis(draw, shape)}])


@case("pad")
def _(draw):
    shape = draw.shape(min_dims=2, max_dims=3, min_side=2)
    mode = draw.choice(["constant", "reflect", "replicate", "circular"])
    if mode == "constant":
        return (draw.array(shape), draw.choice([(1, 2), (0, 1, 2, 0), (-1, 1)])), {"value": draw.choice([None, 0.5])}
    return (draw.array((2, *shape[-2:])), (1, draw.integer(0, 1))), {"mode": mode}


# ---------------------------------------------------------------- indexing


@case("gather")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axis(draw, shape)
    return (draw.array(shape), dim, draw.integers(shape, 0, shape[dim] - 1)), {}


@case("scatter_add", "scatter")
def _(draw):
    n, m = draw.integer(1, 4), draw.integer(1, 4)
    generator = draw.generator()
    index = generator.permuted([[*range(n)]] * m, axis=1).T.copy()  # each place once: else `scatter` may choose
    return (draw.array((n, m)), 0, index, draw.array((n, m))), {}


@case("index_select")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axis(draw, shape)
    return (draw.array(shape), dim, draw.integers((draw.integer(1, 5),), 0, shape[dim] - 1)), {}


@case("index_add")
def _(draw):
    n = draw.integer(1, 4)
    k = draw.integer(1, 5)
    return (draw.array((n, 2)), 0, draw.integers((k,), 0, n - 1), draw.array((k, 2))), draw.choice([{}, {"alpha": 0.5}])


@case("index_put")
def _(draw):
    n = draw.integer(1, 4)
    return (draw.array((n, 2)), (draw.integers((3,), 0, n - 1),), draw.array((3, 2))), {"accumulate": True}


@case("masked_fill")
def _(draw):
    shape = draw.shape()
    return (draw.array(shape), draw.array(shape, BOOLEAN), draw.choice([0.5, -math.inf, 1])), {}


@case("masked_select")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape), draw.array(shape, BOOLEAN)), {}


@case("narrow")
def _(draw):
    n = draw.integer(1, 5)
    start = draw.integer(0, n - 1)
    return (draw.array((n, 2)), 0, start, draw.integer(0, n - start)), {}


@case("select")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axis(draw, shape)
    return (draw.array(shape), dim, draw.integer(-shape[dim], shape[dim] - 1)), {}


@case("take")
def _(draw):
    shape = draw.shape(min_dims=1)
    return (draw.array(shape), draw.integers(draw.shape(max_dims=2), 0, math.prod(shape) - 1)), {}


@case("take_along_dim")
def _(draw):
    shape = draw.shape(min_dims=1)
    dim = axis(draw, shape)
    return (draw.array(shape), draw.integers(shape, 0, shape[dim] - 1)), {"dim": dim}


@case("embedding")
def _(draw):
    rows = draw.integer(1, 5)
    index = draw.integers(draw.shape(), 0, rows - 1)
    options = [{}, {"padding_idx": 0}, {"padding_idx": -1}, {"scale_grad_by_freq": True}]
    return (index, draw.array((rows, draw.integer(1, 4)))), draw.choice(options)


@case("one_hot")
def _(draw):
    return (draw.integers(draw.shape(), 0, 4),), draw.choice([{"num_classes": 5}, {"num_classes": 7}, {}])


@case("nonzero")
def _(draw):
    return (draw.array(draw.shape(), BOOLEAN),), {}


@case("diag")
def _(draw):
    return (draw.array(draw.shape(min_dims=1, max_dims=2)),), {"diagonal": draw.integer(-1, 1)}


@case("diag_embed")
def _(draw):
    return (draw.array(draw.shape(min_dims=1)),), {}


@case("diagonal")
def _(draw):
    return (draw.array(draw.shape(min_dims=2, min_side=2)),), {"offset": draw.integer(-1, 1)}


@case("trace")
def _(draw):
    return (draw.array((draw.integer(1, 4), draw.integer(1, 4))),), {}


@case("tril", "triu")
def _(draw):
    return (draw.array(draw.shape(min_dims=2)),), {"diagonal": draw.integer(-2, 2)}


# ---------------------------------------------------------------- losses


def reduction(draw):
    return {"reduction": draw.choice(["mean", "sum", "none"])}


@case("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
def _(draw):
    shape = draw.shape()
    target = draw.array(shape)
    return (target + draw.array(shape, REAL.away_from(-1.0, 0.0, 1.0)), target), reduction(draw)


@case("gaussian_nll_loss")
def _(draw):
    shape = draw.shape(min_dims=1)
    var = draw.choice([shape, shape[:-1], (*shape[:-1], 1)])
    options = {"full": draw.boolean(), "eps": draw.choice([1e-6, 0.5]), **reduction(draw)}
    return (draw.array(shape), draw.array(shape), draw.array(var, Domain(0.2, 4.0, avoid=(0.5,)))), options


@case("binary_cross_entropy", "binary_cross_entropy_with_logits")
def _(draw):
    shape = draw.shape()
    weight = {"weight": draw.array(shape, PROBABILITY)} if draw.boolean() else {}
    return (draw.array(shape, PROBABILITY), draw.array(shape, PROBABILITY)), {**weight, **reduction(draw)}


@case("cross_entropy")
def _(draw):
    n, classes = draw.integer(1, 4), draw.integer(1, 5)
    more = draw.shape(max_dims=1)
    options = {**reduction(draw), "label_smoothing": draw.choice([0.0, 0.1])}
    if draw.boolean():
        options["weight"] = draw.array((classes,), POSITIVE)
    logits = draw.array((n, classes, *more))
    if draw.boolean():
        target = draw.array((n, classes, *more), PROBABILITY)
        return (logits, target / target.sum(axis=1, keepdims=True)), options
    return (logits, draw.integers((n, *more), 0, classes - 1)), options


@case("nll_loss")
def _(draw):
    n, classes = draw.integer(1, 4), draw.integer(1, 5)
    weight = {"weight": draw.array((classes,), POSITIVE)} if draw.boolean() else {}
    return (draw.array((n, classes)), draw.integers((n,), 0, classes - 1)), {**weight, **reduction(draw)}


@case("kl_div")
def _(draw):
    shape = draw.shape(min_dims=1)
    log_target = draw.boolean()
    options = {"reduction": draw.choice(["sum", "none", "batchmean"]), "log_target": log_target}
    return (draw.array(shape), draw.array(shape, REAL if log_target else PROBABILITY)), options


# ---------------------------------------------------------------- normalisation


def apart(draw, shape, dim):
    """Numbers that differ along a dimension by more than they are drawn, so that no variance is near 0."""
    steps = [1] * len(shape)
    steps[dim] = shape[dim]
    return draw.array(shape) + 7.0 * np.arange(shape[dim]).reshape(steps)


@case("layer_norm")
def _(draw):
    inner = draw.choice([(4,), (2, 3), (3,)])
    shape = (*draw.shape(max_dims=2), *inner)
    # not a bias alone, of which PyTorch has no second gradient
    more = draw.choice([(), (draw.array(inner),), (draw.array(inner), draw.array(inner))])
    return (apart(draw, shape, -1), inner, *more), draw.choice([{}, {"eps": 0.1}])


@case("scaled_dot_product_attention")
def _(draw):
    lead = draw.choice([(), (2,), (2, 2)])
    rows, columns, features = draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 3)
    options = {"scale": draw.choice([None, 0.7])}
    heads = lead
    if lead and draw.boolean():
        options["enable_gqa"] = True
        heads = (*lead[:-1], draw.choice([1, lead[-1]]))
    kind = draw.choice(["none", "causal", "boolean", "number"])
    shape = draw.choice([(rows, columns), (1, columns), (*lead, rows, columns)])
    if kind == "causal":
        options["is_causal"] = True
    elif kind == "boolean":
        options["attn_mask"] = draw.integers(shape, 0, 2) > 0
    elif kind == "number":
        options["attn_mask"] = draw.array(shape)
    key, value = draw.array((*heads, columns, features)), draw.array((*heads, columns, draw.integer(1, 3)))
    return (draw.array((*lead, rows, features)), key, value), options


@case("rms_norm")
def _(draw):
    inner = draw.choice([(4,), (2, 3), (3,)])
    shape = (*draw.shape(max_dims=2), *inner)
    more = draw.choice([(), (draw.array(inner),)])
    return (draw.array(shape, POSITIVE), inner, *more), draw.choice([{}, {"eps": 0.1}])


@case("group_norm")
def _(draw):
    groups, each = draw.integer(1, 3), draw.integer(2, 3)
    shape = (draw.integer(1, 3), groups * each, *draw.shape(max_dims=2))
    channels = shape[1:2]
    more = draw.choice([(), (draw.array(channels),), (draw.array(channels), draw.array(channels))])
    return (apart(draw, shape, 1), groups, *more), draw.choice([{}, {"eps": 0.1}])


@case("batch_norm")
def _(draw):
    shape = (draw.integer(2, 4), draw.integer(1, 3), *draw.shape(max_dims=2))
    channels = shape[1:2]
    options = {"running_mean": draw.array(channels), "running_var": draw.array(channels, POSITIVE)}
    options |= draw.choice([{}, {"weight": draw.array(channels)}, {"bias": draw.array(channels)}])
    options |= draw.choice([{}, {"training": True}, {"training": True, "eps": 0.1, "momentum": 0.5}])
    return (apart(draw, shape, 0),), options


# ---------------------------------------------------------------- creation


@case("zeros_like", "ones_like", "empty_like")
def _(draw):
    return (draw.array(draw.shape()),), {}


@case("full_like")
def _(draw):
    return (draw.array(draw.shape()), 2.5), {}


@case("zeros", "ones")
def _(draw):
    return (draw.shape(),), {}


@case("full")
def _(draw):
    return (draw.shape(), draw.choice([1, 2.5, True])), {}


@case("eye")
def _(draw):
    return (draw.integer(0, 4),), {}


@case("arange")
def _(draw):
    return draw.choice([(5,), (1, 4), (1, 7, 2), (0.5, 3.0, 0.5), (5, 0, -2)]), {}


@case("linspace")
def _(draw):
    return (draw.choice([0, -1.5]), draw.choice([1, 2.5]), draw.integer(0, 5)), {}


@case("logspace")
def _(draw):
    return (0, 2, draw.integer(1, 5)), {}


@case("scalar_tensor")
def _(draw):
    return (draw.choice([2.5, -1.0]),), {}


@case("asarray", "as_tensor", "tensor")
def _(draw):
    return (draw.choice([[1, 2], [1.5, 2.0], [True], 3, 2.5, [[1], [2]], []]),), {}


SKIPPED = {
    "random numbers, whose streams differ": (
        "Generator bernoulli default_generator dropout get_rng_state initial_seed manual_seed multinomial normal rand "
        "rand_like randint randint_like randn randn_like randperm seed set_rng_state"
    ),
    "no function of numbers": (
        "Tensor enable_grad no_grad set_grad_enabled is_grad_enabled get_default_dtype set_default_dtype from_numpy empty "
        "typename is_tensor is_floating_point result_type promote_types can_cast save load numel set_printoptions Size "
        "compile"
    ),
}
