"""Passes over the data, and the position in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from .batches import Batch, Batches, exhausted

__all__ = ["Passes"]


class Passes:
    """One pass over the data after another, as far as the epochs need them.

    An epoch is one pass, or ``steps`` batches of however many passes. The position is the state that the random numbers
    had when the pass began, and how many batches of it are behind: a pass begun from there again, and as many batches
    skipped, goes on with just the batches that are left.
    """

    def __init__(self, batches: Batches, steps: int | None = None) -> None:
        self._batches = batches
        self._steps = steps
        self._pass: Iterator[Batch] | None = None
        self._began: list[Any] | None = None
        self._consumed = 0

    def epoch(self, number: int, done: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, of which ``done`` are behind already.

        Raises:
            AutogradError: the data end too early.
        """
        if self._steps is None:
            if self._pass is None:
                self._begin()
            assert self._pass is not None
            for batch in self._pass:
                self._consumed += 1
                done += 1
                yield batch
            if not done:
                raise exhausted(number, done)
            self._pass = None
            return
        while done < self._steps:
            if self._pass is None:
                self._begin()
            assert self._pass is not None
            empty = not self._consumed
            for batch in islice(self._pass, self._steps - done):
                self._consumed += 1
                done += 1
                empty = False
                yield batch
            if done < self._steps:
                self._pass = None
                if empty:
                    raise exhausted(number, done)

    def _begin(self) -> None:
        self._began = self._batches.randomness.state()
        self._pass = self._batches.epoch()
        self._consumed = 0

    def state_dict(self) -> dict[str, Any]:
        randomness = self._batches.randomness
        if self._pass is None:
            return {"began": None, "consumed": 0, "now": randomness.state()}
        return {"began": self._began, "consumed": self._consumed, "now": randomness.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        randomness = self._batches.randomness
        self._pass = None
        if state["began"] is not None:
            randomness.restore(state["began"])
            self._begin()
            assert self._pass is not None
            self._consumed = sum(1 for _ in islice(self._pass, state["consumed"]))
        randomness.restore(state["now"])
