"""Data sets as pairs of NumPy arrays, in the form that Keras hands them out."""

from typing import Never

from ..lookup import absent
from . import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]


def __getattr__(name: str) -> Never:
    raise absent(__name__, name, __all__)
