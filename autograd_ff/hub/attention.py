"""What the models' attentions share: heads, and masks as Hugging Face's tokenizers give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import constant, here, wrap
from ..errors import ShapeError
from ..functions.tensor import Tensor

__all__ = ["causal_mask", "heads", "join", "key_mask"]


def heads(states: Tensor, count: int) -> Tensor:
    """(batch, length, hidden) to (batch, heads, length, hidden / heads).

    >>> import autograd_ff as af
    >>> from autograd_ff.hub.attention import heads
    >>> heads(af.ones(2, 5, 6), 3).shape
    (2, 3, 5, 2)
    """
    batch, length, hidden = states.shape
    return states.reshape(batch, length, count, hidden // count).transpose(1, 2)


def join(states: Tensor) -> Tensor:
    """The inverse of `heads`.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub.attention import heads, join
    >>> join(heads(af.ones(2, 5, 6), 3)).shape
    (2, 5, 6)
    """
    batch, count, length, side = states.shape
    return states.transpose(1, 2).reshape(batch, length, count * side)


def key_mask(mask: Any, size: tuple[int, int]) -> Tensor:
    """A mask over keys, (batch, length) or (batch, queries, length), as one over scores: true where a key is seen.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub.attention import key_mask
    >>> key_mask(af.tensor([[1, 1, 0]]), (1, 3)).tolist()
    [[[[True, True, False]]]]
    """
    shape = tuple(mask.shape)
    if len(shape) not in (2, 3) or (shape[0], shape[-1]) != size:
        raise ShapeError(
            f"the attention mask has shape {shape}, and the batch is {size}: a mask has a number for each token, not 0 "
            f"where it is one, 0 where it is padding.{here()}"
        )
    seen = mask != 0
    return seen[:, None, None, :] if len(shape) == 2 else seen[:, None]


def causal_mask(queries: int, keys: int) -> Tensor:
    """(queries, keys), true where a key is not after its query; the last query stands at the last key.

    >>> from autograd_ff.hub.attention import causal_mask
    >>> causal_mask(2, 3).tolist()
    [[True, True, False], [True, True, True]]
    """
    mask = np.tri(queries, keys, keys - queries, dtype=np.bool_)
    constant(mask)
    return wrap(mask)
