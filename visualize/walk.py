"""The walk: from what the engine recorded, or does under an observer's eyes, to a `GraphView`.

A tensor shows what was recorded when it was computed. A module or a function is run once on the given inputs while an
observer looks on, so that operations without a gradient and plain arrays (images, labels, masks) appear as well. The
backward pass, where it is asked for, runs under an observer too, on what was recorded; see `gradients`.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.engine import Leaf, Observer, Op, Scope, TensorCore, cast
from autograd_ff.engine import Node as Recorded
from autograd_ff.engine.dispatch import SELECT
from autograd_ff.engine.site import in_package, resolve
from autograd_ff.functions.random import get_rng_state, set_rng_state
from autograd_ff.nn.module import Module as NetworkModule

from .errors import PictureError, here, user_frame
from .graph import Edge, GraphView, Module, Node, Source, Value
from .names import Names, caller_variables, flatten, modules_behind, storage

__all__ = ["trace", "trace_from"]

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ENGINE_BACKWARD = engine.run_backward.__code__.co_filename
_PASSING_ON = {"select", "alias"}  # the engine's own nodes that only hand a value on


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
            tensors; a `GraphView` is returned as it is.
        inputs: what a module or function is called with, once, in its current mode: tensors and arrays, alone or in
            tuples, lists, dicts and dataclasses, and anything else. The buffers of the modules that it uses and the
            default random generator are put back afterwards.
        kwargs: keyword arguments of that call.
        names: what to call tensors: a mapping of names to tensors or modules (such as
            ``dict(model.named_parameters())``), or a module. By default the caller's variables are looked up; ``{}``
            leaves them unnamed.
        backward: True adds the backward pass, beside the forward one: every operation of the derivative rules, with the
            forward values that they read, and the gradients under their names (``∂loss/∂fc1.weight``). A result that is
            not one number starts with ones, which gives the gradient of its sum. ``"only"`` leaves the forward pass
            out, except for the values that the rules read. Nobody's ``.grad`` changes, and no hook is called.

    Raises:
        PictureError: (a TypeError and ValueError) there is nothing to draw in ``target``, inputs are given with a
            tensor, or no operation recorded the tensor.
        GraphError: ``backward=`` through a graph that an earlier backward pass has freed.

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
    known = Names()
    if isinstance(target, NetworkModule):
        known.add_module(target)
    if isinstance(names, NetworkModule):
        known.add_module(names)
    else:
        variables = caller_variables(frame) if names is None else dict(names)
        known.add_variables({name: value for name, value in variables.items() if value is not target})
        if isinstance(target, TensorCore):
            known.add_variables({name: value for name, value in variables.items() if value is target})
    walk = Walk(known)
    if isinstance(target, NetworkModule) or (callable(target) and not isinstance(target, TensorCore)):
        return _trace_call(walk, target, inputs, dict(kwargs or {}), backward)
    if inputs or kwargs:
        raise PictureError(
            f"inputs belong to a module or a function; a tensor's graph is recorded already{here()}\n"
            "  Give the tensor alone; its path, where it is drawn, comes last."
        )
    return _trace_recorded(walk, target, backward)


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
        return walk.view(wanted)
    return _with_gradients(walk, [("output", root) for root in roots], wanted, "", backward)


def _with_gradients(
    walk: Walk, results: list[tuple[str, Any]], wanted: list[Draft], name: str, backward: bool | str
) -> GraphView:
    from .gradients import add_backward, without_forward

    gradients = add_backward(walk, results)
    view = walk.view([*wanted, *gradients], name)
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
    name = type(target).__name__ if isinstance(target, NetworkModule) else getattr(target, "__name__", "")
    name = "" if name == "<lambda>" else name
    if not backward:
        return walk.view(wanted, name)
    return _with_gradients(walk, results, wanted, name, backward)


def _argument_names(
    target: Callable[..., Any], inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    function = target.forward if isinstance(target, NetworkModule) else target
    try:
        bound = inspect.signature(function).bind(*inputs, **kwargs)
        variadic = {
            one.name for one in bound.signature.parameters.values() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        }
        named = {name: value for name, value in bound.arguments.items() if name not in variadic}
        for name in variadic & bound.arguments.keys():
            rest = bound.arguments[name]
            named.update(rest if isinstance(rest, dict) else {f"{name}[{at}]": one for at, one in enumerate(rest)})
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
            if not np.array_equal(array, values, equal_nan=array.dtype.kind in "fc"):
                np.copyto(array, values)


@dataclass(eq=False, slots=True)
class Draft:
    """A node in the making."""

    kind: str
    op: str = ""
    outputs: list[Value] = field(default_factory=list)
    names: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    scope: Scope | None = None
    source: Source | None = None
    tracked: bool = False
    backward: bool = False
    step: int | None = None
    belongs_to: Draft | None = None
    incoming: list[Link] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Link:
    source: Draft
    output: int
    input: int
    name: str
    value: Value
    tracked: bool


Place = tuple[Draft, int]  # one output of a node


class Walk:
    """Collects drafts of nodes; every draft comes after those that it reads."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.drafts: list[Draft] = []
        self.inputs: list[Draft] = []
        self.going_back = False  # the backward pass is running
        self._by_node: dict[Recorded, Place] = {}
        self._by_array: dict[int, Place] = {}
        self._by_storage: dict[int, list[np.ndarray]] = {}  # arrays on one piece of memory; an id means something only
        self._leaves: dict[Draft, bool] = {}  # whether a module owns them
        self._leaf_of: dict[int, Leaf] = {}  # while its array lives
        self._sources: dict[tuple[CodeType, int], Source | None] = {}
        self._values: dict[tuple[Any, Any], Value] = {}

    # ---------------------------------------------------------------- what was recorded

    def place(self, node: Recorded) -> Place:
        """Where a recorded node's tensor comes from. Nodes not met before join the graph, with all before them."""
        if node not in self._by_node:
            fresh = {node}
            stack = [node]
            while stack:
                for parent in stack.pop().parents:
                    if parent is not None and parent not in fresh and parent not in self._by_node:
                        fresh.add(parent)
                        stack.append(parent)
            for one in sorted(fresh, key=lambda one: one.number):
                self._add_recorded(one)
        return self._by_node[node]

    def _add_recorded(self, node: Recorded) -> None:
        if isinstance(node, Leaf):
            self._add_leaf(node)
            return
        if node.op.name in _PASSING_ON and node.parents[0] is not None:
            draft, output = self._by_node[node.parents[0]]
            self._by_node[node] = (draft, node.params["position"] if node.op is SELECT else output)
            draft.names += tuple(name for name in self.names.of_node(node) if name not in draft.names)
            return
        saved = node.saved if isinstance(node.saved, (list, tuple)) else ()
        values = [saved[at] if at < len(saved) else None for at in range(len(node.parents))]
        shape, dtype = node.shape, node.dtype
        if isinstance(dtype, tuple):  # of an op with several outputs
            outputs = [self._value(one, its) for one, its in zip(shape, dtype, strict=True)]
        else:
            outputs = [self._value(shape, dtype)]
        self._add_op(node.op, values, node.params, outputs, node, node.scope)

    def _add_leaf(self, leaf: Leaf) -> None:
        draft = Draft(
            "parameter", names=self.names.of_node(leaf), outputs=[self._value(leaf.shape, leaf.dtype)], tracked=True
        )
        self._leaves[draft] = self.names.is_parameter(leaf)
        self.drafts.append(draft)
        self._by_node[leaf] = (draft, 0)
        tensor = leaf.tensor()
        if tensor is not None and id(tensor.array) not in self._by_array:  # it may be read without a gradient, too
            self.remember(tensor.array, (draft, 0))
            self._leaf_of[id(tensor.array)] = leaf

    # ---------------------------------------------------------------- what an observer saw

    def observed(
        self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Recorded | None,
        scope: Scope | None, step: int | None = None,
    ) -> Draft | None:  # fmt: skip
        if _inside_function(scope):  # the user's Function is one node, which follows
            return None
        if op is cast and node is None:  # a promotion: the same values, not a step of their own
            self.remember(outputs[0], self._array_place(inputs[0]))
            return None
        arrays = [one for one in outputs[: op.outputs] if isinstance(one, np.ndarray)]
        draft = self._add_op(op, inputs, params, [self._value(one.shape, one.dtype) for one in arrays], node, scope)
        draft.step = step
        written = [inputs[at] for at in op.mutates if isinstance(inputs[at], np.ndarray)]
        for array in written:
            # Whoever reads this memory from now on, through whatever array, reads what was written.
            for known in self._by_storage.get(storage(array), ()):
                if np.may_share_memory(known, array):
                    self._by_array[id(known)] = (draft, 0)
                    if id(known) in self._leaf_of:
                        self._by_node[self._leaf_of[id(known)]] = (draft, 0)
        for position, array in enumerate(arrays):
            self.remember(array, (draft, position))
        for array in outputs[op.outputs :]:  # what only the derivative rule reads
            if isinstance(array, np.ndarray):
                self.remember(array, (draft, 0))
        return draft

    def add_input(self, name: str, value: Any) -> None:
        """An array that a module or function is called with."""
        array = value.array if isinstance(value, TensorCore) else value
        place = self._by_array.get(id(array))
        if place is not None:
            place[0].names += (name,)
        else:
            tracked = isinstance(value, TensorCore) and value.node is not None
            draft = Draft("input", names=(name,), outputs=[self._value(array.shape, array.dtype)], tracked=tracked)
            self.drafts.append(draft)
            self.inputs.append(draft)
            place = (draft, 0)
            self.remember(array, place)
        if isinstance(value, TensorCore) and value.node is not None:
            self._by_node[value.node] = place

    def find(self, value: Any) -> Place | None:
        """Where a result comes from."""
        if isinstance(value, TensorCore):
            if value.node is not None:
                return self.place(value.node)
            value = value.array
        return self._by_array.get(id(value))

    def remember(self, array: np.ndarray, place: Place) -> None:
        """From now on, who reads this array reads that place."""
        if id(array) not in self._by_array:
            self._by_storage.setdefault(storage(array), []).append(array)
        self._by_array[id(array)] = place

    def remember_first(self, array: np.ndarray, place: Place) -> None:
        """The same for an array that is not known yet."""
        if id(array) not in self._by_array:
            self.remember(array, place)

    def add_array(self, kind: str, array: np.ndarray, names: tuple[str, ...]) -> Draft:
        """An array that no op made."""
        draft = Draft(kind, names=names, outputs=[self._value(array.shape, array.dtype)], backward=self.going_back)
        self.drafts.append(draft)
        self.remember(array, (draft, 0))
        return draft

    def add_result(self, name: str, place: Place, belongs_to: Draft | None = None) -> Draft:
        """What comes out at the end."""
        draft, output = place
        value = draft.outputs[output]
        last = Draft("output", names=(name,), outputs=[value], tracked=draft.tracked, belongs_to=belongs_to)
        last.backward = self.going_back
        last.incoming.append(Link(draft, output, 0, "", value, draft.tracked))
        self.drafts.append(last)
        return last

    def _array_place(self, array: np.ndarray) -> Place:
        place = self._by_array.get(id(array))
        if place is not None:
            return place
        leaf = self.names.leaf_of(array)
        place = None if leaf is None else self.place(leaf)
        if place is None:
            kind, names = self.names.of_array(array)
            arguments = (("value", _number(array)),) if array.size == 1 and kind == "constant" else ()
            draft = Draft(kind, names=names, outputs=[self._value(array.shape, array.dtype)], arguments=arguments)
            draft.backward = self.going_back and kind == "constant"
            self.drafts.append(draft)
            place = (draft, 0)
        self.remember(array, place)
        return place

    # ---------------------------------------------------------------- one operation

    def _add_op(
        self, op: Op, values: list[Any], params: dict[str, Any], outputs: list[Value], node: Recorded | None,
        scope: Scope | None,
    ) -> Draft:  # fmt: skip
        kind = "write" if op.mutates else "view" if op.view else "op" if op.kind == "primitive" else "kernel"
        draft = Draft(kind, op.name, outputs, scope=scope, tracked=node is not None)
        draft.arguments = tuple(_arguments(op, params))
        parents = node.parents if node is not None else ()
        for position, value in enumerate(values):
            parent = parents[position] if position < len(parents) else None
            name = op.inputs[position] if not op.variadic and position < len(op.inputs) else ""
            if parent is not None:
                source, output = self.place(parent)
                read = self._value(parent.shape, parent.dtype)
            elif isinstance(value, np.ndarray):
                source, output = self._array_place(value)
                read = self._value(value.shape, value.dtype)
            else:
                if isinstance(value, (bool, int, float, complex)):
                    draft.arguments += ((name or f"input {position}", _text(value)),)
                continue
            draft.incoming.append(Link(source, output, position, name, read, parent is not None))
        if node is None:
            rule = _rule(scope)
            draft.backward = rule is not None or self.going_back
            draft.source = self._running_line() if rule is None else self.source(rule.code, rule.offset, rule.parent)
        else:
            draft.source = self.source(node.code, node.offset, node.scope)
            code = node.code
            draft.backward = (code is not None and code.co_filename == _ENGINE_BACKWARD) or _rule(scope) is not None
            self._by_node[node] = (draft, 0)
            draft.names = self.names.of_node(node)
        self.drafts.append(draft)
        return draft

    def source(self, code: CodeType | None, offset: int, scope: Scope | None) -> Source | None:
        """The user's line that recorded something: the innermost outside the library, climbing out of its scopes."""
        while code is None or in_package(code):
            if scope is None:
                return None
            code, offset, scope = scope.code, scope.offset, scope.parent
        key = (code, offset)
        if key not in self._sources:
            self._sources[key] = _source(code, offset)
        return self._sources[key]

    def _running_line(self) -> Source | None:
        """The user's innermost line that is running now."""
        frame = user_frame()
        return None if frame is None or self.going_back else self.source(frame.f_code, frame.f_lasti, None)

    def _value(self, shape: Any, dtype: Any) -> Value:
        key = (shape, dtype)
        known = self._values.get(key)
        if known is None:
            known = self._values[key] = Value(tuple(int(side) for side in shape), str(dtype))
        return known

    def mark_losses(self, places: Iterable[Place]) -> None:
        """A result that is one tracked number is a loss."""
        for draft, output in places:
            if draft.kind in ("op", "kernel") and draft.tracked and not draft.backward:
                value = draft.outputs[output]
                if math.prod(value.shape) == 1 and value.dtype.startswith(("float", "bfloat")):
                    draft.kind = "loss"

    # ---------------------------------------------------------------- plain data

    def view(self, wanted: Iterable[Draft], name: str = "") -> GraphView:
        """The wanted nodes and all that leads to them."""
        reached = set(wanted)
        stack = list(reached)
        while stack:
            for link in stack.pop().incoming:
                if link.source not in reached:
                    reached.add(link.source)
                    stack.append(link.source)
        drafts = [draft for draft in self.drafts if draft in reached]
        if any(self._leaves.values()):  # beside a network's own parameters, a plain tensor is something given to it
            for draft, owned in self._leaves.items():
                draft.kind = "parameter" if owned else "input"
        numbers = {draft: number for number, draft in enumerate(drafts)}
        modules = _Modules(self.names, self.source)
        places = modules.of(drafts)
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
        return GraphView(nodes, edges, tuple(modules.found), name)


class _Modules:
    """Makes modules of the scopes that the nodes were recorded in."""

    def __init__(self, names: Names, source: Callable[..., Source | None]) -> None:
        self.found: list[Module] = []
        self._names = names
        self._source = source
        self._ids: dict[Any, int] = {}
        self._calls: dict[tuple[str, str, bool], int] = {}

    def of(self, drafts: list[Draft]) -> list[int | None]:
        """For each draft the id of its innermost module."""
        places: dict[Draft, int | None] = {}
        run, running = 0, None
        for draft in drafts:
            if not draft.op:
                if draft.kind == "output" and draft.backward:  # a gradient stands where its rule does
                    places[draft] = self._around([places.get(link.source) for link in draft.incoming])
            elif draft.scope is None and draft.backward:  # a sum of gradients from several places
                places[draft] = self._around([places.get(link.source) for link in draft.incoming])
            else:
                chain = [] if draft.scope is None else draft.scope.chain()
                first = next((at for at, scope in enumerate(chain) if scope.kind == "backward"), len(chain))
                rule = chain[first] if first < len(chain) else None
                if rule is not running:  # each stretch of work on one op's gradient is a module call of its own
                    run, running = run + 1, rule
                places[draft] = self._nested(chain, first, run, draft.backward)
        readers: dict[Draft, list[Draft]] = {}
        for draft in drafts:
            for link in draft.incoming:
                readers.setdefault(link.source, []).append(draft)
        for draft in drafts:
            if not draft.op and draft.kind not in ("input", "output"):
                places[draft] = self._home(draft, readers.get(draft, []), places)
        return [places.get(draft) for draft in drafts]

    def _nested(self, chain: list[Scope], first: int, run: int, going_back: bool) -> int | None:
        parent: int | None = None
        backward = first < len(chain) or going_back
        for at, scope in enumerate(chain):
            if at < first and backward and scope.kind != "module":
                continue  # the gradients of a composite stand in the module that called it
            key = (scope, backward, run if at >= first else 0)
            known = self._ids.get(key)
            if known is None:
                name = (scope.name, scope.kind, backward)
                known = self._ids[key] = len(self.found)
                self.found.append(
                    Module(
                        id=known,
                        kind=scope.kind,
                        name=scope.name,
                        type=scope.type,
                        parent=parent,
                        call=self._calls.get(name, 0),
                        detail=self._names.detail(scope.name, scope.type) if scope.kind == "module" else "",
                        source=self._source(scope.code, scope.offset, scope.parent),
                        backward=backward,
                    )
                )
                self._calls[name] = self._calls.get(name, 0) + 1
            parent = known
        return parent

    def _around(self, places: list[int | None], kinds: tuple[str, ...] = ("module",)) -> int | None:
        """The innermost module around all these places."""
        common: list[int] = []
        for around in zip(*map(self._path, places), strict=False):
            if len(set(around)) > 1:
                break
            common.append(around[0])
        while common and self.found[common[-1]].kind not in kinds:
            common.pop()
        return common[-1] if common else None

    def _home(self, draft: Draft, readers: list[Draft], places: dict[Draft, int | None]) -> int | None:
        """The innermost module around all who read an array: the parameters of a shared module stand outside its calls."""
        forward = [reader for reader in readers if not reader.backward] or readers
        kinds = ("module", "backward") if draft.kind == "constant" and not draft.names else ("module",)
        return self._around([places.get(reader) for reader in forward], kinds)

    def _path(self, module: int | None) -> list[int]:
        path: list[int] = []
        while module is not None:
            path.append(module)
            module = self.found[module].parent
        return path[::-1]


class _Recorder(Observer):
    """Hands what it sees to the walk."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._step = 0

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Recorded | None,
           scope: Scope | None) -> None:  # fmt: skip
        self._walk.observed(op, inputs, params, outputs, node, scope, self._step)
        self._step += 1


def _rule(scope: Scope | None) -> Scope | None:
    """The outermost derivative rule that is running, where one is."""
    found = None
    while scope is not None:
        if scope.kind == "backward":
            found = scope
        scope = scope.parent
    return found


def _inside_function(scope: Scope | None) -> bool:
    while scope is not None:
        if scope.kind == "function":
            return True
        scope = scope.parent
    return False


def _source(code: CodeType, offset: int) -> Source | None:
    if code.co_filename.startswith(_HERE):
        return None  # the module that was run for the picture: no line of the user's called it
    site = resolve(code, offset)
    file = os.path.abspath(site.file) if os.path.exists(site.file) else site.file
    below = os.path.join(os.getcwd(), "")
    return Source(file.removeprefix(below).replace(os.sep, "/"), site.line, site.text)


def _arguments(op: Op, params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What an op was given beside arrays, where it says something: readable, and the same in every run."""
    for name, value in params.items():
        default = op.params.get(name)
        if (
            value is None
            or value is default
            or (_is_plain(value) and type(value) is type(default) and value == default)
        ):
            continue
        text = _index(value) if name == "index" else _text(value)
        if text:
            yield name, text


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex, str))


def _text(value: Any) -> str:
    """A parameter's value in a few characters; "" for what has no readable form.

    >>> _text(0.1), _text(np.float32), _text((0, -1))
    ('0.1', 'float32', '(0, -1)')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    if _is_plain(value) or value is None:
        return str(value)
    if isinstance(value, slice):
        parts = ["" if one is None else str(one) for one in (value.start, value.stop)]
        return ":".join(parts if value.step is None else [*parts, str(value.step)])
    if value is Ellipsis:
        return "…"
    if isinstance(value, np.ndarray):
        return f"{'×'.join(map(str, value.shape))} {value.dtype}" if value.ndim else str(value)
    if isinstance(value, np.generic):
        return _text(value.item())
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return str(np.dtype(value))
    if isinstance(value, engine.Geometry):
        return " ".join(_index(params["index"]) if "index" in params else op.name for op, params in value.steps)
    if isinstance(value, (tuple, list)):
        return f"({', '.join([*(_text(one) for one in value[:8]), *['…'] * (len(value) > 8)])})"
    return ""


def _index(index: Any) -> str:
    """
    >>> _index((slice(1, 3), Ellipsis, None)), _index(0)
    ('[1:3, …, None]', '[0]')
    """
    return f"[{', '.join(_text(one) for one in index) if isinstance(index, tuple) else _text(index)}]"


def _number(array: np.ndarray) -> str:
    value = array.reshape(-1)[0].item()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
