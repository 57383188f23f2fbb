"""Checking gradients: against numeric derivatives, op by op, for a function, for a whole network.

`gradcheck` reports on any function of Tensors or on a module, `assert_gradients` raises where the report is bad, and
`given_gradients` makes a property test of a function, on examples that Hypothesis draws from the `strategies` here.

Read in this order: `numeric` (derivatives from values alone), `comparison` (held against those of backward), `subject`
(what is checked), `gradcheck`; then `localize` and `causes` (which op is wrong, and why), `evidence` and `reproducer`
(the picture; the file, which `shrink`, `sources`, `literals` and `importing` make); `values`, `draws`, `strategies`,
`expressions` and `networks` (what to check on), `given`; `table` (one op's row), `faults` and `mutation` (does the
checker notice?).
"""

from ..engine.domain import BOOLEAN, NONZERO, POSITIVE, REAL, UNIT, Domain
from . import table
from .draws import HypothesisDraw, NumPyDraw
from .expressions import Expression, differentiable_ops, expressions
from .given import given_gradients
from .gradcheck import assert_gradients, gradcheck
from .mutation import false_alarms, mutation_score
from .networks import Network, networks
from .numeric import complex_step, derivative, one_sided
from .report import Culprit, Entry, Report
from .sources import NoSourceError
from .strategies import (
    arrays,
    broadcastable_shapes,
    generators,
    gufunc_shapes,
    indices,
    op_calls,
    permutations,
    reduction_axes,
    shapes,
    tensors,
)

__all__ = [
    "BOOLEAN", "NONZERO", "POSITIVE", "REAL", "UNIT", "Culprit", "Domain", "Entry", "Expression", "HypothesisDraw",
    "Network", "NoSourceError", "NumPyDraw", "Report", "arrays", "assert_gradients", "broadcastable_shapes",
    "complex_step", "derivative", "differentiable_ops", "expressions", "false_alarms", "generators", "given_gradients", "gradcheck",
    "gufunc_shapes", "indices", "mutation_score", "networks", "one_sided", "op_calls", "permutations", "reduction_axes",
    "shapes", "table", "tensors",
]  # fmt: skip
