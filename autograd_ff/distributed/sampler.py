"""Which samples each process reads: a part of every epoch, or a part of every batch.

`DistributedSampler` is PyTorch's: every process makes batches of its own from a part of the epoch, padded so that all
parts are of one length. `DistributedBatchSampler` divides each batch of a single process instead, so that N processes do
what one does: no sample is read twice or left out. Where a batch does not divide evenly the parts differ by one sample,
and the mean of the processes' mean losses is not the mean over the batch; `share_of_batch` is the factor that makes it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from ..data import BatchSampler, DataLoader, IterableDataset, Sampler
from ..engine import here
from ..errors import DistributedError, ShapeError
from .collectives import from_rank
from .group import world

__all__ = ["DistributedBatchSampler", "DistributedSampler", "distribute_loader", "part_of"]


class DistributedSampler(Sampler):
    """The part of each epoch that one of several processes reads, as in PyTorch.

    All processes shuffle alike, by ``seed + epoch``, and process r reads every N-th index from the r-th on. Where the
    length does not divide, the first indices are read once more at the end, so that all processes have equally many (with
    ``drop_last`` the last ones are left out instead): for training to the very samples of a single process there is
    `DistributedBatchSampler`.

    Args:
        dataset: what has a length.
        num_replicas: how many processes; those of the job if None.
        rank: which of them; this one if None.
        shuffle: a new order each epoch; call `set_epoch` before each, or all are the first.
        seed: of the order, equal in all processes.
        drop_last: leave out what does not divide.

    Raises:
        ShapeError: no such rank.

    >>> from autograd_ff import distributed
    >>> [list(distributed.DistributedSampler("abcde", 2, rank, shuffle=False)) for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
        seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        self.dataset = dataset
        self.num_replicas, self.rank = _place(num_replicas, rank)
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    @property
    def num_samples(self) -> int:
        length, ranks = len(self.dataset), self.num_replicas
        return length // ranks if self.drop_last else -(-length // ranks)

    @property
    def total_size(self) -> int:
        """The samples of all processes."""
        return self.num_samples * self.num_replicas

    def order(self) -> np.ndarray:
        length = len(self.dataset)
        every = np.random.default_rng(self.seed + self.epoch).permutation(length) if self.shuffle else np.arange(length)
        return np.resize(every, self.total_size)[self.rank :: self.num_replicas]

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch from now on; call it in all processes before each.

        >>> from autograd_ff import distributed
        >>> sampler = distributed.DistributedSampler("abcde", 1, 0)
        >>> first = list(sampler)
        >>> sampler.set_epoch(1)
        >>> first == list(sampler)
        False
        """
        self.epoch = epoch


class DistributedBatchSampler(Sampler):
    """Each batch of a single process, divided: rank r reads the r-th part.

    The parts of a batch lie end to end and differ by at most one sample, later ranks having the larger ones. Every rank
    gets the batches as rank 0 draws them, so the order of a single process with rank 0's seed is kept, and with it what an
    interrupted epoch has read, whatever the number of processes that resume it.

    Args:
        batch_sampler: an iterable of lists of indices, with a length, such as a `BatchSampler`.
        num_replicas: how many processes; those of the job if None. Given here, nothing is exchanged: the order must be
            the same in all processes by itself.
        rank: which of them; this one if None.

    Raises:
        ShapeError: no such rank; a batch with fewer samples than there are processes, which leaves one without.

    >>> from autograd_ff import data, distributed
    >>> whole = data.BatchSampler(range(7), batch_size=4, drop_last=False)
    >>> [list(distributed.DistributedBatchSampler(whole, 2, rank)) for rank in (0, 1)]
    [[[0, 1], [4]], [[2, 3], [5, 6]]]
    """

    def __init__(
        self, batch_sampler: Iterable[Any], num_replicas: int | None = None, rank: int | None = None
    ) -> None:  # fmt: skip
        self.batch_sampler = batch_sampler
        self.group = world() if num_replicas is None and rank is None else None
        self.num_replicas, self.rank = _place(num_replicas, rank)
        if not hasattr(batch_sampler, "__len__"):
            raise ShapeError(
                f"a batch_sampler of unknown length cannot be divided: {type(batch_sampler).__name__} has no __len__{here()}"
            )
        if isinstance(batch_sampler, BatchSampler) and isinstance(batch_sampler.sampler, Sized):
            rest = len(batch_sampler.sampler) % batch_sampler.batch_size
            sizes = [batch_sampler.batch_size] + ([rest] if rest and not batch_sampler.drop_last else [])
            for size in sizes:
                self._check(size, "each" if size == batch_sampler.batch_size else "the last")

    def _check(self, size: int, which: str) -> None:
        if size < self.num_replicas:
            raise ShapeError(
                f"{which} batch has {size} samples, and there are {self.num_replicas} processes: some would have none.{here()}\n"
                "  Use another batch size, or drop_last=True."
            )

    def __iter__(self) -> Iterator[Any]:
        batches = self.batch_sampler
        if self.group is not None and self.group.size > 1:
            # Drawn in every process, so that their generators go on alike; rank 0's count.
            drawn = list(batches)
            batches = from_rank(drawn, 0, self.group, "the order of a DistributedBatchSampler")
        for batch in batches:
            self._check(len(batch), "a")
            yield batch[part_of(len(batch), self.num_replicas, self.rank)]

    def __len__(self) -> int:
        return len(self.batch_sampler)  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        """Hand on to the sampler inside, where it has a ``set_epoch`` of its own.

        >>> from autograd_ff import data, distributed
        >>> distributed.DistributedBatchSampler(data.BatchSampler(range(4), 2, False), 2, 0).set_epoch(1)
        """
        for one in (self.batch_sampler, getattr(self.batch_sampler, "sampler", None)):
            action = getattr(one, "set_epoch", None)
            if action is not None:
                action(epoch)


def part_of(size: int, ranks: int, rank: int) -> slice:
    """Where the part of a rank lies among ``size`` samples.

    >>> [part_of(7, 3, rank) for rank in range(3)]
    [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
    """
    return slice(rank * size // ranks, (rank + 1) * size // ranks)


def distribute_loader(loader: DataLoader, num_replicas: int | None = None, rank: int | None = None) -> DataLoader:
    """A loader of this process's part of each batch of an ordinary one; see `DistributedBatchSampler`.

    Args:
        loader: as a single process has it, with the batch size of all processes together.
        num_replicas, rank: see `DistributedBatchSampler`.

    Raises:
        DistributedError: a loader whose order the processes could not divide, of an `IterableDataset` or without batches.

    >>> import autograd_ff as af
    >>> from autograd_ff import data, distributed
    >>> loader = data.DataLoader(data.TensorDataset(af.arange(6)), batch_size=4)
    >>> [[batch.tolist() for batch, in distributed.distribute_loader(loader, 2, rank)] for rank in (0, 1)]
    [[[0, 1], [4]], [[2, 3], [5]]]
    """
    if isinstance(loader.dataset, IterableDataset):
        raise DistributedError(
            f"an IterableDataset decides its own order, so it cannot be divided from outside.{here()}\n"
            "  In its __iter__, skip what other ranks read: itertools.islice(samples, get_rank(), None, get_world_size())."
        )
    if loader.batch_sampler is None:
        raise DistributedError(f"a loader without batches (batch_size=None) has none to divide{here()}")
    if isinstance(loader.batch_sampler, DistributedBatchSampler):
        raise DistributedError(f"this loader's batches are divided already{here()}")
    sampler = DistributedBatchSampler(loader.batch_sampler, num_replicas, rank)
    return DataLoader(loader.dataset, batch_sampler=sampler, collate_fn=loader.collate_fn, generator=loader.generator)


def _place(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    group = world()
    ranks = group.size if num_replicas is None else num_replicas
    mine = group.rank if rank is None else rank
    if not 0 <= mine < ranks:
        raise ShapeError(f"there is no rank {mine} among {ranks}{here()}")
    return ranks, mine
