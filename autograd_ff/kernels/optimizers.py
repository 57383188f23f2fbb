"""The updates of the optimizers, in place over flat arrays.

Each kernel reads gradients, one or more, that lie end to end beside the flat arrays, and leaves them as they are. It
walks its arrays in chunks small enough that what one NumPy call writes is still in the processor's cache when the next
call reads it. ``scratch``, two rows of one chunk, holds what comes in between. Formulas are rearranged to save passes,
never changed: what can be done to a scalar is not done to an array. How the gradients are cut up changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..engine import NONDIFFERENTIABLE, POSITIVE, Call, Draw, kernel

__all__ = [
    "CHUNK_BYTES", "adagrad_update", "adam_update", "amsgrad_update", "flush_subnormals", "momentum_start",
    "momentum_update", "rmsprop_centered_momentum_update", "rmsprop_centered_update", "rmsprop_momentum_update",
    "rmsprop_update", "sgd_update",
]  # fmt: skip

# Of each array at once: small enough for what an update touches to stay in a processor's second or third level cache,
# large enough for the cost of a call, half a microsecond, not to matter.
CHUNK_BYTES = 1 << 19

# Gradients of fewer numbers than this are put end to end by one call instead of being taken up one by one.
SMALL = 1 << 15

# The gradients of a chunk: by their slices of it, one large one or a run of small ones.
Pieces = list[tuple[slice, list[np.ndarray]]]


def walk(total: int, size: int, gradients: Sequence[np.ndarray]) -> Iterator[tuple[slice, Pieces]]:
    """The chunks of ``total`` numbers: the slice of each, and the gradients there."""
    if 0 < total <= size:  # the usual case of small networks, where every microsecond counts
        yield slice(0, total), _pieces(gradients)
        return
    remaining = iter(gradients)
    gradient, offset, left = gradients[0], 0, 0
    for start in range(0, total, max(size, 1)):
        length = min(size, total - start)
        parts: list[np.ndarray] = []
        at = 0
        while at < length:
            if not left:
                gradient = next(remaining)
                offset, left = 0, gradient.size
                continue
            count = min(left, length - at)
            parts.append(gradient if count == gradient.size else _part(gradient, offset, count))
            at, offset, left = at + count, offset + count, left - count
        yield slice(start, start + length), _pieces(parts)


def _part(gradient: np.ndarray, offset: int, count: int) -> np.ndarray:
    """``count`` numbers of a gradient in a row, which is a view unless it is laid out otherwise."""
    if gradient.flags.c_contiguous:
        return gradient.reshape(-1)[offset : offset + count]
    return gradient.flat[offset : offset + count]


def _pieces(gradients: Sequence[np.ndarray]) -> Pieces:
    pieces: Pieces = []
    run: list[np.ndarray] = []  # the small ones since `begin`
    begin = at = 0
    for gradient in gradients:
        count = gradient.size
        if count < SMALL:
            run.append(gradient)
            at += count
            continue
        if run:
            pieces.append((slice(begin, at), run))
            run = []
        begin = at + count
        pieces.append((slice(at, begin), [gradient]))
        at = begin
    if run:
        pieces.append((slice(begin, at), run))
    return pieces


def scalars(dtype, *values):
    """The values as arrays of one element, which a NumPy call takes up in half the time of a Python float."""
    return np.array(values, dtype).reshape(-1, 1)


def scaled(pieces: Pieces, p, out, spare, factor, penalty, maximize):
    """``out = factor * (g + penalty * p)``, with -g where ``maximize``; without a penalty the factor has that sign."""
    if penalty is not None:
        _penalized(pieces, p, out, spare, penalty, maximize)
        np.multiply(out, factor, out=out)
        return
    for cut, values in pieces:
        part = out if len(pieces) == 1 else out[cut]
        np.multiply(_end_to_end(values, part), factor, out=part)


def joined(pieces: Pieces, p, out, spare, penalty, maximize):
    """``g + penalty * p``, with -g where ``maximize``, as one array: in ``out``, or the gradient itself."""
    if penalty is not None:
        return _penalized(pieces, p, out, spare, penalty, maximize)
    g = _end_to_end(_all(pieces), out)
    return np.negative(g, out=out) if maximize else g


def _penalized(pieces: Pieces, p, out, spare, penalty, maximize):
    g = _end_to_end(_all(pieces), out)
    np.multiply(p, penalty, out=spare)
    return (np.subtract if maximize else np.add)(spare, g, out=out)


def _all(pieces: Pieces) -> list[np.ndarray]:
    return pieces[0][1] if len(pieces) == 1 else [one for _, run in pieces for one in run]


def _end_to_end(gradients: list[np.ndarray], out):
    """Gradients in a row in ``out``; the one that there is as it is, and copied only if it is laid out otherwise."""
    if len(gradients) > 1:
        return np.concatenate(gradients, axis=None, out=out)
    return gradients[0] if gradients[0].ndim == 1 else gradients[0].ravel()


def _draw_gradient(draw: Draw) -> tuple[int, tuple[np.ndarray, np.ndarray]]:
    """The number of elements, and ``scratch`` with one gradient of so many."""
    gradient = draw.array(draw.shape())
    return gradient.size, (np.zeros((2, draw.choice([gradient.size, 3]))), gradient)


def _draw_common(draw: Draw) -> dict[str, object]:
    return {"lr": 0.1, "weight_decay": draw.choice([0.0, 0.1]), "maximize": draw.boolean()}


# ---------------------------------------------------------------- stochastic gradient descent


def _sgd(param, scratch, *gradients, lr, weight_decay=0.0, maximize=False):
    rate, penalty = scalars(param.dtype, -lr if maximize and not weight_decay else lr, weight_decay)
    penalty = penalty if weight_decay else None
    for part, pieces in walk(len(param), scratch.shape[1], gradients):
        p = param[part]
        s, spare = scratch[:, : len(p)]
        scaled(pieces, p, s, spare, rate, penalty, maximize)
        np.subtract(p, s, out=p)
    return param


def _descend(p, g, buffer, s, rate, rate_momentum, nesterov):
    """``p -= lr * buffer``, or Nesterov's ``p -= lr * (g + momentum * buffer)``. ``g`` may lie in ``s``."""
    if nesterov:
        np.multiply(g, rate, out=s)
        np.subtract(p, s, out=p)
        np.multiply(buffer, rate_momentum, out=s)
    else:
        np.multiply(buffer, rate, out=s)
    np.subtract(p, s, out=p)


def _momentum_start(
    param, momentum_buffer, scratch, *gradients, lr, momentum, nesterov=False, weight_decay=0.0, maximize=False
):
    rate, rate_momentum, penalty = scalars(param.dtype, lr, lr * momentum, weight_decay)
    penalty = penalty if weight_decay else None
    for part, pieces in walk(len(param), scratch.shape[1], gradients):
        p, buffer = param[part], momentum_buffer[part]
        s, spare = scratch[:, : len(p)]
        g = joined(pieces, p, s, spare, penalty, maximize)
        np.copyto(buffer, g)
        _descend(p, g, buffer, s, rate, rate_momentum, nesterov)
    return param


def _momentum(
    param, momentum_buffer, scratch, *gradients, lr, momentum, dampening=0.0, nesterov=False, weight_decay=0.0,
    maximize=False,
):  # fmt: skip
    rate, rate_momentum, keep, take, penalty = scalars(
        param.dtype, lr, lr * momentum, momentum, 1 - dampening, weight_decay
    )
    penalty = penalty if weight_decay else None
    for part, pieces in walk(len(param), scratch.shape[1], gradients):
        p, buffer = param[part], momentum_buffer[part]
        s, spare = scratch[:, : len(p)]
        g = joined(pieces, p, s, spare, penalty, maximize)
        np.multiply(buffer, keep, out=buffer)
        np.add(buffer, np.multiply(g, take, out=spare) if dampening else g, out=buffer)
        _descend(p, g, buffer, s, rate, rate_momentum, nesterov)
    return param


def _draw_sgd(draw: Draw) -> Call:
    total, rest = _draw_gradient(draw)
    return Call((draw.array((total,)), *rest), _draw_common(draw))


def _draw_momentum_start(draw: Draw) -> Call:
    total, rest = _draw_gradient(draw)
    params = {"momentum": 0.9, "nesterov": draw.boolean(), **_draw_common(draw)}
    return Call((draw.array((total,)), np.zeros(total), *rest), params)


def _draw_momentum(draw: Draw) -> Call:
    total, rest = _draw_gradient(draw)
    params = {"momentum": 0.9, "dampening": draw.choice([0.0, 0.5]), "nesterov": draw.boolean(), **_draw_common(draw)}
    return Call((draw.array((total,)), draw.array((total,)), *rest), params)


# g below is the gradient plus weight_decay * param, the gradient of (weight_decay / 2) |param|²; where `maximize`, the
# gradient with the other sign.

# param -= lr * g
sgd_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="sgd_update",
    forward=_sgd,
    inputs=("param", "scratch", "gradient"),
    mutates=("param", "scratch"),
    params={"lr": 1e-3, "weight_decay": 0.0, "maximize": False},
    domain=_draw_sgd,
)

# The first step with momentum: the buffer starts as the gradient itself, undampened, as in PyTorch.
momentum_start = kernel(
    None,
    NONDIFFERENTIABLE,
    name="momentum_start",
    forward=_momentum_start,
    inputs=("param", "momentum_buffer", "scratch", "gradient"),
    mutates=("param", "momentum_buffer", "scratch"),
    params={"lr": 1e-3, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0, "maximize": False},
    domain=_draw_momentum_start,
)

# buffer = momentum * buffer + (1 - dampening) * g;  param -= lr * buffer, or with Nesterov's look ahead
# param -= lr * (g + momentum * buffer). Sutskever et al. 2013, in PyTorch's form (lr outside of the buffer).
momentum_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="momentum_update",
    forward=_momentum,
    inputs=("param", "momentum_buffer", "scratch", "gradient"),
    mutates=("param", "momentum_buffer", "scratch"),
    params={"lr": 1e-3, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0, "maximize": False},
    domain=_draw_momentum,
)


# ---------------------------------------------------------------- Adam


def _adam(param, exp_avg, exp_avg_sq, scratch, *gradients, **options):
    return _adam_or_amsgrad(param, exp_avg, exp_avg_sq, None, scratch, gradients, **options)


def _amsgrad(param, exp_avg, exp_avg_sq, max_exp_avg_sq, scratch, *gradients, **options):
    return _adam_or_amsgrad(param, exp_avg, exp_avg_sq, max_exp_avg_sq, scratch, gradients, **options)


def _adam_or_amsgrad(
    param, exp_avg, exp_avg_sq, max_exp_avg_sq, scratch, gradients, lr, beta1, beta2, eps, step, decay=0.0,
    weight_decay=0.0, maximize=False,
):  # fmt: skip
    """The update below.

    With c = sqrt(1 - beta2^t), m̂ / (sqrt(v̂) + eps) is m * c / (1 - beta1^t) / (sqrt(v) + eps * c): both bias corrections
    on scalars. (1 - beta1) * g is computed once, and (1 - beta2) * g² from it. That leaves twelve passes, the fewest
    with PyTorch's moments: each of beta1, 1 - beta1, beta2, 1 - beta2, eps and the rate meets an array once.
    """
    correction = math.sqrt(1 - beta2**step)
    take = 1 - beta1
    keep1, take1, keep2, square, epsilon, rate, shrink, penalty = scalars(
        param.dtype,
        beta1,
        -take if maximize and not weight_decay else take,
        beta2,
        (1 - beta2) / take**2,
        eps * correction,
        lr * correction / (1 - beta1**step),
        1 - decay,
        weight_decay,
    )
    penalty = penalty if weight_decay else None
    for part, pieces in walk(len(param), scratch.shape[1], gradients):
        p, m, v = param[part], exp_avg[part], exp_avg_sq[part]
        s, spare = scratch[:, : len(p)]
        scaled(pieces, p, s, spare, take1, penalty, maximize)
        if decay:
            np.multiply(p, shrink, out=p)
        np.multiply(m, keep1, out=m)
        np.add(m, s, out=m)
        np.multiply(s, s, out=s)
        np.multiply(s, square, out=s)
        np.multiply(v, keep2, out=v)
        np.add(v, s, out=v)
        if max_exp_avg_sq is not None:
            largest = max_exp_avg_sq[part]
            v = np.maximum(largest, v, out=largest)
        np.sqrt(v, out=s)
        np.add(s, epsilon, out=s)
        np.divide(m, s, out=s)
        np.multiply(s, rate, out=s)
        np.subtract(p, s, out=p)
    return param


def _draw_adam(draw: Draw) -> Call:
    total, rest = _draw_gradient(draw)
    moments = (draw.array((total,)), draw.array((total,), POSITIVE))
    params = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "decay": draw.choice([0.0, 0.1]), "step": draw.integer(1, 9)}
    return Call((draw.array((total,)), *moments, *rest), {**params, **_draw_common(draw)})


def _draw_amsgrad(draw: Draw) -> Call:
    call = _draw_adam(draw)
    largest = draw.array(call.inputs[0].shape, POSITIVE)
    return Call((*call.inputs[:3], largest, *call.inputs[3:]), call.params)


_ADAM_PARAMS = {
    "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0, "weight_decay": 0.0, "maximize": False, "step": 1,
}  # fmt: skip

# m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g²;  param -= lr * m̂ / (sqrt(v̂) + eps) with
# m̂ = m / (1 - beta1^t), v̂ = v / (1 - beta2^t). Kingma & Ba 2015. `decay` takes that part off the parameter before:
# decoupled weight decay, Loshchilov & Hutter 2019.
adam_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="adam_update",
    forward=_adam,
    inputs=("param", "exp_avg", "exp_avg_sq", "scratch", "gradient"),
    mutates=("param", "exp_avg", "exp_avg_sq", "scratch"),
    params=_ADAM_PARAMS,
    domain=_draw_adam,
)

# Adam with the largest v so far in place of v. Reddi et al. 2018; as in PyTorch, the largest before bias correction.
amsgrad_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="amsgrad_update",
    forward=_amsgrad,
    inputs=("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "scratch", "gradient"),
    mutates=("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "scratch"),
    params=_ADAM_PARAMS,
    domain=_draw_amsgrad,
)


# ---------------------------------------------------------------- RMSprop


def _rmsprop(param, square_avg, scratch, *gradients, **options):
    return _any_rmsprop(param, square_avg, None, None, scratch, gradients, **options)


def _rmsprop_centered(param, square_avg, grad_avg, scratch, *gradients, **options):
    return _any_rmsprop(param, square_avg, grad_avg, None, scratch, gradients, **options)


def _rmsprop_momentum(param, square_avg, momentum_buffer, scratch, *gradients, **options):
    return _any_rmsprop(param, square_avg, None, momentum_buffer, scratch, gradients, **options)


def _rmsprop_centered_momentum(param, square_avg, grad_avg, momentum_buffer, scratch, *gradients, **options):
    return _any_rmsprop(param, square_avg, grad_avg, momentum_buffer, scratch, gradients, **options)


def _any_rmsprop(
    param, square_avg, grad_avg, momentum_buffer, scratch, gradients, lr, alpha, eps, momentum=0.0, weight_decay=0.0,
    maximize=False, inside=False,
):  # fmt: skip
    keep, take, epsilon, rate, keep_buffer, penalty = scalars(
        param.dtype, alpha, 1 - alpha, eps, lr, momentum, weight_decay
    )
    penalty = penalty if weight_decay else None
    for part, pieces in walk(len(param), scratch.shape[1], gradients):
        p, v = param[part], square_avg[part]
        s, spare = scratch[:, : len(p)]
        g = joined(pieces, p, spare, s, penalty, maximize)
        np.multiply(g, g, out=s)
        np.multiply(s, take, out=s)
        np.multiply(v, keep, out=v)
        np.add(v, s, out=v)
        if grad_avg is None:
            square = v
        else:
            mean = grad_avg[part]
            # mean + (1 - alpha) * (g - mean), the form that is exact where g equals the mean: v - mean² is a small
            # difference of large numbers, and must not go below zero by a rounding more than it has to.
            np.subtract(g, mean, out=s)
            np.multiply(s, take, out=s)
            np.add(mean, s, out=mean)
            np.multiply(mean, mean, out=s)
            square = np.subtract(v, s, out=s)
        if inside:
            np.add(square, epsilon, out=s)
            np.sqrt(s, out=s)
        else:
            np.sqrt(square, out=s)
            np.add(s, epsilon, out=s)
        np.divide(g, s, out=s)
        if momentum_buffer is not None:
            buffer = momentum_buffer[part]
            np.multiply(buffer, keep_buffer, out=buffer)
            np.add(buffer, s, out=buffer)
            np.multiply(buffer, rate, out=s)
        else:
            np.multiply(s, rate, out=s)
        np.subtract(p, s, out=p)
    return param


def _rmsprop_kernel(name, forward, *buffers):
    """One of the four forms of the update: with or without the mean gradient, with or without momentum.

    v = alpha * v + (1 - alpha) * g²;  mean = alpha * mean + (1 - alpha) * g (centered; otherwise 0);
    d = g / (sqrt(v - mean²) + eps), with `inside` g / sqrt(v - mean² + eps), which is TensorFlow's and Keras's;
    param -= lr * d, or with momentum b = momentum * b + d;  param -= lr * b.
    Hinton 2012, lecture 6e; centered: Graves 2013.
    """
    moments = ("square_avg", *buffers)
    params = {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "maximize": False, "inside": False}
    if "momentum_buffer" in buffers:
        params["momentum"] = 0.9

    def draw_call(draw: Draw) -> Call:
        total, rest = _draw_gradient(draw)
        drawn = {"square_avg": draw.array((total,), POSITIVE) + 9.0}  # at least the square of any mean drawn
        drawn |= {buffer: draw.array((total,)) for buffer in buffers}
        return Call(
            (draw.array((total,)), *drawn.values(), *rest), {**params, "inside": draw.boolean(), **_draw_common(draw)}
        )

    return kernel(
        None,
        NONDIFFERENTIABLE,
        name=name,
        forward=forward,
        inputs=("param", *moments, "scratch", "gradient"),
        mutates=("param", *moments, "scratch"),
        params=params,
        domain=draw_call,
    )


rmsprop_update = _rmsprop_kernel("rmsprop_update", _rmsprop)
rmsprop_centered_update = _rmsprop_kernel("rmsprop_centered_update", _rmsprop_centered, "grad_avg")
rmsprop_momentum_update = _rmsprop_kernel("rmsprop_momentum_update", _rmsprop_momentum, "momentum_buffer")
rmsprop_centered_momentum_update = _rmsprop_kernel(
    "rmsprop_centered_momentum_update", _rmsprop_centered_momentum, "grad_avg", "momentum_buffer"
)


# ---------------------------------------------------------------- Adagrad


def _adagrad(param, total, scratch, *gradients, lr, eps, initial=0.0, weight_decay=0.0, maximize=False):
    rate, epsilon, start, penalty = scalars(param.dtype, lr, eps, initial, weight_decay)
    penalty = penalty if weight_decay else None
    for part, pieces in walk(len(param), scratch.shape[1], gradients):
        p, v = param[part], total[part]
        s, spare = scratch[:, : len(p)]
        g = joined(pieces, p, spare, s, penalty, maximize)
        np.multiply(g, g, out=s)
        if initial:
            np.add(v, start, out=v)
        np.add(v, s, out=v)
        np.sqrt(v, out=s)
        np.add(s, epsilon, out=s)
        np.divide(g, s, out=s)
        np.multiply(s, rate, out=s)
        np.subtract(p, s, out=p)
    return param


def _draw_adagrad(draw: Draw) -> Call:
    total, rest = _draw_gradient(draw)
    params = {"eps": 1e-10, "initial": draw.choice([0.0, 0.1]), **_draw_common(draw)}
    return Call((draw.array((total,)), draw.array((total,), POSITIVE), *rest), params)


# s = s + initial + g²;  param -= lr * g / (sqrt(s) + eps). Duchi, Hazan & Singer 2011; `initial` is what the sum starts
# as, which the first step adds to it.
adagrad_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="adagrad_update",
    forward=_adagrad,
    inputs=("param", "sum", "scratch", "gradient"),
    mutates=("param", "sum", "scratch"),
    params={"lr": 1e-2, "eps": 1e-10, "initial": 0.0, "weight_decay": 0.0, "maximize": False},
    domain=_draw_adagrad,
)


# ---------------------------------------------------------------- subnormal moments


def _flush_subnormals(moment, due=True):
    if due:
        tiny = np.finfo(moment.dtype).smallest_normal
        size = max(1, CHUNK_BYTES // moment.itemsize)
        for start in range(0, len(moment), size):
            m = moment[start : start + size]
            np.multiply(m, np.abs(m) >= tiny, out=m)
    return moment


def _draw_flush(draw: Draw) -> Call:
    size = draw.shape(min_dims=1, max_dims=1)
    return Call((draw.array(size) * draw.choice([1.0, 1e-310]),), {"due": draw.boolean()})


# What is smaller in magnitude than the smallest normal number becomes zero, where `due`: the remedy against slow
# arithmetic on moments that decayed, where the processor cannot be told to do it.
flush_subnormals = kernel(
    None,
    NONDIFFERENTIABLE,
    name="flush_subnormals",
    forward=_flush_subnormals,
    inputs=("moment",),
    mutates=("moment",),
    params={"due": True},
    domain=_draw_flush,
)
