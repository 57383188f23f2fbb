"""What each op computes, written a second time, by loops and textbook formulas: for all that is not NumPy's own.

A reference takes the op's inputs and parameters. For an op that draws random numbers it returns `Satisfies`, a property
that its result must have.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass

import numpy as np
import scipy.special
import scipy.stats

__all__ = ["REFERENCES", "Satisfies", "needs_reference"]


@dataclass
class Satisfies:
    """Stands for a result that is known by a property only."""

    holds: object  # result -> bool
    what: str


def needs_reference(op):
    """Whether the op is our own: one that stands for a NumPy function is compared with that function."""
    if op.definition is not None:
        return True
    if op.mutates and not op.differentiable:
        return False  # the updates of optimizers, compared with whole optimizers elsewhere
    return not any(map(_foreign, (op.function, op.forward)))


def _foreign(function):
    module = getattr(function, "__module__", None) or ""
    return isinstance(function, np.ufunc) or module.split(".")[0] in ("numpy", "scipy")


def each(function):
    """A function of Python numbers, element by element over broadcast arrays."""

    def reference(*inputs, **params):
        arrays = np.broadcast_arrays(*inputs)
        values = [
            function(*(float(one) for one in row), **params) for row in zip(*(a.flat for a in arrays), strict=True)
        ]
        return np.array(values, dtype=np.float64).reshape(arrays[0].shape)

    return reference


def row_by_row(function):
    """A function of a vector, along an axis."""

    def reference(x, axis=-1):
        return np.apply_along_axis(function, axis, x) if x.ndim else function(x.reshape(1)).reshape(())

    return reference


# activations


def elu(x, alpha, scale, input_scale):
    return scale * (x if x > 0 else alpha * (math.exp(input_scale * x) - 1))


def gelu_tanh(x):
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softplus(x, beta=1.0, threshold=20.0):
    return x if beta * x > threshold else math.log(1 + math.exp(beta * x)) / beta


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def hardsigmoid(x):
    return 0.0 if x <= -3 else 1.0 if x >= 3 else x / 6 + 0.5


# losses


def reduced(losses, reduction):
    return losses if reduction == "none" else np.mean(losses) if reduction == "mean" else np.sum(losses)


def squared_error(input, target, reduction):
    return reduced(each(lambda x, y: (x - y) ** 2)(input, target), reduction)


def huber(input, target, delta=1.0, scale=1.0):
    size = abs(input - target)
    return scale * (size**2 / 2 if size <= delta else delta * (size - delta / 2))


def binary_cross_entropy(input, target):
    return -(target * math.log(input) + (1 - target) * math.log(1 - input))


def cross_entropy(logits, target, reduction="none"):
    losses = [
        math.log(sum(math.exp(one) for one in row)) - row[label] for row, label in zip(logits, target, strict=True)
    ]
    return reduced(np.array(losses), reduction)


# normalisation


def normalised(numbers, eps, centre=True):
    mean = sum(numbers) / len(numbers) if centre else 0.0
    var = sum((one - mean) ** 2 for one in numbers) / len(numbers)
    return [(one - mean) / math.sqrt(var + eps) for one in numbers]


def numbers_of(bits, storage, dtype=None):
    """What 16 bits stand for, from sign, exponent and fraction."""
    fraction_bits, bias = (10, 15) if storage == "float16" else (7, 127)

    def number(one):
        sign, exponent, fraction = one >> 15, (one >> fraction_bits) & (2 * bias + 1), one & (2**fraction_bits - 1)
        leading = 1 if exponent else 0
        return (-1) ** sign * math.ldexp(leading + fraction / 2**fraction_bits, (exponent or 1) - bias)

    return np.array([number(int(one)) for one in np.ravel(bits)]).reshape(bits.shape)


def layer_norm(x, weight=None, bias=None, *, dims, eps, centre=True):
    inner = x.shape[x.ndim - dims :]
    weight = np.ones(inner) if weight is None else weight
    bias = np.zeros(inner) if bias is None else bias
    rows = [
        np.reshape(normalised(list(row), eps, centre), inner) * weight + bias for row in x.reshape(-1, math.prod(inner))
    ]
    return np.reshape(rows, x.shape)


def batch_norm(x, weight, bias, mean, var, eps):
    out = np.empty_like(x)
    for channel in range(x.shape[1]):
        values = x[:, channel]
        out[:, channel] = np.reshape(normalised(list(values.flat), eps), values.shape)
        out[:, channel] *= 1 if weight is None else weight[channel]
        out[:, channel] += 0 if bias is None else bias[channel]
    return out


def class_targets(target, weight, classes, ignore_index, dtype):
    counts = [one != ignore_index for one in target]
    factors = [
        (1.0 if weight is None else weight[one]) if counted else 0.0
        for one, counted in zip(target, counts, strict=True)
    ]
    safe = [one if counted else 0 for one, counted in zip(target, counts, strict=True)]
    return np.array(safe), np.array(counts), np.array(factors, dtype)


def batch_statistics(x):
    channels = [list(x[:, channel].flat) for channel in range(x.shape[1])]
    return np.array([statistics.fmean(one) for one in channels]), np.array(
        [statistics.pvariance(one) for one in channels]
    )


def sync_batch_statistics(x, group, unbiased):
    variance = statistics.variance if unbiased else statistics.pvariance
    kept = [variance(list(x[:, channel].flat)) for channel in range(x.shape[1])]
    return *batch_statistics(x), np.array(kept), np.asarray(x.size / x.shape[1])


# attention


def attention(query, key, value, mask=None, keep=None, *, scale, causal, keep_scale):
    lead = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    rows, columns = query.shape[-2], key.shape[-2]
    query, key, value = (np.broadcast_to(one, (*lead, *one.shape[-2:])) for one in (query, key, value))
    mask = None if mask is None else np.broadcast_to(mask, (*lead, rows, columns))
    out = np.zeros((*lead, rows, value.shape[-1]))
    for place in np.ndindex(*lead, rows):
        *head, row = place
        scores = {}
        for column in range(columns):
            seen = True if mask is None or mask.dtype != bool else mask[(*place, column)]
            if seen and not (causal and column > row):
                product = sum(a * b for a, b in zip(query[place], key[(*head, column)], strict=True))
                added = 0.0 if mask is None or mask.dtype == bool else mask[(*place, column)]
                scores[column] = math.exp(product * scale + added)
        for column, score in scores.items():
            kept = keep_scale if keep is None or keep[(*place, column)] else 0.0
            out[place] += kept * score / sum(scores.values()) * value[(*head, column)]
    return out


def self_attention(packed, mask=None, keep=None, **params):
    query, key, value = (np.moveaxis(packed, (-4, -3, -2), (-2, -4, -3))[..., number, :, :, :] for number in range(3))
    return np.moveaxis(attention(query, key, value, mask, keep, **params), -3, -2)


def rotate(x, cos, sin, interleaved):
    """Each pair as a complex number, times that of the angle."""
    out, count = x.copy(), cos.shape[-1]
    cos, sin = (np.broadcast_to(one, (*x.shape[:-1], count)) for one in (cos, sin))
    for place in np.ndindex(cos.shape):
        *token, pair = place
        first, second = (2 * pair, 2 * pair + 1) if interleaved else (pair, pair + count)
        turned = complex(x[(*token, first)], x[(*token, second)]) * complex(cos[place], sin[place])
        out[(*token, first)], out[(*token, second)] = turned.real, turned.imag
    return out


# linear algebra, indices


def linear(x, weight, bias=None):
    out = np.zeros((*x.shape[:-1], weight.shape[0]))
    for place in np.ndindex(out.shape):
        out[place] = sum(a * b for a, b in zip(x[place[:-1]], weight[place[-1]], strict=True))
        out[place] += 0 if bias is None else bias[place[-1]]
    return out


def add_along_axis(values, indices, axis, shape):
    out = np.zeros(shape)
    for place in np.ndindex(values.shape):
        target = list(place)
        target[axis] = indices[place]
        out[tuple(target)] += values[place]
    return out


def index_add(x, values, index):
    out = x.copy()
    for position, row in enumerate(np.broadcast_to(values, (len(index), *x.shape[1:]))):
        out[index[position]] += row
    return out


def take(a, index):
    if index.dtype == bool:
        return np.array([value for value, chosen in zip(a.flat, index.flat, strict=True) if chosen], dtype=a.dtype)
    return np.array([a[one] for one in index.flat], dtype=a.dtype).reshape((*index.shape, *a.shape[1:]))


def write_index(x, values, index):
    return np.array([values if chosen else value for value, chosen in zip(x.flat, index.flat, strict=True)]).reshape(
        x.shape
    )


def write_view(base, value, geometry):
    ((_, params),) = geometry.steps
    out = base.copy()
    for position in range(*params["index"].indices(len(base))):
        out[position] = value
    return out


def slice_view(a, index):
    """Through the numbers of the elements: which element of ``a`` each element of the result is."""
    where = np.arange(a.size).reshape(a.shape)[index]
    return np.array([a.reshape(-1)[one] for one in np.ravel(where)], dtype=a.dtype).reshape(np.shape(where))


def pad_constant(array, pad_width, constant_values):
    out = np.full(
        [low + side + high for (low, high), side in zip(pad_width, array.shape, strict=True)], constant_values, float
    )
    for place in np.ndindex(array.shape):
        out[tuple(one + low for one, (low, _) in zip(place, pad_width, strict=True))] = array[place]
    return out


def argmedian(a, axis):
    middle = np.quantile(a, 0.5, axis=axis, method="lower", keepdims=True)
    return np.argmax(a == middle, axis=axis, keepdims=True)


def gradient_norm(gradient, norm_type):
    flat = [abs(float(one)) for one in gradient.flat]
    return max(flat) if math.isinf(norm_type) else sum(one**norm_type for one in flat) ** (1 / norm_type)


# random numbers


def among(*values):
    return Satisfies(lambda out: bool(np.isin(out, np.asarray(values)).all()), f"all elements among {values}")


def of(shape, low, high, dtype):
    return Satisfies(
        lambda out: out.shape == shape and out.dtype == dtype and bool(np.all((out >= low) & (out < high))),
        f"{dtype} of shape {shape} in [{low}, {high})",
    )


def permutation(like, generator, n, dtype):
    return Satisfies(lambda out: out.dtype == dtype and sorted(out) == list(range(n)), f"a permutation of {n}")


def dropout_mask(x, generator, p):
    return among(0.0) if p == 1 else among(0.0, 1 / (1 - p))


def einsum(*operands, subscripts):
    """Every combination of index values, one product at a time."""
    left, _, right = subscripts.partition("->")
    terms = left.split(",")
    sizes = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, side in zip(term, operand.shape, strict=True):
            sizes[letter] = max(side, sizes.get(letter, 1))
    total = np.zeros([sizes[letter] for letter in right])
    for values in itertools.product(*(range(side) for side in sizes.values())):
        at = dict(zip(sizes, values, strict=True))
        product = 1.0
        for term, operand in zip(terms, operands, strict=True):
            product *= operand[
                tuple(min(at[letter], side - 1) for letter, side in zip(term, operand.shape, strict=True))
            ]
        total[tuple(at[letter] for letter in right)] += product
    return total


REFERENCES = {
    "add_along_axis": add_along_axis,
    "alias": lambda x: x,
    "argmedian": argmedian,
    "batch_norm": batch_norm,
    "batch_statistics": batch_statistics,
    "share_of_batch": lambda count, group: np.ones(()),
    "sum_over_ranks": lambda x, group: x,
    "sync_batch_norm": lambda x, weight, bias, mean, var, count, eps, group: batch_norm(
        x, weight, bias, mean, var, eps
    ),
    "sync_batch_statistics": sync_batch_statistics,
    "bernoulli": lambda p, generator: among(0.0, 1.0),
    "binary_cross_entropy": each(binary_cross_entropy),
    "binary_cross_entropy_with_logits": each(lambda x, target: binary_cross_entropy(sigmoid(x), target)),
    "cast": lambda x, dtype: np.array(x, dtype),
    "cast_to_integers": lambda x, dtype: np.array(x, dtype),
    "class_targets": class_targets,
    "cross_entropy": cross_entropy,
    "digamma": scipy.special.digamma,
    "dropout_mask": dropout_mask,
    "elu": each(elu),
    "entr": each(lambda x: -x * math.log(x)),
    "erf": each(math.erf),
    "erfc": each(math.erfc),
    "erfinv": lambda x: scipy.stats.norm.ppf((x + 1) / 2) / math.sqrt(2),
    "gammaln": each(math.lgamma),
    "gelu": each(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    "gelu_tanh": each(gelu_tanh),
    "gradient_norm": gradient_norm,
    "hardsigmoid": each(hardsigmoid),
    "hardswish": each(lambda x: x * hardsigmoid(x)),
    "hardtanh": each(lambda x, min_val, max_val: min(max(x, min_val), max_val)),
    "huber_loss": each(huber),
    "keep_mask": lambda like, generator, shape, p: Satisfies(
        lambda out: out.shape == shape and out.dtype == bool, f"booleans of shape {shape}"
    ),
    "index": take,
    "index_add": index_add,
    "layer_norm": layer_norm,
    "leaky_relu": each(lambda x, negative_slope: x if x > 0 else negative_slope * x),
    "linear": linear,
    "log_ndtr": scipy.stats.norm.logcdf,
    "log_softmax": row_by_row(lambda row: row - math.log(sum(math.exp(one) for one in row))),
    "logit": each(lambda x: math.log(x / (1 - x))),
    "logsigmoid": each(lambda x: math.log(sigmoid(x))),
    "einsum": einsum,
    "logsumexp": lambda a, axis, keepdims: np.log(np.sum(np.exp(a), axis=axis, keepdims=keepdims)),
    "mish": each(lambda x: x * math.tanh(softplus(x))),
    "mse_loss": squared_error,
    "ndtr": scipy.stats.norm.cdf,
    "ndtri": scipy.stats.norm.ppf,
    "pad_constant": pad_constant,
    "permute_rows": lambda a, order, inverse: np.stack([a[row] for row in order]),
    "power_scalar": each(lambda x, exponent: x**exponent),
    "random_integers": lambda like, generator, shape, low, high, dtype: of(shape, low, high, dtype),
    "random_normal": lambda like, generator, shape, mean, std, dtype: of(shape, mean - 9 * std, mean + 9 * std, dtype),
    "random_permutation": permutation,
    "random_uniform": lambda like, generator, shape, low, high, dtype: of(shape, low, high, dtype),
    "relu": each(lambda x: x if x > 0 else 0.0),
    "rms_norm": lambda x, weight, dims, eps: layer_norm(x, weight, dims=dims, eps=eps, centre=False),
    "rotate": rotate,
    "rsqrt": each(lambda x: x**-0.5),
    "scaled_dot_product_attention": attention,
    "self_attention": self_attention,
    "sigmoid": each(sigmoid),
    "silu": each(lambda x: x * sigmoid(x)),
    "slice": slice_view,
    "softmax": row_by_row(lambda row: np.array([math.exp(one) / sum(math.exp(two) for two in row) for one in row])),
    "softplus": each(softplus),
    "softsign": each(lambda x: x / (1 + abs(x))),
    "stored_linear": lambda x, bits, bias, storage: linear(x, numbers_of(bits, storage), bias),
    "tanhshrink": each(lambda x: x - math.tanh(x)),
    "threshold": each(lambda x, threshold, value: x if x > threshold else value),
    "trunc_divide": each(lambda x, y: math.trunc(x / y)),
    "write": lambda target, value: np.broadcast_to(value, target.shape),
    "write_index": write_index,
    "write_view": write_view,
    "xlog1py": each(lambda x, y: x * math.log(1 + y)),
    "widen": numbers_of,
    "xlogy": each(lambda x, y: x * math.log(y)),
    "zeta": scipy.special.zeta,
}
