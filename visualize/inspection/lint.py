"""`lint`: what looks wrong in a graph, before anybody waits for a training that cannot work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from autograd_ff.engine import Leaf, TensorCore
from autograd_ff.engine import Node as Recorded
from autograd_ff.engine.node import FREED
from autograd_ff.engine.versions import written_since
from autograd_ff.nn.module import Module
from autograd_ff.nn.parameter import Parameter

from ..drawing.labels import place_text, shape_text, source_text
from ..errors import PictureError, here
from ..graph.view import Edge, GraphView, Node, Source, Value
from ..tracing.names import caller_variables, flatten, modules_behind
from ..tracing.observed import Run, names_of
from ..tracing.sources import source_of_node
from ..tracing.walk import trace_from
from .cuts import Cut, Flow, reached

__all__ = ["Finding", "Lint", "lint"]

_ELEMENTWISE = {"add", "subtract", "multiply", "divide", "maximum", "minimum", "power"}
_COMPARING = {"equal", "not_equal", "greater", "greater_equal", "less", "less_equal"}
_PASSING_ON = {"reshape", "squeeze", "expand_dims", "transpose", "permute", "broadcast_to", "slice", "copy", "cast"}
_SQUASHED = {  # losses that take raw scores, and what must not have been applied to these
    "cross_entropy": {
        "softmax": "comes before cross_entropy, which applies it again",
        "log_softmax": "comes before cross_entropy, which applies it again",
        "sigmoid": "comes before cross_entropy, which takes any scores and applies softmax",
    },
    "binary_cross_entropy_with_logits": {
        "sigmoid": "comes before binary_cross_entropy_with_logits, which applies it again",
        "softmax": "comes before binary_cross_entropy_with_logits, which applies sigmoid to what it gets",
    },
    "nll_loss": {"softmax": "gives probabilities, and nll_loss takes their logarithms"},
}
_INSTEAD = {
    "cross_entropy": "give cross_entropy the scores themselves",
    "binary_cross_entropy_with_logits": "give it the scores themselves, or the probabilities to binary_cross_entropy",
    "nll_loss": "use log_softmax, or cross_entropy on the scores themselves",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that looks wrong.

    >>> print(Finding("float64", "multiply computes in float64", Source("train.py", 3, "y = x * scale")))
    warning: multiply computes in float64
      at train.py:3: y = x * scale
    """

    kind: str  # "no gradient", "broadcast", "float64", "kept alive", "scores", "mode" or "shared"
    message: str
    source: Source | None = None  # the line to look at
    node: int | None = None  # id of the node in the view
    severity: str = "warning"  # "error", "warning" or "info"
    names: tuple[str, ...] = ()  # of the parameters it is about

    def __str__(self) -> str:
        line = "" if self.source is None else f"\n  at {source_text(self.source)}"
        return f"{self.severity}: {self.message}{line}"


@dataclass(frozen=True)
class Lint(Sequence[Finding]):
    """What `lint` found: a sequence of findings, worst first, and the graph with marks on them.

    >>> Lint((Finding("shared", "a and b are one parameter", severity="info"),), GraphView()).passed
    True
    """

    findings: tuple[Finding, ...]
    view: GraphView

    def __getitem__(self, index: Any) -> Any:
        return self.findings[index]

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing found"

    @property
    def passed(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(one.severity == "info" for one in self.findings)


def lint(
    target: Any,
    *inputs: Any,
    loss: Callable[[Any], Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
) -> Lint:
    """Look for what is wrong in the graph of a loss.

    ``lint(model, x, loss=lambda out: …)``, or ``lint(function, x)`` with a function that returns the loss, runs it once
    and sees everything. ``lint(loss, model)`` reads a loss that is computed already; it can name the parameters that no
    gradient reaches, but only guess where the path was cut.

    Kinds of findings:

    - ``"no gradient"`` (error): parameters that no gradient reaches, and the line where the path was cut: by
      ``detach()``, under ``no_grad()``, by an operation without a derivative, by ``item()`` or ``numpy()``; or that
      the loss does not depend on them. Parameters frozen by ``requires_grad_(False)`` are left out.
    - ``"broadcast"`` (error): a prediction of shape (n, 1) against a target of shape (n,), which makes (n, n).
    - ``"float64"`` (warning): a float64 array makes the computation of float32 values float64 from there on.
    - ``"kept alive"`` (warning): a loss that adds up the graphs of finished steps, a ``.grad`` that has a graph, a
      buffer or an attribute of a module that holds on to one.
    - ``"scores"`` (error): softmax before cross_entropy, and its like.
    - ``"mode"`` (info): dropout that is switched off in a model that trains, or the other way round.
    - ``"shared"`` (info): one parameter under several names.

    Args:
        target: a module, a function, or a loss.
        inputs: what it is called with; for a loss, its module.
        loss: a function of the result that gives the loss.
        kwargs: keyword arguments for ``target``.
        names: what to call tensors, as in `trace`.

    Raises:
        PictureError: (a ValueError and TypeError) with a loss, something else is given than its module.

    >>> import autograd_ff as af, visualize
    >>> model = af.nn.Sequential(af.nn.Linear(3, 2), af.nn.Linear(2, 1))
    >>> found = visualize.lint(model, af.ones(4, 3), loss=lambda out: (out - af.ones(4)).square().mean())
    >>> found[0].kind, found[0].message[:56]
    ('broadcast', 'subtract broadcasts 4×1 and 4 to 4×4: every row meets ev')
    """
    frame = sys._getframe(1)
    if isinstance(target, TensorCore):
        if len(inputs) != 1 or not isinstance(inputs[0], Module) or loss is not None or kwargs:
            raise PictureError(f"with a loss, give its module and nothing else: lint(loss, model){here()}")
        found: _Search = _Recorded(frame, target, inputs[0], names)
    else:
        found = _Observed(Run(frame, target, inputs, kwargs, loss, names))
    findings = sorted(found.findings(), key=lambda one: ("error", "warning", "info").index(one.severity))
    return Lint(tuple(findings), found.marked(findings))


class _Search:
    """What both ways of looking have in common: the view, and the modules whose parameters count."""

    def __init__(self, view: GraphView, modules: Sequence[Module], roots: Sequence[Recorded]) -> None:
        self.view = view
        self.modules = modules
        self.roots = roots
        self.marks: dict[int, tuple[str, str]] = {}
        self.cut_edges: set[tuple[int, int]] = set()
        self.hidden: list[tuple[Parameter, tuple[str, ...], str]] = []  # parameters that are not drawn, and what to say
        self.incoming: dict[int, list[Edge]] = {}
        for edge in view.edges:
            self.incoming.setdefault(edge.target, []).append(edge)
        self.parameters: dict[int, tuple[Parameter, list[str]]] = {}
        for module in modules:
            for name, parameter in module.named_parameters(remove_duplicate=False):
                known = self.parameters.setdefault(id(parameter), (parameter, []))[1]
                if name not in known:
                    known.append(name)

    def findings(self) -> Iterator[Finding]:
        yield from self.unreached()
        yield from self.broadcasts()
        yield from self.scores()
        yield from self.upcasts()
        yield from self.held_by_modules()
        yield from self.summed_steps()
        yield from self.modes()
        for _, names in self.parameters.values():
            if len(names) > 1:
                yield Finding("shared", f"{_listed(names)} are one parameter", severity="info", names=tuple(names))

    def unreached(self) -> Iterator[Finding]:
        raise NotImplementedError

    def without_gradient(self) -> list[tuple[Parameter, list[str]]]:
        """Parameters that want a gradient and that no backward pass from the result comes to."""
        known = reached(self.roots)
        return [one for one in self.parameters.values() if one[0].node is not None and one[0].node not in known]

    def marked(self, findings: Sequence[Finding]) -> GraphView:
        """The view with marks. A parameter that no gradient reaches and that is not drawn joins it."""
        marks = dict(self.marks)
        for one in findings:
            if one.node is not None and one.node not in marks and one.severity != "info":
                marks[one.node] = "suspect", one.message
        nodes = [
            replace(node, mark=marks[node.id][0], remark=marks[node.id][1]) if node.id in marks else node
            for node in self.view.nodes
        ]
        for parameter, names, why in self.hidden:
            value = Value(tuple(parameter.array.shape), str(parameter.array.dtype))
            lone = Node(len(nodes), "parameter", outputs=(value,), names=names, tracked=True)
            nodes.append(replace(lone, mark="unreached", remark=why))
        edges = tuple(
            replace(edge, mark="cut") if (edge.target, edge.input) in self.cut_edges else edge
            for edge in self.view.edges
        )
        return GraphView(tuple(nodes), edges, self.view.modules, self.view.name)

    # ---------------------------------------------------------------- what the view shows

    def _source(self, edge: Edge) -> Node:
        """What made an array, behind reshapes and the like."""
        node = self.view.nodes[edge.source]
        while node.op in _PASSING_ON and self.incoming.get(node.id):
            node = self.view.nodes[self.incoming[node.id][0].source]
        return node

    def broadcasts(self) -> Iterator[Finding]:
        for node in self.view.nodes:
            if node.op not in _ELEMENTWISE | _COMPARING or node.backward or not node.outputs or self._deep(node):
                continue
            edges = self.incoming.get(node.id, [])
            shapes = [edge.value.shape for edge in edges if edge.value is not None]
            made = node.outputs[0].shape
            if len(made) != 2 or made[0] != made[1] or made[0] < 2:
                continue
            column, row = (made[0], 1), (made[0],)
            if len(shapes) == 2:
                one, other = edges
                met = set(shapes) == {column, row} and self._source(one) != self._source(other)
                if node.op in _COMPARING:  # with a range, it makes a one-hot code
                    met = met and all(self._source(edge).kind != "constant" for edge in edges)
                else:
                    met = met and one.tracked != other.tracked
            else:  # a loss that is computed already does not keep a target that no derivative reads
                met = len(edges) == 1 and edges[0].tracked and shapes[0] in (column, row) and not node.arguments
                met = met and node.op in ("add", "subtract")
            if met:
                sides = [shape_text(shape) for shape in (column, row)]
                yield Finding(
                    "broadcast",
                    f"{node.op} broadcasts {sides[0]} and {sides[1]} to {shape_text(made)}: every row meets every target; "
                    f"squeeze(1) the {sides[0]}, or unsqueeze(1) the {sides[1]}",
                    node.source, node.id, "error",
                )  # fmt: skip

    def _deep(self, node: Node) -> bool:
        """Whether a node lies inside a part of a network, which may broadcast as it likes."""
        around = [self.view.modules[one] for one in self.view.path(node.module)]
        return sum(module.kind == "module" and not module.type.endswith("Loss") for module in around) > 1

    def scores(self) -> Iterator[Finding]:
        for name, before in _SQUASHED.items():
            seen: set[int] = set()
            for edge in self._entering(name):
                source = self._source(edge)
                if source.op in before and source.id not in seen:
                    seen.add(source.id)
                    message = f"{source.op} {before[source.op]}; {_INSTEAD[name]}"
                    yield Finding("scores", message, source.source, source.id, "error")

    def _entering(self, name: str) -> Iterator[Edge]:
        """What an operation or a composite of this name reads first."""
        whole = {module.id for module in self.view.modules if module.kind == "composite" and module.name == name}
        inside = (
            {node.id for node in self.view.nodes if whole.intersection(self.view.path(node.module))} if whole else set()
        )
        inside |= {node.id for node in self.view.nodes if node.op == name and not node.backward}
        for edge in self.view.edges:
            if edge.target in inside and edge.source not in inside:
                yield edge

    def upcasts(self) -> Iterator[Finding]:
        spoiled: set[int] = set()
        for node in self.view.nodes:
            if not node.op or node.backward or not any(value.dtype == "float64" for value in node.outputs):
                continue
            edges = self.incoming.get(node.id, [])
            dtypes = ["" if (made := self.view.output(edge)) is None else made.dtype for edge in edges]
            wide = [self.view.nodes[one.source] for one, dtype in zip(edges, dtypes, strict=True) if dtype == "float64"]
            if any(one.id in spoiled for one in wide):
                spoiled.add(node.id)
                continue
            if wide and any(dtype in ("float32", "float16") for dtype in dtypes):
                spoiled.add(node.id)
                name = wide[0].names[0] if wide[0].names else f"what {wide[0].op} gives" if wide[0].op else "an array"
                yield Finding(
                    "float64",
                    f"{name} is float64, so {node.op} computes in float64, and all that follows; .float() avoids it",
                    node.source, node.id,
                )  # fmt: skip

    # ---------------------------------------------------------------- what is kept alive

    def held_by_modules(self) -> Iterator[Finding]:
        for names in (names for one, names in self.parameters.values() if one._grad is not None and one._grad.node):
            yield Finding(
                "kept alive",
                f"the .grad of {names[0]} has a graph, from backward(create_graph=True); it lives as long as the parameter. "
                "Take gradients that have a graph from autograd.grad",
                names=tuple(names),
            )
        for module in self.modules:
            for path, one in module.named_modules():
                for name, value in vars(one).items():
                    kept = (
                        [part for _, part in flatten(value, name)]
                        if isinstance(value, (list, tuple, TensorCore))
                        else []
                    )
                    graphs = [part.node for part in kept if isinstance(part, TensorCore) and _is_result(part.node)]
                    if graphs:
                        what = f"{path}.{name}" if path else name
                        yield Finding(
                            "kept alive",
                            f"{type(module).__name__}.{what} keeps a tensor with its graph from call to call; keep "
                            "x.detach(), or a number",
                            source_of_node(graphs[-1]),
                        )
        for name, node in self.recorded_buffers().items():
            yield Finding(
                "kept alive",
                f"the buffer {name} is written with a graph, which grows from call to call; write it under no_grad()",
                source_of_node(node),
            )

    def recorded_buffers(self) -> Mapping[str, Recorded]:
        """Buffers that hold a result with its graph, by name."""
        found = {name: buffer.node for module in self.modules for name, buffer in module.named_buffers()}
        return {name: node for name, node in found.items() if node is not None and _is_result(node)}

    def summed_steps(self) -> Iterator[Finding]:
        for root in self.roots:
            terms, site = _terms(root)
            if len(terms) < 2:
                continue
            parts = [_below(term) for term in terms]
            over = [part for part in parts if any(_is_over(node) for node in part)]
            if over:
                yield Finding(
                    "kept alive",
                    f"this sum holds the graphs of {len(terms)} losses, {len(over)} of them of steps that are over; add up "
                    "loss.item() instead",
                    site,
                )
            elif len(terms) > 2 and all(one.isdisjoint(other) for one, other in pairwise(parts)):
                yield Finding(
                    "kept alive",
                    f"this sum holds the graphs of {len(terms)} separate losses at once; where only the number matters, "
                    "add up loss.item()",
                    site, severity="info",
                )  # fmt: skip

    def modes(self) -> Iterator[Finding]:
        for module in self.modules:
            for name, one in module.named_modules():
                if "Dropout" in type(one).__name__ and getattr(one, "p", 0) > 0 and one.training != module.training:
                    now, then = ("on", "in eval mode") if one.training else ("off", "in training mode")
                    yield Finding(
                        "mode", f"{name} ({type(one).__name__}) is {now}, while {type(module).__name__} is {then}",
                        severity="info",
                    )  # fmt: skip


class _Observed(_Search):
    """A function or module that runs under observation."""

    def __init__(self, run: Run) -> None:
        modules = list({id(one): one for one in (*modules_behind(run.target), *modules_behind(run.loss))}.values())
        self.run = run
        self.flow = Flow([one for module in modules for one in module.parameters()])
        run.trace(self.flow)
        super().__init__(run.view, modules, [one.node for one in run.roots() if one.node is not None])

    def recorded_buffers(self) -> Mapping[str, Recorded]:
        return {**super().recorded_buffers(), **self.run.recorded_buffers}

    def unreached(self) -> Iterator[Finding]:
        lost = self.without_gradient()
        results = [self.flow.origin(value) for _, value in flatten(self.run.result, "output")]
        drawn = self._drawn()
        groups: dict[tuple[tuple[str, Source | None], ...], list[str]] = {}
        found: dict[tuple[tuple[str, Source | None], ...], list[Cut]] = {}
        if self.parameters and not self.roots and not any(one.node for one, _ in self.parameters.values()):
            yield Finding("no gradient", "nothing gets a gradient: all parameters are frozen", severity="error")
        for parameter, names in lost:
            assert isinstance(parameter.node, Leaf)
            cuts = self.flow.cuts(parameter.node, results) or [Cut("not used in this call", None)]
            key = tuple((cut.reason, cut.source) for cut in cuts)
            groups.setdefault(key, []).extend(names)
            found[key] = cuts
            self._mark(parameter, names, cuts, drawn.get(parameter.node))
        if lost and not self.roots:
            names = [name for _, some in lost for name in some]
            first = min(found.values(), key=lambda cuts: cuts[0].step if cuts[0].step is not None else sys.maxsize)[0]
            yield Finding(
                "no gradient", f"nothing gets a gradient, for the result has no graph: {first.reason}", first.source,
                self._id(first.step), "error", tuple(names),
            )  # fmt: skip
            return
        for key, names in groups.items():
            cuts = found[key]
            why = cuts[0].reason + (f" (and {len(cuts) - 1} more)" if len(cuts) > 1 else "")
            verb = "gets" if len(names) == 1 else "get"
            message = f"{_listed(names)} {verb} no gradient: {why}"
            yield Finding("no gradient", message, cuts[0].source, self._id(cuts[0].step), "error", tuple(names))

    def _id(self, step: int | None) -> int | None:
        return None if step is None else self.run.id_at(step)

    def _drawn(self) -> dict[Leaf, int]:
        """The nodes of the view that stand for leaves."""
        found: dict[Leaf, int] = {}
        for number, step in enumerate(self.flow.steps):
            target = self.run.id_at(number)
            for position, source in enumerate(step.sources):
                if target is not None and isinstance(source, Leaf):
                    edge = self.run.edge(target, position)
                    if edge is not None and not self.view.nodes[edge.source].op:
                        found[source] = edge.source
        return found

    def _mark(self, parameter: Parameter, names: list[str], cuts: list[Cut], drawn: int | None) -> None:
        why = "; ".join(f"{cut.reason} ({place_text(cut.source)})" if cut.source else cut.reason for cut in cuts)
        if drawn is None:
            self.hidden.append((parameter, tuple(names), why))
        else:
            self.marks[drawn] = "unreached", why
        for cut in cuts:
            at = self._id(cut.step)
            if at is not None and at not in self.marks:
                line = f" ({place_text(cut.source)})" if cut.source else ""
                self.marks[at] = "cut", f"{cut.reason}{line}"
            reader = self._id(cut.reader)
            if reader is not None:
                self.cut_edges.add((reader, cut.input))


class _Recorded(_Search):
    """A loss that is computed already."""

    def __init__(self, frame: Any, loss: TensorCore, module: Module, names: Any) -> None:
        if loss.node is None:
            raise PictureError(
                f"this loss has no graph: nothing that it was computed from requires grad, or no_grad() was on.{here()}\n"
                "  lint(model, x, loss=lambda out: …) runs the model, and finds out where the path was cut."
            )
        known = names_of(module, None, caller_variables(frame) if names is None else names)
        super().__init__(trace_from(frame, loss, (), None, known), [module], [loss.node])

    def unreached(self) -> Iterator[Finding]:
        lost = self.without_gradient()
        if not lost:
            return
        names = [name for _, some in lost for name in some]
        whole = {module.id for module in self.view.modules if module.kind == "composite"}
        own = {
            edge.source
            for edge in self.view.edges
            if whole.intersection(self.view.path(self.view.nodes[edge.target].module))
        }
        read = [
            edge
            for edge in self.view.edges
            if edge.source not in own and edge.value is not None and self._unnamed(self.view.nodes[edge.source])
        ]
        if not read:
            hint = "nothing here reads a value without its gradient, so it is not used, or what it gives is not"
        else:
            places = []
            for edge in read[:3]:
                reader = self.view.nodes[edge.target]
                line = f" ({place_text(reader.source)})" if reader.source else ""
                places.append(f"{reader.op}{line} reads {shape_text(edge.value.shape)}")  # type: ignore[union-attr]
                self.marks[reader.id] = "suspect", "reads an array without a gradient"
            hint = f"cut perhaps where {', or '.join(dict.fromkeys(places))} without a gradient"
        first = self.view.nodes[read[0].target] if len(read) == 1 else None
        for parameter, some in lost:
            self.hidden.append((parameter, tuple(some), ""))
        verb = "gets" if len(names) == 1 else "get"
        yield Finding(
            "no gradient", f"{_listed(names)} {verb} no gradient: {hint}", first.source if first else None,
            first.id if first else None, "error", tuple(names),
        )  # fmt: skip

    def _unnamed(self, node: Node) -> bool:
        """An array that may be a result of something, and that nobody gave a name."""
        floats = any(value.dtype.startswith("float") and len(value.shape) > 0 for value in node.outputs)
        return node.kind == "constant" and not node.names and floats


def _listed(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is_result(node: Recorded | None) -> bool:
    return node is not None and not isinstance(node, Leaf)


def _terms(root: Recorded) -> tuple[list[Recorded], Source | None]:
    """What one line, run again and again, added up: ``total += loss``."""
    terms: list[Recorded] = []
    node: Recorded | None = root
    place = None
    while node is not None:
        while node is not None and node.op.name == "write" and node.parents[1] is not None:
            node = node.parents[1]
        if node is None or node.op.name != "add" or (place is not None and (node.code, node.offset) != place):
            break
        place = node.code, node.offset
        older, newer = sorted(node.parents, key=lambda one: -1 if one is None else one.number)
        terms.append(newer)
        if older is None:
            return terms, source_of_node(root)
        node = older
    if node is not None and terms:
        terms.append(node)
    return terms, source_of_node(root)


def _is_over(node: Recorded) -> bool:
    """Whether a backward pass went through a node, or a parameter that it read was updated since."""
    if node.saved is FREED:
        return True
    tensors = [parent.tensor() for parent in node.parents if isinstance(parent, Leaf)]
    return any(one is not None and written_since(one.array, node.number)[0] for one in tensors)


def _below(root: Recorded) -> set[Recorded]:
    """All that one loss was computed by, leaves aside."""
    seen = {root}
    work = [root]
    while work:
        for parent in work.pop().parents:
            if _is_result(parent) and parent not in seen:
                seen.add(parent)
                work.append(parent)
    return seen
