"""Collectives and averaged gradients: as many processes as there are do what one does."""

from __future__ import annotations

import pytest
from mpi_jobs import passes

RANKS = (1, 2, 4)

COLLECTIVES = """
import numpy as np
import autograd_ff as af
from autograd_ff import distributed as dist

dist.init_process_group(timeout=60)
rank, size = dist.get_rank(), dist.get_world_size()
ReduceOp = dist.ReduceOp
random = np.random.default_rng(0)  # the same on all ranks
for _ in range(20):
    shape = tuple(random.integers(0, 5, random.integers(0, 4)))
    dtype = random.choice(["float32", "float64", "int64"])
    everyones = (random.normal(size=(size, *shape)) * 9).astype(dtype)
    mine = everyones[rank]
    for op, joined in ((ReduceOp.SUM, everyones.sum(0)), (ReduceOp.MAX, everyones.max(0)), (ReduceOp.MIN, everyones.min(0)),
                       (ReduceOp.PRODUCT, everyones.prod(0))):
        dist.all_reduce(x := af.tensor(mine), op)
        np.testing.assert_allclose(x.numpy(), joined, rtol=1e-5)
        work = dist.all_reduce(x := af.tensor(mine), op, async_op=True)
        work.wait()
        np.testing.assert_allclose(x.numpy(), joined, rtol=1e-5)
    if dtype != "int64":
        dist.all_reduce(x := af.tensor(mine), ReduceOp.AVG)
        np.testing.assert_allclose(x.numpy(), everyones.mean(0), rtol=1e-5)
    source = int(random.integers(size))
    dist.broadcast(x := af.tensor(mine), source)
    np.testing.assert_array_equal(x.numpy(), everyones[source])
    gathered = [af.tensor(mine) for _ in range(size)]
    dist.all_gather(gathered, af.tensor(mine))
    np.testing.assert_array_equal([one.numpy() for one in gathered], everyones)
    dist.reduce_scatter(x := af.tensor(mine), [af.tensor(mine + place) for place in range(size)])
    np.testing.assert_allclose(x.numpy(), everyones.sum(0) + size * rank, rtol=1e-5)
    value = {"rank": rank, "text": "x" * int(random.integers(9)) + "y" * rank}
    dist.all_gather_object(everyones := [None] * size, value)
    assert [one["rank"] for one in everyones] == list(range(size))
    dist.broadcast_object_list(values := [value, 1], source)
    assert values[0]["rank"] == source
    flags = [af.tensor(rank == source), af.tensor([rank > 0, True])]
    dist.all_reduce(flags[0], "max")
    dist.all_reduce(flags[1], ReduceOp.SUM)
    assert flags[0].item() and flags[1].tolist() == [size > 1, True]
    dist.barrier()
dist.agree("nothing", ["equal", 1])
print("passed", rank)
"""


@pytest.mark.parametrize("ranks", RANKS)
def test_collectives(ranks, tmp_path):
    assert passes(ranks, COLLECTIVES, folder=tmp_path).count("passed") == ranks
