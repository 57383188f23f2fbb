"""Small matrix products, for which a call to BLAS costs more than its work."""

from __future__ import annotations

import math

from .steps import Operand, Part, Step
from .writer import Program

__all__ = ["Product", "is_supported", "product"]

# Multiplications up to which loops are used.
MOST = 1 << 16


class Product:
    """``out = left @ right (+ bias)``, for matrices given by their parts, shape (n, k) and (k, m)."""

    def __init__(self, out: Part, left: Part, right: Part, bias: Part | None) -> None:
        self.out, self.left, self.right, self.bias = out, left, right, bias
        self.parts = [one for one in (left, right, bias) if one is not None]
        self.writes = [out]

    def emit(self, program: Program) -> None:
        out, left, right, bias = self.out, self.left, self.right, self.bias
        size = out.dtype.itemsize
        unit = [stride == size or side == 1 for stride, side in zip(out.strides, out.shape, strict=True)]
        if bias is None and unit[0] and not unit[1]:  # outᵀ = rightᵀ leftᵀ, whose rows lie in one piece
            out, left, right = (
                Part(one.operand, one.shape[::-1], one.strides[::-1], one.start) for one in (out, right, left)
            )
        (rows, inner), columns = left.shape, right.shape[1]
        target, first, second = (program.pointer(one.operand) for one in (out, left, right))

        def at(part: Part, one: str, two: str) -> str:
            terms = [str(part.start // size)] if part.start else []
            for variable, stride in zip((one, two), part.strides, strict=True):
                if variable and stride:
                    terms.append(variable if stride == size else f"{variable} * {stride // size}")
            return " + ".join(terms) or "0"

        lines = program.lines
        zero = program.constant(0, out.dtype)
        add = (
            f" + {program.pointer(bias.operand)}[{at(Part(bias.operand, (1, columns), (0, *bias.strides)), '', 'j')}]"
            if bias
            else ""
        )
        lines.append(f"    for i in range({program.size(rows)}):")
        if not inner or (
            right.strides[0] == size and right.strides[1] != size and left.strides[1] == size and inner > 1
        ):
            line = program.helper("dot_line")
            lines.append(f"        for j in range({program.size(columns)}):")
            lines.append(
                f"            {target}[{at(out, 'i', 'j')}] = {line}({first}, {at(left, 'i', '')}, {left.strides[1] // size}, "
                f"{second}, {at(right, '', 'j')}, {right.strides[0] // size}, {program.size(inner)}, {zero}){add}"
            )
            return
        lines.append(f"        x = {first}[{at(left, 'i', '')}]")
        lines.append(f"        for j in range({program.size(columns)}):")
        lines.append(f"            {target}[{at(out, 'i', 'j')}] = x * {second}[{at(right, '', 'j')}]{add}")
        if inner > 1:
            lines.append(f"        for k in range(1, {program.size(inner)}):")
            lines.append(f"            x = {first}[{at(left, 'i', 'k')}]")
            lines.append(f"            for j in range({program.size(columns)}):")
            place = f"{target}[{at(out, 'i', 'j')}]"
            lines.append(f"                {place} = {place} + x * {second}[{at(right, 'k', 'j')}]")


def _matrix(operand: Operand, left: bool) -> Part:
    """An operand of matmul, a vector standing for a row on the left and for a column on the right."""
    if len(operand.shape) == 2:
        return Part(operand, operand.shape, operand.strides)
    shape, strides = operand.shape, operand.strides
    return Part(operand, (1, *shape), (0, *strides)) if left else Part(operand, (*shape, 1), (*strides, 0))


def is_supported(step: Step) -> bool:
    arrays = [one for one in (*step.inputs, *step.outputs) if one is not None]
    if not all(isinstance(one, Operand) for one in arrays) or len(step.outputs) != 1:
        return False
    out = step.outputs[0]
    if out.dtype.kind != "f" or out.dtype.itemsize < 4 or any(one.dtype != out.dtype for one in arrays):
        return False
    one, two = step.inputs[:2]
    if step.op == "linear":
        if len(two.shape) != 2 or len(one.shape) not in (1, 2):
            return False
        inner, columns = one.shape[-1], two.shape[0]
        rows = math.prod(one.shape[:-1])
    else:
        if not (1 <= len(one.shape) <= 2 and 1 <= len(two.shape) <= 2):
            return False
        inner, rows = one.shape[-1], math.prod(one.shape[:-1])
        columns = two.shape[1] if len(two.shape) == 2 else 1
    return 0 < rows * inner * columns <= MOST


def product(step: Step) -> Product:
    one, two = step.inputs[:2]
    out = step.outputs[0]
    left = _matrix(one, True)
    right = Part(two, two.shape[::-1], two.strides[::-1]) if step.op == "linear" else _matrix(two, False)
    bias = step.inputs[2] if step.op == "linear" and len(step.inputs) > 2 else None
    shape, strides = list(out.shape), list(out.strides)
    if len(one.shape) == 1:
        shape.insert(0, 1)
        strides.insert(0, 0)
    if step.op == "matmul" and len(two.shape) == 1:
        shape.append(1)
        strides.append(0)
    result = Part(out, tuple(shape), tuple(strides))
    return Product(result, left, right, None if bias is None else Part(bias, bias.shape, bias.strides))
