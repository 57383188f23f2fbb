"""The state of model and optimizer at one moment, to be put back in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import no_grad
from ..functions.random import get_rng_state, set_rng_state
from ..nn import Module

__all__ = ["KeptBuffers", "Snapshot"]


class Snapshot:
    """Parameters, buffers, the optimizer's state, and where the default generator stands.

    >>> import autograd_ff as af
    >>> model = af.nn.Linear(2, 1)
    >>> before = model.weight.tolist()
    >>> snapshot = Snapshot(model)
    >>> _ = af.nn.init.zeros_(model.weight)
    >>> snapshot.restore()
    >>> model.weight.tolist() == before
    True
    """

    def __init__(self, model: Module, optimizer: Any = None) -> None:
        self._tensors = [(one, one.array.copy()) for one in (*model.parameters(), *model.buffers())]
        self._optimizer = optimizer
        self._state = None if optimizer is None else _copied(optimizer.state_dict())
        self._random = get_rng_state()

    def restore(self) -> None:
        with no_grad():
            for tensor, values in self._tensors:
                tensor.copy_(values)
        if self._optimizer is not None:
            self._optimizer.load_state_dict(self._state)
        set_rng_state(self._random)


class KeptBuffers:
    """The buffers of a model (running statistics, say) as they were before a step: a step that fails leaves them alone."""

    def __init__(self, model: Module) -> None:
        self._kept = [(tensor, tensor.array.copy()) for tensor in model.buffers()]

    def keep(self) -> None:
        for tensor, values in self._kept:
            np.copyto(values, tensor.array)

    def restore(self) -> None:
        with no_grad():
            for tensor, values in self._kept:
                tensor.copy_(values)


def _copied(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_copied(value) for value in state)
    return state.clone() if hasattr(state, "clone") else state
