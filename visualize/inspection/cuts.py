"""Which parameters no gradient reaches, and where the path from them to the loss was cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.engine import Leaf, Op, TensorCore, cast
from autograd_ff.engine import Node as Recorded
from autograd_ff.engine.dispatch import SELECT
from autograd_ff.nn.parameter import Parameter
from autograd_ff.rules.elementwise import zero

from ..graph.view import Source
from ..tracing.observed import Watch
from ..tracing.sources import running_source, source_of_node

__all__ = ["Cut", "Flow", "reached"]

_SHAPE_ONLY = {"dropout_mask", "zeros_like", "ones_like", "full_like"}  # they read no values
_LEAVING = {"numpy", "item", "tolist", "array", "bool"}  # how a value becomes Python's


@dataclass(frozen=True, slots=True)
class Cut:
    """One place where a gradient could have gone on and does not."""

    reason: str
    source: Source | None
    step: int | None = None  # the operation to mark
    reader: int | None = None  # the operation that reads the value without its gradient …
    input: int = 0  # … as this input


@dataclass(eq=False, slots=True)
class _Step:
    op: Op
    recording: bool
    node: Recorded | None
    sources: list[int | Leaf | None]  # what made each input: the number of an operation, or a leaf
    line: Source | None


@dataclass(eq=False, slots=True)
class _Read:
    how: str
    source: int | Leaf | None
    line: Source | None


@dataclass(eq=False)
class Flow(Watch):
    """Follows which values go into which, with a gradient or without."""

    parameters: Sequence[Parameter] = ()
    steps: list[_Step] = field(default_factory=list)
    reads: list[_Read] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[np.ndarray, int | Leaf]] = {}  # an id means something while its array lives
        for parameter in self.parameters:
            if isinstance(parameter.node, Leaf):
                self._made[id(parameter.array)] = parameter.array, parameter.node

    def saw(self, step: int, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...],
            node: Recorded | None) -> None:  # fmt: skip
        parents: Sequence[Recorded | None] = node.parents if node is not None else ()
        sources: list[int | Leaf | None] = []
        for position, value in enumerate(inputs):
            parent = parents[position] if position < len(parents) else None
            if op.name in _SHAPE_ONLY:
                sources.append(None)
            else:
                sources.append(self._node(parent) if parent is not None else self._array(value))
        if op is cast and node is None and len(sources) == 1 and sources[0] is not None:  # a promotion is no step
            origin = sources[0]
        else:
            origin = step
        for value in outputs:
            if isinstance(value, np.ndarray):
                self._made[id(value)] = value, origin
        known = any(one is not None for one in sources)
        line = running_source() if known and node is None else None
        self.steps.append(_Step(op, engine.is_grad_enabled(), node, sources, line))

    def read(self, tensor: Any, how: str) -> None:
        source = self._node(tensor.node) if tensor.node is not None else self._array(tensor.array)
        if source is not None:
            self.reads.append(_Read(how, source, running_source()))

    def _node(self, node: Recorded) -> int | Leaf | None:
        while node not in self.step_of and not isinstance(node, Leaf) and node.parents and node.parents[0] is not None:
            node = node.parents[0]  # of an op with several outputs
        return node if isinstance(node, Leaf) else self.step_of.get(node)

    def _array(self, value: Any) -> int | Leaf | None:
        known = self._made.get(id(value)) if isinstance(value, np.ndarray) else None
        return None if known is None else known[1]

    # ---------------------------------------------------------------- afterwards

    def origin(self, value: Any) -> int | Leaf | None:
        """What made a result."""
        if not isinstance(value, TensorCore):
            return self._array(value)
        return self._node(value.node) if value.node is not None else self._array(value.array)

    def line_of(self, step: int) -> Source | None:
        """The user's line of an operation."""
        one = self.steps[step]
        return one.line if one.node is None else source_of_node(one.node)

    def cuts(self, leaf: Leaf, results: Iterable[int | Leaf | None]) -> list[Cut]:
        """Where each way from a parameter to the results ends, in the order of the run; none if it was never read."""
        wanted = self._leading_to(results)
        region: set[int | Leaf] = {leaf}  # where a gradient would flow on to the parameter
        touched: set[int | Leaf] = {leaf}  # what depends on it, gradient or not
        found: dict[tuple[str, Source | None], Cut] = {}
        for number, step in enumerate(self.steps):
            for position, source in enumerate(step.sources):
                if source is None or source not in touched:
                    continue
                touched.add(number)
                if source not in region:
                    continue
                followed = step.node is not None and step.node.parents[position] is not None
                if followed and _has_rule(step.op, position):
                    region.add(number)
                    continue
                if number in wanted:
                    cut = self._cut(number, position, source)
                    found.setdefault((cut.reason, cut.source), cut)
        if not found:
            for read in self.reads:
                if read.source in touched and read.how in _LEAVING:
                    at = read.source if isinstance(read.source, int) else None
                    how = "np.asarray" if read.how == "array" else read.how
                    cut = Cut(f"{how}() takes the value out of the graph", read.line, at)
                    found.setdefault((cut.reason, cut.source), cut)
        if not found and len(touched) > 1:
            last = max(one for one in touched if isinstance(one, int))
            name = self.steps[last].op.name
            found["", None] = Cut(f"the loss does not depend on what {name} makes of it", self.line_of(last), last)
        # A mask beside the values, as a comparison makes it, is seldom what was meant to carry the gradient.
        return sorted(
            found.values(), key=lambda cut: cut.reader is not None and not self.steps[cut.reader].op.differentiable
        )

    def _leading_to(self, results: Iterable[int | Leaf | None]) -> set[int]:
        work = [one for one in results if isinstance(one, int)]
        wanted = set(work)
        while work:
            for source in self.steps[work.pop()].sources:
                if isinstance(source, int) and source not in wanted:
                    wanted.add(source)
                    work.append(source)
        return wanted

    def _cut(self, number: int, position: int, source: int | Leaf) -> Cut:
        step = self.steps[number]
        before = source if isinstance(source, int) else None
        line = self.line_of(number)
        if step.op.differentiable and _rule(step.op, position) is zero and (step.node is not None or step.recording):
            return Cut(f"the derivative of {step.op.name} is 0 everywhere", line, number, number, position)
        if not step.op.differentiable or (step.node is not None and step.node.parents[position] is not None):
            return Cut(f"{step.op.name} has no derivative", line, number, number, position)
        if step.node is None and not step.recording:
            return Cut("no_grad() is on", line, number, number, position)
        for read in self.reads:
            if read.source == source and read.how in ("detach", "data"):
                return Cut(
                    "detach() cuts it" if read.how == "detach" else ".data cuts it", read.line, before, number, position
                )
        return Cut(f"{step.op.name} reads it without its gradient", line, before, number, position)


def _rule(op: Op, position: int) -> Any:
    """The derivative rule of one input; None where there is none, or one for all inputs."""
    rule = op.vjps[position] if position < len(op.vjps) else None
    return None if rule is None else rule.function


def _has_rule(op: Op, position: int) -> bool:
    """Whether a gradient other than 0 can go through an input."""
    if op is SELECT or op.joint is not None or op.pullback is not None:
        return True
    return _rule(op, position) not in (None, zero)


def reached(roots: Iterable[Recorded]) -> set[Recorded]:
    """All nodes that a backward pass from the roots comes to."""
    seen = set(roots)
    work = list(seen)
    while work:
        node = work.pop()
        for position, parent in enumerate(node.parents):
            if parent is not None and parent not in seen and _has_rule(node.op, position):
                seen.add(parent)
                work.append(parent)
    return seen
