"""The generators of random numbers that a training draws from, and their states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..functions.random import Generator, default_generator

__all__ = ["Randomness"]


class Randomness:
    """The default generator and those that the data brought along.

    >>> import autograd_ff as af
    >>> randomness = Randomness([np.random.default_rng(0)])
    >>> state = randomness.state()
    >>> first = af.rand(1).item()
    >>> randomness.restore(state)
    >>> af.rand(1).item() == first
    True
    """

    def __init__(self, generators: Sequence[Any] = ()) -> None:
        default = default_generator()
        known = {id(one): one for one in generators if isinstance(one, (np.random.Generator, Generator))}
        self._generators: list[Any] = [default, *(one for one in known.values() if one is not default)]

    def state(self) -> list[Any]:
        """Where each stands, as `autograd_ff.save` can keep it."""
        return [
            one.get_state() if isinstance(one, Generator) else _plain(one.bit_generator.state)
            for one in self._generators
        ]

    def restore(self, states: Sequence[Any]) -> None:
        for one, state in zip(self._generators, states, strict=False):
            if isinstance(one, Generator):
                one.set_state(state)
            else:
                one.bit_generator.state = state


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.copy() if isinstance(state, np.ndarray) else state
