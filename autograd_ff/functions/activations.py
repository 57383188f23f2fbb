"""Activation functions, and the softmax family.

Each is one op with a derivative of its own. ``inplace=True`` overwrites the input, which saves its memory; a leaf that
requires grad cannot be overwritten, nor can a tensor whose value an earlier op has saved for its gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine import Op, TensorCore, apply, here, scope, warn
from ..engine.core_ops import cast
from ..engine.inplace import update
from ..errors import DimensionError, ShapeError
from ..kernels.gelu import gelu as exact_gelu
from ..rules import activations, elementwise, special
from .dtypes import as_dtype

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax",
    "logsigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softsign",
    "tanhshrink", "threshold",
]  # fmt: skip


def _update(op: Op, input: Tensor, params: dict[str, Any]) -> Tensor:
    with scope("composite", f"{op.name}_", f"{op.name}_"):
        return update(op, input, (), params)


# ---------------------------------------------------------------- the rectifier and its relatives


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(x, 0)``; the gradient at 0 is 0 (Nair and Hinton, 2010).

    >>> import autograd_ff as af
    >>> af.relu(af.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """
    if inplace:
        return _update(activations.relu, input, {})
    return apply(activations.relu, (input,))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``; the gradient at both ends is 0 (Howard et al., 2017, "MobileNets").

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.relu6(af.tensor([-1.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """
    params = {"min_val": 0.0, "max_val": 6.0}
    if inplace:
        return _update(activations.hardtanh, input, params)
    return apply(activations.hardtanh, (input,), params)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``x`` where positive, else ``negative_slope * x`` (Maas et al., 2013).

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.leaky_relu(af.tensor([-1.0, 0.0, 2.0]), 0.5).tolist()
    [-0.5, 0.0, 2.0]
    """
    params = {"negative_slope": negative_slope}
    if inplace:
        return _update(activations.leaky_relu, input, params)
    return apply(activations.leaky_relu, (input,), params)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al., 2015).

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.elu(af.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.6321,  0.0000,  2.0000])
    """
    params = {"alpha": alpha, "scale": 1.0, "input_scale": 1.0}
    if inplace:
        return _update(activations.elu, input, params)
    return apply(activations.elu, (input,), params)


SELU = {"alpha": 1.6732632423543772848170429916717, "scale": 1.0507009873554804934193349852946, "input_scale": 1.0}


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``1.0507 * elu(x, 1.6733)``, which keeps mean 0 and variance 1 from layer to layer (Klambauer et al., 2017).

    >>> import autograd_ff as af
    >>> af.selu(af.tensor([-1.0, 0.0, 2.0]))
    tensor([-1.1113,  0.0000,  2.1014])
    """
    if inplace:
        return _update(activations.elu, input, SELU)
    return apply(activations.elu, (input,), SELU)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``, an elu with a continuous derivative (Barron, 2017).

    >>> import autograd_ff as af
    >>> af.celu(af.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.6321,  0.0000,  2.0000])
    """
    if alpha == 0:
        raise ShapeError(f"celu divides by alpha, which cannot be 0{here()}")
    params = {"alpha": alpha, "scale": 1.0, "input_scale": 1 / alpha}
    if inplace:
        return _update(activations.elu, input, params)
    return apply(activations.elu, (input,), params)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``x`` where it is above ``threshold``, else ``value``.

    >>> import autograd_ff as af
    >>> af.threshold(af.tensor([-1.0, 0.5, 2.0]), 1.0, 0.0)
    tensor([0., 0., 2.])
    """
    params = {"threshold": threshold, "value": value}
    if inplace:
        return _update(activations.threshold, input, params)
    return apply(activations.threshold, (input,), params)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``min(max(x, min_val), max_val)``; the gradient at both ends is 0, where that of `clamp` is 1.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.hardtanh(af.tensor([-3.0, 0.5, 3.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    if min_val > max_val:
        raise ShapeError(f"hardtanh needs min_val <= max_val, got {min_val} and {max_val}{here()}")
    params = {"min_val": min_val, "max_val": max_val}
    if inplace:
        return _update(activations.hardtanh, input, params)
    return apply(activations.hardtanh, (input,), params)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``relu6(x + 3) / 6``, a sigmoid of straight lines.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.hardsigmoid(af.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    if inplace:
        return _update(activations.hardsigmoid, input, {})
    return apply(activations.hardsigmoid, (input,))


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * relu6(x + 3) / 6`` (Howard et al., 2019, "Searching for MobileNetV3").

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.hardswish(af.tensor([-4.0, 1.5, 4.0])).tolist()
    [-0.0, 1.125, 4.0]
    """
    if inplace:
        return _update(activations.hardswish, input, {})
    return apply(activations.hardswish, (input,))


# ---------------------------------------------------------------- the smooth ones


def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-x))``, precise where the result is small.

    Where the logarithm of it is wanted, take `logsigmoid`, which does not underflow.

    >>> import autograd_ff as af
    >>> af.sigmoid(af.tensor([-1.0, 0.0, 1.0]))
    tensor([0.2689, 0.5000, 0.7311])
    """
    return apply(special.sigmoid, (input,))


def logsigmoid(input: Tensor) -> Tensor:
    """``log(1 / (1 + exp(-x)))``, exact where the sigmoid is tiny.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.activations import logsigmoid
    >>> logsigmoid(af.tensor([-200.0, 0.0]))
    tensor([-200.0000,   -0.6931])
    """
    return apply(activations.logsigmoid, (input,))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * sigmoid(x)``, also called swish (Elfwing et al., 2017; Ramachandran et al., 2017).

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.silu(af.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.2689,  0.0000,  1.7616])
    """
    if inplace:
        return _update(activations.silu, input, {})
    return apply(activations.silu, (input,))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * tanh(softplus(x))`` (Misra, 2019).

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.mish(af.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.3034,  0.0000,  1.9440])
    """
    if inplace:
        return _update(activations.mish, input, {})
    return apply(activations.mish, (input,))


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * x)) / beta``, and ``x`` itself where ``beta * x > threshold``.

    >>> from autograd_ff.functions.activations import softplus
    >>> import autograd_ff as af
    >>> softplus(af.tensor([-1.0, 0.0, 30.0]))
    tensor([ 0.3133,  0.6931, 30.0000])
    """
    return apply(activations.softplus, (input,), {"beta": beta, "threshold": threshold})


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """``x Φ(x)``, with Φ the normal distribution (Hendrycks and Gimpel, 2016).

    Args:
        input: any shape.
        approximate: ``"none"`` is exact; ``"tanh"`` is ``0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))``.

    >>> from autograd_ff.functions.activations import gelu
    >>> import autograd_ff as af
    >>> gelu(af.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    if approximate == "none":
        return apply(exact_gelu, (input,))
    if approximate == "tanh":
        return apply(activations.gelu_tanh, (input,))
    raise ShapeError(f'gelu\'s approximate is "none" or "tanh", got {approximate!r}{here()}')


def softsign(input: Tensor) -> Tensor:
    """``x / (1 + |x|)``.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.softsign(af.tensor([-1.0, 0.0, 3.0])).tolist()
    [-0.5, 0.0, 0.75]
    """
    return apply(activations.softsign, (input,))


def tanhshrink(input: Tensor) -> Tensor:
    """``x - tanh(x)``.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.tanhshrink(af.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.2384,  0.0000,  1.0360])
    """
    return apply(activations.tanhshrink, (input,))


# ---------------------------------------------------------------- along a dimension


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of a dimension times the sigmoid of the second (Dauphin et al., 2016).

    Raises:
        ShapeError: the side of that dimension is odd.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.glu(af.tensor([3.0, 4.0, 0.0, 0.0])).tolist()
    [1.5, 2.0]
    """
    side = input.array.shape[_dimension(input, dim, "glu")]
    if side % 2 or not input.array.ndim:
        raise ShapeError(f"glu halves dimension {dim}, whose side of {side} is odd{here()}")
    lead = (slice(None),) * (dim % input.array.ndim)
    with scope("composite", "glu", "glu"):
        first, second = input[(*lead, slice(0, side // 2))], input[(*lead, slice(side // 2, side))]
        return apply(elementwise.multiply, (first, apply(special.sigmoid, (second,))))


def _dimension(input: Tensor, dim: int, name: str) -> int:
    ndim = input.array.ndim
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise DimensionError(f"{name} along dimension {dim} of a tensor of shape {input.array.shape}{here()}")
    return dim


def _implicit_dimension(input: Tensor, name: str) -> int:
    """What PyTorch takes where no dimension is given."""
    dim = 0 if input.array.ndim in (0, 1, 3) else 1
    warn(
        f"{name} without dim= takes dimension {dim} of a {input.array.ndim}-d tensor; say which one is meant, "
        "dim=-1 for the last."
    )
    return dim


def _along(op: Op, input: Tensor, dim: int | None, dtype: Any, name: str) -> tuple[Op, tuple[Any, ...], dict[str, Any]]:
    """The op, inputs and parameters of a member of the softmax family."""
    if isinstance(input, TensorCore):
        if dim is None:
            dim = _implicit_dimension(input, name)
        elif dim != -1:
            _dimension(input, dim, name)
        if dtype is not None and input.array.dtype != as_dtype(dtype):
            input = apply(cast, (input,), {"dtype": as_dtype(dtype)})
    return op, (input,), {"axis": dim}


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along a dimension, shifted by the maximum so that nothing overflows.

    An element of -inf becomes 0; where all are -inf the result is NaN.

    Args:
        input: any shape.
        dim: the dimension that sums to 1. Where it is missing PyTorch's choice is taken, with a warning.
        dtype: cast the input to this first.

    >>> import autograd_ff as af
    >>> af.softmax(af.tensor([1.0, 2.0, float("-inf")]), dim=0)
    tensor([0.2689, 0.7311, 0.0000])
    """
    return apply(*_along(activations.softmax, input, dim, dtype, "softmax"))


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``log(softmax(x))`` along a dimension, ``x - logsumexp(x)``, exact where the softmax is tiny.

    >>> import autograd_ff as af
    >>> af.log_softmax(af.tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """
    return apply(*_along(activations.log_softmax, input, dim, dtype, "log_softmax"))


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``softmax(-x)`` along a dimension.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> F.softmin(af.tensor([0.0, 0.0]), dim=0).tolist()
    [0.5, 0.5]
    """
    with scope("composite", "softmin", "softmin"):
        return apply(*_along(activations.softmax, apply(elementwise.negative, (input,)), dim, dtype, "softmin"))


class Activations(TensorCore):
    """The activations that are methods of a Tensor."""

    __slots__ = ()

    def relu(self) -> Tensor:
        """``max(x, 0)``; the gradient at 0 is 0."""
        return apply(activations.relu, (self,))

    sigmoid = sigmoid
    softmax = softmax
    log_softmax = log_softmax
