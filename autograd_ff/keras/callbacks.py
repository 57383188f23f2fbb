"""Callbacks under Keras's names; they are those of `autograd_ff.training.callbacks`."""

# ruff: noqa: F403  (this file hands names on)

from __future__ import annotations

import os
from typing import Any

from ..training import callbacks
from ..training.callbacks import *
from ..training.callbacks import __all__ as names
from .layers import serialize
from .model import Model
from .saving import check_suffix

__all__ = [*names, "BackupAndRestore", "History"]


class History(callbacks.Callback):
    """The losses and metrics of all epochs, which `Model.fit` returns in any case.

    >>> import numpy as np
    >>> from autograd_ff import keras
    >>> model, history = keras.Sequential([keras.layers.Dense(1)]), keras.callbacks.History()
    >>> model.compile(loss="mse")
    >>> _ = model.fit(np.zeros((4, 2)), np.zeros(4), epochs=2, verbose=0, callbacks=[history], checks=False)
    >>> history.epoch, history.history
    ([0, 1], {'loss': [0.0, 0.0]})
    """

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class BackupAndRestore(callbacks.Callback):
    """Keeps the state of the training in a folder, from which the same `Model.fit` goes on when it was interrupted.

    It is ``fit(…, checkpoint=path)`` and, where there is such a file, ``resume=path``. When the training ends as it should,
    the file is deleted.

    Args:
        backup_dir: the folder.
        options: accepted as Keras does; the state is kept after each epoch.

    >>> import os, tempfile
    >>> from autograd_ff import keras
    >>> folder = tempfile.mkdtemp()
    >>> keras.callbacks.BackupAndRestore(folder).path == os.path.join(folder, "backup.safetensors")
    True
    """

    leader_only = True

    def __init__(self, backup_dir: str | os.PathLike[str], **options: Any) -> None:
        self.path = os.path.join(backup_dir, "backup.safetensors")

    def fit_options(self) -> dict[str, Any]:
        """What `Model.fit` adds to its arguments."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        return {"checkpoint": self.path, "resume": self.path if os.path.exists(self.path) else None}

    def on_train_end(self, logs: Any = None) -> None:
        reason = self.trainer.stop_reason
        stopped = reason is not None and reason not in ("interrupted", "not finite")
        if (stopped or (reason is None and self.trainer.epoch >= self.trainer.epochs)) and os.path.exists(self.path):
            os.remove(self.path)


class ModelCheckpoint(callbacks.ModelCheckpoint):  # type: ignore[no-redef]
    """`training.callbacks.ModelCheckpoint`, whose files are those of `Model.save` and, of weights only, `Model.save_weights`.

    So `keras.models.load_model` and `Model.load_weights` read them. What a training goes on from is
    ``model.fit(…, checkpoint=path)``.

    >>> import os, tempfile
    >>> import numpy as np
    >>> from autograd_ff import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> path = os.path.join(tempfile.mkdtemp(), "best.keras")
    >>> files = keras.callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True)
    >>> _ = model.fit(np.random.rand(8, 2), np.random.rand(8), epochs=2, verbose=0, callbacks=[files])
    >>> keras.models.load_model(path).count_params()
    3
    """

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        if isinstance(self.model, Model):  # what cannot be written shows before hours are spent
            check_suffix(self.filepath, self.save_weights_only)
            if not self.save_weights_only:
                serialize(self.model)

    def write(self, path: str) -> None:
        if not isinstance(self.model, Model):  # a module of nn, in a Trainer
            super().write(path)
        elif self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
