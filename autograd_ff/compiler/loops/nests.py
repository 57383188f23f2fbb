"""Steps of one element at a time, merged into nests of loops.

Neighbouring assignments over the same shape share one nest, and what one computes the next has in a register. They may
as long as each element depends on elements of the same index only: where memory is written at one index and read at
another, a new nest begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .steps import Part, Runtime
from .writer import Block, Literal, Number, Program, index

__all__ = ["Assign", "Nest", "loop_order"]

# Rows whose numbers are added one after the other before their sum goes into the total of all.
BLOCK = 128

Compute = Callable[[Block, list["Number | None"]], Sequence[Number]]


@dataclass
class Assign:
    """What happens to each element: ``compute`` makes the numbers of ``writes`` from those of ``reads``.

    With ``combine``, an expression of {0} and {1}, the one write is a reduction: a part with strides of 0 along what is
    reduced, which starts as ``start`` and takes up each element.
    """

    shape: tuple[int, ...]
    reads: tuple[Any, ...]
    writes: tuple[Part, ...]
    compute: Compute
    combine: str = ""
    start: float = 0.0

    def __post_init__(self) -> None:
        self.reads = tuple(one.broadcast(self.shape) if isinstance(one, Part) else one for one in self.reads)

    @property
    def parts(self) -> list[Part]:
        return [one for one in self.reads if isinstance(one, Part)]


@dataclass
class Nest:
    """Assignments that share their loops."""

    shape: tuple[int, ...]
    assigns: list[Assign] = field(default_factory=list)
    loads: list[Part] = field(default_factory=list)  # what is read from memory

    def add(self, assign: Assign) -> bool:
        """Take an assignment in, if each element then still sees what it would see one after the other."""
        if self.assigns and not self._fits(assign):
            return False
        written = [part for one in self.assigns if not one.combine for part in one.writes]
        for read in assign.parts:
            if not any(read.same_elements(one) for one in written):
                self.loads.append(read)
        self.assigns.append(assign)
        return True

    def _fits(self, assign: Assign) -> bool:
        if assign.shape != self.shape:
            return False
        before = [(one, bool(each.combine)) for each in self.assigns for one in each.writes]
        reads = [part for each in self.assigns for part in each.parts]
        for read in assign.parts:
            if any(read.overlaps(one) and (total or not read.same_elements(one)) for one, total in before):
                return False
        for write in assign.writes:
            if any(
                write.overlaps(one) and (total or assign.combine or not write.same_elements(one))
                for one, total in [*before, *((one, False) for one in reads)]
            ):
                return False
        return True

    def emit(self, program: Program, stored: Callable[[Part], bool]) -> None:
        """Write the loops. ``stored`` says whether what is written goes to memory."""
        totals = [one for one in self.assigns if one.combine]
        everything = [part for one in self.assigns for part in (*one.parts, *one.writes)]
        order = loop_order(self.shape, [list(one.strides) for one in everything], self._leading())
        sizes = [size for size, _ in order]
        strides_of = {id(part): [each[1][position] for each in order] for position, part in enumerate(everything)}
        for one in totals:
            _start(program, one.writes[0], sizes, strides_of[id(one.writes[0])], one.start)
        if 0 in self.shape:
            return
        blocks = self._blocks(totals, sizes, strides_of)
        block = Block(program, len(sizes))
        registers: dict[Any, Number] = {}
        for assign in self.assigns:
            numbers = [self._read(block, one, registers, strides_of) for one in assign.reads]
            results = assign.compute(block, numbers)
            for part, number in zip(assign.writes, results, strict=True):
                strides = strides_of[id(part)]
                if assign.combine:
                    pointer, place = (
                        (program.scratch_pointer(part.dtype, sizes[-1], totals.index(assign)), f"i{len(sizes) - 1}")
                        if blocks
                        else (program.pointer(part.operand), index(part, strides))
                    )
                    combined = assign.combine.format(f"{pointer}[{place}]", number.text)
                    block.levels[-1].append(f"{pointer}[{place}] = {combined}")
                    block.forget()
                    continue
                registers[_key(part, strides)] = number
                if stored(part):
                    block.store(program.pointer(part.operand), index(part, strides), number)
        if blocks:
            self._emit_blocks(program, block, totals, sizes, strides_of)
        else:
            block.emit(sizes)

    def _leading(self) -> tuple[int, ...]:
        """The strides that decide the order of the loops: those of what is written in full, else of what is read."""
        full = [part for one in self.assigns if not one.combine for part in one.writes]
        full += [part for one in self.assigns for part in one.parts if 0 not in part.strides]
        return full[0].strides if full else tuple(range(len(self.shape), 0, -1))

    def _read(self, block: Block, one: Any, registers: dict[Any, Number], strides_of: dict[int, list[int]]) -> Any:
        if one is None:
            return None
        if isinstance(one, Runtime):
            return block.program.number(one)
        if not isinstance(one, Part):
            return Literal(one)
        strides = strides_of[id(one)]
        key = _key(one, strides)
        if key not in registers:
            level = max((position + 1 for position, stride in enumerate(strides) if stride), default=0)
            text = f"{block.program.pointer(one.operand)}[{index(one, strides)}]"
            registers[key] = block.let(f"{text} != 0" if one.dtype == bool else text, one.dtype, level)
        return registers[key]

    def _blocks(self, totals: list[Assign], sizes: list[int], strides_of: dict[int, list[int]]) -> bool:
        """Whether the sums are made in blocks of rows: of many rows, one sum after the other would lose digits."""
        return (
            bool(totals)
            and len(sizes) == 2
            and sizes[0] > BLOCK
            and all(strides_of[id(one.writes[0])][0] == 0 and strides_of[id(one.writes[0])][1] for one in totals)
        )

    def _emit_blocks(
        self, program: Program, block: Block, totals: list[Assign], sizes: list[int], strides_of: dict[int, list[int]]
    ) -> None:
        rows, columns = sizes
        outside, row, element = block.levels
        lines = program.lines
        lines += [f"    {one}" for one in outside]
        lines.append(f"    for first in range(0, {program.size(rows)}, {BLOCK}):")
        partial = [program.scratch_pointer(one.writes[0].dtype, columns, k) for k, one in enumerate(totals)]
        lines.append(f"        for i1 in range({program.size(columns)}):")
        for pointer, one in zip(partial, totals, strict=True):
            lines.append(f"            {pointer}[i1] = {program.constant(one.start, one.writes[0].dtype)}")
        lines.append(f"        for i0 in range(first, min(first + {BLOCK}, {program.size(rows)})):")
        lines += [f"            {one}" for one in row]
        lines.append(f"            for i1 in range({program.size(columns)}):")
        lines += [f"                {one}" for one in element]
        lines.append(f"        for i1 in range({program.size(columns)}):")
        for pointer, one in zip(partial, totals, strict=True):
            part = one.writes[0]
            target = f"{program.pointer(part.operand)}[{index(part, strides_of[id(part)])}]"
            lines.append(f"            {target} = {one.combine.format(target, f'{pointer}[i1]')}")


def _key(part: Part, strides: list[int]) -> tuple[Any, ...]:
    return part.memory, part.low, part.dtype, tuple(strides)


def _start(program: Program, part: Part, sizes: list[int], strides: list[int], value: float) -> None:
    """Fill a total with what it starts from."""
    kept = [(size, stride) for size, stride in zip(sizes, strides, strict=True) if stride]
    indent = "    "
    for position, (size, _) in enumerate(kept):
        program.lines.append(f"{indent}for i{position} in range({program.size(size)}):")
        indent += "    "
    place = index(part, [stride for _, stride in kept])
    program.lines.append(f"{indent}{program.pointer(part.operand)}[{place}] = {program.constant(value, part.dtype)}")


def loop_order(shape: Sequence[int], strides: list[list[int]], leading: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Loops from the outermost in: (size, the stride of each operand). Loops that are one in memory become one.

    >>> loop_order((2, 3), [[12, 4], [12, 4]], (12, 4))
    [(6, [4, 4])]
    >>> loop_order((2, 3), [[12, 4], [0, 4]], (12, 4))
    [(2, [12, 0]), (3, [4, 4])]
    """
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    axes.sort(key=lambda axis: -abs(leading[axis]))
    loops: list[tuple[int, list[int]]] = []
    for axis in axes:
        size, steps = shape[axis], [one[axis] for one in strides]
        if loops and all(outer == step * size for outer, step in zip(loops[-1][1], steps, strict=True)):
            loops[-1] = (loops[-1][0] * size, steps)
        else:
            loops.append((size, steps))
    return loops
