"""Showing how far a training is: a bar on a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..callback import Callback
from .surroundings import in_notebook, on_terminal

__all__ = ["ProgressBar"]

# Short enough that two metrics stand beside it in 80 columns.
BAR = "{desc}: {percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class ProgressBar(Callback):
    """A bar with the loss and the metrics so far, and a line for each epoch that is over.

    Args:
        verbose: 0 for nothing; 1 for a bar while an epoch runs, and its line; 2 for the line alone; None for what `fit`,
            `evaluate` or `predict` was told.
        interval: seconds between two looks of the bar; a batch in between costs a look at the clock.

    The bar is tqdm's, on a terminal, and in a notebook where ipywidgets is installed. Elsewhere (a file, a pipe, a
    notebook without it) there are the lines alone. `fit` adds this callback by itself.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.1))
    >>> _ = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=2, checks=False)  # doctest: +ELLIPSIS
    Epoch 1/2 - 0s - ...s/step - loss: ...
    Epoch 2/2 - 0s - ...s/step - loss: ...
    """

    order = 30  # after those that add to the logs
    leader_only = True

    def __init__(self, verbose: int | None = None, *, interval: float = 0.1) -> None:
        self.verbose = verbose
        self.interval = interval
        self._bar: Any = None
        self._lines = False
        self._next = math.inf  # when to look at the numbers again
        self._began = 0.0
        self._steps = 0
        self._first = 0
        self._label = ""

    # ---------------------------------------------------------------- fit

    def on_train_begin(self, logs: Any = None) -> None:
        self._close()
        self._lines = self._level() > 0
        if self._lines and self.trainer.batch:  # resumed in the middle of an epoch
            self.on_epoch_begin(self.trainer.epoch)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._lines:
            self._open(f"Epoch {epoch + 1}/{self.trainer.epochs}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps = batch + 1
        if time.perf_counter() >= self._next:
            self._refresh(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._lines:
            self._finish(logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._close()
        self._lines = False

    # ---------------------------------------------------------------- evaluate and predict

    def on_test_begin(self, logs: Any = None) -> None:
        if self._lines:  # the validation of an epoch
            if self._bar is not None:
                self._bar.set_postfix_str("validating", refresh=False)
                self._bar.update(self._steps - self._bar.n)
                self._bar.refresh()
        elif not self.trainer.fitting and self._level() > 0:
            self._open("Evaluating")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._lines:
            self.on_train_batch_end(batch, logs)

    def on_test_end(self, logs: Any = None) -> None:
        if not self._lines and self._label:
            self._finish(logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        if not self.trainer.fitting and self._level() > 0:
            self._open("Predicting")

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_train_batch_end(batch)

    def on_predict_end(self, logs: Any = None) -> None:
        self._close()

    # ---------------------------------------------------------------- bar and line

    def _level(self) -> int:
        return self.trainer.verbose if self.verbose is None else self.verbose

    def _open(self, label: str) -> None:
        self._close(but_in_notebook=True)
        self._label = label
        self._steps = self._first = self.trainer.batch if self._lines else 0
        self._began = time.perf_counter()
        if self._bar is not None:
            self._bar.reset(total=self.trainer.batches)
            self._bar.set_description(label)
            self._bar.update(self._steps)
            self._next = self._began + self.interval
            return
        tqdm = _tqdm() if self._level() == 1 else None
        if tqdm is not None:
            self._bar = tqdm(
                desc=label, total=self.trainer.batches, initial=self._steps, leave=False, file=sys.stdout,
                dynamic_ncols=True, mininterval=0, miniters=1, bar_format=BAR,
            )  # fmt: skip
            self._next = self._began + self.interval

    def _refresh(self, logs: Mapping[str, Any] | None) -> None:
        self._next = time.perf_counter() + self.interval
        if self._bar is not None:
            if logs is not None:
                self._bar.set_postfix_str(
                    ", ".join(f"{name} {_number(value)}" for name, value in logs.items()), refresh=False
                )
            self._bar.update(self._steps - self._bar.n)

    def _finish(self, logs: Mapping[str, Any] | None) -> None:
        seconds = time.perf_counter() - self._began
        label, steps = self._label, self._steps - self._first
        self._close(but_in_notebook=self._lines)
        print(self.line(label, seconds, steps, logs or {}), flush=True)

    def line(self, label: str, seconds: float, steps: int, logs: Mapping[str, Any]) -> str:
        """What is printed when an epoch, or an evaluation, is over."""
        parts = [label, f"{seconds:.0f}s", f"{_duration(seconds / max(steps, 1))}/step"]
        return " - ".join([*parts, *(f"{name}: {_number(value)}" for name, value in logs.items())])

    def _close(self, but_in_notebook: bool = False) -> None:
        """Take the bar away; one in a notebook may stay for the next epoch, for each leaves an empty output behind."""
        if self._bar is not None and not (but_in_notebook and in_notebook()):
            self._bar.close()
            self._bar = None
        self._next = math.inf
        self._label = ""


def _tqdm() -> Any:
    """The class of bars that fits where this runs, or None."""
    if in_notebook():
        if importlib.util.find_spec("ipywidgets") is None:
            return None
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    if not on_terminal():
        return None
    from tqdm import tqdm

    return tqdm


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"


def _number(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"
    return str(value)
