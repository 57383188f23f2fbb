"""The base of every ratio: the matrix products of the step and nothing else, in NumPy, into arrays made beforehand."""

from __future__ import annotations

import numpy as np

from ..cases import Block, Case
from .training import Training


def products(case: Case) -> Training:
    """Forward, and backward for weights and inputs; the first layer's inputs need no gradient.

    Of a network with n layers that is n products forward, n for the weights, n - 1 for the inputs. Of the block it is 2
    forward and 4 backward: what goes into its first layer comes from LayerNorm, whose parameters need its gradient.
    """
    weights = [one for one in case.parameters() if one.ndim == 2]
    rows = case.tokens if isinstance(case, Block) else case.batch
    transposed = [weight.T for weight in weights]
    outputs = [np.empty((rows, len(weight)), np.float32) for weight in weights]
    gradients = [np.empty_like(weight) for weight in weights]
    inwards = [np.empty((rows, weight.shape[1]), np.float32) for weight in weights]
    last = 0 if isinstance(case, Block) else 1  # the deepest layer whose input needs a gradient
    loss = np.float32(0)

    def step(inputs: np.ndarray, targets: np.ndarray) -> np.float32:
        values = inputs
        for weight, output in zip(transposed, outputs, strict=True):
            values = np.matmul(values, weight, out=output)
        upstream = values
        for position in range(len(weights) - 1, -1, -1):
            np.matmul(upstream.T, outputs[position - 1] if position else inputs, out=gradients[position])
            if position >= last:
                upstream = np.matmul(upstream, weights[position], out=inwards[position])
        return loss

    return Training(lambda array: array, step)
