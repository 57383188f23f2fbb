"""Many processes and machines: data-parallel training on MPI, under PyTorch's names.

from autograd_ff import distributed

distributed.init_process_group()  # mpiexec -n 4 python train.py; alone without mpiexec
model = distributed.DistributedDataParallel(model)

Read in this order: `group` (who is there), `collectives` (what they do together, with `work`), `agreement` (what they must have in
common), `data_parallel` with `buckets`, `transfer` and `operations` (the gradients), `sampler` (who reads which
samples), `sharded_optimizer` with `sharding` (moments in parts), `batch_norm` with `sums` (statistics over all ranks).
"""

from .agreement import agree, agree_on_batches
from .batch_norm import SyncBatchNorm
from .collectives import (
    ReduceOp,
    all_gather,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object_list,
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
    is_available,
    is_initialized,
)
from .sampler import DistributedBatchSampler, DistributedSampler, distribute_loader
from .sharded_optimizer import ZeroRedundancyOptimizer
from .sums import share_of_batch, sum_over_ranks
from .work import Work

__all__ = [
    "DistributedBatchSampler", "DistributedDataParallel", "DistributedSampler", "ProcessGroup", "ReduceOp",
    "SyncBatchNorm", "Work", "ZeroRedundancyOptimizer", "abort", "agree", "agree_on_batches", "all_gather",
    "all_gather_object", "all_reduce", "barrier", "broadcast", "broadcast_object_list", "destroy_process_group",
    "distribute_loader", "get_rank", "get_world_size", "init_process_group", "is_available", "is_initialized", "reduce_scatter",
    "share_of_batch", "sum_over_ranks",
]  # fmt: skip
