"""What a classifier makes of texts whose classes are known: accuracy and its interval, confusion, mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Mistake", "Outcome", "outcome_of", "wilson"]

NORMAL = 1.959964  # of which 95 % of a normal distribution lie within


class Mistake(NamedTuple):
    """A text of one class that was taken for another's, and how surely."""

    text: str
    label: str
    predicted: str
    probability: float


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of which ``right`` of ``count`` were seen. Source: Wilson 1927.

    >>> low, high = wilson(80, 100)
    >>> round(low, 3), round(high, 3)
    (0.711, 0.867)
    """
    square = NORMAL**2
    share = right / count
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    return middle - half, middle + half


@dataclass(frozen=True)
class Outcome:
    """The probabilities that a classifier gave to texts, beside what these are.

    Args:
        probabilities: (texts, classes).
        labels: (texts,), numbers of classes.
        classes: their names.

    >>> import numpy as np
    >>> outcome = Outcome(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), np.array([0, 1, 1]), ("bad", "good"))
    >>> outcome.confusion.tolist()
    [[1, 0], [1, 1]]
    >>> outcome.mistakes(["dull", "fine", "not bad"])
    [Mistake(text='not bad', label='good', predicted='bad', probability=0.7)]
    """

    probabilities: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(1))

    @property
    def right(self) -> np.ndarray:
        """Which were told right."""
        return np.asarray(self.predicted == self.labels)

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def loss(self) -> float:
        """The mean cross-entropy."""
        own = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(own, np.finfo(own.dtype).tiny)).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy on such texts."""
        return wilson(int(self.right.sum()), len(self.labels))

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes): how many texts of the row's class were taken for the column's."""
        count = len(self.classes)
        return np.bincount(self.labels * count + self.predicted, minlength=count * count).reshape(count, count)

    @property
    def calibration_error(self) -> float:
        """How far the probability of the predicted class lies from the share that is right, on the mean over tenths.

        Source: Guo, Pleiss, Sun and Weinberger 2017 (expected calibration error, ten bins).
        """
        sure = self.probabilities.max(1)
        bins = np.minimum((sure * 10).astype(int), 9)
        gaps = [abs(float(sure[bins == one].mean()) - float(self.right[bins == one].mean())) * (bins == one).sum()
                for one in np.unique(bins)]  # fmt: skip
        return float(sum(gaps) / len(sure))

    def mistakes(self, texts: Sequence[str], count: int = 10) -> list[Mistake]:
        """The mistakes that it was surest of, the surest first.

        Args:
            texts: that the probabilities are of.
            count: how many, at most.
        """
        sure = self.probabilities.max(1)
        wrong = np.flatnonzero(~self.right)
        chosen = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
        predicted = self.predicted
        return [
            Mistake(texts[at], self.classes[self.labels[at]], self.classes[predicted[at]], round(float(sure[at]), 4))
            for at in chosen.tolist()
        ]


def outcome_of(model: Any, texts: Sequence[str], labels: np.ndarray) -> Outcome:
    """The outcome of a `SentenceClassifier` on texts.

    Args:
        model: that predicts.
        texts, labels: what they are.
    """
    return Outcome(model.predict_proba(texts, 128), labels, model.classes)
