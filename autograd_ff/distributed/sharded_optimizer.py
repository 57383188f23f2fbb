"""`ZeroRedundancyOptimizer`: any of the optimizers, with its moments spread over the processes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from ..engine import apply_raw, copy, here, wrap
from ..engine.tensor import note_read
from ..errors import DistributedError, OptimizerError, ShapeError
from ..functions.tensor import Tensor
from ..kernels.clipping import scale_gradient
from ..optim.flat import FlatBuffer
from ..optim.optimizer import FlatOptimizer
from .group import ProcessGroup, world
from .operations import norm_over_ranks
from .sharding import ShardedBuffer
from .sums import over_ranks

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(FlatOptimizer):
    """An optimizer that keeps moments for one N-th of the parameters in each of N processes.

    A step takes the mean gradient of a process's own stretch of the flat parameters, updates that stretch, and gathers
    the stretches of all: the parameters are then those that the optimizer alone would have made, to rounding. Adam needs
    8 / N bytes a parameter for its moments instead of 8. The result is an instance of ``optimizer_class`` too, with its
    options, parameter groups and schedulers.

    Where the gradients come from is found out: where a `DistributedDataParallel` model averages them, each process takes
    its stretch of the mean. Where none does, ``step()`` averages them itself, each stretch on its way to its process (a
    reduce-scatter), which takes two thirds of the traffic; ``reduce_gradients=True`` makes the model leave it to the
    optimizer. Gradients are then each process's own until the step: clip them by `clip_grad_norm_` of this class.

    Args:
        params: as for ``optimizer_class``, the same in every process; their values become those of rank 0.
        optimizer_class: `SGD`, `Adam`, `AdamW`, `RMSprop`, `Adagrad` or a `FlatOptimizer` of your own.
        process_group: the processes; all of them if None.
        parameters_as_bucket_view, overlap_with_ddp: PyTorch's. The first is without effect, as parameters always are
            slices of flat arrays; the second is not offered.
        reduce_gradients: True if the optimizer takes the mean, False if the gradients come as means, None to find out.
        options: of ``optimizer_class``.

    Raises:
        DistributedError: the processes have different parameters.
        OptimizerError: a class that does not work on flat arrays.

    Source: Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models", stage 1.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> w = af.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = distributed.ZeroRedundancyOptimizer([w], af.optim.Adam, lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in w.tolist()], isinstance(optimizer, af.optim.Adam)
    ([0.9, 1.9], True)
    """

    def __new__(cls, params: Any, optimizer_class: Any, *args: Any, **options: Any) -> ZeroRedundancyOptimizer:
        if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, FlatOptimizer)):
            name = getattr(optimizer_class, "__name__", repr(optimizer_class))
            raise OptimizerError(
                f"the state of {name} cannot be spread over processes: it is not a FlatOptimizer.{here()}\n"
                "  Use one of autograd_ff.optim, or derive from optim.optimizer.FlatOptimizer."
            )
        return super().__new__(_sharded(cls, optimizer_class))

    def __init__(
        self, params: Any, optimizer_class: type[FlatOptimizer], process_group: ProcessGroup | None = None,
        parameters_as_bucket_view: bool = False, overlap_with_ddp: bool = False, *,
        reduce_gradients: bool | None = None, **options: Any,
    ) -> None:  # fmt: skip
        if overlap_with_ddp:
            raise OptimizerError(
                f"overlap_with_ddp=True is not offered: step() is called by you, after backward().{here()}\n"
                "  Leave it away; the gradients of a DistributedDataParallel are averaged while backward() runs."
            )
        self.process_group = process_group or world()
        self.reduce_gradients = reduce_gradients
        self._make_buffer = functools.partial(
            ShardedBuffer, group=self.process_group, reduce_gradients=reduce_gradients, optimizer=self
        )
        self._to: Any = False  # while a state dict is gathered: for which rank, None for all
        self._consolidated: dict[str, Any] | None = None
        self.consolidated = False  # whether consolidate_state_dict was called since the last step
        self._norms: dict[Any, np.ndarray] = {}
        super().__init__(params, **options)

    def _update(self, buffer: FlatBuffer, gradients: list[np.ndarray | None], group: dict[str, Any]) -> None:
        super()._update(buffer, gradients, group)
        assert isinstance(buffer, ShardedBuffer)
        if any(one is not None for one in gradients):
            buffer.gather()

    # ---------------------------------------------------------------- clipping

    def clip_grad_norm_(
        self, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
    ) -> Tensor:  # fmt: skip
        """Scale the mean gradients that the next step takes so that their common norm is at most ``max_norm``.

        Call it between ``backward()`` and ``step()``, in every process. The ``.grad`` of parameters stay as they are
        (those of a single process are scaled).

        Args:
            max_norm: the norm that they shall have at most.
            norm_type: the p of the p-norm, ``inf`` among them.
            error_if_nonfinite: raise where the norm is NaN or infinite.

        Returns:
            The norm before clipping, of all parameters, the same in every process.

        >>> import autograd_ff as af
        >>> from autograd_ff import distributed
        >>> w = af.zeros(2, requires_grad=True)
        >>> optimizer = distributed.ZeroRedundancyOptimizer([w], af.optim.SGD, lr=1.0)
        >>> (w * af.tensor([30.0, 40.0])).sum().backward()
        >>> optimizer.clip_grad_norm_(5.0)
        tensor(50.)
        >>> optimizer.step()
        >>> w
        tensor([-3., -4.], requires_grad=True)
        """
        buffers = self._stretches()
        gradients = [one for buffer in buffers for one in buffer.collect() if one is not None]
        dtype = np.result_type(*[buffer.dtype for buffer in buffers]) if buffers else np.dtype(np.float32)
        known = self._norms.setdefault(dtype, np.zeros((), dtype))
        run = None if self.process_group.size == 1 else self._all_norms
        apply_raw(norm_over_ranks, (known, *gradients), {"norm_type": float(norm_type), "run": run})
        norm = wrap(apply_raw(copy, (known,)))
        if error_if_nonfinite:
            note_read(norm, "item")
            if not np.isfinite(norm.array):
                raise ShapeError(
                    f"the norm of the gradients is {norm.array.item()}, so they cannot be clipped.{here()}\n"
                    "  Find the operation that made the first such number with detect_anomaly()."
                )
        for one in gradients:
            apply_raw(scale_gradient, (one, known), {"max_norm": float(max_norm)})
        for buffer in buffers:
            buffer.keep()
        return norm

    def _stretches(self) -> list[ShardedBuffer]:
        buffers = (buffer for layout in self._settle() for buffer in layout.buffers)
        return [buffer for buffer in buffers if isinstance(buffer, ShardedBuffer)]  # which all of them are

    def _all_norms(self, own: float) -> list[float]:
        return over_ranks(np.array(own), self.process_group, "norms of ZeroRedundancyOptimizer").ravel().tolist()

    # ---------------------------------------------------------------- state

    def consolidate_state_dict(self, to: int | None = 0) -> None:
        """Gather the whole state in one process, for `state_dict`; every process has to call it.

        Args:
            to: the rank that gets it; None for all.

        >>> import autograd_ff as af
        >>> from autograd_ff import distributed
        >>> w = af.ones(2, requires_grad=True)
        >>> optimizer = distributed.ZeroRedundancyOptimizer([w], af.optim.Adam)
        >>> w.sum().backward()
        >>> optimizer.step()
        >>> optimizer.consolidate_state_dict()
        >>> optimizer.state_dict()["state"][0]["exp_avg"]
        tensor([0.1, 0.1])
        """
        group = self.process_group
        if to is not None and not 0 <= to < group.size:
            raise DistributedError(f"there is no rank {to} among {group.size}{here()}")
        self._to = to
        try:
            gathered = super().state_dict()
        finally:
            self._to = False
        self._consolidated = gathered["state"] if to is None or to == group.rank else None
        self.consolidated = True

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as `consolidate_state_dict` has just gathered it, in the layout of ``optimizer_class``.

        It does not say how many processes there were: `load_state_dict` takes it with any number of them, and so does
        the ``optimizer_class`` itself. Every process loads the whole, and keeps its part.

        Raises:
            DistributedError: it was not gathered here since the last step.
        """
        if self.process_group.size == 1:
            return super().state_dict()
        if self._consolidated is None:
            raise DistributedError(
                f"rank {self.process_group.rank} of {self.process_group.size} holds a part of the optimizer's state.{here()}\n"
                "  Call optimizer.consolidate_state_dict(to=0) in every process, and then state_dict() on rank 0."
            )
        return {**super().state_dict(), "state": self._consolidated}

    def snapshot(self) -> Callable[[], None]:
        """What puts back this process's part, and the options, as they are now; nothing is exchanged.

        >>> import autograd_ff as af
        >>> from autograd_ff import distributed
        >>> w = af.zeros(1, requires_grad=True)
        >>> optimizer = distributed.ZeroRedundancyOptimizer([w], af.optim.SGD, lr=0.1)
        >>> put_back = optimizer.snapshot()
        >>> optimizer.param_groups[0]["lr"] = 0.5
        >>> put_back()
        >>> optimizer.param_groups[0]["lr"]
        0.1
        """
        if self.process_group.size == 1:
            return super().snapshot()
        options = [
            {name: deepcopy(value) for name, value in group.items() if name != "params"} for group in self.param_groups
        ]
        parts = [buffer.kept() for buffer in self._stretches()]

        def put_back() -> None:
            for group, values in zip(self.param_groups, options, strict=True):
                group.update(values)
            for buffer, part in zip(self._stretches(), parts, strict=True):
                buffer.take_back(*part)

        return put_back

    def _show(self, buffer: FlatBuffer, position: int) -> Mapping[str, Any]:
        values = super()._show(buffer, position)
        if self._to is False or self.process_group.size == 1 or not buffer.counts[position]:
            return values
        assert isinstance(buffer, ShardedBuffer)
        shown = {}
        for name, value in values.items():
            if name in buffer.moments:
                array = buffer.whole(buffer.moments[name], position, self._to)
                value = None if array is None else wrap(array)
            if value is not None:
                shown[name] = value
        return shown

    def _load_state(self, states: dict[int, Any]) -> None:
        self._forget()
        super()._load_state(states)

    def _count_step(self) -> None:
        self._forget()  # what was gathered is of the step before
        super()._count_step()

    def _forget(self) -> None:
        self._consolidated, self.consolidated = None, False

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise DistributedError(
            f"an optimizer whose state is spread over processes cannot be copied or pickled in one of them.{here()}\n"
            "  Call consolidate_state_dict() in every process, and keep state_dict()."
        )


_CLASSES: dict[tuple[Any, Any], Any] = {}


def _sharded(cls: type[Any], optimizer_class: type[Any]) -> Any:
    """The class of the instances: first this one's methods, then the optimizer's."""
    key = cls, optimizer_class
    if key not in _CLASSES:
        name = f"{cls.__name__}[{optimizer_class.__name__}]"
        _CLASSES[key] = type(name, (cls, optimizer_class), {"__doc__": cls.__doc__, "__module__": cls.__module__})
    return _CLASSES[key]
