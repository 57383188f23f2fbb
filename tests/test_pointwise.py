"""Arithmetic, powers, exponentials, trigonometry, rounding, choice, comparison, and their in-place forms."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.special
from beside_torch import assert_agrees
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autograd_ff as af
from autograd_ff.autograd import grad
from autograd_ff.errors import AutogradError, DtypeError, InplaceError, NoRuleError, ShapeError

SHAPES = [(), (0,), (3,), (2, 0, 3), (2, 3)]

# name, lowest and highest number of the domain
UNARY = {
    "neg": (-3, 3), "abs": (-3, 3), "sign": (-3, 3), "reciprocal": (0.3, 3), "square": (-3, 3), "sqrt": (0.1, 4),
    "rsqrt": (0.2, 4), "exp": (-3, 3), "exp2": (-3, 3), "expm1": (-3, 3), "log": (0.1, 4), "log2": (0.1, 4),
    "log10": (0.1, 4), "log1p": (-0.8, 4), "sin": (-4, 4), "cos": (-4, 4), "tan": (-1, 1), "asin": (-0.9, 0.9),
    "acos": (-0.9, 0.9), "atan": (-3, 3), "sinh": (-3, 3), "cosh": (-3, 3), "tanh": (-3, 3), "asinh": (-3, 3),
    "acosh": (1.1, 4), "atanh": (-0.9, 0.9), "erf": (-3, 3), "erfc": (-3, 3), "erfinv": (-0.9, 0.9),
    "lgamma": (0.3, 5), "digamma": (0.3, 5), "floor": (-3, 3), "ceil": (-3, 3), "trunc": (-3, 3), "round": (-3, 3),
    "frac": (-3, 3), "sigmoid": (-4, 4), "logit": (0.1, 0.9), "nan_to_num": (-3, 3),
}  # fmt: skip
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "atan2",
    "maximum",
    "minimum",
    "remainder",
    "fmod",
    "hypot",
    "logaddexp",
    "pow",
    "xlogy",
]
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor"]


def numbers(shape, low=-3.0, high=3.0, seed=0, dtype=np.float64):
    return np.asarray(np.random.default_rng(seed).uniform(low, high, shape), dtype=dtype)


# ---------------------------------------------------------------- beside PyTorch


@pytest.mark.torch
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_as_pytorch(name, shape):
    torch = pytest.importorskip("torch")
    x = numbers(shape, *UNARY[name])
    # PyTorch's second derivative of lgamma and digamma is a series of its own, good to single precision only
    tolerance = 1e-6 if name in ("lgamma", "digamma") else 1e-9
    assert_agrees(getattr(af, name), getattr(torch, name), x, rtol=tolerance)
    assert_agrees(getattr(af.Tensor, name), getattr(torch.Tensor, name), x, order=1, rtol=tolerance)


@pytest.mark.torch
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 1), (3,)), ((), (2,)), ((0, 2), (2,)), ((3,), ())])
def test_binary_as_pytorch(name, shapes):
    torch = pytest.importorskip("torch")
    positive = name in ("pow", "xlogy", "hypot")
    x, y = (numbers(shape, 0.3 if positive else -3, 3, seed) for seed, shape in enumerate(shapes))
    assert_agrees(getattr(af, name), getattr(torch, name), x, y)


@pytest.mark.torch
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_unary_of_whole_numbers(name, dtype):
    torch = pytest.importorskip("torch")
    x = np.array([0, 1, 1, 0, 1], dtype=dtype) if dtype is np.bool_ else np.array([0, 1, 2, 3], dtype=dtype)
    try:
        theirs = getattr(torch, name)(torch.tensor(x))
    except (RuntimeError, TypeError):
        return  # PyTorch refuses: what we do is ours to choose
    if dtype is np.bool_ and name in ("sign", "square", "abs"):
        return  # NumPy has no such function of booleans
    with np.errstate(all="ignore"):
        ours = getattr(af, name)(af.tensor(x))
    assert ours.dtype == theirs.numpy().dtype
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-6, atol=1e-7)


DTYPES = [np.bool_, np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "eq", "lt", "pow", "remainder"])
@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", [*DTYPES, bool, int, float])
@pytest.mark.parametrize("dims", [(1, 1), (1, 0), (0, 1)])
def test_promotion_as_pytorch(name, first, second, dims):
    torch = pytest.importorskip("torch")
    x = np.ones((2,) * dims[0], dtype=first)
    if second in (bool, int, float):
        y = other = second(1)
    else:
        y = np.ones((2,) * dims[1], dtype=second)
        other = torch.tensor(y)
        y = af.tensor(y)
    if (name == "maximum" and not isinstance(y, af.Tensor)) or (name in ("pow", "remainder") and first is np.bool_):
        return
    try:
        theirs = getattr(torch, name)(torch.tensor(x), other)
    except RuntimeError:
        return
    ours = getattr(af, name)(af.tensor(x), y)
    assert ours.dtype == theirs.numpy().dtype
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_share_the_gradient(name):
    torch = pytest.importorskip("torch")
    x = np.array([1.0, 2.0, 3.0, math.inf])
    y = np.array([1.0, 3.0, 3.0, math.inf])
    assert_agrees(getattr(af, name), getattr(torch, name), x, y)


@pytest.mark.torch
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 1.0), (-1.0, None), (2.0, -2.0), (0.0, 0.0)])
def test_clamp_as_pytorch(bounds):
    torch = pytest.importorskip("torch")
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, math.inf, -math.inf])
    assert_agrees(lambda t: af.clamp(t, *bounds), lambda t: torch.clamp(t, *bounds), x)
    assert_agrees(lambda t: t.clamp(min=bounds[0], max=bounds[1]), lambda t: t.clamp(min=bounds[0], max=bounds[1]), x)
    whole = np.array([-3, 0, 5])
    assert_agrees(lambda t: af.clamp(t, -1, 2), lambda t: torch.clamp(t, -1, 2), whole)
    assert_agrees(lambda t: af.clamp(t, -0.5, 2), lambda t: torch.clamp(t, -0.5, 2), whole)


@pytest.mark.torch
def test_clamp_by_tensors_as_pytorch():
    torch = pytest.importorskip("torch")
    x = np.array([[-2.0, -1.0, 0.0], [1.0, 2.0, 3.0]])
    low, high = np.array([-1.0, 0.5, 1.0]), np.array([[1.5], [0.25]])  # low > high in places
    assert_agrees(lambda t, a, b: af.clamp(t, a, b), lambda t, a, b: torch.clamp(t, a, b), x, low, high)
    assert_agrees(lambda t, a: af.clamp(t, min=a), lambda t, a: torch.clamp(t, min=a), x, low)
    assert_agrees(lambda t, b: af.clamp(t, max=b), lambda t, b: torch.clamp(t, max=b), x, high)


@pytest.mark.torch
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, -1, -2, 0.5, -0.5, 2.5, 1.0, 2.0])
def test_powers_as_pytorch(exponent):
    torch = pytest.importorskip("torch")
    x = numbers((3, 2), 0.2, 3)
    assert_agrees(lambda t: t**exponent, lambda t: t**exponent, x)
    assert_agrees(
        lambda t: af.pow(t, exponent), lambda t: torch.pow(t, exponent), x.astype(np.float32), rtol=1e-5, atol=1e-5
    )
    if exponent >= 0:
        whole = np.array([0, 1, 2, 3])
        assert_agrees(lambda t: t**exponent, lambda t: t**exponent, whole, rtol=1e-6)
    if exponent in (0, 1, 2, 3, 1.0, 2.0):
        assert_agrees(lambda t: t**exponent, lambda t: t**exponent, np.array([0.0, -1.0, 2.0]))
    assert_agrees(lambda t: exponent**t, lambda t: exponent**t, x) if exponent > 0 else None


@pytest.mark.torch
def test_power_at_zero_as_pytorch():
    torch = pytest.importorskip("torch")
    base, exponent = np.array([0.0, 0.0, 0.0, 2.0]), np.array([0.0, 2.0, 1.0, 0.0])
    assert_agrees(lambda x, y: x**y, torch.pow, base, exponent, order=1)


@pytest.mark.torch
@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float32, np.float64])
def test_division_modes_as_pytorch(mode, dtype):
    torch = pytest.importorskip("torch")
    x = np.array([-7, 7, -8, 8, 6, -1], dtype=dtype)
    y = np.array([2, -2, 3, 3, -3, 5], dtype=dtype)
    assert_agrees(
        lambda a, b: af.div(a, b, rounding_mode=mode), lambda a, b: torch.div(a, b, rounding_mode=mode), x, y, rtol=1e-6
    )


def test_division_of_large_whole_numbers_is_exact():
    x = af.tensor([2**62 + 1, -(2**62) - 1])
    assert af.div(x, 1, rounding_mode="trunc").tolist() == [2**62 + 1, -(2**62) - 1]
    assert af.div(x, 3, rounding_mode="trunc").tolist() == [(2**62 + 1) // 3, -((2**62 + 1) // 3)]


@pytest.mark.parametrize(
    "divide", [lambda x, y: x // y, lambda x, y: x % y, lambda x, y: af.div(x, y, rounding_mode="trunc")]
)
def test_whole_numbers_by_zero_raise(divide):
    with pytest.raises(AutogradError, match="divided by zero"):
        divide(af.tensor([1, 2]), af.tensor([1, 0]))
    with pytest.raises(AutogradError, match="divided by zero"):
        divide(af.tensor([1, 2]), 0)


@pytest.mark.torch
@pytest.mark.parametrize("decimals", [0, 1, 3, -1])
def test_round_as_pytorch(decimals):
    torch = pytest.importorskip("torch")
    x = np.array([0.5, 1.5, 2.5, -0.5, 0.25, 125.0, 1.23456, -7.777, math.inf, math.nan])
    assert_agrees(lambda t: af.round(t, decimals=decimals), lambda t: torch.round(t, decimals=decimals), x)


@pytest.mark.torch
@pytest.mark.parametrize("value", [1, 0.5, -2])
def test_mixtures_as_pytorch(value):
    torch = pytest.importorskip("torch")
    x, y, z = numbers((2, 3)), numbers((3,), seed=1), numbers((2, 1), 0.5, 2, seed=2)
    assert_agrees(lambda *t: af.addcmul(*t, value=value), lambda *t: torch.addcmul(*t, value=value), x, y, z)
    assert_agrees(lambda *t: af.addcdiv(*t, value=value), lambda *t: torch.addcdiv(*t, value=value), x, y, z)
    assert_agrees(af.lerp, torch.lerp, x, y, z)
    assert_agrees(lambda a, b: af.lerp(a, b, value), lambda a, b: torch.lerp(a, b, value), x, y)
    assert_agrees(lambda a, b: af.add(a, b, alpha=value), lambda a, b: torch.add(a, b, alpha=value), x, y)
    assert_agrees(lambda a, b: af.sub(a, b, alpha=value), lambda a, b: torch.sub(a, b, alpha=value), x, y)


@pytest.mark.torch
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_as_pytorch(name):
    torch = pytest.importorskip("torch")
    x = np.array([[0.0, 1.0, math.nan], [math.inf, -math.inf, 2.0]])
    y = np.array([0.0, -math.inf, 2.0])
    assert_agrees(getattr(af, name), getattr(torch, name), x, y)
    assert_agrees(getattr(af.Tensor, name), getattr(torch.Tensor, name), np.array([1, 2, 3]), np.array([1, 3, 2]))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "logical_not", "signbit"])
def test_tests_of_numbers_as_pytorch(name):
    torch = pytest.importorskip("torch")
    assert_agrees(getattr(af, name), getattr(torch, name), np.array([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf]))
    assert_agrees(getattr(af, name), getattr(torch, name), np.array([0, 1, -1]))


SPECIAL = np.array([-math.inf, -1.0, -0.0, 0.0, 1.0, math.inf, math.nan])


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in UNARY if name not in ("lgamma", "digamma", "erfinv")])
def test_infinities_and_nan_as_pytorch(name):
    torch = pytest.importorskip("torch")
    with np.errstate(all="ignore"):
        ours = getattr(af, name)(af.tensor(SPECIAL))
    theirs = getattr(torch, name)(torch.tensor(SPECIAL)).numpy()
    if name == "sign":
        theirs[-1] = math.nan  # PyTorch's sign of NaN is 0, which hides it
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12)


# ---------------------------------------------------------------- where


@pytest.mark.torch
def test_where_as_pytorch():
    torch = pytest.importorskip("torch")
    mask = np.array([[True, False, True], [False, False, True]])
    x, y = numbers((2, 3)), numbers((3,), seed=1)
    assert_agrees(
        lambda a, b: af.where(af.tensor(mask), a, b), lambda a, b: torch.where(torch.tensor(mask), a, b), x, y
    )
    assert_agrees(lambda a: af.where(af.tensor(mask), a, 0.0), lambda a: torch.where(torch.tensor(mask), a, 0.0), x)
    assert_agrees(lambda a: a.where(af.tensor(mask), 1.0), lambda a: a.where(torch.tensor(mask), torch.tensor(1.0)), x)
    found = af.where(af.tensor(mask))
    assert [one.tolist() for one in found] == [one.tolist() for one in torch.where(torch.tensor(mask))]


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), elements=st.floats(-4, 4)),
)
def test_where_of_functions_chooses_like_where_of_values(x):
    t = af.tensor(x, requires_grad=True)
    mask = x > 0.5
    chosen = af.where(mask, lambda v: af.log(v), lambda v: v * v, t)
    expected = np.where(mask, np.log(np.where(mask, x, 1.0)), x * x)
    np.testing.assert_allclose(chosen.detach().numpy(), expected)
    assert chosen.shape == x.shape
    (gradient,) = grad(chosen.sum(), t)
    np.testing.assert_allclose(gradient.numpy(), np.where(mask, 1 / np.where(mask, x, 1.0), 2 * x))


def test_where_of_functions_has_no_nan_from_the_other_branch():
    t = af.tensor([0.0, 4.0, -1.0], requires_grad=True)
    af.where(t > 0, af.sqrt, 0.0, t).sum().backward()
    assert t.grad.tolist() == [0.0, 0.25, 0.0]
    naive = af.tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(all="ignore"):
        af.where(naive > 0, af.sqrt(naive), 0.0).sum().backward()
    assert math.isnan(naive.grad.tolist()[0])  # what the form with functions is there for


def test_where_of_functions_of_two_operands_and_second_order():
    x = af.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=af.float64, requires_grad=True)
    y = af.tensor([2.0, 0.0], dtype=af.float64, requires_grad=True)
    out = af.where(y != 0, lambda a, b: a / b, lambda a, b: a**3, x, y)
    assert out.tolist() == [[0.5, 8.0], [1.5, 64.0]]
    dx, dy = grad(out.sum(), [x, y], create_graph=True)
    assert dx.tolist() == [[0.5, 12.0], [0.5, 48.0]]
    assert dy.tolist() == [-1.0, 0.0]
    (ddx,) = grad(dx.sum(), x)
    assert ddx.tolist() == [[0.0, 12.0], [0.0, 24.0]]


def test_where_errors():
    x = af.ones(2)
    with pytest.raises(DtypeError, match="must be boolean"):
        af.where(af.tensor([1, 0]), x, x)
    with pytest.raises(ShapeError, match="needs what to call"):
        af.where(x > 0, af.exp, af.log)
    with pytest.raises(ShapeError, match="element by element"):
        af.where(x > 0, lambda v: v.sum().reshape(1, 1), af.log, x)
    with pytest.raises(ShapeError, match="do not broadcast"):
        af.where(af.ones(3) > 0, af.exp, af.log, x)
    with pytest.raises(ShapeError, match="clamp needs"):
        af.clamp(x)
    with pytest.raises(ShapeError, match="rounding_mode"):
        af.div(x, x, rounding_mode="up")


# ---------------------------------------------------------------- in place


IN_PLACE = [
    "neg", "abs", "sign", "reciprocal", "square", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10",
    "log1p", "sin", "cos", "tan", "tanh", "erf", "floor", "ceil", "trunc", "round", "sigmoid", "relu",
]  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_is_out_of_place_in_the_same_memory(name):
    x = numbers((2, 3), 0.2, 0.9)
    leaf = af.tensor(x, requires_grad=True)
    written = leaf * 1.0
    memory = written.array
    assert getattr(written, name + "_")() is written
    assert written.array is memory
    other = af.tensor(x, requires_grad=True)
    expected = getattr(af, name)(other * 1.0)
    np.testing.assert_array_equal(written.detach().numpy(), expected.detach().numpy())
    g = af.tensor(numbers((2, 3), seed=3))
    np.testing.assert_allclose(grad(written, leaf, g)[0].numpy(), grad(expected, other, g)[0].numpy(), rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "args", "function"),
    [
        ("add_", (2.0,), lambda x: x + 2), ("sub_", (2.0,), lambda x: x - 2), ("mul_", (2.0,), lambda x: x * 2),
        ("div_", (2.0,), lambda x: x / 2), ("pow_", (3,), lambda x: x**3), ("pow_", (2,), lambda x: x**2),
        ("clamp_", (0.3, 0.6), lambda x: af.clamp(x, 0.3, 0.6)), ("remainder_", (0.3,), lambda x: x % 0.3),
        ("fmod_", (0.3,), lambda x: af.fmod(x, 0.3)), ("fill_", (7,), lambda x: x * 0 + 7), ("zero_", (), lambda x: x * 0),
        ("copy_", (np.ones(3),), lambda x: x * 0 + 1), ("nan_to_num_", (), lambda x: x),
        ("lerp_", (np.ones(3), 0.25), lambda x: af.lerp(x, np.ones(3), 0.25)),
        ("addcmul_", (np.ones(3), np.full(3, 2.0)), lambda x: x + 2),
        ("addcdiv_", (np.ones(3), np.full(3, 2.0)), lambda x: x + 0.5),
    ],
)  # fmt: skip
def test_in_place_methods_with_arguments(name, args, function):
    x = numbers((2, 3), 0.2, 0.9)
    args = tuple(af.tensor(one) if isinstance(one, np.ndarray) else one for one in args)
    leaf, other = af.tensor(x, requires_grad=True), af.tensor(x, requires_grad=True)
    written, expected = leaf * 1.0, function(other * 1.0)
    assert getattr(written, name)(*args) is written
    np.testing.assert_allclose(written.detach().numpy(), expected.detach().numpy(), rtol=1e-14)
    if name in ("fill_", "zero_", "copy_"):
        gradient = grad(written.sum(), leaf, allow_unused=True)[0]
        assert gradient is None or not np.any(gradient.numpy())
        return
    np.testing.assert_allclose(grad(written.sum(), leaf)[0].numpy(), grad(expected.sum(), other)[0].numpy(), rtol=1e-14)


def test_in_place_keeps_the_dtype_or_raises():
    whole = af.tensor([1, 2])
    with pytest.raises(DtypeError, match="cannot be written"):
        whole.div_(2)
    with pytest.raises(DtypeError, match="cannot be written"):
        whole.exp_()
    assert whole.div_(2, rounding_mode="floor").tolist() == [0, 1]
    leaf = af.ones(2, requires_grad=True)
    with pytest.raises(InplaceError, match="leaf"):
        leaf.exp_()
    with af.no_grad():
        leaf.add_(af.ones(2), alpha=3)
    assert leaf.tolist() == [4.0, 4.0]


# ---------------------------------------------------------------- NumPy's and SciPy's front doors


@pytest.mark.parametrize(
    "name",
    ["erf", "erfc", "erfinv", "ndtr", "log_ndtr", "ndtri", "psi", "gammaln", "logit", "expit", "log_expit", "entr"],
)
def test_scipy_functions_of_tensors(name):
    x = numbers((4,), 0.1, 0.9)
    t = af.tensor(x, requires_grad=True)
    function = getattr(scipy.special, name)
    out = function(t)
    np.testing.assert_allclose(out.detach().numpy(), function(x), rtol=1e-10)
    (gradient,) = grad(out.sum(), t)
    step = 1e-6
    np.testing.assert_allclose(gradient.numpy(), (function(x + step) - function(x - step)) / (2 * step), rtol=1e-6)


def test_scipy_functions_without_a_rule_raise():
    t = af.ones(2, requires_grad=True)
    with pytest.raises(NoRuleError, match="no derivative rule"):
        scipy.special.j0(t)
    erf = np.frompyfunc(lambda x: x, 1, 1)
    erf_named = np.ufunc  # a ufunc of another package is not taken for SciPy's, whatever its name
    assert isinstance(erf, erf_named)
    with pytest.raises(NoRuleError):
        erf(t)


def test_numpy_functions_of_tensors():
    x = numbers((3,), 0.1, 2)
    t = af.tensor(x, requires_grad=True)
    for function in (
        lambda v: np.clip(v, 0.5, 1.0), lambda v: np.round(v, 1), lambda v: np.fmod(v, 0.4), lambda v: np.hypot(v, 1.0),
        np.arcsinh, np.nan_to_num, lambda v: np.power(v, 3), lambda v: np.where(v > 1, v, 0.0),
    ):  # fmt: skip
        out = function(t)
        assert out.requires_grad
        np.testing.assert_allclose(out.detach().numpy(), function(x), rtol=1e-14)
    assert bool(np.allclose(t, t))
    assert np.isclose(t, t).tolist() == [True] * 3


def test_importing_the_package_does_not_import_scipy():
    code = "import sys, autograd_ff; assert not [m for m in sys.modules if m.split('.')[0] == 'scipy']"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import autograd_ff as af; af.erf(af.ones(1)); import sys; assert 'scipy.special' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- closeness


def test_closeness():
    x = af.tensor([1.0, math.inf, math.nan])
    assert af.isclose(x, x).tolist() == [True, True, False]
    assert af.isclose(x, x, equal_nan=True).tolist() == [True, True, True]
    assert af.allclose(x, x) is False
    assert af.allclose(x, x, equal_nan=True) is True
    assert x.allclose(x + 1e-9, equal_nan=True) is True
    assert af.equal(x, x) is False
    assert af.equal(af.ones(2), af.ones(2)) is True
    assert af.equal(af.ones(2), af.ones(1)) is False
    assert af.equal(af.ones(2), af.ones(2, dtype=af.int64)) is True


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0, 1), st.floats(0, 1))
def test_isclose_is_its_formula(x, y, rtol, atol):
    assert af.isclose(af.tensor([x], dtype=af.float64), y, rtol, atol).item() == (abs(x - y) <= atol + rtol * abs(y))


# ---------------------------------------------------------------- what a node tells


def test_errors_name_the_users_line():
    x, y = af.ones(2), af.ones(3)
    for call in (lambda: af.add(x, y, alpha=2), lambda: af.lerp(x, y, 0.5), lambda: af.maximum(x, y)):
        with pytest.raises(ShapeError, match=r"test_pointwise\.py"):
            call()


def test_nodes_know_the_users_line():
    x = af.ones(2, requires_grad=True)
    for out in (af.exp(x), x.exp(), af.lerp(x, x, 0.5), af.clamp(x, 0), af.where(x > 0, af.exp, 0.0, x), x**3):
        assert out.grad_fn.site is not None
        assert out.grad_fn.site.file.endswith("test_pointwise.py")
