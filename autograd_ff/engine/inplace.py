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
from .core_ops import Geometry, is_basic, write, write_index, write_view
from .dispatch import NO_PARAMS, apply, make_node, notify
from .node import Leaf, Node, hooks_of
from .op import Op
from .promotion import SCALARS, promote_types, rank
from .site import here
from .state import LOCAL
from .tensor import TensorCore, View

__all__ = ["assign", "set_item", "update"]


def update(op: Op, target: TensorCore, others: tuple[Any, ...], params: dict[str, Any] = NO_PARAMS) -> Any:
    """``target = op(target, *others)`` in target's own memory."""
    _check_writable(target)
    result = apply(op, (target, *others), params)
    node = result.node
    if node is not None and node.saved is not None:
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
    node = value.node if isinstance(value, TensorCore) else None
    view = target.view
    base = target if view is None else view.base
    if not state.grad_enabled or (node is None and target.node is None and base.node is None):
        write.forward(target.array, array)
        _note(write, target, array)
        return target
    _check_recordable(target, view, base)
    if isinstance(value, TensorCore) and value.view is not None:
        value.view.check()
    if view is None:
        # Where the value carries a gradient, nothing of the old value can matter any more.
        parents = [None, node] if node is not None else [target.node, None]
        fresh = make_node(write, parents, {}, target.array.shape, target.array.dtype)
        write.forward(target.array, array)
        _note(write, target, array, fresh)
        _replace_node(target, fresh)
        return target
    geometry = Geometry(view.steps)
    params = {"geometry": geometry}
    fresh = make_node(write_view, [base.node, node], params, base.array.shape, base.array.dtype)
    write.forward(target.array, array)
    _note(write_view, base, array, fresh, params, target.array)
    _replace_node(base, fresh)
    again = geometry(base)
    _replace_node(target, again.node)
    target.view = View(base, view.steps, view.sealed)
    return target


def set_item(target: TensorCore, index: Any, value: Any) -> None:
    """``target[index] = value``."""
    if is_basic(index):
        region = target[index]  # type: ignore[index]
        if region.array.size or target.array.size:
            if _same_memory(region, value):
                return  # the last step of ``t[i] += v``, which has written through this very view already
            assign(region, value)
            if target.view is not None:  # the write gave target's base a new node: take target from it again
                _retake(target)
        return
    state = LOCAL.state
    tracked = target.node is not None or (isinstance(value, TensorCore) and value.node is not None)
    if state.grad_enabled and (tracked or state.observers is not None):
        assign(target, apply(write_index, (target, value), {"index": index}))
        return
    _check_writable(target)
    array = value.array if isinstance(value, TensorCore) else np.asarray(value)
    _check_cast(target, value, array)
    target.array[index] = array
    versions.bump(target.array)


def _retake(target: TensorCore) -> None:
    view = target.view
    assert view is not None
    if view.stale():
        again = Geometry(view.steps)(view.base)
        _replace_node(target, again.node)
        target.view = View(view.base, view.steps, view.sealed)


def _same_memory(region: TensorCore, value: Any) -> bool:
    if not isinstance(value, TensorCore) or value.view is None or region.view is None:
        return False
    mine, other = region.array, value.array
    return (
        value.view.base is region.view.base
        and not value.view.stale()
        and mine.shape == other.shape
        and mine.strides == other.strides
        and mine.__array_interface__["data"] == other.__array_interface__["data"]
    )


def _replace_node(tensor: TensorCore, node: Node | None) -> None:
    """Give a tensor that was written its new node; a wish to retain its gradient goes along."""
    before = tensor.node
    tensor.node = node
    if before is not None and node is not None and before.hooks is not None and not isinstance(before, Leaf):
        retaining = before.hooks.retaining
        if retaining is not None and retaining() is tensor:
            before.hooks.retaining = None
            hooks_of(node).retaining = retaining


def _note(op: Op, target: TensorCore, value: Any, node: Any = None, params: Any = NO_PARAMS, memory: Any = None) -> None:
    versions.bump(target.array if memory is None else memory)
    state = LOCAL.state
    if state.observers is not None:
        notify(state, op, [target.array, value], params, (target.array,), node)


def _check_writable(target: TensorCore) -> None:
    array = target.array
    if any(stride == 0 and side > 1 for stride, side in zip(array.strides, array.shape, strict=True)):
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
        computed = promote_types(array.dtype, to)
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


def _check_recordable(target: TensorCore, view: View | None, base: TensorCore) -> None:
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
