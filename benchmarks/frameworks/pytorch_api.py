"""autograd_ff and PyTorch, from one source: they differ in the module that is handed in."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from ..cases import Block, Case, Network
from .training import Training, Unable


def network(case: Network, api: Any) -> Any:
    layers: list[Any] = []
    for fan_in, fan_out in zip(case.widths, case.widths[1:], strict=False):
        layers += [api.nn.ReLU()] if layers else []
        layers += [api.nn.Linear(fan_in, fan_out)]
    return api.nn.Sequential(*layers)


def block(case: Block, api: Any) -> Any:
    nn = api.nn

    class FeedForward(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(case.width)
            self.up = nn.Linear(case.width, case.hidden)
            self.activation = nn.GELU()
            self.down = nn.Linear(case.hidden, case.width)

        def forward(self, x: Any) -> Any:
            return x + self.down(self.activation(self.up(self.norm(x))))

    return FeedForward()


def training(case: Case, api: Any, compile: Callable[[Any], Any] = lambda step: step, **adam: Any) -> Training:
    model = block(case, api) if isinstance(case, Block) else network(case, api)
    with api.no_grad():
        for parameter, array in zip(model.parameters(), case.parameters(), strict=True):
            parameter.copy_(api.from_numpy(array))
    criterion = api.nn.MSELoss() if isinstance(case, Block) else api.nn.CrossEntropyLoss()
    optimizer = api.optim.Adam(model.parameters(), lr=1e-3, **adam)

    def step(inputs: Any, targets: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return Training(api.from_numpy, compile(step))


# ---------------------------------------------------------------- autograd_ff


def autograd_ff(case: Case) -> Training:
    import autograd_ff as api

    return training(case, api)


def compiled(case: Case) -> Training:
    return _compiled(case, fast=False)


def compiled_fast(case: Case) -> Training:
    if importlib.util.find_spec("numba") is None:
        raise Unable("numba is not installed")
    return _compiled(case, fast=True)


def _compiled(case: Case, fast: bool) -> Training:
    import autograd_ff as api

    return training(case, api, lambda step: api.compile(step, fast=fast))


# ---------------------------------------------------------------- PyTorch


def pytorch(case: Case) -> Training:
    import torch

    return training(case, torch)


def pytorch_fused(case: Case) -> Training:
    import torch

    return training(case, torch, fused=True)


def pytorch_compiled(case: Case) -> Training:
    """The whole step is compiled; where the compiler breaks it (at `backward`), it goes on behind."""
    import torch

    if not _compiler():
        raise Unable("no C++ compiler (g++, clang++ or CXX)")
    return training(case, torch, torch.compile, fused=True)


def _compiler() -> bool:
    import os
    import shutil

    return any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++"))))
