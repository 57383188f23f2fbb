"""Checking gradients: against numeric derivatives, op by op, for a function, for a whole network.

`gradcheck` reports on any function of Tensors or on a module, `assert_gradients` raises where the report is bad, and
`given_gradients` makes a property test of a function.

Read in this order: `numeric` (derivatives from values alone), `comparison` (held against those of backward), `subject`
(what is checked), `gradcheck`; then `localize` and `causes` (which op is wrong, and why), `reproducer`; `strategies`,
`expressions` and `networks` (what to check on); `table` (one op's row), `mutation` (does the checker notice?).
"""

from . import table
from .draws import HypothesisDraw, NumPyDraw
from .gradcheck import assert_gradients, gradcheck
from .numeric import complex_step, derivative, one_sided
from .report import Culprit, Entry, Report

__all__ = [
    "Culprit", "Entry", "HypothesisDraw", "NumPyDraw", "Report", "assert_gradients", "complex_step", "derivative",
    "gradcheck", "one_sided", "table",
]  # fmt: skip
