"""BERT and GPT-2: against the same formulas in plain NumPy, against transformers where it is installed, and their files."""

import json
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

import autograd_ff as af
from autograd_ff import hub
from autograd_ff.errors import DimensionError, FileFormatError, GraphError, ShapeError, StateDictError
from autograd_ff.hub.layers import ACTIVATIONS, Conv1D
from autograd_ff.nn import functional as F
from autograd_ff.testing import assert_gradients


def bert_config(**changed):
    small = {
        "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
        "max_position_embeddings": 9, "initializer_range": 0.4,
    }  # fmt: skip
    return hub.BertConfig(**{**small, **changed})


def gpt_config(**changed):
    small = {"vocab_size": 13, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2, "initializer_range": 0.4}
    return hub.GPT2Config(**{**small, **changed})


def bert(seed=0, **changed):
    af.manual_seed(seed)
    model = hub.BertModel(bert_config(**changed)).double().eval()
    for parameter in model.parameters():  # biases and LayerNorms too
        parameter.data.add_(0.1 * af.randn(*parameter.shape, dtype="float64"))
    return model


def gpt(seed=0, **changed):
    af.manual_seed(seed)
    model = hub.GPT2LMHeadModel(gpt_config(**changed)).double().eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * af.randn(*parameter.shape, dtype="float64"))
    return model


# ---------------------------------------------------------------- the formulas, text by text


def layer_norm(x, state, name, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * state[f"{name}.weight"] + state[f"{name}.bias"]


def attention(query, key, value, count, allowed, scale):
    parts = []
    for q, k, v in zip(*(np.split(one, count, -1) for one in (query, key, value)), strict=True):
        scores = np.where(allowed, q @ k.T * scale, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        parts.append(weights / weights.sum(-1, keepdims=True) @ v)
    return np.concatenate(parts, -1)


def plain_bert(model, ids, types):
    """The vectors of one text without padding."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config = model.config

    def dense(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    x = state["embeddings.word_embeddings.weight"][ids] + state["embeddings.token_type_embeddings.weight"][types]
    x = x + state["embeddings.position_embeddings.weight"][: len(ids)]
    x = layer_norm(x, state, "embeddings.LayerNorm", config.layer_norm_eps)
    for number in range(config.num_hidden_layers):
        at = f"encoder.layer.{number}"
        query, key, value = (dense(x, f"{at}.attention.self.{one}") for one in ("query", "key", "value"))
        scale = 1 / math.sqrt(config.hidden_size // config.num_attention_heads)
        seen = attention(query, key, value, config.num_attention_heads, np.True_, scale)
        seen = dense(seen, f"{at}.attention.output.dense")
        x = layer_norm(x + seen, state, f"{at}.attention.output.LayerNorm", config.layer_norm_eps)
        wide = dense(x, f"{at}.intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        x = layer_norm(x + dense(wide, f"{at}.output.dense"), state, f"{at}.output.LayerNorm", config.layer_norm_eps)
    return x, np.tanh(dense(x[0], "pooler.dense"))


def plain_gpt(model, ids):
    """The scores of one text."""
    state = {name.removeprefix("transformer."): tensor.numpy() for name, tensor in model.state_dict().items()}
    config = model.config

    def dense(x, name):
        return x @ state[f"{name}.weight"] + state[f"{name}.bias"]

    x = state["wte.weight"][ids] + state["wpe.weight"][: len(ids)]
    for number in range(config.n_layer):
        normal = layer_norm(x, state, f"h.{number}.ln_1", config.layer_norm_epsilon)
        query, key, value = np.split(dense(normal, f"h.{number}.attn.c_attn"), 3, -1)
        scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        scale /= number + 1 if config.scale_attn_by_inverse_layer_idx else 1
        allowed = np.tri(len(ids), dtype=bool)
        seen = attention(query, key, value, config.n_head, allowed, scale)
        x = x + dense(seen, f"h.{number}.attn.c_proj")
        wide = dense(layer_norm(x, state, f"h.{number}.ln_2", config.layer_norm_epsilon), f"h.{number}.mlp.c_fc")
        wide = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
        x = x + dense(wide, f"h.{number}.mlp.c_proj")
    return layer_norm(x, state, "ln_f", config.layer_norm_epsilon) @ state["lm_head.weight"].T


TEXTS = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=9), min_size=1, max_size=4)


@given(TEXTS, st.integers(0, 9), st.sampled_from([1, 2, 4]), st.booleans())
@settings(max_examples=25)
def test_bert_is_its_formulas_and_padding_does_not_matter(texts, seed, count, keep):
    model = bert(seed, num_attention_heads=count)
    wide = min(max(map(len, texts)) + seed % 2, 9)
    ids, mask, types = (np.zeros((len(texts), wide), int) for _ in range(3))
    ids += 7  # what stands in the padding is all the same
    places = []
    for row, text in enumerate(texts):
        place = slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
        types[row, place] = np.arange(len(text)) % 2
        places.append(place)
    output = model(af.tensor(ids), af.tensor(mask), af.tensor(types), output_hidden_states=keep)
    for row, text in enumerate(texts):
        states, pooled = plain_bert(model, text, types[row, places[row]])
        np.testing.assert_allclose(
            output.last_hidden_state.detach().numpy()[row, places[row]], states, rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(output.pooler_output.detach().numpy()[row], pooled, rtol=1e-9, atol=1e-9)
    assert (output.hidden_states is not None) == keep
    if keep:
        assert len(output.hidden_states) == 3
        assert output.hidden_states[-1] is output.last_hidden_state


@given(TEXTS, st.integers(0, 9), st.booleans(), st.booleans())
@settings(max_examples=25)
def test_gpt2_is_its_formulas_with_and_without_a_cache_and_padding(texts, seed, by_layer, tied):
    model = gpt(seed, scale_attn_by_inverse_layer_idx=by_layer, tie_word_embeddings=tied)
    for text in texts:
        scores = plain_gpt(model, text)
        whole = model(af.tensor([text])).logits.detach().numpy()[0]
        np.testing.assert_allclose(whole, scores, rtol=1e-9, atol=1e-9)
        cut = seed % len(text)
        with af.no_grad():
            cache = model.new_cache(1, 16)
            parts = [
                model(af.tensor([part]), cache=cache).logits.numpy()[0] for part in (text[:cut], text[cut:]) if part
            ]
        assert cache[0].length == len(text)
        np.testing.assert_allclose(np.concatenate(parts), scores, rtol=1e-9, atol=1e-9)
    wide = max(map(len, texts))
    ids = np.array([[5] * (wide - len(text)) + text for text in texts])
    mask = np.array([[0] * (wide - len(text)) + [1] * len(text) for text in texts])
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    padded = model(af.tensor(ids), af.tensor(mask), af.tensor(positions)).logits.detach().numpy()
    for row, text in enumerate(texts):
        np.testing.assert_allclose(padded[row, wide - len(text) :], plain_gpt(model, text), rtol=1e-9, atol=1e-9)


def test_a_mask_for_each_token():
    """(batch, queries, keys): a lower triangle makes an encoder blind for what comes."""
    model = bert()
    mask = af.tril(af.ones(1, 4, 4))
    first = model(af.tensor([[1, 2, 3, 4]]), mask).last_hidden_state.detach().numpy()
    other = model(af.tensor([[1, 2, 9, 9]]), mask).last_hidden_state.detach().numpy()
    np.testing.assert_allclose(first[:, :2], other[:, :2], rtol=1e-12)
    assert np.abs(first[:, 2:] - other[:, 2:]).max() > 1e-3


def test_vectors_and_positions_in_place_of_tokens():
    model = bert()
    ids = af.tensor([[3, 1, 4]])
    whole = model(ids).last_hidden_state.detach().numpy()
    vectors = model(inputs_embeds=model.embeddings.word_embeddings(ids), position_ids=af.tensor([[0, 1, 2]]))
    np.testing.assert_allclose(vectors.last_hidden_state.detach().numpy(), whole, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_by_name(name):
    assert bert(hidden_act=name)(af.tensor([[1, 2]])).last_hidden_state.shape == (1, 2, 8)
    assert gpt(activation_function=name)(af.tensor([[1, 2]])).logits.shape == (1, 2, 13)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_of_all_parameters(tied):
    ids = af.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    mask = af.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    encoder = bert(pad_token_id=None, hidden_size=4, intermediate_size=6)
    weights = af.randn(2, 4, dtype="float64")
    assert_gradients(
        encoder,
        (ids, mask),
        loss=lambda out: (hub.mean_pooling(out.last_hidden_state, mask) * weights).sum() + out.pooler_output.sum(),
    )
    decoder = gpt(n_embd=4, tie_word_embeddings=tied)
    assert_gradients(
        decoder, (ids,), loss=lambda out: F.cross_entropy(out.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    )


def test_dropout_works_in_training_alone():
    for model, ids in ((bert(), af.tensor([[1, 2, 3]])), (gpt(), af.tensor([[1, 2, 3]]))):
        calm = [model(ids)[0].detach().numpy() for _ in range(2)]
        np.testing.assert_array_equal(*calm)
        model.train()
        wild = [model(ids)[0].detach().numpy() for _ in range(2)]
        assert np.abs(wild[0] - wild[1]).max() > 1e-3


def test_a_step_can_be_compiled():
    model = gpt().float()
    optimizer = af.optim.SGD(model.parameters(), lr=0.1)

    def step(ids):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss

    ids = af.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    compiled = af.compile(step)
    losses = [float(compiled(ids)) for _ in range(5)]
    model.load_state_dict(gpt().float().state_dict())
    np.testing.assert_allclose(losses, [float(step(ids)) for _ in range(5)], rtol=1e-4)
    assert losses[-1] < losses[0]


# ---------------------------------------------------------------- transformers


def assert_same_names(ours, theirs):
    assert [(n, tuple(t.shape)) for n, t in ours.state_dict().items()] == [
        (n, tuple(t.shape)) for n, t in theirs.state_dict().items()
    ]
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["bert", "gpt2", "gpt2 untied"])
def test_like_transformers_in_names_values_gradients_and_files(tmp_path, kind):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "bert":
        theirs = transformers.BertModel(transformers.BertConfig(**bert_config().to_dict()))
    else:
        config = gpt_config(tie_word_embeddings=kind == "gpt2", bos_token_id=1, eos_token_id=1)
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config.to_dict()))
    theirs = theirs.eval()
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="2KB")
    ours = hub.from_pretrained(tmp_path / "theirs")
    assert_same_names(ours, theirs)
    ids, mask = np.array([[3, 1, 4, 1], [5, 9, 2, 6]]), np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    our_output = ours(af.tensor(ids), af.tensor(mask), output_hidden_states=True)
    their_output = theirs(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), output_hidden_states=True)
    for one, other in zip(our_output.hidden_states, their_output.hidden_states, strict=True):
        seen = mask.astype(bool)
        np.testing.assert_allclose(one.detach().numpy()[seen], other.detach().numpy()[seen], rtol=1e-4, atol=1e-5)
    weights = np.random.default_rng(0).normal(size=our_output[0].shape).astype(np.float32) * mask[..., None].astype(
        np.float32
    )
    (our_output[0] * af.tensor(weights)).sum().backward()
    (their_output[0] * torch.tensor(weights)).sum().backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if one.grad is not None or other.grad is not None:
            np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-3, atol=2e-4, err_msg=name)
    if kind != "bert":
        for lean in (0, 2):
            left = np.ones_like(ids)
            left[0, :lean] = 0
            settings = {
                "max_new_tokens": 8,
                "attention_mask": torch.tensor(left),
                "do_sample": False,
                "pad_token_id": 0,
            }
            wanted = theirs.generate(torch.tensor(ids), **settings).numpy()
            made = ours.generate(af.tensor(ids), 8, attention_mask=af.tensor(left), stop=1)
            np.testing.assert_array_equal(made.numpy(), wanted)
    ours.save_pretrained(tmp_path / "ours", max_shard_size="2KB")
    again = type(theirs).from_pretrained(tmp_path / "ours").eval()
    for one, other in zip(again.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(one, other)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("make", [bert, gpt, lambda: gpt(tie_word_embeddings=False)])
@pytest.mark.parametrize("size", ["5GB", 300])
def test_what_is_saved_comes_back(tmp_path, make, size):
    model = make().float()
    model.config.extra["note"] = [1, {"kept": True}]
    model.save_pretrained(tmp_path, size)
    again = hub.from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert again.config == model.config
    assert not again.training
    for (name, one), (other_name, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other_name
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert len(list(again.parameters())) == len(list(model.parameters()))  # tied as before


def test_dtypes_of_the_parameters(tmp_path):
    bert().save_pretrained(tmp_path, dtype="float16")
    for dtype, wanted in ((None, "float32"), ("auto", "float16"), ("float16", "float16"), ("float64", "float64")):
        model = hub.from_pretrained(tmp_path, dtype=dtype)
        assert {str(parameter.dtype) for parameter in model.parameters()} == {wanted}
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_pooler_is_there_where_the_file_has_it(tmp_path):
    af.manual_seed(0)
    hub.BertModel(bert_config(), add_pooling_layer=False).save_pretrained(tmp_path / "without")
    assert hub.from_pretrained(tmp_path / "without").pooler is None
    with pytest.raises(StateDictError, match=r"missing.*\n(.*\n)*.*pooler.dense.weight"):
        hub.from_pretrained(tmp_path / "without", add_pooling_layer=True)
    bert().save_pretrained(tmp_path / "with")
    assert hub.from_pretrained(tmp_path / "with").pooler is not None
    assert hub.from_pretrained(tmp_path / "with", add_pooling_layer=False).pooler is None


def test_names_of_other_checkpoints(tmp_path):
    """With a prefix and heads, with the names of old, with tables that follow from the config."""
    model = bert().float()
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in model.state_dict().items()
    }
    old |= {"bert.embeddings.position_ids": np.arange(9)[None], "cls.predictions.bias": np.zeros(13)}
    model.config.save_pretrained(tmp_path)
    hub.save_weights(old, tmp_path)
    again = hub.BertModel.from_pretrained(tmp_path)
    np.testing.assert_array_equal(
        again(af.tensor([[1, 2]]))[0].detach().numpy(), model(af.tensor([[1, 2]]))[0].detach().numpy()
    )
    model = gpt().float()
    bare = {
        name.removeprefix("transformer."): value
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    bare |= {"h.0.attn.bias": np.tri(16)[None, None], "h.1.attn.masked_bias": np.zeros(())}
    model.config.save_pretrained(tmp_path)
    hub.save_weights(bare, tmp_path)
    for kind in (hub.GPT2Model, hub.GPT2LMHeadModel):
        again = kind.from_pretrained(tmp_path)
        states = again(af.tensor([[1, 2]])).last_hidden_state.detach().numpy()
        np.testing.assert_array_equal(states, model(af.tensor([[1, 2]])).last_hidden_state.detach().numpy())
    assert again.lm_head.weight is again.transformer.wte.weight


def test_strict_loading_shows_the_difference(tmp_path):
    model = bert().float()
    state = dict(model.state_dict())
    state["encoder.layer.0.attention.self.qeury.weight"] = state.pop("encoder.layer.0.attention.self.query.weight")
    state["pooler.dense.bias"] = np.zeros(3, np.float32)
    model.config.save_pretrained(tmp_path)
    hub.save_weights(state, tmp_path)
    with pytest.raises(StateDictError) as caught:
        hub.from_pretrained(tmp_path)
    text = str(caught.value)
    assert "does not fit BertModel: 1 missing key, 1 unexpected key, 1 different shape" in text
    assert "is it 'encoder.layer.0.attention.self.qeury.weight' of the state dict?" in text
    assert "(8,)" in text
    assert "(3,)" in text
    state["pooler.dense.bias"] = np.zeros(8, np.float32)
    hub.save_weights(state, tmp_path)
    loose = hub.from_pretrained(tmp_path, strict=False)
    missing = loose.encoder.layer[0].attention.self.query.weight.detach().numpy()
    assert np.isfinite(missing).all()
    assert 0 < np.abs(missing).max() < 10  # drawn, not what the memory held


def test_tied_weights_that_differ_are_told(tmp_path):
    model = gpt(tie_word_embeddings=False).float()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    with pytest.raises(StateDictError, match=r"different\s+values"):
        hub.from_pretrained(tmp_path)


def test_loading_neither_draws_nor_copies(tmp_path):
    model = bert().float()
    model.save_pretrained(tmp_path)
    af.manual_seed(3)
    before = af.get_rng_state().tolist()
    again = hub.from_pretrained(tmp_path)
    assert af.get_rng_state().tolist() == before
    assert isinstance(again.encoder.layer[0].output.dense.weight.array.base, np.memmap)
    optimizer = af.optim.SGD(again.parameters(), lr=0.1)
    again(af.tensor([[1, 2]])).pooler_output.sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(
        hub.from_pretrained(tmp_path).pooler.dense.bias.detach(), model.pooler.dense.bias.detach()
    )


# ---------------------------------------------------------------- configs and misuse


@given(
    st.dictionaries(
        st.text(max_size=6), st.one_of(st.none(), st.integers(), st.text(max_size=4), st.booleans()), max_size=4
    )
)
def test_configs_keep_what_they_do_not_know(extra):
    for config in (bert_config(), gpt_config()):
        values = {**extra, **config.to_dict()}
        again = type(config).from_dict(json.loads(json.dumps(values)))
        assert again.to_dict() == values


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_size": 9}, {"hidden_size": 0}, {"hidden_size": "8"}, {"hidden_size": True}, {"num_hidden_layers": -1}, {"vocab_size": 1.5},
        {"hidden_dropout_prob": 1.5}, {"hidden_dropout_prob": float("nan")}, {"layer_norm_eps": -1}, {"layer_norm_eps": None},
        {"hidden_act": 3}, {"pad_token_id": 13}, {"extra": {"position_embedding_type": "relative_key"}}, {"extra": {"is_decoder": True}},
    ],
)  # fmt: skip
def test_configs_that_cannot_be(changed):
    with pytest.raises(ShapeError, match="BertConfig"):
        bert_config(**changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**9}, "speaks of 1,000,000,000 layers"),
        ({"hidden_size": 2 * 10**15}, "cannot be built"),
        ({"vocab_size": 10**30}, "cannot be built"),
        ({"hidden_act": "swish3"}, "cannot be built: the activation 'swish3'"),
        ({"num_attention_heads": 3}, "not divisible"),
        ({"model_type": "llama", "architectures": ["Llama"]}, "implemented are"),
        ({"model_type": ["bert"], "architectures": 7}, "implemented are"),
    ],
)
def test_hostile_configs(tmp_path, change, message):
    bert().save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(FileFormatError, match=message) as caught:
        hub.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, "\xff"])
def test_configs_that_are_no_json_object(tmp_path, text):
    bert().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"config\.json"):
        hub.from_pretrained(tmp_path)
    os.unlink(tmp_path / "config.json")
    with pytest.raises(FileNotFoundError):
        hub.from_pretrained(tmp_path)


def test_misuse_is_told():
    encoder, decoder = bert(), gpt()
    with pytest.raises(ShapeError, match="unsqueeze"):
        encoder(af.tensor([1, 2]))
    with pytest.raises(ShapeError, match=r"10 tokens, and the model has 9 positions(.*\n)*.*max_length=9"):
        encoder(af.zeros(1, 10, dtype="int64"))
    with pytest.raises(ShapeError, match="the attention mask has shape"):
        encoder(af.tensor([[1, 2]]), af.tensor([[1]]))
    with pytest.raises(ShapeError, match="either input_ids or inputs_embeds"):
        encoder()
    with pytest.raises(DimensionError):
        encoder(af.tensor([[13]]))
    with pytest.raises(ShapeError, match="17 tokens"):
        decoder(af.zeros(1, 17, dtype="int64"))
    with pytest.raises(GraphError, match="no_grad"):
        decoder(af.tensor([[1]]), cache=decoder.new_cache(1, 4))
    with pytest.raises(ShapeError, match="room for 1 "), af.no_grad():
        decoder(af.tensor([[1, 2]]), cache=decoder.new_cache(1, 1))
    with pytest.raises(ShapeError, match="BertConfig"):
        hub.BertModel(gpt_config())
    with pytest.raises(ShapeError, match="mean_pooling takes"):
        hub.mean_pooling(af.ones(2, 3))


def test_conv1d_is_linear_with_the_weight_turned():
    layer, linear = Conv1D(3, 4), af.nn.Linear(4, 3)
    linear.weight.data.copy_(layer.weight.detach().t())
    linear.bias.data.copy_(layer.bias.detach())
    input = af.randn(5, 4)
    np.testing.assert_allclose(layer(input).detach().numpy(), linear(input).detach().numpy(), rtol=1e-6)
    layer(input).sum().backward()
    linear(input).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy().T, linear.weight.grad.numpy(), rtol=1e-6)
