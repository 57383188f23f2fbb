"""Metrics under Keras's names; they are those of `autograd_ff.training.metrics`."""

# ruff: noqa: F403  (this file only hands names on)

from ..training.metrics import *
from ..training.metrics import __all__ as __all__
