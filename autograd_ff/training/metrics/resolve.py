"""A metric from what a user names it by: a string, a class, an object, a function."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from ...engine import here
from ...errors import DtypeError, ShapeError
from ..loss_kind import is_binary, takes_logits
from . import accuracy, confusion, crossentropy, f_score, mean, ranking, regression, top_k
from .by_shape import AccuracyByShape
from .metric import Metric, snake_case

__all__ = ["resolve"]

_CLASSES: tuple[type[Metric], ...] = (
    mean.Mean, mean.Sum, accuracy.BinaryAccuracy, accuracy.CategoricalAccuracy, accuracy.SparseCategoricalAccuracy,
    top_k.TopKCategoricalAccuracy, top_k.SparseTopKCategoricalAccuracy, confusion.Precision, confusion.Recall,
    confusion.TruePositives, confusion.FalsePositives, confusion.TrueNegatives, confusion.FalseNegatives,
    f_score.F1Score, f_score.FBetaScore, ranking.AUC, regression.MeanSquaredError, regression.RootMeanSquaredError,
    regression.MeanAbsoluteError, regression.MeanAbsolutePercentageError, regression.MeanSquaredLogarithmicError,
    regression.R2Score, crossentropy.BinaryCrossentropy, crossentropy.CategoricalCrossentropy,
    crossentropy.SparseCategoricalCrossentropy,
)  # fmt: skip
_NAMES: dict[str, type[Metric]] = {snake_case(one.__name__): one for one in _CLASSES}
_ALIASES = {
    "mse": "mean_squared_error", "rmse": "root_mean_squared_error", "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error", "msle": "mean_squared_logarithmic_error", "bce": "binary_crossentropy",
    "r2": "r2_score", "f1": "f1_score", "top_k_accuracy": "top_k_categorical_accuracy",
}  # fmt: skip
# By any spelling: "AUC", "auc", "MeanSquaredError", "mean_squared_error", "MSE".
_SPELLINGS = {name.replace("_", ""): name for name in _NAMES}
_SPELLINGS |= {alias.replace("_", ""): name for alias, name in _ALIASES.items()}

_FUNCTIONS: dict[Callable[..., Any], type[Metric]] = {
    accuracy.binary_accuracy: accuracy.BinaryAccuracy,
    accuracy.categorical_accuracy: accuracy.CategoricalAccuracy,
    accuracy.sparse_categorical_accuracy: accuracy.SparseCategoricalAccuracy,
    top_k.top_k_categorical_accuracy: top_k.TopKCategoricalAccuracy,
    top_k.sparse_top_k_categorical_accuracy: top_k.SparseTopKCategoricalAccuracy,
    regression.mean_squared_error: regression.MeanSquaredError,
    regression.mean_absolute_error: regression.MeanAbsoluteError,
    regression.mean_absolute_percentage_error: regression.MeanAbsolutePercentageError,
    regression.mean_squared_logarithmic_error: regression.MeanSquaredLogarithmicError,
    crossentropy.binary_crossentropy: crossentropy.BinaryCrossentropy,
    crossentropy.categorical_crossentropy: crossentropy.CategoricalCrossentropy,
    crossentropy.sparse_categorical_crossentropy: crossentropy.SparseCategoricalCrossentropy,
}


def resolve(metric: Any, loss: Any = None) -> Metric:
    """The metric that a name, a class, an object or a function stands for.

    Args:
        metric: a name (Keras's, in any spelling: ``"accuracy"``, ``"acc"``, ``"mse"``, ``"MeanSquaredError"``,
            ``"AUC"``, ``"precision"``, …), a class of metrics, a metric, or a function ``(y_true, y_pred)`` that returns
            values per sample or a number, which are averaged.
        loss: what the model is trained on. Where it takes logits, named metrics take them, too: the threshold of two
            classes is 0 instead of 0.5. (In Keras it stays 0.5.)

    ``"accuracy"`` becomes the sparse, the categorical or the binary form at the first batch, by its shapes.

    Raises:
        ShapeError: an unknown name; the message lists what is near.
        DtypeError: something that is no metric.

    >>> import autograd_ff as af
    >>> metric = resolve("accuracy", af.nn.CrossEntropyLoss())
    >>> metric.update_state(af.tensor([0, 2]), af.tensor([[2.0, 0.0, 0.0], [0.0, 5.0, 1.0]]))
    >>> metric.name, metric.result()
    ('accuracy', 0.5)
    >>> resolve("mse")
    MeanSquaredError(name='mse')
    """
    if isinstance(metric, str):
        return _named(metric, loss)
    if isinstance(metric, type) and issubclass(metric, Metric):
        return metric()
    if isinstance(metric, Metric) or all(hasattr(metric, one) for one in ("update_state", "result", "reset_state")):
        built: Metric = metric() if isinstance(metric, type) else metric
        return built
    if callable(metric) and not isinstance(metric, type):
        try:
            known = _FUNCTIONS.get(metric)
        except TypeError:  # unhashable
            known = None
        return mean.MeanMetricWrapper(metric) if known is None else known()
    raise DtypeError(
        f"{metric!r} is no metric; give a name ('accuracy'), a Metric, or a function (y_true, y_pred){here()}"
    )


def _named(name: str, loss: Any) -> Metric:
    spelling = name.strip().lower().replace("_", "").replace(" ", "")
    if spelling in ("accuracy", "acc"):
        return AccuracyByShape(name, loss)
    if spelling not in _SPELLINGS:
        known = ["accuracy", "acc", *_NAMES, *_ALIASES]
        near = difflib.get_close_matches(snake_case(name.strip()), known, n=3, cutoff=0.5)
        near += difflib.get_close_matches(name.strip().lower(), [one for one in known if one not in near], n=2)
        way = f"did you mean {' or '.join(map(repr, near))}? All names" if near else "the names"
        raise ShapeError(f"there is no metric {name!r}; {way}: {', '.join(sorted(known))}{here()}")
    kind = _NAMES[_SPELLINGS[spelling]]
    options: dict[str, Any] = {}
    if kind is f_score.F1Score or kind is f_score.FBetaScore:
        options["average"] = "macro"  # a training logs numbers
    if takes_logits(loss):
        binary = is_binary(loss)
        if binary and kind is accuracy.BinaryAccuracy:
            options["threshold"] = 0.0
        elif binary and issubclass(kind, confusion.Counts):
            options["thresholds"] = 0.0
        elif kind in (
            crossentropy.BinaryCrossentropy, crossentropy.CategoricalCrossentropy,
            crossentropy.SparseCategoricalCrossentropy,
        ):  # fmt: skip
            options["from_logits"] = True
    return kind(name=name, **options)
