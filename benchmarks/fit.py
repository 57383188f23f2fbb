"""The Keras program, 784-128-10 on MNIST with Adam in batches of 32: the loop by hand, `Trainer.fit`, and Keras's own face.

Each trains for an epoch on arrays of floats made beforehand, and counts the accuracy as it goes. Keras runs on PyTorch and
on JAX, whichever is installed beside it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import mnist
from .processes import Failed

BATCH = 32
TITLE = f"MNIST, 784-128-10 as in Keras, batch {BATCH}"

PROGRAMS: dict[str, tuple[str, str, Any]] = {
    # key: (title, library, compiled, or Keras's backend)
    "hand": ("autograd_ff, loop by hand, eager", "autograd_ff", False),
    "hand_compiled": ("autograd_ff, loop by hand, compiled", "autograd_ff", True),
    "trainer": ("autograd_ff, Trainer, eager", "autograd_ff", False),
    "trainer_compiled": ("autograd_ff, Trainer, compiled", "autograd_ff", True),
    "face": ("autograd_ff.keras", "autograd_ff", None),
    "keras_torch": ("Keras on PyTorch", "keras", "torch"),
    "keras_jax": ("Keras on JAX", "keras", "jax"),
}


def arrays() -> tuple[np.ndarray, np.ndarray]:
    from autograd_ff import datasets

    split = datasets.MNIST(train=True)
    return split.data.numpy().reshape(-1, 784).astype(np.float32) / 255, split.targets.numpy()


def program(key: str) -> Callable[[], float]:
    """A function that trains for an epoch and returns its loss."""
    _, library, how = PROGRAMS[key]
    images, labels = arrays()
    if library == "keras":
        if importlib.util.find_spec(how) is None:
            raise Failed(f"{how} is not installed")
        os.environ["KERAS_BACKEND"] = how
        import keras

        return face(keras, images, labels)
    if key == "face":
        from autograd_ff import keras as own

        return face(own, images, labels)
    return by_hand(images, labels, how) if key.startswith("hand") else by_trainer(images, labels, how)


def face(keras: Any, images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(images, labels, batch_size=BATCH, verbose=0).history["loss"][-1]


def network() -> Any:
    import autograd_ff as af

    af.manual_seed(0)
    model = af.nn.Sequential(af.nn.Linear(784, 128), af.nn.ReLU(), af.nn.Linear(128, 10))
    return af, model, af.nn.CrossEntropyLoss(), af.optim.Adam(model.parameters())


def by_trainer(images: np.ndarray, labels: np.ndarray, compiled: bool) -> Callable[[], float]:
    from autograd_ff.training import Trainer

    _, model, criterion, optimizer = network()
    trainer = Trainer(model, criterion, optimizer, metrics=["accuracy"])
    options = {"batch_size": BATCH, "compile": compiled, "verbose": 0}
    return lambda: trainer.fit(images, labels, **options)["loss"][-1]


def by_hand(images: np.ndarray, labels: np.ndarray, compiled: bool) -> Callable[[], float]:
    from autograd_ff.data import DataLoader, TensorDataset

    af, model, criterion, optimizer = network()
    loader = DataLoader(TensorDataset(images, labels), BATCH, shuffle=True)

    def step(inputs: Any, targets: Any) -> Any:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        return loss, outputs

    chosen = af.compile(step) if compiled else step

    def epoch() -> float:
        total, right = 0.0, 0
        for inputs, targets in loader:
            loss, outputs = chosen(inputs, targets)
            total += loss.item() * len(targets)
            right += int((outputs.detach().numpy().argmax(1) == targets.numpy()).sum())
        assert right
        return total / len(labels)

    return epoch


def measure(epochs: int = 10) -> dict[str, Any]:
    return mnist.measure(epochs, programs=PROGRAMS, module="fit")


def report(results: dict[str, Any]) -> str:
    return mnist.report(results, TITLE)


def markdown(results: dict[str, Any]) -> str:
    return mnist.markdown(results, TITLE)


if __name__ == "__main__":
    mnist.worker(sys.argv[1], program)
