"""Callbacks under Keras's names; they are those of `autograd_ff.training.callbacks`."""

# ruff: noqa: F403  (this file only hands names on)

from ..training.callbacks import *
from ..training.callbacks import __all__ as __all__
