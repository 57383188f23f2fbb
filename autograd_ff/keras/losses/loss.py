"""`Loss`: the base of all losses, which makes one number of those of the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ...engine import TensorCore, here, scope
from ...errors import DtypeError, ShapeError
from ...functions.creation import ones_like
from ..activations import as_tensor
from ..lookup import describe
from ..naming import snake_case

__all__ = ["EPSILON", "Loss", "LossFunctionWrapper", "NamedLoss", "check_equal", "pair"]

EPSILON = 1e-7  # how far Keras keeps probabilities from 0 and 1
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


def pair(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
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


def check_equal(name: str, truth: Any, scores: Any) -> None:
    if tuple(truth.shape) != tuple(scores.shape):
        raise ShapeError(
            f"{name} compares element by element, and y_true {tuple(truth.shape)} and y_pred {tuple(scores.shape)} differ "
            f"in shape.{here()}"
        )


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
        if not isinstance(values, TensorCore):
            raise DtypeError(
                f"the loss {self.name!r} returned {values!r}, and has to return a Tensor.{here()}\n"
                "  What float(), item() or numpy() gives has no gradient; a function without return gives None."
            )
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
        return self.fn(*pair(y_true, y_pred), **self.options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": describe(self.fn), **self.options}


class NamedLoss(Loss):
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
