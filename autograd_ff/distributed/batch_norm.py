"""Batch normalisation over the batch of all processes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, apply, apply_raw, cast, here, kernel, no_grad, scope
from ..errors import ShapeError
from ..functions.tensor import Tensor
from ..kernels import batch_norm as one_process
from ..nn import BatchNorm1d, Module
from .group import ProcessGroup, world
from .sums import over_ranks, sum_of, total_over_ranks

__all__ = ["SyncBatchNorm"]

_F16, _F32 = np.dtype(np.float16), np.dtype(np.float32)


# ---------------------------------------------------------------- statistics


def _statistics(x: np.ndarray, group: ProcessGroup | None = None, unbiased: bool = True) -> tuple[np.ndarray, ...]:
    """Of each channel over all ranks: mean, biased variance, that which running statistics keep, and the count of numbers.

    Each rank's own mean and sum of squares around it are joined as by Chan, Golub and LeVeque (1983), which loses no
    digits where the mean is large, and takes one exchange.
    """
    columns = one_process._as_columns(x)
    rows, channels = columns.shape
    own = np.concatenate([*one_process._statistics(columns), [rows]], dtype=np.float64)
    everyones = over_ranks(own, group, f"statistics of SyncBatchNorm over {channels} channels")
    means, variances, counts = everyones[:, :channels], everyones[:, channels:-1], everyones[:, -1:]
    count = counts.sum()
    if count < 1 + unbiased:
        raise ShapeError(
            f"SyncBatchNorm in training takes more than one number a channel, and all ranks together have {count:.0f}: one "
            f"number less its own mean is 0, whatever it was.{here()}\n  Use a larger batch, or eval mode."
        )
    middle = (means * counts).sum(0) / count
    squares = ((variances + (means - middle) ** 2) * counts).sum(0)
    results = middle, squares / count, squares / (count - unbiased), count
    return tuple(np.asarray(one, x.dtype) for one in results)


def _draw_statistics(draw: Draw) -> Call:
    return Call((one_process._draw_input(draw),), {"group": None, "unbiased": draw.boolean()})


sync_batch_statistics = kernel(
    None, NONDIFFERENTIABLE, name="sync_batch_statistics", forward=_statistics, inputs=("x",), outputs=4,
    params={"group": None, "unbiased": True}, promotion="float", promoted=(0,), domain=_draw_statistics,
)  # fmt: skip


# ---------------------------------------------------------------- normalising


def definition(
    x: Any, weight: Any = None, bias: Any = None, mean: Any = None, var: Any = None, count: Any = None,
    eps: float = 1e-5, group: Any = None,
) -> Any:  # fmt: skip
    """``(x - mean) / √(var + eps) * weight + bias``, mean and (biased) variance being those of each channel on all ranks.

    ``count`` is how many numbers of a channel all ranks have.
    """
    axes = one_process.reduced_axes(x.ndim)
    total = math.prod(x.shape[:1] + x.shape[2:]) if count is None else count
    centred = x - sum_of(np.sum(x, axis=axes, keepdims=True), group=group) / total
    spread = sum_of(np.sum(centred * centred, axis=axes, keepdims=True), group=group) / total
    out = centred / np.sqrt(spread + eps)
    if weight is not None:
        out = out * one_process.per_channel(weight, x.ndim)
    return out if bias is None else out + one_process.per_channel(bias, x.ndim)


def _forward(
    x: Any, weight: Any = None, bias: Any = None, mean: Any = None, var: Any = None, count: Any = None,
    eps: float = 1e-5, group: Any = None,
) -> Any:  # fmt: skip
    return one_process.forward(x, weight, bias, mean, var, eps)


def _backward(
    g: Any, x: Any, weight: Any, bias: Any, count: Any, middle: Any, rstd: Any, group: Any, needs: Any
) -> Any:  # fmt: skip
    """With x̂ the normalised channel: weight rstd (g - Σ g / n - x̂ Σ g x̂ / n), sums over all ranks; Σ g x̂ and Σ g here."""
    columns, up = one_process._as_columns(x), one_process._as_columns(g)
    rows, channels = columns.shape
    sum_up = one_process._mean_of_columns(up) * rows
    gradient, of_weight = None, None
    if needs[0] or needs[1]:
        of_weight = one_process._mean_of_products(columns, middle, up) * (rows * rstd)
    if needs[0]:
        both = total_over_ranks(np.concatenate([sum_up, of_weight]), group) / (rows if count is None else count)
        mean_up, along = both[:channels], both[channels:] * rstd
        scale = rstd if weight is None else rstd * weight
        out = np.subtract(columns, middle)
        np.multiply(out, along, out=out)
        np.add(out, mean_up, out=out)
        np.subtract(up, out, out=out)
        np.multiply(out, scale, out=out)
        gradient = one_process._as_channels(out, x.shape)
    return gradient, of_weight if needs[1] else None, sum_up if needs[2] else None, None, None, None


def _draw(draw: Draw) -> Call:
    call = one_process.draw(draw)
    return Call((*call.inputs, None), {**call.params, "group": None})


sync_batch_norm = kernel(
    definition, name="sync_batch_norm", forward=_forward, backward=_backward, residuals=("middle", "rstd"),
    inputs=("x", "weight", "bias", "mean", "var", "count"), params={"eps": 1e-5, "group": None}, promotion="float",
    promoted=(0, 1, 2), domain=_draw,
)  # fmt: skip


class SyncBatchNorm(BatchNorm1d):
    """`BatchNorm1d` whose batch is that of all processes together.

    In training, mean and variance of a feature are those over the parts of all processes, which may be of different
    sizes, and gradients flow through them to all parts: with B/N samples in each of N processes the layer does what
    `BatchNorm1d` does with all B in one. Forward and backward exchange 2 numbers a feature. In evaluation, and in one
    process, it is `BatchNorm1d`.

    Args:
        num_features, eps, momentum, affine, track_running_stats, dtype, bias, unbiased: see `BatchNorm1d`.
        process_group: the processes; all of them if None.

    Raises:
        ShapeError: an input of another shape, or less than two numbers a feature in all processes together.

    Source: Ioffe and Szegedy 2015, over processes as in Peng et al. 2018, "MegDet".

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> layer = distributed.SyncBatchNorm(1, eps=0.0)
    >>> layer(af.tensor([[1.0], [3.0]])).tolist()  # in one process
    [[-1.0], [1.0]]
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: ProcessGroup | None = None, device: Any = None,
        dtype: Any = None, *, bias: bool = True, unbiased: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias, unbiased=unbiased
        )
        self.process_group = process_group

    def forward(self, input: Tensor) -> Tensor:
        """(N, C) or (N, C, L) to the same shape; N may differ between processes."""
        group = self.process_group or world()
        if group.size == 1 or not self.training:
            return super().forward(input)
        shape = tuple(input.shape)
        if len(shape) not in (2, 3) or shape[1] != self.num_features:
            raise ShapeError(
                f"SyncBatchNorm({self.num_features}) takes an input of shape (N, {self.num_features}) or (N, "
                f"{self.num_features}, L), got {shape}.{here()}"
            )
        momentum = self.momentum
        tracked = self.num_batches_tracked
        if momentum is None:  # 1/n of the n-th batch makes the plain mean over all
            momentum = 0.0 if tracked is None else 1 / (tracked.item() + 1)
        with scope("composite", "sync_batch_norm", "sync_batch_norm"):
            with no_grad():
                wide = apply(cast, (input,), {"dtype": _F32}) if input.array.dtype == _F16 else input
                options = {"group": group, "unbiased": self.unbiased}
                mean, var, kept, count = apply(sync_batch_statistics, (wide,), options)
                for running, new in ((self.running_mean, mean), (self.running_var, kept)):
                    if running is not None:
                        options = {"momentum": momentum, "factor": 1.0}
                        apply_raw(one_process.update_running_statistic, (running.array, new.array), options)
            inputs = (input, self.weight, self.bias, mean, var, count)
            out = apply(sync_batch_norm, inputs, {"eps": self.eps, "group": group})
        if tracked is not None:
            with no_grad():
                tracked.add_(1)
        return out

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: ProcessGroup | None = None) -> Module:
        """A module with every `BatchNorm1d` in it exchanged for a `SyncBatchNorm` with the same parameters and buffers.

        Call it before `DistributedDataParallel` and before making the optimizer.

        Args:
            module: it is changed, and returned, unless it is a `BatchNorm1d` itself.
            process_group: the processes; all of them if None.

        >>> import autograd_ff as af
        >>> from autograd_ff import distributed
        >>> model = af.nn.Sequential(af.nn.Linear(3, 2), af.nn.BatchNorm1d(2))
        >>> distributed.SyncBatchNorm.convert_sync_batchnorm(model)
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
          (1): SyncBatchNorm(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        )
        """
        return cls._converted(module, process_group, {})

    @classmethod
    def _converted(cls, module: Module, group: ProcessGroup | None, done: dict[int, Module]) -> Module:
        if id(module) in done:
            return done[id(module)]
        made = done[id(module)] = module
        if isinstance(module, BatchNorm1d) and not isinstance(module, SyncBatchNorm):
            made = done[id(module)] = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, group,
                unbiased=module.unbiased,
            )  # fmt: skip
            made._parameters.update(module._parameters)
            made._buffers.update(module._buffers)
            made.training = module.training
        for name, child in list(module._modules.items()):
            if child is not None and (new := cls._converted(child, group, done)) is not child:
                setattr(module, name, new)
        return made
