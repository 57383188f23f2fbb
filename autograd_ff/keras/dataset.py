"""Data that come in numbered batches, made when they are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from ..engine import here
from ..errors import DtypeError
from ..functions.random import default_generator
from ..training.batches import Batches
from ..training.randomness import generators_in

__all__ = ["PyDataset", "Sequence", "dataset_batches"]


class PyDataset:
    """The base of data in batches: a subclass says how many there are, and gives the one of a number.

    `Model.fit`, `Model.evaluate` and `Model.predict` take one. With ``shuffle=True`` the batches come in a new order in each
    epoch, drawn from the default generator; what is in a batch is for the subclass to shuffle, in `on_epoch_end`.

    Args:
        workers, use_multiprocessing, max_queue_size: accepted as Keras does, and without effect; a `DataLoader` has workers.

    >>> import numpy as np
    >>> from autograd_ff import keras
    >>> class Files(keras.utils.PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, index):
    ...         return np.full((4, 2), index), np.full(4, index)  # load, say, a file
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> history = model.fit(Files(), epochs=2, verbose=0, checks=False)
    >>> model.predict(Files(), verbose=0).shape
    (12, 1)
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        """The batch of a number: ``(inputs, targets)``, ``(inputs, targets, sample_weight)`` or ``(inputs,)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__(index)")

    @property
    def num_batches(self) -> int | None:
        """How many batches there are; None where they never end. By default what ``__len__`` says."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(f"{type(self).__name__} does not define __len__()")

    def __iter__(self) -> Iterator[Any]:
        count, index = self.num_batches, 0
        while count is None or index < count:
            yield self[index]
            index += 1

    def on_epoch_begin(self) -> None:
        """Called before the first batch of each pass."""

    def on_epoch_end(self) -> None:
        """Called after the last batch of each pass."""


Sequence = PyDataset  # what it was called in Keras 2


def dataset_batches(data: PyDataset, shuffle: bool = False, **beside: Any) -> Batches:
    """The batches of a `PyDataset`.

    Raises:
        DtypeError: there are targets, weights or a batch_size beside it.
    """
    given = [name for name, value in beside.items() if value is not None]
    if given:
        raise DtypeError(
            f"{type(data).__name__} brings its own batches, targets and weights; leave {', '.join(given)} away.{here()}"
        )
    count = data.num_batches

    def batches_in(order: Any) -> Iterator[Any]:
        data.on_epoch_begin()
        for index in order:
            yield data[int(index)]
        data.on_epoch_end()

    def begin() -> Iterator[Any]:
        """The order is drawn before the first batch is asked for, so that a resumed training has the same."""
        if count is None:
            return batches_in(itertools.count())
        return batches_in(default_generator().numpy.permutation(count) if shuffle else range(count))

    return Batches(begin, count, generators=generators_in(data), streams=True)
