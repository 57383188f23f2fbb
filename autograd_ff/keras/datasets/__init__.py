"""Data sets as pairs of NumPy arrays, in the form that Keras hands them out."""

from . import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]
