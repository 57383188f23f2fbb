"""A residual network whose three blocks share their weights

The picture shows what ran, so the one block appears once for each call, and its weights once for all: they stand outside
and lead into every call. The additions are where the residual connections come back. `fold="Block"` draws each call as one
node.
"""

from __future__ import annotations

import autograd_ff as af
import visualize
from autograd_ff import nn


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, 4 * width, bias=False)
        self.narrow = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: af.Tensor) -> af.Tensor:
        return self.narrow(af.relu(self.widen(x)))


class SharedResidual(nn.Module):
    def __init__(self, width: int = 64, times: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(784, width)
        self.block = Block(width)
        self.times = times
        self.head = nn.Linear(width, 10)

    def forward(self, x: af.Tensor) -> af.Tensor:
        x = self.stem(x)
        for _ in range(self.times):
            x = x + self.block(x)
        return self.head(x)


def draw(path: str) -> None:
    af.manual_seed(0)
    visualize.render(SharedResidual(), af.rand(32, 784), path, fold="Block")
