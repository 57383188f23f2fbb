"""Training a feedforward classifier on images: the network, the loop over an epoch, and checkpoints."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import nn, optim
from ..data import DataLoader, transforms
from ..engine import here, no_grad
from ..errors import AutogradError, FileFormatError
from ..functions import Tensor
from ..functions.random import manual_seed
from ..serialization import load, save
from .settings import ACTIVATIONS, DATASETS, OPTIMIZERS, Settings

__all__ = ["Classification", "evaluate", "feedforward"]


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
    was_training = model.training
    model.eval()
    right = 0
    with no_grad():
        for images, labels in DataLoader(data, batch_size):
            right += count_right(model(images), labels)
    model.train(was_training)
    return right / len(data)


def count_right(outputs: Tensor, labels: Tensor) -> int:
    return int(np.count_nonzero(outputs.array.argmax(axis=1) == labels.array))


class Classification:
    """One run: data, network, optimizer and schedule, the position in the training, and the history of its epochs.

    Seeds the default generator, from which the initial weights are drawn.

    >>> run = Classification(Settings(epochs=2))
    >>> losses = run.train_epoch()
    >>> first = next(losses)
    >>> run.epoch, run.batch, run.finished
    (0, 1, False)
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        source = DATASETS[settings.dataset]
        place = {} if settings.root is None else {"root": settings.root}
        self.train_data = source(train=True, transform=transforms.ToTensor(), **place)
        self.test_data = source(train=False, transform=transforms.ToTensor(), **place)
        self.batches = math.ceil(len(self.train_data) / settings.batch_size)  # of an epoch
        pixels = math.prod(self.train_data[0][0].shape)
        manual_seed(settings.seed)
        self.model = feedforward(
            pixels, settings.layers, len(self.train_data.classes), ACTIVATIONS[settings.activation]
        )
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = OPTIMIZERS[settings.optimizer](self.model.parameters(), lr=settings.learning_rate)
        self.scheduler: optim.lr_scheduler.LRScheduler | None = None
        if settings.recipe == "one-cycle":
            self.scheduler = optim.lr_scheduler.OneCycleLR(
                self.optimizer, max_lr=settings.learning_rate, total_steps=settings.epochs * self.batches
            )
        self.epoch = 0  # epochs completed
        self.batch = 0  # batches of the current epoch completed
        self.loss_sum, self.right = 0.0, 0  # over the samples of the current epoch
        self.history: list[dict[str, float]] = []

    @property
    def finished(self) -> bool:
        return self.epoch >= self.settings.epochs

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all layers: the pixels of an image, the hidden layers, the classes."""
        layers = [layer for layer in self.model if isinstance(layer, nn.Linear)]
        return (layers[0].in_features, *(layer.out_features for layer in layers))

    def train_epoch(self) -> Iterator[float]:
        """Train to the end of the current epoch, yielding the loss of each batch.

        Between two losses the run may be saved, and the loop left. The order of the samples depends on the seed and the
        epoch alone, so that a run resumed in the middle of an epoch sees just the batches that are left.

        Raises:
            AutogradError: the loss is no longer finite. Weights and optimizer are as they were before that batch.
        """
        order = np.random.default_rng((self.settings.seed, self.epoch))
        loader = DataLoader(self.train_data, self.settings.batch_size, shuffle=True, generator=order)
        done = self.batch
        self.model.train()
        for position, (images, labels) in enumerate(loader):
            if position >= done:
                yield self._step(images, labels)
        samples = len(self.train_data)
        self.epoch += 1
        self.history.append(
            {
                "epoch": self.epoch,
                "loss": self.loss_sum / samples,
                "train_accuracy": self.right / samples,
                "test_accuracy": evaluate(self.model, self.test_data),
            }
        )
        self.batch, self.loss_sum, self.right = 0, 0.0, 0

    def _step(self, images: Tensor, labels: Tensor) -> float:
        self.optimizer.zero_grad()
        outputs = self.model(images)
        loss = self.criterion(outputs, labels)
        value: float = loss.item()
        if not math.isfinite(value):
            raise AutogradError(
                f"the loss became {value} in epoch {self.epoch + 1}, batch {self.batch + 1}, with a learning rate of "
                f"{self.optimizer.param_groups[0]['lr']:.3g}: the training diverged.{here()}\n"
                "  Try a smaller learning rate (lr); autograd_ff.autograd.detect_anomaly() names the operation that did it."
            )
        loss.backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        self.batch += 1
        self.loss_sum += value * len(labels)
        self.right += count_right(outputs, labels)
        return value

    def save(self, path: str) -> None:
        """Write a checkpoint from which `resume` goes on as if nothing had happened."""
        save(
            {
                "settings": {**dataclasses.asdict(self.settings), "layers": list(self.settings.layers)},
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
                "epoch": self.epoch,
                "batch": self.batch,
                "loss_sum": self.loss_sum,
                "right": self.right,
                "history": self.history,
            },
            path,
        )

    @classmethod
    def resume(cls, path: str, root: str | None = None) -> Classification:
        """The run that a checkpoint was written by, at the place where it was.

        Args:
            path: of the checkpoint.
            root: the folder of the dataset, where it has moved.

        Raises:
            FileFormatError: the file is damaged, or no checkpoint of a run.
            OSError: the checkpoint, or the dataset, cannot be read.
        """
        checkpoint = load(path)
        try:
            settings = {**checkpoint["settings"], "layers": tuple(checkpoint["settings"]["layers"])}
            if root is not None:
                settings["root"] = root
            run = cls(Settings(**settings))
            run.model.load_state_dict(checkpoint["model"])
            run.optimizer.load_state_dict(checkpoint["optimizer"])
            if run.scheduler is not None:
                run.scheduler.load_state_dict(checkpoint["scheduler"])
            for name in ("epoch", "batch", "loss_sum", "right", "history"):
                setattr(run, name, checkpoint[name])
        except AutogradError:
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} is no checkpoint of a training run: {error!r}{here()}") from error
        return run
