"""The generators of random numbers that a training draws from, and where they stand."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MethodType, ModuleType
from typing import Any

import numpy as np

from ..engine import TensorCore
from ..functions.random import Generator, default_generator
from .holdings import modules_of

__all__ = ["RandomState", "Randomness", "generators_in"]

_KINDS = (Generator, np.random.Generator, np.random.RandomState)
_NUMPY: Any = np.random.mtrand._rand  # that of np.random.rand and its like
_FEW = 100  # members of a collection that are looked at
_MANY = 10_000  # and objects in all


def generators_in(data: Any) -> list[Any]:
    """The generators of random numbers in whatever data are made of: samplers, transforms, datasets of one's own.

    >>> generator = np.random.default_rng(0)
    >>> generators_in({"transforms": [generator]}) == [generator]
    True
    """
    found: list[Any] = []
    seen: set[int] = set()
    work = [data]
    while work and len(seen) < _MANY:
        value = work.pop()
        if id(value) in seen or isinstance(value, (type, ModuleType, TensorCore, np.ndarray)):
            continue
        seen.add(id(value))
        if isinstance(value, _KINDS):
            found.append(value)
        elif isinstance(value, Mapping):
            work += list(islice(value.values(), _FEW))
        elif isinstance(value, (list, tuple)):
            work += value[:_FEW]
        elif isinstance(value, MethodType):
            work.append(value.__self__)
        else:
            work += [value.func] if isinstance(value, partial) else []
            work += getattr(value, "__dict__", {}).values()
    return found


class _Python:
    """The generator of Python's module ``random``, in the form of the others."""

    @staticmethod
    def get_state() -> dict[str, Any]:
        version, numbers, gauss = random.getstate()
        return {"version": version, "numbers": np.array(numbers, np.uint32), "gauss": gauss}

    @staticmethod
    def set_state(state: Mapping[str, Any]) -> None:
        random.setstate((state["version"], tuple(np.asarray(state["numbers"]).tolist()), state["gauss"]))


class Randomness:
    """The default generator, NumPy's and Python's global ones, and those that the data brought along; their states go
    into checkpoints.

    >>> import autograd_ff as af
    >>> randomness = Randomness([np.random.default_rng(0)])
    >>> state = randomness.state()
    >>> first = af.rand(1).item()
    >>> randomness.restore(state)
    >>> af.rand(1).item() == first
    True
    """

    def __init__(self, generators: Iterable[Any] = ()) -> None:
        known = {id(one): one for one in (default_generator(), *generators) if isinstance(one, _KINDS)}
        self._generators = [_Python, _NUMPY, *known.values()]

    def state(self) -> list[Any]:
        """Where each stands, as `autograd_ff.save` can keep it."""
        return [_state_of(one) for one in self._generators]

    def restore(self, states: Sequence[Any]) -> None:
        for one, state in zip(self._generators, states, strict=False):
            _set_state(one, state)


class RandomState:
    """Where the generators stand that a step may draw from: the default one, NumPy's and Python's global ones, and those
    that the trainer and its modules hold."""

    def __init__(self, trainer: Any) -> None:
        self._held = Randomness(value for holder in (trainer, *modules_of(trainer)) for value in vars(holder).values())
        self._states = self._held.state()

    def restore(self) -> None:
        self._held.restore(self._states)


def _state_of(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)
