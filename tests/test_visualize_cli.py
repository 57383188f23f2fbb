"""``python -m visualize``: what it draws, from where, and what it says when it cannot."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from small_mnist import small_mnist

import autograd_ff as af
import visualize
from autograd_ff import nn
from autograd_ff.training import Classification, Settings
from autograd_ff.training.classification.settings import DATASETS
from visualize.checkpoints import load_checkpoint, parameter_tree
from visualize.cli import main
from visualize.tracing.targets import array_of_text

needs_layout = pytest.mark.skipif(
    not (importlib.util.find_spec("pygraphviz") or (shutil.which("dot") and importlib.util.find_spec("graphviz"))),
    reason="there is no layout engine",
)

PROGRAM = """
import autograd_ff as af
import visualize
from autograd_ff import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, x, mask=None):
        hidden = af.relu(self.fc1(x))
        return self.fc2(hidden if mask is None else hidden * mask)

    @classmethod
    def small(cls):
        return cls()


class Wide(nn.Module):
    def __init__(self, width):
        super().__init__()


class Inner:
    net = Net()


net = Net()
loss = net(af.ones(2, 6)).sum()
view = visualize.trace(loss)
number = 3


def make():
    return Net()


def make_number():
    return 3


def loss_of(x, labels):
    return nn.functional.cross_entropy(net(x), labels)


def all_of(*xs):
    return sum(xs)


def broken(x):
    return undefined
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """A folder with a user's program, as the working directory."""
    (tmp_path / "drawn_models.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "drawn_models", raising=False)
    yield
    sys.modules.pop("drawn_models", None)


@pytest.fixture
def draw(capsys):
    """Runs the command line; gives exit code, standard output and standard error."""

    def run(*arguments: str):
        capsys.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as leaving:  # of argparse
            code = leaving.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def loaded(path: str = "graph.json") -> visualize.GraphView:
    return visualize.GraphView.load(path)


def ops(view) -> list[str]:
    return [node.op for node in view.nodes if node.op]


# ---------------------------------------------------------------- what it draws


@pytest.mark.parametrize(
    ("target", "inputs"),
    [
        ("drawn_models:Net", ["3x6"]),
        ("drawn_models:net", ["3x6"]),
        ("drawn_models:make", ["3x6"]),
        ("drawn_models:Net.small", ["3x6"]),
        ("drawn_models:Inner.net", ["3x6"]),
        ("drawn_models.py:Net", ["3x6"]),
        ("./drawn_models.py:make", ["3×6:float64"]),
        ("drawn_models:loss", []),
        ("drawn_models:view", []),
    ],
)
def test_networks_classes_functions_and_tensors_are_drawn(draw, target, inputs):
    options = [part for one in inputs for part in ("--input", one)]
    code, out, err = draw(target, *options, "-o", "graph.json")
    assert (code, err) == (0, "")
    assert out.startswith("graph.json: ")
    assert [op for op in ops(loaded()) if op in ("linear", "relu", "maximum")] in (
        ["linear", "relu", "linear"],
        ["linear", "maximum", "linear"],
    )


def test_inputs_are_positional_and_by_name(draw):
    assert draw("drawn_models:loss_of", "-i", "5x6", "-i", "5:int64", "-o", "graph.json")[0] == 0
    view = loaded()
    assert [(node.names, node.outputs[0]) for node in view.nodes if node.kind == "input"] == [
        (("x",), visualize.Value((5, 6), "float32")),
        (("labels",), visualize.Value((5,), "int64")),
    ]
    assert any(node.kind == "loss" for node in view.nodes)
    assert draw("drawn_models:Net", "-i", "5x6", "-i", "mask=5x4:bool", "-o", "graph.json")[0] == 0
    assert "multiply" in ops(loaded())
    assert draw("drawn_models:all_of", "-i", "2", "-i", "2", "-i", "2", "-o", "graph.json")[0] == 0
    assert sum(node.kind == "input" for node in loaded().nodes) == 3


@pytest.mark.parametrize("option", ["--backward", "--measure"])
def test_the_network_that_a_function_uses_names_its_parameters(draw, option):
    arguments = ["drawn_models.py:loss_of", "-i", "5x6", "-i", "5:int64", "-o", "graph.json"]
    assert draw(*arguments, option)[0] == 0
    parameters = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert {node.names for node in loaded().nodes if node.kind == "parameter"} == {(name,) for name in parameters}
    if option == "--backward":
        said = {name for node in loaded().nodes for name in node.names if name.startswith("∂")}
        assert {f"∂loss/∂{name}" for name in parameters} <= said
        assert "∂loss/∂?" not in said


@needs_layout
@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "html", "dot", "mmd", "md", "json"])
def test_every_format_is_written(draw, tmp_path, suffix):
    code, out, err = draw("drawn_models:Net", "-i", "3x6", "-o", f"graph.{suffix}")
    assert (code, err) == (0, "")
    data = (tmp_path / f"graph.{suffix}").read_bytes()
    assert out == f"graph.{suffix}: {len(loaded_nodes(data, suffix))} nodes traced, {len(data) / 1000:,.0f} KB\n"
    starts = {
        "svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph", "mmd": (b"flowchart", b"---", b"%%"),
        "md": b"```mermaid", "json": b"{", "html": b"<!DOCTYPE html>",
    }  # fmt: skip
    assert data.startswith(starts[suffix])


def loaded_nodes(data: bytes, suffix: str):
    """The nodes of the same graph."""
    net = importlib.import_module("drawn_models").Net()
    return visualize.trace(net, af.ones(3, 6), names={}).nodes


@needs_layout
def test_several_files_and_options_reach_the_picture(draw, tmp_path):
    options = ["--title", "My network", "--caption", "as it is", "--direction", "LR", "--theme", "dark", "--no-legend"]
    code, out, _ = draw("drawn_models:Net", "-i", "3x6", "-o", "one.svg", "-o", "two.dot", *options)
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["one.svg", "two.dot"]
    text = (tmp_path / "two.dot").read_text()
    assert "rankdir=LR" in text
    assert "My network" in text
    assert "as it is" in text
    assert visualize.DARK.background in text
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    words = "".join(root.itertext())
    assert "My network" in words
    assert "operation" not in words  # no legend


def test_folding_hiding_and_opening_reach_the_picture(draw, tmp_path):
    def text(*options: str) -> str:
        assert draw("drawn_models:Net", "-i", "3x6", "-o", "graph.dot", *options)[0] == 0
        return (tmp_path / "graph.dot").read_text()

    assert "fc1.weight" in text()
    assert "fc1.weight" not in text("--depth", "1")
    assert "fc1.weight" in text("--depth", "1", "--open", "fc1")
    assert "fc2.weight" not in text("--fold", "fc2")
    assert "fc1.weight" in text("--fold", "fc2")
    assert "fc1.weight" not in text("--fold", "fc1", "--fold", "fc2")
    assert "fc1.weight" not in text("--hide", "parameter")
    assert "fc1.weight" in text("--open", "all")


def test_the_backward_pass_and_measurements(draw, tmp_path):
    arguments = ["drawn_models:loss_of", "-i", "5x6", "-i", "5:int64"]
    assert draw(*arguments, "-o", "graph.json", "--backward")[0] == 0
    both = loaded()
    assert {node.backward for node in both.nodes if node.op} == {True, False}
    assert draw(*arguments, "-o", "graph.json", "--backward-only")[0] == 0
    assert len(loaded().nodes) < len(both.nodes)
    assert draw(*arguments, "-o", "graph.json", "--measure")[0] == 0
    assert all(node.measure("forward") is not None for node in loaded().nodes if node.op)
    assert draw(*arguments, "-o", "graph.dot", "--color-by", "zeros")[0] == 0
    assert "zeros" in (tmp_path / "graph.dot").read_text()
    assert draw(*arguments, "-o", "graph.dot", "--measure")[0] == 0
    assert "forward&#160;time" in (tmp_path / "graph.dot").read_text()
    assert draw(*arguments, "-o", "graph.dot", "--measure", "--color-by", "none")[0] == 0
    assert "forward&#160;time" not in (tmp_path / "graph.dot").read_text()
    code, _, err = draw(*arguments, "-o", "graph.dot", "--color-by", "zeros", "--backward")
    assert code == 1
    assert "leave --backward away" in err


@needs_layout
def test_a_gif_is_a_film_of_the_backward_pass(draw, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    assert draw("drawn_models:loss_of", "-i", "5x6", "-i", "5:int64", "-o", "film.gif")[0] == 0
    with pillow.open(tmp_path / "film.gif") as image:
        assert image.n_frames > 4


def test_the_tree_of_a_network_needs_no_input(draw):
    assert draw("drawn_models:Net", "--tree", "-o", "graph.json")[0] == 0
    assert ops(loaded()) == ["Net", "Linear", "Linear"]
    code, _, err = draw("drawn_models:loss", "--tree", "-o", "graph.json")
    assert code == 1
    assert "--tree draws the modules of a network" in err


# ---------------------------------------------------------------- files


def test_a_saved_graph_is_drawn_as_it_was(draw, tmp_path):
    assert draw("drawn_models:loss_of", "-i", "5x6", "-i", "5:int64", "-o", "graph.json", "--measure")[0] == 0
    assert draw("graph.json", "-o", "again.json")[0] == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "graph.json").read_bytes()
    assert draw("graph.json", "-o", "again.dot", "--color-by", "zeros", "--depth", "1")[0] == 0
    assert "fc1" in (tmp_path / "again.dot").read_text()
    for option, words in (("--backward", "cannot be run again"), ("--measure", "cannot be run again")):
        code, _, err = draw("graph.json", "-o", "again.dot", option)
        assert code == 1
        assert words in err
    code, _, err = draw("graph.json", "-i", "3x6", "-o", "again.dot")
    assert code == 1
    assert "takes no --input" in err


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """What ``python -m autograd_ff train`` leaves."""
    monkeypatch.setitem(DATASETS, "mnist", small_mnist)
    run = Classification(Settings(layers=(12, 7), activation="tanh", epochs=1))
    path = tmp_path / "checkpoint.safetensors"
    run.train(checks=False, verbose=0, checkpoint=path)
    return run, path


def test_the_network_of_a_training_run_is_rebuilt(draw, checkpoint, monkeypatch):
    run, path = checkpoint
    monkeypatch.delitem(DATASETS, "mnist")  # the data are not needed
    network = load_checkpoint(path)
    x = af.rand(3, 784)
    assert np.array_equal(network(x).detach().numpy(), run.model(x).detach().numpy())
    assert draw(str(path), "-o", "graph.json")[0] == 0
    view = loaded()
    assert [op for op in ops(view) if op in ("linear", "tanh")] == ["linear", "tanh", "linear", "tanh", "linear"]
    assert view.nodes[0].outputs[0].shape == (1, 784)
    assert draw(str(path), "-i", "64x1x28x28", "-o", "graph.json", "--backward")[0] == 0
    assert any(node.backward for node in loaded().nodes)


def test_a_checkpoint_of_another_program_shows_its_parameters(draw, checkpoint, tmp_path):
    run, _ = checkpoint
    af.save({"settings": {"layers": [3]}, "model": run.model.state_dict()}, tmp_path / "other.safetensors")
    assert draw("other.safetensors", "-o", "graph.json")[0] == 0
    assert ops(loaded())[0] == "other.safetensors"
    assert ("weight", "12×784") in [argument for node in loaded().nodes for argument in node.arguments]


def test_a_state_dict_shows_its_tree_with_numbers_in_order(draw, tmp_path):
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(12)]
    model = nn.Sequential(*blocks, nn.Linear(4, 2))
    state = dict(sorted(model.state_dict().items()))  # "10.0.bias" before "2.0.bias"
    af.save(state, tmp_path / "model.safetensors")
    assert draw("model.safetensors", "-o", "graph.json")[0] == 0
    view = loaded()
    assert [(node.path, node.count) for node in view.nodes] == [("", 1), ("0–11", 12), ("0", 1), ("12", 1)]
    code, _, err = draw("model.safetensors", "-i", "3x4", "-o", "graph.json")
    assert code == 1
    assert "takes no --input" in err


def test_a_tree_of_arrays_without_dots():
    view = parameter_tree({"weight": np.zeros((2, 3)), "bias": np.zeros(2)}, "some.safetensors")
    (node,) = view.nodes
    assert (node.op, node.arguments) == ("some.safetensors", (("weight", "2×3"), ("bias", "2")))


# ---------------------------------------------------------------- inputs


def test_inputs_in_words():
    name, value = array_of_text("64x784")
    assert (name, value.shape, str(value.dtype)) == ("", (64, 784), "float32")
    assert 0.9 < value.numpy().std() < 1.1
    assert np.array_equal(array_of_text("64x784")[1].numpy(), value.numpy())
    assert array_of_text("ids=3,4:int32")[1].tolist() == [[0] * 4] * 3
    assert array_of_text("2:bool")[1].tolist() == [True, True]
    assert array_of_text("scalar:float64")[1].shape == ()
    assert array_of_text("0x3")[1].shape == (0, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3xs", "'3xs' is no input: write a shape such as 64x784"),
        ("", "'' is no input"),
        ("3:colour", "'colour' is no dtype of numbers"),
        ("3:object", "'object' is no dtype of numbers"),
        ("99999x99999x99999", "give fewer"),
    ],
)
def test_inputs_that_are_none_are_refused(draw, text, words):
    code, _, err = draw("drawn_models:Net", "--input", text, "-o", "graph.dot")
    assert code == 2
    assert words in err


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("drawn_models:Nope", "drawn_models has no Nope; it has Net, Wide, "),
        ("drawn_models:Net.nope", "drawn_models has no Net.nope"),
        ("drawn_models:Wide", "needs width: write a function without parameters"),
        ("drawn_models:number", "is of type int: nothing that can be drawn"),
        ("drawn_models:make_number", "make_number() gave int"),
        ("nowhere:Net", "there is no module nowhere"),
        ("nowhere.py:Net", "there is no file nowhere.py"),
        ("nowhere.safetensors", "there is no file nowhere.safetensors"),
        ("nowhere.json", "there is no file nowhere.json"),
        ("drawn_models", "give module:callable"),
        ("drawn_models:", "give module:callable"),
        ("drawn_models.py", "give drawn_models.py:callable; it has Net, Wide, Inner, net, loss, view, make, "),
        ("drawn_models.py:", "give drawn_models.py:callable; it has Net, "),
        ("nowhere.py", "there is no file nowhere.py"),
        ("drawn_models:broken", "NameError: name 'undefined' is not defined"),
        ("drawn_models:loss_of", "labels"),
    ],
)
def test_what_cannot_be_drawn_says_why(draw, tmp_path, target, words):
    code, out, err = draw(target, "-i", "3x6", "-o", "graph.dot")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "graph.dot").exists()


def test_errors_name_the_users_line(draw):
    _, _, err = draw("drawn_models:broken", "-i", "3x6", "-o", "graph.dot")
    assert err.endswith(
        f"drawn_models.py:{PROGRAM[: PROGRAM.index('return undefined')].count(chr(10)) + 1}: return undefined\n"
    )
    _, _, err = draw("drawn_models:Net", "-i", "3x7", "-o", "graph.dot")
    assert "hidden = af.relu(self.fc1(x))" in err
    _, _, err = draw("drawn_models:broken", "-i", "3x6", "-o", "graph.dot", "--traceback")
    assert "Traceback" in err


def test_missing_inputs_are_asked_for(draw):
    code, _, err = draw("drawn_models:Net", "-o", "graph.dot")
    assert (code, err) == (1, "error: drawn_models:Net is called with x: give an --input for each\n")
    code, _, err = draw("drawn_models:loss_of", "-o", "graph.dot")
    assert (code, err) == (1, "error: drawn_models:loss_of is called with x, labels: give an --input for each\n")


def test_files_that_are_something_else_say_so(draw, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"loss": 3}))
    (tmp_path / "other.safetensors").write_bytes(b"not a checkpoint")
    af.save({"epoch": 3}, tmp_path / "empty.safetensors")
    for name, words in (
        ("other.json", "GraphView"), ("other.safetensors", "other.safetensors"), ("empty.safetensors", "no tensor in"),
    ):  # fmt: skip
        code, _, err = draw(name, "-o", "graph.dot")
        assert code == 1, name
        assert words in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "graph.jpg"], "'graph.jpg' should end in .png, .svg"),
        (["-o", "nowhere/graph.png"], "there is no folder nowhere"),
        ([], "required: -o/--output"),
        (["-o", "graph.png", "--theme", "pink"], "invalid choice: 'pink'"),
        (["-o", "graph.png", "--depth", "-1"], "argument --depth"),
        (["-o", "graph.png", "--color-by", "mood"], "invalid choice: 'mood'"),
    ],
)
def test_a_wrong_option_is_named(draw, options, words):
    code, _, err = draw("drawn_models:Net", "-i", "3x6", *options)
    assert code == 2
    assert words in err


def test_an_unknown_module_to_fold_is_told_the_known_ones(draw):
    code, _, err = draw("drawn_models:Net", "-i", "3x6", "-o", "graph.dot", "--fold", "encoder")
    assert code == 1
    assert "fc1" in err


# ---------------------------------------------------------------- as a program


def test_as_a_program():
    command = [sys.executable, "-m", "visualize", "drawn_models:Net", "-i", "3x6", "-o", "graph.dot"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith("graph.dot: ")
    done = subprocess.run([*command[:3], "nowhere:Net", "-o", "x.dot"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == "error: there is no module nowhere here or among the installed ones\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_it_quietly(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nprint('started', flush=True)\ndef forever(x):\n    while True: time.sleep(0.05)\n"
    )
    command = [sys.executable, "-m", "visualize", "slow:forever", "-i", "3", "-o", "graph.dot"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert not Path("graph.dot").exists()
