"""Collectives under way: each is started without blocking and waited for, so that one which never ends is reported."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from ..engine import here
from ..errors import DistributedError
from .group import ProcessGroup

__all__ = ["Work", "bits_of", "progress", "start"]


class Work:
    """A collective under way.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> work = distributed.all_reduce(x := af.ones(2), async_op=True)
    >>> work.wait()
    >>> x
    tensor([1., 1.])
    """

    __slots__ = ("_finish", "group", "name", "number", "request")

    def __init__(self, group: ProcessGroup, name: str, request: Any, finish: Any = None) -> None:
        self.group = group
        self.name = name
        self.number = group.begin(name)
        self.request = request
        self._finish = finish
        if request is not None:
            _under_way[id(self)] = self

    def is_completed(self) -> bool:
        """Whether it has ended; asking lets it go on."""
        if self.request is not None and self.request.Test():
            self.request = None
            _under_way.pop(id(self), None)
        if self.request is None:
            self._end()
        return self.request is None

    def _end(self) -> None:
        if self._finish is not None:
            finish, self._finish = self._finish, None
            finish()

    def wait(self) -> None:
        """Until it has ended.

        Raises:
            DistributedError: it has not within the group's time limit.
        """
        if self.request is not None:
            self._wait()
        self._end()

    def _wait(self) -> None:
        group = self.group
        if self.is_completed():
            return
        assert group.watch is not None
        begun = time.monotonic()
        patrol = group.watch.patrol(group, self.number, self.name)
        while not self.is_completed():
            progress()  # this rank's next one may be what another rank waits for first
            # Processes may be more than cores: the one that is waited for has to run.
            os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
            if time.monotonic() - begun > group.timeout:
                raise DistributedError(
                    f"rank {group.rank} of {group.size} has waited {group.timeout:g} s in {self.name}, its collective "
                    f"number {self.number}.{here()}\n"
                    "  Another rank has not come to it: it is busy, stands still, or does other collectives; compare with "
                    "what the other ranks report. init_process_group(timeout=...) sets the limit."
                )
            patrol.look()


# Those that have not ended, in the order in which they began.
_under_way: dict[int, Work] = {}


def progress() -> None:
    """Let all collectives of this process go on: messages move only while MPI is called."""
    for work in tuple(_under_way.values()):
        work.is_completed()


def start(group: ProcessGroup, name: str, method: str, *arguments: Any, finish: Any = None, **keywords: Any) -> Work:
    """Begin one of mpi4py's collectives, such as ``"Iallreduce"``, which all ranks are known to begin now."""
    request = None if group.size == 1 else getattr(group.communicator, method)(*arguments, **keywords)
    return Work(group, name, request, finish)


def bits_of(array: np.ndarray) -> np.ndarray:
    """An array as MPI can carry it: it knows no float16."""
    return array.view(np.uint16) if array.dtype == np.float16 else array
