"""Whether two calls of a step did the same, so that replaying one is right for the next."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Geometry, Site
from ..engine.site import at
from .record import Action, Applied, Condition, Recorder, Touched
from .values import Memory, Value

__all__ = ["Difference", "compare", "refusal", "same_record"]


class Difference(Exception):
    """What two calls did not have in common, as the message for their user."""


def compare(first: Recorder, second: Recorder, passed: list[Any]) -> bool:
    """Hold two records against each other, the later one being what is replayed.

    External memory that is the same in both is state; what has equal values only is a constant, and marked as such.

    Args:
        passed: the tensors among the arguments of the second call.

    Returns:
        Whether all constants follow from shapes, so that the comparison did not depend on what the calls were given.

    Raises:
        Difference: the records differ.
    """
    for before, now in zip(first.events, second.events, strict=False):
        _compare_events(before, now)
    if len(first.events) != len(second.events):
        longer = max(first.events, second.events, key=len)
        extra = longer[min(len(first.events), len(second.events))]
        raise Difference(f"one call ran {_name(extra)} where the other had ended.{at(extra.site)}")
    if len(first.touched) != len(second.touched) or not all(map(_touched_alike, first.touched, second.touched)):
        raise Difference("the calls found other gradients (.grad) present.")
    if len(first.memories) != len(second.memories):
        raise Difference("the calls used other arrays.")
    constants: list[Memory] = []
    for memory, other in zip(second.memories, first.memories, strict=True):
        if memory.kind == "state" and other.array is not memory.array:
            _compare_constants(first, second, other, memory)
            constants.append(memory)
    if len(first.questions) != len(second.questions) or not all(map(same_record, first.questions, second.questions)):
        raise Difference("what decides its course (an optimizer's options, which parameters it holds) changed.")
    for memory in constants:
        memory.kind = "constant"
    for earlier, touched in zip(first.touched, second.touched, strict=True):
        tensor = touched.tensor
        touched.lasts = tensor is not None and any(tensor is one for one in (earlier.tensor, *passed))
    return all(memory.declared for memory in constants)


def _touched_alike(before: Touched, now: Touched) -> bool:
    return before.read == now.read and (before.entry is None) == (now.entry is None)


def _name(event: Applied | Action | Condition) -> str:
    if isinstance(event, Applied):
        return event.op.name
    asked = event.function if isinstance(event, Action) else event.question
    return getattr(asked, "__qualname__", "an action")


def _compare_events(before: Any, now: Any) -> None:
    if type(before) is not type(now):
        raise Difference(f"one call ran {_name(before)}, the next {_name(now)}.{at(now.site)}")
    if isinstance(now, Action):
        if before.function != now.function or not same_record(before.arguments, now.arguments):
            raise Difference(f"one call ran {_name(before)}, the next {_name(now)}.{at(now.site)}")
        return
    if isinstance(now, Condition):
        mine, theirs = ((one.question, one.value, one.arguments, one.answer) for one in (before, now))
        if not same_record(mine, theirs):
            raise Difference(f"{_name(now)} was {before.answer}, then {now.answer}.{at(now.site)}")
        return
    if before.op is not now.op:
        raise Difference(f"one call ran {before.op.name}, the next {now.op.name}.{at(now.site)}")
    if (before.runtime is None) != (now.runtime is None):
        raise Difference(f"{now.op.name} took its numbers from elsewhere.{at(now.site)}")
    if before.flushed is not now.flushed:
        raise Difference(f"{now.op.name} flushed subnormal numbers once, and once not.{at(now.site)}")
    if len(before.inputs) != len(now.inputs):
        raise Difference(f"{now.op.name} got {len(before.inputs)} inputs, then {len(now.inputs)}.{at(now.site)}")
    for position, (one, other) in enumerate(zip(before.inputs, now.inputs, strict=True)):
        if not same_record(one, other):
            what = now.op.inputs[position] if position < len(now.op.inputs) else position
            raise Difference(
                f"the input {what!r} of {now.op.name} was {_show(one)}, then {_show(other)}.{at(now.site)}"
            )
    if now.runtime is None:
        for key in now.params:
            if key not in before.params or not same_record(before.params[key], now.params[key]):
                was = _show(before.params.get(key))
                raise Difference(
                    f"the number {key!r} of {now.op.name} was {was}, then {_show(now.params[key])}.{at(now.site)}"
                )
    for one, other in zip(before.outputs, now.outputs, strict=True):
        if not same_record(one, other):
            raise Difference(f"{now.op.name} made {_show(one)}, then {_show(other)}.{at(now.site)}")


def _show(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, Value) else f"{value!r:.60}"


def same_record(one: Any, other: Any) -> bool:
    """Whether two records have the same thing in one place: values by their numbers, all else by its worth."""
    if isinstance(one, Value) or isinstance(other, Value):
        return (
            isinstance(one, Value)
            and isinstance(other, Value)
            and one.number == other.number
            and one.memory.number == other.memory.number
            and one.memory.kind == other.memory.kind
            and one.geometry == other.geometry
        )
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same_record, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_record(value, other[key]) for key, value in one.items())
    if isinstance(one, float):
        return one == other or (one != one and other != other)
    if isinstance(one, Geometry):
        return len(one.steps) == len(other.steps) and all(
            a[0] is b[0] and same_record(a[1], b[1]) for a, b in zip(one.steps, other.steps, strict=True)
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    try:
        return bool(one == other)
    except Exception:
        return False


def _compare_constants(first: Recorder, second: Recorder, before: Memory, now: Memory) -> None:
    shown = [value for value in second.values if value.memory is now]
    for value in shown:
        other = first.values[value.number]
        if before.array is None or now.array is None or value.geometry[1:] != other.geometry[1:]:
            raise Difference(_unknown(value, now))
        if value.array_in(now.array).tobytes() != other.array_in(before.array).tobytes():
            raise Difference(_unknown(value, now))


def _unknown(value: Value, memory: Memory) -> str:
    place: Site | None = memory.where
    return (
        f"a {value.dtype} array of shape {value.shape} that is neither an argument of the step nor kept in one place had "
        f"other values in the next call.{at(place, 'used at')}\n"
        "  Pass it as an argument, or keep it in one tensor and write it in place (state.copy_(new))."
    )


def refusal(difference: Difference, name: str) -> str:
    """The message for a step whose calls differ."""
    return (
        f"{name} cannot be replayed, for two calls of the same shapes did not do the same: {difference}\n"
        "  A compiled step must do the same each time; what changes from call to call must be an argument (a Tensor). "
        "All calls so far ran as usual."
    )
