"""The core of a tensor: an array and, where its gradient is wanted, a node.

The public `Tensor`, with all its methods, stands in `autograd_ff.functions.tensor`; the engine receives that class once
and makes its results instances of it.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..errors import GraphError, InplaceError, NoRuleError
from . import versions
from .node import Leaf, Node
from .site import at, here
from .state import LOCAL

__all__ = ["TensorCore", "View", "set_tensor_class", "wrap"]

_new = object.__new__


class TensorCore:
    """An array, its node in the graph (None where no gradient is wanted), its gradient, and what it is a view of."""

    __slots__ = ("__weakref__", "_grad", "array", "node", "view_of")

    array: np.ndarray
    node: Node | None
    _grad: TensorCore | None
    view_of: View | None

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded. Settable on leaves."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if bool(value) == (self.node is not None):
            return
        versions.restructured()
        if not value:
            if not isinstance(self.node, Leaf):
                raise GraphError(
                    "requires_grad can be switched off only on a leaf; this tensor is the result of "
                    f"{self.node.op.name}{at(self.node.site)}\n  Use x.detach() instead."  # type: ignore[union-attr]
                )
            self.node = None
        else:
            if self.array.dtype.kind not in "fc":
                raise GraphError(
                    f"only floating tensors can require a gradient, this one is {self.array.dtype}.{here()}\n"
                    "  Convert it first: x.float()."
                )
            self.node = make_leaf(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.node is not None:
            raise GraphError(
                "a tracked Tensor was about to become a plain array, which would cut the gradient silently."
                f"{here()}\n  Call x.detach() first where that is meant; NumPy functions with a derivative rule "
                "take the Tensor as it is."
            )
        note_read(self, "array")
        return np.array(self.array, dtype=dtype, copy=copy)


class View:
    """What a tensor shows of another one's memory: the base, and the view ops that lead from it here.

    It holds the base; nothing leads from the base to its views.
    """

    __slots__ = ("base", "base_node", "sealed", "steps")

    def __init__(self, base: TensorCore, steps: tuple[tuple[Any, dict[str, Any]], ...], sealed: str | None) -> None:
        self.base = base
        self.base_node = base.node
        self.steps = steps
        self.sealed = sealed  # why writing through it while recording is refused, or None

    def stale(self) -> bool:
        """Whether a recorded write has given the base another node since this view was taken."""
        node = self.base.node
        return node is not self.base_node and node is not None and not isinstance(node, Leaf)

    def check(self) -> None:
        if self.stale():
            node = self.base.node
            raise InplaceError(
                "this view was taken before its base was written in place, so the graph does not know what it shows."
                f"{here()}{at(node.site if node else None, 'written at')}\n"
                "  Take the view again after the write."
            )


def make_leaf(tensor: TensorCore) -> Leaf:
    leaf = _new(Leaf)
    leaf.op = LEAF
    leaf.number = versions.tick()
    leaf.parents = ()
    leaf.saved = None
    leaf.params = {}
    leaf.shape = tensor.array.shape
    leaf.dtype = tensor.array.dtype
    leaf.code = None
    leaf.offset = 0
    leaf.scope = LOCAL.state.scope
    leaf.hooks = None
    leaf.tensor = weakref.ref(tensor)
    return leaf


class _LeafOp:
    name = "leaf"
    kind = "leaf"


LEAF: Any = _LeafOp()


def note_read(tensor: TensorCore, how: str) -> None:
    """Tell observers that a value is about to leave the graph for Python."""
    observers = LOCAL.state.observers
    if observers is not None:
        for observer in observers:
            observer.read(tensor, how)


_class: type[Any] = TensorCore


def set_tensor_class(tensor_class: type[Any]) -> None:
    """Make the engine's results instances of ``tensor_class``."""
    global _class
    _class = tensor_class


def wrap(array: np.ndarray, node: Node | None = None) -> Any:
    """A Tensor around an array, without a copy."""
    tensor = _new(_class)
    tensor.array = array
    tensor.node = node
    tensor._grad = None
    tensor.view_of = None
    return tensor


def no_rule(what: str) -> NoRuleError:
    return NoRuleError(
        f"{what} has no derivative rule.{here()}\n  Work on x.detach().numpy() where no gradient is needed, or add a "
        "rule with autograd_ff.engine.primitive."
    )
