"""MiniLM: our sentence vectors are those of PyTorch and transformers on the same weights."""

import json
from pathlib import Path

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import hub
from autograd_ff.data import locate
from autograd_ff.errors import MissingDataError

pytest.importorskip("tokenizers")
try:
    FOLDER = locate("minilm")
except MissingDataError as error:
    pytest.skip(str(error), allow_module_level=True)
GOLDEN = json.loads((Path(__file__).parent / "golden" / "minilm.json").read_text())


@pytest.fixture(scope="module")
def encoder():
    return hub.SentenceEncoder.from_pretrained(FOLDER)


def test_the_tokens_are_theirs(encoder):
    batch = encoder.tokenizer.encode_batch(GOLDEN["sentences"], max_length=GOLDEN["max_length"])
    for row, mask, wanted in zip(
        batch.input_ids.tolist(), batch.attention_mask.tolist(), GOLDEN["input_ids"], strict=True
    ):
        assert row == wanted + [0] * (len(row) - len(wanted))
        assert sum(mask) == len(wanted)


@pytest.mark.parametrize("grad", [True, False])
def test_the_vectors_are_theirs_in_one_padded_batch(encoder, grad):
    batch = encoder.tokenizer.encode_batch(GOLDEN["sentences"], max_length=GOLDEN["max_length"])
    with af.set_grad_enabled(grad):
        states = encoder.model(*batch).last_hidden_state
        vectors = hub.mean_pooling(states, batch.attention_mask)
    np.testing.assert_allclose(vectors.detach().numpy(), GOLDEN["vectors"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(states.detach().numpy()[:, 0, :16], GOLDEN["first_tokens"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors.detach().numpy(), axis=1), 1, rtol=1e-5)


def test_encoding_in_batches_by_length_gives_the_same(encoder):
    encoder.max_length, before = GOLDEN["max_length"], encoder.max_length
    try:
        for batch_size in (1, 5, 32):
            vectors = encoder.encode(GOLDEN["sentences"], batch_size)
            np.testing.assert_allclose(vectors.numpy(), GOLDEN["vectors"], rtol=0, atol=1e-5)
    finally:
        encoder.max_length = before
    assert before == 256  # as sentence-transformers cuts them
    assert not any(module.training for module in encoder.modules())


def test_encoding_leaves_each_module_in_its_mode(encoder):
    layers = encoder.model.encoder.layer
    layers[1].train()
    try:
        first, second = (encoder.encode(["One text."]).numpy() for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert layers[1].output.dropout.training
        assert not layers[0].output.dropout.training
    finally:
        encoder.eval()


def test_pairs_with_token_types(encoder):
    firsts, seconds = zip(*GOLDEN["pairs"], strict=True)
    batch = encoder.tokenizer.encode_batch(firsts, seconds)
    for row, wanted in zip(batch.input_ids.tolist(), GOLDEN["pair_input_ids"], strict=True):
        assert row[: len(wanted)] == wanted
    with af.no_grad():
        states = encoder.model(*batch).last_hidden_state.numpy()
    np.testing.assert_allclose(states[:, 0], GOLDEN["pair_first_tokens"], rtol=0, atol=1e-4)


def test_float16_weights_at_half_the_memory(encoder):
    half = hub.from_pretrained(FOLDER, dtype="float16")
    assert {parameter.dtype for parameter in half.parameters()} == {af.float16}
    batch = encoder.tokenizer.encode_batch(GOLDEN["sentences"][:4])
    with af.no_grad():
        vectors = hub.mean_pooling(half(*batch).last_hidden_state.float(), batch.attention_mask).numpy()
    assert (vectors * np.array(GOLDEN["vectors"][:4])).sum(1).min() > 0.999


def test_sense(encoder):
    vectors = encoder.encode(["A cat sleeps.", "A kitten is napping.", "Interest rates rose again."]).numpy()
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.5 > 0.3 > cosines[0, 2]


def test_saved_and_loaded_in_shards(encoder, tmp_path):
    encoder.model.save_pretrained(tmp_path, "20MB")
    encoder.tokenizer.save_pretrained(tmp_path)
    again = hub.SentenceEncoder.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.encode(["One text."]).numpy(), encoder.encode(["One text."]).numpy())


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_live_beside_transformers(encoder):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    theirs = transformers.BertModel.from_pretrained(FOLDER).eval()
    texts = ["What is the capital of Peru?", "Lima.", "x" * 30, "One two three four five six seven eight nine ten."]
    batch = encoder.tokenizer.encode_batch(texts)
    with torch.no_grad():
        mask = torch.tensor(batch.attention_mask.numpy())
        states = theirs(input_ids=torch.tensor(batch.input_ids.numpy()), attention_mask=mask).last_hidden_state
        tokens = mask.unsqueeze(-1).float()
        wanted = torch.nn.functional.normalize((states * tokens).sum(1) / tokens.sum(1))
    np.testing.assert_allclose(encoder.encode(texts).numpy(), wanted.numpy(), rtol=0, atol=1e-5)
    names = [name for name in theirs.state_dict() if not name.startswith("pooler.")]
    assert [name for name in encoder.model.state_dict() if not name.startswith("pooler.")] == names
