"""Sequences of unequal lengths as one tensor, with a mask that tells tokens from padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..engine import here, wrap
from ..errors import ShapeError
from ..functions.tensor import Tensor

__all__ = ["Batch", "pad_batch"]


class Batch(NamedTuple):
    """A batch of texts, in the order of the arguments that models take: ``model(*batch)``.

    Attributes:
        input_ids: (batch, length), int64.
        attention_mask: (batch, length), int64, 1 where there is a token, 0 where there is padding.
        token_type_ids: (batch, length), int64, 1 in the second text of a pair; None of single texts.

    >>> from autograd_ff.text import pad_batch
    >>> pad_batch([[5, 6, 7], [8]]).attention_mask.tolist()
    [[1, 1, 1], [1, 0, 0]]
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor | None = None


def pad_batch(
    sequences: Sequence[Any],
    pad: int = 0,
    *,
    length: int | None = None,
    multiple_of: int = 1,
    side: str = "right",
    types: Sequence[Any] | None = None,
) -> Batch:
    """Sequences of whole numbers as one tensor, filled up with ``pad``.

    Args:
        sequences: lists or arrays of whole numbers.
        pad: what to fill up with.
        length: of all; that of the longest if None.
        multiple_of: make the length a multiple of this.
        side: where the padding goes, ``"right"`` or ``"left"``; generating wants it on the left.
        types: token types, of the same lengths, padded with 0.

    Raises:
        ShapeError: a sequence is longer than ``length``.

    >>> from autograd_ff.text import pad_batch
    >>> pad_batch([[5, 6, 7], [8]], side="left").input_ids.tolist()
    [[5, 6, 7], [0, 0, 8]]
    """
    if side not in ("left", "right"):
        raise ShapeError(f"padding goes to the left or the right, not to {side!r}{here()}")
    lengths = [len(one) for one in sequences]
    longest = max(lengths, default=0)
    if length is not None and longest > length:
        raise ShapeError(f"a sequence has {longest} numbers, more than length={length}; cut it first{here()}")
    wide = -(-(longest if length is None else length) // multiple_of) * multiple_of
    ids = np.full((len(lengths), wide), pad, np.int64)
    mask = np.zeros((len(lengths), wide), np.int64)
    kinds = None if types is None else np.zeros((len(lengths), wide), np.int64)
    for row, one in enumerate(sequences):
        part = slice(0, lengths[row]) if side == "right" else slice(wide - lengths[row], wide)
        ids[row, part] = np.asarray(one, np.int64)
        mask[row, part] = 1
        if kinds is not None and types is not None:
            kinds[row, part] = np.asarray(types[row], np.int64)
    return Batch(wrap(ids), wrap(mask), None if kinds is None else wrap(kinds))
