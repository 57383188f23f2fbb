"""Arrays as a plan knows them: which memory they lie in, and how."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

__all__ = ["Memory", "Value", "is_blank"]


def is_blank(array: np.ndarray) -> bool:
    """Whether an array is as zeroed memory is: no bit is set, that of -0.0 included.

    >>> import numpy as np
    >>> is_blank(np.zeros((2, 3))), is_blank(np.full(2, -0.0))
    (True, False)
    """
    return bool(array.flags.c_contiguous and not array.reshape(-1).view(np.uint8).any())


def _gone() -> None:
    """In place of a weak reference: there is no array to refer to."""


class Memory:
    """A stretch of memory that arrays lie in.

    Attributes:
        kind: "argument" (given at each call), "gradient" (a ``.grad`` as each call finds it), "state" (owned by somebody:
            parameters, buffers, moments), "constant", "internal" (the plan's own), or "fresh" (allocated at each call by
            the op that makes it).
        number: counts the memories of a record in the order in which they were first seen.
        array: of state, constants and what is kept, the array that owns it.
        source: of an argument its position among the arrays given, of a gradient the tensor whose it is.
        kept: internal memory that must outlive the call, for a ``.grad`` shows it.
    """

    __slots__ = (
        "address", "array", "declared", "kept", "kind", "number", "offset", "size", "source", "weak", "where",
    )  # fmt: skip

    def __init__(self, kind: str, number: int, root: np.ndarray | None = None, source: Any = None) -> None:
        self.kind = kind
        self.number = number
        self.address: int = 0 if root is None else byte_bounds(root)[0]
        self.size = 0  # bytes from the root's first to the last that some value shows
        self.offset = 0  # of internal memory, in the arena
        self.array: np.ndarray | None = root if kind in ("state", "constant") else None
        self.source = source
        self.kept = False
        self.declared = False  # of a constant: it follows from shapes
        self.where: Any = None  # of an external one: the line that used it first
        self.weak: Callable[[], Any] = _gone if root is None else weakref.ref(root)

    @property
    def fixed(self) -> bool:
        """Whether the memory is the same at every call, so that views of it are made once."""
        return self.kind in ("state", "constant", "internal")

    def __repr__(self) -> str:
        return f"<memory {self.number} {self.kind} {self.size}>"


class Value:
    """An array: a place in some memory, with shape, strides and dtype."""

    __slots__ = ("dtype", "made_from", "memory", "name", "number", "offset", "shape", "strides", "weak")

    def __init__(self, number: int, array: np.ndarray, memory: Memory) -> None:
        self.number = number
        self.memory = memory
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.strides: tuple[int, ...] = array.strides
        self.offset: int = array.__array_interface__["data"][0] - memory.address
        self.made_from: Any = None  # of a view: (op, value, params), to make it again from an argument
        self.name = ""
        self.weak: Callable[[], Any] = weakref.ref(array)
        memory.size = max(memory.size, self.bounds[1])

    @property
    def bounds(self) -> tuple[int, int]:
        """The first byte of the memory that the array shows, and the one after the last."""
        if 0 in self.shape:
            return self.offset, self.offset
        reach = [stride * (side - 1) for stride, side in zip(self.strides, self.shape, strict=True)]
        low = self.offset + sum(one for one in reach if one < 0)
        return low, self.offset + sum(one for one in reach if one > 0) + self.dtype.itemsize

    @property
    def geometry(self) -> tuple[Any, ...]:
        """All that tells it from other values, but which memory it lies in."""
        return self.offset, self.shape, self.strides, self.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def dense(self) -> bool:
        """Whether its elements fill their stretch of memory in order."""
        expected = self.dtype.itemsize
        for side, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if side != 1 and stride != expected:
                return False
            expected *= side
        return True

    @property
    def whole(self) -> bool:
        """Whether it is C-contiguous and all of its memory."""
        return self.offset == 0 and self.dense and self.nbytes == self.memory.size

    def array_in(self, memory: np.ndarray) -> np.ndarray:
        """The array, in the memory that ``memory`` owns."""
        order = sorted(range(memory.ndim), key=lambda axis: -memory.strides[axis])
        # What owns memory fills it, in some order of its dimensions.
        return np.ndarray(self.shape, self.dtype, memory.transpose(order), self.offset, self.strides)

    def derived(self, number: int, **changes: Any) -> Value:
        """Another look at the same memory."""
        view = object.__new__(Value)
        view.number = number
        for name in ("memory", "shape", "dtype", "strides", "offset", "made_from"):
            setattr(view, name, changes.pop(name, getattr(self, name)))
        view.name, view.weak = "", _gone
        return view

    def flat(self, nbytes: int) -> Value:
        """So many bytes from here on, as one vector."""
        itemsize = self.dtype.itemsize
        return self.derived(self.number, shape=(nbytes // itemsize,), strides=(itemsize,))

    def __repr__(self) -> str:
        return f"<value {self.number} {self.dtype} {self.shape} in {self.memory!r}>"
