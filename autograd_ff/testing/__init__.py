"""Checking gradients: against numeric derivatives, op by op, for a function, for a whole network.

`gradcheck` reports on any function of Tensors, `assert_gradients` raises where the report is bad, and `check_module`
lists every parameter of a module by its name.
"""

from . import table
from .draws import HypothesisDraw, NumPyDraw
from .gradcheck import assert_gradients, gradcheck
from .module import ModuleReport, check_module
from .numeric import complex_step, derivative
from .report import Entry, Report

__all__ = [
    "Entry", "HypothesisDraw", "ModuleReport", "NumPyDraw", "Report", "assert_gradients", "check_module",
    "complex_step", "derivative", "gradcheck", "table",
]  # fmt: skip
