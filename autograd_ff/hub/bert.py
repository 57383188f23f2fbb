"""`BertModel`: an encoder of texts, with LayerNorm after each block.

Source: Devlin, Chang, Lee and Toutanova 2019.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..engine import here
from ..errors import ShapeError
from ..functions.tensor import Tensor
from ..nn import Dropout, LayerNorm, Module, ModuleList
from ..nn import functional as F
from .attention import heads, join, key_mask
from .config import BertConfig
from .layers import Embedding, Linear, activation
from .pretrained import PretrainedModel

__all__ = ["BertModel", "EncoderOutput"]


class EncoderOutput(NamedTuple):
    """What an encoder gives.

    Attributes:
        last_hidden_state: (batch, length, hidden), a vector for each token.
        pooler_output: (batch, hidden), or None without a pooler.
        hidden_states: the embeddings and the output of each layer, where they were asked for.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub import EncoderOutput
    >>> EncoderOutput(af.ones(1, 2, 3)).last_hidden_state.shape
    (1, 2, 3)
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class BertEmbeddings(Module):
    """LayerNorm(word + position + token type), then dropout."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        std, hidden = config.initializer_range, config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, hidden, config.pad_token_id, std)
        self.position_embeddings = Embedding(config.max_position_embeddings, hidden, std=std)
        self.token_type_embeddings = Embedding(config.type_vocab_size, hidden, std=std)
        self.LayerNorm = LayerNorm(hidden, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
    ) -> Tensor:
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        length, longest = words.shape[1], self.position_embeddings.num_embeddings
        if position_ids is None and length > longest:
            raise ShapeError(
                f"the sequences have {length} tokens, and the model has {longest} positions.{here()}\n"
                f"  Cut them: tokenizer.encode_batch(texts, max_length={longest})."
            )
        # What does not depend on the tokens is added up first: it is small.
        if position_ids is None:
            added = self.position_embeddings.weight[:length]
        else:
            added = self.position_embeddings(position_ids)
        if token_type_ids is None:
            added = added + self.token_type_embeddings.weight[0]
        else:
            added = added + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(words + added))


class BertSelfAttention(Module):
    """Each head's softmax(query keyᵀ / √side) value."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        std, hidden = config.initializer_range, config.hidden_size
        self.count = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.query = Linear(hidden, hidden, std=std)
        self.key = Linear(hidden, hidden, std=std)
        self.value = Linear(hidden, hidden, std=std)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (heads(layer(states), self.count) for layer in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        return join(F.scaled_dot_product_attention(query, key, value, mask, dropout))


class BertOutput(Module):
    """LayerNorm(dropout(dense(states)) + residual): the end of each block."""

    def __init__(self, side: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(side, config.hidden_size, std=config.initializer_range)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(states)) + residual)


class BertAttention(Module):
    """Attention of a text to itself, and its end."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertOutput(config.hidden_size, config)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        return self.output(self.self(states, mask), states)


class BertIntermediate(Module):
    """The wide half of the feedforward block."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size, std=config.initializer_range)
        self.activation = activation(config.hidden_act)

    def forward(self, states: Tensor) -> Tensor:
        return self.activation(self.dense(states))


class BertLayer(Module):
    """An attention block and a feedforward block."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config.intermediate_size, config)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        states = self.attention(states, mask)
        return self.output(self.intermediate(states), states)


class BertEncoder(Module):
    """The layers, one after the other."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = ModuleList([BertLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, states: Tensor, mask: Tensor | None, keep: bool) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        kept = [states]
        for layer in self.layer:
            states = layer(states, mask)
            kept.append(states)
        return states, tuple(kept) if keep else None


class BertPooler(Module):
    """tanh(dense(first token))."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, std=config.initializer_range)

    def forward(self, states: Tensor) -> Tensor:
        return self.dense(states[:, 0]).tanh()


class BertModel(PretrainedModel):
    """An encoder: tokens to vectors that know their text, with LayerNorm after each block. State dicts are Hugging Face's.

    x ← LayerNorm(x + attention(x)); x ← LayerNorm(x + W₂ gelu(W₁ x)), in each layer. Source: Devlin et al. 2019.

    Args:
        config: what it is built of.
        add_pooling_layer: whether there is a pooler, tanh(W · first token). `from_pretrained` takes it from the file.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> config = hub.BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
    ...                         intermediate_size=16, max_position_embeddings=10)
    >>> model = hub.BertModel(config).eval()
    >>> mask = af.tensor([[1, 1, 1], [1, 1, 0]])
    >>> model(af.tensor([[2, 7, 3], [2, 3, 0]]), mask).last_hidden_state.shape
    (2, 3, 8)
    >>> list(model.state_dict())[5]
    'encoder.layer.0.attention.self.query.weight'
    """

    config: BertConfig
    config_class = BertConfig
    base_prefix = "bert"
    not_weights = r"^embeddings\.position_ids$"

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None

    @classmethod
    def build(cls, config: Any, state: dict[str, Tensor], options: dict[str, Any]) -> BertModel:
        found = any(name.startswith("pooler.") for name in state)
        if not options.setdefault("add_pooling_layer", found) and found:
            for name in [name for name in state if name.startswith("pooler.")]:
                del state[name]
        return cls(config, **options)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> EncoderOutput:
        """Vectors of the tokens of a batch of texts.

        Args:
            input_ids: (batch, length), whole numbers.
            attention_mask: (batch, length), not 0 where there is a token, 0 where there is padding. All are tokens if None. Also
                (batch, length, length), for each token those that it sees.
            token_type_ids: (batch, length), 0 in the first text of a pair, 1 in the second; 0 if None.
            position_ids: (batch, length); 0, 1, 2 and so on if None.
            inputs_embeds: (batch, length, hidden) in place of ``input_ids``.
            output_hidden_states: keep the vectors after each layer as well.

        Raises:
            ShapeError: shapes that do not fit each other, or more tokens than positions.
            DimensionError: a token that the vocabulary does not have.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ShapeError(f"BertModel takes either input_ids or inputs_embeds.{here()}")
        given: Any = input_ids if inputs_embeds is None else inputs_embeds
        if given.ndim != (2 if inputs_embeds is None else 3):
            raise ShapeError(
                f"BertModel takes input_ids of shape (batch, length), got {tuple(given.shape)}.{here()}\n"
                "  A single text is a batch of one: input_ids.unsqueeze(0)."
            )
        mask = None if attention_mask is None else key_mask(attention_mask, tuple(given.shape[:2]))
        states = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        states, kept = self.encoder(states, mask, output_hidden_states)
        return EncoderOutput(states, None if self.pooler is None else self.pooler(states), kept)
