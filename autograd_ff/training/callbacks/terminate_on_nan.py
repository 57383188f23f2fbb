"""A callback that programs written for Keras expect."""

from __future__ import annotations

from ..callback import Callback

__all__ = ["TerminateOnNaN"]


class TerminateOnNaN(Callback):
    """Keras's name for what the `Trainer` does anyway: stop where the loss or a gradient is not finite. It adds nothing.

    >>> from autograd_ff.training.callbacks import TerminateOnNaN
    >>> TerminateOnNaN().state_dict()
    {}
    """
