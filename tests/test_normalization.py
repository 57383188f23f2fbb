"""Normalisation: what it does to means and variances, PyTorch's layers and state, and the float32 form of GELU."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.engine import OPS, wrap
from autograd_ff.errors import DtypeError, ShapeError
from autograd_ff.kernels import batch_norm, gelu, layer_norm
from autograd_ff.nn import functional as F
from autograd_ff.testing import assert_gradients

SEEDS = st.integers(0, 2**32 - 1)


def numbers(shape, seed=0, scale=1.0, shift=0.0, dtype=np.float64):
    return (shift + scale * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def leaf(array):
    return af.tensor(array, requires_grad=True)


# ---------------------------------------------------------------- what normalising means


@given(SEEDS, st.floats(1e-2, 1e4), st.floats(-1e4, 1e4))
def test_layer_norm_makes_rows_of_mean_0_and_variance_1(seed, scale, shift):
    out = F.layer_norm(wrap(numbers((3, 40), seed, scale, shift)), 40, eps=0.0).array
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-9)
    np.testing.assert_allclose(out.var(-1), 1, rtol=1e-9)


@given(SEEDS, st.floats(0.1, 10), st.floats(-10, 10))
def test_layer_norm_forgets_scale_and_shift_and_rms_norm_the_scale(seed, scale, shift):
    x = numbers((4, 9), seed)
    one, two = (F.layer_norm(wrap(a), 9, eps=0.0).array for a in (x, scale * x + shift))
    np.testing.assert_allclose(one, two, atol=1e-9)
    one, two = (F.rms_norm(wrap(a), 9, eps=0.0).array for a in (x, scale * x))
    np.testing.assert_allclose(one, two, atol=1e-9)
    np.testing.assert_allclose((one**2).mean(-1), 1)


@given(SEEDS, st.sampled_from([(8, 3), (6, 3, 5), (4, 2, 3, 3)]))
def test_batch_norm_in_training_makes_channels_of_mean_0_and_variance_1(seed, shape):
    out = F.batch_norm(wrap(numbers(shape, seed, 3.0, 5.0)), None, None, training=True, eps=0.0).array
    axes = (0, *range(2, len(shape)))
    np.testing.assert_allclose(out.mean(axes), 0, atol=1e-12)
    np.testing.assert_allclose(out.var(axes), 1)


@given(SEEDS)
def test_group_norm_lies_between_layer_norm_and_instance_norm(seed):
    x = numbers((3, 6, 5), seed)
    one_group = F.group_norm(wrap(x), 1).array
    np.testing.assert_allclose(one_group, F.layer_norm(wrap(x), (6, 5)).array)
    each = F.group_norm(wrap(x), 6).array
    np.testing.assert_allclose(each, F.layer_norm(wrap(x), 5).array)
    halves = F.group_norm(wrap(x), 2).array
    np.testing.assert_allclose(halves[:, 3:], F.layer_norm(wrap(x[:, 3:].copy()), (3, 5)).array)


@pytest.mark.parametrize("shift", [0.0, 1e3])
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "batch_norm", "group_norm"])
def test_float32_is_precise_beside_a_large_mean(name, shift):
    """Means are taken from the numbers before they are squared: nothing cancels."""
    x = numbers((64, 48), 1, 1.0, shift, np.float32)
    calls = {
        "layer_norm": lambda t: F.layer_norm(t, 48),
        "rms_norm": lambda t: F.rms_norm(t, 48, eps=1e-5),
        "batch_norm": lambda t: F.batch_norm(t, None, None, training=True),
        "group_norm": lambda t: F.group_norm(t, 4),
    }
    mine, exact = calls[name](wrap(x)), calls[name](wrap(x.astype(np.float64)))
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine.array, exact.array, atol=3e-6 if shift == 0 else 2e-4)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, w, b: F.layer_norm(x, (4,), w, b),
        lambda x, w, b: F.rms_norm(x, (4,), w) + b,
        lambda x, w, b: F.group_norm(x, 2, w, b),
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: F.batch_norm(x, af.zeros(4), af.full((4,), 2.0), w, b, training=False),
    ],
    ids=["layer_norm", "rms_norm", "group_norm", "batch_norm", "batch_norm evaluating"],
)
@pytest.mark.parametrize("order", [1, 2])
def test_gradients(fn, order):
    inputs = [leaf(numbers(shape, seed)) for seed, shape in enumerate([(5, 4), (4,), (4,)])]
    assert_gradients(fn, tuple(inputs), order=order)


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4)])
def test_kernels_in_several_chunks(monkeypatch, shape):
    """Arrays larger than a chunk give what small ones give, whatever is left for the last chunk."""
    x, g = numbers(shape, 1), wrap(numbers(shape, 2))
    width = shape[-1]
    inputs = [leaf(x), leaf(numbers(width, 3)), leaf(numbers(width, 4))]
    by_channel = [leaf(x), leaf(numbers(3, 3)), leaf(numbers(3, 4)), None, None]

    def everything():
        found = []
        for op, arguments in (("layer_norm", inputs), ("rms_norm", inputs[:2]), ("batch_norm", by_channel)):
            out = OPS[op](*arguments)
            tracked = [one for one in arguments if one is not None]
            found += [out, *af.autograd.grad(out, tracked, g)]
        return [one.detach().array for one in found]

    whole = everything()
    for module in (layer_norm, batch_norm):
        monkeypatch.setattr(module, "CHUNK", 2 * width)
    for one, two in zip(whole, everything(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-13)


def test_batch_statistics_given_and_found_are_the_same():
    x, weight = leaf(numbers((6, 3, 2))), leaf(numbers(3, 1))
    mean, var = OPS["batch_statistics"](x)
    np.testing.assert_allclose(mean.array, x.array.mean((0, 2)))
    np.testing.assert_allclose(var.array, x.array.var((0, 2)))
    assert not mean.requires_grad
    g = wrap(numbers((6, 3, 2), 2))
    results = []
    for statistics in ((None, None), (mean, var)):
        out = OPS["batch_norm"](x, weight, None, *statistics)
        results.append([out.array, *(one.array for one in af.autograd.grad(out, [x, weight], g))])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_empty_inputs(shape):
    x = leaf(np.zeros(shape))
    layer = nn.LayerNorm(4, dtype=af.float64)
    out = layer(x)
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape
    assert layer.weight.grad.tolist() == [0.0] * 4
    empty = nn.BatchNorm1d(4)
    assert empty(af.zeros(0, 4)).shape == (0, 4)
    assert empty.running_mean.tolist() == [0.0] * 4


def test_what_is_not_contiguous():
    x = numbers((4, 6))
    out = F.layer_norm(wrap(x.T), 4)
    np.testing.assert_allclose(out.array, F.layer_norm(wrap(x.T.copy()), 4).array)
    columns = leaf(x)
    F.batch_norm(columns.t(), None, None, training=True).sum().backward()  # a gradient of stride 0
    np.testing.assert_allclose(columns.grad.array, 0, atol=1e-12)


def test_rows_of_equal_numbers():
    out = F.layer_norm(af.full((2, 3), 7.0), 3)
    assert np.array_equal(out.array, np.zeros((2, 3)))
    x = leaf(np.full((2, 3), 7.0))
    F.layer_norm(x, 3).backward(wrap(numbers((2, 3))))
    assert np.isfinite(x.grad.array).all()


def test_not_a_number_stays_in_its_row():
    x = numbers((3, 4))
    x[1, 2] = math.nan
    out = F.layer_norm(wrap(x), 4).array
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[[0, 2]]).all()


# ---------------------------------------------------------------- layers


def test_parameters_buffers_and_reprs_are_pytorchs():
    assert repr(nn.LayerNorm(4)) == "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)"
    assert repr(nn.RMSNorm((2, 3))) == "RMSNorm((2, 3), eps=None, elementwise_affine=True)"
    assert repr(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"
    expected = "BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
    assert repr(nn.BatchNorm1d(4)) == expected
    assert list(nn.LayerNorm(4).state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"]
    assert list(nn.LayerNorm(4, elementwise_affine=False).state_dict()) == []
    assert list(nn.RMSNorm(4).state_dict()) == ["weight"]
    assert list(nn.BatchNorm1d(4, affine=False, track_running_stats=False).state_dict()) == []
    buffers = dict(nn.BatchNorm1d(4).named_buffers())
    assert buffers["running_mean"].tolist() == [0.0] * 4
    assert buffers["running_var"].tolist() == [1.0] * 4
    assert buffers["num_batches_tracked"].item() == 0
    assert buffers["num_batches_tracked"].dtype == np.int64
    assert nn.LayerNorm(3, dtype=af.float64).weight.tolist() == [1.0] * 3
    assert nn.BatchNorm1d(3, dtype=af.float64).running_mean.dtype == np.float64


LAYERS = [
    ("LayerNorm", (5,), {}, (4, 5)),
    ("LayerNorm", ((3, 5),), {"bias": False}, (4, 3, 5)),
    ("LayerNorm", (5,), {"elementwise_affine": False, "eps": 0.1}, (4, 5)),
    ("RMSNorm", (5,), {}, (4, 5)),
    ("RMSNorm", ((3, 5),), {"eps": 0.1}, (4, 3, 5)),
    ("GroupNorm", (2, 6), {}, (4, 6, 5)),
    ("GroupNorm", (2, 10), {"affine": False}, (4, 10)),
    ("BatchNorm1d", (5,), {}, (4, 5)),
    ("BatchNorm1d", (5,), {"momentum": None}, (4, 5, 3)),
    ("BatchNorm1d", (5,), {"affine": False, "momentum": 0.5, "eps": 0.1}, (4, 5)),
    ("BatchNorm1d", (5,), {"track_running_stats": False}, (4, 5, 3)),
]


@pytest.mark.torch
@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
def test_layers_as_pytorch(name, args, kwargs, shape):
    """Three steps of training, then evaluation: outputs, gradients and the whole state."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for seed, (key, value) in enumerate(theirs.state_dict().items()):
        if value.is_floating_point():
            value.copy_(torch.tensor(0.5 + np.random.default_rng(seed).random(value.shape)))
            assert ours.state_dict()[key].shape == tuple(value.shape)
    ours.load_state_dict({key: value.numpy().copy() for key, value in theirs.state_dict().items()})
    for step in range(4):
        if step == 3:
            ours.eval()
            theirs.eval()
        x = numbers(shape, step, 2.0, 1.0, np.float32)
        g = numbers(shape, step + 10, dtype=np.float32)
        mine, other = leaf(x), torch.tensor(x, requires_grad=True)
        ours.zero_grad()
        theirs.zero_grad()
        out, expected = ours(mine), theirs(other)
        out.backward(wrap(g))
        expected.backward(torch.tensor(g))
        close = {"rtol": 2e-5, "atol": 2e-6}
        np.testing.assert_allclose(out.detach().array, expected.detach().numpy(), **close)
        np.testing.assert_allclose(mine.grad.array, other.grad.numpy(), **close)
        for (key, parameter), (_, twin) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            np.testing.assert_allclose(parameter.grad.array, twin.grad.numpy(), err_msg=key, **close)
        for key, value in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), err_msg=key, **close)


def test_running_statistics():
    layer = nn.BatchNorm1d(2, momentum=0.25, dtype=af.float64)
    memory = layer.running_mean.array
    x = numbers((8, 2), 0, 2.0, 3.0)
    layer(wrap(x))
    np.testing.assert_allclose(layer.running_mean.array, 0.25 * x.mean(0))
    np.testing.assert_allclose(layer.running_var.array, 0.75 + 0.25 * x.var(0, ddof=1))
    assert layer.running_mean.array is memory
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    before = layer.running_mean.tolist()
    single = layer(wrap(x[:1]))
    np.testing.assert_allclose(single.array, layer(wrap(x)).array[:1])
    assert layer.running_mean.tolist() == before
    assert layer.num_batches_tracked.item() == 1
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0.0, 0.0]
    assert layer.running_var.tolist() == [1.0, 1.0]
    assert layer.num_batches_tracked.item() == 0


def test_without_momentum_the_running_mean_is_that_of_all_batches():
    layer = nn.BatchNorm1d(3, momentum=None, dtype=af.float64)
    batches = [numbers((6, 3), seed) for seed in range(5)]
    for batch in batches:
        layer(wrap(batch))
    np.testing.assert_allclose(layer.running_mean.array, np.mean([one.mean(0) for one in batches], axis=0))
    np.testing.assert_allclose(layer.running_var.array, np.mean([one.var(0, ddof=1) for one in batches], axis=0))


def test_float16_keeps_its_statistics_in_float32():
    x = (1000 + numbers((64, 3))).astype(np.float16)
    layer = nn.BatchNorm1d(3, momentum=1.0)
    out = layer(wrap(x))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(layer.running_mean.array, wide.mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var.array, wide.var(0, ddof=1), rtol=1e-3)
    expected = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
    np.testing.assert_allclose(out.detach().array, expected, atol=5e-3)


def test_every_parameter_of_a_network_with_norms_checks():
    af.manual_seed(0)
    for norm in (nn.LayerNorm(6), nn.RMSNorm(6), nn.BatchNorm1d(6), nn.GroupNorm(2, 6)):
        model = nn.Sequential(nn.Linear(4, 6), norm, nn.Tanh(), nn.Linear(6, 2)).double()
        assert_gradients(model, wrap(numbers((5, 4))), lambda out: (out * out).sum())


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.layer_norm(af.ones(2, 3), (4,)), r"\(4,\).*\(2, 3\)"),
        (lambda: F.layer_norm(af.ones(2, 4, 3), (4,)), r"movedim\(1, -1\)"),
        (lambda: F.layer_norm(af.ones(2, 12), (3, 4)), r"unflatten\(-1, \(3, 4\)\)"),
        (lambda: F.layer_norm(af.ones(2, 3), (3,), af.ones(2)), r"weight has shape \(2,\)"),
        (lambda: F.layer_norm(af.ones(2, 3), ()), "normalized_shape"),
        (lambda: F.rms_norm(af.ones(3), 4), r"rms_norm over \(4,\)"),
        (lambda: F.group_norm(af.ones(2, 5), 2), "5 channels"),
        (lambda: F.group_norm(af.ones(5), 1), r"\(N, C, …\)"),
        (lambda: F.group_norm(af.ones(1, 2), 2), "one number a group"),
        (lambda: F.batch_norm(af.ones(3), None, None, training=True), "unsqueeze"),
        (lambda: F.batch_norm(af.ones(1, 3), None, None, training=True), "more than one number"),
        (lambda: F.batch_norm(af.ones(2, 3), None, None), "needs running_mean"),
        (lambda: F.batch_norm(af.ones(2, 3), af.ones(2), af.ones(3)), r"running_mean has shape \(2,\)"),
        (lambda: nn.BatchNorm1d(3)(af.ones(2, 4)), r"BatchNorm1d\(3\).*\(2, 4\)"),
        (lambda: nn.BatchNorm1d(3)(af.ones(2, 3, 1, 1)), r"\(N, 3, L\)"),
        (lambda: nn.BatchNorm1d(0), "num_features"),
        (lambda: nn.GroupNorm(3, 4), "4 channels"),
        (lambda: nn.LayerNorm(-1), "normalized_shape"),
    ],
)
def test_errors_say_what_clashes_and_where(call, message):
    with pytest.raises(ShapeError, match=message) as caught:
        call()
    assert "test_normalization.py" in str(caught.value)


def test_the_input_must_be_a_tensor():
    with pytest.raises(DtypeError, match="must be a Tensor"):
        F.layer_norm(np.ones((2, 3)), 3)


def test_a_batch_that_was_refused_leaves_no_trace():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ShapeError):
        layer(af.ones(1, 3))
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_mean.tolist() == [0.0] * 3


# ---------------------------------------------------------------- GELU in float32


def of_float32(function, x):
    """A kernel function of float32 numbers, as many as it takes for the chunks."""
    many = np.resize(x, max(x.size, gelu.FEWEST)).astype(np.float32)
    return function(many)[: x.size].astype(np.float64)


def distribution_error(x):
    """The error of Φ = gelu(x) / x that the kernel makes, in float64."""
    return of_float32(gelu.forward, x) / x - ndtr(x)


def test_gelu_in_float32_is_exact_to_rounding():
    x = np.linspace(-15, 15, 400_000).astype(np.float32).astype(np.float64)
    x = x[x != 0]
    error = np.abs(distribution_error(x))
    assert error.max() <= 2 * np.spacing(np.float32(1.0))  # of erf, between -1 and 1, two of its last places
    relative = error / np.maximum(ndtr(x), 1e-300)
    assert relative[x >= -1].max() <= 4e-7
    assert relative[x >= -7].max() <= 7e-5
    slope = of_float32(lambda a: gelu.backward(np.ones_like(a), a)[0], x)
    exact = ndtr(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    assert np.abs(slope - exact).max() <= 3 * np.spacing(np.float32(1.0))


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 5), st.booleans())
def test_gelu_by_chunks_is_gelu(seed, chunks, transposed):
    """Whatever size is left for the last chunk; strided input and gradient too."""
    rows = 1 + np.random.default_rng(seed).integers(0, 60)
    x = numbers((rows, gelu.FEWEST // rows + 1), seed, 2.0, dtype=np.float32)
    g = numbers(x.shape, seed + 1, dtype=np.float32)
    if transposed:
        x, g = x.T, g.T
    size = gelu.CHUNK
    try:
        gelu.CHUNK = x.size // chunks + 1
        out, (gradient,) = gelu.forward(x), gelu.backward(g, x)
    finally:
        gelu.CHUNK = size
    wide = x.astype(np.float64)
    np.testing.assert_allclose(out, gelu.definition(wide), rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(gradient, gelu.backward(g, wide)[0], rtol=2e-4, atol=2e-6)
    assert out.dtype == gradient.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_at_infinity_is_its_limit(dtype):
    x = np.resize(np.array([math.inf, -math.inf, math.nan, 1e30, -1e30, 0.0], dtype), 6 * gelu.FEWEST)
    out, slope = gelu.forward(x)[:6], gelu.backward(np.ones_like(x), x)[0][:6]
    np.testing.assert_allclose(out, [math.inf, 0, math.nan, dtype(1e30), 0, 0], atol=1e-30)
    np.testing.assert_allclose(slope, [1, 0, math.nan, 1, 0, 0.5], atol=1e-30)
    empty = np.zeros((0, 3), dtype)
    assert gelu.forward(empty).shape == gelu.backward(empty, empty)[0].shape == (0, 3)
