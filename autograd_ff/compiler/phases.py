"""Which part of a step each recorded event belongs to: forward, backward, update."""

from __future__ import annotations

from collections.abc import Collection

from ..engine import Op, Scope
from .record import Action, Applied, Condition
from .values import Memory, Value

__all__ = ["PHASES", "computed_again", "phases_of_events"]

PHASES = ("forward", "backward", "update")


def phases_of_events(events: list[Applied | Action | Condition], updates: Collection[Op]) -> list[str]:
    """One of `PHASES` for each event.

    Derivative rules have scopes of their own. What reads their results outside of these is of the line that called
    ``backward`` (sums of gradients), or comes after it (clipping), which counts as the update.

    Args:
        updates: the ops of optimizers.
    """
    backward_lines = {one.site for one in events if isinstance(one, Applied) and _is_derived(one.scope)}
    derived: set[Memory] = set()
    found: list[str] = []
    begun = False
    for event in events:
        if not isinstance(event, Applied):  # of Python's own: it reads no gradient, and goes by what is around it
            found.append("update" if begun else "forward")
            continue
        phase = "forward"
        if event.op in updates:
            phase = "update"
        elif _is_derived(event.scope):
            phase = "backward"
        elif any(isinstance(one, Value) and one.memory in derived for one in event.inputs):
            phase = "backward" if event.site in backward_lines else "update"
        elif begun and event.site in backward_lines:  # sums over processes, which read buffers of their own
            phase = "backward"
        if phase != "forward":
            begun = True
            derived.update(one.memory for one in event.outputs if one is not None and one.memory.kind == "internal")
        found.append(phase)
    # An optimizer that is written as plain arithmetic has ops that read no gradient.
    lines = {one.site for one, phase in zip(events, found, strict=True) if phase == "update"} - backward_lines - {None}
    return ["update" if one.site in lines else phase for one, phase in zip(events, found, strict=True)]


def _is_derived(scope: Scope | None) -> bool:
    while scope is not None:
        if scope.kind == "backward":
            return True
        scope = scope.parent
    return False


def computed_again(scope: Scope | None, functions: Collection[str]) -> Scope | None:
    """The outermost derivative of a user's Function (a checkpoint, say) around an op: it may compute the forward pass again.

    Args:
        functions: their names.
    """
    found = None
    while scope is not None:
        if scope.kind == "backward" and scope.name in functions:
            found = scope
        scope = scope.parent
    return found
