"""A gradient check that failed, and the operation that is to blame

`testing.gradcheck` compares the gradient of every parameter with numeric ones. Where they differ, it looks for the
operation whose derivative is wrong, and its report draws the graph with that one red: here somebody's own swish, whose
derivative forgets a term.
"""

from __future__ import annotations

from typing import Any

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.autograd import Function
from autograd_ff.testing import gradcheck


class Swish(Function):
    @staticmethod
    def forward(ctx: Any, x: af.Tensor) -> af.Tensor:
        ctx.save_for_backward(x)
        return x * af.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: af.Tensor) -> af.Tensor:
        (x,) = ctx.saved_tensors
        gate = af.sigmoid(x)
        return gradient * (gate + x * gate)  # should be gate + x * gate * (1 - gate)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: af.Tensor) -> af.Tensor:
        return self.fc2(Swish.apply(self.fc1(x)))


def draw(path: str) -> None:
    af.manual_seed(0)
    images, labels = af.randn(8, 6), af.randint(0, 3, (8,))
    report = gradcheck(Network(), images, lambda outputs: nn.functional.cross_entropy(outputs, labels))
    report.render(path)
