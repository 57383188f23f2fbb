"""Keras's face: the same names and arguments over `autograd_ff.nn`, `autograd_ff.optim` and `autograd_ff.training`.

from autograd_ff import keras

(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
model = keras.Sequential([
    keras.layers.Flatten(),
    keras.layers.Dense(128, activation="relu"),
    keras.layers.Dense(10, activation="softmax"),
])
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train / 255.0, y_train, epochs=5)
model.evaluate(x_test / 255.0, y_test)
"""

from typing import Any

from . import (
    activations,
    backend,
    callbacks,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    saving,
    utils,
)
from .initializers import Initializer
from .layers import Input, KerasTensor, Layer
from .lookup import absent
from .losses import Loss
from .metrics import Metric
from .models import Model, Sequential
from .optimizers import Optimizer
from .regularizers import Regularizer

__all__ = [
    "Initializer", "Input", "KerasTensor", "Layer", "Loss", "Metric", "Model", "Optimizer", "Regularizer", "Sequential",
    "activations", "backend", "callbacks", "datasets", "initializers", "layers", "losses", "metrics", "models",
    "optimizers", "regularizers", "saving", "utils",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":  # asked for by programs that look which Keras they have
        from importlib.metadata import version

        return version("autograd_ff")
    raise absent(__name__, name, __all__)
