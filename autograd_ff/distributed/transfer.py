"""How the sum of a flat array over all ranks is made: from messages as they are, or in 16 bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import here
from ..errors import DistributedError
from ..kernels.half_precision import STORAGES, narrowed, widened
from .group import ProcessGroup
from .work import Work

__all__ = ["Exchange", "Transfer"]


TAGS = 16000  # of two messages each; MPI knows tags up to 32767 at least
MANY = 32  # ranks, from which on messages to each of them take too long, and MPI's own sum is left to find its ways


class Exchange:
    """A sum over all ranks in two rounds of messages, which stands where MPI's requests do: `Test` lets it go on.

    Each rank sums one stretch of the array: it gets that stretch of all others, and hands the sum round. So nothing moves
    twice, each number is added by one rank alone and in one order, and all ranks end with the same bits. (MPI's own
    non-blocking sum took two to four times as long as its blocking one where this was measured, for two processes and 100 kB
    or more; this takes 0.9 to 1.5 times as long as that.)

    Args:
        group: the processes.
        flat: the array, whose stretches the ranks replace by their sums.
        edges: where the stretches begin and end.
        received: as long as a stretch, for each rank.
        add: called with this rank's stretch and those that came, in the order of ranks.
        tag: of the messages; one more for the second round.
    """

    def __init__(
        self, group: ProcessGroup, flat: np.ndarray, edges: list[int], received: np.ndarray,
        add: Callable[[np.ndarray, list[np.ndarray]], None], tag: int,
    ) -> None:  # fmt: skip
        from mpi4py import MPI

        self.communicator = group.communicator
        self.rank = group.rank
        self.tag = tag
        self.add = add
        self.stretches = [flat[first:last] for first, last in itertools.pairwise(edges)]
        self.own = self.stretches[self.rank]
        # Everybody begins with another one.
        self.others = [(self.rank + step) % group.size for step in range(1, group.size)]
        self.received = {other: received[other, : self.own.size] for other in self.others}
        self.testall = MPI.Request.Testall
        self.requests = [self.communicator.Irecv(self.received[one], one, tag) for one in self.others]
        self.requests += [self.communicator.Isend(self.stretches[one], one, tag) for one in self.others]
        self.second = False

    def Test(self) -> bool:
        if not self.testall(self.requests):
            return False
        if self.second:
            return True
        self.second = True
        with np.errstate(all="ignore"):  # what is infinite or NaN is for others to see
            self.add(self.own, [self.received[one] for one in sorted(self.others)])
        tag = self.tag + 1
        self.requests = [self.communicator.Irecv(self.stretches[one], one, tag) for one in self.others]
        self.requests += [self.communicator.Isend(self.own, one, tag) for one in self.others]
        return bool(self.testall(self.requests))


class Transfer:
    """The sum of a flat array over all ranks, in place, in two halves: started, and finished.

    In 16 bits the sums are those of float32: each number is rounded twice, however many ranks there are.

    Args:
        group: the processes.
        flat: the array.
        name: for errors.
        compression: ``"float16"``, ``"bfloat16"`` or None.
        number: of those under way at once; the same on all ranks.
    """

    communicates = True  # so a plan does it even if nobody looks at the result

    def __init__(
        self, group: ProcessGroup, flat: np.ndarray, name: str, compression: str | None, number: int = 0
    ) -> None:
        if compression is not None and compression not in STORAGES:
            raise DistributedError(
                f"gradients travel as {' or '.join(STORAGES)}, or as they are (None); not as {compression!r}{here()}"
            )
        self.group = group
        self.flat = flat
        self.name = name
        self.tag = 2 * (number % TAGS)
        if flat.dtype == np.float16 and compression is None:  # MPI cannot add these
            compression = "float16"
        self.compression = compression if group.size > 1 else None
        self.finished = False  # in this pass
        self.when_finished: Callable[[], None] | None = None
        self.work: Work | None = None
        self.edges = [rank * flat.size // group.size for rank in range(group.size + 1)]
        stretch = self.edges[group.rank + 1] - self.edges[group.rank]
        if self.compression:
            self.sent = np.zeros(flat.size, np.uint16)
            self.received = np.empty((group.size, stretch), np.uint16)
        elif 1 < group.size < MANY:
            self.received = np.empty((group.size, stretch), flat.dtype)

    @property
    def bytes(self) -> int:
        """What this rank sends in one sum."""
        size = self.sent.nbytes if self.compression else self.flat.nbytes
        return 2 * size * (self.group.size - 1) // self.group.size

    @property
    def under_way(self) -> bool:
        """Whether it is started and not finished."""
        return self.work is not None

    def start(self) -> None:
        group = self.group
        if group.size == 1:
            return
        if self.compression is not None:
            narrowed(self.flat, self.compression, self.sent)
            request: Any = Exchange(group, self.sent, self.edges, self.received, self._add_narrow, self.tag)
        elif group.size < MANY:
            request = Exchange(group, self.flat, self.edges, self.received, _add, self.tag)
        else:
            from mpi4py import MPI

            request = group.communicator.Iallreduce(MPI.IN_PLACE, self.flat, op=MPI.SUM)
        self.work = Work(group, self.name, request)

    def _add_narrow(self, own: np.ndarray, others: list[np.ndarray]) -> None:
        assert self.compression is not None
        total = widened(own, self.compression)
        for one in others:
            total += widened(one, self.compression)
        narrowed(total, self.compression, own)

    def finish(self) -> None:
        if self.work is None:
            return
        self.work.wait()
        self.work = None
        if self.compression is not None:
            widened(self.sent, self.compression, self.flat.dtype, self.flat)
        self.finished = True
        if self.when_finished is not None:
            self.when_finished()


def _add(own: np.ndarray, others: list[np.ndarray]) -> None:
    for one in others:
        np.add(own, one, out=own)
