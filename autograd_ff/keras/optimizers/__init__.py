"""Optimizers and learning rate schedules with Keras's names and arguments, at work by `autograd_ff.optim`."""

from . import schedules
from .optimizer import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, deserialize, get, serialize

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "deserialize", "get", "schedules", "serialize",
]  # fmt: skip
