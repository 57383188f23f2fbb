"""MultiheadAttention and the Transformer's layers beside PyTorch's: numbers, gradients, state dicts, first parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from compile_cases import World, check_twins
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import AutogradError, DtypeError, ShapeError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*enable_nested_tensor:UserWarning")]


def twins(name, *args, **options):
    """The same module in both libraries, with PyTorch's parameters; loading is strict, so the names are the same."""
    theirs, ours = getattr(torch.nn, name)(*args, **options), getattr(nn, name)(*args, **options)
    share(theirs, ours)
    return ours, theirs


def share(theirs, ours):
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in theirs.parameters():  # also biases, which start at 0
            parameter.copy_(torch.tensor(generator.standard_normal(tuple(parameter.shape)) * 0.3))
    ours.load_state_dict({key: af.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    back = {key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()}
    theirs.load_state_dict(back)
    assert list(back) == list(theirs.state_dict())


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_same(ours, theirs, inputs, options=None, rtol=1e-4, atol=1e-5, same_inputs=False):
    """Outputs, gradients of inputs and of parameters; ``options`` are constants."""
    results = []
    for library, module in ((af, ours), (torch, theirs)):
        leaves = [library.tensor(one, requires_grad=True) for one in inputs]
        given = leaves * 3 if same_inputs else leaves
        constants = {
            key: library.tensor(one) if isinstance(one, np.ndarray) else one for key, one in (options or {}).items()
        }
        out = module(*given, **constants)
        outputs = [one for one in (out if isinstance(out, tuple) else (out,)) if one is not None]
        loss = sum((one * library.tensor(array(*one.shape, seed=5 + at))).sum() for at, one in enumerate(outputs))
        module.zero_grad()
        loss.backward()
        grads = {name: one.grad for name, one in module.named_parameters()}
        tensors = [*outputs, *(one.grad for one in leaves), *grads.values()]
        results.append([None if one is None else one.detach().numpy() for one in tensors])
        names = [*(f"output {at}" for at in range(len(outputs))), *(f"input {at}" for at in range(len(leaves))), *grads]
    assert len(results[0]) == len(results[1])
    for name, mine, other in zip(names, *results, strict=True):
        assert (mine is None) == (other is None), name
        if mine is not None:
            assert mine.shape == other.shape, name
            np.testing.assert_allclose(mine, other, rtol=rtol, atol=atol * max(1.0, abs(other).max()), err_msg=name)


# ---------------------------------------------------------------- multi-head attention


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_multi_head_attention(data):
    def draw(*options):
        return data.draw(st.sampled_from(options))

    heads, batch_first, batched = draw(1, 2, 4), draw(False, True), draw(True, True, False)
    options = {"bias": draw(True, False), "batch_first": batch_first}
    kind = draw("self", "cross", "widths", "extended")
    if kind == "widths":
        options |= {"kdim": 6, "vdim": draw(8, 3)}
    if kind == "extended":
        options |= draw({"add_bias_kv": True}, {"add_zero_attn": True}, {"add_bias_kv": True, "add_zero_attn": True})
    ours, theirs = twins("MultiheadAttention", 8, heads, **options)
    batch, rows = 3, draw(1, 4)
    columns = rows if kind == "self" else draw(1, 5)

    def shaped(length, features):
        if not batched:
            return length, features
        return (batch, length, features) if batch_first else (length, batch, features)

    inputs = [array(*shaped(rows, 8))]
    if kind != "self":
        inputs = [
            array(*shaped(*one), seed=at)
            for at, one in enumerate(((rows, 8), (columns, ours.kdim), (columns, ours.vdim)))
        ]
    call = {"need_weights": draw(True, False), "average_attn_weights": draw(True, False)}
    masks = draw("none", "boolean", "numbers", "padding", "both", "each")
    rng = np.random.default_rng(1)
    blocked = rng.random((rows, columns)) < 0.4
    blocked[:, 0] = False  # a query sees one key at least: in PyTorch it is NaN otherwise
    padding = rng.random((batch, columns) if batched else (columns,)) < 0.4
    padding[..., 0] = False
    if masks in ("boolean", "both"):
        call["attn_mask"] = blocked
    if masks == "numbers":
        call["attn_mask"] = array(rows, columns, seed=3)
    if masks == "each":
        count = batch if batched else 1
        call["attn_mask"] = np.broadcast_to(blocked, (count * heads, rows, columns)) & (
            rng.random((count * heads, rows, columns)) < 0.7
        )
    if masks in ("padding", "both"):
        call["key_padding_mask"] = padding
    assert_same(ours, theirs, inputs, call, same_inputs=kind == "self")


def test_a_query_without_keys_finds_nothing_rather_than_nan():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = af.tensor(array(2, 3, 8))
    padding = af.tensor([[True, True, True], [False, False, True]])
    for need_weights in (True, False):
        out, weights = attention(x, x, x, padding, need_weights=need_weights)
        np.testing.assert_allclose(
            out[0].detach().numpy(), np.broadcast_to(attention.out_proj.bias.detach().numpy(), (3, 8))
        )
        assert np.isfinite(out.detach().numpy()).all()
        assert weights is None or not weights[0].detach().numpy().any()


def test_causal_needs_no_mask():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x, y = af.tensor(array(2, 5, 8)), af.tensor(array(2, 7, 8, seed=1))
    for key in (x, y):
        mask = ~af.ones(5, key.shape[1], dtype=af.bool).tril()
        padding = af.zeros(2, key.shape[1], dtype=af.bool)
        padding[1, 3] = True
        for options in ({}, {"key_padding_mask": padding}, {"key_padding_mask": padding.float() * -3.0}):
            for need_weights in (True, False):
                with_mask = attention(x, key, key, attn_mask=mask, need_weights=need_weights, **options)
                causal = attention(x, key, key, is_causal=True, need_weights=need_weights, **options)
                for one, other in zip(with_mask, causal, strict=True):
                    if one is not None:
                        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_is_for_training():
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = af.tensor(array(2, 6, 8))
    for need_weights in (True, False):
        one, other = (attention(x, x, x, need_weights=need_weights)[0].detach().numpy() for _ in range(2))
        assert not np.array_equal(one, other)
    attention.eval()
    one, other = (attention(x, x, x, need_weights=need_weights)[0].detach().numpy() for need_weights in (True, False))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda a, x: a(x[:, :, :4], x, x), ShapeError, "query has 8 features"),
        (lambda a, x: a(x[0], x, x), ShapeError, "three inputs"),
        (lambda a, x: a(x[:1], x, x), ShapeError, "got"),
        (lambda a, x: a(x, x, x[:, :2]), ShapeError, "got"),
        (lambda a, x: a(x, x, x, af.zeros(3, 2).bool()), ShapeError, "key_padding_mask"),
        (lambda a, x: a(x, x, x, attn_mask=af.zeros(2, 2).bool()), ShapeError, "attn_mask"),
        (lambda a, x: a(x, x, x, attn_mask=af.zeros(3, 3).long()), DtypeError, "mask.bool()"),
        (lambda a, x: nn.MultiheadAttention(8, 3), ShapeError, "8 do not make 3"),
        (lambda a, x: nn.MultiheadAttention(8, 2, dropout=2.0), ShapeError, "2.0"),
    ],
)
def test_misfits_are_told(call, error, words):
    with pytest.raises(error) as caught:
        call(nn.MultiheadAttention(8, 2, batch_first=True), af.ones(2, 3, 8))
    assert words in str(caught.value)


# ---------------------------------------------------------------- layers and stacks


COMMON = [
    {},
    {"norm_first": True, "batch_first": True},
    {"activation": "gelu", "bias": False, "batch_first": True},
    {"layer_norm_eps": 1e-3, "norm_first": True, "activation": "gelu"},
]


@pytest.mark.parametrize("options", COMMON)
@pytest.mark.parametrize("masked", [False, True])
def test_encoder(options, masked):
    options = {"dropout": 0.0, **options}
    ours, theirs = twins("TransformerEncoderLayer", 8, 2, 12, **options)
    ours, theirs = (
        nn.TransformerEncoder(ours, 2, nn.LayerNorm(8)),
        torch.nn.TransformerEncoder(theirs, 2, torch.nn.LayerNorm(8)),
    )
    share(theirs, ours)
    x = array(3, 5, 8)  # a batch of 3 or of 5
    batch, rows = (3, 5) if options.get("batch_first") else (5, 3)
    call = {}
    if masked:
        padding = np.zeros((batch, rows), bool)
        padding[1, -1:] = True
        call = {"mask": ~np.tri(rows, dtype=bool), "src_key_padding_mask": padding}
    assert_same(ours, theirs, [x], call)


@pytest.mark.parametrize("options", COMMON)
@pytest.mark.parametrize("masked", [False, True])
def test_decoder(options, masked):
    options = {"dropout": 0.0, **options}
    ours, theirs = twins("TransformerDecoderLayer", 8, 2, 12, **options)
    ours, theirs = nn.TransformerDecoder(ours, 2), torch.nn.TransformerDecoder(theirs, 2)
    share(theirs, ours)
    batch_first = options.get("batch_first")
    tgt, memory = (array(*((3, side, 8) if batch_first else (side, 3, 8)), seed=side) for side in (4, 6))
    call = {}
    if masked:
        padding = np.zeros((3, 6), bool)
        padding[1, 4:] = True
        call = {"tgt_mask": ~np.tri(4, dtype=bool), "memory_key_padding_mask": padding}
    assert_same(ours, theirs, [tgt, memory], call)


def test_transformer():
    ours, theirs = twins("Transformer", 8, 2, 2, 2, 12, dropout=0.0)
    mask = theirs.generate_square_subsequent_mask(4).numpy()
    assert np.array_equal(ours.generate_square_subsequent_mask(4).numpy(), mask)
    assert_same(ours, theirs, [array(6, 3, 8), array(4, 3, 8, seed=1)], {"tgt_mask": mask})
    with pytest.raises(ShapeError, match="8 features"):
        ours(af.ones(6, 3, 4), af.ones(4, 3, 8))


def test_a_causal_stack_sees_nothing_that_comes_later():
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = af.tensor(array(1, 6, 8))
    changed = x.clone()
    changed[:, 4] = 9.0
    one, other = (model(each, is_causal=True).detach().numpy() for each in (x, changed))
    assert np.array_equal(one[:, :4], other[:, :4])
    assert not np.allclose(one[:, 4:], other[:, 4:])
    assert not np.allclose(model(x).detach().numpy()[:, :4], model(changed).detach().numpy()[:, :4])


def test_copies_do_not_share():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 3)
    assert len({id(one) for one in encoder.parameters()}) == 3 * 12
    assert len({id(one.array) for one in encoder.parameters()}) == 3 * 12


@pytest.mark.parametrize("name", ["MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer"])
def test_first_parameters_are_drawn_as_in_pytorch(name):
    """Zeros and ones where PyTorch has them, and elsewhere numbers from the same range."""
    ours, theirs = getattr(nn, name)(64, 4), getattr(torch.nn, name)(64, 4)
    mine, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert list(mine) == list(other)
    for key, parameter in other.items():
        one, two = mine[key].detach().numpy(), parameter.detach().numpy()
        assert one.shape == two.shape
        if np.unique(two).size == 1:
            assert np.array_equal(one, two), key
        else:
            assert math.isclose(abs(one).max(), abs(two).max(), rel_tol=0.15), key
            assert math.isclose(one.std(), two.std(), rel_tol=0.3), key


def test_representations_and_activations():
    layer = nn.TransformerEncoderLayer(8, 2, 12, activation=nn.functional.silu)
    assert layer(af.ones(2, 3, 8)).shape == (2, 3, 8)
    with pytest.raises(AutogradError, match="swish"):
        nn.TransformerEncoderLayer(8, 2, 12, activation="swish")


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_compiled_training_step(batch_first):
    def make():
        model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first), 2)
        optimizer = af.optim.AdamW(model.parameters(), lr=0.01)

        def step(x):
            optimizer.zero_grad()
            loss = model(x, is_causal=True).pow(2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return World(step, model=model, optimizer=optimizer)

    check_twins(make, [(af.tensor(array(3, 5, 8, seed=seed)),) for seed in range(5)])
