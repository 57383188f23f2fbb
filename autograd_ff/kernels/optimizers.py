"""The updates of the optimizers, in place over flat arrays.

Each kernel walks its arrays in chunks small enough that what one NumPy call writes is still in the processor's cache
when the next call reads it. Formulas are rearranged to save passes, never changed: what can be done to a scalar is not
done to an array.

Where a gradient stays zero for thousands of steps, its decaying moments turn subnormal, and arithmetic on subnormal
numbers is 10 to 24 times slower. Flushing them to zero would be a remedy, but also another result than the formula's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..engine import NONDIFFERENTIABLE, POSITIVE, Call, Draw, kernel

__all__ = [
    "CHUNK_BYTES", "adam_update", "add_weight_decay", "amsgrad_update", "gather_gradients", "momentum_start",
    "momentum_update", "rmsprop_centered_momentum_update", "rmsprop_centered_update", "rmsprop_momentum_update",
    "rmsprop_update", "sgd_update",
]  # fmt: skip

# Of each array at once: small enough for what an update touches to stay in a processor's second or third level cache,
# large enough for the cost of a call, half a microsecond, not to matter.
CHUNK_BYTES = 1 << 19


def chunks(array: np.ndarray) -> Iterator[slice]:
    size = max(1, CHUNK_BYTES // array.itemsize)
    return (slice(start, start + size) for start in range(0, len(array), size))


def scalars(dtype, *values):
    """The values as arrays of one element, which a NumPy call takes up in half the time of a Python float."""
    return np.array(values, dtype).reshape(-1, 1)


# ---------------------------------------------------------------- gradients


def _gather_gradients(buffer, *gradients, scale=1.0):
    start = 0
    for gradient in gradients:
        stop = start + gradient.size
        part = buffer[start:stop].reshape(gradient.shape)
        if scale == 1:
            np.copyto(part, gradient)
        else:
            np.multiply(gradient, scale, out=part)
        start = stop
    return buffer


def _draw_gather(draw: Draw) -> Call:
    gradient = draw.array(draw.shape())
    return Call((np.zeros(gradient.size), gradient), {"scale": draw.choice([1.0, -1.0, 0.1])})


# Gradients (one or more), end to end in the flat buffer, times `scale`. The copy has to be made; the sign of `maximize`
# and a factor of the formula ride along in it.
gather_gradients = kernel(
    None,
    NONDIFFERENTIABLE,
    name="gather_gradients",
    forward=_gather_gradients,
    inputs=("buffer", "gradient"),
    mutates=("buffer",),
    params={"scale": 1.0},
    domain=_draw_gather,
)


def _add_weight_decay(param, grad, scratch, factor):
    (factor,) = scalars(param.dtype, factor)
    for part in chunks(param):
        p = param[part]
        term = scratch[: len(p)]
        np.multiply(p, factor, out=term)
        g = grad[part]
        np.add(g, term, out=g)
    return grad


def _draw_weight_decay(draw: Draw) -> Call:
    size = draw.shape(min_dims=1, max_dims=1)
    return Call((draw.array(size), draw.array(size), np.zeros(size)), {"factor": draw.choice([0.1, 0.0])})


# grad += factor * param: weight decay as the gradient of (factor / 2) |param|².
add_weight_decay = kernel(
    None,
    NONDIFFERENTIABLE,
    name="add_weight_decay",
    forward=_add_weight_decay,
    inputs=("param", "grad", "scratch"),
    mutates=("grad", "scratch"),
    params={"factor": 0.0},
    domain=_draw_weight_decay,
)


# ---------------------------------------------------------------- stochastic gradient descent


def _sgd(param, grad):
    return np.add(param, grad, out=param)


def _descend(p, g, buffer, lr, lr_momentum, nesterov):
    """``p -= lr * buffer``, or Nesterov's ``p -= lr * (g + momentum * buffer)``. Uses up ``g``."""
    if nesterov:
        np.multiply(g, lr, out=g)
        np.subtract(p, g, out=p)
        np.multiply(buffer, lr_momentum, out=g)
    else:
        np.multiply(buffer, lr, out=g)
    np.subtract(p, g, out=p)


def _momentum_start(param, grad, momentum_buffer, lr, momentum, nesterov):
    rate, rate_momentum = scalars(param.dtype, lr, lr * momentum)
    for part in chunks(param):
        p, g, buffer = param[part], grad[part], momentum_buffer[part]
        np.copyto(buffer, g)
        _descend(p, g, buffer, rate, rate_momentum, nesterov)
    return param


def _momentum(param, grad, momentum_buffer, lr, momentum, dampening, nesterov):
    rate, rate_momentum, keep, take = scalars(param.dtype, lr, lr * momentum, momentum, 1 - dampening)
    for part in chunks(param):
        p, g, buffer = param[part], grad[part], momentum_buffer[part]
        np.multiply(buffer, keep, out=buffer)
        np.add(buffer, g * take if dampening else g, out=buffer)
        _descend(p, g, buffer, rate, rate_momentum, nesterov)
    return param


def _draw_sgd(draw: Draw) -> Call:
    size = draw.shape(min_dims=1, max_dims=1)
    return Call((draw.array(size), draw.array(size)))


def _draw_momentum_start(draw: Draw) -> Call:
    size = draw.shape(min_dims=1, max_dims=1)
    params = {"lr": 0.1, "momentum": 0.9, "nesterov": draw.boolean()}
    return Call((draw.array(size), draw.array(size), np.zeros(size)), params)


def _draw_momentum(draw: Draw) -> Call:
    size = draw.shape(min_dims=1, max_dims=1)
    params = {"lr": 0.1, "momentum": 0.9, "dampening": draw.choice([0.0, 0.5]), "nesterov": draw.boolean()}
    return Call((draw.array(size), draw.array(size), draw.array(size)), params)


# param -= lr * g, where `grad` comes as -lr * g from the gathering.
sgd_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="sgd_update",
    forward=_sgd,
    inputs=("param", "grad"),
    mutates=("param",),
    domain=_draw_sgd,
)

# The first step with momentum: the buffer starts as the gradient itself, undampened, as in PyTorch. This and all
# updates below use up `grad`: it is the optimizer's own copy.
momentum_start = kernel(
    None,
    NONDIFFERENTIABLE,
    name="momentum_start",
    forward=_momentum_start,
    inputs=("param", "grad", "momentum_buffer"),
    mutates=("param", "grad", "momentum_buffer"),
    params={"lr": 1e-3, "momentum": 0.9, "nesterov": False},
    domain=_draw_momentum_start,
)

# buffer = momentum * buffer + (1 - dampening) * grad;  param -= lr * buffer, or with Nesterov's look ahead
# param -= lr * (grad + momentum * buffer). Sutskever et al. 2013, in PyTorch's form (lr outside of the buffer).
momentum_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="momentum_update",
    forward=_momentum,
    inputs=("param", "grad", "momentum_buffer"),
    mutates=("param", "grad", "momentum_buffer"),
    params={"lr": 1e-3, "momentum": 0.9, "dampening": 0.0, "nesterov": False},
    domain=_draw_momentum,
)


# ---------------------------------------------------------------- Adam


def _adam(param, grad, exp_avg, exp_avg_sq, lr, beta1, beta2, eps, decay, step):
    return _adam_or_amsgrad(param, grad, exp_avg, exp_avg_sq, None, lr, beta1, beta2, eps, decay, step)


def _amsgrad(param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, lr, beta1, beta2, eps, decay, step):
    return _adam_or_amsgrad(param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, lr, beta1, beta2, eps, decay, step)


def _adam_or_amsgrad(param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, lr, beta1, beta2, eps, decay, step):
    """The update below. ``grad`` comes times (1 - beta1), and its memory serves for all intermediate values.

    With c = sqrt(1 - beta2^t), m̂ / (sqrt(v̂) + eps) is m * c / (1 - beta1^t) / (sqrt(v) + eps * c): both bias corrections
    on scalars.
    """
    correction = math.sqrt(1 - beta2**step)
    keep1, keep2, square, epsilon, rate, shrink = scalars(
        param.dtype,
        beta1,
        beta2,
        (1 - beta2) / (1 - beta1) ** 2,
        eps * correction,
        lr * correction / (1 - beta1**step),
        1 - decay,
    )
    for part in chunks(param):
        p, g, m, v = param[part], grad[part], exp_avg[part], exp_avg_sq[part]
        if decay:
            np.multiply(p, shrink, out=p)
        np.multiply(m, keep1, out=m)
        np.add(m, g, out=m)
        np.multiply(g, g, out=g)
        np.multiply(g, square, out=g)
        np.multiply(v, keep2, out=v)
        np.add(v, g, out=v)
        if max_exp_avg_sq is not None:
            largest = max_exp_avg_sq[part]
            v = np.maximum(largest, v, out=largest)
        np.sqrt(v, out=g)
        np.add(g, epsilon, out=g)
        np.divide(m, g, out=g)
        np.multiply(g, rate, out=g)
        np.subtract(p, g, out=p)
    return param


def _draw_adam(draw: Draw) -> Call:
    size = draw.shape(min_dims=1, max_dims=1)
    moments = (draw.array(size), draw.array(size, POSITIVE))
    params = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "decay": draw.choice([0.0, 0.1])}
    return Call((draw.array(size), draw.array(size), *moments), {**params, "step": draw.integer(1, 9)})


def _draw_amsgrad(draw: Draw) -> Call:
    call = _draw_adam(draw)
    return Call((*call.inputs, draw.array(call.inputs[0].shape, POSITIVE)), call.params)


_ADAM_PARAMS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0, "step": 1}

# m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g²;  param -= lr * m̂ / (sqrt(v̂) + eps) with
# m̂ = m / (1 - beta1^t), v̂ = v / (1 - beta2^t). Kingma & Ba 2015. `grad` is (1 - beta1) * g, as the gathering leaves it.
# `decay` takes that part off the parameter before: decoupled weight decay, Loshchilov & Hutter 2019.
adam_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="adam_update",
    forward=_adam,
    inputs=("param", "grad", "exp_avg", "exp_avg_sq"),
    mutates=("param", "grad", "exp_avg", "exp_avg_sq"),
    params=_ADAM_PARAMS,
    domain=_draw_adam,
)

# Adam with the largest v so far in place of v. Reddi et al. 2018; as in PyTorch, the largest before bias correction.
amsgrad_update = kernel(
    None,
    NONDIFFERENTIABLE,
    name="amsgrad_update",
    forward=_amsgrad,
    inputs=("param", "grad", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    mutates=("param", "grad", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    params=_ADAM_PARAMS,
    domain=_draw_amsgrad,
)


# ---------------------------------------------------------------- RMSprop


def _rmsprop(param, grad, scratch, square_avg, lr, alpha, eps):
    return _any_rmsprop(param, grad, scratch, square_avg, None, None, lr, alpha, eps, 0.0)


def _rmsprop_centered(param, grad, scratch, square_avg, grad_avg, lr, alpha, eps):
    return _any_rmsprop(param, grad, scratch, square_avg, grad_avg, None, lr, alpha, eps, 0.0)


def _rmsprop_momentum(param, grad, scratch, square_avg, momentum_buffer, lr, alpha, eps, momentum):
    return _any_rmsprop(param, grad, scratch, square_avg, None, momentum_buffer, lr, alpha, eps, momentum)


def _rmsprop_centered_momentum(param, grad, scratch, square_avg, grad_avg, momentum_buffer, lr, alpha, eps, momentum):
    return _any_rmsprop(param, grad, scratch, square_avg, grad_avg, momentum_buffer, lr, alpha, eps, momentum)


def _any_rmsprop(param, grad, scratch, square_avg, grad_avg, momentum_buffer, lr, alpha, eps, momentum):
    keep, take, epsilon, rate, keep_buffer = scalars(param.dtype, alpha, 1 - alpha, eps, lr, momentum)
    for part in chunks(param):
        p, g, v = param[part], grad[part], square_avg[part]
        s = scratch[: len(p)]
        np.multiply(g, g, out=s)
        np.multiply(s, take, out=s)
        np.multiply(v, keep, out=v)
        np.add(v, s, out=v)
        if grad_avg is None:
            np.sqrt(v, out=s)
        else:
            mean = grad_avg[part]
            # mean + (1 - alpha) * (g - mean), the form that is exact where g equals the mean: v - mean² is a small
            # difference of large numbers, and must not go below zero by a rounding more than it has to.
            np.subtract(g, mean, out=s)
            np.multiply(s, take, out=s)
            np.add(mean, s, out=mean)
            np.multiply(mean, mean, out=s)
            np.subtract(v, s, out=s)
            np.sqrt(s, out=s)
        np.add(s, epsilon, out=s)
        np.divide(g, s, out=g)
        if momentum_buffer is not None:
            buffer = momentum_buffer[part]
            np.multiply(buffer, keep_buffer, out=buffer)
            np.add(buffer, g, out=buffer)
            np.multiply(buffer, rate, out=g)
        else:
            np.multiply(g, rate, out=g)
        np.subtract(p, g, out=p)
    return param


def _rmsprop_kernel(name, forward, *buffers):
    """One of the four forms of the update: with or without the mean gradient, with or without momentum.

    v = alpha * v + (1 - alpha) * g²;  mean = alpha * mean + (1 - alpha) * g (centered; otherwise 0);
    d = g / (sqrt(v - mean²) + eps);  param -= lr * d, or with momentum b = momentum * b + d;  param -= lr * b.
    Hinton 2012, lecture 6e; centered: Graves 2013.
    """
    moments = ("square_avg", *buffers)
    params = {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8}
    if "momentum_buffer" in buffers:
        params["momentum"] = 0.9

    def draw_call(draw: Draw) -> Call:
        size = draw.shape(min_dims=1, max_dims=1)
        drawn = {"square_avg": draw.array(size, POSITIVE) + 9.0}  # at least the square of any mean drawn
        drawn |= {buffer: draw.array(size) for buffer in buffers}
        return Call((draw.array(size), draw.array(size), np.zeros(size), *drawn.values()), dict(params))

    return kernel(
        None,
        NONDIFFERENTIABLE,
        name=name,
        forward=forward,
        inputs=("param", "grad", "scratch", *moments),
        mutates=("param", "grad", "scratch", *moments),
        params=params,
        domain=draw_call,
    )


rmsprop_update = _rmsprop_kernel("rmsprop_update", _rmsprop)
rmsprop_centered_update = _rmsprop_kernel("rmsprop_centered_update", _rmsprop_centered, "grad_avg")
rmsprop_momentum_update = _rmsprop_kernel("rmsprop_momentum_update", _rmsprop_momentum, "momentum_buffer")
rmsprop_centered_momentum_update = _rmsprop_kernel(
    "rmsprop_centered_momentum_update", _rmsprop_centered_momentum, "grad_avg", "momentum_buffer"
)
