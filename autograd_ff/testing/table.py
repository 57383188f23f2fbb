"""Checks of one row of the op table, on one drawn example of its domain.

Each check takes the op and a `Call` and raises an AssertionError that says what is wrong. The property tests run them
on every op; they work on a user's own primitive just as well:

>>> import numpy as np
>>> from autograd_ff.engine import OPS
>>> from autograd_ff.testing import NumPyDraw, table
>>> op = OPS["tanh"]
>>> table.check_gradient(op, table.sample(op, NumPyDraw(0)))
"""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np

from ..autograd import grad
from ..engine import Call, Draw, Observer, Op, TensorCore, enable_grad, no_grad, observe, wrap
from ..errors import AutogradError
from .branches import signature_of
from .comparison import dense
from .gradcheck import gradcheck
from .numeric import LARGEST_STEP, complex_step, derivative
from .rerun import fresh, run
from .subject import read_only
from .tree import flatten, rebuild

__all__ = [
    "as_tensors", "branch_signature", "check_branches", "check_complex_step", "check_definition", "check_dtypes",
    "check_empty", "check_front_door", "check_gradient", "check_modes_agree", "check_not_differentiable",
    "check_subsets", "checked_positions", "run", "sample",
]  # fmt: skip


def sample(op: Op, draw: Draw) -> Call:
    """An example from the op's own domain, with NumPy's scalars as 0-d arrays."""
    assert op.domain is not None, f"{op.name} has no domain"
    call = op.domain(draw)
    leaves = [np.asarray(leaf) if isinstance(leaf, np.generic) else leaf for leaf in flatten(call.inputs)]
    return Call(rebuild(call.inputs, leaves), call.params)


def checked_positions(op: Op, call: Call) -> list[int]:
    """Which of the call's leaves have a derivative: floating arrays, except where the op gives no vjp."""
    found: list[int] = []
    position = 0
    for number, value in enumerate(call.inputs):
        for leaf in flatten(value):
            with_rule = op.kind == "composite" or op.joint is not None or op.variadic or op.vjps[number] is not None
            if with_rule and isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
                found.append(position)
            position += 1
    return found


def as_tensors(call: Call, tracked: list[int]) -> tuple[Any, ...]:
    """The call's inputs with Tensors on read-only memory for the arrays; those at the positions ``tracked`` require grad."""
    leaves = []
    for position, leaf in enumerate(flatten(call.inputs)):
        if isinstance(leaf, np.ndarray):
            leaf = wrap(read_only(leaf))
            leaf.requires_grad = position in tracked
        leaves.append(leaf)
    return rebuild(call.inputs, leaves)


def check_gradient(op: Op, call: Call, order: int = 1, full: int = 1024) -> None:
    """The gradient (order 1) or the gradient of the gradient (order 2) against the numeric derivative."""
    tensors = as_tensors(call, checked_positions(op, call))
    if any(leaf.requires_grad for leaf in flatten(tensors) if isinstance(leaf, TensorCore)):
        report = gradcheck(_Named(op, call.params), tensors, order=order, full=full)
        assert report.passed, f"{op.name}: {report}"


def check_not_differentiable(op: Op, call: Call) -> None:
    """An op without a derivative gives results that do not require grad."""
    leaves = flatten(call.inputs)
    every = [
        position for position, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    ]
    for output in _tensors_of(run(op, as_tensors(call, every), call.params)):
        assert not output.requires_grad, f"{op.name} has no derivative, and its result requires grad"


def check_modes_agree(op: Op, call: Call) -> None:
    """The rules give the same gradients on arrays, on Tensors, and recorded for a second derivative."""
    positions = checked_positions(op, call)
    plain = _gradients(op, call, positions)
    traced = _gradients(op, call, positions, traced=True)
    recorded = _gradients(op, call, positions, create_graph=True)
    for position, one, two, three in zip(positions, plain, traced, recorded, strict=True):
        assert _identical(one, two), f"{op.name}: array mode and Tensor mode differ for leaf {position}: {one}, {two}"
        exact = op.kind != "kernel"  # a kernel's recorded gradient is its definition's, equal to rounding
        assert _identical(one, three) if exact else _close(one, three), (
            f"{op.name}: the gradient under create_graph differs for leaf {position}: {one}, {three}"
        )


def check_subsets(op: Op, call: Call) -> None:
    """Whichever inputs are tracked, each one's gradient is the same: the engine saved what its rule reads."""
    positions = checked_positions(op, call)
    every = dict(zip(positions, _gradients(op, call, positions), strict=True))
    for count in range(1, min(len(positions), 4)):
        for subset in itertools.combinations(positions[:4], count):
            for position, gradient in zip(subset, _gradients(op, call, list(subset)), strict=True):
                assert _identical(gradient, every[position]), (
                    f"{op.name}: with only {subset} tracked, the gradient of leaf {position} is {gradient}, "
                    f"and {every[position]} with all"
                )


def check_dtypes(op: Op, call: Call, dtype: Any) -> None:
    """Floating results and gradients have the dtype of the inputs, recorded, untracked and in Tensor mode."""
    dtype = np.dtype(dtype)
    if any(isinstance(value, np.dtype) for value in flatten(call.params)):
        return  # the caller chooses the dtype
    call = Call(
        _map_floats(call.inputs, lambda array: array.astype(dtype)), _map_floats(call.params, lambda a: a.astype(dtype))
    )
    positions = checked_positions(op, call)
    with np.errstate(all="ignore"):
        with no_grad():
            untracked = _tensors_of(run(op, as_tensors(call, []), call.params))
        tracked = _tensors_of(run(op, as_tensors(call, positions), call.params))
        for how, outputs in (("untracked", untracked), ("recorded", tracked)):
            for output in outputs:
                assert output.dtype.kind != "f" or output.dtype == dtype, (
                    f"{op.name}, {how}: {dtype} in, {output.dtype} out"
                )
        for name, options in (
            ("array mode", {}),
            ("Tensor mode", {"traced": True}),
            ("create_graph", {"create_graph": True}),
        ):
            for position, gradient in zip(positions, _gradients(op, call, positions, **options), strict=True):
                assert gradient.dtype == dtype, f"{op.name}, {name}: gradient of leaf {position} is {gradient.dtype}"


def check_definition(op: Op, call: Call, rtol: float = 1e-10) -> None:
    """A kernel's values and gradients are those of its definition, to rounding."""
    if op.definition is None:
        return
    definition, params = op.definition, call.params
    positions = checked_positions(op, call)
    ours = _tensors_of(run(op, as_tensors(call, positions), params))
    theirs = _tensors_of(definition(*as_tensors(call, positions), **fresh(params)))
    for one, two in zip(ours, theirs, strict=True):
        assert _close(one.array, two.array, rtol), f"{op.name}: kernel {one.array}, definition {two.array}"
    first = _gradients(op, call, positions)
    second = _gradients(op, call, positions, function=lambda *inputs: definition(*inputs, **fresh(params)))
    for position, one, two in zip(positions, first, second, strict=True):
        assert _close(one, two, rtol), f"{op.name}: gradient of leaf {position}: kernel {one}, definition {two}"


def check_front_door(op: Op, call: Call) -> None:
    """NumPy's own function, called with Tensors, gives what it gives for arrays."""
    function = op.function
    module = getattr(function, "__module__", None) or "numpy"
    if function is None or op.mutates or not (isinstance(function, np.ufunc) or module.split(".")[0] == "numpy"):
        return
    function = function if op.method == "__call__" else getattr(function, op.method)
    arrays, tensors = call.inputs, as_tensors(call, [])
    if op.variadic:
        arrays, tensors = (list(arrays),), (list(tensors),)
    expected, got = function(*arrays, **fresh(call.params)), function(*tensors, **fresh(call.params))
    for one, two in zip(flatten(expected), flatten(got), strict=True):
        assert isinstance(two, TensorCore), f"np.{op.name} of a Tensor gave a {type(two).__name__}"
        assert _close(np.asarray(one), two.array, 1e-12), f"np.{op.name}: of arrays {one}, of Tensors {two}"


def check_complex_step(op: Op, call: Call, seed: int = 0) -> None:
    """What is marked analytic gives by complex step what central differences give."""
    if not op.analytic:
        return
    leaves = flatten(call.inputs)
    floating = [p for p, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"]
    generator = np.random.default_rng(seed)
    directions = [dense(generator, leaves[position].shape) for position in floating]

    def function(*values: np.ndarray) -> np.ndarray:
        given = list(leaves)
        for position, value in zip(floating, values, strict=True):
            given[position] = value
        out = op.forward(*rebuild(call.inputs, given), **fresh(call.params))
        outputs = out if isinstance(out, tuple) else (out,)
        return np.concatenate([np.ravel(one) for one in outputs[: op.outputs]])

    values = [leaves[position] for position in floating]
    exact = complex_step(function, values, directions)
    numeric, estimate = derivative(
        lambda t: function(*(value + t * direction for value, direction in zip(values, directions, strict=True)))
    )
    scale = np.max(np.abs(exact), initial=1.0)
    assert np.all(np.abs(exact - numeric) <= 1e-7 * scale + estimate), (
        f"{op.name} is marked analytic: complex step {exact}, central differences {numeric}"
    )


def branch_signature(op: Op, inputs: tuple[Any, ...], params: dict[str, Any]) -> np.ndarray | None:
    """What decides which piece of a piecewise op each element takes, at these inputs; None for a smooth op."""
    if op.branches is None:
        return None
    out = op.forward(*fresh(inputs), **fresh(params))
    outputs = tuple(out) if op.outputs > 1 or op.residuals else (out,)
    return signature_of(op, list(inputs), params, outputs)


def check_branches(op: Op, call: Call, seed: int = 0) -> None:
    """The branch signature does not change within a numeric step: the domain keeps clear of kinks."""
    here = branch_signature(op, call.inputs, call.params)
    if here is None:
        return
    generator = np.random.default_rng(seed)
    for _ in range(4):
        moved = _map_floats(
            call.inputs, lambda array: np.asarray(array + LARGEST_STEP * dense(generator, array.shape) / 1.5)
        )
        there = branch_signature(op, moved, call.params)
        same = there is not None and np.array_equal(here, there)
        assert same, f"{op.name}: the drawn example is next to a kink: {here} became {there}"


def check_empty(op: Op, call: Call) -> None:
    """Elementwise ops and reductions take empty and 0-d arrays; where there is no answer the error is ours."""
    axis = next((name for name in ("axis", "dim") if name in op.params), None)
    keep = next((name for name in ("keepdims", "keepdim") if name in op.params), None)
    elementwise = getattr(op.domain, "__qualname__", "").startswith("elementwise.")
    if not elementwise and not (axis and keep):
        return
    for shape in ((0,), (2, 0), ()):
        small = Call(
            tuple(np.resize(value, shape) if isinstance(value, np.ndarray) else value for value in call.inputs),
            call.params if elementwise else {},
        )
        message = _run_small(op, small, shape)
        assert message is None or "at " in message, f"{op.name}: an error without the user's line: {message}"


def _run_small(op: Op, call: Call, shape: tuple[int, ...]) -> str | None:
    """Forward and backward; the message of our own error where the op has no answer for this shape."""
    try:
        positions = checked_positions(op, call)
        if not positions:
            run(op, as_tensors(call, []), call.params)
        gradients = _gradients(op, call, positions)
    except AutogradError as error:
        return str(error)
    for position, gradient in zip(positions, gradients, strict=True):
        assert gradient.shape == shape, f"{op.name}: gradient of leaf {position} has shape {gradient.shape}"
    return None


class _TraceBackward(Observer):
    """Makes the backward pass run its rules on Tensors."""

    traces_backward = True


class _Named:
    """The op as a function of its inputs, whose parameters `gradcheck` names."""

    def __init__(self, op: Op, params: dict[str, Any]) -> None:
        self.op = op
        self.params = params
        if not op.variadic:
            self.__signature__ = inspect.Signature(
                [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in op.inputs]
            )

    def __call__(self, *inputs: Any) -> Any:
        return run(self.op, inputs, self.params)


def _map_floats(tree: Any, function: Any) -> Any:
    leaves = [
        function(leaf) if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" else leaf for leaf in flatten(tree)
    ]
    return rebuild(tree, leaves)


def _tensors_of(result: Any) -> list[Any]:
    return [leaf for leaf in flatten(result) if isinstance(leaf, TensorCore)]


def _gradients(
    op: Op,
    call: Call,
    tracked: list[int],
    *,
    create_graph: bool = False,
    traced: bool = False,
    function: Any = None,
) -> list[np.ndarray]:
    """The gradients of the tracked leaves, for an upstream gradient that is the same for the same shapes."""
    if traced:
        with observe(_TraceBackward()):
            return _gradients(op, call, tracked, create_graph=create_graph, function=function)
    tensors = as_tensors(call, tracked)
    targets: list[Any] = [leaf for leaf in flatten(tensors) if isinstance(leaf, TensorCore) and leaf.requires_grad]
    if not targets:
        return []
    with enable_grad():
        result = function(*tensors) if function is not None else run(op, tensors, call.params)
    outputs = [output for output in _tensors_of(result) if output.requires_grad]
    zeros = [np.zeros(target.shape, target.dtype) for target in targets]
    if not outputs:
        return zeros
    generator = np.random.default_rng(1)
    upstream = [wrap(dense(generator, output.shape).astype(output.dtype)) for output in outputs]
    found = grad(outputs, targets, upstream, create_graph=create_graph, allow_unused=True)
    return [zero if one is None else one.detach().array for one, zero in zip(found, zeros, strict=True)]


def _identical(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=True)


def _close(first: np.ndarray, second: np.ndarray, rtol: float = 1e-10) -> bool:
    return np.shape(first) == np.shape(second) and np.allclose(first, second, rtol=rtol, atol=rtol, equal_nan=True)
