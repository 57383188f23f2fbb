"""From a measured number to a fill: ramps of colours that are even to the eye, and text that stays readable on them.

A ramp is a path through the OKLab colour space (Björn Ottosson, 2020, "A perceptual color space for image processing"),
walked at constant speed: equal steps of the number are equal steps to the eye, and lightness alone tells high from low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

__all__ = ["Ramp", "Scale", "contrast", "text_on"]

_Lab = tuple[float, float, float]
_DECADES = 8.0  # a logarithmic scale leaves smaller numbers at its end


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1 between two colours ``"#RRGGBB"``: 1 to 21; body text needs 4.5.

    >>> round(contrast("#000000", "#FFFFFF")), contrast("#777777", "#777777")
    (21, 1.0)
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@lru_cache
def text_on(fill: str) -> str:
    """Black or white, whichever is easier to read; the ratio is at least 4.58 on any fill.

    >>> text_on("#FFEDC7"), text_on("#1C2E6B")
    ('#000000', '#FFFFFF')
    """
    return max(("#000000", "#FFFFFF"), key=lambda text: contrast(text, fill))


@dataclass(frozen=True)
class Ramp:
    """Colours from low to high.

    >>> ramp = Ramp(("#FFFFFF", "#000000"))
    >>> ramp.at(0.0), ramp.at(1.0)
    ('#FFFFFF', '#000000')
    """

    stops: tuple[str, ...]
    centred: bool = False  # the stop in the middle is the colour of the middle, however long the ways to it are

    @cached_property
    def _path(self) -> tuple[list[_Lab], list[float]]:
        """The stops in OKLab, and how far along the path each one lies."""
        labs = [_oklab(stop) for stop in self.stops]
        far = [0.0]
        for one, other in pairwise(labs):
            far.append(far[-1] + math.dist(one, other))
        if self.centred:
            middle = far[len(far) // 2]
            rest = far[-1] - middle
            far = [way / middle if way <= middle else 1 + (way - middle) / rest for way in far]
        return labs, far

    def at(self, position: float) -> str:
        """The colour at a position from 0 to 1."""
        labs, far = self._path
        walked = min(max(position, 0.0), 1.0) * far[-1]
        for index in range(len(labs) - 1):
            if walked <= far[index + 1] or index == len(labs) - 2:
                length = far[index + 1] - far[index]
                share = (walked - far[index]) / length if length else 0.0
                start, end = labs[index], labs[index + 1]
                return _hexadecimal(tuple(a + share * (b - a) for a, b in zip(start, end, strict=True)))  # type: ignore[arg-type]
        return self.stops[0]


@dataclass(frozen=True)
class Scale:
    """Where numbers lie on a ramp: linear, logarithmic, or linear to both sides of zero.

    >>> scale = Scale.of([1e-6, 1e-3, 1.0], "log")
    >>> [round(scale.position(number), 2) for number in (1e-6, 1e-3, 1.0)]
    [0.0, 0.5, 1.0]
    """

    low: float
    high: float
    kind: str = "linear"  # "linear", "log" or "signed"

    @classmethod
    def of(cls, numbers: Sequence[float], kind: str = "linear") -> Scale:
        """A scale that holds these numbers; those that are not finite lie at its upper end."""
        finite = [number for number in numbers if math.isfinite(number)]
        if kind == "share":
            return cls(0.0, 1.0)
        if kind == "log":
            positive = [number for number in finite if number > 0]
            if not positive:
                return cls(0.0, 0.0, "log")
            high = max(positive)
            return cls(max(min(positive), high / 10**_DECADES), high, "log")
        if not finite:
            return cls(0.0, 0.0)
        low, high = min(finite), max(finite)
        if kind == "signed" and low < 0 < high:
            far = max(-low, high)
            return cls(-far, far, "signed")
        return cls(low, high)

    def position(self, number: float) -> float:
        """From 0 (low) to 1 (high)."""
        if math.isnan(number):
            return 1.0
        if number <= self.low:
            return 0.0
        if number >= self.high:
            return 1.0
        if self.kind == "log":
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)


def _channels(color: str) -> tuple[float, float, float]:
    """Linear light of red, green and blue."""
    values = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return red, green, blue


def _luminance(color: str) -> float:
    red, green, blue = _channels(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _oklab(color: str) -> _Lab:
    red, green, blue = _channels(color)
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _hexadecimal(lab: _Lab) -> str:
    lightness, a, b = lab
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    light = (min(max(value, 0.0), 1.0) for value in linear)
    values = (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055 for value in light)
    return "#" + "".join(f"{round(value * 255):02X}" for value in values)
