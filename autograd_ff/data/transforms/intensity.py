"""Transforms of the values of pixels, each where it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...engine import TensorCore, here, warn, wrap
from ...errors import DtypeError, ShapeError
from ...functions import Tensor
from ...functions.random import source
from .images import RandomTransform

__all__ = ["GaussianNoise", "Normalize"]


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


class GaussianNoise(RandomTransform):
    """Add normal noise to every pixel.

    Args:
        mean, sigma: of the noise, for pixels in 0 … 1; for uint8 pixels both are times 255.
        clip: keep the result in 0 … 1.
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    Takes floating or uint8 images of shape (H, W), (C, H, W) or, each image with noise of its own, (B, C, H, W); gives the
    same shape and dtype. It stands before `Normalize`, after which pixels are no longer in 0 … 1, or has ``clip=False``.

    Raises:
        ShapeError: sigma is negative.
        DtypeError: other integers than uint8, or uint8 with ``clip=False`` (torchvision lets those wrap around).

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> noisy = transforms.GaussianNoise(sigma=0.1)(af.full((1, 4, 4), 0.5))
    >>> noisy.shape, bool((noisy != 0.5).all())
    ((1, 4, 4), True)
    """

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True, *, generator: Any = None) -> None:
        super().__init__(generator)
        if not (isinstance(sigma, (int, float, np.number)) and 0 <= sigma < math.inf):
            raise ShapeError(f"sigma is a standard deviation, at least 0, got {sigma!r}{here()}")
        self.mean, self.sigma, self.clip = float(mean), float(sigma), bool(clip)

    def make_params(self, images: np.ndarray) -> dict[str, Any]:
        wide = np.float64 if images.dtype == np.float64 else np.float32
        return {"noise": source(self.generator).standard_normal(images.shape, wide)}

    def transform(self, images: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        dtype = images.dtype
        if dtype.kind != "f" and dtype != np.uint8:
            raise DtypeError(f"GaussianNoise takes floating and uint8 images, got {dtype}{here()}")
        full = 1.0 if dtype.kind == "f" else 255.0
        if not self.clip and dtype == np.uint8:
            raise DtypeError(
                f"uint8 pixels cannot leave 0 … 255; GaussianNoise(clip=False) needs ToTensor() before it{here()}"
            )
        if self.clip and dtype.kind == "f" and images.size and (images.min() < 0 or images.max() > 1):
            warn(
                f"GaussianNoise cuts images with pixels in {images.min():.3g} … {images.max():.3g} down to 0 … 1; "
                "put it before Normalize, or pass clip=False"
            )
        noisy = params["noise"] * (self.sigma * full)
        noisy += images
        noisy += self.mean * full
        if dtype == np.uint8:
            np.rint(noisy, out=noisy)
        if self.clip:
            np.clip(noisy, 0.0, full, out=noisy)
        return noisy.astype(dtype, copy=False)

    def options(self) -> dict[str, Any]:
        return {"mean": self.mean, "sigma": self.sigma, "clip": self.clip}
