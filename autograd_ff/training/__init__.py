"""Training: settings, the loop over epochs, checkpoints, Ctrl-C."""

from .classification import Classification, evaluate, feedforward
from .interrupt import Interruption
from .settings import Settings

__all__ = ["Classification", "Interruption", "Settings", "evaluate", "feedforward"]
