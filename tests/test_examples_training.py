"""The examples about training: their claims, on data small enough for a test, and their command lines."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from autograd_ff import nn
from autograd_ff.examples import (
    activations,
    command,
    initialization,
    learning_rate_range_test,
    optimizers,
    overfitting,
)
from autograd_ff.examples.__main__ import claims
from autograd_ff.examples.digits import digits

NAMES = [name for name, _ in claims()]


# ---------------------------------------------------------------- activations


@pytest.fixture(scope="module")
def by_activation():
    found = activations.run(samples=64, epochs=1)
    return {(one.activation, one.scale): one for one in found}


def test_gradients_fade_through_sigmoids_whatever_their_weights(by_activation):
    for scale in activations.SCALES:
        assert by_activation["sigmoid", scale].ratio < 1e-3


def test_gradients_arrive_through_the_others_with_the_fitting_gain(by_activation):
    for name, outcome in by_activation.items():
        if name[1] == "fitting" and name[0] != "sigmoid":
            assert 0.1 < outcome.ratio < 50
    assert 0.1 < by_activation["ReLU", "fitting"].ratio < 10


def test_gradients_fade_with_small_weights_and_explode_with_large_ones(by_activation):
    for name in ("tanh", "ReLU", "GELU", "SiLU"):
        assert by_activation[name, "default"].ratio < 1e-3
        assert by_activation[name, "doubled"].ratio > 100


@pytest.mark.parametrize("seed", [0, 1])
def test_where_gradients_arrive_the_network_learns(seed):
    found = activations.run(samples=1500, epochs=4, scales=["fitting"], rate=0.005, seed=seed)
    accuracy = {one.activation: one.accuracy[-1] for one in found}
    assert accuracy.pop("sigmoid") < 0.2
    assert min(accuracy.values()) > 0.3


def test_the_fitting_gain_of_relu_is_kaimings_and_that_of_the_identity_is_one():
    assert math.isclose(activations.fitting_gain(nn.ReLU()), math.sqrt(2), rel_tol=1e-6)
    assert math.isclose(activations.fitting_gain(nn.Identity()), 1, rel_tol=1e-6)


# ---------------------------------------------------------------- initialization


@pytest.mark.parametrize("seed", [0, 1])
def test_only_kaimings_weights_keep_the_variance_of_a_relu_network(seed):
    found = {one.name: one for one in initialization.run(samples=1000, epochs=4, seed=seed, rate=0.005)}
    kaiming = found.pop("Kaiming")
    assert 0.05 < kaiming.growth < 20
    exploding = found.pop("Kaiming × 2")
    assert exploding.growth > 1e8
    assert not exploding.losses or exploding.losses[-1] > 2
    for one in found.values():
        assert one.growth < 1e-3
        assert one.losses[-1] > 2.25
        assert one.accuracy < kaiming.accuracy - 0.2
    # A layer of half Kaiming's deviation keeps a quarter of the variance, so 19 keep 4^-19 of what Kaiming's keep.
    assert abs(math.log(found["Kaiming / 2"].growth / kaiming.growth / 4.0**-19)) < 0.01


# ---------------------------------------------------------------- optimizers


@pytest.fixture(scope="module")
def by_optimizer():
    found = optimizers.run(samples=600, epochs=4, rates=np.geomspace(1e-4, 10, 11))
    return {one.name: one for one in found}


def test_all_optimizers_end_close_together(by_optimizer):
    best = [max(one.accuracies) for one in by_optimizer.values()]
    assert min(best) > 0.7
    assert max(best) - min(best) < 0.06


def test_their_best_rates_lie_far_apart(by_optimizer):
    best = {name: one.rates[one.best] for name, one in by_optimizer.items()}
    assert best["SGD"] >= 30 * best["Adam"]
    assert best["SGD"] > best["momentum"] > best["Adam"]
    # What is right for one is useless to the other.
    sgd, adam = by_optimizer["SGD"], by_optimizer["Adam"]
    assert sgd.accuracies[adam.best] < max(sgd.accuracies) - 0.1
    assert adam.accuracies[sgd.best] < max(adam.accuracies) - 0.1


def test_all_optimizers_start_from_the_same_weights_on_the_same_batches():
    found = optimizers.run(samples=200, epochs=2, rates=[1e-12])
    losses = [one.history["loss"] for one in found]
    np.testing.assert_allclose(losses, [losses[0]] * len(losses), rtol=1e-5)


# ---------------------------------------------------------------- overfitting


@pytest.fixture(scope="module")
def by_cure():
    return {one.name: one for one in overfitting.run(samples=300, epochs=30)}


def test_without_a_cure_the_training_set_is_learnt_by_heart(by_cure):
    none = by_cure["none"]
    assert none.train["accuracy"] == 1
    assert none.gap > 0.1
    assert none.test["loss"] > 50 * none.train["loss"]


def test_every_cure_lowers_the_loss_on_new_images_and_its_gap(by_cure):
    none, *cured = by_cure.values()
    assert len(cured) == 8
    assert [one.name for one in cured if one.test["loss"] > 0.97 * none.test["loss"]] == []
    gap = none.test["loss"] - none.train["loss"]
    assert [one.name for one in cured if one.test["loss"] - one.train["loss"] > 0.97 * gap] == []


def test_augmentation_and_more_data_close_the_gap_most(by_cure):
    gaps = {name: one.gap for name, one in by_cure.items()}
    accuracies = {name: one.test["accuracy"] for name, one in by_cure.items()}
    chosen = {"augmentation", f"{overfitting.MORE} times the data"}
    for name in chosen:
        assert gaps[name] < gaps["none"] - 0.03
        assert accuracies[name] > accuracies["none"] + 0.03
    assert set(sorted(accuracies, key=lambda name: -accuracies[name])[:2]) == chosen
    assert gaps["label smoothing"] < gaps["none"]


def test_early_stopping_stops_early(by_cure):
    assert by_cure["early stopping"].epochs < by_cure["none"].epochs == 30


# ---------------------------------------------------------------- the range test


@pytest.mark.parametrize("seed", [0, 1])
def test_the_suggested_rate_beats_a_tenth_and_ten_times_of_it(seed):
    found = learning_rate_range_test.run(samples=2000, epochs=3, steps=100, seed=seed)
    assert found.test.exploded
    assert found.losses[1.0] < min(found.losses[0.1], found.losses[10.0])
    assert found.accuracy[1.0] > max(found.accuracy[0.1], found.accuracy[10.0])


# ---------------------------------------------------------------- command lines

SMALL = {
    "activations": ["--samples", "300", "--epochs", "1", "--depth", "12"],
    "initialization": ["--samples", "300", "--epochs", "1", "--depth", "12"],
    "learning_rate_range_test": ["--samples", "600", "--epochs", "1"],
    "optimizers": ["--samples", "100", "--epochs", "1"],
    "overfitting": ["--samples", "50", "--epochs", "2"],
}


@pytest.mark.parametrize("name", SMALL)
def test_an_example_prints_a_table_and_a_sentence_and_draws_a_picture(name, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    module = importlib.import_module(f"autograd_ff.examples.{name}")
    assert module.main([*SMALL[name], "--output", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    *_, sentence, where = printed.splitlines()
    assert re.search("^-{40,}$", printed, re.M), "a table's line"
    assert sentence.endswith(".")
    assert re.search(r"\d", sentence)
    picture = tmp_path / "new" / f"{name}.png"
    assert where == f"picture: {picture}"
    assert picture.stat().st_size > 10_000


def test_an_example_as_a_program_without_a_warning(tmp_path):
    command_line = [sys.executable, "-W", "error", "-m", "autograd_ff.examples.initialization"]
    options = [*SMALL["initialization"], "--seed", "3", "--output", str(tmp_path)]
    done = subprocess.run([*command_line, *options], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Kaiming" in done.stdout


def test_the_list_of_examples():
    done = subprocess.run([sys.executable, "-m", "autograd_ff.examples"], capture_output=True, text=True, check=True)
    assert {*SMALL} <= {line.split()[0] for line in done.stdout.splitlines() if line and line[0] != " "}


@pytest.mark.parametrize("name", NAMES)
def test_every_example_makes_a_claim_with_a_source_and_has_help(name, capsys):
    module = importlib.import_module(f"autograd_ff.examples.{name}")
    claim = dict(claims())[name]
    assert claim.endswith(".")
    assert len(claim) < 200
    assert re.search(r"Sources?:", module.__doc__)
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    assert claim[:40] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("options", [["--samples", "0"], ["--samples", "-3"], ["--epochs", "1.5"], ["--nothing"]])
def test_wrong_options_end_with_the_usage(options, capsys):
    with pytest.raises(SystemExit) as ended:
        overfitting.main(options)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_without_matplotlib_the_numbers_are_printed_all_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert initialization.main([*SMALL["initialization"], "--output", str(tmp_path)]) == 0
    assert "no picture: " in capsys.readouterr().out


def test_digits_are_normalised_and_start_from_the_first():
    images, labels = digits(1000)
    shaped, again = digits(10, flat=False)
    assert images.shape == (1000, 784)
    assert shaped.shape == (10, 1, 28, 28)
    assert abs(images.mean()) < 0.05
    assert abs(images.std() - 1) < 0.05
    assert again.tolist() == labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    np.testing.assert_array_equal(shaped.reshape(10, 784), images[:10])
    assert len(digits(train=False)[0]) == 10_000


def test_a_table_lines_up(capsys):
    command.table(["name", "value"], [["a", 1.0], ["long name", 12345.678]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name           value", "--------------------", "a                  1", "long name  1.235e+04"]
