"""Fine-tuning in little memory: checkpointing, and frozen weights in half precision."""

from __future__ import annotations

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import finetuning, hub, nn
from autograd_ff.errors import DtypeError, GraphError, InplaceError, ModuleError, ShapeError, StateDictError
from autograd_ff.finetuning import checkpoint
from autograd_ff.hub.layers import Conv1D
from autograd_ff.kernels.half_precision import narrowed, widened

BERT = hub.BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16, max_position_embeddings=10,
)  # fmt: skip
GPT2 = hub.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2)
IDS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])


def block(dropout=0.3):
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Dropout(dropout), nn.Linear(12, 6))


def gradients(run, tensors, seed=1):
    for one in tensors:
        one.grad = None
    af.manual_seed(seed)
    run().backward()
    return [None if one.grad is None else one.grad.numpy().copy() for one in tensors] + [af.rand(3).numpy()]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or np.array_equal(one, other)


# ---------------------------------------------------------------- checkpointing


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=4), st.booleans(), st.booleans(), st.integers(0, 5))
def test_gradients_are_the_same_numbers(checkpointed, leaf, frozen, seed):
    """Dropout, frozen parts, inputs that are leaves or not, and the random numbers drawn after it."""
    af.manual_seed(seed)
    blocks = [block() for _ in checkpointed]
    if frozen:
        finetuning.freeze(blocks[0], "0")
    x = af.randn(5, 6, requires_grad=leaf)
    tensors = [x, *(one for member in blocks for one in member.parameters())]

    def run(with_checkpoints):
        h = x * 2
        for member, on in zip(blocks, checkpointed, strict=True):
            h = checkpoint(member, h) if on and with_checkpoints else member(h)
        return (h * h).mean()

    assert_equal(gradients(lambda: run(True), tensors), gradients(lambda: run(False), tensors))


def test_another_random_state_would_be_seen():
    af.manual_seed(0)
    member, x = block(0.5), af.randn(50, 6)
    tensors = list(member.parameters())
    plain = gradients(lambda: member(x).sum(), tensors)
    kept = gradients(lambda: checkpoint(member, x).sum(), tensors)
    lost = gradients(lambda: checkpoint(member, x, preserve_rng_state=False).sum(), tensors)
    assert_equal(kept, plain)
    assert not np.array_equal(lost[-2], plain[-2]) or not np.array_equal(lost[0], plain[0])


def test_closures_tied_weights_views_and_trees():
    af.manual_seed(0)
    weight = af.randn(6, 6, requires_grad=True)
    outside = (weight * 2)[:3]  # tracked, no leaf, a view of what is used beside it

    def function(pair, scale=1.0):
        first, rest = pair["a"] @ weight, pair["b"]
        return {"out": (first[:3] * outside * scale, rest), "count": 3, "whole": af.tensor([1, 2])}

    x, y = af.randn(4, 6, requires_grad=True), af.randn(3, requires_grad=True)

    def run(on):
        arguments = {"a": x, "b": y * 3}
        result = checkpoint(function, arguments, scale=0.5) if on else function(arguments, scale=0.5)
        assert result["count"] == 3
        assert result["whole"].tolist() == [1, 2]
        return result["out"][0].sum() + (result["out"][1] ** 2).sum()

    def both(on):
        nonlocal outside
        outside = (weight * 2)[:3]
        return run(on)

    assert_equal(gradients(lambda: both(True), [x, y, weight]), gradients(lambda: both(False), [x, y, weight]))


def test_gradients_by_request_and_of_gradients():
    af.manual_seed(0)
    w = af.randn(3, dtype="float64", requires_grad=True)
    values = []
    for on in (True, False):
        t = af.tensor([0.1, 0.2, 0.3], dtype="float64", requires_grad=True)
        v = t * 2
        y = checkpoint(lambda a: (a**3 * w).tanh(), v) if on else (v**3 * w).tanh()
        (first,) = af.autograd.grad(y.sum(), t, create_graph=True)
        values.append([first, *af.autograd.grad((first * first).sum(), [t, w])])
        assert w.grad is None
    for one, other in zip(*values, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-12)


def test_checkpoints_inside_of_checkpoints_and_hooks():
    af.manual_seed(0)
    first, second = block(), block()
    x = af.randn(4, 6, requires_grad=True)
    seen = []
    first[0].weight.register_hook(lambda gradient: seen.append(gradient.numpy().copy()))
    tensors = [x, *first.parameters(), *second.parameters()]

    def inner(h):
        return checkpoint(second, checkpoint(first, h)) + h

    nested = gradients(lambda: checkpoint(inner, x).sum(), tensors)
    plain = gradients(lambda: (second(first(x)) + x).sum(), tensors)
    assert_equal(nested, plain)
    assert len(seen) == 2
    assert np.array_equal(*seen)


def test_twice_backward_through_one_checkpoint():
    member, x = block(0.0), af.ones(2, 6)
    out = checkpoint(member, x).sum()
    out.backward(retain_graph=True)
    once = member[0].weight.grad.numpy().copy()
    out.backward()
    np.testing.assert_allclose(member[0].weight.grad.numpy(), 2 * once, rtol=1e-6)
    with pytest.raises(GraphError, match="second time"):
        out.backward()


def test_without_anything_to_record_it_is_a_call():
    calls = []

    def function(x):
        calls.append(1)
        return x * 2

    with af.no_grad():
        assert checkpoint(function, af.ones(2, requires_grad=True)).node is None
    assert checkpoint(function, af.ones(2)).node is None
    assert checkpoint(lambda: None) is None
    x = af.ones(2, requires_grad=True)
    assert checkpoint(lambda one: one, x).tolist() == [1, 1]
    checkpoint(lambda one: one, x).sum().backward()
    assert x.grad.tolist() == [1, 1]
    calls.clear()
    checkpoint(function, x).sum().backward()
    assert len(calls) == 2


def test_functions_that_change_their_mind_and_inputs_that_change():
    x = af.ones(3, requires_grad=True)
    sizes = iter([2, 1])
    out = checkpoint(lambda one: (one * 2)[: next(sizes)], x).sum()
    with pytest.raises(GraphError, match="when it was run again"):
        out.backward()
    h = x * 1
    out = checkpoint(lambda one: one * one, h).sum()
    with af.no_grad():
        h.mul_(2)
    with pytest.raises(InplaceError):
        out.backward()
    with pytest.raises(ModuleError, match="a function or a module"):
        checkpoint(3)


class OnArrays(af.autograd.Function):
    """A user's Function that no operation on Tensors shows the use of."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return af.from_numpy(np.square(x.detach().numpy()))

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 2 * x


def test_no_gradient_is_lost_silently():
    x = af.tensor([1.0, 2.0], requires_grad=True)
    checkpoint(OnArrays.apply, x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    h = x * 3
    y = af.tensor([1.0, 1.0], requires_grad=True)
    out = checkpoint(lambda one: one * OnArrays.apply(h), y).sum()
    with pytest.raises(GraphError, match="Pass it as an argument"):
        out.backward()


def test_no_reference_cycle_is_left():
    import gc
    import weakref

    member = block()
    x = af.ones(2, 6)
    gc.collect()
    gc.disable()
    try:
        h = x * af.ones(1, requires_grad=True)
        watched = weakref.ref(h)
        out = checkpoint(member, h).sum()
        out.backward()
        del h, out
        assert watched() is None
    finally:
        gc.enable()


def test_memory_is_that_of_the_inputs():
    """A deep stack of wide layers: what is kept for backward is one array a layer instead of several."""
    af.manual_seed(0)
    wide = [nn.Sequential(nn.Linear(32, 512), nn.Tanh(), nn.Tanh(), nn.Linear(512, 32)) for _ in range(8)]
    x = af.randn(256, 32)

    def kept(on):
        tracemalloc.start()
        h = x
        for member in wide:
            h = checkpoint(member, h) if on else member(h)
        held, _ = tracemalloc.get_traced_memory()
        h.sum().backward()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for member in wide:
            member.zero_grad()
        return held, peak

    kept(True)
    (held, peak), (plain, plain_peak) = kept(True), kept(False)
    assert plain > 8 * 2 * 256 * 512 * 4  # two activations of each layer
    assert held < plain / 8
    assert peak < plain_peak / 2


def test_sequential_in_segments():
    af.manual_seed(0)
    model = nn.Sequential(*[block() for _ in range(7)])
    x = af.randn(3, 6, requires_grad=True)
    tensors = [x, *model.parameters()]
    plain = gradients(lambda: model(x).sum(), tensors)
    for segments in (1, 2, 3, 7):
        found = gradients(lambda: finetuning.checkpoint_sequential(model, segments, x).sum(), tensors)  # noqa: B023
        assert_equal(found, plain)
    assert_equal(gradients(lambda: finetuning.checkpoint_sequential(list(model), 2, x).sum(), tensors), plain)
    for segments in (0, 8, 1.5):
        with pytest.raises(ShapeError, match="segments"):
            finetuning.checkpoint_sequential(model, segments, x)


def test_modules_checkpoint_themselves():
    af.manual_seed(0)
    model = hub.BertModel(BERT, add_pooling_layer=False).train()
    tensors = list(model.parameters())

    def run():
        return (model(af.tensor(IDS)).last_hidden_state ** 2 * af.arange(8)).sum()

    plain, names = gradients(run, tensors), list(model.state_dict())
    assert finetuning.checkpoint_modules(model, "encoder.layer.?") == [f"encoder.layer.{n}" for n in range(3)]
    finetuning.checkpoint_modules(model, "encoder.layer.?")  # a second time changes nothing
    nodes = []
    out = model(af.tensor(IDS)).last_hidden_state
    stack = [out.node]
    while stack:
        node = stack.pop()
        nodes.append(node.op.name)
        stack += [one for one in node.parents if one is not None]
    assert "Checkpoint" in nodes
    assert "linear" not in nodes
    assert_equal(gradients(run, tensors), plain)
    assert list(model.state_dict()) == names
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other.encoder.layer[0]).__name__ == "CheckpointedBertLayer"
        assert isinstance(other.encoder.layer[0], type(hub.BertModel(BERT).encoder.layer[0]))
        other.zero_grad()
        af.manual_seed(1)
        (other(af.tensor(IDS)).last_hidden_state ** 2 * af.arange(8)).sum().backward()
        assert_equal([one.grad.numpy() for one in other.parameters()], plain[:-1])
    finetuning.checkpoint_modules(model, "encoder.layer.?", on=False)
    assert type(model.encoder.layer[0]).__name__ == "BertLayer"
    with pytest.raises(ModuleError, match="never called itself"):
        finetuning.checkpoint_modules(model, "encoder.layer")


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_compiled_steps_checkpoint_too(dropout):
    losses = []
    for compiled, on in ((False, False), (False, True), (True, True)):
        af.manual_seed(0)
        member, x = block(dropout), af.randn(10, 6)
        optimizer = af.optim.SGD(member.parameters(), lr=0.5)

        def step(x, member=member, optimizer=optimizer, on=on):
            optimizer.zero_grad()
            loss = ((checkpoint(member, x) if on else member(x)) - 1).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        run = af.compile(step, fast=False) if compiled else step
        losses.append([run(x).item() for _ in range(6)])
    assert losses[0] == losses[1]
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


# ---------------------------------------------------------------- half precision


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_is_rounded_to_the_nearest(numbers):
    array = np.array(numbers, np.float32)
    bits = narrowed(array, "bfloat16")
    back = widened(bits, "bfloat16")
    assert np.array_equal(np.isnan(back), np.isnan(array))
    finite = np.isfinite(array)
    below = (array.view(np.uint32) & 0xFFFF0000).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        above = ((array.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32)
    for one, low, high, found in zip(array[finite], below[finite], above[finite], back[finite], strict=True):
        assert found in (low, high)
        if np.isfinite(high):
            assert abs(float(found) - float(one)) == min(abs(float(low) - float(one)), abs(float(high) - float(one)))
    assert np.array_equal(narrowed(back, "bfloat16")[~np.isnan(back)], bits[~np.isnan(back)])  # a second time is exact


def test_bfloat16_is_that_of_torch():
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    array[:4] = 1.00390625, 1.01171875, np.inf, -0.0  # halfway down and up, to the even one
    expected = torch.from_numpy(array).to(torch.bfloat16).view(torch.uint16).numpy()
    assert np.array_equal(narrowed(array, "bfloat16"), expected)


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "build", [lambda: hub.BertModel(BERT), lambda: hub.GPT2LMHeadModel(GPT2)], ids=["bert", "gpt2"]
)
def test_storing_halves_memory_and_agrees_to_rounding(build, storage):
    af.manual_seed(0)
    model = build().eval()
    plain, names = model(af.tensor(IDS)).last_hidden_state.detach().numpy(), list(model.state_dict())
    rounded = copy.deepcopy(model)  # the same model with weights that were rounded beforehand
    for name, one in rounded.named_parameters():
        if one.ndim == 2:
            one.data.copy_(af.tensor(widened(narrowed(one.array, storage), storage)))
        assert name in names
    expected = rounded(af.tensor(IDS)).last_hidden_state.detach().numpy()
    memory = sum(one.array.nbytes for one in model.parameters() if one.ndim == 2)
    with pytest.raises(ModuleError, match="is frozen"):
        finetuning.store_frozen(model, storage)
    finetuning.freeze(model)
    stored = finetuning.store_frozen(model, storage)
    assert stored
    bits = {id(one): one.array.nbytes for one in model.buffers()}
    assert sum(bits.values()) * 2 == memory
    found = model(af.tensor(IDS)).last_hidden_state.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert 0 < np.abs(found - plain).max() < (0.02 if storage == "float16" else 0.2)
    with pytest.raises(StateDictError, match=f"weight_{storage}"):
        model.load_state_dict(rounded.state_dict())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other(af.tensor(IDS)).last_hidden_state.detach().numpy(), found)
    assert finetuning.widen_frozen(model) == stored
    assert list(model.state_dict()) == names
    for name, one in model.state_dict().items():
        assert np.array_equal(one.array, rounded.state_dict()[name].array)
    if isinstance(model, hub.GPT2LMHeadModel):
        assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
def test_gradients_pass_through_stored_weights(kind, storage):
    af.manual_seed(0)
    layer = kind(5, 5)
    model = nn.Sequential(nn.Linear(5, 5), layer, nn.Linear(5, 2))
    layer.weight.requires_grad = False
    rounded = copy.deepcopy(model)
    rounded[1].weight.data.copy_(af.tensor(widened(narrowed(layer.weight.array, storage), storage)))
    assert finetuning.store_frozen(model, storage) == ["1"]
    x = af.randn(2, 3, 5)
    for one in (model, rounded):
        one(x).square().sum().backward()
    for (name, one), (_, other) in zip(
        model.named_parameters(), ((n, p) for n, p in rounded.named_parameters() if n != "1.weight"), strict=True
    ):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def test_nothing_wide_is_kept_between_forward_and_backward():
    model = nn.Sequential(*[nn.Linear(256, 256) for _ in range(6)])
    finetuning.freeze(model)
    x = af.ones(1, 256, requires_grad=True)

    def held():
        tracemalloc.start()
        out = model(x)
        size, _ = tracemalloc.get_traced_memory()
        out.sum().backward()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size, peak

    finetuning.store_frozen(model, "bfloat16")
    held()
    size, peak = held()
    assert size < 256 * 256 * 4 / 2  # less than half of one weight, widened
    assert peak < 3 * 256 * 256 * 4


def test_a_wrong_widening_would_be_seen():
    array = np.float32([1.5, -2.25, 1e-3])
    assert not np.allclose(widened(narrowed(array, "bfloat16"), "float16"), array, atol=1e-2)
    assert np.allclose(widened(narrowed(array, "float16"), "float16"), array, rtol=1e-3)


def test_lora_over_stored_weights_trains_and_compiles():
    losses = []
    for compiled in (False, True):
        af.manual_seed(0)
        model = hub.GPT2LMHeadModel(GPT2).eval()
        finetuning.add_lora(model, "*.h.*", rank=2)
        finetuning.store_frozen(model, "float16")
        optimizer = af.optim.AdamW(finetuning.trainable_parameters(model), lr=0.05)

        def step(ids, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            return loss

        run = af.compile(step, fast=False) if compiled else step
        losses.append([run(af.tensor(IDS)).item() for _ in range(8)])
    assert losses[0][-1] < losses[0][0] - 0.1
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_what_is_not_stored():
    model = hub.GPT2LMHeadModel(GPT2)
    finetuning.freeze(model, "transformer.h.0")
    assert finetuning.store_frozen(model) == [f"transformer.h.0.{one}" for one in
                                              ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]  # fmt: skip
    with pytest.raises(ModuleError, match="fits the name of no"):
        finetuning.unfreeze(model, "transformer.h.0.mlp.c_fc.weight")
    half = nn.Linear(3, 3).half()
    finetuning.freeze(half)
    with pytest.raises(ModuleError, match="too coarse"):
        finetuning.unfreeze(half)
    with pytest.raises(DtypeError, match="float16' or 'bfloat16"):
        finetuning.store_frozen(model, "int8")
    large = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    large[0].weight.data.fill_(1e5)
    with pytest.raises(DtypeError, match="65504"):
        finetuning.store_frozen(large)
    assert finetuning.store_frozen(large, "bfloat16") == ["0"]
    table = nn.Sequential(nn.Embedding(4, 2, max_norm=1.0)).requires_grad_(False)
    with pytest.raises(ModuleError):
        finetuning.store_frozen(table)
    with pytest.raises(ModuleError):
        finetuning.widen_frozen(table)
