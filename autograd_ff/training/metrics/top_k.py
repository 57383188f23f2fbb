"""Top-k accuracy: the label is among the k largest scores.

Ties: a label is among the top k if fewer than k scores are larger than its own, so all that tie with the k-th score are
in. A model that gives every class the same score is thus always right, as in Keras; and with k = 1 this can be more than
the accuracy, which takes the first of several largest scores alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError
from .accuracy import MeanOfMatches
from .inputs import as_array, as_tensor, classes_last, errors_of_nan, has_nan, one_hot_labels, sparse_labels

__all__ = [
    "SparseTopKCategoricalAccuracy", "TopKCategoricalAccuracy", "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]  # fmt: skip


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where the label is among the k largest scores, else 0: a Tensor, (n,).

    Args:
        y_true: one-hot labels, (n, classes).
        y_pred: scores, (n, classes). Scores that tie with the k-th are all in.
        k: at most the number of classes.

    >>> top_k_categorical_accuracy([[0, 0, 1], [1, 0, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.5]], k=2)
    tensor([1., 0.])
    """
    return as_tensor(_one_hot_matches(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"), k))


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Any:
    """1 where the label is among the k largest scores, else 0: a Tensor, (n,).

    Args:
        y_true: class numbers, (n,) or (n, 1).
        y_pred: scores, (n, classes). Scores that tie with the k-th are all in.
        k: at most the number of classes.
        from_sorted_ids: y_pred holds class numbers in place of scores, the best first.

    >>> sparse_top_k_categorical_accuracy([2, 0], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.5]], k=2)
    tensor([1., 0.])
    """
    return as_tensor(_sparse_matches(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"), k, from_sorted_ids))


def _check_k(k: int, classes: int) -> None:
    if not 1 <= k <= classes:
        raise ShapeError(
            f"k is {k} and y_pred has {classes} classes; take k from 1 to {classes} (with k = {classes} every sample "
            f"is right){here()}"
        )


def _matches(labels: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    own = np.take_along_axis(scores, labels[..., None], axis=-1)
    right: np.ndarray = np.count_nonzero(scores > own, axis=-1) < k
    return errors_of_nan(right, scores, axis=-1) if has_nan(scores) else right


def _sparse_matches(labels: np.ndarray, scores: np.ndarray, k: int, sorted_ids: bool) -> np.ndarray:
    scores = classes_last(scores, -1)
    _check_k(k, scores.shape[-1])
    if not sorted_ids:
        return _matches(sparse_labels(labels, scores), scores, k)
    if labels.shape == (*scores.shape[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != scores.shape[:-1]:
        raise ShapeError(
            f"y_true has the shape {labels.shape} and y_pred has {scores.shape}; labels that are class numbers have "
            f"the shape {scores.shape[:-1]}{here()}"
        )
    right: np.ndarray = (scores[..., :k] == labels[..., None]).any(axis=-1)
    return right


def _one_hot_matches(targets: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    targets, scores = one_hot_labels(targets, scores)
    _check_k(k, scores.shape[-1])
    return _matches(targets.argmax(axis=-1), scores, k)


class TopKCategoricalAccuracy(MeanOfMatches):
    """How often the label is among the k largest scores, for one-hot labels, (n, classes).

    Scores that tie with the k-th are all in.

    >>> accuracy = TopKCategoricalAccuracy(k=2)
    >>> accuracy.update_state([[0, 0, 1], [1, 0, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.5]])
    >>> accuracy.result()
    0.5
    """

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.k = k

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _one_hot_matches(y_true, y_pred, self.k)


class SparseTopKCategoricalAccuracy(MeanOfMatches):
    """How often the label is among the k largest scores, for labels that are class numbers, (n,) or (n, 1).

    Scores that tie with the k-th are all in.

    Args:
        from_sorted_ids: y_pred holds class numbers in place of scores, the best first.

    >>> accuracy = SparseTopKCategoricalAccuracy(k=2)
    >>> accuracy.update_state([2, 0], [[0.1, 0.9, 0.8], [0.05, 0.95, 0.5]])
    >>> accuracy.result()
    0.5
    """

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        self.k = k
        self.from_sorted_ids = from_sorted_ids

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _sparse_matches(y_true, y_pred, self.k, self.from_sorted_ids)
