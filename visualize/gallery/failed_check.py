"""A gradient check that failed, and the operation that is to blame

`testing.gradcheck` holds gradients against numeric ones. Where they differ, it looks for the operation whose own
derivative is wrong, and its report draws the graph with that one red: here somebody's cube, whose derivative has the
wrong factor.
"""

from __future__ import annotations

from typing import Any

import autograd_ff as af
from autograd_ff.autograd import Function
from autograd_ff.testing import gradcheck


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: af.Tensor) -> af.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: af.Tensor) -> af.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * 2 * x**2  # wrong: the factor is 3


def model(x: af.Tensor, w: af.Tensor) -> af.Tensor:
    hidden = af.tanh(x @ w)
    return (Cube.apply(hidden) + hidden).mean()


def draw(path: str) -> None:
    af.manual_seed(0)
    gradcheck(model, (af.randn(4, 3), af.randn(3, 2))).render(path)
