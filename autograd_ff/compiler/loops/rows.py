"""Ops that work row by row: softmax, cross-entropy, the normalisations, and reductions along rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .nests import BLOCK
from .steps import Operand, Part, Step, whole
from .writer import F32, Program

__all__ = ["ROWS", "Region", "Rows", "region", "is_supported"]

# Classes up to which cross-entropy works on several rows at once, and how many: the lanes of a vector register. It takes
# a few rows for the lanes to be worth filling.
FEW_CLASSES = 32
LANES = 16
FEWEST_ROWS = 4


@dataclass(frozen=True)
class Rows:
    """An operand as a matrix: ``width`` numbers a row, strides counted in numbers."""

    operand: Operand
    count: int
    width: int
    row: int
    step: int

    @property
    def flat(self) -> bool:
        return self.step == 1 and self.row == self.width

    def start(self, i: str) -> str:
        return f"{i} * {self.row}" if self.row != 1 else i

    def at(self, i: str, j: str) -> str:
        return f"{self.start(i)} + {j}" if self.step == 1 else f"{self.start(i)} + {j} * {self.step}"


def rows_of(operand: Any, dims: int) -> Rows | None:
    """The operand with its last ``dims`` dimensions as a row; None where memory does not allow it."""
    if not isinstance(operand, Operand) or len(operand.shape) < dims:
        return None
    split = len(operand.shape) - dims
    size = operand.dtype.itemsize
    found = []
    for shape, strides in (
        (operand.shape[:split], operand.strides[:split]),
        (operand.shape[split:], operand.strides[split:]),
    ):
        count, step = 1, 0
        for side, stride in reversed(list(zip(shape, strides, strict=True))):
            if side == 1:
                continue
            if step and stride != step * count:
                return None
            step = step or stride
            count *= side
        found.append((count, step // size))
    (count, row), (width, step) = found
    return Rows(operand, count, width, row, step or 1)


class Region:
    """Lines of their own, between nests."""

    def __init__(self, reads: list[Any], writes: list[Any], emit: Callable[[Program], None]) -> None:
        self.parts: list[Part] = [whole(one) for one in reads if isinstance(one, Operand)]
        self.writes: list[Part] = [whole(one) for one in writes if isinstance(one, Operand)]
        self.emit = emit


def _floats(*operands: Any) -> bool:
    present = [one for one in operands if one is not None]
    return all(
        isinstance(one, Operand) and one.dtype.kind == "f" and one.dtype.itemsize >= 4 and one.dtype == present[0].dtype
        for one in present
    ) and not any(0 in one.shape for one in present)


def _exp(program: Program, dtype: np.dtype[Any]) -> str:
    return program.helper("exp_f32") if dtype == F32 else "math.exp"


def _log(program: Program, dtype: np.dtype[Any]) -> str:
    return program.helper("log_f32") if dtype == F32 else "np.log"  # math.log raises at 0


def _max(program: Program, dtype: np.dtype[Any]) -> str:
    return program.helper("max_line_f32" if dtype == F32 else "max_line_f64")


# ---------------------------------------------------------------- cross-entropy


def _entropy_is_supported(step: Step) -> bool:
    logits, target = step.inputs[:2]
    loss, *others = step.outputs
    return (
        _floats(logits, loss, *others)
        and isinstance(target, Operand)
        and target.dtype in (np.dtype(np.int64), np.dtype(np.int32))
        and len(logits.shape) == 2
    )


_OUT_OF_RANGE = 'raise IndexError("cross_entropy: a class index is out of range")'


def _class_of(program: Program, target: Operand, i: str, classes: int, indent: str) -> list[str]:
    """Lines that leave the row's class in ``c``; what is out of range must not be written to."""
    step = target.strides[0] // target.dtype.itemsize
    return [
        f"{indent}c = np.int64({program.pointer(target)}[({i}) * {step}])",
        f"{indent}c = c + {classes} if c < 0 else c",
        f"{indent}if c < 0 or c >= {classes}:",
        f"{indent}    {_OUT_OF_RANGE}",
    ]


def _entropy(step: Step) -> Region:
    logits, target = step.inputs[:2]
    loss = step.outputs[0]
    logsumexp = step.outputs[1] if len(step.outputs) > 1 else None
    reduction = step.params.get("reduction", "none")
    x = rows_of(logits, 1)
    assert x is not None
    dtype = logits.dtype

    def finish(program: Program, i: str, log: str, top: str, indent: str) -> list[str]:
        lines = _class_of(program, target, i, x.width, indent)
        lines.append(f"{indent}row_loss = {log} - ({program.pointer(logits)}[{x.at(f'({i})', 'c')}] - {top})")
        if reduction == "none":
            step_ = loss.strides[0] // dtype.itemsize
            lines.append(f"{indent}{program.pointer(loss)}[({i}) * {step_}] = row_loss")
        else:
            lines.append(f"{indent}total += np.float64(row_loss)")
        if logsumexp is not None:
            step_ = logsumexp.strides[0] // dtype.itemsize
            lines.append(f"{indent}{program.pointer(logsumexp)}[({i}) * {step_}] = {log} + {top}")
        return lines

    def emit(program: Program) -> None:
        source = program.pointer(logits)
        exp, log = _exp(program, dtype), _log(program, dtype)
        zero = program.constant(0, dtype)
        lines = program.lines
        lines.append("    total = 0.0")
        if x.width <= FEW_CLASSES and x.count >= FEWEST_ROWS:
            shifted = program.scratch_pointer(dtype, x.width * LANES, 0)
            top, total = (program.scratch_pointer(dtype, LANES, which) for which in (1, 2))
            last = x.count - 1
            lines += [
                f"    for first in range(0, {program.size(x.count)}, {LANES}):",
                f"        for j in range({program.size(x.width)}):",
                f"            for k in range({program.size(LANES)}):",
                f"                i = min(first + k, {last})",
                f"                {shifted}[j * {LANES} + k] = {source}[{x.at('i', 'j')}]",
                f"        for k in range({program.size(LANES)}):",
                f"            {top}[k] = {shifted}[k]",
                f"            {total}[k] = {zero}",
                f"        for j in range(1, {program.size(x.width)}):",
                f"            for k in range({program.size(LANES)}):",
                f"                v = {shifted}[j * {LANES} + k]",
                f"                {top}[k] = v if v > {top}[k] else {top}[k]",
                f"        for j in range({program.size(x.width)}):",
                f"            for k in range({program.size(LANES)}):",
                f"                {total}[k] = {total}[k] + {exp}({shifted}[j * {LANES} + k] - {top}[k])",
                f"        for k in range({program.size(LANES)}):",
                f"            {total}[k] = {log}({total}[k])",
                f"        for k in range(min({LANES}, {program.size(x.count)} - first)):",
                *finish(program, "first + k", f"{total}[k]", f"{top}[k]", "            "),
            ]
        else:
            line = program.scratch_pointer(dtype, x.width, 0)
            lines += [
                f"    for i in range({program.size(x.count)}):",
                f"        top = {_max(program, dtype)}({source}, {x.start('i')}, {x.step}, {program.size(x.width)})",
                f"        for j in range({program.size(x.width)}):",
                f"            {line}[j] = {exp}({source}[{x.at('i', 'j')}] - top)",
                f"        log = {log}({program.helper('sum_line')}({line}, 0, 1, {program.size(x.width)}, {zero}))",
                *finish(program, "i", "log", "top", "        "),
            ]
        if reduction != "none":
            share = f"total / {x.count}" if reduction == "mean" else "total"
            lines.append(f"    {program.pointer(loss)}[0] = np.{dtype.name}({share})")

    return Region([logits, target], [loss, logsumexp], emit)


def _entropy_backward_is_supported(step: Step) -> bool:
    g, logits, target, logsumexp = step.inputs
    if not isinstance(g, (Operand, int, float)):
        return False
    return (
        _floats(logits, logsumexp, step.outputs[0], *([g] if isinstance(g, Operand) else []))
        and isinstance(target, Operand)
        and target.dtype in (np.dtype(np.int64), np.dtype(np.int32))
        and (step.params.get("reduction") != "none" or isinstance(g, Operand))
    )


def _entropy_backward(step: Step) -> Region:
    g, logits, target, logsumexp = step.inputs
    gradient = step.outputs[0]
    reduction = step.params.get("reduction", "none")
    x, out = rows_of(logits, 1), rows_of(gradient, 1)
    assert x is not None
    assert out is not None
    dtype = logits.dtype
    size = dtype.itemsize

    def emit(program: Program) -> None:
        source, result = program.pointer(logits), program.pointer(gradient)
        exp, lines = _exp(program, dtype), program.lines
        log = f"{program.pointer(logsumexp)}[i * {logsumexp.strides[0] // size}]"
        each = reduction == "none"
        if each:
            scale = f"{program.pointer(g)}[i * {g.strides[0] // size}]"
        else:
            value = f"{program.pointer(g)}[0]" if isinstance(g, Operand) else program.constant(g, dtype)
            share = f"{value} / {program.constant(x.count, dtype)}" if reduction == "mean" else value
            lines.append(f"    scale = {share}")
            scale = "scale"
        if out.flat and not each:
            lines += [
                f"    for i in range({program.size(x.count)}):",
                f"        log = {log}",
                f"        for j in range({program.size(x.width)}):",
                f"            {result}[{out.at('i', 'j')}] = {source}[{x.at('i', 'j')}] - log",
                f"    for k in range({program.size(x.count * x.width)}):",
                f"        {result}[k] = {exp}({result}[k]) * scale",
            ]
        else:
            lines += [
                f"    for i in range({program.size(x.count)}):",
                f"        log = {log}",
                f"        factor = {scale}",
                f"        for j in range({program.size(x.width)}):",
                f"            {result}[{out.at('i', 'j')}] = {exp}({source}[{x.at('i', 'j')}] - log) * factor",
            ]
        lines.append(f"    for i in range({program.size(x.count)}):")
        lines += _class_of(program, target, "i", x.width, "        ")
        place = f"{result}[{out.at('i', 'c')}]"
        lines.append(f"        {place} = {place} - {scale}")

    return Region([g, logits, target, logsumexp], [gradient], emit)


# ---------------------------------------------------------------- softmax


def _softmax_is_supported(step: Step) -> bool:
    (x,), (out,) = step.inputs, step.outputs
    axis = step.params.get("axis", -1)
    return (
        _floats(x, out)
        and isinstance(axis, int)
        and len(x.shape) > 0
        and axis in (-1, len(x.shape) - 1)
        and rows_of(x, 1) is not None
        and rows_of(out, 1) is not None
    )


def _softmax(step: Step) -> Region:
    (given,), (made,) = step.inputs, step.outputs
    x, out = rows_of(given, 1), rows_of(made, 1)
    assert x is not None
    assert out is not None
    dtype = given.dtype

    def emit(program: Program) -> None:
        source, result = program.pointer(given), program.pointer(made)
        exp = _exp(program, dtype)
        line = program.scratch_pointer(dtype, x.width, 0)
        total = f"{program.helper('sum_line')}({line}, 0, 1, {program.size(x.width)}, {program.constant(0, dtype)})"
        program.lines += [
            f"    for i in range({program.size(x.count)}):",
            f"        top = {_max(program, dtype)}({source}, {x.start('i')}, {x.step}, {program.size(x.width)})",
            f"        for j in range({program.size(x.width)}):",
            f"            {line}[j] = {exp}({source}[{x.at('i', 'j')}] - top)",
        ]
        if step.op == "softmax":
            program.lines += [
                f"        total = {total}",
                f"        for j in range({program.size(x.width)}):",
                f"            {result}[{out.at('i', 'j')}] = {line}[j] / total",
            ]
        else:
            program.lines += [
                f"        log = {_log(program, dtype)}({total})",
                f"        for j in range({program.size(x.width)}):",
                f"            {result}[{out.at('i', 'j')}] = ({source}[{x.at('i', 'j')}] - top) - log",
            ]

    return Region([given], [made], emit)


# ---------------------------------------------------------------- normalisation


def _vector(operand: Any) -> bool:
    """Whether a parameter, or the room for its gradient, lies in one piece."""
    rows = rows_of(operand, len(operand.shape)) if isinstance(operand, Operand) else None
    return operand is None or (rows is not None and rows.step == 1)


def _norm_is_supported(step: Step) -> bool:
    dims = step.params.get("dims", 1)
    x, *parameters = step.inputs
    out = step.outputs[0]
    matrices = [rows_of(one, dims) for one in (x, out)]
    return (
        _floats(x, *parameters, *step.outputs)
        and isinstance(step.params.get("eps", 1e-5), (int, float))
        and all(one is not None and one.step == 1 for one in matrices)
        and all(_vector(one) for one in (*parameters, *step.outputs[1:]))
    )


def _norm(step: Step) -> Region:
    centred = step.op == "layer_norm"
    given, weight, *rest = (*step.inputs, None, None)
    bias = rest[0] if centred else None
    made = step.outputs[0]
    mean = step.outputs[1] if centred and len(step.outputs) > 1 else None
    rstd = step.outputs[-1] if len(step.outputs) > 1 else None
    dims, eps = step.params.get("dims", 1), step.params.get("eps", 1e-5)
    x, out = rows_of(given, dims), rows_of(made, dims)
    assert x is not None
    assert out is not None
    dtype = given.dtype

    def emit(program: Program) -> None:
        source, result = program.pointer(given), program.pointer(made)
        zero, width = program.constant(0, dtype), program.constant(x.width, dtype)
        lines = program.lines
        lines.append(f"    for i in range({program.size(x.count)}):")
        middle = zero
        if centred:
            sums = program.helper("sum_line")
            lines.append(f"        middle = {sums}({source}, {x.start('i')}, 1, {x.width}, {zero}) / {width}")
            middle = "middle"
        squares = (
            f"{program.helper('squares_line')}({source}, {x.start('i')}, 1, {program.size(x.width)}, {middle}, {zero})"
        )
        one = program.constant(1, dtype)
        lines.append(f"        scale = {one} / np.sqrt({squares} / {width} + {program.constant(eps, dtype)})")
        value = f"({source}[{x.at('i', 'j')}] - middle) * scale" if centred else f"{source}[{x.at('i', 'j')}] * scale"
        if weight is not None:
            value += f" * {program.pointer(weight)}[j]"
        if bias is not None:
            value += f" + {program.pointer(bias)}[j]"
        lines.append(f"        for j in range({program.size(x.width)}):")
        lines.append(f"            {result}[{out.at('i', 'j')}] = {value}")
        if mean is not None:
            lines.append(f"        {program.pointer(mean)}[i] = middle")
        if rstd is not None:
            lines.append(f"        {program.pointer(rstd)}[i] = scale")

    return Region([given, weight, bias], [made, mean, rstd], emit)


def _norm_backward_is_supported(step: Step) -> bool:
    dims = step.params.get("dims", 1)
    g, x, weight, *others = step.inputs
    gradient, *of_parameters = step.outputs
    statistics = others[1:] if step.op == "layer_norm.backward" else others
    matrices = [rows_of(one, dims) for one in (g, x, gradient) if one is not None]
    return (
        _floats(g, x, weight, *others, *step.outputs)
        and all(one is not None and one.step == 1 for one in matrices)
        and all(_vector(one) for one in (weight, *statistics, *of_parameters))
    )


def _norm_backward(step: Step) -> Region:
    centred = step.op == "layer_norm.backward"
    if centred:
        upstream, given, weight, _, mean, rstd = step.inputs
        made, of_weight, of_bias = (*step.outputs, None, None)[:3]
    else:
        upstream, given, weight, rstd = step.inputs
        mean, (made, of_weight) = None, (*step.outputs, None)[:2]
        of_bias = None
    dims = step.params.get("dims", 1)
    g, x = rows_of(upstream, dims), rows_of(given, dims)
    out = None if made is None else rows_of(made, dims)
    assert x is not None
    assert g is not None
    dtype = given.dtype

    def emit(program: Program) -> None:
        up, source = program.pointer(upstream), program.pointer(given)
        zero, width = program.constant(0, dtype), program.constant(x.width, dtype)
        lines = program.lines
        totals = [
            (program.pointer(one), program.scratch_pointer(dtype, x.width, which), scaled)
            for which, (one, scaled) in enumerate(((of_weight, True), (of_bias, False)))
            if one is not None
        ]
        for target, _, _ in totals:
            lines += [f"    for j in range({program.size(x.width)}):", f"        {target}[j] = {zero}"]
        lines.append(f"    for first in range(0, {program.size(x.count)}, {BLOCK}):")
        for _, partial, _ in totals:
            lines += [f"        for j in range({program.size(x.width)}):", f"            {partial}[j] = {zero}"]
        lines.append(f"        for i in range(first, min(first + {BLOCK}, {program.size(x.count)})):")
        lines.append(f"            scale = {program.pointer(rstd)}[i]")
        middle = zero
        if centred:
            lines.append(f"            middle = {program.pointer(mean)}[i]")
            middle = "middle"
        if out is not None:
            h = f"{up}[{g.at('i', 'j')}]"
            begin = f"{up}, {g.start('i')}, {source}, {x.start('i')}"
            if weight is None:
                sums = f"{program.helper('norm_sums')}({begin}, {program.size(x.width)}, {middle}, {zero})"
            else:
                scales = program.pointer(weight)
                h += f" * {scales}[j]"
                sums = f"{program.helper('weighted_norm_sums')}({begin}, {scales}, 0, {program.size(x.width)}, {middle}, {zero})"
            lines += [
                f"            total, along = {sums}",
                f"            along = along / {width} * scale * scale",
                f"            total = {f'total / {width}' if centred else zero}",
                f"            for j in range({program.size(x.width)}):",
                f"                h = {h}",
                f"                c = {source}[{x.at('i', 'j')}] - {middle}",
                f"                {program.pointer(made)}[{out.at('i', 'j')}] = scale * (h - (total + c * along))",
            ]
        for _, partial, scaled in totals:
            value = f"{up}[{g.at('i', 'j')}]"
            if scaled:
                value = f"{value} * ({source}[{x.at('i', 'j')}] - {middle}) * scale"
            lines += [
                f"            for j in range({program.size(x.width)}):",
                f"                {partial}[j] = {partial}[j] + {value}",
            ]
        for target, partial, _ in totals:
            lines += [
                f"        for j in range({program.size(x.width)}):",
                f"            {target}[j] = {target}[j] + {partial}[j]",
            ]

    return Region([upstream, given, weight, mean, rstd], [made, of_weight, of_bias], emit)


ROWS: dict[str, tuple[Callable[[Step], bool], Callable[[Step], Region]]] = {
    "cross_entropy": (_entropy_is_supported, _entropy),
    "cross_entropy.backward": (_entropy_backward_is_supported, _entropy_backward),
    "softmax": (_softmax_is_supported, _softmax),
    "log_softmax": (_softmax_is_supported, _softmax),
    "layer_norm": (_norm_is_supported, _norm),
    "rms_norm": (_norm_is_supported, _norm),
    "layer_norm.backward": (_norm_backward_is_supported, _norm_backward),
    "rms_norm.backward": (_norm_backward_is_supported, _norm_backward),
}


def is_supported(step: Step) -> bool:
    return ROWS[step.op][0](step)


def region(step: Step) -> Region:
    return ROWS[step.op][1](step)
