"""How a flat array travels: as it is, or in 16 bits."""

from __future__ import annotations

import numpy as np

from ..engine import here
from ..errors import DistributedError
from .collectives import Work, start
from .group import ProcessGroup

__all__ = ["FORMATS", "Transfer"]


def _to_float16(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinite then, which the check for finite gradients sees
        return values.astype(np.float16).view(np.uint16)


def _from_float16(bits: np.ndarray) -> np.ndarray:
    return bits.view(np.float16).astype(np.float32)


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    bits = values.astype(np.float32).view(np.uint32)
    # To the nearest, ties to even; a NaN stays one.
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


FORMATS = {"float16": (_to_float16, _from_float16), "bfloat16": (_to_bfloat16, _from_bfloat16)}


class Transfer:
    """The sum of a flat array over all ranks, in place, in two halves: started, and finished.

    In 16 bits every rank sums one stretch of the array, in float32: it gets that stretch of all others, and hands the
    sum round. So each number is rounded twice, however many ranks there are, and all ranks end with the same bits.
    """

    def __init__(self, group: ProcessGroup, flat: np.ndarray, name: str, compression: str | None) -> None:
        if compression is not None and compression not in FORMATS:
            raise DistributedError(
                f"gradients travel as {' or '.join(FORMATS)}, or as they are (None); not as {compression!r}{here()}"
            )
        self.group = group
        self.flat = flat
        self.name = name
        self.compression = compression if group.size > 1 else None
        self.work: Work | None = None
        if self.compression:
            self.stretch = -(-flat.size // group.size)
            self.sent = np.zeros((group.size, self.stretch), np.uint16)
            self.received = np.empty_like(self.sent)

    @property
    def bytes(self) -> int:
        """What this rank sends in one sum, in a ring."""
        size = self.sent.nbytes if self.compression else self.flat.nbytes
        return 2 * size * (self.group.size - 1) // self.group.size

    def start(self) -> None:
        if self.group.size == 1:
            return
        if self.compression is None:
            from mpi4py import MPI

            self.work = start(self.group, self.name, "Iallreduce", MPI.IN_PLACE, self.flat, op=MPI.SUM)
            return
        self.sent.reshape(-1)[: self.flat.size] = FORMATS[self.compression][0](self.flat)
        self.work = start(self.group, self.name, "Ialltoall", self.sent, self.received)

    def finish(self) -> None:
        if self.work is None:
            return
        self.work.wait()
        self.work = None
        if self.compression is None:
            return
        narrow, widen = FORMATS[self.compression]
        total = widen(self.received[0])
        for part in self.received[1:]:
            total += widen(part)
        start(self.group, self.name, "Iallgather", narrow(total), self.received).wait()
        np.copyto(self.flat, widen(self.received.reshape(-1)[: self.flat.size]))

    def poke(self) -> None:
        """Let it go on: MPI moves messages only while it is called."""
        if self.work is not None:
            self.work.is_completed()
