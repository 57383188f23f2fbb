"""A training by several processes: each batch shared out, and what comes of it brought together.

All processes read the same batches in the same order, and each takes its part of every one: so the number of processes
changes nothing but who computes what, and a training may be resumed by another number of them. What is logged is of the
whole batch and the same everywhere, so that what callbacks decide by it they decide everywhere alike.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..distributed import (
    DistributedBatchSampler,
    DistributedDataParallel,
    DistributedSampler,
    ZeroRedundancyOptimizer,
    agree,
)
from ..distributed.collectives import from_rank, gathered
from ..distributed.data_parallel import broadcast_tensors
from ..distributed.group import joined, launched
from ..distributed.sampler import part_of
from ..distributed.sums import over_ranks
from ..engine import TensorCore, here, warn, wrap
from ..errors import AutogradError, DistributedError
from ..functions.random import default_generator
from ..nn import Module, ModuleDict
from .batches import Batch, Batches, leaves, rebuilt
from .holdings import optimized, optimizers_of
from .loss_kind import option_of
from .running import number_of

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Sharing", "refuse_divided"]


class Sharing:
    """What one process has of a training, and what it gives to the others.

    Args:
        trainer: who trains.
        learning: whether gradients are to be averaged: those of all modules that the trainer holds.
    """

    def __init__(self, trainer: Trainer, learning: bool = False) -> None:
        self.group = joined()
        self.alone = self.group.size == 1
        self._trainer = trainer
        self._modules = {name: one for name, one in vars(trainer).items() if isinstance(one, Module)}
        self._averaging: list[DistributedDataParallel] = []
        self._given = [one for one in self._modules.values() if isinstance(one, DistributedDataParallel)]
        self._synchronized = [one.synchronizes for one in self._given]
        if not self.alone and learning:
            self._average()
            self._check(trainer)
        if learning and self.alone and launched():
            warn(
                "this process is one of several that a launcher started, and trains alone: so does each of the others.\n"
                "  For a training together call autograd_ff.distributed.init_process_group() at the beginning of the program."
            )

    def _average(self) -> None:
        """Let backward passes average the gradients of all modules, of those that are wrapped already and of the rest."""
        given = {id(one) for model in self._given for one in model.module.parameters()}
        rest = {name: one for name, one in self._modules.items() if not isinstance(one, DistributedDataParallel)}
        rest = {
            name: one
            for name, one in rest.items()
            if any(parameter.requires_grad and id(parameter) not in given for parameter in one.parameters())
        }
        self._averaging = list(self._given)
        if rest:
            # A module by itself has its own names in errors, several have the trainer's before them.
            together = next(iter(rest.values())) if len(rest) == 1 else ModuleDict(rest)
            self._averaging.append(
                DistributedDataParallel(together, find_unused_parameters=True, gradient_as_bucket_view=True)
            )

    def _check(self, trainer: Trainer) -> None:
        """Refuse what would train something else than a process alone does."""
        for one in optimizers_of(trainer):
            if isinstance(one, ZeroRedundancyOptimizer) and one.reduce_gradients:
                raise DistributedError(
                    f"the trainer averages gradients, and clips and looks at the means; with reduce_gradients=True the "
                    f"optimizer would.{here()}\n  Leave reduce_gradients away."
                )
        if trainer.penalty is not None and option_of(trainer.loss, "reduction", "mean") == "sum":
            raise DistributedError(
                f"of a loss that is a sum each process has a part, and a penalty would count in each of them.{here()}\n"
                "  Take reduction='mean', or add the penalty's gradient by the optimizer's weight_decay."
            )
        known = {id(one) for model in self._averaging for one in model.module.parameters()}
        outside = [one for one in optimized(trainer) if one.requires_grad and id(one) not in known]
        if outside:
            shapes = ", ".join(str(tuple(one.shape)) for one in outside[:3])
            raise DistributedError(
                f"the optimizer trains {len(outside)} tensors of no module that the trainer holds, of shapes {shapes}: the "
                f"processes could not average their gradients.{here()}\n"
                "  Make them Parameters of the model, or of another Module that is an attribute of the trainer."
            )

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints, plots and writes."""
        return self.group.rank == 0

    def close(self) -> None:
        """The gradients are this process's own again."""
        for model in self._averaging:
            if not any(model is one for one in self._given):
                model.detach()
        for model, synchronizes in zip(self._given, self._synchronized, strict=True):
            model.synchronizes = synchronizes
        self._averaging = []

    def agree(self, what: str, *values: Any) -> None:
        """Raise, everywhere, where the processes were not asked for the same."""
        agree(what, values, self.group)

    # ---------------------------------------------------------------- batches

    def start_pass(self, batches: Batches, purpose: str) -> Iterator[Batch]:
        """A pass over the data in the order that the first process draws; errors name its purpose."""
        if self.alone:
            return batches.epoch()
        batches.randomness.restore(self.common(batches.randomness.state(), f"{purpose}, the order of the data"))
        begun = batches.epoch()
        # Some samplers draw when they are first asked: before the processes' random numbers part.
        first = list(islice(begun, 1))
        self.agree(
            "the first batch of a pass over the data", *(_described(field) for batch in first for field in batch)
        )
        self.part_ways()
        return chain(first, begun)

    def part(self, batch: Batch) -> tuple[Batch, int]:
        """This process's part of a batch, and how many samples of it count: none, where the processes are more."""
        if self.alone:
            return batch, batch.size
        size = batch.size
        rows = part_of(size, self.group.size, self.group.rank)
        counted = rows.stop - rows.start
        if not counted:  # one that another process has too, so that all take the same steps
            first = min(rows.start, size - 1)
            rows = slice(first, first + 1)
        return Batch(*(_rows(field, rows, size) for field in batch)), counted

    def share(self, part: Batch, counted: int, batches: Sequence[Batch]) -> Any:
        """What the loss of a part counts in the step that takes all these batches, as a Tensor; None for all of it."""
        if self.alone and len(batches) == 1:
            return None
        return wrap(np.asarray(self._proportion(part, counted, batches) * self.group.size))

    def _proportion(self, part: Batch, counted: int, batches: Sequence[Batch]) -> float:
        if not counted:
            return 0.0
        own, whole = self._trainer.divisor(*part), [self._trainer.divisor(*batch) for batch in batches]
        if own is None:  # a sum, of which each part counts in full
            return 1.0
        total = sum(one for one in whole if one is not None)
        return own / total if total else math.nan  # as the mean of nothing is

    def synchronize(self, last: bool) -> None:
        """Whether the backward pass that comes averages gradients: that of the last part of a step."""
        if any(model.changes() for model in self._averaging if not any(model is one for one in self._given)):
            self.close()  # a callback has frozen or unfrozen some
            self._average()
        for model in self._averaging:
            model.synchronizes = last
            if last:
                model.arrange()

    # ---------------------------------------------------------------- what comes of them

    def together(
        self, result: Any, part: Batch, counted: int, batch: Batch, stopping: bool = False
    ) -> tuple[Any, bool]:  # fmt: skip
        """What a step gave on the whole batch.

        Args:
            result: what it gave on this process's part: numbers under their names, and ``"outputs"`` where somebody wants
                them.
            part, counted: as `part` has them.
            batch: the whole.
            stopping: whether this process wants to stop.

        Returns:
            The loss of the batch, the means of other numbers over its samples, its outputs, and whether any process wants
            to stop.
        """
        if self.alone:
            return result, stopping
        values = dict(result) if isinstance(result, Mapping) else {"loss": result}
        outputs = values.pop("outputs", None)
        numbers = [number_of(name, value) for name, value in values.items()]
        weights = [self._proportion(part, counted, [batch]) if name == "loss" else counted for name in values]
        terms = [number * weight if weight else 0.0 for number, weight in zip(numbers, weights, strict=True)]
        # Added in the order of the ranks, so that all have the same bits and decide alike.
        *totals, samples, wishes = over_ranks(np.array([*terms, counted, stopping]), self.group, "logs").sum(0).tolist()
        joined = dict(zip(values, totals, strict=True))
        values = {name: total if name == "loss" else total / samples for name, total in joined.items()}
        if outputs is not None:
            everyones = gathered([_counted(one, counted) for one in _flat(outputs)], self.group, "a batch's outputs")
            columns = zip(*everyones, strict=True)
            values["outputs"] = _like(outputs, iter([_joined(column) for column in columns]))
        return values, wishes > 0

    def buffers(self) -> None:
        """Have the first process's buffers everywhere: running statistics are of each one's own part."""
        if not self.alone:
            broadcast_tensors(
                [one for module in self._modules.values() for _, one in module.named_buffers()], self.group
            )

    # ---------------------------------------------------------------- what the first process does for all

    def consolidate(self, optimizers: Iterable[Any]) -> None:
        """Have the whole state of each optimizer in the first process, of those that are spread over all."""
        for one in optimizers:
            if isinstance(one, ZeroRedundancyOptimizer) and not one.consolidated:
                one.consolidate_state_dict(to=0)

    def attempt(self, action: Callable[[], Any]) -> Exception | None:
        """Let the first process write something, and the others wait for it; why it could not, for all alike.

        Raises:
            AutogradError: what the first one met, unless it was the disk that failed.
        """
        failure: Exception | None = None
        if self.leads:
            try:
                action()
            except (OSError, AutogradError) as error:
                failure = error
        failure = self.common(failure, "writing a file")
        if isinstance(failure, AutogradError):
            raise failure
        return failure

    # ---------------------------------------------------------------- chance

    def common(self, value: Any, name: str = "what rank 0 has") -> Any:
        """What the first process has, in all."""
        return value if self.alone else from_rank(value, 0, self.group, name)

    @contextmanager
    def alike(self, state: Any = None) -> Iterator[None]:
        """All processes draw the same random numbers, from the first one's ``state`` (of now) on; then their own again."""
        if self.alone:
            yield
            return
        bits: Any = default_generator().numpy.bit_generator
        before = bits.state
        bits.state = self.common(before if state is None else state)
        try:
            yield
        finally:
            bits.state = before

    def part_ways(self) -> None:
        """Have the default generator go on differently in each process, so that dropout is not the same in all parts."""
        if self.group.rank:
            bits: Any = default_generator().numpy.bit_generator
            bits.state = bits.jumped(self.group.rank).state


def refuse_divided(data: Any) -> None:
    """Raise where a loader's batches are a process's part already: a part of the part would leave samples out."""
    for name in ("sampler", "batch_sampler"):
        sampler = getattr(data, name, None)
        if isinstance(sampler, (DistributedSampler, DistributedBatchSampler)) and sampler.num_replicas > 1:
            raise DistributedError(
                f"the data come with a {type(sampler).__name__}, and the trainer gives each process its part of every "
                f"batch by itself.{here()}\n  Give it the loader as for one process."
            )


def _described(field: Any) -> str:
    """A field of a batch in a few words that differ where the field does."""
    arrays = [one.array for one in _flat(field) if isinstance(one, TensorCore)]
    digest = hashlib.sha256(b"".join(one.tobytes() for one in arrays)).hexdigest()
    return f"{', '.join(f'{one.dtype} {one.shape}' for one in arrays) or 'nothing'} of digest {digest[:12]}"


def _rows(field: Any, rows: slice, size: int) -> Any:
    """Some samples of a field of a batch; what has no samples is for all."""
    if isinstance(field, TensorCore):
        return wrap(field.array[rows]) if field.array.ndim and field.array.shape[0] == size else field
    if isinstance(field, (tuple, list, Mapping)):
        return rebuilt(field, [_rows(one, rows, size) for one in leaves(field)])
    return field


def _flat(value: Any) -> list[Any]:
    """The arrays in a structure of any depth."""
    if isinstance(value, (tuple, list, Mapping)):
        return [leaf for one in leaves(value) for leaf in _flat(one)]
    return [value]


def _like(value: Any, found: Iterator[Any]) -> Any:
    """A structure of the same form, of other arrays."""
    if isinstance(value, (tuple, list, Mapping)):
        return rebuilt(value, [_like(one, found) for one in leaves(value)])
    return next(found)


def _counted(value: Any, counted: int) -> Any:
    array = value.array if isinstance(value, TensorCore) else value
    return array[:counted] if np.ndim(array) else array


def _joined(parts: Sequence[Any]) -> Any:
    """The parts of an output along the samples; of what has none, the first process's."""
    return wrap(np.concatenate(parts) if np.ndim(parts[0]) else np.asarray(parts[0]))
