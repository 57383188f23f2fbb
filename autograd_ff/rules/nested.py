"""Ops inside the formulas of other ops."""

from __future__ import annotations

from ..engine import TensorCore


def nested(op):
    """The function of an op, to be written in the forward formula or the rule of another.

    On Tensors it is the op, recorded and observed. On arrays it only computes: observers see the outer op, and not what
    that is made of.
    """

    def function(*args):
        for value in args:
            if isinstance(value, TensorCore):
                return op(*args)
        return op.forward(*args)

    return function
