"""Layers, initializers, regularizers, losses, optimizers and schedules beside those of Keras, where it is installed."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

import autograd_ff as af
from autograd_ff import keras as our_keras
from autograd_ff.keras import activations, initializers, layers, losses, optimizers, regularizers
from autograd_ff.keras.optimizers import schedules

pytestmark = pytest.mark.filterwarnings("ignore")  # what Keras and torch warn about


def theirs(value):
    return keras.ops.convert_to_numpy(value)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# ---------------------------------------------------------------- activations

ACTIVATIONS = [
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign",
    "swish", "tanh", "tanh_shrink",
]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_keras(name):
    x = draw(5, 8) * 4
    expected = theirs(keras.activations.get(name)(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(activations.get(name)(af.tensor(x)).numpy(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"negative_slope": 0.1}, {"max_value": 1.0}, {"threshold": 0.5}, {"negative_slope": 0.1, "max_value": 1.0},
        {"negative_slope": 0.1, "threshold": 0.5}, {"negative_slope": 0.1, "threshold": 0.5, "max_value": 2.0},
    ],
)  # fmt: skip
def test_relu_with_its_arguments(arguments):
    x = draw(40) * 3
    expected = theirs(keras.activations.relu(keras.ops.convert_to_tensor(x), **arguments))
    np.testing.assert_allclose(activations.relu(af.tensor(x), **arguments).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_gelu_approximate():
    x = draw(40)
    expected = theirs(keras.activations.gelu(keras.ops.convert_to_tensor(x), approximate=True))
    np.testing.assert_allclose(activations.gelu(x, approximate=True).numpy(), expected, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- layers

LAYERS = [
    ("Dense", {"units": 3, "activation": "relu"}, (4, 6)),
    ("Dense", {"units": 3, "use_bias": False}, (4, 6)),
    ("Dense", {"units": 3, "activation": "softmax"}, (4, 2, 6)),
    ("Activation", {"activation": "tanh"}, (4, 6)),
    ("ReLU", {"max_value": 1.0, "negative_slope": 0.1}, (4, 6)),
    ("LeakyReLU", {}, (4, 6)),
    ("ELU", {"alpha": 0.5}, (4, 6)),
    ("PReLU", {"alpha_initializer": "ones"}, (4, 6)),
    ("PReLU", {"shared_axes": [1]}, (4, 3, 6)),
    ("Softmax", {}, (4, 6)),
    ("Flatten", {}, (4, 3, 2)),
    ("Reshape", {"target_shape": (3, -1)}, (4, 6)),
    ("Permute", {"dims": (2, 1)}, (4, 3, 2)),
    ("Dropout", {"rate": 0.5}, (4, 6)),
    ("GaussianNoise", {"stddev": 0.5}, (4, 6)),
    ("Rescaling", {"scale": 2.0, "offset": -1.0}, (4, 6)),
    ("Identity", {}, (4, 6)),
    ("BatchNormalization", {}, (4, 6)),
    ("BatchNormalization", {"scale": False}, (4, 6)),
    ("BatchNormalization", {"center": False, "momentum": 0.9}, (4, 3, 6)),
    ("BatchNormalization", {"axis": 1}, (4, 3, 6)),
    ("LayerNormalization", {}, (4, 6)),
    ("LayerNormalization", {"axis": [1, 2], "center": False}, (4, 3, 6)),
    ("RMSNormalization", {}, (4, 6)),
]


def name_of(case):
    return f"{case[0]}-{len(case[2])}-{'-'.join(case[1])}"


@pytest.mark.parametrize("case", LAYERS, ids=name_of)
def test_layers_are_keras_with_the_same_weights(case):
    name, arguments, shape = case
    ours, other = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    x = draw(*shape)
    other.build(shape)
    ours.build((None, *shape[1:]))
    weights = [draw(*weight.shape, seed=number) ** 2 for number, weight in enumerate(other.get_weights(), 1)]
    assert [weight.shape for weight in ours.get_weights()] == [weight.shape for weight in weights]
    assert [weight.name for weight in ours.named_weights()] == [weight.name for weight in other.weights]
    assert ours.count_params() == other.count_params()
    assert ours.compute_output_shape((None, *shape[1:])) == tuple(other.compute_output_shape((None, *shape[1:])))
    ours.set_weights(weights)
    other.set_weights(weights)
    np.testing.assert_allclose(ours(x).detach().numpy(), theirs(other(x)), rtol=1e-5, atol=1e-5)
    for mine, its in zip(ours.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("shape", [(5, 6), (5, 3, 6), (1, 6)])
def test_batch_normalization_keeps_keras_moving_statistics(shape):
    ours, other = layers.BatchNormalization(momentum=0.8), keras.layers.BatchNormalization(momentum=0.8)
    for number in range(4):
        x = draw(*shape, seed=number) * 3 + 1
        np.testing.assert_allclose(
            ours(x, training=True).detach().numpy(), theirs(other(x, training=True)), rtol=1e-4, atol=1e-5
        )
    for mine, its in zip(ours.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)


def test_a_frozen_batch_normalization_is_in_inference_mode():
    ours, other = layers.BatchNormalization(), keras.layers.BatchNormalization()
    x = draw(5, 6) * 3
    for layer in (ours, other):
        layer.build((None, 6))
        layer.trainable = False
    np.testing.assert_allclose(
        ours(x, training=True).detach().numpy(), theirs(other(x, training=True)), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(ours.get_weights()[2], np.zeros(6))


def test_embedding_is_keras():
    ours, other = layers.Embedding(7, 3), keras.layers.Embedding(7, 3)
    index = np.array([[0, 6, 3], [1, 1, 2]])
    other.build((2, 3))
    ours.build((None, 3))
    ours.set_weights(other.get_weights())
    np.testing.assert_array_equal(ours(index).detach().numpy(), theirs(other(index)))
    assert ours.output_shape == (None, 3, 3)


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
def test_merging_layers_are_keras(name):
    pair = [draw(4, 3), draw(4, 3, seed=1)]
    ours, other = getattr(layers, name)(), getattr(keras.layers, name)()
    np.testing.assert_allclose(ours(pair).numpy(), theirs(other(pair)), rtol=1e-6)
    shapes = [(None, 3), (None, 3)]
    assert ours.compute_output_shape(shapes) == tuple(other.compute_output_shape(shapes))


def test_names_are_keras():
    keras.utils.clear_session()
    our_keras.backend.clear_session()
    for name, arguments, _ in LAYERS:
        assert getattr(layers, name)(**arguments).name == getattr(keras.layers, name)(**arguments).name


def test_regularisation_losses_are_keras():
    def make(module):
        return module.layers.Dense(
            3,
            kernel_regularizer=module.regularizers.L1L2(0.1, 0.2),
            bias_regularizer=module.regularizers.L1(0.3),
            activity_regularizer=module.regularizers.L2(0.4),
        )

    ours, other = make(our_keras), make(keras)
    x = draw(4, 6)
    other.build((4, 6))
    ours.build((None, 6))
    weights = [draw(6, 3), draw(3)]
    ours.set_weights(weights)
    other.set_weights(weights)
    ours(x), other(x)
    mine, its = [sorted(float(loss.item()) for loss in layer.losses) for layer in (ours, other)]
    np.testing.assert_allclose(mine, its, rtol=1e-5)
    assert len(mine) == 3


@pytest.mark.parametrize("name", ["l1", "l2", "L1", "L2", "L1L2"])
def test_regularizers_by_name_are_keras(name):
    x = draw(4, 6)
    expected = float(keras.regularizers.get(name)(keras.ops.convert_to_tensor(x)))
    assert regularizers.get(name)(af.tensor(x)).item() == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- initializers

SCALED = [
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "random_normal",
    "random_uniform", "truncated_normal",
]  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("shape", [(400, 100), (3, 40, 100)])
def test_initializers_have_keras_spread(name, shape):
    af.manual_seed(0)
    keras.utils.set_random_seed(0)
    mine = initializers.get(name)(shape).numpy()
    its = theirs(keras.initializers.get(name)(shape))
    assert mine.std() == pytest.approx(its.std(), rel=0.03)
    assert np.abs(mine).max() == pytest.approx(np.abs(its).max(), rel=0.25 if name == "random_normal" else 0.02)
    assert abs(mine.mean()) < 5 * its.std() / mine.size**0.5


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_variance_scaling_is_keras(mode, distribution):
    shape, arguments = (500, 60), {"scale": 2.0, "mode": mode, "distribution": distribution, "seed": 3}
    mine = initializers.VarianceScaling(**arguments)(shape).numpy()
    its = theirs(keras.initializers.VarianceScaling(**arguments)(shape))
    assert mine.std() == pytest.approx(its.std(), rel=0.03)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal_has_keras_layout(shape):
    drawn = [
        initializers.Orthogonal(2.0, seed=0)(shape).numpy(),
        theirs(keras.initializers.Orthogonal(2.0, seed=0)(shape)),
    ]
    for matrix in drawn:
        matrix = matrix.reshape(-1, shape[-1])
        small = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
        np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


# ---------------------------------------------------------------- losses


def probabilities(*shape):
    values = np.exp(draw(*shape))
    return values / values.sum(-1, keepdims=True)


RNG = np.random.default_rng(5)
CLASSES = RNG.integers(0, 4, 6)
ONE_HOT = np.eye(4, dtype=np.float32)[CLASSES]
BITS = RNG.integers(0, 2, (6, 3)).astype(np.float32)
LOSSES = [
    ("SparseCategoricalCrossentropy", {}, CLASSES, probabilities(6, 4)),
    ("SparseCategoricalCrossentropy", {}, CLASSES[:, None], probabilities(6, 4)),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, CLASSES, draw(6, 4)),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 1}, CLASSES, draw(6, 4)),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, CLASSES, probabilities(6, 4)),
    ("SparseCategoricalCrossentropy", {}, RNG.integers(0, 4, (6, 5)), probabilities(6, 5, 4)),
    ("CategoricalCrossentropy", {}, ONE_HOT, probabilities(6, 4)),
    ("CategoricalCrossentropy", {}, ONE_HOT, 3 * probabilities(6, 4)),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, ONE_HOT, probabilities(6, 4)),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2, "from_logits": True}, ONE_HOT, draw(6, 4)),
    ("CategoricalCrossentropy", {"from_logits": True}, ONE_HOT.astype(int), draw(6, 4)),
    ("BinaryCrossentropy", {}, BITS, probabilities(6, 3)),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, BITS, probabilities(6, 3)),
    ("BinaryCrossentropy", {"from_logits": True}, BITS.astype(int), draw(6, 3)),
    ("BinaryCrossentropy", {}, BITS, np.round(probabilities(6, 3))),
    ("BinaryCrossentropy", {}, BITS[:, 0], probabilities(6, 3)[:, :1]),
    ("MeanSquaredError", {}, draw(6, 3, seed=1), draw(6, 3)),
    ("MeanSquaredError", {}, draw(6, seed=1), draw(6, 1)),
    ("MeanAbsoluteError", {}, draw(6, 3, seed=1), draw(6, 3)),
    ("MeanAbsolutePercentageError", {}, draw(6, 3, seed=1), draw(6, 3)),
    ("MeanSquaredLogarithmicError", {}, draw(6, 3, seed=1), draw(6, 3)),
    ("Huber", {"delta": 0.5}, draw(6, 3, seed=1), draw(6, 3)),
    ("LogCosh", {}, draw(6, 3, seed=1), 30 * draw(6, 3)),
    ("CosineSimilarity", {}, draw(6, 3, seed=1), draw(6, 3)),
    ("Poisson", {}, RNG.poisson(2.0, (6, 3)), np.exp(draw(6, 3))),
    ("KLDivergence", {}, probabilities(6, 3), probabilities(6, 3)[::-1].copy()),
    ("Hinge", {}, BITS, draw(6, 3)),
    ("Hinge", {}, 2 * BITS - 1, draw(6, 3)),
    ("SquaredHinge", {}, BITS, draw(6, 3)),
    ("CategoricalHinge", {}, ONE_HOT, draw(6, 4)),
]


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none", "mean_with_sample_weight"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", LOSSES, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
def test_losses_are_keras(case, weighted, reduction):
    name, arguments, truth, scores = case
    if "ignore_class" in arguments and reduction == "mean_with_sample_weight":
        pytest.skip("Keras divides by the number of all samples there")
    ours = getattr(losses, name)(reduction=reduction, **arguments)
    other = getattr(keras.losses, name)(reduction=reduction, **arguments)
    weights = np.linspace(0.5, 2.0, 6).astype(np.float32) if weighted else None
    if weighted and truth.ndim == 2 and name.startswith("Sparse") and truth.shape[1] > 1:
        weights = np.broadcast_to(weights[:, None], truth.shape).copy()
    expected = theirs(other(truth, scores, sample_weight=weights))
    mine = ours(af.tensor(truth), af.tensor(scores), None if weights is None else af.tensor(weights)).numpy()
    assert mine.shape == expected.shape
    if not (reduction == "none" and "ignore_class" in arguments):  # Keras scales what is left by total / counted
        np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
def test_gradients_of_losses_are_keras(case):
    torch = pytest.importorskip("torch")
    name, arguments, truth, scores = case
    other = torch.tensor(scores, requires_grad=True)
    getattr(keras.losses, name)(**arguments)(truth, other).backward()
    ours = af.tensor(scores, requires_grad=True)
    getattr(losses, name)(**arguments)(af.tensor(truth), ours).backward()
    np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- optimizers

OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.3}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.2}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.5}),
    ("Adam", {}),
    ("Adam", {"learning_rate": 0.01, "epsilon": 1e-3}),
    ("Adam", {"learning_rate": 0.01, "amsgrad": True}),
    ("Adam", {"learning_rate": 0.01, "weight_decay": 0.3}),
    ("AdamW", {}),
    ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.3}),
    ("RMSprop", {}),
    ("RMSprop", {"learning_rate": 0.01, "epsilon": 1e-3}),
    ("RMSprop", {"learning_rate": 0.01, "momentum": 0.9}),
    ("RMSprop", {"learning_rate": 0.01, "centered": True}),
    ("RMSprop", {"learning_rate": 0.01, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"learning_rate": 0.1, "weight_decay": 0.1}),
]
SCHEDULES = [
    ("ExponentialDecay", (0.1, 7, 0.5)),
    ("ExponentialDecay", (0.1, 7, 0.5, True)),
    ("InverseTimeDecay", (0.1, 7, 0.5)),
    ("PiecewiseConstantDecay", ([5, 10], [0.1, 0.05, 0.01])),
    ("PolynomialDecay", (0.1, 9, 0.01, 2.0)),
    ("PolynomialDecay", (0.1, 4, 0.01, 1.0, True)),
    ("CosineDecay", (0.1, 13, 0.1)),
    ("CosineDecay", (0.0, 8, 0.1, "c", 0.1, 5)),
    ("CosineDecayRestarts", (0.1, 4, 2.0, 0.5, 0.1)),  # with 1.5, Keras's logarithm is a step late
]


def trajectories(ours, other, scale=1.0, steps=20):
    """The weights after each of some steps with the same gradients, of both."""
    torch = pytest.importorskip("torch")
    start = [draw(4, 3), draw(3, seed=1)]
    mine = [af.tensor(one, requires_grad=True) for one in start]
    its = [keras.Variable(one) for one in start]
    worker = ours.build(mine)
    other.build(its)
    paths = []
    for step in range(steps):
        gradients = [scale * draw(*one.shape, seed=100 + 2 * step + number) for number, one in enumerate(start)]
        for parameter, gradient in zip(mine, gradients, strict=True):
            parameter.grad = af.tensor(gradient)
        worker.step()
        with torch.no_grad():
            other.apply([keras.ops.convert_to_tensor(one) for one in gradients])
        paths.append(([one.detach().numpy().copy() for one in mine], [theirs(one.value).copy() for one in its]))
    return paths


@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
def test_optimizers_walk_with_keras(case, scale):
    name, arguments = case
    ours, other = getattr(optimizers, name)(**arguments), getattr(keras.optimizers, name)(**arguments)
    moved = 0.0
    for step, (mine, its) in enumerate(trajectories(ours, other, scale)):
        for one, two, start in zip(mine, its, (draw(4, 3), draw(3, seed=1)), strict=True):
            moved = max(moved, np.abs(two - start).max())
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=2e-6, err_msg=f"step {step}")
    assert moved > 0
    assert ours.iterations == 20
    assert ours.learning_rate == pytest.approx(float(other.learning_rate))


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda case: case[0])
def test_schedules_are_keras(case):
    name, arguments = case
    ours, other = getattr(schedules, name)(*arguments), getattr(keras.optimizers.schedules, name)(*arguments)
    for step in range(30):
        assert ours(step) == pytest.approx(float(other(step)), rel=1e-5, abs=1e-8), step
    assert set(ours.get_config()) == set(other.get_config())


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_optimizers_follow_a_schedule_with_keras(name):
    rates = [
        module(0.1, 5, 0.5) for module in (schedules.ExponentialDecay, keras.optimizers.schedules.ExponentialDecay)
    ]
    ours, other = getattr(optimizers, name)(rates[0]), getattr(keras.optimizers, name)(rates[1])
    for mine, its in trajectories(ours, other):
        for one, two in zip(mine, its, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert ours.learning_rate == pytest.approx(float(other.learning_rate), rel=1e-5)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_defaults_of_optimizers_are_keras(name):
    ours, other = getattr(optimizers, name)().get_config(), getattr(keras.optimizers, name)().get_config()
    del ours["name"]  # which counts instances
    for key, value in ours.items():
        assert value == pytest.approx(other[key], rel=1e-6) if isinstance(value, float) else value == other[key], key


@pytest.mark.parametrize("name", [case[0] for case in LOSSES])
def test_names_of_losses_are_keras(name):
    assert getattr(losses, name)().name == getattr(keras.losses, name)().name
