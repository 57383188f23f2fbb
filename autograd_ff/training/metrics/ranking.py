"""The area under a curve over all thresholds: how well scores rank positives above negatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError
from .inputs import aligned, as_array, binary_labels, spread
from .metric import Metric

__all__ = ["AUC"]

_METHODS = ("interpolation", "minoring", "majoring", "step")


class AUC(Metric):
    """The area under the ROC or the precision-recall curve, exact.

    Under the ROC curve it is the probability that a positive's score is above a negative's, a tie counting half. Where
    Keras counts at 200 thresholds, which is coarse where most scores are near 0 or 1, every score seen is a threshold
    here, so that scores may be logits or anything else that ranks. The price is memory: 24 bytes per sample (of different
    score) until `reset_state`, and a sort in `result`.

    Args:
        curve: ``"ROC"`` or ``"PR"``.
        summation_method: between two neighbouring points of the curve, ``"interpolation"`` draws the straight line (of
            PR: interpolates the counts, not their ratio; Davis and Goadrich 2006), ``"minoring"`` and ``"majoring"``
            take the lower and the higher point, and ``"step"`` the point at the lower threshold: of PR, this is
            scikit-learn's average precision.
        multi_label: the columns are labels of their own, whose areas are averaged; else all are thrown together.
        label_weights: of the columns.
        num_thresholds, thresholds, num_labels, from_logits: accepted as Keras does, and without effect.

    Labels, 0 or 1, have the shape of the scores.

    The result is NaN where there is no curve: before the first update, while all labels are of one class (of PR: without
    positives), and after a score that is NaN.

    >>> auc = AUC()
    >>> auc.update_state([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    >>> auc.result()
    0.75
    """

    direction = "up"

    def __init__(
        self,
        num_thresholds: int | None = None,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        if str(curve).upper() not in ("ROC", "PR"):
            raise ShapeError(f"curve is {curve!r}; give 'ROC' or 'PR'{here()}")
        if str(summation_method).lower() not in _METHODS:
            raise ShapeError(
                f"summation_method is {summation_method!r}; give one of {', '.join(map(repr, _METHODS))}{here()}"
            )
        self.curve = str(curve).upper()
        self.summation_method = str(summation_method).lower()
        self.multi_label = multi_label
        self.label_weights = None if label_weights is None else as_array(label_weights, "label_weights")
        self.reset_state()

    def reset_state(self) -> None:
        self._samples: list[_Samples] = []  # of each label, or one

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, scores = aligned(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))
        positive = binary_labels(labels)
        weights = np.ones(scores.shape) if sample_weight is None else spread(sample_weight, scores.shape)
        columns = scores.shape[-1] if scores.ndim > 1 else 1
        if self.label_weights is not None and self.label_weights.shape != (columns,):
            raise ShapeError(
                f"label_weights has the shape {self.label_weights.shape} and y_pred has {scores.shape}; give one weight "
                f"per column{here()}"
            )
        if not self.multi_label:
            if self.label_weights is not None:
                weights = weights * self.label_weights
            columns = 1
        if not self._samples:
            self._samples = [_Samples() for _ in range(columns)]
        elif len(self._samples) != columns:
            raise ShapeError(
                f"y_pred has {columns} labels, and {len(self._samples)} in the batches before it; call reset_state() in "
                f"between{here()}"
            )
        by_column = (one.reshape(-1, columns).T for one in (scores, positive, weights))
        for samples, *one in zip(self._samples, *by_column, strict=True):
            samples.add(*one)

    def result(self) -> float:
        areas = np.array([samples.area(self.curve, self.summation_method) for samples in self._samples])
        if not areas.size:
            return math.nan
        if self.multi_label and self.label_weights is not None:
            total = float(self.label_weights.sum())
            return float(np.sum(areas * self.label_weights) / total) if total else math.nan
        return float(areas.mean())

    def state_dict(self) -> dict[str, Any]:
        return {"samples": [samples.merged().copy() for samples in self._samples]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.expect_keys(state, ("samples",))
        self._samples = [_Samples(np.array(as_array(one, "samples"), dtype=np.float64)) for one in state["samples"]]


class _Samples:
    """Scores in descending order, each once, with the weights of the positives and of the negatives that have it."""

    def __init__(self, table: np.ndarray | None = None) -> None:
        self.table = np.zeros((3, 0)) if table is None else table  # scores, positives, negatives
        self.new: list[np.ndarray] = []

    def add(self, scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> None:
        batch = np.empty((3, len(scores)))
        batch[0] = scores
        np.multiply(weights, positive, out=batch[1])
        np.subtract(weights, batch[1], out=batch[2])
        self.new.append(batch)

    def merged(self) -> np.ndarray:
        if self.new:
            table = np.concatenate([self.table, *self.new], axis=1)
            # A merge sort runs in linear time over what is sorted already.
            table = table[:, np.argsort(-table[0], kind="stable")]
            starts = np.flatnonzero(np.concatenate([[True], table[0, 1:] != table[0, :-1]])[: table.shape[1]])
            if len(starts) < table.shape[1]:
                table = np.vstack([table[0, starts], np.add.reduceat(table[1:], starts, axis=1)])
            self.table, self.new = table, []
        return self.table

    def area(self, curve: str, method: str) -> float:
        scores, positives, negatives = self.merged()
        if np.isnan(scores).any():
            return math.nan
        counts = (positives + negatives) > 0  # a weight of 0 makes no point
        right = np.concatenate([[0.0], np.cumsum(positives[counts])])
        wrong = np.concatenate([[0.0], np.cumsum(negatives[counts])])
        if not right[-1] or (curve == "ROC" and not wrong[-1]):
            return math.nan
        if curve == "PR" and method == "interpolation":
            return _interpolated_precision(right, wrong)
        if curve == "ROC":
            x, y = wrong / wrong[-1], right / right[-1]
        else:
            x, y = right / right[-1], np.ones_like(right)
            np.divide(right[1:], right[1:] + wrong[1:], out=y[1:])
            y[0] = y[1]  # of no predictions at all: as of the first; Keras takes 0 there, which lowers its "minoring"
        before, after = y[:-1], y[1:]
        if method == "interpolation":
            heights = (before + after) / 2
        elif method == "minoring":
            heights = np.minimum(before, after)
        elif method == "majoring":
            heights = np.maximum(before, after)
        else:
            heights = after
        return float(np.sum(np.diff(x) * heights))


def _interpolated_precision(right: np.ndarray, wrong: np.ndarray) -> float:
    """∫ precision d(recall), the wrong positives growing evenly with the right ones between two points.

    Between them TP = t and TP + FP = p with dt/dp = s, so ∫ t / p dt = s (Δt + (t₀ - s p₀) ln(p₁ / p₀)).
    """
    p = right + wrong
    steps, rises = np.diff(p), np.diff(right)
    slope = rises / steps
    intercept = right[:-1] - slope * p[:-1]
    ratio = np.ones_like(slope)
    np.divide(p[1:], p[:-1], out=ratio, where=p[:-1] > 0)  # the first intercept is 0
    return float(np.sum(slope * (rises + intercept * np.log(ratio))) / right[-1])
