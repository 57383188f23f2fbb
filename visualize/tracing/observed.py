"""A run under observation: a trace, and beside it observers that know which node of the trace each operation became.

What `measure`, `nan_path` and `lint` have in common. A run leaves no trace of its own: buffers, ``.grad`` and the
default random generator are put back.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.engine import Leaf, Observer, Op, Scope, TensorCore
from autograd_ff.engine import Node as Recorded
from autograd_ff.functions.random import get_rng_state, set_rng_state
from autograd_ff.nn.module import Module

from ..errors import PictureError, here
from ..graph.view import Edge, GraphView
from .gradients import with_ancestors
from .names import caller_variables, flatten, modules_behind
from .walk import as_tensors, put_back, trace_from

__all__ = ["Onlooker", "Run", "Watch", "is_finite", "leaves_of", "names_of"]


class Onlooker(Observer):
    """An observer of a `Run`."""

    def start(self) -> None:
        """The run, or its backward pass, begins now."""


class Watch(Onlooker):
    """An observer that counts the operations, as a trace does, and remembers which one recorded which node."""

    def __init__(self) -> None:
        self.count = 0
        self.step_of: dict[Recorded, int] = {}

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Recorded | None,
           scope: Scope | None) -> None:  # fmt: skip
        if node is not None:
            self.step_of[node] = self.count
        self.saw(self.count, op, inputs, params, outputs[: op.outputs], node)
        self.count += 1

    def saw(self, step: int, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...],
            node: Recorded | None) -> None:  # fmt: skip
        """After operation number ``step``."""


class Run:
    """Calls of a module or function, and of a loss of its result."""

    def __init__(
        self, frame: FrameType | None, target: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None,
        loss: Callable[[Any], Any] | None = None, names: Any = None,
    ) -> None:  # fmt: skip
        if isinstance(target, TensorCore) or not callable(target):
            what = "a Tensor, whose computation is over" if isinstance(target, TensorCore) else type(target).__name__
            raise PictureError(
                "this needs the module or function itself with its inputs, to see it run, and not "
                f"{what}.{here()}\n  Give (model, x, loss=lambda out: …), or a function that returns the loss."
            )
        self.target, self.kwargs, self.loss = target, dict(kwargs or {}), loss
        self.inputs = as_tensors(inputs) if isinstance(target, Module) else inputs
        self.result: Any = None
        self.view = GraphView()
        self.recorded_buffers: dict[str, Recorded] = {}  # what a run wrote into buffers with a graph
        variables = caller_variables(frame, target, loss) if names is None else names
        self._names = names_of(target, loss, variables)
        behind = (*modules_behind(target), *modules_behind(loss), *self._names.values())
        self.modules = list({id(one): one for one in behind if isinstance(one, Module)}.values())
        self._ids: dict[int, int] = {}
        self._edges: dict[tuple[int, int], Edge] = {}

    # ---------------------------------------------------------------- running

    def trace(self, *observers: Onlooker) -> GraphView:
        """Run once under the eyes of the observers, and draw it."""

        def call(*inputs: Any, **kwargs: Any) -> Any:
            with _watching(observers):
                return self._call(*inputs, **kwargs)

        call.__name__ = type(self.target).__name__ if isinstance(self.target, Module) else _name(self.target)
        try:
            function = self.target.forward if isinstance(self.target, Module) else self.target
            call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            pass
        with self._kept():
            self.view = trace_from(None, call, self.inputs, self.kwargs, self._names)
        self._ids = {node.step: node.id for node in self.view.nodes if node.step is not None}
        self._edges = {(edge.target, edge.input): edge for edge in self.view.edges}
        return self.view

    def again(self, *observers: Onlooker) -> Any:
        """Run once more, without a picture."""
        with self._kept(), _watching(observers):
            return self._call(*self.inputs, **self.kwargs)

    def _call(self, *inputs: Any, **kwargs: Any) -> Any:
        result = self.target(*inputs, **kwargs)
        if self.loss is not None:
            result = self.loss(result)
        self.result = result
        return result

    def roots(self) -> list[TensorCore]:
        """What a backward pass starts from: the tracked floating results."""
        return [
            one for _, one in flatten(self.result, "output") if isinstance(one, TensorCore) and one.node is not None
        ]

    def backward(self, *observers: Onlooker) -> dict[Recorded, np.ndarray]:
        """The gradients of all leaves. ``.grad`` stays as it is.

        From a loss, a result of one number, the pass starts with 1. Where there is none it starts with fixed random
        numbers: with ones, a softmax at the end would hide every gradient, for the sum of its result is constant.
        """
        roots = self.roots()
        random = np.random.default_rng(0)
        seeds = [
            np.ones_like(root.array)
            if root.array.size == 1
            else random.standard_normal(root.array.shape).astype(root.array.dtype)
            for root in roots
        ]
        nodes = [root.node for root in roots if root.node is not None]
        tensors, leaves = [engine.wrap(seed) for seed in seeds], leaves_of(nodes)
        with self._kept(), _watching(observers):
            found = engine.run_backward(nodes, tensors, wanted=leaves, retain_graph=True)
        return {node: gradient.array for node, gradient in found.items()}

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """What a model registers to keep from call to call does not move."""
        parts = {id(part): (name, part) for one in self.modules for name, part in one.named_modules()}.values()
        registered = [(f"{path}.{name}" if path else name, part, name, buffer)
                      for path, part in parts for name, buffer in part._buffers.items()]  # fmt: skip
        buffers = [
            (one, one.array, one.array.copy(), one.node, one.view_of) for *_, one in registered if one is not None
        ]
        parameters = {id(one): one for module in self.modules for one in module.parameters()}.values()
        gradients = [(one, one._grad, None if one._grad is None else one._grad.array.copy()) for one in parameters]
        state = get_rng_state()
        try:
            yield
        finally:
            set_rng_state(state)
            for path, part, name, buffer in registered:
                now = part._buffers.get(name)
                if now is not None and now.node is not None and not isinstance(now.node, Leaf):
                    self.recorded_buffers[path] = now.node
                part._buffers[name] = buffer
            for one, array, values, node, view in buffers:
                one.array, one.node, one.view_of = array, node, view
                put_back(array, values)
            for parameter, gradient, numbers in gradients:
                parameter._grad = gradient
                if gradient is not None and numbers is not None:
                    put_back(gradient.array, numbers)

    # ---------------------------------------------------------------- what became which node

    def id_at(self, step: int) -> int | None:
        """The node that an operation became; None where it is not drawn."""
        return self._ids.get(step)

    def edge(self, target: int, input: int) -> Edge | None:
        """The edge that leads to one input of a node."""
        return self._edges.get((target, input))

    def leaf_ids(self, step_of: Mapping[Recorded, int]) -> dict[Recorded, int]:
        """The nodes that leaves became, seen from the operations that read them."""
        found: dict[Recorded, int] = {}
        for node, step in step_of.items():
            target = self.id_at(step)
            for position, parent in enumerate(node.parents):
                if target is not None and isinstance(parent, Leaf) and parent not in found:
                    edge = self.edge(target, position)
                    if edge is not None and not self.view.nodes[edge.source].op:
                        found[parent] = edge.source
        return found


@contextmanager
def _watching(observers: Iterable[Onlooker]) -> Iterator[None]:
    with ExitStack() as stack:
        for observer in observers:
            stack.enter_context(engine.observe(observer))
        for observer in observers:
            observer.start()
        yield


def leaves_of(nodes: Iterable[Recorded]) -> list[Leaf]:
    """The leaves that a graph grew from, oldest first."""
    return [node for node in with_ancestors(nodes) if isinstance(node, Leaf)]


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", "<lambda>"))


def names_of(target: Any, loss: Any, variables: Any) -> dict[str, Any]:
    """What to call tensors. Beside the module that runs, other modules are left out, so that its names stay unprefixed."""
    if isinstance(variables, Module):
        variables = {"model": variables}
    found = dict(variables)
    if isinstance(target, Module):
        found = {name: value for name, value in found.items() if not isinstance(value, Module) or value is loss}
        found = {"model": target, **{name: value for name, value in found.items() if value is not target}}
    return found


def is_finite(value: Any) -> bool:
    """Whether no element is NaN or infinite; what is no floating array is."""
    if isinstance(value, (float, complex)):
        return math.isfinite(abs(value))
    return not isinstance(value, np.ndarray) or value.dtype.kind not in "fc" or bool(np.isfinite(value).all())
