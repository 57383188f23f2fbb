"""Which modules are around something."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .view import Module

__all__ = ["common_module", "module_path"]


def module_path(modules: Sequence[Module], module: int | None) -> tuple[int, ...]:
    """The ids of a module and of those around it, outermost first."""
    found: list[int] = []
    while module is not None:
        found.append(module)
        module = modules[module].parent
    return tuple(reversed(found))


def common_module(
    modules: Sequence[Module], places: Iterable[int | None], kinds: Collection[str] | None = None
) -> int | None:
    """The innermost module, of one of these kinds, around all places; a place is a module, or None outside of all.

    >>> from visualize import Module
    >>> fc1 = [Module(0, "module", "", "Net"), Module(1, "module", "fc1", "Linear", 0), Module(2, "composite", "t", "t", 1)]
    >>> common_module(fc1, [1, 2]), common_module(fc1, [2, 2], ["module"]), common_module(fc1, [1, None])
    (1, 1, None)
    """
    common: list[int] = []
    for around in zip(*(module_path(modules, place) for place in set(places)), strict=False):
        if len(set(around)) > 1:
            break
        common.append(around[0])
    while common and kinds is not None and modules[common[-1]].kind not in kinds:
        common.pop()
    return common[-1] if common else None
