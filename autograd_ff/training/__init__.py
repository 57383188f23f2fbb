"""Training: the trainer with its callbacks, metrics and checks; and the classifier that the command line trains.

>>> from autograd_ff.training import EarlyStopping, Trainer

Read in this order: `trainer` (what a step is, and what can be asked for), `batches` (from data to batches), `fitting` (the
loop), `callback` and `callbacks/`, `metrics/`, `checking/` (the look before the first epoch), `history`.
"""

from . import callbacks, metrics
from .callback import Callback
from .callbacks import *  # noqa: F403
from .checks import Finding
from .classification import Classification, evaluate, feedforward
from .history import History
from .interrupt import Interruption
from .range_test import RangeTest, learning_rate_range_test
from .settings import Settings
from .trainer import Trainer

__all__ = [
    "Callback", "Classification", "Finding", "History", "Interruption", "RangeTest", "Settings", "Trainer", "callbacks",
    "evaluate", "feedforward", "learning_rate_range_test", "metrics", *callbacks.__all__,
]  # fmt: skip
