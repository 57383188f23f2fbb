"""What all processes have to have in common is compared before it would make them wait for each other for ever."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any

from ..engine import here
from ..errors import DistributedError
from .collectives import gathered
from .group import ProcessGroup, world

__all__ = ["agree", "agree_on_batches"]

SHOWN = 3


def agree(what: str, lines: Sequence[Any], group: ProcessGroup | None = None) -> None:
    """Raise on every rank if the ranks do not all have equal lines, and say which and how.

    What is sent is a digest; only where the digests differ the lines themselves.

    Args:
        what: what the lines are of, for the error.
        lines: anything whose text says it all, such as ``("fc.weight", "float32", (128, 784))``.
        group: the processes; all of them if None.

    Raises:
        DistributedError: they differ; the message names the ranks and their first differences.

    >>> from autograd_ff import distributed
    >>> distributed.agree("the number of batches", [10])
    """
    group = group or world()
    if group.size == 1:
        return
    texts = [str(line) for line in lines]
    name = f"comparison of {what}"
    digests = gathered(hashlib.sha256("\n".join(texts).encode()).hexdigest(), group, name)
    if len(set(digests)) == 1:
        return
    everyones = gathered(texts, group, name)
    message = [f"the ranks differ in {what}:"]
    for rank in range(1, group.size):
        if everyones[rank] != everyones[0]:
            message += _differences(everyones[0], everyones[rank], rank)
    raise DistributedError("\n  ".join(message) + here())


def agree_on_batches(loader: Any, group: ProcessGroup | None = None) -> None:
    """Raise on every rank if their loaders do not have equally many batches: the one with more would wait for ever.

    Call it before an epoch. A loader without a length passes only where no rank's has one.

    Args:
        loader: this process's, a `DataLoader` or anything else with batches.
        group: the processes; all of them if None.

    Raises:
        DistributedError: they differ; the message says what each rank has.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> distributed.agree_on_batches(af.data.DataLoader([1.0, 2.0, 3.0], batch_size=2))
    """
    try:
        count = f"{len(loader)} batches"
    except TypeError:
        count = "batches without number"
    samples = getattr(getattr(loader, "sampler", None), "__len__", lambda: None)
    with contextlib.suppress(TypeError):
        if (number := samples()) is not None:
            count += f" of {number} samples"
    agree("the number of batches", [count], group)


def _differences(first: list[str], other: list[str], rank: int) -> list[str]:
    found = []
    for place in range(max(len(first), len(other))):
        ours = first[place] if place < len(first) else "nothing"
        theirs = other[place] if place < len(other) else "nothing"
        if ours != theirs:
            found.append(f"rank 0 has {ours}, rank {rank} has {theirs}")
    more = len(found) - SHOWN
    return found[:SHOWN] + ([f"and {more} more differences between ranks 0 and {rank}"] if more > 0 else [])
