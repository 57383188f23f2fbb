"""Layers, activations and losses as modules: defaults, reprs, errors, and PyTorch's results where it is installed."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import AutogradError, DtypeError, ShapeError
from autograd_ff.nn import functional as F

# ---------------------------------------------------------------- Linear


@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.lists(st.integers(0, 3), max_size=3))
def test_linear_is_an_affine_map(fan_in, fan_out, bias, lead):
    layer = nn.Linear(fan_in, fan_out, bias=bias, dtype=af.float64)
    x = np.random.default_rng(0).standard_normal((*lead, fan_in))
    expected = x @ layer.weight.array.T + (layer.bias.array if bias else 0)
    out = layer(af.from_numpy(x))
    assert out.shape == (*lead, fan_out)
    assert np.allclose(out.array, expected)


def test_linear_states_its_shape_and_dtype():
    layer = nn.Linear(3, 2)
    assert repr(layer) == "Linear(in_features=3, out_features=2, bias=True)"
    assert (layer.weight.shape, layer.bias.shape) == ((2, 3), (2,))
    assert layer.weight.dtype == np.float32
    assert nn.Linear(3, 2, dtype="float64").weight.dtype == np.float64
    without = nn.Linear(3, 2, bias=False)
    assert without.bias is None
    assert list(without.state_dict()) == ["weight"]
    assert repr(without).endswith("bias=False)")
    assert nn.Linear(0, 2)(af.ones(4, 0)).shape == (4, 2)


@pytest.mark.parametrize("fan_in", [1, 30, 2000])
def test_linear_starts_in_pytorchs_uniform(fan_in):
    af.manual_seed(0)
    layer = nn.Linear(fan_in, 60_000 // fan_in + 500)
    bound = 1 / math.sqrt(fan_in)
    for parameter in layer.parameters():
        values = parameter.array
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.99 * bound
        spread = 4 * bound / math.sqrt(3 * values.size)  # four standard errors of the mean
        assert abs(values.mean()) < spread
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_the_same_seed_makes_the_same_layer():
    def make(seed):
        af.manual_seed(seed)
        return nn.Linear(4, 4).weight.tolist()

    assert make(1) == make(1)
    assert make(1) != make(2)


def test_images_that_were_not_flattened_are_told_how():
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU())
    with pytest.raises(ShapeError, match=r"x\.flatten\(1\)") as caught:
        model(af.zeros(64, 1, 28, 28))
    message = str(caught.value)
    assert "784" in message
    assert "28, 28" in message
    assert "model(af.zeros(64, 1, 28, 28))" in message
    assert nn.Sequential(nn.Flatten(), model)(af.zeros(64, 1, 28, 28)).shape == (64, 128)


def test_a_replaced_weight_is_used():
    layer = nn.Linear(2, 2, bias=False)
    del layer.weight
    layer.weight = af.eye(2) * 3
    assert layer(af.ones(1, 2)).tolist() == [[3.0, 3.0]]

    class Positive(nn.Linear):
        @property
        def effective(self):
            return self.weight.abs()

        def forward(self, input):
            return F.linear(input, self.effective, self.bias)

    assert (Positive(2, 2, bias=False)(af.ones(1, 2)).array >= 0).all()


@pytest.mark.parametrize("features", [(-1, 2), (2.5, 2), (2, True), ("3", 2)])
def test_nonsense_sizes_are_refused(features):
    with pytest.raises(ShapeError, match="whole number"):
        nn.Linear(*features)


def test_layers_live_on_the_cpu():
    nn.Linear(1, 1, device="cpu")
    with pytest.raises(AutogradError, match="cuda"):
        nn.Linear(1, 1, device="cuda")
    with pytest.raises(DtypeError):
        nn.Linear(1, 1, dtype="nonsense")


def test_bilinear():
    layer = nn.Bilinear(3, 4, 5, dtype=af.float64)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 6, 3)), rng.standard_normal((2, 6, 4))
    expected = np.einsum("abi,kij,abj->abk", x, layer.weight.array, y) + layer.bias.array
    assert np.allclose(layer(af.from_numpy(x), af.from_numpy(y)).array, expected)
    assert nn.Bilinear(3, 4, 5, bias=False).bias is None
    with pytest.raises(ShapeError, match=r"\(…, 3\) and \(…, 4\)"):
        layer(af.from_numpy(y), af.from_numpy(x))
    with pytest.raises(ShapeError, match="1 or more"):
        nn.Bilinear(0, 1, 1)


# ---------------------------------------------------------------- shape


def test_flatten_unflatten_identity():
    x = af.arange(24).reshape(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Unflatten(1, (3, 1))(x).shape == (2, 3, 1, 4)
    assert af.equal(nn.Unflatten(1, (3, -1))(nn.Flatten()(x)), x)
    assert nn.Identity(54, unused=1)(x) is x
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(nn.Unflatten(1, [2, 3])) == "Unflatten(dim=1, unflattened_size=(2, 3))"


# ---------------------------------------------------------------- dropout


@given(st.floats(0, 1), st.integers(0, 2**32))
def test_dropout_zeroes_or_scales(p, seed):
    af.manual_seed(seed)
    x = af.ones(50, requires_grad=True)
    out = nn.Dropout(p)(x)
    kept = out.array != 0
    assert np.allclose(out.array[kept], 1 / (1 - p) if p < 1 else 0)
    out.sum().backward()
    assert np.array_equal(x.grad.array, out.array)  # the same mask on the way back


def test_dropout_rests_in_evaluation():
    x = af.ones(50)
    layer = nn.Dropout(0.9)
    assert not np.array_equal(layer(x).array, x.array)
    assert np.array_equal(layer.eval()(x).array, x.array)
    with pytest.raises(ShapeError, match=r"p=1\.5"):
        nn.Dropout(1.5)


# ---------------------------------------------------------------- activations

ACTIVATIONS = [
    ("ReLU", {}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("PReLU", {}),
    ("PReLU", {"num_parameters": 4, "init": 0.1}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.5}),
    ("SELU", {}),
    ("CELU", {"alpha": 2.0}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("SiLU", {}),
    ("Mish", {}),
    ("Softplus", {}),
    ("Softplus", {"beta": 3.0, "threshold": 2.0}),
    ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("ReLU6", {}),
    ("Hardswish", {}),
    ("Hardsigmoid", {}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("LogSigmoid", {}),
    ("Softsign", {}),
    ("Tanhshrink", {}),
    ("Threshold", {"threshold": 0.1, "value": 20}),
    ("GLU", {}),
    ("Softmax", {"dim": 1}),
    ("LogSoftmax", {"dim": -1}),
    ("Softmin", {"dim": 0}),
]
IN_PLACE = [
    "ReLU", "LeakyReLU", "ELU", "SELU", "CELU", "SiLU", "Mish", "Hardtanh", "ReLU6", "Hardswish", "Hardsigmoid"
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(("name", "arguments"), ACTIVATIONS)
def test_activations_are_pytorchs(name, arguments):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**arguments), getattr(torch.nn, name)(**arguments).double()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    values = np.random.default_rng(1).uniform(-4, 8, (6, 4))
    x = af.tensor(values, requires_grad=True)
    y = torch.tensor(values, requires_grad=True)
    out, expected = ours.double()(x), theirs(y)
    assert np.allclose(out.array, expected.detach().numpy(), rtol=1e-6, atol=1e-12)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert np.allclose(x.grad.array, y.grad.numpy(), rtol=1e-6, atol=1e-12)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert np.allclose(one.grad.array, other.grad.numpy())


@pytest.mark.parametrize("name", IN_PLACE)
def test_activations_in_place_write_their_input_and_differentiate_the_same(name):
    values = np.random.default_rng(2).uniform(-4, 8, 12)
    results = []
    for inplace in (False, True):
        leaf = af.tensor(values, requires_grad=True)
        x = leaf * 1.0
        out = getattr(nn, name)(inplace=inplace)(x)
        assert (out is x) == inplace
        out.sum().backward()
        results.append((out.detach().tolist(), leaf.grad.tolist()))
    assert results[0] == results[1]


@pytest.mark.torch
@pytest.mark.parametrize("name", IN_PLACE)
def test_the_reprs_of_activations_in_place_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    assert repr(getattr(nn, name)(inplace=True)) == repr(getattr(torch.nn, name)(inplace=True))


def test_prelu_has_one_slope_for_each_channel():
    layer = nn.PReLU(3)
    layer(af.full((2, 3, 5), -1.0)).sum().backward()
    assert layer.weight.grad.tolist() == [-10.0] * 3
    with pytest.raises(ShapeError, match="3 slopes"):
        layer(af.ones(2, 4))


def test_hardtanh_refuses_an_empty_range():
    with pytest.raises(ShapeError, match="min_val < max_val"):
        nn.Hardtanh(1.0, 1.0)


# ---------------------------------------------------------------- losses


def logits(rng):
    return rng.standard_normal((5, 4))


def probabilities(rng):
    weights = rng.uniform(0.1, 1, (5, 4))
    return weights / weights.sum(1, keepdims=True)


def classes(rng):
    return rng.integers(0, 4, 5)


WEIGHT = np.array([0.5, 1.0, 2.0, 0.25])
LOSSES = [
    ("MSELoss", {}, logits, logits),
    ("L1Loss", {}, logits, logits),
    ("SmoothL1Loss", {}, logits, logits),
    ("SmoothL1Loss", {"beta": 0.3}, logits, logits),
    ("HuberLoss", {}, logits, logits),
    ("HuberLoss", {"delta": 0.3}, logits, logits),
    ("BCELoss", {}, probabilities, probabilities),
    ("BCELoss", {"weight": WEIGHT}, probabilities, probabilities),
    ("BCEWithLogitsLoss", {}, logits, probabilities),
    ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT}, logits, probabilities),
    ("CrossEntropyLoss", {}, logits, classes),
    ("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.1}, logits, classes),
    ("CrossEntropyLoss", {"ignore_index": 2}, logits, classes),
    ("CrossEntropyLoss", {}, logits, probabilities),
    ("NLLLoss", {"weight": WEIGHT, "ignore_index": 1}, logits, classes),
    ("KLDivLoss", {}, logits, probabilities),
    ("KLDivLoss", {"log_target": True}, logits, logits),
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "arguments", "inputs", "targets"), LOSSES)
def test_losses_are_pytorchs(name, arguments, inputs, targets, reduction):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    values, target = inputs(rng), targets(rng)

    def build(library, convert):
        given = {key: convert(one) if isinstance(one, np.ndarray) else one for key, one in arguments.items()}
        return getattr(library, name)(reduction=reduction, **given)

    ours, theirs = build(nn, af.tensor), build(torch.nn, torch.tensor)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, y = af.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both recommend batchmean for the KL divergence
        out, expected = ours(x, af.tensor(target)), theirs(y, torch.tensor(target))
    assert out.shape == tuple(expected.shape)
    assert np.allclose(out.array, expected.detach().numpy())
    out.sum().backward()
    expected.sum().backward()
    assert np.allclose(x.grad.array, y.grad.numpy())


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss"])
def test_losses_do_not_broadcast(name):
    with pytest.raises(ShapeError, match=r"\(32, 1\)"):
        getattr(nn, name)()(af.zeros(32, 1), af.zeros(32))


def test_reductions_are_checked_when_the_loss_is_made():
    with pytest.raises(ShapeError, match="average"):
        nn.MSELoss(reduction="average")
    with pytest.raises(ShapeError, match="batchmean"):
        nn.MSELoss(reduction="batchmean")
    assert nn.KLDivLoss(reduction="batchmean").reduction == "batchmean"
    with pytest.warns(UserWarning, match="reduction"):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(UserWarning, match="reduction") as caught:
        assert nn.CrossEntropyLoss(reduce=False).reduction == "none"
    assert caught[0].filename == __file__


def test_the_weight_of_a_loss_changes_dtype_with_it():
    loss = nn.CrossEntropyLoss(weight=af.ones(3)).double()
    assert loss.weight.dtype == np.float64
    assert not list(loss.parameters())


# ---------------------------------------------------------------- a whole network


@pytest.mark.torch
def test_a_network_with_the_same_weights_computes_the_same_as_pytorchs():
    torch = pytest.importorskip("torch")

    def build(nn):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 8, bias=False), nn.Softplus(), nn.Linear(8, 3)
        )

    ours, theirs = build(nn).double(), build(torch.nn).double()
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(4)
    x, target = rng.standard_normal((7, 3, 4)), rng.integers(0, 3, 7)
    loss = nn.CrossEntropyLoss()(ours(af.tensor(x)), af.tensor(target))
    expected = torch.nn.CrossEntropyLoss()(theirs(torch.tensor(x)), torch.tensor(target))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    loss.backward()
    expected.backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert np.allclose(one.grad.array, other.grad.numpy(), rtol=1e-9, atol=1e-12), name


@pytest.mark.torch
def test_every_name_of_functional_is_pytorchs():
    torch = pytest.importorskip("torch")
    ours_only = {"flatten", "unflatten"}  # in PyTorch functions of the top level
    assert {name for name in F.__all__ if not hasattr(torch.nn.functional, name)} == ours_only - {
        name for name in ours_only if hasattr(torch.nn.functional, name)
    }
    layers_of_our_own = {
        "FeedForward", "DecoderCache", "KeyValueCache", "MixtureOfExperts", "RotaryEmbedding", "Routing", "SinusoidalPositions",
        "auxiliary_loss", "gated_hidden", "regularizers", "relu_squared", "rotary_embedding", "sinusoidal_positions",
    }  # fmt: skip
    assert {name for name in nn.__all__ if not hasattr(torch.nn, name)} == layers_of_our_own
