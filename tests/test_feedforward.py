"""The family of feedforward blocks: formulas, other libraries' formulas and names, gradients, compiling."""

from __future__ import annotations

import copy
import importlib.util
import math
import pickle

import numpy as np
import pytest
import scipy.special
from compile_cases import World, check_twins
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import ModuleError, ShapeError, StateDictError
from autograd_ff.nn import functional as F
from autograd_ff.nn.feedforward import ACTIVATIONS, GATES, LAYOUTS
from autograd_ff.testing import assert_gradients, gradcheck

FORMULAS = {
    "relu": lambda u: np.maximum(u, 0),
    "gelu": lambda u: u * scipy.special.ndtr(u),
    "gelu_tanh": lambda u: 0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))),
    "silu": lambda u: u * scipy.special.expit(u),
    "relu2": lambda u: np.maximum(u, 0) ** 2,
    "sigmoid": scipy.special.expit,
    "tanh": np.tanh,
    "identity": lambda u: u,
}
NAMES = [*ACTIVATIONS, *GATES]
VARIANTS = [(name, gated) for name in ACTIVATIONS for gated in (False, True)] + [(name, None) for name in GATES]


def double(block):
    """The block in float64, all parameters away from what they start at."""
    block = block.double()
    generator = np.random.default_rng(1)
    with af.no_grad():
        for parameter in block.parameters():
            parameter.copy_(af.tensor(generator.standard_normal(parameter.shape) * 0.5))
    return block


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def normalised(block, x):
    weight, norm = block.norm.weight.detach().numpy(), block.norm
    if isinstance(norm, nn.RMSNorm):
        eps = np.finfo(x.dtype).eps if norm.eps is None else norm.eps
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.eps) * weight
    return y if norm.bias is None else y + norm.bias.detach().numpy()


def reference(block, x, activation, gated):
    """The block in evaluation, in NumPy."""

    def linear(layer, x):
        return x @ layer.weight.detach().numpy().T + (0 if layer.bias is None else layer.bias.detach().numpy())

    before = x
    if block.norm is not None and block.pre_norm:
        x = normalised(block, x)
    function = FORMULAS[GATES.get(activation, activation)]
    inner = function(linear(block.gate, x)) * linear(block.up, x) if gated else function(linear(block.up, x))
    out = linear(block.down, inner)
    if block.residual:
        out = before + out
    return normalised(block, out) if block.norm is not None and not block.pre_norm else out


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_formula(data):
    def draw(*options):
        return data.draw(st.sampled_from(options))

    activation, gated = draw(*VARIANTS)
    block = nn.FeedForward(
        draw(1, 3, 6), draw(1, 5), activation, gated, draw(True, False), draw(0.0, 0.5), draw(None, "layer", "rms"),
        draw(True, False), draw(True, False), draw(0.0, 0.5), draw(None, 1e-3),
    )  # fmt: skip
    block = double(block).eval()
    x = numbers(*data.draw(st.lists(st.integers(0, 3), max_size=2)), block.width)
    out = block(af.tensor(x))
    expected = reference(block, x, activation, gated or activation in GATES)
    assert out.shape == x.shape
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("activation", "gated"), VARIANTS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False, "norm": "rms", "residual": True, "norm_eps": 1e-5},
        {"norm": "layer", "pre_norm": False, "residual": True},
        {"dropout": 0.4, "residual_dropout": 0.3, "residual": True},
    ],
    ids=["plain", "pre", "post", "dropout"],
)
def test_gradients(activation, gated, options):
    block = double(nn.FeedForward(3, 5, activation, gated, **options))
    x = af.tensor(numbers(4, 3, seed=2), requires_grad=True)
    weights = af.tensor(numbers(4, 3, seed=3))
    report = gradcheck(block, (x,), lambda out: (out * weights).sum(), frozen=True)
    assert report.passed, str(report)
    assert {entry.input for entry in report.entries} >= {name for name, _ in block.named_parameters()}


def test_second_derivatives():
    block = double(nn.FeedForward(2, 3, "swiglu", norm="rms", norm_eps=1e-3, residual=True))
    assert_gradients(lambda x: block(x), (af.tensor(numbers(3, 2), requires_grad=True),), order=2)


def test_kink_of_the_rectifier():
    block = nn.FeedForward(1, 1, "relu", bias=False).double()
    report = gradcheck(block, (af.tensor([[0.0]], dtype=af.float64, requires_grad=True),), lambda out: out.sum())
    assert report.verdict == "KINK", str(report)
    smooth = nn.FeedForward(1, 1, "relu2", bias=False).double()
    report = gradcheck(smooth, (af.tensor([[0.3]], dtype=af.float64, requires_grad=True),), lambda out: out.sum())
    assert report.passed, str(report)


def test_dropout_between_the_maps_and_after_them():
    """In training each is the inverted dropout of its place, and two calls draw anew."""
    af.manual_seed(0)
    block = nn.FeedForward(4, 1000, "identity", bias=False, dropout=0.25)
    with af.no_grad():
        block.up.weight.fill_(0.25)
        block.down.weight.fill_(1.0)
    x = af.ones(1, 4)
    out, again = block(x), block(x)
    assert abs(out[0, 0].item() - 1000) < 100  # the expectation, 1000, ± 5.5 deviations
    assert len(set(out[0].tolist())) == 1  # the hidden features were dropped, those of the result were not
    assert out[0, 0].item() != again[0, 0].item()
    assert block.eval()(x)[0, 0].item() == pytest.approx(1000)

    after = nn.FeedForward(4, 8, "relu", residual_dropout=0.5, residual=True)
    with af.no_grad():
        after.down.bias.fill_(1e3)
    kept = (after(af.ones(100, 4)) > 500).float().mean().item()
    assert 0.3 < kept < 0.7  # those that were dropped are the input


# ---------------------------------------------------------------- sizes


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20000), st.integers(1, 512))
def test_gated_hidden(hidden, multiple):
    """The formula of LLaMA's published code."""
    found = nn.gated_hidden(hidden, multiple)
    inner = max(1, int(2 * hidden / 3))
    assert found == multiple * ((inner + multiple - 1) // multiple)


@pytest.mark.parametrize("width", [3, 48, 64, 100])
@pytest.mark.parametrize("gate", GATES)
def test_gated_blocks_have_as_many_parameters(width, gate):
    plain, gated = (
        sum(one.numel() for one in nn.FeedForward(width, activation=name, bias=False).parameters())
        for name in ("relu", gate)
    )
    assert plain == 8 * width**2
    assert 0 <= plain - gated < 3 * width  # less than one hidden feature


@pytest.mark.parametrize("arguments", [(0,), (True,), (2.5,), (6, 0)])
def test_gated_hidden_of_nonsense(arguments):
    with pytest.raises(ShapeError, match="whole number"):
        nn.gated_hidden(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"activation": "swish"}, ModuleError, "'swish' is not known; known are relu, .*swiglu"),
        ({"activation": "geglu", "gated": False}, ModuleError, 'activation="gelu"'),
        ({"norm": "batch"}, ModuleError, '"layer", "rms" or None'),
        ({"dropout": 1.5}, ShapeError, "between 0 and 1"),
        ({"hidden": -1}, ShapeError, "whole number"),
    ],
)
def test_what_cannot_be(options, error, message):
    with pytest.raises(error, match=message) as caught:
        nn.FeedForward(4, **options)
    assert "test_feedforward.py" in str(caught.value)


def test_wrong_width_names_the_layer():
    with pytest.raises(ShapeError, match=r"5"):
        nn.FeedForward(4)(af.ones(2, 5))


def test_a_function_of_ones_own():
    block = double(nn.FeedForward(3, 4, F.mish, gated=True))
    x = af.tensor(numbers(2, 3))
    assert af.allclose(block(x), block.down(F.mish(block.gate(x)) * block.up(x)))
    assert "activation='mish', gated=True" in repr(block)
    assert "activation='swiglu')" in repr(nn.FeedForward(3, 4, "swiglu")).splitlines()[1] + ")"


def test_blocks_are_copied_and_pickled():
    block = nn.FeedForward(3, 4, "geglu", norm="layer")
    x = af.rand(2, 3)
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert af.equal(block(x), other(x))


# ---------------------------------------------------------------- other libraries


@pytest.mark.torch
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_beside_torch(data):
    """LLaMA's, GPT-2's and the plain formulas in PyTorch: values and gradients of all parameters and the input."""
    torch = pytest.importorskip("torch")
    TF = torch.nn.functional
    theirs = {
        "relu": TF.relu, "gelu": TF.gelu, "gelu_tanh": lambda u: TF.gelu(u, approximate="tanh"), "silu": TF.silu,
        "relu2": lambda u: TF.relu(u) ** 2, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "identity": lambda u: u,
    }  # fmt: skip
    activation, gated = data.draw(st.sampled_from(VARIANTS))
    block = double(nn.FeedForward(4, 6, activation, gated, data.draw(st.booleans()))).float()
    weights = {name: torch.tensor(one.numpy(), requires_grad=True) for name, one in block.state_dict().items()}
    x = numbers(3, 4).astype(np.float32)
    ours, other = af.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)

    def linear(name, x):
        return TF.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    function = theirs[GATES.get(activation, activation)]
    inner = function(linear("gate", other)) * linear("up", other) if block.gated else function(linear("up", other))
    expected = linear("down", inner)
    out = block(ours)
    (out * out).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    pairs = {"input": (ours, other)} | {name: (one, weights[name]) for name, one in block.named_parameters()}
    for name, (mine, reference) in pairs.items():
        scale = max(1.0, reference.grad.abs().max().item())
        np.testing.assert_allclose(
            mine.grad.numpy(), reference.grad.numpy(), rtol=1e-3, atol=1e-5 * scale, err_msg=name
        )


@pytest.mark.torch
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_block_of_torchs_encoder_layer(norm_first, bias):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", norm_first=norm_first, bias=bias)
    with torch.no_grad():
        layer.norm2.weight.normal_()
    block = nn.FeedForward(4, 8, "gelu", bias=bias, norm="layer", pre_norm=norm_first, residual=True)
    block.load_from(layer.state_dict(), "pytorch")
    x = torch.randn(5, 4)
    expected = x + layer._ff_block(layer.norm2(x)) if norm_first else layer.norm2(x + layer._ff_block(x))
    np.testing.assert_allclose(block(af.tensor(x.numpy())).detach().numpy(), expected.detach().numpy(), 1e-4, 1e-5)


OF_LAYOUT = {
    "pytorch": {"norm": "layer"},
    "bert": {"norm": "layer"},
    "gpt2": {"activation": "gelu_tanh", "norm": "layer"},
    "llama": {"activation": "swiglu", "bias": False, "norm": "rms"},
    "t5": {"activation": "gelu_tanh", "gated": True, "bias": False, "norm": "rms"},
    "mixtral": {"activation": "swiglu", "bias": False},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_lead_there_and_back(layout):
    one, other = (nn.FeedForward(3, 5, **OF_LAYOUT[layout]) for _ in range(2))
    state = {**one.state_as(layout, "layers.7."), "layers.7.attention.weight": af.ones(1)}
    assert set(LAYOUTS[layout].values()) == {name[len("layers.7.") :].rpartition(".")[0] for name in state} - {
        "attention"
    }
    assert state[f"layers.7.{LAYOUTS[layout]['up']}.weight"].shape == ((3, 5) if layout == "gpt2" else (5, 3))
    other.load_from(state, layout, "layers.7.")
    for name, value in one.state_dict().items():
        assert af.equal(value, other.state_dict()[name]), name
    with pytest.raises(StateDictError, match=r"none of which begins with 'layers\.8\.'"):
        other.load_from(state, layout, "layers.8.")


def test_hugging_faces_names():
    """Written out once from the models' checkpoints, so that the tables above are not only held to themselves."""
    names = {
        "llama": "model.layers.0.mlp.gate_proj.weight model.layers.0.mlp.up_proj.weight model.layers.0.mlp.down_proj.weight "
        "model.layers.0.post_attention_layernorm.weight",
        "gpt2": "h.0.mlp.c_fc.weight h.0.mlp.c_fc.bias h.0.mlp.c_proj.weight h.0.mlp.c_proj.bias h.0.ln_2.weight h.0.ln_2.bias",
        "bert": "encoder.layer.0.intermediate.dense.weight encoder.layer.0.intermediate.dense.bias "
        "encoder.layer.0.output.dense.weight encoder.layer.0.output.dense.bias "
        "encoder.layer.0.output.LayerNorm.weight encoder.layer.0.output.LayerNorm.bias",
    }
    prefixes = {"llama": "model.layers.0.", "gpt2": "h.0.", "bert": "encoder.layer.0."}
    for layout, listed in names.items():
        block = nn.FeedForward(3, 5, **OF_LAYOUT[layout])
        assert set(block.state_as(layout, prefixes[layout])) == set(listed.split())


def test_layouts_that_do_not_fit():
    block = nn.FeedForward(3, 5, "swiglu")
    with pytest.raises(ModuleError, match="no place for gate"):
        block.state_as("bert")
    with pytest.raises(ModuleError, match="'gpt5' is not known"):
        block.state_as("gpt5")
    with pytest.raises(StateDictError, match=r"up\.weight"):
        nn.FeedForward(3, 6).load_from(nn.FeedForward(3, 5).state_as("bert"), "bert")


def test_the_models_of_the_hub_fit():
    from autograd_ff import hub

    config = hub.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = hub.GPT2Model(config).eval()
    prefix = next(name for name in model.state_dict() if name.endswith("mlp.c_fc.weight")).removesuffix(
        "mlp.c_fc.weight"
    )
    block = nn.FeedForward(8, 32, "gelu_tanh", norm="layer", residual=True)
    block.load_from(model.state_dict(), "gpt2", prefix)
    layer, x = model.get_submodule(prefix.rstrip(".")), af.rand(2, 3, 8)
    assert af.allclose(block(x), x + layer.mlp(layer.ln_2(x)), atol=1e-6)


# ---------------------------------------------------------------- compiling


def step_of(activation, **options):
    def make():
        model = nn.FeedForward(4, 6, activation, **options)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) - x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return World(step, model=model, optimizer=optimizer)

    return make


BATCHES = [(af.tensor(numbers(5, 4, seed=seed).astype(np.float32)),) for seed in range(5)]


@pytest.mark.parametrize("activation", NAMES)
def test_compiled_as_eagerly(activation):
    check_twins(step_of(activation, norm="rms", residual=True, dropout=0.2, residual_dropout=0.1), BATCHES)


def test_compiled_as_eagerly_after_a_layer_norm():
    check_twins(step_of("swiglu", norm="layer", pre_norm=False, residual=True, bias=False), BATCHES)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed: nothing is fused")
@pytest.mark.parametrize("activation", ["swiglu", "geglu", "relu2", "gelu"])
def test_fused(activation, tmp_path, monkeypatch):
    """What lies between the maps is computed in loops, no activation by itself; the numbers stay."""
    monkeypatch.setenv("AUTOGRAD_FF_CACHE", str(tmp_path))
    af.manual_seed(0)
    block = nn.FeedForward(16, 24, activation)
    other = copy.deepcopy(block)

    def step(block, x):
        block.zero_grad()
        loss = block(x).square().sum()
        loss.backward()
        return loss

    compiled = af.compile(lambda x: step(block, x), fast=True, threads=False)
    for seed in range(4):
        x = af.tensor(numbers(32, 16, seed=seed).astype(np.float32))
        compiled(x)
        step(other, x)
        for mine, reference in zip(block.parameters(), other.parameters(), strict=True):
            expected = reference.grad.numpy()
            np.testing.assert_allclose(mine.grad.numpy(), expected, rtol=1e-3, atol=1e-4 * abs(expected).max())
    calls = [one.name for one in compiled.plan.instructions]
    assert [name for name in calls if name != "matmul" and " + " not in name] == []
    assert len(calls) <= (14 if block.gated else 9)
