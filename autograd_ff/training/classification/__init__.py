"""The classifier that the command line trains: what it can be made of, its network, its recipe."""

from .classifier import Classification, evaluate, feedforward
from .settings import Settings

__all__ = ["Classification", "Settings", "evaluate", "feedforward"]
