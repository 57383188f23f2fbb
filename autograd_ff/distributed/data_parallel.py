"""Data-parallel training: the same model in every process, each with its part of the batch, and the mean of the gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import TensorCore, apply_raw, condition, constant, depend, here, host, is_grad_enabled
from ..engine.backward import when_backward_ends
from ..engine.core_ops import write
from ..errors import CaptureError, DistributedError
from ..nn import Module
from .agreement import agree
from .buckets import Reducer
from .collectives import from_rank
from .group import ProcessGroup, world
from .operations import collective, perform, recorded_zeros
from .work import start

__all__ = ["DistributedDataParallel", "broadcast_tensors"]

SHOWN = 8


class DistributedDataParallel(Module):
    """A module whose gradients are averaged over all processes while the backward pass runs.

    Parameters and buffers are rank 0's at the start. Gradients travel in buckets: each is started as soon as all of its
    gradients are there (the last one when the pass has ended, as it tells whether it failed), in the order in which they
    came in the first backward pass, and all have arrived when ``backward()`` returns. With a mean loss over B/N samples in each of N processes the gradients are those of the mean
    over all B, to rounding.

    Which parameters are trained is settled here: freeze and add before. The names in ``state_dict()`` begin with
    ``module.``, as in PyTorch; save ``model.module.state_dict()`` to have them without. A copy (``copy.deepcopy``, pickle)
    is a model of its own that averages with the other ranks' copies. Under ``no_grad`` nothing is communicated, so one rank
    may evaluate alone.

    Args:
        module: the model; ``.module`` afterwards.
        device_ids, output_device, static_graph: PyTorch's, without use here.
        process_group: the processes; all of them if None.
        bucket_cap_mb: the size of a bucket, in MiB.
        find_unused_parameters: take parameters that a backward pass did not reach for such with a gradient of zeros, where
            another rank reached them. Otherwise they are an error, which names them on every rank.
        broadcast_buffers: make buffers rank 0's again before each forward pass in training mode.
        gradient_as_bucket_view: let each ``.grad`` be a part of its bucket, which saves a copy of all gradients in time and
            memory; the next backward pass then writes into a ``.grad`` that was kept.
        gradient_compression: ``"float16"`` or ``"bfloat16"``: gradients travel in half the bytes.

    Raises:
        DistributedError: the ranks' models differ in names, shapes or dtypes; the message says which and how. In a backward
            pass: see ``find_unused_parameters``; or it ended with an error on another rank.

    Source: Li et al. 2020, "PyTorch Distributed: experiences on accelerating data parallel training".

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> model = distributed.DistributedDataParallel(af.nn.Linear(3, 2))
    >>> model(af.ones(1, 3)).sum().backward()
    >>> model.module.bias.grad
    tensor([1., 1.])
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, *,
        process_group: ProcessGroup | None = None, bucket_cap_mb: float = 4, static_graph: bool = False,
        find_unused_parameters: bool = False, broadcast_buffers: bool = True, gradient_as_bucket_view: bool = False,
        gradient_compression: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if device_ids:
            raise DistributedError(
                f"arrays are the processor's: there is no device to choose; leave device_ids away{here()}"
            )
        self.module = module
        self.process_group = process_group or world()
        self.capacity = int(bucket_cap_mb * 2**20)
        self.find_unused_parameters = find_unused_parameters
        self.broadcast_buffers = broadcast_buffers
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.gradient_compression = gradient_compression
        self.synchronizes = True  # false within no_sync
        self.averages = True  # false where an optimizer takes the means
        named = _trained(module)
        stored = [*module.named_parameters(), *module.named_buffers()]
        trained = {name for name, _ in named}
        settings = [f"bucket_cap_mb={bucket_cap_mb}", f"{find_unused_parameters=}", f"{broadcast_buffers=}",
                    f"{gradient_compression=}"]  # fmt: skip
        parts = [f"{name or 'the model'} is a {type(one).__name__}" for name, one in module.named_modules()]
        kinds = [f"{name} {one.array.dtype} {one.array.shape}{' trained' * (name in trained)}" for name, one in stored]
        agree("the model's parameters and buffers", [*kinds, *settings, *parts], self.process_group)
        if not named:
            raise DistributedError(f"no parameter of the model requires grad, so there is nothing to average{here()}")
        self.group = self.process_group.channel()
        broadcast_tensors([one for _, one in stored], self.group)
        self._attach(named)

    def _attach(self, named: list[tuple[str, Any]]) -> None:
        """Listen to the gradients of these parameters."""
        self._names = {id(one): name for name, one in named}
        self._order: list[str] = []  # of readiness, in the last backward pass
        self._arranged: bool | None = False  # whether the buckets are in that order; None: next time
        self._started = 0  # how many buckets are, in this backward pass
        self._make_buckets(named[::-1])  # the last layer's gradients come first
        self._leaves: dict[int, Any] = {}
        self._handles: list[Any] = []
        for _, one in named:
            self._listen(one)

    def _listen(self, parameter: Any) -> None:
        self._handles.append(parameter.register_post_accumulate_grad_hook(self._ready))
        self._leaves[id(parameter)] = parameter.node

    def _make_buckets(self, named: list[tuple[str, Any]]) -> None:
        self._reducer = Reducer(
            named, self.capacity, self.group, self.gradient_compression, self.find_unused_parameters
        )
        self.buckets = self._reducer.buckets

    def __deepcopy__(self, memo: dict[int, Any]) -> DistributedDataParallel:
        return _copied(copy.deepcopy(self.module, memo), self._options(), self.training)

    def __reduce__(self) -> Any:
        return _copied, (self.module, self._options(), self.training)

    def _options(self) -> dict[str, Any]:
        names = ("process_group", "group", "capacity", "find_unused_parameters", "broadcast_buffers",
                 "gradient_as_bucket_view", "gradient_compression", "synchronizes", "averages")  # fmt: skip
        return {name: self.__dict__[name] for name in names}

    def detach(self) -> None:
        """Leave the module alone: its gradients are this process's own again.

        >>> import autograd_ff as af
        >>> from autograd_ff import distributed
        >>> distributed.DistributedDataParallel(af.nn.Linear(1, 1)).detach()
        """
        for hook in self._handles:
            hook.remove()
        self._handles.clear()  # which also ends what `forward` does

    # ---------------------------------------------------------------- the forward pass

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.group.size > 1 and self._handles and is_grad_enabled():
            if told := self.changes():
                raise DistributedError(
                    f"the model has changed since DistributedDataParallel took it: {told}.{here()}\n"
                    "  Freeze, add and replace parameters before; or wrap the model again, on all ranks."
                )
            if self.training and depend(self._synchronizes):
                self.arrange()
                if self.broadcast_buffers:
                    broadcast_tensors([one for _, one in self.module.named_buffers()], self.group)
        return self.module(*args, **kwargs)

    def changes(self) -> str:
        """Which parameters have come, gone or changed their mind, and would be averaged by some ranks, or by none.

        >>> import autograd_ff as af
        >>> from autograd_ff import distributed
        >>> model = distributed.DistributedDataParallel(af.nn.Linear(1, 1))
        >>> _ = model.module.bias.requires_grad_(False)
        >>> model.changes()
        'bias do not require grad any more'
        """
        now = [one for _, one in self.module.named_parameters() if one.requires_grad]
        if [*map(id, now)] == [*self._names]:
            for one in now:
                if one.node is not self._leaves[id(one)]:  # frozen for a while, which forgot the hooks
                    self._listen(one)
            return ""
        names = {id(one): name for name, one in self.module.named_parameters()}
        added = [names[id(one)] for one in now if id(one) not in self._names]
        trained = {id(one) for one in now}
        frozen = [name for one, name in self._names.items() if one not in trained and one in names]
        gone = [name for one, name in self._names.items() if one not in names]
        changes = [("are trained now", added), ("do not require grad any more", frozen), ("are there no more", gone)]
        told = "; ".join(f"{_some(several)} {what}" for what, several in changes if several)
        return told or "its parameters have another order"

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
        if self.group.size == 1 or not depend(self._takes_the_mean):
            return
        if when_backward_ends(self._end):
            self._begin()
        bucket = self._reducer.of[id(parameter)]
        name = self._names[id(parameter)]
        if parameter.grad.node is not None:
            raise DistributedError(
                f"the gradient of {name} has a graph of its own (create_graph=True), which the mean over the ranks would "
                f"not have.{here()}\n"
                "  Use autograd.grad(loss, parameters, create_graph=True), and backward() for what is made of it."
            )
        if id(parameter) not in bucket.waiting:
            raise DistributedError(
                f"the gradient of {name} came a second time in one backward pass, and the first is on its way.{here()}\n"
                "  A backward() inside a backward pass does that; wrap it in no_sync(), and average afterwards."
            )
        self._order.append(name)
        bucket.pack(parameter)
        # In the order of their numbers, on every rank: collectives are matched by their order.
        while self._started < len(self.buckets) - 1 and not self.buckets[self._started].waiting:
            self.buckets[self._started].start()
            self._started += 1

    def _synchronizes(self) -> bool:
        return self.synchronizes

    def _takes_the_mean(self) -> bool:
        return self.synchronizes and self.averages

    def _begin(self) -> None:
        """A backward pass begins."""
        host(self._reducer.begin)
        self._started = 0
        self._order.clear()
        for bucket in self.buckets:
            bucket.empty()

    def _note(self) -> None:
        """What goes with the last bucket: which parameters have a gradient."""
        if self.find_unused_parameters:
            present = [one.grad is not None for bucket in self.buckets for _, one in bucket.parameters]
            apply_raw(write, (self._reducer.presence, constant(np.array(present, np.int8))))

    def _end(self) -> None:
        """The backward pass is over: start what it did not reach. Nothing is waited for yet, as there may be other models."""
        missing = [name for bucket in self.buckets for name, one in bucket.parameters if id(one) in bucket.waiting]
        if missing and not self.find_unused_parameters:
            self._reducer.fail(
                f"it reached {len(self._names) - len(missing)} of {len(self._names)} parameters, and not {_some(missing)}.\n"
                "  Use them in the forward pass, freeze them with requires_grad_(False) before wrapping the model, or pass "
                "find_unused_parameters=True."
            )
        self._note()
        for bucket in self.buckets[self._started :]:
            bucket.start()
        self._started = len(self.buckets)
        when_backward_ends(self._finish)

    def _finish(self) -> None:
        """Wait for the sums, and hand the means out."""
        for bucket in self.buckets:
            bucket.finish()
        anywhere: tuple[bool, ...] = (True,) * len(self._names)
        if self.find_unused_parameters:
            anywhere = _which(self._reducer.presence)
            condition(self._check_use, self._reducer.presence, anywhere)
        used = iter(anywhere)
        for bucket in self.buckets:
            for _, parameter in bucket.parameters:
                if next(used):
                    bucket.unpack(parameter, self.gradient_as_bucket_view)
        if self._arranged is False:
            self._arranged = None

    def _check_use(self, notes: np.ndarray, expected: tuple[bool, ...]) -> bool:
        """Raise where a replayed pass has gradients for other parameters than the recorded one, on whatever rank."""
        found = _which(notes)
        if found == expected:
            return True
        names = [name for bucket in self.buckets for name, _ in bucket.parameters]
        changed = [name for name, one, other in zip(names, found, expected, strict=True) if one != other]
        raise CaptureError(
            f"a compiled step cannot go on: when it was recorded, other parameters were used on some rank. They are now "
            f"{'used' if found[names.index(changed[0])] else 'unused'}: {_some(changed)}.{here()}\n"
            "  Let all ranks decide alike which parts of the model they use, by an argument that is no Tensor; or do not "
            "compile this step."
        )

    def arrange(self) -> None:
        """After the first backward pass, make buckets in the order in which rank 0's gradients came; all ranks call it."""
        if self._arranged is not None:
            return
        self._arranged = True
        place = {
            name: number for number, name in enumerate(from_rank(self._order, 0, self.group, "the order of gradients"))
        }
        named = [pair for bucket in self.buckets for pair in bucket.parameters]
        self._make_buckets(sorted(named, key=lambda pair: place.get(pair[0], len(place))))


def _trained(module: Module) -> list[tuple[str, Any]]:
    return [(name, one) for name, one in module.named_parameters() if one.requires_grad]


def _copied(module: Module, options: dict[str, Any], training: bool) -> DistributedDataParallel:
    """A model like another, which was agreed on."""
    new = DistributedDataParallel.__new__(DistributedDataParallel)
    Module.__init__(new)
    new.module = module
    new.__dict__.update(options)
    new.training = training
    new._attach(_trained(module))
    return new


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _which(notes: np.ndarray) -> tuple[bool, ...]:
    return tuple((notes > 0).tolist())


def broadcast_tensors(tensors: Sequence[TensorCore], group: ProcessGroup) -> None:
    """Make tensors rank 0's, all of one dtype at once."""
    if group.size == 1:
        return
    kinds: dict[np.dtype, list[TensorCore]] = {}
    for one in tensors:
        kinds.setdefault(one.array.dtype, []).append(one)
    for dtype, several in kinds.items():
        flat = recorded_zeros((sum(one.array.size for one in several),), dtype)
        ends = np.cumsum([one.array.size for one in several]).tolist()
        for end, one in zip(ends, several, strict=True) if group.rank == 0 else ():
            perform(write, (flat[end - one.array.size : end].reshape(one.array.shape), one))
        perform(collective, (flat,), {"run": _FromFirst(group)})
        for end, one in zip(ends, several, strict=True) if group.rank > 0 else ():
            perform(write, (one, flat[end - one.array.size : end].reshape(one.array.shape)))


class _FromFirst:
    """Broadcasts what ranks are known to have alike; equal to others of the same group."""

    communicates = True  # so rank 0's plan does it too, although nobody there looks at the result

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _FromFirst) and other.group is self.group

    def __hash__(self) -> int:
        return id(self.group)

    def __call__(self, array: np.ndarray) -> None:
        start(self.group, "broadcast of rank 0's buffers", "Ibcast", array.view(np.uint8), root=0).wait()
