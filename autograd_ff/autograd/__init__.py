"""Differentiation: `grad`, `backward`, users' own `Function`, grad modes."""

from .differentiate import backward, grad
from ..engine import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__all__ = ["backward", "enable_grad", "grad", "is_grad_enabled", "no_grad", "set_grad_enabled"]
