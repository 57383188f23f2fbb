"""Loops: a run of steps over arrays as one compiled function (numba), where NumPy would make a pass for each step.

`supports` says whether a step has a form here, `build` makes a `Kernel` of a run of them. See `steps` for what a step
is, `expressions` for the ops of one element, `nests` for how their loops merge, `rows`, `reductions`, `products` and
`updates` for the ops that are more than that, `pointers` for what LLVM is told about memory, and `cache` for where machine
code is kept.
"""

from .build import Bound, Kernel, build, supports
from .steps import Operand, Runtime, Step

__all__ = ["Bound", "Kernel", "Operand", "Runtime", "Step", "build", "supports"]
