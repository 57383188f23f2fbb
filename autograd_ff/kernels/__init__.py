"""Kernels: hand-written forward and backward passes, each beside its definition in plain NumPy terms."""

from . import cross_entropy, linear

__all__ = ["cross_entropy", "linear"]
