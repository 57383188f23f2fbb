"""JAX: the whole step in one `jit`, its state donated; Adam as its formulas say, for JAX brings no optimizer."""

from __future__ import annotations

from typing import Any

from ..cases import Block, Case
from .training import Training


def jax(case: Case) -> Training:
    import jax as framework
    import jax.numpy as jnp

    def network(parameters: Any, images: Any, labels: Any) -> Any:
        hidden = images
        for position in range(0, len(parameters), 2):
            hidden = jnp.maximum(hidden, 0) if position else hidden
            hidden = hidden @ parameters[position].T + parameters[position + 1]
        chosen = jnp.take_along_axis(framework.nn.log_softmax(hidden), labels[:, None], axis=1)
        return -chosen.mean()

    def block(parameters: Any, inputs: Any, targets: Any) -> Any:
        scale, shift, up, up_bias, down, down_bias = parameters
        centred = inputs - inputs.mean(-1, keepdims=True)
        normed = centred * framework.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift
        hidden = framework.nn.gelu(normed @ up.T + up_bias, approximate=False)
        return ((inputs + hidden @ down.T + down_bias - targets) ** 2).mean()

    loss_of = block if isinstance(case, Block) else network

    def train(state: Any, inputs: Any, targets: Any) -> Any:
        parameters, first, second, count = state
        loss, gradients = framework.value_and_grad(loss_of)(parameters, inputs, targets)
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
    parameters = [jnp.array(one) for one in case.parameters()]
    zeros = framework.tree_util.tree_map(jnp.zeros_like, parameters)
    also = framework.tree_util.tree_map(jnp.zeros_like, parameters)
    state = [(parameters, zeros, also, jnp.float32(0))]

    def step(inputs: Any, targets: Any) -> Any:
        state[0], loss = compiled(state[0], inputs, targets)
        return loss

    # The device's copy is the framework's own: labels become int32.
    return Training(lambda array: jnp.asarray(array if array.dtype.kind == "f" else array.astype("int32")), step)
