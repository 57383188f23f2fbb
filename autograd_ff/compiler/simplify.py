"""Making the instructions of a plan fewer, without changing a bit of what they compute.

Dead code goes; what depends on constants alone is computed beforehand; what is computed twice is computed once (the
softmax of a loss and that of its derivative, say), except for what a checkpoint computes again on purpose; a copy that
nobody needs apart from its original becomes that original.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from .lower import index_add_into, scatter_into
from .plan import Instruction
from .values import Memory, Value, is_blank

__all__ = ["drop_copies", "drop_dead", "fold", "share", "start_from_zeros"]

_STAYING = ("state", "argument", "gradient")  # memory that somebody outside of the step sees


class _Uses:
    """Which values lie in each memory, and when each memory is used and written."""

    def __init__(self, instructions: list[Instruction], wanted: list[Value]) -> None:
        self.looks: dict[Memory, dict[int, Value]] = {}
        self.last: dict[Memory, int] = {}
        self.last_write: dict[Memory, int] = {}
        self.writes: Counter[Memory] = Counter()
        self.allocated: Counter[Memory] = Counter()
        for at, one in enumerate(instructions):
            written = (*one.made, *one.writes)
            for value in (*one.reads, *written):
                self._note(value, at)
            for memory in {value.memory for value in written}:
                self.writes[memory] += 1
                self.allocated[memory] += one.form == "plain"
                self.last_write[memory] = at
        for value in wanted:
            self._note(value, len(instructions))

    def _note(self, value: Value, at: int) -> None:
        self.looks.setdefault(value.memory, {})[id(value)] = value
        self.last[value.memory] = at

    def merge(self, gone: Memory, stays: Memory) -> None:
        """Let everything that looks at one memory look at another."""
        moved = self.looks.pop(gone)
        for value in moved.values():
            value.memory = stays
        self.looks[stays].update(moved)
        self.last[stays] = max(self.last[stays], self.last[gone])
        self.last_write[stays] = max(self.last_write[stays], self.last_write[gone])


def share(instructions: list[Instruction], wanted: list[Value], apart: list[Value]) -> list[Instruction]:
    """Compute once what is computed several times from the same values.

    Args:
        apart: values that must each keep memory of their own (gradients).
    """
    uses = _Uses(instructions, wanted)
    held = {value.memory for value in apart}
    seen: dict[Any, Instruction] = {}
    kept: list[Instruction] = []
    for one in instructions:
        if not _can_be_shared(one, uses) or any(value.memory in held for value in one.made):
            kept.append(one)
            continue
        twin = seen.setdefault(_identity(one), one)
        if twin is one or any(a.offset != b.offset for a, b in zip(one.made, twin.made, strict=True)):
            kept.append(one)
            continue
        for mine, other in zip(one.made, twin.made, strict=True):
            if mine.memory is not other.memory:
                uses.merge(mine.memory, other.memory)
    return kept


def _can_be_shared(one: Instruction, uses: _Uses) -> bool:
    if not one.pure or one.runtime is not None or not one.made:
        return False
    made_once = all(value.memory.kind == "internal" and uses.writes[value.memory] == 1 for value in one.made)
    # An input that changes anywhere in the step may be another one at the twin's place.
    steady = all(uses.writes[value.memory] <= (value.memory.kind == "internal") for value in one.reads)
    return made_once and steady


def _identity(one: Instruction) -> Any:
    made = tuple((value.shape, value.strides, value.dtype) for value in one.made)
    return (
        one.name,
        one.form,
        id(one.function),
        id(one.again),  # a checkpoint is there to keep nothing from the forward pass
        _hashable(one.inputs),
        _hashable(tuple(sorted(one.params.items()))),
        made,
    )


def _hashable(thing: Any) -> Any:
    if isinstance(thing, Value):
        return "value", thing.memory.number, thing.geometry
    if isinstance(thing, (tuple, list)):
        return tuple(_hashable(one) for one in thing)
    if isinstance(thing, float):
        return "float", thing.hex()  # tells -0.0 from 0.0
    if isinstance(thing, slice):
        return "slice", thing.start, thing.stop, thing.step
    if isinstance(thing, np.ndarray):
        return "array", thing.dtype.str, thing.shape, thing.tobytes()
    try:
        hash(thing)
    except TypeError:
        return id(thing)
    return type(thing).__name__, thing


def fold(instructions: list[Instruction]) -> list[Instruction]:
    """Compute now what depends on constants alone."""
    written = _Uses(instructions, []).writes
    kept: list[Instruction] = []
    for one in instructions:
        operands = one.reads
        steady = all(value.memory.kind == "constant" and not written[value.memory] for value in operands)
        single = len(one.outputs) == 1 and one.form in ("out", "into") and one.outputs[0].whole
        if not (one.pure and operands and steady and single and written[one.outputs[0].memory] == 1):
            kept.append(one)
            continue
        output = one.outputs[0]
        room = np.ndarray(output.shape, output.dtype)
        inputs = [_constant(value) for value in one.inputs]
        params = {name: _constant(value) for name, value in one.params.items()}
        if one.form == "out":
            one.function(*inputs, out=room)
        else:
            one.function(room, *inputs, **params)
        output.memory.kind, output.memory.array = "constant", room
    return kept


def _constant(thing: Any) -> Any:
    if isinstance(thing, Value) and thing.memory.array is not None:
        return thing.array_in(thing.memory.array)
    return thing


def start_from_zeros(instructions: list[Instruction]) -> list[Instruction]:
    """Let what is added into constant zeros (the gradient of an indexing) begin by zeros of its own: none to keep or read."""
    written = _Uses(instructions, []).writes
    for one in instructions:
        if one.function is not index_add_into or not isinstance(one.inputs[0], Value):
            continue
        memory = one.inputs[0].memory
        if memory.kind == "constant" and not written[memory] and is_blank(_constant(one.inputs[0])):
            one.function, one.inputs = scatter_into, one.inputs[1:]
    return instructions


def drop_dead(instructions: list[Instruction], wanted: list[Value]) -> list[Instruction]:
    """Without what nobody outside of the step ever reads."""
    alive = {value.memory for value in wanted}
    kept: list[Instruction] = []
    for one in reversed(instructions):
        written = {value.memory for value in (*one.made, *one.writes)}
        acts = one.form == "action" or (not one.pure and not one.writes)  # random draws move their generator on
        acts = acts or any(getattr(param, "communicates", False) for param in one.params.values())  # others wait for it
        if acts or any(memory in alive or memory.kind in _STAYING for memory in written):
            alive.update(value.memory for value in one.reads)
            alive.update(written)
            kept.append(one)
    return kept[::-1]


def drop_copies(instructions: list[Instruction], wanted: list[Value], apart: list[Value]) -> list[Instruction]:
    """Let a copy be its original where the original is not used afterwards, or neither changes any more.

    Args:
        apart: values that must each keep memory of their own (gradients).
    """
    uses = _Uses(instructions, wanted)
    held = {value.memory for value in apart}
    kept: list[Instruction] = []
    for at, one in enumerate(instructions):
        if one.name == "copy" and one.form == "into" and _can_be_original(one, at, uses, held):
            gone, stays = one.outputs[0].memory, one.inputs[0].memory
            if gone in held:
                held.add(stays)
            uses.merge(gone, stays)
        else:
            kept.append(one)
    return kept


def _can_be_original(one: Instruction, at: int, uses: _Uses, held: set[Memory]) -> bool:
    source, target = one.inputs[0], one.outputs[0]
    if not isinstance(source, Value) or source.memory is target.memory:
        return False
    if source.memory.kind != "internal" or target.memory.kind != "internal":
        return False
    if source.geometry != target.geometry or not source.whole or not target.whole:
        return False
    if target.memory in held and uses.allocated[source.memory]:  # it lies elsewhere at each call
        return False
    if source.memory in held and (target.memory in held or uses.last_write[target.memory] > at):
        return False
    unused = uses.last[source.memory] <= at
    return unused or (uses.last_write[source.memory] < at and uses.last_write[target.memory] <= at)
