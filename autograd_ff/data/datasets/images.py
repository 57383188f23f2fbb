"""MNIST, which comes with the package, and Fashion-MNIST, read from a folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...engine import TensorCore, wrap
from ...errors import FileFormatError
from ...functions import Tensor
from .. import idx
from ..batching import batched
from ..dataset import Dataset, check_index

__all__ = ["MNIST", "FashionMNIST"]

Split = tuple[np.ndarray, np.ndarray]


class LabelledImages(Dataset[tuple[Any, Any]]):
    """Images with a class each, in memory.

    Attributes:
        data: uint8 Tensor (n, height, width).
        targets: int64 Tensor (n,).
    """

    classes: list[str] = []

    def __init__(
        self,
        data: Tensor,
        targets: Tensor,
        train: bool,
        transform: Callable[[Any], Any] | None,
        target_transform: Callable[[Any], Any] | None,
        root: Any,
    ) -> None:
        self.data = data
        self.targets = targets
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        self.root = root

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        position = check_index(index, len(self), self)
        image: Any = wrap(_array(self.data)[position])
        target: Any = int(_array(self.targets)[position])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def batched(self) -> Callable[[np.ndarray], list[Tensor]] | None:
        pixels, labels = _array(self.data), _array(self.targets)
        if self.target_transform is not None or labels.dtype != np.int64 or pixels.shape[:1] != labels.shape:
            return None
        if self.transform is None:
            return lambda indices: [wrap(pixels[indices]), wrap(labels[indices])]
        transform = batched(self.transform, "__call__")
        if transform is None:
            return None
        return lambda indices: [wrap(transform(pixels[indices])), wrap(labels[indices])]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            lines.append(f"Root location: {os.fspath(self.root)}")
        lines.append(f"Split: {'Train' if self.train else 'Test'}")
        if self.transform is not None:
            lines.append("Transform: " + repr(self.transform).replace("\n", "\n               "))
        if self.target_transform is not None:
            lines.append("Target transform: " + repr(self.target_transform).replace("\n", "\n" + " " * 22))
        return "\n    ".join(lines)


def _array(value: Any) -> np.ndarray:
    return value.array if isinstance(value, TensorCore) else np.asarray(value)


# ---------------------------------------------------------------- MNIST

PACKAGED = "autograd_ff.data.mnist"
SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}


def file_names(train: bool) -> tuple[str, str]:
    """The names that the files of a split were published under, without ``.gz``: images, labels."""
    split = "train" if train else "t10k"
    return f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"


def packaged_file(name: str) -> bytes:
    """The bytes of an MNIST file of the package, checked against its SHA-256."""
    import hashlib
    import importlib.resources

    data = (importlib.resources.files(PACKAGED) / name).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256[name]:
        raise FileFormatError(
            f"the packaged MNIST file {name} is damaged: its SHA-256 is {found}, where {SHA256[name]} is expected; "
            "install autograd_ff again"
        )
    return data


@functools.cache
def packaged_split(train: bool) -> Split:
    """Images and labels of a split, read-only; read once in a process, whoever asks."""
    images, labels = (idx.parse(packaged_file(name + ".gz"), name + ".gz") for name in file_names(train))
    return checked(images, labels, "the packaged MNIST")


def checked(images: np.ndarray, labels: np.ndarray, where: str) -> Split:
    """Images and labels as the datasets hold them, if they belong together."""
    if images.dtype != np.uint8 or images.ndim != 3 or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise FileFormatError(
            f"{where}: expected uint8 images of shape (n, height, width) and n integer labels, found {images.dtype} of "
            f"shape {images.shape} and {labels.dtype} of shape {labels.shape}"
        )
    if len(images) != len(labels):
        raise FileFormatError(f"{where}: there are {len(images)} images, but {len(labels)} labels")
    if len(labels) and not (labels.min() >= 0 and labels.max() <= 9):
        raise FileFormatError(f"{where}: labels have to be in 0 … 9, found {labels.min()} … {labels.max()}")
    targets = labels.astype(np.int64)
    targets.flags.writeable = False
    return images, targets


class MNIST(LabelledImages):
    """The MNIST handwritten digits: 60,000 images of 28 × 28 pixels to train on, 10,000 to test.

    The data is part of the package, so nothing is ever downloaded and no folder is needed.

    Args:
        root: accepted so that programs run unchanged, and without effect: the packaged data is used.
        train: the training images, or the test images.
        transform: applied to each image, a uint8 Tensor (28, 28) (torchvision hands over a PIL image);
            `transforms.ToTensor()` makes float32 (1, 28, 28) in 0 … 1 of it.
        target_transform: applied to each label, an integer.
        download: accepted, and without effect.

    Attributes:
        data: uint8 Tensor (n, 28, 28), read-only: all datasets of a process share it. ``dataset.data =
            dataset.data.clone()`` makes it one's own.
        targets: int64 Tensor (n,), read-only as well.
        classes: the names of the classes.

    Sample i is ``(image, label)``; without a transform the image is the uint8 Tensor itself.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
    The data is licensed under CC BY-SA 3.0 by Yann LeCun and Corinna Cortes.

    >>> dataset = MNIST(train=False)
    >>> len(dataset), dataset.data.shape, dataset[0][1]
    (10000, (10000, 28, 28), 7)
    """

    classes = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four",
        "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    ]  # fmt: skip

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        images, targets = packaged_split(bool(train))
        super().__init__(wrap(images), wrap(targets), train, transform, target_transform, root)


# ---------------------------------------------------------------- Fashion-MNIST


class FashionMNIST(LabelledImages):
    """Fashion-MNIST: Zalando's articles of clothing, in the format and the sizes of MNIST.

    Args:
        root: a folder with the four files ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
            ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, with or without ``.gz``, in the folder itself or,
            as torchvision lays them out, in its ``FashionMNIST/raw``. On Debian and Ubuntu the package
            ``dataset-fashion-mnist`` installs them to ``/usr/share/datasets/fashion-mnist``.
        train, transform, target_transform: as in `MNIST`.
        download: accepted, and without effect: nothing is downloaded.

    Raises:
        FileNotFoundError: the files are not there; the message names them and says where they come from.
        FileFormatError: a file is damaged, or images and labels do not belong together.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", 2017, arXiv:1708.07747 (MIT licence).

    >>> FashionMNIST.classes[:3]
    ['T-shirt/top', 'Trouser', 'Pullover']
    """

    classes = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        names = file_names(train)
        images, labels = (idx.read_idx(path) for path in find_files(root, names))
        data, targets = checked(images, labels, os.fspath(root))
        super().__init__(wrap(data), wrap(targets), train, transform, target_transform, root)


def find_files(root: str | os.PathLike[str], names: tuple[str, str]) -> list[Path]:
    """Where the files lie under ``root``."""
    top = Path(root).expanduser()
    for folder in (top, top / "FashionMNIST" / "raw"):
        # Plain before compressed: torchvision leaves both, and the plain one needs no work.
        found = [
            next((folder / (name + end) for end in ("", ".gz") if (folder / (name + end)).is_file()), None)
            for name in names
        ]
        if None not in found:
            return [path for path in found if path is not None]
    raise FileNotFoundError(
        f"Fashion-MNIST is not in {top}: expected {names[0]} and {names[1]} (each with or without .gz) there or in "
        f"{top / 'FashionMNIST' / 'raw'}.\n"
        "  On Debian and Ubuntu `apt install dataset-fashion-mnist` puts them into /usr/share/datasets/fashion-mnist; "
        "elsewhere take them from https://github.com/zalandoresearch/fashion-mnist (data/fashion)."
    )
