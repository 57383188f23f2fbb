"""`SentenceClassifier` and `BertForSequenceClassification`: files, order, Hugging Face's names and numbers."""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import hub
from autograd_ff.errors import FileFormatError, ShapeError, StateDictError
from autograd_ff.text import CharTokenizer

SIZES = {
    "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 20, "initializer_range": 0.3,
}  # fmt: skip


def encoder(tokenizer=None, **options):
    af.manual_seed(0)
    tokenizer = CharTokenizer("abc ") if tokenizer is None else tokenizer
    config = hub.BertConfig(**{**SIZES, "vocab_size": tokenizer.vocab_size})
    return hub.SentenceEncoder(hub.BertModel(config), tokenizer, **options)


def classifier(classes=("x", "y", "z"), **options):
    return hub.SentenceClassifier(encoder(**options), classes)


MODEL = classifier()


@given(st.lists(st.text("abc ", min_size=1, max_size=25), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_each_text_gets_what_it_gets_alone(texts, batch_size):
    together = MODEL.predict_proba(texts, batch_size)
    np.testing.assert_allclose(together.sum(1), 1, rtol=1e-5)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(MODEL.predict_proba([text])[0], row, atol=1e-5)
    assert np.array_equal(MODEL.predict(texts, batch_size), together.argmax(1))


def test_the_scores_are_those_of_the_mean_vector():
    model = classifier(normalize=False)
    model.encoder.eval()
    texts = ["abc", "ca b", "b"]
    vectors = model.encoder.encode(texts)
    wanted = vectors @ model.classifier.weight.t() + model.classifier.bias
    np.testing.assert_allclose(model.scores(texts).numpy(), wanted.detach().numpy(), atol=1e-5)
    assert np.array_equal(classifier(normalize=True).predict(texts), model.predict(texts))  # it has no part in it


def test_predicting_leaves_each_module_in_its_mode_and_takes_no_single_text():
    model = classifier()
    model.train()
    model.encoder.model.encoder.layer[0].eval()
    modes = [module.training for module in model.modules()]
    model.predict(["abc"])
    assert [module.training for module in model.modules()] == modes
    assert model.predict([]).shape == (0,)
    with pytest.raises(ShapeError, match=r"\[text\]"):
        model.predict("abc")


@pytest.mark.parametrize("classes", [1, ["one"], ["a", "a"], []])
def test_classes_that_make_no_sense(classes):
    with pytest.raises(ShapeError, match="two classes"):
        hub.SentenceClassifier(encoder(), classes)


def word_tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "good", "bad", "film", "a"])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    from autograd_ff.text import Tokenizer

    return Tokenizer(inner, pad_token="[PAD]")


@pytest.mark.parametrize("normalize", [True, False])
def test_a_folder_holds_all_of_it(tmp_path, normalize):
    model = hub.SentenceClassifier(
        encoder(word_tokenizer(), max_length=7, normalize=normalize), ["schlecht", "gut"], 0.3
    )
    texts = ["a good film", "bad", "a bad bad film film film film film film film"]
    model.save_pretrained(tmp_path / "model")
    again = hub.SentenceClassifier.from_pretrained(tmp_path / "model")
    assert again.classes == ("schlecht", "gut")
    assert again.dropout.p == 0.3
    assert not again.training
    assert (again.encoder.max_length, again.encoder.normalize) == (7, normalize)
    assert np.array_equal(again.predict_proba(texts), model.predict_proba(texts))
    plain = hub.SentenceEncoder.from_pretrained(tmp_path / "model")  # the folder is that of an encoder too
    assert np.array_equal(plain.encode(texts).numpy(), model.encoder.encode(texts).numpy())


def test_folders_that_are_none_or_damaged(tmp_path):
    model = hub.SentenceClassifier(encoder(word_tokenizer()), ["bad", "good"])
    model.save_pretrained(tmp_path)
    settings_file = tmp_path / "classifier.json"
    kept = settings_file.read_text()
    for content, error, says in [
        ("[", FileFormatError, "no JSON"), ('{"classes": 3}', FileFormatError, "list of classes"),
        ('{"classes": ["one"]}', FileFormatError, "two classes"), ('{"classes": ["a", "b", "c"]}', StateDictError, "weight"),
        ('{"classes": ["a", "b"], "adapters": "x"}', FileFormatError, "load_adapters"),
    ]:  # fmt: skip
        settings_file.write_text(content)
        with pytest.raises(error, match=says):
            hub.SentenceClassifier.from_pretrained(tmp_path)
    settings_file.write_text(kept)
    hub.SentenceClassifier.from_pretrained(tmp_path)
    os.remove(settings_file)
    with pytest.raises(FileNotFoundError, match="no classifier"):
        hub.SentenceClassifier.from_pretrained(tmp_path)


# ---------------------------------------------------------------- Hugging Face's


def test_classes_come_from_the_config_and_go_into_the_file(tmp_path):
    config = hub.BertConfig(**SIZES)
    assert hub.BertForSequenceClassification(config).classes == ("LABEL_0", "LABEL_1")
    model = hub.BertForSequenceClassification(hub.BertConfig(**SIZES), ["no", "yes", "perhaps"]).eval()
    model.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["architectures"] == ["BertForSequenceClassification"]
    assert stored["id2label"] == {"0": "no", "1": "yes", "2": "perhaps"}
    again = hub.from_pretrained(tmp_path)
    assert isinstance(again, hub.BertForSequenceClassification)
    assert again.classes == model.classes
    ids = af.tensor([[2, 5, 7, 1]])
    assert np.array_equal(again(ids).logits.array, model(ids).logits.array)
    stored["id2label"] = {"5": "no"}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(FileFormatError, match="id2label"):
        hub.from_pretrained(tmp_path)


def test_the_body_is_taken_over_and_given_away(tmp_path):
    body = hub.BertModel(hub.BertConfig(**SIZES))
    body.save_pretrained(tmp_path / "body")
    with pytest.raises(StateDictError, match="classifier"):
        hub.BertForSequenceClassification.from_pretrained(tmp_path / "body")
    model = hub.BertForSequenceClassification.from_pretrained(tmp_path / "body", strict=False, classes=3)
    assert np.array_equal(
        model.bert.embeddings.word_embeddings.weight.array, body.embeddings.word_embeddings.weight.array
    )
    model.save_pretrained(tmp_path / "whole")
    back = hub.BertModel.from_pretrained(tmp_path / "whole")
    assert all(np.array_equal(one.array, back.state_dict()[name].array) for name, one in body.state_dict().items())


@pytest.mark.parametrize("count", [2, 4])
def test_the_numbers_are_those_of_transformers(tmp_path, count):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, num_labels=count, layer_norm_eps=1e-12)
    theirs = transformers.BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    ours = hub.from_pretrained(tmp_path)
    assert set(ours.state_dict()) == {name for name in theirs.state_dict() if not name.endswith("position_ids")}
    ids = np.random.default_rng(0).integers(1, SIZES["vocab_size"], (3, 9))
    mask = (np.arange(9) < np.array([[9], [4], [1]])).astype(np.int64)
    with torch.no_grad():
        wanted = theirs(torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()
    found = ours(af.tensor(ids), af.tensor(mask)).logits.detach().numpy()
    assert wanted.shape == (3, count)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    ours.save_pretrained(tmp_path / "ours")
    back = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        again = back(torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()
    assert np.array_equal(again, wanted)
