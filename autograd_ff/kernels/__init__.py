"""Kernels: hand-written forward and backward passes, each beside its definition in plain NumPy terms."""

from . import (
    attention,
    batch_norm,
    clipping,
    cross_entropy,
    gelu,
    layer_norm,
    linear,
    optimizers,
    rotary,
    stored_linear,
)

__all__ = [
    "attention",
    "batch_norm",
    "clipping",
    "cross_entropy",
    "gelu",
    "layer_norm",
    "linear",
    "optimizers",
    "rotary",
    "stored_linear",
]
