"""The backward pass: the graph in reverse topological order, each node's rules run on what they asked for.

First-order gradients run the rules on plain arrays. With ``create_graph``, or while an observer traces the backward
pass, the same rules run on Tensors, whose operations are recorded or observed in turn.

The engine writes only into arrays that its own additions made: the second contribution to a node allocates, later ones
add in place. A leaf's ``.grad`` is contiguous, writable and memory of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from ..errors import AutogradError, GraphError, InplaceError
from . import versions
from .core_ops import Scatter, cast, copy, index_add
from .dispatch import NUMPY_ERRORS, SELECT, apply, explain, make_node, select_node
from .domain import REAL
from .node import FREED, Leaf, Node
from .op import Op
from .promotion import F16, F32
from .register import primitive
from .site import at, here
from .state import LOCAL, Scope, constant, enable_grad, no_grad, touch
from .tensor import TensorCore, wrap

__all__ = ["run_backward", "when_backward_ends"]

_by_number = attrgetter("number")
_ndarray = np.ndarray

alias = primitive(lambda x: x, lambda g: g, name="alias", inputs=("x",), domain=REAL)


def run_backward(
    roots: Sequence[Node],
    seeds: Sequence[Any],
    *,
    wanted: Sequence[Node] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    accumulate: Sequence[TensorCore] = (),
) -> dict[Node, Any]:
    """Push ``seeds`` (Tensors) back from ``roots``.

    Without ``wanted``, gradients accumulate in the ``.grad`` of all leaves. With it, only what lies on a path to those
    nodes is walked, and their gradients are returned as Tensors, and added to the ``.grad`` of those in ``accumulate``.
    """
    on_tensors = create_graph or any(one.traces_backward for one in LOCAL.state.observers or ())
    order, on_path = _order(roots, wanted)
    walk = _Walk(on_tensors, create_graph, retain_graph, on_path)
    found: dict[Node, Any] = {}
    targets = None if wanted is None else set(wanted)
    into = {tensor.node: tensor for tensor in accumulate}
    for root, seed in zip(roots, seeds, strict=True):
        # A copy: the seed may be some leaf's .grad, which this very pass adds to.
        walk.add(root, seed if on_tensors else np.array(seed.array))
    state = LOCAL.state
    outer, state.ending = state.ending, []
    try:
        for node in order:
            gradient = walk.pending.pop(node, None)
            if gradient is None:
                continue
            if node.hooks is not None and not isinstance(gradient, list):
                gradient = _call_hooks(node, gradient, on_tensors, into.get(node))
            if targets is None:
                if isinstance(node, Leaf):
                    _accumulate(node, node.tensor(), gradient, create_graph)
            elif node in targets:
                if node in into:
                    _accumulate(node, into[node], gradient, create_graph)
                found[node] = gradient if on_tensors else wrap(gradient)
            if node.parents:
                walk.through(node, gradient)
        for action in state.ending:
            action()
    finally:
        state.ending = outer
    return found


def when_backward_ends(action: Callable[[], None]) -> bool:
    """Have something done when the backward pass that runs now is over, if it comes to its end; from within a hook.

    Returns:
        Whether it is new: an action that was named before in this pass is done once.
    """
    ending = LOCAL.state.ending
    if ending is None:
        raise GraphError(f"no backward pass is running that could end.{here()}")
    if action in ending:
        return False
    ending.append(action)
    return True


def _order(roots: Sequence[Node], wanted: Sequence[Node] | None) -> tuple[list[Node], set[Node] | None]:
    """The nodes to walk, youngest first, and, where only some are wanted, those that lead to one of them.

    A parent is always older than its children, so sorting by number is a topological order. A leaf with hooks comes
    as soon as the last of its children has been walked, and not with those of its age: what waits for its gradient can
    begin while the pass goes on.
    """
    oldest = 0 if wanted is None else min((node.number for node in wanted), default=0)  # nothing older leads to one
    seen: set[Node] = set(roots)
    oldest_child: dict[Node, int] = {}  # of each leaf with hooks
    stack = list(dict.fromkeys(roots))  # in the same order each time
    while stack:
        node = stack.pop()
        number = node.number
        for parent in node.parents:
            if parent is None or parent in seen or parent.number < oldest:
                continue
            if parent.hooks is None or parent.__class__ is not Leaf:
                seen.add(parent)
                stack.append(parent)
            elif number < oldest_child.get(parent, number + 1):
                oldest_child[parent] = number
    order = sorted(seen, key=_by_number, reverse=True)
    if oldest_child:
        leaves: dict[int, list[Node]] = {}
        for leaf, number in oldest_child.items():
            leaves.setdefault(number, []).append(leaf)
        order = [one for node in order for one in (node, *leaves.get(node.number, ()))]
    if wanted is None:
        return order, None
    on_path = set(wanted)
    for node in reversed(order):
        if node not in on_path and any(parent in on_path for parent in node.parents):
            on_path.add(node)
    return [node for node in order if node in on_path], on_path


class _Walk:
    """One backward pass: the gradients that wait at each node, and which of those arrays the pass itself made."""

    def __init__(self, on_tensors: bool, create_graph: bool, retain_graph: bool, on_path: set[Node] | None) -> None:
        self.on_tensors = on_tensors
        self.create_graph = create_graph
        self.retain_graph = retain_graph
        self.on_path = on_path
        self.state = LOCAL.state
        self.pending: dict[Node, Any] = {}
        self.owned: set[Node] = set()

    def through(self, node: Node, gradient: Any) -> None:
        """Run the rules of one node and hand the results to its parents."""
        op, parents, on_path = node.op, node.parents, self.on_path
        if on_path is None:
            needs = [parent is not None for parent in parents]
        else:
            needs = [parent in on_path for parent in parents]
            if True not in needs:  # a wanted node: its gradient is all that was asked for
                return
        if op is SELECT:
            self._add_output(node, gradient)
            return
        if node.saved is FREED:
            raise GraphError(
                f"backward went a second time through {op.name}, whose saved values the first time freed."
                f"{at(node.site, 'recorded at')}{here()}\n"
                "  Pass retain_graph=True to the first backward, or compute the value again."
            )
        if versions.latest > node.number:
            message = node.stale()
            if message is not None:
                raise InplaceError(message)
        try:
            if self.on_tensors or op.pullback is not None:
                gradients = self._in_scope(node, gradient, needs)
            else:
                gradients = self._input_gradients(node, gradient, needs)
        except AutogradError:
            raise
        except NUMPY_ERRORS as error:
            if op.pullback is not None:  # a user's backward: the error is the user's
                raise
            raise explain(error, f"the derivative rule of {op.name}", [gradient], {}) from error
        pending = self.pending
        for position, parent in enumerate(parents):
            value = gradients[position]
            if value is None or not needs[position]:
                continue
            if value.__class__ is not _ndarray or value.shape != parent.shape or value.dtype is not parent.dtype:
                value = gradients[position] = self._fit(node, position, parent, value)
            if parent in pending or value.__class__ is Scatter:
                self.add(parent, value)
            else:
                pending[parent] = value
        observers = self.state.observers
        if observers is not None:
            for observer in observers:
                observer.backward(node, gradient, gradients)
        if not self.retain_graph and node.saved is not None:
            node.saved = FREED

    def _in_scope(self, node: Node, gradient: Any, needs: list[bool]) -> list[Any]:
        """`_input_gradients`, whose operations are recorded or observed as the derivative of the user's line."""
        state, op = self.state, node.op
        outer, mode = state.scope, state.grad_enabled
        state.scope = Scope("backward", op.name, op.name, node.code, node.offset, node.scope)
        state.grad_enabled = self.create_graph
        try:
            return self._input_gradients(node, gradient, needs)
        finally:
            state.scope, state.grad_enabled = outer, mode

    def _input_gradients(self, node: Node, gradient: Any, needs: list[bool]) -> list[Any]:
        op = node.op
        if gradient.__class__ is list:  # of an op with several outputs
            if op.pullback is None:  # a Function decides itself what it wants for an output without a gradient
                gradient = [zeros_for(node, position) if one is None else one for position, one in enumerate(gradient)]
            gradient = tuple(wrap(one) if self.on_tensors and isinstance(one, np.ndarray) else one for one in gradient)
        if op.pullback is not None:
            return self._pull_back(op, node, gradient, needs)
        if op.joint is not None:
            return self._jointly(op, node, gradient, needs)
        lift = _lift if self.on_tensors else None
        return [
            rule.function(gradient, *rule.arguments(node, lift)) if wanted and rule is not None else None
            for rule, wanted in zip(op.vjps, needs, strict=True)
        ]

    def _pull_back(self, op: Op, node: Node, gradient: Any, needs: list[bool]) -> list[Any]:
        """A user's Function: it always works on Tensors."""
        assert op.pullback is not None
        if not self.on_tensors:
            several = isinstance(gradient, tuple)
            lifted = tuple(None if one is None else wrap(one) for one in (gradient if several else (gradient,)))
            gradient = lifted if several else lifted[0]
        results = op.pullback(node, gradient, tuple(needs), self.create_graph)
        if not self.on_tensors:
            return [one.array if isinstance(one, TensorCore) else one for one in results]
        return list(results)

    def _jointly(self, op: Op, node: Node, gradient: Any, needs: list[bool]) -> list[Any]:
        assert op.joint is not None
        if not self.on_tensors:
            return list(op.joint.function(gradient, *op.joint.arguments(node, None, needs)))
        if op.backward is None:  # a primitive with one rule for all inputs
            return list(op.joint.function(gradient, *op.joint.arguments(node, _lift, needs)))
        if self.create_graph:
            return _through_definition(op, node, gradient, needs)
        values = dict(zip(op.joint.names, op.joint.arguments(node, _lift, needs), strict=True))
        _, *others = op.backward.inputs
        inputs = (gradient, *(values[name] for name in others))
        params = {name: values[name] for name in op.backward.params}
        with no_grad():
            results = apply(op.backward, inputs, params)
        return list(results) if isinstance(results, tuple) else [results]

    def _fit(self, node: Node, position: int, parent: Node, value: Any) -> Any:
        """A gradient in the shape and dtype of its input: broadcasting undone, the dtype cast."""
        if isinstance(value, Scatter):
            return value
        if not self.on_tensors:
            if value.__class__ is not np.ndarray:
                value = np.asarray(value)
        elif not isinstance(value, TensorCore):
            value = wrap(np.asarray(value))
        if value.shape != parent.shape:
            if not node.op.broadcasts or not _broadcasts_to(parent.shape, value.shape):
                name = node.op.saved_name(position) if node.op.pullback is None else f"input {position}"
                raise GraphError(
                    f"the derivative rule of {node.op.name} returned a gradient of shape {tuple(value.shape)} for its "
                    f"{name}, which has shape {tuple(parent.shape)}{at(node.site, 'recorded at')}"
                )
            with _mode(self.create_graph):
                value = unbroadcast(value, parent.shape)
        if (value.array if self.on_tensors else value).dtype != parent.dtype:
            with _mode(self.create_graph):
                value = (
                    apply(cast, (value,), {"dtype": parent.dtype}) if self.on_tensors else value.astype(parent.dtype)
                )
        return value

    def add(self, node: Node, value: Any) -> None:
        """Add a gradient to those that wait at a node."""
        current: Any = self.pending.get(node)
        if self.on_tensors:
            with _mode(self.create_graph):
                if isinstance(value, Scatter):
                    base = wrap(constant(np.zeros(node.shape, node.dtype))) if current is None else current
                    self.pending[node] = apply(index_add, (base, value.gradient), {"index": value.index})
                else:
                    self.pending[node] = value if current is None else current + value
            return
        if isinstance(value, Scatter):
            if node not in self.owned:
                self.owned.add(node)
                current = np.zeros(node.shape, node.dtype) if current is None else np.array(current)
                self.pending[node] = current
            value.add_into(current)
        elif current is None:
            self.pending[node] = value
        elif node in self.owned:
            np.add(current, value, out=current)
        else:
            self.pending[node] = np.asarray(current + value)
            self.owned.add(node)

    def _add_output(self, node: Node, gradient: Any) -> None:
        parent = node.parents[0]
        waiting = self.pending.get(parent)
        if waiting is None:
            waiting = self.pending[parent] = [None] * len(parent.shape)
        position = node.params["position"]
        before = waiting[position]
        with _mode(self.create_graph):
            waiting[position] = gradient if before is None else before + gradient


def _mode(create_graph: bool) -> Any:
    return enable_grad() if create_graph else no_grad()


def unbroadcast(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the dimensions along which its input was broadcast."""
    if gradient.dtype == F16 and not isinstance(gradient, TensorCore):
        gradient = gradient.astype(F32)  # a sum of float16 is computed in float32, as everywhere
    extra = len(gradient.shape) - len(shape)
    if extra:
        gradient = np.sum(gradient, axis=tuple(range(extra)))
    axes = tuple(i for i, side in enumerate(shape) if side == 1 and gradient.shape[i] != 1)
    if axes:
        gradient = np.sum(gradient, axis=axes, keepdims=True)
    return gradient if isinstance(gradient, TensorCore) else np.asarray(gradient)


def _broadcasts_to(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    return len(shape) <= len(larger) and all(
        side in (1, wanted) for side, wanted in zip(shape, larger[len(larger) - len(shape) :], strict=True)
    )


def zeros_for(node: Node, position: int) -> np.ndarray:
    return constant(np.zeros(node.shape[position], node.dtype[position]))


def _lift(node: Node, position: int) -> Any:
    """A saved value as a Tensor that hangs where it hung when it was saved."""
    value = node.saved[position]
    count = len(node.parents)
    if isinstance(value, tuple):
        return tuple(wrap(one, select_node(node, which, one)) for which, one in enumerate(value))
    if not isinstance(value, np.ndarray):
        return value
    if position < count:
        return wrap(value, node.parents[position])
    return wrap(value, node if position == count else None)


def _through_definition(op: Op, node: Node, gradient: Any, needs: list[bool]) -> list[Any]:
    """A kernel's gradients with a graph of their own: the backward pass of its definition, which stops at its inputs."""
    aliases: list[Node | None] = []
    inputs: list[Any] = []
    with enable_grad():
        for position, wanted in enumerate(needs):
            value = node.saved[position]
            edge = None
            if wanted:
                edge = make_node(alias, [node.parents[position]], {}, value.shape, value.dtype)
            aliases.append(edge)
            inputs.append(wrap(value, edge) if isinstance(value, np.ndarray) else value)
        assert op.definition is not None
        out = op.definition(*inputs, **node.params)
    targets = [edge for edge in aliases if edge is not None]
    found = run_backward([out.node], [gradient], wanted=targets, retain_graph=True, create_graph=True)
    return [None if edge is None else found.get(edge) for edge in aliases]


def _call_hooks(node: Node, gradient: Any, on_tensors: bool, accumulating: TensorCore | None) -> Any:
    hooks = node.hooks
    assert hooks is not None
    for hook in list(hooks.before.values()):
        shown = gradient if on_tensors else wrap(gradient)
        replaced = hook(shown)
        if replaced is None:
            continue
        if not isinstance(replaced, TensorCore) or replaced.array.shape != node.shape:
            kind = f"a Tensor of shape {replaced.array.shape}" if isinstance(replaced, TensorCore) else type(replaced)
            raise GraphError(
                f"a gradient hook must return None or a Tensor of shape {tuple(node.shape)}, and this one returned {kind}."
                f"{at(node.site, 'tensor made at')}{here()}"
            )
        gradient = replaced if on_tensors else replaced.array.astype(node.dtype, copy=False)
    if hooks.retaining is not None and not isinstance(node, Leaf):
        tensor = hooks.retaining()
        if tensor is not None and tensor is not accumulating:
            kept = gradient if on_tensors else wrap(np.array(gradient))
            tensor._grad = kept if tensor._grad is None else tensor._grad + kept
    return gradient


def _accumulate(node: Node, tensor: Any, gradient: Any, create_graph: bool) -> None:
    """Add a gradient to the ``.grad`` of the tensor that a node stands for, if that tensor still lives."""
    if tensor is None:
        return
    if gradient.shape != tensor.array.shape:
        raise GraphError(
            f"a gradient of shape {tuple(gradient.shape)} came to a leaf whose data now has shape "
            f"{tensor.array.shape}.{here()}\n  Its data was replaced between forward and backward."
        )
    touch(tensor, "read")
    before = tensor._grad
    if isinstance(gradient, TensorCore):
        with _mode(create_graph):
            if before is not None:
                tensor._grad = before + gradient
            else:
                tensor._grad = gradient if create_graph else apply(copy, (gradient,))
    elif before is None:
        tensor._grad = wrap(gradient if _is_private(gradient) else np.array(gradient, order="C"))
    elif before.node is None and before.array.flags.writeable:
        np.add(before.array, gradient, out=before.array)
        versions.bump(before.array)
    else:
        tensor._grad = before + wrap(gradient)
    if node.hooks is not None:
        for hook in list(node.hooks.after.values()):
            hook(tensor)


def _references(array: np.ndarray) -> int:
    return sys.getrefcount(array)


def _references_below(array: np.ndarray) -> int:
    return _references(array)


def _fewest_references() -> int:
    array = np.empty(1)
    return _references_below(array)


# The references that an array has when nothing holds it but `run_backward`, `_accumulate` and `_is_private`, one calling
# the other. The number depends on the interpreter, so three such frames measure it.
_PRIVATE = _fewest_references()


def _is_private(array: np.ndarray) -> bool:
    """Whether nothing but the backward pass can reach the array's memory, so that a leaf may keep it uncopied."""
    flags = array.flags
    return flags.c_contiguous and flags.owndata and flags.writeable and sys.getrefcount(array) <= _PRIVATE
