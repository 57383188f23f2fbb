"""Counts of right and wrong positives and negatives, and the precision and recall that they make.

A prediction is positive if its score is above the threshold. A score of NaN is above none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine import here
from ...errors import DtypeError, ShapeError
from .inputs import aligned, as_array, binary_labels, spread
from .metric import Metric

__all__ = ["FalseNegatives", "FalsePositives", "Precision", "Recall", "TrueNegatives", "TruePositives"]


class Counts(Metric):
    """The four counts at each threshold, weighted by sample."""

    state = ("true_positives", "false_positives", "true_negatives", "false_negatives")

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        default = 0.5 if top_k is None else -math.inf
        self.several = isinstance(thresholds, (Sequence, np.ndarray))
        given = [default] if thresholds is None else np.atleast_1d(as_array(thresholds, "thresholds"))
        self.thresholds = [float(one) for one in given]
        if not self.thresholds or any(math.isnan(one) for one in self.thresholds):
            raise ShapeError(f"thresholds are {thresholds}; give a number, or a list of numbers{here()}")
        for name_, value in (("top_k", top_k), ("class_id", class_id)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
                raise DtypeError(f"{name_} is {value!r}; give a whole number or None{here()}")
        if top_k is not None and top_k < 1:
            raise ShapeError(f"top_k is {top_k}; give at least 1{here()}")
        self.top_k = top_k
        self.class_id = class_id
        self._order = np.argsort(self.thresholds)
        self._sorted = np.array(self.thresholds)[self._order]
        self.reset_state()

    def reset_state(self) -> None:
        size = len(self.thresholds)
        self.true_positives, self.false_positives = np.zeros(size), np.zeros(size)
        self.true_negatives, self.false_negatives = np.zeros(size), np.zeros(size)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, scores = aligned(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))
        positive = binary_labels(labels)
        weights = None if sample_weight is None else spread(sample_weight, scores.shape)
        if self.top_k is not None:
            scores = _largest(scores, self.top_k)
        if self.class_id is not None:
            if scores.ndim < 2 or not 0 <= self.class_id < scores.shape[-1]:
                raise ShapeError(
                    f"class_id is {self.class_id} and y_pred has the shape {scores.shape}; give scores of the shape "
                    f"(n, classes) with more than {self.class_id} classes{here()}"
                )
            scores, positive = scores[..., self.class_id], positive[..., self.class_id]
            weights = None if weights is None else weights[..., self.class_id]
        # How many thresholds each score is above; counts of these, summed from the top, are the counts above each
        # threshold. Thresholds are rounded to the scores' dtype, as 0.1 > 0.1 in float32 otherwise.
        thresholds = self._sorted.astype(scores.dtype) if scores.dtype.kind == "f" else self._sorted
        above = np.searchsorted(thresholds, scores.ravel())
        if scores.dtype.kind == "f":
            above[np.isnan(scores.ravel())] = 0
        positive = positive.ravel()
        size = len(thresholds)
        flat = None if weights is None else weights.ravel()
        tally = np.bincount(above + (size + 1) * positive, weights=flat, minlength=2 * size + 2)
        negatives, positives = np.cumsum(tally.reshape(2, size + 1)[:, ::-1], axis=1)[:, ::-1]
        order = self._order
        self.true_positives[order] += positives[1:]
        self.false_negatives[order] += positives[0] - positives[1:]
        self.false_positives[order] += negatives[1:]
        self.true_negatives[order] += negatives[0] - negatives[1:]

    def of(self, values: np.ndarray) -> Any:
        """A number for one threshold, an array for a list of them."""
        return values.copy() if self.several else float(values[0])


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """The k largest scores of each row; the others are NaN, which no threshold lets through."""
    if scores.ndim < 2 or k > scores.shape[-1]:
        raise ShapeError(
            f"top_k is {k} and y_pred has the shape {scores.shape}; give scores of the shape (n, classes) with at "
            f"least {k} classes{here()}"
        )
    kept = np.argsort(-scores.astype(np.float64), axis=-1, kind="stable")[..., :k]  # NaN comes last
    result = np.full(scores.shape, np.nan, scores.dtype if scores.dtype.kind == "f" else np.float64)
    np.put_along_axis(result, kept, np.take_along_axis(scores, kept, -1), -1)
    # A score of -inf among the k largest is still above the threshold -inf.
    return np.where(np.isneginf(result), np.finfo(result.dtype).min, result)


def _ratio(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """right / (right + wrong), and 0 where both are."""
    both = right + wrong
    return np.divide(right, both, out=np.zeros_like(right), where=both != 0)


class Precision(Counts):
    """The share of the positive predictions that are right: TP / (TP + FP); 0.0 where nothing is predicted positive.

    Args:
        thresholds: scores above it are positive: 0.5 by default, 0 for logits. For a list, `result` is an array.
        top_k: only the k largest scores of each row are positive (those of a tie by their order), at any threshold
            that is not given.
        class_id: count this class alone, of the last axis.

    Labels, 0 or 1, have the shape of the scores: (n,), (n, 1), or (n, labels), of which each counts as a sample of its
    own. Labels of classes are to be one-hot.

    >>> precision = Precision()
    >>> precision.update_state([0, 1, 1, 1], [1, 0, 1, 1])
    >>> round(precision.result(), 4)
    0.6667
    """

    direction = "up"

    def result(self) -> Any:
        return self.of(_ratio(self.true_positives, self.false_positives))


class Recall(Counts):
    """The share of the positives that are found: TP / (TP + FN); 0.0 where there are no positives.

    Args:
        thresholds: scores above it are positive: 0.5 by default, 0 for logits. For a list, `result` is an array.
        top_k: only the k largest scores of each row are positive (those of a tie by their order), at any threshold
            that is not given.
        class_id: count this class alone, of the last axis.

    Labels, 0 or 1, have the shape of the scores, as for `Precision`.

    >>> recall = Recall(thresholds=[0.2, 0.8])
    >>> recall.update_state([0, 1, 1, 1], [0.9, 0.1, 0.5, 1.0])
    >>> recall.result()
    array([0.66666667, 0.33333333])
    """

    direction = "up"

    def result(self) -> Any:
        return self.of(_ratio(self.true_positives, self.false_negatives))


class _Count(Counts):
    def __init__(
        self, thresholds: float | Sequence[float] | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)


class TruePositives(_Count):
    """How many positives are predicted positive, or the sum of their weights.

    >>> count = TruePositives()
    >>> count.update_state([0, 1, 1, 1], [1, 0, 1, 1])
    >>> count.result()
    2.0
    """

    direction = "up"

    def result(self) -> Any:
        return self.of(self.true_positives)


class FalsePositives(_Count):
    """How many negatives are predicted positive, or the sum of their weights.

    >>> count = FalsePositives()
    >>> count.update_state([0, 1, 0, 0], [0, 0, 1, 1])
    >>> count.result()
    2.0
    """

    direction = "down"

    def result(self) -> Any:
        return self.of(self.false_positives)


class TrueNegatives(_Count):
    """How many negatives are predicted negative, or the sum of their weights.

    >>> count = TrueNegatives()
    >>> count.update_state([0, 1, 0, 0], [1, 1, 0, 0])
    >>> count.result()
    2.0
    """

    direction = "up"

    def result(self) -> Any:
        return self.of(self.true_negatives)


class FalseNegatives(_Count):
    """How many positives are predicted negative, or the sum of their weights.

    >>> count = FalseNegatives()
    >>> count.update_state([0, 1, 1, 1], [0, 1, 0, 0])
    >>> count.result()
    2.0
    """

    direction = "down"

    def result(self) -> Any:
        return self.of(self.false_negatives)
