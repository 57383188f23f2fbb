"""Losses of margins: the right class is to be ahead of the others, by 1."""

from __future__ import annotations

from typing import Any

from ...engine import no_grad
from ...functions.tensor import Tensor
from ...nn import functional as F
from .loss import NamedLoss, check_equal, pair

__all__ = ["CategoricalHinge", "Hinge", "SquaredHinge", "categorical_hinge", "hinge", "squared_hinge"]


def _signs(truth: Any) -> Any:
    """Labels 0 and 1 as -1 and 1; others as they are."""
    with no_grad():
        zeros_and_ones = ((truth == 0) | (truth == 1)).all()
        return (truth * 2 - 1).where(zeros_and_ones, truth)


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of max(1 - y_true y_pred, 0), for labels -1 and 1 (0 counts as -1).

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.hinge(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 0.5]])).tolist()
    [1.0]
    """
    truth, scores = pair(y_true, y_pred)
    check_equal("hinge", truth, scores)
    return F.relu(1 - _signs(truth) * scores).mean(-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of max(1 - y_true y_pred, 0)².

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.squared_hinge(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 0.5]])).tolist()
    [1.25]
    """
    truth, scores = pair(y_true, y_pred)
    check_equal("squared_hinge", truth, scores)
    return F.relu(1 - _signs(truth) * scores).square().mean(-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """max(1 + the largest score of a wrong class - the score of the right one, 0), for one-hot rows.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.categorical_hinge(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 1.0]])).tolist()
    [0.5]
    """
    truth, scores = pair(y_true, y_pred)
    check_equal("categorical_hinge", truth, scores)
    right, wrong = (truth * scores).sum(-1), ((1 - truth) * scores).amax(-1)
    return F.relu(wrong - right + 1)


class Hinge(NamedLoss):
    """max(1 - y_true y_pred, 0); see `hinge`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.Hinge()(af.tensor([[1.0]]), af.tensor([[0.5]])).item()
    0.5
    """

    function = hinge


class SquaredHinge(NamedLoss):
    """max(1 - y_true y_pred, 0)²; see `squared_hinge`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.SquaredHinge()(af.tensor([[1.0]]), af.tensor([[0.5]])).item()
    0.25
    """

    function = squared_hinge


class CategoricalHinge(NamedLoss):
    """The margin between the right class and the best wrong one; see `categorical_hinge`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.CategoricalHinge()(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 1.0]])).item()
    0.5
    """

    function = categorical_hinge
