"""The other engines on NumPy. They bring no Adam, so it is written as NumPy users write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..cases import Block, Case
from .training import Training, Unable


def adam(parameters: list[np.ndarray]) -> Callable[[list[np.ndarray]], None]:
    first = [np.zeros_like(parameter) for parameter in parameters]
    second = [np.zeros_like(parameter) for parameter in parameters]
    count = [0]

    def update(gradients: list[np.ndarray]) -> None:
        count[0] += 1
        rate = np.float32(1e-3 / (1 - 0.9 ** count[0]))
        scale = np.float32(1 / (1 - 0.999 ** count[0]))
        for parameter, gradient, m, v in zip(parameters, gradients, first, second, strict=True):
            m *= 0.9
            m += 0.1 * gradient
            v *= 0.999
            v += 0.001 * gradient**2
            parameter -= rate * m / (np.sqrt(scale * v) + 1e-8)

    return update


def hips_autograd(case: Case) -> Training:
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.scipy.special import erf

    parameters = case.parameters()

    def network(parameters: Any, images: Any, labels: Any) -> Any:
        hidden = images
        for position in range(0, len(parameters), 2):
            hidden = anp.maximum(hidden, 0) if position else hidden
            hidden = anp.dot(hidden, parameters[position].T) + parameters[position + 1]
        top = anp.max(hidden, axis=1, keepdims=True)
        log_sum = anp.log(anp.sum(anp.exp(hidden - top), axis=1)) + top[:, 0]
        return anp.mean(log_sum - hidden[anp.arange(len(labels)), labels])

    def block(parameters: Any, inputs: Any, targets: Any) -> Any:
        scale, shift, up, up_bias, down, down_bias = parameters
        centred = inputs - anp.mean(inputs, axis=-1, keepdims=True)
        normed = centred / anp.sqrt(anp.mean(centred**2, axis=-1, keepdims=True) + np.float32(1e-5)) * scale + shift
        hidden = anp.dot(normed, up.T) + up_bias
        hidden = 0.5 * hidden * (1 + erf(hidden * 0.5**0.5))
        return anp.mean((inputs + anp.dot(hidden, down.T) + down_bias - targets) ** 2)

    differentiate = value_and_grad(block if isinstance(case, Block) else network)
    update = adam(parameters)

    def step(inputs: np.ndarray, targets: np.ndarray) -> Any:
        loss, gradients = differentiate(parameters, inputs, targets)
        update(gradients)
        return loss

    return Training(lambda array: array, step)


def mygrad(case: Case) -> Training:
    import mygrad as mg
    from mygrad.nnet.losses import softmax_crossentropy

    if isinstance(case, Block):
        raise Unable("has no erf for GELU")
    parameters = [mg.tensor(one) for one in case.parameters()]
    update = adam([one.data for one in parameters])

    def step(images: np.ndarray, labels: np.ndarray) -> Any:
        hidden: Any = images
        for position in range(0, len(parameters), 2):
            hidden = mg.maximum(hidden, 0) if position else hidden
            hidden = mg.matmul(hidden, parameters[position].T) + parameters[position + 1]
        loss = softmax_crossentropy(hidden, labels)
        loss.backward()
        with mg.mem_guard_off:
            update([one.grad for one in parameters])
        for one in parameters:
            one.null_grad()
        return loss

    return Training(lambda array: array, step)
