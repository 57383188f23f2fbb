"""Sparse mixtures of experts beside a dense NumPy reference: results, gradients, capacity, losses, statistics."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import CaptureError, ModuleError, ShapeError, StateDictError
from autograd_ff.testing import gradcheck


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def double(layer, seed=1):
    layer = layer.double()
    generator = np.random.default_rng(seed)
    with af.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(af.tensor(generator.standard_normal(parameter.shape) * 0.7))
    return layer


def plain(tensor):
    return tensor.detach().numpy()


def dense(layer, x, mask=None):
    """Token by token: every expert computes, and those that were not chosen count 0; also who got how many."""
    count, experts = len(x), len(layer.experts)
    everybody = [plain(expert(af.tensor(x))) for expert in layer.experts]
    logits = x @ plain(layer.router.weight).T
    used = [token for token in range(count) if mask is None or mask[token]]
    assigned = len(used) * layer.top_k
    room = math.inf
    if layer.capacity_factor is not None and layer.training:
        room = math.ceil(layer.capacity_factor * assigned / experts)
    chosen = {token: sorted(range(experts), key=lambda e: (-logits[token, e], e))[: layer.top_k] for token in used}
    out, load, taken = np.zeros_like(x), np.zeros(experts, int), np.zeros(experts, int)
    for choice in range(layer.top_k):
        for token in used:
            expert = chosen[token][choice]
            over = logits[token, chosen[token]] if layer.renormalize else logits[token]
            gate = math.exp(logits[token, expert] - scipy.special.logsumexp(over))
            load[expert] += 1
            if taken[expert] < room:
                taken[expert] += 1
                out[token] += gate * everybody[expert][token]
    return out, load, load - taken


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_equal_to_the_dense_reference(data):
    def draw(*options):
        return data.draw(st.sampled_from(options))

    experts = draw(1, 2, 3, 5)
    layer = nn.MixtureOfExperts(
        draw(1, 4), draw(1, 6), experts, data.draw(st.integers(1, experts)), draw("swiglu", "relu", "geglu"),
        bias=draw(False, True), renormalize=draw(None, True, False), capacity_factor=draw(None, 0.4, 1.0, 1.25),
    )  # fmt: skip
    layer = double(layer, data.draw(st.integers(0, 99)))
    layer.train(draw(True, True, False))
    count = draw(0, 1, 7, 20)
    x = numbers(count, layer.width, seed=data.draw(st.integers(0, 99)))
    if draw(False, True):
        x = np.round(x)  # equal tokens, and ties where they are 0
    mask = draw(None, np.arange(count) % 3 != 0, np.zeros(count, bool))
    out = layer(af.tensor(x), None if mask is None else af.tensor(mask))
    expected, load, dropped = dense(layer, x, mask)
    np.testing.assert_allclose(plain(out), expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(layer.routing.load, load)
    np.testing.assert_array_equal(layer.routing.dropped, dropped)


def test_sides_before_the_last():
    layer = nn.MixtureOfExperts(4, 5, experts=3)
    x = af.rand(2, 3, 5, 4)
    assert af.equal(layer(x), layer(x.reshape(30, 4)).reshape(2, 3, 5, 4))
    mask = af.rand(2, 3, 5) > 0.5
    assert af.equal(layer(x, mask) == 0, ~mask.unsqueeze(-1).expand(2, 3, 5, 4))
    assert layer(x[0, 0, 0]).shape == (4,)


def test_only_the_chosen_experts_compute():
    layer = nn.MixtureOfExperts(4, 5, experts=6, top_k=2)
    rows = dict.fromkeys(range(6), 0)
    for number, expert in enumerate(layer.experts):
        expert.register_forward_hook(lambda _, given, __, number=number: rows.update({number: len(given[0])}))
    x = af.rand(7, 4)
    with af.no_grad():
        layer.router.weight.copy_(af.arange(6.0).unsqueeze(1).expand(6, 4))  # of positive inputs the last two always
    layer(x).sum().backward()
    assert list(rows.values()) == layer.routing.load.tolist() == [0, 0, 0, 0, 7, 7]
    for number, expert in enumerate(layer.experts):
        assert all((one.grad is None) == (number < 4) for one in expert.parameters()), number
    optim.AdamW(layer.parameters(), weight_decay=0.1).step()  # experts without a gradient stay as they are


def test_one_token_for_one_expert():
    layer = nn.MixtureOfExperts(4, 5, experts=6, top_k=1)
    x = af.rand(1, 4)
    gate = af.softmax(layer.router(x), -1).max()
    assert af.allclose(layer(x), gate * layer.experts[int(layer.routing.index[0, 0])](x))


def test_deterministic_and_of_ties_the_first():
    layer = nn.MixtureOfExperts(3, 4, experts=4, top_k=2)
    with af.no_grad():
        layer.router.weight.zero_()
    x = af.rand(5, 3)
    assert af.equal(layer(x), layer(x))
    assert layer.routing.index.tolist() == [[0, 1]] * 5
    assert af.allclose(layer.routing.gates, af.full((5, 2), 0.5))


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 1},
        {"top_k": 3, "renormalize": False},
        {"capacity_factor": 0.8},
        {"activation": "gelu", "bias": True, "dropout": 0.3},
    ],
    ids=["two", "switch", "three", "capacity", "dropout"],
)
def test_gradients(options):
    layer = double(nn.MixtureOfExperts(3, 4, experts=3, **options))
    x = af.tensor(numbers(6, 3, seed=4), requires_grad=True)
    weights = af.tensor(numbers(6, 3, seed=3))
    report = gradcheck(layer, (x,), lambda out: (out * weights).sum(), frozen=True)
    assert report.passed, str(report)
    layer(x).sum().backward()
    if layer.renormalize or layer.top_k < 3:
        assert layer.router.weight.grad.abs().max() > 1e-6


def test_gradient_with_a_mask_and_its_padding():
    layer = double(nn.MixtureOfExperts(3, 4, experts=3))
    mask = af.tensor([True, False, True, False])
    x = af.tensor(numbers(4, 3), requires_grad=True)
    report = gradcheck(lambda x: layer(x, mask), (x,))
    assert report.passed, str(report)
    layer(x, mask).sum().backward()
    assert [bool(row.abs().sum() > 0) for row in x.grad] == mask.tolist()


def test_gradients_of_the_losses():
    layer = double(nn.MixtureOfExperts(3, 4, experts=4))
    x = af.tensor(numbers(6, 3), requires_grad=True)

    def losses(x):
        layer(x)
        return nn.auxiliary_loss(layer, 0.3, 0.2)

    report = gradcheck(losses, (x,))
    assert report.passed, str(report)


def test_second_derivatives():
    layer = double(nn.MixtureOfExperts(2, 3, experts=3))
    report = gradcheck(layer, (af.tensor(numbers(4, 2), requires_grad=True),), lambda out: (out * out).sum(), order=2)
    assert report.passed, str(report)


def test_where_the_choice_changes_is_a_kink():
    layer = double(nn.MixtureOfExperts(2, 3, experts=2, top_k=1))
    with af.no_grad():
        layer.router.weight.copy_(af.tensor([[1.0, 0.0], [0.0, 1.0]]))

    def verdict(*token):
        x = af.tensor([token], dtype=af.float64, requires_grad=True)
        return gradcheck(layer, (x,), lambda out: out.sum()).verdict

    assert verdict(0.7, 0.7) == "KINK"
    assert verdict(0.7, 0.2) == "PASS"


# ---------------------------------------------------------------- losses and statistics


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.data())
def test_the_losses_are_their_formulas(experts, data):
    top_k = data.draw(st.integers(1, experts))
    layer = double(nn.MixtureOfExperts(3, 2, experts=experts, top_k=top_k), data.draw(st.integers(0, 99)))
    x = numbers(9, 3, seed=data.draw(st.integers(0, 99)))
    mask = data.draw(st.sampled_from([np.ones(9, bool), np.arange(9) < 4]))
    layer(af.tensor(x), data.draw(st.sampled_from([None])) if mask.all() else af.tensor(mask))
    logits = x[mask] @ plain(layer.router.weight).T
    chances = scipy.special.softmax(logits, -1)
    picked = np.argsort(-logits, -1)[:, :top_k]
    share = np.bincount(picked.reshape(-1), minlength=experts) / picked.size
    np.testing.assert_allclose(layer.routing.share, share)
    balance = experts * sum(share[e] * chances[:, e].mean() for e in range(experts))
    z = np.mean(scipy.special.logsumexp(logits, -1) ** 2)
    assert layer.routing.load_balancing_loss().item() == pytest.approx(balance)
    assert layer.routing.z_loss().item() == pytest.approx(z)
    assert nn.auxiliary_loss(layer, 0.5, 0.25).item() == pytest.approx(0.5 * balance + 0.25 * z)


def test_the_balancing_loss_is_one_at_balance_and_draws_towards_it():
    af.manual_seed(0)
    layer = nn.MixtureOfExperts(4, 4, experts=4, top_k=1)
    x = af.eye(4).repeat(8, 1)
    with af.no_grad():
        layer.router.weight.copy_(10 * af.eye(4))
    layer(x)
    assert layer.routing.load.tolist() == [8] * 4
    assert layer.routing.load_balancing_loss().item() == pytest.approx(1)

    with af.no_grad():
        layer.router.weight.copy_(0.1 * af.eye(4))
        layer.router.weight[0] += 0.5  # all to one
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    layer(x)
    assert layer.routing.load.max() == 32
    assert layer.routing.load_balancing_loss().item() > 1.1
    for _ in range(100):
        optimizer.zero_grad()
        layer(x)
        nn.auxiliary_loss(layer, 1.0).backward()
        optimizer.step()
    assert layer.routing.load.max() < 32
    assert layer.routing.load_balancing_loss().item() < 1.1


def test_the_losses_of_a_model_are_summed():
    model = nn.Sequential(nn.MixtureOfExperts(3, 4, experts=2), nn.Linear(3, 3), nn.MixtureOfExperts(3, 4, experts=3))
    with pytest.raises(ModuleError, match="called yet"):
        nn.auxiliary_loss(model)
    model(af.rand(5, 3))
    each = [model[at].routing.load_balancing_loss().item() for at in (0, 2)]
    assert nn.auxiliary_loss(model, 0.1).item() == pytest.approx(0.1 * sum(each))
    assert nn.auxiliary_loss(model, 0).item() == 0
    with pytest.raises(ModuleError, match="there is no mixture"):
        nn.auxiliary_loss(model[1])


def test_a_mixture_learns_what_one_expert_cannot():
    """Four clusters, each with a linear map of its own, by linear experts: only with the right choice is it exact."""
    af.manual_seed(0)
    centres, maps = numbers(4, 6, seed=1) * 3, numbers(4, 6, 6, seed=2)
    cluster = np.arange(200) % 4
    inputs = centres[cluster] + numbers(200, 6, seed=3)
    targets = np.einsum("nij,nj->ni", maps[cluster], inputs)
    x, y = (af.tensor(one.astype(np.float32)) for one in (inputs, targets))

    def trained(experts, top_k):
        layer = nn.MixtureOfExperts(6, 6, experts, top_k, "identity", bias=True)
        optimizer = optim.Adam(layer.parameters(), lr=0.03)
        for _ in range(200):
            optimizer.zero_grad()
            loss = (layer(x) - y).square().mean()
            (loss + nn.auxiliary_loss(layer, 0.01)).backward()
            optimizer.step()
        return loss.item()

    assert trained(8, 2) < 0.5 * trained(1, 1)


# ---------------------------------------------------------------- as a module


@pytest.mark.torch
def test_beside_mixtrals_formula_in_torch():
    torch = pytest.importorskip("torch")
    layer = nn.MixtureOfExperts(8, 12, experts=4, top_k=2)
    state = {name: torch.tensor(one.numpy()) for name, one in layer.state_as("mixtral", "moe.").items()}
    x = numbers(10, 8).astype(np.float32)
    hidden = torch.tensor(x)
    routing = torch.softmax(hidden @ state["moe.gate.weight"].T, -1)
    weights, selected = torch.topk(routing, 2, -1)
    weights = weights / weights.sum(-1, keepdim=True)
    expected = torch.zeros(10, 8)
    for token in range(10):
        for gate, expert in zip(weights[token], selected[token].tolist(), strict=True):
            w1, w2, w3 = (state[f"moe.experts.{expert}.w{at}.weight"] for at in (1, 2, 3))
            one = hidden[token]
            expected[token] += gate * (w2 @ (torch.nn.functional.silu(w1 @ one) * (w3 @ one)))
    np.testing.assert_allclose(plain(layer(af.tensor(x))), expected.numpy(), rtol=1e-4, atol=1e-6)
    other = nn.MixtureOfExperts(8, 12, experts=4)
    other.load_from({**state, "moe.other": torch.ones(1)}, "mixtral", "moe.")
    assert af.equal(other(af.tensor(x)), layer(af.tensor(x)))
    with pytest.raises(StateDictError, match=r"no gate\.weight and 12 more"):
        other.load_from(state)
    with pytest.raises(ModuleError, match="'mixtral', not 'llama'"):
        other.load_from(state, "llama")


def test_copied_and_pickled_after_a_call():
    layer = nn.MixtureOfExperts(3, 4, experts=3)
    x = af.rand(5, 3)
    out = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.routing.load.tolist() == layer.routing.load.tolist()
        assert af.equal(other(x), out)
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}


def test_capacity_limits_training_alone():
    layer = nn.MixtureOfExperts(3, 4, experts=4, top_k=1, capacity_factor=1.0)
    x = af.ones(8, 3)  # all choose the same
    out = layer(x)
    assert sorted(layer.routing.load.tolist()) == [0, 0, 0, 8]
    assert layer.routing.dropped.sum() == 6
    assert [bool(row.abs().sum() > 0) for row in out] == [True] * 2 + [False] * 6
    assert "dropped=" in repr(layer.routing)
    layer.eval()(x)
    assert not layer.routing.dropped.any()
    assert repr(layer.routing) == f"Routing(tokens=8, top_k=1, load={layer.routing.load.tolist()})"


def test_compiling_is_refused_with_the_reason():
    layer = nn.MixtureOfExperts(3, 4, experts=3)
    step = af.compile(lambda x: layer(x).sum())
    with pytest.raises(CaptureError, match="how many tokens each expert computes depends on the values") as caught:
        step(af.rand(5, 3))
    assert "test_mixture_of_experts.py" in str(caught.value)
    assert layer(af.rand(5, 3)).shape == (5, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experts": 0}, "experts must be a whole number"),
        ({"top_k": True}, "top_k must be a whole number"),
        ({"experts": 2, "top_k": 3}, "top_k=3 experts cannot be chosen among 2"),
        ({"capacity_factor": 0}, "a number above 0"),
    ],
)
def test_what_cannot_be(options, message):
    with pytest.raises(ShapeError, match=message) as caught:
        nn.MixtureOfExperts(4, **options)
    assert "test_mixture_of_experts.py" in str(caught.value)


def test_inputs_that_do_not_fit():
    layer = nn.MixtureOfExperts(4, 4, experts=2)
    with pytest.raises(ShapeError, match=r"last side of 4, and its shape is \(2, 5\)"):
        layer(af.ones(2, 5))
    with pytest.raises(ShapeError, match=r"needs \(2, 3\)"):
        layer(af.ones(2, 3, 4), af.ones(2, 4))
