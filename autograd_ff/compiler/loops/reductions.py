"""Sums, means and largest numbers over some axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .expressions import READ
from .nests import Assign, loop_order
from .steps import Operand, Part, Step, whole
from .writer import BOOL, Block, Number, Program, index

__all__ = ["REDUCTIONS", "forms", "is_supported"]

REDUCTIONS = {
    "sum": None, "add.reduce": 0, "mean": None, "column_sum": 0, "row_sum": -1, "amax": None, "amin": None,
    "maximum.reduce": 0, "minimum.reduce": 0,
}  # fmt: skip


class LineReduction:
    """A reduction whose innermost loop goes along what is reduced: line by line."""

    def __init__(self, step: Step, target: Part) -> None:
        self.step, self.target = step, target
        self.source = whole(step.inputs[0])
        self.parts, self.writes = [self.source], [target]

    def emit(self, program: Program) -> None:
        source, target, op = self.source, self.target, self.step.op
        loops = loop_order(source.shape, [list(source.strides), list(target.strides)], source.strides)
        kept = [one for one in loops if one[1][1]]
        reduced = [one for one in loops if not one[1][1]]
        order = [*kept, *reduced[:-1]]
        line, (line_stride, _) = reduced[-1] if reduced else (1, (0, 0))
        dtype, lines, indent = source.dtype, program.lines, "    "
        step = line_stride // dtype.itemsize
        summing = op in ("sum", "add.reduce", "mean", "column_sum", "row_sum")
        wide = np.dtype(np.float64) if dtype.kind == "f" else np.dtype(np.int64)
        pointer, result = program.pointer(source.operand), program.pointer(target.operand)

        def opened(at: int) -> None:
            nonlocal indent
            lines.append(f"{indent}for i{at} in range({program.size(order[at][0])}):")
            indent += "    "

        for position in range(len(kept)):
            opened(position)
        outer = indent
        start = "0.0" if summing and wide.kind == "f" else "0"
        if not summing:
            start = program.constant(_lowest(op), dtype)
        lines.append(f"{outer}total = {start}")
        for position in range(len(kept), len(order)):
            opened(position)
        place = index(source, [strides[0] for _, strides in order])
        if summing and dtype.kind == "f":
            lines.append(
                f"{indent}total += {program.helper('wide_sum_line')}({pointer}, {place}, {step}, {program.size(line)})"
            )
        else:
            lines.append(f"{indent}for k in range({program.size(line)}):")
            lines.append(f"{indent}    v = {pointer}[{place} + k * {step}]")
            if summing:
                lines.append(f"{indent}    total += np.int64(v)")
            else:
                sign = ">" if _is_largest(op) else "<"
                lines.append(f"{indent}    total = v if (v {sign} total) | (v != v) else total")
        value = "total"
        if op == "mean":
            number = math.prod(size for size, _ in reduced)
            value = f"total / {number}"
        place = index(target, [strides[1] for _, strides in kept])
        lines.append(f"{outer}{result}[{place}] = np.{target.dtype.name}({value})")


def _lowest(op: str) -> float:
    return -math.inf if _is_largest(op) else math.inf


def _is_largest(op: str) -> bool:
    return op in ("amax", "maximum.reduce")


def _axes(step: Step) -> tuple[int, ...]:
    ndim = len(step.inputs[0].shape)
    axis = step.params.get("axis", REDUCTIONS[step.op])
    if axis is None:
        return tuple(range(ndim))
    return tuple(one % ndim for one in (axis if isinstance(axis, tuple) else (axis,))) if ndim else ()


def _target(step: Step) -> Part:
    """The output, aligned with the input: strides of 0 along what is reduced."""
    x, out = step.inputs[0], step.outputs[0]
    axes = _axes(step)
    given = iter(out.strides)
    keepdims = len(out.shape) == len(x.shape)
    strides = []
    for axis in range(len(x.shape)):
        if axis in axes:
            strides.append(0)
            if keepdims:
                next(given)
        else:
            strides.append(next(given))
    return Part(out, x.shape, tuple(strides))


def is_supported(step: Step) -> bool:
    if len(step.inputs) != 1 or len(step.outputs) != 1:
        return False
    x, out = step.inputs[0], step.outputs[0]
    if not isinstance(x, Operand) or not isinstance(out, Operand) or 0 in x.shape or not x.shape:
        return False
    if x.dtype not in READ or step.params.get("dtype") not in (None, out.dtype):
        return False
    if x.dtype.kind == "f":
        return out.dtype == x.dtype
    # Whole numbers: their sums only
    return step.op in ("sum", "add.reduce") and out.dtype == np.dtype(np.int64)


def forms(step: Step) -> list[Any]:
    """A reduction along lines, or, where the lines are kept, an assignment that merges with what made its input."""
    x, target = step.inputs[0], _target(step)
    loops = loop_order(x.shape, [list(x.strides), list(target.strides)], x.strides)
    if not loops or not loops[-1][1][1]:
        return [LineReduction(step, target)]
    if step.op in ("amax", "maximum.reduce"):
        combine = "{1} if ({1} > {0}) | ({1} != {1}) else {0}"
    elif step.op in ("amin", "minimum.reduce"):
        combine = "{1} if ({1} < {0}) | ({1} != {1}) else {0}"
    else:
        combine = "{0} + {1}"
    start = 0.0 if combine == "{0} + {1}" else _lowest(step.op)
    made = [Assign(x.shape, (whole(x),), (target,), _as(target.dtype), combine, start)]
    if step.op == "mean":
        out = whole(step.outputs[0])
        number = math.prod(x.shape) // max(math.prod(out.shape), 1)
        made.append(Assign(out.shape, (out,), (out,), _divide(number)))
    return made


def _as(dtype: np.dtype[Any]) -> Callable[[Block, list[Any]], list[Number]]:
    def compute(block: Block, numbers: list[Any]) -> list[Number]:
        (number,) = numbers
        if number.dtype == BOOL:
            return [block.convert(number, dtype)]
        return [block.convert(number, dtype)]

    return compute


def _divide(number: int) -> Callable[[Block, list[Any]], list[Number]]:
    def compute(block: Block, numbers: list[Any]) -> list[Number]:
        (total,) = numbers
        divisor = block.program.constant(number, total.dtype)
        return [block.let(f"{total.text} / {divisor}", total.dtype, total.level)]

    return compute
