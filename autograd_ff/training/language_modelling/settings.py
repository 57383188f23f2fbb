"""What a language model can be made of, and how it is trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ...engine import here
from ...errors import ShapeError
from ...hub import GPT2Config

__all__ = ["ARCHITECTURE", "TOKENIZERS", "LanguageSettings"]

TOKENIZERS = ("bpe", "chars")

# What a model that is trained further has already.
ARCHITECTURE = ("tokenizer", "vocab_size", "layers", "width", "heads", "context")

# Steps and rate where none are given: from random weights, and from a model's.
STEPS = {False: 3000, True: 600}
RATES = {False: 2e-3, True: 5e-4}


@dataclasses.dataclass(frozen=True)
class LanguageSettings:
    """All that decides a run: the same settings on the same machine and thread count give the same weights.

    Args:
        text: names of texts that the package knows (`TEXTS`), or paths of UTF-8 files; each file is a work.
        held_out: the share of each work, at its end, that is never trained on.
        base: the folder of a model to train further; tokenizer and sizes are then that model's.
        base_text: what that model was trained on, to see what becomes of it; read from its folder if None.
        base_held_out: the share of each work of that text.
        skip_unknown: leave characters out of the text that the base's tokenizer does not have.
        tokenizer: ``"bpe"``, pieces of words that are learnt from the text, or ``"chars"``, each character.
        vocab_size: how many tokens a BPE has.
        layers, width, heads: of the decoder: how many layers, the side of a token's vector, attention heads in each.
        context: the tokens that it sees at once, and the length of the windows that it is trained on.
        dropout: on the embeddings and on what each block adds.
        batch_size: windows in a batch.
        steps: batches in all, rounded up to whole intervals; None for what suits the start.
        interval: steps between two looks at the held-out text.
        lr: the peak of the learning rate; None for what suits the start.
        warmup: steps in which the rate rises to its peak, at most half of them all; then it falls along a cosine to a tenth
            of it.
        weight_decay: of AdamW, for matrices and embeddings; biases and norms have none.
        clip: the norm to which gradients are scaled down.
        seed: of the initial weights, of the windows, of dropout and of the samples.

    Raises:
        ShapeError: a number that makes no sense.

    >>> settings = LanguageSettings(steps=250, interval=100)
    >>> settings.total, settings.intervals
    (300, 3)
    >>> [round(settings.rate(step), 5) for step in (0, 99, 299)]
    [2e-05, 0.002, 0.0002]
    """

    text: tuple[str, ...] = ("shakespeare",)
    held_out: float = 0.1
    base: str | None = None
    base_text: tuple[str, ...] | None = None
    base_held_out: float = 0.1
    skip_unknown: bool = False
    tokenizer: str = "bpe"
    vocab_size: int = 1024
    layers: int = 4
    width: int = 192
    heads: int = 6
    context: int = 128
    dropout: float = 0.0
    batch_size: int = 8
    steps: int | None = None
    interval: int = 200
    lr: float | None = None
    warmup: int = 100
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokenizer not in TOKENIZERS:
            raise ShapeError(f"tokenizer is one of {', '.join(TOKENIZERS)}, not {self.tokenizer!r}{here()}")
        if not self.text or isinstance(self.text, str):
            raise ShapeError(f"text is a tuple of names or paths, one at least, not {self.text!r}{here()}")
        for name in ("vocab_size", "layers", "width", "heads", "context", "batch_size", "interval"):
            if (value := getattr(self, name)) < 1:
                raise ShapeError(f"{name} has to be positive, got {value}{here()}")
        if self.steps is not None and self.steps < 1:
            raise ShapeError(f"steps has to be positive, got {self.steps}{here()}")
        if self.width % self.heads:
            raise ShapeError(f"a width of {self.width} is not divisible among {self.heads} heads{here()}")
        for name in ("held_out", "base_held_out"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ShapeError(f"{name} is a share of the text, above 0 and below 1, got {value}{here()}")
        if not 0 <= self.dropout < 1:
            raise ShapeError(f"dropout is a probability below 1, got {self.dropout}{here()}")
        if self.seed < 0 or self.warmup < 0:
            raise ShapeError(f"seed and warmup cannot be negative, got {self.seed} and {self.warmup}{here()}")
        if not self.clip > 0 or not self.weight_decay >= 0:
            raise ShapeError(
                f"clip is above 0 and weight_decay not below, got {self.clip}, {self.weight_decay}{here()}"
            )

    # ---------------------------------------------------------------- what follows from them

    @property
    def intervals(self) -> int:
        """How often the held-out text is looked at."""
        steps = STEPS[self.base is not None] if self.steps is None else self.steps
        return math.ceil(steps / self.interval)

    @property
    def total(self) -> int:
        """The steps of the whole run."""
        return self.intervals * self.interval

    @property
    def learning_rate(self) -> float:
        """The peak of the learning rate."""
        return RATES[self.base is not None] if self.lr is None else self.lr

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: a line up to the peak, then a cosine down to a tenth of it."""
        warmup = max(1, min(self.warmup, self.total // 2))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        part = min(1.0, (step - warmup + 1) / (self.total - warmup))
        return self.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * part)))

    def config(self, vocab_size: int, end: int | None) -> GPT2Config:
        """The decoder's config, for so many tokens, of which ``end`` stands between two works."""
        return GPT2Config(
            vocab_size=vocab_size, n_positions=self.context, n_embd=self.width, n_layer=self.layers, n_head=self.heads,
            embd_pdrop=self.dropout, resid_pdrop=self.dropout, attn_pdrop=0.0, bos_token_id=end, eos_token_id=end,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON and checkpoints can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LanguageSettings:
        """The settings that `as_dict` gave."""
        given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}
        return cls(**given)
