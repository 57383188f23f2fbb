"""Differentiation: `grad`, `backward`, users' own `Function`, gradient checks, anomaly detection, grad modes."""

from ..engine import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .anomaly import detect_anomaly
from .differentiate import backward, grad
from .function import Function, FunctionContext, once_differentiable

# As in PyTorch, the name is the function from here on, and `from autograd_ff.autograd.gradcheck import …` still works.
from .gradcheck import gradcheck, gradgradcheck

__all__ = [
    "Function",
    "FunctionContext",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
