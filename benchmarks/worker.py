"""One framework in a process of its own, driven over standard input: each line asks for one round.

A round prints one line of JSON: seconds per step, and the loss of its last step. Before the first, the worker prints
how far the first steps drove its memory above what it was with data, network and optimizer in place: gradients, moments
and intermediate values, and with JAX the compiler.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from .cases import CASES, batches
from .frameworks import FRAMEWORKS


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


def main(framework: str, name: str) -> None:
    case = CASES[name]
    data = batches(case)
    step = FRAMEWORKS[framework][2](case)
    before = reset_peak()
    for position in range(5):
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
