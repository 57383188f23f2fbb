"""From the record of a call to instructions: what each op does, as calls that write into memory that they are given.

An op without a lowering here is called as it is, and allocates. Nothing else follows from that: a lowering saves time and
memory, and never changes a bit of the result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ..engine import OPS, Op, Scatter
from ..engine.site import at
from ..errors import ShapeError
from ..kernels import attention as attention_kernel
from ..kernels import cross_entropy as cross_entropy_kernel
from ..kernels import gelu as gelu_kernel
from ..kernels import layer_norm as norm_kernel
from ..kernels import optimizers
from ..kernels import rotary as rotary_kernel
from .phases import computed_again, phases_of_events
from .plan import Instruction, values_in
from .record import Action, Applied, Condition
from .values import Memory, Value

__all__ = ["index_add_into", "lower", "scatter_into", "way_from_argument"]

Lowering = Callable[["Views", Applied], "list[Instruction] | None"]
LOWERINGS: dict[str, Lowering] = {}

# They take gradients that lie end to end as one array, and compute the same of it.
UPDATES = frozenset(one for one in vars(optimizers).values() if isinstance(one, Op))


class Views:
    """Makes values that the record does not name: a weight's transpose, room for what lies between two instructions."""

    def __init__(self, values: list[Value], memories: list[Memory]) -> None:
        self.values = values
        self.memories = memories

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Value:
        """New memory for an array."""
        array = np.empty(shape, dtype)
        memory = Memory("internal", len(self.memories), array)
        self.memories.append(memory)
        value = Value(len(self.values), array, memory)
        self.values.append(value)
        return value

    def of(self, value: Value, shape: tuple[int, ...], strides: tuple[int, ...], op: str, params: Any) -> Value:
        view = value.derived(len(self.values), shape=shape, strides=strides, made_from=(OPS[op], value, params))
        self.values.append(view)
        return view

    def transposed(self, value: Value) -> Value:
        axes = tuple(reversed(range(len(value.shape))))
        return self.of(value, value.shape[::-1], value.strides[::-1], "transpose", {"axes": axes})

    def reshaped(self, value: Value, shape: tuple[int, ...]) -> Value | None:
        """A C-contiguous value in another shape; None of one that is not contiguous."""
        if value.shape == shape:
            return value
        if not value.dense:
            return None
        strides, step = [], value.dtype.itemsize
        for side in reversed(shape):
            strides.append(step)
            step *= side
        return self.of(value, shape, tuple(reversed(strides)), "reshape", {"shape": shape})


def lower(
    events: list[Applied | Action | Condition], views: Views, functions: Collection[str] = ()
) -> list[Instruction]:
    """The instructions of a whole record, in which users' Functions of these names ran."""
    made: list[Instruction] = []
    for event, phase in zip(events, phases_of_events(events, UPDATES), strict=True):
        before = len(made)
        if isinstance(event, Action):
            made.append(Instruction(
                getattr(event.function, "__name__", "action"), "action", event.function, event.arguments,
                site=event.site, runtime=event, pure=False,
            ))  # fmt: skip
        elif isinstance(event, Applied):
            made += _lower(event, views)
        elif way_from_argument(event.value) is None:  # else it is asked before the replay
            made.append(
                Instruction(
                    "check", "write", functools.partial(_check, event), (event.value,), site=event.site, pure=False
                )
            )
        for one in made[before:]:
            one.phases = frozenset({phase})
            if functions and isinstance(event, Applied):
                one.again = computed_again(event.scope, functions)
    for one in made:
        for value in one.made:
            value.name = value.name or one.name.replace(".", "_")
    return made


def way_from_argument(value: Value) -> list[tuple[Any, dict[str, Any]]] | None:
    """The view ops that lead from an argument to a value, or None where it is computed on the way."""
    way: list[tuple[Any, dict[str, Any]]] = []
    while value.made_from is not None:
        op, value, params = value.made_from
        if any(True for one in params.values() for _ in values_in(one)):
            return None
        way.insert(0, (op.forward, params))
    return way if value.memory.kind == "argument" else None


def _check(condition: Condition, array: np.ndarray) -> None:
    if not condition.holds(array):
        asked = condition.question.__name__.strip("_").replace("_", " ")
        raise ShapeError(
            f"a compiled step met numbers with which it would go on otherwise: {asked} {condition.arguments} is "
            f"{not condition.answer}.{at(condition.site)}"
        )


def _lower(event: Applied, views: Views) -> list[Instruction]:
    op = event.op
    if op.mutates:
        targets = tuple(event.inputs[position] for position in op.mutates)
        return [
            _instruction(
                event,
                "write",
                op.forward,
                params=event.params,
                writes=targets,
                pure=False,
                updates=op in UPDATES,
                flushes=event.flushed,
            )
        ]
    output = event.outputs[0]
    if len(event.outputs) == 1 and output is not None and _shows(output, event.inputs):
        return []  # no more than another look at the same memory
    if op.name == "reshape" and output is not None:  # it had to copy
        return [_copied(event, event.inputs[0], output)]
    lowering = LOWERINGS.get(op.name)
    instructions = None if lowering is None else lowering(views, event)
    if instructions is None and isinstance(op.forward, np.ufunc) and len(event.outputs) == 1:
        instructions = [_ufunc(event, op.forward, event.inputs, event.outputs[0])]
    if instructions is not None:
        return instructions
    return [_instruction(event, "plain", op.forward, outputs=event.outputs, params=event.params, pure=_is_pure(event))]


def _shows(output: Value, inputs: tuple[Any, ...]) -> bool:
    return any(isinstance(one, Value) and one.memory is output.memory for one in inputs)


def _is_pure(event: Applied) -> bool:
    """Whether an op does nothing beside its result: it draws no random numbers and waits for no other process."""
    return not any(
        isinstance(one, np.random.Generator) or getattr(one, "communicates", False) for one in event.params.values()
    )


def _instruction(event: Applied, form: str, function: Callable[..., Any], **details: Any) -> Instruction:
    details = {"inputs": event.inputs, "site": event.site, "runtime": event.runtime, **details}
    return Instruction(details.pop("name", event.op.name), form, function, **details)


def _ufunc(event: Applied, function: Any, inputs: tuple[Any, ...], output: Any, name: str | None = None) -> Instruction:
    elementwise = isinstance(function, np.ufunc) and function.signature is None
    return _instruction(
        event, "out", function, inputs=inputs, outputs=(output,), elementwise=elementwise, name=name or event.op.name
    )


def _copied(event: Applied, source: Any, target: Any) -> Instruction:
    function: Callable[..., None] = np.copyto
    params = {}
    if not np.can_cast(source.dtype, target.dtype, "same_kind"):
        params = {"casting": "unsafe"}
    if source.shape != target.shape:
        function = _copy_reshaped
    return _instruction(
        event, "into", function, inputs=(source,), outputs=(target,), params=params, name="copy", elementwise=True
    )


def _copy_reshaped(out: np.ndarray, source: np.ndarray) -> None:
    np.copyto(out, source.reshape(out.shape))


def lowering(*names: str) -> Callable[[Lowering], Lowering]:
    def enter(function: Lowering) -> Lowering:
        for name in names:
            LOWERINGS[name] = function
        return function

    return enter


# ---------------------------------------------------------------- copies and casts


@lowering("copy", "cast", "cast_to_integers")
def _copy(views: Views, event: Applied) -> list[Instruction]:
    return [_copied(event, event.inputs[0], event.outputs[0])]


# ---------------------------------------------------------------- elementwise


# The ufunc behind ``x.clip``, without the Python of the method; NumPy has no public name for it.
_clip = np._core.umath.clip  # type: ignore[attr-defined]


@lowering("relu")
def _relu(views: Views, event: Applied) -> list[Instruction] | None:
    (x,) = event.inputs
    return [_ufunc(event, _clip, (x, 0.0, math.inf), event.outputs[0])] if x.dtype.kind == "f" else None


@lowering("power_scalar")
def _power_scalar(views: Views, event: Applied) -> list[Instruction] | None:
    (x,), exponent = event.inputs, event.params.get("exponent", 2)
    if x.dtype.kind not in "fc" or isinstance(exponent, Value):
        return None
    if exponent == 2:
        return [_ufunc(event, np.multiply, (x, x), event.outputs[0], "multiply")]
    if exponent == 0.5:
        return [_ufunc(event, np.sqrt, (x,), event.outputs[0], "sqrt")]
    return None


# ---------------------------------------------------------------- products and sums


@lowering("matmul")
def _matmul(views: Views, event: Applied) -> list[Instruction]:
    return [_ufunc(event, np.matmul, event.inputs, event.outputs[0])]


@lowering("sum", "add.reduce", "mean")
def _sum(views: Views, event: Applied) -> list[Instruction] | None:
    (x,), output = event.inputs, event.output
    params = {**event.op.params, **event.params}
    if params.get("dtype") is not None or x.dtype.kind != "f" or output.dtype != x.dtype:
        return None
    axis = params["axis"]
    total = _instruction(
        event,
        "into",
        _sum_into,
        outputs=event.outputs,
        params={"axis": axis, "keepdims": params["keepdims"]},
        name="sum",
    )
    if event.op.name != "mean":
        return [total]
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    number = math.prod(x.shape[one] for one in axes)
    if not number:
        return None
    return [total, _ufunc(event, np.divide, (output, number), output, "divide")]


def _sum_into(out: np.ndarray, x: np.ndarray, axis: Any, keepdims: bool) -> None:
    np.add.reduce(x, axis, None, out, keepdims)  # type: ignore[call-overload]


def _dot_into(out: np.ndarray, x: np.ndarray) -> None:
    np.dot(x, x, out=out)


@lowering("mse_loss")
def _mse_loss(views: Views, event: Applied) -> list[Instruction] | None:
    """The differences, which the derivative takes as well; their squares are summed by BLAS."""
    (first, second), output = event.inputs, event.output
    reduction = {**event.op.params, **event.params}["reduction"]
    shape = np.broadcast_shapes(first.shape, second.shape)
    count = math.prod(shape)
    if reduction == "none" or {first.dtype, second.dtype} != {output.dtype} or not count:
        return None
    difference = views.room(shape, output.dtype)
    flat = views.reshaped(difference, (count,))
    made = [
        _ufunc(event, np.subtract, (first, second), difference, "subtract"),
        _instruction(event, "into", _dot_into, inputs=(flat,), outputs=(output,), name="sum_of_squares"),
    ]
    if reduction == "mean":
        made.append(_ufunc(event, np.divide, (output, count), output, "divide"))
    return made


@lowering("index_add")
def _index_add(views: Views, event: Applied) -> list[Instruction]:
    params = {**event.op.params, **event.params}
    return [_instruction(event, "into", index_add_into, outputs=event.outputs, params=params)]


def index_add_into(out: np.ndarray, x: np.ndarray, values: np.ndarray, index: Any) -> None:
    np.copyto(out, x)
    Scatter(index, values).add_into(out)


def scatter_into(out: np.ndarray, values: np.ndarray, index: Any) -> None:
    """`index_add_into` with zeros as x."""
    out.fill(0)
    Scatter(index, values).add_into(out)


# ---------------------------------------------------------------- kernels


@lowering("linear")
def _linear(views: Views, event: Applied) -> list[Instruction] | None:
    x, weight, bias = event.inputs
    output = event.output
    count = math.prod(x.shape[:-1])
    flat = x if len(x.shape) <= 2 else views.reshaped(x, (count, x.shape[-1]))
    result = output if len(x.shape) <= 2 else views.reshaped(output, (count, output.shape[-1]))
    if flat is None or result is None:
        return None
    made = [_ufunc(event, np.matmul, (flat, views.transposed(weight)), result, "matmul")]
    if bias is not None:
        made.append(_ufunc(event, np.add, (result, bias), result, "add"))
    return made


_KERNELS: dict[str, Callable[..., None]] = {
    "cross_entropy": cross_entropy_kernel.fill_forward,
    "cross_entropy.backward": cross_entropy_kernel.fill_backward,
    "gelu": gelu_kernel.fill_forward,
    "gelu.backward": gelu_kernel.fill_backward,
    "layer_norm": norm_kernel.fill_forward,
    "layer_norm.backward": norm_kernel.fill_backward,
    "rotate": rotary_kernel.fill_forward,
    "scaled_dot_product_attention": attention_kernel.fill_forward,
    "scaled_dot_product_attention.backward": attention_kernel.fill_backward,
    "self_attention": attention_kernel.fill_packed_forward,
    "self_attention.backward": attention_kernel.fill_packed_backward,
    "rms_norm": norm_kernel.fill_rms_forward,
    "rms_norm.backward": norm_kernel.fill_rms_backward,
}


@lowering(*_KERNELS)
def _kernel(views: Views, event: Applied) -> list[Instruction] | None:
    params = {**event.op.params, **event.params}
    return [_instruction(event, "into", _KERNELS[event.op.name], outputs=event.outputs, params=params)]
