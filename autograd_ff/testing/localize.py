"""Which op of a computation has the wrong gradient: each node's own rule, held against its own numeric derivative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine import Node, Observer, Scatter, TensorCore, observe, run_backward, wrap
from ..engine.dispatch import SELECT, select_node
from .causes import likely_cause
from .comparison import BackwardFailed, Comparison, Outcome, Tolerance, dense, told
from .recording import Recorded, Recording
from .report import FAIL, KINK, UNRELIABLE, Culprit, Entry
from .rerun import run
from .subject import Arrays, Subject, parameter_names, second_order, split

__all__ = ["LocalCheck", "Located", "find_cut", "locate"]

_FULL = 1024  # entries of a node's Jacobian that are computed one by one


class LocalCheck:
    """One recorded op by itself: the rule of its own node, on what that node saved, against a fresh run of the op."""

    def __init__(self, one: Recorded, tolerance: Tolerance) -> None:
        assert one.node is not None
        self.one = one
        self.node: Node = one.node
        self.positions = [
            position
            for position, parent in enumerate(self.node.parents)
            if parent is not None and isinstance(one.inputs[position], np.ndarray)
        ]
        values = [np.array(one.inputs[position], np.float64) for position in self.positions]
        names = [self.name(position) for position in self.positions]
        self.subject = Subject(self.call, values, names)
        self.outputs = [
            output
            for output in (one.outputs if one.op.pullback is not None else one.outputs[: one.op.outputs])
            if isinstance(output, np.ndarray)
        ]
        narrow = max((float(np.finfo(one.dtype).eps) for one in self.outputs if one.dtype.kind == "f"), default=0.0)
        rtol, atol = max(tolerance.rtol, 64 * narrow), max(tolerance.atol, 64 * narrow)
        self.tolerance = Tolerance(rtol, atol, tolerance.seed, min(tolerance.full, _FULL))

    def name(self, position: int) -> str:
        op = self.one.op
        if op.pullback is not None:
            names = parameter_names(op.function.apply)
            return names[position] if position < len(names) else f"input {position}"
        return f"input {position}" if op.variadic else op.inputs[position]

    def call(self, *tensors: Any) -> Any:
        given = [wrap(one) if isinstance(one, np.ndarray) else one for one in self.one.inputs]
        for position, tensor in zip(self.positions, tensors, strict=True):
            given[position] = tensor
        return run(self.one.op, tuple(given), self.one.params)

    def gradients(self, upstream: np.ndarray) -> Arrays:
        """What the recorded node itself makes of an upstream gradient, input by input."""
        floating = [place for place, output in enumerate(self.outputs) if output.dtype.kind == "f"]
        places = [place for number, place in enumerate(floating) if number not in self.subject.constant]
        seeds = split(upstream, [wrap(self.outputs[place]) for place in places])
        roots = [self.node]
        if isinstance(self.node.shape, tuple) and self.node.shape and isinstance(self.node.shape[0], tuple):
            roots = [select_node(self.node, place, self.outputs[place]) for place in places]
        hooks, self.node.hooks = self.node.hooks, None  # they are the user's, not the rule's
        try:
            with observe(catch := _Catch(self.node)):
                run_backward(
                    roots, seeds, wanted=[one for one in self.node.parents if one is not None], retain_graph=True
                )  # fmt: skip
        finally:
            self.node.hooks = hooks
        found: Arrays = []
        for position, value in zip(self.positions, self.subject.values, strict=True):
            gradient = catch.gradients[position] if position < len(catch.gradients) else None
            total = np.zeros(value.shape)
            if isinstance(gradient, Scatter):
                Scatter(gradient.index, _array(gradient.gradient)).add_into(total)
            elif gradient is not None:
                total += _array(gradient)
            found.append(total)
        return found

    def release(self) -> None:
        """Let go of the graph: what was found is kept by reports, which may outlive it."""
        self.subject.forget()
        self.one = replace(
            self.one, node=None, given=[], outputs=(), params={} if self.one.op.pullback else self.one.params
        )
        self.node = None  # type: ignore[assignment]

    def comparison(self) -> Comparison:
        """The node's own gradients, held against the op's numeric ones."""
        subject = self.subject
        try:
            subject.record()
            exact = subject.replay()
        except Exception:  # the op cannot be run by itself, as the comparison will find too
            exact = None
        return Comparison(
            subject.evaluate, self.gradients, subject.values, subject.names, self.tolerance,
            exact=exact, epsilon=subject.epsilon, one_op=True,
        )  # fmt: skip


class _Catch(Observer):
    """The gradients that one node gives its inputs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.gradients: list[Any] = []

    def backward(self, node: Node, gradient: Any, input_gradients: list[Any]) -> None:
        if node is self._node:
            self.gradients = list(input_gradients)


def _array(value: Any) -> np.ndarray:
    return value.array if isinstance(value, TensorCore) else np.asarray(value)


class Located:
    """What a walk over all nodes found: the op whose own rule is wrong, and the ops that stand at a kink."""

    def __init__(self) -> None:
        self.culprit: Culprit | None = None
        self.check: LocalCheck | None = None
        self.kinks: list[str] = []


def locate(recording: Recording, tolerance: Tolerance, order: int = 1) -> Located:
    """Check each recorded node by itself, in the order in which they ran, up to the first whose own rule is wrong."""
    found = Located()
    for one in recording.ops:
        if one.node is None or one.node.op is SELECT or one.in_function or not one.node.parents:
            continue
        check = LocalCheck(one, tolerance)
        if not check.positions:
            continue
        comparison = check.comparison()
        outcome = _guarded(comparison)
        if outcome.verdict == KINK:
            found.kinks.append(_describe(one))
        if outcome.verdict == FAIL:
            cause = likely_cause(comparison, outcome.entries, lambda check=check: check.subject.gradients)  # type: ignore[misc]
        elif order == 2:
            outcome = _second(check)
            cause = "its value is right, but gradients do not flow through the rule itself as they should"
        if outcome.verdict == FAIL:
            found.check = check
            check.release()
            found.culprit = _culprit(one, outcome, cause)
            return found
    return found


def _guarded(comparison: Comparison) -> Outcome:
    try:
        return comparison.outcome()
    except BackwardFailed as error:
        return Outcome(FAIL, note=told(error).replace("\n  at ", ", at ").split("\n")[0])
    except Exception:  # the op cannot be run by itself, so there is nothing to hold against it
        return Outcome(UNRELIABLE)


def _second(check: LocalCheck) -> Outcome:
    """The gradient of one op's gradient."""
    try:
        shapes = [output.shape for output in check.subject.evaluate(check.subject.values)]
    except Exception:  # the op cannot be run by itself
        return Outcome(UNRELIABLE)
    generator = np.random.default_rng(check.tolerance.seed)
    subject = second_order(check.subject, [dense(generator, shape) for shape in shapes])
    return _guarded(
        Comparison(
            subject.evaluate, subject.gradients, subject.values, subject.names, check.tolerance, epsilon=subject.epsilon
        )
    )


def _describe(one: Recorded) -> str:
    return f"{one.op.name} at {one.site}" if one.site is not None else one.op.name


_KINDS = {"function": "Function", "kernel": "kernel", "primitive": "op", "composite": "composite"}


def _culprit(one: Recorded, outcome: Outcome, cause: str) -> Culprit:
    entry: Entry | None = max(
        (entry for entry in outcome.entries if entry.verdict == FAIL), key=lambda entry: entry.error, default=None
    )
    return _blamed(one, entry, cause if not outcome.note else outcome.note)


def _blamed(one: Recorded, entry: Entry | None, cause: str, cut: bool = False) -> Culprit:
    kind = _KINDS.get(one.op.kind, one.op.kind)
    return Culprit(one.op.name, kind, one.step, entry, None if one.site is None else str(one.site), cause, cut)


def find_cut(recording: Recording, inputs: Sequence[np.ndarray], names: Sequence[str]) -> Culprit | None:
    """Where values of the inputs go on but their gradient does not: after detach(), under no_grad, through NumPy."""
    origin = {id(array): name for array, name in zip(inputs, names, strict=True)}
    reads = {id(read.array): read for read in reversed(recording.reads)}
    for one in recording.ops:
        if one.in_function:
            continue
        reached = [position for position, value in enumerate(one.given) if id(value) in origin]
        if not reached:
            continue
        for position in reached:
            floating = one.given[position].dtype.kind == "f"
            parents = [] if one.node is None else one.node.parents
            cut = position >= len(parents) or parents[position] is None
            if cut and floating and one.op.differentiable and one.op.name != "cast":
                read = reads.get(id(one.given[position]))
                how = "which is untracked: computed under no_grad(), or wrapped as an array"
                if read is not None:
                    how = f"after {read.how} at {read.site}" if read.site != one.site else f"after {read.how}"
                return _blamed(one, None, f"it reads a value of {origin[id(one.given[position])]} {how}", cut=True)
        for output in one.outputs:
            if isinstance(output, np.ndarray) and output.dtype.kind == "f":
                origin.setdefault(id(output), origin[id(one.given[reached[0]])])
    for read in sorted(recording.reads, key=lambda read: read.how in ("detach", "data")):  # rather what came of it
        if id(read.array) in origin and read.array.dtype.kind == "f":
            return Culprit(
                op=read.how,
                kind="read",
                step=next((one.step for one in recording.ops if any(read.array is made for made in one.outputs)), None),
                entry=None,
                site=None if read.site is None else str(read.site),
                cause=f"a value of {origin[id(read.array)]} leaves the graph here: what depends on it gets no gradient",
                cut=True,
            )
    return None
