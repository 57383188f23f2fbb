"""Passes over the data, and the position in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from ..engine import here
from ..errors import AutogradError
from .batches import Batch, Batches
from .sharing import Sharing

__all__ = ["Passes"]


class Passes:
    """One pass over the data after another, as far as the epochs need them.

    An epoch is one pass, or ``steps`` batches of however many passes. The position is the state that the random numbers
    had when the pass began, and how many batches of it are behind: a pass begun from there again, and as many batches
    skipped, goes on with just the batches that are left.
    """

    def __init__(self, batches: Batches, sharing: Sharing, steps: int | None = None) -> None:
        self._batches = batches
        self._sharing = sharing
        self._steps = steps
        self._pass: Iterator[Batch] | None = None
        self._began: list[Any] | None = None
        self._consumed = 0

    def epoch(self, number: int, done: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, of which ``done`` are behind already.

        Raises:
            AutogradError: the data end too early.
        """
        while self._steps is None or done < self._steps:
            if self._pass is None:
                self._begin()
            assert self._pass is not None
            for batch in islice(self._pass, None if self._steps is None else self._steps - done):
                self._consumed += 1
                done += 1
                yield batch
            if done == self._steps:
                return  # what is left of the pass is for the next epoch
            self._pass = None
            if not self._consumed:
                raise _exhausted(number, done)
            if self._steps is None:
                return

    def _begin(self) -> None:
        self._pass = self._sharing.start_pass(self._batches, "a training")
        self._began = self._batches.began
        self._consumed = 0

    def first(self) -> Batch | None:
        """The batch that comes next, which will come all the same; None where there is none."""
        if self._pass is None:
            randomness = self._batches.randomness
            randomness.restore(
                self._sharing.common(randomness.state(), "a training, the order of the data")
            )  # a stream draws its order here
            return self._batches.first()
        found = list(islice(self._pass, 1))
        self._pass = chain(found, self._pass)
        return found[0] if found else None

    def state_dict(self) -> dict[str, Any]:
        randomness = self._batches.randomness
        began, consumed = (None, 0) if self._pass is None else (self._began, self._consumed)
        return {"began": began, "consumed": consumed, "now": randomness.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        randomness = self._batches.randomness
        self._pass = None
        if state["began"] is not None:
            randomness.restore(state["began"])
            self._begin()
            assert self._pass is not None
            self._consumed = sum(1 for _ in islice(self._pass, state["consumed"]))
        randomness.restore(state["now"])
        self._sharing.part_ways()


def _exhausted(epoch: int, batch: int) -> AutogradError:
    """The error for data that end before the training does."""
    return AutogradError(
        f"the data ended in epoch {epoch + 1} after {batch} batches.{here()}\n"
        "  A generator runs once: give a function that makes one (fit(make_batches, …)), or a DataLoader."
    )
