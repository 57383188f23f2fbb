"""ZeroRedundancyOptimizer: each process keeps moments for its stretch alone, and the steps are those of one optimizer.

That every optimizer comes to the same parameters is in test_distributed_equality.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from mpi_jobs import passes

import autograd_ff as af
from autograd_ff import distributed as dist
from autograd_ff import nn, optim
from autograd_ff.errors import DistributedError, OptimizerError

START = """
import numpy as np
import autograd_ff as af
from autograd_ff import distributed as dist, nn, optim
from autograd_ff.distributed import sharding
from autograd_ff.distributed.group import ProcessGroup, world

dist.init_process_group(timeout=60)

def gather(value):
    dist.all_gather_object(found := [None] * dist.get_world_size(), value)
    return found


rank, size = dist.get_rank(), dist.get_world_size()
random = np.random.default_rng(0)  # the same on all ranks


def network(seed, *widths, dtype=af.float64):
    af.manual_seed(seed)
    layers = [one for pair in zip(widths, widths[1:]) for one in (nn.Linear(*pair, dtype=dtype), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def equal(model, other, **tolerance):
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(one.array, two.array, **{"rtol": 1e-9, "atol": 1e-11, **tolerance})


def buffers(optimizer):
    return [buffer for layout in optimizer._layouts for buffer in layout.buffers]
"""

MEMORY = (
    START
    + """
for widths in ((30, 40, 50), (3, 2), (1, 1)):
    for chunk in (sharding.LEAST, 16, 1):  # in one exchange, and in several
        sharding.LEAST = sharding.EXCHANGED = chunk
        model, alone = network(rank, *widths), network(0, *widths)
        optimizer = dist.ZeroRedundancyOptimizer(model.parameters(), optim.Adam, lr=0.01)
        plain = optim.Adam(alone.parameters(), lr=0.01)
        equal(model, alone, rtol=0)  # rank 0's from the beginning
        for _ in range(3):
            x = random.normal(size=(2 * size, widths[0]))
            for one, own, rows in ((model, optimizer, x[2 * rank : 2 * rank + 2]), (alone, plain, x)):
                own.zero_grad()
                one(af.tensor(rows)).square().mean().backward()
                own.step()
        equal(model, alone)
        (buffer,) = buffers(optimizer)
        numbers = sum(one.numel() for one in model.parameters())
        stretch = -(-numbers // (16 * size)) * 16
        assert {name: flat.size <= stretch for name, flat in buffer.moments.items()} == {"exp_avg": True, "exp_avg_sq": True}
        assert sum(gather(buffer.moments["exp_avg"].size)) == numbers
        assert sum(optimizer.state[one]["exp_avg"].numel() for one in model.parameters()) == buffer.moments["exp_avg"].size
    sharding.LEAST, sharding.EXCHANGED = 1 << 12, 1 << 20
print("passed")
"""
)


@pytest.mark.parametrize("ranks", [2, 3])
def test_each_keeps_its_stretch(ranks, tmp_path):
    assert passes(ranks, MEMORY, folder=tmp_path).count("passed") == ranks


RESUME = (
    START
    + """
# Groups of 4, 2 and 1 of the ranks go on where a training of 4 stopped, and so does the plain optimizer.
groups = {4: world(), 2: ProcessGroup(world().communicator.Split(rank // 2, rank), 60), 1: ProcessGroup(None, 60)}
data = [random.normal(size=(4, 5)) for _ in range(6)]

def train(model, optimizer, batches, ranks, place):
    for x in batches:
        optimizer.zero_grad()
        rows = x.reshape(ranks, -1, 5)[place]
        model(af.tensor(rows)).square().mean().backward()
        optimizer.step()

for kind, options in ((optim.Adam, {"lr": 0.01}), (optim.SGD, {"lr": 0.1, "momentum": 0.9}), (optim.Adagrad, {"lr": 0.1})):
    alone = network(0, 5, 7, 3)
    train(alone, kind(alone.parameters(), **options), data, 1, 0)
    begun = network(0, 5, 7, 3)
    optimizer = dist.ZeroRedundancyOptimizer(begun.parameters(), kind, groups[4], **options)
    train(begun, optimizer, data[:3], 4, rank)
    try:
        optimizer.state_dict()
        raise SystemExit("no error")
    except af.errors.DistributedError as error:
        assert "consolidate_state_dict(to=0)" in str(error)
    optimizer.consolidate_state_dict(to=2)
    dist.broadcast_object_list(states := [optimizer.state_dict() if rank == 2 else None], 2)
    saved, = states
    if rank != 2:
        try:
            optimizer.state_dict()
            raise SystemExit("no error")
        except af.errors.DistributedError:
            pass
    for ranks, group in groups.items():
        model = network(0, 5, 7, 3)
        model.load_state_dict(begun.state_dict())
        resumed = dist.ZeroRedundancyOptimizer(model.parameters(), kind, group, **options)
        resumed.load_state_dict(saved)
        train(model, resumed, data[3:], ranks, group.rank)
        equal(model, alone)
    model = network(0, 5, 7, 3)
    model.load_state_dict(begun.state_dict())
    plain = kind(model.parameters(), **options)
    plain.load_state_dict(saved)
    train(model, plain, data[3:], 1, 0)
    equal(model, alone)
    if size == 4:  # a step makes what was gathered a thing of the past
        optimizer.consolidate_state_dict(to=None)
        assert optimizer.state_dict()["state"].keys() == saved["state"].keys()
        train(begun, optimizer, data[3:4], 4, rank)
        try:
            optimizer.state_dict()
            raise SystemExit("no error")
        except af.errors.DistributedError:
            pass
print("passed")
"""
)


def test_state_goes_on_with_another_number_of_ranks(tmp_path):
    assert passes(4, RESUME, folder=tmp_path).count("passed") == 4


UNUSUAL = (
    START
    + """
# Parameters that some or all ranks do not use.
class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        af.manual_seed(1)
        self.a, self.b, self.c = (nn.Linear(3, 3, dtype=af.float64) for _ in range(3))

    def forward(self, x, b):
        return self.b(self.a(x)) if b else self.a(x)

for compiled in (False, True):
    model, alone = Branches(), Branches()
    optimizer = dist.ZeroRedundancyOptimizer(model.parameters(), optim.Adam, lr=0.01, weight_decay=0.1)
    plain = optim.Adam(alone.parameters(), lr=0.01, weight_decay=0.1)
    def step(x, b):
        optimizer.zero_grad()
        model(x, b).square().sum().backward()
        norm = optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        return norm
    run = af.compile(step, fast=False) if compiled else step
    for number in range(6):
        every = random.normal(size=(size, 2, 3))
        with_b = rank == size - 1 and number > 0
        norm = run(af.tensor(every[rank]), with_b)
        plain.zero_grad()
        for place, x in enumerate(every):
            (alone(af.tensor(x), place == size - 1 and number > 0).square().sum() / size).backward()
        np.testing.assert_allclose(norm.item(), nn.utils.clip_grad_norm_(alone.parameters(), 1.0).item())
        plain.step()
    equal(model, alone)
    assert optimizer.state[model.c.weight] == {}
    optimizer.consolidate_state_dict(to=None)
    steps = [int(one["step"].item()) for _, one in sorted(optimizer.state_dict()["state"].items())]
    assert steps == [6, 6, 5, 5], steps

# What is clipped is what the step takes, unless another backward pass came between.
model, alone = network(0, 3, 2), network(0, 3, 2)
optimizer, plain = dist.ZeroRedundancyOptimizer(model.parameters(), optim.SGD, lr=1.0), optim.SGD(alone.parameters(), lr=1.0)
x = random.normal(size=(2 * size, 3))
for one, rows in ((model, x[2 * rank : 2 * rank + 2]), (alone, x)):
    one(af.tensor(rows)).square().mean().backward()
optimizer.clip_grad_norm_(1e-3)
for one, rows in ((model, x[2 * rank : 2 * rank + 2]), (alone, x)):
    one(af.tensor(rows)).square().mean().backward()
optimizer.clip_grad_norm_(0.1, norm_type=float("inf"))
nn.utils.clip_grad_norm_(alone.parameters(), 0.1, norm_type=float("inf"))
optimizer.step(), plain.step()
equal(model, alone)
model[0].weight.grad.array[...] = np.nan if rank == 0 else 0.0
try:
    optimizer.clip_grad_norm_(1.0, error_if_nonfinite=True)
    raise SystemExit("no error")
except af.errors.ShapeError as error:
    assert "nan" in str(error)

# Data that is exchanged, groups that come, float16, and a model that averages.
model, alone = network(0, 3, 4, 2), network(0, 3, 4, 2)
model, plain = dist.DistributedDataParallel(model), optim.AdamW(list(alone.parameters())[:2], lr=0.01)
optimizer = dist.ZeroRedundancyOptimizer(list(model.parameters())[:2], optim.AdamW, lr=0.01)
for number in range(5):
    for one, own in ((model, optimizer), (alone, plain)):
        rows = random.normal(size=(2 * size, 3)) if one is model else rows
        own.zero_grad()
        one(af.tensor(rows[2 * rank : 2 * rank + 2] if one is model else rows)).square().mean().backward()
        own.step()
        if number == 1:
            own.add_param_group({"params": list(one.parameters())[2:], "lr": 0.1})
        if number == 2:
            weight = next(iter(one.parameters()))
            weight.data = af.tensor(weight.array * 2)
            for p in one.parameters():
                p.grad = None
    if rank == 0 or size > 1:
        assert all(buffer._are_averaged() for buffer in buffers(optimizer))
equal(model, alone)
half = af.tensor(np.linspace(-1, 1, 40).astype(np.float16), requires_grad=True)
whole = af.tensor(np.linspace(-1, 1, 40).astype(np.float16), requires_grad=True)
optimizer, plain = dist.ZeroRedundancyOptimizer([half], optim.SGD, lr=0.5), optim.SGD([whole], lr=0.5)
(half * (rank + 1)).sum().backward()
(whole * ((size + 1) / 2)).sum().backward()
optimizer.step(), plain.step()
np.testing.assert_array_equal(half.array, whole.array)

# The model leaves the gradients to an optimizer that takes over.
model = dist.DistributedDataParallel(network(0, 3, 2))
optimizer = dist.ZeroRedundancyOptimizer(model.parameters(), optim.SGD, lr=1.0, reduce_gradients=True)
for number in range(2):
    optimizer.zero_grad()
    model(af.tensor(random.normal(size=(size, 2, 3))[rank])).square().mean().backward()
    if number:
        own = gather(model.module[0].weight.grad.array.tobytes())
        assert len(set(own)) == size
    optimizer.step()
dist.agree("the parameters", [one.array.tobytes() for one in model.parameters()])

try:
    dist.ZeroRedundancyOptimizer([af.zeros(3 + rank, requires_grad=True)], optim.SGD)
    raise SystemExit("no error")
except af.errors.DistributedError as error:
    assert "the optimizer's parameters" in str(error) and "(4,)" in str(error), error
print("passed")
"""
)


@pytest.mark.parametrize("ranks", [2, 3])
def test_unusual_steps(ranks, tmp_path):
    assert passes(ranks, UNUSUAL, folder=tmp_path).count("passed") == ranks


def test_in_one_process_it_is_the_optimizer():
    x = af.randn(4, 3)
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    models[1].load_state_dict(models[0].state_dict())
    sharded = dist.ZeroRedundancyOptimizer(models[0].parameters(), optim.Adam, lr=0.1, weight_decay=0.1)
    plain = optim.Adam(models[1].parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        for model, optimizer in zip(models, (sharded, plain), strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
        assert sharded.clip_grad_norm_(1.0) == nn.utils.clip_grad_norm_(models[1].parameters(), 1.0)
        sharded.step()
        plain.step()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert one.array.tobytes() == other.array.tobytes()
    ours, theirs = sharded.state_dict(), plain.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    for index in theirs["state"]:
        for name, value in theirs["state"][index].items():
            assert ours["state"][index][name].tolist() == value.tolist()
    assert isinstance(sharded, optim.Adam)
    assert isinstance(sharded, dist.ZeroRedundancyOptimizer)
    assert type(sharded) is type(dist.ZeroRedundancyOptimizer([af.zeros(1, requires_grad=True)], optim.Adam))
    assert type(sharded).__name__ == "ZeroRedundancyOptimizer[Adam]"
    sharded.load_state_dict(theirs)
    optim.lr_scheduler.StepLR(sharded, 1)


def test_what_is_refused():
    w = af.zeros(2, requires_grad=True)

    class Own(optim.Optimizer):
        pass

    for kind in (Own, "Adam"):
        with pytest.raises(OptimizerError, match="not a FlatOptimizer"):
            dist.ZeroRedundancyOptimizer([w], kind)
    with pytest.raises(OptimizerError, match="overlap_with_ddp=True is not offered"):
        dist.ZeroRedundancyOptimizer([w], optim.SGD, overlap_with_ddp=True)
    with pytest.raises(OptimizerError, match="learning rate"):
        dist.ZeroRedundancyOptimizer([w], optim.SGD, lr=-1.0)
    optimizer = dist.ZeroRedundancyOptimizer([w], optim.SGD)
    for action in (copy.deepcopy, pickle.dumps):
        with pytest.raises(DistributedError, match="cannot be copied or pickled"):
            action(optimizer)
    with pytest.raises(DistributedError, match="no rank 1 among 1"):
        optimizer.consolidate_state_dict(to=1)


def test_stretches_cover_all_parameters():
    """Of any sizes, in any number of processes: each number is one process's."""
    from autograd_ff.distributed.group import ProcessGroup
    from autograd_ff.distributed.sharding import ShardedBuffer

    random = np.random.default_rng(0)
    for _ in range(40):
        sizes = random.integers(0, 60, random.integers(1, 5))
        buffer = ShardedBuffer(
            [af.zeros(int(one)) for one in sizes], np.dtype(np.float32), ProcessGroup(None, 1), None, None
        )
        gradients = [random.normal(size=size).astype(np.float32) for size in sizes]
        present = [one if random.integers(4) else None for one in gradients]
        low, high = np.sort(random.integers(0, sizes.sum() + 1, 2))
        out = np.full(high - low, np.nan, np.float32)
        buffer._copy(out, present, int(low), int(high), np.float32(2))
        whole = np.concatenate(
            [np.zeros_like(one) if kept is None else kept for one, kept in zip(gradients, present, strict=True)]
        )
        np.testing.assert_array_equal(out, 2 * whole[low:high])
