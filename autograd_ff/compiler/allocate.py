"""Where the intermediate values of a plan lie: one block of memory, which they share over time."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

import numpy as np

from .plan import Instruction
from .values import Memory, Value

__all__ = ["ALIGNMENT", "allocate", "join_neighbours", "lay_out_gradients"]

ALIGNMENT = 64  # bytes of a cache line


def rounded(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


def lay_out_gradients(instructions: list[Instruction], gradients: list[Value], number: int) -> list[Memory]:
    """Put what stays in ``.grad`` into blocks of memory of its own.

    Gradients that an optimizer takes together lie end to end, as its parameters do, so that its update runs over one
    array.

    Returns:
        The blocks; the memories of the gradients are replaced by them.
    """
    waiting = {value.memory: value for value in gradients if value.memory.kind == "internal"}
    looks: dict[Memory, dict[int, Value]] = {memory: {} for memory in waiting}
    for one in instructions:
        for value in (*one.reads, *one.made, *one.writes):
            if value.memory in looks:
                looks[value.memory][id(value)] = value
    for value in gradients:
        if value.memory in looks:
            looks[value.memory][id(value)] = value
    groups: list[list[Memory]] = []
    for one in instructions:
        taken = [value for value in one.inputs if isinstance(value, Value) and value.memory in waiting and value.whole]
        group = [value.memory for value in taken if value.dtype == taken[0].dtype]
        for memory in group:
            waiting.pop(memory, None)
        if group:
            groups.append(group)
    groups += [[memory] for memory in waiting]
    blocks: list[Memory] = []
    for group in groups:
        block = Memory("internal", number + len(blocks))
        block.kept = True
        for memory in group:
            for value in looks[memory].values():
                value.memory = block
                value.offset += block.size
            block.size += memory.size
        block.array = aligned(block.size)
        blocks.append(block)
    return blocks


def aligned(size: int) -> np.ndarray:
    """Zeroed bytes that start at a cache line: unlike ``empty`` ones they hold no NaN that a careless sum could meet."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start : start + size]


def join_neighbours(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Operands with those that lie end to end as one flat value."""
    joined: list[Any] = []
    for value in values:
        before = joined[-1] if joined else None
        if (
            isinstance(value, Value) and isinstance(before, Value) and value.memory is before.memory
            and value.memory.kept and value.dtype == before.dtype and value.dense and before.dense
            and before.offset + before.nbytes == value.offset
        ):  # fmt: skip
            joined[-1] = before.flat(before.nbytes + value.nbytes)
        else:
            joined.append(value)
    return tuple(joined)


def allocate(instructions: list[Instruction], results: list[Value]) -> tuple[int, int]:
    """Give all intermediate memory its offset in one block. That of ``results`` is in use to the end.

    Returns:
        The bytes of the block, and what they would take without sharing.
    """
    last: dict[Memory, int] = {}
    for at, one in enumerate(instructions):
        for value in (*one.reads, *one.made, *one.writes):
            last[value.memory] = at
    for value in results:
        last[value.memory] = len(instructions)
    ending: dict[int, list[Memory]] = {}
    for memory, at in last.items():
        if memory.kind == "internal" and not memory.kept:
            ending.setdefault(at, []).append(memory)
    block = _Block()
    placed: set[Memory] = set()
    total = 0
    for at, one in enumerate(instructions):
        for value in (*one.made, *one.writes):
            memory = value.memory
            if memory.kind != "internal" or memory.kept or memory in placed:
                continue
            placed.add(memory)
            total += memory.size
            heir = _heirloom(one, at, value, last)
            if heir is not None:
                memory.offset = heir.offset
                ending[at].remove(heir)
            else:
                memory.offset = block.take(rounded(memory.size))
        for memory in ending.get(at, ()):
            if memory in placed:
                block.give_back(memory.offset, rounded(memory.size))
    return block.end, total


def _heirloom(one: Instruction, at: int, value: Value, last: dict[Memory, int]) -> Memory | None:
    """The memory of an input that ends here and whose place the output can take, element by element."""
    if not one.elementwise:
        return None
    for source in one.reads:
        memory = source.memory
        if memory.kind != "internal" or memory.kept or last[memory] != at or memory is value.memory:
            continue
        if source.geometry != value.geometry or memory.size != value.memory.size:
            continue
        if all(other.memory is not memory or other.geometry == source.geometry for other in one.reads):
            return memory
    return None


class _Block:
    """Hands out stretches of a block that grows, the best-fitting free one first."""

    def __init__(self) -> None:
        self.end = 0
        self._free: list[tuple[int, int]] = []  # (offset, size), in order

    def take(self, size: int) -> int:
        fitting = [stretch for stretch in self._free if stretch[1] >= size]
        if not fitting:
            offset = self.end
            if self._free and sum(self._free[-1]) == self.end:  # the last free stretch, made longer
                offset, _ = self._free.pop()
            self.end = offset + size
            return offset
        best = min(fitting, key=lambda stretch: stretch[1])
        self._free.remove(best)
        if best[1] > size:
            insort(self._free, (best[0] + size, best[1] - size))
        return best[0]

    def give_back(self, offset: int, size: int) -> None:
        at = bisect_left(self._free, (offset, size))
        if at < len(self._free) and self._free[at][0] == offset + size:
            size += self._free.pop(at)[1]
        if at and sum(self._free[at - 1]) == offset:
            before = self._free.pop(at - 1)
            offset, size = before[0], before[1] + size
        insort(self._free, (offset, size))
