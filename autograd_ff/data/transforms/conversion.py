"""From images to Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...engine import get_default_dtype, here, wrap
from ...errors import DtypeError, ShapeError
from ...functions import Tensor
from .images import untracked

__all__ = ["ToTensor"]


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
        array = untracked(pic, "ToTensor")
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
