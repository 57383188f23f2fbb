"""The walk: from what the engine recorded, or does under an observer's eyes, to a `GraphView`.

A tensor shows what was recorded when it was computed. A module or a function is run once on the given inputs while an
observer looks on, so that operations without a gradient and plain arrays (images, labels, masks) appear as well. The
backward pass, where it is asked for, runs under an observer too, on what was recorded; see `gradients`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.engine import Node as Recorded
from autograd_ff.engine import Observer, Op, Scope, TensorCore
from autograd_ff.functions.random import get_rng_state, set_rng_state
from autograd_ff.nn.module import Module as NetworkModule

from ..errors import PictureError, here
from ..graph.view import Edge, GraphView, Node
from ..plans.graph import plan_of, plan_view
from .drafts import Draft, Walk
from .gradients import add_backward, without_forward
from .homes import Homes
from .names import Names, caller_variables, flatten, modules_behind

__all__ = ["put_back", "trace", "trace_from"]


def trace(
    target: Any,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
    backward: bool | str = False,
) -> GraphView:
    """The whole graph of a computation as plain data; `simplify` makes it smaller.

    Args:
        target: a Tensor (a loss, a gradient with a graph of its own), several of them, a module, or a function of
            tensors; a `GraphView` is returned as it is. Of a compiled step without inputs, or of its ``plan``, it is
            the plan: its instructions, what flows between them, and the buffers that they write into.
        inputs: what a module or function is called with, once, in its current mode: tensors and arrays, alone or in
            tuples, lists, dicts and dataclasses, and anything else. The buffers of the modules that it uses and the
            default random generator are put back afterwards.
        kwargs: keyword arguments of that call.
        names: what to call tensors: a mapping of names to tensors or modules (such as
            ``dict(model.named_parameters())``), or a module. By default the caller's variables are looked up, and those
            that a function reads from around it; ``{}`` leaves them unnamed.
        backward: True adds the backward pass, beside the forward one: every operation of the derivative rules, with the
            forward values that they read, and the gradients under their names (``∂loss/∂fc1.weight``). A result that is
            not one number starts with ones, which gives the gradient of its sum. ``"only"`` leaves the forward pass
            out, except for the values that the rules read. Nobody's ``.grad`` changes, and no hook is called.

    Raises:
        PictureError: (a TypeError and ValueError) there is nothing to draw in ``target``, inputs are given with a
            tensor, or no operation recorded the tensor.
        GraphError: ``backward=`` through a graph that an earlier backward pass has freed.
        CaptureError: a compiled step that has no plan yet.

    >>> import autograd_ff as af
    >>> weight = af.ones(3, requires_grad=True)
    >>> view = trace((weight * 2).sum())
    >>> [(node.kind, node.op or node.names[0]) for node in view.nodes]
    [('parameter', 'weight'), ('op', 'multiply'), ('loss', 'sum')]
    """
    return trace_from(sys._getframe(1), target, inputs, kwargs, names, backward)


def trace_from(
    frame: Any,
    target: Any,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
    backward: bool | str = False,
) -> GraphView:
    """`trace`, with the frame whose variables name the tensors."""
    if backward not in (False, True, "only"):
        raise PictureError(f'backward is True, False or "only", not {backward!r}{here()}')
    if isinstance(target, GraphView):
        if inputs or kwargs or backward:
            raise PictureError(f"a GraphView is traced already: it takes neither inputs nor backward={here()}")
        return target
    plan = None if inputs or kwargs else plan_of(target)
    known = Names()
    if plan is not None:
        target = getattr(target, "function", target)
    if isinstance(target, NetworkModule):
        known.add_module(target)
        inputs = as_tensors(inputs)
    if isinstance(names, NetworkModule):
        known.add_module(names)
    else:
        variables = caller_variables(frame, target) if names is None else dict(names)
        if plan is not None and names is None:  # a loss without parameters makes no prefix for those of the model
            variables = {name: value for name, value in variables.items() if not _is_bare(value)}
        known.add_variables({name: value for name, value in variables.items() if value is not target})
        if isinstance(target, TensorCore):
            known.add_variables({name: value for name, value in variables.items() if value is target})
    if plan is not None:
        if backward:
            raise PictureError(f"a plan is the whole step: what it has of a backward pass is drawn{here()}")
        return plan_view(plan, known, "" if target is plan else _title(target))
    walk = Walk(known)
    if isinstance(target, NetworkModule) or (callable(target) and not isinstance(target, TensorCore)):
        return _trace_call(walk, target, inputs, dict(kwargs or {}), backward)
    if inputs or kwargs:
        raise PictureError(
            f"inputs belong to a module or a function; a tensor's graph is recorded already{here()}\n"
            "  Give the tensor alone; its path, where it is drawn, comes last."
        )
    return _trace_recorded(walk, target, backward)


def as_tensors(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs of a module, of which arrays are handed over as Tensors: its ``forward`` may call their methods."""
    return tuple(
        engine.wrap(one) if isinstance(one, np.ndarray) and one.dtype.kind in "biufc" else one for one in inputs
    )


def _trace_recorded(walk: Walk, target: Any, backward: bool | str) -> GraphView:
    roots = [value for _, value in flatten(target, "output") if isinstance(value, TensorCore)]
    nodes = [root.node for root in roots if root.node is not None]
    if not roots:
        raise PictureError(
            f"nothing to draw in {type(target).__name__}: give a Tensor, a module with inputs, or a function with "
            f"inputs{here()}"
        )
    for root in roots:
        if root.node is None:
            raise PictureError(
                f"this tensor of shape {root.array.shape} has no graph: nothing that it was computed from requires "
                f"grad, or it was computed under no_grad or after detach().{here()}\n"
                "  Give the module or function itself with its inputs, which are drawn with or without gradients."
            )
    places = [walk.place(node) for node in nodes]
    walk.mark_losses(places)
    wanted = [draft for draft, _ in places]
    if not backward:
        return as_view(walk, wanted)
    return _with_gradients(walk, [("output", root) for root in roots], wanted, "", backward)


def _with_gradients(
    walk: Walk, results: list[tuple[str, Any]], wanted: list[Draft], name: str, backward: bool | str
) -> GraphView:
    gradients = add_backward(walk, results)
    view = as_view(walk, [*wanted, *gradients], name)
    return without_forward(view) if backward == "only" else view


def _trace_call(
    walk: Walk, target: Callable[..., Any], inputs: tuple[Any, ...], kwargs: dict[str, Any], backward: bool | str
) -> GraphView:
    for name, value in _argument_names(target, inputs, kwargs):
        walk.add_input(name, value)
    with ExitStack() as around:
        around.enter_context(_left_as_it_was(target))
        if backward:
            around.enter_context(engine.enable_grad())
        around.enter_context(engine.observe(_Recorder(walk)))
        result = target(*inputs, **kwargs)
    results = list(flatten(result, "output"))
    places = [(name, walk.find(value)) for name, value in results]
    walk.mark_losses([place for _, place in places if place is not None])
    wanted = list(walk.inputs)
    for name, place in places:
        if place is None:
            continue
        draft = place[0]
        wanted.append(draft)
        if draft.kind != "loss":
            wanted.append(walk.add_result(name, place))
    if not places:
        wanted += walk.drafts
    wanted += [draft for draft in walk.drafts if draft.kind == "write"]
    name = _title(target)
    if not backward:
        return as_view(walk, wanted, name)
    return _with_gradients(walk, results, wanted, name, backward)


def _is_bare(value: Any) -> bool:
    return isinstance(value, NetworkModule) and not any(True for _ in (*value.parameters(), *value.buffers()))


def _title(target: Callable[..., Any]) -> str:
    name = type(target).__name__ if isinstance(target, NetworkModule) else getattr(target, "__name__", "")
    return "" if name == "<lambda>" else name


def _argument_names(
    target: Callable[..., Any], inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    function = target.forward if isinstance(target, NetworkModule) else target
    try:
        bound = inspect.signature(function).bind(*inputs, **kwargs)
        variadic = {
            one.name for one in bound.signature.parameters.values() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        }
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if name not in variadic:
                named[name] = value
            else:
                named.update(value if isinstance(value, dict) else {f"{name}[{at}]": x for at, x in enumerate(value)})
    except (TypeError, ValueError):  # the call itself will say what is wrong
        named = {**{f"input {at}": value for at, value in enumerate(inputs)}, **kwargs}
    for name, value in named.items():
        yield from flatten(value, name)


@contextmanager
def _left_as_it_was(target: Any) -> Iterator[None]:
    """Running a model for its picture moves neither its running statistics nor the random numbers to come."""
    buffers = {id(buffer): buffer for module in modules_behind(target) for buffer in module.buffers()}.values()
    before = [(buffer, buffer.array, buffer.array.copy()) for buffer in buffers]
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
        for buffer, array, values in before:
            buffer.array = array
            put_back(array, values)


def put_back(array: np.ndarray, values: np.ndarray) -> None:
    """Write the values that an array had, where they have changed since."""
    if not np.array_equal(array, values, equal_nan=array.dtype.kind in "fc"):
        np.copyto(array, values)


class _Recorder(Observer):
    """Hands what it sees to the walk."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._step = 0

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Recorded | None,
           scope: Scope | None) -> None:  # fmt: skip
        self._walk.observed(op, inputs, params, outputs, node, scope, self._step)
        self._step += 1


def as_view(walk: Walk, wanted: Iterable[Draft], name: str = "") -> GraphView:
    """The wanted nodes and all that leads to them."""
    reached = set(wanted)
    stack = list(reached)
    while stack:
        for link in stack.pop().incoming:
            if link.source not in reached:
                reached.add(link.source)
                stack.append(link.source)
    drafts = [draft for draft in walk.drafts if draft in reached]
    if any(walk.leaves.values()):  # beside a network's own parameters, a plain tensor is something given to it
        for draft, owned in walk.leaves.items():
            draft.kind = "parameter" if owned else "input"
    numbers = {draft: number for number, draft in enumerate(drafts)}
    homes = Homes(walk.names, walk.source)
    places = homes.of(drafts)
    nodes = tuple(
        Node(
            id=number,
            kind=draft.kind,
            op=draft.op,
            outputs=tuple(draft.outputs),
            names=draft.names,
            arguments=draft.arguments,
            module=place,
            source=draft.source,
            tracked=draft.tracked,
            backward=draft.backward,
            step=draft.step,
            belongs_to=numbers.get(draft.belongs_to) if draft.belongs_to is not None else None,
        )
        for number, (draft, place) in enumerate(zip(drafts, places, strict=True))
    )
    edges = tuple(
        Edge(numbers[link.source], number, link.output, link.input, link.name, link.value, link.tracked)
        for number, draft in enumerate(drafts)
        for link in draft.incoming
    )
    return GraphView(nodes, edges, tuple(homes.found), name)
