"""Batches of texts of similar lengths, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..data import Sampler
from ..engine import here
from ..errors import ShapeError
from ..functions.random import source

__all__ = ["LengthBatchSampler"]


class LengthBatchSampler(Sampler):
    """Lists of indices of similar lengths: the ``batch_sampler`` of a `DataLoader` over texts.

    Each epoch shuffles all indices, sorts them by length within windows of many batches, cuts the windows into batches
    and shuffles those. So batches differ from epoch to epoch, and each index comes once.

    Args:
        lengths: of the texts, in tokens.
        batch_size: how many make a batch, at most.
        max_tokens: how many numbers, padding included, a batch has at most (one text has its batch in any case).
        shuffle: without it, all are sorted by length, the longest first, the same in each epoch.
        window: how many batches are sorted together; more means less padding and less chance.
        drop_last: leave out batches of fewer than ``batch_size``; not with ``max_tokens``.
        generator: where the numbers come from; the default generator if None.

    Raises:
        ShapeError: sizes that are none.

    >>> from autograd_ff.data import DataLoader
    >>> from autograd_ff.text import LengthBatchSampler, pad_batch
    >>> texts = [[1], [2, 2], [3, 3, 3], [4], [5, 5, 5]]
    >>> sampler = LengthBatchSampler([len(text) for text in texts], 2, shuffle=False)
    >>> for batch in DataLoader(texts, batch_sampler=sampler, collate_fn=pad_batch):
    ...     print(batch.input_ids.tolist())
    [[3, 3, 3], [5, 5, 5]]
    [[2, 2], [1, 0]]
    [[4]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_size: int,
        *,
        max_tokens: int | None = None,
        shuffle: bool = True,
        window: int = 50,
        drop_last: bool = False,
        generator: Any = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("window", window), ("max_tokens", max_tokens)):
            if name == "max_tokens" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ShapeError(f"{name} has to be a positive integer, got {value!r}{here()}")
        self.lengths = np.asarray(lengths, np.int64)
        if self.lengths.ndim != 1 or (self.lengths < 0).any():
            raise ShapeError(f"lengths are whole numbers, 0 or more, one for each text{here()}")
        if drop_last and max_tokens is not None:
            raise ShapeError(f"with max_tokens batches differ in size, so there is none to drop{here()}")
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.shuffle = shuffle
        self.window = window
        self.drop_last = drop_last
        self.generator = generator

    def __iter__(self) -> Iterator[list[int]]:
        count = len(self.lengths)
        if not self.shuffle:
            yield from self._cut(np.argsort(-self.lengths, kind="stable"))
            return
        random = source(self.generator)
        order = random.permutation(count)
        wide = self.batch_size * self.window
        batches: list[list[int]] = []
        for start in range(0, count, wide):
            part = order[start : start + wide]
            batches += self._cut(part[np.argsort(-self.lengths[part], kind="stable")])
        for index in random.permutation(len(batches)):
            yield batches[index]

    def _cut(self, order: np.ndarray) -> list[list[int]]:
        """Batches of indices that come with the longest first."""
        batches: list[list[int]] = []
        start = 0
        while start < len(order):
            size = self.batch_size
            if self.max_tokens is not None:
                size = min(size, max(1, self.max_tokens // max(1, int(self.lengths[order[start]]))))
            batch = order[start : start + size].tolist()
            if len(batch) == self.batch_size or not self.drop_last:
                batches.append(batch)
            start += size
        return batches

    def __len__(self) -> int:
        """The number of batches in an epoch; with ``max_tokens`` and ``shuffle`` it changes, and there is none.

        Raises:
            TypeError: there is none.
        """
        if self.max_tokens is not None:
            if self.shuffle:
                raise TypeError("with max_tokens the number of batches differs from epoch to epoch")
            return sum(1 for _ in self)
        count, wide = len(self.lengths), self.batch_size * self.window
        windows = [wide] * (count // wide) + [count % wide] if self.shuffle else [count]
        return sum(one // self.batch_size if self.drop_last else -(-one // self.batch_size) for one in windows)
