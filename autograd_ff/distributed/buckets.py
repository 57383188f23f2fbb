"""Gradients that travel together: each bucket is one flat array, reduced while the backward pass still runs.

The last bucket has notes at its end, which the ranks sum like all else: whether the pass failed somewhere, and, where that may
differ, which parameters have a gradient at all. So all ranks learn of it in the very pass, at no collective's cost. It is
started when the pass has come to its end, so that there is no failure that the notes could not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import apply_raw, constant, copy, here, wrap
from ..engine.core_ops import write
from ..errors import DistributedError
from .collectives import gathered
from .group import ProcessGroup
from .operations import finish_all_reduce, pack_gradient, start_all_reduce
from .transfer import Transfer

__all__ = ["Bucket", "Reducer", "share_out"]


BUCKETS = 64  # of a model, whose messages have tags of their own


class Bucket:
    """Some parameters, and one flat array for the gradients of them.

    Args:
        number: its place among the buckets, which is the order in which they are started.
        parameters: (name, Parameter) pairs, of one dtype.
        group: the processes.
        compression: what the gradients travel as, see `DistributedDataParallel`.
        notes: how many numbers more there are at the end.
    """

    def __init__(
        self, number: int, parameters: Sequence[tuple[str, Any]], group: ProcessGroup, compression: str | None,
        notes: int = 0,
    ):  # fmt: skip
        self.number = number
        self.parameters = list(parameters)
        dtype = self.parameters[0][1].array.dtype
        total = sum(parameter.array.size for _, parameter in parameters)
        self.flat = np.zeros(total + notes, dtype)
        self.notes = self.flat[total:]
        self.places: dict[int, np.ndarray] = {}
        first = 0
        for _, parameter in parameters:
            size = parameter.array.size
            self.places[id(parameter)] = self.flat[first : first + size].reshape(parameter.array.shape)
            first += size
        self.factor = dtype.type(1 / group.size)
        self.transfer = Transfer(
            group, self.flat, f"gradient bucket {number}, {self}", compression, BUCKETS * group.number + number
        )
        self.empty()

    def __repr__(self) -> str:
        names = [name for name, _ in self.parameters]
        return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"

    def empty(self) -> None:
        """Wait for all gradients anew."""
        self.waiting = {id(parameter) for _, parameter in self.parameters}

    def pack(self, parameter: Any) -> None:
        """Take over the gradient of a parameter that is ready."""
        place = self.places[id(parameter)]
        apply_raw(pack_gradient, (place, parameter.grad.array), {"factor": self.factor})
        self.waiting.discard(id(parameter))

    def start(self) -> None:
        """Begin to sum over the ranks. What this pass did not reach is as it was before it; zero, if it was nothing."""
        for _, parameter in self.parameters:
            if id(parameter) in self.waiting:
                if parameter.grad is not None:
                    self.pack(parameter)
                else:
                    apply_raw(write, (self.places[id(parameter)], constant(np.zeros((), self.flat.dtype))))
        apply_raw(start_all_reduce, (self.flat,), {"transfer": self.transfer})

    def finish(self) -> None:
        """Wait for the sum."""
        apply_raw(finish_all_reduce, (self.flat,), {"transfer": self.transfer})

    def unpack(self, parameter: Any, as_view: bool) -> None:
        """Give a parameter the mean of its gradient: a copy, or the place in the bucket itself."""
        place = self.places[id(parameter)]
        if as_view:
            if parameter.grad is None or parameter.grad.array is not place:
                parameter.grad = wrap(place)
        elif parameter.grad is None:
            parameter.grad = wrap(apply_raw(copy, (place,)))
        else:
            apply_raw(write, (parameter.grad.array, place))


class Reducer:
    """All gradients of a model, pass after pass.

    Args:
        named: (name, Parameter) pairs in the order in which their gradients are expected.
        capacity: of a bucket, in bytes.
        group: the processes.
        compression: see `DistributedDataParallel`.
        presence: whether the ranks tell each other which parameters have a gradient.
    """

    def __init__(
        self, named: Sequence[tuple[str, Any]], capacity: int, group: ProcessGroup, compression: str | None,
        presence: bool,
    ) -> None:  # fmt: skip
        self.group = group
        shared = share_out(named, capacity)
        self.buckets = [
            Bucket(
                number, parameters, group, compression,
                0 if number < len(shared) - 1 else 1 + presence * len(named),
            )
            for number, parameters in enumerate(shared)
        ]  # fmt: skip
        self.transfers = [bucket.transfer for bucket in self.buckets]
        self.of = {id(one): bucket for bucket in self.buckets for _, one in bucket.parameters}
        self.notes = self.buckets[-1].notes
        self.presence = self.notes[1:]
        self.running = False  # from the first gradient of a pass until all sums have come
        self.reason = ""  # why this rank's pass failed
        self.buckets[-1].transfer.when_finished = self._ended

    def begin(self) -> None:
        """A backward pass begins. One before it that an error ended is brought to its end, for the other ranks."""
        if self.running:
            if not self.buckets[-1].transfer.under_way:
                self.fail(self.reason or "it ended with an error before all gradients were there")
            for one in self.transfers:
                if not one.under_way and not one.finished:
                    one.start()
            try:
                for one in self.transfers:
                    one.finish()
            except DistributedError:
                if self.running:  # not what was to be told, but another failure
                    raise
        for one in self.transfers:
            one.finished = False
        self.running = True

    def fail(self, reason: str) -> None:
        """Tell all ranks, with the last bucket, that this rank's pass cannot go on."""
        self.reason = reason
        self.notes[0] = 1

    def _ended(self) -> None:
        """All sums have come.

        Raises:
            DistributedError: a rank's pass failed; on every rank.
        """
        self.running = False
        if self.notes[0] == 0:
            return
        self.notes[0] = 0
        own, self.reason = self.reason, ""
        failed: dict[str, list[str]] = {}
        for rank, reason in enumerate(gathered(own, self.group, "why a backward pass failed")):
            if reason:
                failed.setdefault(reason, []).append(str(rank))
        told = [f"the backward pass of rank {', '.join(ranks)}: {reason}" for reason, ranks in failed.items()]
        raise DistributedError("\n".join(told) + here())


def share_out(parameters: Sequence[tuple[str, Any]], capacity: int) -> list[list[tuple[str, Any]]]:
    """Parameters in the order in which their gradients come, in buckets of at most ``capacity`` bytes and one dtype.

    The first bucket is small, so that communication begins early. A parameter larger than the capacity has its own.
    """
    shared: list[list[tuple[str, Any]]] = []
    room = 0
    for name, parameter in parameters:
        if not shared or room < parameter.array.nbytes or shared[-1][0][1].array.dtype != parameter.array.dtype:
            room = capacity if shared else capacity // 8
            shared.append([])
        shared[-1].append((name, parameter))
        room -= parameter.array.nbytes
    return shared
