"""A training by several processes: each batch shared out, and what comes of it brought together.

All processes read the same batches in the same order, and each takes its part of every one: so the number of processes
changes nothing but who computes what, and a training may be resumed by another number of them. What is logged is of the
whole batch and the same everywhere, so that what callbacks decide by it they decide everywhere alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..distributed import (
    DistributedDataParallel,
    ReduceOp,
    ZeroRedundancyOptimizer,
    agree,
    all_gather_object,
    all_reduce,
    broadcast,
    broadcast_object,
)
from ..distributed.group import world
from ..engine import TensorCore, get_default_dtype, wrap
from ..functions.random import default_generator
from .batches import Batch, leaves, rebuilt
from .running import number_of

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Sharing"]


class Sharing:
    """What one process has of a training, and what it gives to the others.

    Args:
        trainer: whose model's gradients are averaged, if there are others.
    """

    def __init__(self, trainer: Trainer, learning: bool = False) -> None:
        self.group = world()
        self.alone = self.group.size == 1
        self._wrapped: DistributedDataParallel | None = None
        self._model = trainer.model
        if not self.alone and learning:
            given = trainer.model
            self._wrapped = given if isinstance(given, DistributedDataParallel) else DistributedDataParallel(given)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints, plots and writes."""
        return self.group.rank == 0

    def close(self) -> None:
        """The gradients are this process's own again."""
        if self._wrapped is not None and self._wrapped is not self._model:
            self._wrapped.detach()
        self._wrapped = None

    def agree(self, what: str, *values: Any) -> None:
        """Raise, everywhere, where the processes were not asked for the same."""
        agree(what, values, self.group)

    # ---------------------------------------------------------------- batches

    def part(self, batch: Batch) -> tuple[Batch, int]:
        """This process's part of a batch, and how many samples of it count: none, where the processes are more."""
        if self.alone:
            return batch, batch.size
        size, rank, ranks = batch.size, self.group.rank, self.group.size
        first, last = rank * size // ranks, (rank + 1) * size // ranks
        counted = last - first
        if not counted:  # one that another process has too, so that all take the same steps
            first, last = min(first, size - 1), min(first, size - 1) + 1
        return Batch(*(_rows(field, slice(first, last), size) for field in batch)), counted

    def share(self, counted: int, samples: int) -> Any:
        """What the mean over a part counts in the mean over all samples of a step, as a Tensor; None for all."""
        if self.alone and counted == samples:
            return None
        return wrap(np.asarray(counted * self.group.size / samples, get_default_dtype()))

    def synchronize(self, last: bool) -> None:
        """Whether the backward pass that comes averages gradients: that of the last part of a step."""
        if self._wrapped is not None:
            self._wrapped.synchronizes = last

    # ---------------------------------------------------------------- what comes of them

    def together(self, result: Any, counted: int, stopping: bool = False) -> tuple[Any, bool]:
        """What a step gave on the whole batch.

        Args:
            result: what it gave on this process's part: numbers under their names, and ``"outputs"`` where somebody wants
                them.
            counted: how many samples of the part count.
            stopping: whether this process wants to stop.

        Returns:
            The means of the numbers over the batch and its outputs, and whether any process wants to stop.
        """
        if self.alone:
            return result, stopping
        values = dict(result) if isinstance(result, Mapping) else {"loss": result}
        outputs = values.pop("outputs", None)
        numbers = [number_of(name, value) for name, value in values.items()]
        if outputs is None:
            sums = np.array([number * counted if counted else 0.0 for number in numbers] + [counted, stopping])
            all_reduce(sums, ReduceOp.SUM, self.group)
            *totals, samples, wishes = sums.tolist()
        else:
            own = [_counted(one, counted) for one in leaves(outputs)]
            everyones = all_gather_object((numbers, counted, stopping, own), self.group)
            samples, wishes = (sum(part[place] for part in everyones) for place in (1, 2))
            totals = [sum(part[0][place] * part[1] for part in everyones if part[1]) for place in range(len(numbers))]
            columns = zip(*(part[3] for part in everyones), strict=True)
            values["outputs"] = rebuilt(outputs, [_joined(column) for column in columns])
        values.update(zip(values, (total / samples for total in totals), strict=False))
        return values, wishes > 0

    def buffers(self) -> None:
        """Have the first process's buffers everywhere: running statistics are of each one's own part."""
        if not self.alone:
            for _, buffer in self._model.named_buffers():
                broadcast(buffer, 0, self.group)

    def consolidate(self, optimizers: Iterable[Any]) -> None:
        """Have the whole state of each optimizer in the first process, of those that are spread over all."""
        for one in optimizers:
            if isinstance(one, ZeroRedundancyOptimizer):
                one.consolidate_state_dict(to=0)

    def common(self, value: Any) -> Any:
        """What the first process has: the state of the randomness by which all draw an epoch, or what came of writing."""
        return value if self.alone else broadcast_object(value, 0, self.group)

    # ---------------------------------------------------------------- chance

    def apart(self) -> None:
        """Have the default generator go on differently in each process, so that dropout is not the same in all parts."""
        if self.group.rank:
            bits: Any = default_generator().numpy.bit_generator
            bits.state = bits.jumped(self.group.rank).state


def _rows(field: Any, rows: slice, size: int) -> Any:
    """Some samples of a field of a batch; what has no samples is for all."""
    if isinstance(field, TensorCore):
        return wrap(field.array[rows]) if field.array.ndim and field.array.shape[0] == size else field
    if isinstance(field, (tuple, list, Mapping)):
        return rebuilt(field, [_rows(one, rows, size) for one in leaves(field)])
    return field


def _counted(value: Any, counted: int) -> Any:
    array = value.array if isinstance(value, TensorCore) else value
    return array[:counted] if np.ndim(array) else array


def _joined(parts: Sequence[Any]) -> Any:
    """The parts of a field along the samples; what has none is everywhere the same."""
    return wrap(np.concatenate(parts)) if np.ndim(parts[0]) else parts[0]
