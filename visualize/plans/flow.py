"""What flows where in a plan: for each instruction, whose results it reads.

Instructions name arrays, and arrays are looks at memory: an optimizer reads in one piece what six products wrote side by
side. So the last writer is looked up byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autograd_ff.compiler.plan import Instruction, Plan
from autograd_ff.compiler.values import Memory, Value

__all__ = ["Flow", "Made", "Read", "key_of", "name_of", "results_of", "runtime_of"]

Key = tuple[Any, ...]  # of a value that comes from outside: its memory and geometry


@dataclass(frozen=True)
class Made:
    """A result of an instruction: which one, and which of its results."""

    instruction: int
    output: int


@dataclass(frozen=True)
class Read:
    """A value as somebody reads it, and where it comes from: an instruction, or from outside.

    Attributes:
        value: what is read; of a value that several wrote, the part that comes from here.
        origin: the instruction, or the key of an outside value.
    """

    value: Value
    origin: Made | Key


@dataclass
class _Written:
    low: int
    high: int
    value: Value
    origin: Made


@dataclass
class Flow:
    """What each instruction of a plan reads.

    Attributes:
        reads: of each instruction, what it reads.
        results: of each result of the step by its position, what it is.
        gradients: of each gradient that the step leaves, in the order of ``plan.gradients``; empty for those that it does
            not make.
        outside: the values that come from outside (arguments, state, constants), as the first reader names them.
    """

    plan: Plan
    reads: list[list[Read]] = field(default_factory=list)
    results: dict[int, list[Read]] = field(default_factory=dict)
    gradients: list[list[Read]] = field(default_factory=list)
    outside: dict[Key, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._written: dict[Memory, list[_Written]] = {}
        for at, one in enumerate(self.plan.instructions):
            results = results_of(one)
            own = {key_of(value) for value in results} if one.form == "kernel" else set()
            found: list[Read] = []
            for value in dict.fromkeys(one.reads):
                # A kernel takes all its arrays alike: what nobody has written before, it does not read.
                found += self._origins(value, only_made=key_of(value) in own and value.memory.kind == "internal")
            self.reads.append(found)
            for output, value in enumerate(results):
                self._write(value, Made(at, output))
        for position, value in self.plan.results.items():
            self.results[position] = self._origins(value)
        for _, gradient in self.plan.gradients:
            made = gradient is not None and gradient.memory.kind != "gradient"
            self.gradients.append(self._origins(gradient) if made and gradient is not None else [])

    def _origins(self, value: Value, only_made: bool = False) -> list[Read]:
        """The last writers of a value's bytes, and the outside where some of them were never written."""
        missing = [value.bounds]
        found: list[Read] = []
        for written in reversed(self._written.get(value.memory, ())):
            hit = [(low, high) for low, high in missing if max(low, written.low) < min(high, written.high)]
            if not hit:
                continue
            found.append(Read(written.value if _is_part(written.value, value) else value, written.origin))
            if written.value.dense:
                missing = [part for stretch in missing for part in _without(stretch, written)]
        missing = [(low, high) for low, high in missing if low < high] if found else missing
        if missing and not only_made and value.memory.kind not in ("internal", "fresh"):
            base = _base(value)
            self.outside.setdefault(key_of(base), base)
            found.append(Read(value, key_of(base)))
        return found[::-1]

    def _write(self, value: Value, origin: Made) -> None:
        low, high = value.bounds
        before = self._written.setdefault(value.memory, [])
        if value.dense:
            before[:] = [one for one in before if not (low <= one.low and one.high <= high)]
        before.append(_Written(low, high, value, origin))


def results_of(one: Instruction) -> list[Value]:
    """What an instruction makes, and what it writes into, each once."""
    found = list({key_of(value): value for value in (*one.made, *one.writes)}.values())
    if one.form == "kernel" and one.updates:  # the gradients, all in one piece, are what an update reads
        kept = [value for value in found if value.memory.kept]
        found = [value for value in found if not any(_is_part(other, value) for other in kept)]
    return found


def name_of(one: Instruction) -> str:
    """What an instruction is called: an action without the underscore of its function, a copy that converts by the dtype."""
    if one.form == "action":
        return one.name.strip("_")
    source = one.inputs[0] if one.name == "copy" and one.outputs else None
    if isinstance(source, Value) and source.dtype != one.outputs[0].dtype:
        return f"to {one.outputs[0].dtype}"
    return one.name


def key_of(value: Value) -> Key:
    """What tells a value from others."""
    return value.memory, value.geometry


def _is_part(part: Value, value: Value) -> bool:
    (low, high), (start, end) = part.bounds, value.bounds
    return part.memory is value.memory and start <= low and high <= end and (low, high) != (start, end)


def _without(stretch: tuple[int, int], written: _Written) -> list[tuple[int, int]]:
    low, high = stretch
    parts = [(low, min(high, written.low)), (max(low, written.high), high)]
    return [part for part in parts if part[0] < part[1]]


def _base(value: Value) -> Value:
    """The array that a value is a view of."""
    while value.made_from is not None and value.made_from[1].memory is value.memory:
        value = value.made_from[1]
    return value


def runtime_of(one: Instruction) -> list[Any]:
    """The actions whose numbers an instruction is given."""
    if one.form == "action":
        return []
    numbers = [action for action, _ in one.params.get("numbers", ())] if one.form == "kernel" else [one.runtime]
    return list(dict.fromkeys(action for action in numbers if action is not None))
