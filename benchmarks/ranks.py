"""What each process of a measured MPI job does; `benchmarks.distributed` starts it and reads the answer.

All variants run in one job, in turn, so that they are measured in the same minute: a process alone, while the other sleeps,
and both together, with communication and without. The processes sleep, and do not spin, where one waits for the other.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .cases import Network

SECONDS = 0.4  # of a round of one variant


def meet() -> None:
    """Wait for each other without taking the processor from those who still work."""
    from mpi4py import MPI

    request = MPI.COMM_WORLD.Ibarrier()
    while not request.Test():
        time.sleep(0.0005)
    MPI.COMM_WORLD.Barrier()


class Clock:
    """Time in communication: what starting a sum takes, and waiting for it."""

    def __init__(self) -> None:
        from autograd_ff.distributed.transfer import Transfer

        self.starting = self.waiting = 0.0
        start, finish = Transfer.start, Transfer.finish

        def timed_start(transfer: Any) -> None:
            begun = time.perf_counter()
            start(transfer)
            self.starting += time.perf_counter() - begun

        def timed_finish(transfer: Any) -> None:
            begun = time.perf_counter()
            finish(transfer)
            self.waiting += time.perf_counter() - begun

        Transfer.start, Transfer.finish = timed_start, timed_finish  # type: ignore[method-assign]

    def take(self) -> tuple[float, float]:
        taken = self.starting, self.waiting
        self.starting = self.waiting = 0.0
        return taken


def training(widths: Sequence[int], batch: int, variant: dict[str, Any]) -> tuple[Callable[[], Any], Any]:
    """A function that makes a compiled training step with Adam, and the next one; and the optimizer."""
    import autograd_ff as af
    from autograd_ff import distributed

    case = Network("", tuple(widths), batch, 0, max(4, min(16, 8192 // batch)))
    layers: list[Any] = []
    for inputs, outputs in pairwise(widths):
        layers += [af.nn.Linear(inputs, outputs), af.nn.ReLU()]
    model: Any = af.nn.Sequential(*layers[:-1])
    if variant.get("ranks", 2) > 1:
        model = distributed.DistributedDataParallel(
            model,
            bucket_cap_mb=variant.get("bucket", 4),
            gradient_compression=variant.get("compression"),
            gradient_as_bucket_view=variant.get("view", True),
        )
        model.synchronizes = variant.get("communicates", True)
    if variant.get("sharded"):
        optimizer: Any = distributed.ZeroRedundancyOptimizer(model.parameters(), af.optim.Adam, lr=1e-4)
    else:
        optimizer = af.optim.Adam(model.parameters(), lr=1e-4)
    criterion = af.nn.CrossEntropyLoss()

    @af.compile
    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    batches = cycle([(af.tensor(images), af.tensor(labels)) for images, labels in case.batches()])
    return lambda: step(*next(batches)), optimizer


def steps(widths: list[int], variants: dict[str, dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Seconds of each variant's steps: the median with what of it went into communication, and the least of all."""
    from threadpoolctl import threadpool_limits

    from autograd_ff import distributed
    from autograd_ff.distributed import operations
    from autograd_ff.distributed.collectives import from_rank
    from autograd_ff.distributed.group import world
    from autograd_ff.distributed.work import progress

    rank = distributed.get_rank()
    clock = Clock()
    made = {}
    for name, variant in variants.items():
        if variant.get("ranks", 2) > 1 or rank == 0:
            made[name], _ = training(widths, variant["batch"], variant)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in variants}
    counts: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            meet()
            if name not in made:
                continue
            step = made[name]
            # Else nothing but the start of the next bucket calls MPI while the backward pass runs.
            operations.progress = progress if variant.get("poke", True) else lambda: None
            with threadpool_limits(variant.get("threads", 1)):
                for _ in range(6 if number == 0 else 2):
                    begun = time.perf_counter()
                    step()
                    each = time.perf_counter() - begun
                if number == 0:
                    counts[name] = max(5, int(SECONDS / each))
                    if variant.get("ranks", 2) > 1:
                        counts[name] = from_rank(counts[name], 0, world(), "steps")
                    continue
                for _ in range(counts[name]):
                    clock.take()
                    begun = time.perf_counter()
                    step()
                    found[name].append((time.perf_counter() - begun, *clock.take()))
    answers = {}
    for name, taken in found.items():
        if taken:
            seconds, starting, waiting = map(statistics.median, zip(*taken, strict=True))
            answers[name] = {
                "seconds": seconds, "starting": starting, "waiting": waiting, "least": min(taken)[0], "steps": len(taken),
            }  # fmt: skip
    return answers


def all_reduces(sizes: list[int], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of an all-reduce of so many bytes: the gradients', MPI's non-blocking and its blocking one; the least of all.

    The least on the process where it took longer: one that comes late finds the other's message already there.
    """
    from mpi4py import MPI

    from autograd_ff.distributed.group import world
    from autograd_ff.distributed.transfer import Transfer

    communicator = MPI.COMM_WORLD
    least: dict[str, dict[str, float]] = {str(size): {} for size in sizes}

    def nonblocking(array: np.ndarray) -> None:
        request = communicator.Iallreduce(MPI.IN_PLACE, array)
        while not request.Test():
            pass

    def ours(array: np.ndarray) -> None:
        transfers[array.size].start()
        transfers[array.size].finish()

    arrays = {size // 4: np.zeros(size // 4, np.float32) for size in sizes}
    transfers = {size: Transfer(world(), array, "", None) for size, array in arrays.items()}
    ways = {
        "ours": ours,
        "nonblocking": nonblocking,
        "blocking": lambda array: communicator.Allreduce(MPI.IN_PLACE, array),
    }
    for _ in range(rounds):
        for size in sizes:
            array = arrays[size // 4]
            times = max(40, min(500, 4_000_000 // size))
            for way, run in ways.items():
                communicator.Barrier()
                for _ in range(times):
                    begun = time.perf_counter()
                    run(array)
                    seconds = time.perf_counter() - begun
                    least[str(size)][way] = min(least[str(size)].get(way, np.inf), seconds)
    for one in least.values():
        for way in one:
            one[way] = communicator.allreduce(one[way], op=MPI.MAX)
    return least


def memory(widths: list[int], batch: int, variant: dict[str, Any]) -> dict[str, list[float]]:
    """MiB of each rank: the optimizer's moments, and what the process grew by at the peak of some steps; milliseconds a step."""
    from autograd_ff.distributed.collectives import gathered
    from autograd_ff.distributed.group import world

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step, optimizer = training(widths, batch, variant)
    times = []
    for _ in range(8):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    buffers = [buffer for layout in optimizer._layouts for buffer in layout.buffers]
    moments = sum(flat.nbytes for buffer in buffers for flat in buffer.moments.values()) / 2**20
    found = {"moments": moments, "grown": grown, "milliseconds": 1e3 * statistics.median(times[3:])}
    return {name: gathered(value, world(), "memory") for name, value in found.items()}


def mnist(epochs: int, seeds: list[int], compression: str | None, batch: int) -> list[dict[str, float]]:
    """MNIST by 784-128-128-10 in batches of so many over all ranks: what is right of the test images, and seconds."""
    import autograd_ff as af
    from autograd_ff import datasets, distributed

    rank, size = distributed.get_rank(), distributed.get_world_size()
    images, labels, seen, answers = [], [], [], []
    for train, xs, ys in ((True, images, labels), (False, seen, answers)):
        data = datasets.MNIST(train=train)
        xs.append(data.data.numpy().reshape(-1, 784).astype(np.float32) / 255)
        ys.append(data.targets.numpy().astype(np.int64))
    found = []
    for seed in seeds:
        af.manual_seed(seed)
        nn = af.nn
        plain = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
        model = distributed.DistributedDataParallel(plain, gradient_compression=compression)
        optimizer = af.optim.Adam(model.parameters(), lr=1e-3)
        criterion = nn.CrossEntropyLoss()

        @af.compile
        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer, criterion: Any = criterion) -> Any:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        random = np.random.default_rng(seed)
        begun = time.perf_counter()
        for _ in range(epochs):
            order = random.permutation(len(images[0]))
            order = order[: len(order) // batch * batch].reshape(-1, size, batch // size)[:, rank]
            for rows in order:
                step(af.tensor(images[0][rows]), af.tensor(labels[0][rows]))
        seconds = time.perf_counter() - begun
        with af.no_grad():
            right = plain(af.tensor(seen[0])).array.argmax(1) == answers[0]
        found.append({"accuracy": float(right.mean()), "seconds": seconds})
    return found


def rates() -> dict[str, float]:
    """What a processor does here: multiplications and additions in matrix products a second, and seconds to add a byte."""
    a, b = np.ones((512, 1024), np.float32), np.ones((1024, 1024), np.float32)
    x, y = np.zeros(2**22, np.float32), np.ones(2**22, np.float32)
    out = a @ b
    products, additions = [], []
    for _ in range(20):
        begun = time.perf_counter()
        np.matmul(a, b, out=out)
        middle = time.perf_counter()
        np.add(x, y, out=x)
        additions.append(time.perf_counter() - middle)
        products.append(middle - begun)
    return {"flops": 2 * 512 * 1024 * 1024 / min(products), "gamma": min(additions) / x.nbytes}


def main(task: str, arguments: str, path: str) -> None:
    from threadpoolctl import threadpool_limits

    from autograd_ff import distributed

    distributed.init_process_group(timeout=120)
    with threadpool_limits(1):  # of BLAS; a variant of `steps` may have more
        found = globals()[task](**json.loads(arguments))
    if distributed.get_rank() == 0:
        Path(path).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:4])
