"""Running an op again."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..autograd import Function
from ..engine import Op, TensorCore, apply, wrap
from ..engine import copy as copy_op
from ..engine.dispatch import run_composite
from .tree import flatten, rebuild

__all__ = ["fresh", "run"]


def run(op: Op, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The op on Tensors and arrays, which it leaves as they are: it writes on copies, and generators start afresh."""
    inputs = fresh(inputs)
    params = fresh(params)
    if op.pullback is not None:  # of a user's Function
        function: type[Function] = op.function
        own = (wrap(one) if isinstance(one, np.ndarray) else one for one in inputs)
        return function.apply(*(apply(copy_op, (one,)) if isinstance(one, TensorCore) else one for one in own))
    if op.kind == "composite":
        return run_composite(op, inputs, params)
    if op.mutates:
        inputs = tuple(
            apply(copy_op, (value,)) if position in op.mutates and value is not None else value
            for position, value in enumerate(inputs)
        )
    return apply(op, inputs, params)


def fresh(tree: Any) -> Any:
    """The same arguments, with generators in the state that they were drawn in."""
    leaves = [copy.deepcopy(leaf) if isinstance(leaf, np.random.Generator) else leaf for leaf in flatten(tree)]
    return rebuild(tree, leaves)
