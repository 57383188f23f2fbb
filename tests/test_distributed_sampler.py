"""Which samples each process reads: all together those of one process, none twice, none left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpi_jobs import passes

import autograd_ff as af
from autograd_ff import distributed as dist
from autograd_ff.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset
from autograd_ff.errors import DistributedError, ShapeError

LENGTHS = st.integers(1, 40)
RANKS = st.integers(1, 6)


def parts(length, ranks, **options):
    return [list(dist.DistributedSampler(range(length), ranks, rank, **options)) for rank in range(ranks)]


@settings(deadline=None)
@given(LENGTHS, RANKS, st.booleans(), st.booleans(), st.integers(0, 9))
def test_distributed_sampler(length, ranks, shuffle, drop_last, seed):
    every = parts(length, ranks, shuffle=shuffle, drop_last=drop_last, seed=seed)
    sizes = {len(one) for one in every}
    assert sizes == {length // ranks if drop_last else -(-length // ranks)}
    flat = [index for one in every for index in one]
    counts = np.bincount(flat, minlength=length) if flat else np.zeros(length, int)
    if drop_last:
        assert set(counts) <= {0, 1}
        assert (counts == 0).sum() == length % ranks
    else:  # each at least once; the padding is spread as evenly as it can be
        assert counts.min() >= 1
        assert counts.sum() - length == -length % ranks
        assert counts.max() - counts.min() <= 1
    if shuffle and length > 20:
        assert sorted(flat) != flat


@settings(deadline=None, max_examples=30)
@given(LENGTHS, RANKS, st.booleans())
def test_unshuffled_as_pytorch(length, ranks, drop_last):
    torch = pytest.importorskip("torch")
    for rank in range(ranks):
        options = {"num_replicas": ranks, "rank": rank, "shuffle": False, "drop_last": drop_last}
        theirs = torch.utils.data.DistributedSampler(range(length), **options)
        ours = dist.DistributedSampler(range(length), **options)
        assert (list(ours), len(ours), ours.total_size) == (list(theirs), len(theirs), theirs.total_size)


def test_epochs_are_shuffled_anew_and_alike():
    samplers = [dist.DistributedSampler(range(30), 3, rank, seed=1) for rank in range(3)]
    epochs = []
    for epoch in (0, 1, 0):
        for one in samplers:
            one.set_epoch(epoch)
        epochs.append([list(one) for one in samplers])
        assert sorted(index for one in epochs[-1] for index in one) == list(range(30))
    assert epochs[0] == epochs[2] != epochs[1]


@settings(deadline=None)
@given(st.integers(1, 60), RANKS, st.integers(0, 12), st.booleans())
def test_parts_make_each_batch(length, ranks, more, drop_last):
    batch = ranks + more
    whole = BatchSampler(SequentialSampler(range(length)), batch, drop_last)
    rest = length % batch
    if 0 < rest < ranks and not drop_last:
        with pytest.raises(ShapeError, match=f"the last batch has {rest} samples, and there are {ranks} processes"):
            dist.DistributedBatchSampler(whole, ranks, 0)
        return
    samplers = [dist.DistributedBatchSampler(whole, ranks, rank) for rank in range(ranks)]
    assert {len(one) for one in samplers} == {len(whole)}
    divided = [list(one) for one in samplers]
    for number, indices in enumerate(whole):
        own = [one[number] for one in divided]
        assert [index for one in own for index in one] == indices
        sizes = [len(one) for one in own]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1


def test_what_cannot_be_divided():
    with pytest.raises(ShapeError, match="each batch has 2 samples, and there are 3"):
        dist.DistributedBatchSampler(BatchSampler(range(6), 2, False), 3, 0)
    with pytest.raises(ShapeError, match="a batch has 1 samples"):
        list(dist.DistributedBatchSampler([[0, 1], [2]], 2, 0))
    with pytest.raises(ShapeError, match="no rank 2 among 2"):
        dist.DistributedSampler("ab", 2, 2)
    with pytest.raises(ShapeError, match="generator has no __len__"):
        dist.DistributedBatchSampler((batch for batch in [[0]]), 1, 0)
    loader = dist.distribute_loader(DataLoader([1, 2], batch_size=2), 2, 0)
    with pytest.raises(DistributedError, match="divided already"):
        dist.distribute_loader(loader, 2, 0)
    with pytest.raises(DistributedError, match="without batches"):
        dist.distribute_loader(DataLoader([1, 2], batch_size=None), 2, 0)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter([1, 2])

    with pytest.raises(DistributedError, match="islice"):
        dist.distribute_loader(DataLoader(Stream()), 2, 0)


def test_loaders():
    dataset = TensorDataset(np.arange(10), np.arange(10) * 2.0)
    loader = DataLoader(dataset, batch_size=2, sampler=dist.DistributedSampler(dataset, 2, 1, shuffle=False))
    assert [batch[0].tolist() for batch in loader] == [[1, 3], [5, 7], [9]]
    by_sample = [(index, index * 2.0) for index in range(10)]  # read one by one
    for source in (dataset, by_sample):
        loader = dist.distribute_loader(DataLoader(source, batch_size=4, drop_last=True), 2, 1)
        assert [(first.tolist(), second.tolist()) for first, second in loader] == [([2, 3], [4, 6]), ([6, 7], [12, 14])]
    assert len(loader) == 2

    class Order:
        epoch = 0

        def __len__(self):
            return 4

        def __iter__(self):
            return iter([self.epoch] * 4)

        def set_epoch(self, epoch):
            self.epoch = epoch

    sampler = dist.DistributedBatchSampler(BatchSampler(Order(), 2, False), 2, 0)
    sampler.set_epoch(3)
    assert list(sampler) == [[3], [3]]


JOB = """
import numpy as np
import autograd_ff as af
from autograd_ff import distributed as dist
from autograd_ff.data import DataLoader, TensorDataset

dist.init_process_group(timeout=60)
rank, size = dist.get_rank(), dist.get_world_size()
af.manual_seed(rank)  # an order of its own: rank 0's is everybody's
dataset = TensorDataset(np.arange(50))
loader = dist.distribute_loader(DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True))
assert len(loader) == 6
af.manual_seed(0)
alone = [[batch.tolist() for batch, in DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True)] for _ in range(2)]
af.manual_seed(rank)
for epoch in range(2):
    dist.all_gather_object(parts := [None] * size, [batch.tolist() for batch, in loader])
    assert [sum(batch, []) for batch in zip(*parts)] == alone[epoch]

# The mean loss over all samples, from the parts' means, eager and compiled.
random = np.random.default_rng(0)
for compiled in (False, True):
    counted = lambda x, n: (x * dist.share_of_batch(n)).sum()
    plan = af.compile(counted, fast=False) if compiled else counted
    for step in range(5):
        counts = random.integers(0, 5, size) + (np.arange(size) == 0)
        values = [random.normal(size=count) for count in counts]
        own = values[rank].mean() if counts[rank] else 0.0
        mine = plan(af.tensor([own]), af.tensor(float(counts[rank])))
        total = np.array([mine.item()])
        dist.all_reduce(total, dist.ReduceOp.AVG)
        np.testing.assert_allclose(total[0], np.concatenate(values).mean(), rtol=1e-6)
assert dist.share_of_batch(4).item() == 1
try:
    dist.share_of_batch(0)
except af.errors.ShapeError as error:
    assert f"all {size} processes together have 0" in str(error)
    print("passed")
"""


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_in_jobs(ranks, tmp_path):
    assert passes(ranks, JOB, folder=tmp_path).count("passed") == ranks


def test_random_orders_are_kept():
    af.manual_seed(3)
    whole = list(BatchSampler(RandomSampler(range(9)), 3, False))
    af.manual_seed(3)
    assert list(dist.DistributedBatchSampler(BatchSampler(RandomSampler(range(9)), 3, False))) == whole
