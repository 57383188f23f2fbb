"""Cross-entropies as metrics: the plain mean over an epoch, beside a loss that is weighted or regularised."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError
from .inputs import aligned, as_array, as_tensor, classes_last, counted, one_hot_labels, sparse_labels
from .mean import EPSILON, MeanOfSamples, over_last

__all__ = [
    "BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "binary_crossentropy",
    "categorical_crossentropy", "sparse_categorical_crossentropy",
]  # fmt: skip


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0) -> Any:
    """The mean of -(y log p + (1 - y) log(1 - p)) over the last axis of (n, …): a Tensor; of (n,), one per sample.

    Args:
        y_true: labels from 0 to 1, in the shape of y_pred.
        y_pred: probabilities, which are kept 1e-7 from 0 and 1, or logits.
        from_logits: y_pred are logits.
        label_smoothing: the share of each label that is moved to 0.5.

    A number to look at, without a gradient; to train, use `nn.BCEWithLogitsLoss`.

    >>> binary_crossentropy([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])
    tensor([0.9163, 0.7136])
    """
    labels, scores = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    return as_tensor(over_last(_binary(labels, scores, from_logits, label_smoothing)))


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-Σ y log p over the classes: a Tensor, (n,).

    Args:
        y_true: one-hot labels or probabilities, (n, classes).
        y_pred: probabilities, which are divided by their sum and kept 1e-7 from 0 and 1, or logits.
        from_logits: y_pred are logits.
        label_smoothing: the share of each label that is spread evenly over all classes.
        axis: along which the classes lie.

    >>> categorical_crossentropy([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    tensor([0.0513, 2.3026])
    """
    labels, scores = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    return as_tensor(_categorical(labels, scores, from_logits, label_smoothing, axis))


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """-log p[label]: a Tensor, (n,).

    Args:
        y_true: class numbers, (n,) or (n, 1).
        y_pred: probabilities, (n, classes), which are divided by their sum and kept 1e-7 from 0 and 1, or logits.
        from_logits: y_pred are logits.
        ignore_class: a label whose samples are 0.
        axis: along which the classes lie.

    >>> sparse_categorical_crossentropy([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    tensor([0.0513, 2.3026])
    """
    labels, scores = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    return as_tensor(_sparse(labels, scores, from_logits, ignore_class, axis)[0])


def _binary(labels: np.ndarray, scores: np.ndarray, from_logits: bool, smoothing: float) -> np.ndarray:
    labels, scores = aligned(labels, scores)
    y, x = labels.astype(np.float64), scores.astype(np.float64)
    if y.size and not (y.min() >= 0 and y.max() <= 1):
        raise ShapeError(f"y_true has labels from {y.min()} to {y.max()}; those of two classes are 0 to 1{here()}")
    y = y * (1 - smoothing) + 0.5 * smoothing
    if from_logits:
        return np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))
    p = np.clip(x, EPSILON, 1 - EPSILON)
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


def _log_probabilities(scores: np.ndarray, from_logits: bool) -> np.ndarray:
    x = scores.astype(np.float64)
    if from_logits:
        x = x - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    total = x.sum(axis=-1, keepdims=True)
    share = np.divide(x, total, out=np.zeros_like(x), where=total != 0)
    return np.log(np.clip(share, EPSILON, 1 - EPSILON))


def _categorical(targets: np.ndarray, scores: np.ndarray, from_logits: bool, smoothing: float, axis: int) -> np.ndarray:
    targets, scores = one_hot_labels(targets, scores, axis)
    y = targets.astype(np.float64) * (1 - smoothing) + smoothing / scores.shape[-1]
    terms = np.zeros(y.shape)
    np.multiply(y, _log_probabilities(scores, from_logits), out=terms, where=y != 0)  # 0 · -inf would be NaN
    total: np.ndarray = -terms.sum(axis=-1)
    return total


def _sparse(
    labels: np.ndarray, scores: np.ndarray, from_logits: bool, ignored: int | None, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    scores = classes_last(scores, axis)
    labels = sparse_labels(labels, scores, ignored)
    counts = np.ones(labels.shape, bool) if ignored is None else labels != ignored
    places = np.where(counts, labels, 0)[..., None]
    values = -np.take_along_axis(_log_probabilities(scores, from_logits), places, axis=-1)[..., 0]
    return np.where(counts, values, 0.0), counts


class BinaryCrossentropy(MeanOfSamples):
    """The mean of -(y log p + (1 - y) log(1 - p)) over all samples.

    Args:
        from_logits: predictions are logits; else probabilities, which are kept 1e-7 from 0 and 1.
        label_smoothing: the share of each label that is moved to 0.5.

    >>> entropy = BinaryCrossentropy()
    >>> entropy.update_state([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])
    >>> round(entropy.result(), 4)
    0.8149
    """

    direction = "down"

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _binary(y_true, y_pred, self.from_logits, self.label_smoothing)


class CategoricalCrossentropy(MeanOfSamples):
    """The mean of -Σ y log p over all samples, for one-hot labels or probabilities, (n, classes).

    Args:
        from_logits: predictions are logits; else probabilities, which are divided by their sum.
        label_smoothing: the share of each label that is spread evenly over all classes.
        axis: along which the classes lie.

    >>> entropy = CategoricalCrossentropy()
    >>> entropy.update_state([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    >>> round(entropy.result(), 4)
    1.1769
    """

    direction = "down"

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _categorical(y_true, y_pred, self.from_logits, self.label_smoothing, self.axis)


class SparseCategoricalCrossentropy(MeanOfSamples):
    """The mean of -log p[label] over all samples, for labels that are class numbers, (n,) or (n, 1).

    Args:
        from_logits: predictions are logits; else probabilities, which are divided by their sum.
        ignore_class: a label whose samples do not count.
        axis: along which the classes lie.

    >>> entropy = SparseCategoricalCrossentropy()
    >>> entropy.update_state([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    >>> round(entropy.result(), 4)
    1.1769
    """

    direction = "down"

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        labels, scores = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
        values, counts = _sparse(labels, scores, self.from_logits, self.ignore_class, self.axis)
        if self.ignore_class is not None:
            sample_weight = counted(counts, sample_weight)
        self.add(values, sample_weight)
