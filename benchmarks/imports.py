"""How long an import takes, in a fresh process each time."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time

from .processes import environment

STATEMENTS = {
    "numpy": "import numpy",
    "autograd_ff": "import autograd_ff",
    "torch": "import torch",
    "jax": "import jax",
}


def measure(repeats: int = 15) -> dict[str, float]:
    """Median milliseconds of a process that only imports, less one that imports nothing."""
    statements = {name: text for name, text in STATEMENTS.items() if importlib.util.find_spec(name)}
    statements["nothing"] = "pass"
    times: dict[str, list[float]] = {name: [] for name in statements}
    for turn in range(repeats + 1):
        for name, statement in statements.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], env=environment(), check=True)
            if turn:  # the first one warms the disk cache
                times[name].append((time.perf_counter() - start) * 1e3)
    empty = statistics.median(times.pop("nothing"))
    return {name: statistics.median(several) - empty for name, several in times.items()}


def report(results: dict[str, float]) -> str:
    lines = ["Milliseconds of an import"]
    lines += [f"  {name:30}{milliseconds:9.0f}" for name, milliseconds in results.items()]
    lines.append(f"  {'autograd_ff beyond NumPy':30}{results['autograd_ff'] - results['numpy']:9.0f}")
    return "\n".join(lines)
