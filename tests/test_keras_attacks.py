"""What ordinary and careless programs in Keras's words do: it works as in Keras, or says what to do instead."""

from __future__ import annotations

import copy
import os
import signal

import numpy as np
import pytest

from autograd_ff import keras
from autograd_ff.errors import DtypeError, FileFormatError, ModuleError, NonFiniteError

L = keras.layers
QUIET = {"verbose": 0, "checks": False}
INPUTS, CLASSES = 4, 3


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.random((48, INPUTS), np.float32)
    return x, (x.sum(1) * 1.4).astype(np.int64) % CLASSES


def classifier(metrics=(), activation="softmax", loss="sparse_categorical_crossentropy"):
    model = keras.Sequential([keras.Input((INPUTS,)), L.Dense(8, activation="relu"), L.Dense(CLASSES, activation)])
    model.compile("adam", loss, metrics=list(metrics))
    return model


# ---------------------------------------------------------------- checkpoints are models


def test_checkpoints_are_what_load_model_and_load_weights_read(data, tmp_path):
    model = classifier(["accuracy"])
    whole = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}.keras", monitor="loss")
    weights = keras.callbacks.ModelCheckpoint(tmp_path / "last.weights.h5", save_weights_only=True)
    model.fit(*data, epochs=2, callbacks=[whole, weights], **QUIET)
    assert sorted(os.listdir(tmp_path)) == ["01.keras", "02.keras", "last.weights.h5"]
    wanted = model.predict(data[0], verbose=0)
    loaded = keras.models.load_model(tmp_path / "02.keras")
    np.testing.assert_array_equal(loaded.predict(data[0], verbose=0), wanted)
    assert loaded.metrics_names == ["loss", "accuracy"]
    assert loaded.optimizer.iterations == model.optimizer.iterations == 4
    twin = classifier()
    twin.load_weights(tmp_path / "last.weights.h5")
    np.testing.assert_array_equal(twin.predict(data[0], verbose=0), wanted)
    first = keras.models.load_model(tmp_path / "01.keras")
    assert not np.array_equal(first.predict(data[0], verbose=0), wanted)


def test_the_best_model_is_kept(data, tmp_path):
    model = classifier()
    model.optimizer.learning_rate = 0.5  # worse at times
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True)
    history = model.fit(*data, epochs=6, validation_data=data, callbacks=[best], **QUIET)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert loaded.evaluate(*data, verbose=0) == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_what_cannot_be_written_is_said_before_the_first_epoch(data, tmp_path):
    seen = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    with pytest.raises(FileFormatError, match="HDF5"):
        classifier().fit(*data, callbacks=[note, keras.callbacks.ModelCheckpoint(tmp_path / "m.h5")], **QUIET)
    model = keras.Sequential([L.Lambda(lambda x: x * 2), L.Dense(CLASSES, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ModuleError, match="Lambda"):
        model.fit(*data, callbacks=[note, keras.callbacks.ModelCheckpoint(tmp_path / "m.keras")], **QUIET)
    assert not seen
    assert not os.listdir(tmp_path)


# ---------------------------------------------------------------- metrics, callbacks and steps of one's own


class Right(keras.metrics.Metric):
    """How many are right, written as Keras's guide writes a metric."""

    def __init__(self, name="right", **options):
        super().__init__(name=name, **options)
        self.right = self.add_weight(name="right", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.right.assign_add((y_pred.array.argmax(-1) == y_true.array).sum())

    def result(self):
        return self.right


def test_a_metric_with_weights_counts_each_epoch_anew(data):
    model = classifier([Right(), "accuracy"])
    model.optimizer.learning_rate = 0.0
    history = model.fit(*data, epochs=2, validation_data=data, **QUIET)
    for prefix in ("", "val_"):
        wanted = [value * len(data[0]) for value in history[f"{prefix}accuracy"]]
        assert history[f"{prefix}right"] == pytest.approx(wanted)


def test_the_state_of_a_metric_with_weights_is_its_own():
    metric = Right()
    metric.right.assign(7.0)
    twin = copy.deepcopy(metric)
    twin.right.assign_sub(3.0)
    state = metric.state_dict()
    metric.reset_state()
    assert (float(metric.result()), float(twin.result()), float(state["right"])) == (0.0, 4.0, 7.0)
    metric.load_state_dict(state)
    metric.right.assign_add(1.0)
    assert (float(metric.result()), float(state["right"])) == (8.0, 7.0)


def test_callbacks_know_what_was_asked_for(data):
    class Asking(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seen = dict(self.params)

    asking = Asking()
    classifier().fit(*data, epochs=2, batch_size=16, callbacks=[asking], **QUIET)
    assert asking.seen == {"epochs": 2, "steps": 3, "verbose": 0}


@pytest.mark.parametrize("name", ["train_step", "test_step", "compute_loss"])
def test_a_step_that_nothing_would_call_is_refused(name, data):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = L.Dense(CLASSES, activation="softmax")

        def call(self, x):
            return self.head(x)

    setattr(Own, name, lambda self, *args: {})
    own = Own()
    own.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ModuleError, match=rf"(?s){name}.*Trainer"):
        own.fit(*data, **QUIET)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("loss", [lambda y_true, y_pred: None, lambda y_true, y_pred: 3.0])
def test_a_loss_that_returns_no_tensor(loss, data):
    with pytest.raises(DtypeError, match="has to return a Tensor"):
        classifier(loss=loss).fit(*data, **QUIET)


@pytest.mark.parametrize(
    ("loss", "way_out"),
    [("sparse_categorical_crossentropy", "'softmax'"), ("binary_crossentropy", "'sigmoid'")],
)
def test_scores_where_probabilities_belong_are_warned_of(loss, way_out, data):
    model = keras.Sequential([L.Dense(CLASSES if "sparse" in loss else 1)])
    model.compile("sgd", loss)
    with pytest.warns(UserWarning, match=rf"(?s)no activation.*{way_out}.*from_logits=True"):
        model.fit(data[0], data[1] if "sparse" in loss else data[1] % 2, verbose=0, checks=["labels"])


def test_scores_where_scores_belong_are_not(data, recwarn):
    keras.utils.set_random_seed(0)
    classifier(activation=None, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)).fit(*data, verbose=0)
    classifier().fit(*data, verbose=0)
    assert not [one for one in recwarn if "no activation" in str(one.message)]


def test_a_frozen_model_is_judged_and_not_trained(data):
    model = classifier(["accuracy"])
    model.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    assert np.isfinite(model.evaluate(*data, verbose=0))
    with pytest.raises(ModuleError, match="frozen"):
        model.fit(*data, **QUIET)


def test_steps_divide_arrays_into_batches(data):
    """As Keras does where no batch_size is given; with one, an epoch is so many batches of that size."""
    sizes = []

    class Looking(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            sizes.append(batch)

    model = classifier()
    model.optimizer.learning_rate = 0.0
    whole = model.evaluate(*data, verbose=0)
    history = model.fit(*data, steps_per_epoch=5, epochs=2, callbacks=[Looking()], **QUIET)
    assert sizes == [0, 1, 2, 3, 4] * 2
    assert history["loss"] == pytest.approx([whole] * 2, rel=1e-5)
    assert model.evaluate(*data, steps=1, verbose=0) == pytest.approx(whole, rel=1e-5)
    assert model.predict(data[0], steps=1, verbose=0).shape == (len(data[0]), CLASSES)
    assert model.predict(data[0], batch_size=4, steps=2, verbose=0).shape == (8, CLASSES)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_failed_fit_leaves_a_model_that_can_be_used(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = classifier()
    before = model.get_weights()
    bad = np.where(data[0] > 0.5, np.nan, data[0])
    with pytest.raises(NonFiniteError):
        model.fit(bad, data[1], **QUIET)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    interrupt = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, callbacks=[interrupt], **QUIET)
    assert not model.stop_training
    assert list(model.fit(*data, **QUIET)) == ["loss"]


def test_a_layer_in_two_models_is_one_layer(data):
    shared = L.Dense(8, activation="relu")
    first = keras.Sequential([keras.Input((INPUTS,)), shared, L.Dense(CLASSES, "softmax")])
    second = keras.Sequential([keras.Input((INPUTS,)), shared, L.Dense(1)])
    first.compile("sgd", "sparse_categorical_crossentropy")
    before = second.predict(data[0], verbose=0)
    first.fit(*data, **QUIET)
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])
    assert not np.array_equal(second.predict(data[0], verbose=0), before)


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        (keras.layers, "Conv2D", r"keras\.layers has no 'Conv2D' here; .*Dense"),
        (keras.layers, "Dens", r"did you mean 'Dense'\?"),
        (keras, "ops", r"keras has no 'ops' here"),
        (keras.datasets, "cifar10", r"keras\.datasets has no 'cifar10' here; there are fashion_mnist, mnist\."),
    ],
)
def test_what_is_not_offered_is_told_with_what_is(module, name, words):
    with pytest.raises(AttributeError, match=words):
        getattr(module, name)
    assert not hasattr(module, name)
