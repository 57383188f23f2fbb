"""The derivative rules: one file for each family of NumPy functions.

A rule file reads like a table of derivatives: function, one vjp for each input, the domain that the property tests draw
from. Rules are plain NumPy expressions, so they run on arrays (first-order gradients) and on Tensors (gradients of
gradients, pictures of the backward pass, capture). They speak a dialect that a test holds: ``np.*`` functions, functions
of this package, operators, ``.shape``, ``.ndim`` and ``.dtype``; no methods, no writing in place, no branch on values.
"""

from . import activations, elementwise, indexing, linalg, losses, random, reductions, shaping, sorting, special

__all__ = [
    "activations",
    "elementwise",
    "indexing",
    "linalg",
    "losses",
    "random",
    "reductions",
    "shaping",
    "sorting",
    "special",
]
