"""Which dtype an operation has: PyTorch's rules, the same through every front door."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff.engine import get_default_dtype, set_default_dtype
from autograd_ff.errors import AutogradError

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
FLOATS = ["float16", "float32", "float64"]
KINDS = ["dim", "0-d"]
OPERANDS = [*itertools.product(KINDS, DTYPES), ("scalar", "bool"), ("scalar", "int"), ("scalar", "float")]
SCALARS = {"bool": True, "int": 2, "float": 1.5}

# name: through our operators or functions, through NumPy's door, and PyTorch's
OPERATIONS = {
    "add": (operator.add, np.add, "add"),
    "multiply": (operator.mul, np.multiply, "mul"),
    "divide": (operator.truediv, np.divide, "div"),
    "power": (operator.pow, np.power, "pow"),
    "maximum": (lambda a, b: af.maximum(a, b), np.maximum, "maximum"),
    "less": (operator.lt, np.less, "lt"),
    "equal": (operator.eq, np.equal, "eq"),
    "where": (
        lambda a, b: af.where(af.tensor([True, False]), a, b),
        lambda a, b: np.where(np.array([True, False]), a, b),
        "where",
    ),
}


def ours(operand):
    kind, dtype = operand
    if kind == "scalar":
        return SCALARS[dtype]
    return af.tensor(np.ones((2,) if kind == "dim" else (), dtype=dtype))


def theirs(torch, operand):
    kind, dtype = operand
    if kind == "scalar":
        return SCALARS[dtype]
    return torch.ones((2,) if kind == "dim" else (), dtype=getattr(torch, dtype))


def torch_result(torch, name, first, second):
    a, b = theirs(torch, first), theirs(torch, second)
    function = OPERATIONS[name][2]
    if function == "where":
        return torch.where(torch.tensor([True, False]), a, b)
    if function == "maximum":  # takes tensors only
        a, b = (one if isinstance(one, torch.Tensor) else torch.tensor(one) for one in (a, b))
    if function in ("add", "mul", "div", "pow"):
        return {"add": operator.add, "mul": operator.mul, "div": operator.truediv, "pow": operator.pow}[function](a, b)
    return getattr(torch, function)(a, b) if isinstance(a, torch.Tensor) else getattr(torch, function)(b, a)


def dtype_of(result):
    return str(result.dtype).removeprefix("torch.")


def pairs():
    for first, second in itertools.product(OPERANDS, OPERANDS):
        if first[0] == second[0] == "scalar":
            continue
        yield first, second


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_pair_of_dtypes_gives_torch_s_dtype_at_both_front_doors(name):
    torch = pytest.importorskip("torch")
    operation, numpy_function, _ = OPERATIONS[name]
    wrong = []
    for first, second in pairs():
        if name == "maximum" and "scalar" in (first[0], second[0]):
            continue
        if name == "power" and first[1] == second[1] == "bool":
            continue  # NumPy's power of booleans is int8
        try:
            expected = dtype_of(torch_result(torch, name, first, second))
        except RuntimeError:  # PyTorch has no such kernel
            expected = None
        for door in (operation, numpy_function):
            try:
                found = dtype_of(door(ours(first), ours(second)))
            except AutogradError:
                found = None
            if found != expected and expected is not None:
                wrong.append((first, second, getattr(door, "__name__", "?"), found, expected))
    assert not wrong, f"{len(wrong)} wrong: {wrong[:10]}"


@pytest.mark.torch
def test_matmul_of_equal_dtypes():
    torch = pytest.importorskip("torch")
    for dtype in FLOATS:
        expected = dtype_of(
            torch.ones(2, 2, dtype=getattr(torch, dtype)) @ torch.ones(2, 2, dtype=getattr(torch, dtype))
        )
        x = af.tensor(np.ones((2, 2), dtype))
        assert dtype_of(x @ x) == dtype_of(np.matmul(x, x)) == dtype_of(np.ones((2, 2), dtype) @ x) == expected


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    ["sum", "mean", "prod", "amax", "exp", "sqrt", "sin", "tanh", "abs", "neg", "square", "sign", "floor", "isnan",
     "logical_not", "argmax", "cumsum", "reciprocal"],
)  # fmt: skip
def test_unary_functions(name):
    torch = pytest.importorskip("torch")
    wrong = []
    for kind, dtype in itertools.product(KINDS, DTYPES):
        if dtype == "bool" and name in ("square", "sign"):
            continue  # NumPy's square of booleans is int8, and it has no sign of them
        shape = (2,) if kind == "dim" else ()
        arguments = (0,) if name == "cumsum" else ()
        try:
            expected = dtype_of(getattr(torch, name)(torch.ones(shape, dtype=getattr(torch, dtype)), *arguments))
        except RuntimeError:
            continue
        found = dtype_of(getattr(af, name)(af.tensor(np.ones(shape, dtype)), *arguments))
        if found != expected:
            wrong.append((kind, dtype, found, expected))
    assert not wrong


def test_both_doors_agree_on_values_too():
    numbers = np.random.default_rng(0)
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = (af.tensor(numbers.integers(0, 2, 3).astype(dtype)) for dtype in (first, second))
        for ours_, theirs_ in ((operator.add, np.add), (operator.mul, np.multiply), (operator.truediv, np.true_divide)):
            with np.errstate(all="ignore"):
                left, right = ours_(a, b), theirs_(a, b)
                mixed = ours_(a.numpy(), b)
            assert left.dtype == right.dtype == mixed.dtype
            assert np.array_equal(left.array, right.array, equal_nan=left.dtype.kind == "f")
            assert np.array_equal(left.array, mixed.array, equal_nan=left.dtype.kind == "f")


def test_the_promises_of_the_design():
    f32, i64 = af.tensor([1.0, 2.0]), af.tensor([1, 2])
    assert (f32 + i64).dtype == np.float32
    assert (f32 * af.tensor(2.0, dtype=af.float64)).dtype == np.float32
    assert (f32 * np.array(2.0)).dtype == np.float32
    assert (f32 * np.array([2.0, 3.0])).dtype == np.float64
    assert (f32 * 2).dtype == np.float32
    assert (i64 * 0.5).dtype == np.float32
    assert (i64 / 2).dtype == np.float32
    assert np.sum(f32).array.__class__ is np.ndarray
    assert np.sum(f32).shape == ()
    assert (f32[0] * f32[1]).array.__class__ is np.ndarray


@pytest.mark.parametrize("scalar", [np.float64(2.0), np.float32(2.0), np.int64(2), np.bool_(True)])
def test_numpy_scalars_count_as_python_s(scalar):
    for dtype in DTYPES:
        t = af.tensor(np.ones(2, dtype))
        python = scalar.item()
        assert (t * scalar).dtype == (scalar * t).dtype == np.multiply(t, scalar).dtype == (t * python).dtype


def test_the_default_dtype_decides_for_integers_and_python_numbers():
    assert get_default_dtype() == np.float32
    set_default_dtype(np.float64)
    try:
        assert (af.tensor([1, 2]) / 2).dtype == np.float64
        assert (af.tensor([1, 2]) * 0.5).dtype == np.float64
        assert np.exp(af.tensor([1, 2])).dtype == np.float64
        assert (af.tensor([1.0], dtype=af.float32) * 0.5).dtype == np.float32
    finally:
        set_default_dtype(np.float32)


# ---------------------------------------------------------------------- float16


def half(data, requires_grad=False):
    return af.tensor(np.asarray(data, dtype=np.float16), requires_grad=requires_grad)


def test_sums_of_float16_are_computed_in_float32():
    ones = half(np.ones((3, 5000)))
    assert ones.sum(1).tolist() == [5000.0] * 3
    assert ones.sum(1).dtype == np.float16
    assert ones.mean(1).tolist() == [1.0] * 3
    assert np.sum(ones.T, axis=0).tolist() == [5000.0] * 3
    assert (ones @ ones.T)[0, 0].item() == 5000.0
    assert (ones * 1000.0).mean().item() == 1000.0  # the sum alone is beyond float16


def test_gradients_of_float16_are_summed_in_float32():
    bias, weight = half(np.zeros(3), requires_grad=True), half(np.ones((1, 3)), requires_grad=True)
    (half(np.ones((5000, 3))) * weight + bias).sum().backward()
    assert bias.grad.tolist() == [5000.0] * 3
    assert weight.grad.tolist() == [[5000.0] * 3]
    assert bias.grad.dtype == np.float16
    (g,) = af.autograd.grad((half(np.ones((5000, 3))) + bias).sum(), bias, create_graph=True)
    assert g.tolist() == [5000.0] * 3


def test_masks_and_indices_computed_from_float16_keep_their_dtype():
    t = half([1.0, 3.0, 2.0])
    assert (t > 1.5).dtype == np.bool_
    assert np.isnan(t).dtype == np.bool_
    assert np.logical_and(t, t).dtype == np.bool_
    assert af.argmax(t).dtype == np.int64


def test_ops_with_several_outputs_and_residuals_return_float16():
    fraction, whole = np.modf(half([1.5, 2.25]))
    assert fraction.dtype == whole.dtype == np.float16
    loss = af.engine.OPS["cross_entropy"](half(np.ones((2, 3))), np.array([0, 2]))
    assert loss.dtype == np.float16


def test_every_op_of_the_table_returns_float16_for_float16():
    """Through NumPy's door: floating results of float16 are float16."""
    t = half([[0.25, 0.5], [0.5, 0.75]])
    for name in ("exp", "log", "sqrt", "tanh", "sin", "square", "negative", "abs", "reciprocal", "log1p", "expm1"):
        assert af.engine.OPS[name](t).dtype == np.float16, name
    for function in (np.sum, np.mean, np.max, np.prod, np.transpose, np.var, np.std, np.cumsum):
        assert function(t).dtype == np.float16, function


# ---------------------------------------------------------------------- gradients


@pytest.mark.parametrize("first", FLOATS)
@pytest.mark.parametrize("second", FLOATS)
@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((3, 2), (2,)), ((1, 2), (3, 1))])
def test_a_gradient_has_the_dtype_and_shape_of_its_input(first, second, shapes):
    for operation in (operator.add, operator.sub, operator.mul, operator.truediv, np.maximum, np.logaddexp):
        x = af.tensor(np.full(shapes[0], 2.0, first), requires_grad=True)
        y = af.tensor(np.full(shapes[1], 3.0, second), requires_grad=True)
        out = operation(x, y)
        out.sum().backward()
        for one in (x, y):
            assert one.grad.dtype == one.dtype
            assert one.grad.shape == one.shape
        dx, dy = af.autograd.grad((operation(x, y) * 1.5).sum(), [x, y], create_graph=True)
        assert (dx.dtype, dy.dtype) == (x.dtype, y.dtype)


def test_an_upstream_gradient_of_another_dtype_is_cast():
    x = af.tensor([1.0, 2.0], requires_grad=True)
    (x * 2.0).backward(af.tensor([1.0, 1.0], dtype=af.float64))
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x**True,
        lambda x: x**2,
        lambda x: x**x,
        lambda x: np.power(x, x),
        lambda x: af.square(x),
        lambda x: af.sign(x),
        lambda x: x // x,
        lambda x: x % True,
        lambda x: af.fmod(x, x),
        lambda x: af.div(x, True, rounding_mode="trunc"),
    ],
)
def test_truth_values_count_as_numbers(call):
    """Where NumPy would make int8 of booleans, or has no loop for them."""
    truth, number = call(af.tensor([True])), call(af.tensor([1]))
    assert truth.dtype == af.int64
    assert truth.tolist() == number.tolist()


@pytest.mark.parametrize("values", [(1.0, 0.0), (1.0, 0), (1, 0.5), (1, 0), (True, False), (True, 2)])
def test_where_between_python_numbers(values):
    torch = pytest.importorskip("torch")
    mask = [True, False]
    ours, theirs = af.where(af.tensor(mask), *values), torch.where(torch.tensor(mask), *values)
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    assert ours.tolist() == theirs.tolist()
