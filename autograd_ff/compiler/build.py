"""From the record of a call to its plan."""

from __future__ import annotations

import numpy as np

from .allocate import allocate, join_neighbours, lay_out_gradients
from .fuse import fuse
from .lower import Views, lower
from .plan import Instruction, Plan
from .record import Applied, Recorder
from .simplify import drop_copies, drop_dead, fold, share, start_from_zeros
from .values import Memory, Value

__all__ = ["build"]


def build(
    record: Recorder, arguments: list[Value], results: dict[int, Value], fast: bool, aliased: bool, overlapping: bool
) -> Plan:
    """Plan the replay of a recorded call.

    Args:
        arguments: the arrays that each call brings.
        results: what the call returned, by position among all that it returned.
        fast: put neighbouring instructions into compiled loops.
        aliased: some argument shows memory of the state.
        overlapping: some arguments show common memory.
    """
    gradients: list[tuple[object, Value | None]] = []
    for touched in record.touched:
        if touched.lasts:
            gradient = touched.tensor._grad
            gradients.append((touched.tensor, None if gradient is None else record.value(gradient.array)))
    shown = [value for _, value in gradients if value is not None]
    _name_state(record)
    instructions = lower(record.events, Views(record.values, record.memories), record.functions)
    instructions = _restore_constants(instructions, record)
    wanted = [*results.values(), *shown]
    instructions = drop_dead(instructions, wanted)
    instructions = start_from_zeros(fold(instructions))
    # A write to one memory may change what is known as another one.
    unsafe = aliased or (overlapping and any(_writes_argument(one) for one in instructions))
    if not unsafe:
        instructions = share(instructions, wanted, shown)
    instructions = drop_copies(instructions, wanted, shown)
    blocks = lay_out_gradients(instructions, shown, len(record.memories))
    named = {(value.memory, value.geometry): value.name for value in shown if value.name}
    for one in instructions:
        for value in one.made:
            value.name = named.get((value.memory, value.geometry), value.name)
        if one.updates:
            one.inputs = join_neighbours(one.inputs)
    if fast and not unsafe:  # loops take it for granted that memories lie apart
        instructions = fuse(instructions, wanted)
    _mark_fresh(instructions)
    arena = allocate(instructions, list(results.values()), blocks)
    return Plan(
        instructions=instructions,
        memories=[*_in_use(record.memories, instructions), *blocks],
        results=results,
        gradients=gradients,
        arguments=arguments,
        arena=arena,
    )


def _in_use(memories: list[Memory], instructions: list[Instruction]) -> list[Memory]:
    """Without constants that nobody reads any more: they can be as large as a parameter."""
    used = {value.memory for one in instructions for value in (*one.reads, *one.made, *one.writes)}
    return [memory for memory in memories if memory.kind != "constant" or memory in used]


def _writes_argument(one: Instruction) -> bool:
    return any(value.memory.kind == "argument" for value in one.writes)


def _mark_fresh(instructions: list[Instruction]) -> None:
    """What an op allocates itself comes in other memory at each call; a gradient, whose memory stays, is copied."""
    for one in instructions:
        if one.form == "plain":
            for value in one.made:
                if value.memory.kind == "internal" and not value.memory.kept:
                    value.memory.kind = "fresh"


def _restore_constants(instructions: list[Instruction], record: Recorder) -> list[Instruction]:
    """Begin with a copy of each constant that the step goes on to write into; the constant becomes the plan's own memory."""
    first: list[Instruction] = []
    written = dict.fromkeys(value.memory for one in instructions for value in (*one.made, *one.writes))
    for memory in written:
        if memory.kind != "constant" or memory.array is None:
            continue
        template = memory.array.copy()
        original = Memory("constant", len(record.memories), template)
        record.memories.append(original)
        source = Value(len(record.values), template, original)
        record.values.append(source)
        target = source.derived(len(record.values), memory=memory)
        record.values.append(target)
        memory.size = max(memory.size, template.nbytes)
        memory.kind, memory.array = "internal", None
        first.append(Instruction("copy", "into", np.copyto, (source,), (target,)))
    return first + instructions


def _name_state(record: Recorder) -> None:
    """Give parameters, buffers and gradients their qualified names, for the source and for pictures."""
    for outermost in record.modules.values():
        for name, tensor in (*outermost.named_parameters(), *outermost.named_buffers()):
            name = name.replace(".", "_")
            value = record.known(tensor.array)
            if value is not None:
                value.name = name
            if tensor._grad is not None and (gradient := record.known(tensor._grad.array)) is not None:
                gradient.name = f"{name}_grad"
    for event in record.events:
        if isinstance(event, Applied):  # an optimizer's arrays, by the names that its kernel has for them
            for name, value in zip(event.op.inputs, event.inputs, strict=False):
                if isinstance(value, Value) and not value.name and value.memory.kind == "state":
                    value.name = name
