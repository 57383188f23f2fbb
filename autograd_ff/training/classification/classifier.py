"""The classifier that the command line trains: its network, its recipe, and its settings in each checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from ... import nn, optim
from ...data import transforms
from ...engine import here
from ...errors import AutogradError, FileFormatError
from ...functions.random import manual_seed
from ..callback import Callback
from ..callbacks import LearningRateScheduler
from ..history import History
from ..trainer import Trainer, read_checkpoint
from .settings import ACTIVATIONS, DATASETS, OPTIMIZERS, Settings

__all__ = ["Classification", "evaluate", "feedforward"]

# Bit for bit what the step does without being compiled: so is a training that was interrupted and resumed.
EXACT = {"fast": False, "threads": False}


def feedforward(inputs: int, layers: tuple[int, ...], outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers of the given widths with an activation between each two.

    >>> from autograd_ff import nn
    >>> feedforward(784, (128,), 10, nn.ReLU)
    Sequential(
      (flatten): Flatten(start_dim=1, end_dim=-1)
      (fc1): Linear(in_features=784, out_features=128, bias=True)
      (act1): ReLU()
      (fc2): Linear(in_features=128, out_features=10, bias=True)
    )
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    widths = (inputs, *layers, outputs)
    for number in range(1, len(widths)):
        modules[f"fc{number}"] = nn.Linear(widths[number - 1], widths[number])
        if number <= len(layers):
            modules[f"act{number}"] = activation()
    return nn.Sequential(modules)


def evaluate(model: nn.Module, data: Any, batch_size: int = 1000) -> float:
    """The share of samples whose largest output is at their label; the model is left in the mode it was in.

    >>> import autograd_ff as af
    >>> from autograd_ff.data import TensorDataset
    >>> evaluate(af.nn.Identity(), TensorDataset(af.eye(4), af.tensor([0, 1, 2, 0])))
    0.75
    """
    trainer = Trainer(model, nn.CrossEntropyLoss(), metrics=["accuracy"])
    return trainer.evaluate(data, batch_size=batch_size)["accuracy"]


class Classification(Trainer):
    """The trainer of one run: data, network, optimizer and schedule as its settings say.

    Seeds the default generator, from which the initial weights and the order of the samples are drawn.

    >>> run = Classification(Settings(epochs=2))
    >>> run.widths, run.finished
    ((784, 128, 128, 10), False)
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        source = DATASETS[settings.dataset]
        place = {} if settings.root is None else {"root": settings.root}
        self.train_data = source(train=True, transform=transforms.ToTensor(), **place)
        self.test_data = source(train=False, transform=transforms.ToTensor(), **place)
        pixels = math.prod(self.train_data[0][0].shape)
        manual_seed(settings.seed)
        model = feedforward(pixels, settings.layers, len(self.train_data.classes), ACTIVATIONS[settings.activation])
        optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), lr=settings.learning_rate)
        super().__init__(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])

    @property
    def finished(self) -> bool:
        return self.epoch >= self.settings.epochs

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all layers: the pixels of an image, the hidden layers, the classes."""
        layers = [layer for layer in self.model if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]
        return (layers[0].in_features, *(layer.out_features for layer in layers))

    def train(self, callbacks: Iterable[Callback] = (), **options: Any) -> History:
        """Train to the end, with the test data evaluated after each epoch; ``options`` go to `fit`."""
        settings = self.settings
        schedule: list[Callback] = []
        if settings.recipe == "one-cycle":
            batches = math.ceil(len(self.train_data) / settings.batch_size)
            cycle = optim.lr_scheduler.OneCycleLR(
                self.optimizer, max_lr=settings.learning_rate, total_steps=settings.epochs * batches,
                cycle_momentum=not {"momentum", "betas"}.isdisjoint(self.optimizer.defaults),
            )  # fmt: skip
            schedule.append(LearningRateScheduler(cycle, every="batch"))
        return self.fit(
            self.train_data,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            validation_data=self.test_data,
            validation_batch_size=1000,
            callbacks=[*schedule, *callbacks],
            compile=EXACT,
            **options,
        )

    def rows(self) -> list[dict[str, float]]:
        """A dict for each epoch, counted from 1, by names that say on which data a number was taken."""
        names = {"loss": "loss", "accuracy": "train_accuracy", "val_loss": "test_loss", "val_accuracy": "test_accuracy"}
        return [
            {"epoch": row["epoch"] + 1, **{name: row[key] for key, name in names.items()}}
            for row in self.history.rows()
        ]

    def state_dict(self) -> dict[str, Any]:
        settings = {**dataclasses.asdict(self.settings), "layers": list(self.settings.layers)}
        return {"settings": settings, **super().state_dict()}

    @classmethod
    def of_checkpoint(cls, path: str, root: str | None = None) -> tuple[Classification, Mapping[str, Any]]:
        """A run with the settings of a checkpoint, and the state in it: ``run.train(resume=state)`` goes on.

        Args:
            path: of the checkpoint.
            root: the folder of the dataset, where it has moved.

        Raises:
            FileFormatError: the file is damaged, or no checkpoint of a run.
            OSError: the checkpoint, or the dataset, cannot be read.
        """
        state = read_checkpoint(path)
        try:
            settings = {**state["settings"], "layers": tuple(state["settings"]["layers"])}
            if root is not None:
                settings["root"] = root
            run = cls(Settings(**settings))
            run.epoch, run.batch = state["epoch"], state["batch"]
        except AutogradError:
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} is no checkpoint of a training run: {error!r}{here()}") from error
        return run, state
