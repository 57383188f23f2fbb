"""What changed between two versions of a network

The new version has a wider hidden layer, another activation, and dropout. `visualize.diff` puts both graphs into one: what
was added is green, what was removed red and dashed, and what changed says from what to what.
"""

from __future__ import annotations

from collections import OrderedDict

import autograd_ff as af
import visualize
from autograd_ff import nn


def network(width: int, *more: tuple[str, nn.Module]) -> nn.Sequential:
    layers = [("fc1", nn.Linear(32, width)), *more, ("fc2", nn.Linear(width, 10))]
    return nn.Sequential(OrderedDict(layers))


def draw(path: str) -> None:
    af.manual_seed(0)
    before = network(48, ("relu", nn.ReLU()))
    after = network(64, ("gelu", nn.GELU()), ("dropout", nn.Dropout(0.1)))
    visualize.render(visualize.diff(before, after, af.rand(16, 32)), path)
