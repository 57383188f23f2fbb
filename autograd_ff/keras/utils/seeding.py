"""One seed for all random numbers."""

from __future__ import annotations

import random

import numpy as np

from ...engine import here
from ...errors import ShapeError
from ...functions.random import manual_seed

__all__ = ["set_random_seed"]


def set_random_seed(seed: int) -> None:
    """Start all generators of random numbers from ``seed``: Python's, NumPy's and autograd_ff's.

    Initial weights, dropout and the order of the data are then the same in every run.

    Args:
        seed: an integer from 0 to 2³² - 1, which is what NumPy's global generator takes.

    Raises:
        ShapeError (a ValueError): another value.

    >>> from autograd_ff import keras
    >>> keras.utils.set_random_seed(3)
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ShapeError(f"a seed is an integer from 0 to 4294967295, not {seed!r}.{here()}")
    random.seed(int(seed))
    np.random.seed(int(seed))
    manual_seed(int(seed))
