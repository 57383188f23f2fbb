"""Which phase of a step each instruction belongs to: forward, backward, optimizer.

A plan holds arrays and calls, not scopes. But every instruction has the user's line that it comes from, and some say by
themselves what they are: a derivative's kernel, what fills a ``.grad``, an optimizer's update. All that a line made is of
one phase. Where the whole step comes from one line, the order of the instructions must do.
"""

from __future__ import annotations

from typing import Any

from autograd_ff.compiler.plan import Instruction, Plan

from .flow import Flow, Made, runtime_of

__all__ = ["PHASES", "phases_of"]

PHASES = ("forward", "backward", "optimizer")


def phases_of(flow: Flow) -> list[str]:
    """One of `PHASES` for each instruction; ``""`` for all where there is but a forward pass.

    What works on gradients between the backward pass and the update (clipping) counts as the optimizer's.
    """
    plan = flow.plan
    telling = len({one.site for one in plan.instructions if one.form != "action"}) > 1
    updating = _updating_lines(plan) if telling else set()
    backward = _backward_lines(plan) - updating if telling else set()
    found: list[str] = []
    for at, one in enumerate(plan.instructions):
        if one.updates or one.form == "action" or one.site in updating:
            phase = "optimizer"
        elif one.site in backward or _is_backward(one):
            phase = "backward"
        elif _follows(flow, at, found):  # what is done to gradients: clipping
            phase = "optimizer" if backward else "backward"
        elif not telling and found and found[-1] == "backward":  # masks and the like, which read forward values alone
            phase = "backward"
        else:
            phase = "forward"
        found.append(phase)
    return found if set(found) - {"forward"} else [""] * len(found)


def _is_backward(one: Instruction) -> bool:
    """Whether an instruction says itself that it derives something: by its name, or as what begins a ``.grad``."""
    if one.form == "kernel" or one.updates:
        return False
    begins = any(value.memory.kept for value in one.made) and not any(value.memory.kept for value in one.reads)
    return begins or ".backward" in one.name


def _follows(flow: Flow, at: int, phases: list[str]) -> bool:
    """Whether an instruction reads what a backward pass made, updated parameters aside."""
    makers = [read.origin.instruction for read in flow.reads[at] if isinstance(read.origin, Made)]
    return any(phases[one] != "forward" and not flow.plan.instructions[one].updates for one in makers)


def _updating_lines(plan: Plan) -> set[Any]:
    lines = {action.site for one in plan.instructions for action in runtime_of(one)}
    lines |= {one.site for one in plan.instructions if one.form == "action" or (one.updates and one.form == "write")}
    return lines - {None}


def _backward_lines(plan: Plan) -> set[Any]:
    return {one.site for one in plan.instructions if _is_backward(one)} - {None}
