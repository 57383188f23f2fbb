"""What neighbours tell each other while they wait, so that a job that can never go on ends with a reason.

The ranks of a group are a ring. A rank that ends its program tells both neighbours; so does one that has waited for long,
and what in. That is enough for all: wherever some ranks have left and others have not, or some wait in one collective and
others in another, two neighbours differ, and one error ends the job.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from ..engine import here
from ..errors import DistributedError

if TYPE_CHECKING:
    from .group import ProcessGroup

__all__ = ["Watch"]

TAG = 32767  # the largest that every MPI knows
LOOK = 0.05  # seconds between two looks at what came
QUIET = 60.0  # seconds after which one that has ended its program says for whom it waits
PATIENCE = 1.0  # seconds of waiting before the neighbours are told; then after twice as long, and so on


class Watch:
    """The neighbours of this rank among those of one communicator.

    Args:
        group: whose communicator the messages go over.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self.communicator = group.communicator
        self.rank = group.rank
        self.groups = [group]  # and its channels: collectives of each are matched by their order
        self.neighbours = {(group.rank + 1) % group.size, (group.rank - 1) % group.size} - {group.rank}
        self.left: dict[int, tuple[int, ...]] = {}  # neighbours that have ended, and how many collectives they began
        self.waiting: dict[int, list[Any]] = {}  # of each neighbour: its last message, and how often it came
        self._sent: list[Any] = []

    def _begun(self) -> tuple[int, ...]:
        return tuple(group.calls for group in self.groups)

    def _tell(self, kind: str, *facts: Any) -> None:
        self._sent = [request for request in self._sent if not request.Test()]
        message = (kind, self._begun(), *facts)
        self._sent += [self.communicator.isend(message, one, TAG) for one in self.neighbours]

    def _listen(self) -> None:
        for one in self.neighbours:
            while self.communicator.Iprobe(one, TAG):
                kind, *facts = self.communicator.recv(source=one, tag=TAG)
                if kind == "left":
                    self.left[one] = facts[0]
                elif one in self.waiting and self.waiting[one][0] == facts:
                    self.waiting[one][1] += 1
                else:
                    self.waiting[one] = [facts, 1]

    def patrol(self, group: ProcessGroup, number: int, name: str) -> Patrol:
        """For a rank that begins to wait."""
        return Patrol(self, group, number, name)

    def leave(self, timeout: float | None = None) -> None:
        """Tell that this rank begins no collective any more, and wait until the neighbours say so too.

        Without a time limit: what one rank alone does at the end may take as long as it likes.

        Raises:
            DistributedError: they have not within ``timeout`` seconds.
        """
        self._tell("left")
        begun, quiet = time.monotonic(), QUIET
        for pause in itertools.chain((0.0,) * 100, itertools.repeat(0.002)):
            self._listen()
            if self.left.keys() >= self.neighbours:
                return
            waited = time.monotonic() - begun
            missing = ", ".join(map(str, sorted(self.neighbours - self.left.keys())))
            if timeout is None and waited > quiet:
                quiet = math.inf
                print(
                    f"rank {self.rank} has ended its program, and waits for rank {missing} to end too.", file=sys.stderr
                )
            if timeout is not None and waited > timeout:
                raise DistributedError(
                    f"rank {self.rank} leaves the group, and within {timeout:g} s rank {missing} has not.{here()}"
                )
            time.sleep(pause)


class Patrol:
    """Looks out for a reason why what this rank waits in can never end."""

    def __init__(self, watch: Watch, group: ProcessGroup, number: int, name: str) -> None:
        self.watch = watch
        self.channel = watch.groups.index(group)
        self.number = number
        self.name = name
        self.begun = time.monotonic()
        self.next_look = self.begun
        self.next_word = PATIENCE

    def look(self) -> None:
        """Call it again and again while waiting.

        Raises:
            DistributedError: a neighbour has left, or both wait for each other.
        """
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + LOOK
        watch = self.watch
        watch._listen()
        ours = f"rank {watch.rank} waits in {self.name}"
        for one, begun in watch.left.items():
            if _count(begun, self.channel) < self.number:
                raise DistributedError(
                    f"rank {one} has ended its program, and {ours}.{here()}\n"
                    "  All ranks have to do the same collectives: as many batches, the same branches."
                )
        if now - self.begun < self.next_word:
            return
        self.next_word *= 2
        watch._tell("waits", self.channel, self.number, self.name, here())
        for one, (facts, times) in watch.waiting.items():
            begun, channel, number, name, place = facts
            apart = _count(begun, self.channel) < self.number and _count(watch._begun(), channel) < number
            if times > 1 and apart:
                raise DistributedError(
                    f"two ranks wait for each other: {ours}{here()};\n  rank {one} waits in {name}{place}.\n"
                    "  All ranks have to do the same collectives in the same order."
                )
            known = watch.groups[channel].names.get(number, name) if channel < len(watch.groups) else name
            if known != name:  # both have begun what goes by this number, and it was not the same
                besides = "" if known == self.name else f", and waits in {self.name}"
                raise DistributedError(
                    f"two ranks do not do the same: rank {one} waits in {name}{place};\n  rank {watch.rank} did {known} in "
                    f"its place{besides}{here()}.\n  All ranks have to do the same collectives in the same order; a model "
                    "that is in train() here and in eval() there does not."
                )


def _count(begun: tuple[int, ...], channel: int) -> int:
    return begun[channel] if channel < len(begun) else 0
