"""Whether a round was measured in peace.

Two signs say that it was not: other processes (or, in a virtual machine, other guests) took processor time, or a fixed
piece of work took longer just before or after the round than it usually does. Such rounds are dropped for all frameworks.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOREIGN = 0.05  # of all processors' time
DEVIATION = 0.15  # of the calibration from its median
FEWEST = 0.5  # of the rounds: if fewer remain, the figures are unreliable


@dataclass(frozen=True)
class Round:
    seconds: dict[str, float]  # a step, of each framework
    calibration: tuple[float, float]  # before and after
    foreign: float | None  # share of the processors' time; None where the system does not tell


def disturbances(rounds: list[Round]) -> list[str | None]:
    """What disturbed each round, or None.

    >>> calm = Round({}, (1.0, 1.1), 0.01)
    >>> disturbances([calm, calm, Round({}, (1.0, 1.4), 0.0), Round({}, (1.0, 1.0), 0.3)])
    [None, None, 'calibration +40 %', 'foreign load 30 %']
    """
    if not rounds:
        return []
    usual = statistics.median(one for each in rounds for one in each.calibration)
    found: list[str | None] = []
    for one in rounds:
        worst = max((value / usual - 1 for value in one.calibration), key=abs)
        if one.foreign is not None and one.foreign > FOREIGN:
            found.append(f"foreign load {one.foreign:.0%}".replace("%", " %"))
        elif abs(worst) > DEVIATION:
            found.append(f"calibration {worst:+.0%}".replace("%", " %"))
        else:
            found.append(None)
    return found


class Calibration:
    """A fixed piece of work in this process: small products on one thread, and passes over memory."""

    def __init__(self) -> None:
        self.matrix = np.full((64, 64), 1 / 64, np.float32)
        self.product = np.empty_like(self.matrix)
        self.memory = np.zeros(2**21, np.float32)
        self.seconds()

    def seconds(self) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(100):
                np.matmul(self.matrix, self.matrix, out=self.product)
            np.add(self.memory, 1, out=self.memory)
            times.append(time.perf_counter() - start)
        return statistics.median(times)


class ForeignLoad:
    """The share of all processors' time that went elsewhere than to this process and the given ones, on Linux."""

    def __init__(self, processes: list[int]) -> None:
        self.processes = processes
        self.start = self._now()

    def share(self) -> float | None:
        """Since the start, or since the last call."""
        before, self.start = self.start, self._now()
        if before is None or self.start is None:
            return None
        elapsed, busy, own = (now - then for now, then in zip(self.start, before, strict=True))
        return max(0.0, (busy - own) / elapsed / (os.cpu_count() or 1))

    def _now(self) -> tuple[float, float, float] | None:
        """Seconds on the clock, of all processors, of our own processes."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
            user, nice, system, _, _, interrupts, soft, stolen = map(int, fields[:8])
            own = sum(os.times()[:2])
            tick = 1 / os.sysconf("SC_CLK_TCK")
            for number in self.processes:
                # The name, in brackets, may contain spaces.
                times = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[11:15]
                own += sum(map(int, times)) * tick
        except (OSError, ValueError, AttributeError):
            return None
        return time.perf_counter(), (user + nice + system + interrupts + soft + stolen) * tick, own
