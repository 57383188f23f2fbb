"""Datasets, the loader that makes batches of them, and transforms.

from autograd_ff import datasets, transforms
from autograd_ff.data import DataLoader

train = datasets.MNIST(train=True, transform=transforms.ToTensor())
for images, labels in DataLoader(train, batch_size=64, shuffle=True):
    ...
"""

from . import datasets, transforms
from .collate import default_collate, default_convert
from .dataset import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from .downloads import DOWNLOADS, Download, Package, fetch, locate
from .idx import read_idx
from .loader import DataLoader
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "DOWNLOADS", "BatchSampler", "ConcatDataset", "DataLoader", "Dataset", "Download", "IterableDataset", "Package", "RandomSampler",
    "Sampler", "SequentialSampler", "Subset", "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler", "datasets",
    "default_collate", "default_convert", "fetch", "locate", "random_split", "read_idx", "transforms",
]  # fmt: skip
