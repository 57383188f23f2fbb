"""Losses of classes and distributions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...engine import condition, here
from ...errors import DtypeError, ShapeError
from ...functions.pointwise import maximum
from ...functions.tensor import Tensor
from ...nn import functional as F
from ..activations import as_tensor
from .loss import EPSILON, Loss, NamedLoss, pair

__all__ = [
    "BinaryCrossentropy", "CategoricalCrossentropy", "KLDivergence", "SparseCategoricalCrossentropy",
    "binary_crossentropy", "categorical_crossentropy", "kl_divergence", "sparse_categorical_crossentropy",
]  # fmt: skip


def _clipped(probabilities: Any) -> Any:
    return probabilities.clamp(EPSILON, 1 - EPSILON)


def _last(values: Any, axis: int) -> Any:
    return values if axis in (-1, values.ndim - 1) else values.movedim(axis, -1)


def _rows(scores: Any, from_logits: bool) -> Any:
    """(n, classes): logits, or the logarithms of probabilities that sum to 1."""
    rows = scores if scores.ndim == 2 else scores.reshape(-1, scores.shape[-1])
    return rows if from_logits else _clipped(rows / rows.sum(-1, keepdim=True)).log()


def _smoothed(truth: Any, smoothing: float, classes: int) -> Any:
    if not 0 <= smoothing <= 1:
        raise ShapeError(f"label_smoothing lies between 0 and 1, got {smoothing}.{here()}")
    return truth * (1 - smoothing) + smoothing / classes if smoothing else truth


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """The sum over the last axis of y_true log(y_true / y_pred): the Kullback-Leibler divergence of distributions.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.kl_divergence(af.tensor([[0.5, 0.5]]), af.tensor([[0.5, 0.5]])).tolist()
    [0.0]
    """
    truth, scores = (one.clamp(EPSILON, 1.0) for one in pair(y_true, y_pred))
    return F.kl_div(scores.log(), truth, reduction="none").sum(-1)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """The mean over an axis of -(y_true log(p) + (1 - y_true) log(1 - p)).

    Args:
        y_true: 0 or 1, or probabilities.
        y_pred: probabilities, kept 1e-7 from 0 and 1; or logits.
        from_logits: whether y_pred are logits, whose sigmoid the probabilities are.
        label_smoothing: how far each label is moved towards 1/2.
        axis: over which the mean is taken.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.binary_crossentropy(af.tensor([[1.0]]), af.tensor([[0.5]]))
    tensor([0.6931])
    """
    truth, scores = pair(y_true, y_pred)
    return _binary(truth, scores, from_logits, label_smoothing, "none").mean(axis)


def _binary(truth: Any, scores: Any, from_logits: bool, smoothing: float, reduction: str) -> Any:
    truth = _smoothed(truth, smoothing, 2)
    if from_logits:
        return F.binary_cross_entropy_with_logits(scores, truth, reduction=reduction)
    return F.binary_cross_entropy(_clipped(scores), truth, reduction=reduction)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """The sum over the classes of -y_true log(p), for one-hot rows or distributions.

    Args:
        y_true: of the shape of y_pred.
        y_pred: probabilities, which are divided by their sum and kept 1e-7 from 0 and 1; or logits.
        from_logits: whether y_pred are logits, whose softmax the probabilities are.
        label_smoothing: how much of each row is spread over all classes.
        axis: that of the classes.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.categorical_crossentropy(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 0.5]]))
    tensor([0.6931])
    """
    truth, scores = pair(y_true, y_pred)
    shape = _last(scores, axis).shape[:-1]
    return _categorical(truth, scores, from_logits, label_smoothing, axis, "none").reshape(*shape)


def _categorical(truth: Any, scores: Any, from_logits: bool, smoothing: float, axis: int, reduction: str) -> Any:
    if tuple(truth.shape) != tuple(scores.shape):
        hint = ""
        if truth.ndim < scores.ndim or truth.shape[-1] == 1:
            hint = (
                "\n  For class numbers take sparse_categorical_crossentropy, or keras.utils.to_categorical(y, classes)."
            )
        raise ShapeError(
            f"categorical_crossentropy takes one-hot rows of the shape of y_pred {tuple(scores.shape)}, and y_true has "
            f"{tuple(truth.shape)}.{here()}{hint}"
        )
    truth, scores = _last(truth, axis), _last(scores, axis)
    truth = _smoothed(truth.reshape(-1, truth.shape[-1]), smoothing, scores.shape[-1])
    rows = _rows(scores, from_logits)
    if from_logits:
        return F.cross_entropy(rows, truth, reduction=reduction)
    values = -(truth * rows).sum(-1)
    return values if reduction == "none" else values.mean()


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """-log(p) of the true class.

    Args:
        y_true: class numbers, of the shape of y_pred without its classes, or with one side of 1 in their place.
        y_pred: probabilities, which are divided by their sum and kept 1e-7 from 0 and 1; or logits.
        from_logits: whether y_pred are logits, whose softmax the probabilities are.
        ignore_class: samples of this class count nowhere.
        axis: that of the classes.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.sparse_categorical_crossentropy(af.tensor([1]), af.tensor([[0.5, 0.5]]))
    tensor([0.6931])
    """
    classes, scores = _classes(y_true, y_pred, axis)
    return _sparse(classes, scores, from_logits, ignore_class, "none").reshape(*classes.shape)


def _classes(y_true: Any, y_pred: Any, axis: int) -> tuple[Any, Any]:
    """Class numbers of the shape of the scores without the classes, and the scores with the classes last."""
    scores = _last(as_tensor(y_pred), axis)
    classes = as_tensor(y_true)
    given, wanted = tuple(classes.shape), tuple(scores.shape[:-1])
    if len(given) == scores.ndim and given[axis] == 1:
        classes = classes.squeeze(axis)
    if tuple(classes.shape) != wanted:
        hint = ""
        if given == tuple(as_tensor(y_pred).shape):
            hint = "\n  For one-hot rows take categorical_crossentropy, or class numbers: y.argmax(-1)."
        raise ShapeError(
            f"sparse_categorical_crossentropy takes class numbers of shape {wanted} for a y_pred of shape "
            f"{tuple(as_tensor(y_pred).shape)}, and y_true has {given}.{here()}{hint}"
        )
    if classes.array.dtype.kind == "f" and not condition(_whole, classes.array):
        odd = classes.array[classes.array != np.floor(classes.array)]
        raise DtypeError(
            f"sparse_categorical_crossentropy takes class numbers, and among them is {odd.flat[0]}.{here()}\n"
            "  Class numbers are whole; for a target that is any number take a loss of regression, such as 'mse'."
        )
    return (classes if classes.array.dtype == np.int64 else classes.long()), scores


def _whole(array: np.ndarray) -> bool:
    return bool((array == np.floor(array)).all())


def _sparse(classes: Any, scores: Any, from_logits: bool, ignored: int | None, reduction: str) -> Any:
    rows, numbers = _rows(scores, from_logits), classes if classes.ndim == 1 else classes.reshape(-1)
    ignore_index = -100 if ignored is None else ignored
    if from_logits:
        return F.cross_entropy(rows, numbers, ignore_index=ignore_index, reduction=reduction)
    return F.nll_loss(rows, numbers, ignore_index=ignore_index, reduction=reduction)


class KLDivergence(NamedLoss):
    """The Kullback-Leibler divergence of distributions; see `kl_divergence`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.KLDivergence()(af.tensor([[0.5, 0.5]]), af.tensor([[0.5, 0.5]])).item()
    0.0
    """

    function = kl_divergence

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "kl_divergence", dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)


class _CrossEntropy(NamedLoss):
    activation: ClassVar[str]
    from_logits: bool

    def with_logits(self, activation: str) -> Loss | None:
        if self.from_logits or activation != self.activation or getattr(self, "axis", -1) != -1:
            return None
        return type(self).from_config({**self.get_config(), "from_logits": True})


class BinaryCrossentropy(_CrossEntropy):
    """The cross-entropy of labels 0 and 1; see `binary_crossentropy` for the arguments.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.BinaryCrossentropy(from_logits=True)(af.tensor([[1.0]]), af.tensor([[0.0]]))
    tensor(0.6931)
    """

    function = binary_crossentropy
    activation = "sigmoid"
    option_names = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        truth, scores = pair(y_true, y_pred)
        return _binary(truth, scores, self.from_logits, self.label_smoothing, "mean")


class CategoricalCrossentropy(_CrossEntropy):
    """The cross-entropy of one-hot rows or distributions; see `categorical_crossentropy` for the arguments.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.CategoricalCrossentropy(from_logits=True)(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 0.0]]))
    tensor(0.6931)
    """

    function = categorical_crossentropy
    activation = "softmax"
    option_names = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        truth, scores = pair(y_true, y_pred)
        return _categorical(truth, scores, self.from_logits, self.label_smoothing, self.axis, "mean")


class SparseCategoricalCrossentropy(_CrossEntropy):
    """The cross-entropy of class numbers; see `sparse_categorical_crossentropy` for the arguments.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.SparseCategoricalCrossentropy(from_logits=True)(af.tensor([1]), af.tensor([[0.0, 0.0]]))
    tensor(0.6931)
    """

    function = sparse_categorical_crossentropy
    activation = "softmax"
    option_names = ("from_logits", "ignore_class", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        classes, scores = _classes(y_true, y_pred, self.axis)
        return _sparse(classes, scores, self.from_logits, self.ignore_class, "mean")

    def counted(self, y_true: Any) -> Any:
        if self.ignore_class is None:
            return None
        truth = as_tensor(y_true)
        return maximum((truth != self.ignore_class).sum(), 1)
