"""The parts of the Keras face beside its layers: activations, initializers, regularizers, losses, optimizers, schedules."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import keras, nn
from autograd_ff.errors import OptimizerError, ShapeError
from autograd_ff.keras import activations, initializers, losses, optimizers, regularizers
from autograd_ff.keras.optimizers import schedules
from autograd_ff.nn import functional as F
from autograd_ff.testing import assert_gradients

# ---------------------------------------------------------------- regularizers


@settings(max_examples=20)
@given(st.floats(0, 2), st.floats(0, 2), st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_penalties_are_their_formula(l1, l2, values):
    weight = np.array(values)
    expected = l1 * np.abs(weight).sum() + l2 * (weight**2).sum()
    assert nn.regularizers.L1L2(l1, l2)(af.tensor(weight)).item() == pytest.approx(expected)


def test_a_module_is_penalised_for_its_weights_alone():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 1))
    expected = sum((layer.weight.detach().numpy() ** 2).sum() for layer in (model[0], model[2]))
    penalty = nn.regularizers.L2(1.0)(model)
    assert penalty.item() == pytest.approx(expected, rel=1e-6)
    penalty.backward()
    assert model[0].bias.grad is None
    np.testing.assert_allclose(model[0].weight.grad.numpy(), 2 * model[0].weight.detach().numpy(), rtol=1e-6)
    with pytest.raises(ShapeError, match="no parameter of two dimensions"):
        nn.regularizers.L2()(nn.LayerNorm(2))


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "x", True])
def test_factors_of_penalties_are_numbers_from_0_up(bad):
    with pytest.raises(ShapeError, match="factor of a penalty"):
        nn.regularizers.L1(bad)


def test_gradients_of_penalties():
    weight = af.tensor([1.0, -2.0, 0.5], dtype="float64", requires_grad=True)
    assert_gradients(nn.regularizers.L1L2(0.3, 0.2), (weight,))


# ---------------------------------------------------------------- by name

TABLES = [
    (activations, "relu"), (initializers, "he_normal"), (initializers, "GlorotUniform"), (regularizers, "l2"),
    (losses, "mse"), (losses, "SparseCategoricalCrossentropy"), (optimizers, "adam"), (optimizers, "AdamW"),
    (optimizers, "RMSPROP"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), TABLES, ids=lambda one: one if isinstance(one, str) else "")
def test_what_goes_by_a_name_is_written_down_and_read_again(module, name):
    found = module.get(name)
    assert module.get(found) is found
    config = json.loads(json.dumps(module.serialize(found)))
    again = module.deserialize(config)
    assert type(again) is type(found)
    assert module.serialize(again) == module.serialize(found)


@pytest.mark.parametrize(("module", "name"), TABLES, ids=lambda one: one if isinstance(one, str) else "")
def test_a_misspelled_name_is_answered_by_the_near_ones(module, name):
    with pytest.raises(ShapeError, match="did you mean") as caught:
        module.get(name[:1] + name[2:] + "x" if len(name) > 5 else name + "x")
    assert name.lower() in str(caught.value).lower()
    with pytest.raises(ShapeError, match="known are"):
        module.get("§§§§§§")
    with pytest.raises((ShapeError, OptimizerError)):
        module.get(3.5)


def test_functions_of_ones_own_go_by_themselves():
    def doubled(x):
        return x * 2

    assert activations.get(doubled) is doubled
    assert activations.deserialize("doubled", {"doubled": doubled}) is doubled
    with pytest.raises(ShapeError, match="no name"):
        activations.serialize(lambda x: x)


# ---------------------------------------------------------------- initializers


@settings(max_examples=20)
@given(
    st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    st.sampled_from(["uniform", "truncated_normal", "untruncated_normal"]),
    st.lists(st.integers(1, 7), max_size=4),
)
def test_variance_scaling_counts_fans_in_keras_layout(mode, distribution, shape):
    initializer = initializers.VarianceScaling(2.0, mode, distribution, seed=1)
    if len(shape) < 2:
        fans = [shape[0] if shape else 1] * 2
    else:
        field = int(np.prod(shape[:-2]))
        fans = [shape[-2] * field, shape[-1] * field]
    fan = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[mode]
    assert initializer.variance(shape) == pytest.approx(2.0 / max(1, fan))
    values = initializer(shape)
    assert tuple(values.shape) == tuple(shape)
    assert af.equal(values, initializer(shape))  # a seed gives the same numbers each time


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal"])
def test_variance_scaling_has_its_variance(distribution):
    values = initializers.VarianceScaling(2.0, "fan_in", distribution, seed=0)((100, 400)).numpy()
    assert values.var() == pytest.approx(0.02, rel=0.03)
    if distribution == "uniform":
        assert np.abs(values).max() <= np.sqrt(3 * 0.02) * (1 + 1e-6)


def test_without_a_seed_the_default_generator_draws():
    initializer = initializers.get("random_normal")
    af.manual_seed(3)
    first, second = initializer((4,)), initializer((4,))
    af.manual_seed(3)
    assert af.equal(initializer((4,)), first)
    assert not af.equal(first, second)
    with pytest.raises(ShapeError, match="seed"):
        initializers.RandomNormal(seed=1.5)


def test_orthogonal_and_identity():
    for shape in [(5, 3), (3, 5), (2, 3, 4)]:
        matrix = initializers.Orthogonal(seed=0)(shape).numpy().reshape(-1, shape[-1])
        small = matrix.T @ matrix if len(matrix) >= matrix.shape[1] else matrix @ matrix.T
        np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-5)
    np.testing.assert_array_equal(initializers.Identity(3.0)((2, 3)).numpy(), 3 * np.eye(2, 3))


# ---------------------------------------------------------------- losses

LOGITS = np.random.default_rng(0).normal(size=(6, 4))
CLASSES = np.array([0, 3, 1, 1, 2, 0])
ONE_HOT = np.eye(4)[CLASSES]


def f64(array, requires_grad=False):
    return af.tensor(np.asarray(array, np.float64), requires_grad=requires_grad)


PAIRS = [
    (losses.SparseCategoricalCrossentropy(), af.tensor(CLASSES), F.softmax(f64(LOGITS), -1)),
    (losses.SparseCategoricalCrossentropy(from_logits=True), af.tensor(CLASSES), f64(LOGITS)),
    (losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1), af.tensor(CLASSES), f64(LOGITS)),
    (losses.CategoricalCrossentropy(label_smoothing=0.1), f64(ONE_HOT), F.softmax(f64(LOGITS), -1)),
    (losses.CategoricalCrossentropy(from_logits=True), f64(ONE_HOT), f64(LOGITS)),
    (losses.BinaryCrossentropy(label_smoothing=0.1), f64(ONE_HOT), F.sigmoid(f64(LOGITS))),
    (losses.BinaryCrossentropy(from_logits=True), f64(ONE_HOT), f64(LOGITS)),
    (losses.MeanSquaredError(), f64(ONE_HOT), f64(LOGITS)),
    (losses.MeanAbsoluteError(), f64(ONE_HOT), f64(LOGITS)),
    (losses.MeanAbsolutePercentageError(), f64(ONE_HOT + 1), f64(LOGITS)),
    (losses.MeanSquaredLogarithmicError(), f64(ONE_HOT + 1), f64(LOGITS**2 + 1)),
    (losses.Huber(0.5), f64(ONE_HOT), f64(LOGITS)),
    (losses.LogCosh(), f64(ONE_HOT), f64(LOGITS)),
    (losses.CosineSimilarity(), f64(ONE_HOT), f64(LOGITS)),
    (losses.Poisson(), f64(ONE_HOT), f64(np.exp(LOGITS))),
    (losses.KLDivergence(), F.softmax(f64(LOGITS[::-1].copy()), -1), F.softmax(f64(LOGITS), -1)),
    (losses.Hinge(), f64(ONE_HOT), f64(LOGITS)),
    (losses.SquaredHinge(), f64(ONE_HOT), f64(LOGITS)),
    (losses.CategoricalHinge(), f64(ONE_HOT), f64(LOGITS)),
]
IDS = [f"{loss.name}{'-logits' if getattr(loss, 'from_logits', False) else ''}" for loss, _, _ in PAIRS]


@pytest.mark.parametrize(("loss", "truth", "scores"), PAIRS, ids=IDS)
def test_the_short_way_to_the_mean_and_weights_of_one_are_the_mean(loss, truth, scores):
    values = loss.call(truth, scores)
    assert values.shape == (6,)
    counted = 6 if getattr(loss, "ignore_class", None) is None else (loss.ignore_class != CLASSES).sum()
    expected = values.numpy().sum() / counted
    assert loss(truth, scores).item() == pytest.approx(expected, rel=1e-12)
    assert loss(truth, scores, af.ones(6)).item() == pytest.approx(expected, rel=1e-12)
    weights = np.linspace(0, 1, 6)
    assert loss(truth, scores, weights).item() == pytest.approx((weights * values.numpy()).sum() / counted)
    assert loss(truth, scores, weights[:, None]).item() == pytest.approx((weights * values.numpy()).sum() / counted)
    by_sum = type(loss).from_config({**loss.get_config(), "reduction": "sum"})
    assert by_sum(truth, scores).item() == pytest.approx(values.numpy().sum())
    by_weight = type(loss).from_config({**loss.get_config(), "reduction": "mean_with_sample_weight"})
    assert by_weight(truth, scores, weights).item() == pytest.approx((weights * values.numpy()).sum() / weights.sum())


@pytest.mark.parametrize(("loss", "truth", "scores"), PAIRS, ids=IDS)
def test_gradients_of_losses(loss, truth, scores):
    weights = np.linspace(0.5, 1, 6)
    assert_gradients(lambda scores: loss(truth, scores, weights), (scores.clone().requires_grad_(),), rtol=1e-5)
    assert_gradients(lambda scores: loss(truth, scores), (scores.clone().requires_grad_(),), rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "activation", "truth"),
    [
        (losses.SparseCategoricalCrossentropy(), "softmax", CLASSES),
        (losses.CategoricalCrossentropy(label_smoothing=0.1), "softmax", ONE_HOT),
        (losses.BinaryCrossentropy(), "sigmoid", ONE_HOT),
    ],
)
def test_a_loss_of_logits_is_that_of_probabilities_where_both_can_tell(loss, activation, truth):
    logits = f64(LOGITS)
    fused = loss.with_logits(activation)
    assert fused.from_logits
    assert fused.name == loss.name
    assert fused.with_logits(activation) is None
    assert loss.with_logits("relu") is None
    plain = loss(truth, activations.get(activation)(logits)).item()
    assert fused(truth, logits).item() == pytest.approx(plain, rel=1e-6)
    extreme = fused(truth, f64(1000 * LOGITS, True))
    extreme.backward()
    assert np.isfinite(extreme.item())


def test_labels_come_in_several_shapes_and_dtypes():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = F.cross_entropy(f64(LOGITS), af.tensor(CLASSES)).item()
    for labels in (CLASSES, CLASSES[:, None], CLASSES.astype(np.float32), CLASSES.astype(np.uint8), list(CLASSES)):
        assert loss(labels, f64(LOGITS)).item() == pytest.approx(expected)
    columns = losses.MeanSquaredError()
    assert columns(np.zeros(3), np.ones((3, 1))).item() == 1.0
    assert columns(np.zeros((3, 1)), np.ones(3)).item() == 1.0


@pytest.mark.parametrize(
    ("loss", "truth", "message"),
    [
        (losses.SparseCategoricalCrossentropy(), ONE_HOT, "argmax"),
        (losses.SparseCategoricalCrossentropy(), CLASSES[:3], r"\(6,\)"),
        (losses.CategoricalCrossentropy(), CLASSES, "sparse_categorical_crossentropy"),
        (losses.CategoricalCrossentropy(), CLASSES[:, None], "sparse_categorical_crossentropy"),
        (losses.MeanSquaredError(), CLASSES, "shape"),
        (losses.MeanSquaredError(), ONE_HOT[:, :2], "shape"),
        (losses.LogCosh(), ONE_HOT[:, :1], "shape"),
        (losses.BinaryCrossentropy(), CLASSES, "shape"),
    ],
)
def test_targets_that_do_not_fit_raise_instead_of_broadcasting(loss, truth, message):
    with pytest.raises(ShapeError, match=message):
        loss(truth, F.softmax(f64(LOGITS), -1))


def test_weights_that_do_not_fit_raise():
    with pytest.raises(ShapeError, match="sample weights"):
        losses.MeanSquaredError()(ONE_HOT, LOGITS, np.ones(4))


def test_a_function_and_a_module_are_losses():
    loss = losses.get(lambda y_true, y_pred: ((y_true - y_pred) ** 2).mean(-1))
    assert loss(ONE_HOT, f64(LOGITS)).item() == pytest.approx(((ONE_HOT - LOGITS) ** 2).mean())
    module = losses.get(nn.CrossEntropyLoss())
    assert module(af.tensor(CLASSES), f64(LOGITS)).item() == pytest.approx(
        losses.get("sparse_categorical_crossentropy").with_logits("softmax")(CLASSES, f64(LOGITS)).item()
    )
    weights = np.linspace(0, 1, 6)
    assert module(af.tensor(CLASSES), f64(LOGITS), weights).item() == pytest.approx(
        losses.SparseCategoricalCrossentropy(from_logits=True)(CLASSES, f64(LOGITS), weights).item()
    )
    assert isinstance(losses.get(losses.mean_squared_error), losses.MeanSquaredError)
    with pytest.raises(ShapeError, match="reduction"):
        losses.MeanSquaredError(reduction="average")


# ---------------------------------------------------------------- optimizers


def descend(optimizer, steps=20, recorded=False):
    weight = af.tensor([1.0, -2.0, 0.5], requires_grad=True)
    worker = optimizer.build([weight])
    slopes = af.tensor([1.0, 0.1, 3.0])

    def step(slopes):
        worker.zero_grad()
        (weight * weight * slopes).sum().backward()
        worker.step()

    run = af.compile(step) if recorded else step
    for _ in range(steps):
        run(slopes)
    return weight.detach().numpy().copy()


FACTORIES = [
    lambda: optimizers.SGD(0.1),
    lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    lambda: optimizers.SGD(schedules.ExponentialDecay(0.1, 3, 0.5)),
    lambda: optimizers.Adam(schedules.CosineDecay(0.1, 15), clipnorm=0.5),
    lambda: optimizers.AdamW(0.1, global_clipnorm=0.5),
    lambda: optimizers.RMSprop(0.01, momentum=0.5, clipvalue=0.3),
    lambda: optimizers.Adagrad(0.5, weight_decay=0.1),
    lambda: optimizers.RMSprop(schedules.PiecewiseConstantDecay([4], [0.1, 0.01]), weight_decay=0.01),
]


@pytest.mark.parametrize("make", FACTORIES)
def test_a_recorded_step_follows_schedules_and_limits_too(make):
    once = descend(make())
    assert np.abs(once).sum() < 3.5
    np.testing.assert_allclose(descend(make(), recorded=True), once, rtol=1e-5, atol=1e-7)


def test_epsilon_is_where_keras_adds_it():
    """Beside the formulas: Adam's on the root of the uncorrected moment, RMSprop's inside of the root."""
    gradient = 1e-4
    for optimizer, expected in (
        (optimizers.Adam(0.1, epsilon=1e-3), 0.1 * gradient / (gradient + 1e-3 / np.sqrt(0.001))),
        (optimizers.RMSprop(0.1, epsilon=1e-3), 0.1 * gradient / np.sqrt(0.1 * gradient**2 + 1e-3)),
    ):
        weight = af.tensor([1.0], dtype="float64", requires_grad=True)
        optimizer.apply([np.array([gradient])], [weight])
        assert 1 - weight.item() == pytest.approx(expected, rel=1e-6)


def test_learning_rates_are_read_and_set():
    optimizer = optimizers.Adam(0.5)
    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = 0.25
    weight = af.tensor([1.0], requires_grad=True)
    worker = optimizer.build([weight])
    assert worker.param_groups[0]["lr"] == 0.25
    optimizer.learning_rate = 0.125
    assert worker.param_groups[0]["lr"] == 0.125
    worker.param_groups[0]["lr"] = 1.0  # as a callback may
    assert optimizer.learning_rate == 1.0
    assert optimizer.build([weight]) is worker
    assert optimizer.variables == [weight]
    scheduled = optimizers.SGD(schedules.InverseTimeDecay(1.0, 1, 1.0))
    descend(scheduled, steps=3)
    assert scheduled.learning_rate == pytest.approx(1 / 4)
    assert scheduled.iterations == 3
    with pytest.raises(OptimizerError, match="InverseTimeDecay"):
        scheduled.learning_rate = 0.1


def test_the_state_of_a_schedule_is_saved():
    optimizer = optimizers.SGD(schedules.ExponentialDecay(0.1, 3, 0.5))
    descend(optimizer, steps=5)
    other = optimizers.SGD(schedules.ExponentialDecay(0.1, 3, 0.5))
    other.build([af.tensor([0.0, 0.0, 0.0], requires_grad=True)]).load_state_dict(optimizer.optimizer.state_dict())
    assert other.learning_rate == optimizer.learning_rate
    assert other.iterations == 5
    twin = copy.deepcopy(optimizer)
    assert twin.learning_rate == optimizer.learning_rate


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(-1.0), "from 0 up"),
        (lambda: optimizers.SGD("fast"), "number or a schedule"),
        (lambda: optimizers.SGD(momentum=2.0), "momentum"),
        (lambda: optimizers.Adam(clipnorm=1.0, clipvalue=1.0), "one of clipnorm, clipvalue"),
        (lambda: optimizers.Adam(clipnorm=-1.0), "clipnorm"),
        (lambda: optimizers.Adam(gradient_accumulation_steps=4), "accumulate=4"),
        (lambda: optimizers.Adam(beta1=0.5), "no argument 'beta1'"),
        (lambda: optimizers.get(af.optim.Adam), "made with parameters"),
        (lambda: optimizers.SGD().apply([1.0]), "trainable_variables"),
        (lambda: schedules.CosineDecay(0.1, 0), "decay_steps"),
        (lambda: schedules.PiecewiseConstantDecay([1], [0.1]), "one value more"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), "ascending"),
    ],
)
def test_errors_of_optimizers(make, message):
    with pytest.raises(OptimizerError, match=message):
        make()


def test_options_that_change_nothing_are_accepted():
    assert optimizers.Adam(use_ema=False, ema_momentum=0.99, gradient_accumulation_steps=None).learning_rate == 0.001


def test_the_metrics_and_callbacks_of_training_are_handed_on():
    from autograd_ff import training

    assert keras.metrics.SparseCategoricalAccuracy is training.metrics.SparseCategoricalAccuracy
    assert keras.callbacks.EarlyStopping is training.callbacks.EarlyStopping
