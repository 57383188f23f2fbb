"""How many threads BLAS uses for each product of a plan.

A product on several threads has to find the other threads running: where another process has the core, one of them waits
for the operating system's next turn, up to 20 ms, whatever the size of the product. So threads are worth having
where they save much, and a small product is best left on one. `choose` says which; `BlasThreads` sets the number.

**The number of threads is the process's, not the thread's.** OpenBLAS has had `openblas_set_num_threads_local` since
0.3.27, but with its own threads ("pthreads", as in NumPy's wheels) it stores into the same one number as
`openblas_set_num_threads`: after a call in one thread, every other thread reads the new number. So nothing is gained by
it, and the plain setter is used. As there is one number, one caller at a time may change it: `acquire` hands the setter
to the first, and to those who come while it is in use a setter that does nothing. Without that, the second of two
overlapping steps would take the first one's choice for the number that was in force, and leave it behind.

A caller's limit (`threadpool_limits`, `OPENBLAS_NUM_THREADS`) is read at each `acquire`: no product gets more threads
than that, and it is in force again after `release`. A limit that another thread sets in the middle of a step is undone
at that step's end.

The library is found by threadpoolctl, once and at first use (an import of some 15 ms and a search of 2 ms); without
threadpoolctl, or with another BLAS than an OpenBLAS with threads of its own, no choice is made and nothing is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ALL", "EITHER", "ONE", "BlasThreads", "blas_threads", "choose", "switches"]

ONE = 1  # on one thread
ALL = None  # on as many as are in force when the step is called
EITHER = 0  # BLAS does not use threads for it, or BLAS is not used: whatever is set

# Real multiplications of a product's element, in float32's time; other dtypes are not BLAS's.
COST = {"f": 1, "d": 2, "F": 4, "D": 8}

# Products of at most so many multiplications OpenBLAS does on one thread by itself (its interface/gemm.c, gemv.c).
UNTHREADED_MATRIX, UNTHREADED_COMPLEX, UNTHREADED_VECTOR = 4 * 65536, 4 * 8192, 4 * 2304

# Beyond these (multiplications of float32), threads save more than they put at risk: `python -m benchmarks threads`. On an
# idle machine with two cores, a product of 2^20 takes some 5 µs less of a training step on both, one of 2^21 10 to 15, one
# of 2^22.6 60. A matrix times a vector is 1.6 times as fast on both while it is in their caches, and in a training step,
# where the optimizer has been through the memory in between, no faster at all.
WORTH_MATRIX = 3 << 19
WORTH_VECTOR = 2 << 20


def choose(m: int, n: int, k: int, dtype: npt.DTypeLike = np.float32) -> int | None:
    """`ONE`, `ALL` or `EITHER`: the threads for a product of an (m, k) and a (k, n) matrix; m or n is 1 for a vector.

    It depends on the shapes and the dtype alone, never on a measurement, so that a program's results are the same in each
    run (a product on two threads may round otherwise than on one). Which operand is transposed makes no difference.

    >>> choose(64, 128, 128), choose(256, 1024, 784), choose(64, 10, 128)
    (1, None, 0)
    """
    kind = np.dtype(dtype).char
    if kind not in COST:
        return EITHER
    work = m * n * k
    if m == 1 or n == 1:
        unthreaded, worth = UNTHREADED_VECTOR, WORTH_VECTOR
    else:
        unthreaded, worth = UNTHREADED_COMPLEX if kind in "FD" else UNTHREADED_MATRIX, WORTH_MATRIX
    if work <= unthreaded:
        return EITHER
    return ALL if work * COST[kind] > worth else ONE


def switches(choices: Iterable[int | None]) -> list[int | None]:
    """What to set before each product of a step, `EITHER` for nothing, given that all threads are in force at first.

    >>> switches([EITHER, ONE, ONE, EITHER, ALL, ONE])
    [0, 1, 0, 0, None, 1]
    """
    now: int | None = ALL
    found: list[int | None] = []
    for choice in choices:
        found.append(EITHER if choice in (EITHER, now) else choice)
        now = now if choice == EITHER else choice
    return found


def _keep(number: int) -> None:
    """The setter of those who may not set."""


class BlasThreads:
    """The number of threads of the BLAS that NumPy uses.

    A step that switches::

        every = 0
        try:
            switch, every = blas.acquire()
            switch(1)  # 0.1 µs
            np.matmul(a, b, c)
            switch(every)
            np.matmul(d, e, f)
        finally:
            blas.release(every)

    `get` and `set` are the library's own functions, called by ctypes with the interpreter's lock held (they read and
    store one number; letting go of the lock would cost more than that) and plain integers. `set` is for whoever has
    acquired it.
    """

    def __init__(self, path: str | None = None, get: Callable[[], int] | None = None, set: Any = None) -> None:
        self.path = path  # of the library; None: no choice is made
        self.get: Callable[[], int] = get or (lambda: 1)
        self.set: Callable[[int], object] = set or _keep
        self._lock = threading.Lock()
        self._every = 0  # what to go back to, while somebody has acquired it
        self._owner = 0  # the Python thread that has

    @property
    def available(self) -> bool:
        """Whether a choice is made at all."""
        return self.path is not None

    @property
    def maximum(self) -> int:
        """The threads in force outside of any step: never more are used in one."""
        return self._every or self.get()

    def acquire(self) -> tuple[Callable[[int], object], int]:
        """The setter and the number of threads in force, to be handed back to `release`.

        Where there is nothing to choose (one thread in force, no library found) or somebody else is choosing, the setter
        does nothing and the number is 0.
        """
        if self.path is None or not self._lock.acquire(False):
            return _keep, 0
        every = self.get()
        if every <= 1:
            self._lock.release()
            return _keep, 0
        self._every, self._owner = every, threading.get_ident()
        return self.set, every

    def release(self, every: int) -> None:
        """Puts the number of `acquire` back in force."""
        if every:
            self.set(every)
            self._every = 0
            self._lock.release()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """One thread inside the `with`."""
        every = 0
        try:
            switch, every = self.acquire()
            switch(1)
            yield
        finally:
            self.release(every)

    def _forked(self) -> None:
        """In the child of a fork in the middle of another thread's step, nobody would ever release it."""
        if self._owner == threading.get_ident():
            return
        every, self._every, self._lock = self._every, 0, threading.Lock()
        if every:
            self.set(every)


@functools.cache
def blas_threads() -> BlasThreads:
    """NumPy's BLAS, searched for at the first call in a process."""
    found = _find()
    if found.available and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=found._forked)
    return found


def _find() -> BlasThreads:
    try:
        from threadpoolctl import ThreadpoolController

        libraries = ThreadpoolController().lib_controllers
        library = _numpys([one for one in libraries if one.user_api == "blas"])
        if library is None or library.internal_api != "openblas" or library.threading_layer != "pthreads":
            return BlasThreads()
        path = str(library.filepath)
        loaded = ctypes.PyDLL(path, handle=library.dynlib._handle)
        affixes = [(prefix, suffix) for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")]
        names = [f"{prefix}openblas_{{}}_num_threads{suffix}" for prefix, suffix in affixes]
        name = next(name for name in names if hasattr(loaded, name.format("get")))
        get, set = getattr(loaded, name.format("get")), getattr(loaded, name.format("set"))
    except (ImportError, AttributeError, OSError, StopIteration):  # none installed, or not one that we know
        return BlasThreads()
    set.restype = None
    return BlasThreads(path, get, set)


def _numpys(libraries: list[Any]) -> Any:
    """The one that NumPy calls: the one in NumPy's wheel, else the only one that no other package brought along."""
    numpy = Path(np.__file__).resolve().parent
    paths = [Path(library.filepath).resolve() for library in libraries]
    for library, path in zip(libraries, paths, strict=True):
        if path.is_relative_to(numpy) or path.is_relative_to(numpy.parent / "numpy.libs"):
            return library
    brought = {"site-packages", "dist-packages"}
    system = [library for library, path in zip(libraries, paths, strict=True) if not brought & set(path.parts)]
    return system[0] if len(system) == 1 else None
