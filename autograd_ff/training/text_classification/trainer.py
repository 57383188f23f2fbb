"""The trainer of one fine-tuning: encoder, classifier, texts, optimizer and schedule as its settings say."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ... import finetuning, nn, optim
from ...data import DataLoader, locate
from ...engine import here, wrap
from ...errors import AutogradError, FileFormatError, ShapeError, StateDictError
from ...functions.random import default_generator, manual_seed
from ...functions.tensor import Tensor
from ...hub import BertForSequenceClassification, BertModel, SentenceClassifier, SentenceEncoder, read_config
from ...hub.sentences import by_length
from ...nn import functional as F
from ...text import LengthBatchSampler
from ..callback import Callback
from ..callbacks import LearningRateScheduler
from ..history import History
from ..trainer import Trainer, read_checkpoint
from .data import TextData, Texts, few, fingerprint, movie_reviews, read_texts
from .methods import optimizer_of, plain, prepare, save_classifier
from .settings import METHODS, FineTuningSettings

__all__ = ["TextClassification"]

# Bit for bit what the step does without being compiled: so is a training that was interrupted and resumed.
EXACT = {"fast": False, "threads": False}
MULTIPLE = 8  # of which lengths are, so that few shapes occur
LARGE = 128  # texts in a batch of an evaluation
POINTS = 16  # of the curve, about


def encoder_of(place: Any) -> SentenceEncoder:
    """The encoder of a folder, MiniLM's if None; one that is given stays what it is.

    Raises:
        FileFormatError: the folder holds another kind of model.
        MissingDataError: MiniLM was not fetched.
    """
    encoder = place
    if not isinstance(place, SentenceEncoder):
        place = locate("minilm") if place is None else place
        if not os.path.isdir(place):
            raise FileNotFoundError(f"there is no folder of a model: {place}")
        kind = read_config(place).get("model_type")
        if kind != BertModel.config_class.model_type:
            raise FileFormatError(
                f"{place} holds a model of type {kind!r:.40}; an encoder like BERT is expected{here()}"
            )
        encoder = SentenceEncoder.from_pretrained(place)
    if isinstance(encoder.model, BertForSequenceClassification):
        encoder.model = encoder.model.bert
    return encoder


class PerStep(LearningRateScheduler):
    """Moves a scheduler on after each step of the optimizer, for which several batches may be accumulated."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.trainer.part.last:
            super().on_train_batch_end(batch, logs)


class Curve(Callback):
    """Adds the points to the curve of a `TextClassification`."""

    order = 20  # before the line of the epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        run: Any = self.trainer
        step = run.epoch * run.batches + batch + 1
        if step % max(1, run.steps_planned // POINTS) == 0:
            run.point(step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        run: Any = self.trainer
        step = run.epoch * run.batches
        run.point(step)
        if logs and "val_loss" in logs:
            row = {"step": step, "test_loss": logs["val_loss"], "test_accuracy": logs["val_accuracy"]}
            if run.curve and run.curve[-1]["step"] == step:
                run.curve[-1].update(row)
            else:
                run.curve.append(row)


class TextClassification(Trainer):
    """Fine-tunes a pretrained encoder to tell classes of texts apart.

    Seeds the default generator, from which the new weights, the order of the texts and dropout are drawn.

    Args:
        settings: of the run.
        train: (texts, labels), the labels numbers of classes; those of ``settings.data`` if None.
        test: likewise.
        classes: names of the classes.
        folder: of the encoder, or a `SentenceEncoder`, which is then trained itself; that of ``settings.model`` if None, and
            without one MiniLM.

    Attributes:
        model: the `SentenceClassifier`.
        data: the `TextData`, those to train on as few as the settings say.
        curve: a dict for each stretch of steps, ``step``, ``train_loss`` and ``train_accuracy``, and for each epoch
            ``test_loss`` and ``test_accuracy``.
        notes: plain values that go into the checkpoint.

    >>> from autograd_ff import hub
    >>> from autograd_ff.text import CharTokenizer
    >>> from autograd_ff.training import FineTuningSettings, TextClassification
    >>> config = hub.BertConfig(vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...                         intermediate_size=16, max_position_embeddings=10)
    >>> encoder = hub.SentenceEncoder(hub.BertModel(config), CharTokenizer("ab "))
    >>> texts = (["aaa", "bb", "a", "bbb"], [0, 1, 0, 1])
    >>> settings = FineTuningSettings(method="feedforward", epochs=1, batch_size=2)
    >>> run = TextClassification(settings, texts, texts, ["a", "b"], encoder)
    >>> history = run.train(verbose=0)
    >>> sorted(run.evaluate())
    ['accuracy', 'loss']
    """

    model: SentenceClassifier

    def __init__(
        self,
        settings: FineTuningSettings,
        train: tuple[Sequence[str], Any] | None = None,
        test: tuple[Sequence[str], Any] | None = None,
        classes: Sequence[str] | int | None = None,
        folder: Any = None,
    ) -> None:
        self.settings = settings
        if (train is None) != (test is None) or (train is None and classes is not None):
            raise ShapeError(f"texts of one's own are given as train and test, both (texts, labels){here()}")
        if train is not None:
            data = TextData(train, test, classes)
        else:
            data = movie_reviews() if settings.data is None else read_texts(settings.data)
        if settings.labels is not None:
            chosen = few(*data.train, settings.labels, settings.seed)
            data = TextData(chosen, data.test, data.classes)
        self.data = data
        self.fingerprint = fingerprint(data.train, data.test)
        encoder = encoder_of(settings.model if folder is None else folder)
        encoder.max_length = min(encoder.max_length, settings.max_length)
        manual_seed(settings.seed)
        model = SentenceClassifier(encoder, data.classes, settings.dropout)
        prepare(model, settings)
        self._train = self._tokens(model, data.train)
        self._test = self._tokens(model, data.test)
        super().__init__(model, nn.CrossEntropyLoss(), optimizer_of(model, settings), metrics=["accuracy"])
        self.probed = False
        self.curve: list[dict[str, float]] = []
        self.notes: dict[str, Any] = {}
        self._interval = [0, 0.0, 0.0]  # samples, their loss, how many were right: since the last point of the curve

    @staticmethod
    def _tokens(model: SentenceClassifier, data: Texts) -> list[tuple[Any, int]]:
        """(tokens, label) of each text."""
        tokens = model.encoder.tokenizer.encode_many(data[0], max_length=model.encoder.max_length)
        return list(zip(tokens, data[1].tolist(), strict=True))

    # ---------------------------------------------------------------- batches

    @property
    def cached(self) -> bool:
        """Whether the encoder runs once over each text, since nothing in it is trained."""
        return self.settings.method == "head"

    def _loader(self, samples: Sequence[tuple[Any, int]], batch_size: int, shuffle: bool) -> DataLoader:
        lengths = [1 if self.cached else len(tokens) for tokens, _ in samples]
        sampler = LengthBatchSampler(lengths, batch_size, shuffle=shuffle)
        return DataLoader(samples, batch_sampler=sampler, collate_fn=self._collated)

    def _collated(self, samples: Sequence[tuple[Any, int]]) -> tuple[Any, Tensor]:
        """((input_ids, attention_mask), labels) of a batch; with a cache (features, labels)."""
        given, labels = zip(*samples, strict=True)
        targets = wrap(np.array(labels, np.int64))
        if self.cached:
            return wrap(np.stack(given)), targets
        batch = self.model.encoder.tokenizer.pad(given, multiple_of=MULTIPLE if self.settings.compiled else 1)
        return (batch.input_ids, batch.attention_mask), targets

    def _prepared(self, samples: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
        """The samples as the step takes them: with a cache the encoder's vectors in place of the tokens."""
        if not self.cached or not isinstance(samples[0][0], list):
            return samples
        return [(vector, label) for vector, (_, label) in zip(self._vectors(samples), samples, strict=True)]

    def _vectors(self, samples: Sequence[tuple[Any, int]]) -> np.ndarray:
        """The encoder's vectors of the samples' tokens, (samples, hidden), without dropout and graph."""
        model = self.model
        found = by_length(model, model.features, [tokens for tokens, _ in samples], model.encoder.tokenizer.pad, LARGE)
        assert found is not None  # there is at least one text
        return found

    def __call__(self, inputs: Any) -> Any:
        if self.cached:
            return self.model.classifier(self.model.dropout(inputs))
        return super().__call__(inputs)

    # ---------------------------------------------------------------- the curve

    def measured(self, result: Any, batch: Any, metrics: Iterable[Any]) -> dict[str, float]:
        outputs = result.get("outputs")
        values = super().measured(result, batch, metrics)
        if self.model.training and outputs is not None:
            interval = self._interval
            interval[0] += batch.size
            interval[1] += values["loss"] * batch.size
            interval[2] += int((outputs.array.argmax(-1) == batch.targets.array).sum())
        return values

    def point(self, step: int) -> None:
        """A point of the curve, of all steps since the last one."""
        samples, loss, right = self._interval
        if samples:
            self.curve.append({"step": step, "train_loss": loss / samples, "train_accuracy": right / samples})
        self._interval[:] = [0, 0.0, 0.0]

    # ---------------------------------------------------------------- the run

    @property
    def steps_planned(self) -> int:
        """Batches in all epochs."""
        return math.ceil(len(self.data.train[0]) / self.settings.batch_size) * self.epochs_planned

    @property
    def epochs_planned(self) -> int:
        return self.settings.passes(len(self.data.train[0]))

    @property
    def finished(self) -> bool:
        return self.epoch >= self.epochs_planned

    def probe(self) -> None:
        """Train the classifier alone, on the vectors of the encoder as it is now; as the method "head" does."""
        method, count = METHODS["head"], len(self._train)
        vectors = self._vectors(self._train)
        labels = np.array([label for _, label in self._train], np.int64)
        layer, size = self.model.classifier, self.settings.batch_size
        passes = max(method.epochs, -(-method.steps // -(-count // size)))
        optimizer = optim.AdamW(layer.parameters(), lr=method.lr, weight_decay=self.settings.weight_decay)
        steps = passes * -(-count // size)
        rates = finetuning.warmup_schedule(optimizer, round(self.settings.warmup * steps), steps)
        random = default_generator().numpy
        for _ in range(passes):
            order = random.permutation(count)
            for start in range(0, count, size):
                rows = order[start : start + size]
                optimizer.zero_grad()
                scores = layer(F.dropout(wrap(vectors[rows]), self.model.dropout.p, True))
                self.loss(scores, wrap(labels[rows])).backward()
                optimizer.step()
                rates.step()
        optimizer.zero_grad()
        self.probed = True

    def train(self, callbacks: Iterable[Callback] = (), validate: bool = True, **options: Any) -> History:
        """Train to the end.

        Nothing is chosen by the test texts: the epochs are set before, and the last weights are kept.

        Args:
            callbacks: who looks on.
            validate: evaluate the test texts after each epoch, for the curves.
            options: go to `fit`, such as ``checkpoint``, ``resume`` and ``verbose``.
        """
        settings = self.settings
        if settings.probe and not self.probed and not self.cached and options.get("resume") is None:
            self.probe()
        self._train = self._prepared(self._train)
        batches = math.ceil(len(self._train) / settings.batch_size)
        steps = math.ceil(batches / settings.accumulate) * self.epochs_planned
        rates = finetuning.warmup_schedule(self.optimizer, round(settings.warmup * steps), steps)
        schedule = PerStep(rates, every="batch")
        if validate:
            self._test = self._prepared(self._test)
        return self.fit(
            self._loader(self._train, settings.batch_size, True),
            epochs=self.epochs_planned,
            validation_data=self._loader(self._test, LARGE, False) if validate else None,
            callbacks=[schedule, Curve(), *callbacks],
            accumulate=settings.accumulate,
            clip=settings.clip,
            compile=EXACT if settings.compiled else False,
            **options,
        )

    def evaluate(self, data: Any = None, targets: Any = None, **options: Any) -> dict[str, float]:
        """Loss and accuracy on the test texts, or on others.

        Args:
            data: (texts, labels), or texts with the labels in ``targets``; the test texts if None.
            targets: see there.
            options: as of `Trainer.evaluate`.
        """
        if data is None:
            self._test = self._prepared(self._test)
            return super().evaluate(self._loader(self._test, LARGE, False), **options)
        if targets is not None:
            data = data, targets
        samples = self._prepared(self._tokens(self.model, (list(data[0]), np.asarray(data[1], np.int64))))
        return super().evaluate(self._loader(samples, LARGE, False), **options)

    def example(self, count: int = 4) -> tuple[Any, Tensor]:
        """A small batch of test texts, as the model takes it: (input_ids, attention_mask), labels."""
        encoder = self.model.encoder
        tokens = encoder.tokenizer.encode_many(self.data.test[0][:count], max_length=encoder.max_length)
        batch = encoder.tokenizer.pad(tokens)
        return (batch.input_ids, batch.attention_mask), wrap(self.data.test[1][:count])

    def plain(self) -> SentenceClassifier:
        """A copy of the trained classifier, to be used: LoRA merged, 32 bits, nothing checkpointed."""
        return plain(self.model)

    def save_pretrained(self, folder: Any) -> None:
        """Write the trained classifier into a folder, for `SentenceClassifier.from_pretrained`, LoRA merged.

        Adapters cannot be merged; they lie beside it in ``adapters.safetensors``.
        """
        save_classifier(self.model, folder)

    # ---------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        return {
            "settings": dataclasses.asdict(self.settings),
            "data": self.fingerprint,
            "classes": list(self.data.classes),
            "curve": [*self.curve],
            "interval": [*self._interval],
            "notes": self.notes,
            **super().state_dict(),
        }

    def _take_up(self, state: Mapping[str, Any]) -> None:
        if state["data"] != self.fingerprint or list(state["classes"]) != list(self.data.classes):
            raise StateDictError(
                f"the training to resume was on other texts or labels than these.{here()}\n  Give the same, or start anew."
            )
        super()._take_up(state)
        self.curve[:] = [dict(row) for row in state["curve"]]
        self._interval[:] = state["interval"]
        self.notes = dict(state["notes"])

    @classmethod
    def of_checkpoint(
        cls,
        path: Any,
        train: tuple[Sequence[str], Any] | None = None,
        test: tuple[Sequence[str], Any] | None = None,
        classes: Sequence[str] | int | None = None,
        folder: Any = None,
    ) -> tuple[TextClassification, Mapping[str, Any]]:
        """A run with the settings of a checkpoint, and the state in it: ``run.train(resume=state)`` goes on.

        Args:
            path: of the checkpoint.
            train, test, classes, folder: as for the run that left it.

        Raises:
            FileFormatError: the file is damaged, or no checkpoint of a fine-tuning.
            OSError: the checkpoint, or the data, cannot be read.
        """
        state = read_checkpoint(path)
        try:
            settings = FineTuningSettings(**state["settings"])
            epoch, batch = int(state["epoch"]), int(state["batch"])
        except AutogradError:
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} is no checkpoint of a fine-tuning: {error!r}{here()}") from error
        run = cls(settings, train, test, classes, folder)
        run.epoch, run.batch = epoch, batch
        return run, state
