"""What a language model is worth on a text."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...engine import no_grad, wrap
from ...nn import functional as F
from .windows import held_out_windows

__all__ = ["Score", "score"]


class Score(NamedTuple):
    """How well a text is told, token after token.

    Attributes:
        loss: the mean of −ln p(token | those before it in its window), in nats.
        tokens, characters: of the text.

    >>> Score(math.log(4), 10, 20).perplexity, Score(math.log(4), 10, 20).bits_per_character
    (4.0, 1.0)
    """

    loss: float
    tokens: int
    characters: int

    @property
    def perplexity(self) -> float:
        """e^loss: among how many equally likely tokens the choice would be as hard."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_character(self) -> float:
        """The whole text's −log₂ p over its characters: comparable between tokenizers, unlike loss and perplexity."""
        return self.loss * self.tokens / math.log(2) / self.characters

    def as_dict(self) -> dict[str, float]:
        return {**self._asdict(), "perplexity": self.perplexity, "bits_per_character": self.bits_per_character}


def score(model: Any, ids: np.ndarray, characters: int, context: int, batch_size: int = 16) -> Score:
    """The score of a text: every token of it is told once, from those before it in its window.

    Windows lie side by side, so a token sees ``context / 2`` others on average. The model is left in the mode it was in.

    Args:
        model: such as `GPT2LMHeadModel`.
        ids: the tokens, the first of which is given.
        characters: of the text that they stand for.
        context: the length of a window.
        batch_size: windows at once.
    """
    inputs, targets = held_out_windows(ids, context)
    batches = [
        (inputs[at : at + batch_size], targets[at : at + batch_size]) for at in range(0, len(inputs), batch_size)
    ]
    told = inputs.size
    if told < len(ids) - 1:  # the rest, shorter than a window
        batches.append((ids[None, told:-1], ids[None, told + 1 :]))
    training, total = model.training, 0.0
    model.eval()
    try:
        with no_grad():
            for given, wanted in batches:
                logits = model(wrap(given)).logits
                total += F.cross_entropy(logits.flatten(0, 1), wrap(wanted.reshape(-1)), reduction="sum").item()
    finally:
        model.train(training)
    return Score(total / (len(ids) - 1), len(ids) - 1, characters)
