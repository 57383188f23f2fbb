"""The same training step in each framework: a function of one batch that returns the loss as a float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import Case, weights

Step = Callable[[np.ndarray, np.ndarray], float]


def products(case: Case) -> Step:
    """Only the matrix products of the step: three forward, three for the weights, two for the inputs."""
    layers = [weight for weight, _ in weights(case)]

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        values = [images]
        for weight in layers:
            values.append(values[-1] @ weight.T)
        gradient = values[-1]
        for position in range(len(layers) - 1, -1, -1):
            gradient.T @ values[position]
            if position:
                gradient = gradient @ layers[position]
        return 0.0

    return step


def autograd_ff(case: Case) -> Step:
    import autograd_ff as af
    from autograd_ff import nn, optim

    layers: list[Any] = []
    for position, (fan_in, fan_out) in enumerate(zip(case.widths, case.widths[1:], strict=False)):
        layers += [nn.ReLU()] if position else []
        layers += [nn.Linear(fan_in, fan_out)]
    model = nn.Sequential(*layers)
    with af.no_grad():
        for layer, (weight, bias) in zip(layers[::2], weights(case), strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        optimizer.zero_grad()
        loss = criterion(model(af.from_numpy(images)), af.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _pytorch(case: Case, **options: Any) -> Step:
    import torch
    from torch import nn

    layers: list[Any] = []
    for position, (fan_in, fan_out) in enumerate(zip(case.widths, case.widths[1:], strict=False)):
        layers += [nn.ReLU()] if position else []
        layers += [nn.Linear(fan_in, fan_out)]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers[::2], weights(case), strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **options)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        optimizer.zero_grad()
        loss = criterion(model(torch.from_numpy(images)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def pytorch(case: Case) -> Step:
    return _pytorch(case)


def pytorch_fused(case: Case) -> Step:
    return _pytorch(case, fused=True)


def jax(case: Case) -> Step:
    import jax as framework
    import jax.numpy as jnp

    def loss_of(parameters: Any, images: Any, labels: Any) -> Any:
        hidden = images
        for position, (weight, bias) in enumerate(parameters):
            hidden = jnp.maximum(hidden, 0) if position else hidden
            hidden = hidden @ weight.T + bias
        chosen = jnp.take_along_axis(framework.nn.log_softmax(hidden), labels[:, None], axis=1)
        return -chosen.mean()

    def train(state: Any, images: Any, labels: Any) -> Any:
        parameters, first, second, count = state
        loss, gradients = framework.value_and_grad(loss_of)(parameters, images, labels)
        count = count + 1
        tree = framework.tree_util.tree_map
        first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        parameters = tree(
            lambda p, m, v: p - 1e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8),
            parameters, first, second,
        )  # fmt: skip
        return (parameters, first, second, count), loss

    compiled = framework.jit(train, donate_argnums=0)
    parameters = [(jnp.array(weight), jnp.array(bias)) for weight, bias in weights(case)]
    zeros = framework.tree_util.tree_map(jnp.zeros_like, parameters)
    also = framework.tree_util.tree_map(jnp.zeros_like, parameters)
    state = [(parameters, zeros, also, jnp.float32(0))]

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        state[0], loss = compiled(state[0], images, labels)
        return float(loss)

    return step


def _adam(parameters: list[np.ndarray]) -> Callable[[list[np.ndarray]], None]:
    """Adam as NumPy users write it, for the frameworks that bring none."""
    first = [np.zeros_like(parameter) for parameter in parameters]
    second = [np.zeros_like(parameter) for parameter in parameters]
    count = [0]

    def update(gradients: list[np.ndarray]) -> None:
        count[0] += 1
        rate = 1e-3 * np.sqrt(1 - 0.999 ** count[0]) / (1 - 0.9 ** count[0])
        for parameter, gradient, m, v in zip(parameters, gradients, first, second, strict=True):
            m *= 0.9
            m += 0.1 * gradient
            v *= 0.999
            v += 0.001 * gradient**2
            parameter -= np.float32(rate) * m / (np.sqrt(v) + 1e-8)

    return update


def hips_autograd(case: Case) -> Step:
    import autograd.numpy as anp
    from autograd import value_and_grad

    parameters = [one for pair in weights(case) for one in pair]

    def loss_of(parameters: Any, images: Any, labels: Any) -> Any:
        hidden = images
        for position in range(0, len(parameters), 2):
            hidden = anp.maximum(hidden, 0) if position else hidden
            hidden = anp.dot(hidden, parameters[position].T) + parameters[position + 1]
        top = anp.max(hidden, axis=1, keepdims=True)
        log_sum = anp.log(anp.sum(anp.exp(hidden - top), axis=1)) + top[:, 0]
        return anp.mean(log_sum - hidden[anp.arange(len(labels)), labels])

    differentiate = value_and_grad(loss_of)
    update = _adam(parameters)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        loss, gradients = differentiate(parameters, images, labels)
        update(gradients)
        return float(loss)

    return step


def mygrad(case: Case) -> Step:
    import mygrad as mg
    from mygrad.nnet.losses import softmax_crossentropy

    parameters = [mg.tensor(one) for pair in weights(case) for one in pair]
    update = _adam([one.data for one in parameters])

    def step(images: np.ndarray, labels: np.ndarray) -> float:
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
        return loss.item()

    return step


FRAMEWORKS: dict[str, tuple[str, str, Callable[[Case], Step]]] = {
    # key: (title, module that must be installed, builder)
    "products": ("bare matrix products (NumPy)", "numpy", products),
    "autograd_ff": ("autograd_ff", "autograd_ff", autograd_ff),
    "pytorch": ("PyTorch, default Adam", "torch", pytorch),
    "pytorch_fused": ("PyTorch, fused Adam", "torch", pytorch_fused),
    "jax": ("JAX, jit", "jax", jax),
    "hips_autograd": ("HIPS autograd", "autograd", hips_autograd),
    "mygrad": ("MyGrad", "mygrad", mygrad),
}
