"""What metrics are handed: labels, predictions and weights as arrays that fit each other, or an error that says why not.

What fits without a check costs next to nothing, because metrics are fed once per batch of a training.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import TensorCore, get_default_dtype, here, wrap
from ...errors import DtypeError, ShapeError

__all__ = [
    "aligned", "as_array", "as_tensor", "binary_labels", "class_labels", "classes_last", "counted", "errors_of_nan", "has_nan",
    "one_hot_labels", "sparse_labels", "spread", "weights_for",
]  # fmt: skip


def as_array(value: Any, name: str) -> np.ndarray:
    """The numbers of an array, Tensor, list or number, without a copy where it is an array of numbers already."""
    if isinstance(value, TensorCore):
        array = value.array
    else:
        parts = isinstance(value, (tuple, list)) and any(isinstance(one, TensorCore) for one in value)
        if parts or isinstance(value, (dict, set)) or value is None:
            raise DtypeError(
                f"{name} is {'None' if value is None else 'a ' + type(value).__name__}, where a metric compares arrays; "
                f"give it the part that it is meant for, or use a function (y_true, y_pred) as the metric{here()}"
            )
        try:
            array = np.asarray(value)
        except ValueError as error:  # rows of unequal lengths
            raise ShapeError(f"{name} is no array: {error}{here()}") from None
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{name} has the dtype {array.dtype}; metrics compare real numbers{here()}")
    return array


def as_tensor(values: np.ndarray) -> Any:
    """Per-sample values as the functional forms return them: a Tensor of the default dtype, without a graph."""
    return wrap(np.asarray(values, dtype=get_default_dtype()))


def aligned(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both of one shape, of one dimension at least: (n,) and (n, 1) fit each other, and nothing else is broadcast."""
    if y_true.shape == y_pred.shape:
        return (y_true, y_pred) if y_true.ndim else (y_true.reshape(1), y_pred.reshape(1))
    if (*y_true.shape, 1) == y_pred.shape:
        return y_true[..., None], y_pred
    if y_true.shape == (*y_pred.shape, 1):
        return y_true, y_pred[..., None]
    raise ShapeError(
        f"y_true has the shape {y_true.shape} and y_pred has {y_pred.shape}; this metric compares them element by "
        f"element, so they must be equal{_hint(y_true, y_pred)}{here()}"
    )


def _hint(y_true: np.ndarray, y_pred: np.ndarray) -> str:
    if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1] == 2:
        return ". Of a model with two outputs, hand over the second column, y_pred[:, 1]"
    if y_true.shape == y_pred.shape[:-1] or y_true.shape == (*y_pred.shape[:-1], 1):
        return (
            ". For labels that are classes, use the sparse metrics (SparseCategoricalAccuracy), or make the labels "
            f"one-hot: numpy.eye({y_pred.shape[-1]})[y_true]"
        )
    if y_true.shape[1:] == y_pred.shape[1:]:
        return ". The batches differ in their number of samples"
    return ""


def classes_last(scores: np.ndarray, axis: int) -> np.ndarray:
    """Scores with their classes along the last axis, in a shape that has classes at all."""
    if scores.ndim < 2 or 0 in scores.shape[1:]:
        raise ShapeError(
            f"y_pred has the shape {scores.shape}, where a score for each class is needed: (n, classes). For one score "
            f"per sample, use BinaryAccuracy{here()}"
        )
    return scores if axis == -1 else np.moveaxis(scores, axis, -1)


def one_hot_labels(labels: np.ndarray, scores: np.ndarray, axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """One-hot labels and scores of one shape, their classes along the last axis."""
    if labels.shape != scores.shape:
        way = ""
        if labels.ndim < scores.ndim or (labels.ndim and labels.shape[-1] == 1):
            way = "; for labels that are class numbers, use the sparse metrics (SparseCategoricalAccuracy and the like)"
        raise ShapeError(
            f"y_true has the shape {labels.shape} and y_pred has {scores.shape}; one-hot labels have the shape of the "
            f"scores{way}{here()}"
        )
    return classes_last(labels, axis), classes_last(scores, axis)


def sparse_labels(labels: np.ndarray, scores: np.ndarray, ignored: int | None = None) -> np.ndarray:
    """Class numbers in the shape of the scores without their classes, as int64."""
    shape = scores.shape[:-1]
    if labels.shape != shape:
        if labels.shape == (*shape, 1):
            labels = labels[..., 0]
        else:
            way = ""
            if labels.shape == scores.shape:
                way = "; for one-hot labels, use CategoricalAccuracy (or the like without 'sparse')"
            raise ShapeError(
                f"y_true has the shape {labels.shape} and y_pred has {scores.shape}; labels that are class numbers "
                f"have the shape {shape}{way}{here()}"
            )
    return class_labels(labels, scores.shape[-1], ignored)


def class_labels(labels: np.ndarray, classes: int, ignored: int | None = None) -> np.ndarray:
    """Labels as int64, each a class from 0 to classes - 1, or the ignored one.

    Raises:
        DtypeError: a label is no whole number.
        ShapeError: a label is no class.
    """
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.floor(labels))
        if not whole.all():
            bad = labels[~whole].flat[0]
            raise DtypeError(
                f"y_true has the label {bad}, where a label is a class, that is a whole number from 0 to {classes - 1}; "
                f"for targets that are no classes, use 'mse' or 'mae'{here()}"
            )
    numbers = labels.astype(np.int64, copy=False)
    # Seen as unsigned, a negative number is too large: one pass for both ends.
    if numbers.size and np.maximum.reduce(numbers.view(np.uint64), axis=None) >= classes:
        wrong = (numbers < 0) | (numbers >= classes)
        if ignored is not None:
            wrong &= numbers != ignored
        if wrong.any():
            place = [int(one) for one in np.argwhere(wrong)[0]]
            raise ShapeError(
                f"y_true has the label {labels[tuple(place)]} at {place}, but y_pred has {classes} classes, 0 to "
                f"{classes - 1}{here()}"
            )
    return numbers


def binary_labels(labels: np.ndarray) -> np.ndarray:
    """Which labels are positive: those above 0.5, so that softened labels count as what they are nearest to.

    Raises:
        ShapeError: a label below 0 or above 1, or NaN.
    """
    if labels.dtype.kind == "b":
        return labels
    if labels.size:
        low, high = labels.min(), labels.max()
        if not (low >= 0 and high <= 1):
            bad = low if not low >= 0 else high
            raise ShapeError(
                f"y_true has the label {bad}, where labels of two classes are 0 and 1; for classes 0, 1, 2, … use the "
                f"sparse metrics, for -1 and 1 hand over (y_true + 1) / 2, for other targets use 'mse' or 'mae'{here()}"
            )
    positive: np.ndarray = labels > 0.5
    return positive


def has_nan(scores: np.ndarray) -> bool:
    """Whether a score is NaN, in one pass: the sum of squares is NaN then, and only then."""
    if scores.dtype.kind != "f":
        return False
    if scores.dtype.itemsize < 4:  # no BLAS for half precision, and its squares overflow with a warning
        return bool(np.isnan(scores).any())
    norm = np.vdot(scores, scores)
    return bool(norm != norm)


def errors_of_nan(right: np.ndarray, scores: np.ndarray, axis: int | None = None) -> np.ndarray:
    """``right``, but False where a score is NaN (along an axis: where any of the sample's scores is)."""
    nan = np.isnan(scores)
    return right & ~(nan if axis is None else nan.any(axis=axis))


def weights_for(sample_weight: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Weights as float64, of ``shape`` or of its leading dimensions only; a number weighs every sample.

    (n, 1) is taken for (n,) where the values are (n,).

    Raises:
        ShapeError: the weights do not fit, or one is negative or not finite.
    """
    weights = as_array(sample_weight, "sample_weight").astype(np.float64, copy=False)
    if weights.ndim == 0:
        weights = np.broadcast_to(weights, shape[:1])
    if weights.ndim == len(shape) + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    leading = shape[: weights.ndim]
    if weights.ndim > len(shape) or any(one not in (1, other) for one, other in zip(weights.shape, leading, strict=True)) or (
        weights.shape[:1] != shape[:1]
    ):  # fmt: skip
        raise ShapeError(
            f"sample_weight has the shape {weights.shape}, where the values that it weighs have {shape}: give one "
            f"weight per sample, of the shape {shape[:1]}{here()}"
        )
    # NaN fails the comparison, too.
    if weights.size and not (weights.min() >= 0 and weights.max() < np.inf):
        raise ShapeError(
            "sample_weight has a weight that is negative or not finite; weights are 0 (masked) or more" + here()
        )
    return np.broadcast_to(weights, leading)


def spread(sample_weight: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of the samples as weights of all their elements."""
    weights = weights_for(sample_weight, shape)
    return np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim)), shape)


def counted(counts: np.ndarray, sample_weight: Any) -> Any:
    """The weights, 0 where a sample does not count; None where there are none and all count."""
    if sample_weight is None:
        return None if np.count_nonzero(counts) == counts.size else counts.astype(np.float64)
    weights = weights_for(sample_weight, counts.shape)
    return weights.reshape(weights.shape + (1,) * (counts.ndim - weights.ndim)) * counts
