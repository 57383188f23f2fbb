"""In which order the samples of a dataset are read.

A sampler whose order is known before the epoch also has ``order()`` (paired with ``__iter__``): the whole epoch as one
integer array, from which `DataLoader` cuts its batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from ..engine import here
from ..errors import DtypeError, ShapeError
from ..functions.random import source

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
    "permutation",
]


def permutation(length: int, generator: Any = None) -> np.ndarray:
    """The integers ``0 .. length - 1`` in an order drawn from ``generator``, the default one where it is None."""
    return source(generator).permutation(length)


class Sampler:
    """An iterable over the indices of one epoch. One's own defines ``__iter__``, and ``__len__`` where it is known.

    >>> import autograd_ff as af
    >>> from autograd_ff.data import DataLoader, Sampler
    >>> class Backwards(Sampler):
    ...     def __init__(self, data_source):
    ...         self.data_source = data_source
    ...     def __iter__(self):
    ...         return reversed(range(len(self.data_source)))
    ...     def __len__(self):
    ...         return len(self.data_source)
    >>> [batch.tolist() for batch in DataLoader([1, 2, 3], batch_size=2, sampler=Backwards([1, 2, 3]))]
    [[3, 2], [1]]
    """

    def __init__(self, data_source: Sized | None = None) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__(self)")


class SequentialSampler(Sampler):
    """0, 1, 2 and so on.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def order(self) -> np.ndarray:
        return np.arange(len(self.data_source))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """The indices shuffled, anew for each epoch.

    Args:
        data_source: what has a length.
        replacement: draw each index from all of them, so that one may come twice and another not at all.
        num_samples: how many to draw; the length of ``data_source`` by default. Without replacement, more than that
            runs through further permutations.
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    >>> import numpy as np
    >>> sorted(RandomSampler("abcd", generator=np.random.default_rng(0)))
    [0, 1, 2, 3]
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        if not isinstance(replacement, bool):
            raise DtypeError(f"replacement is True or False, got {replacement!r}{here()}")
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
            raise ShapeError(f"num_samples has to be a positive integer, got {num_samples!r}{here()}")
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def order(self) -> np.ndarray:
        length, wanted = len(self.data_source), self.num_samples
        if not length:
            return np.zeros(0, dtype=np.int64)
        if self.replacement:
            return source(self.generator).integers(length, size=wanted)
        drawn = [permutation(length, self.generator) for _ in range(-(-wanted // length))]
        return (drawn[0] if len(drawn) == 1 else np.concatenate(drawn))[:wanted]

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices, shuffled anew for each epoch.

    >>> import autograd_ff as af
    >>> import numpy as np
    >>> sorted(SubsetRandomSampler([2, 5, 7], generator=np.random.default_rng(0)))
    [2, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def order(self) -> np.ndarray:
        return np.asarray(self.indices, dtype=np.int64)[permutation(len(self.indices), self.generator)]

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """``num_samples`` indices, index i with a probability in proportion to ``weights[i]``.

    >>> import numpy as np
    >>> set(WeightedRandomSampler([0.0, 3.0, 0.0], 5, generator=np.random.default_rng(0)))
    {1}
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Any = None
    ) -> None:
        values = np.asarray(weights, dtype=np.float64)
        if values.ndim != 1 or not np.all(np.isfinite(values) & (values >= 0)) or not values.sum() > 0:
            raise ShapeError(f"weights have to be finite, not negative and not all zero, in one dimension{here()}")
        if not isinstance(num_samples, int) or num_samples < 1:
            raise ShapeError(f"num_samples has to be a positive integer, got {num_samples!r}{here()}")
        if not replacement and num_samples > np.count_nonzero(values):
            raise ShapeError(
                f"without replacement {num_samples} samples cannot be drawn from {np.count_nonzero(values)} indices of "
                f"positive weight{here()}"
            )
        self.weights = values
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def order(self) -> np.ndarray:
        chances = self.weights / self.weights.sum()
        generator = source(self.generator)
        return generator.choice(len(chances), self.num_samples, replace=self.replacement, p=chances)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """The indices of another sampler in lists of ``batch_size``.

    Args:
        sampler: any iterable of indices.
        batch_size: how many make a batch.
        drop_last: leave out the last batch where it would be smaller.

    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        check_batch_size(batch_size)
        if not isinstance(drop_last, bool):
            raise DtypeError(f"drop_last is True or False, got {drop_last!r}{here()}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[Any]]:
        batch: list[Any] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        length = len(self.sampler)  # type: ignore[arg-type]
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)


def check_batch_size(batch_size: Any) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ShapeError(f"batch_size has to be a positive integer, got {batch_size!r}{here()}")
