"""Losses by their names, and written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine import here
from ...errors import ShapeError
from ...nn import Module
from ..activations import as_tensor
from ..lookup import describe, find
from ..naming import snake_case
from .crossentropy import BinaryCrossentropy, CategoricalCrossentropy, KLDivergence, SparseCategoricalCrossentropy
from .loss import Loss, LossFunctionWrapper
from .margins import CategoricalHinge, Hinge, SquaredHinge
from .regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
)

__all__ = ["deserialize", "get", "serialize"]


_CLASSES = (
    BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy, MeanSquaredError, MeanAbsoluteError,
    MeanAbsolutePercentageError, MeanSquaredLogarithmicError, Huber, LogCosh, CosineSimilarity, Poisson, KLDivergence,
    Hinge, SquaredHinge, CategoricalHinge,
)  # fmt: skip
_TABLE: Mapping[str, Any] = {
    **{one.function.__name__: one for one in _CLASSES},
    **{one.__name__: one for one in _CLASSES},
    "mse": MeanSquaredError, "MSE": MeanSquaredError, "mae": MeanAbsoluteError, "MAE": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError, "MAPE": MeanAbsolutePercentageError, "msle": MeanSquaredLogarithmicError,
    "MSLE": MeanSquaredLogarithmicError, "bce": BinaryCrossentropy, "BCE": BinaryCrossentropy, "kld": KLDivergence,
    "KLD": KLDivergence, "kl_div": KLDivergence, "logcosh": LogCosh, "huber_loss": Huber,
}  # fmt: skip
_OF_FUNCTION = {id(one.function): one for one in _CLASSES}


def get(identifier: Any) -> Any:
    """The loss of a name, of what `serialize` gave, or of a function ``(y_true, y_pred)``; a `Loss` stays as it is.

    Unlike Keras's, it always returns a `Loss`, for ``"mse"`` too, which gives one number.

    >>> from autograd_ff.keras import losses
    >>> losses.get("mse").name
    'mean_squared_error'
    >>> losses.get("sparse_categorical_crossentropi")
    Traceback (most recent call last):
    autograd_ff.errors.ShapeError: there is no loss 'sparse_categorical_crossentropi'; did you mean ...
    """
    return _as_loss(find(identifier, _TABLE, "loss"))


def _as_loss(found: Any) -> Any:
    if found is None or isinstance(found, Loss):
        return found
    if id(found) in _OF_FUNCTION:
        return _OF_FUNCTION[id(found)]()
    if isinstance(found, Module):
        return _Module(found)
    return LossFunctionWrapper(found)


class _Module(Loss):
    """A loss of `nn`, which takes the prediction first and makes one number itself."""

    def __init__(self, module: Any) -> None:
        super().__init__(snake_case(type(module).__name__), getattr(module, "reduction", "mean"))
        self.module = module

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        return self.module(as_tensor(y_pred), as_tensor(y_true))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        before = self.module.reduction
        self.module.reduction = "none"
        try:
            values = self.mean(y_true, y_pred)
        finally:
            self.module.reduction = before
        return values.mean(-1) if values.ndim > 1 else values

    def get_config(self) -> dict[str, Any]:
        raise ShapeError(
            f"nn.{type(self.module).__name__} cannot be written down.{here()}\n  Take the loss of keras.losses."
        )


def serialize(loss: Any) -> Any:
    """A loss as its name and arguments.

    >>> from autograd_ff.keras import losses
    >>> losses.serialize(losses.Huber(delta=2.0))["config"]["delta"]
    2.0
    """
    if isinstance(loss, LossFunctionWrapper):
        return describe(loss.fn)
    return describe(loss)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The loss that `serialize` wrote down.

    >>> from autograd_ff.keras import losses
    >>> losses.deserialize({"class_name": "Huber", "config": {"delta": 2.0}}).delta
    2.0
    """
    return _as_loss(find(config, _TABLE, "loss", custom_objects))
