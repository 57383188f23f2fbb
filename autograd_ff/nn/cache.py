"""The keys and values of the tokens so far, kept for the next one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import get_default_dtype, here, no_grad, wrap
from ..errors import GraphError, ShapeError
from ..functions.dtypes import as_dtype
from ..functions.tensor import Tensor
from . import functional as F

__all__ = ["KeyValueCache"]


class KeyValueCache:
    """Keys and values of one attention layer, appended in place into memory that is made once.

    Text is generated token by token, and the keys and values of earlier tokens stay what they were: with them kept, a step
    computes those of the new token alone. No gradient flows through a cache; use it under `no_grad`.

    Args:
        batch: N.
        heads: of keys and values.
        max_len: how many tokens there is room for.
        head_dim: features of a key and a value.
        dtype: the default dtype if None.

    Attributes:
        length: how many tokens there are.

    >>> import autograd_ff as af
    >>> cache = af.nn.KeyValueCache(1, 2, 16, 4)
    >>> x = af.ones(1, 2, 3, 4)
    >>> with af.no_grad():
    ...     out = cache.attend(x, x, x)            # three tokens of a prompt
    ...     out = cache.attend(*[x[:, :, :1]] * 3)  # and one more
    >>> out.shape, cache.length
    ((1, 2, 1, 4), 4)
    """

    def __init__(self, batch: int, heads: int, max_len: int, head_dim: int, dtype: Any = None) -> None:
        kind = get_default_dtype() if dtype is None else as_dtype(dtype)
        self.length = 0
        self._keys, self._values = (np.empty((batch, heads, max_len, head_dim), kind) for _ in range(2))

    @property
    def max_len(self) -> int:
        """How many tokens there is room for."""
        return self._keys.shape[2]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens, (N, heads, new, head_dim).

        Returns:
            All keys and values so far, (N, heads, length, head_dim): views of the cache's memory, of which later tokens
            change nothing.
        """
        batch, heads, _, side = self._keys.shape
        new = key.shape[2] if key.ndim == 4 else -1
        if tuple(key.shape) != (batch, heads, new, side) or tuple(value.shape) != tuple(key.shape):
            raise ShapeError(
                f"the cache takes keys and values of shape {(batch, heads)} + (new, {side}), got {tuple(key.shape)} and "
                f"{tuple(value.shape)}.{here()}"
            )
        if self.length + new > self.max_len:
            raise ShapeError(
                f"the cache has room for {self.max_len} tokens; it holds {self.length}, and {new} do not fit.{here()}\n"
                "  Make max_len larger, or start anew with reset()."
            )
        if key.requires_grad or value.requires_grad:
            raise GraphError(f"no gradient flows through a cache; use it under no_grad().{here()}")
        end = self.length + new
        self._keys[:, :, self.length : end] = key.array
        self._values[:, :, self.length : end] = value.array
        self.length = end
        return wrap(self._keys[:, :, :end]), wrap(self._values[:, :, :end])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
        """Append keys and values of new tokens, and let their queries see all tokens up to their own.

        Args:
            query: (N, query heads, new, head_dim), query heads being a multiple of the cache's heads.
            key: (N, heads, new, head_dim).
            value: likewise.
            scale: of the scores; 1 / √head_dim if None.

        Returns:
            (N, query heads, new, head_dim), what causal attention over the whole sequence gives for the new tokens.
        """
        past, new = self.length, query.shape[2]
        keys, values = self.append(key, value)
        shared = query.shape[1] != keys.shape[1]
        if not past or new == 1:
            causal = new > 1
            return F.scaled_dot_product_attention(query, keys, values, is_causal=causal, scale=scale, enable_gqa=shared)
        mask: Tensor = wrap(np.tri(new, past + new, past, dtype=np.bool_))
        return F.scaled_dot_product_attention(query, keys, values, mask, scale=scale, enable_gqa=shared)

    def reorder(self, index: Tensor) -> None:
        """Let row n of the batch go on from row ``index[n]``, as a beam search needs it."""
        rows = np.asarray(index.array)
        with no_grad():
            self._keys[:, :, : self.length] = self._keys[rows, :, : self.length]
            self._values[:, :, : self.length] = self._values[rows, :, : self.length]

    def reset(self, length: int = 0) -> None:
        """Forget all tokens after the first ``length``."""
        if not 0 <= length <= self.length:
            raise ShapeError(f"the cache holds {self.length} tokens, of which {length} cannot stay.{here()}")
        self.length = length

    def __len__(self) -> int:
        return self.length
