"""The layers of pretrained models: those of `autograd_ff.nn`, drawn as Hugging Face draws them, or left for loading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..engine import get_default_dtype, here
from ..errors import ShapeError
from ..functions.tensor import Tensor
from ..nn import Embedding as PlainEmbedding
from ..nn import Linear as PlainLinear
from ..nn import Module, Parameter, init
from ..nn import functional as F

__all__ = ["ACTIVATIONS", "Conv1D", "Embedding", "Linear", "activation", "without_values"]

_VALUELESS: ContextVar[bool] = ContextVar("valueless", default=False)


@contextmanager
def without_values() -> Iterator[None]:
    """Build models whose parameters hold whatever the memory held: for those who load values next.

    >>> from autograd_ff.hub.layers import Linear, without_values
    >>> with without_values():
    ...     Linear(3, 2).weight.shape
    (2, 3)
    """
    token = _VALUELESS.set(True)
    try:
        yield
    finally:
        _VALUELESS.reset(token)


def _draw(weight: Tensor, bias: Tensor | None, std: float) -> None:
    if not _VALUELESS.get():
        init.normal_(weight, std=std)
        if bias is not None:
            init.zeros_(bias)


class Linear(PlainLinear):
    """`nn.Linear` whose weight is drawn from N(0, std²), and whose bias starts at 0.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub.layers import Linear
    >>> Linear(3, 2)(af.ones(1, 3)).shape
    (1, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, std: float = 0.02) -> None:
        self.std = std
        super().__init__(in_features, out_features, bias)

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        _draw(self.weight, self.bias, self.std)


class Embedding(PlainEmbedding):
    """`nn.Embedding` whose vectors are drawn from N(0, std²).

    >>> from autograd_ff.hub.layers import Embedding
    >>> Embedding(10, 4).weight.shape
    (10, 4)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, std: float = 0.02
    ) -> None:
        self.std = std
        super().__init__(num_embeddings, embedding_dim, padding_idx)

    def reset_parameters(self) -> None:
        """Draw the vectors anew, that of ``padding_idx`` aside, which becomes 0."""
        _draw(self.weight, None, self.std)
        if self.padding_idx is not None and not _VALUELESS.get():
            init.zeros_(self.weight.detach()[self.padding_idx])


class Conv1D(Module):
    """y = x W + b: GPT-2's affine layer, whose weight lies the other way round than `nn.Linear`'s.

    The parameter is (in, out) as in Hugging Face's files, so that state dicts are theirs without turning anything on the
    way in or out. The product reads it through a transposed view, which BLAS takes as it is; nothing is copied.

    Args:
        out_features, in_features: the last sides of output and input, in Hugging Face's order.
        std: of the normal distribution that the weight is drawn from.

    Attributes:
        weight: (in_features, out_features).
        bias: (out_features,), zeros at first.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub.layers import Conv1D
    >>> layer = Conv1D(2, 3)
    >>> layer.weight.shape, layer(af.ones(5, 3)).shape
    ((3, 2), (5, 2))
    """

    def __init__(self, out_features: int, in_features: int, std: float = 0.02) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.std = std
        self.weight = Parameter(np.empty((in_features, out_features), get_default_dtype()))
        self.bias = Parameter(np.empty(out_features, get_default_dtype()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        _draw(self.weight, self.bias, self.std)

    def forward(self, input: Tensor) -> Tensor:
        """(…, in_features) to (…, out_features)."""
        return F.linear(input, self.weight.t(), self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


def _gelu_new(input: Tensor) -> Tensor:
    return F.gelu(input, approximate="tanh")


# Hugging Face's names of functions between the layers of a feedforward block.
ACTIVATIONS: dict[str, Callable[[Tensor], Any]] = {
    "gelu": F.gelu,
    "gelu_new": _gelu_new,
    "gelu_pytorch_tanh": _gelu_new,
    "gelu_fast": _gelu_new,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
}


def activation(name: str) -> Callable[[Tensor], Any]:
    """The function that a config names.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub.layers import activation
    >>> activation("relu")(af.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    if name not in ACTIVATIONS:
        raise ShapeError(f"the activation {name!r} is not known; known are {', '.join(ACTIVATIONS)}.{here()}")
    return ACTIVATIONS[name]
