"""Gradients that travel together: each bucket is one flat array, reduced while the backward pass still runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import apply_raw, wrap
from .compression import Transfer
from .group import ProcessGroup
from .operations import finish_all_reduce, pack_gradient, start_all_reduce, unpack_gradient

__all__ = ["Bucket", "share_out"]


class Bucket:
    """Some parameters, and one flat array for the gradients of them.

    Args:
        number: its place among the buckets, which is the order in which they are started.
        parameters: (name, Parameter) pairs, of one dtype.
        group: the processes.
        compression: what the gradients travel as, see `DistributedDataParallel`.
    """

    def __init__(
        self, number: int, parameters: Sequence[tuple[str, Any]], group: ProcessGroup, compression: str | None
    ):
        self.number = number
        self.parameters = list(parameters)
        self.group = group
        dtype = self.parameters[0][1].array.dtype
        self.flat = np.zeros(sum(parameter.array.size for _, parameter in parameters), dtype)
        self.places: dict[int, np.ndarray] = {}
        first = 0
        for _, parameter in parameters:
            size = parameter.array.size
            self.places[id(parameter)] = self.flat[first : first + size].reshape(parameter.array.shape)
            first += size
        self.factor = dtype.type(1 / group.size)
        self.transfer = Transfer(group, self.flat, f"gradient bucket {number}, {self}", compression)
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
        """Begin to sum over the ranks; a gradient that did not come counts as zero."""
        for _, parameter in self.parameters:
            if id(parameter) in self.waiting:
                self.places[id(parameter)][...] = 0
        apply_raw(start_all_reduce, (self.flat,), {"transfer": self.transfer})

    def finish(self) -> None:
        """Wait for the sum."""
        apply_raw(finish_all_reduce, (self.flat,), {"transfer": self.transfer})

    def unpack(self, parameter: Any) -> None:
        """Give a parameter the mean of its gradient."""
        place = self.places[id(parameter)]
        if parameter.grad is None:
            parameter.grad = wrap(place.copy())
        else:
            apply_raw(unpack_gradient, (parameter.grad.array, place))


def share_out(parameters: Sequence[tuple[str, Any]], capacity: int) -> list[list[tuple[str, Any]]]:
    """Parameters in the order in which their gradients come, in buckets of at most ``capacity`` bytes and one dtype.

    The first bucket is small, so that communication begins early. A parameter larger than the capacity has its own.
    """
    shared: list[list[tuple[str, Any]]] = []
    room = 0
    for name, parameter in parameters:
        if room < parameter.array.nbytes or shared[-1][0][1].array.dtype != parameter.array.dtype:
            room = capacity if shared else capacity // 8
            shared.append([])
        shared[-1].append((name, parameter))
        room -= parameter.array.nbytes
    return shared
