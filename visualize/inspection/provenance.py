"""`nan_path`: where a NaN or an infinity comes from, and the way that it took from there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autograd_ff.engine import Node as Recorded
from autograd_ff.engine import Op

from ..drawing.labels import place_text
from ..graph.view import Edge, GraphView, Node
from ..tracing.names import flatten
from ..tracing.observed import Onlooker, Run, Watch, is_finite

__all__ = ["nan_path"]

_INFIX = {
    "add": "{} + {}", "subtract": "{} − {}", "multiply": "{} × {}", "divide": "{} / {}", "power": "{} to the power {}",
}  # fmt: skip
_POLES = {"log1p", "arctanh", "logit"}  # infinite at a finite argument other than 0, which is no overflow


def nan_path(
    target: Any,
    *inputs: Any,
    loss: Callable[[Any], Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
) -> GraphView:
    """The graph of a run, with marks on the path that a NaN or an infinity took.

    The function is run once. If its result is not finite, the way leads back from there: the node that made the first
    non-finite element out of finite ones is marked ``"origin"``, with a remark that names the element and the numbers
    that met in it; what handed it on is marked ``"nonfinite"``. An input or a parameter that came with a NaN is an
    origin too. Infinities that somebody wrote down (the ``-inf`` of an attention mask) are no origin as long as no
    operation makes a NaN of them; then that operation is.

    If the result is finite, the backward pass is run, and the same is said of gradients. Where a gradient was lost
    because a `where` did not choose an element whose branch is differentiated all the same, the remark says so, and
    the `where` is marked ``"suspect"`` and says what helps.

    Where all is finite, nothing is marked. What is not on the way to a non-finite result or gradient is not marked.

    Args:
        target: a module or a function of tensors.
        inputs: what it is called with.
        loss: a function of its result that gives the loss.
        kwargs: keyword arguments for ``target``.
        names: what to call tensors, as in `trace`.

    Raises:
        PictureError: (a TypeError and ValueError) ``target`` is a Tensor, whose computation is over.

    >>> import autograd_ff as af, visualize
    >>> x = af.tensor([1.0, 0.0], requires_grad=True)
    >>> view = visualize.nan_path(lambda x: x.log().mean(), x)
    >>> [(node.op, node.mark, node.remark) for node in view.nodes if node.mark]
    [('log', 'origin', 'log of 0 is -inf in element (1,)'), ('mean', 'nonfinite', 'is -inf')]
    """
    run = Run(sys._getframe(1), target, inputs, kwargs, loss, names)
    watch = _Forward()
    with np.errstate(all="ignore"):
        run.trace(watch)
        results = [getattr(value, "array", value) for _, value in flatten(run.result, "output")]
        if not all(is_finite(one) for one in results):
            return _forward_path(run, watch)
        if not run.roots():
            return run.view
        arriving = _Backward(watch)
        leaves = run.backward(arriving)
    bad = [leaf for leaf, gradient in leaves.items() if not is_finite(gradient)]
    return _backward_path(run, watch, arriving, {leaf: leaves[leaf] for leaf in bad}) if bad else run.view


def _marked(view: GraphView, marks: Mapping[int, tuple[str, str]], bad_edges: Iterable[Edge]) -> GraphView:
    edges = set(bad_edges)
    return replace(
        view,
        nodes=tuple(
            replace(node, mark=marks[node.id][0], remark=marks[node.id][1]) if node.id in marks else node
            for node in view.nodes
        ),
        edges=tuple(replace(edge, mark="nonfinite") if edge in edges else edge for edge in view.edges),
    )


# ---------------------------------------------------------------- values


@dataclass(slots=True)
class _Bad:
    """The non-finite elements of an array."""

    count: int
    size: int
    index: tuple[int, ...]  # of the first: of the first NaN, where there is one
    value: str
    nan: bool

    def __str__(self) -> str:
        if self.size == 1:
            return f"is {self.value}"
        return f"{self.value} in {self.count:,} of {self.size:,} elements"


def _bad(array: Any) -> _Bad | None:
    if is_finite(array):
        return None
    nans = np.isnan(array)
    nan = bool(nans.any())
    every = ~np.isfinite(array)
    index = tuple(int(one) for one in np.argwhere(nans if nan else every)[0])
    return _Bad(int(every.sum()), array.size, index, _number(array[index]), nan)


def _number(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return f"{value:.6g}".replace("nan", "NaN") if isinstance(value, float) else str(value)


def _element(index: tuple[int, ...]) -> str:
    return f" in element {index}" if index else ""


@dataclass(slots=True)
class _Seen:
    op: Op
    inputs: list[_Bad | None]
    output: _Bad | None
    told: str  # how the first bad element came about, where the inputs are finite, or an infinity became a NaN
    given: bool  # an infinite number stands in the program text


class _Forward(Watch):
    """Looks for non-finite elements in what every operation reads and gives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, _Seen] = {}
        self.arrays: dict[int, tuple[np.ndarray, _Bad | None]] = {}
        self.given: dict[tuple[int, int], _Bad] = {}  # bad arrays by the step and position that read them
        self.inputs_of: dict[Recorded, list[Any]] = {}

    def saw(self, step: int, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...],
            node: Recorded | None) -> None:  # fmt: skip
        read = [self._look(value) for value in inputs]
        made = [self._look(value, again=True) for value in outputs]
        for position, bad in enumerate(read):
            if bad is not None:
                self.given[step, position] = bad
        output = next((one for one in made if one is not None), None)
        if node is not None:
            self.inputs_of[node] = list(inputs)
        if output is None:
            return
        told = ""
        if not any(read) or (output.nan and not any(one is not None and one.nan for one in read)):
            which = next(one for one, bad in zip(outputs, made, strict=True) if bad is output)
            told = _tell(op, inputs, params, which, output)
        numbers = [one for one in (*inputs, *params.values()) if isinstance(one, float)]
        self.seen[step] = _Seen(op, read, output, told, not all(is_finite(one) for one in numbers))

    def _look(self, array: Any, again: bool = False) -> _Bad | None:
        if not isinstance(array, np.ndarray):
            return None
        known = self.arrays.get(id(array))
        if known is None or again:  # the same array may have been written since
            known = self.arrays[id(array)] = (array, _bad(array))
        return known[1]


def _tell(op: Op, inputs: list[Any], params: dict[str, Any], output: np.ndarray, bad: _Bad) -> str:
    """The numbers that met in a bad element."""
    place = _element(bad.index)
    if op.name in ("softmax", "log_softmax"):
        told = _softmax_row(inputs[0], params.get("axis", -1), bad.index)
        if told:
            return f"{op.name} of {told}{place} is {bad.value}"
    met = _met(inputs, bad.index, output.shape) if op.broadcasts or len(inputs) == 1 else None
    if met is None or any(isinstance(one, np.ndarray) and one.shape != output.shape for one in inputs[:1]):
        largest = max((_largest(one) for one in inputs), default=0.0)
        return f"{op.name} of inputs as large as {_number(largest)} is {bad.value}{place}"
    met += [one for one in params.values() if type(one) in (int, float) and op.name.endswith("_scalar")]
    numbers = [_number(one) for one in met]
    phrase = _INFIX.get(op.name.removesuffix("_scalar"))
    what = phrase.format(*numbers) if phrase is not None and len(numbers) == 2 else f"{op.name} of {', '.join(numbers)}"
    pole = op.name in _POLES or 0 in met
    if not bad.nan and not pole and all(np.isfinite(one) for one in met):
        return f"{what} is more than {output.dtype} can hold{place}"
    return f"{what} is {bad.value}{place}"


def _met(inputs: list[Any], index: tuple[int, ...], shape: tuple[int, ...]) -> list[Any] | None:
    """The elements of the inputs that meet at an index of the output, where they broadcast to it."""
    try:
        return [np.broadcast_to(np.asarray(one), shape)[index].item() for one in inputs if one is not None]
    except (ValueError, AttributeError):
        return None


def _largest(value: Any) -> float:
    array = np.asarray(value if isinstance(value, (np.ndarray, float, int)) else 0.0)
    if not array.size or array.dtype.kind not in "fiu":
        return 0.0
    magnitudes = np.abs(array.astype(np.float64))
    return float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0))


def _softmax_row(x: Any, axis: Any, index: tuple[int, ...]) -> str:
    if not isinstance(x, np.ndarray) or not isinstance(axis, int) or not x.ndim:
        return ""
    row = x[tuple(slice(None) if at == axis % x.ndim else one for at, one in enumerate(index))]
    if np.isneginf(row).all():
        return f"a row of {row.size} times -inf"
    return f"a row with {_number(row[~np.isfinite(row)][0])}" if not np.isfinite(row).all() else ""


def _forward_path(run: Run, watch: _Forward) -> GraphView:
    view = run.view
    seen: dict[int, _Seen] = {}
    for step, one in watch.seen.items():
        at = run.id_at(step)
        if at is not None:
            seen[at] = one
    bad: dict[int, _Bad] = {at: one.output for at, one in seen.items() if one.output is not None}
    for (step, position), given in watch.given.items():
        at = run.id_at(step)
        edge = None if at is None else run.edge(at, position)
        if edge is not None and not view.nodes[edge.source].op:
            bad.setdefault(edge.source, given)
    results = [value for _, value in flatten(run.result, "output")]
    ends = [node for node in view.nodes if node.kind in ("loss", "output")]
    sources: dict[int, list[Edge]] = {}
    for edge in view.edges:
        sources.setdefault(edge.target, []).append(edge)
    for node in ends:
        if node.kind == "output":
            source = sources[node.id][0].source
            if source in bad:
                bad[node.id] = bad[source]
            elif not view.nodes[source].op and len(results) == len(ends):  # an input, handed out again
                found = _bad(getattr(results[ends.index(node)], "array", None))
                if found is not None:
                    bad[source] = bad[node.id] = found
    # The nodes through which the bad elements of the results came.
    path = {node.id for node in ends if node.id in bad}
    work = list(path)
    while work:
        for edge in sources.get(work.pop(), ()):
            if edge.source in bad and edge.source not in path:
                path.add(edge.source)
                work.append(edge.source)
    origins = _origins(view, path, bad, seen, sources)
    handed_on = set(origins)
    for node in view.nodes:
        if node.id in path and any(edge.source in handed_on for edge in sources.get(node.id, ())):
            handed_on.add(node.id)
    marks = {at: ("nonfinite", str(bad[at])) for at in handed_on}
    for at in origins:
        text = seen[at].told if at in seen else ""
        found = bad[at]
        if not text:
            text = f"came with {found.value}{_element(found.index)}" if not view.nodes[at].op else str(found)
        marks[at] = "origin", _counted(text, found)
    return _marked(view, marks, (edge for edge in view.edges if edge.source in handed_on and edge.target in handed_on))


def _counted(text: str, bad: _Bad) -> str:
    more = bad.count - 1
    return f"{text}, and in {more:,} other{'s' * (more > 1)}" if more else text


def _origins(
    view: GraphView, path: set[int], bad: Mapping[int, _Bad], seen: Mapping[int, _Seen], sources: dict[int, list[Edge]]
) -> list[int]:
    """Where the path begins: at what is no infinity that somebody meant, and where it became a NaN if there is none."""

    def read(at: int) -> list[int]:
        return [edge.source for edge in sources.get(at, ()) if edge.source in path]

    def meant(at: int) -> bool:
        if bad[at].nan:
            return False
        return seen[at].given if at in seen else view.nodes[at].kind == "constant"

    starts = [at for at in sorted(path) if not read(at)]
    made = [at for at in starts if not meant(at)]
    if made:
        return made
    turned = [at for at in sorted(path) if bad[at].nan and not any(bad[one].nan for one in read(at))]
    return turned or starts


# ---------------------------------------------------------------- gradients


@dataclass(slots=True)
class _Passed:
    arrived: _Bad | None
    handed: dict[int, _Bad]  # by the position of the input
    told: str
    hidden: bool  # the element's own gradient arrived as 0


class _Backward(Onlooker):
    """Looks for non-finite elements in what every derivative rule gets and gives."""

    def __init__(self, forward: _Forward) -> None:
        self._forward = forward
        self.passed: dict[int, _Passed] = {}

    def backward(self, node: Recorded, gradient: Any, input_gradients: list[Any]) -> None:
        step = self._forward.step_of.get(node)
        if step is None:
            return
        parts = [
            getattr(one, "array", one) for one in (gradient if isinstance(gradient, (list, tuple)) else [gradient])
        ]
        arrived = next((bad for bad in map(_bad, parts) if bad is not None), None)
        handed: dict[int, _Bad] = {}
        for position, value in enumerate(input_gradients):
            found = _bad(getattr(value, "gradient", getattr(value, "array", value)))
            if found is not None:
                handed[position] = found
        told, hidden = "", False
        if handed and arrived is None:
            told, hidden = self._tell(node, parts[0], *next(iter(handed.items())))
        self.passed[step] = _Passed(arrived, handed, told, hidden)

    def _tell(self, node: Recorded, upstream: Any, position: int, bad: _Bad) -> tuple[str, bool]:
        inputs = self._forward.inputs_of.get(node, [])
        name = node.op.saved_name(position) if node.op.pullback is None else f"input {position}"
        text = f"the derivative of {node.op.name} gives {bad.value}{_element(bad.index)} of its {name}"
        shape = node.shape
        met = _met(inputs, bad.index, shape) if len(bad.index) == len(shape) else None
        own = inputs[position] if position < len(inputs) else None
        if met is None or not isinstance(own, np.ndarray) or own.shape != shape or not isinstance(upstream, np.ndarray):
            return text, False
        arriving = upstream[bad.index]
        at = ", ".join(_number(one) for one in met)
        return (
            f"the derivative of {node.op.name} at {at} gives {bad.value}{_element(bad.index)}, where the gradient that "
            f"arrives is {_number(arriving)}",
            bool(arriving == 0),
        )


def _backward_path(run: Run, watch: _Forward, arriving: _Backward, leaves: Mapping[Recorded, np.ndarray]) -> GraphView:
    view = run.view
    passed: dict[int, _Passed] = {}
    for step, one in arriving.passed.items():
        at = run.id_at(step)
        if at is not None:
            passed[at] = one
    readers: dict[int, list[Edge]] = {}
    for edge in view.edges:
        readers.setdefault(edge.source, []).append(edge)
    ids = run.leaf_ids(watch.step_of)
    work = [ids[leaf] for leaf in leaves if leaf in ids]
    marks: dict[int, tuple[str, str]] = {}
    for leaf, gradient in leaves.items():
        if leaf in ids:
            marks[ids[leaf]] = "nonfinite", f"its gradient: {_bad(gradient)}"
    bad_edges: set[Edge] = set()
    origins: list[int] = []
    while work:
        at = work.pop()
        for edge in readers.get(at, ()):
            if edge.target not in passed or edge.input not in passed[edge.target].handed:
                continue
            one = passed[edge.target]
            bad_edges.add(edge)
            if edge.target in marks:
                continue
            if one.arrived is None:
                origins.append(edge.target)
                marks[edge.target] = "origin", _counted(one.told, next(iter(one.handed.values())))
            else:
                marks[edge.target] = "nonfinite", f"its gradient: {one.arrived}"
                work.append(edge.target)
    handing = {edge.source for edge in bad_edges}
    for at in sorted(marks):
        if marks[at][0] == "nonfinite" and at not in handing:
            marks[at] = "origin", "the gradients that come together here are finite, and their sum is not"
    for at in sorted(origins):
        where = _choosing(view, at, readers) if passed[at].hidden else None
        if where is None:
            continue
        line = f" ({place_text(where.source)})" if where.source is not None else ""
        marks[at] = "origin", f"{marks[at][1]}: where{line} does not choose it"
        if where.id not in marks:
            marks[where.id] = (
                "suspect",
                f"the branch that it does not choose, {view.nodes[at].op}, is differentiated all the same, and 0 × inf is "
                "NaN; where(mask, f, g, x) evaluates each branch on its own elements only",
            )
    return _marked(view, marks, bad_edges)


def _choosing(view: GraphView, start: int, readers: Mapping[int, list[Edge]]) -> Node | None:
    """The nearest operation behind a node that chooses between elements."""
    work, seen = [start], {start}
    for at in work:
        node = view.nodes[at]
        if at != start and node.op in ("where", "masked_fill", "maximum", "minimum", "clip"):
            return node if node.op in ("where", "masked_fill") else None
        for edge in readers.get(at, ()):
            if edge.tracked and edge.target not in seen:
                seen.add(edge.target)
                work.append(edge.target)
    return None
