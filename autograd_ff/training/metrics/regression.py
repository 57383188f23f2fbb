"""Errors of predicted numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...engine import here, warn
from ...errors import ShapeError
from .inputs import aligned, as_array, as_tensor, spread
from .mean import EPSILON, MeanOfSamples, over_last
from .metric import Metric

__all__ = [
    "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "R2Score",
    "RootMeanSquaredError", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error",
]  # fmt: skip


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of (y_true - y_pred)² over the last axis of (n, …): a Tensor; of (n,), the n squares.

    A number to look at, without a gradient; to train, use `nn.MSELoss`.

    Raises:
        ShapeError: unequal shapes, apart from (n,) and (n, 1), which are taken for the same.

    >>> mean_squared_error([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
    tensor([0.5, 0.5])
    """
    return as_tensor(over_last(_squares(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of |y_true - y_pred| over the last axis of (n, …): a Tensor; of (n,), the n differences.

    >>> mean_absolute_error([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [4.0, 0.0]])
    tensor([0.5, 2.0])
    """
    return as_tensor(over_last(np.abs(_difference(as_array(y_true, "y_true"), as_array(y_pred, "y_pred")))))


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of 100 · |y_true - y_pred| / max(|y_true|, 1e-7) over the last axis of (n, …): a Tensor.

    >>> mean_absolute_percentage_error([[2.0, 1.0]], [[1.0, 1.0]])
    tensor([25.])
    """
    return as_tensor(over_last(_percentages(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))))


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of (log(1 + y_true) - log(1 + y_pred))² over the last axis of (n, …): a Tensor.

    Numbers below 1e-7 are taken for that.

    >>> mean_squared_logarithmic_error([[0.0, 0.0]], [[0.0, 1.0]])
    tensor([0.2402])
    """
    return as_tensor(over_last(_logarithmic_squares(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))))


def _difference(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    y_true, y_pred = aligned(y_true, y_pred)
    return np.subtract(y_true, y_pred, dtype=np.float64)


def _squares(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    return np.square(_difference(y_true, y_pred))


def _percentages(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    difference = _difference(y_true, y_pred)
    scale = np.maximum(np.abs(aligned(y_true, y_pred)[0].astype(np.float64)), EPSILON)
    return 100.0 * np.abs(difference / scale)


def _logarithmic_squares(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    y_true, y_pred = aligned(y_true, y_pred)
    logarithms = (np.log1p(np.maximum(one.astype(np.float64), EPSILON)) for one in (y_true, y_pred))
    return np.square(np.subtract(*logarithms))


class _Error(MeanOfSamples):
    direction = "down"


class MeanSquaredError(_Error):
    """The mean of (y_true - y_pred)² over all samples.

    Shapes are equal; (n,) and (n, 1) are taken for the same. NaN among the predictions makes the result NaN.

    >>> error = MeanSquaredError()
    >>> error.update_state([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    >>> error.result()
    0.25
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _squares(y_true, y_pred)


class RootMeanSquaredError(MeanSquaredError):
    """The square root of the mean of (y_true - y_pred)² over all samples (not the mean of the batches' roots).

    >>> error = RootMeanSquaredError()
    >>> error.update_state([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    >>> error.result()
    0.5
    """

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def result(self) -> float:
        return math.sqrt(super().result())


class MeanAbsoluteError(_Error):
    """The mean of |y_true - y_pred| over all samples.

    >>> error = MeanAbsoluteError()
    >>> error.update_state([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    >>> error.result()
    0.25
    """

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.abs(_difference(y_true, y_pred))


class MeanAbsolutePercentageError(_Error):
    """The mean of 100 · |y_true - y_pred| / max(|y_true|, 1e-7) over all samples.

    >>> error = MeanAbsolutePercentageError()
    >>> error.update_state([[2.0, 1.0]], [[1.0, 1.0]])
    >>> error.result()
    25.0
    """

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _percentages(y_true, y_pred)


class MeanSquaredLogarithmicError(_Error):
    """The mean of (log(1 + y_true) - log(1 + y_pred))² over all samples; numbers below 1e-7 are taken for that.

    >>> error = MeanSquaredLogarithmicError()
    >>> error.update_state([[0.0, 0.0]], [[0.0, 1.0]])
    >>> round(error.result(), 4)
    0.2402
    """

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _logarithmic_squares(y_true, y_pred)


_AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


class R2Score(Metric):
    """The coefficient of determination, 1 - Σ (y_true - y_pred)² / Σ (y_true - mean)²: 1 is perfect, 0 is the mean.

    Args:
        class_aggregation: how the scores of several columns become one: ``"uniform_average"``,
            ``"variance_weighted_average"``, or None for an array of them all.
        num_regressors: of a model, for the adjusted score. (Keras takes outputs times samples for the number of samples.)

    Targets and predictions are (n,) or (n, outputs). A column of equal targets has the score 1.0 if it is met, else
    0.0, as in scikit-learn. NaN before the first update. Deviations from the mean are merged batch by batch (Chan,
    Golub and LeVeque 1979), so that targets far from 0 lose no digits.

    >>> score = R2Score()
    >>> score.update_state([[1], [4], [3]], [[2], [4], [4]])
    >>> round(score.result(), 4)
    0.5714
    """

    direction = "up"
    state = ("count", "samples", "mean", "deviations", "residuals")

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation not in _AGGREGATIONS:
            raise ShapeError(
                f"class_aggregation is {class_aggregation!r}; give one of {', '.join(map(repr, _AGGREGATIONS))}{here()}"
            )
        if num_regressors < 0:
            raise ShapeError(f"num_regressors is {num_regressors}; give 0 or more{here()}")
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.reset_state()

    def reset_state(self) -> None:
        self.samples = 0
        self.count = np.zeros(0)  # the weight seen, of each column
        self.mean, self.deviations, self.residuals = np.zeros(0), np.zeros(0), np.zeros(0)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = aligned(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))
        if y_true.ndim == 1:
            y_true, y_pred = y_true[:, None], y_pred[:, None]
        if y_true.ndim != 2:
            raise ShapeError(f"y_pred has the shape {y_pred.shape}; R2Score needs (n,) or (n, outputs){here()}")
        columns = y_true.shape[1]
        if not self.samples:
            self.count = np.zeros(columns)
            self.mean, self.deviations, self.residuals = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        elif len(self.count) != columns:
            raise ShapeError(
                f"y_pred has {columns} outputs, and {len(self.count)} in the batches before it; call reset_state() in "
                f"between{here()}"
            )
        y_true, y_pred = y_true.astype(np.float64), y_pred.astype(np.float64)
        weights = np.ones(y_true.shape) if sample_weight is None else spread(sample_weight, y_true.shape)
        if sample_weight is not None:  # 0 · NaN would be NaN
            y_true, y_pred = np.where(weights > 0, y_true, 0.0), np.where(weights > 0, y_pred, 0.0)
        seen = weights.sum(axis=0)
        total = self.count + seen
        safe = np.where(total > 0, total, 1.0)
        own = np.where(seen > 0, (weights * y_true).sum(axis=0) / np.where(seen > 0, seen, 1.0), 0.0)
        apart = own - self.mean
        self.deviations = self.deviations + (weights * (y_true - own) ** 2).sum(axis=0)
        self.deviations += apart**2 * self.count * seen / safe
        self.mean = self.mean + apart * seen / safe
        self.residuals = self.residuals + (weights * (y_true - y_pred) ** 2).sum(axis=0)
        self.count = total
        self.samples += len(y_true)

    def result(self) -> Any:
        if not self.count.any():
            return math.nan
        equal = self.deviations == 0
        scores = 1 - self.residuals / np.where(equal, 1.0, self.deviations)
        scores = np.where(equal, np.where(self.residuals == 0, 1.0, 0.0), scores)
        result: Any = scores
        if self.class_aggregation == "uniform_average" or (
            self.class_aggregation == "variance_weighted_average" and not self.deviations.any()
        ):
            result = float(scores.mean())
        elif self.class_aggregation == "variance_weighted_average":
            result = float((scores * self.deviations).sum() / self.deviations.sum())
        return self._adjusted(result) if self.num_regressors else result

    def _adjusted(self, score: Any) -> Any:
        left = self.samples - self.num_regressors - 1
        if left < 1:
            warn(
                f"the adjusted R² of {self.num_regressors} regressors needs more than {self.num_regressors + 1} samples, "
                f"and there are {self.samples}: this is the plain R²"
            )
            return score
        return 1 - (1 - score) * (self.samples - 1) / left
