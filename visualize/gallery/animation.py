"""A backward pass, step by step

`visualize.animate(loss, path)`, for teaching: the gradient enters at the loss and lights up one operation after another,
in the order in which the engine works, until every parameter has its gradient.
"""

from __future__ import annotations

import autograd_ff as af
import visualize
from autograd_ff import nn
from autograd_ff.training import feedforward


def draw(path: str) -> None:
    af.manual_seed(0)
    model = feedforward(784, (128,), 10, nn.ReLU)
    images, labels = af.rand(64, 1, 28, 28), af.randint(0, 10, (64,))
    loss = nn.CrossEntropyLoss()(model(images), labels)
    visualize.animate(loss, path, names={"": model, "images": images, "labels": labels, "loss": loss})
