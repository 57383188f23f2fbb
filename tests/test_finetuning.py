"""Fine-tuning: what is trained, at which rates, LoRA and adapters, tables."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import finetuning, hub, nn
from autograd_ff.errors import DtypeError, FileFormatError, ModuleError, OptimizerError, ShapeError
from autograd_ff.finetuning import LoRA, parameter_table
from autograd_ff.hub.layers import Conv1D

BERT = hub.BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16, max_position_embeddings=10,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
GPT2 = hub.GPT2Config(
    vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
)
IDS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])


class Classifier(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.body = hub.BertModel(BERT, **options)
        self.classifier = nn.Linear(8, 2)

    def forward(self, ids):
        return self.classifier(hub.mean_pooling(self.body(ids).last_hidden_state, normalize=False))


def trained(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def snapshot(model):
    return {name: one.array.copy() for name, one in model.state_dict().items()}


def adam_step(model, ids=IDS, lr=0.01):
    optimizer = af.optim.AdamW(finetuning.trainable_parameters(model), lr=lr)
    loss = nn.functional.cross_entropy(model(af.tensor(ids)), af.tensor([0, 1]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


# ---------------------------------------------------------------- patterns and freezing


def test_patterns_take_names_modules_and_several():
    model = Classifier()
    finetuning.freeze(model, "body.encoder.layer.*", except_="body.encoder.layer.2")
    frozen = [name for name in (dict(model.named_parameters())) if name not in trained(model)]
    assert frozen == [
        name
        for name in dict(model.named_parameters())
        if name.startswith(("body.encoder.layer.0.", "body.encoder.layer.1."))
    ]
    changed = finetuning.unfreeze(model, ["*.layer.0", "*.layer.1.*.query.bias"])
    assert changed == [name for name in frozen if ".layer.0." in name] + [
        "body.encoder.layer.1.attention.self.query.bias"
    ]


def test_a_digit_is_not_a_prefix():
    names = [f"layer.{number}.weight" for number in range(12)]
    assert finetuning.matching(names, "layer.1") == ["layer.1.weight"]
    assert finetuning.matching(names, "layer.1?") == ["layer.10.weight", "layer.11.weight"]
    assert finetuning.matching(names, "layer.[0-2]") == names[:3]
    assert finetuning.matching(names, "layer.1", whole=False) != finetuning.matching(names, "*1*")
    with pytest.raises(ModuleError):
        finetuning.matching(names, "layer.1", whole=True)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("encoder.layers.*", "encoder.layer.0"),
        ("body.encoder.layer.7", "body.encoder.layer."),
        ("*.querry", "query"),
        ("clasifier", "classifier"),
    ],
)
@pytest.mark.parametrize("function", [finetuning.freeze, finetuning.unfreeze, finetuning.train_only])
def test_patterns_that_fit_nothing_say_what_is_near(function, pattern, near):
    model = Classifier()
    before = trained(model)
    with pytest.raises(ModuleError, match="fits the name of no parameter") as caught:
        function(model, pattern)
    assert near in str(caught.value)
    assert trained(model) == before
    with pytest.raises(ModuleError):
        finetuning.freeze(model, "*", except_=pattern)
    assert trained(model) == before


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_freezing_is_set_arithmetic(data):
    model = Classifier()
    names = [name for name, _ in model.named_parameters()]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    spared = data.draw(st.lists(st.sampled_from(names), max_size=5, unique=True))
    assert set(finetuning.freeze(model, chosen, except_=spared)) == set(chosen) - set(spared)
    assert set(trained(model)) == set(names) - (set(chosen) - set(spared))
    finetuning.unfreeze(model)
    assert trained(model) == names
    assert finetuning.train_only(model, chosen) == [name for name in names if name in chosen]
    assert set(trained(model)) == set(chosen)


def test_frozen_weights_lose_their_gradient_and_do_not_move():
    model = Classifier(add_pooling_layer=False)
    adam_step(model)
    finetuning.freeze(model, "body")
    assert all(one.grad is None for one in model.body.parameters())
    assert model.classifier.weight.grad is not None
    before = snapshot(model)
    adam_step(model)
    after = snapshot(model)
    assert [name for name in before if not np.array_equal(before[name], after[name])] == [
        "classifier.weight",
        "classifier.bias",
    ]


def test_tied_weights_are_one():
    model = hub.GPT2LMHeadModel(GPT2)
    finetuning.freeze(model, "lm_head")
    assert not model.transformer.wte.weight.requires_grad
    finetuning.unfreeze(model)
    finetuning.freeze(model, "*", except_="lm_head.weight")
    assert trained(model) == ["transformer.wte.weight"]
    finetuning.train_only(model, "lm_head.weight")
    assert trained(model) == ["transformer.wte.weight"]


def test_feedforward_and_head_of_bert_and_gpt():
    model = Classifier()
    blocks = finetuning.feedforward(model)
    assert blocks == [
        f"body.encoder.layer.{number}.{name}" for number in range(3) for name in ("intermediate.dense", "output.dense")
    ]
    assert finetuning.head(model) == ["classifier.weight", "classifier.bias"]
    finetuning.train_only(model, [*blocks, *finetuning.head(model)])
    assert sum(model.get_parameter(name).numel() for name in trained(model)) == 3 * (2 * 8 * 16 + 16 + 8) + 18
    assert finetuning.feedforward(hub.GPT2Model(GPT2)) == [
        f"h.{number}.mlp.{name}" for number in range(2) for name in ("c_fc", "c_proj")
    ]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    assert finetuning.feedforward(encoder) == [
        "layers.0.linear1",
        "layers.0.linear2",
        "layers.1.linear1",
        "layers.1.linear2",
    ]
    with pytest.raises(ModuleError, match="holds none of BertLayer"):
        finetuning.feedforward(nn.Linear(2, 2))
    for none in (nn.Linear(2, 2), hub.BertModel(BERT), hub.GPT2LMHeadModel(GPT2)):
        with pytest.raises(ModuleError, match="its head"):
            finetuning.head(none)


# ---------------------------------------------------------------- rates


def test_layerwise_rates_of_bert():
    model = Classifier()
    groups = finetuning.layerwise_groups(model, 1.0, 0.5, weight_decay=0.1, no_decay=["*.bias", "*LayerNorm*"])
    assert [
        (group["name"], group["lr"], group["weight_decay"]) for group in groups if "no decay" not in group["name"]
    ] == [
        ("before", 0.0625, 0.1),
        ("body.encoder.layer.0", 0.125, 0.1),
        ("body.encoder.layer.1", 0.25, 0.1),
        ("body.encoder.layer.2", 0.5, 0.1),
        ("after", 1.0, 0.1),
    ]
    rates = {name: group["lr"] for group in groups for name, _ in group["params"]}
    decays = {name: group["weight_decay"] for group in groups for name, _ in group["params"]}
    assert set(rates) == {name for name, _ in model.named_parameters()}
    assert rates["body.embeddings.LayerNorm.weight"] == 0.0625
    assert rates["body.encoder.layer.1.attention.output.LayerNorm.bias"] == 0.25
    assert rates["classifier.bias"] == rates["body.pooler.dense.weight"] == 1.0
    assert all((decay == 0) == (name.endswith("bias") or "LayerNorm" in name) for name, decay in decays.items())
    assert len(af.optim.AdamW(groups).param_groups) == 10


def test_layerwise_rates_leave_out_frozen_and_take_tied_once():
    model = hub.GPT2LMHeadModel(GPT2)
    finetuning.freeze(model, "transformer.h.0")
    groups = finetuning.layerwise_groups(model, 1.0, 0.1)
    assert [group["name"] for group in groups] == ["before", "transformer.h.1", "after"]
    assert [name for name, _ in groups[0]["params"]] == ["transformer.wte.weight", "transformer.wpe.weight"]
    assert [name for name, _ in groups[-1]["params"]] == ["transformer.ln_f.weight", "transformer.ln_f.bias"]
    assert groups[0]["lr"] == pytest.approx(1e-3)


def test_layerwise_refusals():
    with pytest.raises(OptimizerError, match="decay is above 0"):
        finetuning.layerwise_groups(Classifier(), 1.0, 1.5)
    with pytest.raises(ModuleError, match="no ModuleList"):
        finetuning.layerwise_groups(nn.Linear(2, 2), 1.0)
    with pytest.raises(ModuleError, match="not a list of layers"):
        finetuning.layerwise_groups(Classifier(), 1.0, layers="body.encoder")
    model = Classifier()
    finetuning.freeze(model)
    with pytest.raises(ModuleError, match="are frozen"):
        finetuning.layerwise_groups(model, 1.0)


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(1, 30), st.sampled_from(["linear", "cosine"]), st.sampled_from([0.0, 0.1, 1.0]))
def test_the_schedule_is_its_formula(warmup, rest, shape, floor):
    total = warmup + rest
    weights = [af.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = af.optim.SGD([{"params": [weights[0]], "lr": 1.0}, {"params": [weights[1]], "lr": 0.1}], lr=1.0)
    schedule = finetuning.warmup_schedule(optimizer, warmup, total, shape, floor)
    steps = np.arange(total + 3)
    part = np.clip((steps - warmup) / rest, 0, 1)
    fall = 1 - part if shape == "linear" else 0.5 * (1 + np.cos(np.pi * part))
    expected = np.where(steps < warmup, steps / max(warmup, 1), floor + (1 - floor) * fall)
    found = []
    for _ in steps:
        found.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(found, expected[:, None] * [1.0, 0.1], atol=1e-12)


def test_the_schedule_is_saved_with_its_numbers():
    optimizer = af.optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    schedule = finetuning.warmup_schedule(optimizer, 2, 10)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    other = finetuning.warmup_schedule(af.optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0), 3, 20, "cosine")
    other.load_state_dict(schedule.state_dict())
    assert other.get_last_lr() == schedule.get_last_lr() == [0.75]
    assert other.lr_lambdas[0].total_steps == 10


@pytest.mark.parametrize("numbers", [(5, 4), (-1, 4), (0, 0), (1.5, 4)])
def test_schedules_that_cannot_be(numbers):
    optimizer = af.optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(OptimizerError, match="cannot have a warm-up"):
        finetuning.warmup_schedule(optimizer, *numbers)
    with pytest.raises(OptimizerError, match="shape"):
        finetuning.warmup_schedule(optimizer, 1, 2, "square")


# ---------------------------------------------------------------- LoRA


@settings(deadline=None, max_examples=60)
@given(
    st.booleans(),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 5),
    st.floats(0.5, 32),
    st.booleans(),
    st.integers(0, 9),
)
def test_lora_is_its_formula(transposed, fan_in, fan_out, rank, alpha, bias, seed):
    """Against NumPy: values and the gradients of A, B and x; merged and unmerged."""
    rng = np.random.default_rng(seed)
    base = Conv1D(fan_out, fan_in) if transposed else nn.Linear(fan_in, fan_out, bias=bias)
    base.double()
    layer = LoRA(base, rank, alpha)
    weight = base.weight.array.T if transposed else base.weight.array
    offset = 0.0 if base.bias is None else base.bias.array
    a, b = rng.normal(size=(rank, fan_in)), rng.normal(size=(fan_out, rank))
    assert not layer.lora_B.array.any()
    assert layer.lora_A.array.dtype == np.float64
    with af.no_grad():
        layer.lora_A.copy_(af.tensor(a))
        layer.lora_B.copy_(af.tensor(b))
    numbers, upstream = rng.normal(size=(2, 3, fan_in)), rng.normal(size=(2, 3, fan_out))
    x = af.tensor(numbers, requires_grad=True)
    out = layer(x)
    scale = alpha / rank
    effective = weight + scale * b @ a
    np.testing.assert_allclose(out.detach().numpy(), numbers @ effective.T + offset, rtol=1e-9, atol=1e-9)
    out.backward(af.tensor(upstream))
    rows, up = numbers.reshape(-1, fan_in), upstream.reshape(-1, fan_out)
    np.testing.assert_allclose(layer.lora_B.grad.numpy(), scale * up.T @ (rows @ a.T), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(layer.lora_A.grad.numpy(), scale * (up @ b).T @ rows, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(x.grad.numpy(), upstream @ effective, rtol=1e-9, atol=1e-9)
    assert base.weight.grad is None
    assert base.bias is None or base.bias.grad is None
    np.testing.assert_allclose(
        layer.weight.detach().numpy(), effective.T if transposed else effective, rtol=1e-9, atol=1e-9
    )
    before = base.weight.array.copy()
    layer.eval().merge()
    np.testing.assert_allclose(layer(x).detach().numpy(), out.detach().numpy(), rtol=1e-9, atol=1e-9)
    layer.unmerge()
    assert np.array_equal(base.weight.array, before)


def test_a_wrong_scale_would_be_seen():
    """The comparison with NumPy above tells a planted fault."""
    af.manual_seed(0)
    layer = LoRA(nn.Linear(3, 3), 2, 8)
    nn.init.ones_(layer.lora_B)
    right = layer(af.ones(1, 3))
    layer.alpha = 2.0  # as if the change were not scaled
    assert not af.allclose(layer(af.ones(1, 3)), right)


@pytest.mark.parametrize("model", [lambda: Classifier(), lambda: hub.GPT2LMHeadModel(GPT2)], ids=["bert", "gpt2"])
def test_lora_begins_as_the_model_trains_alone_and_goes_into_the_weights(model):
    af.manual_seed(0)
    model = model()

    def run():
        out = model(af.tensor(IDS))
        return out.logits if isinstance(out, hub.DecoderOutput) else out

    plain, names = run(), list(model.state_dict())
    pattern = "*.c_attn" if isinstance(model, hub.GPT2LMHeadModel) else ["*.query", "*.value"]
    layers = finetuning.add_lora(model, pattern, rank=2, alpha=4)
    assert len(layers) == (2 if pattern == "*.c_attn" else 6)
    assert trained(model) == [f"{layer}.lora_{one}" for layer in layers for one in "AB"]
    assert np.array_equal(run().detach().numpy(), plain.detach().numpy())
    before = snapshot(model)
    optimizer = af.optim.AdamW(finetuning.trainable_parameters(model), lr=0.05)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        logits = run()
        target = af.tensor(IDS[..., : logits.ndim - 1] % 2) if logits.ndim == 2 else af.tensor(IDS)
        target = target.reshape(-1)[: logits.numel() // logits.shape[-1]]
        loss = nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    moved = {name for name, array in snapshot(model).items() if not np.array_equal(array, before[name])}
    assert moved == set(trained(model))
    tuned = run().detach().numpy()
    model.eval()
    np.testing.assert_allclose(run().detach().numpy(), tuned, atol=1e-5)
    finetuning.merge_lora(model)
    np.testing.assert_allclose(run().detach().numpy(), tuned, atol=1e-5)
    finetuning.unmerge_lora(model)
    assert all(np.array_equal(array, before[name]) for name, array in snapshot(model).items() if name not in moved)
    finetuning.remove_lora(model)
    assert list(model.state_dict()) == names
    np.testing.assert_allclose(run().detach().numpy(), tuned, atol=1e-5)
    assert not np.allclose(tuned, plain.detach().numpy(), atol=1e-3)


def test_removing_lora_without_merging_gives_the_model_back():
    model = Classifier()
    before = snapshot(model)
    finetuning.add_lora(model, finetuning.feedforward(model), rank=2)
    adam_step(model)
    finetuning.remove_lora(model, merge=False)
    after = snapshot(model)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_lora_dropout_drops_the_changes_input_only():
    af.manual_seed(0)
    layer = LoRA(nn.Linear(50, 4), 2, 2, dropout=0.5)
    nn.init.ones_(layer.lora_B)
    x = af.ones(1, 50)
    base = layer.base_layer(x)
    first, second = layer(x), layer(x)
    assert not af.allclose(first, second)
    layer.eval()
    assert af.equal(layer(x), layer(x))
    af.manual_seed(3)
    kept = nn.functional.dropout(x, 0.5)
    af.manual_seed(3)
    layer.train()
    expected = base + (kept @ layer.lora_A.t()) @ layer.lora_B.t()
    assert af.allclose(layer(x), expected, atol=1e-5)


def test_lora_compiled_is_lora():
    losses = []
    for compiled in (False, True):
        af.manual_seed(0)
        model = Classifier()
        finetuning.add_lora(model, "*.dense", rank=2, dropout=0.1, train_also="classifier")
        optimizer = af.optim.AdamW(finetuning.trainable_parameters(model), lr=0.01)
        schedule = finetuning.warmup_schedule(optimizer, 2, 8)

        def step(ids, labels, model=model, optimizer=optimizer, schedule=schedule):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(ids), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            return loss

        run = af.compile(step, fast=False) if compiled else step
        losses.append([run(af.tensor(IDS), af.tensor([0, 1])).item() for _ in range(6)])
        if compiled:
            assert len(run.plan.instructions) > 10
            finetuning.merge_lora(model.eval())  # what a replay rests on was exchanged
            merged = run(af.tensor(IDS), af.tensor([0, 1])).item()
            assert merged == pytest.approx(
                nn.functional.cross_entropy(model(af.tensor(IDS)), af.tensor([0, 1])).item(), abs=0.2
            )
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_layers_that_read_the_weight_of_another_see_the_change():
    """Multi-head attention reads out_proj.weight itself: it gets the changed weight, with its gradient."""
    af.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = af.randn(2, 3, 8)
    plain, _ = attention(x, x, x)
    assert finetuning.add_lora(attention, "out_proj", rank=2) == ["out_proj"]
    assert af.allclose(attention(x, x, x)[0], plain, atol=1e-6)
    nn.init.ones_(attention.out_proj.lora_B)
    changed, _ = attention(x, x, x)
    assert not af.allclose(changed, plain, atol=1e-3)
    changed.sum().backward()
    assert attention.out_proj.lora_A.grad.abs().sum().item() > 0
    finetuning.merge_lora(attention.eval())
    assert af.allclose(attention(x, x, x)[0], changed, atol=1e-5)


def test_a_tied_head_with_lora_leaves_the_embedding_alone():
    model = hub.GPT2LMHeadModel(GPT2).eval()
    table = model.transformer.wte.weight.array.copy()
    finetuning.add_lora(model, "lm_head", rank=2)
    nn.init.ones_(model.lm_head.lora_B)
    tuned = model(af.tensor(IDS)).logits
    finetuning.merge_lora(model)
    assert af.allclose(model(af.tensor(IDS)).logits, tuned, atol=1e-5)
    assert np.array_equal(model.transformer.wte.weight.array, table)
    finetuning.unmerge_lora(model)
    assert model.lm_head.base_layer.weight is model.transformer.wte.weight
    with pytest.raises(ModuleError, match=r"'lm_head' is tied to transformer.wte.weight"):
        finetuning.remove_lora(model)
    finetuning.remove_lora(model, merge=False)
    assert model.lm_head.weight is model.transformer.wte.weight


def test_a_merged_change_is_not_saved_twice():
    model = Classifier()
    finetuning.add_lora(model, "*.query", rank=2)
    state = snapshot(model)
    finetuning.merge_lora(model)
    for use in (model.state_dict, lambda: model.load_state_dict(state)):
        with pytest.raises(ModuleError, match="count it twice"):
            use()
    finetuning.unmerge_lora(model)
    assert model.state_dict().keys() == state.keys()


def test_a_shared_layer_gets_one_lora():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    assert finetuning.add_lora(model, "*", rank=1) == ["0"]
    assert model[0] is model[2]
    assert isinstance(model[0], LoRA)
    finetuning.remove_lora(model)
    assert model[0] is model[2] is layer


def test_lora_refusals_change_nothing():
    model = Classifier()
    before = repr(model)
    with pytest.raises(ModuleError, match="no Linear or Conv1D"):
        finetuning.add_lora(model, ["*.query", "*.LayerNorm"])
    with pytest.raises(ModuleError, match="fits the name of no parameter"):
        finetuning.add_lora(model, "*.query", train_also="head")
    with pytest.raises(ShapeError, match="rank"):
        finetuning.add_lora(model, "*.query", rank=0)
    with pytest.raises(ShapeError, match="dropout"):
        finetuning.add_lora(model, "*.query", dropout=1.5)
    assert repr(model) == before
    with pytest.raises(ModuleError, match="of class Embedding"):
        LoRA(nn.Embedding(3, 3))
    with pytest.raises(ModuleError, match="has no LoRA"):
        finetuning.merge_lora(model)
    finetuning.add_lora(model, "*.query")
    with pytest.raises(ModuleError, match="has LoRA around it already"):
        finetuning.add_lora(model, "*layer.0*")
    with pytest.raises(ModuleError, match="would not reach it"):
        finetuning.merge_lora(model.train())(af.tensor(IDS))


def test_lora_again_keeps_the_first():
    model = Classifier()
    finetuning.add_lora(model, "*.query", rank=1)
    finetuning.add_lora(model, "*.value", rank=2, train_also="classifier")
    kinds = {name.split(".")[-2] for name in trained(model)}
    assert kinds == {"query", "value", "classifier"}
    free = Classifier()
    finetuning.add_lora(free, "*.query", freeze_rest=False)
    assert not any("query.base_layer" in name for name in trained(free))
    assert "body.encoder.layer.0.attention.self.key.weight" in trained(free)


def test_a_copy_of_a_model_with_lora_is_apart():
    model = Classifier(add_pooling_layer=False)
    finetuning.add_lora(model, "*.query", rank=2)
    other = copy.deepcopy(model)
    assert trained(other) == trained(model)
    before = snapshot(model)
    adam_step(other)
    assert all(np.array_equal(before[name], array) for name, array in snapshot(model).items())


# ---------------------------------------------------------------- adapters


def test_an_adapter_is_its_formula():
    af.manual_seed(0)
    layer = finetuning.Adapter(nn.Linear(5, 6), size=3, activation="relu").double()
    for one in (layer.up.weight, layer.down.bias):
        nn.init.normal_(one)
    x = np.random.default_rng(0).normal(size=(4, 5))
    y = x @ layer.base_layer.weight.array.T + layer.base_layer.bias.array
    hidden = np.maximum(y @ layer.down.weight.array.T + layer.down.bias.array, 0)
    expected = y + hidden @ layer.up.weight.array.T + layer.up.bias.array
    np.testing.assert_allclose(layer(af.tensor(x)).detach().numpy(), expected, rtol=1e-12)


def test_adapters_begin_as_the_model_and_train_alone():
    af.manual_seed(0)
    model = Classifier(add_pooling_layer=False)
    plain = model(af.tensor(IDS))
    names = finetuning.add_adapters(model, "*.output.dense", size=2, train_also=["classifier", "*.LayerNorm"])
    assert len(names) == 6
    assert np.array_equal(model(af.tensor(IDS)).detach().numpy(), plain.detach().numpy())
    before = snapshot(model)
    losses = [adam_step(model) for _ in range(5)]
    assert losses[-1] < losses[0]
    moved = {name for name, array in snapshot(model).items() if not np.array_equal(array, before[name])}
    assert moved == set(trained(model))
    assert {name for name in moved if "base_layer" in name} == set()
    finetuning.remove_adapters(model)
    assert "body.encoder.layer.0.output.dense.weight" in model.state_dict()


def test_adapter_refusals():
    model = Classifier()
    with pytest.raises(ModuleError, match="how wide"):
        finetuning.add_adapters(model, "body.encoder.layer.0.attention")
    assert finetuning.add_adapters(model, "body.encoder.layer.0.attention", width=8) == [
        "body.encoder.layer.0.attention"
    ]
    model(af.tensor(IDS))
    with pytest.raises(ModuleError, match="already"):
        finetuning.add_adapters(model, "body.encoder.layer.0.attention", width=8)
    finetuning.add_adapters(model, "body", width=8)
    with pytest.raises(ModuleError, match="another thing: EncoderOutput"):
        model(af.tensor(IDS))
    with pytest.raises(ShapeError, match="size"):
        finetuning.Adapter(nn.Linear(2, 2), 0)
    with pytest.raises(ModuleError, match="has no adapters"):
        finetuning.remove_adapters(nn.Linear(2, 2))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("order", ["lora first", "adapters first"])
def test_adapters_alone_are_saved_and_put_into_another_model(order, tmp_path):
    af.manual_seed(0)
    model = Classifier(add_pooling_layer=False)
    other = copy.deepcopy(model)
    steps = [
        lambda: finetuning.add_lora(model, "*.dense", rank=2, alpha=3, train_also="classifier"),
        lambda: finetuning.add_adapters(model, "*.output.dense", size=2, train_also="classifier"),
    ]
    for step in steps if order == "lora first" else steps[::-1]:
        step()
    for _ in range(3):
        adam_step(model)
    path = tmp_path / "adapters.safetensors"
    finetuning.save_adapters(model, path, also="classifier")
    assert path.stat().st_size < 0.9 * sum(one.array.nbytes for one in model.state_dict().values()) + 20_000
    assert sorted(finetuning.load_adapters(other, path)) == sorted({
        *[f"body.encoder.layer.{n}.{name}" for n in range(3) for name in ("attention.output.dense", "intermediate.dense", "output.dense")]
    })  # fmt: skip
    assert np.array_equal(other(af.tensor(IDS)).detach().numpy(), model(af.tensor(IDS)).detach().numpy())
    assert set(trained(other)) == {name for name in trained(model) if not name.startswith("classifier")}
    adam_step(model)
    finetuning.save_adapters(model, path, also="classifier")
    finetuning.load_adapters(other, path)  # into those that are there
    assert np.array_equal(other(af.tensor(IDS)).detach().numpy(), model(af.tensor(IDS)).detach().numpy())


def test_the_state_of_adapters_is_small_and_goes_back():
    model = Classifier()
    finetuning.add_lora(model, "*.query", rank=1)
    state = finetuning.adapter_state_dict(model)
    assert list(state) == trained(model)
    kept = {name: one.array.copy() for name, one in state.items()}
    adam_step(model)
    moved = finetuning.adapter_state_dict(model)
    assert any(not np.array_equal(moved[name].array, kept[name]) for name in kept)
    keys = model.load_state_dict(kept, strict=False)
    assert keys.unexpected_keys == []
    assert all(np.array_equal(one.array, kept[name]) for name, one in finetuning.adapter_state_dict(model).items())


def test_files_that_do_not_fit(tmp_path):
    model = Classifier()
    with pytest.raises(ModuleError, match="neither LoRA nor adapters"):
        finetuning.save_adapters(model, tmp_path / "none")
    af.save({"weight": af.ones(2)}, tmp_path / "plain")
    with pytest.raises(FileFormatError, match="no adapters"):
        finetuning.load_adapters(model, tmp_path / "plain")
    finetuning.add_lora(model, "*.query")
    finetuning.save_adapters(model, tmp_path / "lora")
    with pytest.raises(ModuleError, match="fits the name of no"):
        finetuning.load_adapters(hub.GPT2Model(GPT2), tmp_path / "lora")
    other = Classifier()
    finetuning.add_lora(other, "*.key")
    with pytest.raises(ModuleError, match="others than the file"):
        finetuning.load_adapters(other, tmp_path / "lora")
    finetuning.merge_lora(model)
    with pytest.raises(ModuleError, match="merged"):
        finetuning.load_adapters(model, tmp_path / "lora")


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize("depth", [1, 2, 4, 9])
def test_the_table_counts_everything_once(depth):
    model = nn.Sequential(hub.GPT2LMHeadModel(GPT2), Classifier())
    finetuning.freeze(model, "0.transformer.h.0")
    finetuning.add_lora(model, "1.*.query", rank=2, freeze_rest=False)
    table = parameter_table(model, depth)
    parameters = list(model.parameters())
    assert table.total.parameters == sum(one.numel() for one in parameters) == sum(row.parameters for row in table.rows)
    assert table.total.trainable == sum(one.numel() for one in parameters if one.requires_grad)
    assert table.total.bytes == sum(one.array.nbytes for one in parameters) == sum(row.bytes for row in table.rows)
    assert table.training_bytes == 3 * 4 * table.total.trainable
    assert (
        max(row.name.count(".") for row in table.rows)
        == min(depth, max(name.count(".") for name, _ in model.named_parameters())) - 1
    )
    text = str(table)
    assert f"{table.total.trainable:,}" in text
    assert len(text.splitlines()) == len(table.rows) + 5
    markdown = table.to_markdown().splitlines()
    assert all(line.count("|") == 7 for line in markdown[:-2])
    assert f"| **{table.total.frozen:,}** |" in markdown[-3]


def test_the_table_of_stored_weights_counts_numbers_and_bytes():
    model = Classifier()
    finetuning.freeze(model, "body")
    before = parameter_table(model).total
    finetuning.store_frozen(model, "bfloat16")
    after = parameter_table(model).total
    assert (after.trainable, after.frozen) == (before.trainable, before.frozen)
    matrices = sum(one.numel() for one in model.buffers())
    assert after.bytes == before.bytes - 2 * matrices
    assert matrices > 0.7 * before.frozen


def test_merging_into_half_precision_is_refused():
    model = Classifier()
    finetuning.freeze(model, "body")
    finetuning.store_frozen(model)
    finetuning.add_lora(model, "*.query", rank=2)
    with pytest.raises(DtypeError, match="half precision"):
        finetuning.merge_lora(model)
    finetuning.widen_frozen(model)
    finetuning.merge_lora(model)
