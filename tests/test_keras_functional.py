"""The functional API, data in numbered batches, and small things that programs for Keras expect."""

from __future__ import annotations

import copy
import math
import os
import pathlib
import pickle
import signal

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import keras
from autograd_ff.errors import AutogradError, DtypeError, FileFormatError, ModuleError, NonFiniteError, ShapeError
from autograd_ff.serialization import load, save
from autograd_ff.testing import assert_gradients

L = keras.layers
QUIET = {"verbose": 0, "checks": False}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
    keras.utils.clear_session()


def two_towers(last="softmax"):
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    shared = L.Dense(4, activation="relu", name="shared")
    joined = L.Concatenate()([shared(left), shared(right)])
    return keras.Model([left, right], L.Dense(3, activation=last, name="head")(joined))


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(40, 6)).astype(np.float32) for _ in range(2)], rng.integers(0, 3, 40)


# ---------------------------------------------------------------- what it computes


def test_it_computes_what_its_layers_compute(data):
    model, (x, _) = two_towers(), data
    shared, head = model.get_layer("shared"), model.get_layer("head")
    joined = np.concatenate([shared(one).detach().numpy() for one in x], 1)
    wanted = head(joined).detach().numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=1e-5)
    np.testing.assert_allclose(model({"right": x[1], "left": x[0], "more": x[0]}).detach().numpy(), wanted, rtol=1e-5)
    assert model.count_params() == shared.count_params() + head.count_params()
    assert [layer.name for layer in model.layers] == ["left", "right", "shared", "concatenate", "head"]
    assert len(list(model.parameters())) == 4


def test_gradients_of_a_shared_layer_are_those_of_all_its_calls(data):
    model = two_towers(last="tanh").double()
    x = af.tensor(np.stack(data[0])[:, :3].astype(np.float64))

    class Both(af.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, both):
            return self.model([both[0], both[1]])

    assert_gradients(Both(), x, loss=lambda outputs: (outputs**2).sum())


def test_outputs_come_in_the_structure_in_which_they_were_given():
    x = keras.Input((4,))
    y, z = L.Dense(2)(x), L.Dense(3)(x)
    ones = np.ones((5, 4))
    assert [one.shape for one in keras.Model(x, [y, z]).predict(ones, verbose=0)] == [(5, 2), (5, 3)]
    found = keras.Model({"x": x}, {"y": y, "z": z}).predict({"x": ones}, verbose=0)
    assert {name: one.shape for name, one in found.items()} == {"y": (5, 2), "z": (5, 3)}
    assert keras.Model([x], [y])(ones).shape == (5, 2)
    assert keras.Model(x, [y, z]).output_shape == [(None, 2), (None, 3)]


def test_models_within_models_and_models_out_of_models(data):
    inner = two_towers()
    a, b = keras.Input((6,)), keras.Input((6,))
    outer = keras.Model([a, b], L.Dense(1)(inner([a, b])))
    assert outer.predict(data[0], verbose=0).shape == (40, 1)
    assert outer.count_params() == inner.count_params() + 4
    features = keras.Model(inner.inputs, inner.get_layer("shared").output)
    np.testing.assert_allclose(
        features.predict(data[0], verbose=0), inner.get_layer("shared")(data[0][0]).detach().numpy(), rtol=1e-6
    )
    rest = keras.Model(inner.get_layer("head").input, inner.output)
    assert rest.input_shape == (None, 8)
    assert [layer.name for layer in rest.layers][1:] == ["head"]
    chain = keras.Sequential([L.Dense(3, name="first"), L.Dense(2)])
    chain.build((None, 5))
    middle = keras.Model(chain.input, chain.get_layer("first").output)
    assert middle(np.ones((1, 5))).shape == (1, 3)


def test_a_model_of_any_depth_is_read_run_and_copied():
    x = y = keras.Input((2,))
    for _ in range(3000):
        y = L.Identity()(y)
    model = keras.Model(x, y)
    ones = np.ones((1, 2), np.float32)
    for one in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert one(ones).tolist() == [[1.0, 1.0]]
        assert len(one.layers) == 3001


def test_a_copy_has_weights_and_tensors_of_its_own(data):
    model = two_towers()
    twin = copy.deepcopy(model)
    twin.get_layer("head").set_weights([np.zeros((8, 3)), np.zeros(3)])
    assert np.ptp(twin.predict(data[0], verbose=0)) < 1e-6 < np.ptp(model.predict(data[0], verbose=0))
    assert twin.inputs[0] is not model.inputs[0]
    assert keras.Model(twin.inputs, twin.get_layer("shared").output)(data[0]).shape == (40, 4)


@pytest.mark.parametrize("last", ["softmax", None])
def test_the_loss_is_taken_from_the_logits(last, data):
    """Where probabilities underflow, only a loss of logits is finite and right."""
    model = two_towers(last)
    loss = "sparse_categorical_crossentropy"
    model.compile("sgd", loss if last else keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.get_layer("head").set_weights([np.zeros((8, 3)), np.array([0.0, 200.0, 0.0])])
    assert model.evaluate(data[0], np.zeros(40, int), verbose=0) == pytest.approx(200.0)


def test_numbers_of_other_kinds_and_ranks_are_taken_as_keras_takes_them():
    x = keras.Input((1,))
    model = keras.Model(x, L.Rescaling(2.0)(x))
    assert model(np.arange(3)).shape == (3, 1)
    assert model(np.arange(3)).numpy().dtype == np.float32
    assert model(np.ones((3, 1, 1))).shape == (3, 1)


def test_training_takes_a_step_as_written_and_recorded(data):
    losses = []
    for recorded in (False, True):
        keras.utils.set_random_seed(1)
        model = two_towers()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=recorded)
        losses.append(model.fit(*data, epochs=3, shuffle=False, **QUIET)["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


def test_a_class_of_ones_own_made_of_inputs_and_outputs(tmp_path):
    class Head(keras.Model):
        def __init__(self, units=3):
            x = keras.Input((4,))
            super().__init__(inputs=x, outputs=L.Dense(units)(x))
            self.units = units

    model = Head(5)
    assert isinstance(model, keras.models.Functional)
    model.save(tmp_path / "head.keras")
    twin = keras.models.load_model(tmp_path / "head.keras", custom_objects={"Head": Head})
    ones = np.ones((2, 4))
    np.testing.assert_array_equal(twin.predict(ones, verbose=0), model.predict(ones, verbose=0))


# ---------------------------------------------------------------- files and pictures


def test_a_model_in_a_file_is_the_same_model(data, tmp_path):
    model = two_towers()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data, epochs=1, **QUIET)
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(twin.predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    assert twin.get_config() == model.get_config()
    assert twin.get_layer("head").output.shape == (None, 3)
    for one in (model, twin):
        keras.utils.set_random_seed(5)
        one.fit(*data, epochs=1, **QUIET)
    np.testing.assert_array_equal(twin.get_weights()[0], model.get_weights()[0])


def test_arguments_of_calls_are_kept_in_the_file(tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, L.Dropout(0.5)(x, training=True))
    twin = keras.models.Functional.from_config(model.get_config())
    assert (twin.predict(np.ones((50, 3)), verbose=0) == 0).any()


@pytest.mark.parametrize(
    "damage",
    [
        lambda graph: graph["steps"].reverse(),
        lambda graph: graph["steps"][0].update(layer=99),
        lambda graph: graph["steps"][0].update(outputs={"value": 0}),
        lambda graph: graph["steps"].pop(),
        lambda graph: graph.update(outputs={"value": 77}),
        lambda graph: graph.update(input_layers=[0]),
        lambda graph: graph.pop("inputs"),
        lambda graph: graph["layers"].pop(),
    ],
)
def test_a_damaged_graph_is_said_to_be_one(damage, tmp_path):
    path = tmp_path / "model.keras"
    two_towers().save(path)
    content = load(path)
    damage(content["model"]["config"])
    save(content, path)
    with pytest.raises(FileFormatError, match=r"model\.keras"):
        keras.models.load_model(path)


def test_the_picture_shows_what_goes_where(tmp_path):
    path = keras.utils.plot_model(two_towers(), tmp_path / "model.dot", show_shapes=True, show_layer_names=True)
    text = pathlib.Path(path).read_text(encoding="utf-8")
    assert text.count("->") == 5 - 1  # left and right to shared, shared to the joined once, joined to head
    for name in ("left", "right", "shared", "head"):
        assert name in text


# ---------------------------------------------------------------- mistakes


def forgotten_input():
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    return keras.Model(left, L.Add()([left, right]))


def one_name_twice():
    x = keras.Input((3,))
    return keras.Model(x, L.Dense(2, name="a")(L.Dense(2, name="a")(x)))


def several_trained():
    x = keras.Input((3,))
    model = keras.Model(x, [L.Dense(1)(x), L.Dense(1)(x)])
    model.compile("sgd", "mse")
    return model.fit(np.ones((4, 3)), [np.ones(4), np.ones(4)], **QUIET)


def itself():
    model = keras.Sequential(name="model")
    model.add(model)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (forgotten_input, ModuleError, "name=right.*not among the inputs"),
        (one_name_twice, ModuleError, "'a'.*unique"),
        (several_trained, ModuleError, "several outputs"),
        (itself, ModuleError, "layer of itself"),
        (lambda: keras.Model(1, 2), ModuleError, "keras.Input"),
        (lambda: keras.Model(keras.Input((2,)), []), ModuleError, "outputs"),
        (lambda: two_towers()(np.ones((2, 6))), ShapeError, "2 inputs.*1 were given"),
        (lambda: two_towers()([np.ones((2, 6)), np.ones((2, 5))]), ShapeError, r"'right'.*\(None, 6\).*\(2, 5\)"),
        (lambda: two_towers()({"left": np.ones((2, 6))}), ShapeError, "needs the input 'right'"),
        (lambda: keras.Sequential([L.Dense(2)]).output, ShapeError, "keras.Input"),
    ],
)
def test_what_is_wrong_and_what_to_do(wrong, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        wrong()


@pytest.mark.parametrize("labels", [[0.0, 1.5, 1.0], [0.0, np.nan, 1.0]])
@pytest.mark.parametrize("recorded", [False, True])
def test_labels_that_are_no_class_numbers_are_refused(labels, recorded):
    model = keras.Sequential([L.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=recorded)
    x, whole = np.ones((3, 2)), np.array([0.0, 2.0, 1.0])
    model.fit(np.tile(x, (3, 1)), np.tile(whole, 3), batch_size=3, shuffle=False, **QUIET)
    with pytest.raises(DtypeError, match=rf"{labels[1]}"):
        model.fit(np.tile(x, (3, 1)), [*whole, *whole, *labels], batch_size=3, shuffle=False, **QUIET)


# ---------------------------------------------------------------- data in numbered batches


class Numbered(keras.utils.PyDataset):
    def __init__(self, count=5, **options):
        super().__init__(**options)
        self.count = count
        self.log = []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.log.append(index)
        return np.full((4, 2), index, np.float32), np.full(4, index, np.float32)

    def on_epoch_end(self):
        self.log.append("end")


def regression():
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    model.compile(keras.optimizers.SGD(0.001), "mse", metrics=["mae"])
    return model


def test_batches_come_in_order_and_each_pass_is_ended():
    data, held = Numbered(3), Numbered(2)
    history = regression().fit(data, epochs=2, shuffle=False, validation_data=held, **QUIET)
    assert data.log == [0, 1, 2, "end"] * 2
    assert held.log == [0, 1, "end"] * 2
    assert sorted(history.history) == ["loss", "mae", "val_loss", "val_mae"]


def test_the_order_of_batches_is_drawn_anew_for_each_epoch():
    data = Numbered(20)
    regression().fit(data, epochs=2, **QUIET)
    first, second = data.log[:20], data.log[21:41]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != sorted(second)


def test_evaluate_and_predict_take_them_and_are_right():
    model = regression()
    x = np.concatenate([np.full((4, 2), number, np.float32) for number in range(5)])
    np.testing.assert_allclose(model.evaluate(Numbered(), verbose=0), model.evaluate(x, x[:, 0], verbose=0), rtol=1e-5)
    np.testing.assert_allclose(model.predict(Numbered(), verbose=0), model.predict(x, verbose=0), rtol=1e-6)
    assert keras.utils.Sequence is keras.utils.PyDataset


def test_what_does_not_go_beside_them_is_refused():
    for options in ({"batch_size": 3}, {"y": np.ones(3)}):
        with pytest.raises(DtypeError, match=r"leave .* away"):
            regression().fit(Numbered(), **options, **QUIET)


def test_endless_ones_are_taken_step_by_step():
    class Endless(Numbered):
        num_batches = None

    data = Endless()
    regression().fit(data, steps_per_epoch=3, epochs=2, **QUIET)
    assert data.log == [0, 1, 2, 3, 4, 5]


# ---------------------------------------------------------------- callbacks, epochs, the learning rate


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_terminate_on_nan_ends_the_training_without_an_error():
    x = np.full((8, 2), np.nan)
    with pytest.raises(NonFiniteError):
        regression().fit(x, np.ones(8), **QUIET)
    model = regression()
    before = model.get_weights()
    history = model.fit(x, np.ones(8), epochs=3, callbacks=[keras.callbacks.TerminateOnNaN()], **QUIET)
    assert len(history.history["loss"]) == 1
    assert math.isnan(history.history["loss"][0])
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_no_epochs_are_an_empty_history():
    model, seen = regression(), []
    note = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append(1), on_epoch_begin=lambda *_: seen.append(2)
    )
    before = model.get_weights()
    assert model.fit(np.ones((4, 2)), np.ones(4), epochs=0, callbacks=[note], **QUIET).history == {}
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert seen == [1]


def test_the_history_callback_has_what_fit_returns():
    note = keras.callbacks.History()
    history = regression().fit(Numbered(), epochs=3, callbacks=[note], **QUIET)
    assert note.history == history.history
    assert note.epoch == [0, 1, 2]


def test_a_training_goes_on_from_its_backup(tmp_path):
    def fit(epochs, **options):
        keras.utils.set_random_seed(3)
        model = regression()
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        history = model.fit(Numbered(), epochs=epochs, callbacks=[backup, *options.pop("callbacks", ())], **QUIET)
        return model, history

    straight, _ = fit(4)
    assert not os.listdir(tmp_path / "backup")
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: os.kill(os.getpid(), signal.SIGINT) if epoch == 1 else None
    )
    with pytest.raises(KeyboardInterrupt):
        fit(4, callbacks=[stop])
    assert os.listdir(tmp_path / "backup")
    again, history = fit(4)
    assert history.epoch[-1] == 3
    np.testing.assert_array_equal(again.get_weights()[0], straight.get_weights()[0])
    assert not os.listdir(tmp_path / "backup")


def test_the_learning_rate_can_be_assigned():
    model = regression()
    model.fit(Numbered(), **QUIET)
    model.optimizer.learning_rate.assign(0.25)
    assert model.optimizer.learning_rate == 0.25
    assert model.optimizer.optimizer.param_groups[0]["lr"] == 0.25
    assert type(model.optimizer.get_config()["learning_rate"]) is float
    scheduled = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))
    with pytest.raises(AutogradError, match="ExponentialDecay"):
        scheduled.learning_rate.assign(0.1)


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert keras.__version__ == version("autograd_ff")
