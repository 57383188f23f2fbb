"""The cross-entropy of logits and class indices, in one pass over the logits.

The backward pass needs the logits and one number a row, their logsumexp: ``softmax = exp(logits - logsumexp)`` is
computed again where it is wanted, rather than kept.
"""

from __future__ import annotations

import numpy as np

from ..engine import REAL, Call, Draw, kernel


def definition(logits, target):
    """The loss of each row: ``logsumexp(logits) - logits[target]``, for logits (n, classes) and target (n,)."""
    top = np.max(logits, axis=1, keepdims=True)
    logsumexp = np.log(np.sum(np.exp(logits - top), axis=1)) + top[:, 0]
    return logsumexp - logits[np.arange(logits.shape[0]), target]


def forward(logits, target):
    top = np.max(logits, axis=1, keepdims=True)
    shifted = logits - top
    chosen = shifted[np.arange(len(logits)), target]
    np.exp(shifted, out=shifted)
    logsumexp = np.log(shifted @ np.ones(logits.shape[1], logits.dtype))
    return logsumexp - chosen, logsumexp + top[:, 0]


def backward(g, logits, target, logsumexp, needs):
    softmax = np.exp(logits - logsumexp[:, None])
    softmax[np.arange(len(logits)), target] -= 1
    softmax *= g[:, None]
    return softmax, None


def draw(draw: Draw) -> Call:
    rows, classes = draw.integer(1, 5), draw.integer(1, 5)
    return Call((draw.array((rows, classes)), draw.integers((rows,), 0, classes - 1)))


cross_entropy = kernel(
    definition,
    name="cross_entropy",
    forward=forward,
    backward=backward,
    residuals=("logsumexp",),
    inputs=("logits", "target"),
    promotion="float",
    promoted=(0,),
    domain=draw,
)
