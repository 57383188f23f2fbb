"""The processes of a job, as MPI started them: who this one is, how many there are, and how all of them end.

The same program runs alone, with one process and without mpi4py: then there is nothing to communicate with, and every
collective does what it does among one.

MPI ends a job when a process is killed. An error that nobody catches, and a program that ends while the others still
wait, would be silence to them: MPI's own end waits for all. So the one is told to MPI at once, the other to the
neighbours (see `watch`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any

from ..engine import here
from ..errors import DistributedError
from .watch import Watch

__all__ = [
    "ProcessGroup", "abort", "destroy_process_group", "get_rank", "get_world_size", "init_process_group", "is_initialized",
    "world",
]  # fmt: skip

TIMEOUT = 600.0  # seconds
GRACE = 1.0  # seconds in which other ranks that fail of the same show their error too, before the job ends
CHANNELS = 8  # communicators for the gradients of several models: MPI has only so many
# What launchers of MPI jobs set for each process: Open MPI, PMI (MPICH, Intel MPI, Slurm), MVAPICH; PMIx (Slurm) says no size.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


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

    communicates = True  # an op with a group among its parameters does more than to compute

    def __init__(self, communicator: Any, timeout: float) -> None:
        self.communicator = communicator
        self.rank = 0 if communicator is None else communicator.Get_rank()
        self.size = 1 if communicator is None else communicator.Get_size()
        self.timeout = timeout
        self.calls = 0
        self.watch = Watch(self) if self.size > 1 else None
        self._channels: list[ProcessGroup] = []
        self._given = 0

    def __repr__(self) -> str:
        return f"ProcessGroup(rank {self.rank} of {self.size})"

    def __deepcopy__(self, memo: dict[int, Any]) -> ProcessGroup:
        return self

    def __reduce__(self) -> Any:
        """Processes cannot be stored: what is loaded belongs to those that load it."""
        return world, ()

    def channel(self) -> ProcessGroup:
        """The same processes over another communicator, whose collectives need no common order with this one's.

        All processes call it together. The ninth is the first again.
        """
        if self.size == 1 or self.watch is None:
            return self
        self._given += 1
        if len(self._channels) < CHANNELS:
            new = ProcessGroup(self.communicator.Dup(), self.timeout)
            new.watch = self.watch
            self.watch.groups.append(new)
            self._channels.append(new)
            return new
        return self._channels[(self._given - 1) % CHANNELS]

    def leave(self, timeout: float | None = None) -> None:
        """Wait until no process begins a collective any more; see `Watch.leave`."""
        if self.watch is not None:
            self.watch.leave(timeout)

    def free(self) -> None:
        """Give the communicators back. The group is of no use afterwards."""
        for group in (*self._channels, self):
            if group.communicator is not None:
                group.communicator.Free()


_world: ProcessGroup | None = None
_hook_before: Callable[..., Any] = sys.__excepthook__


def launched() -> bool:
    """Whether a launcher of MPI jobs started this process, as one of several."""
    sizes = [os.environ[name] for name in SIZES if name in os.environ]
    if not sizes and "PMIX_RANK" in os.environ:
        sizes = [os.environ.get("SLURM_STEP_NUM_TASKS", "several")]
    return any(size != "1" for size in sizes)


def init_process_group(backend: str | None = None, timeout: float | timedelta = TIMEOUT) -> None:
    """Join the other processes that ``mpiexec`` started; alone, if it did not.

    From then on an error that nobody catches ends the whole job, with that process's error shown, and so does a program
    that ends, by ``sys.exit`` or by coming to its end, while others wait for it in a collective.

    Args:
        backend: ``"mpi"``, or None for MPI where a launcher started this process, and no communication otherwise.
        timeout: seconds, or a `datetime.timedelta`, after which a collective that has not ended is reported.

    Raises:
        DistributedError: called twice; mpi4py is needed and not installed; another backend.

    >>> from autograd_ff import distributed
    >>> distributed.init_process_group()
    >>> distributed.get_rank(), distributed.get_world_size()
    (0, 1)
    >>> distributed.destroy_process_group()
    """
    global _world, _hook_before
    if _world is not None:
        raise DistributedError(f"init_process_group was called before; destroy_process_group() undoes it{here()}")
    if backend not in (None, "mpi"):
        raise DistributedError(f"the backend is 'mpi', not {backend!r}{here()}")
    timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
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
        _hook_before, sys.excepthook = sys.excepthook, _end_the_job
        atexit.register(_leave_at_exit)  # mpi4py ends MPI after all that is registered here


def destroy_process_group() -> None:
    """Leave the group; errors end this process alone again. All processes do it together.

    Raises:
        DistributedError: the others have not within the time limit.

    >>> from autograd_ff import distributed
    >>> distributed.init_process_group()
    >>> distributed.destroy_process_group()
    >>> distributed.is_initialized()
    False
    """
    global _world
    if _world is None:
        return
    leaving, _world = _world, None
    atexit.unregister(_leave_at_exit)
    if sys.excepthook is _end_the_job:
        sys.excepthook = _hook_before
    leaving.leave(leaving.timeout)
    leaving.free()


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
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed, or nobody reads it
                stream.flush()
        group.communicator.Abort(code)


def _end_the_job(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nobody caught, and end the other processes too, which would wait for this one for ever."""
    try:
        heading = f"rank {get_rank()} of {get_world_size()} failed:\n"
        if _hook_before is sys.__excepthook__:  # in one piece: the ranks write to one terminal
            sys.stderr.write(heading + "".join(traceback.format_exception(kind, error, trace)))
        else:
            sys.stderr.write(heading)
            _hook_before(kind, error, trace)
        sys.stderr.flush()
        time.sleep(GRACE)
    finally:
        abort(130 if issubclass(kind, KeyboardInterrupt) else 1)


def _leave_at_exit() -> None:
    """The program has come to its end, by whatever way, and the others may still wait for it."""
    if _world is not None:
        _world.leave()
