"""A plan as a `GraphView`: one node for each instruction, between what comes from outside and what the step leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.compiler import CompiledStep
from autograd_ff.compiler.plan import Instruction, Plan
from autograd_ff.compiler.values import Memory
from autograd_ff.compiler.values import Value as Array
from autograd_ff.engine import TensorCore

from ..drawing.labels import bytes_text
from ..graph.enclosing import common_module
from ..graph.view import Edge, GraphView, Module, Node, Value
from ..tracing.arguments import arguments, text_of
from ..tracing.names import Names
from ..tracing.sources import source_of
from .flow import Flow, Key, Made, Read, key_of, name_of, results_of, runtime_of
from .lifetimes import Lifetime, lifetimes, replaced_by
from .phases import phases_of

__all__ = ["plan_of", "plan_view"]

_HELD = 3  # parameters named as what a flat buffer holds


def plan_of(target: Any) -> Plan | None:
    """The plan that a target is or has; None of what is neither a plan nor a compiled step.

    Raises:
        CaptureError: the step has no plan yet.
    """
    if isinstance(target, CompiledStep):
        return target.plan
    return target if isinstance(target, Plan) else None


def plan_view(plan: Plan, names: Names, name: str = "") -> GraphView:
    """The graph of a plan.

    Edges are the arrays that an instruction reads, from who wrote them last. Nodes say which buffer of the arena their
    results lie in; the ``step`` of a node is the position of its instruction in the plan.
    """
    return _Drawing(plan, names).view(name)


class _Drawing:
    def __init__(self, plan: Plan, names: Names) -> None:
        self.plan = plan
        self.names = names
        self.flow = Flow(plan)
        self.phases = phases_of(plan)
        self.living = {one.memory: one for one in lifetimes(plan)}
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.modules: list[Module] = []
        self._ids: dict[Any, int] = {}  # of nodes, by what they stand for
        self._of_outside = _Outside(plan, names)
        self._losses = self._find_losses()
        self._homes = self._boxes()

    def view(self, name: str) -> GraphView:
        for value in self.plan.arguments:
            if value.memory.kind == "argument":
                self._add_outside(key_of(value), value)
        for at, one in enumerate(self.plan.instructions):
            self._add_instruction(at, one)
        count = len(self.plan.results)
        for position, reads in self.flow.results.items():
            self._add_end("output" if count == 1 else f"output[{position}]", reads)
        for (tensor, _), reads in zip(self.plan.gradients, self.flow.gradients, strict=True):
            if reads:
                self._add_end(self._of_outside.gradient(tensor), reads, backward=True)
        self._move_home()
        return GraphView(tuple(self.nodes), tuple(self.edges), tuple(self.modules), name)

    # ---------------------------------------------------------------- nodes

    def _add(self, what: Any, **details: Any) -> int:
        number = self._ids[what] = len(self.nodes)
        self.nodes.append(Node(number, **details))
        return number

    def _add_outside(self, key: Key, value: Array) -> int:
        if key in self._ids:
            return self._ids[key]
        kind, names, said = self._of_outside.tell(value)
        return self._add(key, kind=kind, names=names, arguments=said, outputs=(_value(value),))

    def _add_instruction(self, at: int, one: Instruction) -> None:
        for read in self.flow.reads[at]:
            if not isinstance(read.origin, Made):
                self._add_outside(read.origin, self.flow.outside[read.origin])
        results = results_of(one)
        op, said = _words(one)
        if at in self._losses:
            kind = "loss"
        elif one.form in ("action", "write", "kernel"):
            kind = one.form
        else:
            known = engine.OPS.get(one.name)
            kind = "kernel" if known is not None and known.kind == "kernel" else "op"
        buffers = [self.living[value.memory] for value in results if value.memory in self.living]
        largest = max(buffers, key=lambda living: (living.first == at, living.size), default=None)
        number = self._add(
            ("instruction", at),
            kind=kind,
            op=op,
            outputs=tuple(_value(value) for value in results),
            names=("numbers",) if one.runtime is not None and one.form == "action" and one.runtime.result else (),
            arguments=said,
            source=None if one.site is None else source_of(one.site),
            backward=self.phases[at] == "backward",
            step=at,
            measures=() if largest is None else (("buffer", float(largest.buffer)),),
            memory=self._memory(at, one, results),
        )
        for position, read in enumerate(self.flow.reads[at]):
            self._connect(read, number, position)
        for action in runtime_of(one):
            position = len(self.flow.reads[at])
            self.edges.append(Edge(self._ids[action], number, 0, position, "numbers"))
        if one.form == "action":
            self._ids[one.runtime] = number

    def _add_end(self, name: str, reads: list[Read], backward: bool = False) -> None:
        for read in reads:
            if not isinstance(read.origin, Made):  # handed on as it came
                self._add_outside(read.origin, self.flow.outside[read.origin])
        number = self._add(
            ("end", len(self.nodes)),
            kind="output",
            names=(name,),
            outputs=tuple(_value(read.value) for read in reads[:1]),
            backward=backward,
        )
        for position, read in enumerate(reads):
            self._connect(read, number, position)

    def _connect(self, read: Read, target: int, position: int) -> None:
        if isinstance(read.origin, Made):
            source, output = self._ids["instruction", read.origin.instruction], read.origin.output
        else:
            source, output = self._ids[read.origin], 0
        self.edges.append(Edge(source, target, output, position, "", _value(read.value)))

    def _find_losses(self) -> set[int]:
        """What makes a single number that the step returns, where it has a backward pass, too."""
        found: set[int] = set()
        if "backward" not in self.phases:
            return found
        for reads in self.flow.results.values():
            for read in reads:
                one = read.origin
                if isinstance(one, Made) and self.phases[one.instruction] == "forward" and not one.output:
                    plain = self.plan.instructions[one.instruction].form != "kernel"
                    if plain and read.value.shape == () and read.value.dtype.kind == "f":
                        found.add(one.instruction)
        return found

    # ---------------------------------------------------------------- memory

    def _memory(self, at: int, one: Instruction, results: list[Array]) -> str:
        """Where the results of an instruction lie, and in whose place."""
        texts: list[str] = []
        for value in results:
            memory = value.memory
            living = self.living.get(memory)
            if living is not None:
                before = replaced_by(one, at, self.living, value)
                place = (
                    ", in place" if living.first < at or before is not None
                    else f", {bytes_text(living.size)} at {living.offset:#x}"
                )  # fmt: skip
                texts.append(f"buffer {living.buffer}{place}")
            elif memory.kind == "internal":
                texts.append(f"gradients, {bytes_text(value.nbytes)} at {value.offset:#x}")
            elif memory.kind == "fresh":
                texts.append("allocated at each call")
        return " · ".join(texts) if len(texts) < 3 else _places([self.living.get(one.memory) for one in results], texts)

    # ---------------------------------------------------------------- boxes

    def _boxes(self) -> list[int | None]:
        """For each instruction the box of its phase: a new one wherever the phase changes."""
        homes: list[int | None] = []
        before = ""
        for phase, one in zip(self.phases, self.plan.instructions, strict=True):
            if not phase:
                homes.append(None)
                continue
            if phase != before:
                call = sum(module.name == phase for module in self.modules)
                source = None if one.site is None else source_of(one.site)
                self.modules.append(
                    Module(
                        len(self.modules), "phase", phase, phase, call=call, source=source, backward=phase == "backward"
                    )
                )
            homes.append(len(self.modules) - 1)
            before = phase
        return homes

    def _move_home(self) -> None:
        """Put every node into its box: arrays where they are read, gradients where they are made."""
        readers: dict[int, list[int]] = {}
        makers: dict[int, list[int]] = {}
        for edge in self.edges:
            readers.setdefault(edge.source, []).append(edge.target)
            makers.setdefault(edge.target, []).append(edge.source)
        for node in self.nodes:
            if node.step is not None:
                around = [node.id]
            elif node.kind == "output":
                around = makers.get(node.id, []) if node.backward else []
            elif node.kind == "input":
                around = []
            else:
                around = readers.get(node.id, [])
                around = [one for one in around if not self.nodes[one].backward] or around
            steps = [self.nodes[one].step for one in around]
            places = [None if step is None else self._homes[step] for step in steps]
            self.nodes[node.id] = replace(node, module=common_module(self.modules, places))


class _Outside:
    """What the values are that come from outside."""

    def __init__(self, plan: Plan, names: Names) -> None:
        self._names = names
        self._leaves = [tensor for tensor, _ in plan.gradients if isinstance(tensor, TensorCore)]
        self._arguments = {value.memory: at for at, value in enumerate(plan.arguments)}
        self._only = len(plan.arguments) == 1
        self._state: dict[Memory, list[Array]] = {}
        for one in plan.instructions:
            for value in (*one.reads, *one.writes):
                if value.memory.kind == "state":
                    self._state.setdefault(value.memory, []).append(value)

    def tell(self, value: Array) -> tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]:
        """Kind, names and arguments of the node."""
        memory = value.memory
        if memory.kind == "gradient":
            return "input", (f"{self.gradient(memory.source)} before",), ()
        if memory.kind == "argument":
            return "input", (value.name or ("x" if self._only else f"x{self._arguments.get(memory, '')}"),), ()
        if memory.array is None:
            return "constant", (value.name,) if value.name else (), ()
        array = value.array_in(memory.array)
        if memory.kind == "constant":
            return "constant", (), tuple(_constant(array))
        same = next((one.array for one in self._leaves if _are_same(one.array, array)), array)
        kind, known = self._names.of_array(same)
        if known:
            return "buffer" if kind == "buffer" else "parameter", known, ()
        held = [
            one for one in self._leaves if one.array.nbytes < array.nbytes and np.may_share_memory(one.array, array)
        ]
        is_parameter = held or any(np.may_share_memory(one.array, array) for one in self._leaves)
        names = [self._named(one) for one in held]
        said = (("holds", ", ".join([*names[:_HELD], *["…"] * (len(names) > _HELD)])),) if any(names) else ()
        return "parameter" if is_parameter else "buffer", (value.name or "state",), said

    def gradient(self, tensor: Any) -> str:
        """What a tensor's gradient is called."""
        name = self._named(tensor)
        return f"{name}.grad" if name else "gradient"

    def _named(self, tensor: Any) -> str:
        _, known = self._names.of_array(tensor.array)
        if known:
            return known[0]
        for values in self._state.values():
            for value in values:
                array = None if value.memory.array is None else value.array_in(value.memory.array)
                if value.name and array is not None and _are_same(tensor.array, array):
                    return value.name
        return ""


def _are_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are the same look at the same memory."""
    return one.shape == other.shape and one.__array_interface__["data"] == other.__array_interface__["data"]


def _words(one: Instruction) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The name of an instruction, and what it is given beside arrays."""
    name = name_of(one)
    if one.form in ("action", "kernel"):
        return name, ()
    if one.name == "copy" and name != "copy":
        return "cast", (("dtype", name.removeprefix("to ")),)
    known = engine.OPS.get(one.name)
    said: list[tuple[str, str]] = []
    if known is not None and one.runtime is None:
        said += arguments(known, one.params)
        for name, given in zip(known.inputs, one.inputs, strict=False):
            if isinstance(given, (bool, int, float, complex)):
                said.append((name, text_of(given)))
    return one.name, tuple(said)


def _constant(array: np.ndarray) -> Iterator[tuple[str, str]]:
    """The number that a constant is made of, where it is but one."""
    if array.size and (array == array.reshape(-1)[0]).all():
        yield "value", text_of(array.reshape(-1)[0])


def _places(living: list[Lifetime | None], texts: list[str]) -> str:
    """Where many results lie, in a line that a label has room for: every buffer by its number."""
    buffers = sorted({one.buffer for one in living if one is not None})
    runs: list[list[int]] = []
    for number in buffers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    numbers = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    others = dict.fromkeys(text.split(",")[0] for text in texts if not text.startswith("buffer"))
    return " · ".join([*[f"buffer{'s' if len(buffers) > 1 else ''} {numbers}"] * bool(buffers), *others])


def _value(value: Array) -> Value:
    return Value(tuple(int(side) for side in value.shape), str(value.dtype))
