"""Neighbouring instructions as one compiled loop each (numba, the ``fast`` extra)."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from ..engine import warn
from .plan import Instruction, values_in
from .values import Memory, Value

if TYPE_CHECKING:
    from .loops import Step

__all__ = ["fuse", "is_available"]


def is_available() -> bool:
    """Whether the ``fast`` extra is installed."""
    return importlib.util.find_spec("numba") is not None


@functools.cache
def _works() -> bool:
    """Whether what is installed can be imported: a numba refuses a NumPy that is newer than itself."""
    try:
        importlib.import_module("numba")
    except Exception as error:
        warn(f"numba is installed but cannot be imported ({error}): compiled steps run without its loops.")
        return False
    return True


def fuse(instructions: list[Instruction], wanted: list[Value]) -> list[Instruction]:
    """Put runs of instructions that have loops into kernels."""
    if not _works():
        return instructions
    from .loops import supports  # a third of the package's import time, for those who fuse

    instructions = _sums_first(instructions)
    last_read = _last_reads(instructions, wanted)
    position_of = {id(one): at for at, one in enumerate(instructions)}
    fused: list[Instruction] = []
    run: list[tuple[Instruction, Step]] = []
    deferred: list[Instruction] = []  # actions, which touch no array, and so may come after the run

    def close() -> None:
        # What is not read after the run is of no use in memory.
        later = {memory for memory, last in last_read.items() if run and last > position_of[id(run[-1][0])]}
        fused.extend(_kernel(run, later) if _is_worth(run) else [one for one, _ in run])
        fused.extend(deferred)
        run.clear()
        deferred.clear()

    for one in instructions:
        if one.form == "action":
            assert one.runtime is not None
            if one.runtime.result is None:
                deferred.append(one)
            else:  # numbers that the run may need; other actions before it must have been done
                if deferred or any(_may_raise(member) for member, _ in run):
                    close()
                fused.append(one)
            continue
        step = _as_step(one)
        if step is None or not supports(step):
            close()
            fused.append(one)
        else:
            run.append((one, step))
    close()
    return fused


def _may_raise(one: Instruction) -> bool:
    """Whether its loop refuses some numbers: what Python would do after it must not have been done then."""
    return one.name.startswith("cross_entropy")


def _sums_first(instructions: list[Instruction]) -> list[Instruction]:
    """Sums of rows right behind what they sum, so that one loop does both."""
    ordered: list[Instruction] = []
    for one in instructions:
        place = len(ordered)
        if one.name == "matmul" and _is_sum_of_rows(one):
            while place and not _touches(ordered[place - 1], one):
                place -= 1
        ordered.insert(place, one)
    return ordered


def _touches(before: Instruction, one: Instruction) -> bool:
    """Whether an instruction must come before another: it writes what that one uses, or reads what it writes."""
    written = (*before.made, *before.writes)
    return any(_meet(value, other) for value in written for other in (*one.reads, *one.made)) or any(
        _meet(value, other) for value in before.reads for other in one.made
    )


def _meet(value: Value, other: Value) -> bool:
    if value.memory is not other.memory:
        return False
    (low, high), (start, stop) = value.bounds, other.bounds
    return low < stop and start < high


def _last_reads(instructions: list[Instruction], wanted: list[Value]) -> dict[Memory, int]:
    """The number of the last instruction that reads each memory."""
    found = {value.memory: at for at, one in enumerate(instructions) for value in one.reads}
    return found | {value.memory: len(instructions) for value in wanted}


def _is_worth(run: list[tuple[Instruction, Step]]) -> bool:
    """Whether a kernel saves anything: a single pass that NumPy does in one call, too, it does not."""
    return len(run) > 1 or any(one.form != "out" and one.name not in ("copy", "relu", "write") for one, _ in run)


def _as_step(one: Instruction) -> Step | None:
    from .loops import Runtime, Step

    inputs = tuple(_operand(value) for value in one.inputs)
    outputs = tuple(_operand(value) for value in (one.outputs or one.writes))
    if any(True for value in one.params.values() for _ in values_in(value)):
        return None
    if _overlaps_itself(one):
        return None
    params = dict(one.params)
    if one.runtime is not None:
        params = {
            key: value if isinstance(value, bool) else Runtime(str(id(one.runtime)), key)
            for key, value in one.runtime.result.items()
        }
    name = one.name
    if name == "matmul" and _is_sum_of_rows(one):
        name, inputs = "column_sum", inputs[1:]
    if name == "copy":
        same = inputs[0].dtype == outputs[0].dtype
        name, params = ("copy", {}) if same else ("cast", {"dtype": outputs[0].dtype})
        if inputs[0].shape != outputs[0].shape:
            return None
    if name == "relu":
        inputs = inputs[:1]  # its ufunc takes the limits, too
    return Step(name, inputs, outputs, params)


def _overlaps_itself(one: Instruction) -> bool:
    """Whether it reads other elements of what it writes: NumPy takes a copy of them then, and loops do not."""
    return any(
        _meet(target, read) and target.geometry != read.geometry
        for target in (*one.made, *one.writes)
        for read in one.reads
    )


def _is_sum_of_rows(one: Instruction) -> bool:
    """Whether a product is that of ones with a matrix, which is how a bias has its gradient from BLAS."""
    first, second = one.inputs
    if len(first.shape) != 1 or len(second.shape) != 2 or first.memory.kind != "constant":
        return False
    return bool((first.array_in(first.memory.array) == 1).all())


def _operand(value: Any) -> Any:
    from .loops import Operand

    if not isinstance(value, Value):
        return value
    memory = value.memory
    name = f"{memory.number} {value.geometry}"
    return Operand(name, value.shape, value.dtype, value.strides, f"m{memory.number}", value.offset)


def _kernel(run: list[tuple[Instruction, Step]], later: set[Memory]) -> list[Instruction]:
    from .loops import Operand, Runtime, Step, build

    values: dict[str, Value] = {}
    inner: set[str] = set()
    for one, _ in run:
        for value in (*one.reads, *one.made, *one.writes):
            name = _operand(value).name
            values.setdefault(name, value)
            if value.memory.kind == "internal" and not value.memory.kept and value.memory not in later:
                inner.add(name)
    # Names by position, so that equal runs have equal sources, which are compiled once.
    order = {name: f"v{at}" for at, name in enumerate(values)}
    memories = {memory: f"m{at}" for at, memory in enumerate(dict.fromkeys(value.memory for value in values.values()))}
    actions = list(dict.fromkeys(one.runtime for one, _ in run if one.runtime is not None))
    sources = {str(id(action)): str(at) for at, action in enumerate(actions)}

    def rename(thing: Any) -> Any:
        if isinstance(thing, Runtime):
            return Runtime(sources[thing.name], thing.key)
        if not isinstance(thing, Operand):
            return thing
        memory = memories[values[thing.name].memory]
        return Operand(order[thing.name], thing.shape, thing.dtype, thing.strides, memory, thing.offset)

    steps = [
        Step(
            step.op,
            tuple(map(rename, step.inputs)),
            tuple(map(rename, step.outputs)),
            {key: rename(value) for key, value in step.params.items()},
        )
        for _, step in run
    ]
    kernel = build(steps, {order[name] for name in inner})
    by_order = {order[name]: value for name, value in values.items()}
    arguments = tuple(by_order[operand.name] for operand in kernel.arguments)
    made = [value for one, _ in run for value in (*one.made, *one.writes)]
    mine = [value for value in arguments if any(_meet(value, other) for other in made)]
    return [
        Instruction(
            " + ".join(dict.fromkeys(one.name for one, _ in run)),
            "kernel",
            kernel,  # type: ignore[arg-type]
            inputs=arguments,
            outputs=tuple(value for value in mine if value.memory.kind == "internal"),
            params={"numbers": [(actions[int(one.name)], one.key) for one in kernel.runtime]},
            site=run[0][0].site,
            writes=tuple(value for value in mine if value.memory.kind != "internal"),
            pure=False,
            updates=any(one.updates for one, _ in run),
            flushes=any(one.flushes for one, _ in run),
            phases=frozenset(phase for one, _ in run for phase in one.phases),
        )
    ]
