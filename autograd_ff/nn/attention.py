"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import apply, get_default_dtype, here, scope
from ..errors import DtypeError, ShapeError
from ..functions import creation, shaping
from ..functions.attention import keep_mask
from ..functions.conversion import check_device
from ..functions.dtypes import as_dtype
from ..functions.tensor import Tensor
from ..kernels import attention as kernels
from . import functional as F
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Several attentions side by side, each on features of its own, and a linear map of what they found.

    With queries, keys and values projected by three matrices and divided into heads, head h is
    ``softmax(q_h k_hᵀ / √head_dim + mask) v_h``; the heads, side by side, go through ``out_proj``.

    It differs from PyTorch's in two things, where that one fails: ``is_causal=True`` needs no mask beside it, and a query to
    which all keys are masked finds 0 (and weights of 0) with ``need_weights`` too, rather than NaN.

    Args:
        embed_dim: features of queries and results.
        num_heads: heads, each of ``embed_dim // num_heads`` features.
        dropout: the probability, in training, that a weight becomes 0.
        bias: whether the projections have biases.
        add_bias_kv: whether a learned key and value are added to the sequence.
        add_zero_attn: whether a key and a value of zeros are added to it.
        kdim: features of the keys; ``embed_dim`` if None.
        vdim: features of the values; ``embed_dim`` if None.
        batch_first: whether inputs are (N, L, E) or, as by default, (L, N, E).
        dtype: of the parameters; the default dtype if None.

    Attributes:
        in_proj_weight: (3 embed_dim, embed_dim), the projections of queries, keys and values, drawn by Xavier's uniform
            rule; None with a ``kdim`` or ``vdim`` of their own, and then they are
        q_proj_weight, k_proj_weight, v_proj_weight: (embed_dim, embed_dim), (embed_dim, kdim) and (embed_dim, vdim).
        in_proj_bias: (3 embed_dim,), zeros at first; None without bias.
        out_proj: `Linear`, its bias 0 at first.
        bias_k, bias_v: (1, 1, embed_dim), or None.

    Source: Vaswani et al., 2017, "Attention is all you need".

    >>> import autograd_ff as af
    >>> attention = af.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = af.ones(3, 5, 8)
    >>> out, weights = attention(x, x, x)
    >>> out.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ShapeError(
                f"embed_dim features are divided into num_heads heads of one size, and {embed_dim} do not make "
                f"{num_heads} heads.{here()}"
            )
        if not 0 <= dropout <= 1:
            raise ShapeError(f"a probability lies between 0 and 1, got dropout={dropout}.{here()}")
        check_device(device)
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn
        kind = get_default_dtype() if dtype is None else as_dtype(dtype)
        packed = self.kdim == self.vdim == embed_dim
        shapes = {
            "q_proj_weight": None if packed else (embed_dim, embed_dim),
            "k_proj_weight": None if packed else (embed_dim, self.kdim),
            "v_proj_weight": None if packed else (embed_dim, self.vdim),
            "in_proj_weight": (3 * embed_dim, embed_dim) if packed else None,
            "in_proj_bias": (3 * embed_dim,) if bias else None,
            "bias_k": (1, 1, embed_dim) if add_bias_kv else None,
            "bias_v": (1, 1, embed_dim) if add_bias_kv else None,
        }
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else Parameter(np.empty(shape, kind)))
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=kind)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw the parameters anew, as PyTorch does; ``out_proj``'s weight stays."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for added in (self.bias_k, self.bias_v):
            if added is not None:
                init.xavier_normal_(added)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """What each query found, and the weights of the keys.

        Args:
            query: (L, N, E), (N, L, E) with ``batch_first``, or (L, E).
            key: (S, N, kdim), (N, S, kdim) or (S, kdim).
            value: (S, N, vdim), (N, S, vdim) or (S, vdim).
            key_padding_mask: (N, S) or (S,): booleans, *true for keys to leave out*, or numbers to add to their scores.
            need_weights: whether the weights are returned. They are the whole matrix, which costs time and memory.
            attn_mask: (L, S) or (N · num_heads, L, S): booleans, *true where a query may not see a key* (in
                `scaled_dot_product_attention` it is the reverse), or numbers to add to the scores.
            average_attn_weights: whether the weights are the means of all heads.
            is_causal: query i sees the keys 0 to i; ``attn_mask``, if given too, is taken to say the same, and not read.

        Returns:
            (L, N, E), (N, L, E) or (L, E), as the query; and the weights, (N, L, S), or (N, num_heads, L, S) without the
            mean, without the N for inputs without it, or None.

        Raises:
            ShapeError: inputs or masks whose shapes do not fit.
        """
        batched = self._check(query, key, value)
        self_attention = query is key and key is value
        if not batched:
            query, key, value = (one.unsqueeze(0) for one in (query, key, value))
            if self_attention:
                key = value = query
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        batch_first = self.batch_first or not batched
        at, along = (0, 1) if batch_first else (1, 0)
        shape = query.shape[at], self.num_heads, query.shape[along], key.shape[along]
        mask = self._mask(shape, key_padding_mask, None if is_causal else attn_mask)
        weights = None
        plain = self_attention and not need_weights and not self.add_zero_attn and self.bias_k is None
        weight = self.in_proj_weight
        if plain and weight is not None:
            found = self._packed(query, weight, mask, is_causal, shape, batch_first)
        else:
            q, k, v = (
                self.heads(x, which, batch_first) for x, which in ((query, "query"), (key, "key"), (value, "value"))
            )
            k, v, mask = self._extended(k, v, mask, is_causal)
            found, weights = self._attend(q, k, v, mask, is_causal, need_weights)
            found = found.transpose(1, 2)  # (N, L, heads, head_dim)
        if not batch_first:
            found = found.transpose(0, 1)
        found = self.out_proj(found.flatten(-2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return found.squeeze(0), None if weights is None else weights.squeeze(0)
        return found, weights

    # ---------------------------------------------------------------- its steps

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> bool:
        """Whether the inputs have a batch dimension."""
        shapes = {"query": tuple(query.shape), "key": tuple(key.shape), "value": tuple(value.shape)}
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        dims = {len(shape) for shape in shapes.values()}
        order = "(N, {}, {})" if self.batch_first else "({}, N, {})"
        if dims not in ({2}, {3}):
            example = order.format("L", self.embed_dim)
            raise ShapeError(
                f"MultiheadAttention takes three inputs such as {example}, or three without N; got {shown}.{here()}"
            )
        for (name, shape), side in zip(shapes.items(), (self.embed_dim, self.kdim, self.vdim), strict=True):
            if shape[-1] != side:
                raise ShapeError(f"MultiheadAttention: the {name} has {side} features, got {shown}.{here()}")
        one, two, three = shapes.values()
        if two[:-1] != three[:-1] or (len(one) == 3 and one[not self.batch_first] != two[not self.batch_first]):
            wanted = [
                order.format(side, one) for side, one in (("L", self.embed_dim), ("S", self.kdim), ("S", self.vdim))
            ]
            raise ShapeError(f"MultiheadAttention takes {', '.join(wanted)}, got {shown}.{here()}")
        return len(one) == 3

    def _mask(self, shape: tuple[int, ...], padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Both masks as one that broadcasts to (N, heads, L, S), of booleans only if both are: true takes part."""
        batch, heads, rows, columns = shape
        given = []
        if mask is not None:
            if tuple(mask.shape) == (batch * heads, rows, columns):
                given.append(mask.reshape(batch, heads, rows, columns))
            elif tuple(mask.shape) == (rows, columns):
                given.append(mask)
            else:
                raise ShapeError(
                    f"attn_mask has shape {tuple(mask.shape)}, and is to have {(rows, columns)} or "
                    f"{(batch * heads, rows, columns)}, which is (N · num_heads, L, S).{here()}"
                )
        if padding is not None:
            if tuple(padding.shape) != (batch, columns):
                raise ShapeError(
                    f"key_padding_mask has shape {tuple(padding.shape)}, and is to have {(batch, columns)}.{here()}"
                )
            given.append(padding.reshape(batch, 1, 1, columns))
        for one in given:
            if one.dtype.kind not in "bf":
                raise DtypeError(
                    f"a mask is of booleans (true: left out) or of numbers to add to scores, not {one.dtype}.{here()}"
                    "\n  Of zeros and ones, make booleans: mask.bool()."
                )
        if not given:
            return None
        if all(one.dtype.kind == "b" for one in given):
            left_out = given[0] if len(given) == 1 else given[0] | given[1]
            return ~left_out
        numbers = [self._as_numbers(one) for one in given]
        return numbers[0] if len(numbers) == 1 else numbers[0] + numbers[1]

    def _as_numbers(self, mask: Tensor) -> Tensor:
        """A mask of booleans, true for what is left out, as numbers to add."""
        if mask.dtype.kind != "b":
            return mask
        return creation.zeros(mask.shape, dtype=self.out_proj.weight.dtype).masked_fill(mask, -math.inf)

    def _packed(
        self, x: Tensor, weight: Tensor, mask: Tensor | None, causal: bool, shape: tuple[int, ...], batch_first: bool
    ) -> Tensor:
        """Self-attention, its projections made at once and left where they lie: (N, L, heads, head_dim)."""
        packed = F.linear(x, weight, self.in_proj_bias)
        packed = packed.unflatten(-1, (3, self.num_heads, self.head_dim))
        if not batch_first:
            packed = packed.transpose(0, 1)
        with scope("composite", "self_attention", "self_attention"):
            keep, factor = keep_mask(shape, self.dropout if self.training else 0.0)
            params = {"scale": 1 / math.sqrt(self.head_dim), "causal": causal, "keep_scale": factor}
            out: Tensor = apply(kernels.self_attention, (packed, mask, keep), params)
            return out

    def heads(self, x: Tensor, which: str, batch_first: bool | None = None) -> Tensor:
        """One of the three projections, divided into heads.

        Args:
            x: (L, N, features), or (N, L, features) with ``batch_first``.
            which: ``"query"``, ``"key"`` or ``"value"``.
            batch_first: instead of the module's.

        Returns:
            (N, heads, L, head_dim).
        """
        place, side = ("query", "key", "value").index(which), self.embed_dim
        part = slice(place * side, (place + 1) * side)
        if self.in_proj_weight is None:
            weight: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[place]
        else:
            weight = self.in_proj_weight[part]
        bias = None if self.in_proj_bias is None else self.in_proj_bias[part]
        made = F.linear(x, weight, bias).unflatten(-1, (self.num_heads, self.head_dim))
        first = self.batch_first if batch_first is None else batch_first
        return made.transpose(1, 2) if first else made.permute(1, 2, 0, 3)

    def _extended(
        self, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """With the learned key and value, and those of zeros, which no mask leaves out, if there are any."""
        if self.bias_k is None and not self.add_zero_attn:
            return k, v, mask
        batch, heads, rows, side = k.shape[0], self.num_heads, k.shape[2], self.head_dim
        if causal:
            raise ShapeError(
                "MultiheadAttention: is_causal=True would leave out the keys that add_bias_kv and add_zero_attn put after "
                f"the others; give an attn_mask.{here()}"
            )
        for added, wanted in (
            ((self.bias_k, self.bias_v), self.bias_k is not None),
            ((None, None), self.add_zero_attn),
        ):
            if not wanted:
                continue
            pair = []
            for sequence, one in zip((k, v), added, strict=True):
                row = creation.zeros(batch, heads, 1, side, dtype=sequence.dtype)
                if one is not None:
                    row = one.reshape(1, heads, 1, side).expand(batch, heads, 1, side)
                pair.append(shaping.cat([sequence, row], dim=2))
            k, v = pair
        if mask is not None:
            more = (*mask.shape[:-1], k.shape[2] - rows)
            always = (
                creation.ones(more, dtype=mask.dtype)
                if mask.dtype.kind == "b"
                else creation.zeros(more, dtype=mask.dtype)
            )
            mask = shaping.cat([mask, always], dim=-1)
        return k, v, mask

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """What the heads found, (N, heads, L, head_dim), and their weights."""
        dropout_p = self.dropout if self.training else 0.0
        scale = 1 / math.sqrt(self.head_dim)
        if not need_weights:
            with scope("composite", "scaled_dot_product_attention", "scaled_dot_product_attention"):
                keep, factor = keep_mask((*q.shape[:3], k.shape[2]), dropout_p)
                params = {"scale": scale, "causal": causal, "keep_scale": factor}
                return apply(kernels.attention, (q, k, v, mask, keep), params), None
        scores = (q * scale) @ k.transpose(-2, -1)
        if causal:
            seen = creation.ones(scores.shape[-2:], dtype=np.bool_).tril()
            if mask is not None and mask.dtype.kind != "b":
                scores, mask = scores + mask, None
            mask = seen if mask is None else mask & seen
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype.kind == "b" else scores + mask
            lost = (scores == -math.inf).all(-1, keepdim=True)
            weights = F.softmax(scores.masked_fill(lost, 0.0), dim=-1).masked_fill(lost, 0.0)
        else:
            weights = F.softmax(scores, dim=-1)
        weights = F.dropout(weights, dropout_p)
        return weights @ v, weights
