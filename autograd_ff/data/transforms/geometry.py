"""Transforms that move pixels: crops, flips, rotations, affine maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError
from ...functions.random import source
from .images import RandomTransform, check_probability, fill_column, pair
from .resampling import InterpolationMode, inverse_matrices, resample

__all__ = ["RandomAffine", "RandomCrop", "RandomHorizontalFlip", "RandomRotation"]

_PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


class RandomCrop(RandomTransform):
    """A part of the given size, from a random place of the image, which may be padded before.

    Args:
        size: height and width of the part; one integer for a square.
        padding: pixels to add: one number for all sides, two for left and right / top and bottom, or four for left, top,
            right, bottom.
        pad_if_needed: where the image is smaller than the part, pad both sides by what is missing.
        fill: the value of padded pixels, a number or one for each channel.
        padding_mode: ``"constant"``, ``"edge"`` (repeats the last pixel), ``"reflect"`` (mirrors at it) or
            ``"symmetric"`` (mirrors behind it).
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    Raises:
        ShapeError: the part is larger than the padded image, or a size or padding is out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> transforms.RandomCrop(28, padding=2)(af.zeros(1, 28, 28)).shape
    (1, 28, 28)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float | Sequence[float] = 0,
        padding_mode: str = "constant",
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(generator)
        if isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 1:
            size = size[0]
        self.size = pair("size", size if isinstance(size, Sequence) else (size, size), whole=True)
        if min(self.size) < 1:
            raise ShapeError(f"the size of a crop is at least 1, got {size!r}{here()}")
        if padding_mode not in _PADDING_MODES:
            raise ShapeError(f"padding_mode is one of {', '.join(_PADDING_MODES)}, got {padding_mode!r}{here()}")
        self.padding = padding
        self._sides = _sides(padding)
        self.pad_if_needed = bool(pad_if_needed)
        self.fill = fill
        self.padding_mode = padding_mode

    def _margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        left, top, right, bottom = self._sides
        if self.pad_if_needed:
            down = max(0, self.size[0] - (height + top + bottom))
            across = max(0, self.size[1] - (width + left + right))
            left, top, right, bottom = left + across, top + down, right + across, bottom + down
        return left, top, right, bottom

    def make_params(self, images: np.ndarray) -> dict[str, Any]:
        height, width = images.shape[2:]
        left, top, right, bottom = self._margins(height, width)
        rows, columns = height + top + bottom - self.size[0] + 1, width + left + right - self.size[1] + 1
        if rows < 1 or columns < 1:
            raise ShapeError(
                f"RandomCrop takes {self.size[0]} × {self.size[1]} pixels out of images of {height} × {width}, which are "
                f"{height + top + bottom} × {width + left + right} with their padding{here()}\n"
                "  Pass pad_if_needed=True, or a larger padding."
            )
        drawn = source(self.generator).random((len(images), 2))
        return {"top": (drawn[:, 0] * rows).astype(np.intp), "left": (drawn[:, 1] * columns).astype(np.intp)}

    def transform(self, images: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        padded = self._pad(images)
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.size, axis=(2, 3))
        parts: np.ndarray = windows[np.arange(len(images)), :, params["top"], params["left"]]
        return parts

    def _pad(self, images: np.ndarray) -> np.ndarray:
        count, channels, height, width = images.shape
        left, top, right, bottom = self._margins(height, width)
        if not (left or top or right or bottom):
            return images
        if self.padding_mode == "constant":
            padded = np.empty((count, channels, height + top + bottom, width + left + right), images.dtype)
            padded[...] = fill_column("fill", self.fill, images)
            padded[:, :, top : top + height, left : left + width] = images
            return padded
        if self.padding_mode == "reflect" and (max(top, bottom) >= height or max(left, right) >= width):
            raise ShapeError(
                f"padding by reflection needs less padding than there are pixels: {max(top, bottom)} and "
                f"{max(left, right)} at images of {height} × {width}{here()}"
            )
        sides = ((0, 0), (0, 0), (top, bottom), (left, right))
        mirrored: np.ndarray = np.pad(images, sides, mode=self.padding_mode)  # type: ignore[call-overload]
        return mirrored

    def options(self) -> dict[str, Any]:
        names = ("size", "padding", "pad_if_needed", "fill", "padding_mode")
        return {name: getattr(self, name) for name in names}


def _sides(padding: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom."""
    given = [0] if padding is None else list(padding) if isinstance(padding, Sequence) else [padding]
    if len(given) not in (1, 2, 4) or not all(type(one) is int and one >= 0 for one in given):
        raise ShapeError(f"padding is one, two or four integers from 0 up, got {padding!r}{here()}")
    left, top, right, bottom = (given * 4)[:4]
    return left, top, right, bottom


class RandomHorizontalFlip(RandomTransform):
    """Mirror an image left to right, with a probability.

    Args:
        p: the probability.
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> transforms.RandomHorizontalFlip(p=1.0)(af.tensor([[1, 2, 3]]))
    tensor([[3, 2, 1]])
    """

    def __init__(self, p: float = 0.5, *, generator: Any = None) -> None:
        super().__init__(generator)
        self.p = check_probability("p", p)

    def make_params(self, images: np.ndarray) -> dict[str, Any]:
        return {"flipped": source(self.generator).random(len(images)) < self.p}

    def transform(self, images: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        made, flipped = images.copy(), params["flipped"]
        made[flipped] = images[flipped][..., ::-1]
        return made

    def options(self) -> dict[str, Any]:
        return {"p": self.p}


class _Resampled(RandomTransform):
    """A transform that reads the image at moved places."""

    def __init__(self, interpolation: Any, center: Any, fill: Any, generator: Any) -> None:
        super().__init__(generator)
        self.interpolation = InterpolationMode.of(interpolation)
        self.center = None if center is None else pair("center", center)
        self.fill = fill

    def _move(self, images: np.ndarray, angle: Any, translate: Any, scale: Any, shear: Any) -> np.ndarray:
        height, width = images.shape[2:]
        center = (0.0, 0.0) if self.center is None else (self.center[0] - width / 2, self.center[1] - height / 2)
        matrices = inverse_matrices(angle, translate, scale, shear, center)
        return resample(images, matrices, self.interpolation, fill_column("fill", self.fill, images))


class RandomRotation(_Resampled):
    """Turn an image by a random angle.

    Args:
        degrees: the range ``(least, most)`` of the angle, counter-clockwise; one number d means (-d, d).
        interpolation: ``"nearest"`` or ``"bilinear"``, or an `InterpolationMode`.
        expand: only False: the images of a batch keep one size.
        center: what to turn about, x and y in pixels from the upper left corner; the middle by default.
        fill: the value of pixels from outside of the image, a number or one for each channel.
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    Raises:
        ShapeError: an argument out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> transforms.RandomRotation((90, 90))(af.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode | str = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: float | Sequence[float] = 0,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(interpolation, center, fill, generator)
        if expand:
            raise ShapeError(
                f"expand=True is not offered: turned images would differ in size, and a batch needs one size{here()}\n"
                "  RandomCrop(size, pad_if_needed=True) before the rotation makes room."
            )
        self.expand = False
        self.degrees = _symmetric("degrees", degrees)

    def make_params(self, images: np.ndarray) -> dict[str, Any]:
        return {"angle": source(self.generator).uniform(*self.degrees, len(images))}

    def transform(self, images: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        none = np.zeros((len(images), 2))
        return self._move(images, -params["angle"], none, np.ones(len(images)), none)

    def options(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in ("degrees", "interpolation", "expand")}
        return {**shown, **({} if self.center is None else {"center": self.center}), "fill": self.fill}


class RandomAffine(_Resampled):
    """Turn, shift, scale and shear an image at random; the middle stays where it is but for the shift.

    Args:
        degrees: the range ``(least, most)`` of the angle, clockwise as in torchvision; one number d means (-d, d).
        translate: the largest shifts, as parts of width and height. Shifts are whole pixels.
        scale: the range ``(least, most)`` of the factor.
        shear: the range of the angle of shear in degrees: along x for two numbers, along x and y for four; one number d
            means (-d, d) along x.
        interpolation: ``"nearest"`` or ``"bilinear"``, or an `InterpolationMode`.
        fill: the value of pixels from outside of the image, a number or one for each channel.
        center: what to turn and shear about, x and y in pixels from the upper left corner; the middle by default.
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    Raises:
        ShapeError: an argument out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1))(af.zeros(1, 28, 28)).shape
    (1, 28, 28)
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: InterpolationMode | str = InterpolationMode.NEAREST,
        fill: float | Sequence[float] = 0,
        center: Sequence[float] | None = None,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(interpolation, center, fill, generator)
        self.degrees = _symmetric("degrees", degrees)
        self.translate = None if translate is None else pair("translate", translate)
        if self.translate is not None and not (min(self.translate) >= 0 and max(self.translate) <= 1):
            raise ShapeError(f"translate is a pair of parts of the image, from 0 to 1, got {translate!r}{here()}")
        self.scale = None if scale is None else pair("scale", scale)
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ShapeError(f"scale is a pair (least, most) above 0, got {scale!r}{here()}")
        self.shear = shear
        self._shear = _shears(shear)

    def make_params(self, images: np.ndarray) -> dict[str, Any]:
        height, width = images.shape[2:]
        shift = (0.0, 0.0) if self.translate is None else (self.translate[0] * width, self.translate[1] * height)
        least, most = np.array(
            [
                self.degrees, (-shift[0], shift[0]), (-shift[1], shift[1]), self.scale or (1.0, 1.0), *self._shear,
            ]
        ).T  # fmt: skip
        drawn = least + (most - least) * source(self.generator).random((len(images), len(least)))
        return {"angle": drawn[:, 0], "translate": np.rint(drawn[:, 1:3]), "scale": drawn[:, 3], "shear": drawn[:, 4:]}

    def transform(self, images: np.ndarray, params: dict[str, Any]) -> np.ndarray:
        return self._move(images, params["angle"], params["translate"], params["scale"], params["shear"])

    def options(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("translate", "scale", "shear", "center")}
        given = {name: value for name, value in given.items() if value is not None}
        return {"degrees": self.degrees, **given, "interpolation": self.interpolation, "fill": self.fill}


def _symmetric(name: str, value: Any) -> tuple[float, float]:
    """The range that a pair gives, or a number d as (-d, d)."""
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        if not value >= 0:
            raise ShapeError(f"{name}, as one number, is the end of a range about 0, at least 0, got {value!r}{here()}")
        value = (-value, value)
    least, most = pair(name, value)
    if least > most:
        raise ShapeError(f"{name} is a pair (least, most), got {value!r}{here()}")
    return least, most


def _shears(shear: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges along x and y."""
    if shear is None:
        ranges = ((0.0, 0.0), (0.0, 0.0))
    elif isinstance(shear, (Sequence, np.ndarray)) and len(shear) == 4:
        ranges = (_symmetric("shear", shear[:2]), _symmetric("shear", shear[2:]))
    else:
        ranges = (_symmetric("shear", shear), (0.0, 0.0))
    if any(abs(end) >= 90 for one in ranges for end in one):
        raise ShapeError(f"an angle of shear is less than 90 degrees, got {shear!r}{here()}")
    return ranges
