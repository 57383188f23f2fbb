"""Activation functions and the softmax family, beside PyTorch's and by their own properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from beside_torch import assert_agrees
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autograd_ff as af
from autograd_ff.autograd import grad
from autograd_ff.errors import DimensionError, InplaceError, ShapeError
from autograd_ff.functions import activations

SHAPES = [(), (0,), (3,), (2, 0, 3), (2, 3)]

# name in torch.nn.functional, arguments
ELEMENTWISE = [
    ("relu", {}), ("relu6", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.3}),
    ("leaky_relu", {"negative_slope": 1.5}), ("leaky_relu", {"negative_slope": -0.5}), ("elu", {}), ("elu", {"alpha": 0.7}),
    ("selu", {}), ("celu", {}), ("celu", {"alpha": 0.5}), ("gelu", {}), ("gelu", {"approximate": "tanh"}), ("silu", {}),
    ("mish", {}), ("softplus", {}), ("softplus", {"beta": 2.0}), ("softplus", {"beta": 0.5, "threshold": 1.0}),
    ("hardtanh", {}), ("hardtanh", {"min_val": -0.5, "max_val": 2.0}), ("hardsigmoid", {}), ("hardswish", {}),
    ("logsigmoid", {}), ("softsign", {}), ("tanhshrink", {}), ("threshold", {"threshold": 0.5, "value": -1.0}),
    ("sigmoid", {}),
]  # fmt: skip
IDS = [name + "".join(f"-{key}={value}" for key, value in params.items()) for name, params in ELEMENTWISE]
LOOSE = {"rtol": 1e-7, "atol": 1e-7, "order": 1}  # PyTorch's 1/6 has single precision, and no second derivative
PLACED = ["relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "hardtanh", "hardsigmoid", "hardswish"]


def numbers(shape, low=-3.0, high=3.0, seed=0):
    return np.asarray(np.random.default_rng(seed).uniform(low, high, shape))


def theirs(name):
    return getattr(pytest.importorskip("torch").nn.functional, name)


@pytest.mark.torch
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "params"), ELEMENTWISE, ids=IDS)
def test_as_pytorch(name, params, shape):
    function = getattr(activations, name)
    loose = LOOSE if name == "hardsigmoid" else {}
    assert_agrees(lambda x: function(x, **params), lambda x: theirs(name)(x, **params), numbers(shape, -5, 5), **loose)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "params"), ELEMENTWISE, ids=IDS)
def test_single_precision_as_pytorch(name, params):
    x = np.linspace(-12, 12, 401, dtype=np.float32)
    x = x[np.abs(np.abs(x) - 3) > 1e-3]
    function = getattr(activations, name)
    assert_agrees(
        lambda x: function(x, **params), lambda x: theirs(name)(x, **params), x, order=1, rtol=2e-5, atol=5e-6
    )


# relu at 0, hardtanh at ±1, relu6 at 6, hardswish and hardsigmoid at ±3, threshold at 0.5
KINKS = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0])


@pytest.mark.torch
@pytest.mark.parametrize(("name", "params"), ELEMENTWISE, ids=IDS)
def test_kinks_as_pytorch(name, params):
    function = getattr(activations, name)
    assert_agrees(lambda x: function(x, **params), lambda x: theirs(name)(x, **params), KINKS, **(LOOSE | {"order": 1}))


@pytest.mark.torch
@pytest.mark.parametrize(("name", "params"), ELEMENTWISE, ids=IDS)
def test_infinities_as_pytorch(name, params):
    torch = pytest.importorskip("torch")
    x = np.array([-math.inf, math.inf, math.nan, -800.0, 800.0])
    with np.errstate(all="ignore"):
        ours = getattr(activations, name)(af.tensor(x), **params).numpy()
    expected = theirs(name)(torch.tensor(x), **params).numpy()
    if name == "gelu":  # -inf · 0, where PyTorch says NaN for both forms
        ours, expected = ours[1:], expected[1:]
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("name", "params"), ELEMENTWISE, ids=IDS)
def test_large_numbers_do_not_warn(name, params):
    """What is finite is computed without an overflow on the way, in value and gradient (warnings are errors here)."""
    x = af.tensor([-1000.0, -100.0, -30.0, 30.0, 100.0, 1000.0], requires_grad=True)
    out = getattr(activations, name)(x, **params)
    out.sum().backward()
    assert np.isfinite(out.detach().numpy()).all()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("name", PLACED)
def test_in_place(name):
    function = getattr(activations, name)
    x = numbers((4, 3))
    leaf, other = af.tensor(x, requires_grad=True), af.tensor(x, requires_grad=True)
    written = leaf * 1.0
    memory = written.array
    assert function(written, inplace=True) is written
    assert written.array is memory
    expected = function(other * 1.0)
    np.testing.assert_array_equal(written.detach().numpy(), expected.detach().numpy())
    np.testing.assert_array_equal(grad(written.sum(), leaf)[0].numpy(), grad(expected.sum(), other)[0].numpy())
    with pytest.raises(InplaceError, match=r"test_activations\.py"):
        function(leaf, inplace=True)


def test_relu_keeps_whole_numbers():
    assert af.relu(af.tensor([-1, 0, 2])).tolist() == [0, 0, 2]
    assert af.relu(af.tensor([-1, 2])).dtype == af.int64
    assert af.tensor([-1.0, 2.0]).relu().tolist() == [0.0, 2.0]


def test_dtypes():
    for name, params in ELEMENTWISE:
        function = getattr(activations, name)
        for dtype in (af.float16, af.float32, af.float64):
            x = af.ones(3, dtype=dtype, requires_grad=True)
            out = function(x, **params)
            assert out.dtype == dtype, (name, dtype)
            assert grad(out.sum(), x)[0].dtype == dtype


@pytest.mark.torch
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 2)])
def test_glu_as_pytorch(shape, dim):
    assert_agrees(lambda x: activations.glu(x, dim), lambda x: theirs("glu")(x, dim), numbers(shape))


def test_errors():
    with pytest.raises(ShapeError, match="odd"):
        activations.glu(af.ones(3))
    with pytest.raises(DimensionError, match=r"dimension 2 .*\(2, 3\)"):
        af.softmax(af.ones(2, 3), dim=2)
    with pytest.raises(ShapeError, match="approximate"):
        activations.gelu(af.ones(2), approximate="fast")
    with pytest.raises(ShapeError, match="cannot be 0"):
        af.celu(af.ones(2), alpha=0.0)
    with pytest.raises(ShapeError, match="min_val"):
        activations.hardtanh(af.ones(2), 1.0, -1.0)


# ---------------------------------------------------------------- softmax


@pytest.mark.torch
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize(
    ("shape", "dim"), [((), 0), ((), -1), ((3,), 0), ((2, 3), 0), ((2, 3), -1), ((2, 3, 4), 1), ((0, 3), 1), ((3, 0), 1), ((2, 0), 0)]
)  # fmt: skip
def test_softmax_as_pytorch(name, shape, dim):
    function = getattr(activations, name)
    assert_agrees(lambda x: function(x, dim), lambda x: theirs(name)(x, dim), numbers(shape, -20, 20))
    assert_agrees(lambda x: function(x, dim, dtype=af.float64), lambda x: theirs(name)(x, dim, dtype=pytest.importorskip("torch").float64),
          numbers(shape, -20, 20).astype(np.float32), order=1, rtol=1e-6, atol=1e-6)  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    "row", [[1.0, -math.inf, 2.0], [-math.inf, -math.inf], [math.inf, 0.0], [1000.0, -1000.0], [-math.inf, 0.0], [math.nan, 0.0]]
)  # fmt: skip
def test_softmax_of_infinities_as_pytorch(name, row):
    function = getattr(activations, name)
    assert_agrees(lambda x: function(x, -1), lambda x: theirs(name)(x, -1), np.array([row]), order=1)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.floats(-500, 500)),
    st.integers(0, 2),
    st.floats(-1e3, 1e3),
)
def test_softmax_properties(x, dim, shift):
    dim %= x.ndim
    t = af.tensor(x)
    p = af.softmax(t, dim)
    np.testing.assert_allclose(p.numpy().sum(dim), 1.0)
    np.testing.assert_allclose(af.softmax(t + shift, dim).numpy(), p.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.exp(af.log_softmax(t, dim).numpy()), p.numpy(), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(activations.softmin(-t, dim).numpy(), p.numpy(), rtol=1e-12)


def test_softmax_without_a_dimension_warns():
    x = af.tensor(numbers((2, 3)))
    for name in ("softmax", "log_softmax", "softmin"):
        with pytest.warns(UserWarning, match="dim=") as caught:
            implicit = getattr(activations, name)(x)
        assert caught[0].filename == __file__
        np.testing.assert_array_equal(implicit.numpy(), getattr(activations, name)(x, 1).numpy())
    assert x.softmax(0).shape == x.log_softmax(dim=1).shape == (2, 3)


# ---------------------------------------------------------------- by their own properties


@given(hnp.arrays(np.float64, 5, elements=st.floats(-300, 300)))
def test_identities(x):
    t = af.tensor(x)
    with np.errstate(all="ignore"):
        softplus = activations.softplus(t, threshold=math.inf).numpy()
    np.testing.assert_allclose(softplus, np.logaddexp(0, x), rtol=1e-12, atol=0)
    np.testing.assert_allclose(activations.logsigmoid(-t).numpy(), -np.logaddexp(0, x), rtol=1e-12, atol=0)
    np.testing.assert_allclose(af.sigmoid(t).numpy() + af.sigmoid(-t).numpy(), 1.0, rtol=1e-15)
    np.testing.assert_allclose(af.relu(t).numpy() - af.relu(-t).numpy(), x)
    np.testing.assert_allclose(activations.silu(t).numpy(), x * af.sigmoid(t).numpy(), rtol=1e-12)
    elu = activations.elu(t).numpy()
    np.testing.assert_allclose(elu, np.where(x > 0, x, np.expm1(np.minimum(x, 0))), rtol=1e-12)
    np.testing.assert_allclose(
        af.selu(t).numpy(), 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * elu), rtol=1e-12
    )


def test_selu_keeps_mean_and_variance():
    """Its constants make N(0, 1) a fixed point: checked by numeric integration."""
    x, step = np.linspace(-12, 12, 200_001, retstep=True)
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * step
    y = af.selu(af.tensor(x)).numpy()
    assert abs((y * density).sum()) < 1e-6
    assert abs((y * y * density).sum() - 1) < 1e-6


def test_observers_see_one_op():
    class Names(af.engine.Observer):
        def __init__(self):
            self.names = []

        def op(self, op, inputs, params, outputs, node, scope):
            self.names.append(op.name)

    seen = Names()
    x = af.ones(3, requires_grad=True)
    with af.engine.observe(seen):
        total = sum(getattr(activations, name)(x).sum() for name in ("silu", "mish", "gelu", "softplus"))
        (x**3).sum()
    assert [name for name in seen.names if name not in ("sum", "add")] == [
        "silu",
        "mish",
        "gelu",
        "softplus",
        "power_scalar",
    ]
    seen.names.clear()
    with af.engine.observe(seen):
        total.backward()
    assert seen.names == []  # rules on arrays are not ops
