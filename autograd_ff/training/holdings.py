"""What a trainer holds, whatever a subclass calls it: the model and a teacher, one optimizer or several."""

from __future__ import annotations

from typing import Any

from ..nn import Module

__all__ = ["modules_of", "optimized", "optimizers_of"]


def modules_of(trainer: Any) -> list[Module]:
    """All modules that a trainer holds: the model, a loss with parameters, a teacher, and all below them."""
    found: dict[int, Module] = {}
    for value in vars(trainer).values():
        if isinstance(value, Module):
            found.update((id(part), part) for part in value.modules())
    return list(found.values())


def optimizers_of(trainer: Any) -> list[Any]:
    """All optimizers that a trainer holds."""
    return [value for value in vars(trainer).values() if hasattr(value, "param_groups")]


def optimized(trainer: Any) -> list[Any]:
    """All parameters that the optimizers of a trainer hold."""
    return [one for optimizer in optimizers_of(trainer) for group in optimizer.param_groups for one in group["params"]]
