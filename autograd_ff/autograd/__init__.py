"""Differentiation: `grad`, `backward`, users' own `Function`, anomaly detection, grad modes."""

from ..engine import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .anomaly import detect_anomaly
from .differentiate import backward, grad
from .function import Function, FunctionContext, once_differentiable

__all__ = [
    "Function",
    "FunctionContext",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
