"""Optimizers and learning rate schedulers, under PyTorch's names.

The updates run over flat arrays; see `autograd_ff.optim.flat`.
"""

from . import lr_scheduler
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .optimizer import FlatOptimizer, Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "FlatOptimizer", "Optimizer", "RMSprop", "lr_scheduler"]
