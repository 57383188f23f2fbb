"""`measure`: a trace, and what a real run has to say about each of its nodes."""

from __future__ import annotations

import math
import statistics
import sys
from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from autograd_ff.engine import Node as Recorded
from autograd_ff.engine import Op, Scope
from autograd_ff.engine.versions import owner_of

from ..errors import PictureError, here
from ..graph.view import MEASURES, GraphView, Histogram, Node
from ..tracing.observed import Onlooker, Run, Watch, leaves_of

__all__ = ["measure"]

_BATCH = 8  # fewer samples than this say nothing about dead units


def measure(
    target: Any,
    *inputs: Any,
    loss: Callable[[Any], Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
    repeats: int = 3,
    bins: int = 24,
    dead: float = 0.25,
) -> GraphView:
    """The graph of a module or function with measurements of a real run, forward and backward.

    - ``forward``, ``backward``: seconds. An observer notes the time after each operation; what passed since the one
      before it was drawn counts as this one's, Python code between the two included. The observer itself adds some
      tenths of a microsecond to each. The median of ``repeats`` runs is taken, after a first one that is not timed.
    - ``saved``: bytes that the graph keeps for the backward pass. Memory that several operations save counts once, for
      the first of them; that of parameters, and of other leaves, does not count.
    - ``mean``, ``spread`` (standard deviation), ``norm``, ``smallest``, ``largest`` of the finite elements of what a
      node gives; ``zeros`` and ``nonfinite`` as shares of all elements. Of several outputs, of the first.
    - ``gradient mean`` and so on: of the gradient that arrives at the node's output. A ``gradient norm`` that falls or
      rises from layer to layer shows vanishing or exploding gradients.
    - histograms of the finite elements of both.

    A ReLU of which many units are zero for the whole batch is marked ``"dead"``. A unit is a column of a 2-D output,
    a channel (dim 1) of a 4-D one, and the last dim of others.

    The model's buffers, the ``.grad`` of parameters and the default random generator are left as they were.

    Args:
        target: a module or a function of tensors.
        inputs: what it is called with.
        loss: a function of its result that gives the loss. Without it the result itself is the loss if it is one
            number; else the gradients are those of the result times fixed random numbers.
        kwargs: keyword arguments for ``target``.
        names: what to call tensors, as in `trace`.
        repeats: how many runs are timed; with 0 the view has no times, and is the same in every run.
        bins: of a histogram; with 0 there are none.
        dead: share of dead units from which a ReLU is marked.

    Raises:
        PictureError: (a TypeError and ValueError) ``target`` is a Tensor, whose computation is over.

    >>> import autograd_ff as af, visualize
    >>> x = af.zeros(2, requires_grad=True)
    >>> view = visualize.measure(lambda x: x.exp().sum(), x)
    >>> exp = view.nodes[1]
    >>> exp.op, exp.measure("mean"), exp.measure("gradient norm"), exp.measure("saved")
    ('exp', 1.0, 1.4142135623730951, 8.0)
    """
    if repeats < 0 or bins < 0:
        raise PictureError(f"repeats and bins count something; they cannot be {repeats} and {bins}{here()}")
    run = Run(sys._getframe(1), target, inputs, kwargs, loss, names)
    with np.errstate(all="ignore"):
        values = _Values(bins, dead)
        run.trace(values)
        taken: dict[int, dict[str, float]] = {}
        histograms: dict[int, list[Histogram]] = {}
        marks: dict[int, str] = {}
        for step, (numbers, histogram, remark) in values.outputs.items():
            _note(run.id_at(step), numbers, histogram, taken, histograms)
            if remark and (at := run.id_at(step)) is not None:
                marks[at] = remark
        for (step, position), key in values.inputs.items():
            at = run.id_at(step)
            edge = None if at is None else run.edge(at, position)
            if edge is not None and not run.view.nodes[edge.source].op and edge.source not in taken:
                _note(edge.source, *values.arrays[key][1:], taken, histograms)
        for step, size in _saved(values.step_of).items():
            if (at := run.id_at(step)) is not None:
                taken.setdefault(at, {})["saved"] = float(size)
        if run.roots():
            _gradients(run, values.step_of, bins, taken, histograms)
        for name, times in zip(("forward", "backward"), _times(run, repeats, values.count), strict=True):
            for at, seconds in times.items():
                taken.setdefault(at, {})[name] = seconds
    return replace(
        run.view,
        nodes=tuple(
            _measured(node, taken.get(node.id, {}), histograms.get(node.id, []), marks) for node in run.view.nodes
        ),
    )


def _note(
    at: int | None, numbers: dict[str, float], histogram: Histogram | None, taken: dict[int, dict[str, float]],
    histograms: dict[int, list[Histogram]],
) -> None:  # fmt: skip
    if at is not None:
        taken.setdefault(at, {}).update(numbers)
        if histogram is not None:
            histograms.setdefault(at, []).append(histogram)


def _measured(node: Node, taken: dict[str, float], histograms: list[Histogram], marks: dict[int, str]) -> Node:
    return replace(
        node,
        measures=tuple((name, taken[name]) for name in MEASURES if name in taken),
        histograms=tuple(histograms),
        mark="dead" if node.id in marks else node.mark,
        remark=marks.get(node.id, node.remark),
    )


# ---------------------------------------------------------------- values


class _Values(Watch):
    """Takes statistics of every array as it goes by, for it may be overwritten later."""

    def __init__(self, bins: int, dead: float) -> None:
        super().__init__()
        self._bins = bins
        self._dead = dead
        self.outputs: dict[int, tuple[dict[str, float], Histogram | None, str]] = {}
        self.inputs: dict[tuple[int, int], int] = {}  # arrays that no operation made, by who reads them
        self.arrays: dict[int, tuple[np.ndarray, dict[str, float], Histogram | None]] = {}
        self._made: dict[int, np.ndarray] = {}  # an id means something only while its array lives

    def saw(self, step: int, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...],
            node: Recorded | None) -> None:  # fmt: skip
        for position, value in enumerate(inputs):
            if isinstance(value, np.ndarray) and id(value) not in self._made:
                self.inputs[step, position] = id(value)
                if id(value) not in self.arrays:
                    self.arrays[id(value)] = (value, *_statistics(value, self._bins))
        for value in outputs:
            if isinstance(value, np.ndarray):
                self._made[id(value)] = value
        if outputs and isinstance(outputs[0], np.ndarray):
            remark = _dead_units(op, inputs, outputs[0], self._dead)
            self.outputs[step] = (*_statistics(outputs[0], self._bins), remark)


def _statistics(array: Any, bins: int, of: str = "values") -> tuple[dict[str, float], Histogram | None]:
    """Measurements of an array, and how its elements are spread."""
    if not isinstance(array, np.ndarray) or not array.size or array.dtype.kind not in "fciub":
        return {}, None
    found: dict[str, float] = {"zeros": 1 - int(np.count_nonzero(array)) / array.size}
    numbers = np.abs(array) if array.dtype.kind == "c" else array
    if array.dtype.kind in "fc":
        finite = np.isfinite(numbers)
        found["nonfinite"] = 1 - int(np.count_nonzero(finite)) / array.size
        numbers = numbers if found["nonfinite"] == 0 else numbers[finite]
    if not numbers.size:
        return _of(of, found), None
    numbers = numbers.astype(np.float64).ravel()
    found["mean"], found["spread"] = float(numbers.mean()), float(numbers.std())
    found["norm"] = float(np.linalg.norm(numbers))
    found["smallest"], found["largest"] = float(numbers.min()), float(numbers.max())
    if not all(math.isfinite(one) for one in found.values()):  # beyond what float64 can square
        found = {name: one for name, one in found.items() if math.isfinite(one)}
        return _of(of, found), None
    histogram = None
    if bins and array.dtype.kind != "b":
        low, high = found["smallest"], found["largest"]
        counts, _ = np.histogram(numbers, bins, (low, high) if low < high else None)
        if low == high:
            low, high = low - 0.5, high + 0.5
        histogram = Histogram(of, low, high, tuple(int(count) for count in counts))
    return _of(of, found), histogram


def _of(of: str, found: dict[str, float]) -> dict[str, float]:
    if of == "values":
        return found
    return {f"gradient {name}": one for name, one in found.items() if f"gradient {name}" in MEASURES}


def _dead_units(op: Op, inputs: list[Any], output: np.ndarray, share: float) -> str:
    """What to say of a ReLU whose units are zero for the whole batch; "" where there is nothing to say."""
    if op.name != "relu" and not (
        op.name == "maximum" and any(type(one) in (int, float) and not one for one in inputs)
    ):
        return ""
    if output.ndim < 2:
        return ""
    unit = 1 if output.ndim in (2, 4) else output.ndim - 1
    others = tuple(axis for axis in range(output.ndim) if axis != unit)
    count = output.shape[unit]
    if not count or output.size // count < _BATCH:
        return ""
    silent = int(count - np.count_nonzero(np.any(output != 0, axis=others)))
    if silent == 0 or silent < share * count:
        return ""
    return f"{silent} of {count} units are 0 for the whole batch"


# ---------------------------------------------------------------- memory


def _saved(step_of: Mapping[Recorded, int]) -> dict[int, int]:
    """The bytes that each operation was the first to keep for the backward pass."""
    covered: dict[int, list[tuple[int, int]]] = {}
    for leaf in leaves_of(step_of):
        tensor = leaf.tensor()
        if tensor is not None:
            _cover(tensor.array, covered)
    found: dict[int, int] = {}
    for node, step in step_of.items():
        work: list[Any] = [node.saved, *node.params.values()]
        size = 0
        while work:
            value = work.pop()
            if isinstance(value, (tuple, list)):
                work += value
            elif isinstance(value, np.ndarray):
                size += _cover(value, covered)
        if size:
            found[step] = found.get(step, 0) + size
    return found


def _cover(array: np.ndarray, covered: dict[int, list[tuple[int, int]]]) -> int:
    """The bytes of an array that nothing before it covered; they are from now on."""
    if not array.size:
        return 0
    low, high = byte_bounds(array)
    spans = covered.setdefault(id(owner_of(array)), [])
    fresh = high - low
    for start, stop in spans:  # which are apart from each other
        fresh -= max(0, min(high, stop) - max(low, start))
    touching = [span for span in spans if span[0] <= high and low <= span[1]]
    for span in touching:
        spans.remove(span)
        low, high = min(low, span[0]), max(high, span[1])
    insort(spans, (low, high))
    return min(fresh, array.nbytes)


# ---------------------------------------------------------------- gradients


class _Arriving(Onlooker):
    """Takes statistics of the gradient that arrives at each operation's output."""

    def __init__(self, step_of: Mapping[Recorded, int], bins: int) -> None:
        self._step_of = step_of
        self._bins = bins
        self.found: dict[int, tuple[dict[str, float], Histogram | None]] = {}

    def backward(self, node: Recorded, gradient: Any, input_gradients: list[Any]) -> None:
        step = self._step_of.get(node)
        if step is not None:
            parts = gradient if isinstance(gradient, (list, tuple)) else [gradient]
            first = next((one for one in parts if one is not None), None)
            self.found[step] = _statistics(getattr(first, "array", first), self._bins, "gradient")


def _gradients(
    run: Run, step_of: Mapping[Recorded, int], bins: int, taken: dict[int, dict[str, float]],
    histograms: dict[int, list[Histogram]],
) -> None:  # fmt: skip
    arriving = _Arriving(step_of, bins)
    leaves = run.backward(arriving)
    for step, (numbers, histogram) in arriving.found.items():
        _note(run.id_at(step), numbers, histogram, taken, histograms)
    for leaf, at in run.leaf_ids(step_of).items():
        if leaf in leaves:
            _note(at, *_statistics(leaves[leaf], bins, "gradient"), taken, histograms)


# ---------------------------------------------------------------- times


class _Clock(Onlooker):
    """Notes when each operation was done, and does as little as it can beside."""

    def __init__(self) -> None:
        self.forward: list[int] = []
        self.nodes: list[Recorded | None] = []
        self.passed: list[tuple[Recorded, int]] = []
        self._last = 0

    def start(self) -> None:
        self._last = perf_counter_ns()

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Recorded | None,
           scope: Scope | None) -> None:  # fmt: skip
        self.forward.append(perf_counter_ns() - self._last)
        self.nodes.append(node)
        self._last = perf_counter_ns()

    def backward(self, node: Recorded, gradient: Any, input_gradients: list[Any]) -> None:
        self.passed.append((node, perf_counter_ns() - self._last))
        self._last = perf_counter_ns()


def _times(run: Run, repeats: int, count: int) -> tuple[dict[int, float], dict[int, float]]:
    """Seconds of each node, forward and backward: medians of several runs."""
    forward: dict[int, list[float]] = {}
    backward: dict[int, list[float]] = {}
    for _ in range(repeats):
        clock = _Clock()
        run.again(clock)
        if len(clock.forward) != count:  # it does not do the same twice, so nobody knows which time is whose
            continue
        waited = 0
        for step, passed in enumerate(clock.forward):
            waited += passed
            at = run.id_at(step)
            if at is not None:  # what is not drawn, as a promotion, belongs to what comes next
                forward.setdefault(at, []).append(waited * 1e-9)
                waited = 0
        if not run.roots():
            continue
        timer = _Clock()
        steps = {node: step for step, node in enumerate(clock.nodes) if node is not None}
        run.backward(timer)
        waited = 0
        for node, passed in timer.passed:
            waited += passed
            at = run.id_at(steps.get(node, -1))
            if at is not None:
                backward.setdefault(at, []).append(waited * 1e-9)
                waited = 0
    medians = [{at: statistics.median(times) for at, times in one.items()} for one in (forward, backward)]
    return medians[0], medians[1]
