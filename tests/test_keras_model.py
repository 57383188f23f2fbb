"""keras.Model and keras.Sequential: the face over the trainer, summaries, files, data sets, pictures."""

from __future__ import annotations

import copy
import random
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import keras, nn
from autograd_ff.errors import AutogradError, DtypeError, FileFormatError, ModuleError, ShapeError, StateDictError
from autograd_ff.keras.summary import column_widths, table, wrap_words
from autograd_ff.keras.trainer import KerasTrainer
from autograd_ff.training import Trainer

L = keras.layers
N, INPUTS, CLASSES = 60, 6, 3
QUIET = {"verbose": 0, "checks": False}


@pytest.fixture
def data():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(N, INPUTS)).astype(np.float32)
    return x, x[:, :CLASSES].argmax(1)


@pytest.fixture(autouse=True)
def same_names():
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)


def classifier(**compiled):
    model = keras.Sequential([L.Dense(8, activation="relu"), L.Dense(CLASSES, activation="softmax")])
    model.compile(
        **{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compiled}
    )
    return model


class Residual(keras.Model):
    """One's own model, with layers in a list that is filled later, as programs for Keras do."""

    def __init__(self, depth=2, width=INPUTS):
        super().__init__()
        self.blocks = []
        for _ in range(depth):
            self.blocks.append(L.Dense(width, activation="tanh"))
        self.drop = L.Dropout(0.5)
        self.head = L.Dense(CLASSES, activation="softmax")

    def call(self, x, training=None):
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.drop(x))


# ---------------------------------------------------------------- the seeds' program


def seeds_program(keras, x_train, y_train, x_test, y_test, epochs):
    model = keras.Sequential([keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=epochs)
    return model, history, model.evaluate(x_test, y_test)


@pytest.mark.parametrize("kind", ["float64", "float32", "uint8"])
def test_the_seeds_program_learns_digits(kind, capsys):
    (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    x_train, y_train, x_test, y_test = x_train[:4000], y_train[:4000], x_test[:1000], y_test[:1000]
    x_train, x_test = x_train.reshape(-1, 784), x_test.reshape(-1, 784)
    if kind == "uint8":
        x_train, x_test = x_train // 64, x_test // 64
    else:
        x_train, x_test = (x_train / 255.0).astype(kind), (x_test / 255.0).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the unscaled bytes
        model, history, (_, accuracy) = seeds_program(keras, x_train, y_train, x_test, y_test, epochs=3)
    assert accuracy > 0.85
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.weights[0].dtype == np.float32
    assert model.predict(x_test, verbose=0).dtype == np.float32
    assert "accuracy" in capsys.readouterr().out


def test_images_without_flatten_say_what_is_missing():
    (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    with pytest.raises(ShapeError, match=r"\(32, 28, 10\)[\s\S]*keras\.layers\.Flatten\(\) first"):
        seeds_program(keras, x_train[:64] / 255.0, y_train[:64], x_test, y_test, epochs=1)


def test_flatten_first_takes_images(data):
    images = np.random.default_rng(0).random((20, 4, 5))
    model = keras.Sequential([L.Flatten(), L.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(images, np.arange(20) % 2, **QUIET)
    assert model.input_shape == (None, 4, 5)
    assert model.predict(images, verbose=0).shape == (20, 2)


# ---------------------------------------------------------------- one machinery


@pytest.mark.parametrize("jit", [False, "auto", True])
def test_fit_is_the_loop_that_everybody_writes(jit, data):
    x, y = data
    model = classifier(optimizer=keras.optimizers.SGD(0.1), jit_compile=jit)
    model.build((None, INPUTS))
    hidden, last = nn.Linear(INPUTS, 8), nn.Linear(8, CLASSES)
    for linear, layer in zip((hidden, last), model.layers, strict=True):
        linear.load_state_dict({"weight": layer.weights[0].detach(), "bias": layer.weights[1].detach()})
    network = nn.Sequential(hidden, nn.ReLU(), last)
    optimizer = af.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        for start in range(0, N, 16):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(network(af.tensor(x[start : start + 16])), af.tensor(y[start : start + 16]))
            loss.backward()
            optimizer.step()
    model.fit(x, y, epochs=3, batch_size=16, shuffle=False, **QUIET)
    for mine, other in zip(model.trainable_weights, network.parameters(), strict=True):
        if jit is False:
            np.testing.assert_array_equal(mine.array, other.array)
        else:
            np.testing.assert_allclose(mine.array, other.array, rtol=1e-5, atol=1e-6)


def test_the_trainer_is_the_trainer():
    assert issubclass(KerasTrainer, Trainer)
    assert KerasTrainer.fit is Trainer.fit
    assert KerasTrainer.evaluate is Trainer.evaluate
    assert KerasTrainer.train_step is Trainer.train_step


def test_the_same_seed_gives_the_same_training(data):
    losses = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        losses.append(classifier().fit(*data, epochs=3, **QUIET)["loss"])
    assert losses[0] == losses[1]


def test_large_logits_do_not_overflow(data):
    """The loss of probabilities that are 0 in float32 is that of the logits: 300, and its gradient is not lost."""
    model = keras.Sequential([L.Dense(2, activation="softmax", use_bias=False)])
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    model.build((None, 1))
    model.set_weights([np.array([[0.0, 300.0]], np.float32)])
    assert model.evaluate(np.ones((1, 1)), np.array([0]), verbose=0) == pytest.approx(300)
    assert model.predict(np.ones((1, 1)), verbose=0)[0, 0] == 0


def test_a_model_of_ones_own_trains_and_drops(data):
    x, y = data
    model = Residual()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=15, **QUIET)
    assert history["loss"][-1] < history["loss"][0]
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dropout", "dense_2"]
    assert len(model.trainable_weights) == 6
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))
    assert not np.array_equal(model(x, training=True).array, model(x, training=True).array)
    assert not model.training


def test_several_inputs_come_as_a_list(data):
    x, y = data

    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = L.Dense(CLASSES, activation="softmax")

        def call(self, inputs):
            first, second = inputs
            return self.head(first * second)

    model = Two()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit([x, x], y, epochs=2, validation_split=0.2, **QUIET)
    assert model.predict([x, x], verbose=0).shape == (N, CLASSES)
    assert model.evaluate([x, x], y, verbose=0) > 0
    model.fit([x, x], y, validation_data=([x, x], y), **QUIET)


def test_loss_weights_scale_the_loss(data):
    single, double = classifier(), classifier(loss_weights=2.0)
    for model in (single, double):
        model.build((None, INPUTS))
    double.set_weights(single.get_weights())
    assert double.evaluate(*data, verbose=0)[0] == pytest.approx(2 * single.evaluate(*data, verbose=0)[0])


def test_penalties_count_in_loss_and_gradient(data):
    x, y = data
    model = keras.Sequential([L.Dense(CLASSES, activation="softmax", kernel_regularizer=keras.regularizers.L2(0.5))])
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    found = model.evaluate(x, y, verbose=0)
    kernel = model.get_weights()[0]
    plain = -np.log(model.predict(x, verbose=0)[np.arange(N), y]).mean()
    assert found == pytest.approx(plain + 0.5 * (kernel**2).sum(), rel=1e-5)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.layers[0].kernel_regularizer = None


def test_weights_of_samples_stay_out_of_unweighted_metrics(data):
    x, y = data
    model = classifier(weighted_metrics=["accuracy"])
    model.fit(x, y, epochs=5, **QUIET)
    right = model.predict(x, verbose=0).argmax(1) == y
    found = model.evaluate(x, y, sample_weight=right.astype(np.float32), verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["weighted_accuracy"] == pytest.approx(1.0)


def test_callbacks_stop_and_see(data):
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, sorted(logs)))
            self.model.stop_training = epoch == 1

    model = classifier()
    history = model.fit(*data, epochs=9, callbacks=[Stop()], **QUIET)
    assert seen == [(0, ["accuracy", "loss"]), (1, ["accuracy", "loss"])]
    assert history.epoch == [0, 1]
    assert model.history is history
    assert not model.stop_training
    early = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=100.0)
    assert len(model.fit(*data, epochs=9, callbacks=early, **QUIET).epoch) < 9


def test_training_goes_on_with_the_same_optimizer(data):
    """Two epochs are one and one more: the moments stay between two calls of fit."""
    models = [classifier(jit_compile=False) for _ in range(2)]
    for model in models:
        model.build((None, INPUTS))
    models[1].set_weights(models[0].get_weights())
    models[0].fit(*data, epochs=2, shuffle=False, **QUIET)
    models[1].fit(*data, epochs=1, shuffle=False, **QUIET)
    models[1].fit(*data, epochs=1, shuffle=False, **QUIET)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_thawed_layers_are_trained(data):
    model = classifier()
    model.build((None, INPUTS))
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()
    model.fit(*data, **QUIET)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], frozen[0])
    model.layers[0].trainable = True
    model.fit(*data, **QUIET)
    assert not np.array_equal(model.layers[0].get_weights()[0], frozen[0])


def test_a_copy_is_a_model_of_its_own(data):
    model = classifier()
    model.fit(*data, **QUIET)
    twin = copy.deepcopy(model)
    before = twin.get_weights()
    model.fit(*data, **QUIET)
    for one, other in zip(before, twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    kept = model.get_weights()
    twin.fit(*data, **QUIET)
    assert not np.array_equal(before[0], twin.get_weights()[0])
    np.testing.assert_array_equal(kept[0], model.get_weights()[0])


def test_only_steps_without_ones_own_python_are_recorded():
    def records(model, steps=1000):
        return model._records(model._compiled("fit"), steps)

    def loss(y_true, y_pred):
        return (y_true - y_pred) ** 2

    assert records(classifier())
    assert records(classifier(), None)
    assert not records(classifier(), 10)
    assert records(classifier(jit_compile=True), 10)
    assert not records(classifier(run_eagerly=True))
    assert not records(classifier(jit_compile=False))
    assert not records(classifier(loss=loss))
    assert records(classifier(loss=loss, jit_compile=True))
    own = Residual()
    own.compile("sgd", "mse")
    assert not records(own)


def test_a_callback_may_evaluate_in_the_middle(data):
    found = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append(self.model.evaluate(*data, verbose=0)[0])

    history = classifier().fit(*data, epochs=2, validation_data=data, callbacks=[Look()], **QUIET)
    assert found == history["val_loss"]


# ---------------------------------------------------------------- the way out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, y: keras.Sequential([L.Dense(2)]).fit(x, y), "compile"),
        (lambda x, y: keras.Sequential([L.Dense(2)]).evaluate(x, y), "compile"),
        (lambda x, y: classifier().fit(), "x, an array"),
        (lambda x, y: classifier().fit(x), "give y"),
        (lambda x, y: classifier().fit(x, y[:10]), r"same number of samples"),
        (lambda x, y: classifier(loss="sparse_categorical_crossentropi"), "did you mean"),
        (lambda x, y: classifier(optimizer="adma"), "did you mean"),
        (lambda x, y: classifier(metrics=["acuracy"]), "accuracy"),
        (lambda x, y: classifier(loss=["mse", "mae"]), "one output"),
        (lambda x, y: keras.Sequential().compile("adam", "mse", ["accuracy"]), r"metrics=\["),
        (lambda x, y: classifier(jit_compile="yes"), "jit_compile"),
        (lambda x, y: classifier().fit(x, np.eye(CLASSES)[y], **QUIET), "one-hot[\\s\\S]*categorical_crossentropy"),
        (lambda x, y: classifier(loss="categorical_crossentropy").fit(x, y, **QUIET), "class numbers[\\s\\S]*sparse"),
        (
            lambda x, y: classifier(loss="categorical_crossentropy").fit(x, np.eye(5)[y], **QUIET),
            "5 classes[\\s\\S]*5 units",
        ),
        (lambda x, y: classifier(loss="binary_crossentropy").fit(x, y, **QUIET), "1 unit"),
        (lambda x, y: classifier().fit(x, y + 5, **QUIET), "7|classes"),
        (lambda x, y: classifier(loss="mse").fit(x, y, **QUIET), "shape"),
        (lambda x, y: classifier().fit(x, y, validation_split=1.5, **QUIET), "between 0 and 1"),
        (lambda x, y: classifier().fit(x, y, validation_data=(x, y, y, y), **QUIET), "validation_data"),
        (lambda x, y: classifier().fit(x, y, epochs=-1, **QUIET), "epochs"),
        (lambda x, y: classifier().fit(x, y, batch_size=0, **QUIET), "batch_size"),
        (lambda x, y: keras.Sequential(L.Dense(2)), r"\[keras\.layers"),
        (lambda x, y: keras.Sequential([L.Dense]), "class"),
        (lambda x, y: keras.Sequential([3]), "layers"),
        (lambda x, y: keras.Sequential([nn.Linear(2, 2)]), "Trainer"),
        (lambda x, y: keras.Sequential([L.Dense(2, name="a"), L.Dense(2, name="a")]), "unique"),
        (lambda x, y: keras.Sequential([L.Dense(2), keras.Input((3,))]), "first"),
        (lambda x, y: keras.Sequential([L.Dense(2)]).build(), "build"),
        (lambda x, y: keras.Model(1, 2), "functional"),
        (lambda x, y: keras.Model(inputs=1, outputs=2), "functional"),
        (lambda x, y: classifier().get_layer("no"), "dense_1"),
        (lambda x, y: classifier().get_layer(index=5), "2 layers"),
        (lambda x, y: classifier().get_layer(), "either"),
        (lambda x, y: keras.utils.plot_model(classifier(), "a.dot"), "built"),
        (lambda x, y: classifier().save_weights("a.safetensors"), "built"),
        (lambda x, y: classifier().summary(layer_range=["a", "b"]), "dense_1"),
        (lambda x, y: classifier().summary(line_length=12), "narrow"),
        (lambda x, y: keras.utils.to_categorical([0, 5], 3), "0 … 2"),
        (lambda x, y: keras.utils.to_categorical([-1]), "-1"),
        (lambda x, y: keras.utils.to_categorical([0.5]), "integers"),
        (lambda x, y: keras.utils.to_categorical([]), "num_classes"),
        (lambda x, y: keras.utils.set_random_seed(-1), "4294967295"),
    ],
)
def test_what_is_wrong_and_what_to_do(wrong, message, data):
    with pytest.raises(AutogradError, match=message):
        wrong(*data)


def test_one_sample_is_a_batch_of_one(data):
    model = classifier()
    model.fit(*data, **QUIET)
    for wrong in (model.predict, model.evaluate, model.fit):
        with pytest.raises(ShapeError, match=r"x\[None\]"):
            wrong(data[0][0])
    assert model.predict(data[0][:1], verbose=0).shape == (1, CLASSES)


def test_call_is_needed():
    class Empty(keras.Model):
        pass

    with pytest.raises(ModuleError, match="does not define call"):
        Empty()(np.ones((1, 2)))


# ---------------------------------------------------------------- summaries


@given(st.text(alphabet="ab c_(),└", max_size=40), st.integers(2, 20))
@settings(deadline=None)
def test_wrapped_words_fit_and_none_is_lost(text, width):
    text = text.lstrip()
    lines = wrap_words(text, width)
    assert all(len(line) <= width for line in lines)
    if all(len(word) <= width for word in text.split()):
        assert " ".join(lines).split() == text.split()
    else:
        assert any("…" in line for line in lines)


@given(st.integers(40, 200))
@settings(deadline=None)
def test_tables_have_the_width_that_was_asked_for(line_length):
    widths = column_widths((0.45, 0.8, 1.0), line_length)
    lines = list(
        table(["Layer (type)", "Output Shape", "Param #"], [["dense (Dense)", "(None, 3)", "12"]], widths, "<<>")
    )
    assert {len(line) for line in lines} == {line_length}


def test_summary_says_what_the_optimizer_keeps(data, capsys):
    model = classifier()
    model.fit(*data, **QUIET)
    model.summary()
    count = model.count_params()
    assert f"Optimizer params: {2 * count + 2:,}" in capsys.readouterr().out


# ---------------------------------------------------------------- files


@pytest.fixture
def trained(data):
    model = keras.Sequential(
        [
            L.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(0.001)),
            L.BatchNormalization(),
            L.Dropout(0.1),
            keras.Sequential([L.Dense(4), L.Activation("tanh")], name="inner"),
            L.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=2)],
    )
    model.fit(*data, epochs=2, shuffle=False, **QUIET)
    return model


@pytest.mark.parametrize("suffix", ["keras", "safetensors", "model"])
def test_a_loaded_model_predicts_the_same_and_trains_on_as_if_nothing_had_happened(suffix, trained, data, tmp_path):
    path = tmp_path / f"model.{suffix}"
    trained.save(path)
    loaded = keras.models.load_model(path)
    x, y = data
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), trained.predict(x, verbose=0))
    assert loaded.evaluate(x, y, verbose=0) == trained.evaluate(x, y, verbose=0)
    assert loaded.get_config() == trained.get_config()
    keras.utils.set_random_seed(3)
    expected = trained.fit(x, y, epochs=2, **QUIET)
    keras.utils.set_random_seed(3)
    assert loaded.fit(x, y, epochs=2, **QUIET).history == expected.history


def test_load_without_compile_and_without_the_optimizer(trained, data, tmp_path):
    trained.save(tmp_path / "a.keras", include_optimizer=False)
    assert keras.models.load_model(tmp_path / "a.keras").compiled
    loaded = keras.models.load_model(tmp_path / "a.keras", compile=False)
    with pytest.raises(ModuleError, match="compile"):
        loaded.fit(*data)


def test_ones_own_model_layer_and_loss(data, tmp_path):
    path = tmp_path / "model.keras"

    class Scale(L.Layer):
        def __init__(self, start=1.0, **options):
            super().__init__(**options)
            self.start = start

        def build(self, input_shape):
            self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

        def call(self, inputs):
            return inputs * self.factor * self.start

    def absolute(y_true, y_pred):
        return (y_true - y_pred).abs().mean(-1)

    def bent(x):
        return x * x.sigmoid()

    model = keras.Sequential([L.Dense(3, activation=bent), Scale(2.0)])
    model.compile("sgd", absolute, metrics=[absolute])
    x, _ = data
    model.fit(x, x[:, :3], **QUIET)
    model.save(path)
    with pytest.raises(AutogradError, match="custom_objects"):
        keras.models.load_model(path)
    with pytest.raises(ModuleError, match=r"'Scale'[\s\S]*custom_objects"):
        keras.models.load_model(path, custom_objects={"bent": bent})
    loaded = keras.models.load_model(path, custom_objects={"Scale": Scale, "absolute": absolute, "bent": bent})
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.evaluate(x, x[:, :3], verbose=0) == model.evaluate(x, x[:, :3], verbose=0)

    own = Residual(depth=3)
    own.compile("adam", "sparse_categorical_crossentropy")
    own.fit(*data, **QUIET)
    own.save(path)
    again = keras.models.load_model(path, custom_objects={"Residual": Residual})
    np.testing.assert_array_equal(again.predict(x, verbose=0), own.predict(x, verbose=0))


def test_what_cannot_be_written_down_is_said(data, tmp_path):
    model = classifier(loss=lambda y_true, y_pred: (y_true - y_pred) ** 2)
    model.build((None, INPUTS))
    with pytest.warns(UserWarning, match="compile it again"):
        model.save(tmp_path / "model.keras")
    assert not keras.models.load_model(tmp_path / "model.keras").compiled


def test_weights_alone(trained, data, tmp_path):
    trained.save_weights(tmp_path / "weights.safetensors")
    twin = keras.Sequential.from_config(trained.get_config())
    with pytest.raises(ModuleError, match="built"):
        twin.load_weights(tmp_path / "weights.safetensors")
    twin.build((None, INPUTS))
    twin.load_weights(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(twin.predict(data[0], verbose=0), trained.predict(data[0], verbose=0))
    other = keras.Sequential([L.Dense(8, name=trained.layers[0].name), L.Dense(2)])
    other.build((None, INPUTS))
    with pytest.raises(StateDictError):
        other.load_weights(tmp_path / "weights.safetensors")
    with pytest.warns(UserWarning, match="left as they are"):
        other.load_weights(tmp_path / "weights.safetensors", skip_mismatch=True)
    np.testing.assert_array_equal(other.get_weights()[0], trained.get_weights()[0])
    trained.save(tmp_path / "whole.keras")
    twin.load_weights(tmp_path / "whole.keras")


def test_files_of_others_and_names_that_lie(trained, tmp_path):
    for start, what in (
        (b"PK\x03\x04", "zip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"", "empty"),
        (b"abc", "safetensors"),
    ):
        (tmp_path / "file").write_bytes(start + b"\0" * (16 if start else 0))
        with pytest.raises(FileFormatError, match=what):
            keras.models.load_model(tmp_path / "file")
    with pytest.raises(FileFormatError, match="HDF5"):
        trained.save(tmp_path / "model.h5")
    with pytest.raises(FileNotFoundError):
        keras.models.load_model(tmp_path / "nothing")
    af.save({"weight": af.ones(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(FileFormatError, match="load_weights"):
        keras.models.load_model(tmp_path / "plain.safetensors")
    trained.save(tmp_path / "there.keras")
    with pytest.raises(FileExistsError):
        trained.save(tmp_path / "there.keras", overwrite=False)


def test_truncated_and_damaged_files(trained, tmp_path):
    """However a file is cut or changed: an error of ours, or a model, and never another exception."""
    path = tmp_path / "model.keras"
    trained.save(path)
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    generator = random.Random(0)
    for length in [1, 7, 8, 50, header - 1, header, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            keras.models.load_model(path)
    outcomes = set()
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            damaged[generator.randrange(header)] = generator.randrange(32, 127)
        path.write_bytes(bytes(damaged))
        try:
            keras.models.load_model(path)
            outcomes.add("loaded")
        except AutogradError as error:
            outcomes.add(type(error).__name__)
    assert "FileFormatError" in outcomes


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda content: content.update(version=99), "version"),
        (lambda content: content.update(format="other"), "no model"),
        (lambda content: content["weights"].popitem(), "weights"),
        (lambda content: content.update(weights=[1]), "weights"),
        (lambda content: content.update(shapes=3), "shapes"),
        (lambda content: content.update(shapes={"no.such": (None, 2)}), "no.such"),
        (lambda content: content.pop("model"), "put together"),
        (lambda content: content.update(model=7), "written down"),
        (lambda content: content["model"].update(config=7), "dict"),
        (lambda content: content["model"]["config"].update(layers=7), "put together"),
        (lambda content: content["model"].update(class_name="system"), "custom_objects"),
        (lambda content: content["model"].update(class_name="Lambda"), ""),
        (lambda content: content["model"]["config"]["layers"][0]["config"].update(units=10**9), "file holds"),
        (lambda content: content["model"]["config"]["layers"][0]["config"].update(units=-1), "units"),
        (lambda content: content["model"]["config"]["layers"][0]["config"].update(activation="evil"), "evil"),
        (lambda content: content["shapes"].update({"dense": (None, 10**12)}), "file holds"),
        (lambda content: content["compile"].update(optimizer={"class_name": "os.system"}), "optimizer"),
        (lambda content: content["compile"].update(loss="os.system"), "loss"),
        (lambda content: content["compile"].update(metrics=[{"class_name": "Metric", "config": {"x": 1}}]), ""),
        (lambda content: content.update(compile=3), "put together"),
        (lambda content: content.update(optimizer={"state": 3}), ""),
    ],
)
def test_hostile_contents(change, error, trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    content = af.load(tmp_path / "model.keras")
    change(content)
    af.save(content, tmp_path / "model.keras")
    with pytest.raises(AutogradError, match=error or None):
        keras.models.load_model(tmp_path / "model.keras")


def test_registered_classes_are_found(tmp_path, data):
    @keras.saving.register_keras_serializable(package="tests")
    class Negative(L.Layer):
        def call(self, inputs):
            return -inputs

    try:
        model = keras.Sequential([L.Dense(2), Negative()])
        model.predict(data[0], verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    finally:
        del keras.saving.get_custom_objects()["Negative"]


# ---------------------------------------------------------------- data sets and what stands around


def test_mnist_is_as_keras_has_it():
    (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert {one.dtype for one in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    x_test[:] = 0  # one's own copy
    assert keras.datasets.mnist.load_data()[1][0].any()


def test_fashion_mnist_says_where_it_comes_from(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt install dataset-fashion-mnist"):
        keras.datasets.fashion_mnist.load_data(tmp_path)
    for split, count in (("train", 5), ("t10k", 3)):
        images = struct.pack(">IIII", 0x803, count, 28, 28) + bytes(range(count)) + bytes(count * 784 - count)
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + bytes(range(count)))
    (x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data(tmp_path)
    assert (x_train.shape, y_train.tolist(), x_test.shape, y_test.dtype) == (
        (5, 28, 28),
        [0, 1, 2, 3, 4],
        (3, 28, 28),
        "uint8",
    )


def test_set_random_seed_seeds_everything():
    draws = []
    for _ in range(2):
        keras.utils.set_random_seed(11)
        draws.append((random.random(), np.random.rand(), af.rand(1).item()))
    assert draws[0] == draws[1]


def test_plot_model_shows_each_layer(trained, tmp_path):
    path = keras.utils.plot_model(
        trained, tmp_path / "model.dot", show_shapes=True, show_layer_names=True, show_layer_activations=True,
        expand_nested=True, show_dtype=True, show_trainable=True,
    )  # fmt: skip
    text = (tmp_path / "model.dot").read_text()
    assert path == str(tmp_path / "model.dot")
    for word in ("Dropout", "BatchNormalization", "(None, 6) → (None, 8)", "relu", "inner", "56 parameters", "float32"):
        assert word in text
    own = Residual()
    own(np.ones((1, INPUTS)))
    keras.utils.plot_model(own, tmp_path / "own.dot", show_shapes=True)
    assert "Dense" in (tmp_path / "own.dot").read_text()


def test_backend():
    assert keras.backend.floatx() == "float32"
    keras.backend.set_floatx("float64")
    try:
        assert L.Dense(2)(np.ones((1, 2))).dtype == np.float64
    finally:
        keras.backend.set_floatx("float32")


def test_dtype_error_is_a_type_error(data):
    with pytest.raises(TypeError):
        classifier().fit()
    assert issubclass(DtypeError, TypeError)
