"""What a trainer holds, whatever a subclass calls it: the model and a teacher, one optimizer or several."""

from __future__ import annotations

from typing import Any

from ..nn import Module
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler

__all__ = ["modules_of", "optimized", "optimizers_of", "stateful"]


def modules_of(trainer: Any) -> list[Module]:
    """All modules that a trainer holds: the model, a loss with parameters, a teacher, and all below them."""
    found: dict[int, Module] = {}
    for value in vars(trainer).values():
        if isinstance(value, Module):
            found.update((id(part), part) for part in value.modules())
    return list(found.values())


def stateful(trainer: Any) -> dict[str, Any]:
    """The modules, optimizers and schedulers of a trainer, by the attribute that holds each."""
    kinds = (Module, Optimizer, LRScheduler)
    return {name: value for name, value in vars(trainer).items() if isinstance(value, kinds)}


def optimizers_of(trainer: Any) -> list[Any]:
    """All optimizers that a trainer holds."""
    return [value for value in vars(trainer).values() if hasattr(value, "param_groups")]


def optimized(trainer: Any) -> list[Any]:
    """All parameters that the optimizers of a trainer hold."""
    return [one for optimizer in optimizers_of(trainer) for group in optimizer.param_groups for one in group["params"]]
