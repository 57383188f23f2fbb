"""The engine: tensors' core, the op table, the graph, and the walk back through it.

It knows no formula, no layer and no picture. Read in this order: `op` (what an operation is), `register` (how one
enters the table), `dispatch` (running and recording it), `node` (what is recorded), `backward` (the walk back),
`inplace` and `versions` (writes), `state` (grad mode, scopes, observers).
"""

from .backward import run_backward, unbroadcast
from .core_ops import Geometry, Scatter, cast, copy, index_add
from .dispatch import apply, apply_raw, array_function, array_ufunc
from .domain import BOOLEAN, NONZERO, POSITIVE, PROBABILITY, REAL, UNIT, Call, Domain, Draw
from .node import Leaf, Meta, Node
from .op import NONDIFFERENTIABLE, OPS, TABLE, Op
from .promotion import get_default_dtype, promote_types, result_type, set_default_dtype
from .register import composite, kernel, primitive
from .site import Site, calling_site, here, warn
from .state import (
    Observer,
    Scope,
    condition,
    constant,
    depend,
    enable_grad,
    host,
    is_grad_enabled,
    is_observed,
    no_grad,
    observe,
    scope,
    set_grad_enabled,
    touch,
)
from .tensor import TensorCore, View, set_tensor_class, wrap
from .versions import restructured

__all__ = [
    "BOOLEAN", "NONDIFFERENTIABLE", "NONZERO", "OPS", "POSITIVE", "PROBABILITY", "REAL", "TABLE", "UNIT", "Call",
    "Domain", "Draw", "Geometry", "Leaf", "Meta", "Node", "Observer", "Op", "Scatter", "Scope", "Site", "TensorCore",
    "View", "apply", "apply_raw", "array_function", "array_ufunc", "calling_site", "cast", "composite", "condition", "constant",
    "copy", "depend", "enable_grad", "get_default_dtype", "here", "host", "index_add", "is_grad_enabled",
    "is_observed", "kernel", "no_grad", "observe", "primitive", "promote_types", "restructured", "result_type",
    "run_backward", "scope", "set_default_dtype", "set_grad_enabled", "set_tensor_class", "touch", "unbroadcast",
    "warn", "wrap",
]  # fmt: skip
