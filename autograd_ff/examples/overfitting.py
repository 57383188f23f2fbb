"""A network that knows a small training set by heart does worse on new images, and each cure closes some of the gap.

The same network, from the same weights, trained on few images: as it is, and with one cure at a time. Penalties and dropout
hold it back; augmentation, mixup and label smoothing make the images or their labels harder to learn by heart; early stopping
ends before it has. What helps most is more data, where there are any, and next to that data that look like more.

Sources: N. Srivastava et al., "Dropout" (2014); H. Zhang et al., "mixup: beyond empirical risk minimization" (2018);
C. Szegedy et al., "Rethinking the Inception architecture" (2016), of label smoothing; L. Prechelt, "Early stopping - but when?"
(1998); P. Simard et al., "Best practices for convolutional neural networks" (2003), of shifted and distorted digits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import autograd_ff as af
from autograd_ff import nn, optim, transforms
from autograd_ff.data import DataLoader, Dataset
from autograd_ff.nn.regularizers import L1, L2
from autograd_ff.training import Callback, EarlyStopping, Trainer

from . import command
from .digits import digits


class Images(Dataset):
    """Images in memory; a transform changes them anew in each epoch."""

    def __init__(self, images: Any, labels: Any, transform: Callable[..., Any] | None = None) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.images[index]
        return (image if self.transform is None else self.transform(image)), int(self.labels[index])


@dataclass
class Cure:
    """What is done otherwise than in the plain training."""

    loss: nn.Module = field(default_factory=nn.CrossEntropyLoss)
    penalty: Callable[[Any], Any] | None = None
    dropout: float = 0.0
    transform: Callable[..., Any] | None = None
    collate: Callable[..., Any] | None = None
    callbacks: Sequence[Callback] = ()
    more: int = 1  # times as many images


def cures() -> dict[str, Cure]:
    return {
        "none": Cure(),
        "L1": Cure(penalty=L1(3e-5)),
        "L2": Cure(penalty=L2(1e-3)),
        "dropout": Cure(dropout=0.5),
        "label smoothing": Cure(loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
        "mixup": Cure(collate=transforms.MixUp(alpha=1.0, num_classes=10)),
        "augmentation": Cure(transform=transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), fill=-0.4242)),
        "early stopping": Cure(callbacks=[EarlyStopping(patience=3)]),
        "four times the data": Cure(more=4),
    }


@dataclass
class Outcome:
    """How one cure came out."""

    name: str
    train: float  # accuracy on the training images, as they are and without dropout
    test: float
    train_loss: float
    test_loss: float
    epochs: int

    @property
    def gap(self) -> float:
        return self.train - self.test
