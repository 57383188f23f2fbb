"""Many processes and machines: data-parallel training on MPI, under PyTorch's names.

from autograd_ff import distributed

distributed.init_process_group()  # mpiexec -n 4 python train.py; alone without mpiexec
model = distributed.DistributedDataParallel(model)

Read in this order: `group` (who is there), `collectives` (what they do together), `agreement` (what they must have in
common), `data_parallel` with `buckets`, `compression` and `operations` (the gradients).
"""

from .agreement import agree
from .collectives import (
    ReduceOp,
    Work,
    all_gather,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object,
    reduce_scatter,
)
from .data_parallel import DistributedDataParallel
from .group import (
    ProcessGroup,
    abort,
    destroy_process_group,
    get_rank,
    get_world_size,
    init_process_group,
    is_initialized,
)

__all__ = [
    "DistributedDataParallel", "ProcessGroup", "ReduceOp", "Work", "abort", "agree", "all_gather", "all_gather_object",
    "all_reduce", "barrier", "broadcast", "broadcast_object", "destroy_process_group", "get_rank", "get_world_size",
    "init_process_group", "is_initialized", "reduce_scatter",
]  # fmt: skip
