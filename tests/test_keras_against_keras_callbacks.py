"""Callbacks that steer by a number, beside Keras's own, over sequences of numbers."""

from __future__ import annotations

import os
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

import autograd_ff as af  # noqa: E402
from autograd_ff import nn  # noqa: E402
from autograd_ff.training import callbacks as ours  # noqa: E402

# Exact in binary, so that differences are equal to a min_delta or far from it on both sides.
VALUES = st.lists(st.sampled_from([0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0]), min_size=1, max_size=14)


class Trainer:
    def __init__(self):
        self.model = nn.Linear(1, 1)
        self.metrics, self.has_validation = [], True
        self.learning_rate, self.stop_reason, self.epoch, self.verbose = 1.0, None, 0, 0

    def stop(self, reason):
        self.stop_reason = reason


class KerasModel:
    """What Keras's callbacks use of a model: its weights (here one number), its optimizer's rate, and that it shall stop."""

    def __init__(self):
        self.weights = None
        self.stop_training = False
        self.optimizer = types.SimpleNamespace(learning_rate=1.0)

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def drive_ours(callback, values):
    callback.trainer = trainer = Trainer()
    callback.on_train_begin({})
    rates, epochs = [], 0
    for epoch, value in enumerate(values):
        with af.no_grad():
            trainer.model.weight.copy_(np.float32(epoch))
        callback.on_epoch_begin(epoch, {})
        logs = {"val_loss": value}
        callback.on_epoch_end(epoch, logs)
        rates.append((trainer.learning_rate, logs.get("learning_rate")))
        epochs += 1
        if trainer.stop_reason is not None:
            break
    callback.on_train_end({})
    return epochs, rates, trainer.model.weight.item()


def drive_keras(callback, values):
    model = KerasModel()
    callback.set_model(model)
    callback.on_train_begin({})
    rates, epochs = [], 0
    for epoch, value in enumerate(values):
        model.weights = float(epoch)
        callback.on_epoch_begin(epoch, {})
        logs = {"val_loss": value}
        callback.on_epoch_end(epoch, logs)
        rates.append((float(model.optimizer.learning_rate), logs.get("learning_rate")))
        epochs += 1
        if model.stop_training:
            break
    callback.on_train_end({})
    return epochs, rates, model.weights


@settings(max_examples=300)
@given(
    VALUES,
    st.fixed_dictionaries(
        {
            "min_delta": st.sampled_from([0, 0.25, -0.25, 0.5]),
            "patience": st.integers(0, 4),
            "mode": st.sampled_from(["min", "max", "auto"]),
            "baseline": st.sampled_from([None, 0.75, 1.25]),
            "start_from_epoch": st.integers(0, 3),
            "restore_best_weights": st.booleans(),
        }
    ),
)
def test_early_stopping(values, options):
    mine, theirs = ours.EarlyStopping(**options), keras.callbacks.EarlyStopping(**options)
    epochs, _, weight = drive_ours(mine, values)
    expected, _, kept = drive_keras(theirs, values)
    assert epochs == expected
    assert weight == kept
    assert (mine.wait, mine.best, mine.stopped_epoch) == (theirs.wait, theirs.best, theirs.stopped_epoch)
    assert mine.best is None or mine.best_epoch == theirs.best_epoch


@settings(max_examples=300)
@given(
    VALUES,
    st.fixed_dictionaries(
        {
            "factor": st.sampled_from([0.5, 0.25]),
            "patience": st.integers(0, 3),
            "mode": st.sampled_from(["min", "max", "auto"]),
            "min_delta": st.sampled_from([0.0, 0.25]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.375]),
        }
    ),
)
def test_reduce_on_plateau(values, options):
    mine, theirs = ours.ReduceLROnPlateau(**options), keras.callbacks.ReduceLROnPlateau(**options)
    assert drive_ours(mine, values)[1] == drive_keras(theirs, values)[1]
    assert (mine.best, mine.wait, mine.cooldown_counter) == (theirs.best, theirs.wait, theirs.cooldown_counter)


@pytest.mark.parametrize("schedule", [lambda epoch: 1.0 / (epoch + 1), lambda epoch, lr: lr * 0.5])
def test_learning_rate_scheduler(schedule):
    mine, theirs = ours.LearningRateScheduler(schedule), keras.callbacks.LearningRateScheduler(schedule)
    assert drive_ours(mine, [0.0] * 4)[1] == drive_keras(theirs, [0.0] * 4)[1]


@pytest.mark.parametrize(
    "name",
    [
        "CSVLogger",
        "EarlyStopping",
        "LambdaCallback",
        "LearningRateScheduler",
        "ModelCheckpoint",
        "ReduceLROnPlateau",
        "TensorBoard",
    ],
)
def test_arguments_and_defaults_are_keras(name):
    import inspect

    theirs = dict(inspect.signature(getattr(keras.callbacks, name)).parameters)
    mine = dict(inspect.signature(getattr(ours, name)).parameters)
    positional = [one for one, parameter in theirs.items() if parameter.kind is not parameter.VAR_KEYWORD]
    assert list(mine)[: len(positional)] == positional
    differ = {one for one in positional if mine[one].default != theirs[one].default}
    assert differ == ({"restore_best_weights"} if name == "EarlyStopping" else set())


def test_every_hook_of_keras_is_one():
    names = {name for name in dir(keras.callbacks.Callback) if name.startswith("on_")}
    aliases = {"on_batch_begin", "on_batch_end"}  # old names of the train batches' hooks
    assert names - aliases <= {name for name in dir(ours.Callback) if name.startswith("on_")}


def test_csv_logger(tmp_path):
    for logger, drive in [
        (ours.CSVLogger(tmp_path / "mine.csv"), drive_ours),
        (keras.callbacks.CSVLogger(tmp_path / "theirs.csv"), drive_keras),
    ]:
        drive(logger, [0.5, 0.25])
    assert (tmp_path / "mine.csv").read_text() == (tmp_path / "theirs.csv").read_text().replace("\r\n", "\n")
