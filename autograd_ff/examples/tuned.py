"""A pretrained encoder tuned to tell classes of texts apart, as the rows of a comparison."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import autograd_ff as af
from autograd_ff import hub
from autograd_ff.text import Tokenizer
from autograd_ff.training import FineTuningSettings, TextClassification

from . import command
from .comparison import Method
from .splits import Split

__all__ = ["ROWS", "Recipe", "add_methods", "from_random_weights", "random_encoder", "tuned"]

ROWS = {
    "full": "full tuning",
    "feedforward": "feedforward-only",
    "lora": "LoRA",
    "adapters": "adapters",
    "head": "head only",
}


# The peaks of the learning rates. They were set beforehand and not searched for.
RATES = {"full": 1e-4, "feedforward": 2e-4, "lora": 1e-3, "adapters": 1e-3, "head": 1e-2}


@dataclass(frozen=True)
class Recipe:
    """How long and how fast an encoder is tuned.

    Args:
        passes: the number of epochs for a number of labels.
        batches: the texts in a batch for a number of labels.
        max_length: longer texts are cut, in tokens.
        rates: the peak of the learning rate of each method.
        layer_decay: what the rate is multiplied by from layer to layer towards the input; None for the method's own.
    """

    passes: Callable[[int], int]
    batches: Callable[[int], int]
    max_length: int = 64
    rates: Mapping[str, float] = field(default_factory=RATES.copy)
    layer_decay: float | None = None

    def told(self, method: str, count: int) -> str:
        """In words."""
        passes = f"{self.passes(count)} passes in batches of {self.batches(count)}"
        return f"{passes}, {self.max_length} tokens, rate {self.rates[method]:g}"

    def settings(self, method: str, count: int, seed: int) -> FineTuningSettings:
        return FineTuningSettings(
            method=method, labels=count, seed=seed, epochs=self.passes(count), batch_size=self.batches(count),
            max_length=self.max_length, lr=self.rates[method], layer_decay=self.layer_decay,
        )  # fmt: skip


def random_encoder(folder: Any, seed: int) -> hub.SentenceEncoder:
    """The encoder of a folder, with its tokenizer, but with weights that are drawn anew."""
    af.manual_seed(seed)
    model = hub.BertModel(hub.BertConfig.from_pretrained(folder), add_pooling_layer=False)
    return hub.SentenceEncoder(model, Tokenizer.from_pretrained(folder))


def accuracy(split: Split, settings: FineTuningSettings, encoder: Any) -> float:
    """Of one tuning, with the weights that its last step left; the held-out texts are looked at once, at the end."""
    train, test = (split.texts, split.labels), (split.test_texts, split.test_labels)
    run = TextClassification(settings, train, test, split.classes, encoder)
    run.train(validate=False, verbose=0)
    return run.evaluate(verbose=0)["accuracy"]


def tuned(split: Split, method: str, recipe: Recipe, folder: Any, seeds: Callable[[int], int]) -> Method:
    """The row of one of the methods of `FineTuningSettings`, from pretrained weights."""
    return Method(
        ROWS[method],
        lambda count, seed: accuracy(split, recipe.settings(method, count, seed), folder),
        seeds,
        partial(recipe.told, method),
    )


def from_random_weights(split: Split, recipe: Recipe, folder: Any, seeds: Callable[[int], int]) -> Method:
    """The row of the same network without its pretraining, all of which is trained: twice as long, and faster."""
    own = replace(recipe, passes=lambda count: 2 * recipe.passes(count), rates={"full": 5e-4}, layer_decay=1.0)
    return Method(
        "random weights",
        lambda count, seed: accuracy(split, own.settings("full", count, seed), random_encoder(folder, seed)),
        seeds,
        partial(own.told, "full"),
    )


def add_methods(parser: argparse.ArgumentParser, methods: Sequence[str], tuned_seeds: int = 3) -> None:
    """The options of a comparison of tuned networks: by which methods, and with how many seeds."""
    parser.add_argument(
        "--methods", nargs="*", choices=list(ROWS), default=list(methods), metavar="METHOD",
        help=f"of tuning: {', '.join(ROWS)} (default: {' '.join(methods)})",
    )  # fmt: skip
    parser.add_argument("--seeds", type=command.positive, default=5, metavar="N", help="of the baselines (default: 5)")
    parser.add_argument(
        "--tuned-seeds", type=command.positive, default=tuned_seeds, metavar="N",
        help=f"of tuned networks (default: {tuned_seeds}; with all labels one)",
    )  # fmt: skip
