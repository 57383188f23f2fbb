"""One framework in a process of its own, driven over standard input: each line asks for one round.

A round prints one line of JSON: seconds per step, and the loss of its last step. Before the first, the worker prints
what its peak memory was before and after a step.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from .cases import CASES, batches
from .frameworks import FRAMEWORKS


def peak() -> int:
    """Peak resident memory of this process, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(framework: str, name: str) -> None:
    case = CASES[name]
    data = batches(case)
    step = FRAMEWORKS[framework][2](case)
    before = peak()
    step(*data[0])
    for position in range(4):
        step(*data[position])
    print(json.dumps({"memory": peak() - before}), flush=True)
    for _ in sys.stdin:
        loss = 0.0
        start = time.perf_counter()
        for position in range(case.steps):
            loss = step(*data[position % len(data)])
        seconds = (time.perf_counter() - start) / case.steps
        print(json.dumps({"seconds": seconds, "loss": loss}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
