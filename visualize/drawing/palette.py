"""Few colours instead of millions: pictures of flat areas take a third of the bytes, and look the same."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["indexed"]

_COLORS = 255  # a GIF needs one more, for what stays the same from frame to frame
_FLAT = 96
_AT_ONCE = 4096  # colours in one table of distances


def indexed(images: list[Any]) -> list[Any]:
    """The same RGB images (of Pillow) with one palette of 255 colours for all, so that nothing flickers between them."""
    from PIL import Image

    weights = np.array([1 << 16, 1 << 8, 1], np.uint32)
    pixels = [np.asarray(image.convert("RGB")).astype(np.uint32) @ weights for image in images]
    palette = _palette(pixels)
    places: dict[int, int] = {}
    made = []
    for frame in pixels:
        colors, back = np.unique(frame, return_inverse=True)
        new = np.array([color for color in colors.tolist() if color not in places], np.uint32)
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            nearest = ((_rgb(some)[:, None] - _rgb(palette)) ** 2).sum(axis=2).argmin(axis=1)
            places.update(zip(some.tolist(), nearest.tolist(), strict=True))
        shown = np.array([places[color] for color in colors.tolist()], np.uint8)[back.reshape(frame.shape)]
        image = Image.fromarray(shown)
        image.putpalette(_rgb(palette).astype(np.uint8).tobytes())
        made.append(image)
    return made


def _palette(pixels: list[np.ndarray]) -> np.ndarray:
    """The colours of the flat areas, exactly; and of all others one for each group of much the same shades."""
    colors, counts = np.unique(np.concatenate([frame.ravel() for frame in pixels]), return_counts=True)
    often = np.argsort(-counts.astype(np.int64), kind="stable")
    colors, counts = colors[often], counts[often]
    flat, rest, weights = colors[:_FLAT], colors[_FLAT:], counts[_FLAT:]
    _, first, group = np.unique(rest & 0xF0F0F0, return_index=True, return_inverse=True)
    total = np.bincount(group, weights)
    return np.concatenate([flat, rest[first[np.argsort(-total, kind="stable")[: _COLORS - _FLAT]]]])


def _rgb(colors: np.ndarray) -> np.ndarray:
    return np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1).astype(np.int32)
