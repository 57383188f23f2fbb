"""Communication among all processes, under PyTorch's names: broadcast, sums, gathering, and waiting for each other.

Every collective is started without blocking and then waited for, so that one which never ends can be reported: by each
process, with the number and the name of the collective that it waits in, from which one sees who does what.

Before each of these collectives the ranks compare in a few bytes what they are about to do: shapes or dtypes that differ,
or one rank in a sum and another in a barrier, are an error on every rank, and neither nonsense nor a standstill.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from ..engine import TensorCore, here, versions
from ..engine.core_ops import write
from ..engine.state import is_observed
from ..errors import CaptureError, DistributedError
from .group import ProcessGroup, world
from .operations import collective, collective_from, perform, recorded_zeros
from .work import Work, bits_of, start

__all__ = [
    "ReduceOp", "all_gather", "all_gather_object", "all_reduce", "barrier", "broadcast", "broadcast_object_list",
    "from_rank", "gathered", "meet", "reduce_scatter",
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


NAME = 200  # bytes of a name that ranks tell each other


def meet(group: ProcessGroup, name: str) -> None:
    """Make sure that all ranks are about to do what goes by this name.

    Raises:
        DistributedError: they are not; on every rank, with what each of them does.
    """
    if group.size == 1:
        return
    from mpi4py import MPI

    digest = _digest(name)
    extremes = np.array([digest, -digest])
    start(group, name, "Iallreduce", MPI.IN_PLACE, extremes, op=MPI.MAX).wait()
    if extremes[0] == -extremes[1]:
        return
    own = np.zeros(NAME, np.uint8)
    text = name.encode()[:NAME]
    own[: len(text)] = np.frombuffer(text, np.uint8)
    everyones = np.empty((group.size, NAME), np.uint8)
    start(group, name, "Iallgather", own, everyones).wait()
    ranks: dict[str, list[str]] = {}
    for rank, other in enumerate(everyones):
        ranks.setdefault(bytes(other).rstrip(b"\0").decode(errors="replace"), []).append(str(rank))
    doing = [f"rank {', '.join(several)}: {one}" for one, several in ranks.items()]
    raise DistributedError("\n  ".join(["the ranks do not do the same:", *doing]) + here())


@functools.lru_cache(256)
def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def _operator(op: ReduceOp) -> Any:
    from mpi4py import MPI

    return {
        ReduceOp.SUM: MPI.SUM, ReduceOp.AVG: MPI.SUM, ReduceOp.PRODUCT: MPI.PROD, ReduceOp.MIN: MPI.MIN,
        ReduceOp.MAX: MPI.MAX,
    }[op]  # fmt: skip


def _array(tensor: Any, name: str, written: bool, computed: bool = False) -> np.ndarray:
    """The array of a tensor that a collective reads or writes, or computes with."""
    array = tensor.array if isinstance(tensor, TensorCore) else tensor
    if not isinstance(array, np.ndarray):
        raise DistributedError(f"{name} works on Tensors and arrays, not on {type(tensor).__name__}{here()}")
    if array.dtype.kind not in "biufc" or (computed and array.dtype == np.float16):
        raise DistributedError(f"{name}: MPI does not know {array.dtype}; convert to float32 for the journey{here()}")
    if written and not (array.flags.c_contiguous and array.flags.writeable):
        raise DistributedError(
            f"{name} writes into contiguous memory, and this tensor's is not: x.contiguous(){here()}"
        )
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _is(tensor: Any, array: np.ndarray) -> bool:
    return isinstance(tensor, TensorCore) and tensor.array is array


def _check_kind(array: np.ndarray, op: ReduceOp, name: str) -> None:
    """Raise where numbers of this kind cannot be joined so, which MPI would say less clearly."""
    kind = array.dtype.kind
    wrong = {"b": [ReduceOp.AVG], "i": [ReduceOp.AVG], "u": [ReduceOp.AVG], "c": [ReduceOp.MIN, ReduceOp.MAX]}
    if op in wrong.get(kind, ()):
        raise DistributedError(
            f"{name}: {array.dtype} has no {'mean' if op is ReduceOp.AVG else 'order'}; convert it to float32 before{here()}"
        )


def _rows(array: np.ndarray) -> list[np.ndarray]:
    return [array[row, ...] for row in range(len(array))]  # arrays also where they have no dimension


@dataclass(frozen=True)
class _Collective:
    """What is done with an array, and another that it is made from, whenever it is called; equal if it is the same."""

    group: ProcessGroup
    name: str
    method: str
    op: ReduceOp | None = None
    src: int | None = None

    communicates: ClassVar[bool] = True  # so a plan does it even if nobody looks at the result

    def begin(self, target: np.ndarray, source: np.ndarray, finish: Any = None) -> Work:
        group = self.group
        if group.size == 1:
            if source is not target:
                np.copyto(target, source.reshape(target.shape))
            return Work(group, self.name, None, finish)
        meet(group, self.name)
        keywords: dict[str, Any] = {}
        op = self.op
        given: tuple[Any, ...] = (bits_of(source), bits_of(target))
        if target.dtype == np.bool_ and op is not None:  # as numbers 0 and 1, of which a sum is their "or"
            given = tuple(one.view(np.uint8) for one in given)
            op = ReduceOp.MAX if op is ReduceOp.SUM else op
        if self.src is not None:
            given, keywords["root"] = given[1:], self.src
        if op is not None:
            keywords["op"] = _operator(op)
            if source is target:
                from mpi4py import MPI

                given = MPI.IN_PLACE, given[1]

        def end() -> None:
            if self.op is ReduceOp.AVG:
                np.divide(target, group.size, out=target, casting="unsafe")
            if finish is not None:
                finish()

        return start(group, self.name, self.method, *given, finish=end, **keywords)

    def __call__(self, target: np.ndarray, source: np.ndarray | None = None) -> None:
        self.begin(target, target if source is None else source).wait()


def _refuse_compiled(what: str) -> None:
    if is_observed():
        raise CaptureError(f"a compiled step cannot hold {what}; call it between two steps{here()}")


def _refuse_async(async_op: bool) -> None:
    if async_op and is_observed():
        raise CaptureError(
            f"a compiled step cannot hold the Work of a collective with async_op=True{here()}\n"
            "  Leave async_op away, or use DistributedDataParallel, whose collectives run beside the backward pass."
        )


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
    group, op = group or world(), ReduceOp(op)
    array = _array(tensor, "all_reduce", True, True)
    _check_kind(array, op, "all_reduce")
    _refuse_async(async_op)
    run = _Collective(group, f"all_reduce, {op.value}, of {array.dtype} {array.shape}", "Iallreduce", op)
    if async_op:
        versions.bump(array)
        return run.begin(array, array)
    perform(collective, (tensor,), {"run": run})
    return None


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
    array = _array(tensor, "broadcast", True)
    _refuse_async(async_op)
    run = _Collective(group, f"broadcast of {array.dtype} {array.shape} from rank {src}", "Ibcast", src=src)
    if async_op:
        versions.bump(array)
        return run.begin(array, array)
    perform(collective, (tensor,), {"run": run})
    return None


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
    _refuse_async(async_op)
    run = _Collective(group, f"all_gather of {given.dtype} {given.shape}", "Iallgather")
    whole = recorded_zeros((group.size, *given.shape), given.dtype)
    if async_op:
        versions.bump(*outputs)

        def finish() -> None:
            for output, part in zip(outputs, _rows(whole), strict=True):
                np.copyto(output, part)

        return run.begin(whole, given, finish)
    perform(collective_from, (whole, tensor if _is(tensor, given) else given), {"run": run})
    for output, part in zip(tensor_list, _rows(whole), strict=True):
        perform(write, (output, part))
    return None


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
    group, op = group or world(), ReduceOp(op)
    kept = _array(output, "reduce_scatter", True, True)
    _check_kind(kept, op, "reduce_scatter")
    inputs = [_array(one, "reduce_scatter", False, True) for one in input_list]
    if len(inputs) != group.size or any(one.shape != kept.shape or one.dtype != kept.dtype for one in inputs):
        raise DistributedError(
            f"reduce_scatter needs {group.size} tensors of {kept.dtype} {kept.shape}, one for each rank; it got "
            f"{[(str(one.dtype), one.shape) for one in inputs]}{here()}"
        )
    _refuse_async(async_op)
    run = _Collective(group, f"reduce_scatter, {op.value}, of {kept.dtype} {kept.shape}", "Ireduce_scatter_block", op)
    if async_op:
        versions.bump(kept)
        return run.begin(kept, np.stack(inputs))
    whole = recorded_zeros((group.size, *kept.shape), kept.dtype)
    for place, one in zip(_rows(whole), input_list, strict=True):
        perform(write, (place, one))
    perform(collective_from, (output, whole), {"run": run})
    return None


def barrier(group: ProcessGroup | None = None, async_op: bool = False, device_ids: Any = None) -> None:
    """Until all processes have come here.

    Args:
        group: the processes; all of them if None.
        async_op: is refused: nothing can be done with a barrier that nobody waits for.
        device_ids: PyTorch's, without effect.

    Raises:
        CaptureError: in a step that is compiled.

    >>> from autograd_ff import distributed
    >>> distributed.barrier()
    """
    if async_op:
        raise DistributedError(f"a barrier is waited for; leave async_op away{here()}")
    _refuse_compiled("a barrier")
    meet(group or world(), "barrier")


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Fill a list with the values of all processes, in the order of their ranks: anything that pickle can take.

    Args:
        object_list: as long as there are processes.
        obj: this process's own.
        group: the processes; all of them if None.

    >>> from autograd_ff import distributed
    >>> distributed.all_gather_object(found := [None], {"batches": 3})
    >>> found
    [{'batches': 3}]
    """
    group = group or world()
    if not isinstance(object_list, list) or len(object_list) != group.size:
        given = f"{len(object_list)}" if isinstance(object_list, list) else f"a {type(object_list).__name__}"
        raise DistributedError(
            f"all_gather_object fills a list with {group.size} places, and was given {given}{here()}"
        )
    _refuse_compiled("an exchange of objects")
    object_list[:] = gathered(obj, group, "all_gather_object")


def broadcast_object_list(object_list: list[Any], src: int = 0, group: ProcessGroup | None = None) -> None:
    """Replace the values in a list by those of one process: anything that pickle can take.

    Args:
        object_list: equally long everywhere.
        src: the rank that has the values.
        group: the processes; all of them if None.

    >>> from autograd_ff import distributed
    >>> distributed.broadcast_object_list(settings := [{"lr": 0.1}])
    >>> settings
    [{'lr': 0.1}]
    """
    group = group or world()
    _check_rank(src, group)
    _refuse_compiled("an exchange of objects")
    object_list[:] = from_rank(list(object_list), src, group, f"broadcast_object_list from rank {src}")


def gathered(value: Any, group: ProcessGroup, name: str) -> list[Any]:
    """The values of all processes, in the order of their ranks; ``name`` is what errors call it."""
    if group.size == 1:
        return [value]
    import pickle

    data = np.frombuffer(pickle.dumps(value), np.uint8)
    meet(group, name)
    sizes = np.empty(group.size, np.int64)
    start(group, name, "Iallgather", np.array([data.size], np.int64), sizes).wait()
    places = np.concatenate([[0], np.cumsum(sizes)])
    whole = np.empty(int(places[-1]), np.uint8)
    start(group, name, "Iallgatherv", data, [whole, sizes]).wait()
    return [pickle.loads(whole[first:last].tobytes()) for first, last in itertools.pairwise(places)]


def from_rank(value: Any, src: int, group: ProcessGroup, name: str) -> Any:
    """The value of one process, everywhere; ``name`` is what errors call it."""
    if group.size == 1:
        return value
    import pickle

    data = np.frombuffer(pickle.dumps(value), np.uint8).copy() if group.rank == src else None
    meet(group, name)
    size = np.array([0 if data is None else data.size], np.int64)
    start(group, name, "Ibcast", size, root=src).wait()
    data = np.empty(int(size[0]), np.uint8) if data is None else data
    start(group, name, "Ibcast", data, root=src).wait()
    return pickle.loads(data.tobytes())


def _check_rank(rank: int, group: ProcessGroup) -> None:
    if not 0 <= rank < group.size:
        raise DistributedError(f"there is no rank {rank} among {group.size}{here()}")
