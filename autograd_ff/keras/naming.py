"""The names that layers get by themselves: dense, dense_1, dense_2, counted in this process."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from ..training.metrics.metric import snake_case

__all__ = ["automatic_name", "key_of", "reset_names", "snake_case"]

_counts: dict[str, int] = {}


def automatic_name(class_name: str) -> str:
    """The name of the next object of a class: the class's, and a number from the second one on.

    >>> automatic_name("NamedHere"), automatic_name("NamedHere")
    ('named_here', 'named_here_1')
    """
    stem = snake_case(class_name)
    count = _counts.get(stem, 0)
    _counts[stem] = count + 1
    return f"{stem}_{count}" if count else stem


def key_of(layer: Any, taken: Container[str]) -> str:
    """Under which name the weights of a layer stand in a model: its own, or, where it was given none, one that counts in this
    model alone, so that the same program finds its weights in a file again."""
    stem = snake_case(type(layer).__name__)
    key = base = stem if re.fullmatch(rf"{stem}(_\d+)?", layer.name) else layer.name
    number = 0
    while key in taken:
        number += 1
        key = f"{base}_{number}"
    return key


def reset_names() -> None:
    """Begin to count anew, which is what `keras.utils.clear_session` is for."""
    _counts.clear()
