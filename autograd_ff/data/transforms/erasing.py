"""Erasing parts of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...engine import TensorCore, here, versions
from ...errors import DtypeError, InplaceError, ShapeError
from ...functions import Tensor
from ...functions.random import source
from .images import RandomTransform, check_probability, fill_column, pair

__all__ = ["RandomErasing"]

_TRIES = 10


class RandomErasing(RandomTransform):
    """Erase a random rectangle, with a probability.

    A rectangle has an area in the range ``scale`` and, of its height to its width, a ratio in the range ``ratio``, drawn
    on a logarithmic scale; after ten that do not fit the image stays whole. Zhong et al., "Random erasing data
    augmentation" (2020).

    Args:
        p: the probability.
        scale: the range ``(least, most)`` of the area, as a part of the image's.
        ratio: the range ``(least, most)`` of height / width.
        value: what to erase with: a number, one for each channel, or ``"random"``: normal numbers in floating images,
            0 … 255 in uint8 ones.
        inplace: write into the image that is handed over.
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    Raises:
        ShapeError: an argument out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> erased = transforms.RandomErasing(p=1.0, scale=(0.2, 0.4))(af.ones(1, 10, 10))
    >>> 10 <= int((erased == 0).sum()) <= 50
    True
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
        inplace: bool = False,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(generator)
        self.p = check_probability("p", p)
        self.scale, self.ratio = pair("scale", scale), pair("ratio", ratio)
        if not 0 <= self.scale[0] <= self.scale[1] <= 1:
            raise ShapeError(f"scale is a pair (least, most) of parts of the image, from 0 to 1, got {scale!r}{here()}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ShapeError(f"ratio is a pair (least, most) above 0, got {ratio!r}{here()}")
        if isinstance(value, str) and value != "random":
            raise ShapeError(f'value is a number, one for each channel, or "random", got {value!r}{here()}')
        self.value = value
        self.inplace = bool(inplace)

    def make_params(self, images: np.ndarray) -> dict[str, Any]:
        """``boxes``: top, left, height and width of each image's rectangle, with no height where nothing is erased;
        ``noise``: pictures to erase with, or None."""
        generator = source(self.generator)
        if not isinstance(self.value, str):
            drawn = generator.random((len(images), 3 + 2 * _TRIES))
            return {"boxes": self._boxes(drawn, *images.shape[2:]), "noise": None}
        if images.dtype.kind != "f" and images.dtype != np.uint8:
            raise DtypeError(
                f'RandomErasing(value="random") takes floating and uint8 images, got {images.dtype}{here()}'
            )
        rows, noise = [], np.empty(images.shape, images.dtype)
        for picture in noise:  # one after another, so that a batch draws what its images draw one by one
            rows.append(generator.random(3 + 2 * _TRIES))
            picture[...] = (
                generator.integers(0, 256, picture.shape, np.uint8)
                if images.dtype == np.uint8
                else generator.standard_normal(picture.shape)
            )
        drawn = np.array(rows).reshape(-1, 3 + 2 * _TRIES)
        return {"boxes": self._boxes(drawn, *images.shape[2:]), "noise": noise}

    def _boxes(self, drawn: np.ndarray, height: int, width: int) -> np.ndarray:
        """The rectangles that rows of uniform numbers make: whether, where down and across, then areas and ratios."""
        spread, logarithms = self.scale[1] - self.scale[0], [math.log(end) for end in self.ratio]
        area = (self.scale[0] + spread * drawn[:, 3 : 3 + _TRIES]) * (height * width)
        ratio = np.exp(logarithms[0] + (logarithms[1] - logarithms[0]) * drawn[:, 3 + _TRIES :])
        tall, wide = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (tall < height) & (wide < width)
        rows, first = np.arange(len(drawn)), fits.argmax(axis=1)
        h, w = tall[rows, first], wide[rows, first]
        boxes = np.stack([np.floor(drawn[:, 1] * (height - h + 1)), np.floor(drawn[:, 2] * (width - w + 1)), h, w], 1)
        boxes[~(fits.any(axis=1) & (drawn[:, 0] < self.p))] = 0
        return boxes.astype(np.intp)

    def transform(self, images: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        noise = params["noise"]
        column = fill_column("value", self.value, images) if noise is None else None
        made = images if self.inplace else images.copy()
        for number, (top, left, height, width) in enumerate(params["boxes"].tolist()):
            if height and width:
                box = (number, slice(None), slice(top, top + height), slice(left, left + width))
                made[box] = column if noise is None else noise[box]
        return made

    def __call__(self, img: Any) -> Tensor:
        if not self.inplace:
            return super().__call__(img)
        array = img.array if isinstance(img, TensorCore) else img
        if not isinstance(array, np.ndarray) or not array.flags.writeable:
            raise InplaceError(
                f"RandomErasing(inplace=True) writes into the image, and this one is read-only; leave inplace away{here()}"
            )
        made = super().__call__(img)
        versions.bump(array)
        return img if isinstance(img, Tensor) else made

    def batched(self) -> Callable[[np.ndarray], np.ndarray] | None:
        return super().batched()  # which still does what the call does

    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("p", "scale", "ratio", "value", "inplace")}
