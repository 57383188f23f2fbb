"""autograd_ff: a reverse-mode autograd engine on NumPy, with feedforward networks on top."""

# ruff: noqa: F401  (this file only hands names on)

from math import e, inf, nan, pi

from . import autograd, functions, nn, optim
from .data import datasets, transforms
from .engine import (
    enable_grad,
    get_default_dtype,
    is_grad_enabled,
    no_grad,
    set_default_dtype,
    set_grad_enabled,
)
from .functions import *  # noqa: F403
from .functions.dtypes import bool_ as bool  # PyTorch's names of dtypes, some of which are builtins' too
from .functions.dtypes import float16 as half
from .functions.dtypes import float32 as float
from .functions.dtypes import float64 as double
from .functions.dtypes import int16 as short
from .functions.dtypes import int32 as int
from .functions.dtypes import int64 as long
from .serialization import load, save
