"""Source text in the making: numbers in registers, constants, helper functions, and statements at loop levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .steps import Operand, Part, Runtime

__all__ = ["BOOL", "F32", "F64", "Block", "Literal", "Number", "Program", "index"]

F32, F64, BOOL = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.bool_)


@dataclass(frozen=True)
class Number:
    """One number in the generated code: the text that names it, its type, and the loop level at which it is known."""

    text: str
    dtype: np.dtype[Any]
    level: int = 0


class Literal(Number):
    """A number of the step itself, which takes on the type of what it meets."""

    value: float

    def __init__(self, value: float) -> None:
        super().__init__(repr(value), np.dtype(type(value)))
        object.__setattr__(self, "value", value)


class Program:
    """What the generated function is made of: pointers, scratch memory, runtime numbers, constants, and its lines."""

    def __init__(self) -> None:
        self.arguments: list[Operand] = []
        self.scratch: list[tuple[np.dtype[Any], int]] = []
        self.runtime: list[Runtime] = []
        self.constants: dict[tuple[str, str], str] = {}
        self.helpers: set[str] = set()
        self.sizes: set[int] = set()
        self.lines: list[str] = []
        self._pointers: dict[tuple[str, int, np.dtype[Any]], str] = {}
        self._scratch: dict[np.dtype[Any], int] = {}
        self._registers = 0

    def pointer(self, operand: Operand) -> str:
        """The name of the pointer to an operand's first element."""
        key = (operand.memory or operand.name, operand.offset, operand.dtype)
        if key not in self._pointers:
            self._pointers[key] = f"a{len(self.arguments)}"
            self.arguments.append(operand)
        return self._pointers[key]

    def scratch_pointer(self, dtype: np.dtype[Any], count: int, which: int = 0) -> str:
        """The name of a pointer to private memory; what is in it is lost after the step."""
        while True:
            found = [index for index, (one, _) in enumerate(self.scratch) if one == dtype]
            if len(found) > which:
                index = found[which]
                self.scratch[index] = (dtype, max(count, self.scratch[index][1]))
                return f"s{index}"
            self.scratch.append((dtype, count))

    def number(self, runtime: Runtime) -> Number:
        if runtime not in self.runtime:
            self.runtime.append(runtime)
        return Number(f"r{self.runtime.index(runtime)}", F64)

    def constant(self, value: Any, dtype: np.dtype[Any]) -> str:
        """A number of exactly this type. numba takes a global for a constant."""
        if dtype == BOOL:
            return str(bool(value))
        if dtype.kind in "iu":
            text = repr(int(value))
        else:
            value = float(dtype.type(value))
            text = repr(value).replace("inf", "np.inf").replace("nan", "np.nan")
        if dtype == F64 and np.isfinite(value):
            return f"({text})" if text[0] == "-" else text
        if dtype == np.int64:
            return f"({text})" if text[0] == "-" else text
        return self.constants.setdefault((dtype.name, text), f"C{len(self.constants)}")

    def helper(self, name: str) -> str:
        self.helpers.add(name)
        return name

    def size(self, count: int) -> str:
        """The length of a loop, as a variable whose value LLVM does not know.

        A loop of known length it unrolls completely, which is up to three times as slow, and slow to compile.
        """
        self.sizes.add(count)
        return f"n{count}"

    def register(self) -> str:
        self._registers += 1
        return f"v{self._registers}"


class Block:
    """Statements of a nest of loops, each at the level from which on all that it uses is known.

    Level 0 is before the loops, level k inside the first k of them.
    """

    def __init__(self, program: Program, loops: int) -> None:
        self.program = program
        self.levels: list[list[str]] = [[] for _ in range(loops + 1)]
        self._known: dict[tuple[str, np.dtype[Any], int], Number] = {}

    def let(self, expression: str, dtype: np.dtype[Any], level: int) -> Number:
        """A register that holds the value of an expression."""
        if expression[:1] == "v" and expression[1:].isdigit():
            return Number(expression, dtype, level)
        key = (expression, dtype, level)
        found = self._known.get(key)
        if found is None:
            name = self.program.register()
            self.levels[level].append(f"{name} = {expression}")
            found = self._known[key] = Number(name, dtype, level)
        return found

    def forget(self) -> None:
        """Memory was written: an expression that reads it may have another value now."""
        self._known = {key: one for key, one in self._known.items() if "[" not in key[0]}

    def convert(self, number: Number, dtype: np.dtype[Any]) -> Number:
        if isinstance(number, Literal):
            return Number(self.program.constant(number.value, dtype), dtype)
        if number.dtype == dtype:
            return number
        if dtype == BOOL:
            zero = self.program.constant(0, number.dtype)
            return self.let(f"{number.text} != {zero}", BOOL, number.level)
        if number.dtype == BOOL:
            one, zero = self.program.constant(1, dtype), self.program.constant(0, dtype)
            return self.let(f"{one} if {number.text} else {zero}", dtype, number.level)
        return self.let(f"np.{dtype.name}({number.text})", dtype, number.level)

    def store(self, pointer: str, index: str, number: Number) -> None:
        text = f"np.uint8({number.text})" if number.dtype == BOOL else number.text
        self.levels[-1].append(f"{pointer}[{index}] = {text}")
        self.forget()

    def emit(self, sizes: Sequence[int]) -> None:
        """The loops, with the statements at their levels."""
        lines, indent = self.program.lines, "    "
        for level, statements in enumerate(self.levels):
            lines += [indent + statement for statement in statements]
            if level < len(sizes):
                lines.append(f"{indent}for i{level} in range({self.program.size(sizes[level])}):")
                indent += "    "


def index(part: Part, strides: Sequence[int]) -> str:
    """The index of an element, by the loops' variables i0, i1, …, for strides in bytes."""
    size = part.dtype.itemsize
    terms = []
    for position, stride in enumerate(strides):
        step = stride // size
        if step:
            terms.append(f"i{position}" if step == 1 else f"i{position} * {step}")
    if part.start:
        terms.append(str(part.start // size))
    return " + ".join(terms) or "0"
