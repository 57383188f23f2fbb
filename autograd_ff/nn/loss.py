"""Losses as modules.

``reduction`` is ``"mean"`` (the default), ``"sum"`` or ``"none"``. Where PyTorch broadcasts a prediction and a target of
unequal shapes, with a warning at best, these raise: (32, 1) against (32,) would train on 1,024 wrong differences.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..functions.losses import check_reduction
from ..functions.tensor import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "GaussianNLLLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss",
    "NLLLoss", "SmoothL1Loss",
]  # fmt: skip


class _Loss(Module):
    further_reductions: ClassVar[tuple[str, ...]] = ()

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_reduction(reduction, size_average, reduce, self.further_reductions)


class _WeightedLoss(_Loss):
    """A loss with a fixed weight for each class or element: a buffer, so it changes dtype with the module."""

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """(input - target)², averaged. Input and target have the same shape.

    >>> import autograd_ff as af
    >>> af.nn.MSELoss()(af.tensor([1.0, 2.0]), af.tensor([1.0, 4.0]))
    tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|input - target|, averaged. Input and target have the same shape.

    >>> import autograd_ff as af
    >>> af.nn.L1Loss()(af.tensor([1.0, 2.0]), af.tensor([1.0, 4.0]))
    tensor(1.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d² / (2 beta) where d = |input - target| < beta, else d - beta / 2; averaged. Source: Girshick 2015.

    >>> import autograd_ff as af
    >>> af.nn.SmoothL1Loss()(af.tensor([1.0, 2.0]), af.tensor([1.0, 4.0])).item()
    0.75
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d² / 2 where d = |input - target| < delta, else delta (d - delta / 2); averaged. Source: Huber 1964.

    >>> import autograd_ff as af
    >>> af.nn.HuberLoss()(af.tensor([1.0, 2.0]), af.tensor([1.0, 4.0])).item()
    0.75
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class GaussianNLLLoss(_Loss):
    """(log var + (target - input)² / var) / 2, averaged: for a network that gives a mean and a variance.

    Args:
        full: whether to add the constant log(2π) / 2.
        eps: a smaller variance counts as this one.

    Input and target have the same shape; `functional.gaussian_nll_loss` says which variances fit it. Source: Nix and
    Weigend 1994.

    >>> import autograd_ff as af
    >>> af.nn.GaussianNLLLoss()(af.tensor([1.0, 2.0]), af.tensor([1.0, 4.0]), var=af.ones(2))
    tensor(1.)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class BCELoss(_WeightedLoss):
    """-(y log p + (1 - y) log(1 - p)) of probabilities p, averaged. `BCEWithLogitsLoss` on logits is safer.

    Args:
        weight: a factor for each element, broadcast to the input's shape.

    >>> import autograd_ff as af
    >>> af.nn.BCELoss()(af.tensor([0.5, 0.5]), af.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """The binary cross-entropy of logits: `Sigmoid` and `BCELoss` in one, without overflow.

    Args:
        weight: a factor for each element, broadcast to the input's shape.
        pos_weight: a factor for the positive examples of each class.

    >>> import autograd_ff as af
    >>> af.nn.BCEWithLogitsLoss()(af.tensor([0.0, 0.0]), af.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class CrossEntropyLoss(_WeightedLoss):
    """-log softmax(logits)[class], averaged over the batch.

    Args:
        weight: a factor for each class.
        ignore_index: the class of examples that do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: the share of the target that is spread evenly over all classes. Source: Szegedy et al. 2016.

    The input is (n, classes) or (n, classes, …) of logits, not probabilities; the target is (n,) or (n, …) of class
    indices, or probabilities of the input's shape.

    >>> import autograd_ff as af
    >>> af.nn.CrossEntropyLoss()(af.zeros(2, 10), af.tensor([3, 7]))
    tensor(2.3026)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """-log_probabilities[class], averaged: with `LogSoftmax`, the cross-entropy.

    >>> import autograd_ff as af
    >>> af.nn.NLLLoss()(af.tensor([[-0.5, -1.0]]), af.tensor([1]))
    tensor(1.)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class KLDivLoss(_Loss):
    """target · (log target - input), for log probabilities as input; averaged.

    ``reduction="batchmean"``, the sum over the batch size, is the Kullback-Leibler divergence; ``"mean"`` divides by
    the number of elements.

    Args:
        log_target: the target is given as log probabilities too.

    >>> import autograd_ff as af
    >>> af.nn.KLDivLoss(reduction="sum")(af.tensor([[-0.6931, -0.6931]]), af.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    further_reductions = ("batchmean",)

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", log_target: bool = False
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
