"""Training a feedforward classifier on images: the network, its data, and the loop."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn, optim
from ..data import DataLoader, datasets, transforms
from ..errors import AutogradError
from ..functions import Tensor, manual_seed
from ..engine import no_grad
from ..serialization import load, save

__all__ = ["ACTIVATIONS", "DATASETS", "OPTIMIZERS", "RECIPES", "Classification", "Settings"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "sgd": lambda parameters, lr: optim.SGD(parameters, lr, momentum=0.9),
}
DATASETS: dict[str, Callable[..., Any]] = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}

# How the learning rate runs, and its value where none is given: the constant rate, or the peak of the cycle.
RECIPES = {"one-cycle": 3e-3, "plain": 1e-3}


@dataclass(frozen=True)
class Settings:
    """All that decides a run: the same settings on the same machine and thread count give the same weights."""

    dataset: str = "mnist"
    root: str | None = None  # the folder of a dataset that is not in the package
    layers: tuple[int, ...] = (128, 128)
    activation: str = "relu"
    recipe: str = "one-cycle"
    optimizer: str = "adam"
    lr: float | None = None  # None: the recipe's
    batch_size: int = 64
    epochs: int = 10
    seed: int = 0

    @property
    def learning_rate(self) -> float:
        return RECIPES[self.recipe] if self.lr is None else self.lr


def feedforward(inputs: int, layers: tuple[int, ...], outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers of the given widths with an activation between each two.

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
    for number, (fan_in, fan_out) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        modules[f"fc{number}"] = nn.Linear(fan_in, fan_out)
        if number < len(widths) - 1:
            modules[f"act{number}"] = activation()
    return nn.Sequential(modules)


class Classification:
    """One run: data, network, optimizer and schedule, the position in the training, and the history of its epochs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        source = DATASETS[settings.dataset]
        place = {} if settings.root is None else {"root": settings.root}
        self.train_data = source(train=True, transform=transforms.ToTensor(), **place)
        self.test_data = source(train=False, transform=transforms.ToTensor(), **place)
        manual_seed(settings.seed)
        self.model = feedforward(784, settings.layers, 10, ACTIVATIONS[settings.activation])
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = OPTIMIZERS[settings.optimizer](self.model.parameters(), lr=settings.learning_rate)
        self.batches = -(-len(self.train_data) // settings.batch_size)
        self.scheduler: optim.lr_scheduler.LRScheduler | None = None
        if settings.recipe == "one-cycle":
            self.scheduler = optim.lr_scheduler.OneCycleLR(
                self.optimizer, max_lr=settings.learning_rate, total_steps=max(settings.epochs * self.batches, 1)
            )
        self.epoch = 0  # epochs completed
        self.batch = 0  # batches of the current epoch completed
        self._totals = [0.0, 0]  # of the current epoch: summed loss, right answers
        self.history: list[dict[str, float]] = []

    @property
    def finished(self) -> bool:
        return self.epoch >= self.settings.epochs

    def train_epoch(self) -> Iterator[float]:
        """Train to the end of the current epoch, yielding the loss of each batch.

        The order of the samples depends on the seed and the epoch alone, so that a run resumed in the middle of an
        epoch sees just the batches that are left.
        """
        order = np.random.default_rng((self.settings.seed, self.epoch))
        loader = DataLoader(self.train_data, self.settings.batch_size, shuffle=True, generator=order)
        done = self.batch
        self.model.train()
        for position, (images, labels) in enumerate(loader):
            if position < done:
                continue
            loss = self._step(images, labels)
            self.batch = position + 1
            yield loss
        total, right = self._totals
        accuracy = evaluate(self.model, self.test_data)
        self.epoch += 1
        self.history.append(
            {
                "epoch": self.epoch,
                "loss": total / len(self.train_data),
                "train_accuracy": right / len(self.train_data),
                "test_accuracy": accuracy,
            }
        )
        self.batch, self._totals = 0, [0.0, 0]

    def _step(self, images: Tensor, labels: Tensor) -> float:
        self.optimizer.zero_grad()
        outputs = self.model(images)
        loss = self.criterion(outputs, labels)
        loss.backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        value = loss.item()
        if not np.isfinite(value):
            raise AutogradError(
                f"the loss became {value} in epoch {self.epoch + 1}, batch {self.batch + 1}.\n"
                "  Try a smaller --lr; autograd_ff.autograd.detect_anomaly() names the operation that did it."
            )
        self._totals[0] += value * len(labels)
        self._totals[1] += int((outputs.detach().numpy().argmax(axis=1) == labels.numpy()).sum())
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
                "totals": list(self._totals),
                "history": self.history,
            },
            path,
        )

    @classmethod
    def resume(cls, path: str) -> Classification:
        """The run that a checkpoint was written by."""
        checkpoint = load(path)
        settings = checkpoint["settings"]
        run = cls(Settings(**{**settings, "layers": tuple(settings["layers"])}))
        run.model.load_state_dict(checkpoint["model"])
        run.optimizer.load_state_dict(checkpoint["optimizer"])
        if run.scheduler is not None:
            run.scheduler.load_state_dict(checkpoint["scheduler"])
        run.epoch, run.batch = checkpoint["epoch"], checkpoint["batch"]
        run._totals, run.history = list(checkpoint["totals"]), list(checkpoint["history"])
        return run


def evaluate(model: nn.Module, data: Any, batch_size: int = 1000) -> float:
    """The share of samples whose largest output is at their label."""
    was_training = model.training
    model.eval()
    right = 0
    with no_grad():
        for images, labels in DataLoader(data, batch_size):
            right += int((model(images).numpy().argmax(axis=1) == labels.numpy()).sum())
    model.train(was_training)
    return right / len(data)
