"""Affine layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import get_default_dtype, here
from ..errors import ShapeError
from ..functions.conversion import check_device
from ..functions.dtypes import as_dtype
from ..functions.tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Bilinear", "Linear"]


def _empty(shape: tuple[int, ...], device: Any, dtype: Any) -> Parameter:
    check_device(device)
    return Parameter(np.empty(shape, get_default_dtype() if dtype is None else as_dtype(dtype)))


def _check_features(**features: int) -> None:
    for name, count in features.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
            raise ShapeError(f"{name} must be a whole number, 0 or more, not {count!r}.{here()}")


class Linear(Module):
    """y = x Wᵀ + b.

    Args:
        in_features: the last side of the input.
        out_features: the last side of the output.
        bias: whether to add b.
        dtype: of the parameters; the default dtype if None.

    Attributes:
        weight: (out_features, in_features), drawn from U(-k, k) with k = 1 / √in_features.
        bias: (out_features,), drawn from the same; None without bias.

    >>> import autograd_ff as af
    >>> layer = af.nn.Linear(20, 30)
    >>> layer(af.ones(128, 20)).shape
    (128, 30)
    """

    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        _check_features(in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = _empty((out_features, in_features), device, dtype)
        if bias:
            self.bias = _empty((out_features,), device, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, as PyTorch does: Kaiming's uniform with a = √5, which is U(-k, k)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """(…, in_features) to (…, out_features)."""
        own = self._parameters  # at a tenth of the cost of self.weight, which is found last of all attributes
        weight = own.get("weight")
        if self.__class__ is Linear and weight is not None and "bias" in own:
            return F.linear(input, weight, own["bias"])
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """y_k = x1ᵀ W_k x2 + b_k.

    Attributes:
        weight: (out_features, in1_features, in2_features), drawn from U(-k, k) with k = 1 / √in1_features.
        bias: (out_features,), drawn from the same; None without bias.

    >>> import autograd_ff as af
    >>> af.nn.Bilinear(3, 4, 5)(af.ones(7, 3), af.ones(7, 4)).shape
    (7, 5)
    """

    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_features(in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        if not in1_features:
            raise ShapeError(f"in1_features must be 1 or more.{here()}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = _empty((out_features, in1_features, in2_features), device, dtype)
        if bias:
            self.bias = _empty((out_features,), device, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """(…, in1_features) and (…, in2_features) to (…, out_features)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
