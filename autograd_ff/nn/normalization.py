"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import get_default_dtype, here, no_grad
from ..errors import ShapeError
from ..functions.conversion import check_device
from ..functions.dtypes import as_dtype
from ..functions.normalization import as_shape
from ..functions.tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Buffer, Parameter

__all__ = ["BatchNorm1d", "GroupNorm", "LayerNorm", "RMSNorm"]


class _Affine(Module):
    """What the layers share: a weight that starts at 1 and a bias that starts at 0, or None in their places."""

    weight: Parameter | None
    bias: Parameter | None

    def _make(self, shape: tuple[int, ...], device: Any, dtype: Any, **wanted: bool) -> None:
        check_device(device)
        for name, is_wanted in wanted.items():
            values = np.empty(shape, get_default_dtype() if dtype is None else as_dtype(dtype)) if is_wanted else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        for name, fill in (("weight", init.ones_), ("bias", init.zeros_)):
            parameter = self._parameters.get(name)
            if parameter is not None:
                fill(parameter)


def _count(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ShapeError(f"{name} must be a whole number, 1 or more, not {count!r}.{here()}")


class LayerNorm(_Affine):
    """Each sample less its mean, over its standard deviation; then times a weight, plus a bias.

    y = (x - mean) / √(var + eps) · weight + bias, with mean and (biased) variance over the last dimensions. The same in
    training and evaluation. Source: Ba, Kiros and Hinton 2016.

    Args:
        normalized_shape: the sides of the last dimensions, or the side of the last.
        eps: keeps the root from zero.
        elementwise_affine: whether there are a weight and a bias.
        bias: whether there is a bias.
        dtype: of the parameters; the default dtype if None.

    Attributes:
        weight: of shape ``normalized_shape``, ones at first; None without elementwise_affine.
        bias: of shape ``normalized_shape``, zeros at first; None without.

    >>> import autograd_ff as af
    >>> layer = af.nn.LayerNorm(2, eps=0.0)
    >>> layer(af.tensor([[1.0, 3.0], [0.0, 10.0]])).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = as_shape("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        affine = elementwise_affine
        self._make(self.normalized_shape, device, dtype, weight=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        """(…, *normalized_shape) to the same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        has_bias = self.bias is not None
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={has_bias}"


class RMSNorm(_Affine):
    """Each sample over the root of its mean square; then times a weight.

    y = x / √(mean(x²) + eps) · weight, with the mean over the last dimensions. Source: Zhang and Sennrich 2019.

    Args:
        normalized_shape: the sides of the last dimensions, or the side of the last.
        eps: keeps the root from zero; None for the distance from 1 to the next number of the input's dtype.
        elementwise_affine: whether there is a weight.
        dtype: of the weight; the default dtype if None.

    Attributes:
        weight: of shape ``normalized_shape``, ones at first; None without elementwise_affine.

    >>> import autograd_ff as af
    >>> af.nn.RMSNorm(4)(af.tensor([2.0, -2.0, 2.0, 2.0]))
    tensor([ 1., -1.,  1.,  1.], grad_fn=<rms_norm>)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = as_shape("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make(self.normalized_shape, device, dtype, weight=elementwise_affine)

    def forward(self, input: Tensor) -> Tensor:
        """(…, *normalized_shape) to the same shape."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Each group of a sample's channels less its mean, over its standard deviation; then a weight and a bias a channel.

    With one group it normalises whole samples, with as many as channels each channel by itself. Source: Wu and He 2018.

    Args:
        num_groups: into how many groups the channels are divided, neighbours together.
        num_channels: the side of the input's dimension 1.
        eps: keeps the root from zero.
        affine: whether there are a weight and a bias.
        dtype: of the parameters; the default dtype if None.
        bias: whether there is a bias.

    Attributes:
        weight: (num_channels,), ones at first; None without affine.
        bias: (num_channels,), zeros at first; None without.

    >>> import autograd_ff as af
    >>> layer = af.nn.GroupNorm(2, 4, eps=0.0)
    >>> layer(af.tensor([[1.0, 3.0, 0.0, 10.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        _count(num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ShapeError(f"{num_channels} channels cannot be divided into {num_groups} groups of one size.{here()}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make((num_channels,), device, dtype, weight=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        """(N, num_channels, …) to the same shape."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        has_bias = self.bias is not None
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={has_bias}"


class BatchNorm1d(_Affine):
    """Each feature less its mean, over its standard deviation; then times a weight, plus a bias.

    In training, mean and variance are those of the batch, and running means of both are kept; in evaluation (`eval`) the
    running ones are used, so that a prediction does not depend on the samples beside it. Source: Ioffe and Szegedy 2015.

    Args:
        num_features: C, the side of the input's dimension 1.
        eps: keeps the root from zero.
        momentum: the part of a batch in the running statistics; None for the plain mean over all batches.
        affine: whether there are a weight and a bias.
        track_running_stats: whether running statistics are kept; without, evaluation uses the batch's too.
        dtype: of the parameters and running statistics; the default dtype if None.
        bias: whether there is a bias.
        unbiased: whether the running variance is that of the unbiased variances, as in PyTorch, or of those that
            normalise, as in Keras.

    Attributes:
        weight: (num_features,), ones at first; None without affine.
        bias: (num_features,), zeros at first; None without.
        running_mean: (num_features,), zeros at first.
        running_var: (num_features,), ones at first; the mean of the batches' variances.
        num_batches_tracked: how many batches were seen in training.

    >>> import autograd_ff as af
    >>> layer = af.nn.BatchNorm1d(1, eps=0.0)
    >>> layer(af.tensor([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    >>> layer.running_mean
    tensor([0.2])
    >>> layer.eval()(af.tensor([[1.0], [3.0]])).shape
    (2, 1)
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
        unbiased: bool = True,
    ) -> None:
        super().__init__()
        _count(num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.unbiased = unbiased
        buffers: dict[str, Tensor | None] = dict.fromkeys(("running_mean", "running_var", "num_batches_tracked"))
        if track_running_stats:
            kind = get_default_dtype() if dtype is None else as_dtype(dtype)
            for name in ("running_mean", "running_var"):
                buffers[name] = Buffer(np.empty(num_features, kind))
            buffers["num_batches_tracked"] = Buffer(np.zeros((), np.int64))
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)
        self._make((num_features,), device, dtype, weight=affine, bias=affine and bias)

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                with no_grad():
                    buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0, and forget all batches."""
        self.reset_running_stats()
        super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """(N, C) or (N, C, L) to the same shape."""
        shape = tuple(input.shape)
        if len(shape) not in (2, 3) or shape[1] != self.num_features:
            raise ShapeError(
                f"BatchNorm1d({self.num_features}) takes an input of shape (N, {self.num_features}) or (N, "
                f"{self.num_features}, L), got {shape}.{here()}"
            )
        use_batch = self.training or self.running_mean is None
        keep = self.training and self.track_running_stats
        tracked = self.num_batches_tracked if keep else None
        momentum = self.momentum
        if momentum is None:  # 1/n of the n-th batch makes the plain mean over all
            momentum = 0.0 if tracked is None else 1 / (tracked.item() + 1)
        mean, var = (self.running_mean, self.running_var) if keep or not use_batch else (None, None)
        weight, bias = self.weight, self.bias
        out = F.batch_norm(input, mean, var, weight, bias, use_batch, momentum, self.eps, unbiased=self.unbiased)
        if tracked is not None:
            with no_grad():
                tracked.add_(1)
        return out

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
