"""The plan of a compiled training step, and its buffers

`visualize.render(step, path)` draws what `af.compile` made of a step: every call that a replay does, what it reads, and
which buffer of the arena its result lies in. Equal colours are one piece of memory: `add` and `ReLU` write over the
product that they read, and the backward pass goes into the places of forward values that are no longer needed. Gradients
lie side by side, so that one call updates all parameters; what Python itself does (counting steps, the learning rate) has
a double outline.
"""

from __future__ import annotations

import autograd_ff as af
import visualize
from autograd_ff import nn
from autograd_ff.compiler import CompiledStep
from autograd_ff.training import feedforward


def compiled() -> tuple[nn.Module, CompiledStep]:
    """A network and a step that trains it, after the two calls that make its plan."""
    af.manual_seed(0)
    model = feedforward(784, (128,), 10, nn.ReLU)
    optimizer = af.optim.Adam(model.parameters())
    loss_of = nn.CrossEntropyLoss()

    @af.compile(fast=False)
    def step(images: af.Tensor, labels: af.Tensor) -> af.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2):
        step(af.rand(64, 784), af.randint(0, 10, (64,)))
    return model, step


def draw(path: str) -> None:
    model, step = compiled()
    visualize.render(step, path, names=model)
