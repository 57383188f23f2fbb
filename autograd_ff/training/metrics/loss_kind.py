"""What a loss says about the outputs that it is given: whether they are logits, and of yes or no or of classes."""

from __future__ import annotations

from typing import Any

from ... import nn
from ...nn import functional as F

__all__ = ["in_torch_layout", "is_binary", "is_pointwise_binary", "takes_logits", "unwrapped"]

_CLASS_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss)  # log probabilities are logits, too
_CLASS_FUNCTIONS = (F.cross_entropy, F.nll_loss)
_BINARY_LOSSES = (nn.BCELoss, nn.BCEWithLogitsLoss)
_BINARY_FUNCTIONS = (F.binary_cross_entropy, F.binary_cross_entropy_with_logits)


def unwrapped(loss: Any) -> tuple[Any, dict[str, Any]]:
    """A loss without functools.partial, and the keywords that it was given."""
    options: dict[str, Any] = {}
    while hasattr(loss, "func") and hasattr(loss, "keywords"):
        options = {**loss.keywords, **options}
        loss = loss.func
    return loss, options


def takes_logits(loss: Any) -> bool:
    """Whether a loss is of logits: PyTorch's by their kind, Keras's by ``from_logits``."""
    loss, options = unwrapped(loss)
    if isinstance(loss, (nn.BCEWithLogitsLoss, *_CLASS_LOSSES)):
        return True
    if loss in (F.binary_cross_entropy_with_logits, *_CLASS_FUNCTIONS):
        return True
    return options.get("from_logits", getattr(loss, "from_logits", False)) is True


def is_pointwise_binary(loss: Any) -> bool:
    """Whether a loss is one of PyTorch's of yes or no, for each output by itself."""
    loss, _ = unwrapped(loss)
    return isinstance(loss, _BINARY_LOSSES) or loss in _BINARY_FUNCTIONS


def is_binary(loss: Any) -> bool:
    """Whether a loss is of yes or no: PyTorch's by their kind, Keras's by their name."""
    if is_pointwise_binary(loss):
        return True
    loss, _ = unwrapped(loss)
    return "binary" in str(getattr(loss, "__name__", type(loss).__name__)).lower()


def in_torch_layout(loss: Any) -> bool:
    """Whether a loss is one of PyTorch's of classes, which lie along axis 1."""
    loss, _ = unwrapped(loss)
    return isinstance(loss, _CLASS_LOSSES) or loss in _CLASS_FUNCTIONS
