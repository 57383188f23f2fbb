"""The number of BLAS threads: chosen by the shapes alone, never above the caller's limit, and always put back."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograd_ff.compiler import threads
from autograd_ff.compiler.threads import ALL, EITHER, ONE, BlasThreads, blas_threads, choose, switches


class Library:
    """One number of threads, as an OpenBLAS keeps it, and all that it was ever set to."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.history: list[int] = []

    def get(self) -> int:
        return self.number

    def set(self, number: int) -> None:
        self.number = number
        self.history.append(number)


@pytest.fixture
def library() -> Library:
    return Library(4)


@pytest.fixture
def blas(library: Library) -> BlasThreads:
    return BlasThreads("libopenblas.so", library.get, library.set)


def step(blas: BlasThreads, *numbers: int, fail: bool = False) -> None:
    """What the compiler emits; 0 stands for all threads."""
    every = 0
    try:
        switch, every = blas.acquire()
        for number in numbers:
            switch(number or every)
        if fail:
            raise ArithmeticError("in the middle of a step")
    finally:
        blas.release(every)


# ---------------------------------------------------------------- setting and putting back


def test_the_number_is_set_and_put_back(blas, library):
    step(blas, 1, 0, 1)
    assert library.history == [1, 4, 1, 4]
    assert library.number == 4


def test_it_is_put_back_after_an_exception_and_usable_again(blas, library):
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            step(blas, 1, fail=True)
        assert library.number == 4
    assert library.history == [1, 4, 1, 4], "the second step could choose again"


@given(limits=st.lists(st.integers(1, 8), min_size=1), numbers=st.lists(st.sampled_from([0, 1])))
def test_a_callers_limit_is_honoured_and_left_in_force(limits, numbers):
    library = Library(8)
    blas = BlasThreads("libopenblas.so", library.get, library.set)
    for limit in limits:
        library.number, library.history = limit, []
        step(blas, *numbers)
        assert library.number == limit
        assert all(1 <= number <= limit for number in library.history)
        assert blas.maximum == limit


def test_one_thread_in_force_is_left_alone(blas, library):
    library.number = 1
    step(blas, 1, 0)
    assert library.history == []


def test_the_maximum_is_the_number_outside_of_the_step_that_is_running(blas, library):
    with blas.one():
        assert (library.number, blas.maximum) == (1, 4)
    assert (library.number, blas.maximum) == (4, 4)


def test_a_step_in_a_step_leaves_the_choice_to_the_outer_one(blas, library):
    every = 0
    try:
        switch, every = blas.acquire()
        switch(1)
        step(blas, 0, 1, 0)
        assert library.number == 1
    finally:
        blas.release(every)
    assert library.number == 4


def test_of_two_overlapping_steps_one_chooses_and_nothing_stays_behind(blas, library):
    """The second one enters while the first one's choice is in force, and leaves after the first one."""
    _, second = blas.acquire()[1], None
    library.set(1)
    entered, may_leave = threading.Event(), threading.Event()

    def overlapping() -> None:
        nonlocal second
        switch, second = blas.acquire()
        switch(3)
        entered.set()
        may_leave.wait(10)
        blas.release(second)

    thread = threading.Thread(target=overlapping)
    thread.start()
    assert entered.wait(10)
    assert (second, library.number) == (0, 1), "the second one may not choose"
    blas.release(4)
    assert library.number == 4
    may_leave.set()
    thread.join()
    assert library.number == 4
    step(blas, 1)
    assert library.history[-2:] == [1, 4], "whoever comes next may choose"


def test_many_steps_in_two_threads_leave_the_number_as_it_was(blas, library):
    def many() -> None:
        for _ in range(2000):
            step(blas, 1, 0, 1)

    workers = [threading.Thread(target=many) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert library.number == 4
    assert library.history, "somebody chose"


# ---------------------------------------------------------------- finding NumPy's library


PACKAGES = Path(np.__file__).resolve().parent.parent


def controller(path: Path | str, api: str = "openblas", layer: str = "pthreads", user_api: str = "blas"):
    return SimpleNamespace(
        filepath=str(path),
        user_api=user_api,
        internal_api=api,
        threading_layer=layer,
        dynlib=SimpleNamespace(_handle=0),
    )


def found_among(monkeypatch: pytest.MonkeyPatch, *controllers: object) -> BlasThreads:
    """What is found when threadpoolctl reports these; a loaded library is an object with NumPy's wheel's names."""
    fake = SimpleNamespace(ThreadpoolController=lambda: SimpleNamespace(lib_controllers=list(controllers)))
    monkeypatch.setitem(sys.modules, "threadpoolctl", fake)

    def load(path: str, handle: int) -> object:
        inside = Library(2)
        names = {
            "scipy_openblas_get_num_threads64_": lambda: inside.get(),
            "scipy_openblas_set_num_threads64_": lambda number: inside.set(number),
        }
        return SimpleNamespace(**names)

    monkeypatch.setattr(threads.ctypes, "PyDLL", load)
    return threads._find()


NUMPYS = controller(PACKAGES / "numpy.libs" / "libscipy_openblas64_-1.so")
SCIPYS = controller(PACKAGES / "scipy.libs" / "libscipy_openblas-2.so")
SYSTEMS = controller("/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblasp-r0.3.29.so")


@pytest.mark.parametrize("order", [(NUMPYS, SCIPYS, SYSTEMS), (SCIPYS, SYSTEMS, NUMPYS)])
def test_the_library_in_numpys_wheel_is_taken_and_scipys_left_alone(monkeypatch, order):
    found = found_among(monkeypatch, *order)
    assert found.path == NUMPYS.filepath
    with found.one():
        assert found.get() == 1
    assert found.get() == 2


def test_a_wheel_for_macos_keeps_it_inside_of_the_package(monkeypatch):
    inside = controller(PACKAGES / "numpy" / ".dylibs" / "libscipy_openblas64_.dylib")
    assert found_among(monkeypatch, SCIPYS, inside).path == inside.filepath


def test_a_systems_library_is_taken_when_it_is_the_only_one(monkeypatch):
    assert found_among(monkeypatch, SCIPYS, SYSTEMS).path == SYSTEMS.filepath
    assert not found_among(monkeypatch, SYSTEMS, controller("/opt/openblas/libopenblas.so")).available


@pytest.mark.parametrize(
    "controllers",
    [
        (),
        (SCIPYS,),
        (controller(PACKAGES / "numpy.libs" / "libmkl_rt.so", api="mkl", layer="intel"),),
        (controller(PACKAGES / "numpy.libs" / "libblis.so", api="blis"),),
        (controller("/usr/lib/libflexiblas.so", api="flexiblas"),),
        (controller(PACKAGES / "numpy.libs" / "libopenblas.so", layer="openmp"),),
        (controller(PACKAGES / "numpy.libs" / "libopenblas.so", layer="disabled"),),
        (controller("/usr/lib/libgomp.so.1", api="openmp", user_api="openmp"),),
        (SimpleNamespace(user_api="blas"),),
    ],
    ids=["none", "SciPy's", "MKL", "BLIS", "FlexiBLAS", "OpenMP's threads", "no threads", "not a BLAS", "unknown"],
)
def test_with_another_blas_nothing_is_chosen_or_touched(monkeypatch, controllers):
    found = found_among(monkeypatch, *controllers)
    assert not found.available
    assert found.acquire()[1] == 0
    step(found, 1, 0, 1)
    assert found.maximum == 1


def test_without_threadpoolctl_nothing_is_chosen(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)  # import raises ImportError
    found = threads._find()
    assert not found.available
    step(found, 1, 0)


def test_nothing_is_searched_for_before_it_is_asked_for():
    code = "import sys, autograd_ff.compiler.threads; print('threadpoolctl' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# ---------------------------------------------------------------- the library that is installed


@pytest.fixture
def installed() -> BlasThreads:
    pytest.importorskip("threadpoolctl")
    found = blas_threads()
    if not found.available:
        pytest.skip("NumPy's BLAS here is not an OpenBLAS with threads of its own")
    return found


def test_numpys_own_library_is_set(installed):
    import threadpoolctl

    def number() -> int:
        infos = threadpoolctl.threadpool_info()
        return next(info["num_threads"] for info in infos if os.path.samefile(info["filepath"], installed.path))

    before = number()
    assert installed.maximum == before
    with installed.one():
        assert number() == 1
    assert number() == before


def test_a_limit_of_threadpoolctl_is_never_exceeded(installed):
    import threadpoolctl

    before = installed.get()
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        switch, every = installed.acquire()
        try:
            switch(8)
            assert installed.get() == 1
        finally:
            installed.release(every)
        assert installed.get() == 1
    assert installed.get() == before


def test_other_libraries_are_left_alone(installed):
    linalg = pytest.importorskip("scipy.linalg")
    import threadpoolctl

    linalg.blas.dgemm(1.0, np.eye(2), np.eye(2))  # loads SciPy's own

    def others() -> dict[str, int]:
        infos = threadpoolctl.threadpool_info()
        return {
            info["filepath"]: info["num_threads"]
            for info in infos
            if not os.path.samefile(info["filepath"], installed.path)
        }

    before = others()
    with installed.one():
        assert others() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_in_another_threads_step_has_the_callers_number():
    pytest.importorskip("threadpoolctl")
    code = """
import os, threading
from autograd_ff.compiler.threads import blas_threads
blas = blas_threads()
before = blas.get()
inside, done = threading.Event(), threading.Event()
def working():
    with blas.one():
        inside.set(); done.wait()
thread = threading.Thread(target=working); thread.start(); inside.wait()
child = os.fork()
if child == 0:
    right = blas.get() == before and (before == 1 or blas.acquire()[1] == before)
    os._exit(0 if right else 1)
status = os.waitpid(child, 0)[1]
done.set(); thread.join()
with blas.one():
    child = os.fork()
    if child == 0:
        os._exit(0 if blas.get() == 1 else 1)
    status |= os.waitpid(child, 0)[1]
print(status, blas.get() == before)
"""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.strip() == "0 True"


# ---------------------------------------------------------------- the rule


SIDES = st.integers(1, 4096)


@given(m=SIDES, n=SIDES, k=SIDES, dtype=st.sampled_from(["float32", "float64", "complex64", "complex128"]))
def test_more_work_never_takes_fewer_threads(m, n, k, dtype):
    """Products grow from `EITHER` through `ONE` to `ALL`."""
    rank = {EITHER: 0, ONE: 1, ALL: 2}
    small, large = choose(m, n, k, dtype), choose(m, n, 2 * k, dtype)
    assert rank[small] <= rank[large]


@pytest.mark.parametrize(
    ("m", "n", "k", "choice"),
    [
        (1, 32, 32, EITHER),  # a tiny network
        (64, 10, 128, EITHER),  # the last layer of a small one
        (64, 128, 128, ONE),  # its middle
        (64, 128, 784, ALL),  # its first
        (128, 784, 64, ALL),  # and that one's weight gradient
        (256, 1024, 1024, ALL),
        (1, 128, 128, ONE),  # a bias gradient
        (1, 2048, 2048, ALL),
    ],
)
def test_what_feedforward_training_multiplies(m, n, k, choice):
    assert choose(m, n, k) == choice


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.bool_, object])
def test_dtypes_that_blas_does_not_have_are_not_switched_for(dtype):
    assert choose(2048, 2048, 2048, dtype) == EITHER


@given(st.lists(st.sampled_from([ONE, ALL, EITHER])))
def test_switches_give_each_product_its_threads_with_the_fewest_calls(choices):
    now: int | None = ALL
    calls = 0
    for choice, switch in zip(choices, switches(choices), strict=True):
        if switch != EITHER:
            assert switch != now, "a call that changes nothing"
            now, calls = switch, calls + 1
        assert choice in (EITHER, now)
    wanted = [ALL] + [choice for choice in choices if choice != EITHER]
    assert calls == sum(before != after for before, after in itertools.pairwise(wanted))
