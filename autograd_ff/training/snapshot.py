"""What a step changes, as it was at one moment, to be put back in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import no_grad
from ..nn import Module
from .holdings import modules_of, optimized, optimizers_of
from .randomness import RandomState

__all__ = ["KeptBuffers", "Snapshot", "put_modes"]


class Snapshot:
    """The state of a trainer: parameters, buffers and gradients, modes, optimizers, and generators of random numbers.

    Unlike `untouched.untouched` it may be put back after an optimizer has stepped: numbers are written where they are now,
    which may be memory that an optimizer has moved them to.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> model = af.nn.Linear(2, 1)
    >>> before = model.weight.tolist()
    >>> snapshot = Snapshot(Trainer(model))
    >>> _ = af.nn.init.zeros_(model.weight)
    >>> snapshot.restore()
    >>> model.weight.tolist() == before
    True
    """

    def __init__(self, trainer: Any) -> None:
        modules = modules_of(trainer)
        own = [one for module in modules for one in (*module.parameters(recurse=False), *module.buffers(recurse=False))]
        tensors = {id(one): one for one in (*own, *optimized(trainer))}.values()
        self._tensors = [(one, one.array.copy(), None if one.grad is None else one.grad.clone()) for one in tensors]
        self._modes = [(module, module.training) for module in modules]
        self._put_back = [one.snapshot() for one in optimizers_of(trainer)]
        self._random = RandomState(trainer)

    def restore(self) -> None:
        with no_grad():
            for tensor, values, gradient in self._tensors:
                tensor.copy_(values)
                tensor.grad = gradient
        put_modes(self._modes)
        for put_back in self._put_back:
            put_back()
        self._random.restore()


def put_modes(modes: Iterable[tuple[Module, bool]]) -> None:
    """Let each module train, or not, as it did."""
    for module, training in modes:
        if module.training is not training:
            module.training = training


class KeptBuffers:
    """The buffers of a model (running statistics, say) as they were before a step: a step that fails leaves them alone.

    They are few and small beside what a `Snapshot` copies, so that every step can keep them.
    """

    def __init__(self, model: Module) -> None:
        # Where they are found again: a module may write into its buffer, or set another one in its place.
        self._places = [
            (module, name) for module in model.modules() for name, one in module._buffers.items() if one is not None
        ]
        self._kept: list[tuple[Any, Any]] = []  # tensor and numbers, None and None where there is none any more
        self.keep()

    def keep(self) -> None:
        kept = self._kept
        now = [module._buffers.get(name) for module, name in self._places]
        if len(kept) == len(now) and all(
            one is old and (one is None or one.array.shape == values.shape)
            for one, (old, values) in zip(now, kept, strict=True)
        ):
            for tensor, values in kept:
                if tensor is not None:
                    np.copyto(values, tensor.array)
        else:
            self._kept = [(one, None if one is None else one.array.copy()) for one in now]

    def restore(self) -> None:
        with no_grad():
            for (module, name), (tensor, values) in zip(self._places, self._kept, strict=True):
                if module._buffers.get(name) is not tensor:
                    setattr(module, name, tensor)
                if tensor is not None and tensor.array.shape == values.shape:
                    tensor.copy_(values)
