"""Streaming metrics against loops in plain Python, scikit-learn where it is installed, and planted faults."""

from __future__ import annotations

import functools
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import errors, nn
from autograd_ff.nn import functional as F
from autograd_ff.training import metrics

FEW = settings(max_examples=60, deadline=None)


# ---------------------------------------------------------------- drawing batches


@st.composite
def class_batches(draw, weighted=True):
    """Batches of (labels, scores, weights or None); few different scores, so that there are ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = draw(st.integers(2, 6))
    levels = draw(st.sampled_from([3, 50]))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, np.int64]))
    batches = []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 9))
        weights = rng.integers(0, 4, n) / 2 if weighted and draw(st.booleans()) else None
        batches.append(
            (rng.integers(0, classes, n), rng.integers(-levels, levels, (n, classes)).astype(dtype), weights)
        )
    return classes, batches


@st.composite
def binary_batches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([4, 1000]))
    shape = draw(st.sampled_from([(), (1,), (3,)]))
    batches = []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 9))
        weights = rng.integers(0, 4, n) / 2 if draw(st.booleans()) else None
        scores = (rng.integers(0, levels + 1, (n, *shape)) / levels).astype(np.float32)
        batches.append((rng.integers(0, 2, (n, *shape)), scores, weights))
    return batches


def feed(metric, batches, convert=lambda x: x):
    for labels, scores, weights in batches:
        metric.update_state(convert(labels), convert(scores), weights)
    return metric.result()


def weighted_mean(pairs):
    """Of (value, weight), as a person would do it."""
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs if weight) / total if total else 0.0


def samples(batches):
    for labels, scores, weights in batches:
        for i in range(len(labels)):
            yield labels[i], scores[i], 1.0 if weights is None else float(weights[i])


def first_largest(row):
    best = 0
    for j in range(len(row)):
        if row[j] > row[best]:
            best = j
    return best


# ---------------------------------------------------------------- accuracies


@FEW
@given(class_batches(), st.sampled_from([np.int64, np.int32, np.uint8, np.float32]), st.booleans())
def test_accuracies_of_classes_are_what_a_loop_counts(drawn, label_dtype, column):
    classes, batches = drawn
    expected = weighted_mean([(first_largest(row) == label, weight) for label, row, weight in samples(batches)])
    sparse = [(y.astype(label_dtype)[:, None] if column else y.astype(label_dtype), p, w) for y, p, w in batches]
    one_hot = [(np.eye(classes)[y], p, w) for y, p, w in batches]
    assert feed(metrics.SparseCategoricalAccuracy(), sparse) == pytest.approx(expected)
    assert feed(metrics.SparseCategoricalAccuracy(), sparse, af.tensor) == pytest.approx(expected)
    assert feed(metrics.CategoricalAccuracy(), one_hot) == pytest.approx(expected)
    assert feed(metrics.resolve("accuracy"), sparse) == pytest.approx(expected)
    assert feed(metrics.resolve("acc"), one_hot) == pytest.approx(expected)


@FEW
@given(class_batches(), st.integers(1, 6))
def test_top_k_counts_ties_with_the_kth_as_right(drawn, k):
    classes, batches = drawn
    k = min(k, classes)
    expected = weighted_mean(
        [(row[label] >= sorted(row, reverse=True)[k - 1], weight) for label, row, weight in samples(batches)]
    )
    one_hot = [(np.eye(classes)[y], p, w) for y, p, w in batches]
    assert feed(metrics.SparseTopKCategoricalAccuracy(k), batches) == pytest.approx(expected)
    assert feed(metrics.TopKCategoricalAccuracy(k), one_hot) == pytest.approx(expected)


def test_top_one_of_equal_scores_is_right_where_the_accuracy_takes_the_first():
    y, p = [0, 1, 2], np.zeros((3, 3))
    assert metrics.SparseTopKCategoricalAccuracy(1)(y, p) == 1.0
    assert metrics.SparseCategoricalAccuracy()(y, p) == pytest.approx(1 / 3)


@FEW
@given(binary_batches(), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_binary_accuracy_is_what_a_loop_counts(batches, threshold):
    threshold32 = np.float32(threshold)
    expected = weighted_mean(
        [
            (np.mean([(p > threshold32) == (y == 1) for y, p in zip(np.ravel(label), np.ravel(row), strict=True)]), w)
            for label, row, w in samples(batches)
        ]
    )
    assert feed(metrics.BinaryAccuracy(threshold=threshold), batches) == pytest.approx(expected)
    assert feed(metrics.BinaryAccuracy(threshold=threshold), batches, af.tensor) == pytest.approx(expected)


def test_a_column_fits_a_row_of_samples_and_nothing_else_is_broadcast():
    y, p = np.array([0, 1, 1]), np.array([[0.2], [0.9], [0.1]])
    assert metrics.BinaryAccuracy()(y, p) == metrics.BinaryAccuracy()(y[:, None], p[:, 0]) == pytest.approx(2 / 3)
    assert metrics.MeanSquaredError()(y, p) == pytest.approx(np.mean((y - p[:, 0]) ** 2))
    for shape in ((3, 2), (2,), (1,), (1, 3)):
        with pytest.raises(errors.ShapeError, match=r"y_true has the shape \(3,\)"):
            metrics.MeanSquaredError().update_state(y, np.zeros(shape))


def test_sequences_count_each_sample_once():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 3, (4, 5)), rng.random((4, 5, 3))
    right = p.argmax(-1) == y
    assert metrics.SparseCategoricalAccuracy()(y, p) == pytest.approx(right.mean())
    per_sample, per_step = np.array([0.0, 1, 2, 1]), rng.integers(0, 2, (4, 5))
    assert metrics.SparseCategoricalAccuracy()(y, p, per_sample) == pytest.approx(right.mean(1) @ per_sample / 4)
    assert metrics.SparseCategoricalAccuracy()(y, p, per_step) == pytest.approx(right[per_step == 1].mean())


def test_samples_of_long_and_short_sequences_count_alike():
    for weights in (None, 1):
        mean = metrics.Mean()
        for value, length in ((1.0, 2), (0.0, 6)):
            mean.update_state(np.full((3, length), value), weights and np.ones((3, length)))
        assert mean.result() == 0.5


def test_padding_does_not_count():
    y = np.array([[1, -100, 0], [2, 2, -100]])
    p = np.eye(3)[np.where(y < 0, 0, y)]
    p[0, 0] = [1, 0, 0]
    assert metrics.SparseCategoricalAccuracy(ignore_class=-100)(y, p) == 0.75
    assert metrics.SparseCategoricalAccuracy(ignore_class=-100)(y, p, [1, 0]) == 0.5
    with pytest.raises(errors.ShapeError, match=r"label -100 at \[0, 1\]"):
        metrics.SparseCategoricalAccuracy().update_state(y, p)


def test_a_prediction_of_nan_is_never_right():
    nan = np.full((4, 3), np.nan, np.float32)
    assert metrics.SparseCategoricalAccuracy()([0, 0, 0, 0], nan) == 0.0
    assert metrics.CategoricalAccuracy()(np.eye(3)[[0, 0, 0, 0]], nan) == 0.0
    assert metrics.SparseTopKCategoricalAccuracy(2)([0, 0, 0, 0], nan) == 0.0
    assert metrics.BinaryAccuracy()([0, 0, 0, 0], nan[:, 0]) == 0.0
    partly = np.array([[0.1, 0.9], [np.nan, 0.9]], np.float16)
    assert metrics.resolve("accuracy")([1, 1], partly) == 0.5
    assert math.isnan(metrics.MeanSquaredError()([0.0, 0.0], [np.nan, 0.0]))
    assert math.isnan(metrics.AUC()([0, 1, 1], [np.nan, 0.5, 0.2]))


def test_thresholds_are_rounded_as_the_scores_are():
    score = np.array([0.1], np.float32)  # above 0.1 in double precision
    assert metrics.BinaryAccuracy(threshold=0.1)([0], score) == 1.0
    assert metrics.TruePositives(0.1)([1], score) == 0.0


def test_infinite_logits_are_no_nan():
    p = np.array([[-np.inf, 3e38, np.inf], [3e38, -np.inf, -np.inf]], np.float32)
    assert metrics.SparseCategoricalAccuracy()([2, 0], p) == 1.0


def test_softened_labels_count_as_what_they_are_nearest_to():
    assert metrics.BinaryAccuracy()([0.1, 0.9, 0.4], [0.2, 0.8, 0.7]) == pytest.approx(2 / 3)


def test_plain_accuracy_compares_labels():
    assert metrics.Accuracy()([1, 2, 3, 4], [0, 2, 3, 4]) == 0.75
    assert metrics.Accuracy()([[1], [2]], [1, 3], [3, 1]) == 0.75


def test_ids_in_order_of_their_scores():
    metric = metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)
    assert metric([2, 1], [[1, 2, 3], [3, 2, 1]]) == 0.5


# ---------------------------------------------------------------- which accuracy is meant


@pytest.mark.parametrize(
    ("y_true", "y_pred", "loss", "expected"),
    [
        ([1, 0], [[0.4], [0.2]], None, 0.5),
        ([1, 0], [0.4, 0.2], None, 0.5),
        ([[1], [0]], [[0.4], [0.2]], nn.BCELoss(), 0.5),
        ([1.0, 0.0], [0.4, -0.2], nn.BCEWithLogitsLoss(), 1.0),
        ([1.0, 0.0], [0.4, -0.2], F.binary_cross_entropy_with_logits, 1.0),
        ([1.0, 0.0], [0.4, -0.2], functools.partial(F.binary_cross_entropy_with_logits, reduction="sum"), 1.0),
        ([1, 1], [[0.2, 0.3], [0.4, 0.3]], None, 0.5),
        ([[1], [1]], [[0.2, 0.3], [0.4, 0.3]], None, 0.5),
        ([[0, 1], [1, 0]], [[0.2, 0.3], [0.4, 0.3]], None, 1.0),
        ([[0, 1], [1, 1]], [[0.6, 0.7], [0.8, 0.9]], nn.BCELoss(), 0.75),
        ([[0, 1], [1, 1]], [[-0.6, 0.7], [-0.8, 0.9]], nn.BCEWithLogitsLoss(), 0.75),
        ([1, -100], [[0.2, 0.3], [0.4, 0.3]], nn.CrossEntropyLoss(), 1.0),
        ([1, 0], [[0.2, 0.3], [0.4, 0.3]], nn.CrossEntropyLoss(ignore_index=0), 1.0),
        # PyTorch's layout, (n, classes, length)
        ([[0], [1]], [[[0.9], [0.1]], [[0.8], [0.2]]], nn.CrossEntropyLoss(), 0.5),
        ([[0, 1, 1]], [[[0.9, 0.1, 0.2], [0.1, 0.9, 0.1]]], nn.CrossEntropyLoss(), 2 / 3),
        ([[0, 1, 1]], [[[0.9, 0.1, 0.2], [0.1, 0.9, 0.1]]], functools.partial(F.cross_entropy, ignore_index=0), 0.5),
    ],
)
def test_accuracy_is_the_one_that_shapes_and_loss_ask_for(y_true, y_pred, loss, expected):
    metric = metrics.resolve("accuracy", loss)
    metric.update_state(np.array(y_true), np.array(y_pred))
    assert metric.name == "accuracy"
    assert metric.result() == pytest.approx(expected)


def test_keras_losses_tell_by_from_logits():
    class BinaryCrossentropy:
        from_logits = True

    y, p = [1.0, 0.0], [0.4, 0.2]
    assert metrics.resolve("accuracy", BinaryCrossentropy())(y, [0.4, -0.2]) == 1.0
    assert metrics.resolve("binary_accuracy", BinaryCrossentropy())(y, p) == 0.5
    assert metrics.resolve("precision", BinaryCrossentropy())(y, p) == 0.5
    assert metrics.resolve("bce", BinaryCrossentropy()).from_logits


def test_accuracy_by_shape_starts_over_and_is_saved():
    metric = metrics.resolve("accuracy", nn.CrossEntropyLoss())
    assert metric.result() == 0.0
    empty = metric.state_dict()
    with pytest.raises(errors.ShapeError):
        metric.update_state(np.array([5]), np.zeros((1, 3)))
    metric.update_state(np.array([0, 1]), np.eye(3)[[0, 0]])
    other = metrics.resolve("accuracy", nn.CrossEntropyLoss())
    other.load_state_dict(metric.state_dict())
    assert other.result() == metric.result() == 0.5
    other.update_state(np.array([-100, 1]), np.eye(3)[[0, 1]])
    assert other.result() == pytest.approx(2 / 3)
    other.load_state_dict(empty)
    assert other.result() == 0.0
    metric.reset_state()
    assert metric.result() == 0.0


# ---------------------------------------------------------------- precision, recall, F


@FEW
@given(binary_batches(), st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.1]), min_size=1, max_size=4))
def test_counts_at_thresholds_are_what_a_loop_counts(batches, thresholds):
    kinds = {
        (True, True): metrics.TruePositives, (False, True): metrics.FalsePositives,
        (False, False): metrics.TrueNegatives, (True, False): metrics.FalseNegatives,
    }  # fmt: skip
    counts = {}
    for key, kind in kinds.items():
        expected = [
            sum(
                weight
                for label, row, weight in samples(batches)
                for y, p in zip(np.ravel(label), np.ravel(row), strict=True)
                if (y == 1, bool(p > np.float32(threshold))) == key
            )
            for threshold in thresholds
        ]
        counts[key] = np.array(expected)
        np.testing.assert_allclose(feed(kind(thresholds), batches), expected)
    right, wrong, missed = counts[True, True], counts[False, True], counts[True, False]
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(
            feed(metrics.Precision(thresholds), batches), np.nan_to_num(right / (right + wrong)), atol=1e-12
        )
        np.testing.assert_allclose(
            feed(metrics.Recall(thresholds), batches), np.nan_to_num(right / (right + missed)), atol=1e-12
        )
    one = feed(metrics.Precision(thresholds[0]), batches)
    assert isinstance(one, float)


@FEW
@given(class_batches(weighted=False), st.integers(1, 3), st.booleans())
def test_precision_and_recall_of_the_k_largest(drawn, k, one_class):
    classes, batches = drawn
    k = min(k, classes)
    class_id = classes - 1 if one_class else None
    right = wrong = missed = 0
    for label, row, _ in samples(batches):
        chosen = sorted(range(classes), key=lambda j, row=row: (-float(row[j]), j))[:k]
        for j in range(classes):
            if one_class and j != class_id:
                continue
            right += j in chosen and j == label
            wrong += j in chosen and j != label
            missed += j not in chosen and j == label
    one_hot = [(np.eye(classes)[y], p, w) for y, p, w in batches]
    precision = feed(metrics.Precision(top_k=k, class_id=class_id), one_hot)
    recall = feed(metrics.Recall(top_k=k, class_id=class_id), one_hot)
    assert precision == pytest.approx(right / (right + wrong) if right + wrong else 0.0)
    assert recall == pytest.approx(right / (right + missed) if right + missed else 0.0)


def test_a_score_of_nan_is_above_no_threshold():
    y, p = [1, 1, 0], [np.nan, 0.9, np.nan]
    assert metrics.Recall()(y, p) == 0.5
    assert metrics.Precision([0.1, 0.5])(y, p).tolist() == [1.0, 1.0]


@FEW
@given(class_batches(), st.sampled_from([None, "micro", "macro", "weighted"]), st.sampled_from([0.5, 1.0, 2.0]))
def test_f_score_is_that_of_scikit_learn(drawn, average, beta):
    reference = pytest.importorskip("sklearn.metrics")
    classes, batches = drawn
    one_hot = [(np.eye(classes)[y], np.where(p == 0, 0.5, p).astype(float), w) for y, p, w in batches]
    y = np.concatenate([one[0] for one in one_hot])
    # all of a tie are predicted
    found = np.concatenate([one[1] == one[1].max(axis=1, keepdims=True) for one in one_hot])
    weights = np.concatenate([np.ones(len(p)) if w is None else w for _, p, w in one_hot])
    if not weights.any():
        assert not np.any(feed(metrics.FBetaScore(average, beta), one_hot))
        return
    expected = reference.fbeta_score(y, found, beta=beta, average=average, sample_weight=weights, zero_division=0)
    np.testing.assert_allclose(feed(metrics.FBetaScore(average, beta), one_hot), expected, atol=1e-9)


def test_f_score_of_one_column_needs_a_threshold():
    with pytest.raises(errors.ShapeError, match=r"F1Score\(threshold=0.5\)"):
        metrics.F1Score().update_state([0, 1], [0.2, 0.7])
    assert metrics.F1Score("micro", 0.5)([0, 1, 1], [0.2, 0.7, 0.1]) == pytest.approx(2 / 3)


# ---------------------------------------------------------------- AUC


def pairs_won(batches):
    """The share of pairs of a positive and a negative that are in the right order, ties for half."""
    flat = [
        (y, p, w)
        for label, row, w in samples(batches)
        for y, p in zip(np.ravel(label), np.ravel(row), strict=True)
        if w
    ]
    won = total = 0.0
    for y, p, w in flat:
        for z, q, v in flat:
            if y == 1 and z == 0:
                won += w * v * (1.0 if p > q else 0.5 if p == q else 0.0)
                total += w * v
    return won / total if total else math.nan


@FEW
@given(binary_batches(), st.booleans())
def test_auc_is_the_share_of_pairs_in_order(batches, asked_between):
    metric = metrics.AUC()
    for y, p, w in batches:
        metric.update_state(y, p, w)
        if asked_between:
            metric.result()
    assert metric.result() == pytest.approx(pairs_won(batches), nan_ok=True)
    # Any scores in the same order do.
    logits = [(y, 100 * p - 7, w) for y, p, w in batches]
    assert feed(metrics.AUC(from_logits=True), logits) == pytest.approx(metric.result(), nan_ok=True)


@FEW
@given(binary_batches())
def test_auc_is_that_of_scikit_learn(batches):
    reference = pytest.importorskip("sklearn.metrics")
    y = np.concatenate([np.ravel(one[0]) for one in batches])
    p = np.concatenate([np.ravel(one[1]) for one in batches])
    w = np.concatenate(
        [np.broadcast_to((np.ones(len(a)) if c is None else c).reshape(-1, *[1] * (a.ndim - 1)), a.shape).ravel()
         for a, _, c in batches]
    )  # fmt: skip
    if not w[y == 1].sum() or not w[y == 0].sum():
        return
    assert feed(metrics.AUC(), batches) == pytest.approx(reference.roc_auc_score(y, p, sample_weight=w))
    ours = feed(metrics.AUC(curve="PR", summation_method="step"), batches)
    assert ours == pytest.approx(reference.average_precision_score(y, p, sample_weight=w))
    low, high = (feed(metrics.AUC(curve="PR", summation_method=one), batches) for one in ("minoring", "majoring"))
    assert low - 1e-12 <= ours <= high + 1e-12


@FEW
@given(binary_batches())
def test_area_under_precision_and_recall_is_the_integral_of_interpolated_counts(batches):
    """Between two thresholds, precision over recall, summed in small steps of interpolated counts."""
    area = feed(metrics.AUC(curve="PR"), batches)
    table = {}
    for label, row, w in samples(batches):
        for y, p in zip(np.ravel(label), np.ravel(row), strict=True):
            at = table.setdefault(float(p), [0.0, 0.0])
            at[0 if y else 1] += w
    positives = sum(right for right, _ in table.values())
    if not positives:
        assert math.isnan(area)
        return
    expected, right, wrong = 0.0, 0.0, 0.0
    for score in sorted(table, reverse=True):
        more, more_wrong = table[score]
        t = (np.arange(2000) + 0.5) / 2000
        if more:
            expected += np.mean((right + t * more) / (right + t * more + wrong + t * more_wrong)) * more / positives
        right, wrong = right + more, wrong + more_wrong
    assert area == pytest.approx(expected, abs=1e-5)


def test_auc_of_labels_by_themselves():
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 2, (30, 3)), rng.random((30, 3))
    each = [metrics.AUC()(y[:, j], p[:, j]) for j in range(3)]
    assert metrics.AUC(multi_label=True)(y, p) == pytest.approx(np.mean(each))
    weighted = metrics.AUC(multi_label=True, label_weights=[1, 0, 3])(y, p)
    assert weighted == pytest.approx((each[0] + 3 * each[2]) / 4)
    assert metrics.AUC(label_weights=[1, 0, 0])(y, p) == pytest.approx(each[0])
    with pytest.raises(errors.ShapeError, match="label_weights"):
        metrics.AUC(label_weights=[1, 0])(y, p)


def test_auc_is_unknown_without_both_classes():
    assert math.isnan(metrics.AUC().result())
    assert math.isnan(metrics.AUC()([1, 1], [0.2, 0.3]))
    assert math.isnan(metrics.AUC(curve="PR")([0, 0], [0.2, 0.3]))
    assert metrics.AUC(curve="PR")([1, 1], [0.2, 0.3]) == 1.0


# ---------------------------------------------------------------- regression


ERRORS = {
    metrics.MeanSquaredError: lambda y, p: (y - p) ** 2,
    metrics.MeanAbsoluteError: lambda y, p: abs(y - p),
    metrics.MeanAbsolutePercentageError: lambda y, p: 100 * abs(y - p) / max(abs(y), 1e-7),
    metrics.MeanSquaredLogarithmicError: lambda y, p: (math.log1p(max(y, 1e-7)) - math.log1p(max(p, 1e-7))) ** 2,
}


@st.composite
def regression_batches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(), (1,), (3,)]))
    offset = draw(st.sampled_from([0.0, 5.0]))
    batches = []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 9))
        weights = rng.integers(0, 4, n) / 2 if draw(st.booleans()) else None
        batches.append((rng.normal(offset, 1, (n, *shape)), rng.normal(offset, 1, (n, *shape)), weights))
    return batches


@FEW
@given(regression_batches(), st.sampled_from(list(ERRORS)))
def test_errors_are_what_a_loop_sums(batches, kind):
    expected = weighted_mean(
        [
            (
                np.mean(
                    [ERRORS[kind](float(y), float(p)) for y, p in zip(np.ravel(label), np.ravel(row), strict=True)]
                ),
                w,
            )
            for label, row, w in samples(batches)
        ]
    )
    assert feed(kind(), batches) == pytest.approx(expected)
    if kind is metrics.MeanSquaredError:
        assert feed(metrics.RootMeanSquaredError(), batches) == pytest.approx(math.sqrt(expected))


@FEW
@given(regression_batches(), st.sampled_from([None, "uniform_average", "variance_weighted_average"]))
def test_r2_is_that_of_scikit_learn(batches, aggregation):
    reference = pytest.importorskip("sklearn.metrics")
    y, p = (np.concatenate([one[i] for one in batches]) for i in (0, 1))
    w = np.concatenate([np.ones(len(one[0])) if one[2] is None else one[2] for one in batches])
    if np.count_nonzero(w) < 2:
        return
    names = {None: "raw_values", "variance_weighted_average": "variance_weighted"}
    expected = reference.r2_score(y, p, sample_weight=w, multioutput=names.get(aggregation, aggregation))
    np.testing.assert_allclose(feed(metrics.R2Score(aggregation), batches), expected, rtol=1e-7, atol=1e-9)


def test_r2_of_targets_far_from_zero_keeps_its_digits():
    rng = np.random.default_rng(0)
    y = rng.normal(size=1000)
    p = y + 0.1 * rng.normal(size=1000)
    near, far = metrics.R2Score(), metrics.R2Score()
    for part in np.split(np.arange(1000), 10):
        near.update_state(y[part], p[part])
        far.update_state(y[part] + 1e6, p[part] + 1e6)
    assert far.result() == pytest.approx(near.result(), abs=1e-8)


def test_r2_at_its_edges():
    assert math.isnan(metrics.R2Score().result())
    assert metrics.R2Score()([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.R2Score()([2.0, 2.0], [2.0, 3.0]) == 0.0
    y, p = np.array([1.0, 4.0, 3.0, 5.0]), np.array([2.0, 4.0, 4.0, 5.0])
    plain = metrics.R2Score()(y, p)
    assert metrics.R2Score(num_regressors=1)(y, p) == pytest.approx(1 - (1 - plain) * 3 / 2)
    with pytest.warns(UserWarning, match="needs more than 4 samples"):
        assert metrics.R2Score(num_regressors=3)(y, p) == plain


# ---------------------------------------------------------------- cross-entropies


@FEW
@given(class_batches(weighted=False))
def test_cross_entropies_are_those_of_the_losses(drawn):
    classes, batches = drawn
    batches = [(y, p.astype(np.float64) / 10, w) for y, p, w in batches]
    y, p = (np.concatenate([one[i] for one in batches]) for i in (0, 1))
    loss = F.cross_entropy(af.tensor(p), af.tensor(y)).item()
    shares = [(a, F.softmax(af.tensor(b), dim=1).array, c) for a, b, c in batches]
    one_hot = [(np.eye(classes)[a], b, c) for a, b, c in batches]
    assert feed(metrics.SparseCategoricalCrossentropy(from_logits=True), batches) == pytest.approx(loss)
    assert feed(metrics.SparseCategoricalCrossentropy(), shares) == pytest.approx(loss, rel=1e-4)
    assert feed(metrics.CategoricalCrossentropy(from_logits=True), one_hot) == pytest.approx(loss)
    smooth = F.cross_entropy(af.tensor(p), af.tensor(y), label_smoothing=0.2).item()
    metric = metrics.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    assert feed(metric, one_hot) == pytest.approx(smooth)
    labels = np.eye(classes)[y]
    binary = F.binary_cross_entropy_with_logits(af.tensor(p), af.tensor(labels)).item()
    assert metrics.BinaryCrossentropy(from_logits=True)(labels, p) == pytest.approx(binary)
    assert metrics.BinaryCrossentropy()(labels, 1 / (1 + np.exp(-p))) == pytest.approx(binary, rel=1e-4)


def test_cross_entropy_ignores_a_class():
    p = np.array([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    metric = metrics.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    assert metric([2, -1], p) == pytest.approx(F.cross_entropy(af.tensor(p[:1]), af.tensor([2])).item())


# ---------------------------------------------------------------- means, functions, weights


def test_a_value_under_the_weight_zero_does_not_count_even_nan():
    assert metrics.Mean()([1.0, np.nan, 3.0], [1, 0, 1]) == 2.0
    assert metrics.MeanSquaredError()([1.0, 2.0], [np.nan, 4.0], [0, 1]) == 4.0
    assert metrics.R2Score()([1.0, 2.0, 3.0], [np.nan, 2.0, 3.0], [0, 1, 1]) == 1.0
    assert metrics.Mean()([1.0, 2.0], [0, 0]) == 0.0
    assert metrics.Sum()([1.0, np.nan], [2, 0]) == 2.0


def test_means_keep_double_precision():
    mean = metrics.Mean()
    for _ in range(2000):
        mean.update_state(np.full(1000, 0.1, np.float32))
    assert mean.result() == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_functions_are_averaged_over_samples():
    per_sample = metrics.resolve(lambda y_true, y_pred: (y_true - y_pred).abs())
    number = metrics.resolve(lambda y_true, y_pred: np.abs(y_true.numpy() - y_pred.numpy()).mean())
    tensor = metrics.resolve(F.l1_loss)
    rng = np.random.default_rng(0)
    y, p = rng.random(10), rng.random(10)
    for part in (slice(0, 7), slice(7, 10)):  # the last batch is smaller
        for metric in (per_sample, number, tensor):
            metric.update_state(y[part], af.tensor(p[part], requires_grad=True))
    for metric in (per_sample, number, tensor):
        assert metric.result() == pytest.approx(np.abs(y - p).mean())
    assert tensor.name == "l1_loss"
    assert metrics.resolve(functools.partial(F.l1_loss, reduction="none")).name == "l1_loss"


def test_functions_are_handed_the_models_structure():
    metric = metrics.resolve(lambda y_true, y_pred: (y_pred["mean"] - y_true).abs())
    assert metric(np.zeros(3), {"mean": af.ones(3), "spread": af.ones(3, 2)}) == 1.0
    with pytest.raises(errors.DtypeError, match="y_pred is a dict"):
        metrics.MeanSquaredError()(np.zeros(3), {"mean": af.ones(3)})


def test_functions_that_return_something_else_are_named():
    per_class = metrics.resolve(lambda y_true, y_pred: y_pred.sum(dim=0))
    with pytest.raises(errors.ShapeError, match=r"shape \(2,\) for 3 samples"):
        per_class(np.zeros(3), np.zeros((3, 2)))
    nothing = metrics.resolve(lambda y_true, y_pred: None)
    with pytest.raises(errors.DtypeError, match="is None"):
        nothing(np.zeros(3), np.zeros(3))


def test_functions_record_no_graph_and_the_functional_forms_return_tensors():
    x = af.tensor([[0.1, 0.9]], requires_grad=True)
    seen = []
    metrics.resolve(lambda y_true, y_pred: seen.append(y_pred * 2) or 0.0)(np.zeros(1), x)
    assert not seen[0].requires_grad
    value = metrics.sparse_categorical_accuracy([1], x)
    assert isinstance(value, af.Tensor)
    assert not value.requires_grad
    assert value.tolist() == [1.0]


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([1.0, 2.0], r"sample_weight has the shape \(2,\)"),
        ([1.0, -1.0, 0.0], "negative"),
        ([1.0, np.nan, 0.0], "not finite"),
        (np.ones((3, 2)), r"one weight per sample, of the shape \(3,\)"),
    ],
)
@pytest.mark.parametrize("kind", [metrics.MeanSquaredError, metrics.BinaryAccuracy, metrics.Precision, metrics.AUC])
def test_weights_that_cannot_be(kind, weights, match):
    with pytest.raises(errors.ShapeError, match=match):
        kind().update_state([0, 1, 1], [0.1, 0.9, 0.5], weights)


def test_one_weight_for_all_and_a_column_of_weights():
    y, p = [0.0, 1.0], [[1.0], [3.0]]
    assert metrics.MeanSquaredError()(y, p, 2.0) == 2.5
    assert metrics.MeanSquaredError()(y, p, [[1], [3]]) == metrics.MeanSquaredError()(y, p, [1, 3]) == 3.25
    assert metrics.Mean()([1.0, 3.0], [[1], [3]]) == 2.5


# ---------------------------------------------------------------- every metric

EVERY = [
    metrics.Accuracy, metrics.BinaryAccuracy, metrics.CategoricalAccuracy, metrics.SparseCategoricalAccuracy,
    functools.partial(metrics.TopKCategoricalAccuracy, 2), functools.partial(metrics.SparseTopKCategoricalAccuracy, 2),
    functools.partial(metrics.Precision, [0.3, 0.7]), metrics.Recall, metrics.TruePositives, metrics.FalseNegatives,
    functools.partial(metrics.F1Score, threshold=0.5), metrics.AUC, functools.partial(metrics.AUC, curve="PR"),
    functools.partial(metrics.AUC, multi_label=True), metrics.MeanSquaredError, metrics.RootMeanSquaredError,
    metrics.MeanAbsoluteError, metrics.MeanAbsolutePercentageError, metrics.MeanSquaredLogarithmicError,
    metrics.R2Score, metrics.BinaryCrossentropy, metrics.CategoricalCrossentropy,
    metrics.SparseCategoricalCrossentropy, functools.partial(metrics.resolve, "accuracy"),
    functools.partial(metrics.MeanMetricWrapper, lambda y, p: (y - p).abs()),
]  # fmt: skip


def batch_for(metric, n=7, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    sparse = "Sparse" in type(metric).__name__
    return labels if sparse else np.eye(3)[labels], rng.random((n, 3)).astype(np.float32)


@pytest.mark.parametrize("make", EVERY)
def test_batches_add_up_to_the_whole(make):
    whole, parts, masked = make(), make(), make()
    y, p = batch_for(whole, 12)
    whole.update_state(y, p)
    for part in np.split(np.arange(12), [5, 6]):
        parts.update_state(y[part], p[part])
    np.testing.assert_allclose(parts.result(), whole.result(), rtol=1e-6)
    # A weight of 2 is a sample seen twice, a weight of 0 one not seen.
    weights = np.tile([1.0, 2.0, 0.0], 4)
    masked.update_state(af.tensor(y), af.tensor(p), af.tensor(weights))
    again = make()
    rows = np.repeat(np.arange(12), weights.astype(int))
    again.update_state(y[rows], p[rows])
    np.testing.assert_allclose(masked.result(), again.result(), rtol=1e-6)


@pytest.mark.parametrize("make", EVERY)
def test_state_is_saved_and_forgotten(make):
    metric, other = make(), make()
    fresh = metric.result()
    metric.update_state(*batch_for(metric))
    file = io.BytesIO()
    af.save(metric.state_dict(), file)
    file.seek(0)
    other.load_state_dict(af.load(file))
    np.testing.assert_equal(other.result(), metric.result())
    before = metric.result()
    other.load_state_dict(metric.state_dict())
    other.update_state(*batch_for(metric, seed=1))
    np.testing.assert_equal(metric.result(), before)  # the loaded state is no view of the other's
    metric.update_state(*batch_for(metric, seed=1))
    np.testing.assert_allclose(other.result(), metric.result())
    metric.reset_state()
    np.testing.assert_equal(metric.result(), fresh)
    with pytest.raises(errors.StateDictError, match="another kind of metric"):
        metric.load_state_dict({"nonsense": 1.0})


@pytest.mark.parametrize("make", EVERY)
def test_nothing_seen_has_a_documented_value(make):
    metric = make()
    undefined = isinstance(metric, (metrics.AUC, metrics.R2Score))
    value = metric.result()
    assert np.isnan(value) if undefined else np.all(np.asarray(value) == 0.0)
    metric.update_state(*batch_for(metric, 0))  # an empty batch is none
    assert np.isnan(metric.result()).all() if undefined else np.all(np.asarray(metric.result()) == 0.0)


@pytest.mark.parametrize("make", EVERY)
def test_bad_inputs_raise_named_errors(make):
    metric = make()
    y, p = batch_for(metric)
    with pytest.raises(errors.AutogradError, match=r"y_pred has|y_true has|subtract\("):
        metric.update_state(y, p[:5])
    with pytest.raises(errors.DtypeError, match=r"complex128|real numbers"):
        metric.update_state(y, p.astype(complex))
    with pytest.raises(errors.DtypeError, match="real numbers"):
        metric.update_state(np.array(["a"] * 7), p)
    with pytest.raises(errors.ShapeError, match="is no array"):
        metric.update_state([[1, 2], [3]], p)


@pytest.mark.parametrize("kind", [metrics.SparseCategoricalAccuracy, metrics.SparseCategoricalCrossentropy])
@pytest.mark.parametrize(
    ("labels", "error", "match"),
    [
        ([0, 3], errors.ShapeError, r"label 3 at \[1\], but y_pred has 3 classes, 0 to 2"),
        ([-1, 0], errors.ShapeError, r"label -1 at \[0\]"),
        ([0.5, 1.0], errors.DtypeError, r"label 0.5, where a label is a class"),
        ([np.nan, 1.0], errors.DtypeError, r"label nan"),
        ([[1, 0, 0], [0, 1, 0]], errors.ShapeError, "one-hot"),
        ([0, 1, 2], errors.ShapeError, r"have the shape \(2,\)"),
    ],
)
def test_labels_that_are_no_classes(kind, labels, error, match):
    metric = kind()
    with pytest.raises(error, match=match) as raised:
        metric.update_state(labels, np.eye(3)[:2] + 0.1)
    assert "test_metrics.py" in str(raised.value)
    assert metric.result() == 0.0


@pytest.mark.parametrize("kind", [metrics.BinaryAccuracy, metrics.Precision, metrics.AUC])
def test_labels_that_are_not_of_two_classes(kind):
    for labels in ([-1, 1], [0, 2], [0.0, np.nan]):
        with pytest.raises(errors.ShapeError, match="labels of two classes are 0 and 1"):
            kind().update_state(labels, [0.2, 0.7])
    with pytest.raises(errors.ShapeError, match=r"second column, y_pred\[:, 1\]"):
        kind().update_state([0, 1, 1], np.full((3, 2), 0.5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.SparseTopKCategoricalAccuracy(4)([0], np.zeros((1, 3))),
        lambda: metrics.TopKCategoricalAccuracy(0)(np.eye(3), np.eye(3)),
        lambda: metrics.Precision(top_k=4)(np.eye(3), np.eye(3)),
        lambda: metrics.Precision(top_k=0),
        lambda: metrics.Recall(class_id=3)(np.eye(3), np.eye(3)),
        lambda: metrics.Recall(class_id=0)([1], [0.5]),
        lambda: metrics.Recall(thresholds=[]),
        lambda: metrics.Recall(thresholds=float("nan")),
        lambda: metrics.F1Score(average="mean"),
        lambda: metrics.FBetaScore(beta=0.0),
        lambda: metrics.AUC(curve="RCO"),
        lambda: metrics.AUC(summation_method="trapezoid"),
        lambda: metrics.R2Score(class_aggregation="mean"),
        lambda: metrics.R2Score(num_regressors=-1),
        lambda: metrics.SparseCategoricalAccuracy()([0], [0.5]),
    ],
)
def test_options_that_cannot_be(make):
    with pytest.raises(errors.ShapeError):
        make()


def test_the_number_of_outputs_does_not_change_between_batches():
    for metric in (metrics.R2Score(), metrics.F1Score(), metrics.AUC(multi_label=True)):
        metric.update_state(np.eye(3), np.eye(3))
        with pytest.raises(errors.ShapeError, match=r"reset_state\(\)"):
            metric.update_state(np.eye(2), np.eye(2))
        metric.reset_state()
        metric.update_state(np.eye(2), np.eye(2))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mse", metrics.MeanSquaredError), ("MSE", metrics.MeanSquaredError), ("mae", metrics.MeanAbsoluteError),
        ("MeanAbsoluteError", metrics.MeanAbsoluteError), ("rmse", metrics.RootMeanSquaredError),
        ("mape", metrics.MeanAbsolutePercentageError), ("msle", metrics.MeanSquaredLogarithmicError),
        ("AUC", metrics.AUC), ("auc", metrics.AUC), ("precision", metrics.Precision), ("Recall", metrics.Recall),
        ("sparse_categorical_accuracy", metrics.SparseCategoricalAccuracy), ("bce", metrics.BinaryCrossentropy),
        ("binary_accuracy", metrics.BinaryAccuracy), ("CategoricalAccuracy", metrics.CategoricalAccuracy),
        ("top_k_categorical_accuracy", metrics.TopKCategoricalAccuracy), ("r2_score", metrics.R2Score),
        ("R2Score", metrics.R2Score), ("f1_score", metrics.F1Score), ("FalsePositives", metrics.FalsePositives),
        ("SparseTopKCategoricalAccuracy", metrics.SparseTopKCategoricalAccuracy),
    ],
)  # fmt: skip
def test_names_of_metrics(name, kind):
    metric = metrics.resolve(name)
    assert type(metric) is kind
    assert metric.name == name


def test_other_ways_to_say_a_metric():
    metric = metrics.Precision(name="p")
    assert metrics.resolve(metric) is metric
    assert type(metrics.resolve(metrics.AUC)) is metrics.AUC
    known = metrics.resolve(metrics.sparse_categorical_accuracy)
    assert type(known) is metrics.SparseCategoricalAccuracy
    assert known.name == "sparse_categorical_accuracy"
    assert metrics.Precision().name == "precision"
    assert metrics.AUC().name == "auc"


@pytest.mark.parametrize(
    ("name", "near"),
    [("acuracy", "accuracy"), ("precison", "precision"), ("mean_square_error", "mean_squared_error"), ("AUCC", "auc")],
)
def test_unknown_names_list_what_is_near(name, near):
    with pytest.raises(ValueError, match=f"there is no metric '{name}'; did you mean .*'{near}'"):
        metrics.resolve(name)


@pytest.mark.parametrize("wrong", [None, 3, ["accuracy"], int])
def test_what_is_no_metric(wrong):
    with pytest.raises(errors.DtypeError, match="no metric"):
        metrics.resolve(wrong)


def test_a_metric_of_ones_own_is_saved():
    class Largest(metrics.Metric):
        def __init__(self):
            super().__init__()
            self.reset_state()

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value = np.maximum(self.value, np.max(y_pred, axis=0))

        def result(self):
            return self.value

        def reset_state(self):
            self.value = np.zeros(2)

    metric, other = Largest(), Largest()
    assert metric(None, [[1.0, 0.0], [0.5, 3.0]]).tolist() == [1.0, 3.0]
    other.load_state_dict(metric.state_dict())
    assert other.result().tolist() == [1.0, 3.0]
    assert metric.name == "largest"
    for call in (metrics.Metric().result, metrics.Metric().reset_state, metrics.Metric().update_state):
        with pytest.raises(NotImplementedError, match="Metric does not define"):
            call()
