"""Which phase of a step each instruction belongs to: forward, backward, optimizer; a fused loop may be of several."""

from __future__ import annotations

from autograd_ff.compiler.plan import Instruction, Plan

__all__ = ["PHASES", "phases_of"]

PHASES = ("forward", "backward", "optimizer")
_CALLED = {"forward": "forward", "backward": "backward", "update": "optimizer"}


def phases_of(plan: Plan) -> list[str]:
    """For each instruction one of `PHASES`, or several of them: "forward and backward". ``""`` for all where there is but
    a forward pass.

    What works on gradients between the backward pass and the update (clipping) counts as the optimizer's.
    """
    found = [_phase(one) for one in plan.instructions]
    if not set(found) - {"forward"}:
        return [""] * len(found)
    # What Python does for an optimizer stands around the loop that has the update in it.
    last = len(found) - 1
    for at, beside in [*((at, at + 1) for at in range(last - 1, -1, -1)), *((at, at - 1) for at in range(1, last + 1))]:
        if plan.instructions[at].form == "action" and found[at] == PHASES[2] and found[beside].endswith(PHASES[2]):
            found[at] = found[beside]
    return found


def _phase(one: Instruction) -> str:
    *others, last = [_CALLED[phase] for phase in _CALLED if phase in one.phases] or ["forward"]
    return f"{', '.join(others)} and {last}" if others else last
