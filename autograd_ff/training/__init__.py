"""Training: settings, the loop over epochs, checkpoints."""

from .classification import Classification, Settings
from .interrupt import Interruption

__all__ = ["Classification", "Interruption", "Settings"]
