"""Dropout as a module."""

from __future__ import annotations

from ..engine import here
from ..errors import ShapeError
from ..functions.tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training, each element is zero with probability p, and the others are divided by 1 - p; otherwise unchanged.

    Source: Srivastava et al. 2014.

    Args:
        p: the probability of dropping an element, from 0 to 1.
        inplace: write into the input's memory.

    >>> import autograd_ff as af
    >>> dropout = af.nn.Dropout(0.5)
    >>> sorted(set(dropout(af.ones(100)).tolist()))
    [0.0, 2.0]
    >>> dropout.eval()(af.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ShapeError(f"a probability lies between 0 and 1, got p={p}.{here()}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
