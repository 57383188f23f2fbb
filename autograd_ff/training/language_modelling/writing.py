"""What a language model writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...engine import wrap
from ...hub import stream
from ..callback import Callback
from ..callbacks.surroundings import announce
from .tokens import END

__all__ = ["Samples", "write"]

BROKEN = "\ufffd"  # what stands for bytes that make no character, or none yet


def write(
    model: Any,
    tokenizer: Any,
    prompt: str = "",
    length: int = 500,
    *,
    greedy: bool = False,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """What comes after a prompt, piece by piece, as it is made; it ends where the model ends the text.

    Beyond the model's context it goes on with the later half of what it sees.

    Args:
        model: such as `GPT2LMHeadModel`, in evaluation mode.
        tokenizer: its tokenizer.
        prompt: the beginning; the begin of a text if empty. It is not given back.
        length: tokens at most.
        greedy: always the likeliest token; the rest has no effect then.
        temperature, top_k, top_p: see `autograd_ff.hub.stream`.
        seed: of the random numbers; None for others each time.

    Raises:
        ShapeError: a character in the prompt that is not in the vocabulary, or settings that make no sense.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> from autograd_ff.text import CharTokenizer
    >>> tokenizer = CharTokenizer("abc", special_tokens=("<|endoftext|>",), unknown=None)
    >>> model = hub.GPT2LMHeadModel(hub.GPT2Config(vocab_size=4, n_positions=8, n_embd=8, n_layer=1, n_head=2)).eval()
    >>> text = "".join(write(model, tokenizer, "ab", 20, seed=0))
    >>> set(text) <= set("abc")
    True
    """
    end = tokenizer.token_to_id(END)
    start = tokenizer.encode(prompt) if prompt else []
    if not start:
        start = [0 if end is None else end]
    how: dict[str, Any] = (
        {} if greedy else {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    )
    tokens = stream(
        model, wrap(np.asarray([start], np.int64)), length, slide=True, stop=() if end is None else end,
        generator=np.random.default_rng(seed), **how,
    )  # fmt: skip
    return _pieces(tokenizer, tokens)


def _pieces(tokenizer: Any, tokens: Iterator[Any]) -> Iterator[str]:
    """The text of each token; of tokens that make a character only together, the text of them all."""
    waiting: list[int] = []
    for token in tokens:
        waiting.append(int(token.array[0]))
        text = tokenizer.decode(waiting)
        if text.endswith(BROKEN) and len(waiting) < 4:  # no character has more bytes
            continue
        waiting.clear()
        if text:
            yield text
    if waiting:
        yield tokenizer.decode(waiting)


class Samples(Callback):
    """Writes a sample at the end of each epoch, and keeps them all.

    Args:
        tokenizer: of the model.
        prompt, length, temperature, top_p, seed: see `write`; each epoch has the same seed.
        show: whether they are printed, too.

    Attributes:
        texts: for each epoch the step and the text.
    """

    order = 31  # below the epoch's line

    def __init__(
        self,
        tokenizer: Any,
        prompt: str = "",
        length: int = 120,
        *,
        temperature: float = 0.8,
        top_p: float | None = 0.95,
        seed: int = 0,
        show: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.length = length
        self.options: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed}
        self.show = show
        self.texts: list[list[Any]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        model = self.trainer.model
        training = model.training
        model.eval()
        text = self.prompt + "".join(write(model, self.tokenizer, self.prompt, self.length, **self.options))
        model.train(training)
        self.texts.append([(epoch + 1) * (self.trainer.batches or 0), text])
        if self.show:
            announce("\n".join(f"  | {line}" for line in text.strip().splitlines()))

    def state_dict(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "texts": self.texts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.prompt = state["prompt"]
        self.texts = [list(one) for one in state["texts"]]
