"""What is known of a loss: how it takes its targets, whether its outputs are logits, and its value for each sample."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

from .. import nn
from ..engine import here
from ..errors import DtypeError
from ..nn import functional as F

__all__ = [
    "BINARY", "CLASSES", "LOGS", "PAIRED", "has_classes_second", "is_binary", "kind_of", "name_of", "option_of", "takes_logits",
    "divisor", "unreduced",
]  # fmt: skip

CLASSES = "classes"  # cross_entropy: class indices beside scores, or probabilities of the scores' shape
LOGS = "logs"  # nll_loss: class indices beside log-probabilities
BINARY = "binary"  # numbers in [0, 1], of the outputs' shape, each for itself
PAIRED = "paired"  # numbers of the outputs' shape

_MODULES: tuple[tuple[str, tuple[type, ...]], ...] = (
    (CLASSES, (nn.CrossEntropyLoss,)),
    (LOGS, (nn.NLLLoss,)),
    (BINARY, (nn.BCELoss, nn.BCEWithLogitsLoss)),
    (PAIRED, (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.KLDivLoss)),
)
_FUNCTIONS = {
    F.cross_entropy: CLASSES,
    F.nll_loss: LOGS,
    F.binary_cross_entropy: BINARY,
    F.binary_cross_entropy_with_logits: BINARY,
    F.mse_loss: PAIRED,
    F.l1_loss: PAIRED,
    F.smooth_l1_loss: PAIRED,
    F.huber_loss: PAIRED,
    F.kl_div: PAIRED,
}


def _unwrapped(loss: Any) -> tuple[Any, dict[str, Any]]:
    """A loss without functools.partial, and the keywords that it was given."""
    options: dict[str, Any] = {}
    while isinstance(loss, functools.partial):
        options = {**loss.keywords, **options}
        loss = loss.func
    return loss, options


def name_of(loss: Any) -> str:
    bare, _ = _unwrapped(loss)
    return str(getattr(bare, "__name__", type(bare).__name__))


def option_of(loss: Any, name: str, default: Any) -> Any:
    """An option that a loss was made with."""
    bare, options = _unwrapped(loss)
    return options.get(name, getattr(bare, name, default))


def kind_of(loss: Any) -> str:
    """How one of PyTorch's losses takes its targets; "" of any other."""
    bare, _ = _unwrapped(loss)
    for kind, modules in _MODULES:
        if isinstance(bare, modules):
            return kind
    try:
        return _FUNCTIONS.get(bare, "")
    except TypeError:  # what cannot be hashed
        return ""


def has_classes_second(loss: Any) -> bool:
    """Whether a loss is one of PyTorch's of classes, which lie along axis 1."""
    return kind_of(loss) in (CLASSES, LOGS)


def takes_logits(loss: Any) -> bool:
    """Whether a loss is of logits (log-probabilities are, too): PyTorch's by their kind, Keras's by ``from_logits``."""
    bare, _ = _unwrapped(loss)
    if has_classes_second(loss) or isinstance(bare, nn.BCEWithLogitsLoss) or bare is F.binary_cross_entropy_with_logits:
        return True
    return option_of(loss, "from_logits", False) is True


def is_binary(loss: Any) -> bool:
    """Whether a loss is of yes or no: PyTorch's by their kind, Keras's by their name."""
    return kind_of(loss) == BINARY or "binary" in name_of(loss).lower()


def divisor(loss: Any, targets: Any, samples: int) -> float | None:
    """What a loss divides the sum over the samples by: by that the losses of several batches are joined to one.

    Args:
        loss: one of PyTorch's or Keras's, or another, which is taken for a mean over the samples.
        targets: of the batch.
        samples: how many there are.

    Returns:
        The number of samples; of classes with weights or an ``ignore_index`` the weight of the targets; None of a sum,
        which does not divide.

    >>> import autograd_ff as af
    >>> loss = nn.CrossEntropyLoss(weight=af.tensor([1.0, 3.0]))
    >>> divisor(loss, af.tensor([0, 1, 1]), 3)
    7.0
    """
    if option_of(loss, "reduction", "mean") == "sum":
        return None
    labels = getattr(targets, "array", None)
    if not has_classes_second(loss) or labels is None or labels.dtype.kind not in "iu":
        return float(samples)
    weight = option_of(loss, "weight", None)
    labels = labels[labels != option_of(loss, "ignore_index", -100)]
    return float(labels.size if weight is None else weight.array[labels].sum())


def unreduced(loss: Any) -> Callable[..., Any]:
    """A loss without its reduction to one number."""
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        plain = copy.copy(loss)
        vars(plain)["reduction"] = "none"  # Module.__setattr__ would tell compiled steps that a module was changed
        return plain
    if not isinstance(loss, nn.Module) and callable(loss) and "reduction" in inspect.signature(loss).parameters:
        return functools.partial(loss, reduction="none")
    raise DtypeError(
        f"sample weights need a loss for each sample, and {name_of(loss)} has no argument reduction.{here()}\n"
        "  Take a loss of nn or nn.functional, or override Trainer.compute_loss."
    )
