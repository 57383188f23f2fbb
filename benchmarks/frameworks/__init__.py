"""The same training step in each framework.

A builder takes a case and returns a `Training`: how an array becomes what the step takes, and the step itself, a function of
one batch whose result has the loss under `.item()` (which waits for it, where the framework is lazy). Whatever the
framework needs once, it may do in the builder and in the first steps, which are not measured.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass

from ..cases import Case
from .training import Training, Unable

__all__ = ["FRAMEWORKS", "OURS", "Framework", "Training", "Unable", "build", "missing"]


@dataclass(frozen=True)
class Framework:
    title: str
    module: str  # that has to be installed
    builder: str  # "module of this package:function"
    limit: float = 300.0  # seconds for the first steps, compiling included


FRAMEWORKS = {
    "products": Framework("bare matrix products (NumPy)", "numpy", "products:products"),
    "autograd_ff": Framework("autograd_ff, eager", "autograd_ff", "pytorch_api:autograd_ff"),
    "compiled": Framework("autograd_ff, compiled, NumPy alone", "autograd_ff", "pytorch_api:compiled"),
    "fast": Framework("autograd_ff, compiled, fast", "autograd_ff", "pytorch_api:compiled_fast"),
    "pytorch": Framework("PyTorch, default Adam", "torch", "pytorch_api:pytorch"),
    "pytorch_fused": Framework("PyTorch, fused Adam", "torch", "pytorch_api:pytorch_fused"),
    "pytorch_compiled": Framework("PyTorch, compile, fused Adam", "torch", "pytorch_api:pytorch_compiled", limit=600),
    "jax": Framework("JAX, jit", "jax", "jax_jit:jax"),
    "tinygrad": Framework("tinygrad, TinyJit", "tinygrad", "tinygrad_jit:tinygrad"),
    "hips_autograd": Framework("HIPS autograd", "autograd", "numpy_engines:hips_autograd"),
    "mygrad": Framework("MyGrad", "mygrad", "numpy_engines:mygrad"),
}
OURS = ("fast", "compiled", "autograd_ff")  # the best first


def missing(key: str) -> str | None:
    """Why a framework cannot even be started, or None."""
    module = FRAMEWORKS[key].module
    return None if importlib.util.find_spec(module) else "not installed"


def build(key: str, case: Case) -> Training:
    """Raises `Unable`, with the reason, where the framework has no such step here."""
    module, name = FRAMEWORKS[key].builder.split(":")
    builder = getattr(importlib.import_module(f".{module}", __name__), name)
    training: Training = builder(case)
    return training


def version(key: str) -> str:
    """Of the framework that was just built."""
    return str(getattr(sys.modules.get(FRAMEWORKS[key].module), "__version__", ""))
