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
import importlib.util
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, ClassVar

from ..engine import here
from ..errors import DistributedError
from .watch import Watch

__all__ = [
    "ProcessGroup", "abort", "destroy_process_group", "get_rank", "get_world_size", "init_process_group", "is_available",
    "is_initialized", "joined", "launched", "world",
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
        number: of the channel, 0 for the group itself.

    >>> from autograd_ff.distributed.group import world
    >>> world()
    ProcessGroup(rank 0 of 1)
    """

    KEPT: ClassVar[int] = 256  # names
    communicates = True  # an op with a group among its parameters does more than to compute

    def __init__(self, communicator: Any, timeout: float) -> None:
        self.communicator = communicator
        self.rank = 0 if communicator is None else communicator.Get_rank()
        self.size = 1 if communicator is None else communicator.Get_size()
        self.timeout = timeout
        self.calls = 0
        self.watch = Watch(self) if self.size > 1 else None
        self.names: dict[int, str] = {}  # of the last collectives, by their numbers
        self.number = 0  # among the channels
        self._channels: list[ProcessGroup] = []

    def begin(self, name: str) -> int:
        """Count a collective; its number."""
        self.calls += 1
        self.names[self.calls] = name
        self.names.pop(self.calls - self.KEPT, None)
        return self.calls

    def __repr__(self) -> str:
        return f"ProcessGroup(rank {self.rank} of {self.size})"

    def __deepcopy__(self, memo: dict[int, Any]) -> ProcessGroup:
        return self

    def __reduce__(self) -> Any:
        """Processes cannot be stored: what is loaded belongs to those that load it."""
        return world, ()

    def channel(self) -> ProcessGroup:
        """The same processes over another communicator, whose collectives need no common order with this one's.

        All processes call it together. The ninth has the communicator of the first.
        """
        if self.size == 1 or self.watch is None:
            return self
        given = len(self._channels)
        # A group of its own in any case, which counts its collectives by itself.
        shared = self.communicator.Dup() if given < CHANNELS else self._channels[given % CHANNELS].communicator
        new = ProcessGroup(shared, self.timeout)
        new.watch = self.watch
        new.number = given + 1
        self.watch.groups.append(new)
        self._channels.append(new)
        return new

    def leave(self, timeout: float | None = None) -> None:
        """Wait until no process begins a collective any more; see `Watch.leave`."""
        if self.watch is not None:
            self.watch.leave(timeout)

    def free(self) -> None:
        """Give the communicators back. The group is of no use afterwards."""
        for group in (*self._channels[:CHANNELS], self):
            if group.communicator is not None:
                group.communicator.Free()


_world: ProcessGroup | None = None
_asked = False  # whether init_process_group was ever called: who leaves the group means to be alone
_hook_before: Callable[..., Any] = sys.__excepthook__


def launched() -> bool:
    """Whether a launcher of MPI jobs started this process, as one of several."""
    sizes = [os.environ[name] for name in SIZES if name in os.environ]
    if not sizes and "PMIX_RANK" in os.environ:
        sizes = [os.environ.get("SLURM_STEP_NUM_TASKS", "several")]
    return any(size != "1" for size in sizes)


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: float | timedelta = TIMEOUT,
    world_size: int = -1, rank: int = -1,
) -> None:  # fmt: skip
    """Join the other processes that ``mpiexec`` started; alone, if it did not.

    From then on an error that nobody catches ends the whole job, with that process's error shown, and so does a program
    that ends, by ``sys.exit`` or by coming to its end, while others wait for it in a collective.

    Args:
        backend: ``"mpi"``, or None for MPI where a launcher started this process, and no communication otherwise.
        init_method, world_size, rank: PyTorch's, of which MPI needs none: they are refused with what to do instead.
        timeout: seconds, or a `datetime.timedelta`, after which a collective that has not ended is reported.

    Raises:
        DistributedError: called twice; mpi4py is needed and not installed; another backend.

    >>> from autograd_ff import distributed
    >>> distributed.init_process_group()
    >>> distributed.get_rank(), distributed.get_world_size()
    (0, 1)
    >>> distributed.destroy_process_group()
    """
    global _world, _hook_before, _asked
    if _world is not None:
        raise DistributedError(f"init_process_group was called before; destroy_process_group() undoes it{here()}")
    if backend not in (None, "mpi") or init_method is not None or world_size != -1 or rank != -1:
        named = f"backend {backend!r}" if backend not in (None, "mpi") else "init_method, world_size and rank"
        raise DistributedError(
            f"there is MPI alone, whose launcher says who is there; {named} cannot be chosen.{here()}\n"
            "  Call init_process_group() without arguments, and start the program with: mpiexec -n 2 python program.py"
        )
    timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not timeout > 0:
        raise DistributedError(f"timeout has to be a positive number of seconds, got {timeout!r}{here()}")
    communicator = None
    if backend == "mpi" or launched() or "mpi4py.MPI" in sys.modules:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise DistributedError(
                f"{'this process is one of an MPI job' if launched() else 'MPI was asked for'}, and mpi4py cannot be "
                f"imported: {error}.\n"
                f'  pip install "autograd_ff[mpi]"{here()}'
            ) from None
        communicator = MPI.COMM_WORLD.Dup()  # messages of our own do not meet the user's
    _world, _asked = ProcessGroup(communicator, float(timeout)), True
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


def is_available() -> bool:
    """Whether mpi4py is installed, without which a process is always alone.

    >>> from autograd_ff import distributed
    >>> distributed.is_available() in (True, False)
    True
    """
    return importlib.util.find_spec("mpi4py") is not None


def get_rank(group: ProcessGroup | None = None) -> int:
    """The number of this process, from 0.

    Raises:
        DistributedError: one of several, and `init_process_group` was not called.

    >>> from autograd_ff import distributed
    >>> distributed.get_rank()
    0
    """
    return (group or world()).rank


def get_world_size(group: ProcessGroup | None = None) -> int:
    """How many processes there are.

    Raises:
        DistributedError: more than one, and `init_process_group` was not called.

    >>> from autograd_ff import distributed
    >>> distributed.get_world_size()
    1
    """
    return (group or world()).size


_ALONE = ProcessGroup(None, TIMEOUT)


def world() -> ProcessGroup:
    """The group of all processes; of this one alone before `init_process_group`, where no launcher started it.

    Raises:
        DistributedError: one of several, and `init_process_group` was not called.
    """
    if not _asked and launched():
        raise DistributedError(
            f"this process is one of several that a launcher started, and has not joined them.{here()}\n"
            "  Call autograd_ff.distributed.init_process_group() at the beginning of the program."
        )
    return joined()


def joined() -> ProcessGroup:
    """The processes that this one has joined: itself, where it has not."""
    return _ALONE if _world is None else _world


def abort(code: int = 1) -> None:
    """End all processes of the job at once, with an exit code; without others, do nothing.

    >>> from autograd_ff import distributed
    >>> distributed.abort()  # alone
    """
    group = joined()
    if group.size > 1:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed, or nobody reads it
                stream.flush()
        group.communicator.Abort(code)


def _end_the_job(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nobody caught, and end the other processes too, which would wait for this one for ever."""
    try:
        heading = f"rank {joined().rank} of {joined().size} failed:\n"
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
