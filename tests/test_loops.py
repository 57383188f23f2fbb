"""Generated loops against NumPy: every op that has a form, in any layout, alone and merged; the cache of machine code."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from autograd_ff.compiler.loops import Kernel, Operand, Runtime, Step, build, cache, expressions, nests, supports
from autograd_ff.engine import OPS
from autograd_ff.testing import NumPyDraw

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-30, 100.0, -100.0, 1e4, -1e4]
SEEDS = st.integers(0, 2**32 - 1)


def examples(count: int) -> settings:
    """A seed does not become simpler by becoming smaller, and each try is compiled."""
    return settings(deadline=None, max_examples=count, phases=(Phase.explicit, Phase.generate))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("AUTOGRAD_FF_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


class World:
    """Memory, and operands in it."""

    def __init__(self, seed: Any) -> None:
        self.rng = np.random.default_rng(seed)
        self.memory: dict[str, np.ndarray] = {}
        self.steps: list[Step] = []
        self.numbers: dict[str, float] = {}
        self.count = 0

    def place(self, values: np.ndarray, layout: str = "C") -> Operand:
        """The values in memory of their own, laid out as asked."""
        values = np.asarray(values)
        name = f"x{self.count}"
        self.count += 1
        if layout == "F":
            base = np.array(values.T, order="C")
            view = base.T
        elif layout == "sliced" and values.ndim:
            base = np.zeros((*values.shape[:-1], 2 * values.shape[-1] + 1), values.dtype)
            view = base[..., 1::2]
            view[...] = values
        elif layout == "reversed" and values.ndim:
            base = values[::-1].copy()
            view = base[::-1]
        else:
            base = view = values.copy()
        offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        self.memory[name] = np.frombuffer(base.tobytes(), np.uint8).copy() if base.size else np.zeros(1, np.uint8)
        return Operand(name, view.shape, view.dtype, view.strides, name, offset)

    def room(self, shape: tuple[int, ...], dtype: Any, layout: str = "C") -> Operand:
        return self.place(np.full(shape, 77, dtype), layout)

    def view(self, operand: Operand, name: str, change: Any) -> Operand:
        """Another operand in the same memory."""
        array = change(seen(operand, self.memory))
        start = self.memory[operand.memory].__array_interface__["data"][0]
        offset = array.__array_interface__["data"][0] - start
        return Operand(name, array.shape, array.dtype, array.strides, operand.memory, offset)

    def step(self, op: str, inputs: Any, outputs: Any, **params: Any) -> Step:
        step = Step(op, tuple(inputs), tuple(outputs), params)
        assert supports(step), step
        self.steps.append(step)
        return step


def seen(operand: Operand, memory: dict[str, np.ndarray]) -> np.ndarray:
    assert operand.memory is not None
    return np.ndarray(operand.shape, operand.dtype, memory[operand.memory], operand.offset, operand.strides)


def reference(step: Step, memory: dict[str, np.ndarray], numbers: dict[str, float]) -> None:
    """What NumPy makes of a step."""
    inputs = [
        seen(one, memory) if isinstance(one, Operand) else numbers[one.name] if isinstance(one, Runtime) else one
        for one in step.inputs
    ]
    params = {key: numbers[one.name] if isinstance(one, Runtime) else one for key, one in step.params.items()}
    with np.errstate(all="ignore"):
        if step.op in ("column_sum", "row_sum"):
            results: Any = np.sum(inputs[0], axis=0 if step.op == "column_sum" else 1)
        elif step.op.endswith(".backward"):
            results = OPS[step.op.removesuffix(".backward")].backward.forward(*inputs, **params)
        else:
            results = OPS[step.op].forward(*inputs, **params)
    if step.op in OPS and OPS[step.op].mutates:
        return
    for operand, result in zip(step.outputs, results if isinstance(results, tuple) else (results,), strict=False):
        if operand is not None:
            seen(operand, memory)[...] = result


def check(world: World, internal: set[str] | None = None, rtol: float = 4e-6, atol: float = 2e-6) -> Kernel:
    """The compiled steps leave in memory what NumPy leaves there, step by step."""
    internal = internal or set()
    expected = {name: memory.copy() for name, memory in world.memory.items()}
    for step in world.steps:
        reference(step, expected, world.numbers)
    actual = {name: memory.copy() for name, memory in world.memory.items()}
    kernel = build(world.steps, internal)
    function = kernel.compile()
    function(*(seen(one, actual) for one in kernel.arguments), *(world.numbers[one.name] for one in kernel.runtime))
    for step in world.steps:
        for operand in step.outputs:
            if operand is None or operand.name in internal:
                continue
            got, wanted = seen(operand, actual), seen(operand, expected)
            # NumPy computes parts of an op of mixed types in float32
            tight = all(one.dtype != F32 for one in (operand, *step.inputs) if isinstance(one, Operand))
            message = f"{step.op} {[one.dtype for one in step.inputs if isinstance(one, Operand)]} {step.params}"
            if operand.dtype.kind == "f":
                scale = 1e-6 if tight else 1.0
                np.testing.assert_allclose(got, wanted, rtol * scale, atol * scale, err_msg=message)
            else:
                np.testing.assert_array_equal(got, wanted, err_msg=message)
    return kernel


# ---------------------------------------------------------------- one element at a time


ELEMENTWISE = [*sorted(set(expressions.FORMS) & set(OPS)), "gelu.backward"]
# SciPy's, and not to be called with an infinity in float32 of theirs
DIFFERENT_AT_INFINITY = {"gelu", "gelu.backward"}
LAYOUTS = ["C", "C", "F", "sliced", "reversed"]


def _inputs_of(op: str) -> int:
    return len((OPS[op[:-9]].backward if op.endswith(".backward") else OPS[op]).inputs)


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, finite: bool = False) -> np.ndarray:
    if np.dtype(dtype) == bool:
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0 if np.dtype(dtype).kind == "u" else -5, 6, shape).astype(dtype)
    values = rng.standard_normal(shape) * rng.choice([0.1, 1.0, 10.0])
    if not finite:
        values = np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), values)
    return values.astype(dtype)


def _params(rng: np.random.Generator, op: str) -> dict[str, Any]:
    if op == "power_scalar":
        return {"exponent": rng.choice([2, 3, 0.5, -1, 1]).item()}
    if op == "mse_loss":
        return {"reduction": "none"}
    if op == "nan_to_num":
        return {"nan": 1.5, "posinf": [None, 4.0][rng.integers(2)], "neginf": None}
    if op == "full_like":
        return {"fill_value": 2.5}
    form = expressions.FORMS[op]
    if not form.params:
        return {}
    drawn = OPS[op].domain(NumPyDraw(rng)).params
    return {key: one for key, one in drawn.items() if key in form.params}


def random_step(world: World, op: str, shape: tuple[int, ...], inputs: list[Any] | None = None) -> Step | None:
    """A step of the op on new arrays, its output where NumPy's result fits; None where that has no form."""
    rng = world.rng
    count = _inputs_of(op)
    if inputs is None:
        inputs = []
        dtype = rng.choice([F32, F32, F64])
        for _ in range(count):
            kind = rng.choice([dtype, dtype, dtype, np.dtype(bool), np.dtype(np.int64), np.dtype(np.int32)])
            own = tuple(1 if rng.random() < 0.2 else side for side in shape)[
                rng.integers(0, len(shape) + 1) if count > 1 else 0 :
            ]
            scalar = count > 1 and not op.endswith(".backward") and rng.random() < 0.15
            finite = op in DIFFERENT_AT_INFINITY
            inputs.append(1.5 if scalar else world.place(_values(rng, own, kind, finite), rng.choice(LAYOUTS)))
    if op == "clip" and rng.random() < 0.5:
        inputs[rng.integers(1, 3)] = None
    in_place = op in OPS and bool(OPS[op].mutates)
    if in_place:
        last = inputs[-1]
        inputs[0] = world.place(_values(rng, shape, last.dtype if isinstance(last, Operand) else F32))
    params = _params(rng, op)
    arrays = [one for one in inputs if isinstance(one, Operand)]
    if not arrays:
        return None
    if op in ("cast", "cast_to_integers"):
        params = {"dtype": np.dtype(rng.choice(["f4", "f8"]) if op == "cast" else rng.choice(["i8", "i4", "?"]))}
    probe = Step(op, tuple(inputs), (world.room(shape, F32),), params)
    try:
        memory = {name: one.copy() for name, one in world.memory.items()}
        with np.errstate(all="ignore"):
            values = [seen(one, memory) if isinstance(one, Operand) else one for one in inputs]
            rule = OPS[op[:-9]].backward if op.endswith(".backward") else OPS[op]
            result = np.asarray(rule.forward(*values, **params))
    except (TypeError, ValueError):
        return None
    output = inputs[0] if in_place else world.room(result.shape, result.dtype, rng.choice(LAYOUTS))
    step = Step(op, probe.inputs, (output,), params)
    return step if supports(step) else None


@pytest.mark.parametrize("part", range(4))
@examples(3)
@given(seed=SEEDS)
def test_every_elementwise_op_is_numpys(part, seed):
    world = World(seed)
    for op in ELEMENTWISE[part::4]:
        shape = tuple(world.rng.integers(1, 5, world.rng.integers(0, 4)).tolist())
        for _ in range(4):
            step = random_step(world, op, shape)
            if step is not None:
                world.steps.append(step)
                break
    assert len(world.steps) > len(ELEMENTWISE) // 8
    check(world)


def test_most_ops_of_an_element_have_a_form():
    world = World(0)
    for op in ELEMENTWISE:
        assert any(random_step(world, op, (3, 2)) is not None for _ in range(30)), op
        world.memory.clear()


def test_what_is_exact_in_numpy_is_the_same_to_the_bit():
    world = World(1)
    x, y = (world.place(_values(world.rng, (50, 33), F32)) for _ in range(2))
    out = [world.room((50, 33), F32) for _ in range(5)]
    world.step("multiply", (x, y), (out[0],))
    world.step("add", (out[0], x), (out[1],))  # would differ if fused with the product
    world.step("divide", (out[1], y), (out[2],))
    world.step("sqrt", (out[2],), (out[3],))
    world.step("subtract", (out[3], 0.1), (out[4],))
    check(world, rtol=0, atol=0)


CHAIN = [
    "add", "subtract", "multiply", "maximum", "minimum", "relu", "tanh", "sigmoid", "negative", "abs", "leaky_relu", "silu",
    "greater", "where", "clip", "less_equal", "logical_not", "softsign", "hardtanh",
]  # fmt: skip


@examples(6)
@given(seed=SEEDS)
@example(seed=3)
def test_merged_chains_are_numpys_step_by_step(seed):
    """Inputs broadcast, layouts mix, some results are kept and some only feed others, some take another's place."""
    world = World(seed)
    rng = world.rng
    shape = tuple(rng.integers(1, 6, rng.integers(1, 4)).tolist())
    known = [world.place(_values(rng, shape, F32), rng.choice(LAYOUTS)) for _ in range(2)]
    known.append(world.place(_values(rng, shape[-1:], F32)))
    known.append(world.place(_values(rng, (), F32)))
    made: list[str] = []
    for _ in range(14):
        op = str(rng.choice(CHAIN))
        chosen: list[Any] = [known[rng.integers(len(known))] for _ in range(_inputs_of(op))]
        step = random_step(world, op, shape, chosen)
        if step is None:
            continue
        (output,) = step.outputs
        kind = rng.random()
        fitting = [
            one
            for one in chosen
            if isinstance(one, Operand) and one.shape == output.shape and one.dtype == output.dtype
        ]
        if kind < 0.2 and fitting:  # in place
            step = Step(op, step.inputs, (fitting[0],), step.params)
        elif kind < 0.3 and len(shape) > 1 and output.dtype == F32 and output.shape == shape:
            turned = world.view(output, f"{output.name}.T", lambda one: one.T)
            if turned.shape == shape:
                known.append(turned)
        world.steps.append(step)
        if step.outputs[0] is output:
            known.append(output)
            made.append(output.name)
    unwanted = {name for name in made if rng.random() < 0.5}
    internal = {one.name for one in known if one.memory in unwanted}
    kernel = check(world, internal, rtol=2e-5, atol=2e-5)
    assert len({(one.memory, one.offset, one.dtype) for one in kernel.arguments}) == len(kernel.arguments)


def test_neighbours_share_one_loop_and_registers():
    world = World(0)
    x, bias = world.place(_values(world.rng, (6, 5), F32)), world.place(_values(world.rng, (5,), F32))
    total, out, mask, grad, sums = (world.room((6, 5), F32) for _ in range(5))
    mask, sums = world.room((6, 5), bool), world.room((5,), F32)
    world.step("add", (x, bias), (total,))
    world.step("relu", (total,), (out,))
    world.step("greater", (out, 0.0), (mask,))
    world.step("multiply", (x, mask), (grad,))
    world.step("column_sum", (grad,), (sums,))
    kernel = check(world, {total.name, mask.name, grad.name})
    assert {one.name for one in kernel.arguments} == {x.name, bias.name, out.name, sums.name}
    assert kernel.source.count("in range(") == 3  # the sums start at zero; then rows, and columns


def test_contiguous_arrays_are_walked_as_one_dimension():
    world = World(0)
    x, y = (world.place(_values(world.rng, (4, 3, 2), F32)) for _ in range(2))
    world.step("add", (x, y), (world.room((4, 3, 2), F32),))
    assert check(world).source.count("in range(") == 1
    world = World(0)
    x, y = (world.place(_values(world.rng, (4, 3), F32), "F") for _ in range(2))
    world.step("add", (x, y), (world.room((4, 3), F32, "F"),))
    assert check(world).source.count("in range(") == 1


def test_a_view_of_what_was_just_written_begins_a_new_loop():
    world = World(0)
    x, y = (world.place(_values(world.rng, (4, 4), F32, True)) for _ in range(2))
    turned = world.view(y, "turned", lambda one: one.T)
    out = world.room((4, 4), F32)
    world.step("negative", (x,), (y,))
    world.step("add", (x, turned), (out,))
    check(world, {y.name})


def _one_step(op: str, *values: Any) -> None:
    world = World(0)
    inputs = [world.place(np.array(one, F32)) for one in values]
    world.step(op, inputs, (world.room(inputs[0].shape, F32),))
    check(world)


def test_planted_faults_are_found(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(expressions.FORMS, "maximum", expressions.FORMS["minimum"])
        with pytest.raises(AssertionError, match="maximum"):
            _one_step("maximum", [1.0, 2.0], [0.0, 3.0])
    with monkeypatch.context() as patch:
        patch.setattr(nests.Nest, "_fits", lambda self, assign: assign.shape == self.shape)
        with pytest.raises(AssertionError):
            test_a_view_of_what_was_just_written_begins_a_new_loop()
    with monkeypatch.context() as patch:
        patch.setattr(
            expressions,
            "_at_least",
            lambda make, x, bound: f"{x} if {x} > {make.constant(bound)} else {make.constant(bound)}",
        )
        with pytest.raises(AssertionError, match="relu"):
            _one_step("relu", [np.nan, 1.0])


# ---------------------------------------------------------------- reductions and products


@examples(2)
@given(seed=SEEDS)
def test_reductions(seed):
    world = World(seed)
    rng = world.rng
    for op in (
        "sum",
        "add.reduce",
        "mean",
        "amax",
        "amin",
        "maximum.reduce",
        "minimum.reduce",
        "column_sum",
        "row_sum",
    ):
        for _ in range(2):
            plain = op in ("column_sum", "row_sum")
            shape = tuple(rng.integers(1, 7, 2 if plain else rng.integers(1, 4)).tolist())
            dtype = rng.choice([F32, F64])
            special = op in ("amax", "amin", "maximum.reduce", "minimum.reduce")
            x = world.place(_values(rng, shape, dtype, finite=not special), rng.choice(LAYOUTS))
            params: dict[str, Any] = {}
            if not plain:
                axes: list[Any] = [None, *range(-len(shape), len(shape))]
                axes += [(0, 1), (0, -1)] if len(shape) > 2 else []
                params = {"axis": axes[rng.integers(len(axes))], "keepdims": bool(rng.integers(2))}
                result = np.sum(np.zeros(shape), **params)
            else:
                result = np.sum(np.zeros(shape), axis=0 if op == "column_sum" else 1)
            world.step(op, (x,), (world.room(np.shape(result), dtype, rng.choice(LAYOUTS)),), **params)
    flags = world.place(_values(rng, (5, 3), bool))
    world.step("sum", (flags,), (world.room((), np.int64),))
    check(world, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_sums_of_many_numbers_are_as_precise_as_numpys(axis):
    world = World(0)
    values = world.rng.random((3000, 70)).astype(F32)
    x = world.place(values)
    out = world.room(np.shape(values.sum(axis)), F32)
    world.step("sum", (x,), (out,), axis=axis)
    kernel = build(world.steps)
    memory = dict(world.memory)
    kernel.compile()(*(seen(one, memory) for one in kernel.arguments))
    exact = values.sum(axis, dtype=np.float64)
    own, numpys = (np.abs(one / exact - 1).max() for one in (seen(out, memory), values.sum(axis)))
    assert own <= max(numpys, 3e-7)


@examples(3)
@given(seed=SEEDS)
def test_small_products(seed):
    world = World(seed)
    rng = world.rng
    for _ in range(6):
        n, k, m = rng.integers(1, 20, 3).tolist()
        dtype = rng.choice([F32, F64])
        one, two = [((n, k), (k, m)), ((k,), (k, m)), ((n, k), (k,)), ((k,), (k,))][rng.integers(4)]
        x, y = (world.place(_values(rng, shape, dtype, True), rng.choice(LAYOUTS)) for shape in (one, two))
        out = world.room(np.shape(np.zeros(one) @ np.zeros(two)), dtype, rng.choice(LAYOUTS))
        world.step("matmul", (x, y), (out,))
        weight = world.place(_values(rng, (m, k), dtype, True), rng.choice(LAYOUTS))
        bias = world.place(_values(rng, (m,), dtype, True)) if rng.random() < 0.7 else None
        rows = world.place(_values(rng, one if one[-1] == k else (k,), dtype, True), rng.choice(LAYOUTS))
        out = world.room((*rows.shape[:-1], m), dtype, rng.choice(LAYOUTS))
        world.step("linear", (rows, weight, bias), (out,))
    check(world, rtol=1e-5, atol=1e-3)


def test_infinities_go_through_products():
    world = World(0)
    x = world.place(np.array([[np.inf, 0.0], [1.0, np.nan]], F32))
    y = world.place(np.array([[0.0, 1.0], [2.0, 3.0]], F32))
    world.step("matmul", (x, y), (world.room((2, 2), F32),))
    check(world)


def test_large_products_are_left_to_blas():
    world = World(0)
    x = world.place(np.zeros((64, 128), F32))
    y = world.place(np.zeros((128, 64), F32))
    assert not supports(Step("matmul", (x, y), (world.room((64, 64), F32),)))


# ---------------------------------------------------------------- rows


@examples(3)
@given(seed=SEEDS)
def test_cross_entropy(seed):
    world = World(seed)
    rng = world.rng
    for classes in (int(rng.integers(1, 33)), 40):
        for reduction in rng.permutation(["mean", "sum", "none"])[:2].tolist():
            n = int(rng.integers(1, 40))
            dtype = rng.choice([F32, F64])
            logits = _values(rng, (n, classes), dtype, True)
            if rng.random() < 0.3:
                logits[0, 0] = rng.choice([np.nan, np.inf, -np.inf])
            x = world.place(logits, rng.choice(["C", "F"]))
            target = world.place(rng.integers(0, classes, n))
            shape = (n,) if reduction == "none" else ()
            lse, loss = world.room((n,), dtype), world.room(shape, dtype)
            world.step("cross_entropy", (x, target), (loss, lse), reduction=reduction)
            g = world.place(_values(rng, shape, dtype, True))
            gradient = world.room((n, classes), dtype, rng.choice(["C", "F"]))
            world.step(
                "cross_entropy.backward",
                (g, x, target, lse),
                (gradient, None),
                reduction=reduction,
                needs=(True, False),
            )
    check(world, rtol=1e-5, atol=1e-5)


def test_a_class_out_of_range_raises_and_writes_nowhere_else():
    world = World(0)
    x, target = world.place(np.zeros((3, 4), F32)), world.place(np.array([0, 4, 1]))
    world.step("cross_entropy", (x, target), (world.room((), F32), world.room((3,), F32)), reduction="mean")
    kernel = build(world.steps)
    with pytest.raises(IndexError, match="class index"):
        kernel.compile()(*(seen(one, world.memory) for one in kernel.arguments))


@examples(3)
@given(seed=SEEDS)
def test_normalisation_and_softmax(seed):
    world = World(seed)
    rng = world.rng
    for op in ("layer_norm", "rms_norm", "layer_norm", "softmax", "log_softmax"):
        shape = (*rng.integers(1, 9, rng.integers(0, 3)).tolist(), int(rng.integers(2, 40)))
        dtype = rng.choice([F32, F64])
        x = world.place(_values(rng, shape, dtype, True))
        out = world.room(shape, dtype)
        if "softmax" in op:
            world.step(op, (x,), (out,), axis=-1)
            continue
        rows = math.prod(shape[:-1])
        parameters: list[Any] = [
            world.place(_values(rng, shape[-1:], dtype, True)) if rng.random() < 0.7 else None for _ in range(2)
        ]
        statistics = [world.room((rows,), dtype) for _ in range(2)]
        if op == "rms_norm":
            parameters, statistics = parameters[:1], statistics[:1]
        world.step(op, (x, *parameters), (out, *statistics), dims=1, eps=1e-3)
        g = world.place(_values(rng, shape, dtype, True))
        gradients = [world.room(shape, dtype)] + [
            None if one is None else world.room(one.shape, dtype) for one in parameters
        ]
        needs = tuple(one is not None for one in gradients)
        world.step(f"{op}.backward", (g, x, *parameters, *statistics), gradients, dims=1, needs=needs)
    check(world, rtol=1e-4, atol=2e-4)


# ---------------------------------------------------------------- optimizers


UPDATES = [
    "sgd_update", "momentum_start", "momentum_update", "adam_update", "amsgrad_update", "rmsprop_update",
    "rmsprop_centered_update", "rmsprop_momentum_update", "rmsprop_centered_momentum_update", "adagrad_update",
]  # fmt: skip


@examples(3)
@given(seed=SEEDS)
def test_optimizers_give_the_same_bits_as_their_kernels(seed):
    world = World(seed)
    rng = world.rng
    world.numbers = {"rate": float(rng.uniform(1e-4, 0.1)), "step": float(rng.integers(1, 50))}
    for op in UPDATES:
        call = OPS[op].domain(NumPyDraw(rng))
        dtype = rng.choice([F32, F64])
        names = OPS[op].inputs[:-2]
        sizes = [tuple(rng.integers(1, 6, rng.integers(0, 3)).tolist()) for _ in range(rng.integers(1, 4))]
        total = sum(math.prod(one) for one in sizes)
        flat = [
            world.place(np.abs(_values(rng, (total,), dtype, True)) + (9 if "square" in one else 0)) for one in names
        ]
        scratch = world.room((2, total), dtype)
        gradients = [world.place(_values(rng, one, dtype, True), rng.choice(LAYOUTS)) for one in sizes]
        params = {**call.params, "lr": Runtime("rate", "lr")}
        if "step" in params:
            params["step"] = Runtime("step", "step")
        world.step(op, (*flat, scratch, *gradients), (*flat,), **params)
    check(world, rtol=0, atol=0)


# ---------------------------------------------------------------- kernels and their cache


def _small_kernel(factor: float = 3.0) -> tuple[Kernel, np.ndarray, np.ndarray]:
    x, out = np.arange(4, dtype=F32), np.zeros(4, F32)
    one, two = (Operand(name, (4,), F32, (4,)) for name in ("x", "out"))
    return build([Step("multiply", (one, factor), (two,))]), x, out


def test_binding_holds_arrays_and_takes_others():
    kernel, x, out = _small_kernel()
    bound = kernel.bind(*({"x": x, "out": out}[one.name] for one in kernel.arguments))
    bound()
    assert out.tolist() == [0, 3, 6, 9]
    position = [one.name for one in kernel.arguments].index("x")
    bound.place(position, x + 1)
    bound()
    assert out.tolist() == [3, 6, 9, 12]
    for wrong in (x.astype(F64), np.zeros(5, F32), np.zeros(8, F32)[::2]):
        with pytest.raises(ValueError, match="argument"):
            bound.place(position, wrong)
    with pytest.raises(TypeError, match="takes 2 arrays"):
        kernel.bind(x)


def test_what_has_no_form_is_refused():
    x = Operand("x", (3,), F32, (4,))
    assert not supports(Step("no such op", (x,), (x,)))
    whole = Operand("i", (3,), np.dtype(np.int64), (8,))
    assert not supports(Step("cast_to_integers", (x,), (whole,), {"dtype": np.dtype(np.int64)}))
    assert not supports(Step("add", (x, x), (Operand("h", (3,), np.dtype(np.float16), (2,)),)))
    swapped = Operand("s", (3,), F32.newbyteorder(), (4,))
    assert not supports(Step("negative", (swapped,), (x,)))
    askew = Operand("a", (3,), F32, (6,))
    assert not supports(Step("negative", (askew,), (x,)))
    large = Operand("l", (10**6,), F64, (8,))
    assert not supports(Step("exp", (large,), (large,)))  # NumPy's is faster there
    assert supports(Step("add", (large, large), (large,)))


PROGRAM = textwrap.dedent("""
    import sys
    import numpy as np
    from autograd_ff.compiler.loops import Operand, Step, build
    assert "numba" not in sys.modules
    f = np.dtype(np.float32)
    x, y = Operand("x", (4,), f, (4,)), Operand("y", (4,), f, (4,))
    kernel = build([Step("exp", (x,), (y,))])
    assert "numba" not in sys.modules
    given, made = np.zeros(4, f), np.zeros(4, f)
    kernel.compile()(*({"x": given, "y": made}[one.name] for one in kernel.arguments))
    assert made.tolist() == [1, 1, 1, 1], made
    print(sum(kernel._function.stats.cache_hits.values()))
""")


def _run(folder: Path, count: int = 1) -> list[str]:
    environment = {**os.environ, "AUTOGRAD_FF_CACHE": str(folder)}
    running = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    output = [one.communicate()[0].strip() for one in running]
    assert all(one.returncode == 0 for one in running)
    return output


def test_a_second_process_loads_machine_code_whatever_happened_to_the_files(tmp_path):
    assert set(_run(tmp_path, 2)) <= {"0", "1"}  # both at once
    assert _run(tmp_path) == ["1"]
    (source,) = tmp_path.glob("loops/*.py")
    if os.name == "posix":
        assert source.stat().st_mode & 0o077 == 0
        assert source.parent.stat().st_mode & 0o077 == 0
    source.write_text("raise SystemExit('not what was made here')")
    for code in tmp_path.glob("loops/__pycache__/*.nbc"):
        code.write_bytes(code.read_bytes()[:100])
    assert _run(tmp_path) == ["0"]
    assert _run(tmp_path) == ["1"]


def test_a_directory_that_others_may_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOGRAD_FF_CACHE", str(tmp_path))
    assert cache.directory() == tmp_path / "loops"
    if os.name == "posix":
        (tmp_path / "loops").chmod(0o777)
        assert cache.directory() is None
        kernel, x, out = _small_kernel(5.0)
        kernel.compile()(*({"x": x, "out": out}[one.name] for one in kernel.arguments))
        assert out.tolist() == [0, 5, 10, 15]
    monkeypatch.setenv("AUTOGRAD_FF_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    assert cache.directory() is None


def test_the_cache_lies_where_the_platform_keeps_such_things(monkeypatch, tmp_path):
    monkeypatch.delenv("AUTOGRAD_FF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform not in ("win32", "darwin"):
        assert cache.directory() == tmp_path / "autograd_ff" / "loops"
