"""Losses of numbers: errors, counts, angles."""

from __future__ import annotations

import math
from typing import Any

from ...functions.tensor import Tensor
from ...nn import functional as F
from .loss import EPSILON, NamedLoss, check_equal, pair

__all__ = [
    "CosineSimilarity", "Huber", "LogCosh", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "Poisson", "cosine_similarity", "huber", "log_cosh", "mean_absolute_error",
    "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error", "poisson",
]  # fmt: skip


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of (y_true - y_pred)².

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.mean_squared_error(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).tolist()
    [2.0]
    """
    truth, scores = pair(y_true, y_pred)
    return F.mse_loss(scores, truth, reduction="none").mean(-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of |y_true - y_pred|.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.mean_absolute_error(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).tolist()
    [1.0]
    """
    truth, scores = pair(y_true, y_pred)
    return F.l1_loss(scores, truth, reduction="none").mean(-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """100 times the mean over the last axis of |y_true - y_pred| / |y_true|.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.mean_absolute_percentage_error(af.tensor([[2.0, 4.0]]), af.tensor([[1.0, 4.0]])).tolist()
    [25.0]
    """
    truth, scores = pair(y_true, y_pred)
    return (F.l1_loss(scores, truth, reduction="none") / truth.abs().clamp(min=EPSILON)).mean(-1) * 100


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of (log(y_true + 1) - log(y_pred + 1))²; below 0 counts as 0.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> round(losses.mean_squared_logarithmic_error(af.tensor([[1.0]]), af.tensor([[3.0]])).item(), 4)
    0.4805
    """
    truth, scores = pair(y_true, y_pred)
    logs = [(one.clamp(min=EPSILON) + 1).log() for one in (scores, truth)]
    return F.mse_loss(logs[0], logs[1], reduction="none").mean(-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """The mean over the last axis of d² / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = y_true - y_pred.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.huber(af.tensor([[0.0]]), af.tensor([[3.0]])).tolist()
    [2.5]
    """
    truth, scores = pair(y_true, y_pred)
    return F.huber_loss(scores, truth, reduction="none", delta=delta).mean(-1)


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of log(cosh(y_pred - y_true)): a parabola for small errors, straight for large ones.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> round(losses.log_cosh(af.tensor([[0.0]]), af.tensor([[100.0]])).item(), 3)
    99.307
    """
    truth, scores = pair(y_true, y_pred)
    check_equal("log_cosh", truth, scores)
    error = scores - truth
    return (error + F.softplus(error * -2.0, threshold=math.inf) - math.log(2.0)).mean(-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Less the cosine of the angle between y_true and y_pred along an axis: -1 where they point the same way.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.cosine_similarity(af.tensor([[0.0, 2.0]]), af.tensor([[0.0, 3.0]])).tolist()
    [-1.0]
    """
    truth, scores = pair(y_true, y_pred)
    check_equal("cosine_similarity", truth, scores)
    sides = [one / (one * one).sum(axis, keepdim=True).clamp(min=EPSILON).sqrt() for one in (truth, scores)]
    return -(sides[0] * sides[1]).sum(axis)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of y_pred - y_true log(y_pred): counts, with y_pred as their expectation.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.poisson(af.tensor([[0.0, 2.0]]), af.tensor([[1.0, 1.0]])).tolist()[0] > 0.999
    True
    """
    truth, scores = pair(y_true, y_pred)
    check_equal("poisson", truth, scores)
    return (scores - truth * (scores + EPSILON).log()).mean(-1)


class MeanSquaredError(NamedLoss):
    """(y_true - y_pred)²; see `mean_squared_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanSquaredError()(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).item()
    2.0
    """

    function = mean_squared_error

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        truth, scores = pair(y_true, y_pred)
        return F.mse_loss(scores, truth)


class MeanAbsoluteError(NamedLoss):
    """|y_true - y_pred|; see `mean_absolute_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanAbsoluteError()(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).item()
    1.0
    """

    function = mean_absolute_error

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        truth, scores = pair(y_true, y_pred)
        return F.l1_loss(scores, truth)


class MeanAbsolutePercentageError(NamedLoss):
    """100 |y_true - y_pred| / |y_true|; see `mean_absolute_percentage_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanAbsolutePercentageError()(af.tensor([[2.0]]), af.tensor([[1.0]])).item()
    50.0
    """

    function = mean_absolute_percentage_error


class MeanSquaredLogarithmicError(NamedLoss):
    """(log(y_true + 1) - log(y_pred + 1))²; see `mean_squared_logarithmic_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanSquaredLogarithmicError()(af.tensor([[1.0]]), af.tensor([[1.0]])).item()
    0.0
    """

    function = mean_squared_logarithmic_error


class Huber(NamedLoss):
    """A parabola within delta of the truth, straight beyond; see `huber`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.Huber(delta=2.0)(af.tensor([[0.0]]), af.tensor([[3.0]])).item()
    4.0
    """

    function = huber
    option_names = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.delta = delta


class LogCosh(NamedLoss):
    """log(cosh(y_pred - y_true)); see `log_cosh`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.LogCosh()(af.tensor([[1.0]]), af.tensor([[1.0]])).item()
    0.0
    """

    function = log_cosh


class CosineSimilarity(NamedLoss):
    """Less the cosine of the angle between the truth and the prediction; see `cosine_similarity`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.CosineSimilarity()(af.tensor([[0.0, 2.0]]), af.tensor([[3.0, 0.0]])).item() == 0
    True
    """

    function = cosine_similarity
    option_names = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = axis


class Poisson(NamedLoss):
    """y_pred - y_true log(y_pred); see `poisson`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.Poisson()(af.tensor([[0.0]]), af.tensor([[2.0]])).item()
    2.0
    """

    function = poisson
