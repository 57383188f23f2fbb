"""The F score: precision and recall in one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError
from .inputs import aligned, as_array, binary_labels, spread
from .metric import Metric

__all__ = ["F1Score", "FBetaScore"]

_AVERAGES = (None, "micro", "macro", "weighted")


class FBetaScore(Metric):
    """(1 + β²) · precision · recall / (β² · precision + recall) of each class, or averaged.

    Args:
        average: None for a score per class (`result` is an array then), ``"micro"`` for one score of all counts
            together, ``"macro"`` for the mean over the classes, ``"weighted"`` for the mean by their shares of the labels.
        beta: how many times as much recall matters.
        threshold: scores above it are positive. None takes the largest score of each row (all of them in a tie, and
            none if it is 0, as in Keras).

    Labels, 0 or 1, and scores are (n, classes); (n,) is taken for one class, which needs a threshold. A class that was
    neither labelled nor predicted has the score 0. Source: van Rijsbergen 1979.

    >>> score = FBetaScore(beta=2.0, threshold=0.5)
    >>> score.update_state([[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]])
    >>> score.result().round(4)
    array([0.3846, 0.9091, 0.8333])
    """

    direction = "up"
    state = ("true_positives", "false_positives", "false_negatives")

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        if average not in _AVERAGES:
            raise ShapeError(f"average is {average!r}; give one of {', '.join(map(repr, _AVERAGES))}{here()}")
        if not beta > 0:
            raise ShapeError(f"beta is {beta}; give a number above 0{here()}")
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self.reset_state()

    def reset_state(self) -> None:
        # Of each class, once the first batch has told how many there are.
        self.true_positives: np.ndarray | None = None
        self.false_positives: np.ndarray | None = None
        self.false_negatives: np.ndarray | None = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, scores = aligned(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))
        if labels.ndim == 1:
            labels, scores = labels[:, None], scores[:, None]
        if labels.ndim != 2:
            raise ShapeError(f"y_pred has the shape {scores.shape}; an F score needs (n, classes){here()}")
        if self.threshold is not None:
            found = scores > self.threshold
        elif scores.shape[1] < 2:
            raise ShapeError(
                "y_pred has one score per sample, the largest of which is always itself; give the F score a threshold: "
                f"{type(self).__name__}(threshold=0.5), or threshold=0.0 for logits{here()}"
            )
        else:
            found = (scores >= scores.max(axis=1, keepdims=True)) & (np.abs(scores) > 1e-9)
        positive = binary_labels(labels)
        weights = np.ones(scores.shape) if sample_weight is None else spread(sample_weight, scores.shape)
        counts = [((one * weights).sum(axis=0)) for one in (positive & found, ~positive & found, positive & ~found)]
        if self.true_positives is None or self.false_positives is None or self.false_negatives is None:
            self.true_positives, self.false_positives, self.false_negatives = counts
            return
        if len(self.true_positives) != scores.shape[1]:
            raise ShapeError(
                f"y_pred has {scores.shape[1]} classes, and {len(self.true_positives)} in the batches before it; call "
                f"reset_state() in between{here()}"
            )
        self.true_positives += counts[0]
        self.false_positives += counts[1]
        self.false_negatives += counts[2]

    def result(self) -> Any:
        if self.true_positives is None or self.false_positives is None or self.false_negatives is None:
            return 0.0
        right, wrong, missed = self.true_positives, self.false_positives, self.false_negatives
        support = right + missed
        if self.average == "micro":
            right, wrong, missed = right.sum(keepdims=True), wrong.sum(keepdims=True), missed.sum(keepdims=True)
        square = self.beta**2
        below = (1 + square) * right + square * missed + wrong
        scores = np.divide((1 + square) * right, below, out=np.zeros_like(right), where=below != 0)
        if self.average is None:
            return scores
        if self.average == "weighted":
            total = support.sum()
            return float((scores * support).sum() / total) if total else 0.0
        return float(scores.mean())


class F1Score(FBetaScore):
    """2 · precision · recall / (precision + recall), of each class, or averaged.

    Args:
        average: None for a score per class (`result` is an array then), ``"micro"``, ``"macro"`` or ``"weighted"``.
        threshold: scores above it are positive; None takes the largest score of each row.

    Labels and scores as for `FBetaScore`. By its name, ``"f1_score"``, a training is given the macro average, because it
    logs numbers.

    >>> score = F1Score(average="macro", threshold=0.5)
    >>> score.update_state([[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]])
    >>> round(score.result(), 4)
    0.6556
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
