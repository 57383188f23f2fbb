"""Our metrics against Keras's own, fed the same batches."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

from autograd_ff.training import metrics

FEW = settings(max_examples=15, deadline=None)
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES_AND_OPTIONS = [
    ("CategoricalAccuracy", {}), ("SparseCategoricalAccuracy", {}), ("BinaryAccuracy", {}),
    ("BinaryAccuracy", {"threshold": 0.3}), ("TopKCategoricalAccuracy", {"k": 2}),
    ("SparseTopKCategoricalAccuracy", {"k": 2}), ("Precision", {}), ("Precision", {"thresholds": [0.2, 0.5, 0.9]}),
    ("Precision", {"thresholds": [0.0, 0.5, 1.0]}), ("Precision", {"top_k": 2}), ("Precision", {"class_id": 1}),
    ("Precision", {"top_k": 2, "class_id": 1}), ("Recall", {}), ("Recall", {"thresholds": 0.2}),
    ("Recall", {"top_k": 1}), ("Recall", {"class_id": 2}), ("TruePositives", {}), ("FalsePositives", {}),
    ("TrueNegatives", {}), ("FalseNegatives", {"thresholds": [0.7, 0.1]}), ("F1Score", {}),
    ("F1Score", {"average": "macro", "threshold": 0.4}), ("F1Score", {"average": "weighted"}),
    ("FBetaScore", {"average": "micro", "beta": 2.0}), ("MeanSquaredError", {}), ("RootMeanSquaredError", {}),
    ("MeanAbsoluteError", {}), ("MeanAbsolutePercentageError", {}), ("MeanSquaredLogarithmicError", {}),
    ("R2Score", {}), ("R2Score", {"class_aggregation": "variance_weighted_average"}),
    ("R2Score", {"class_aggregation": None}), ("R2Score", {"num_regressors": 2}), ("BinaryCrossentropy", {}),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}), ("CategoricalCrossentropy", {}),
    ("CategoricalCrossentropy", {"from_logits": True}), ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
    ("SparseCategoricalCrossentropy", {}), ("SparseCategoricalCrossentropy", {"from_logits": True}),
]  # fmt: skip
REAL = ("MeanSquared", "RootMean", "MeanAbsolute", "R2")


def drawn_batches(name, seed, weighted):
    rng = np.random.default_rng(seed)
    for n in (8, 5):
        labels = rng.integers(0, 4, n)
        scores = (rng.permutation(n * 4).reshape(n, 4) + 1).astype(np.float32) / (n * 4 + 2)  # no ties
        y = labels if name.startswith("Sparse") else np.eye(4, dtype=np.float32)[labels]
        if name.startswith(REAL):
            y = rng.random((n, 4)).astype(np.float32) + 0.1
        yield y, scores, rng.integers(0, 4, n).astype(np.float32) / 2 if weighted else None


@pytest.mark.parametrize(("name", "options"), NAMES_AND_OPTIONS)
@FEW
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_results_are_keras_own(name, options, seed, weighted):
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for y, p, w in drawn_batches(name, seed, weighted):
        if "num_regressors" in options:  # of several columns, Keras counts each as a sample of its own
            y, p = y[:, :1], p[:, :1]
        ours.update_state(y, p, w)
        theirs.update_state(y, p, sample_weight=w)
    expected = keras.ops.convert_to_numpy(theirs.result())
    np.testing.assert_allclose(ours.result(), expected, rtol=2e-4, atol=2e-6)
    assert np.shape(ours.result()) == expected.shape


@pytest.mark.parametrize(
    "name",
    [name for name in sorted({name for name, _ in NAMES_AND_OPTIONS} | {"Mean", "Sum"}) if not name.startswith("R2")],
)
def test_names_and_results_before_the_first_update_are_keras_own(name):
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    # Keras numbers the metrics that have no name of their own.
    assert ours.name == theirs.name.rstrip("0123456789").rstrip("_")
    if name not in ("F1Score", "FBetaScore"):  # which raise there
        assert ours.result() == float(theirs.result())


@pytest.mark.parametrize("curve", ["ROC", "PR"])
@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
@FEW
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_auc_is_keras_own_at_a_threshold_between_every_two_scores(curve, method, seed, weighted):
    rng = np.random.default_rng(seed)
    levels = 12
    ours = metrics.AUC(curve=curve, summation_method=method)
    between = ((np.arange(levels - 1) + 1.0) / levels).tolist()
    theirs = keras.metrics.AUC(curve=curve, summation_method=method, thresholds=between)
    for n in (20, 15):
        y = rng.integers(0, 2, n).astype(np.float32)
        y[:2] = 0, 1
        p = ((rng.integers(0, levels, n) + 0.5) / levels).astype(np.float32)
        w = rng.integers(1, 4, n).astype(np.float32) if weighted else None
        ours.update_state(y, p, w)
        theirs.update_state(y, p, sample_weight=w)
    if curve == "PR" and method != "interpolation":
        # Keras's curve starts at a precision of 0 for no predictions, ours at that of the first: they differ there.
        _, positives, negatives = ours._samples[0].merged()
        first = positives[0] / (positives[0] + negatives[0])
        start = first * positives[0] / positives.sum() if method == "minoring" else 0.0
        assert ours.result() - start == pytest.approx(float(theirs.result()), abs=1e-5)
    else:
        assert ours.result() == pytest.approx(float(theirs.result()), abs=1e-5)


def test_auc_of_many_thresholds_comes_near():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.15), 0, 1).astype(np.float32)
    for curve in ("ROC", "PR"):
        theirs = keras.metrics.AUC(2000, curve=curve)
        theirs.update_state(y, p)
        assert metrics.AUC(curve=curve)(y, p) == pytest.approx(float(theirs.result()), abs=1e-3)


def test_ties_of_top_k_and_of_the_f_score_are_keras_own():
    y, p = np.array([0, 1, 2, 3]), np.array([[1, 1, 0, 0], [2, 1, 1, 0], [3, 2, 1, 1], [0, 0, 0, 0.0]])
    for k in (1, 2, 3, 4):
        theirs = keras.metrics.SparseTopKCategoricalAccuracy(k)
        theirs.update_state(y, p)
        assert metrics.SparseTopKCategoricalAccuracy(k)(y, p) == float(theirs.result())
    theirs = keras.metrics.F1Score()
    theirs.update_state(np.eye(4)[y], p)
    np.testing.assert_allclose(metrics.F1Score()(np.eye(4)[y], p), theirs.result(), atol=1e-6)


@pytest.mark.parametrize(
    ("true_shape", "pred_shape"),
    [((6,), (6, 3)), ((6, 1), (6, 3)), ((6, 3), (6, 3)), ((6, 1), (6, 1)), ((6, 4), (6, 4, 3)), ((6, 4, 3), (6, 4, 3))],
)
def test_accuracy_picks_the_form_that_keras_picks(true_shape, pred_shape):
    from keras.src.trainers.compile_utils import get_metric

    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, true_shape), rng.random(pred_shape).astype(np.float32)
    ours, theirs = metrics.resolve("accuracy"), get_metric("accuracy", y, p)
    theirs.update_state(y, p)
    assert ours(y, p) == pytest.approx(float(theirs.result()))
    assert ours.name == theirs.name


@pytest.mark.parametrize(
    "name",
    ["binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "top_k_categorical_accuracy",
     "sparse_top_k_categorical_accuracy", "mean_squared_error", "mean_absolute_error",
     "mean_absolute_percentage_error", "mean_squared_logarithmic_error", "binary_crossentropy",
     "categorical_crossentropy", "sparse_categorical_crossentropy"],
)  # fmt: skip
def test_functional_forms_are_keras_own(name):
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 6, 8), rng.random((8, 6)).astype(np.float32)
    y = labels if name.startswith("sparse") else np.eye(6, dtype=np.float32)[labels]
    ours = getattr(metrics, name)(y, p)
    expected = keras.ops.convert_to_numpy(getattr(keras.metrics, name)(y, p))
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_plain_functions_of_values_are_averaged_as_in_keras(weighted):
    rng = np.random.default_rng(0)
    ours = metrics.MeanMetricWrapper(lambda y, p: (y - p) ** 2, name="square")
    theirs = keras.metrics.MeanMetricWrapper(lambda y, p: (y - p) ** 2, name="square")
    for n in (5, 3):
        y, p = rng.random((n, 2)).astype(np.float32), rng.random((n, 2)).astype(np.float32)
        w = rng.random(n).astype(np.float32) if weighted else None
        ours.update_state(y, p, w)
        theirs.update_state(keras.ops.array(y), keras.ops.array(p), sample_weight=w)
    assert ours.result() == pytest.approx(float(theirs.result()), rel=1e-5)
