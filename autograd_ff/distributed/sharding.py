"""Flat buffers of which every process keeps moments for one stretch: who has which, and how they are joined.

With N processes a flat array of n numbers falls into N stretches of ⌈n / N⌉ (rounded up to whole cache lines), without
regard to where a parameter ends. Everybody holds all parameters, and moments for the stretch of its own rank. A step has
three parts: the mean gradient of a process's own stretch, the update of that stretch, and the new parameters of all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import apply_raw, condition, depend, here, restructured, versions
from ..engine.core_ops import write
from ..errors import DistributedError
from ..optim.flat import FlatBuffer, ParameterState
from .agreement import agree
from .collectives import meet
from .data_parallel import DistributedDataParallel
from .group import ProcessGroup
from .operations import average_slice, collective, join_presence
from .work import bits_of, start

__all__ = ["ShardedBuffer"]

LINE = 16  # numbers; a stretch begins on a cache line of its own
EXCHANGED = 1 << 20  # numbers that are on their way at once, to all ranks together
LEAST = 1 << 12  # and at least to each


class ShardedBuffer(FlatBuffer):
    """A `FlatBuffer` that keeps moments for, and updates, the stretch of this process's rank alone.

    Args:
        params, dtype: see `FlatBuffer`; the values become those of rank 0.
        group: the processes.
        reduce_gradients: whether the mean of the gradients is yet to be taken; see `ZeroRedundancyOptimizer`.
        optimizer: the one that this is a buffer of.
    """

    def __init__(
        self, params: Sequence[Any], dtype: np.dtype[Any], group: ProcessGroup, reduce_gradients: bool | None,
        optimizer: Any,
    ) -> None:  # fmt: skip
        super().__init__(params, dtype)
        self.optimizer = optimizer
        self.group = group
        self.reduce_gradients = reduce_gradients
        agree("the optimizer's parameters", [f"{one.array.dtype} {one.array.shape}" for one in params], group)
        total = self.bounds[-1]
        self.stretch = -(-total // (group.size * LINE)) * LINE
        self.edges = [min(rank * self.stretch, total) for rank in range(group.size + 1)]
        if group.size > 1:
            start(group, "broadcast of an optimizer's parameters", "Ibcast", bits_of(self.array), root=0).wait()
        low, high = self.edges[group.rank : group.rank + 2]
        self.home = self.array[low:high]
        self.cuts = [min(max(bound, low), high) - low for bound in self.bounds]
        # Of the stretch: the mean gradient, and each parameter's part of it. Of one process, each gradient as it is.
        self.mean = np.empty(high - low if group.size > 1 else 0, dtype)
        self.pieces = [self.mean[self._span(at)] for at in range(len(params))] if group.size > 1 else []
        self.present = np.zeros(len(params), np.int8)
        self.factor = dtype.type(1 / group.size)
        self._collected: tuple[Any, list[np.ndarray | None]] | None = None
        self._looked = -1  # versions.structure when it was last asked who averages the gradients
        self._averaged = False

    def _span(self, position: int) -> slice:
        return slice(self.cuts[position], self.cuts[position + 1])

    # ---------------------------------------------------------------- what FlatBuffer does for the whole array

    def part(self, flat: np.ndarray, position: int) -> np.ndarray:
        """What of a parameter's moment is kept here: a vector, which may be empty; in one process all, in its shape."""
        if self.group.size == 1:
            return super().part(flat, position)
        return flat[self._span(position)]

    def state(self, position: int) -> ParameterState:
        """A copy of what all processes together keep for one parameter; they all have to ask for it."""
        moments = {name: self.whole(flat, position) for name, flat in self.moments.items()}
        return ParameterState(
            self.counts[position], {name: value for name, value in moments.items() if value is not None}
        )

    def set_state(self, position: int, state: ParameterState) -> None:
        restructured()
        self.counts[position] = state.count
        self._compare_counts()
        self.require(*state.moments)
        first = self.edges[self.group.rank] + self.cuts[position] - self.bounds[position]
        for name, flat in self.moments.items():
            target = flat[self._span(position)]
            value = np.asarray(state.moments.get(name, 0.0))
            apply_raw(write, (target, value.reshape(-1)[first : first + target.size] if value.ndim else value))

    def kept(self) -> tuple[list[int], dict[str, np.ndarray]]:
        """Copies of what this process has: how many steps each parameter took, and the stretch of each moment."""
        return list(self.counts), {name: flat.copy() for name, flat in self.moments.items()}

    def take_back(self, counts: list[int], moments: dict[str, np.ndarray]) -> None:
        """Have what `kept` gave; moments that came since become zero."""
        restructured()
        self.counts[:] = counts
        self._compare_counts()
        self._collected = None
        for name, flat in self.moments.items():
            apply_raw(write, (flat, moments.get(name, np.zeros((), self.dtype))))

    # ---------------------------------------------------------------- gradients

    def gradients(self) -> list[np.ndarray | None]:
        """The mean gradient of each parameter, as far as it lies in this stretch; None where no process has one."""
        if self._collected is not None:
            witness, found = self._collected
            self._collected = None
            if _alike(witness, self._witness()):
                return found
        return self._collect()

    def collect(self) -> list[np.ndarray | None]:
        """`gradients` before the step. After `keep` the step takes them as they are then, unless a backward pass comes between."""
        found = self.gradients()
        self._collected = [], found
        return found

    def keep(self) -> None:
        """Note that what was collected is as the step shall take it."""
        if self._collected is not None:
            self._collected = self._witness(), self._collected[1]

    def _witness(self) -> list[tuple[Any, int]]:
        """Which gradients there are, and how often each was written."""
        arrays = [None if one is None or one._grad is None else one._grad.array for one in self.params]
        return [(one, 0 if one is None else versions.version(one)) for one in arrays]

    def _collect(self) -> list[np.ndarray | None]:
        found = super().gradients()
        if self.group.size == 1:
            return found
        anywhere = [one is not None for one in found]
        averaged = depend(self._are_averaged)
        if not averaged:
            own = tuple(anywhere)
            apply_raw(join_presence, (self.present,), {"own": own, "run": self._join})
            anywhere = [bool(one) for one in self.present]
            condition(same_parameters_have_gradients, self.present, tuple(anywhere))
        if any(anywhere):
            positions = tuple(at for at, one in enumerate(found) if one is not None)
            given = [one for one in found if one is not None]
            run = self._cut if averaged else self._reduce
            apply_raw(average_slice, (self.mean, *given), {"positions": positions, "run": run})
        return [piece if one else None for piece, one in zip(self.pieces, anywhere, strict=True)]

    def _are_averaged(self) -> bool:
        """Whether the gradients are means over all processes already, when they come here."""
        if self._looked != versions.structure:
            self._looked = versions.structure
            models = [_averager(one) for one in self.params if one is not None and one.requires_grad]
            self._averaged = not self.reduce_gradients
            if self.reduce_gradients is None:
                self._averaged = bool(models) and None not in models
            elif self.reduce_gradients:
                for one in {id(one): one for one in models if one is not None}.values():
                    self._take_over(one)
        return self._averaged

    def _take_over(self, model: DistributedDataParallel) -> None:
        """Have a model leave the means to this optimizer, which has to hold all that the model averages."""
        mine = {id(one) for group in self.optimizer.param_groups for one in group["params"]}
        others = [name for name, one in model.module.named_parameters() if one.requires_grad and id(one) not in mine]
        if others:
            raise DistributedError(
                f"reduce_gradients=True: the model would average no gradient any more, and {', '.join(others[:8])} "
                f"are none of this optimizer's.{here()}\n  Leave reduce_gradients away, or give the optimizer all of them."
            )
        model.averages = False

    def _join(self, present: np.ndarray) -> None:
        from mpi4py import MPI

        name = "all_reduce of which parameters have gradients"
        meet(self.group, name)
        start(self.group, name, "Iallreduce", MPI.IN_PLACE, present, op=MPI.MAX).wait()

    def _cut(self, mean: np.ndarray, gradients: Sequence[np.ndarray], positions: Sequence[int]) -> None:
        low, high = self.edges[self.group.rank : self.group.rank + 2]
        self._copy(mean, self._placed_at(gradients, positions), low, high, None)

    def _reduce(self, mean: np.ndarray, gradients: Sequence[np.ndarray], positions: Sequence[int]) -> None:
        """The mean over all ranks of this rank's stretch: everybody sends every rank its stretch of the own gradient.

        The sum is taken in the order of the ranks, so it has the same bits in every run.
        """
        placed = self._placed_at(gradients, positions)
        size = min(self.stretch, max(LEAST, EXCHANGED // self.group.size))
        sent = np.empty((self.group.size, size), self.dtype)
        received = np.empty_like(sent)
        wide = np.float32 if self.dtype == np.float16 else self.dtype
        for begin in range(0, self.stretch, size):
            for rank, row in enumerate(sent):
                low = min(self.edges[rank] + begin, self.edges[rank + 1])
                high = min(low + size, self.edges[rank + 1])
                self._copy(row[: high - low], placed, low, high, self.factor)
            name = f"reduce_scatter of gradients, {self.dtype} {self.array.shape} from {begin}"
            start(self.group, name, "Ialltoall", bits_of(sent), bits_of(received)).wait()
            target = mean[begin : begin + size]
            total = received[0, : target.size].astype(wide)
            for row in received[1:]:
                np.add(total, row[: target.size], out=total)
            np.copyto(target, total, casting="same_kind")

    def _placed_at(self, gradients: Sequence[np.ndarray], positions: Sequence[int]) -> list[np.ndarray | None]:
        placed: list[np.ndarray | None] = [None] * len(self.params)
        for position, gradient in zip(positions, gradients, strict=True):
            placed[position] = gradient
        return placed

    def _copy(
        self, out: np.ndarray, gradients: Sequence[np.ndarray | None], low: int, high: int, factor: Any
    ) -> None:  # fmt: skip
        """``factor`` times the numbers from ``low`` to ``high`` of all gradients end to end; zeros where there is none."""
        position = bisect_right(self.bounds, low) - 1
        at = low
        while at < high:
            stop = min(high, self.bounds[position + 1])
            gradient, target = gradients[position], out[at - low : stop - low]
            if gradient is None:
                target[...] = 0
            else:
                flat = gradient.reshape(-1)[at - self.bounds[position] : stop - self.bounds[position]]
                np.copyto(target, flat) if factor is None else np.multiply(flat, factor, out=target)
            at = stop
            position += 1

    # ---------------------------------------------------------------- parameters and moments of all

    def gather(self) -> None:
        """Have the parameters that every process has updated."""
        if self.group.size > 1:
            apply_raw(collective, (self.array,), {"run": self._gather})

    def _gather(self, array: np.ndarray) -> None:
        from mpi4py import MPI

        sizes = np.diff(self.edges)
        whole = [bits_of(array), (sizes, self.edges[:-1])]
        name = f"all_gather of updated parameters, {array.dtype} {array.shape}"
        meet(self.group, name)
        start(self.group, name, "Iallgatherv", MPI.IN_PLACE, whole).wait()

    def whole(self, flat: np.ndarray, position: int, to: int | None = None) -> np.ndarray | None:
        """A parameter's moment from all processes, in the parameter's shape; at ``to`` only, where that is a rank."""
        shape = self.placed[position].shape
        own = flat[self._span(position)]
        if self.group.size == 1:
            return own.reshape(shape).copy()
        first, last = self.bounds[position : position + 2]
        edges = [min(max(edge, first), last) for edge in self.edges]
        sizes = (np.diff(edges), [edge - first for edge in edges[:-1]])
        name = f"gathering of a moment, {self.dtype} {shape}"
        meet(self.group, name)
        if to is None:
            array = np.empty(last - first, self.dtype)
            start(self.group, name, "Iallgatherv", bits_of(own), [bits_of(array), sizes]).wait()
            return array.reshape(shape)
        array = np.empty(last - first if to == self.group.rank else 0, self.dtype)
        received = [bits_of(array), sizes] if to == self.group.rank else None
        start(self.group, name, "Igatherv", bits_of(own), received, root=to).wait()
        return array.reshape(shape) if to == self.group.rank else None


def same_parameters_have_gradients(present: np.ndarray, expected: tuple[bool, ...]) -> bool:
    return tuple(present.astype(bool).tolist()) == expected


def _alike(before: list[tuple[Any, int]], now: list[tuple[Any, int]]) -> bool:
    return len(before) == len(now) and all(
        one is other and count == number for (one, count), (other, number) in zip(before, now, strict=True)
    )


def _averager(param: Any) -> DistributedDataParallel | None:
    """The model that averages a parameter's gradient when a backward pass has made it."""
    hooks = None if param.node is None else param.node.hooks
    for hook in () if hooks is None else hooks.after.values():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, DistributedDataParallel):
            return owner
    return None
