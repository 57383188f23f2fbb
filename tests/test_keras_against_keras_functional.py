"""Functional models against Keras itself: outputs and histories from the same weights, the order of layers, summaries."""

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

N = 48


@pytest.fixture(autouse=True)
def seeded():
    for api in (keras, real):
        api.utils.set_random_seed(0)
        api.utils.clear_session()


def chain(api):
    x = api.Input((6,), name="a")
    hidden = api.layers.Dense(8, activation="relu")(x)
    return x, api.layers.Dense(3, activation="softmax")(api.layers.Dropout(0.0)(hidden))


def residual(api):
    x = api.Input((6,), name="a")
    hidden = api.layers.Dense(6, activation="relu")(x)
    for _ in range(2):
        hidden = api.layers.Add()([hidden, api.layers.Dense(6, activation="tanh")(hidden)])
    return x, api.layers.Dense(3, activation="softmax")(api.layers.BatchNormalization()(hidden))


def towers(api):
    inputs = [api.Input((6,), name="a"), api.Input((6,), name="b")]
    shared = api.layers.Dense(5, activation="relu", name="shared")
    joined = api.layers.Concatenate()([shared(inputs[0]), shared(inputs[1]), inputs[1]])
    return inputs, api.layers.Dense(3, activation="softmax")(joined)


def uneven(api):
    """A layer that is called at two depths, branches of different lengths, and inputs in a dict."""
    inputs = {"a": api.Input((6,), name="a"), "b": api.Input((6,), name="b")}
    shared = api.layers.Dense(6, name="shared")
    deep = shared(api.layers.Dense(6, activation="relu")(shared(inputs["a"])))
    short = api.layers.LayerNormalization()(inputs["b"])
    joined = api.layers.Concatenate()([short, api.layers.Multiply()([deep, inputs["b"]])])
    return inputs, api.layers.Dense(3, activation="softmax")(joined)


def nested(api):
    x = api.Input((6,), name="inner_input")
    wide = api.layers.Dense(4)(x)
    inner = api.Model(x, api.layers.Add()([wide, api.layers.Dense(4)(x)]), name="inner")
    inputs = [api.Input((6,), name="a"), api.Input((6,), name="b")]
    tail = api.Sequential(
        [api.Input((8,)), api.layers.Dense(5), api.layers.Dense(3, activation="softmax")], name="tail"
    )
    return inputs, tail(api.layers.Concatenate()([inner(inputs[0]), inner(inputs[1])]))


def several(api):
    x = api.Input((6,), name="a")
    hidden = api.layers.Dense(5, activation="relu")(x)
    return x, [api.layers.Dense(2, name="first")(hidden), api.layers.Dense(3, name="second")(hidden)]


MODELS = {one.__name__: one for one in (chain, residual, towers, uneven, nested, several)}


def pair(case):
    theirs, ours = (api.Model(*MODELS[case](api), name="model") for api in (real, keras))
    assert [one.shape for one in ours.get_weights()] == [one.shape for one in theirs.get_weights()]
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def inputs_of(model):
    rng = np.random.default_rng(3)
    arrays = {name: rng.normal(size=(N, 6)).astype(np.float32) for name in ("a", "b")}
    if isinstance(model.input, dict):
        return arrays
    return [arrays["a"], arrays["b"]] if len(model.inputs) > 1 else arrays["a"]


@pytest.mark.parametrize("case", MODELS)
def test_the_same_layers_in_the_same_order_give_the_same_outputs(case):
    ours, theirs = pair(case)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert ours.output_names == theirs.output_names
    assert ours.input_shape == theirs.input_shape
    assert ours.output_shape == theirs.output_shape
    x = inputs_of(ours)
    found, expected = ours.predict(x, verbose=0), theirs.predict(x, verbose=0)
    for one, other in zip(found, expected, strict=True) if isinstance(found, list) else [(found, expected)]:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in MODELS if case != "several"])
def test_the_same_training(case):
    ours, theirs = pair(case)
    x, y = inputs_of(ours), np.random.default_rng(4).integers(0, 3, N)
    arguments = {"epochs": 4, "batch_size": 16, "shuffle": False, "verbose": 0, "validation_split": 0.25}
    for model, api in ((ours, keras), (theirs, real)):
        model.compile(api.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    found, expected = ours.fit(x, y, **arguments, checks=False).history, theirs.fit(x, y, **arguments).history
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-4, atol=2e-5, err_msg=name)
    np.testing.assert_allclose(ours.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), rtol=1e-3)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize(
    "options",
    [{}, {"line_length": 60}, {"line_length": 120, "show_trainable": True}, {"expand_nested": True},
     {"positions": [0.2, 0.5, 0.6, 1.0], "line_length": 90}],
    ids=str,
)  # fmt: skip
def test_the_summary_is_printed_as_keras_prints_it(case, options, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")  # what Keras's table is cut off at
    if "positions" in options and case == "chain":
        options = {**options, "positions": [0.2, 0.6, 1.0]}
    texts = []
    for model in pair(case):
        lines = []
        model.summary(print_fn=lines.append, **options)
        texts.append("\n".join(lines))
    assert texts[0] == texts[1]


def test_a_model_that_begins_in_the_middle_of_another():
    outputs = []
    for model, api in zip(pair("towers"), (keras, real), strict=True):
        head = model.layers[-1]
        part = api.Model(head.input, head.output)
        outputs.append(part.predict(np.linspace(-1, 1, 64, dtype=np.float32).reshape(4, 16), verbose=0))
        assert part.count_params() == head.count_params()
    np.testing.assert_allclose(*outputs, rtol=1e-5)


@pytest.mark.parametrize("shuffle", [False, True])
def test_numbered_batches(shuffle):
    losses = []
    for api in (keras, real):

        class Numbered(api.utils.PyDataset):
            def __init__(self):
                super().__init__()
                self.log = []

            def __len__(self):
                return 6

            def __getitem__(self, index):
                self.log.append(index)
                return np.full((4, 1), index, np.float32), np.full((4, 1), 2.0 * index, np.float32)

            def on_epoch_end(self):
                self.log.append("end")

        model = api.Sequential([api.Input((1,)), api.layers.Dense(1, kernel_initializer="ones")])
        model.compile(api.optimizers.SGD(0.0 if shuffle else 0.01), "mse")
        data = Numbered()
        options = {"checks": False} if api is keras else {}
        losses.append(model.fit(data, epochs=2, shuffle=shuffle, verbose=0, **options).history["loss"])
        asked = [one for one in data.log if one != "end"]
        assert sorted(asked[-6:]) == list(range(6))
        if api is keras:  # Keras looks into the data once before
            assert data.log.count("end") == 2
        losses[-1] += [model.evaluate(data, verbose=0), *model.predict(data, verbose=0)[::4, 0]]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_endings_that_are_none():
    """No epochs, and a training that TerminateOnNaN ends."""
    found = []
    for api in (keras, real):
        model = api.Sequential([api.Input((1,)), api.layers.Dense(1)])
        model.compile("sgd", "mse")
        options = {"checks": False} if api is keras else {}
        none = model.fit(np.ones((4, 1)), np.ones(4), epochs=0, verbose=0, **options).history
        ended = model.fit(
            np.full((4, 1), np.nan),
            np.ones(4),
            epochs=3,
            verbose=0,
            callbacks=[api.callbacks.TerminateOnNaN()],
            **options,
        ).history
        found.append((none, str(ended)))
    assert found[0] == found[1]
