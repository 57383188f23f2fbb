"""Where a NaN came from

A cross-entropy written by hand, on a network that is very sure of itself: one probability is rounded to 0, its logarithm
is -inf, and -inf times the 0 of the one-hot target is NaN. `visualize.nan_path` runs the loss once and marks the
operation that made the first number that is not finite, with the element in which it did, and the way from there to the
loss.
"""

from __future__ import annotations

import autograd_ff as af
import visualize
from autograd_ff import nn


def draw(path: str) -> None:
    af.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    images, target = af.randn(32, 8) * 300, af.nn.functional.one_hot(af.randint(0, 4, (32,)), 4)

    def loss(images: af.Tensor, target: af.Tensor) -> af.Tensor:
        probabilities = af.softmax(model(images), dim=1)
        return -(target * probabilities.log()).sum(dim=1).mean()

    view = visualize.nan_path(loss, images, target, names={"": model})
    visualize.render(view, path)
