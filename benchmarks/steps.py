"""Training steps of all the installed frameworks, in alternating rounds."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from tqdm import tqdm

from .cases import CASES
from .frameworks import FRAMEWORKS

# Set on some machines: for old OpenBLAS builds, which slows a current NumPy; and to keep Python from caching bytecode,
# which an installed package comes with.
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in SLOWING}


class Worker:
    """A framework in its own process."""

    def __init__(self, framework: str, case: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", framework, case],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        self.memory = self._read()["memory"]
        self.rounds: list[float] = []
        self.loss = 0.0

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with code {self.process.wait()}")
        return json.loads(line)

    def round(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._read()
        self.rounds.append(answer["seconds"])
        self.loss = answer["loss"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(name: str, rounds: int, only: list[str] | None = None) -> dict[str, Any]:
    """Median seconds per step, spread and peak memory of each framework."""
    chosen = [key for key in FRAMEWORKS if only is None or key in only or key == "products"]
    installed = [key for key in chosen if importlib.util.find_spec(FRAMEWORKS[key][1])]
    workers = {key: Worker(key, name) for key in tqdm(installed, desc=f"starting {name}", leave=False)}
    try:
        for _ in tqdm(range(rounds), desc=f"rounds of {name}", leave=False):
            for worker in workers.values():
                worker.round()
    finally:
        for worker in workers.values():
            worker.close()
    base = statistics.median(workers["products"].rounds)
    results: dict[str, Any] = {"case": CASES[name].title, "rounds": rounds, "frameworks": {}}
    for key, worker in workers.items():
        median = statistics.median(worker.rounds)
        quartiles = statistics.quantiles(worker.rounds, n=4)
        results["frameworks"][key] = {
            "title": FRAMEWORKS[key][0],
            "microseconds": median * 1e6,
            "spread": (quartiles[2] - quartiles[0]) / median,
            "ratio": median / base,
            "memory_mib": worker.memory / 1024,
            "loss": worker.loss,
        }
    results["missing"] = [FRAMEWORKS[key][0] for key in chosen if key not in installed]
    return results


def report(results: dict[str, Any]) -> str:
    ours = results["frameworks"].get("autograd_ff", {}).get("microseconds")
    lines = [
        f"Training step with Adam, {results['case']} ({results['rounds']} alternating rounds)",
        f"  {'':30}{'µs a step':>11}{'± spread':>10}{'× products':>12}{'× ours':>8}{'peak MiB':>10}",
    ]
    for one in results["frameworks"].values():
        beside = f"{one['microseconds'] / ours:8.2f}" if ours else f"{'':>8}"
        lines.append(
            f"  {one['title']:30}{one['microseconds']:11.0f}{one['spread']:9.0%} {one['ratio']:12.2f}{beside}"
            f"{one['memory_mib']:10.1f}"
        )
    lines += [f"  {title}: not installed" for title in results["missing"]]
    return "\n".join(lines)
