"""Sums over processes inside of a computation: one that gradients flow through, and what a part of a batch counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import (
    NONDIFFERENTIABLE,
    POSITIVE,
    REAL,
    Call,
    Draw,
    TensorCore,
    apply,
    constant,
    here,
    kernel,
    primitive,
    wrap,
)
from ..errors import ShapeError
from ..functions.tensor import Tensor
from .collectives import meet
from .group import ProcessGroup, world
from .work import start

__all__ = ["over_ranks", "share_of_batch", "sum_over_ranks", "total_over_ranks"]


def over_ranks(x: np.ndarray, group: ProcessGroup | None, name: str) -> np.ndarray:
    """The arrays of all ranks, in float64, stacked in the order of the ranks; meant for few numbers."""
    own = np.ascontiguousarray(x, np.float64)
    if group is None or group.size == 1:
        return own[None]
    everyones = np.empty((group.size, *own.shape))
    meet(group, name)
    start(group, name, "Iallgather", own, everyones).wait()
    return everyones


def total_over_ranks(x: np.ndarray, group: ProcessGroup | None = None) -> np.ndarray:
    """The sum over all ranks, taken in the order of the ranks: the same bits on all of them and in every run."""
    if group is None or group.size == 1:
        return np.array(x)
    total, *others = over_ranks(x, group, f"sum_over_ranks of {x.shape}")
    for other in others:
        total += other
    return np.asarray(total.astype(x.dtype))


def _draw_sum(draw: Draw) -> Call:
    return Call((draw.array(draw.shape(), REAL),), {"group": None})


# y = Σ over ranks of x, the same on all. With L = Σ over ranks of each rank's own loss, dL/dx = Σ over ranks of dL/dy: the
# operation is its own derivative's.
sum_of: Any = primitive(
    total_over_ranks, lambda g, group: sum_of(g, group=group), name="sum_over_ranks", inputs=("x",),
    params={"group": None}, domain=_draw_sum,
)  # fmt: skip


def sum_over_ranks(input: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """The sum of a tensor over all processes, through which gradients flow to all of them.

    Where each process has a loss of its own, the gradient is that of the sum of all losses: a process gets what the
    others' losses owe to its input. So the backward pass is a sum over processes too, and all have to run it.

    Args:
        input: of equal shape everywhere; meant for few numbers, which travel in float64.
        group: the processes; all of them if None.

    Returns:
        A new tensor, the same in all processes.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> x = af.tensor([1.0, 2.0], requires_grad=True)
    >>> (distributed.sum_over_ranks(x) ** 2).sum().backward()
    >>> x.grad  # in one process
    tensor([2., 4.])
    """
    return apply(sum_of, (input,), {"group": group or world()})


def _share(count: np.ndarray, group: ProcessGroup | None = None) -> np.ndarray:
    counts = over_ranks(count, group, "share_of_batch")
    total = counts.sum()
    if not total > 0:
        raise ShapeError(f"share_of_batch: all {len(counts)} processes together have {total:g} samples{here()}")
    return np.asarray(float(count) * len(counts) / total, count.dtype)


def _draw_share(draw: Draw) -> Call:
    return Call((draw.array((), POSITIVE),), {"group": None})


_share_of_batch = kernel(
    None, NONDIFFERENTIABLE, name="share_of_batch", forward=_share, inputs=("count",),
    params={"group": None}, domain=_draw_share,
)  # fmt: skip


def share_of_batch(samples: int | Tensor, group: ProcessGroup | None = None) -> Tensor:
    """What a process's mean loss counts, where the parts of a batch are of different sizes: N · n / Σ n.

    `DistributedDataParallel` takes the plain mean over the N processes. With ``loss * share_of_batch(n)`` in place of the
    mean loss over the n samples here, that is the mean over the samples of all. With equal parts it is exactly 1. The
    counts are exchanged at each call, so it also serves where what counts is known to each process alone, such as the
    number of tokens that are no padding. Every process has to call it.

    Args:
        samples: how many there are here; a number, or a Tensor that holds one.
        group: the processes; all of them if None.

    Returns:
        A 0-d tensor of float64, so that it is exact enough for every loss.

    Raises:
        ShapeError: no process has a sample.

    >>> from autograd_ff import distributed
    >>> distributed.share_of_batch(5)
    tensor(1., dtype=float64)
    """
    wide = np.dtype(np.float64)
    if isinstance(samples, TensorCore):
        count = samples.detach().to(wide)
    else:
        count = wrap(constant(np.asarray(samples, wide)))
    return apply(_share_of_batch, (count,), {"group": group or world()})
