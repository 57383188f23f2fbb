"""Users' own operations: subclasses of `Function` with a forward and a backward of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Node, Op, TensorCore, here, no_grad, scope, versions, wrap
from ..engine.backward import zeros_for
from ..engine.dispatch import describe, make_node, notify, select_node
from ..engine.inplace import check_recordable, replace_node
from ..engine.site import at, calling_code
from ..engine.state import LOCAL, enable_grad
from ..errors import DtypeError, GraphError
from ..functions.tensor import Tensor

__all__ = ["Function", "FunctionContext", "once_differentiable"]


class FunctionContext:
    """What forward leaves for backward. Any attribute may be set on it.

    Tensors go through `save_for_backward`, which lets the engine check that they are not written in between and frees
    them when backward has passed. A tensor kept as a plain attribute is kept alive, and if it is the function's own
    output it makes a reference cycle.

    >>> import autograd_ff as af
    >>> class Clip(af.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x, limit):
    ...         ctx.limit = limit
    ...         ctx.save_for_backward(x)
    ...         return af.clamp(x, -limit, limit)
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         (x,) = ctx.saved_tensors
    ...         return gradient * (abs(x) < ctx.limit), None
    >>> x = af.tensor([0.5, 2.0], requires_grad=True)
    >>> Clip.apply(x, 1.0).sum().backward()
    >>> x.grad
    tensor([1., 0.])
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True
        self._tensors: tuple[Any, ...] | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors, inputs or outputs or others, for `saved_tensors` in backward."""
        for one in tensors:
            if one is not None and not isinstance(one, TensorCore):
                raise DtypeError(
                    f"save_for_backward takes Tensors or None, got {type(one).__name__}{here()}\n"
                    "  Keep anything else as an attribute: ctx.name = value."
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """What `save_for_backward` kept; inside backward."""
        if self._tensors is None:
            raise GraphError(f"saved_tensors can be read inside backward only{here()}")
        return self._tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Name the inputs that forward writes in place; they must be returned as outputs."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Name the outputs that have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for an output that no gradient reached."""
        self._materialize = bool(value)


class _FunctionOp(Op):
    """Stands for a Function subclass in the graph."""

    __slots__ = ()

    def saved_name(self, position: int) -> str:
        return f"saved tensor {position}"


def _op_of(function: type[Function]) -> _FunctionOp:
    """The op of a Function subclass, made at its first call and kept by the class itself."""
    op = function.__dict__.get("_op")
    if op is None:
        op = _FunctionOp(
            function.__name__, "function", function.forward, None, inputs=("inputs",), vjps=(None,), function=function
        )
        op.pullback = functools.partial(_pull_back, function)
        function._op = op
    return op


class Function:
    """An operation with a gradient of your own.

    Subclass it with two static methods, and call it by ``apply``:

    ``forward(ctx, *args)``
        computes the outputs, under `no_grad`; Tensors among ``args`` may be tracked. ``ctx`` is a `FunctionContext`.
        Alternatively ``forward(*args)`` together with ``setup_context(ctx, inputs, output)``.
    ``backward(ctx, *gradients)``
        gets one gradient for each output and returns one for each argument of forward: a Tensor of its shape, or None.

    Gradients of gradients work where backward is made of operations on Tensors; otherwise decorate it with
    `once_differentiable`.

    >>> import autograd_ff as af
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         (x,) = ctx.saved_tensors
    ...         return gradient * 3 * x * x
    >>> x = af.tensor([2.0], requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor([12.])
    """

    _op: _FunctionOp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        raise DtypeError(f"{name} is not instantiated: call {name}.apply(...){here()}")

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def setup_context(ctx: FunctionContext, inputs: tuple[Any, ...], output: Any) -> Any:
        """Fill the context, where forward does not take it."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: FunctionContext, *gradients: Any) -> Any:
        """The gradients of the inputs."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *gradients)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward and record it."""
        state = LOCAL.state
        ctx = FunctionContext()
        ctx.needs_input_grad = tuple(isinstance(one, TensorCore) and one.node is not None for one in args)
        recording = state.grad_enabled and any(ctx.needs_input_grad)
        for one in args:
            if recording and isinstance(one, TensorCore) and one.view_of is not None:
                one.view_of.check()
        with no_grad(), scope("function", cls.__name__, cls.__name__):
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
        outputs = result if isinstance(result, tuple) else (result,)
        for one in outputs:
            if not isinstance(one, TensorCore) and one is not None:
                raise DtypeError(f"{cls.__name__}.forward must return Tensors, returned {type(one).__name__}{here()}")
        for one in ctx._dirty:
            versions.bump(one.array)
            if not any(one is output for output in outputs):
                raise GraphError(f"{cls.__name__} marked an input dirty that it does not return{here()}")
        if recording:
            outputs = cls._record(ctx, args, outputs)
        elif state.observers is not None:
            notify(state, _op_of(cls), _arrays(args), {}, tuple(_arrays(outputs)), None)
        ctx._to_save = ctx._dirty = ctx._non_differentiable = ()
        return outputs if isinstance(result, tuple) else outputs[0]

    @classmethod
    def _record(cls, ctx: FunctionContext, args: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        single = len(outputs) == 1
        shapes = tuple(() if one is None else one.array.shape for one in outputs)
        dtypes = tuple(np.dtype(np.float32) if one is None else one.array.dtype for one in outputs)
        parents = [one.node if isinstance(one, TensorCore) else None for one in args]
        node = make_node(
            _op_of(cls), parents, {"ctx": ctx}, shapes[0] if single else shapes, dtypes[0] if single else dtypes
        )
        node.code, node.offset = calling_code() or (None, 0)
        tracked: list[Any] = []
        for position, one in enumerate(outputs):
            differentiable = (
                one is not None
                and one.array.dtype.kind in "fc"
                and not any(one is other for other in ctx._non_differentiable)
            )
            if not differentiable:
                tracked.append(one)
                continue
            own = node if single else select_node(node, position, one.array)
            if any(one is other for other in ctx._dirty):
                check_recordable(one, one.view_of, one if one.view_of is None else one.view_of.base)
                if one.view_of is not None:
                    raise GraphError(
                        f"{cls.__name__} writes a view in place, which a Function cannot record{here()}\n"
                        "  Pass it the base, or a copy: x.clone()."
                    )
                replace_node(one, own)
                tracked.append(one)
            else:  # a new Tensor: forward may have returned one of its inputs, which keeps its own node
                tracked.append(wrap(one.array, own))
        saved: list[Any] = []
        edges: list[Any] = []
        for one in ctx._to_save:
            saved.append(None if one is None else one.array)
            source = next((position for position, output in enumerate(outputs) if output is one), None)
            is_input = any(one is arg for arg in args)
            if source is not None and not (is_input and not any(one is dirty for dirty in ctx._dirty)):
                edges.append(source)  # its own output: as a position, for the node must not point to itself
            else:
                edges.append(None if one is None else one.node)
        node.saved = saved or None
        ctx._edges = tuple(edges)  # type: ignore[attr-defined]
        state = LOCAL.state
        if state.observers is not None:
            notify(state, node.op, _arrays(args), {}, tuple(_arrays(tracked)), node)
        return tuple(tracked)


def _arrays(values: Any) -> list[Any]:
    return [one.array if isinstance(one, TensorCore) else one for one in values]


def _pull_back(
    function: type[Function], node: Node, gradient: Any, needs: tuple[bool, ...], create_graph: bool
) -> list[Any]:
    """Run a Function's backward: the engine's rule for its node."""
    ctx: FunctionContext = node.params["ctx"]
    several = isinstance(gradient, tuple)
    gradients = gradient if several else (gradient,)
    if several and ctx._materialize:
        gradients = tuple(
            wrap(zeros_for(node, position)) if one is None else one for position, one in enumerate(gradients)
        )
    tensors: list[Any] = []
    for value, edge in zip(node.saved or (), ctx._edges, strict=True):  # type: ignore[attr-defined]
        if value is None:
            tensors.append(None)
        elif isinstance(edge, int):
            tensors.append(wrap(value, select_node(node, edge, value) if several else node))
        else:
            tensors.append(wrap(value, edge))
    before = ctx.needs_input_grad
    ctx._tensors, ctx.needs_input_grad = tuple(tensors), needs
    try:
        with enable_grad() if create_graph else no_grad():
            result = function.backward(ctx, *gradients)
    finally:
        ctx._tensors, ctx.needs_input_grad = None, before
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    while len(results) > len(node.parents) and results[-1] is None:
        results.pop()
    if len(results) != len(node.parents):
        raise GraphError(
            f"{function.__name__}.backward returned {len(results)} gradients for {len(node.parents)} arguments of "
            f"forward; return one for each, None for those without.{at(node.site)}"
        )
    for position, (value, parent) in enumerate(zip(results, node.parents, strict=True)):
        if value is None or parent is None:
            continue
        value = results[position] = value if isinstance(value, TensorCore) else wrap(np.asarray(value))
        if value.array.shape != parent.shape or value.array.dtype.kind not in "fc":
            raise GraphError(
                f"{function.__name__}.backward returned {describe(value.array)} as the gradient of argument {position}, "
                f"which is {parent.dtype} {tuple(parent.shape)}.{at(node.site)}"
            )
    return results


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a Function's backward that is not made of differentiable operations.

    It runs under `no_grad`; a second differentiation through it raises instead of giving a wrong gradient.

    >>> import autograd_ff as af
    >>> class Exp(af.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = af.exp(x)
    ...         ctx.save_for_backward(y)
    ...         return y
    ...     @staticmethod
    ...     @af.autograd.once_differentiable
    ...     def backward(ctx, gradient):
    ...         (y,) = ctx.saved_tensors
    ...         return af.from_numpy(gradient.detach().numpy() * y.detach().numpy())
    >>> x = af.tensor([0.0], requires_grad=True)
    >>> Exp.apply(x).backward()
    >>> x.grad
    tensor([1.])
    """

    @functools.wraps(backward)
    def wrapper(ctx: FunctionContext, *gradients: Any) -> Any:
        recording = LOCAL.state.grad_enabled
        with no_grad():
            result = backward(ctx, *gradients)
        if not recording:
            return result
        sources = [one.node for one in (*gradients, *ctx.saved_tensors) if isinstance(one, TensorCore) and one.node]
        results = result if isinstance(result, tuple) else (result,)
        marked = tuple(
            wrap(one.array, make_node(_ONCE, list(sources), {}, one.array.shape, one.array.dtype))
            if isinstance(one, TensorCore) and sources
            else one
            for one in results
        )
        return marked if isinstance(result, tuple) else marked[0]

    return wrapper


def _refuse(node: Node, *_: Any) -> Any:
    raise GraphError(
        f"a gradient of a gradient went through a backward marked once_differentiable{at(node.site)}\n"
        "  Write that backward with operations on Tensors to differentiate it again."
    )


_ONCE = _FunctionOp("once_differentiable", "function", _refuse, None, inputs=("inputs",), vjps=(None,), function=None)
_ONCE.pullback = _refuse
