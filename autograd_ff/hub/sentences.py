"""Vectors of sentences, as sentence-transformers makes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import here, no_grad, scope, wrap
from ..errors import FileFormatError, ShapeError
from ..functions.tensor import Tensor
from ..nn import Module
from ..text import Tokenizer
from .config import read_json
from .pretrained import from_pretrained

__all__ = ["SentenceEncoder", "by_length", "mean_pooling"]


def mean_pooling(states: Tensor, attention_mask: Tensor | None = None, normalize: bool = True) -> Tensor:
    """The mean of each text's vectors over its tokens, padding left out; then divided by its length.

    Args:
        states: (batch, length, hidden).
        attention_mask: (batch, length), not 0 where there is a token; all are if None.
        normalize: divide by the Euclidean norm (by 1e-12 where that is smaller), so that a dot product is the cosine.

    Returns:
        (batch, hidden). A text without a token is 0.

    Raises:
        ShapeError: shapes that do not fit each other.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub import mean_pooling
    >>> states = af.tensor([[[3.0, 4.0], [3.0, 4.0], [9.0, 9.0]]])
    >>> mean_pooling(states, af.tensor([[1, 1, 0]]), normalize=False).tolist()
    [[3.0, 4.0]]
    """
    if states.ndim != 3 or (attention_mask is not None and tuple(attention_mask.shape) != tuple(states.shape[:2])):
        told = "" if attention_mask is None else f" and a mask {tuple(attention_mask.shape)}"
        raise ShapeError(
            f"mean_pooling takes states (batch, length, hidden) and a mask (batch, length); got {tuple(states.shape)}{told}.{here()}"
        )
    with scope("composite", "mean_pooling", "mean_pooling"):
        if attention_mask is None:
            vectors = states.mean(1)
        else:
            tokens = (attention_mask != 0).to(states.array.dtype)
            # The sum over the tokens as a product of matrices: (1, length) by (length, hidden).
            total = (tokens.unsqueeze(1) @ states).squeeze(1)
            vectors = total / tokens.sum(1, keepdim=True).clamp(min=1e-9)
        if not normalize:
            return vectors
        return vectors / (vectors * vectors).sum(-1, keepdim=True).sqrt().clamp(min=1e-12)


class SentenceEncoder(Module):
    """Texts to vectors: a tokenizer, an encoder, and the mean over the tokens, as in sentence-transformers.

    Args:
        model: such as `BertModel`.
        tokenizer: a `Tokenizer` with a padding token.
        max_length: longer texts are cut; the model's positions if None.
        normalize: whether the vectors have length 1.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> from autograd_ff.text import CharTokenizer
    >>> tokenizer = CharTokenizer("abc ")
    >>> config = hub.BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=8, num_hidden_layers=1,
    ...                         num_attention_heads=2, intermediate_size=16, max_position_embeddings=10)
    >>> encoder = hub.SentenceEncoder(hub.BertModel(config), tokenizer)
    >>> encoder.encode(["a cab", "b"]).shape
    (2, 8)
    """

    def __init__(self, model: Any, tokenizer: Any, max_length: int | None = None, normalize: bool = True) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = model.config.max_position_embeddings if max_length is None else max_length
        self.normalize = normalize
        self.training = model.training

    @classmethod
    def from_pretrained(cls, folder: Any, max_length: int | None = None, **options: Any) -> SentenceEncoder:
        """The encoder and the tokenizer of a folder, with the settings that sentence-transformers left there.

        Args:
            folder: with a model and a tokenizer, and possibly ``sentence_bert_config.json`` (the length at which texts are
                cut), ``modules.json`` (whether vectors are normalised) and ``1_Pooling/config.json``.
            max_length: longer texts are cut; that of the folder if None.
            options: see `autograd_ff.hub.from_pretrained`.

        Raises:
            FileFormatError: the vectors of this folder are made otherwise than by the mean over the tokens.
        """
        pooling = _optional(folder, os.path.join("1_Pooling", "config.json"))
        if pooling and pooling.get("pooling_mode_mean_tokens") is not True:
            raise FileFormatError(
                f"{folder} pools otherwise than by the mean over the tokens: {pooling!r:.300}{here()}"
            )
        model = from_pretrained(folder, **options)
        if max_length is None:
            cut = _optional(folder, "sentence_bert_config.json").get("max_seq_length")
            max_length = cut if isinstance(cut, int) and cut > 0 else None
        modules = _optional(folder, "modules.json", list)
        kinds = [str(one.get("type")) for one in modules if isinstance(one, dict)]
        normalize = not kinds or any(kind.endswith("Normalize") for kind in kinds)
        return cls(model, Tokenizer.from_pretrained(folder), max_length, normalize)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Tokens (batch, length) to vectors (batch, hidden)."""
        states = self.model(input_ids, attention_mask, token_type_ids).last_hidden_state
        return mean_pooling(states, attention_mask, self.normalize)

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """The vectors of any number of texts, (texts, hidden), in evaluation mode and without a graph.

        They are taken in order of length, so that little is padded; the result is in theirs.

        Args:
            texts: a list of them.
            batch_size: how many at once.
        """
        if isinstance(texts, str):
            raise ShapeError(f"encode takes a list of texts; a single one is [text].{here()}")
        tokens = self.tokenizer.encode_many(texts, max_length=self.max_length)
        vectors = by_length(self, self, tokens, self.tokenizer.pad, batch_size)
        return wrap(np.zeros((0, self.model.config.hidden_size), np.float32) if vectors is None else vectors)


def by_length(
    model: Module, compute: Callable[..., Tensor], tokens: Sequence[Any], pad: Callable[[Any], Any], batch_size: int
) -> np.ndarray | None:
    """What is computed of each text's tokens, a row for each, in evaluation mode and without a graph; None of no text.

    Texts are taken in order of length, so that little is padded; the rows are in theirs.

    Args:
        model: whose modules are put into evaluation mode meanwhile.
        compute: from a padded batch to rows.
        tokens: of each text.
        pad: makes a batch of them.
        batch_size: how many at once.
    """
    order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            parts = [
                compute(*pad([tokens[index] for index in order[start : start + batch_size]])).array
                for start in range(0, len(order), batch_size)
            ]
    finally:
        for module, training in modes:
            module.training = training
    if not parts:
        return None
    joined = np.concatenate(parts)
    rows = np.empty_like(joined)
    rows[order] = joined
    return rows


def _optional(folder: Any, name: str, kind: type = dict) -> Any:
    """The contents of a JSON file, empty where there is none."""
    path = os.path.join(folder, name)
    return read_json(path, 1_000_000, kind) if os.path.exists(path) else kind()
