"""The plan of a step: instructions on values, which is what replays run and pictures show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine import Site
from .record import Action
from .values import Memory, Value

if TYPE_CHECKING:
    from .allocate import Arena

__all__ = ["Instruction", "Options", "Plan", "values_in"]


def values_in(thing: Any) -> Iterator[Value]:
    """The values in an operand or a parameter."""
    if isinstance(thing, Value):
        yield thing
    elif isinstance(thing, (tuple, list)):
        for one in thing:
            yield from values_in(one)


class Options(NamedTuple):
    """How plans are made; see `compile`."""

    fast: bool
    threads: bool
    verify: int


@dataclass(eq=False)
class Instruction:
    """One call of a replay.

    Attributes:
        name: of the op that it carries out.
        form: how it is called. "out": ``function(*inputs, out=output)``. "into": ``function(*outputs, *inputs,
            **params)``, which fills the outputs. "write": ``function(*inputs, **params)``, which changes some inputs.
            "plain": ``output = function(*inputs, **params)``, which allocates. "action": something of Python's own. "kernel": a compiled loop over several ops.
        writes: values of other instructions that it changes.
        pure: the same inputs give the same outputs, and nothing else happens.
        elementwise: an output may take the place of an input of its own geometry.
        updates: it is, or has in it, the update of an optimizer.
        flushes: subnormal numbers count as zero in it.
        again: the derivative of a user's Function or of a checkpoint that it is a part of: what is computed there is not to
            be kept from before.
        phases: the parts of the step that it belongs to: "forward", "backward", "update"; a loop may be of several.
    """

    name: str
    form: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...] = ()
    outputs: tuple[Any, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    site: Site | None = None
    runtime: Action | None = None
    writes: tuple[Value, ...] = ()
    pure: bool = True
    elementwise: bool = False
    updates: bool = False
    flushes: bool = False
    again: Any = None
    phases: frozenset[str] = frozenset()

    @property
    def reads(self) -> list[Value]:
        return [*values_in(self.inputs), *values_in(tuple(self.params.values()))]

    @property
    def made(self) -> list[Value]:
        return [one for one in self.outputs if one is not None]

    def __repr__(self) -> str:
        outputs = ", ".join(f"v{one.number}" for one in self.made)
        inputs = ", ".join(f"v{one.number}" if isinstance(one, Value) else repr(one) for one in self.inputs)
        return f"{outputs} <- {self.name}({inputs})"


@dataclass(eq=False)
class Plan:
    """What a step does, as data.

    Attributes:
        instructions: in the order in which they run.
        memories: all memory that they touch.
        results: the values that the step returns, by their position among all that it returns.
        gradients: (tensor, value or None): what each ``.grad`` is afterwards.
        arguments: the arrays that come with each call; the gradients that it finds present are among them.
        arena: the one block in which all intermediate values lie, at addresses that they share over time, and the gradients.
        arena_bytes: what the intermediate values take of it, beside the memory of gradients that are not there yet.
        eager_bytes: what the same values take where each has memory of its own.
    """

    instructions: list[Instruction]
    memories: list[Memory]
    results: dict[int, Value]
    gradients: list[tuple[Any, Value | None]]
    arguments: list[Value]
    arena: Arena

    @property
    def arena_bytes(self) -> int:
        return self.arena.size

    @property
    def eager_bytes(self) -> int:
        return self.arena.apart

    def __repr__(self) -> str:
        actions = sum(one.form == "action" for one in self.instructions)
        return (
            f"<plan of {len(self.instructions) - actions} calls, {self.arena_bytes:,} bytes for intermediate values "
            f"that took {self.eager_bytes:,}>"
        )
