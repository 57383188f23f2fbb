"""Which piece of each piecewise op a computation went through.

The signature of a computation is the sequence of its ops, what they declare in ``branches`` (signs, masks, the places
of extremes), the results of comparisons and index ops, and what Python read out of tensors. Two points with the same
signature lie on the same smooth piece, so a difference between them is a difference of one smooth function.
"""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..engine import Node, Observer, Op, Scope

__all__ = ["BranchRecorder", "signature_of"]


def signature_of(op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...]) -> np.ndarray | None:
    """What decides the pieces of one op's elements; None for an op that is smooth, or says nothing.

    ``outputs`` are the op's outputs and, after them, its residuals.
    """
    if op.branches is not None:
        parts = [outputs[: op.outputs], *outputs[op.outputs :]] if op.outputs > 1 else list(outputs)
        node: Any = SimpleNamespace(op=op, saved=[*inputs, *parts], parents=[None] * len(inputs), params=params)
        return np.asarray(op.branches.function(*op.branches.arguments(node, None)))
    if not op.differentiable and not op.mutates and np.asarray(outputs[0]).dtype.kind in "bui":
        return np.asarray(outputs[0])
    return None


class BranchRecorder(Observer):
    """Condenses the signature of everything that it observes into a `digest`."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Node | None,
           scope: Scope | None) -> None:  # fmt: skip
        self._hash.update(op.name.encode())
        signature = signature_of(op, inputs, params, outputs)
        if signature is not None:
            self._hash.update(np.ascontiguousarray(signature).tobytes())

    def read(self, tensor: Any, how: str) -> None:
        if tensor.array.dtype.kind in "bui":
            self._hash.update(np.ascontiguousarray(tensor.array).tobytes())
