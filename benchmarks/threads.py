"""BLAS threads: each product of feedforward training on one thread and on all, and what the compiler's rule loses.

Two tables. In the first, products by themselves: the least time of many on one thread and on all, in turn. In the second,
whole training steps in plain NumPy with Adam, in which the matrices are where the step leaves them (half of them in the
other core's cache after a product on two). Both are also taken beside a process that keeps one core busy, because that
is what the rule is for: there a product on all threads waits for the operating system's next turn.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np

from autograd_ff.compiler.threads import ALL, EITHER, BlasThreads, blas_threads, choose

from .processes import environment
from .quiet import FOREIGN, ForeignLoad

BATCHES = (8, 32, 64, 128, 256, 1024)
WIDTHS = (10, 128, 256, 784, 1024, 2048)
LARGEST = 1 << 26  # multiplications: beyond it, all threads are best anyway
NETWORKS = (
    ((784, 128, 128, 10), 64),
    ((784, 256, 256, 10), 64),
    ((784, 300, 100, 10), 128),
    ((64, 64, 64, 64, 10), 512),
    ((128, 128, 128, 128), 128),
    ((1024, 1024, 10), 1),
)
POLICIES: dict[str, Callable[..., int | None]] = {
    "one": lambda m, n, k, dtype: 1,
    "all": lambda m, n, k, dtype: ALL,
    "chosen": choose,
}
BUSY = "while True: pass"


def measure(seconds: float = 60.0) -> dict[str, Any]:
    """Runs in a process of its own, for about so many seconds. Products that are not reached in them are left out."""
    command = [sys.executable, "-m", "benchmarks.threads", str(seconds)]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _measure(seconds: float) -> dict[str, Any]:
    blas = blas_threads()
    every = blas.maximum
    if every == 1:
        return {"threads": every, "library": blas.path}
    results: dict[str, Any] = {"threads": every, "library": blas.path, "costs": _costs(blas)}
    results["products"] = _products(blas, every, 0.6 * seconds)
    results["steps"] = _steps(blas, every, 0.3 * seconds)
    with _busy():
        results["loaded"] = _steps(blas, every, 0.1 * seconds, quiet=False)
    return results


@contextmanager
def _busy() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _costs(blas: BlasThreads) -> dict[str, float]:
    """Microseconds of what a step calls."""

    def bracket() -> None:
        every = 0
        try:
            _, every = blas.acquire()
        finally:
            blas.release(every)

    calls = {"get": blas.get, "set": lambda: blas.set(2), "acquire and release": bracket}
    blas.set(2)
    try:
        return {name: min(timeit.repeat(call, number=10000, repeat=20)) * 100 for name, call in calls.items()}
    finally:
        blas.set(blas.maximum)


# ---------------------------------------------------------------- products by themselves


def _operands(kind: str, batch: int, inputs: int, outputs: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    x, weight, gradient = (
        np.ones((batch, inputs), dtype),
        np.ones((outputs, inputs), dtype),
        np.ones((batch, outputs), dtype),
    )
    if kind == "x @ W.T":
        return x, weight.T
    if kind == "g.T @ x":
        return gradient.T, x
    return (gradient, weight) if kind == "g @ W" else (np.ones(batch, dtype), gradient)


def _grid() -> list[tuple[str, int, int, int, str]]:
    found = []
    for dtype in ("float32", "float64"):
        batches = (1, *BATCHES) if dtype == "float32" else (32, 256)
        for batch in batches:
            found += [("ones @ g", batch, 1, outputs, dtype) for outputs in WIDTHS]
            for inputs in WIDTHS:
                for outputs in WIDTHS:
                    kinds = ("x @ W.T", "g.T @ x", "g @ W")
                    found += [(kind, batch, inputs, outputs, dtype) for kind in kinds]
    return [case for case in found if (1 << 18) < math.prod(case[1:4]) <= LARGEST]


def _products(blas: BlasThreads, every: int, seconds: float) -> list[dict[str, Any]]:
    """The passes go through the whole grid each time, so that foreign load of a moment spoils no product's minimum."""
    cases = _grid()
    least: dict[Any, list[float]] = {case: [math.inf, math.inf] for case in cases}
    end = perf_counter() + seconds
    try:
        while perf_counter() < end:
            for case in cases:
                if perf_counter() > end:
                    break
                a, b = _operands(*case)
                out = np.matmul(a, b)
                for _ in range(2):
                    for position, threads in enumerate((1, every)):
                        blas.set(threads)
                        np.matmul(a, b, out)
                        start = perf_counter()
                        np.matmul(a, b, out)
                        np.matmul(a, b, out)
                        least[case][position] = min(least[case][position], (perf_counter() - start) / 2)
    finally:
        blas.set(every)
    rows = []
    for case, (one, all_) in least.items():
        if math.isinf(all_):  # not reached in time
            continue
        a, b = _operands(*case)
        m, n, k = 1 if a.ndim == 1 else a.shape[0], b.shape[1], b.shape[0]
        row = {"kind": case[0], "m": m, "n": n, "k": k, "dtype": case[4], "one": one * 1e6, "all": all_ * 1e6}
        rows.append(row | {"choice": {None: "all", 1: "one", EITHER: "either"}[choose(m, n, k, case[4])]})
    return rows


# ---------------------------------------------------------------- training steps


class Network:
    """A training step with ReLU, cross-entropy and Adam, as the compiler emits it: no allocation, gradients in one buffer."""

    CHUNK = 16384

    def __init__(self, widths: tuple[int, ...], batch: int) -> None:
        rng = np.random.default_rng(0)
        pairs = list(itertools.pairwise(widths))
        total = sum(a * b + b for a, b in pairs)
        self.parameters, self.gradients, self.first, self.second = np.zeros((4, total), np.float32)
        self.parameters[:] = rng.standard_normal(total) / 30
        self.scratch = np.empty(self.CHUNK, np.float32)
        self.layers, start = [], 0
        for inputs, outputs in pairs:
            middle, end = start + inputs * outputs, start + inputs * outputs + outputs
            shape = (outputs, inputs)
            weight, weight_gradient = (
                array[start:middle].reshape(shape) for array in (self.parameters, self.gradients)
            )
            self.layers.append((weight, self.parameters[middle:end], weight_gradient, self.gradients[middle:end]))
            start = end
        self.images = rng.random((16, batch, widths[0]), np.float32)
        self.values = [np.empty((batch, width), np.float32) for width in widths[1:]]
        self.deltas = [np.empty((batch, width), np.float32) for width in widths[1:]]
        self.target = np.eye(widths[-1], dtype=np.float32)[np.arange(batch) % widths[-1]]
        self.ones = np.ones(batch, np.float32)
        self.sizes: list[tuple[int, int, int]] = []  # of the products, in order
        self.step(0, [1] * 4 * len(pairs), lambda number: None)

    def step(self, turn: int, threads: list[int], switch: Callable[[int], object]) -> None:
        order = iter(threads)
        noting = not turn and len(self.sizes) < 3 * len(self.layers) - 1

        def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
            if noting:
                self.sizes.append((1 if a.ndim == 1 else a.shape[0], b.shape[1], b.shape[0]))
            switch(next(order))
            np.matmul(a, b, out)

        inputs = [self.images[turn % 16], *self.values]
        last = len(self.layers) - 1
        for position, (weight, bias, _, _) in enumerate(self.layers):
            out = self.values[position]
            product(inputs[position], weight.T, out)
            np.add(out, bias, out)
            if position < last:
                np.maximum(out, 0, out=out)
        delta = self.deltas[-1]
        np.exp(np.subtract(out, out.max(1, keepdims=True), delta), delta)
        np.subtract(np.divide(delta, delta.sum(1, keepdims=True), delta), self.target, delta)
        np.multiply(delta, 1 / len(delta), delta)
        for position in range(last, -1, -1):
            weight, _, weight_gradient, bias_gradient = self.layers[position]
            product(self.deltas[position].T, inputs[position], weight_gradient)
            product(self.ones, self.deltas[position], bias_gradient)
            if position:
                before = self.deltas[position - 1]
                product(self.deltas[position], weight, before)
                np.multiply(before, self.values[position - 1] > 0, before)
        self._adam()

    def _adam(self) -> None:
        for start in range(0, len(self.parameters), self.CHUNK):
            part = slice(start, start + self.CHUNK)
            parameter, gradient, first, second = (
                array[part] for array in (self.parameters, self.gradients, self.first, self.second)
            )
            scratch = self.scratch[: len(parameter)]
            np.add(np.multiply(first, 0.9, first), gradient, first)
            np.multiply(gradient, gradient, scratch)
            np.add(np.multiply(second, 0.999, second), scratch, second)
            np.add(np.sqrt(second, scratch), 1e-6, scratch)
            np.multiply(np.divide(first, scratch, scratch), 1e-5, scratch)
            np.subtract(parameter, scratch, parameter)


def _steps(blas: BlasThreads, every: int, seconds: float, quiet: bool = True) -> list[dict[str, Any]]:
    """With `quiet`, only stretches in which nobody else took the processors; all of them if there was none."""
    rows = []
    for widths, batch in NETWORKS:
        network = Network(widths, batch)
        threads = {
            name: [rule(*size, np.float32) or every for size in network.sizes] for name, rule in POLICIES.items()
        }
        stretches: list[tuple[bool, dict[str, list[float]]]] = []
        end, turn, foreign = perf_counter() + seconds / len(NETWORKS), 1, ForeignLoad([])
        while not stretches or perf_counter() < end:
            times: dict[str, list[float]] = {name: [] for name in POLICIES}
            stretch = perf_counter() + 0.25
            foreign.share()
            try:
                while perf_counter() < stretch:
                    for name, numbers in threads.items():
                        network.step(turn, numbers, blas.set)
                        start = perf_counter()
                        network.step(turn + 1, numbers, blas.set)
                        times[name].append((perf_counter() - start) * 1e6)
                    turn += 2
            finally:
                blas.set(every)
            stretches.append(((foreign.share() or 0.0) <= FOREIGN, times))
        calm = [times for peaceful, times in stretches if peaceful]
        kept = calm if quiet and calm else [times for _, times in stretches]
        row: dict[str, Any] = {
            "network": f"{'-'.join(map(str, widths))}, batch {batch}",
            "calm": len(calm) / len(stretches),
        }
        for name in POLICIES:
            several = [time for times in kept for time in times[name]]
            row[name] = {"least": min(several), "median": statistics.median(several), "mean": statistics.mean(several)}
        rows.append(row)
    return rows


# ---------------------------------------------------------------- the tables


def _lost(rows: list[dict[str, Any]], policy: str) -> float:
    """How much longer the products take than each one at its best."""
    best = sum(min(row["one"], row["all"]) for row in rows)
    if policy == "chosen":
        return sum(row["all" if row["choice"] != "one" else "one"] for row in rows) / best - 1
    return sum(row[policy] for row in rows) / best - 1


def report(results: dict[str, Any]) -> str:
    lines = [f"BLAS threads: one against {results['threads']}, {results['library'] or 'no OpenBLAS found'}"]
    if "products" not in results:
        return f"{lines[0]}\n  nothing to choose"
    lines += [f"  {name:24}{cost:8.3f} µs" for name, cost in results["costs"].items()]
    lines.append(f"  {'products, multiplications':28}{'number':>7}{'× faster on all':>25}{'lost on one':>13}")
    lines[-1] += f"{'on all':>8}{'chosen':>8}"
    classes: dict[Any, list[dict[str, Any]]] = {}
    for row in results["products"]:
        vector = "vector" if 1 in (row["m"], row["n"]) else "matrix"
        classes.setdefault((row["dtype"], vector, int(math.log2(row["m"] * row["n"] * row["k"]))), []).append(row)
    for (dtype, vector, power), rows in sorted(classes.items()):
        ratios = [row["one"] / row["all"] for row in rows]
        spread = f"{min(ratios):.2f} … {statistics.median(ratios):.2f} … {max(ratios):.2f}"
        lost = "".join(
            f"{_lost(rows, policy):{width}.0%}" for policy, width in (("one", 13), ("all", 8), ("chosen", 8))
        )
        lines.append(f"  {dtype:8} {vector:7} 2^{power:<9}{len(rows):7}{spread:>25}{lost}")
    for part, title in (("steps", "training steps"), ("loaded", "the same beside a busy process")):
        header = "".join(f"{name:>24}" for name in POLICIES)
        lines.append(f"  {title + ', µs (least/median/mean)':34}{header}")
        for row in results[part]:
            cells = (f"{row[name]['least']:.0f}/{row[name]['median']:.0f}/{row[name]['mean']:.0f}" for name in POLICIES)
            disturbed = "  (disturbed)" if part == "steps" and not row["calm"] else ""
            lines.append(f"  {row['network']:34}{''.join(f'{cell:>24}' for cell in cells)}{disturbed}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(_measure(float(sys.argv[1]))))
