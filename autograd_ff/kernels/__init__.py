"""Kernels: hand-written forward and backward passes, each beside its definition in plain NumPy terms."""

from . import clipping, cross_entropy, linear, optimizers

__all__ = ["clipping", "cross_entropy", "linear", "optimizers"]
