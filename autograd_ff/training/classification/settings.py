"""What a training run can be made of, and the settings that choose from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import nn, optim
from ...data import datasets
from ...errors import ShapeError

__all__ = ["ACTIVATIONS", "DATASETS", "OPTIMIZERS", "RATES", "RECIPES", "Settings"]

DEBIAN_FASHION_MNIST = "/usr/share/datasets/fashion-mnist"  # of Debian's package dataset-fashion-mnist


def fashion_mnist(root: str = DEBIAN_FASHION_MNIST, **options: Any) -> datasets.FashionMNIST:
    """`FashionMNIST`, by default from where Debian installs it."""
    return datasets.FashionMNIST(root, **options)


DATASETS: dict[str, Callable[..., Any]] = {"mnist": datasets.MNIST, "fashion-mnist": fashion_mnist}

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
    "adagrad": optim.Adagrad,
    "sgd": lambda parameters, lr: optim.SGD(parameters, lr, momentum=0.9),
}

# The learning rate where none is given: a constant rate that suits the optimizer, times the recipe's factor. A cycle
# ends low, so its peak may be higher than a constant rate.
RATES = {"adam": 1e-3, "adamw": 1e-3, "rmsprop": 3e-4, "adagrad": 1e-2, "sgd": 3e-2}
RECIPES = {"one-cycle": 3.0, "plain": 1.0}


@dataclass(frozen=True)
class Settings:
    """All that decides a run: the same settings on the same machine and thread count give the same weights.

    Args:
        dataset: a key of `DATASETS`.
        root: the folder of a dataset that does not come with the package.
        layers: widths of the hidden layers.
        activation: a key of `ACTIVATIONS`, between the layers.
        recipe: ``"one-cycle"``, a learning rate that rises to a peak and falls to almost nothing over the whole run, or
            ``"plain"``, a constant one.
        optimizer: a key of `OPTIMIZERS`.
        lr: the constant rate, or the peak of the cycle; None for one that suits optimizer and recipe.
        batch_size: samples in a batch.
        epochs: passes over the training data.
        seed: of the initial weights and of the order of the samples.

    Raises:
        ShapeError: a name that is in no table, no epoch, or a negative seed.

    >>> Settings().learning_rate, Settings(recipe="plain").learning_rate
    (0.003, 0.001)
    """

    dataset: str = "mnist"
    root: str | None = None
    layers: tuple[int, ...] = (128, 128)
    activation: str = "relu"
    recipe: str = "one-cycle"
    optimizer: str = "adam"
    lr: float | None = None
    batch_size: int = 64
    epochs: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, table in (
            ("dataset", DATASETS),
            ("activation", ACTIVATIONS),
            ("recipe", RECIPES),
            ("optimizer", OPTIMIZERS),
        ):
            if (value := getattr(self, name)) not in table:
                raise ShapeError(f"{name} is one of {', '.join(table)}, not {value!r}")
        if self.epochs < 1:
            raise ShapeError(f"epochs has to be positive, got {self.epochs}")
        if self.seed < 0:
            raise ShapeError(f"a seed cannot be negative, got {self.seed}")

    @property
    def learning_rate(self) -> float:
        """The constant rate, or the peak of the cycle."""
        return RATES[self.optimizer] * RECIPES[self.recipe] if self.lr is None else self.lr
