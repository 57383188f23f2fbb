"""A Transformer's decoder token by token: what earlier tokens and the encoder's amount to is kept."""

from __future__ import annotations

import math
from typing import Any

from ..engine import here, no_grad
from ..errors import ModuleError, ShapeError
from ..functions.tensor import Tensor
from . import functional as F
from .attention import MultiheadAttention
from .cache import KeyValueCache
from .module import Module
from .transformer import TransformerDecoder, TransformerDecoderLayer

__all__ = ["DecoderCache"]


class DecoderCache:
    """Runs a `TransformerDecoder` on new target tokens alone.

    What it gives for them is what the decoder gives for the whole target with ``tgt_is_causal=True``, in evaluation mode
    (nothing is dropped). Keys and values of earlier tokens and of the encoder's are computed once. No gradient flows
    through it.

    Args:
        decoder: a `TransformerDecoder` of layers of `TransformerDecoderLayer`, or one such layer.
        memory: the encoder's tokens, in the decoder's order of dimensions: (N, S, d_model) with ``batch_first``.
        memory_key_padding_mask: (N, S), booleans, true for the encoder's tokens to leave out.
        max_len: how many target tokens there is room for.

    Attributes:
        length: how many target tokens there were so far.

    Raises:
        ModuleError: a layer of another kind.

    >>> import autograd_ff as af
    >>> _ = af.manual_seed(0)
    >>> model = af.nn.Transformer(8, 2, 1, 1, 16, batch_first=True).eval()
    >>> memory, target = model.encoder(af.randn(1, 7, 8)), af.randn(1, 3, 8)
    >>> cache = af.nn.DecoderCache(model.decoder, memory, max_len=3)
    >>> steps = af.cat([cache(target[:, at : at + 1]) for at in range(3)], dim=1)
    >>> whole = model.decoder(target, memory, tgt_is_causal=True)
    >>> bool((steps - whole).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        decoder: Module,
        memory: Tensor,
        memory_key_padding_mask: Tensor | None = None,
        max_len: int = 512,
    ) -> None:
        layers = list(decoder.layers) if isinstance(decoder, TransformerDecoder) else [decoder]
        for layer in layers:
            if not isinstance(layer, TransformerDecoderLayer):
                raise ModuleError(
                    f"DecoderCache runs a TransformerDecoder of TransformerDecoderLayers, not a {type(layer).__name__}.{here()}"
                )
        self._norm: Any = getattr(decoder, "norm", None)
        self._layers: list[Any] = layers
        if memory.ndim != 3:
            raise ShapeError(f"memory has three dimensions, a batch among them, got {tuple(memory.shape)}.{here()}")
        first: MultiheadAttention = self._layers[0].self_attn
        self._batch_first = first.batch_first
        batch, places = memory.shape[:2] if self._batch_first else memory.shape[1::-1]
        if memory_key_padding_mask is not None and tuple(memory_key_padding_mask.shape) != (batch, places):
            raise ShapeError(
                f"memory_key_padding_mask has shape {tuple(memory_key_padding_mask.shape)}, and is to have {(batch, places)}"
                f".{here()}"
            )
        with no_grad():
            self._seen = None if memory_key_padding_mask is None else ~memory_key_padding_mask[:, None, None]
            self._memories = [
                [layer.multihead_attn.heads(memory, which) for which in ("key", "value")] for layer in self._layers
            ]
        self._caches = [
            KeyValueCache(batch, first.num_heads, max_len, first.head_dim, memory.dtype) for _ in self._layers
        ]

    @property
    def length(self) -> int:
        return self._caches[0].length

    def __call__(self, tgt: Tensor) -> Tensor:
        """What the decoder makes of new tokens, in their shape: (N, new, d_model) with ``batch_first``."""
        x = tgt
        with no_grad():
            for layer, cache, memory in zip(self._layers, self._caches, self._memories, strict=True):
                if layer.norm_first:
                    x = x + self._own(layer, cache, layer.norm1(x))
                    x = x + self._others(layer, memory, layer.norm2(x))
                    x = x + layer.linear2(layer.activation(layer.linear1(layer.norm3(x))))
                else:
                    x = layer.norm1(x + self._own(layer, cache, x))
                    x = layer.norm2(x + self._others(layer, memory, x))
                    x = layer.norm3(x + layer.linear2(layer.activation(layer.linear1(x))))
            return x if self._norm is None else self._norm(x)

    def _own(self, layer: TransformerDecoderLayer, cache: KeyValueCache, x: Tensor) -> Tensor:
        attention = layer.self_attn
        query, key, value = (attention.heads(x, which) for which in ("query", "key", "value"))
        return self._joined(attention, cache.attend(query, key, value))

    def _others(self, layer: TransformerDecoderLayer, memory: list[Tensor], x: Tensor) -> Tensor:
        attention, (key, value) = layer.multihead_attn, memory
        found = F.scaled_dot_product_attention(
            attention.heads(x, "query"), key, value, self._seen, scale=1 / math.sqrt(attention.head_dim)
        )
        return self._joined(attention, found)

    def _joined(self, attention: MultiheadAttention, found: Tensor) -> Tensor:
        order = (0, 2, 1, 3) if self._batch_first else (2, 0, 1, 3)
        out: Tensor = attention.out_proj(found.permute(*order).flatten(-2))
        return out

    def reorder(self, index: Tensor) -> None:
        """Let row n of the batch go on from row ``index[n]``, of the same memory, as a beam search needs it."""
        for cache in self._caches:
            cache.reorder(index)

    def __len__(self) -> int:
        return self.length
