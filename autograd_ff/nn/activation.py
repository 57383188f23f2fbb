"""Activations as modules: elementwise functions, and softmax and its kin along one dimension.

Each is a thin face of the function of the same name in `autograd_ff.nn.functional`. Unless said otherwise, input and
output have the same shape and dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import get_default_dtype, here
from ..errors import ShapeError
from ..functions.tensor import Tensor
from . import functional as F
from .module import Module
from .parameter import Parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "LogSoftmax",
    "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmin", "Softplus", "Softsign", "Tanh",
    "Tanhshrink", "Threshold",
]  # fmt: skip


def _also_in_place(text: str, inplace: bool) -> str:
    return ", ".join(part for part in (text, "inplace=True" if inplace else "") if part)


class ReLU(Module):
    """max(x, 0).

    >>> import autograd_ff as af
    >>> af.nn.ReLU()(af.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace) if self.inplace else F.relu(input)

    def extra_repr(self) -> str:
        return _also_in_place("", self.inplace)


class LeakyReLU(Module):
    """max(x, 0) + negative_slope · min(x, 0).

    >>> import autograd_ff as af
    >>> af.nn.LeakyReLU(0.5)(af.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place(f"negative_slope={self.negative_slope}", self.inplace)


class PReLU(Module):
    """max(x, 0) + weight · min(x, 0), where the slope is learned: one for all, or one for each channel (dimension 1).

    Source: He et al. 2015, "Delving deep into rectifiers".

    >>> import autograd_ff as af
    >>> af.nn.PReLU()(af.tensor([-1.0, 2.0])).tolist()
    [-0.25, 2.0]
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(np.full(num_parameters, init, dtype or get_default_dtype()))

    def forward(self, input: Tensor) -> Tensor:
        weight: Any = self.weight
        if self.num_parameters > 1:
            if input.ndim < 2 or input.shape[1] != self.num_parameters:
                raise ShapeError(
                    f"PReLU has {self.num_parameters} slopes, one for each channel (dimension 1), and the input has shape "
                    f"{tuple(input.shape)}.{here()}"
                )
            weight = weight.reshape(-1, *(1,) * (input.ndim - 2))
        return F.relu(input) - weight * F.relu(-input)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where x > 0, else alpha (exp(x) - 1). Source: Clevert et al. 2016.

    >>> import autograd_ff as af
    >>> af.nn.ELU()(af.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place(f"alpha={self.alpha}", self.inplace)


class SELU(Module):
    """The scaled ELU whose constants keep mean 0 and variance 1. Source: Klambauer et al. 2017.

    >>> import autograd_ff as af
    >>> af.nn.SELU()(af.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place("", self.inplace)


class CELU(Module):
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1)). Source: Barron 2017.

    >>> import autograd_ff as af
    >>> af.nn.CELU()(af.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place(f"alpha={self.alpha}", self.inplace)


class GELU(Module):
    """x Φ(x) with the normal distribution Φ, or its approximation by tanh. Source: Hendrycks and Gimpel 2016.

    Args:
        approximate: ``"none"`` (exact) or ``"tanh"``.

    >>> import autograd_ff as af
    >>> af.nn.GELU()(af.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x σ(x), also called swish. Source: Elfwing et al. 2017.

    >>> import autograd_ff as af
    >>> af.nn.SiLU()(af.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place("", self.inplace)


class Mish(Module):
    """x tanh(softplus(x)). Source: Misra 2019.

    >>> import autograd_ff as af
    >>> af.nn.Mish()(af.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place("", self.inplace)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold.

    >>> import autograd_ff as af
    >>> af.nn.Softplus()(af.tensor([-1.0, 2.0]))
    tensor([0.3133, 2.1269])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """x, limited to [min_val, max_val].

    >>> import autograd_ff as af
    >>> af.nn.Hardtanh()(af.tensor([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ShapeError(f"Hardtanh needs min_val < max_val, got {min_val} and {max_val}.{here()}")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place(f"min_val={self.min_val}, max_val={self.max_val}", self.inplace)


class ReLU6(Hardtanh):
    """min(max(x, 0), 6).

    >>> import autograd_ff as af
    >>> af.nn.ReLU6()(af.tensor([-1.0, 8.0]))
    tensor([0., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return _also_in_place("", self.inplace)


class Hardswish(Module):
    """x · min(max(x + 3, 0), 6) / 6. Source: Howard et al. 2019.

    >>> import autograd_ff as af
    >>> af.nn.Hardswish()(af.tensor([1.5, 4.0])).tolist()
    [1.125, 4.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6) / 6.

    >>> import autograd_ff as af
    >>> af.nn.Hardsigmoid()(af.tensor([-4.0, 0.0])).tolist()
    [0.0, 0.5]
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Sigmoid(Module):
    """σ(x) = 1 / (1 + exp(-x)).

    >>> import autograd_ff as af
    >>> af.nn.Sigmoid()(af.tensor([0.0])).tolist()
    [0.5]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """tanh(x).

    >>> import autograd_ff as af
    >>> af.nn.Tanh()(af.tensor([1.0]))
    tensor([0.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class LogSigmoid(Module):
    """log σ(x), without overflow.

    >>> import autograd_ff as af
    >>> af.nn.LogSigmoid()(af.tensor([0.0, -200.0]))
    tensor([  -0.6931, -200.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|).

    >>> import autograd_ff as af
    >>> af.nn.Softsign()(af.tensor([1.0])).tolist()
    [0.5]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x).

    >>> import autograd_ff as af
    >>> af.nn.Tanhshrink()(af.tensor([1.0]))
    tensor([0.2384])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class Softmax(Module):
    """exp(x_i) / Σ_j exp(x_j) along a dimension. Give `cross_entropy` the logits instead: it contains this.

    >>> import autograd_ff as af
    >>> af.nn.Softmax(dim=1)(af.zeros(1, 4)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """x_i - log Σ_j exp(x_j) along a dimension.

    >>> import autograd_ff as af
    >>> af.nn.LogSoftmax(dim=1)(af.zeros(1, 2))
    tensor([[-0.6931, -0.6931]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmin(Softmax):
    """The softmax of -x.

    >>> import autograd_ff as af
    >>> af.nn.Softmin(dim=0)(af.zeros(2)).tolist()
    [0.5, 0.5]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class GLU(Module):
    """a σ(b), where a and b are the two halves of the input along a dimension. Source: Dauphin et al. 2017.

    >>> import autograd_ff as af
    >>> af.nn.GLU()(af.zeros(2, 6)).shape
    (2, 3)
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """(…, 2n, …) to (…, n, …)."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Threshold(Module):
    """x where x > threshold, else value.

    >>> import autograd_ff as af
    >>> af.nn.Threshold(0.5, -1.0)(af.tensor([0.0, 2.0]))
    tensor([-1.,  2.])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return _also_in_place(f"threshold={self.threshold}, value={self.value}", self.inplace)
