"""autograd_ff: a reverse-mode autograd engine on NumPy, with feedforward networks on top."""

# ruff: noqa: F403  (this file only hands names on)
# `x as x`, and not `__all__`: so type checkers know what is handed on, in strict mode too, without a list of all names.

from importlib import import_module as _import_module
from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import autograd as autograd
from . import func as func
from . import functions as functions
from . import nn as nn
from . import optim as optim
from .compiler import compile as compile
from .data import datasets as datasets
from .data import transforms as transforms
from .engine import enable_grad as enable_grad
from .engine import get_default_dtype as get_default_dtype
from .engine import is_grad_enabled as is_grad_enabled
from .engine import no_grad as no_grad
from .engine import set_default_dtype as set_default_dtype
from .engine import set_grad_enabled as set_grad_enabled
from .engine.memory import keep_freed_memory as keep_freed_memory
from .functions.activations import celu as celu
from .functions.activations import log_softmax as log_softmax
from .functions.activations import relu as relu
from .functions.activations import selu as selu
from .functions.activations import sigmoid as sigmoid
from .functions.activations import softmax as softmax
from .functions.activations import threshold as threshold
from .functions.comparison import *
from .functions.creation import *
from .functions.dtype_aliases import *
from .functions.dtypes import *
from .functions.indexing import *
from .functions.linalg import *
from .functions.pointwise import *
from .functions.random import *
from .functions.reductions import *
from .functions.shaping import *
from .functions.sorting import *
from .functions.tensor import Tensor as Tensor
from .serialization import load as load
from .serialization import save as save

if _TYPE_CHECKING:
    from . import hub as hub
    from . import keras as keras
    from . import text as text
    from . import training as training


def __getattr__(name: str) -> object:
    """What trains is imported when it is first asked for: an import of the engine is quicker without."""
    if name in ("distributed", "hub", "keras", "text", "training"):
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
