"""Writing in place.

(a) Every write by our ops is counted against the memory it touched; saved arrays are checked against that.
(b) Writing to a leaf that requires grad, while recording, raises.
(c) A write to a whole tensor gives the tensor a new node.
(d) A write through a view is one op, `write_view`, on the base; base and view get new nodes.
(e) Other views of that base are then stale: recording with them raises.
(f) Writing, while recording, through an output of split, chunk or unbind or through a view made under `no_grad` raises;
    so does writing to expanded or read-only memory, or a cast that loses the kind of number, recording or not.
(g) Under `no_grad` everything else writes, and is counted.
(h) Writes by NumPy itself, through ``t.numpy()`` or an array handed in, are not seen; `detect_anomaly` makes saved
    arrays read-only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DtypeError, InplaceError, ShapeError
from . import versions
from .core_ops import Geometry, is_basic, keep_array, write, write_index, write_view
from .dispatch import NO_PARAMS, NUMPY_ERRORS, apply, explain, make_node, notify
from .node import Leaf, Node, hooks_of
from .op import Op
from .promotion import SCALARS, promote_types, rank
from .site import here
from .state import LOCAL
from .tensor import TensorCore, View

__all__ = ["assign", "check_recordable", "replace_node", "set_item", "update"]


def update(op: Op, target: TensorCore, others: tuple[Any, ...], params: dict[str, Any] = NO_PARAMS) -> Any:
    """``target = op(target, *others)`` in target's own memory."""
    _check_writable(target)
    result = apply(op, (target, *others), params)
    if target.array.dtype.kind == "b" and result.array.dtype.kind != "b":
        _refuse_cast(result.array.dtype, target.array.dtype)
    node = result.node
    if node is not None:
        _place(node, None)
        if node.saved is not None:
            # What the rule of this very op reads is the value before the write.
            node.saved = [
                value.copy() if isinstance(value, np.ndarray) and np.may_share_memory(value, target.array) else value
                for value in node.saved
            ]
    return assign(target, result)


def assign(target: TensorCore, value: Any) -> Any:
    """Write ``value`` (Tensor, array or Python scalar, broadcast to the target's shape) into target's memory."""
    _check_writable(target)
    if not isinstance(value, TensorCore) and not isinstance(value, SCALARS):
        value = np.asarray(value)
    array = value.array if isinstance(value, TensorCore) else np.asarray(value)
    _check_cast(target, value, array)
    _check_shape(target, array)
    state = LOCAL.state
    node = None
    if isinstance(value, TensorCore):
        node = value.node
        if value.view_of is not None and state.grad_enabled:
            value.view_of.check()
    view = target.view_of
    if view is not None and not np.may_share_memory(target.array, view.base.array):
        view = target.view_of = None  # the base was given other data since
    base = target if view is None else view.base
    if not state.grad_enabled or (node is None and target.node is None and base.node is None):
        write.forward(target.array, array)
        _note(write, target, array)
        return target
    check_recordable(target, view, base)
    if view is None:
        # Where the value carries a gradient, nothing of the old value can matter any more.
        parents = [None, node] if node is not None else [target.node, None]
        fresh = make_node(write, parents, {}, target.array.shape, target.array.dtype)
        _place(fresh, None)
        write.forward(target.array, array)
        _note(write, target, array, fresh)
        replace_node(target, fresh)
        return target
    geometry = Geometry(view.steps)
    params = {"geometry": geometry}
    fresh = make_node(write_view, [base.node, node], params, base.array.shape, base.array.dtype)
    _place(fresh, None)
    write.forward(target.array, array)
    _note(write_view, base, array, fresh, params, target.array)
    replace_node(base, fresh)
    _take_again(target, view)
    return target


def set_item(target: TensorCore, index: Any, value: Any) -> None:
    """``target[index] = value``."""
    if LOCAL.state.grad_enabled and isinstance(target.node, Leaf):
        check_recordable(target, None, target)
    if is_basic(index):
        if not _has_written(target, index, value):
            region = target[index]  # type: ignore[index]
            if region.array.size or target.array.size:
                assign(region, _without_leading_ones(value, region.array.ndim))
        if target.view_of is not None and target.view_of.stale():  # the write gave target's base a new node
            _take_again(target, target.view_of)
        return
    _check_writable(target)
    array = value.array if isinstance(value, TensorCore) else np.asarray(value)
    _check_cast(target, value, array)
    state = LOCAL.state
    tensors = [one for one in (target, value) if isinstance(one, TensorCore)]
    recorded = state.grad_enabled and any(one.node is not None or one.view_of is not None for one in tensors)
    if recorded or state.observers is not None:
        written = apply(write_index, (target, value), {"index": index})
        if written.node is not None:
            _place(written.node, None)
        assign(target, written)
        return
    try:
        target.array[index] = array
    except NUMPY_ERRORS as error:
        raise explain(error, write_index.name, [target.array, array], {"index": index}) from error
    versions.bump(target.array)


def _place(node: Node | None, above: Node | None) -> None:
    """Give a chain of nodes, down to one that was there before, the user's line for their site."""
    while node is not None and node is not above:
        node.place_here()
        node = node.parents[0] if above is not None else None


def _take_again(target: TensorCore, view: View) -> None:
    """Let a view hang at the node that its base has now."""
    base = view.base
    again = Geometry(view.steps)(base)
    _place(again.node, base.node)
    replace_node(target, again.node)
    target.view_of = View(base, view.steps, view.sealed)


def _without_leading_ones(value: Any, ndim: int) -> Any:
    """``value`` without leading dimensions of 1 beyond ``ndim``, which an assignment by index allows."""
    shape = np.shape(value.array if isinstance(value, TensorCore) else value)
    extra = len(shape) - ndim
    if extra > 0 and shape[:extra] == (1,) * extra:
        return (value if isinstance(value, TensorCore) else np.asarray(value))[(0,) * extra]  # type: ignore[index]
    return value


def _has_written(target: TensorCore, index: Any, value: Any) -> bool:
    """Whether this is the last step of ``t[i] += v``, which has written through the very view ``value`` already."""
    if not isinstance(value, TensorCore) or value.view_of is None:
        return False
    base = target if target.view_of is None else target.view_of.base
    if value.view_of.base is not base or value.view_of.stale():
        return False
    try:
        mine, other = target.array[keep_array(index)], value.array
    except IndexError:
        return False
    return (
        mine.shape == other.shape
        and mine.strides == other.strides
        and mine.__array_interface__["data"] == other.__array_interface__["data"]
    )


def replace_node(tensor: TensorCore, node: Node | None) -> None:
    """Give a tensor that was written its new node; a wish to retain its gradient goes along."""
    before = tensor.node
    tensor.node = node
    if before is not None and node is not None and before.hooks is not None and not isinstance(before, Leaf):
        retaining = before.hooks.retaining
        if retaining is not None and retaining() is tensor:
            before.hooks.retaining = None
            hooks_of(node).retaining = retaining


def _note(
    op: Op, target: TensorCore, value: Any, node: Any = None, params: Any = NO_PARAMS, memory: Any = None
) -> None:
    versions.bump(target.array if memory is None else memory)
    state = LOCAL.state
    if state.observers is not None:
        notify(state, op, [target.array, value], params, (target.array,), node)


def _check_writable(target: TensorCore) -> None:
    array = target.array
    if array.size and any(stride == 0 and side > 1 for stride, side in zip(array.strides, array.shape, strict=True)):
        raise InplaceError(
            "several elements of this tensor are the same number in memory (it was expanded or broadcast), so it cannot "
            f"be written in place.{here()}\n  Make a copy first: x = x.clone()."
        )
    if not array.flags.writeable:
        raise InplaceError(
            "this tensor shows read-only memory (an array that is not writeable, or one that detect_anomaly protects "
            f"for the backward pass).{here()}\n  Write to a copy: x = x.clone()."
        )


def _check_cast(target: TensorCore, value: Any, array: np.ndarray) -> None:
    """PyTorch's rule: a write may narrow a number, and may not lose its kind (floating to integer)."""
    to = target.array.dtype
    if array.dtype != to and rank(array.dtype) > rank(to) and (rank(to) > 0 or rank(array.dtype) > 1):
        _refuse_cast(promote_types(array.dtype, to), to)


def _refuse_cast(computed: np.dtype[Any], to: np.dtype[Any]) -> None:
    raise DtypeError(
        f"the result is {computed} and cannot be written into a tensor of dtype {to} in place.{here()}\n"
        f"  Convert one of them first: x.to({computed}), or the value to {to}."
    )


def _check_shape(target: TensorCore, array: np.ndarray) -> None:
    shape = target.array.shape
    try:
        fits = np.broadcast_shapes(shape, array.shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"a value of shape {array.shape} does not broadcast to the tensor's {shape}.{here()}")


def check_recordable(target: TensorCore, view: View | None, base: TensorCore) -> None:
    """Clauses (b), (e) and (f): whether a write to ``target``, a view of ``base`` or its own, can be recorded."""
    for tensor, what in ((target, "this tensor is"), (base, "this is a view of")):
        if isinstance(tensor.node, Leaf):
            raise InplaceError(
                f"{what} a leaf that requires grad; writing to it in place while recording would lose the value that "
                f"its gradient belongs to.{here()}\n"
                "  Update parameters under `with no_grad():`, or write to a copy: x = x.clone()."
            )
    if view is not None:
        if view.sealed is not None:
            raise InplaceError(
                f"this view cannot be written while recording: {view.sealed}.{here()}\n"
                "  Write to the base, or through a view taken by indexing."
            )
        view.check()
