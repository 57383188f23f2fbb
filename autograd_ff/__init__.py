"""autograd_ff: a reverse-mode autograd engine on NumPy, with feedforward networks on top."""

from . import autograd, functions
from .functions import *  # noqa: F403
