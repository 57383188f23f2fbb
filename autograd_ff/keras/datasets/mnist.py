"""The MNIST digits, from the package itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.datasets.images import packaged_split

__all__ = ["load_data"]

Arrays = tuple[np.ndarray, np.ndarray]


def load_data(path: Any = None) -> tuple[Arrays, Arrays]:
    """The MNIST handwritten digits: 60,000 images to train on and 10,000 to test, 28 × 28 grey pixels each.

    Args:
        path: accepted so that programs run unchanged, and without effect: the data is part of the package, and nothing
            is downloaded or cached.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images (n, 28, 28) of values 0 … 255 and uint8 labels (n,) of
        0 … 9, as copies that the caller may change.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.

    >>> from autograd_ff import keras
    >>> (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    >>> x_train.shape, x_train.dtype, y_test.shape, y_test[:4]
    ((60000, 28, 28), dtype('uint8'), (10000,), array([7, 2, 1, 0], dtype=uint8))
    """
    return as_keras(packaged_split(True)), as_keras(packaged_split(False))


def as_keras(split: Arrays) -> Arrays:
    """Images and labels of a split as arrays of the caller's own, both uint8."""
    images, labels = split
    return images.copy(), labels.astype(np.uint8)
