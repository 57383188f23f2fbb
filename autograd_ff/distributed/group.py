"""The processes of a job, as MPI started them: who this one is, how many there are, and how all of them end.

The same program runs alone, with one process and without mpi4py: then there is nothing to communicate with, and every
collective does what it does among one.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import Any

from ..engine import here
from ..errors import DistributedError

__all__ = [
    "ProcessGroup", "abort", "destroy_process_group", "get_rank", "get_world_size", "init_process_group", "is_initialized",
    "world",
]  # fmt: skip

TIMEOUT = 600.0  # seconds
# What launchers of MPI jobs set for each process: Open MPI, PMIx (Slurm), PMI (MPICH, Intel MPI, Slurm), MVAPICH.
LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


class ProcessGroup:
    """Processes that communicate.

    Attributes:
        communicator: mpi4py's; None for a process alone.
        rank: the number of this process, from 0.
        size: how many there are.
        timeout: seconds after which a collective that has not ended is reported.
        calls: how many collectives this process has begun.

    >>> from autograd_ff.distributed.group import world
    >>> world()
    ProcessGroup(rank 0 of 1)
    """

    def __init__(self, communicator: Any, timeout: float) -> None:
        self.communicator = communicator
        self.rank = 0 if communicator is None else communicator.Get_rank()
        self.size = 1 if communicator is None else communicator.Get_size()
        self.timeout = timeout
        self.calls = 0

    def __repr__(self) -> str:
        return f"ProcessGroup(rank {self.rank} of {self.size})"


_world: ProcessGroup | None = None


def launched() -> bool:
    """Whether a launcher of MPI jobs started this process."""
    return any(name in os.environ for name in LAUNCHERS)


def init_process_group(backend: str | None = None, timeout: float = TIMEOUT) -> None:
    """Join the other processes that ``mpiexec`` started; alone, if it did not.

    From then on an error that nobody catches ends the whole job, with that process's error shown.

    Args:
        backend: ``"mpi"``, or None for MPI where a launcher started this process, and no communication otherwise.
        timeout: seconds after which a collective that has not ended is reported.

    Raises:
        DistributedError: called twice; mpi4py is needed and not installed; another backend.

    >>> from autograd_ff import distributed
    >>> distributed.init_process_group()
    >>> distributed.get_rank(), distributed.get_world_size()
    (0, 1)
    >>> distributed.destroy_process_group()
    """
    global _world
    if _world is not None:
        raise DistributedError(f"init_process_group was called before; destroy_process_group() undoes it{here()}")
    if backend not in (None, "mpi"):
        raise DistributedError(f"the backend is 'mpi', not {backend!r}{here()}")
    if not timeout > 0:
        raise DistributedError(f"timeout has to be a positive number of seconds, got {timeout!r}{here()}")
    communicator = None
    if backend == "mpi" or launched() or "mpi4py.MPI" in sys.modules:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise DistributedError(
                f"this process is one of an MPI job, and mpi4py cannot be imported: {error}.\n"
                f'  pip install "autograd_ff[mpi]"{here()}'
            ) from None
        communicator = MPI.COMM_WORLD.Dup()  # messages of our own do not meet the user's
    _world = ProcessGroup(communicator, float(timeout))
    if _world.size > 1:
        sys.excepthook = _end_the_job


def destroy_process_group() -> None:
    """Leave the group; errors end this process alone again.

    >>> from autograd_ff import distributed
    >>> distributed.init_process_group()
    >>> distributed.destroy_process_group()
    >>> distributed.is_initialized()
    False
    """
    global _world
    if _world is not None and _world.communicator is not None:
        _world.communicator.Free()
    if sys.excepthook is _end_the_job:
        sys.excepthook = sys.__excepthook__
    _world = None


def is_initialized() -> bool:
    """Whether `init_process_group` was called.

    >>> from autograd_ff import distributed
    >>> distributed.is_initialized()
    False
    """
    return _world is not None


def get_rank() -> int:
    """The number of this process, from 0; 0 before `init_process_group`.

    >>> from autograd_ff import distributed
    >>> distributed.get_rank()
    0
    """
    return 0 if _world is None else _world.rank


def get_world_size() -> int:
    """How many processes there are; 1 before `init_process_group`.

    >>> from autograd_ff import distributed
    >>> distributed.get_world_size()
    1
    """
    return 1 if _world is None else _world.size


_ALONE = ProcessGroup(None, TIMEOUT)


def world() -> ProcessGroup:
    """The group of all processes; of this one alone before `init_process_group`."""
    return _ALONE if _world is None else _world


def abort(code: int = 1) -> None:
    """End all processes of the job at once, with an exit code; without others, do nothing.

    >>> from autograd_ff import distributed
    >>> distributed.abort()  # alone
    """
    group = world()
    if group.size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        group.communicator.Abort(code)


def _end_the_job(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nobody caught, and end the other processes too, which would wait for this one for ever."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(f"rank {get_rank()} of {get_world_size()} failed:\n{text}")
    abort(130 if issubclass(kind, KeyboardInterrupt) else 1)
