"""Where the intermediate values of a plan lie: one block of memory, which they share over time.

Before it, in the same piece, lie the gradients that outlive the call. Each is written late in a step and not read before, so
until then its memory, which of a large model is as much as the parameters', serves for what the forward pass computes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .plan import Instruction
from .values import Memory, Value

__all__ = ["ALIGNMENT", "Arena", "allocate", "join_neighbours", "lay_out_gradients"]

ALIGNMENT = 64  # bytes of a cache line


def rounded(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


# Gradients of fewer bytes have their memory for themselves: there is nothing to gain.
SHARED_FROM = 1 << 20


def lay_out_gradients(
    instructions: list[Instruction], gradients: list[Value], number: int
) -> dict[Memory, list[tuple[int, int]]]:
    """Put what stays in ``.grad`` into blocks of memory of its own.

    Gradients that an optimizer takes together lie end to end, as its parameters do, so that its update runs over one
    array.

    Returns:
        The blocks, each with the stretches (offset and size) of its gradients, whose memories it replaces.
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
    blocks: dict[Memory, list[tuple[int, int]]] = {}
    for group in groups:
        block = Memory("internal", number + len(blocks))
        block.kept = True
        blocks[block] = []
        for memory in group:
            blocks[block].append((block.size, memory.size))
            for value in looks[memory].values():
                value.memory = block
                value.offset += block.size
            block.size += memory.size
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


class Arena(NamedTuple):
    """The memory of a plan.

    Attributes:
        array: bytes; first the blocks of gradients, then what the intermediate values take beside them.
        kept: how many bytes those blocks are: offsets of intermediate values count from there, and may be negative.
        size: the bytes after them.
        apart: what the intermediate values would take without sharing.
    """

    array: np.ndarray
    kept: int
    size: int
    apart: int


def allocate(
    instructions: list[Instruction], results: list[Value], blocks: dict[Memory, list[tuple[int, int]]]
) -> Arena:
    """Give all intermediate memory its offset in one block. That of ``results`` is in use to the end.

    Args:
        blocks: of `lay_out_gradients`; they get their memory as well.
    """
    last: dict[Memory, int] = {}
    for at, one in enumerate(instructions):
        for value in (*one.reads, *one.made, *one.writes):
            last[value.memory] = at
    for value in results:
        last[value.memory] = len(instructions)
    tenants: dict[Memory, _Tenant] = {}
    total = 0
    for at, one in enumerate(instructions):
        for value in (*one.made, *one.writes):
            memory = value.memory
            if memory.kind != "internal" or memory.kept or memory in tenants:
                continue
            total += memory.size
            heir = _heirloom(one, at, value, last)
            if heir is None or heir not in tenants:
                tenants[memory] = _Tenant(at, last[memory], rounded(memory.size), [memory])
                continue
            tenant = tenants[memory] = tenants[heir]
            last[heir] = -1  # its place is given away
            tenant.stop = last[memory]
            tenant.memories.append(memory)
    starts: dict[Memory, int] = {}
    kept = 0
    for block in blocks:
        starts[block] = kept
        kept += rounded(block.size)
    standing = _standing(instructions, blocks, starts, kept) if kept >= SHARED_FROM else []
    size = _place(list(dict.fromkeys(tenants.values())), standing, -kept if standing else 0)
    array = aligned(kept + size)
    for block, start in starts.items():
        block.array = array[start : start + block.size]
    return Arena(array, kept, size, total)


def _standing(
    instructions: list[Instruction],
    blocks: dict[Memory, list[tuple[int, int]]],
    starts: dict[Memory, int],
    kept: int,
) -> list[tuple[int, int, int]]:
    """Each gradient's first byte, its end, and the instruction from which on it must be left alone: what touches it first
    is what makes it, or it would not be the plan's own."""
    first: dict[tuple[Memory, int], int] = {}
    edges = {block: [offset for offset, _ in parts] for block, parts in blocks.items()}
    for at, one in enumerate(instructions):
        for value in (*one.reads, *one.made, *one.writes):
            if value.memory in edges:
                low, high = value.bounds
                offsets = edges[value.memory]
                for offset in offsets[max(bisect_right(offsets, low) - 1, 0) : bisect_left(offsets, high)]:
                    first.setdefault((value.memory, offset), at)
    found = []
    for block, parts in blocks.items():
        start = starts[block] - kept
        for offset, size in parts:
            low = (start + offset) // ALIGNMENT * ALIGNMENT
            high = -(-(start + offset + size) // ALIGNMENT) * ALIGNMENT
            found.append((low, high, first.get((block, offset), 0)))
    return found


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


@dataclass(eq=False)
class _Tenant:
    """A stretch of the block, in use from one instruction to another, by one memory after the other."""

    start: int
    stop: int
    size: int
    memories: list[Memory]


def _place(tenants: list[_Tenant], standing: list[tuple[int, int, int]], low: int) -> int:
    """Give each an offset such that no two that live at the same time overlap; returns the bytes that they take above 0.

    The largest ones first, each into the narrowest gap that those leave who live with it: in order of time, small ones
    would cut up the room of large ones.

    Args:
        standing: what lies there already: its first byte, its end, and from which instruction on.
        low: where the room begins.
    """
    known, highest = len(standing), 0
    offsets, ends, starts, stops = np.empty((4, known + len(tenants)), np.int64)
    if standing:
        offsets[:known], ends[:known], starts[:known] = np.transpose(standing)
        stops[:known] = np.iinfo(np.int64).max
    for count, one in enumerate(sorted(tenants, key=lambda tenant: (-tenant.size, tenant.start)), start=known):
        beside = np.flatnonzero((starts[:count] <= one.stop) & (stops[:count] >= one.start))
        best, room, end = None, 0, low
        for offset, after in sorted(zip(offsets[beside].tolist(), ends[beside].tolist(), strict=True)):
            gap = offset - end
            if gap >= one.size and (best is None or gap < room):
                best, room = end, gap
            end = max(end, after)
        if best is None:
            best = end
        offsets[count], ends[count], starts[count], stops[count] = best, best + one.size, one.start, one.stop
        highest = max(highest, best + one.size)
        for memory in one.memories:
            memory.offset = best
    return highest
