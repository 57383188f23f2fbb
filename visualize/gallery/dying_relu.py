"""ReLUs that died

Two of the biases were driven far below zero, as too large a step of the optimizer does. `visualize.measure` runs the
network forward and backward and takes statistics of every value; coloured by the share of zeros, the two layers whose
units answer nothing any more stand out, and their marks say how many units never answer.
"""

from __future__ import annotations

import autograd_ff as af
import visualize
from autograd_ff import nn
from autograd_ff.training import feedforward


def draw(path: str) -> None:
    af.manual_seed(0)
    model = feedforward(64, (48, 48, 48), 10, nn.ReLU)
    model.fc2.bias.data[:36] -= 1.0
    model.fc3.bias.data -= 0.5
    images, labels = af.rand(128, 64), af.randint(0, 10, (128,))
    view = visualize.measure(
        model, images, loss=lambda outputs: nn.functional.cross_entropy(outputs, labels), repeats=0
    )
    visualize.render(view, path, color_by="zeros")
