"""The functions behind the layers, under the names of PyTorch's ``torch.nn.functional``."""

from __future__ import annotations

from ..engine import here, scope
from ..errors import ShapeError
from ..functions.activations import (
    celu,
    elu,
    gelu,
    glu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softsign,
    tanhshrink,
    threshold,
)
from ..functions.attention import scaled_dot_product_attention
from ..functions.indexing import embedding, one_hot
from ..functions.linalg import linear
from ..functions.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from ..functions.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..functions.pointwise import tanh
from ..functions.random import dropout
from ..functions.shaping import flatten, pad, unflatten
from ..functions.tensor import Tensor

__all__ = [
    "batch_norm", "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "cross_entropy",
    "dropout", "elu", "embedding", "flatten", "gaussian_nll_loss", "gelu", "glu", "group_norm", "hardsigmoid", "hardswish", "hardtanh",
    "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax", "logsigmoid", "mish", "mse_loss",
    "nll_loss", "one_hot", "pad", "relu", "relu6", "rms_norm", "scaled_dot_product_attention", "selu", "sigmoid", "silu", "smooth_l1_loss",
    "softmax", "softmin", "softplus", "softsign", "tanh", "tanhshrink", "threshold", "unflatten",
]  # fmt: skip


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_k = input1ᵀ W_k input2 + b_k.

    Args:
        input1: (…, in1).
        input2: (…, in2), with the same leading dimensions.
        weight: (out, in1, in2).
        bias: (out,) or None.

    Returns:
        (…, out).

    >>> import autograd_ff as af
    >>> af.nn.functional.bilinear(af.ones(7, 3), af.ones(7, 4), af.ones(5, 3, 4)).tolist()[0]
    [12.0, 12.0, 12.0, 12.0, 12.0]
    """
    out, in1, in2 = weight.shape
    lead = tuple(input1.shape[:-1])
    if input1.shape[-1:] != (in1,) or input2.shape[-1:] != (in2,) or tuple(input2.shape[:-1]) != lead:
        raise ShapeError(
            f"bilinear with a weight of shape {(out, in1, in2)} takes inputs of shapes (…, {in1}) and (…, {in2}) with the "
            f"same leading dimensions, got {tuple(input1.shape)} and {tuple(input2.shape)}.{here()}"
        )
    with scope("composite", "bilinear", "bilinear"):
        # One product for all k: (n, in1) @ (in1, out * in2), then each of the n matrices (out, in2) times its input2.
        left = input1.reshape(-1, in1) @ weight.permute(1, 0, 2).reshape(in1, out * in2)
        result = (left.reshape(-1, out, in2) @ input2.reshape(-1, in2, 1)).reshape(*lead, out)
        return result if bias is None else result + bias
