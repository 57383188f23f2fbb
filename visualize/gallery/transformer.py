"""A transformer encoder of twelve layers, folded

Twelve equal layers are drawn once, with "×12": equal neighbours become one without being asked. Here the outermost modules
are shown (`depth=1`) and a layer is opened (`open="Layer"`); left alone, a picture opens as many levels of modules as
a page has room for, and the HTML page opens each by a click.
"""

from __future__ import annotations

import math

import autograd_ff as af
import visualize
from autograd_ff import nn


class LayerNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(af.ones(width))
        self.bias = nn.Parameter(af.zeros(width))

    def forward(self, x: af.Tensor) -> af.Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = (centred * centred).mean(dim=-1, keepdim=True)
        return centred / (variance + 1e-5).sqrt() * self.weight + self.bias


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: af.Tensor) -> af.Tensor:
        batch, length, width = x.shape
        query, key, value = (
            project(x).reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads)
        mixed = af.softmax(scores, dim=-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feedforward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: af.Tensor) -> af.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feedforward(self.norm2(x))


class Encoder(nn.Module):
    def __init__(self, layers: int = 12, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, tokens: af.Tensor) -> af.Tensor:
        return self.head(self.norm(self.layers(tokens)).mean(dim=1))


def draw(path: str) -> None:
    af.manual_seed(0)
    visualize.render(Encoder(), af.rand(8, 16, 128), path, depth=1, open="Layer")
