"""When each intermediate value of a plan lives, and where in the arena."""

from __future__ import annotations

from dataclasses import dataclass

from autograd_ff.compiler.plan import Instruction, Plan
from autograd_ff.compiler.values import Memory, Value

from .flow import name_of

__all__ = ["Lifetime", "lifetimes", "most_at_once", "replaced_by"]


@dataclass(frozen=True)
class Lifetime:
    """A stretch of the arena while one value (and what is written over it in place) lives there.

    Attributes:
        memory: the plan's name for it.
        name: of what is computed there: "matmul, add".
        first: the instruction that writes it first.
        last: the last one that uses it; of a result of the step, the number of instructions.
        end: where the next value may begin: ``last + 1``, or ``last`` where the last reader puts its own result in the
            same place, element by element.
        offset: the first byte in the arena; negative in the memory of gradients that are not there yet.
        size: in bytes.
        buffer: which place it is, counted from 1 by address; values at the same address have the same one.
    """

    memory: Memory
    name: str
    first: int
    last: int
    end: int
    offset: int
    size: int
    buffer: int


def lifetimes(plan: Plan) -> list[Lifetime]:
    """All of a plan, by the instructions that begin them.

    >>> import autograd_ff as af
    >>> @af.compile(fast=False)
    ... def step(x):
    ...     return (x.exp() + 1).sum()
    >>> with af.no_grad():
    ...     for _ in range(2): _ = step(af.ones(1000))
    >>> [(one.name, one.first, one.last, one.offset, one.size) for one in lifetimes(step.plan)]
    [('exp', 0, 1, 0, 4000), ('add', 1, 2, 0, 4000), ('sum', 2, 3, 4032, 4)]
    """
    first: dict[Memory, int] = {}
    last: dict[Memory, int] = {}
    names: dict[Memory, list[str]] = {}
    for at, one in enumerate(plan.instructions):
        made = [*one.made, *one.writes]
        for value in (*one.reads, *made):
            if _is_in_arena(value):
                first.setdefault(value.memory, at)
                last[value.memory] = at
        for memory in dict.fromkeys(value.memory for value in made if _is_in_arena(value)):
            names.setdefault(memory, []).append(name_of(one))
    for value in plan.results.values():
        if _is_in_arena(value):
            last[value.memory] = len(plan.instructions)
    places = {offset: number for number, offset in enumerate(sorted({one.offset for one in first}), start=1)}
    heirs = {(at, memory.offset) for memory, at in first.items() if plan.instructions[at].elementwise}
    return [
        Lifetime(
            memory,
            ", ".join(dict.fromkeys(names.get(memory, ["?"]))),
            at,
            last[memory],
            last[memory] + ((last[memory], memory.offset) not in heirs or last[memory] == at),
            memory.offset,
            memory.size,
            places[memory.offset],
        )
        for memory, at in first.items()
    ]


def most_at_once(living: list[Lifetime]) -> int:
    """The most bytes that live at the same time: no arena could be smaller, but for the memory of gradients to come.

    Results that take the place of an operand are counted once.
    """
    changes: dict[int, int] = {}
    for one in living:
        changes[one.first] = changes.get(one.first, 0) + one.size
        changes[one.end] = changes.get(one.end, 0) - one.size
    total = most = 0
    for at in sorted(changes):
        total += changes[at]
        most = max(most, total)
    return most


def replaced_by(one: Instruction, at: int, living: dict[Memory, Lifetime], value: Value) -> Lifetime | None:
    """The operand of instruction ``at`` whose place in the arena its result ``value`` takes."""
    for read in one.reads:
        operand = None if read.memory is value.memory else living.get(read.memory)
        if operand is not None and (operand.end, operand.offset) == (at, value.memory.offset):
            return operand
    return None


def _is_in_arena(value: Value) -> bool:
    return value.memory.kind == "internal" and not value.memory.kept
