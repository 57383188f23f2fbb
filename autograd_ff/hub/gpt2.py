"""`GPT2Model` and `GPT2LMHeadModel`: a decoder of texts, with LayerNorm before each block.

Source: Radford, Wu, Child, Luan, Amodei and Sutskever 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..engine import here
from ..errors import ShapeError, StateDictError
from ..functions.tensor import Tensor
from ..nn import Dropout, KeyValueCache, LayerNorm, Module, ModuleList
from ..nn import functional as F
from .attention import causal_mask, heads, join, key_mask
from .config import GPT2Config
from .generation import Generates
from .layers import Conv1D, Embedding, Linear, activation
from .pretrained import PretrainedModel

__all__ = ["DecoderOutput", "GPT2LMHeadModel", "GPT2Model"]


class DecoderOutput(NamedTuple):
    """What a decoder gives.

    Attributes:
        logits: (batch, length, vocabulary), of the token after each; None from a model without a head.
        last_hidden_state: (batch, length, hidden).
        hidden_states: the embeddings and the output of each layer, where they were asked for.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub import DecoderOutput
    >>> DecoderOutput(af.ones(1, 2, 3), af.ones(1, 2, 4)).logits.shape
    (1, 2, 3)
    """

    logits: Tensor | None
    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


class GPT2Attention(Module):
    """Each head's softmax(query keyᵀ · scale) value over the tokens up to its own."""

    def __init__(self, config: GPT2Config, number: int) -> None:
        super().__init__()
        hidden, std = config.n_embd, config.initializer_range
        self.count = config.n_head
        self.dropout = config.attn_pdrop
        self.scale = (hidden // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= number + 1
        self.c_attn = Conv1D(3 * hidden, hidden, std)
        self.c_proj = Conv1D(hidden, hidden, _residual_std(config))
        self.resid_dropout = Dropout(config.resid_pdrop)

    def forward(self, states: Tensor, mask: Tensor | None, cache: KeyValueCache | None) -> Tensor:
        query, key, value = (heads(part, self.count) for part in self.c_attn(states).chunk(3, -1))
        if cache is not None:
            key, value = cache.append(key, value)
        dropout = self.dropout if self.training else 0.0
        causal = mask is None and query.shape[2] > 1
        seen = F.scaled_dot_product_attention(query, key, value, mask, dropout, causal, self.scale)
        return self.resid_dropout(self.c_proj(join(seen)))


def _residual_std(config: GPT2Config) -> float:
    """What is added to the residual stream twice in each layer starts smaller, so that the sum does not grow."""
    return config.initializer_range / (2 * config.n_layer) ** 0.5


class GPT2MLP(Module):
    """The feedforward block: W₂ act(W₁ x)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc = Conv1D(inner, config.n_embd, config.initializer_range)
        self.c_proj = Conv1D(config.n_embd, inner, _residual_std(config))
        self.activation = activation(config.activation_function)
        self.dropout = Dropout(config.resid_pdrop)

    def forward(self, states: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.activation(self.c_fc(states))))


class GPT2Block(Module):
    """x + attention(LayerNorm(x)), then x + mlp(LayerNorm(x))."""

    def __init__(self, config: GPT2Config, number: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, number)
        self.ln_2 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def forward(self, states: Tensor, mask: Tensor | None, cache: KeyValueCache | None) -> Tensor:
        states = states + self.attn(self.ln_1(states), mask, cache)
        return states + self.mlp(self.ln_2(states))


class GPT2Model(PretrainedModel):
    """A decoder without a head: tokens to vectors that know the text before them. State dicts are Hugging Face's.

    x ← x + attention(LayerNorm(x)); x ← x + W₂ gelu(W₁ LayerNorm(x)), in each layer; LayerNorm at the end. Its affine
    layers keep their weights as (in, out), see `autograd_ff.hub.layers.Conv1D`. Source: Radford et al. 2019.

    Args:
        config: what it is built of.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> config = hub.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    >>> model = hub.GPT2Model(config).eval()
    >>> model(af.tensor([[3, 1, 4]])).last_hidden_state.shape
    (1, 3, 8)
    >>> model.state_dict()["h.0.attn.c_attn.weight"].shape
    (8, 24)
    """

    config: GPT2Config
    config_class = GPT2Config
    base_prefix = "transformer"
    not_weights = r"(^|\.)h\.\d+\.attn\.(bias|masked_bias)$"

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = Embedding(config.vocab_size, config.n_embd, std=config.initializer_range)
        self.wpe = Embedding(config.n_positions, config.n_embd, std=config.initializer_range)
        self.drop = Dropout(config.embd_pdrop)
        self.h = ModuleList([GPT2Block(config, number) for number in range(config.n_layer)])
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Sequence[KeyValueCache] | None = None,
        output_hidden_states: bool = False,
    ) -> DecoderOutput:
        """Vectors of the tokens of a batch of texts.

        Args:
            input_ids: (batch, length), whole numbers; with a cache, those after the ones that it holds.
            attention_mask: (batch, keys), 0 where there is padding, of the tokens in the cache and the new ones. All are
                tokens if None.
            position_ids: (batch, length); they go on from the cache if None.
            cache: for each layer the keys and values of earlier tokens, to which the new ones are added, see
                `GPT2LMHeadModel.new_cache`.
            output_hidden_states: keep the vectors after each layer as well.

        Raises:
            ShapeError: shapes that do not fit each other, or more tokens than positions.
            DimensionError: a token that the vocabulary does not have.
        """
        if input_ids.ndim != 2:
            raise ShapeError(
                f"{type(self).__name__} takes input_ids of shape (batch, length), got {tuple(input_ids.shape)}.{here()}\n"
                "  A single text is a batch of one: input_ids.unsqueeze(0)."
            )
        batch, length = input_ids.shape
        before = 0 if cache is None else cache[0].length
        longest = self.config.n_positions
        if position_ids is None and before + length > longest:
            raise ShapeError(f"there are {before + length} tokens, and the model has {longest} positions.{here()}")
        mask = None
        if attention_mask is not None:
            mask = key_mask(attention_mask, (batch, before + length)) & causal_mask(length, before + length)
        elif before and length > 1:
            mask = causal_mask(length, before + length)
        positions = self.wpe.weight[before : before + length] if position_ids is None else self.wpe(position_ids)
        states = self.drop(self.wte(input_ids) + positions)
        kept = [states]
        for number, block in enumerate(self.h):
            states = block(states, mask, None if cache is None else cache[number])
            kept.append(states)
        states = self.ln_f(states)
        kept[-1] = states  # as Hugging Face's: the last one is normalised
        return DecoderOutput(None, states, tuple(kept) if output_hidden_states else None)


class GPT2LMHeadModel(Generates, PretrainedModel):
    """A decoder of texts: tokens to scores of the token after each. State dicts are Hugging Face's.

    The output layer's weight is that of the token embedding (``config.tie_word_embeddings``): one Parameter with two names
    in the state dict, and one tensor in a file. Source: Radford et al. 2019.

    Args:
        config: what it is built of.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> _ = af.manual_seed(0)
    >>> config = hub.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    >>> model = hub.GPT2LMHeadModel(config).eval()
    >>> model(af.tensor([[3, 1, 4]])).logits.shape
    (1, 3, 20)
    >>> model.generate(af.tensor([[3, 1, 4]]), 2).shape
    (1, 5)
    """

    config: GPT2Config
    config_class = GPT2Config
    base_prefix = "transformer"
    has_head = True
    not_weights = GPT2Model.not_weights

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False, std=config.initializer_range)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Give the output layer the token embedding's weight, where the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.wte.weight

    def stored_state(self) -> dict[str, Tensor]:
        state = super().stored_state()
        if self.config.tie_word_embeddings:
            del state["lm_head.weight"]
        return state

    def take(self, state: dict[str, Tensor], strict: bool = True) -> None:
        if self.config.tie_word_embeddings and "transformer.wte.weight" in state:
            table = state["transformer.wte.weight"]
            head = state.setdefault("lm_head.weight", table)
            if head.array is not table.array and not np.array_equal(head.array, table.array):
                raise StateDictError(
                    "the config ties the output layer's weight to that of the token embedding, and the file holds "
                    f"different values for them.{here()}\n  Load them apart: config.tie_word_embeddings = False."
                )
        super().take(state, strict)
        self.tie_weights()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Sequence[KeyValueCache] | None = None,
        output_hidden_states: bool = False,
        last_only: bool = False,
    ) -> DecoderOutput:
        """Scores of the token after each, see `GPT2Model.forward`.

        Args:
            last_only: scores of the last token alone, (batch, 1, vocabulary): all that generating needs.
        """
        states, kept = self.transformer(input_ids, attention_mask, position_ids, cache, output_hidden_states)[1:]
        return DecoderOutput(self.lm_head(states[:, -1:] if last_only else states), states, kept)

    def new_cache(self, batch: int, length: int) -> list[KeyValueCache]:
        """Room for the keys and values of ``length`` tokens, for each layer."""
        config, dtype = self.config, self.transformer.wte.weight.array.dtype
        side = config.n_embd // config.n_head
        return [KeyValueCache(batch, config.n_head, length, side, dtype) for _ in range(config.n_layer)]

    @property
    def longest(self) -> int:
        """The longest sequence."""
        return self.config.n_positions
