"""Communication among all processes, under PyTorch's names: broadcast, sums, gathering, and waiting for each other.

Every collective is started without blocking and then waited for, so that one which never ends can be reported: by each
process, with the number and the name of the collective that it waits in, from which one sees who does what.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np

from ..engine import TensorCore, apply_raw, here, versions
from ..engine.state import is_observed
from ..errors import CaptureError, DistributedError
from .group import ProcessGroup, world
from .operations import collective

__all__ = [
    "ReduceOp", "Work", "all_gather", "all_gather_object", "all_reduce", "barrier", "broadcast", "broadcast_object",
    "reduce_scatter", "start",
]  # fmt: skip


class ReduceOp(Enum):
    """How `all_reduce` and `reduce_scatter` join values.

    >>> [one.name for one in ReduceOp]
    ['SUM', 'AVG', 'PRODUCT', 'MIN', 'MAX']
    """

    SUM = "sum"
    AVG = "avg"
    PRODUCT = "prod"
    MIN = "min"
    MAX = "max"


class Work:
    """A collective under way.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> work = distributed.all_reduce(x := af.ones(2), async_op=True)
    >>> work.wait()
    >>> x
    tensor([1., 1.])
    """

    __slots__ = ("_finish", "group", "name", "number", "request")

    def __init__(self, group: ProcessGroup, name: str, request: Any, finish: Any = None) -> None:
        group.calls += 1
        self.group = group
        self.name = name
        self.number = group.calls
        self.request = request
        self._finish = finish

    def is_completed(self) -> bool:
        """Whether it has ended; asking lets it go on."""
        if self.request is None or not self.request.Test():
            return self.request is None
        self.request = None
        return True

    def wait(self) -> None:
        """Until it has ended.

        Raises:
            DistributedError: it has not within the group's time limit.
        """
        if self.request is not None:
            self._wait()
        if self._finish is not None:
            finish, self._finish = self._finish, None
            finish()

    def _wait(self) -> None:
        deadline = time.monotonic() + self.group.timeout
        while not self.request.Test():
            # Processes may be more than cores: the one that is waited for has to run.
            os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
            if time.monotonic() > deadline:
                raise DistributedError(
                    f"rank {self.group.rank} of {self.group.size} has waited {self.group.timeout:g} s in collective number "
                    f"{self.number}, {self.name}.{here()}\n"
                    "  Another rank has not come to it: it is busy, stands still, or does other collectives; compare with "
                    "what the other ranks report. init_process_group(timeout=...) sets the limit."
                )
        self.request = None


def start(group: ProcessGroup, name: str, method: str, *arguments: Any, finish: Any = None, **keywords: Any) -> Work:
    """Begin one of mpi4py's collectives, such as ``"Iallreduce"``."""
    request = None if group.size == 1 else getattr(group.communicator, method)(*arguments, **keywords)
    return Work(group, name, request, finish)


def _operator(op: ReduceOp) -> Any:
    from mpi4py import MPI

    return {
        ReduceOp.SUM: MPI.SUM, ReduceOp.AVG: MPI.SUM, ReduceOp.PRODUCT: MPI.PROD, ReduceOp.MIN: MPI.MIN,
        ReduceOp.MAX: MPI.MAX,
    }[op]  # fmt: skip


def _array(tensor: Any, name: str, written: bool) -> np.ndarray:
    """The array of a tensor that a collective reads or writes."""
    array = tensor.array if isinstance(tensor, TensorCore) else tensor
    if not isinstance(array, np.ndarray):
        raise DistributedError(f"{name} works on Tensors and arrays, not on {type(tensor).__name__}{here()}")
    if array.dtype.kind not in "biufc" or array.dtype == np.float16:
        raise DistributedError(f"{name}: MPI does not know {array.dtype}; convert to float32 for the journey{here()}")
    if written and not (array.flags.c_contiguous and array.flags.writeable):
        raise DistributedError(
            f"{name} writes into contiguous memory, and this tensor's is not: x.contiguous(){here()}"
        )
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _run(begin: Callable[[np.ndarray], Work], target: np.ndarray, async_op: bool) -> Work | None:
    """Begin a collective that writes ``target``, and, unless it shall go on beside the program, wait for its end."""
    if not async_op:
        apply_raw(collective, (target,), {"run": lambda array: begin(array).wait()})
        return None
    if is_observed():
        raise CaptureError(
            f"a compiled step cannot hold the Work of a collective with async_op=True{here()}\n"
            "  Leave async_op away, or use DistributedDataParallel, whose collectives run beside the backward pass."
        )
    work = begin(target)
    versions.bump(target)
    return work


def all_reduce(
    tensor: Any, op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Replace a tensor by the sum (or mean, product, minimum, maximum) of those of all processes, in place.

    Args:
        tensor: a Tensor or an array, of equal shape and dtype everywhere.
        op: how they are joined.
        group: the processes; all of them if None.
        async_op: return at once, with a `Work` to wait for.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> x = af.tensor([1.0, 2.0])
    >>> distributed.all_reduce(x)  # among one process
    >>> x
    tensor([1., 2.])
    """
    group = group or world()

    def begin(array: np.ndarray) -> Work:
        def finish() -> None:
            if op is ReduceOp.AVG:
                np.divide(array, group.size, out=array, casting="unsafe")

        if group.size == 1:
            return Work(group, "all_reduce", None, finish)
        from mpi4py import MPI

        name = f"all_reduce of {array.dtype} {array.shape}"
        return start(group, name, "Iallreduce", MPI.IN_PLACE, array, op=_operator(op), finish=finish)

    return _run(begin, _array(tensor, "all_reduce", True), async_op)


def broadcast(tensor: Any, src: int = 0, group: ProcessGroup | None = None, async_op: bool = False) -> Work | None:
    """Replace a tensor by that of one process, in place.

    Args:
        tensor: a Tensor or an array, of equal shape and dtype everywhere.
        src: the rank that has the values.
        group, async_op: see `all_reduce`.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> distributed.broadcast(x := af.tensor([1.0, 2.0]))
    >>> x
    tensor([1., 2.])
    """
    group = group or world()
    _check_rank(src, group)

    def begin(array: np.ndarray) -> Work:
        return start(group, f"broadcast of {array.dtype} {array.shape} from rank {src}", "Ibcast", array, root=src)

    return _run(begin, _array(tensor, "broadcast", True), async_op)


def all_gather(
    tensor_list: Sequence[Any], tensor: Any, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Fill a list of tensors with those of all processes, in the order of their ranks.

    Args:
        tensor_list: one for each process, of the shape and dtype of ``tensor``.
        tensor: this process's own.
        group, async_op: see `all_reduce`.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> gathered = [af.zeros(2)]
    >>> distributed.all_gather(gathered, af.tensor([1.0, 2.0]))
    >>> gathered
    [tensor([1., 2.])]
    """
    group = group or world()
    given = _array(tensor, "all_gather", False)
    outputs = [_array(one, "all_gather", True) for one in tensor_list]
    if len(outputs) != group.size or any(one.shape != given.shape or one.dtype != given.dtype for one in outputs):
        raise DistributedError(
            f"all_gather needs {group.size} tensors of {given.dtype} {given.shape}, one for each rank; it got "
            f"{[(str(one.dtype), one.shape) for one in outputs]}{here()}"
        )
    whole = np.empty((group.size, *given.shape), given.dtype)

    def finish() -> None:
        for output, part in zip(outputs, whole if group.size > 1 else [given], strict=True):
            np.copyto(output, part)
        versions.bump(*outputs)

    def begin(array: np.ndarray) -> Work:
        return start(group, f"all_gather of {given.dtype} {given.shape}", "Iallgather", array, whole, finish=finish)

    return _run(begin, given, async_op)


def reduce_scatter(
    output: Any, input_list: Sequence[Any], op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Join the tensors of a list over all processes, each process keeping the one of its own rank.

    Args:
        output: what this process keeps.
        input_list: one tensor for each rank, all of the shape and dtype of ``output``.
        op, group, async_op: see `all_reduce`.

    >>> import autograd_ff as af
    >>> from autograd_ff import distributed
    >>> distributed.reduce_scatter(kept := af.zeros(2), [af.tensor([1.0, 2.0])])
    >>> kept
    tensor([1., 2.])
    """
    group = group or world()
    kept = _array(output, "reduce_scatter", True)
    inputs = [_array(one, "reduce_scatter", False) for one in input_list]
    if len(inputs) != group.size or any(one.shape != kept.shape or one.dtype != kept.dtype for one in inputs):
        raise DistributedError(
            f"reduce_scatter needs {group.size} tensors of {kept.dtype} {kept.shape}, one for each rank; it got "
            f"{[(str(one.dtype), one.shape) for one in inputs]}{here()}"
        )

    def begin(array: np.ndarray) -> Work:
        whole = np.stack(inputs)

        def finish() -> None:
            if op is ReduceOp.AVG:
                np.divide(array, group.size, out=array, casting="unsafe")

        name = f"reduce_scatter of {array.dtype} {array.shape}"
        if group.size == 1:
            np.copyto(array, whole[0])
            return Work(group, name, None, finish)
        return start(group, name, "Ireduce_scatter_block", whole, array, op=_operator(op), finish=finish)

    return _run(begin, kept, async_op)


def barrier(group: ProcessGroup | None = None) -> None:
    """Until all processes have come here.

    >>> from autograd_ff import distributed
    >>> distributed.barrier()
    """
    group = group or world()
    start(group, "barrier", "Ibarrier").wait()


def all_gather_object(value: Any, group: ProcessGroup | None = None) -> list[Any]:
    """The values of all processes, in the order of their ranks: anything that pickle can take.

    >>> from autograd_ff import distributed
    >>> distributed.all_gather_object({"batches": 3})
    [{'batches': 3}]
    """
    group = group or world()
    if group.size == 1:
        return [value]
    import pickle

    data = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = np.empty(group.size, np.int64)
    start(group, "all_gather_object, sizes", "Iallgather", np.array([data.size], np.int64), sizes).wait()
    places = np.concatenate([[0], np.cumsum(sizes)])
    whole = np.empty(int(places[-1]), np.uint8)
    start(group, "all_gather_object", "Iallgatherv", data, [whole, sizes]).wait()
    return [pickle.loads(whole[first:last].tobytes()) for first, last in itertools.pairwise(places)]


def broadcast_object(value: Any, src: int = 0, group: ProcessGroup | None = None) -> Any:
    """The value of one process: anything that pickle can take.

    >>> from autograd_ff import distributed
    >>> distributed.broadcast_object("settings")
    'settings'
    """
    group = group or world()
    _check_rank(src, group)
    if group.size == 1:
        return value
    import pickle

    data = np.frombuffer(pickle.dumps(value), np.uint8).copy() if group.rank == src else None
    size = np.array([0 if data is None else data.size], np.int64)
    start(group, "broadcast_object, size", "Ibcast", size, root=src).wait()
    data = np.empty(int(size[0]), np.uint8) if data is None else data
    start(group, "broadcast_object", "Ibcast", data, root=src).wait()
    return pickle.loads(data.tobytes())


def _check_rank(rank: int, group: ProcessGroup) -> None:
    if not 0 <= rank < group.size:
        raise DistributedError(f"there is no rank {rank} among {group.size}{here()}")
