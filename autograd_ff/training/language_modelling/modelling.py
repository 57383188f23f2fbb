"""The trainer of a language model: its texts, its decoder, its recipe, and its settings in each checkpoint."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import nn, optim
from ...data import DataLoader
from ...engine import here
from ...errors import AutogradError, FileFormatError, ShapeError
from ...functions.random import manual_seed
from ...hub import GPT2Config, GPT2LMHeadModel
from ...hub.gpt2 import GPT2Attention
from ...hub.layers import without_values
from ...text import CharTokenizer
from ..callback import Callback
from ..callbacks import LearningRateScheduler
from ..history import History
from ..trainer import Trainer, read_checkpoint
from .corpus import Corpus, read_corpus
from .scoring import Score, score
from .settings import LanguageSettings
from .tokens import (
    END,
    encoded,
    make_tokenizer,
    read_tokenizer,
    save_tokenizer,
    text_of_tokenizer,
    tokenizer_from_text,
    unknown_characters,
)
from .windows import RandomWindows, Windows, held_out_windows

__all__ = ["REPORT", "LanguageModelling"]

REPORT = "report.json"  # in a run's folder: its settings and what came out

# Bit for bit what the step does without being compiled: so is a training that was interrupted and resumed.
EXACT = {"fast": False, "threads": False}

CHECKS = ("parameters", "gradients")  # before the first step; the others are about outputs (samples, classes)

LOOK = 64  # windows of the held-out text that are looked at after each interval; all of them at the end


class LanguageModelling(Trainer):
    """The trainer of one run: texts, tokenizer, decoder, optimizer and schedule as its settings say.

    Seeds the default generator, from which the initial weights are drawn.

    Args:
        settings: of the run.
        corpus: the texts; those that the settings name if None.

    Attributes:
        tokenizer: of characters or a BPE.
        ids: the tokens of the part to learn from.
        held_out: by the name of each text its held-out part, as (tokens, characters): that of the run, and of the text
            that the base was trained on.
        before: by the same names the scores before the first step, where `score_all` was kept there.
        remark: why the base's own text is not among them.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "rhyme.txt")
    >>> with open(path, "w") as file:
    ...     _ = file.write("the rain in spain stays mainly in the plain\\n" * 20)
    >>> settings = LanguageSettings(text=(path,), tokenizer="chars", layers=1, width=16, heads=2, context=16, steps=20,
    ...                             interval=10, batch_size=4)
    >>> run = LanguageModelling(settings)
    >>> history = run.train(verbose=0)
    >>> len(history["val_loss"]), run.finished
    (2, True)
    """

    def __init__(
        self, settings: LanguageSettings, corpus: Corpus | None = None, *, tokenizer: Any = None, config: Any = None
    ) -> None:
        corpus = read_corpus(settings.text, settings.held_out) if corpus is None else corpus
        manual_seed(settings.seed)
        if config is not None:
            with without_values():  # those of a checkpoint follow
                model = GPT2LMHeadModel(config)
        elif settings.base is not None:
            tokenizer, model = _base(settings.base)
            settings = _further(settings, model.config, tokenizer)
            for name in ("embd_pdrop", "resid_pdrop"):
                setattr(model.config, name, settings.dropout)
            model.config.attn_pdrop = 0.0
            _set_dropout(model, settings.dropout)
        else:
            tokenizer = make_tokenizer(settings.tokenizer, corpus, settings.vocab_size)
            settings = dataclasses.replace(settings, vocab_size=tokenizer.vocab_size)
            model = GPT2LMHeadModel(settings.config(tokenizer.vocab_size, tokenizer.token_to_id(END)))
        self.settings = settings
        self.tokenizer = tokenizer
        self.corpus = corpus = _known(corpus, tokenizer, settings)
        self.before: dict[str, Any] = {}
        self.remark = ""
        self.ids = encoded(tokenizer, corpus.train)
        self.held_out = {corpus.name: _held_out(tokenizer, corpus)}
        self._add_base_text()
        self.windows = Windows(self.ids, settings.context)
        optimizer = optim.AdamW(_groups(model, settings.weight_decay), lr=settings.learning_rate, betas=(0.9, 0.95))
        super().__init__(model, nn.CrossEntropyLoss(), optimizer)

    def _add_base_text(self) -> None:
        """The held-out part of what the base was trained on, to see what becomes of it."""
        settings = self.settings
        if settings.base is None:
            return
        if settings.base_text is None:
            self.remark = f"{settings.base} does not say what it was trained on"
            return
        try:
            first = read_corpus(settings.base_text, settings.base_held_out)
            self.held_out.setdefault(first.name, _held_out(self.tokenizer, first))
        except (AutogradError, OSError) as error:
            self.remark = f"what {settings.base} was trained on cannot be read: {str(error).splitlines()[0]}"

    # ---------------------------------------------------------------- what it is

    @property
    def finished(self) -> bool:
        return self.epoch >= self.settings.intervals

    @property
    def step(self) -> int:
        """How many steps are behind."""
        return self.epoch * self.settings.interval + self.batch

    @property
    def parameter_count(self) -> int:
        return sum(parameter.array.size for parameter in self.model.parameters())

    # ---------------------------------------------------------------- training

    def compute_loss(self, inputs: Any, targets: Any, weights: Any = None) -> tuple[Any, Any]:
        logits = self.model(inputs).logits
        return self.loss(logits.flatten(0, 1), targets.flatten()), logits

    def batches_of_windows(self) -> DataLoader:
        """The batches of the run, an interval at each pass."""
        settings = self.settings
        sampler = RandomWindows(len(self.windows), settings.batch_size, settings.interval, settings.seed)
        return DataLoader(self.windows, batch_sampler=sampler)

    def train(self, callbacks: Iterable[Callback] = (), compile: Any = EXACT, **options: Any) -> History:
        """Train to the end, with a look at the held-out text after each interval; ``options`` go to `fit`.

        An epoch of `fit` is an interval.
        """
        settings = self.settings
        ids, _ = self.held_out[self.corpus.name]
        options.setdefault("checks", CHECKS)
        return self.fit(
            self.batches_of_windows(),
            epochs=settings.intervals,
            validation_data=held_out_windows(ids, settings.context, LOOK),
            validation_batch_size=settings.batch_size,
            callbacks=[LearningRateScheduler(settings.rate, every="batch"), *callbacks],
            clip=settings.clip,
            compile=compile,
            **options,
        )

    def score_all(self) -> dict[str, Score]:
        """The scores of the held-out texts, by their names."""
        settings = self.settings
        return {
            name: score(self.model, ids, characters, settings.context, settings.batch_size)
            for name, (ids, characters) in self.held_out.items()
        }

    def rows(self) -> list[dict[str, float]]:
        """A dict for each interval: the step, the loss of its batches, and loss and bits per character of the held-out text."""
        ids, characters = self.held_out[self.corpus.name]
        bits = (len(ids) - 1) / characters / math.log(2)
        return [
            {
                "step": (row["epoch"] + 1) * self.settings.interval,
                "loss": row["loss"],
                "val_loss": row["val_loss"],
                "val_bits_per_character": row["val_loss"] * bits,
                "learning_rate": row["learning_rate"],
            }
            for row in self.history.rows()
        ]

    # ---------------------------------------------------------------- files

    def save_model(self, folder: Any) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``tokenizer.json``, as Hugging Face's libraries read them."""
        model: Any = self.model
        model.save_pretrained(folder)
        save_tokenizer(self.tokenizer, folder)

    def state_dict(self) -> dict[str, Any]:
        model: Any = self.model
        return {
            "settings": self.settings.as_dict(),
            "tokenizer": text_of_tokenizer(self.tokenizer),
            "config": json.dumps(model.config.to_dict()),
            "digest": self.corpus.digest,
            "before": self.before,
            **super().state_dict(),
        }

    @classmethod
    def of_checkpoint(
        cls, path: Any, text: tuple[str, ...] | None = None
    ) -> tuple[LanguageModelling, Mapping[str, Any]]:
        """A run with the settings of a checkpoint, and the state in it: ``run.train(resume=state)`` goes on.

        Args:
            path: of the checkpoint.
            text: where the texts are, where they have moved.

        Raises:
            FileFormatError: the file is damaged, or no checkpoint of a run.
            ShapeError: the texts are not those that the run began with.
            OSError: the checkpoint, or a text, cannot be read.
        """
        state = read_checkpoint(path)
        try:
            settings = LanguageSettings.from_dict(state["settings"])
            if text is not None:
                settings = dataclasses.replace(settings, text=text)
            config = GPT2Config.from_dict(json.loads(state["config"]))
            run = cls(settings, tokenizer=tokenizer_from_text(state["tokenizer"]), config=config)
            run.epoch, run.batch, run.before = state["epoch"], state["batch"], dict(state["before"])
            digest = state["digest"]
        except AutogradError:
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} is no checkpoint of a language model: {error!r}{here()}") from error
        if digest != run.corpus.digest:
            raise ShapeError(
                f"the text {', '.join(settings.text)} is not as it was when the run of {path} began.{here()}\n"
                "  Bring it back, or start a new run."
            )
        return run, state


# ---------------------------------------------------------------- parts


def _base(folder: str) -> tuple[Any, GPT2LMHeadModel]:
    """Tokenizer and model of a folder."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(2, "there is no such folder with a model", folder)
    if not os.path.exists(os.path.join(folder, "config.json")):
        raise FileFormatError(
            f"{folder} holds no model (there is no config.json in it){here()}\n"
            "  A run leaves it when it is finished; one that was interrupted goes on with --resume."
        )
    model = GPT2LMHeadModel.from_pretrained(folder, mmap=False)
    return read_tokenizer(folder), model.train()


def _further(settings: LanguageSettings, config: GPT2Config, tokenizer: Any) -> LanguageSettings:
    """Settings with what a base decides."""
    report = Path(settings.base or "") / REPORT
    first: dict[str, Any] = {}
    if settings.base_text is None and report.exists():
        try:
            kept = json.loads(report.read_text(encoding="utf-8"))["settings"]
            first = {"base_text": tuple(kept["text"]), "base_held_out": float(kept["held_out"])}
        except (ValueError, LookupError, TypeError) as error:
            raise FileFormatError(f"{report} is no report of a run: {error!r:.200}{here()}") from None
    kind = "chars" if isinstance(tokenizer, CharTokenizer) else "bpe"
    return dataclasses.replace(
        settings, tokenizer=kind, vocab_size=config.vocab_size, layers=config.n_layer, width=config.n_embd,
        heads=config.n_head, context=config.n_positions, **first,
    )  # fmt: skip


def _set_dropout(model: nn.Module, share: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(module, GPT2Attention):  # none between the tokens, as in a model that begins here
            module.dropout = 0.0


def _known(corpus: Corpus, tokenizer: Any, settings: LanguageSettings) -> Corpus:
    """The corpus in characters that the tokenizer has."""
    unknown = unknown_characters(tokenizer, corpus)
    if not unknown:
        return corpus
    if settings.skip_unknown:
        return corpus.without(unknown)
    count = sum(work.count(one) for work in (*corpus.train, *corpus.held_out) for one in unknown)
    shown = " ".join(map(repr, unknown[:12])) + (" …" if len(unknown) > 12 else "")
    raise ShapeError(
        f"{corpus.name} has {len(unknown)} characters that are not in the vocabulary of {settings.base}, {count:,} times in "
        f"{corpus.characters:,}: {shown}{here()}\n"
        "  Leave them out (--skip-unknown, skip_unknown=True), or start from a model whose tokenizer is a BPE, which knows "
        "every character."
    )


def _held_out(tokenizer: Any, corpus: Corpus) -> tuple[np.ndarray, int]:
    unknown = unknown_characters(tokenizer, corpus)
    works = corpus.without(unknown).held_out if unknown else corpus.held_out
    return encoded(tokenizer, works), sum(map(len, works))


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Matrices and embeddings decay; biases and norms do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.array.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.array.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
