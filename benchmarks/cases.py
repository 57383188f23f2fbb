"""What is measured: training steps of feedforward networks on MNIST images, and of a transformer's feedforward block.

The sizes go from a step that is nothing but overhead (32-32-32-32, one sample) to one that is nothing but matrix products
(784-1024-1024-10, 1024 samples).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Network:
    """Linear layers with ReLU between them: forward, cross-entropy, backward, Adam.

    Of widths other than 784 the input is as many pixels from the middle of the image; the classes are ten in any case.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    steps: int  # in a round, at most
    rotation: int  # batches that a measurement goes through in turn; few enough repeated, and moments turn subnormal

    @property
    def title(self) -> str:
        return f"{'-'.join(map(str, self.widths))}, batch {self.batch}"

    def parameters(self) -> list[np.ndarray]:
        """The same initial weights (out, in) and biases for every framework, in the order of PyTorch's parameters."""
        generator = np.random.default_rng(1)
        made = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            made += linear(generator, fan_in, fan_out)
        return made

    def batches(self) -> list[Batch]:
        """Images (float32 in [0, 1]) and their labels."""
        from autograd_ff import datasets

        data = datasets.MNIST(train=True)
        images, labels = data.data.numpy().reshape(-1, 784), data.targets.numpy()
        first = (784 - self.widths[0]) // 2 if self.widths[0] < 784 else 0
        images = images[:, first : first + self.widths[0]]
        order = np.random.default_rng(0).permutation(len(images))[: self.rotation * self.batch]
        return [
            (images[rows].astype(np.float32) / 255, labels[rows].astype(np.int64))
            for rows in order.reshape(self.rotation, self.batch)
        ]


@dataclass(frozen=True)
class Block:
    """The feedforward block of a transformer, `y = x + W2 gelu(W1 norm(x))`: forward, mean square, backward, Adam.

    `norm` is LayerNorm with its weight and bias, GELU is the exact one. Inputs and targets are normal random numbers.
    """

    name: str
    tokens: int
    width: int
    hidden: int
    steps: int
    rotation: int

    @property
    def title(self) -> str:
        return f"transformer block {self.width}-{self.hidden}-{self.width}, {self.tokens} tokens"

    def parameters(self) -> list[np.ndarray]:
        generator = np.random.default_rng(1)
        norm = [np.ones(self.width, np.float32), np.zeros(self.width, np.float32)]
        up = linear(generator, self.width, self.hidden)
        return [*norm, *up, *linear(generator, self.hidden, self.width)]

    def batches(self) -> list[Batch]:
        generator = np.random.default_rng(0)
        drawn = generator.standard_normal((self.rotation, 2, self.tokens, self.width), dtype=np.float32)
        return [(inputs.copy(), targets.copy()) for inputs, targets in drawn]


def linear(generator: np.random.Generator, fan_in: int, fan_out: int) -> list[np.ndarray]:
    """Weight and bias of a layer, drawn as PyTorch draws them."""
    bound = 1 / np.sqrt(fan_in)
    shapes = ((fan_out, fan_in), (fan_out,))
    return [generator.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]


Case = Network | Block

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        # 2,048 samples of one image each: so many cannot be learned by heart from 32 pixels.
        Network("tiny", (32, 32, 32, 32), batch=1, steps=1000, rotation=2048),
        Network("small", (784, 128, 128, 10), batch=64, steps=150, rotation=64),
        Network("wide", (784, 1024, 1024, 10), batch=256, steps=20, rotation=16),
        Network("wide1024", (784, 1024, 1024, 10), batch=1024, steps=6, rotation=8),
        Block("transformer", tokens=1024, width=512, hidden=2048, steps=3, rotation=4),
    )
}


def to_json(case: Case) -> str:
    return json.dumps({"kind": type(case).__name__, **dataclasses.asdict(case)})


def from_json(text: str) -> Case:
    """The case of this name, or described by `to_json`."""
    if text in CASES:
        return CASES[text]
    fields: dict[str, Any] = json.loads(text)
    if fields.pop("kind") == "Block":
        return Block(**fields)
    return Network(**{**fields, "widths": tuple(fields["widths"])})
