"""What all random transforms of images have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...engine import TensorCore, here, wrap
from ...engine.tensor import note_read
from ...errors import DtypeError, ShapeError
from ...functions import Tensor

__all__ = ["RandomTransform", "check_probability", "fill_column", "pair", "untracked"]


class RandomTransform:
    """Base class of transforms that draw random parameters for each image, as torchvision's ``v2.Transform`` is.

    A subclass defines two methods, which see images as (B, C, H, W):

    - ``make_params(images)`` draws: a dict whose values have an entry for each image. It takes the numbers for one image
      from the generator before those for the next, so that a batch draws what its images draw one by one.
    - ``transform(images, params)`` gives the images that these parameters make, without writing into its input.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.random import source
    >>> class RandomBrightness(RandomTransform):
    ...     def make_params(self, images):
    ...         return {"factor": source(self.generator).uniform(0.5, 1.0, len(images))}
    ...     def transform(self, images, params):
    ...         return images * params["factor"][:, None, None, None].astype(images.dtype)
    >>> dimmed = RandomBrightness()(af.ones(64, 1, 28, 28))
    >>> dimmed.shape, bool((dimmed.amax((1, 2, 3)) <= 1).all())
    ((64, 1, 28, 28), True)
    """

    def __init__(self, generator: Any = None) -> None:
        self.generator = generator

    def make_params(self, images: np.ndarray) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define make_params(self, images)")

    def transform(self, images: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} does not define transform(self, images, params)")

    def options(self) -> dict[str, Any]:
        """What `repr` shows."""
        return {}

    def __call__(self, img: Any) -> Tensor:
        array = untracked(img, type(self).__name__)
        if array.ndim not in (2, 3, 4):
            raise ShapeError(
                f"{type(self).__name__} takes images of shape (H, W), (C, H, W) or (B, C, H, W), got {array.shape}{here()}"
            )
        made = self._run(array.reshape((1,) * (4 - array.ndim) + array.shape))
        result: Tensor = wrap(made.reshape(made.shape[4 - array.ndim :]))
        return result

    def batched(self) -> Callable[[np.ndarray], np.ndarray] | None:
        return self._many

    def _many(self, images: np.ndarray) -> np.ndarray:
        if images.ndim not in (3, 4):
            raise ShapeError(
                f"{type(self).__name__} takes images of shape (H, W) or (C, H, W), got {images.shape[1:]}{here()}"
            )
        made = self._run(images if images.ndim == 4 else images[:, None])
        return made if images.ndim == 4 else made[:, 0]

    def _run(self, images: np.ndarray) -> np.ndarray:
        if images.dtype.kind not in "biuf":
            raise DtypeError(f"{type(self).__name__} takes images of real numbers, got {images.dtype}{here()}")
        if images.dtype == np.uint8 and images.shape[3] in (3, 4) and images.shape[1] > 4:
            raise ShapeError(
                f"an image of shape {images.shape[1:]} seems to have its channels last; {type(self).__name__} takes "
                f"(C, H, W): put ToTensor() before it{here()}"
            )
        return self.transform(images, self.make_params(images))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.options().items())})"


def untracked(data: Any, name: str) -> np.ndarray:
    """The array of an image or a batch."""
    if not isinstance(data, TensorCore):
        return np.asarray(data)
    if data.requires_grad:
        raise DtypeError(f"{name} makes inputs of data; a tensor that requires grad is none: detach() it{here()}")
    note_read(data, "numpy")
    return data.array


def pair(name: str, value: Any, whole: bool = False) -> tuple[Any, Any]:
    """Two finite numbers, integers where ``whole``."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)) or len(value) != 2:
        raise ShapeError(f"{name} is a pair of numbers, got {value!r}{here()}")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, kinds) or not math.isfinite(number):
            raise ShapeError(f"{name} is a pair of {'integers' if whole else 'numbers'}, got {value!r}{here()}")
    return (int(value[0]), int(value[1])) if whole else (float(value[0]), float(value[1]))


def check_probability(name: str, p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float, np.number)) or not 0 <= p <= 1:
        raise ShapeError(f"{name} is a probability, from 0 to 1, got {p!r}{here()}")
    return float(p)


def fill_column(name: str, fill: Any, images: np.ndarray) -> np.ndarray:
    """The value to fill with, one number or one for each channel, in the images' dtype and shaped to broadcast."""
    wanted = np.asarray(fill)
    if wanted.ndim > 1 or wanted.dtype.kind not in "biuf" or wanted.size not in (1, images.shape[1]):
        raise ShapeError(f"{name} is a number, or one for each of the {images.shape[1]} channels, got {fill!r}{here()}")
    column = wanted.reshape(-1, 1, 1)
    if images.dtype.kind != "f":
        low, high = (0, 1) if images.dtype.kind == "b" else (np.iinfo(images.dtype).min, np.iinfo(images.dtype).max)
        if not np.all((column >= low) & (column <= high) & (column == np.rint(column))):
            raise DtypeError(
                f"{name}={fill!r} is no value of a pixel of {images.dtype} ({low} … {high}); images of numbers in 0 … 1 "
                f"are made by ToTensor(){here()}"
            )
    return column.astype(images.dtype)
