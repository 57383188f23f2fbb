"""One framework in a process of its own, driven over standard input: each line asks for one round.

Each answer is a line of JSON. The first comes after the first steps, in which a framework may compile: their last loss,
and how far they and the steps after them drove the process's memory above what it was with data, network and optimizer in
place; what a framework loads to compile counts, unless "prepared" asks it to train another small network before. A
framework that cannot do the step says why instead. The answer to a round is its seconds per step.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from .cases import Block, Case, Network, from_json
from .frameworks import Unable, build, version

FIRST = 10  # steps before anything is measured; the loss of the last of them is compared
SECONDS = 0.25  # of a round, about: a slow framework takes fewer steps than the case asks for


def reset_peak() -> int:
    """Forget the peak so far, where the system can (Linux), and return the memory in use, in KiB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak() -> int:
    """The most memory in use since `reset_peak`, in KiB."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def prepare(framework: str, case: Case) -> None:
    """Train a small network of the same kind, so that compilers and libraries are loaded."""
    little: Case = Block("", 6, 8, 12, 1, 4) if isinstance(case, Block) else Network("", (784, 8, 8, 10), 4, 1, 4)
    training = build(framework, little)
    for inputs, targets in little.batches():
        training.step(training.convert(inputs), training.convert(targets)).item()
    del training
    gc.collect()


def main(framework: str, case_text: str, prepared: str = "") -> None:
    # What a framework prints is not an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**found: Any) -> None:
        print(json.dumps(found), file=answers, flush=True)

    case = from_json(case_text)
    try:
        if prepared:
            prepare(framework, case)
        training = build(framework, case)
        step = training.step
        data = [(training.convert(inputs), training.convert(targets)) for inputs, targets in case.batches()]
        rotation = cycle(data)
        before = reset_peak()
        loss, seconds = 0.0, 0.0
        for inputs, targets in islice(rotation, FIRST):
            start = time.perf_counter()
            loss = step(inputs, targets).item()
            seconds = time.perf_counter() - start
        first = peak() - before
        reset_peak()
        for inputs, targets in islice(rotation, 5):
            step(inputs, targets).item()
        answer(version=version(framework), loss=loss, first_kib=first, memory_kib=peak() - before)
    except Unable as error:
        return answer(failed=str(error))
    steps = min(case.steps, max(1, int(SECONDS / seconds)))
    for _ in sys.stdin:
        for inputs, targets in islice(rotation, steps // 10):  # other processes had the caches meanwhile
            step(inputs, targets).item()
        start = time.perf_counter()
        for inputs, targets in islice(rotation, steps):
            loss = step(inputs, targets).item()
        answer(seconds=(time.perf_counter() - start) / steps, loss=loss)
    return None


if __name__ == "__main__":
    main(*sys.argv[1:4])
