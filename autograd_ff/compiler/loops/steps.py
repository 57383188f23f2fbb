"""What is to be compiled: steps over arrays, each array known by its name, memory, shape and strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Operand", "Part", "Runtime", "Step", "dense_strides", "whole"]


@dataclass(frozen=True)
class Operand:
    """One array.

    Attributes:
        name: two operands of one name are one array.
        strides: in bytes, as NumPy has them.
        memory: what it lies in; None: memory of its own. Operands in different memories do not overlap.
        offset: of its first element in that memory, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    memory: str | None = None
    offset: int = 0


@dataclass(frozen=True)
class Runtime:
    """A number that comes with each call: ``key`` says which parameter it is (lr, step)."""

    name: str
    key: str


@dataclass(frozen=True)
class Step:
    """One op on arrays that exist. An op that writes its input has it as its first output too, under the same name."""

    op: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Elements of an operand: those that start ``start`` bytes after its first one, in this shape and these strides."""

    operand: Operand
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.operand.dtype

    @property
    def memory(self) -> str:
        return self.operand.memory or self.operand.name

    @property
    def low(self) -> int:
        """The offset in the memory of its first element."""
        return self.operand.offset + self.start

    @property
    def bounds(self) -> tuple[int, int]:
        """The first byte of the memory that it touches, and the one after the last."""
        reach = [stride * (side - 1) for stride, side in zip(self.strides, self.shape, strict=True)]
        low = self.low + sum(one for one in reach if one < 0)
        return low, self.low + sum(one for one in reach if one > 0) + self.dtype.itemsize

    def overlaps(self, other: Part) -> bool:
        if self.memory != other.memory or 0 in self.shape or 0 in other.shape:
            return False
        mine, its = self.bounds, other.bounds
        return mine[0] < its[1] and its[0] < mine[1]

    def same_elements(self, other: Part) -> bool:
        """Whether both touch the same element at the same index."""
        return (
            self.memory == other.memory
            and self.low == other.low
            and self.dtype == other.dtype
            and self.shape == other.shape
            and all(
                one == two or side == 1 for one, two, side in zip(self.strides, other.strides, self.shape, strict=True)
            )
        )

    def broadcast(self, shape: Sequence[int]) -> Part:
        """As NumPy broadcasts it: a stride of 0 where it has a side of 1 or none."""
        lead = len(shape) - len(self.shape)
        strides = [0] * lead + [
            0 if side == 1 else stride for side, stride in zip(self.shape, self.strides, strict=True)
        ]
        return Part(self.operand, tuple(shape), tuple(strides), self.start)


def whole(operand: Operand) -> Part:
    return Part(operand, operand.shape, operand.strides)


def dense_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """The strides of a C-contiguous array.

    >>> dense_strides((2, 3, 4), 4)
    (48, 16, 4)
    """
    return tuple(itemsize * math.prod(shape[position + 1 :]) for position in range(len(shape)))
