"""Fashion-MNIST, from where it is installed."""

from __future__ import annotations

import os
from typing import Any

from ...data.datasets import FashionMNIST
from .mnist import Arrays, as_keras

__all__ = ["INSTALLED", "load_data"]

INSTALLED = "/usr/share/datasets/fashion-mnist"  # where the package of Debian and Ubuntu puts the files


def load_data(path: str | os.PathLike[str] | None = None) -> tuple[Arrays, Arrays]:
    """Fashion-MNIST: articles of clothing in the sizes and the format of MNIST. Nothing is downloaded.

    Args:
        path: a folder with the four files as they are published (see `autograd_ff.datasets.FashionMNIST`); by default
            where ``apt install dataset-fashion-mnist`` puts them.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images (n, 28, 28) and uint8 labels (n,) of 0 … 9.

    Raises:
        FileNotFoundError: the files are not there; the message says where they come from.
        FileFormatError: a file is damaged.

    >>> from autograd_ff import keras
    >>> keras.datasets.fashion_mnist.load_data("no such folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    FileNotFoundError: Fashion-MNIST is not in no such folder: expected train-images-idx3-ubyte and ...
    """
    folder: Any = INSTALLED if path is None else path
    train, test = (FashionMNIST(folder, train=part) for part in (True, False))
    return as_keras((train.data.array, train.targets.array)), as_keras((test.data.array, test.targets.array))
