"""What an all-reduce costs on machines that are not here: latency, bandwidth, and what of it hides behind the backward pass.

A message of n bytes takes `alpha + beta n` seconds, and adding n bytes takes `gamma n`. From that follow the costs of the
algorithms for a sum over p processes, each of which has n bytes:

| algorithm | steps | seconds |
|---|---|---|
| ring | 2 (p - 1) | 2 (p - 1) alpha + 2 (p - 1)/p n beta + (p - 1)/p n gamma |
| halving and doubling | 2 log2 p | 2 log2(p) alpha + 2 (p - 1)/p n beta + (p - 1)/p n gamma |
| tree | 2 log2 p | 2 log2(p) (alpha + n beta) + log2(p) n gamma |
| recursive doubling | log2 p | log2(p) (alpha + n beta + n gamma) |

log2 p is rounded up. No algorithm moves fewer than 2 (p - 1)/p n bytes through each process: the ring is best for long
messages, and with halving and doubling that holds at far lower latency, if all pairs of nodes are equally near.

Sources: Thakur, Rabenseifner and Gropp 2005, "Optimization of collective communication operations in MPICH" (trees,
halving and doubling, recursive doubling, the cost model); Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for
clusters of workstations" (the ring, and the bound).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

__all__ = [
    "ALGORITHMS", "ETHERNET", "INFINIBAND", "Link", "Work", "best", "fit", "halving_doubling", "recursive_doubling", "ring",
    "step", "stops_paying", "tree",
]  # fmt: skip


@dataclass(frozen=True)
class Link:
    """What lies between processes.

    Args:
        name: for tables.
        alpha: seconds before the first byte of a message is there.
        beta: seconds for each byte.
        gamma: seconds to add a byte to another.
    """

    name: str
    alpha: float
    beta: float
    gamma: float = 0.0


# Round numbers of the kind that vendors' data sheets and published MPI benchmarks give for messages between two hosts:
# Ethernet of cloud and office machines over TCP, and the HDR generation of InfiniBand.
ETHERNET = Link("25 Gbit/s Ethernet, 20 µs", 20e-6, 8 / 25e9)
INFINIBAND = Link("200 Gbit/s InfiniBand, 2 µs", 2e-6, 8 / 200e9)


def ring(size: float, processes: int, link: Link) -> float:
    """Seconds of a sum of ``size`` bytes, each process sending to the next one.

    >>> ring(1e6, 1, ETHERNET)
    0.0
    >>> round(ring(1e6, 4, Link("", alpha=1.0, beta=0.0)), 6)
    6.0
    >>> round(ring(1e6, 4, Link("", alpha=0.0, beta=1e-6)), 6)
    1.5
    """
    share = (processes - 1) / processes * size
    return 2 * (processes - 1) * link.alpha + share * (2 * link.beta + link.gamma)


def halving_doubling(size: float, processes: int, link: Link) -> float:
    """Seconds where halves are exchanged, then quarters, and the sums come back the same way.

    >>> round(halving_doubling(1e6, 1024, Link("", alpha=1.0, beta=0.0)), 6)
    20.0
    """
    share = (processes - 1) / processes * size
    return 2 * _rounds(processes) * link.alpha + share * (2 * link.beta + link.gamma)


def tree(size: float, processes: int, link: Link) -> float:
    """Seconds where sums go up a binomial tree to one process, and the whole comes down again.

    >>> round(tree(1e6, 1024, Link("", alpha=1.0, beta=1e-6)), 6)
    40.0
    """
    rounds = _rounds(processes)
    return 2 * rounds * (link.alpha + size * link.beta) + rounds * size * link.gamma


def recursive_doubling(size: float, processes: int, link: Link) -> float:
    """Seconds where everything is exchanged with the neighbour, the one two further, four further, and so on.

    >>> round(recursive_doubling(1e6, 1024, Link("", alpha=1.0, beta=1e-6)), 6)
    20.0
    """
    return _rounds(processes) * (link.alpha + size * (link.beta + link.gamma))


def _rounds(processes: int) -> int:
    return math.ceil(math.log2(processes))


ALGORITHMS: dict[str, Callable[[float, int, Link], float]] = {
    "ring": ring,
    "tree": tree,
    "halving and doubling": halving_doubling,
    "recursive doubling": recursive_doubling,
}


def best(size: float, processes: int, link: Link) -> float:
    """Seconds of the fastest algorithm.

    >>> best(8, 1024, ETHERNET) == recursive_doubling(8, 1024, ETHERNET)
    True
    """
    return min(cost(size, processes, link) for cost in ALGORITHMS.values())


def fit(measured: Iterable[tuple[float, float]], gamma: float, name: str = "fitted") -> Link:
    """The link whose ring of two processes comes nearest to measured (bytes, seconds), in relative terms.

    For two processes the ring takes `2 alpha + n (beta + gamma / 2)`, a straight line.

    >>> link = Link("", alpha=1e-5, beta=1e-9, gamma=4e-10)
    >>> found = fit([(size, ring(size, 2, link)) for size in (100, 10_000, 1_000_000)], gamma=4e-10)
    >>> abs(found.alpha / link.alpha - 1) < 1e-6 and abs(found.beta / link.beta - 1) < 1e-6
    True
    """
    sizes, seconds = np.array([*measured], float).T
    rows = np.stack([np.ones_like(sizes), sizes], axis=1) / seconds[:, None]
    constant, slope = np.linalg.lstsq(rows, np.ones_like(sizes), rcond=None)[0]
    return Link(name, max(float(constant) / 2, 0.0), max(float(slope) - gamma / 2, 0.0), gamma)


@dataclass(frozen=True)
class Work:
    """What one process computes in a step.

    Args:
        forward, backward, update: seconds.
        gradients: bytes to be summed.
    """

    forward: float
    backward: float
    update: float
    gradients: float

    @property
    def seconds(self) -> float:
        return self.forward + self.backward + self.update


def step(work: Work, processes: int, link: Link, overlap: bool = True, buckets: int | None = None) -> float:
    """Seconds of a training step.

    Every gradient is copied into its bucket once, which takes as long as adding it to another. Gradients become ready evenly
    over the backward pass. Without overlap they are summed after it, all at once. With it
    each bucket is on its way as soon as it is full and the one before has arrived, for which the network, or a processor
    that has nothing else to do, moves it. Buckets are as many as given, or the best power of two: few where latency
    counts, many where bandwidth does.

    >>> work = Work(forward=1.0, backward=2.0, update=0.5, gradients=4e6)
    >>> step(work, 1, ETHERNET)
    3.5
    >>> slow = Link("", alpha=0.0, beta=1e-6)
    >>> round(step(work, 2, slow, overlap=False), 6)
    7.5
    >>> round(step(work, 2, slow, buckets=4), 6)  # all but the first half second of the backward pass
    6.0
    """
    if processes == 1:
        return work.seconds
    counts = [1] if not overlap else [2**power for power in range(11)] if buckets is None else [buckets]

    def ended(count: int) -> float:
        """When all has arrived: the last bucket is ready at the end of the backward pass, or waits for those before it."""
        each = best(work.gradients / count, processes, link)
        return max(work.backward + each, work.backward / count + count * each)

    return work.forward + min(map(ended, counts)) + work.update + work.gradients * link.gamma


def stops_paying(efficiency: Callable[[int], float], limit: float = 0.5, most: int = 1024) -> int | None:
    """The least power of two of processes at which less than ``limit`` of each is of use; None if none is up to ``most``.

    >>> stops_paying(lambda processes: 10 / processes)
    32
    """
    counts = (2**power for power in range(int(math.log2(most)) + 1))
    return next((count for count in counts if efficiency(count) < limit), None)
