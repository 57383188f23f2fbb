"""Models against Keras itself: printed summaries, histories from the same weights on the same data, what is returned."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    real = pytest.importorskip("keras")

from autograd_ff import keras

pytestmark = pytest.mark.filterwarnings("ignore")

N, INPUTS, CLASSES = 90, 12, 4


@pytest.fixture(autouse=True)
def seeded():
    """Both draw their weights and number their layers from the beginning, whatever tests ran before."""
    for api in (real, keras):
        api.utils.set_random_seed(0)
        api.utils.clear_session()


@pytest.fixture
def data():
    generator = np.random.default_rng(3)
    x = generator.normal(size=(N, INPUTS)).astype(np.float32)
    y = (x[:, :CLASSES] + 0.3 * generator.normal(size=(N, CLASSES))).argmax(1)
    return x, y


def built(api, *, l2=0.0, last="softmax", units=CLASSES):
    regularizer = api.regularizers.L2(l2) if l2 else None
    return api.Sequential(
        [
            api.Input((INPUTS,)),
            api.layers.Dense(16, activation="relu", kernel_regularizer=regularizer),
            api.layers.BatchNormalization(),
            api.layers.Dense(units, activation=last),
        ],
        name="model",
    )


def pair(loss, optimizer, metrics=("accuracy",), **options):
    """Ours and Keras's, compiled alike, from the same weights."""
    theirs, ours = built(real, **options), built(keras, **options)
    ours.set_weights(theirs.get_weights())
    for model, api in ((theirs, real), (ours, keras)):
        name, rate = optimizer
        model.compile(getattr(api.optimizers, name)(learning_rate=rate), loss=loss, metrics=list(metrics))
    return ours, theirs


def assert_alike(ours, theirs, rtol=2e-4, atol=2e-5):
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=rtol, atol=atol, err_msg=name)


SETTINGS = {
    "sgd": (("SGD", 0.1), {}),
    "momentum": (("SGD", 0.05), {}),
    "adam": (("Adam", 0.01), {}),
    "rmsprop": (("RMSprop", 0.005), {}),
    "l2": (("Adam", 0.01), {"l2": 0.01}),
}


@pytest.mark.parametrize("recorded", [False, True], ids=["as written", "recorded"])
@pytest.mark.parametrize("case", SETTINGS)
def test_same_weights_same_data_same_history(case, recorded, data):
    optimizer, options = SETTINGS[case]
    ours, theirs = pair("sparse_categorical_crossentropy", optimizer, **options)
    ours.compile(ours.optimizer, ours.loss, metrics=["accuracy"], jit_compile=recorded)
    x, y = data
    arguments = {"epochs": 5, "batch_size": 16, "shuffle": False, "verbose": 0, "validation_split": 0.2}
    expected = theirs.fit(x, y, **arguments)
    found = ours.fit(x, y, **arguments, checks=False)
    assert_alike(found.history, expected.history)
    assert found.epoch == expected.epoch
    assert_alike(dict(enumerate(ours.get_weights())), dict(enumerate(theirs.get_weights())), rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(ours.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), rtol=1e-3)
    named = ours.evaluate(x, y, verbose=0, return_dict=True)
    assert_alike(named, theirs.evaluate(x, y, verbose=0, return_dict=True), rtol=1e-3)


@pytest.mark.parametrize("weighting", ["class", "sample"])
def test_weights_of_classes_and_samples(weighting, data):
    x, y = data
    ours, theirs = pair("sparse_categorical_crossentropy", ("SGD", 0.1))
    arguments = {"epochs": 3, "batch_size": 16, "shuffle": False, "verbose": 0}
    if weighting == "class":
        arguments["class_weight"] = {0: 2.0, 1: 0.5, 3: 1.5}
    else:
        arguments["sample_weight"] = np.random.default_rng(0).uniform(0, 2, N).astype(np.float32)
    assert_alike(ours.fit(x, y, **arguments, checks=False).history, theirs.fit(x, y, **arguments).history)
    weights = np.linspace(0, 2, N).astype(np.float32)
    np.testing.assert_allclose(
        ours.evaluate(x, y, sample_weight=weights, verbose=0),
        theirs.evaluate(x, y, sample_weight=weights, verbose=0),
        rtol=1e-3,
    )


LOSSES = {
    "one-hot": ("categorical_crossentropy", "softmax", CLASSES, lambda y: np.eye(CLASSES)[y]),
    "binary": ("binary_crossentropy", "sigmoid", 1, lambda y: y % 2),
    "binary column": ("binary_crossentropy", "sigmoid", 1, lambda y: (y % 2)[:, None].astype(np.float32)),
    "regression": ("mse", None, 1, lambda y: y / 2.0),
    "absolute": ("mae", None, 1, lambda y: y / 2.0),
    "binary of many": ("binary_crossentropy", "sigmoid", CLASSES, lambda y: np.eye(CLASSES)[y]),
    "tanh": ("mse", "tanh", 1, lambda y: y / 4.0),
}


@pytest.mark.parametrize("case", LOSSES)
def test_losses_with_their_last_activation(case, data):
    loss, last, units, targets = LOSSES[case]
    x, y = data
    ours, theirs = pair(loss, ("Adam", 0.01), ["mae"], last=last, units=units)
    arguments = {"epochs": 3, "batch_size": 16, "shuffle": False, "verbose": 0}
    expected = theirs.fit(x, targets(y), **arguments)
    found = ours.fit(x, targets(y), **arguments, checks=False)
    assert_alike(found.history, expected.history, rtol=1e-3)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_layer_and_the_summary_of_it(frozen, data, capsys):
    x, y = data
    ours, theirs = pair("sparse_categorical_crossentropy", ("Adam", 0.01))
    for model in (ours, theirs):
        model.layers[0].trainable = not frozen
    arguments = {"epochs": 2, "batch_size": 16, "shuffle": False, "verbose": 0}
    assert_alike(ours.fit(x, y, **arguments, checks=False).history, theirs.fit(x, y, **arguments).history)
    assert printed(ours, capsys, show_trainable=True) == printed(theirs, capsys, show_trainable=True)


def printed(model, capsys, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    return "\n".join(lines)


def models(api):
    layers = api.layers
    return {
        "dense": [api.Input((784,)), layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")],
        "all": [
            api.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(300),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.5),
            layers.LayerNormalization(),
            layers.GaussianNoise(0.1),
            layers.Dense(3000, name="a_name_that_is_longer_than_the_column_is_wide"),
            layers.Dense(1, use_bias=False),
        ],
        "words": [api.Input((7,)), layers.Embedding(1000, 16), layers.Flatten(), layers.Dense(2)],
        "nested": [
            api.Input((8,)),
            api.Sequential([api.Input((8,)), layers.Dense(4), layers.Dense(6)], name="inner"),
            layers.Dense(1),
        ],
    }


@pytest.mark.parametrize("case", ["dense", "all", "words", "nested"])
@pytest.mark.parametrize(
    "options",
    [{}, {"line_length": 60}, {"line_length": 50, "positions": [0.3, 0.6, 1.0]}, {"show_trainable": True},
     {"expand_nested": True}, {"line_length": 72, "expand_nested": True, "show_trainable": True}],
    ids=str,
)  # fmt: skip
def test_summary_is_printed_as_keras_prints_it(case, options, capsys):
    texts = []
    for api in (keras, real):
        (api.backend if api is keras else api.utils).clear_session()
        model = api.Sequential(models(api)[case], name="model")
        texts.append(printed(model, capsys, **options))
        model.compile("adam", loss="mse")
        texts[-1] += printed(model, capsys, **options)
    assert texts[0] == texts[1]


def test_summary_before_the_model_is_built_and_of_a_range(capsys):
    texts = []
    for api in (keras, real):
        (api.backend if api is keras else api.utils).clear_session()
        layers = [api.layers.Dense(3), api.layers.Dropout(0.5), api.layers.Dense(2)]
        model = api.Sequential(layers)
        texts.append([printed(model, capsys)])
        model.build((None, 5))
        texts[-1].append(printed(model, capsys))
        texts[-1].append(printed(model, capsys, layer_range=["dropout", "dense_1"]))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_optimizer_parameters_in_the_summary(name, data, capsys):
    x, y = data
    ours, theirs = pair("sparse_categorical_crossentropy", (name, 0.01))
    for model in (ours, theirs):
        model.fit(x, y, epochs=1, verbose=0)
    assert printed(ours, capsys) == printed(theirs, capsys)


def test_one_epoch_after_another_and_starting_late(data):
    x, y = data
    ours, theirs = pair("sparse_categorical_crossentropy", ("Adam", 0.01))
    for arguments in ({"epochs": 2}, {"epochs": 5, "initial_epoch": 3}, {"epochs": 4, "validation_freq": 2}):
        arguments = {**arguments, "batch_size": 32, "shuffle": False, "verbose": 0, "validation_data": (x[:20], y[:20])}
        expected, found = theirs.fit(x, y, **arguments), ours.fit(x, y, **arguments, checks=False)
        assert found.epoch == expected.epoch
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(found[name], expected.history[name], rtol=1e-3)
        for name in ("val_loss", "val_accuracy"):
            np.testing.assert_allclose(
                [value for value in found[name] if value is not None], expected.history[name], rtol=1e-3
            )


def test_generators_and_steps(data):
    x, y = data
    ours, theirs = pair("sparse_categorical_crossentropy", ("SGD", 0.1))

    def batches():
        while True:
            for start in range(0, 80, 20):
                yield x[start : start + 20], y[start : start + 20]

    arguments = {"steps_per_epoch": 3, "epochs": 4, "verbose": 0}
    assert_alike(ours.fit(batches(), **arguments, checks=False).history, theirs.fit(batches(), **arguments).history)
    np.testing.assert_allclose(
        ours.evaluate(batches(), steps=3, verbose=0), theirs.evaluate(batches(), steps=3, verbose=0), rtol=1e-3
    )
    inputs = ((x[start : start + 10],) for start in range(0, 90, 10))
    same = ((x[start : start + 10],) for start in range(0, 90, 10))
    np.testing.assert_allclose(ours.predict(inputs, verbose=0), theirs.predict(same, verbose=0), rtol=1e-3, atol=1e-5)


def test_one_batch_at_a_time(data):
    x, y = data
    ours, theirs = pair("sparse_categorical_crossentropy", ("Adam", 0.01))
    found, expected = ours.train_on_batch(x, y), theirs.train_on_batch(x, y)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    theirs.reset_metrics()
    np.testing.assert_allclose(ours.test_on_batch(x, y), theirs.test_on_batch(x, y), rtol=1e-3)
    np.testing.assert_allclose(ours.predict_on_batch(x), theirs.predict_on_batch(x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.25, 0.33, 0.5, 0.999])
def test_validation_split_takes_the_last_rows_and_as_many_as_keras(fraction):
    """The mean of the held back rows under a model that gives 0 shows which they are."""
    for count in (9, 10, 13):
        y = 2.0 ** np.arange(count)
        held = []
        for api in (keras, real):
            model = api.Sequential([api.Input((1,)), api.layers.Dense(1, kernel_initializer="zeros")])
            model.compile(api.optimizers.SGD(0.0), loss="mae")
            options = {"checks": False} if api is keras else {}
            try:
                history = model.fit(
                    np.ones((count, 1)), y, validation_split=fraction, batch_size=count, verbose=0, **options
                )
            except ValueError:
                held.append(None)
                continue
            held.append(history.history["val_loss"][0])
        if None in held:
            assert held[0] is None
        else:
            assert held[0] == pytest.approx(held[1], rel=1e-6)


@pytest.mark.parametrize(
    ("values", "options"),
    [([0, 2, 1], {}), ([[0], [2]], {}), ([1, 1], {"num_classes": 4}), (np.arange(6).reshape(2, 3), {})],
)
def test_to_categorical(values, options):
    expected = real.utils.to_categorical(values, **options)
    found = keras.utils.to_categorical(values, **options)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("axis", "order"), [(-1, 2), (0, 1), (1, 2)])
def test_normalize(axis, order):
    x = np.random.default_rng(0).normal(size=(4, 5))
    x[2] = 0
    np.testing.assert_allclose(
        keras.utils.normalize(x, axis, order), real.utils.normalize(x, axis if axis else -2, order)
    )
