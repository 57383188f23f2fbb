"""The data of most examples: the first so many images of MNIST, as arrays."""

from __future__ import annotations

import numpy as np

from autograd_ff import datasets

__all__ = ["MEAN", "STD", "digits"]

MEAN, STD = 0.1307, 0.3081  # of all pixels of the training images, from 0 to 1


def digits(samples: int | None = None, train: bool = True, flat: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The first images of MNIST's training or test part, with mean 0 and deviation 1 over all pixels, and their labels.

    Args:
        samples: how many; all where it is None.
        train: of the 60,000 to train on, or of the 10,000 to test on.
        flat: images as rows (samples, 784), else as (samples, 1, 28, 28).

    >>> images, labels = digits(5)
    >>> images.shape, images.dtype, labels.tolist()
    ((5, 784), dtype('float32'), [5, 0, 4, 1, 9])
    """
    data = datasets.MNIST(train=train)
    images = data.data.numpy()[:samples].astype(np.float32)
    images = (images / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return images.reshape((-1, 784) if flat else (-1, 1, 28, 28)), data.targets.numpy()[:samples].copy()
