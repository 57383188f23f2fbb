"""What an optimizer's step costs when a trained network's moments have decayed below the normal numbers:
``python -m benchmarks.subnormals FRAMEWORK``.

A network learns two classes with a hinge loss, which is zero, and its gradient with it, once every example is on its side
by the margin. From then on only the optimizer steps, with those gradients of zeros. Adam's first moments, which shrink by
a tenth a step, become subnormal some 800 steps later, its second ones, by a hundredth, after some 8,000. They stay so, for
a tenth or a hundredth of the smallest numbers rounds to nothing. Timed is ``optimizer.step()``, on one thread. PyTorch's
`set_flush_denormal` is off, as it is by default. How much slower a step becomes depends on the processor.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .processes import environment

SIZES = (64, 256, 256, 1)
EXAMPLES = 64
FROZEN = 12_000  # steps with gradients of zero
WINDOW = 400  # of those, the first and the last, of which the quickest tenth is told: the rest has met foreign load
LIMIT = 3000  # steps within which the loss must have become zero


def _data() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.where(np.arange(EXAMPLES) % 2, 1.0, -1.0).astype(np.float32)[:, None]
    return draw.standard_normal((EXAMPLES, SIZES[0]), dtype=np.float32) + 0.5 * labels, labels


def _layers(nn: Any) -> Any:
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(SIZES):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _quick(times: list[float]) -> float:
    """Microseconds that nine in ten exceed."""
    return sorted(times)[len(times) // 10] * 1e6


def _time_steps(loss_of: Callable[[], Any], optimizer: Any) -> dict[str, float]:
    for _ in range(LIMIT):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        if loss.item() == 0:
            break
        optimizer.step()
    else:
        raise RuntimeError(f"the loss is still {loss.item()} after {LIMIT} steps")
    times: list[float] = []
    for _ in range(FROZEN):
        start = time.thread_time()  # of this thread alone: what else runs does not count
        optimizer.step()
        times.append(time.thread_time() - start)
    return {"before": _quick(times[:WINDOW]), "after": _quick(times[-WINDOW:])}


def measure_in_process(framework: str) -> dict[str, float]:
    examples, labels = _data()
    if framework.startswith("pytorch"):
        import torch as library

        library.set_num_threads(1)
    else:
        import autograd_ff as library  # type: ignore[no-redef]
    x, y = library.from_numpy(examples), library.from_numpy(labels)
    library.manual_seed(0)
    model = _layers(library.nn)
    optimizer: Any = library.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    if framework == "unflushed":
        optimizer.flushes_subnormals = False
    if framework == "fallback":
        from autograd_ff.engine import subnormals

        subnormals._setter = subnormals._unavailable
    return _time_steps(lambda: library.relu(1 - y * model(x)).mean(), optimizer)


def measure(rounds: int = 3) -> dict[str, dict[str, float]]:
    frameworks = ["ours", "fallback", "unflushed"] + (["pytorch"] if importlib.util.find_spec("torch") else [])
    found: dict[str, list[dict[str, float]]] = {name: [] for name in frameworks}
    for _ in range(rounds):
        for name in frameworks:
            command = [sys.executable, "-m", "benchmarks.subnormals", name]
            output = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout
            found[name].append(json.loads(output))
    return {
        name: {key: statistics.median(one[key] for one in several) for key in several[0]}
        for name, several in found.items()
    }


_NAMES = {
    "ours": "ours",
    "fallback": "ours, where the processor cannot be told",
    "unflushed": "ours, told not to flush",
    "pytorch": "PyTorch",
}


def report(results: dict[str, dict[str, float]]) -> str:
    lines = [
        f"Microseconds of optimizer.step() (Adam, {'-'.join(map(str, SIZES))}) with gradients of zero",
        f"  {'':42}{'at first':>10}{'later':>10}{'times':>8}",
    ]
    for name, times in results.items():
        before, after = times["before"], times["after"]
        lines.append(f"  {_NAMES[name]:42}{before:>10.0f}{after:>10.0f}{after / before:>8.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure_in_process(sys.argv[1])))
    else:
        print(report(measure()))
