"""Losses with Keras's names, arguments and reductions, computed by `autograd_ff.nn.functional`.

A loss is called ``loss(y_true, y_pred, sample_weight=None)``, the truth first, and gives one number; its `Loss.call`, and
the functions in small letters, give one for each sample: the mean over the last axis. Reductions:

- ``"sum_over_batch_size"`` (the default; also ``"mean"``): the sum over all samples, over their number, whatever their
  weights are;
- ``"mean_with_sample_weight"``: over the sum of their weights;
- ``"sum"``, and ``"none"`` for one loss a sample.

Where Keras broadcasts a truth and a prediction of unequal shapes, these raise: (32,) against (32, 10) would train on wrong
pairs. A last side of 1 that one of the two lacks is the exception, as in Keras.

For a model that ends in a softmax or a sigmoid: `Loss.with_logits` gives the same loss of what comes before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..engine import here, no_grad, scope
from ..errors import ShapeError
from ..functions.creation import ones_like
from ..functions.pointwise import maximum
from ..functions.tensor import Tensor
from ..nn import functional as F
from .activations import as_tensor
from .lookup import describe, find
from .naming import snake_case

__all__ = [
    "BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "CosineSimilarity", "Hinge", "Huber",
    "KLDivergence", "LogCosh", "Loss", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge", "binary_crossentropy",
    "categorical_crossentropy", "categorical_hinge", "cosine_similarity", "deserialize", "get", "hinge", "huber",
    "kl_divergence", "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "poisson", "serialize", "sparse_categorical_crossentropy", "squared_hinge",
]  # fmt: skip

EPSILON = 1e-7  # how far Keras keeps probabilities from 0 and 1
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


# ---------------------------------------------------------------- what they share


def _pair(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Both as Tensors of the prediction's dtype, with as many dimensions where a last side of 1 is all that differs."""
    truth, scores = as_tensor(y_true), as_tensor(y_pred)
    dtype = scores.array.dtype
    if dtype.kind == "f" and truth.array.dtype != dtype:
        truth = truth.to(dtype)
    return _same_rank(truth, scores)


def _same_rank(first: Any, second: Any) -> tuple[Any, Any]:
    if first.ndim == second.ndim + 1 and first.shape[-1] == 1:
        return (first, second.unsqueeze(-1)) if second.ndim == 1 else (first.squeeze(-1), second)
    if second.ndim == first.ndim + 1 and second.shape[-1] == 1:
        return (first.unsqueeze(-1), second) if first.ndim == 1 else (first, second.squeeze(-1))
    return first, second


def _check_equal(name: str, truth: Any, scores: Any) -> None:
    if tuple(truth.shape) != tuple(scores.shape):
        raise ShapeError(
            f"{name} compares element by element, and y_true {tuple(truth.shape)} and y_pred {tuple(scores.shape)} differ "
            f"in shape.{here()}"
        )


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


class Loss:
    """The base of all losses: a subclass defines `call`, the loss of each sample.

    Args:
        name: of the loss; by default that of its class.
        reduction: how one number is made of the samples' losses; see `autograd_ff.keras.losses`.
        dtype: accepted as Keras does; the dtype is that of the predictions.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> class Largest(losses.Loss):
    ...     def call(self, y_true, y_pred):
    ...         return (y_true - y_pred).abs().amax(-1)
    >>> Largest()(af.tensor([[0.0, 1.0], [2.0, 2.0]]), af.tensor([[0.0, 0.0], [2.0, 5.0]])).item()
    2.0
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ShapeError(
                f"reduction is one of {', '.join(repr(one) for one in REDUCTIONS)}, not {reduction!r}.{here()}"
            )
        self.name = snake_case(type(self).__name__) if name is None else name
        self.reduction = reduction
        self.dtype = dtype

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample. A subclass writes it."""
        raise NotImplementedError(f"{type(self).__name__} does not define call()")

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        """The mean of the samples' losses without weights; subclasses have shorter ways to it."""
        return self._reduced(self.call(y_true, y_pred), None)

    def counted(self, y_true: Any) -> Any:
        """The number of samples that count, where that is not all of them; None where it is."""
        return None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of predictions.

        Args:
            y_true: the truth.
            y_pred: the predictions.
            sample_weight: what each sample counts.
        """
        with scope("composite", self.name, self.name):
            if sample_weight is None and self.reduction in REDUCTIONS[:3]:
                return self.mean(y_true, y_pred)
            return self._reduced(self.call(y_true, y_pred), sample_weight, self.counted(y_true))

    def _reduced(self, values: Any, sample_weight: Any, counted: Any = None) -> Any:
        weights = None
        if sample_weight is not None:
            values, weights = _same_rank(values, as_tensor(sample_weight).to(values.array.dtype))
            if weights.ndim < values.ndim:  # one for each sample, which has several losses
                weights = weights.reshape(*weights.shape, *(1,) * (values.ndim - weights.ndim))
            try:
                fits = np.broadcast_shapes(weights.shape, values.shape) == tuple(values.shape)
            except ValueError:
                fits = False
            if not fits:
                raise ShapeError(
                    f"the sample weights {tuple(weights.shape)} do not fit the losses {tuple(values.shape)}.{here()}"
                )
            values = values * weights
        if self.reduction in ("none", None):
            return values
        if self.reduction == "sum":
            return values.sum()
        if weights is not None and self.reduction == "mean_with_sample_weight":
            return values.sum() / (ones_like(values) * weights).sum()
        return values.mean() if counted is None else values.sum() / counted

    def with_logits(self, activation: str) -> Loss | None:
        """This loss of what an activation is applied to, or None where it has no such form.

        For a model that ends in this activation, and a loss that takes probabilities. The result neither overflows nor
        loses small probabilities, and it skips the gradient through the activation.

        >>> from autograd_ff.keras import losses
        >>> losses.SparseCategoricalCrossentropy().with_logits("softmax").from_logits
        True
        >>> losses.MeanSquaredError().with_logits("softmax") is None
        True
        """
        return None

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal loss."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The loss whose `get_config` this is."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(f'{key}={value!r}' for key, value in self.get_config().items())}>"


class LossFunctionWrapper(Loss):
    """A function ``(y_true, y_pred) -> losses`` as a loss.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> loss = losses.get(lambda y_true, y_pred: (y_true - y_pred) ** 4)
    >>> loss(af.tensor([[1.0]]), af.tensor([[3.0]])).item()
    16.0
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        given = getattr(fn, "__name__", type(fn).__name__)
        super().__init__(("loss" if given == "<lambda>" else given) if name is None else name, reduction, dtype)
        self.fn = fn
        self.options = options

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(*_pair(y_true, y_pred), **self.options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": describe(self.fn), **self.options}


class _Named(Loss):
    """A loss whose samples' losses a function of this file computes."""

    function: ClassVar[Callable[..., Any]]
    option_names: ClassVar[tuple[str, ...]] = ()

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return type(self).function(y_true, y_pred, **self.options())

    def options(self) -> dict[str, Any]:
        """The arguments of the function, beside truth and prediction."""
        return {name: getattr(self, name) for name in self.option_names}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options()}


# ---------------------------------------------------------------- regression


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of (y_true - y_pred)².

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.mean_squared_error(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).tolist()
    [2.0]
    """
    truth, scores = _pair(y_true, y_pred)
    return F.mse_loss(scores, truth, reduction="none").mean(-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of |y_true - y_pred|.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.mean_absolute_error(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).tolist()
    [1.0]
    """
    truth, scores = _pair(y_true, y_pred)
    return F.l1_loss(scores, truth, reduction="none").mean(-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """100 times the mean over the last axis of |y_true - y_pred| / |y_true|.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.mean_absolute_percentage_error(af.tensor([[2.0, 4.0]]), af.tensor([[1.0, 4.0]])).tolist()
    [25.0]
    """
    truth, scores = _pair(y_true, y_pred)
    return (F.l1_loss(scores, truth, reduction="none") / truth.abs().clamp(min=EPSILON)).mean(-1) * 100


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of (log(y_true + 1) - log(y_pred + 1))²; below 0 counts as 0.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> round(losses.mean_squared_logarithmic_error(af.tensor([[1.0]]), af.tensor([[3.0]])).item(), 4)
    0.4805
    """
    truth, scores = _pair(y_true, y_pred)
    logs = [(one.clamp(min=EPSILON) + 1).log() for one in (scores, truth)]
    return F.mse_loss(logs[0], logs[1], reduction="none").mean(-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """The mean over the last axis of d² / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = y_true - y_pred.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.huber(af.tensor([[0.0]]), af.tensor([[3.0]])).tolist()
    [2.5]
    """
    truth, scores = _pair(y_true, y_pred)
    return F.huber_loss(scores, truth, reduction="none", delta=delta).mean(-1)


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of log(cosh(y_pred - y_true)): a parabola for small errors, straight for large ones.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> round(losses.log_cosh(af.tensor([[0.0]]), af.tensor([[100.0]])).item(), 3)
    99.307
    """
    truth, scores = _pair(y_true, y_pred)
    _check_equal("log_cosh", truth, scores)
    error = scores - truth
    return (error + F.softplus(error * -2.0, threshold=math.inf) - math.log(2.0)).mean(-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Less the cosine of the angle between y_true and y_pred along an axis: -1 where they point the same way.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.cosine_similarity(af.tensor([[0.0, 2.0]]), af.tensor([[0.0, 3.0]])).tolist()
    [-1.0]
    """
    truth, scores = _pair(y_true, y_pred)
    _check_equal("cosine_similarity", truth, scores)
    sides = [one / (one * one).sum(axis, keepdim=True).clamp(min=EPSILON).sqrt() for one in (truth, scores)]
    return -(sides[0] * sides[1]).sum(axis)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of y_pred - y_true log(y_pred): counts, with y_pred as their expectation.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.poisson(af.tensor([[0.0, 2.0]]), af.tensor([[1.0, 1.0]])).tolist()[0] > 0.999
    True
    """
    truth, scores = _pair(y_true, y_pred)
    _check_equal("poisson", truth, scores)
    return (scores - truth * (scores + EPSILON).log()).mean(-1)


# ---------------------------------------------------------------- distributions and classes


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """The sum over the last axis of y_true log(y_true / y_pred): the Kullback-Leibler divergence of distributions.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.kl_divergence(af.tensor([[0.5, 0.5]]), af.tensor([[0.5, 0.5]])).tolist()
    [0.0]
    """
    truth, scores = (one.clamp(EPSILON, 1.0) for one in _pair(y_true, y_pred))
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
    truth, scores = _pair(y_true, y_pred)
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
    truth, scores = _pair(y_true, y_pred)
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
    return (classes if classes.array.dtype == np.int64 else classes.long()), scores


def _sparse(classes: Any, scores: Any, from_logits: bool, ignored: int | None, reduction: str) -> Any:
    rows, numbers = _rows(scores, from_logits), classes if classes.ndim == 1 else classes.reshape(-1)
    ignore_index = -100 if ignored is None else ignored
    if from_logits:
        return F.cross_entropy(rows, numbers, ignore_index=ignore_index, reduction=reduction)
    return F.nll_loss(rows, numbers, ignore_index=ignore_index, reduction=reduction)


# ---------------------------------------------------------------- margins


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
    truth, scores = _pair(y_true, y_pred)
    _check_equal("hinge", truth, scores)
    return F.relu(1 - _signs(truth) * scores).mean(-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of max(1 - y_true y_pred, 0)².

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.squared_hinge(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 0.5]])).tolist()
    [1.25]
    """
    truth, scores = _pair(y_true, y_pred)
    _check_equal("squared_hinge", truth, scores)
    return F.relu(1 - _signs(truth) * scores).square().mean(-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """max(1 + the largest score of a wrong class - the score of the right one, 0), for one-hot rows.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.categorical_hinge(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 1.0]])).tolist()
    [0.5]
    """
    truth, scores = _pair(y_true, y_pred)
    _check_equal("categorical_hinge", truth, scores)
    right, wrong = (truth * scores).sum(-1), ((1 - truth) * scores).amax(-1)
    return F.relu(wrong - right + 1)


# ---------------------------------------------------------------- as classes


class MeanSquaredError(_Named):
    """(y_true - y_pred)²; see `mean_squared_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanSquaredError()(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).item()
    2.0
    """

    function = mean_squared_error

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        truth, scores = _pair(y_true, y_pred)
        return F.mse_loss(scores, truth)


class MeanAbsoluteError(_Named):
    """|y_true - y_pred|; see `mean_absolute_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanAbsoluteError()(af.tensor([[0.0, 1.0]]), af.tensor([[0.0, 3.0]])).item()
    1.0
    """

    function = mean_absolute_error

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        truth, scores = _pair(y_true, y_pred)
        return F.l1_loss(scores, truth)


class MeanAbsolutePercentageError(_Named):
    """100 |y_true - y_pred| / |y_true|; see `mean_absolute_percentage_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanAbsolutePercentageError()(af.tensor([[2.0]]), af.tensor([[1.0]])).item()
    50.0
    """

    function = mean_absolute_percentage_error


class MeanSquaredLogarithmicError(_Named):
    """(log(y_true + 1) - log(y_pred + 1))²; see `mean_squared_logarithmic_error`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.MeanSquaredLogarithmicError()(af.tensor([[1.0]]), af.tensor([[1.0]])).item()
    0.0
    """

    function = mean_squared_logarithmic_error


class Huber(_Named):
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


class LogCosh(_Named):
    """log(cosh(y_pred - y_true)); see `log_cosh`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.LogCosh()(af.tensor([[1.0]]), af.tensor([[1.0]])).item()
    0.0
    """

    function = log_cosh


class CosineSimilarity(_Named):
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


class Poisson(_Named):
    """y_pred - y_true log(y_pred); see `poisson`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.Poisson()(af.tensor([[0.0]]), af.tensor([[2.0]])).item()
    2.0
    """

    function = poisson


class KLDivergence(_Named):
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


class Hinge(_Named):
    """max(1 - y_true y_pred, 0); see `hinge`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.Hinge()(af.tensor([[1.0]]), af.tensor([[0.5]])).item()
    0.5
    """

    function = hinge


class SquaredHinge(_Named):
    """max(1 - y_true y_pred, 0)²; see `squared_hinge`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.SquaredHinge()(af.tensor([[1.0]]), af.tensor([[0.5]])).item()
    0.25
    """

    function = squared_hinge


class CategoricalHinge(_Named):
    """The margin between the right class and the best wrong one; see `categorical_hinge`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import losses
    >>> losses.CategoricalHinge()(af.tensor([[0.0, 1.0]]), af.tensor([[0.5, 1.0]])).item()
    0.5
    """

    function = categorical_hinge


class _CrossEntropy(_Named):
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
        truth, scores = _pair(y_true, y_pred)
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
        truth, scores = _pair(y_true, y_pred)
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


# ---------------------------------------------------------------- by name

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
    from ..nn import Module

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
