"""Callbacks that set the learning rate: by a schedule, and when a number stops getting better."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from ...engine import here
from ...errors import OptimizerError, ShapeError
from ...optim.lr_scheduler import LRScheduler
from ...optim.lr_scheduler import ReduceLROnPlateau as PlateauScheduler
from .monitor import Monitor
from .surroundings import announce

__all__ = ["LearningRateScheduler", "ReduceLROnPlateau"]


class LearningRateScheduler(Monitor):
    """Sets the learning rate by a function, as Keras's does, or moves a scheduler of `autograd_ff.optim.lr_scheduler` on.

    Args:
        schedule: a function of the epoch, counted from 0, and, where it takes two arguments, the present rate, that returns
            the rate of this epoch; or a scheduler of the trainer's optimizer.
        verbose: 1 to say each rate that is set.
        every: ``"epoch"``, or ``"batch"``: the function is then asked before each batch, with the number of batches since the
            training began, and the scheduler moved on after each, as ``OneCycleLR`` wants it.
        monitor: the number that a ``lr_scheduler.ReduceLROnPlateau`` is told.

    The rate of an epoch (at its end, with ``every="batch"``) goes into the history as ``"learning_rate"``.

    Raises:
        OptimizerError: the schedule is neither, belongs to another optimizer, or gives something else than a rate.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> from autograd_ff.training.callbacks import LearningRateScheduler
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.5))
    >>> halving = LearningRateScheduler(lambda epoch, lr: lr / 2 if epoch else lr)
    >>> history = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=3, callbacks=[halving], checks=False, verbose=0)
    >>> history["learning_rate"]
    [0.5, 0.25, 0.125]
    """

    purpose = "move the schedule on"

    def __init__(
        self,
        schedule: Callable[..., float] | LRScheduler,
        verbose: int = 0,
        *,
        every: str = "epoch",
        monitor: str = "val_loss",
    ) -> None:
        super().__init__(monitor, "min")
        self._scheduler: Any = schedule if isinstance(schedule, LRScheduler) else None
        if self._scheduler is None and (not callable(schedule) or inspect.isclass(schedule)):
            raise OptimizerError(
                f"a schedule is a function (epoch, lr) -> lr or a scheduler made for the optimizer, got {schedule!r}{here()}"
            )
        if every not in ("epoch", "batch"):
            raise OptimizerError(f"every is 'epoch' or 'batch', got {every!r}{here()}")
        if every == "batch" and isinstance(schedule, PlateauScheduler):
            raise OptimizerError(f"{type(schedule).__name__} moves on once an epoch: every='epoch'.{here()}")
        self.schedule = schedule
        self.verbose = verbose
        self.every = every
        self.step = 0  # batches since the training began

    def watches(self) -> bool:
        return isinstance(self._scheduler, PlateauScheduler)

    def reset(self) -> None:
        self.step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        if self._scheduler is not None and self._scheduler.optimizer is not self.trainer.optimizer:
            raise OptimizerError(
                f"the {type(self._scheduler).__name__} was made for another optimizer than the trainer's.{here()}\n"
                f"  Make it for that one: {type(self._scheduler).__name__}(trainer.optimizer, ...)."
            )
        # Unknown signatures (built-in functions) are taken to be of one argument.
        self._takes_rate = False
        if self._scheduler is None:
            try:
                inspect.signature(self.schedule).bind(0, 0.0)  # type: ignore[arg-type]
                self._takes_rate = True
            except (TypeError, ValueError):
                pass

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._scheduler is None and self.every == "epoch":
            self._ask(epoch)
            self._say(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._scheduler is None and self.every == "batch":
            self._ask(self.step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.every == "batch":
            self.step += 1
            if self._scheduler is not None:
                self._scheduler.step()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rate = self.trainer.learning_rate
        if self._scheduler is not None and self.every == "epoch":
            if not self.watches():
                self._scheduler.step()
                self._say(epoch + 1)
            elif (current := self.current(logs)) is not None:
                self._scheduler.step(current)
                self._say(epoch + 1)
        if logs is not None:
            logs["learning_rate"] = rate

    def _ask(self, position: int) -> None:
        schedule: Any = self.schedule
        given = schedule(position, self.trainer.learning_rate) if self._takes_rate else schedule(position)
        try:
            rate = float(given)
        except (TypeError, ValueError):
            rate = math.nan
        if not (math.isfinite(rate) and rate >= 0):
            raise OptimizerError(
                f"the schedule gave {given!r} for {self.every} {position}; a learning rate is a finite number from 0 on.{here()}"
            )
        self.trainer.learning_rate = rate

    def _say(self, epoch: int) -> None:
        if self.verbose:
            announce(f"Epoch {epoch + 1}: learning rate {self.trainer.learning_rate:.6g}")

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "scheduler": None if self._scheduler is None else self._scheduler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"] or {})
        self._loaded = True


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by ``factor`` when a number has not become better for ``patience`` epochs.

    Args:
        monitor: the number to watch.
        factor: less than 1.
        patience: epochs without an improvement after which to reduce.
        verbose: 1 to say each reduction.
        mode: ``"min"``, ``"max"``, or ``"auto"`` to tell by the name.
        min_delta: how much better counts as better.
        cooldown: epochs after a reduction that are not counted.
        min_lr: the rate is not made smaller than this.

    The rate of each epoch goes into the history as ``"learning_rate"``. A NaN is no improvement.

    Raises:
        ShapeError: a factor that is not from 0 up to but without 1.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> from autograd_ff.training.callbacks import ReduceLROnPlateau
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=1e-9))
    >>> plateau = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=2)
    >>> history = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=6, callbacks=[plateau], checks=False, verbose=0)
    >>> history["learning_rate"]
    [1e-09, 1e-09, 1e-09, 5e-10, 5e-10, 2.5e-10]
    """

    purpose = "reduce the learning rate"

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 <= factor < 1:
            raise ShapeError(f"factor is from 0 up to but without 1, got {factor}{here()}")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.wait = 0
        self.cooldown_counter = 0

    def in_cooldown(self) -> bool:
        """Whether epochs are not counted at the moment."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rate = self.trainer.learning_rate
        if logs is not None:
            logs["learning_rate"] = rate
        current = self.current(logs)
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self.trainer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter = self.cooldown
                self.wait = 0
                if self.verbose:
                    announce(
                        f"Epoch {epoch + 1}: {self.monitor} is on a plateau, learning rate {self.trainer.learning_rate:.6g}"
                    )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter}
