"""What is measured: training steps of feedforward networks on real MNIST images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BATCHES = 16  # batches that a measurement goes through in turn


@dataclass(frozen=True)
class Case:
    """One training step: forward, cross-entropy, backward, Adam."""

    name: str
    widths: tuple[int, ...]
    batch: int
    steps: int  # in a round

    @property
    def title(self) -> str:
        return f"{'-'.join(map(str, self.widths))}, batch {self.batch}"


CASES = {
    case.name: case
    for case in (
        Case("small", (784, 128, 128, 10), 64, 300),
        Case("wide", (784, 1024, 1024, 10), 256, 24),
    )
}


def batches(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of MNIST images (float32 in [0, 1]) and labels. They rotate, or the moments of Adam turn subnormal."""
    from autograd_ff import datasets

    data = datasets.MNIST(train=True)
    images = data.data.numpy().reshape(-1, 784)
    labels = data.targets.numpy()
    order = np.random.default_rng(0).permutation(len(images))[: BATCHES * case.batch].reshape(BATCHES, case.batch)
    return [(images[rows].astype(np.float32) / 255, labels[rows].astype(np.int64)) for rows in order]


def weights(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same initial weights (out, in) and biases for every framework."""
    generator = np.random.default_rng(1)
    made = []
    for fan_in, fan_out in zip(case.widths, case.widths[1:], strict=False):
        bound = 1 / np.sqrt(fan_in)
        made.append(
            (
                generator.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32),
                generator.uniform(-bound, bound, fan_out).astype(np.float32),
            )
        )
    return made
