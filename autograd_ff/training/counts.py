"""Checking arguments that count epochs, batches or files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import here
from ..errors import ShapeError

__all__ = ["check_counts"]


def check_counts(also: str = "", **counts: Any) -> None:
    """Refuse what is neither a positive integer nor None.

    Args:
        also: what else they may be, for the message.

    >>> check_counts(epochs=3, steps=None)
    """
    for name, count in counts.items():
        if count is not None and (isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1):
            raise ShapeError(f"{name} has to be a positive integer{also}, got {count!r}{here()}")
