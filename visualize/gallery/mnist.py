"""The network that `python -m autograd_ff train mnist` trains

`visualize.render(loss, images, labels, path)` runs the function once and draws all that it does. Parameters stand beside
the operation that reads them, so that the data flow down in a straight line. Shape as well as colour tells inputs,
parameters, operations and the loss apart; the wider an edge, the larger the array.
"""

from __future__ import annotations

import autograd_ff as af
import visualize
from autograd_ff import nn
from autograd_ff.training import feedforward


def draw(path: str) -> None:
    af.manual_seed(0)
    model = feedforward(784, (128, 128), 10, nn.ReLU)
    images, labels = af.rand(64, 1, 28, 28), af.randint(0, 10, (64,))

    def loss(images: af.Tensor, labels: af.Tensor) -> af.Tensor:
        return nn.CrossEntropyLoss()(model(images), labels)

    visualize.render(loss, images, labels, path, names={"": model})
