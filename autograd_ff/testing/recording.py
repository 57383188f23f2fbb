"""What a computation did, op by op, kept for a second look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Node, Observer, Op, Scope, Site, TensorCore, calling_site, observe
from ..engine.state import LOCAL
from .numeric import complex_step

__all__ = ["Recorded", "Recording", "Replay", "complex_replay", "dependent_ops", "record"]


@dataclass(eq=False)
class Recorded:
    """One op that ran, with copies of its inputs: what was written in place later does not reach them."""

    step: int  # position among all ops that ran
    op: Op
    inputs: list[Any]
    params: dict[str, Any]
    given: list[Any]  # the very arrays, which tell by identity which op made them …
    outputs: tuple[Any, ...]  # … and those that it made
    node: Node | None
    scope: Scope | None
    site: Site | None

    @property
    def in_function(self) -> bool:
        """Whether it ran inside the forward of a user's Function, which stands for it."""
        return self.scope is not None and any(scope.kind == "function" for scope in self.scope.chain())


@dataclass(eq=False)
class Read:
    """A value that left the graph for Python or NumPy."""

    array: np.ndarray
    how: str
    site: Site | None


class Recording(Observer):
    """Everything that ran while it was observing."""

    def __init__(self) -> None:
        self.ops: list[Recorded] = []
        self.reads: list[Read] = []

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Node | None,
           scope: Scope | None) -> None:  # fmt: skip
        site = (None if node is None else node.site) or calling_site()
        kept = [value.copy() if isinstance(value, np.ndarray) else value for value in inputs]
        self.ops.append(Recorded(len(self.ops), op, kept, params, list(inputs), outputs, node, scope, site))

    def read(self, tensor: Any, how: str) -> None:
        scope = LOCAL.state.scope
        if scope is None or all(around.kind != "function" for around in scope.chain()):  # a Function's own business
            self.reads.append(Read(tensor.array, how, calling_site()))


def record(function: Callable[..., Any], tensors: Sequence[TensorCore]) -> tuple[Recording, Any]:
    """Run a function, and keep all that it did."""
    with observe(recording := Recording()):
        result = function(*tensors)
    return recording, result


def dependent_ops(recording: Recording, inputs: Sequence[np.ndarray]) -> list[Recorded]:
    """The ops on whose way values of the inputs went on, in order."""
    dependent = {id(array) for array in inputs}
    found: list[Recorded] = []
    for one in recording.ops:
        if any(id(value) in dependent for value in one.given):
            found.append(one)
            dependent.update(id(output) for output in one.outputs)
    return found


class Replay:
    """A recorded computation as a function of its inputs, real or complex, without the engine.

    Its derivative by complex step is exact to rounding. What left the graph on the way, through NumPy say, it takes for
    a constant.
    """

    def __init__(
        self,
        program: list[Recorded],
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        values: list[np.ndarray],
    ) -> None:
        self._program = program
        self._inputs = inputs
        self._outputs = outputs
        self._values = values

    def __call__(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """All outputs end to end."""
        known = {id(array): value for array, value in zip(self._inputs, values, strict=True)}
        for one in self._program:
            result = one.op.forward(*(known.get(id(value), value) for value in one.given), **one.params)
            results = result if one.op.outputs > 1 or one.op.residuals else (result,)
            for output, value in zip(one.outputs, results, strict=False):
                known[id(output)] = np.asarray(value)
        return np.concatenate([np.ravel(known.get(id(output), output)) for output in self._outputs])

    def derivative(self, position: int, direction: np.ndarray) -> np.ndarray:
        """Of all outputs, where one input moves along a direction; by complex step."""
        directions = [np.zeros_like(value) for value in self._values]
        directions[position] = direction
        return complex_step(lambda *values: self(values), self._values, directions)


def complex_replay(
    recording: Recording, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], values: list[np.ndarray]
) -> Replay | None:
    """The recorded computation for complex inputs; None where complex numbers would give nonsense.

    Every op on the way from the inputs must be marked analytic. A read by Python, a write in place or a user's Function
    ends the way: what happened there is not known.
    """
    program = dependent_ops(recording, inputs)
    if any(not one.op.analytic or one.op.mutates or one.in_function for one in program):
        return None
    reached = {id(array) for array in inputs} | {id(output) for one in program for output in one.outputs}
    if any(id(read.array) in reached for read in recording.reads):
        return None
    return Replay(program, inputs, outputs, values)
