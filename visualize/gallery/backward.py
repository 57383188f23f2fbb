"""The same network with its backward pass

`backward=True` runs the derivative rules under the eyes of the same observer: every gradient is a node, named after the
value that it belongs to, and stands beside it. The data flow down on the left, the gradients up on the right.
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
    visualize.render(loss, path, names={"": model, "images": images, "labels": labels, "loss": loss}, backward=True)
