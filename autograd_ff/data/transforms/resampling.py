"""Reading images at other places than their pixels."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError

__all__ = ["InterpolationMode", "inverse_matrices", "resample"]

# Coordinates are multiples of this part of a pixel, so that adding a sample's place in the batch rounds nothing: an image
# becomes the same alone and in any batch. It also makes quarter turns exact.
_GRAIN = 2.0**-30


class InterpolationMode(Enum):
    """How a value between pixels is found: that of the nearest pixel, or blended from the four around it.

    >>> InterpolationMode("bilinear")
    <InterpolationMode.BILINEAR: 'bilinear'>
    """

    NEAREST = "nearest"
    BILINEAR = "bilinear"

    @classmethod
    def of(cls, value: Any) -> InterpolationMode:
        """The mode itself, or by its name. torchvision's own are told by their names."""
        name = getattr(value, "value", value)
        for mode in cls:
            if mode.value == name:
                return mode
        raise ShapeError(f'interpolation is "nearest" or "bilinear", got {value!r}{here()}')

    def __str__(self) -> str:
        return self.value


def inverse_matrices(
    angle: np.ndarray, translate: np.ndarray, scale: np.ndarray, shear: np.ndarray, center: tuple[float, float]
) -> np.ndarray:
    """For each image the (2, 3) matrix that says which place of the input, in x and y from its middle, a place of the
    output shows.

    The map from input to output shears, scales, turns clockwise by ``angle`` degrees about ``center`` (in x and y from the
    middle), and shifts, in this order::

        T(translate) C R(angle) Y(shear y) X(shear x) S(scale) C⁻¹,  X = [1, -tan; 0, 1],  Y = [1, 0; -tan, 1]

    Args:
        angle, scale: (B,).
        translate, shear: (B, 2), in pixels and degrees, x before y.
    """
    turn, slant_x, slant_y = np.radians(angle), np.radians(shear[:, 0]), np.radians(shear[:, 1])
    cos, sin, across, down = np.cos(turn), np.sin(turn), -np.tan(slant_x), -np.tan(slant_y)
    # The rows of R Y X, whose determinant is 1, so that its inverse is [d, -b; -c, a].
    a, c = cos - sin * down, sin + cos * down
    b, d = a * across - sin, c * across + cos
    linear = np.array([[d, -b], [-c, a]]).transpose(2, 0, 1) / scale[:, None, None]
    middle = np.asarray(center)
    shift = middle - np.einsum("bij,bj->bi", linear, middle + translate)
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def resample(
    images: np.ndarray, matrices: np.ndarray, interpolation: InterpolationMode, fill: np.ndarray
) -> np.ndarray:
    """Images (B, C, H, W) as the inverse matrices (B, 2, 3) move them; ``fill`` (C or 1, 1, 1) is what lies outside."""
    from scipy import ndimage

    count, channels, height, width = images.shape
    if not images.size:
        return images.copy()
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    matrices = np.rint(matrices / _GRAIN) * _GRAIN
    # Images stand on top of each other in one tall picture, each in a frame of one pixel to fill with, and what lies
    # further out is read there. One call then reads all of them.
    places = np.empty((2, count, height, width))
    for place, row, size in zip(places, (matrices[:, 1], matrices[:, 0]), (height, width), strict=True):
        along, upright, shift = row.T[:, :, None, None]
        np.add(along * x, upright * y[:, None] + (shift + (size - 1) / 2), out=place)
        np.clip(place, -1, size, out=place)
        place += 1
    places[0] += (np.arange(count) * (height + 2.0))[:, None, None]
    work = np.result_type(images.dtype, np.float32)
    framed = np.empty((count, height + 2, width + 2), work)
    made = np.empty(images.shape, work)
    for channel in range(channels):
        framed[...] = fill[channel % len(fill)]
        framed[:, 1:-1, 1:-1] = images[:, channel]
        tall = framed.reshape(count * (height + 2), width + 2)
        order = 0 if interpolation is InterpolationMode.NEAREST else 1
        ndimage.map_coordinates(tall, places, output=made[:, channel], order=order, mode="nearest", prefilter=False)
    if images.dtype.kind != "f":
        np.rint(made, out=made)
    return made.astype(images.dtype, copy=False)
