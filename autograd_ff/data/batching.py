"""Reading a whole batch at once instead of sample by sample.

A dataset (paired with ``__getitem__``), a transform (paired with ``__call__``) or a sampler (paired with ``__iter__``)
may also define a method that does the same work for many samples in one go. For datasets and transforms it is
``batched()``:

- ``dataset.batched()`` returns a function from an integer array of indices to the collated batch, or None;
- ``transform.batched()`` returns a function from an array of samples stacked along a new first axis to the array of
  transformed samples, or None. The function owns its argument and may overwrite it.

None means that there is no such shortcut right now (a transform inside has none, say). What ``batched()`` gives equals,
bit for bit, what the samples give one by one; `DataLoader` takes it where it is there.

For random transforms this holds of each one from the same state of its generator: a batch draws the numbers for its first
image, then those for the second, and so on, as its images would one by one. Where several draw from one generator (those
of a `Compose` from the default one, say), a batch takes the numbers of all its images for the first transform before those
for the second, so the same seed gives other numbers than one by one: every image still gets draws of its own, independent
and from the same distributions. A batch of one image equals that image alone always. To have the same bits in both ways
give each transform a generator of its own.

A collate function that is an object may also define ``after_collate(batch)`` (paired with ``__call__``): of what
`default_collate` makes of the samples, it gives what the call gives of the samples. Batches are then read at once too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["batched", "has_batch_form"]


def has_batch_form(thing: Any, single: str, many: str = "batched") -> bool:
    """Whether the method ``many`` of ``thing`` stands for the very method ``single`` that ``thing`` has.

    A subclass that overrides ``single`` alone has changed what a sample is, so the inherited ``many`` no longer holds.

    >>> class Double:
    ...     def __call__(self, x):
    ...         return 2 * x
    ...     def batched(self):
    ...         return self
    >>> class Triple(Double):
    ...     def __call__(self, x):
    ...         return 3 * x
    >>> has_batch_form(Double(), "__call__"), has_batch_form(Triple(), "__call__")
    (True, False)
    """
    for ancestor in type(thing).__mro__:
        if many in vars(ancestor):
            return True
        if single in vars(ancestor):
            return False
    return False


def batched(thing: Any, single: str) -> Callable[[Any], Any] | None:
    """The function that does for a batch what ``single`` does for a sample, or None."""
    return thing.batched() if has_batch_form(thing, single) else None
