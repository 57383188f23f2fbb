"""Callbacks under Keras's names; they are those of `autograd_ff.training.callbacks`."""

# ruff: noqa: F403  (this file hands names on)

from __future__ import annotations

from typing import Any

from ..training import callbacks
from ..training.callbacks import *
from ..training.callbacks import __all__ as __all__
from .models import Model
from .saving import check_suffix, serialize_layer


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
                serialize_layer(self.model)

    def write(self, path: str) -> None:
        if not isinstance(self.model, Model):  # a module of nn, in a Trainer
            super().write(path)
        elif self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
