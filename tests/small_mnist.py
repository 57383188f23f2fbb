"""The first images of MNIST as a dataset to train on in no time; the last batch of an epoch is smaller than the rest."""

from __future__ import annotations

from autograd_ff.data import datasets

__all__ = ["TRAIN", "small_mnist"]

TRAIN, TEST = 650, 150


def small_mnist(train: bool = True, **options):
    data = datasets.MNIST(train=train, **options)
    count = TRAIN if train else TEST
    data.data, data.targets = data.data[:count], data.targets[:count]
    return data
