"""Running an op: unwrap, promote, compute, record, wrap.

`apply` is the one path that every recorded operation takes, whichever front door it came through: an operator or
function of this package, or a NumPy function that reached a Tensor through NumPy's own protocols.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import AutogradError, DimensionError, DtypeError, ShapeError
from . import tensor as _tensor
from . import versions
from .node import Meta, Node
from .op import NONDIFFERENTIABLE, OPS, TABLE, Op, find
from .promotion import F32, F64, SCALARS, get_default_dtype, promote
from .site import here
from .state import LOCAL, ThreadState, scope
from .tensor import TensorCore, View, no_rule, wrap

__all__ = ["SELECT", "apply", "apply_raw", "array_function", "array_ufunc", "make_node", "run_composite"]

NO_PARAMS: dict[str, Any] = {}
_ndarray = np.ndarray
_new = object.__new__
_getframe = sys._getframe
_tick = versions.tick


# What NumPy raises about its arguments. Anything else (no memory, an interrupt, an observer's own error) goes through.
NUMPY_ERRORS = (ValueError, TypeError, IndexError, ArithmeticError, AttributeError)


def apply(op: Op, inputs: tuple[Any, ...], params: dict[str, Any] = NO_PARAMS) -> Any:
    """Run ``op`` and record it where an input is tracked. The caller's caller is taken for the user's line."""
    arrays: list[Any] = []
    parents: list[Node | None] = []
    mask, bit, dtype, uniform, views = 0, 1, None, True, False
    for value in inputs:
        if isinstance(value, TensorCore):
            array = value.array
            arrays.append(array)
            if array.dtype is not dtype:
                if dtype is None:
                    dtype = array.dtype
                else:
                    uniform = False
            node = value.node
            parents.append(node)
            if node is not None:
                mask += bit
            if value.view_of is not None:
                views = True
        else:
            arrays.append(value)
            parents.append(None)
            if value.__class__ not in SCALARS:
                uniform = False
        bit += bit
    state = LOCAL.state
    if state.observers is not None:
        for observer in state.observers:
            observer.takes(op, inputs)
    if not uniform:
        arrays = [_as_value(array) for array in arrays]
    back = None
    if op.promotion is not None and not (uniform and (dtype is F32 or dtype is F64)):
        given = arrays
        arrays, back = promote(op.promotion, arrays, op.promoted)
        if state.observers is not None:
            _notify_casts(state, given, arrays)
    try:
        out = op.forward(*arrays, **params)
    except AutogradError:
        raise
    except NUMPY_ERRORS as error:
        raise explain(error, op.name, arrays, params) from error
    if out.__class__ is not _ndarray or back is not None:
        if op.residuals or op.outputs > 1:
            return _finish_several(op, inputs, arrays, parents, params, out, back, mask, state)
        out = computed = np.asarray(out)  # a reduction's NumPy scalar becomes a 0-d array here
        if back is not None:
            out = _cast_back(computed, back)
    else:
        computed = out
    if views and state.grad_enabled:
        for value in inputs:
            if isinstance(value, TensorCore) and value.view_of is not None:
                value.view_of.check()
    tensor = _new(_tensor._class)
    tensor.array = out
    tensor._grad = None
    tensor.view_of = None
    if mask and state.grad_enabled and op.differentiable:
        node = _new(Node)
        node.op = op
        node.number = _tick()
        node.parents = parents
        node.params = params
        node.shape = out.shape
        node.dtype = out.dtype
        frame = _getframe(2)
        node.code = frame.f_code
        node.offset = frame.f_lasti
        node.scope = state.scope
        node.hooks = None
        seen = arrays if state.observers is None else list(arrays)
        plan = op.plans[mask] if op.plans is not None else op.save_plan(mask, len(arrays))
        if plan is None:
            node.saved = None
        else:
            drops, metas, after = plan
            for position in metas:
                arrays[position] = Meta(arrays[position])
            for position in drops:
                arrays[position] = None
            if after:
                arrays.append(out)
            node.saved = arrays
        tensor.node = node
    else:
        tensor.node = node = None
        seen = arrays
    if op.view:
        _note_view(op, tensor, inputs[0], params, state)
    if state.observers is not None:
        notify(state, op, seen, params, (computed,), node)
        _notify_casts(state, (computed,), (out,))
    return tensor


def _as_value(value: Any) -> Any:
    """An array of anything that is neither an array, nor a Python scalar, nor None."""
    if value is None or value.__class__ is _ndarray or value.__class__ in SCALARS:
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()  # NumPy's scalars count as Python's do
    if isinstance(value, np.ndarray) and type(value) is not _ndarray and isinstance(value, np.ma.MaskedArray):
        raise DtypeError(f"a masked array has no place in a graph; fill it first: x.filled(0).{here()}")
    array = np.asarray(value)
    if array.dtype == F64 and isinstance(value, (list, tuple)):
        array = array.astype(get_default_dtype())  # Python numbers make default floats, as in tensor(...)
    if array.dtype.kind not in "buifc":
        raise DtypeError(f"{type(value).__name__} cannot be part of a computation on Tensors.{here()}")
    return array


def _cast_back(out: Any, dtype: Any) -> Any:
    """A float32 result in the float16 of the inputs that it was computed from; a mask or an index stays as it is."""
    return out.astype(dtype) if dtype is not None and out.dtype == F32 else out


def make_node(op: Op, parents: Any, params: dict[str, Any], shape: Any, dtype: Any, saved: Any = None) -> Node:
    """A node for what does not return through the end of `apply`."""
    node = _new(Node)
    node.op = op
    node.number = _tick()
    node.parents = parents
    node.params = params
    node.shape = shape
    node.dtype = dtype
    node.saved = saved
    frame = _getframe(2)
    node.code = frame.f_code
    node.offset = frame.f_lasti
    node.scope = LOCAL.state.scope
    node.hooks = None
    return node


def notify(state: ThreadState, op: Op, inputs: list[Any], params: dict[str, Any], outputs: Any, node: Any) -> None:
    for observer in state.observers or ():
        observer.op(op, inputs, params, outputs, node, state.scope)


def _notify_casts(state: ThreadState, given: Sequence[Any], cast: Sequence[Any]) -> None:
    """Let observers see the casts of a promotion, so that what an op got is always what another one made."""
    for before, after in zip(given, cast, strict=True):
        if after is not before and isinstance(before, _ndarray):
            notify(state, OPS["cast"], [before], {"dtype": after.dtype}, (after,), None)


def _finish_several(
    op: Op, inputs: Any, arrays: list[Any], parents: list[Any], params: Any, result: Any, back: Any, mask: int,
    state: ThreadState,
) -> Any:  # fmt: skip
    """The rest of `apply` for an op with several outputs or with residuals."""
    parts = tuple(None if part is None else np.asarray(part) for part in result)
    computed, residuals = parts[: op.outputs], parts[op.outputs :]
    outs = tuple(_cast_back(out, back) for out in computed)
    for value in inputs:
        if isinstance(value, TensorCore) and value.view_of is not None and state.grad_enabled:
            value.view_of.check()
    node = None
    seen = list(arrays)
    if mask and state.grad_enabled and op.differentiable:
        several = op.outputs > 1
        shape = tuple(out.shape for out in outs) if several else outs[0].shape
        node = make_node(op, parents, params, shape, tuple(out.dtype for out in outs) if several else outs[0].dtype)
        frame = _getframe(3)
        node.code, node.offset = frame.f_code, frame.f_lasti
        plan = op.save_plan(mask, len(arrays))
        if plan is not None:
            drops, metas, after = plan
            for position in metas:
                arrays[position] = Meta(arrays[position])
            for position in drops:
                arrays[position] = None
            rest = (outs if several else outs[0], *residuals)
            node.saved = arrays + [one if at in after else None for at, one in enumerate(rest, start=len(arrays))]
    if state.observers is not None:
        notify(state, op, seen, params, parts, node)
        _notify_casts(state, computed, outs)
    if op.outputs == 1:
        return wrap(outs[0], node)
    return tuple(
        None
        if out is None
        else wrap(out, None if node is None or out.dtype.kind not in "fc" else select_node(node, position, out))
        for position, out in enumerate(outs)
    )


def select_node(node: Node, position: int, out: Any) -> Node:
    """The node of one output of an op with several."""
    one = make_node(SELECT, [node], {"position": position}, out.shape, out.dtype)
    one.code, one.offset, one.scope = node.code, node.offset, node.scope
    return one


def _note_view(op: Op, tensor: TensorCore, source: Any, params: dict[str, Any], state: ThreadState) -> None:
    if not isinstance(source, TensorCore) or not _shares_memory(tensor.array, source.array):
        return
    before = source.view_of
    sealed = None if state.grad_enabled else "it was made under no_grad"
    tensor.view_of = view = _new(View)
    if before is None:
        view.base = source
        view.base_node = source.node
        view.steps = ((op, params),)
        view.sealed = sealed
    else:
        view.base = before.base
        view.base_node = before.base_node
        view.steps = (*before.steps, (op, params))
        view.sealed = sealed or before.sealed


def _shares_memory(view: np.ndarray, source: np.ndarray) -> bool:
    """Whether what a view op made shows its input's memory; reshape, for one, may have had to copy."""
    base = view.base
    if base is not None and (base is source or base is source.base):
        return True  # the usual case, which spares the test of memory
    return np.may_share_memory(view, source)


def run_composite(op: Op, inputs: tuple[Any, ...], params: dict[str, Any] = NO_PARAMS) -> Any:
    """Call a composite: what it calls is recorded under its name."""
    with scope("composite", op.name, op.name):
        try:
            return op.forward(*inputs, **params)
        except AutogradError:
            raise
        except NUMPY_ERRORS as error:
            raise explain(error, op.name, list(inputs), params) from error


def apply_raw(op: Op, inputs: tuple[Any, ...], params: dict[str, Any] = NO_PARAMS) -> Any:
    """Run an op on plain arrays: no promotion and no record, but writes are counted and observers see it."""
    out = op.forward(*inputs, **params)
    if op.mutates:
        versions.bump(*(inputs[position] for position in op.mutates))
    state = LOCAL.state
    if state.observers is not None:
        notify(state, op, list(inputs), params, out if isinstance(out, tuple) else (out,), None)
    return out[0] if op.residuals and op.outputs == 1 else out


def describe(value: Any) -> str:
    """A value in an error message: dtype and shape of an array, a scalar itself."""
    if isinstance(value, (list, tuple)) and value and all(hasattr(one, "shape") for one in value):
        return "[" + ", ".join(describe(one) for one in value) + "]"
    return f"{value.dtype} {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)


def explain(error: Exception, what: str, arrays: list[Any], params: dict[str, Any]) -> Exception:
    """One of `NUMPY_ERRORS`, told with the op, its inputs and the line of the user's code."""
    absent = isinstance(error, AttributeError)  # something without a shape or a dtype, as None, stood for an array
    arguments = [describe(value) for value in arrays if absent or value is not None]
    arguments += [f"{key}={value!r}" for key, value in params.items() if value is not None]
    kinds = (
        (np.exceptions.AxisError, DimensionError),
        (IndexError, DimensionError),
        (ValueError, ShapeError),
        ((TypeError, AttributeError), DtypeError),
    )
    raised = next((ours for theirs, ours in kinds if isinstance(error, theirs)), AutogradError)
    return raised(f"{what}({', '.join(arguments)}): {error}{here()}")


# One output of an op with several. The backward pass hands its gradient on to the op's own node.
SELECT = Op(
    "select",
    "primitive",
    lambda outputs, position: outputs[position],
    None,
    inputs=("outputs",),
    params={"position": 0},
    vjps=(NONDIFFERENTIABLE,),
)


def array_ufunc(self: TensorCore, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """NumPy's door for ufuncs: ``np.exp(t)``, ``array * t``, ``np.add.reduce(t)``."""
    op = TABLE.get((ufunc, method)) or find(ufunc, method)
    if op is None:
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        raise no_rule(f"np.{name} of a Tensor")
    if kwargs or len(inputs) != len(op.inputs):
        if kwargs.get("out") is not None:
            raise no_rule(f"np.{ufunc.__name__} with out=")
        inputs, kwargs = op.bind(inputs, kwargs)
    return apply(op, inputs, kwargs)


# NumPy's questions about arrays, whose answers are no part of a computation: numbers, dtypes, truth values.
_OF_THE_ARRAY = {
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj, np.may_share_memory,
    np.shares_memory, np.array_equal, np.array_equiv, np.allclose, np.array_repr, np.array_str,
}  # fmt: skip


def _arrays(value: Any) -> Any:
    """Arguments with the arrays of Tensors in their places."""
    if isinstance(value, TensorCore):
        return value.array
    if isinstance(value, (list, tuple)):
        return type(value)([_arrays(one) for one in value])
    return {key: _arrays(one) for key, one in value.items()} if isinstance(value, dict) else value


def array_function(self: TensorCore, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's door for its other functions: ``np.sum(t)``, ``np.where(m, t, 0)``."""
    op = TABLE.get((function, "__call__"))
    if op is None:
        if function in _OF_THE_ARRAY:
            return function(*_arrays(args), **_arrays(kwargs))
        module = getattr(function, "__module__", "numpy")
        raise no_rule(f"{module.replace('numpy', 'np', 1)}.{function.__name__} of a Tensor")
    inputs, params = op.bind(args, kwargs)
    if op.kind == "composite":
        return run_composite(op, inputs, params)
    return apply(op, inputs, params)
