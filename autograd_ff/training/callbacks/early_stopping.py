"""Stopping a training that no longer gets better, and going back to where it was best."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import wrap
from .monitor import Monitor
from .surroundings import announce
from .weights import copy_weights, put_weights

__all__ = ["EarlyStopping"]


class EarlyStopping(Monitor):
    """Stops when a number has not become better for ``patience`` epochs, and puts the best weights back.

    Args:
        monitor: the number to watch.
        min_delta: how much better counts as better.
        patience: epochs without an improvement after which to stop.
        verbose: 1 to say what is done.
        mode: ``"min"``, ``"max"``, or ``"auto"`` to tell by the name.
        baseline: epochs count as without improvement until this value is beaten.
        restore_best_weights: put the parameters and buffers of the best epoch back when the training ends. Unlike Keras's,
            it is on by default, and does so on every way out: when patience is over, after the last epoch, after a Ctrl-C, a
            NaN or an exception. A training that has not finished an epoch keeps its weights.
        start_from_epoch: epochs before this one (they count from 0) are not looked at.

    Attributes:
        best, best_epoch: the best value, and the number of its epoch.
        stopped_epoch: the number of the epoch that it stopped after; 0 where it did not.
        wait: epochs since the last improvement.

    The weights kept are those that the validation saw: with `ExponentialMovingAverage`, the averaged ones. The optimizer's
    state is not put back. A value that is NaN is no improvement, also as the first (in Keras none is better than it).

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> from autograd_ff.training.callbacks import EarlyStopping
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.0))
    >>> stopping = EarlyStopping(monitor="loss", patience=3)
    >>> history = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=50, callbacks=[stopping], checks=False, verbose=0)
    >>> len(history["loss"]), history.stop_reason, stopping.best_epoch
    (4, 'patience', 0)
    """

    purpose = "stop the training"

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = True,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights: dict[str, np.ndarray] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        # What is resumed may have been over, if it is not given more patience.
        if self.stopped_epoch and self.wait >= self.patience:
            self.trainer.stop("patience")
        else:
            self.stopped_epoch = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        current = self.current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.is_improvement(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = copy_weights(self.model)
            if self.baseline is None or self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.trainer.stop("patience")

    def on_train_end(self, logs: Any = None) -> None:
        super().on_train_end(logs)
        tell = self.verbose or self.trainer.verbose
        if self.stopped_epoch and tell:
            announce(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if tell:
                announce(
                    f"Restored the weights of epoch {self.best_epoch + 1}, the best: {self.monitor} {self.best:.4g}"
                )
            put_weights(self.model, self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        kept = self.best_weights
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "wait": self.wait,
            "stopped_epoch": self.stopped_epoch,
            "best_weights": None if kept is None else {name: wrap(array) for name, array in kept.items()},
        }

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        if self.best_weights is not None:
            self.best_weights = {name: one.array for name, one in state["best_weights"].items()}
