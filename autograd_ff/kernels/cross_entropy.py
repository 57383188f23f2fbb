"""The cross-entropy of logits and class indices, in few passes over the logits; and what class indices amount to.

The backward pass needs the logits and one number a row, their logsumexp: ``softmax = exp(logits - logsumexp)`` is
computed again where it is wanted, rather than kept.
"""

from __future__ import annotations

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, here, kernel
from ..errors import ShapeError

# Rows so short that a loop over them, which is NumPy's way to reduce along the last dimension, costs more than a copy
# with the rows as columns.
_SHORT = 32


def definition(logits, target, reduction="none"):
    """The loss of each row, ``logsumexp(logits) - logits[target]``, for logits (n, classes) and target (n,)."""
    top = np.max(logits, axis=1, keepdims=True)
    logsumexp = np.log(np.sum(np.exp(logits - top), axis=1)) + top[:, 0]
    losses = logsumexp - logits[np.arange(logits.shape[0]), target]
    if reduction == "none":
        return losses
    return np.mean(losses) if reduction == "mean" else np.sum(losses)


def forward(logits, target, reduction="none"):
    rows = len(logits)
    logsumexp = np.empty(rows, logits.dtype)
    loss = np.empty(rows if reduction == "none" else (), logits.dtype)
    fill_forward(loss, logsumexp, logits, target, reduction)
    return loss, logsumexp


def fill_forward(loss, logsumexp, logits, target, reduction):
    """`forward` into arrays of one number a row."""
    rows, classes = logits.shape
    if classes <= _SHORT:
        shifted = logits.T.copy()
        top = np.maximum.reduce(shifted, axis=0)
        shifted -= top
        chosen = shifted[target, np.arange(rows)]
        np.exp(shifted, out=shifted)
        np.log(np.add.reduce(shifted, axis=0), out=logsumexp)
    else:
        top = np.maximum.reduce(logits, axis=1)
        shifted = logits - top[:, None]
        chosen = shifted[np.arange(rows), target]
        np.exp(shifted, out=shifted)
        np.log(shifted @ np.ones(classes, logits.dtype), out=logsumexp)
    if reduction == "none":
        np.subtract(logsumexp, chosen, out=loss)
    else:
        np.add.reduce(logsumexp - chosen, out=loss)
        if reduction == "mean":
            np.divide(loss, rows, dtype=logits.dtype, out=loss)
    logsumexp += top


def backward(g, logits, target, logsumexp, reduction, needs):
    gradient = np.empty(logits.shape, logits.dtype)
    fill_backward(gradient, None, g, logits, target, logsumexp, reduction)
    return gradient, None


def fill_backward(gradient, _, g, logits, target, logsumexp, reduction, needs=None):
    """`backward` into an array of the shape of the logits."""
    rows = len(logits)
    if reduction == "mean":
        g = np.divide(g, rows, dtype=logits.dtype)
    np.subtract(logits, logsumexp[:, None], out=gradient)
    np.exp(gradient, out=gradient)
    if reduction == "none":
        gradient *= g[:, None]
    else:
        gradient *= g
    gradient[np.arange(rows), target] -= g


def draw(draw: Draw) -> Call:
    rows, classes = draw.integer(1, 5), draw.choice([3, 1, 2, 5, _SHORT + 1])
    target = draw.integers((rows,), 0, classes - 1)
    return Call((draw.array((rows, classes)), target), {"reduction": draw.choice(["mean", "sum", "none"])})


cross_entropy = kernel(
    definition,
    name="cross_entropy",
    forward=forward,
    backward=backward,
    residuals=("logsumexp",),
    inputs=("logits", "target"),
    params={"reduction": "none"},
    promotion="float",
    promoted=(0,),
    domain=draw,
)


def _class_targets(target, weight, classes, ignore_index, dtype):
    flat = target.reshape(-1).astype(np.int64, copy=False)
    counts = flat != ignore_index
    safe = np.where(counts, flat, 0)
    bad = (safe < 0) | (safe >= classes)
    bad &= counts
    if bad.any():
        position = int(np.argmax(bad))
        where = [int(one) for one in np.unravel_index(position, target.shape)] if target.ndim else ""
        raise ShapeError(
            f"target{where} is class {flat[position]}, and the input has {classes} classes, 0 to {classes - 1}{here()}\n"
            "  Classes count from 0; targets to leave out are marked by ignore_index."
        )
    factors = counts.astype(dtype)
    if weight is not None and safe.size and classes:
        factors *= weight[safe]
    return safe, counts, factors


def draw_class_targets(draw: Draw) -> Call:
    classes = draw.integer(1, 4)
    target = draw.integers((draw.integer(1, 5),), 0, classes - 1)
    weight = draw.array((classes,)) if draw.boolean() else None
    return Call(
        (target, weight), {"classes": classes, "ignore_index": draw.choice([-100, 0]), "dtype": np.dtype(np.float64)}
    )


# Class indices as one int64 row, ignored ones as 0; a mask of those that count; and the factor of each, its class's weight
# or 1, 0 for ignored ones.
class_targets = kernel(
    None,
    NONDIFFERENTIABLE,
    name="class_targets",
    forward=_class_targets,
    inputs=("target", "weight"),
    params={"classes": 0, "ignore_index": -100, "dtype": np.dtype(np.float32)},
    outputs=3,
    domain=draw_class_targets,
)
