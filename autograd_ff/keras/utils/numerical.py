"""Arrays made ready for a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine import TensorCore, here
from ...errors import DtypeError, ShapeError

__all__ = ["normalize", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows for class numbers: what ``loss="categorical_crossentropy"`` takes.

    With ``loss="sparse_categorical_crossentropy"`` the numbers themselves will do, at a fraction of the memory.

    Args:
        x: integers from 0 to ``num_classes - 1``, of any shape; a last dimension of length 1 is dropped.
        num_classes: how many columns; by default the largest number + 1.

    Returns:
        float64 array of shape ``x.shape + (num_classes,)``.

    Raises:
        ShapeError (a ValueError): a number out of range (Keras counts negative ones from the end, silently).
        DtypeError (a TypeError): values that are no integers.

    >>> from autograd_ff import keras
    >>> keras.utils.to_categorical([0, 2, 1])
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 1., 0.]])
    """
    values = x.array if isinstance(x, TensorCore) else np.asarray(x)
    if values.dtype.kind not in "iub" and not (values.dtype.kind == "f" and np.equal(values, np.rint(values)).all()):
        raise DtypeError(f"class numbers are integers, and these are {values.dtype} with other values.{here()}")
    numbers = values.astype(np.int64)
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    if not num_classes and not numbers.size:
        raise ShapeError(f"there are no class numbers to count the classes by; give num_classes=.{here()}")
    count = int(num_classes) if num_classes else int(numbers.max()) + 1
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
        raise ShapeError(
            f"class numbers lie in 0 … {count - 1} for num_classes={count}, and these in {numbers.min()} … "
            f"{numbers.max()}.{here()}"
        )
    return np.equal(numbers[..., None], np.arange(count)).astype(np.float64)


def normalize(x: Any, axis: int = -1, order: float = 2) -> np.ndarray:
    """x divided by its norms along an axis; where a norm is 0, x as it is.

    Args:
        x: an array.
        axis: along which the norms are taken.
        order: of the norm, as `numpy.linalg.norm` takes it.

    >>> from autograd_ff import keras
    >>> keras.utils.normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    array = x.array if isinstance(x, TensorCore) else np.asarray(x)
    norms = np.linalg.norm(array, order, axis, keepdims=True)
    norms[norms == 0] = 1
    return array / norms
