"""Kernels: hand-written forward and backward passes, each beside its definition in plain NumPy terms."""

from . import batch_norm, clipping, cross_entropy, gelu, layer_norm, linear, optimizers

__all__ = ["batch_norm", "clipping", "cross_entropy", "gelu", "layer_norm", "linear", "optimizers"]
