"""How fast what is trained: learning rates by depth, and a schedule with a warm-up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..engine import here
from ..errors import ModuleError, OptimizerError
from ..nn import Module, ModuleList, Sequential
from ..optim import Optimizer
from ..optim.lr_scheduler import LambdaLR
from .patterns import matching, require_module

__all__ = ["WarmupRate", "layerwise_groups", "warmup_schedule"]


def layerwise_groups(
    model: Module,
    lr: float,
    decay: float = 0.9,
    *,
    layers: str | None = None,
    weight_decay: float = 0.0,
    no_decay: str | Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer, whose learning rates fall with the distance from the output.

    What stands after the layers (the head) has the rate lr, layer l of L has lr · decay^(L + 1 - l), and what stands before
    them (embeddings) lr · decay^(L + 1). What the lower layers know is more general, and shall change less. Frozen
    parameters are left out, and a tied weight is in the group of its first name. Sources: Howard and Ruder 2018 (discriminative
    fine-tuning); Clark, Luong, Le and Manning 2020 (ELECTRA).

    Args:
        model: whose parameters.
        lr: the rate of the head.
        decay: what the rate is multiplied by from layer to layer, towards the input; above 0, at most 1.
        layers: the name of the list of layers, such as ``"encoder.layer"``; the longest `nn.ModuleList` or
            `nn.Sequential` if None.
        weight_decay: for the groups.
        no_decay: patterns of parameters without weight decay, such as ``["*.bias", "*LayerNorm*"]``; they form groups of
            their own.

    Returns:
        Groups from input to output: dicts with ``"name"``, ``"params"`` (names and parameters), ``"lr"``, ``"weight_decay"``.

    Raises:
        ModuleError: there is no such list, or nothing is trained.
        OptimizerError: a decay outside of its bounds.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    >>> groups = finetuning.layerwise_groups(model, lr=1.0, decay=0.5)
    >>> [(group["name"], group["lr"]) for group in groups]
    [('0', 0.125), ('1', 0.25), ('2', 0.5)]
    >>> optimizer = af.optim.AdamW(groups)
    """
    require_module(model, "layerwise_groups")
    if not 0 < decay <= 1:
        raise OptimizerError(f"decay is above 0 and at most 1, not {decay!r}.{here()}")
    path, stack = _layers(model, layers)
    count = len(stack)
    prefix = f"{path}." if path else ""
    depth_of: dict[int, int] = {}
    for number, layer in enumerate(stack):
        for parameter in layer.parameters():
            depth_of.setdefault(id(parameter), number + 1)
    named = list(model.named_parameters())
    spared = set(matching([name for name, _ in named], no_decay))
    passed = False  # whether the list of layers came by, in the order of registration
    groups: dict[tuple[int, bool], list[tuple[str, Any]]] = {}
    for name, parameter in named:
        inside = id(parameter) in depth_of
        passed = passed or inside
        depth = depth_of[id(parameter)] if inside else count + 1 if passed else 0
        if parameter.requires_grad:
            groups.setdefault((depth, name in spared), []).append((name, parameter))
    if not groups:
        raise ModuleError(f"all parameters of {type(model).__name__} are frozen.{here()}")
    names = {0: "before", count + 1: "after"} | {number + 1: f"{prefix}{number}" for number in range(count)}
    return [
        {
            "name": names[depth] + (", no decay" if bare else ""),
            "params": members,
            "lr": lr * decay ** (count + 1 - depth),
            "weight_decay": 0.0 if bare else weight_decay,
        }
        for (depth, bare), members in sorted(groups.items(), key=lambda item: item[0])
    ]


def _layers(model: Module, path: str | None) -> tuple[str, Any]:
    lists = {name: one for name, one in model.named_modules() if isinstance(one, (ModuleList, Sequential))}
    if path is not None:
        found: Any = model.get_submodule(path)
        if path not in lists:
            raise ModuleError(
                f"{path!r} is a {type(found).__name__}, not a list of layers; there are "
                f"{', '.join(map(repr, lists)) or 'none'}.{here()}"
            )
        return path, found
    if not lists:
        raise ModuleError(
            f"{type(model).__name__} has no ModuleList or Sequential, whose members would be layers.{here()}"
        )
    path = max(lists, key=lambda name: len(lists[name]))
    return path, lists[path]


class WarmupRate:
    """The factor of the learning rate after a number of steps: up from 0 in a line, then down to a floor.

    step / warmup at first, then floor + (1 - floor) · (1 - p) or floor + (1 - floor) · (1 + cos πp) / 2, with p the part of
    the rest that is done.

    >>> from autograd_ff.finetuning import WarmupRate
    >>> rate = WarmupRate(2, 6, "linear", 0.0)
    >>> [rate(step) for step in range(8)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __init__(self, warmup_steps: int, total_steps: int, shape: str = "linear", floor: float = 0.0) -> None:
        self.warmup_steps, self.total_steps = warmup_steps, total_steps
        self.shape, self.floor = shape, floor

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return step / self.warmup_steps
        part = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        fall = 1 - part if self.shape == "linear" else (1 + math.cos(math.pi * part)) / 2
        return self.floor + (1 - self.floor) * fall


def warmup_schedule(
    optimizer: Optimizer,
    warmup_steps: int,
    total_steps: int,
    shape: str = "linear",
    floor: float = 0.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """A schedule by steps: the rates rise from 0 in ``warmup_steps``, then fall in a line or along a cosine.

    It is `LambdaLR` with a `WarmupRate`; call its ``step()`` after each of the optimizer's. Each group keeps its own
    highest rate. Sources: Goyal et al. 2017 (warm-up); Loshchilov and Hutter 2017 (cosine).

    Args:
        optimizer: whose learning rates to set.
        warmup_steps: from 0 to the rate of each group.
        total_steps: until the rate is at its floor, the warm-up among them.
        shape: ``"linear"`` or ``"cosine"``.
        floor: the last rate as a part of the highest.
        last_epoch: the number of steps done, to go on from.

    Raises:
        OptimizerError: numbers that make no schedule.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning
    >>> optimizer = af.optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = finetuning.warmup_schedule(optimizer, 2, 4)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates.append(schedule.get_last_lr()[0])
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (warmup_steps, total_steps))
    if not whole or not 0 <= warmup_steps <= total_steps or total_steps < 1:
        raise OptimizerError(
            f"a schedule of {total_steps!r} steps cannot have a warm-up of {warmup_steps!r}: whole numbers, 0 ≤ warmup_steps ≤ "
            f"total_steps.{here()}"
        )
    if shape not in ("linear", "cosine") or not 0 <= floor <= 1:
        raise OptimizerError(
            f"the shape is 'linear' or 'cosine', and the floor from 0 to 1; got {shape!r}, {floor!r}.{here()}"
        )
    return LambdaLR(optimizer, WarmupRate(warmup_steps, total_steps, shape, floor), last_epoch)
