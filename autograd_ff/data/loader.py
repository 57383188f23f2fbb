"""Batches of a dataset, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ..engine import here
from ..errors import DtypeError, ShapeError
from .batching import batched, has_batch_form
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler, check_batch_size

__all__ = ["DataLoader"]


class DataLoader:
    """An iterable over the batches of a dataset; each ``for`` loop over it is one epoch.

    The datasets of this package, `TensorDataset`, and subsets of both are read a whole batch at a time where their
    transforms can be applied to a batch (`transforms.ToTensor`, `Normalize`, and `Compose` of such): an epoch of MNIST
    then costs some hundredths of a second. Any other dataset, transform and ``collate_fn`` takes the ordinary path,
    sample by sample; what comes out is the same, bit for bit.

    Args:
        dataset: what has ``__getitem__`` and ``__len__``, or an `IterableDataset`.
        batch_size: samples in a batch; None gives single samples, not batches.
        shuffle: a new random order each epoch.
        sampler: an iterable of indices to read in place of ``shuffle``.
        batch_sampler: an iterable of lists of indices, in place of ``batch_size``, ``shuffle``, ``sampler`` and
            ``drop_last``.
        collate_fn: makes a batch of a list of samples; `default_collate` by default.
        drop_last: leave out the last batch of an epoch where it would be smaller.
        generator: draws the order; the default generator (see `manual_seed`) where it is None. The order of an epoch is
            drawn when its loop begins.
        num_workers, pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor, persistent_workers,
            pin_memory_device: accepted so that programs run unchanged, and without effect: batches are made in the
            process itself, when they are asked for.

    Raises:
        ShapeError: samples that cannot be joined, or arguments out of range. An exception from the dataset itself
            passes through, with a note that names the index of the sample.

    >>> import numpy as np
    >>> from autograd_ff.data import TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5), np.arange(5.0)), batch_size=2)
    >>> len(loader), [labels.tolist() for labels, _ in loader]
    (3, [[0, 1], [2, 3], [4]])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        self.dataset = dataset
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self._iterable = isinstance(dataset, IterableDataset)
        if sampler is not None and shuffle:
            raise ShapeError(f"a sampler already decides the order, so shuffle=True cannot be given with it{here()}")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ShapeError(
                f"a batch_sampler already decides the batches, so batch_size, shuffle, sampler and drop_last cannot be "
                f"given with it{here()}"
            )
        if self._iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ShapeError(
                "an IterableDataset decides its own order, so shuffle, sampler and batch_sampler cannot be given; "
                f"shuffle inside its __iter__{here()}"
            )
        if not self._iterable and not hasattr(dataset, "__getitem__"):
            raise DtypeError(
                f"a dataset needs __getitem__ and __len__; {type(dataset).__name__} has no __getitem__ (a dataset "
                f"that can only be iterated over derives from IterableDataset){here()}"
            )
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is None:
            if drop_last:
                raise ShapeError(f"without batches (batch_size=None) there is no last one to drop{here()}")
        else:
            check_batch_size(batch_size)
        if sampler is None and not self._iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        if collate_fn is None:
            collate_fn = default_convert if batch_size is None and batch_sampler is None else default_collate
        self.collate_fn = collate_fn

    def __len__(self) -> int:
        """The number of batches of an epoch (of samples, where ``batch_size`` is None)."""
        if self._iterable:
            length = len(self.dataset)
            if self.batch_size is None:
                return length
            return length // self.batch_size if self.drop_last else -(-length // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        # Not a generator function itself: the order is drawn here and now, when the loop begins.
        if self._iterable:
            return self._from_iterable(iter(self.dataset))
        if self.batch_sampler is None:
            return map(self._convert, iter(self.sampler))  # type: ignore[arg-type]
        read = self._read_batches()
        return map(self._collate if read is None else _Reader(read, self._collate), self._index_batches())

    # ---------------------------------------------------------------- which samples

    def _index_batches(self) -> Iterator[Any]:
        """The indices of each batch, as lists or integer arrays."""
        batches = self.batch_sampler
        if type(batches) is BatchSampler and has_batch_form(batches.sampler, "__iter__", "order"):
            order = batches.sampler.order()  # type: ignore[attr-defined]
            size = batches.batch_size
            end = len(order) - len(order) % size if batches.drop_last else len(order)
            return (order[start : start + size] for start in range(0, end, size))
        return iter(batches)  # type: ignore[arg-type]

    def _read_batches(self) -> Callable[[Any], Any] | None:
        """What reads a whole batch at once, where the dataset and ``collate_fn`` can."""
        collate: Any = self.collate_fn
        if collate is not default_collate and not has_batch_form(collate, "__call__", "after_collate"):
            return None
        read = batched(self.dataset, "__getitem__")
        if read is None or collate is default_collate:
            return read
        return lambda indices: collate.after_collate(read(indices))

    # ---------------------------------------------------------------- sample by sample

    def _collate(self, indices: Any) -> Any:
        chosen = indices.tolist() if isinstance(indices, np.ndarray) else list(indices)
        if hasattr(self.dataset, "__getitems__"):
            samples = self.dataset.__getitems__(chosen)
        else:
            samples = [self._sample(index) for index in chosen]
        try:
            return self.collate_fn(samples)
        except Exception as error:
            error.add_note(f"while collating the samples at indices {_shortened(chosen)} of {self._name()}")
            raise

    def _convert(self, index: Any) -> Any:
        return self.collate_fn(self._sample(index))

    def _sample(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            error.add_note(f"while loading the sample at index {index!r} of {self._name()}")
            raise

    def _from_iterable(self, samples: Iterator[Any]) -> Iterator[Any]:
        if self.batch_size is None:
            for sample in samples:
                yield self.collate_fn(sample)
            return
        while batch := list(islice(samples, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield self.collate_fn(batch)

    def _name(self) -> str:
        return f"the dataset {type(self.dataset).__name__}"


class _Reader:
    """Reads whole batches; a batch that cannot be read so goes sample by sample, which says what is wrong."""

    __slots__ = ("one_by_one", "read")

    def __init__(self, read: Callable[[Any], Any], one_by_one: Callable[[Any], Any]) -> None:
        self.read = read
        self.one_by_one = one_by_one

    def __call__(self, indices: Any) -> Any:
        chosen = np.asarray(indices)
        if chosen.dtype.kind in "iu" and chosen.ndim == 1:
            try:
                return self.read(chosen)
            except IndexError:
                pass  # an index out of range: the samples, one by one, name it
        return self.one_by_one(indices)


def _shortened(indices: list[Any]) -> str:
    shown = ", ".join(map(repr, indices[:8]))
    return f"[{shown}, … {len(indices)} in all]" if len(indices) > 8 else f"[{shown}]"
