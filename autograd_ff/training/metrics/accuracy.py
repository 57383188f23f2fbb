"""Accuracies: the share of predictions that are right.

A prediction of NaN is never right. (`argmax` takes NaN for the largest number, so that the accuracy of a diverged model
would be the share of its first class.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .inputs import (
    aligned,
    as_array,
    as_tensor,
    binary_labels,
    classes_last,
    counted,
    errors_of_nan,
    has_nan,
    one_hot_labels,
    sparse_labels,
)
from .mean import MeanOfSamples

__all__ = [
    "Accuracy", "BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy", "binary_accuracy",
    "categorical_accuracy", "sparse_categorical_accuracy",
]  # fmt: skip


class MeanOfMatches(MeanOfSamples):
    """The share of the samples that are right, counted without a pass over weights where there are none."""

    direction = "up"

    def add(self, values: np.ndarray, sample_weight: Any = None) -> None:
        if sample_weight is None and values.ndim == 1:
            self.total += int(np.count_nonzero(values))
            self.count += len(values)
        else:
            super().add(values, sample_weight)


# ---------------------------------------------------------------- equality


class Accuracy(MeanOfMatches):
    """How often a prediction equals its label; both are labels here, not scores.

    By its name, ``"accuracy"``, a training is given the sparse, the categorical or the binary form instead.

    >>> accuracy = Accuracy()
    >>> accuracy.update_state([1, 2, 3, 4], [0, 2, 3, 4])
    >>> accuracy.result()
    0.75
    """

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        y_true, y_pred = aligned(y_true, y_pred)
        return _flat(y_true == y_pred)


def _flat(values: np.ndarray) -> np.ndarray:
    """(n, 1) as (n,), which is counted faster."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


# ---------------------------------------------------------------- two classes


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where the score is on its label's side of the threshold, else 0: a Tensor of the scores' shape.

    Args:
        y_true: labels, 0 or 1 (softened ones count as what they are nearest to).
        y_pred: scores of the same shape; (n,) fits (n, 1).
        threshold: scores above it are positive; 0 for logits.

    Raises:
        ShapeError: shapes that do not fit, or labels outside 0 to 1.

    >>> binary_accuracy([1, 1, 0, 0], [0.9, 0.4, 0.2, 0.6])
    tensor([1., 0., 1., 0.])
    """
    return as_tensor(_binary_matches(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"), threshold))


def _binary_matches(labels: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    labels, scores = aligned(labels, scores)
    right: np.ndarray = (scores > threshold) == binary_labels(labels)
    return errors_of_nan(right, scores) if has_nan(scores) else right


class BinaryAccuracy(MeanOfMatches):
    """How often a score is on its label's side of the threshold.

    Args:
        threshold: scores above it are positive. Take 0 where the model gives logits.

    Labels are 0 and 1; a softened label counts as what it is nearest to. (In Keras it is never right.) With several
    labels per sample, (n, labels), each is a prediction of its own.

    >>> accuracy = BinaryAccuracy()
    >>> accuracy.update_state([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
    >>> accuracy.result()
    0.75
    """

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = threshold

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _flat(_binary_matches(y_true, y_pred, self.threshold))


# ---------------------------------------------------------------- several classes


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest score is at the largest label, else 0: a Tensor, (n,).

    Args:
        y_true: one-hot labels, or probabilities, (n, classes).
        y_pred: scores of the same shape. The first of several largest counts.

    >>> categorical_accuracy([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    tensor([0., 1.])
    """
    return as_tensor(_categorical_matches(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"), -1))


def _categorical_matches(labels: np.ndarray, scores: np.ndarray, axis: int) -> np.ndarray:
    labels, scores = one_hot_labels(labels, scores, axis)
    right: np.ndarray = labels.argmax(axis=-1) == scores.argmax(axis=-1)
    return errors_of_nan(right, scores, axis=-1) if has_nan(scores) else right


class CategoricalAccuracy(MeanOfMatches):
    """How often the largest score is at the label, for one-hot labels, (n, classes).

    Scores may be logits or probabilities. The first of several largest counts.

    Args:
        axis: along which the classes lie.

    >>> accuracy = CategoricalAccuracy()
    >>> accuracy.update_state([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    >>> accuracy.result()
    0.5
    """

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = axis

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _categorical_matches(y_true, y_pred, self.axis)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest score is at the label, else 0: a Tensor, (n,).

    Args:
        y_true: class numbers, (n,) or (n, 1); whole numbers of any dtype.
        y_pred: scores, (n, classes). The first of several largest counts.

    Raises:
        ShapeError: shapes that do not fit, or a label that is no class.
        DtypeError: a label that is no whole number.

    >>> sparse_categorical_accuracy([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    tensor([0., 1.])
    """
    return as_tensor(_sparse_matches(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"), -1, None)[0])


def _sparse_matches(
    labels: np.ndarray, scores: np.ndarray, axis: int, ignored: int | None
) -> tuple[np.ndarray, np.ndarray]:
    scores = classes_last(scores, axis)
    labels = sparse_labels(labels, scores, ignored)
    right: np.ndarray = scores.argmax(axis=-1) == labels
    return (errors_of_nan(right, scores, axis=-1) if has_nan(scores) else right), labels


class SparseCategoricalAccuracy(MeanOfMatches):
    """How often the largest score is at the label, for labels that are class numbers, (n,) or (n, 1).

    Scores, (n, classes), may be logits or probabilities. The first of several largest counts.

    Args:
        ignore_class: a label whose samples do not count (the padding of sequences, say).
        axis: along which the classes lie.

    >>> accuracy = SparseCategoricalAccuracy()
    >>> accuracy.update_state([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    >>> accuracy.result()
    0.5
    >>> accuracy.update_state([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]], sample_weight=[0, 2])
    >>> accuracy.result()
    0.75
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_accuracy",
        dtype: Any = None,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.ignore_class = ignore_class
        self.axis = axis

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        right, labels = _sparse_matches(
            as_array(y_true, "y_true"), as_array(y_pred, "y_pred"), self.axis, self.ignore_class
        )
        if self.ignore_class is not None:
            sample_weight = counted(labels != self.ignore_class, sample_weight)
        self.add(right, sample_weight)
