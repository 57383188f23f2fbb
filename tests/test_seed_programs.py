"""PyTorch programs as published run here with nothing but their imports changed, and formulas mean what they say.

The programs in ``seed_programs`` are those of an article on feedforward layers; their import lines alone were changed.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autograd_ff as af
from autograd_ff.engine import Site
from autograd_ff.errors import ShapeError

PROGRAMS = Path(__file__).parent / "seed_programs"
SNIPPET = PROGRAMS / "training_snippet.py"
MNIST = PROGRAMS / "mnist.py"
KERAS = PROGRAMS / "keras_snippet.py"
FIRST_LINE = "        x = self.fc1(x)\n"  # of forward, in both programs


@pytest.fixture
def batch():
    """What the snippet leaves to its reader: a batch of inputs and labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 64)
    inputs = 0.3 * generator.standard_normal((64, 784)) + generator.standard_normal((10, 784))[labels]
    return inputs.astype(np.float32), labels


def printed_losses(text: str) -> list[float]:
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(rf"Epoch \[{number}/100\], Loss: \d+\.\d{{4}}", line), line
    return [float(line.split()[-1]) for line in lines]


# ---------------------------------------------------------------- the training snippet


def test_the_training_snippet_runs_and_learns(batch, capsys):
    inputs, labels = batch
    runpy.run_path(str(SNIPPET), {"inputs": af.tensor(inputs), "labels": af.tensor(labels)})
    losses = printed_losses(capsys.readouterr().out)
    assert len(losses) == 100
    assert losses[0] == pytest.approx(np.log(10), abs=0.7)  # ten classes, nothing learned
    assert losses[-1] < 0.01


@pytest.mark.torch
def test_the_training_snippet_prints_what_it_prints_with_pytorch(batch, capsys):
    torch = pytest.importorskip("torch")
    inputs, labels = batch
    ours = SNIPPET.read_text(encoding="utf-8")
    theirs = ours.replace("import autograd_ff as torch", "import torch").replace("import autograd_ff.", "import torch.")
    assert "autograd_ff" not in theirs

    weights: list[np.ndarray] = []

    def run(source: str, tensor, start) -> list[float]:
        source = source.replace("optimizer = optim", "start(model)\noptimizer = optim")
        exec(compile(source, "snippet", "exec"), {"inputs": tensor(inputs), "labels": tensor(labels), "start": start})
        return printed_losses(capsys.readouterr().out)

    def give(model):
        with torch.no_grad():
            for mine, given in zip(model.parameters(), weights, strict=True):
                mine.copy_(torch.tensor(given))

    got = run(ours, af.tensor, lambda model: weights.extend(one.detach().numpy().copy() for one in model.parameters()))
    expected = run(theirs, torch.tensor, give)
    assert len(weights) == 6
    np.testing.assert_allclose(got, expected, atol=3e-4)


# ---------------------------------------------------------------- the MNIST program


def test_the_published_program_is_told_to_flatten():
    """It hands images of shape (64, 1, 28, 28) to Linear(784, 128), which PyTorch rejects as well."""
    with pytest.raises(ShapeError) as caught:
        runpy.run_path(str(MNIST))
    message = str(caught.value)
    assert "x.flatten(1)" in message
    assert "(64, 1, 28, 28)" in message
    assert "(128, 784)" in message
    line = MNIST.read_text(encoding="utf-8").splitlines().index(FIRST_LINE.rstrip()) + 1
    assert str(Site(str(MNIST), line, FIRST_LINE.strip())) in message


def test_with_the_one_line_the_program_trains(tmp_path):
    published = MNIST.read_text(encoding="utf-8")
    assert published.count(FIRST_LINE) == published.count("num_epochs=10") == 1
    source = published.replace(FIRST_LINE, f"        x = x.flatten(1)\n{FIRST_LINE}")
    program = tmp_path / "mnist.py"
    program.write_text(source.replace("num_epochs=10", "num_epochs=1"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    *progress, last = done.stdout.splitlines()
    batches = range(99, 938, 100)
    pattern = r"Train Epoch: 0 \[{seen}/60000 \({share:.0f}%\)\]\tLoss: (\d+\.\d{{6}})"
    matches = [
        re.fullmatch(pattern.format(seen=64 * position, share=100.0 * position / 938), line)
        for position, line in zip(batches, progress, strict=True)
    ]
    losses = [float(match[1]) for match in matches if match]
    assert len(losses) == 9
    assert losses[-1] < 0.5
    accuracy = re.fullmatch(r"Accuracy of the network on the test images: (\d+\.\d+) %", last)
    assert accuracy
    assert float(accuracy[1]) >= 90


# ---------------------------------------------------------------- the Keras program


def digits(train: bool) -> tuple[np.ndarray, np.ndarray]:
    split = af.datasets.MNIST(train=train)
    return split.data.numpy().reshape(-1, 784) / 255.0, split.targets.numpy()


def test_the_keras_program_reaches_its_accuracy(capsys):
    """It leaves the data to its reader: all of MNIST, as float64 rows, which is what ``/ 255.0`` makes."""
    af.manual_seed(0)
    source = KERAS.read_text(encoding="utf-8")
    given_ = dict(zip(("x_train", "y_train", "x_test", "y_test"), (*digits(True), *digits(False)), strict=True))
    exec(compile(source, "keras_snippet.py", "exec"), given_)
    out = capsys.readouterr().out
    assert out.count("Epoch ") >= 5
    loss, accuracy = given_["model"].evaluate(given_["x_test"], given_["y_test"], verbose=0)
    assert accuracy >= 0.97
    assert loss < 0.1
    history = given_["model"].history
    assert history.history["accuracy"] == sorted(history.history["accuracy"])
    assert f"{accuracy:.4f}" in out


def test_the_keras_program_says_the_same_with_the_other_import(capsys):
    """``from autograd_ff import keras`` is the face that ``import autograd_ff as tf`` finds at ``tf.keras``."""
    from autograd_ff import keras

    assert af.keras is keras
    small = {name: rows[:256] for name, rows in zip(("x", "y"), digits(True), strict=True)}
    found = []
    for source in (KERAS.read_text(encoding="utf-8"), KERAS.read_text(encoding="utf-8").replace("tf.keras", "keras")):
        source = source.replace("import autograd_ff as tf", "import autograd_ff as tf\nfrom autograd_ff import keras")
        af.manual_seed(0)
        variables = {"x_train": small["x"], "y_train": small["y"], "x_test": small["x"], "y_test": small["y"]}
        exec(compile(source, "keras_snippet.py", "exec"), variables)
        found.append(variables["model"].history.history)
    assert found[0] == found[1]
    capsys.readouterr()


# ---------------------------------------------------------------- the formulas

numbers = hnp.arrays(np.float64, hnp.array_shapes(max_dims=3), elements=st.floats(-30, 30))


@given(numbers)
def test_activations_follow_their_formulas(z):
    # To the rounding of numbers near 1: near 0 the formula of tanh itself divides a difference.
    np.testing.assert_allclose(af.sigmoid(af.tensor(z)).numpy(), 1 / (1 + np.exp(-z)), rtol=1e-12, atol=1e-15)
    formula = (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))
    np.testing.assert_allclose(af.tanh(af.tensor(z)).numpy(), formula, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(af.nn.ReLU()(af.tensor(z)).numpy(), np.maximum(0, z))


@given(hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 9)), elements=st.floats(-30, 30)))
def test_mean_squared_error_follows_its_formula(pair):
    y, predicted = pair
    n = len(y)
    got = af.nn.MSELoss()(af.tensor(predicted), af.tensor(y)).item()
    assert got == pytest.approx(1 / n * sum((y[i] - predicted[i]) ** 2 for i in range(n)), rel=1e-12)


@given(st.lists(st.tuples(st.floats(0.001, 0.999), st.integers(0, 1)), min_size=1, max_size=9))
def test_binary_cross_entropy_follows_its_formula(pairs):
    predicted, y = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    formula = -1 / len(y) * np.sum(y * np.log(predicted) + (1 - y) * np.log(1 - predicted))
    assert af.nn.BCELoss()(af.tensor(predicted), af.tensor(y)).item() == pytest.approx(formula, rel=1e-12)
    logits = af.tensor(np.log(predicted / (1 - predicted)))
    assert af.nn.BCEWithLogitsLoss()(logits, af.tensor(y)).item() == pytest.approx(formula, rel=1e-9)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_layer_is_an_activation_of_a_linear_map(inputs, outputs, seed):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal(inputs)
    layer = af.nn.Linear(inputs, outputs).double()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = np.maximum(0, weight @ x + bias)
    np.testing.assert_allclose(af.relu(layer(af.tensor(x))).detach().numpy(), expected, rtol=1e-12, atol=1e-14)
