"""Transforms of samples, under torchvision's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import TensorCore, get_default_dtype, here, wrap
from ..errors import DtypeError, ShapeError
from ..functions import Tensor
from .batching import batched

__all__ = ["Compose", "Lambda", "Normalize", "ToTensor"]


class Compose:
    """One transform after another.

    >>> Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    Compose(
        ToTensor()
        Normalize(mean=(0.1307,), std=(0.3081,))
    )
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def batched(self) -> Callable[[np.ndarray], np.ndarray] | None:
        functions = [batched(transform, "__call__") for transform in self.transforms]
        if None in functions:
            return None

        def run(images: np.ndarray) -> np.ndarray:
            for function in functions:
                images = function(images)  # type: ignore[misc]
            return images

        return run

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *(f"    {transform!r}" for transform in self.transforms), ")"])


class ToTensor:
    """An image as a Tensor, channels first: uint8 in 0 … 255 becomes the default float dtype in 0 … 1.

    Takes arrays, Tensors and PIL images (anything that `numpy.asarray` reads) of shape (H, W) or (H, W, C); gives a
    Tensor of shape (1, H, W) or (C, H, W). uint8 values are divided by 255, booleans become 0 and 1, other dtypes keep
    their values.

    Raises:
        ShapeError: the image has not 2 or 3 dimensions.

    >>> import numpy as np
    >>> ToTensor()(np.array([[0, 255], [255, 0]], dtype=np.uint8))
    tensor([[[0., 1.],
             [1., 0.]]])
    """

    def __call__(self, pic: Any) -> Tensor:
        array = pic.array if isinstance(pic, TensorCore) else np.asarray(pic)
        if isinstance(pic, TensorCore) and pic.requires_grad:
            raise DtypeError(f"ToTensor makes inputs of data; a tensor that requires grad is none{here()}")
        if array.ndim not in (2, 3):
            raise ShapeError(f"ToTensor takes an image of shape (H, W) or (H, W, C), got {array.shape}{here()}")
        made: Tensor = wrap(_images_to_floats(array[None])[0])
        return made

    def batched(self) -> Callable[[np.ndarray], np.ndarray] | None:
        return _images_to_floats

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _images_to_floats(images: np.ndarray) -> np.ndarray:
    """(B, H, W) or (B, H, W, C) as (B, C, H, W), in memory of its own."""
    if images.ndim not in (3, 4):
        raise ShapeError(f"ToTensor takes images of shape (H, W) or (H, W, C), got {images.shape[1:]}{here()}")
    dtype = images.dtype
    if dtype.kind not in "biuf":
        raise DtypeError(f"ToTensor takes images of numbers, got {dtype}{here()}")
    channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    if dtype != np.uint8 and dtype.kind != "b":
        return np.array(channels_first, order="C")
    floats = channels_first.astype(get_default_dtype(), order="C")
    if dtype == np.uint8:
        floats /= floats.dtype.type(255)  # not times 1/255, which rounds 126 of the 256 values otherwise
    return floats


class Normalize:
    """Subtract a mean and divide by a standard deviation, channel by channel: ``(x - mean) / std``.

    Args:
        mean, std: a number each, or one per channel.
        inplace: write the result into the input.

    Takes a floating Tensor (or array) of shape (…, C, H, W) and gives a Tensor of the same shape and dtype.

    Raises:
        ShapeError: a standard deviation is zero, or there are more or fewer numbers than channels.
        DtypeError: the input is not floating.

    >>> import autograd_ff as af
    >>> Normalize(mean=0.5, std=0.25)(af.tensor([[[0.0, 0.5, 1.0]]]))
    tensor([[[-2.,  0.,  2.]]])
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], inplace: bool = False) -> None:
        self.mean = mean
        self.std = std
        self.inplace = inplace
        if np.ndim(mean) > 1 or np.ndim(std) > 1:
            raise ShapeError(f"mean and std are numbers or flat sequences of them, got {mean!r} and {std!r}{here()}")
        if not np.all(np.asarray(std)):
            raise ShapeError(f"a standard deviation of zero would divide by zero, got std={std!r}{here()}")

    def __call__(self, tensor: Any) -> Tensor:
        array = tensor.array if isinstance(tensor, TensorCore) else np.asarray(tensor)
        mean, std = self._columns(array)
        if self.inplace:
            made: Tensor = tensor if isinstance(tensor, Tensor) else wrap(array)
            made -= wrap(mean)
            made /= wrap(std)
            return made
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            return (tensor - wrap(mean)) / wrap(std)
        array = np.subtract(array, mean)
        array /= std
        return wrap(array)

    def batched(self) -> Callable[[np.ndarray], np.ndarray] | None:
        return self._overwrite

    def _overwrite(self, images: np.ndarray) -> np.ndarray:
        mean, std = self._columns(images)
        images -= mean
        images /= std
        return images

    def _columns(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation in the dtype of the images, shaped to broadcast over their channels."""
        if images.dtype.kind != "f":
            raise DtypeError(f"Normalize takes floating images, got {images.dtype}; put ToTensor() before it{here()}")
        if images.ndim < 3:
            raise ShapeError(f"Normalize takes images of shape (…, C, H, W), got {images.shape}{here()}")
        columns = []
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            column = np.asarray(numbers, dtype=images.dtype).reshape(-1, 1, 1)
            if len(column) not in (1, images.shape[-3]):
                raise ShapeError(
                    f"Normalize has {len(column)} numbers in {name} for the {images.shape[-3]} channels of images of "
                    f"shape {images.shape}{here()}"
                )
            columns.append(column)
        if not columns[1].all():
            raise ShapeError(f"std={self.std!r} is zero in {images.dtype} and would divide by zero{here()}")
        return columns[0], columns[1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


class Lambda:
    """A function of one's own as a transform; it sees one sample at a time.

    >>> Lambda(lambda image: image.flatten())
    Lambda()
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise DtypeError(f"Lambda takes a function, got {type(lambd).__name__}{here()}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
