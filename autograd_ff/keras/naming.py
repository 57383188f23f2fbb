"""The names that layers get by themselves: dense, dense_1, dense_2, counted in this process."""

from __future__ import annotations

import re

__all__ = ["automatic_name", "reset_names", "snake_case"]

_counts: dict[str, int] = {}


def snake_case(name: str) -> str:
    """A class's name in small letters, with an underscore before each word.

    >>> snake_case("BatchNormalization"), snake_case("ReLU"), snake_case("Dense")
    ('batch_normalization', 're_lu', 'dense')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def automatic_name(class_name: str) -> str:
    """The name of the next object of a class: the class's, and a number from the second one on.

    >>> automatic_name("NamedHere"), automatic_name("NamedHere")
    ('named_here', 'named_here_1')
    """
    stem = snake_case(class_name)
    count = _counts.get(stem, 0)
    _counts[stem] = count + 1
    return f"{stem}_{count}" if count else stem


def reset_names() -> None:
    """Begin to count anew, which is what `keras.utils.clear_session` is for."""
    _counts.clear()
