"""Modules that change the shape of their input, or nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..functions.tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["Flatten", "Identity", "Unflatten"]


class Flatten(Module):
    """The dimensions from ``start_dim`` to ``end_dim`` as one; by default all but the batch.

    >>> import autograd_ff as af
    >>> af.nn.Flatten()(af.zeros(64, 1, 28, 28)).shape
    (64, 784)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """(…, start, …, end, …) to (…, start * … * end, …), a view where memory allows."""
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One dimension as several: the inverse of `Flatten`.

    >>> import autograd_ff as af
    >>> af.nn.Unflatten(1, (1, 28, 28))(af.zeros(64, 784)).shape
    (64, 1, 28, 28)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """(…, n, …) to (…, *unflattened_size, …); one size may be -1."""
        return F.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Module):
    """Returns its input. Takes any arguments, so that it can stand in for any layer.

    >>> import autograd_ff as af
    >>> af.nn.Identity()(af.tensor([1.0]))
    tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input
