"""The public functions, one file for each family, under PyTorch's names and arguments; and the public Tensor."""

from .. import kernels, rules  # noqa: F401  (fills the op table)
from .tensor import Tensor

__all__ = ["Tensor"]
