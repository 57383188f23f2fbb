"""The Transformer's layers and stacks of them, with PyTorch's parameters under PyTorch's names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from ..engine import here
from ..errors import ModuleError, ShapeError
from ..functions import creation
from ..functions.tensor import Tensor
from . import functional as F
from . import init
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
]  # fmt: skip

Activation = str | Callable[[Tensor], Tensor]


def _activation(given: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(given, str):
        return given
    by_name: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
    if given not in by_name:
        raise ModuleError(f'activation is "relu", "gelu" or a function of a Tensor, not {given!r}.{here()}')
    return by_name[given]


class _Layer(Module):
    """What encoder and decoder layers share: self-attention, and the feedforward part in its place."""

    self_attn: MultiheadAttention

    def _make(
        self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, activation: Activation,
        layer_norm_eps: float, batch_first: bool, norm_first: bool, bias: bool, device: Any, dtype: Any, decodes: bool,
    ) -> None:  # fmt: skip
        made: dict[str, Any] = {"device": device, "dtype": dtype, "bias": bias}
        attention = {"dropout": dropout, "batch_first": batch_first, **made}
        self.self_attn = MultiheadAttention(d_model, nhead, **attention)
        if decodes:
            self.multihead_attn = MultiheadAttention(d_model, nhead, **attention)
        self.linear1 = Linear(d_model, dim_feedforward, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **made)
        self.norm_first = norm_first
        for number in range(1, 4 if decodes else 3):
            setattr(self, f"norm{number}", LayerNorm(d_model, eps=layer_norm_eps, **made))
        for number in range(1, 4 if decodes else 3):
            setattr(self, f"dropout{number}", Dropout(dropout))
        self.activation = _activation(activation)

    def _self_attend(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, causal: bool) -> Tensor:
        found, _ = self.self_attn(x, x, x, padding, False, mask, True, causal)
        return self.dropout1(found)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a feedforward network, each added to what goes in and normalised.

    With ``norm_first``, x + f(norm(x)) for both; without, norm(x + f(x)).

    Args:
        d_model: features of a token.
        nhead: heads of the attention.
        dim_feedforward: features between the feedforward network's two linear maps.
        dropout: the probability of dropping a weight of the attention, a feature between the maps, and one of what either
            part adds.
        activation: ``"relu"``, ``"gelu"`` or a function, between the maps.
        layer_norm_eps: of the `LayerNorm`.
        batch_first: whether tokens are (N, L, d_model) or, as by default, (L, N, d_model).
        norm_first: whether each part normalises what goes in, rather than what comes out.
        bias: whether linear maps and normalisations have a bias.
        dtype: of the parameters; the default dtype if None.

    Source: Vaswani et al., 2017, "Attention is all you need"; ``norm_first``: Xiong et al., 2020, "On layer normalization in
    the Transformer architecture".

    >>> import autograd_ff as af
    >>> layer = af.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> layer(af.ones(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._make(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                   device, dtype, decodes=False)  # fmt: skip

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """(L, N, d_model), (N, L, d_model) with ``batch_first``, or (L, d_model), to the same shape.

        Args:
            src: the tokens.
            src_mask: (L, L) or (N · nhead, L, L): true where a token may not see another, or numbers to add.
            src_key_padding_mask: (N, L): true for tokens to leave out, or numbers to add.
            is_causal: each token sees those before it and itself; no mask is needed for that.
        """
        x = src
        if self.norm_first:
            x = x + self._self_attend(self.norm1(x), src_mask, src_key_padding_mask, is_causal)
            return x + self.dropout2(self._feed_forward(self.norm2(x)))
        x = self.norm1(x + self._self_attend(x, src_mask, src_key_padding_mask, is_causal))
        return self.norm2(x + self.dropout2(self._feed_forward(x)))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's tokens, then a feedforward network, each added and normalised.

    Args: those of `TransformerEncoderLayer`.

    Source: Vaswani et al., 2017, "Attention is all you need".

    >>> import autograd_ff as af
    >>> layer = af.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> layer(af.ones(3, 5, 8), af.ones(3, 7, 8), tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._make(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                   device, dtype, decodes=True)  # fmt: skip

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The target's tokens (…, d_model) to the same shape.

        Args:
            tgt: the target's tokens, (T, N, d_model), or (N, T, d_model) with ``batch_first``.
            memory: the encoder's tokens, (S, N, d_model) or (N, S, d_model).
            tgt_mask: (T, T) or (N · nhead, T, T): true where a token may not see another, or numbers to add.
            memory_mask: (T, S) or (N · nhead, T, S), of which target token sees which of the encoder's.
            tgt_key_padding_mask: (N, T): true for tokens to leave out, or numbers to add.
            memory_key_padding_mask: (N, S).
            tgt_is_causal: each target token sees those before it and itself; no mask is needed for that.
            memory_is_causal: target token i sees the encoder's 0 to i.
        """
        x = tgt
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        others = memory, memory_mask, memory_key_padding_mask, memory_is_causal
        if self.norm_first:
            x = x + self._self_attend(self.norm1(x), *own)
            x = x + self._attend(self.norm2(x), *others)
            return x + self.dropout3(self._feed_forward(self.norm3(x)))
        x = self.norm1(x + self._self_attend(x, *own))
        x = self.norm2(x + self._attend(x, *others))
        return self.norm3(x + self.dropout3(self._feed_forward(x)))

    def _attend(self, x: Tensor, memory: Tensor, mask: Tensor | None, padding: Tensor | None, causal: bool) -> Tensor:
        found, _ = self.multihead_attn(x, memory, memory, padding, False, mask, True, causal)
        return self.dropout2(found)


def _copies(layer: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class TransformerEncoder(Module):
    """Encoder layers, one after another.

    Where PyTorch in evaluation takes a faster path that writes 0 for tokens of padding, these keep what the layers made of
    them; nobody should read either.

    Args:
        encoder_layer: copied ``num_layers`` times: all copies start with the same numbers.
        num_layers: how many.
        norm: what comes last, if anything.
        enable_nested_tensor: without effect.
        mask_check: without effect.

    >>> import autograd_ff as af
    >>> layer = af.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> af.nn.TransformerEncoder(layer, 3)(af.ones(3, 5, 8)).shape
    (3, 5, 8)
    """

    norm: Module | None

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Tokens to the same shape; see `TransformerEncoderLayer.forward`."""
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Decoder layers, one after another.

    Args:
        decoder_layer: copied ``num_layers`` times: all copies start with the same numbers.
        num_layers: how many.
        norm: what comes last, if anything.

    >>> import autograd_ff as af
    >>> layer = af.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> af.nn.TransformerDecoder(layer, 3)(af.ones(3, 5, 8), af.ones(3, 7, 8)).shape
    (3, 5, 8)
    """

    norm: Module | None

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The target's tokens to the same shape; see `TransformerDecoderLayer.forward`."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of the source's tokens and a decoder of the target's.

    Args:
        d_model: features of a token.
        nhead: heads of the attentions.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        dim_feedforward: features between the two linear maps of a feedforward network.
        dropout: see `TransformerEncoderLayer`, as the others below.
        custom_encoder: takes the encoder's place.
        custom_decoder: takes the decoder's place.

    Attributes:
        encoder, decoder: `TransformerEncoder` and `TransformerDecoder`, with a `LayerNorm` at the end of each. All
            parameters of two dimensions are drawn by Xavier's uniform rule.

    Source: Vaswani et al., 2017, "Attention is all you need".

    >>> import autograd_ff as af
    >>> model = af.nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    >>> model(af.ones(3, 7, 8), af.ones(3, 5, 8), tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first)
        if custom_encoder is None:
            norm = LayerNorm(d_model, eps=layer_norm_eps, **made)
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*layer, **made), num_encoder_layers, norm)
        if custom_decoder is None:
            norm = LayerNorm(d_model, eps=layer_norm_eps, **made)
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*layer, **made), num_decoder_layers, norm)
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Source tokens and target tokens to what the decoder makes of the target's, in their shape."""
        for one in (src, tgt):
            if one.ndim not in (2, 3) or one.shape[-1] != self.d_model:
                raise ShapeError(
                    f"Transformer takes src and tgt of {self.d_model} features, got {tuple(src.shape)} and "
                    f"{tuple(tgt.shape)}.{here()}"
                )
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        out: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return out

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz): 0 where a token may see another, -∞ above the diagonal.

        ``is_causal=True`` does the same without a mask, and faster.
        """
        return creation.full((sz, sz), -math.inf, dtype=dtype, device=device).triu(1)
