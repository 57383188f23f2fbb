"""``python -m autograd_ff train``: what it prints, leaves, refuses, and how it comes back after Ctrl-C."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
from small_mnist import small_mnist

import autograd_ff as af
import autograd_ff.testing
from autograd_ff import nn
from autograd_ff.cli import main
from autograd_ff.data import datasets, transforms
from autograd_ff.testing import Report
from autograd_ff.training import Classification, evaluate
from autograd_ff.training.classification.settings import DATASETS, fashion_mnist
from visualize.drawing import layout

CHARTS = ["confusion.png", "curves.png", "worst.png"]
FILES = sorted(
    [*CHARTS, "checkpoint.safetensors", "gradient_check.txt", "graph.png", "history.json", "model.safetensors"]
)
UNDRAWN = [name for name in FILES if not name.endswith(".png")]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.path.dirname(__file__)}
EPOCH = r"epoch {}/{}  loss \d\.\d{{4}}  train \d+\.\d\d%  test (\d+\.\d\d)%  \d+\.\d s"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setitem(DATASETS, "mnist", small_mnist)


@pytest.fixture
def _undrawn(monkeypatch):
    """Neither matplotlib nor a layout engine: runs are over sooner."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(layout, "_engines", lambda format: iter(()))


@pytest.fixture
def train(tmp_path, capsys):
    """Runs ``train`` on the small MNIST; gives exit code, standard output and standard error."""

    def run(*options: str, dataset: str = "mnist", output: str | None = "run"):
        place = [] if output is None else ["--output", str(tmp_path / output)]
        capsys.readouterr()
        try:
            code = main(["train", dataset, "--layers", "16", "--epochs", "2", *place, *options])
        except SystemExit as leaving:  # of argparse
            code = leaving.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def left(folder) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def picture(path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)


# ---------------------------------------------------------------- what a run leaves


def test_a_run_leaves_its_files_and_they_belong_together(train, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pygraphviz")
    code, out, err = train()
    assert (code, err) == (0, "")
    folder = tmp_path / "run"
    assert left(folder) == FILES

    first, *epochs, accuracy, check, written = out.splitlines()
    assert first == "mnist: 784-16-10, relu, adam, one-cycle lr 0.003, batch 64, seed 0"
    matches = [re.fullmatch(EPOCH.format(number, 2), line) for number, line in enumerate(epochs, start=1)]
    assert len(matches) == 2
    assert all(matches)
    assert re.fullmatch(r"Accuracy of the network on the test images: \d+\.\d\d %", accuracy)
    assert matches[-1][1] in accuracy
    assert check == "gradient check of the trained network: PASS"
    assert written == f"written to {folder}{os.sep}: {', '.join(FILES)}"

    model = nn.Sequential(
        OrderedDict(flatten=nn.Flatten(), fc1=nn.Linear(784, 16), act1=nn.ReLU(), fc2=nn.Linear(16, 10))
    )
    model.load_state_dict(af.load(folder / "model.safetensors"))
    history = json.loads((folder / "history.json").read_text())
    assert [one["epoch"] for one in history] == [1, 2]
    test = small_mnist(train=False, transform=transforms.ToTensor())
    assert evaluate(model, test) == history[-1]["test_accuracy"]
    assert f"{100 * history[-1]['test_accuracy']:.2f} %" in accuracy

    report = (folder / "gradient_check.txt").read_text()
    assert report.startswith("PASS")
    for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
        assert re.search(rf"^{re.escape(name)} .* PASS$", report, re.MULTILINE)

    for name in (*CHARTS, "graph.png"):
        pixels = picture(folder / name)
        assert min(pixels.shape[:2]) > 100
        assert 0.005 < np.mean(pixels[..., :3].min(axis=-1) < 0.9) < 0.9, f"{name} is blank"


@pytest.mark.usefixtures("_undrawn")
def test_the_same_command_leaves_the_same_weights(train, tmp_path):
    for output, seed in (("one", "3"), ("two", "3"), ("other", "4")):
        assert train("--seed", seed, output=output)[0] == 0
    one, two, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


@pytest.mark.usefixtures("_undrawn")
def test_options_reach_the_run(train, tmp_path):
    code, out, _ = train(
        *("--layers", "12-7", "--activation", "tanh", "--recipe", "plain", "--optimizer", "sgd"),
        *("--lr", "0.05", "--batch-size", "100", "--epochs", "1", "--seed", "8"),
    )
    assert code == 0
    assert out.startswith("mnist: 784-12-7-10, tanh, sgd, plain lr 0.05, batch 100, seed 8\nepoch 1/1 ")
    model = af.load(tmp_path / "run" / "model.safetensors")
    assert [model[f"fc{number}.weight"].shape for number in (1, 2, 3)] == [(12, 784), (7, 12), (10, 7)]


@pytest.mark.usefixtures("_undrawn")
def test_without_a_hidden_layer_the_network_is_linear(train):
    assert train("--layers", "")[1].startswith("mnist: 784-10, ")


@pytest.mark.usefixtures("_undrawn")
def test_the_default_output_folder_is_named_after_the_dataset(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(output=None)[0] == 0
    assert left(tmp_path / "runs" / "mnist") == UNDRAWN


def test_a_wrong_gradient_fails_the_command(train, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "_engines", lambda format: iter(()))
    monkeypatch.setattr(autograd_ff.testing, "gradcheck", lambda *given, **options: Report("FAIL", 1, [], "planted"))
    code, out, err = train()
    assert code == 1
    assert "gradient check of the trained network: FAIL" in out
    assert "planted" in err
    assert "model.safetensors" in left(tmp_path / "run")


# ---------------------------------------------------------------- progress


@pytest.mark.usefixtures("_undrawn")
def test_a_terminal_sees_a_bar_of_batches_and_a_pipe_plain_lines(train, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    _, plain, _ = train()
    assert "%|" not in plain
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        train()
    assert re.search(r"Epoch 1/2:.*%\|.*\| \d+/11 \[", terminal.getvalue())
    lines = re.sub(r"[^\n]*\r", "", terminal.getvalue())  # what is left standing

    def timeless(text: str) -> str:
        return re.sub(r"\d+\.\d s", "", text)

    assert timeless(lines) == timeless(plain)


# ---------------------------------------------------------------- missing libraries


def test_without_matplotlib_only_the_charts_are_missing(train, tmp_path, monkeypatch):
    pytest.importorskip("pygraphviz")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "curves.png").write_bytes(b"an earlier run's")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        code, out, err = train()
    assert code == 0
    assert "curves.png, confusion.png and worst.png could not be drawn" in err
    assert 'pip install "autograd_ff[plot]"' in err
    assert "graph.png" not in err
    assert left(tmp_path / "run") == [name for name in FILES if name not in CHARTS]
    assert "gradient check of the trained network: PASS" in out


def test_without_a_layout_engine_only_the_graph_is_missing(train, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "graph.png").write_bytes(b"an earlier run's")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        patch.setitem(sys.modules, "pygraphviz", None)
        code, out, err = train()
    assert code == 0
    assert "graph.png could not be drawn" in err
    assert 'pip install "autograd_ff[draw]"' in err
    assert "curves.png" not in err
    assert left(tmp_path / "run") == [name for name in FILES if name != "graph.png"]
    assert "gradient check of the trained network: PASS" in out


def test_resuming_a_finished_run_draws_what_was_missing(train, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        patch.setattr(layout, "_engines", lambda format: iter(()))
        _, out, err = train()
    assert "Then --resume" in err
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    code, again, _ = train("--resume")
    assert code == 0
    assert left(tmp_path / "run") == FILES
    assert again.startswith("resumed after 2 of 2 epochs\n")
    assert again.count("epoch 2/2") == 0
    assert "".join(re.findall("Accuracy.*", again)) in out
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights


# ---------------------------------------------------------------- errors


def test_the_command_line_needs_a_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--epochs", "0"], "'0' is not a positive integer"),
        (["--epochs", "ten"], "'ten' is not a positive integer"),
        (["--batch-size", "-1"], "'-1' is not a positive integer"),
        (["--seed", "-1"], "'-1' is not an integer from 0 on"),
        (["--lr", "0"], "'0' is not a positive number"),
        (["--lr", "fast"], "'fast' is not a positive number"),
        (["--lr", "nan"], "'nan' is not a positive number"),
        (["--lr", "inf"], "'inf' is not a positive number"),
        (["--layers", "128,,64"], "'128,,64' is not a list of widths such as 128,128"),
        (["--layers", "0"], "'0' is not a list of widths"),
        (["--layers", "wide"], "'wide' is not a list of widths"),
        (["--activation", "none"], "choose from"),
        (["--optimizer", "none"], "choose from"),
        (["--recipe", "none"], "choose from"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_a_wrong_option_is_named(train, tmp_path, options, words):
    code, _, err = train(*options)
    assert code == 2
    assert words in err
    assert not (tmp_path / "run").exists()


def test_an_unknown_dataset_is_told_the_known_ones(train):
    code, _, err = train(dataset="imagenet")
    assert code == 2
    assert "imagenet" in err
    assert "mnist" in err
    assert "fashion-mnist" in err


def test_a_diverging_run_stops_and_says_so(train, tmp_path):
    with np.errstate(all="ignore"):
        code, out, err = train("--optimizer", "sgd", "--recipe", "plain", "--lr", "1e30")
    assert code == 1
    assert re.match(r"error: the loss became (nan|inf) in epoch 1, batch \d+, with a learning rate of 1e\+30", err)
    assert "lower learning rate" in err
    assert "Accuracy" not in out
    assert left(tmp_path / "run") == []


def test_what_the_output_folder_cannot_be_is_said_before_training(train, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    for output in ("file", "file/below"):
        code, out, err = train(output=output)
        assert (code, out) == (1, "")
        assert f"the output folder {tmp_path / output} cannot be written to: " in err
        assert "--output" in err
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for a folder of somebody else
    code, out, err = train(output="other")
    assert (code, out) == (1, "")
    assert "nothing may be written into the folder" in err


def test_errors_name_no_line_of_this_program(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"")
    code, _, err = train("--resume")
    assert code == 1
    assert err == (
        f"error: {tmp_path / 'run' / 'checkpoint.safetensors'} is empty\n  Start a new run without --resume.\n"
    )


# ---------------------------------------------------------------- Fashion-MNIST


def test_fashion_mnist_without_its_files_says_where_to_get_them(train, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "__defaults__", (str(tmp_path / "nothing"),))
    for options in ([], ["--root", str(tmp_path)]):
        code, out, err = train(*options, dataset="fashion-mnist")
        assert (code, out) == (1, "")
        for words in ("Fashion-MNIST is not in", "apt install dataset-fashion-mnist", "https://", "--root FOLDER"):
            assert words in err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("_undrawn")
def test_fashion_mnist_trains_from_a_folder(train, tmp_path):
    generator = np.random.default_rng(0)
    for split, count in (("train", 130), ("t10k", 30)):
        for kind, values in (
            ("images-idx3", generator.integers(0, 256, (count, 28, 28))),
            ("labels-idx1", generator.integers(0, 10, count)),
        ):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            data = gzip.compress(header + values.astype(np.uint8).tobytes())
            (tmp_path / f"{split}-{kind}-ubyte.gz").write_bytes(data)
    code, out, _ = train("--root", str(tmp_path), dataset="fashion-mnist")
    assert code == 0
    assert out.startswith("fashion-mnist: 784-16-10, ")

    moved = tmp_path / "moved"
    moved.mkdir()
    for path in tmp_path.glob("*.gz"):
        path.rename(moved / path.name)
    code, _, err = train("--resume", dataset="fashion-mnist")
    assert code == 1
    assert "--root FOLDER" in err
    assert train("--resume", "--root", str(moved), dataset="fashion-mnist")[0] == 0


# ---------------------------------------------------------------- Ctrl-C and --resume


def interrupted(monkeypatch, *, after: int):
    """Ctrl-C during the step after so many steps."""
    measured, count = Classification.measured, iter(range(10**6))

    def interrupting(self, *arguments):
        if self.model.training and next(count) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return measured(self, *arguments)

    monkeypatch.setattr(Classification, "measured", interrupting)


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize(
    ("after", "where"),
    [(0, "0 of 2 epochs and 1 batches"), (10, "0 of 2 epochs and 11 batches"), (13, "1 of 2 epochs and 3 batches")],
)
def test_a_run_goes_on_after_ctrl_c_as_if_nothing_had_happened(train, tmp_path, monkeypatch, after, where):
    _, whole, _ = train(output="whole")
    with monkeypatch.context() as patch:
        interrupted(patch, after=after)
        code, out, err = train()
    assert (code, err) == (130, "")
    folder = tmp_path / "run"
    last = out.splitlines()[-1]
    command = f"python -m autograd_ff train mnist --output {folder} --resume"
    assert last == f"interrupted after {where}; go on with: {command}"
    assert left(folder) == ["checkpoint.safetensors"]
    code, rest, _ = train("--resume")
    assert code == 0
    assert rest.startswith(f"resumed after {where}\n")
    for name in ("model.safetensors", "history.json", "checkpoint.safetensors", "gradient_check.txt"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert re.findall("Accuracy.*", rest) == re.findall("Accuracy.*", whole)


@pytest.mark.usefixtures("_undrawn")
def test_ctrl_c_in_the_last_evaluation_comes_too_late(train, monkeypatch):
    import autograd_ff.training.classification as module

    def interrupting(*given):
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*given)

    monkeypatch.setattr(module, "evaluate", interrupting)
    code, out, _ = train("--epochs", "1")
    assert code == 0
    assert "Accuracy of the network" in out


def test_ctrl_c_elsewhere_just_ends_the_command(train, monkeypatch):
    def interrupting(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(autograd_ff.testing, "gradcheck", interrupting)
    monkeypatch.setattr(layout, "_engines", lambda format: iter(()))
    code, _, err = train()
    assert code == 130
    assert err.endswith("interrupted\n")


def test_resume_needs_a_run(train, tmp_path):
    code, out, err = train("--resume")
    assert (code, out) == (1, "")
    assert f"there is no run to resume: {tmp_path / 'run' / 'checkpoint.safetensors'} does not exist" in err
    assert "without --resume" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("_undrawn")
def test_resume_refuses_a_truncated_checkpoint(train, tmp_path):
    train()
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    data = checkpoint.read_bytes()
    for length, words in ((5, "is no safetensors file, or a truncated one"), (len(data) - 1, "is damaged")):
        checkpoint.write_bytes(data[:length])
        code, out, err = train("--resume")
        assert (code, out) == (1, "")
        assert f"{checkpoint} {words}" in err
        assert "Start a new run without --resume." in err


@pytest.mark.usefixtures("_undrawn")
def test_resume_does_not_quietly_ignore_other_settings(train, capsys, tmp_path):
    train("--lr", "0.01")
    for options, words in (
        (["--lr", "0.02"], "has lr 0.01, not 0.02"),
        (["--epochs", "5"], "has epochs 2, not 5"),
        (["--layers", "17"], "has layers (16,), not (17,)"),
    ):
        code, out, err = train("--resume", *options)
        assert (code, out) == (1, "")
        assert words in err
        assert "Leave the option away" in err
    assert train("--resume", "--lr", "0.01")[0] == 0
    assert main(["train", "mnist", "--resume", "--output", str(tmp_path / "run")]) == 0  # its own, where none is given


# ---------------------------------------------------------------- in a process of its own


def test_the_real_command_trains_on_the_real_data(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pygraphviz")
    command = [sys.executable, "-W", "error", "-m", "autograd_ff", "train", "mnist", "--epochs", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    folder = tmp_path / "runs" / "mnist"
    assert left(folder) == FILES
    assert done.stdout.startswith("mnist: 784-128-128-10, relu, adam, one-cycle lr 0.003, batch 64, seed 0\n")
    model = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(), fc1=nn.Linear(784, 128), act1=nn.ReLU(), fc2=nn.Linear(128, 128), act2=nn.ReLU(),
            fc3=nn.Linear(128, 10),
        )
    )  # fmt: skip
    model.load_state_dict(af.load(folder / "model.safetensors"))
    accuracy = evaluate(model, datasets.MNIST(train=False, transform=transforms.ToTensor()))
    assert accuracy >= 0.95
    assert f"Accuracy of the network on the test images: {100 * accuracy:.2f} %" in done.stdout
    assert (folder / "gradient_check.txt").read_text().startswith("PASS: gradient of 6 inputs")


SMALL_PROGRAM = """
import sys
from autograd_ff.cli import main
from autograd_ff.training.classification.settings import DATASETS
from small_mnist import small_mnist
DATASETS["mnist"] = small_mnist
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_real_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path):
    options = ["train", "mnist", "--layers", "16", "--epochs", "30", "--batch-size", "8"]
    command = [sys.executable, "-c", SMALL_PROGRAM, *options]

    def run(folder: str, *more: str) -> int:
        place = ["--output", str(tmp_path / folder), *more]
        return subprocess.run([*command, *place], env=ONE_THREAD, capture_output=True, check=False).returncode

    process = subprocess.Popen(
        [*command, "--output", str(tmp_path / "run")],
        env=ONE_THREAD,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch 1/"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert err.strip().count("\n") == 0
    assert "stops after this step" in err
    assert "interrupted after" in out
    assert left(tmp_path / "run") == ["checkpoint.safetensors"]
    assert run("run", "--resume") == 0
    assert run("whole") == 0
    for name in ("model.safetensors", "history.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
