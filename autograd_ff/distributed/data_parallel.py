"""Data-parallel training: the same model in every process, each with its part of the batch, and the mean of the gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import depend, here
from ..engine.backward import when_backward_ends
from ..errors import DistributedError
from ..nn import Module
from .agreement import agree
from .buckets import Bucket, share_out
from .collectives import ReduceOp, all_reduce, broadcast, broadcast_object
from .group import ProcessGroup, world

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """A module whose gradients are averaged over all processes while the backward pass runs.

    Parameters and buffers are rank 0's at the start. Gradients travel in buckets: each is started as soon as all of its
    gradients are there, in the order in which they came in the first backward pass, and all have arrived when
    ``backward()`` returns. With a mean loss over B/N samples in each of N processes the gradients are those of the mean
    over all B, to rounding.

    Args:
        module: the model; ``.module`` afterwards.
        process_group: the processes; all of them if None.
        bucket_cap_mb: the size of a bucket, in MiB.
        find_unused_parameters: take parameters that a backward pass did not reach for such with a gradient of zeros, where
            another rank reached them. Otherwise they are an error, which names them.
        broadcast_buffers: make buffers rank 0's again before each forward pass in training mode.
        gradient_compression: ``"float16"`` or ``"bfloat16"``: gradients travel in half the bytes.

    Raises:
        DistributedError: the ranks' models differ in names, shapes or dtypes; the message says which and how.

    Source: Li et al. 2020, "PyTorch Distributed: experiences on accelerating data parallel training".

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> model = distributed.DistributedDataParallel(af.nn.Linear(3, 2))
    >>> model(af.ones(1, 3)).sum().backward()
    >>> model.module.bias.grad
    tensor([1., 1.])
    """

    def __init__(
        self, module: Module, process_group: ProcessGroup | None = None, bucket_cap_mb: float = 4,
        find_unused_parameters: bool = False, broadcast_buffers: bool = True, gradient_compression: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.module = module
        self.group = process_group or world()
        self.capacity = int(bucket_cap_mb * 2**20)
        self.find_unused_parameters = find_unused_parameters
        self.broadcast_buffers = broadcast_buffers
        self.gradient_compression = gradient_compression
        self.synchronizes = True
        named = [(name, one) for name, one in module.named_parameters() if one.requires_grad]
        if not named:
            raise DistributedError(f"no parameter of the model requires grad, so there is nothing to average{here()}")
        stored = [*module.named_parameters(), *module.named_buffers()]
        trained = {name for name, _ in named}
        agree(
            "the model's parameters and buffers",
            [
                f"{name} {one.array.dtype} {one.array.shape}{' trained' if name in trained else ''}"
                for name, one in stored
            ],
            self.group,
        )
        for _, one in stored:
            broadcast(one, 0, self.group)
        self._names = {id(one): name for name, one in named}
        self._order: list[str] = []  # of readiness, in the first backward pass
        self._arranged = False  # whether the buckets are in that order
        self._started = 0  # how many buckets are, in this backward pass
        self._make_buckets(named[::-1])  # the last layer's gradients come first
        for _, one in named:
            one.register_post_accumulate_grad_hook(self._ready)

    def _make_buckets(self, named: list[tuple[str, Any]]) -> None:
        self.buckets = [
            Bucket(number, parameters, self.group, self.gradient_compression)
            for number, parameters in enumerate(share_out(named, self.capacity))
        ]
        self._bucket_of = {id(one): bucket for bucket in self.buckets for _, one in bucket.parameters}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.group.size > 1 and self.broadcast_buffers and self.training:
            for _, buffer in self.module.named_buffers():
                broadcast(buffer, 0, self.group)
        return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes inside add up gradients in this process alone; the next one outside averages the sums.

        >>> import autograd_ff as af
        >>> from autograd_ff import distributed
        >>> model = distributed.DistributedDataParallel(af.nn.Linear(1, 1))
        >>> with model.no_sync():
        ...     model(af.ones(1, 1)).sum().backward()
        >>> model(af.ones(1, 1)).sum().backward()
        >>> model.module.bias.grad
        tensor([2.])
        """
        before, self.synchronizes = self.synchronizes, False
        try:
            yield
        finally:
            self.synchronizes = before

    # ---------------------------------------------------------------- the backward pass

    def _ready(self, parameter: Any) -> None:
        """A parameter's gradient is there."""
        if self.group.size == 1 or not depend(self._synchronizes):
            return
        if when_backward_ends(self._end):
            self._begin()
        self._order.append(self._names[id(parameter)])
        self._bucket_of[id(parameter)].pack(parameter)
        # In the order of their numbers, on every rank: collectives are matched by their order.
        while self._started < len(self.buckets) and not self.buckets[self._started].waiting:
            self.buckets[self._started].start()
            self._started += 1

    def _synchronizes(self) -> bool:
        return self.synchronizes

    def _begin(self) -> None:
        """A backward pass begins; one before it may have ended with an error."""
        self._started = 0
        self._order.clear()
        for bucket in self.buckets:
            bucket.empty()

    def _end(self) -> None:
        """The backward pass is over: what it did not reach, and the means."""
        missing = {
            id(one): name for bucket in self.buckets for name, one in bucket.parameters if id(one) in bucket.waiting
        }
        if missing and not self.find_unused_parameters:
            names = ", ".join([*missing.values()][:8]) + (" …" if len(missing) > 8 else "")
            raise DistributedError(
                f"rank {self.group.rank}: the backward pass reached {len(self._names) - len(missing)} of {len(self._names)} "
                f"parameters, and not {names}, whose gradients the other ranks wait for.{here()}\n"
                "  Use them in the forward pass, freeze them with requires_grad_(False), or pass "
                "find_unused_parameters=True."
            )
        for bucket in self.buckets[self._started :]:
            bucket.start()
        reached = None
        if self.find_unused_parameters:
            reached = np.array([one not in missing for one in self._names], np.int8)
            all_reduce(reached, ReduceOp.MAX, self.group)
        anywhere = (
            {one for one, used in zip(self._names, reached, strict=True) if used} if reached is not None else None
        )
        for bucket in self.buckets:
            bucket.finish()
            for _, parameter in bucket.parameters:
                if anywhere is None or id(parameter) in anywhere:
                    bucket.unpack(parameter)
        if not self._arranged:
            self._arranged = True
            self._rearrange()

    def _rearrange(self) -> None:
        """Make buckets in the order in which rank 0's gradients came."""
        place = {name: number for number, name in enumerate(broadcast_object(self._order, 0, self.group))}
        named = [pair for bucket in self.buckets for pair in bucket.parameters]
        self._make_buckets(sorted(named, key=lambda pair: place.get(pair[0], len(place))))
