"""Entering ops into the table.

Three functions do it, one for each kind of op:

`primitive`
    a NumPy function and one vector-Jacobian product (vjp) for each input. A vjp is a NumPy expression that asks *by
    name* for what it needs: ``g`` (the gradient of the output) first, then inputs by their NumPy names, ``out``,
    ``meta_x`` (shape and dtype of input ``x`` without its data), ``meta_out``, and parameters. The engine keeps alive
    only what the vjps of the inputs that need a gradient ask for.
`composite`
    a composition of NumPy functions under one name; its gradient comes from what it calls.
`kernel`
    a hand-written forward and backward that share residuals, beside its definition in NumPy terms.

An op without a `domain` cannot be registered, so none can exist without a gradient test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import RegistrationError
from .dispatch import apply, apply_raw, run_composite
from .op import NONDIFFERENTIABLE, OPS, TABLE, Op
from .tensor import TensorCore

__all__ = ["CallableOp", "composite", "kernel", "primitive"]

_UNSET: Any = object()


class CallableOp(Op):
    """A registered op. Calling it runs it: on plain arrays as NumPy would, on Tensors recorded."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        inputs, params = self.bind(args, kwargs)
        if self.kind == "composite":
            return run_composite(self, inputs, params)
        for value in inputs:
            if isinstance(value, TensorCore):
                return apply(self, inputs, params)
        return apply_raw(self, inputs, params)


def _register(op: CallableOp) -> CallableOp:
    if op.name in OPS:
        raise RegistrationError(f"an op named {op.name} exists already")
    OPS[op.name] = op
    if op.function is not None:
        TABLE[op.function, op.method] = op
    return op


def primitive(
    function: Callable[..., Any],
    *vjps: Any,
    domain: Any,
    name: str | None = None,
    inputs: Sequence[str] | None = None,
    params: dict[str, Any] | None = None,
    joint: Callable[..., Any] | None = None,
    forward: Callable[..., Any] | None = None,
    method: str = "__call__",
    promotion: str | None = _UNSET,
    promoted: tuple[int, ...] | None = None,
    broadcasts: bool | None = None,
    outputs: int | None = None,
    variadic: bool = False,
    view: bool = False,
    analytic: bool = False,
    branches: Callable[..., Any] | None = None,
    mutates: Sequence[str] = (),
    residuals: Sequence[str] = (),
    signature: Sequence[str] | None = None,
) -> CallableOp:
    """Enter a NumPy function and its derivative rules into the op table.

    Args:
        function: the function; also its key in `TABLE`. It need not be NumPy's.
        vjps: one for each input, ``lambda g, <names>: <gradient>``, or None; or `NONDIFFERENTIABLE` alone.
        domain: what tests draw: a `Domain` for each input, or a sampler. There is no default.
        name: the op's name; the function's by default.
        inputs: names of the differentiable and other array inputs; a ufunc's are ``x``, or ``x1`` and ``x2``.
        params: the keyword parameters that the op declares, with defaults; all others raise at the call.
        joint: instead of vjps, one function that returns the gradients of all inputs.
        forward: what computes the op, where it is not the function itself.
        promotion: ``"common"`` dtype of the inputs, ``"number"`` (common, and booleans become int64), ``"float"`` (common,
            and integers become the default dtype) or None.
        promoted: positions of the inputs that take part in promotion; those with a vjp by default.
        analytic: complex step may pass through.
        branches: what decides which piece of a piecewise function an element took, as a function of named values.
        view: the output may share the input's memory.
        mutates: names of inputs that the op writes.
        signature: names of the positional arguments in order, where the function's own are not those declared here.

    >>> import numpy as np
    >>> from autograd_ff.engine import REAL
    >>> def cube(x):
    ...     return x * x * x
    >>> op = primitive(cube, lambda g, x: g * 3 * x * x, domain=REAL, inputs=("x",), analytic=True)
    >>> del OPS["cube"]  # this one was only an example
    """
    ufunc = isinstance(function, np.ufunc)
    if inputs is None:
        inputs = (("x",) if function.nin == 1 else ("x1", "x2")) if isinstance(function, np.ufunc) else ()
    if not inputs:
        raise RegistrationError(f"{name or function.__name__}: name the inputs.")
    if promotion is _UNSET:
        promotion = "common" if ufunc and method == "__call__" else None
    if (
        promoted is None
        and promotion is not None
        and not variadic
        and joint is None
        and vjps[0] is not NONDIFFERENTIABLE
    ):
        promoted = tuple(position for position, vjp in enumerate(vjps) if vjp is not None)
    return _register(
        CallableOp(
            name or function.__name__,
            "primitive",
            forward or function,
            domain,
            function=function,
            method=method,
            inputs=inputs,
            params=params,
            vjps=vjps,
            joint=joint,
            promotion=promotion,
            promoted=promoted,
            broadcasts=(ufunc and method == "__call__") if broadcasts is None else broadcasts,
            outputs=(function.nout if isinstance(function, np.ufunc) else 1) if outputs is None else outputs,
            variadic=variadic,
            view=view,
            analytic=analytic,
            branches=branches,
            mutates=mutates,
            residuals=residuals,
            signature=signature,
        )
    )


def composite(function: Callable[..., Any] | None = None, *, domain: Any, name: str | None = None) -> Any:
    """Decorator: enter a composition of NumPy functions under one name.

    ``function`` is the NumPy function that it stands for, where there is one; a Tensor that reaches that function
    through NumPy's protocol is handed to the composition.
    """

    def register(implementation: Callable[..., Any]) -> CallableOp:
        parameters = inspect.signature(implementation).parameters
        required = [one.name for one in parameters.values() if one.default is one.empty]
        defaults = {one.name: one.default for one in parameters.values() if one.default is not one.empty}
        op = CallableOp(
            name or implementation.__name__,
            "composite",
            implementation,
            domain,
            function=function if function is not None else implementation,
            inputs=required,
            params=defaults,
            vjps=(None,) * len(required),
        )
        return _register(op)

    return register


def kernel(
    definition: Callable[..., Any] | None,
    *vjps: Any,
    name: str,
    forward: Callable[..., Any],
    inputs: Sequence[str],
    domain: Any,
    params: dict[str, Any] | None = None,
    backward: Callable[..., Any] | None = None,
    residuals: Sequence[str] = (),
    mutates: Sequence[str] = (),
    promotion: str | None = None,
    promoted: tuple[int, ...] | None = None,
    outputs: int = 1,
) -> CallableOp:
    """Enter a hand-written forward with its backward, beside its definition.

    Give either one vjp for each input, in plain NumPy as a primitive's (then gradients of gradients come from them), or
    ``backward(g, <names>, needs)``, which returns a gradient for each input, None where ``needs`` is false; then
    gradients of gradients go through ``definition``. With ``residuals``, forward returns ``(output, *residuals)``.
    A kernel that only writes (``mutates``) has no definition and gives `NONDIFFERENTIABLE`.
    """
    op = CallableOp(
        name,
        "kernel",
        forward,
        domain,
        function=definition,
        inputs=inputs,
        params=params,
        vjps=vjps,
        joint=backward,
        residuals=residuals,
        mutates=mutates,
        promotion=promotion,
        promoted=promoted,
        outputs=outputs,
        definition=definition,
    )
    if backward is not None:
        names = list(inspect.signature(backward).parameters)
        op.backward = CallableOp(
            f"{name}.backward",
            "kernel",
            backward if len(op.inputs) > 1 else lambda *args: backward(*args)[0],
            None,
            function=None,
            inputs=[one for one in names if one not in op.params and one != "needs"],
            params={one: op.params.get(one) for one in names if one in op.params or one == "needs"},
            vjps=(NONDIFFERENTIABLE,),
            outputs=len(op.inputs),
        )
    return _register(op)
