"""Which module is running, and under which qualified name.

Every call of a module puts an engine `Scope` around its forward, so that the nodes made inside know the module that
made them: ``encoder.layers.0.fc1``, relative to the outermost module that is running. Nodes keep scopes, so a scope keeps
names, and lets go of its module when the call ends.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from ..engine import Scope

if TYPE_CHECKING:
    from .module import Module

__all__ = ["ModuleScope", "Paths", "children_changed", "qualified_path"]

_tick = itertools.count(1).__next__
_structure = _tick()  # a new number whenever a module gains, loses or exchanges a child, anywhere


def children_changed() -> None:
    """Forget the remembered paths: some module's children are no longer what they were."""
    global _structure
    _structure = _tick()


class ModuleScope(Scope):
    """The scope of a module's call. It knows the module itself only while the call lasts, for the names of those below.

    ``path`` is the qualified name relative to the outermost running module, whose own is "".
    """

    __slots__ = ("module", "path")
    module: Module | None
    path: str


class Paths(dict[int, str]):
    """For one module, the path to each module below it, by its ``id``. Made again when any module's children change.

    Ids mean nothing in a copy or another process, so a copy starts empty.
    """

    __slots__ = ("structure",)

    def __init__(self) -> None:
        super().__init__()
        self.structure = 0

    def __deepcopy__(self, memo: Any) -> Paths:
        return Paths()

    def __reduce__(self) -> Any:
        return Paths, ()


def _fill(paths: Paths, above: Module) -> None:
    structure = _structure
    paths.clear()
    for name, below in above.named_modules():
        paths[id(below)] = name
    paths.structure = structure


def qualified_path(module: Module, scope: Scope | None) -> str:
    """The path of ``module`` from the outermost running module that it belongs to; "" for one of its own."""
    key = id(module)
    while scope is not None:
        if scope.__class__ is ModuleScope and scope.module is not None:
            above, prefix = scope.module, scope.path
            paths = above._paths
            if paths.structure != _structure:
                _fill(paths, above)
            if key in paths:
                path = paths[key]
                return f"{prefix}.{path}" if prefix and path else prefix or path
        scope = scope.parent
    return ""
