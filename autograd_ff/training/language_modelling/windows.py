"""Windows of a text: batches of tokens, and of those that come after each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...data import Dataset, Sampler
from ...engine import here, wrap
from ...errors import ShapeError

__all__ = ["RandomWindows", "Windows", "held_out_windows"]


class Windows(Dataset):
    """All windows of a row of tokens: sample i is the ``context`` tokens from i on, and those that come after each.

    Args:
        ids: (tokens,), whole numbers.
        context: the length of a window.

    Raises:
        ShapeError: there are too few tokens for one window.

    >>> import numpy as np
    >>> windows = Windows(np.arange(6), 3)
    >>> len(windows), [part.tolist() for part in windows[2]]
    (3, [[2, 3, 4], [3, 4, 5]])
    """

    def __init__(self, ids: np.ndarray, context: int) -> None:
        if len(ids) < context + 1:
            raise ShapeError(
                f"the text to learn from has {len(ids):,} tokens, fewer than one window of {context} and the token after "
                f"it.{here()}\n  Take a longer text, or a shorter context."
            )
        self.ids = ids
        self.context = context

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        window = self.ids[index : index + self.context + 1]
        return wrap(window[:-1]), wrap(window[1:])

    def __len__(self) -> int:
        return len(self.ids) - self.context


class RandomWindows(Sampler):
    """Batches of windows that begin anywhere, each place as likely as another: a ``batch_sampler`` for a `DataLoader`.

    Args:
        count: how many windows there are.
        batch_size: windows in a batch.
        batches: how many batches a pass gives; they are drawn together when it begins.
        seed: of the numbers, which come from a generator of its own: windows are the same for any model.

    >>> sampler = RandomWindows(1000, 2, 3, seed=0)
    >>> [len(batch) for batch in sampler]
    [2, 2, 2]
    """

    def __init__(self, count: int, batch_size: int, batches: int, seed: int = 0) -> None:
        self.count = count
        self.batch_size = batch_size
        self.batches = batches
        self.generator = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.generator.integers(0, self.count, (self.batches, self.batch_size)).tolist())

    def __len__(self) -> int:
        return self.batches


def held_out_windows(ids: np.ndarray, context: int, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Windows side by side, and the tokens after each: every token is to be told once, the first and a rest aside.

    Args:
        ids: (tokens,), two at least.
        context: the length of a window, unless there are fewer tokens.
        most: so many at most, spread evenly over the text.

    Returns:
        Two arrays (windows, context).

    >>> import numpy as np
    >>> [part.tolist() for part in held_out_windows(np.arange(8), 3)]
    [[[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]]]
    """
    length = min(context, len(ids) - 1)
    if length < 1:
        raise ShapeError(f"the held-out text has {len(ids)} tokens; there is nothing to tell{here()}")
    starts = np.arange((len(ids) - 1) // length) * length
    if most is not None and len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).astype(np.int64)]
    places = starts[:, None] + np.arange(length)
    return ids[places], ids[places + 1]
