"""What one recorded operation costs beyond NumPy, beside PyTorch's: ``python -m benchmarks.overhead FRAMEWORK``."""

from __future__ import annotations

import gc
import importlib.util
import json
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

from .processes import environment

SIDE = 4  # of the small matrices: the arithmetic itself costs next to nothing
CHAIN = 200


def _time(function: Callable[[], Any], number: int = 20_000) -> float:
    """Nanoseconds of one call: the median of nine runs with the garbage collector on, as users have it."""
    timer = timeit.Timer(function, setup=gc.enable)
    return statistics.median(timer.repeat(repeat=9, number=number)) / number * 1e9


def _operations(x: Any, y: Any, tanh: Any) -> dict[str, Callable[[], Any]]:
    return {
        "x * y": lambda: x * y,
        "x + 1.0": lambda: x + 1.0,
        "x @ y": lambda: x @ y,
        "tanh(x)": lambda: tanh(x),
        "x.sum()": lambda: x.sum(),
        "x[1:3]": lambda: x[1:3],
    }


def _chain(x: Any) -> Any:
    for _ in range(CHAIN):
        x = x * 1.01
    return x.sum()


def measure_in_process(framework: str) -> dict[str, float]:
    a = np.linspace(-1, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    if framework == "numpy":
        return {name: _time(function) for name, function in _operations(a, a + 1, np.tanh).items()}
    if framework == "pytorch":
        import torch as library

        library.set_num_threads(1)
        make: Any = library.tensor
    else:
        import autograd_ff as library  # type: ignore[no-redef]

        make = library.tensor
    x, y = make(a, requires_grad=True), make(a + 1, requires_grad=True)
    results = {name: _time(function) for name, function in _operations(x, y, library.tanh).items()}
    forward = _time(lambda: _chain(x), number=50)
    both = _time(lambda: _chain(x).backward(), number=50)
    results["backward, per op of a chain"] = (both - forward) / CHAIN
    return results


def measure() -> dict[str, dict[str, float]]:
    frameworks = ["numpy", "autograd_ff"] + (["pytorch"] if importlib.util.find_spec("torch") else [])
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in frameworks}
    for _ in range(3):
        for name in frameworks:
            output = subprocess.run(
                [sys.executable, "-m", "benchmarks.overhead", name],
                env=environment(),
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            rounds[name].append(json.loads(output))
    return {
        name: {key: statistics.median(one[key] for one in several) for key in several[0]}
        for name, several in rounds.items()
    }


def report(results: dict[str, dict[str, float]]) -> str:
    lines = ["Nanoseconds of one recorded operation on 4×4 float32", f"  {'':30}{'NumPy':>9}{'ours':>9}{'PyTorch':>9}"]
    for name in results["autograd_ff"]:
        cells = [results.get(framework, {}).get(name) for framework in ("numpy", "autograd_ff", "pytorch")]
        lines.append(f"  {name:30}" + "".join(f"{'–' if cell is None else round(cell):>9}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(measure_in_process(sys.argv[1])))
