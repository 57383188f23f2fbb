"""The curves of a training while it runs: one picture that is drawn anew."""

from __future__ import annotations

import importlib.util
import io
import math
import os
import time
from collections.abc import Sequence
from typing import Any

from ...engine import here, warn
from ...errors import ShapeError
from ..callback import Callback
from .surroundings import in_notebook

__all__ = ["LiveCurve"]


class LiveCurve(Callback):
    """Draws the curves of loss and metrics after each epoch: in a notebook into one place below the cell, and into a file.

    Args:
        path: a ``.png``, ``.svg`` or ``.pdf`` file, written anew each time; needed outside of a notebook.
        metrics: the metrics to draw; all by default.
        title: above the picture.
        share: how much of the time may go into drawing. Where epochs are short, some are not drawn by themselves; the last
            always is.

    Raises:
        ShapeError: no path, and no notebook.
        ImportError: matplotlib is missing, when the training begins.

    >>> import os, tempfile
    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> from autograd_ff.training.callbacks import LiveCurve
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.1))
    >>> path = os.path.join(tempfile.mkdtemp(), "curve.png")
    >>> _ = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=2, callbacks=[LiveCurve(path)], checks=False, verbose=0)
    >>> os.path.exists(path)
    True
    """

    order = 40  # after those that add to the logs, before those that keep the state of the others
    leader_only = True

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        metrics: Sequence[str] | None = None,
        title: str = "",
        share: float = 0.1,
    ) -> None:
        self.path = None if path is None else os.fspath(path)
        suffixes = (".png", ".svg", ".pdf")
        if self.path is not None and os.path.splitext(self.path)[1].lower() not in suffixes:
            raise ShapeError(f"path {self.path!r} should end in {', '.join(suffixes)}{here()}")
        self.metrics = metrics
        self.title = title
        self.share = share
        self._handle: Any = None
        self._drawn = 0  # rows in the picture
        self._ended = -math.inf  # the last drawing
        self._cost = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        if importlib.util.find_spec("matplotlib") is None:
            raise ImportError(f'LiveCurve needs matplotlib: pip install "autograd_ff[plot]"{here()}')
        self._notebook = in_notebook()
        if self.path is None and not self._notebook:
            raise ShapeError(f"outside of a notebook, LiveCurve writes a file: LiveCurve(path='curve.png').{here()}")
        self._handle = None
        self._drawn = len(self.trainer.history.epoch)
        self._ended, self._cost = -math.inf, 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.share * (time.perf_counter() - self._ended) >= self._cost:
            self._draw()

    def on_train_end(self, logs: Any = None) -> None:
        if self._drawn < len(self.trainer.history.epoch):
            self._draw()

    def _draw(self) -> None:
        from visualize.errors import PictureError

        began = time.perf_counter()
        history = self.trainer.history
        try:
            if self.path is not None:
                # Beside it first, so that a viewer that reads it never sees half a picture.
                folder, name = os.path.split(self.path)
                beside = os.path.join(folder, f".{os.getpid()}-{name}")
                try:
                    history.plot(beside, self.title, metrics=self.metrics)
                    os.replace(beside, self.path)
                finally:
                    if os.path.exists(beside):
                        os.unlink(beside)
            if self._notebook:
                figure = history.plot(None, self.title, metrics=self.metrics)
                image = io.BytesIO()
                figure.savefig(image, format="png", dpi=100)
                self._show(image.getvalue())
        except PictureError:
            pass  # there is no finite number as yet
        except OSError as error:  # a training does not end for a picture
            warn(f"LiveCurve could not write {self.path}: {error}")
        self._drawn = len(history.epoch)
        self._ended = time.perf_counter()
        self._cost = self._ended - began

    def _show(self, png: bytes) -> None:
        from IPython.display import Image, display

        if self._handle is None:
            self._handle = display(Image(data=png), display_id=True)
        else:
            self._handle.update(Image(data=png))
