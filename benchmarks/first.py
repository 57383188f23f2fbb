"""Time to the first gradient: a fresh process, the import, a small network, one training step of random data.

``python -m benchmarks.first FRAMEWORK STEPS`` is such a process. What compiles is measured until the step runs as it will
from then on: autograd_ff's until its first replay (the third call), with its disk cache cold and warm; JAX and PyTorch's
compiler at their first call, tinygrad at its third.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from tqdm import tqdm

from .cases import Network
from .frameworks import Unable, build, missing
from .processes import environment, reason

CASE = Network("first", (784, 128, 128, 10), batch=64, steps=1, rotation=1)
CACHES = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "AUTOGRAD_FF_CACHE")

STARTS: dict[str, tuple[str, str, int, bool, int]] = {
    # key: (title, framework, steps, disk caches empty at the start, repeats)
    "numpy": ("bare matrix products (NumPy)", "products", 1, False, 5),
    "autograd_ff": ("autograd_ff, eager", "autograd_ff", 1, False, 5),
    "compiled": ("autograd_ff, compiled, NumPy alone", "compiled", 3, False, 5),
    "fast": ("autograd_ff, compiled, fast", "fast", 3, False, 5),
    "fast_cold": ("autograd_ff, compiled, fast, cold cache", "fast", 3, True, 2),
    "pytorch": ("PyTorch, default Adam", "pytorch", 1, False, 5),
    "pytorch_compiled": ("PyTorch, compile, fused Adam", "pytorch_compiled", 1, False, 1),
    "pytorch_compiled_cold": ("PyTorch, compile, fused Adam, cold cache", "pytorch_compiled", 1, True, 1),
    "jax": ("JAX, jit", "jax", 1, False, 5),
    "tinygrad": ("tinygrad, TinyJit", "tinygrad", 3, False, 2),
    "hips_autograd": ("HIPS autograd", "hips_autograd", 1, False, 5),
    "mygrad": ("MyGrad", "mygrad", 1, False, 5),
}


def worker(framework: str, steps: int) -> None:
    import numpy as np

    generator = np.random.default_rng(0)
    images = generator.random((CASE.batch, CASE.widths[0]), dtype=np.float32)
    labels = generator.integers(0, 10, CASE.batch)
    try:
        training = build(framework, CASE)
    except Unable as error:
        sys.exit(str(error))
    inputs, targets = training.convert(images), training.convert(labels)
    for _ in range(steps):
        training.step(inputs, targets).item()


def measure() -> dict[str, dict[str, Any]]:
    """Seconds of the process, or why there are none. The first run of each is not counted where the caches are warm."""
    results: dict[str, dict[str, Any]] = {key: {"title": start[0], "seconds": []} for key, start in STARTS.items()}
    for turn in range(-1, max(start[4] for start in STARTS.values())):
        for key, (_, framework, steps, cold, repeats) in tqdm(
            STARTS.items(), desc="first gradients", leave=False, disable=None
        ):
            result = results[key]
            if "failed" in result or turn >= repeats or (turn < 0 and cold):
                continue
            if why := missing(framework):
                result["failed"] = why
                continue
            try:
                seconds = one(framework, steps, cold)
            except RuntimeError as error:
                result["failed"] = str(error)
                continue
            if turn >= 0:
                result["seconds"].append(seconds)
    for result in results.values():
        if "failed" not in result:
            result["median"] = statistics.median(result["seconds"])
    return results


def one(framework: str, steps: int, cold: bool) -> float:
    with tempfile.TemporaryDirectory() as folder:
        caches = dict.fromkeys(CACHES, folder) if cold else {}
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.first", framework, str(steps)],
            env=environment(**caches),
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(reason(done.stderr, done.returncode))
    return seconds


def report(results: dict[str, dict[str, Any]]) -> str:
    lines = [f"Seconds from the start of Python to the first gradient ({CASE.title})"]
    for result in results.values():
        shown = f"{result['median']:9.2f}" if "median" in result else f"  {result['failed']}"
        lines.append(f"  {result['title']:42}{shown}")
    return "\n".join(lines)


def markdown(results: dict[str, dict[str, Any]]) -> str:
    rows = [f"| {result['title']} | {result['median']:.2f} s |" for result in results.values() if "median" in result]
    return "\n".join(["| time to the first gradient, import included | |", "|---|---|", *rows])


if __name__ == "__main__":
    worker(sys.argv[1], int(sys.argv[2]))
