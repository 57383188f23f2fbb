"""What the callbacks share that watch a number: which way is better, what counts as an improvement, what if it is missing."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from ...engine import here, warn
from ...errors import ShapeError
from ..callback import Callback

__all__ = ["Monitor"]

# Words in the names of numbers, by which way is better.
_UP = {
    "acc", "accuracy", "auc", "precision", "recall", "specificity", "sensitivity", "f1", "fbeta", "r2", "iou", "io", "dice",
    "top", "score", "similarity", "true",
}  # fmt: skip
_DOWN = {
    "loss", "error", "errors", "mse", "mae", "mape", "msle", "rmse", "crossentropy", "entropy", "hinge", "poisson",
    "divergence", "nll", "perplexity", "logcosh", "false",
}  # fmt: skip


class Monitor(Callback):
    """A callback that watches one of the logged numbers, ``self.monitor``.

    Args:
        monitor: the name, such as ``"val_loss"``.
        mode: ``"min"`` where smaller is better, ``"max"`` where larger is, ``"auto"`` to tell by the name, or by the metric
            where that says so itself.
        min_delta: how much better counts as better; its sign does not matter.

    Attributes:
        best: the best value so far, or None.

    A value that is NaN is never better than another.

    Raises:
        ShapeError: another mode; or, when the training begins, a name that says nothing about which way is better.

    >>> from autograd_ff.training.callbacks import Monitor
    >>> class Best(Monitor):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         value = self.current(logs)
    ...         if value is not None and self.is_improvement(value, self.best):
    ...             self.best = value
    >>> watching = Best("val_accuracy", "auto")
    >>> for epoch, accuracy in enumerate([0.8, 0.9, 0.85]):
    ...     watching.on_epoch_end(epoch, {"val_accuracy": accuracy})
    >>> watching.best
    0.9
    """

    purpose = "do its work"  # what is left undone where the number is missing

    def __init__(self, monitor: str, mode: str, min_delta: float = 0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ShapeError(f"mode is 'auto', 'min' or 'max', got {mode!r}{here()}")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(min_delta)
        self.best: float | None = None
        self._sign: int | None = None  # of the direction in which the number is better
        self._loaded = False
        self._told = False

    # ---------------------------------------------------------------- begin and resume

    def on_train_begin(self, logs: Any = None) -> None:
        if not self._loaded:  # a callback may serve several trainings, one after the other
            self.reset()
        self._loaded = self._told = False
        if self.watches():
            self.direction()  # which is better has to be known before hours are spent

    def on_train_end(self, logs: Any = None) -> None:
        self._loaded = False

    def reset(self) -> None:
        """Forget what was seen, for a new training."""
        self.best = None

    def watches(self) -> bool:
        """Whether the number matters at all."""
        return True

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.state_dict():
            setattr(self, name, state[name])
        self._loaded = True

    # ---------------------------------------------------------------- values

    def current(self, logs: Mapping[str, Any] | None) -> float | None:
        """The watched number; None, with a warning the first time, where the logs do not have it."""
        value = None if logs is None else logs.get(self.monitor)
        if value is not None:
            return float(value)
        names = [] if logs is None else list(logs)
        # Where only some epochs are validated, the others miss all of its numbers.
        between = self.monitor.startswith("val_") and not any(name.startswith("val_") for name in names)
        if not self._told and not (between and self.trainer.has_validation):
            self._told = True
            near = difflib.get_close_matches(self.monitor, names, 1, 0.5)
            advice = f"Is monitor={near[0]!r} meant?" if near else ""
            if between:
                advice = f"There is no validation: pass validation_data or validation_split, or monitor={self.monitor[4:]!r}."
            warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not among the logged "
                f"{', '.join(map(repr, names)) or 'numbers: there are none'}; it cannot {self.purpose}."
                + (f"\n  {advice}" if advice else "")
            )
        return None

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether ``value`` is better than ``reference``, None being worse than all, by more than `min_delta`."""
        if math.isnan(value):
            return False
        if reference is None or math.isnan(reference):
            return True
        return value - self.min_delta > reference if self.direction() > 0 else value + self.min_delta < reference

    def direction(self) -> int:
        """1 where larger is better, -1 where smaller is."""
        if self.mode != "auto":
            return 1 if self.mode == "max" else -1
        if self._sign is None:
            self._sign = self._direction_of(self.monitor.removeprefix("val_"))
        return self._sign

    def _direction_of(self, name: str) -> int:
        trainer = getattr(self, "trainer", None)  # there is none before the first training
        for metric in () if trainer is None else trainer.metrics:
            said = getattr(metric, "direction", None)
            if metric.name == name and said is not None:
                return 1 if said == "up" else -1
        words = set(re.split(r"[^a-z0-9]+", name.lower()))
        if words & _DOWN:
            return -1
        if words & _UP:
            return 1
        raise ShapeError(
            f"{type(self).__name__} cannot tell whether a larger or a smaller {name!r} is better.{here()}\n"
            "  Say mode='max' or mode='min'."
        )
