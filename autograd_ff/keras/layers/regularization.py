"""Layers that do something in training only, or only cost something."""

from __future__ import annotations

from typing import Any

from ... import nn
from ...engine import here
from ...errors import ModuleError, ShapeError
from ...functions.random import Generator, randn_like
from ...nn import functional as F
from ...nn.regularizers import L1L2
from .dense import Elementwise

__all__ = ["ActivityRegularization", "Dropout", "GaussianNoise"]


def _generator(seed: int | None) -> Generator | None:
    return None if seed is None else Generator().manual_seed(seed)


class Dropout(Elementwise):
    """In training, each element is zero with probability ``rate``, and the others are divided by 1 - rate.

    Args:
        rate: the probability of dropping an element, from 0 to 1.
        seed: for masks of its own stream of numbers; None draws from the default one, which `manual_seed` seeds.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> dropout = layers.Dropout(0.5)
    >>> dropout(af.ones(2, 2)).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    >>> sorted(set(dropout(af.ones(100), training=True).tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ShapeError(f"rate is the probability of dropping an element, from 0 to 1, not {rate!r}.{here()}")
        if noise_shape is not None:
            raise ModuleError(f"Dropout takes no noise_shape: every element has a mask of its own.{here()}")
        self.rate = rate
        self.seed = seed
        self.dropout = nn.Dropout(rate)
        self.generator = _generator(seed)

    def call(self, inputs: Any) -> Any:
        if self.generator is not None:
            return F.dropout(inputs, self.rate, self.training, generator=self.generator)
        return self.dropout(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class GaussianNoise(Elementwise):
    """In training, normal noise of a standard deviation is added; otherwise unchanged.

    Args:
        stddev: the standard deviation of the noise.
        seed: for noise of its own stream of numbers; None draws from the default one.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> noise = layers.GaussianNoise(0.1)
    >>> noise(af.ones(3)).tolist(), bool((noise(af.ones(3), training=True) != 1).all())
    ([1.0, 1.0, 1.0], True)
    """

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if not stddev >= 0:
            raise ShapeError(f"stddev is a standard deviation, 0 or more, not {stddev!r}.{here()}")
        self.stddev = stddev
        self.seed = seed
        self.generator = _generator(seed)

    def call(self, inputs: Any) -> Any:
        if not self.training or not self.stddev:
            return inputs
        return inputs + randn_like(inputs, generator=self.generator) * self.stddev

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


class ActivityRegularization(Elementwise):
    """Hands on its input, and adds ``l1 * sum(|x|) + l2 * sum(x²)`` a sample to the loss.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layer = layers.ActivityRegularization(l1=0.5)
    >>> layer(af.tensor([[1.0, -2.0]])).tolist(), [loss.item() for loss in layer.losses]
    ([[1.0, -2.0]], [1.5])
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        options.pop("activity_regularizer", None)
        super().__init__(activity_regularizer=L1L2(l1, l2), **options)
        self.l1 = l1
        self.l2 = l2

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["activity_regularizer"]
        return {**config, "l1": self.l1, "l2": self.l2}
