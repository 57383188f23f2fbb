"""Where a token stands: rotary and sinusoidal positions. (Learned ones are an `Embedding`.)"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import get_default_dtype, here, wrap
from ..errors import ShapeError
from ..functions.attention import rotary_embedding
from ..functions.dtypes import as_dtype
from ..functions.tensor import Tensor
from .module import Module
from .parameter import Buffer

__all__ = ["RotaryEmbedding", "SinusoidalPositions", "rotary_embedding", "sinusoidal_positions"]


def sinusoidal_positions(length: int, dim: int, base: float = 10000.0, dtype: Any = None) -> Tensor:
    """A vector for each position: sines and cosines of it at ``dim / 2`` frequencies, from 1 down to ``1 / base``.

    ``vector[2i] = sin(position / base^(2i / dim))`` and ``vector[2i + 1] = cos(position / base^(2i / dim))``.

    Args:
        length: how many positions, from 0.
        dim: features of a vector.
        base: how much slower the slowest pair turns than the fastest.
        dtype: the default dtype if None.

    Returns:
        (length, dim).

    Source: Vaswani et al., 2017, "Attention is all you need".

    >>> from autograd_ff.nn import sinusoidal_positions
    >>> sinusoidal_positions(2, 2).round(decimals=4).tolist()
    [[0.0, 1.0], [0.8414999842643738, 0.5403000116348267]]
    """
    if length < 0 or dim < 1:
        raise ShapeError(f"sinusoidal_positions takes a length of 0 or more and a dim of 1 or more.{here()}")
    angles = _angles(length, -(-dim // 2), dim, base)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)[:, :dim]
    made: Tensor = wrap(np.ascontiguousarray(table, get_default_dtype() if dtype is None else as_dtype(dtype)))
    return made


def _angles(length: int, pairs: int, dim: int, base: float) -> np.ndarray:
    """The angle of each pair of features at each position, in float64: in float32 that of a late position is off."""
    return np.outer(np.arange(length), base ** (-2.0 * np.arange(pairs) / dim))


class SinusoidalPositions(Module):
    """Adds to each token the vector of its position, see `sinusoidal_positions`.

    Args:
        dim: features of a token.
        max_len: how many positions there are.
        base: how much slower the slowest pair turns than the fastest.
        dtype: of the vectors; the default dtype if None.

    Attributes:
        table: (max_len, dim), a buffer that is not saved.

    Source: Vaswani et al., 2017, "Attention is all you need".

    >>> import autograd_ff as af
    >>> af.nn.SinusoidalPositions(4)(af.zeros(1, 2, 4))[0, 0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    table: Tensor

    def __init__(self, dim: int, max_len: int = 5000, base: float = 10000.0, dtype: Any = None) -> None:
        super().__init__()
        self.dim, self.max_len, self.base = dim, max_len, base
        self.register_buffer("table", Buffer(sinusoidal_positions(max_len, dim, base, dtype)), persistent=False)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        """(…, L, dim) to the same shape; its first token stands at position ``offset``."""
        return input + _stretch(self.table, tuple(input.shape), offset, self.max_len)

    def extra_repr(self) -> str:
        return f"{self.dim}, max_len={self.max_len}, base={self.base}"


def _stretch(table: Tensor, shape: tuple[int, ...], offset: int, max_len: int) -> Tensor:
    length = shape[-2] if len(shape) > 1 else 0
    if len(shape) < 2 or offset < 0 or offset + length > max_len:
        raise ShapeError(
            f"an input of shape {shape} (…, L, features) from position {offset} on does not fit a table of {max_len} "
            f"positions.{here()}\n  Make max_len larger."
        )
    return table[offset : offset + length]


class RotaryEmbedding(Module):
    """Turns pairs of features of queries and keys by angles that grow with the token's position.

    Pair i of the token at position p is turned by ``p / base^(2i / dim)``. The score of a query and a key then depends on
    how far apart they stand, and not on where.

    Args:
        dim: how many features are turned, the first ones of a head; others stay as they are.
        max_len: how many positions there are.
        base: how much slower the slowest pair turns than the fastest.
        interleaved: whether features 2i and 2i + 1 make a pair, as in Su et al. and GPT-J, or features i and i + dim / 2, as in
            GPT-NeoX, Llama and their like.
        dtype: of the cosines and sines; the default dtype if None.

    Attributes:
        cos, sin: (max_len, dim / 2), buffers that are not saved.

    Source: Su et al., 2021, "RoFormer: Enhanced transformer with rotary position embedding".

    >>> import autograd_ff as af
    >>> rotary = af.nn.RotaryEmbedding(4)
    >>> query = af.ones(1, 2, 3, 4)
    >>> query, key = rotary(query), rotary(query)
    >>> query[0, 0, 0].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self, dim: int, max_len: int = 2048, base: float = 10000.0, interleaved: bool = False, dtype: Any = None
    ) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ShapeError(f"RotaryEmbedding turns pairs: dim is an even number, 2 or more, not {dim}.{here()}")
        self.dim, self.max_len, self.base, self.interleaved = dim, max_len, base, interleaved
        kind = get_default_dtype() if dtype is None else as_dtype(dtype)
        angles = _angles(max_len, dim // 2, dim, base)
        self.register_buffer("cos", Buffer(np.cos(angles).astype(kind)), persistent=False)
        self.register_buffer("sin", Buffer(np.sin(angles).astype(kind)), persistent=False)

    def forward(self, input: Tensor, offset: int = 0, positions: Tensor | None = None) -> Tensor:
        """Queries or keys (…, L, D) with D ≥ dim to the same shape.

        Args:
            input: the heads' queries or keys.
            offset: the position of the first token.
            positions: of each token, whole numbers (L,), or (N, L) for an input (N, heads, L, D), instead of an offset.
        """
        if positions is None:
            cos, sin = (_stretch(one, tuple(input.shape), offset, self.max_len) for one in (self.cos, self.sin))
        else:
            cos, sin = self.cos[positions], self.sin[positions]
            if positions.ndim == 2 and input.ndim == 4:
                cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return rotary_embedding(input, cos, sin, self.interleaved)

    def extra_repr(self) -> str:
        return f"{self.dim}, max_len={self.max_len}, base={self.base}, interleaved={self.interleaved}"
