"""The nodes of the graph that an op leaves behind.

A node points to the nodes of its inputs and never to a tensor, so a graph has no reference cycle and is freed the
moment its last tensor goes. Every tracked tensor has exactly one node of its own: an op with several outputs gets one
node, and one `SELECT` node for each output, so that an edge is just a node.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import versions
from .site import Site, at, calling_code
from .state import Scope, user_site

if TYPE_CHECKING:
    from .op import Op

__all__ = ["FREED", "Hooks", "Leaf", "Meta", "Node"]

FREED: Any = type("Freed", (), {"__repr__": lambda self: "FREED"})()


class Meta:
    """Shape and dtype of an array, without the array."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Any) -> None:
        array = np.asarray(array) if not hasattr(array, "shape") else array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)


class Node:
    """One recorded application of an op."""

    __slots__ = (
        "code",  # site of the op's caller: code object …
        "dtype",
        "hooks",  # Hooks or None
        "number",  # creation number; a parent's is always lower
        "offset",  # … and instruction offset
        "op",
        "params",
        "parents",  # one node for each input, None where no gradient is wanted
        "saved",  # what the vjps read: inputs, output, residuals; None for what they do not; FREED after backward
        "scope",
        "shape",  # of the tensor; of an op with several outputs a tuple of each one's, as is dtype
    )
    op: Op
    number: int
    parents: list[Any] | tuple[Any, ...]
    saved: Any
    params: dict[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    code: CodeType | None
    offset: int
    scope: Scope | None
    hooks: Hooks | None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def site(self) -> Site | None:
        """The line of the user's code that made this node."""
        return user_site(self.code, self.offset, self.scope)

    def place_here(self) -> None:
        """Take the user's line that is running now for the site, where `apply` was not called by the public function."""
        self.code, self.offset = calling_code() or (None, 0)

    @property
    def name(self) -> str:
        return self.op.name

    def __repr__(self) -> str:
        return f"<{self.op.name} {tuple(self.shape)} {self.dtype}>"

    def _kept(self) -> Iterator[tuple[int | str, Any]]:
        """What the backward pass reads again: saved values by position, and parameters, an index array say, by name."""
        yield from enumerate(self.saved or ())
        for name, value in self.params.items():
            for part in value if isinstance(value, tuple) else (value,):
                yield name, part

    def stale(self) -> str | None:
        """Which saved array was written since this node was made, as an error message; None where none was."""
        if versions.latest < self.number:
            return None
        for key, value in self._kept():
            if isinstance(value, np.ndarray):
                written, line = versions.written_since(value, self.number)
                if written:
                    what = key if isinstance(key, str) else self.op.saved_name(key)
                    return (
                        f"{self.op.name} saved its {what}, {value.dtype} {value.shape}, for the backward pass, and it "
                        f"was modified in place afterwards.{at(self.site, 'saved at')}"
                        f"{at(line, 'written at')}\n"
                        f"  Write out of place (x = x + y instead of x += y), or on a copy: x.clone()."
                    )
        return None


class Leaf(Node):
    """Where gradients end: a tensor that requires grad and that no op made.

    The tensor is held weakly. When it is gone nobody can look at its gradient any more.
    """

    __slots__ = ("tensor",)
    tensor: weakref.ref[Any]


class Hooks:
    """What users attached to a node: functions of its gradient, and tensors that want to keep it."""

    __slots__ = ("after", "before", "retaining", "serial")

    def __init__(self) -> None:
        self.before: dict[int, Any] = {}  # functions of the gradient, before it goes on
        self.after: dict[int, Any] = {}  # of a leaf: functions of the tensor, after its .grad was updated
        self.retaining: weakref.ref[Any] | None = None
        self.serial = 0


class HookHandle:
    """What `register_hook` returns; ``remove()`` takes the hook off again."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks = hooks
        self._key = key

    def remove(self) -> None:
        versions.restructured()
        self._hooks.pop(self._key, None)


def hooks_of(node: Node) -> Hooks:
    if node.hooks is None:
        node.hooks = Hooks()
    return node.hooks


def add_hook(node: Node, function: Any, *, after: bool = False) -> HookHandle:
    versions.restructured()
    hooks = hooks_of(node)
    hooks.serial += 1
    chosen = hooks.after if after else hooks.before
    chosen[hooks.serial] = function
    return HookHandle(chosen, hooks.serial)
