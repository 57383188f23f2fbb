"""The loader: whole batches equal samples one by one, in a reproducible order, and what fails is named."""

import collections
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    datasets,
    default_collate,
    default_convert,
    random_split,
    transforms,
)
from autograd_ff.engine import TensorCore, wrap
from autograd_ff.errors import DimensionError, DtypeError, ShapeError
from autograd_ff.functions.random import Generator


def small_mnist(count=23, transform=None):
    dataset = datasets.MNIST(train=False, transform=transform)
    dataset.data, dataset.targets = dataset.data[:count], dataset.targets[:count]
    return dataset


def one_by_one(samples):
    """A collate_fn of one's own, which takes the ordinary path."""
    return default_collate(samples)


def assert_same(ours, theirs):
    """Equal structures of tensors, bit for bit."""
    assert type(ours) is type(theirs)
    if isinstance(ours, TensorCore):
        assert ours.array.dtype == theirs.array.dtype
        np.testing.assert_array_equal(ours.array, theirs.array)
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


def counting(dataset):
    """How often ``dataset`` is asked for one sample from now on."""
    asked = collections.Counter()

    class Counting(type(dataset)):
        def __getitem__(self, index):
            asked["samples"] += 1
            return super().__getitem__(index)

        def batched(self):
            return super().batched()

    dataset.__class__ = Counting
    return asked


# ---------------------------------------------------------------- the shortcut


TO_FLOATS = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
MADE = {
    "bytes": lambda: small_mnist(),
    "ToTensor": lambda: small_mnist(transform=transforms.ToTensor()),
    "Compose": lambda: small_mnist(transform=TO_FLOATS),
    "Subset": lambda: Subset(small_mnist(transform=TO_FLOATS), [3, 3, 0, 22, 7]),
    "split": lambda: random_split(
        random_split(small_mnist(transform=TO_FLOATS), [20, 3], Generator().manual_seed(1))[0],
        [0.6, 0.4],
        Generator().manual_seed(2),
    )[0],
    "TensorDataset": lambda: TensorDataset(
        wrap(np.arange(30, dtype=np.float32).reshape(10, 3)), np.arange(10) % 3, np.arange(10) > 4
    ),
}


@given(st.sampled_from(sorted(MADE)), st.integers(1, 30), st.booleans(), st.booleans(), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_whole_batches_equal_samples_bit_for_bit(made, batch_size, shuffle, drop_last, seed):
    dataset = MADE[made]()

    def epoch(collate_fn):
        generator = Generator().manual_seed(seed)
        loader = DataLoader(
            dataset, batch_size, shuffle, drop_last=drop_last, collate_fn=collate_fn, generator=generator
        )
        batches = list(loader)
        assert len(batches) == len(loader)
        return batches

    assert_same(epoch(None), epoch(one_by_one))


@pytest.mark.parametrize("made", sorted(MADE))
def test_the_shortcut_is_taken_where_it_can_be(made):
    dataset = MADE[made]()
    bottom = dataset
    while isinstance(bottom, Subset):
        bottom = bottom.dataset
    asked = counting(bottom)
    list(DataLoader(dataset, batch_size=4, shuffle=True))
    list(DataLoader(dataset, batch_size=4, collate_fn=default_collate))
    list(DataLoader(dataset, batch_sampler=[[0, 1], [1]]))
    assert not asked
    list(DataLoader(dataset, batch_size=4, collate_fn=one_by_one))
    assert asked["samples"] == len(dataset)


def test_a_subclass_with_its_own_samples_is_asked_for_them():
    class Negative(datasets.MNIST):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return 1 - image, label

    dataset = Negative(train=False, transform=transforms.ToTensor())
    image, _ = next(iter(DataLoader(dataset, batch_size=2)))
    np.testing.assert_array_equal(
        image.array[1], 1 - datasets.MNIST(train=False, transform=dataset.transform)[1][0].array
    )


@pytest.mark.parametrize(
    "change",
    [
        {"transform": transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda x: x.flatten())])},
        {"transform": lambda image: float(image.array.mean())},
        {"transform": transforms.ToTensor(), "target_transform": lambda label: label + 10},
    ],
)
def test_functions_of_ones_own_see_single_samples(change):
    dataset = small_mnist()
    for name, value in change.items():
        setattr(dataset, name, value)
    expected = default_collate([dataset[index] for index in range(4)])
    assert_same(next(iter(DataLoader(dataset, batch_size=4))), expected)


def test_batches_may_be_written_to():
    images, labels = next(iter(DataLoader(small_mnist(), batch_size=4)))
    images[0] = 0
    labels += 1
    assert small_mnist().data.array[0].any()


def test_tensors_that_require_grad_stay_on_the_graph():
    x = wrap(np.arange(6.0).reshape(3, 2))
    x.requires_grad = True
    total = None
    for (rows,) in DataLoader(TensorDataset(x), batch_size=2):
        part = (rows * rows).sum()
        total = part if total is None else total + part
    total.backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)


# ---------------------------------------------------------------- order


def order_of(loader):
    return [int(value) for (values,) in loader for value in values.array]


def test_shuffling_is_reproducible_and_new_each_epoch():
    dataset = TensorDataset(np.arange(100))
    first = DataLoader(dataset, 7, shuffle=True, generator=Generator().manual_seed(5))
    again = DataLoader(dataset, 7, shuffle=True, generator=np.random.Generator(np.random.PCG64(5)))
    epochs = [order_of(first) for _ in range(3)]
    assert [order_of(again) for _ in range(3)] == epochs
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3
    assert list(range(100)) not in epochs


def test_the_default_generator_is_the_one_that_manual_seed_seeds():
    dataset = TensorDataset(np.arange(50))
    runs = []
    for _ in range(2):
        af.functions.random.manual_seed(3)
        runs.append((order_of(DataLoader(dataset, 8, shuffle=True)), list(random_split(dataset, [25, 25])[0].indices)))
    assert runs[0] == runs[1]


def test_nested_loops_are_separate():
    loader = DataLoader(TensorDataset(np.arange(4)), batch_size=2, shuffle=True)
    inner = [order_of(loader) for _ in loader]
    assert len(inner) == 2
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in inner)
    plain = DataLoader(TensorDataset(np.arange(3)), batch_size=1)
    assert [(a[0].item(), b[0].item()) for a in plain for b in plain] == [(a, b) for a in range(3) for b in range(3)]


def test_the_order_is_drawn_when_the_loop_begins():
    generator = Generator().manual_seed(0)
    loader = DataLoader(TensorDataset(np.arange(30)), 30, shuffle=True, generator=generator)
    started = iter(loader)
    generator.manual_seed(0)
    assert order_of(started) == order_of(loader)


def test_sequential_is_the_default():
    assert order_of(DataLoader(TensorDataset(np.arange(10)), 3)) == list(range(10))


@given(st.integers(0, 20), st.integers(1, 25), st.booleans())
@settings(deadline=None)
def test_lengths(count, batch_size, drop_last):
    loader = DataLoader(TensorDataset(np.zeros(count)), batch_size, drop_last=drop_last)
    sizes = [len(batch[0]) for batch in loader]
    assert len(sizes) == len(loader)
    assert sum(sizes) == (count - count % batch_size if drop_last else count)
    assert all(size == batch_size for size in sizes[:-1])


def test_an_empty_dataset_shuffles_too():
    assert list(DataLoader(TensorDataset(np.zeros(0)), 3, shuffle=True)) == []


# ---------------------------------------------------------------- samplers


def test_random_samplers_draw_what_they_say():
    generator = Generator().manual_seed(0)
    assert sorted(RandomSampler(range(9), generator=generator)) == list(range(9))
    drawn = list(RandomSampler(range(9), replacement=True, num_samples=500, generator=generator))
    assert len(drawn) == 500
    assert set(drawn) == set(range(9))
    twice = collections.Counter(RandomSampler(range(9), num_samples=18, generator=generator))
    assert set(twice.values()) == {2}
    assert len(RandomSampler(range(9), num_samples=4)) == len(list(RandomSampler(range(9), num_samples=4))) == 4
    assert sorted(SubsetRandomSampler([5, 2, 7], generator=generator)) == [2, 5, 7]
    weighted = collections.Counter(WeightedRandomSampler([1.0, 0.0, 3.0], 2000, generator=generator))
    assert weighted[1] == 0
    assert 0.65 < weighted[2] / 2000 < 0.85


def test_samplers_of_ones_own():
    class Backwards(SequentialSampler):
        def __iter__(self):
            return reversed(range(len(self.data_source)))

    dataset = TensorDataset(np.arange(5))
    assert order_of(DataLoader(dataset, 2, sampler=Backwards(dataset))) == [4, 3, 2, 1, 0]
    assert order_of(DataLoader(dataset, 2, sampler=[1, 1, 3])) == [1, 1, 3]
    loader = DataLoader(dataset, batch_sampler=BatchSampler([4, 0, 2], 2, drop_last=True))
    assert order_of(loader) == [4, 0]
    assert len(loader) == 1


def test_bad_samplers_say_so():
    with pytest.raises(ShapeError, match="num_samples has to be a positive integer, got 0"):
        RandomSampler(range(3), num_samples=0)
    with pytest.raises(DtypeError, match="replacement is True or False"):
        RandomSampler(range(3), replacement=3)
    with pytest.raises(ShapeError, match="finite, not negative"):
        WeightedRandomSampler([1.0, -1.0], 1)
    with pytest.raises(ShapeError, match="3 samples cannot be drawn from 2"):
        WeightedRandomSampler([1.0, 1.0, 0.0], 3, replacement=False)
    with pytest.raises(DtypeError, match="Generator, got int"):
        list(RandomSampler(range(3), generator=5))


# ---------------------------------------------------------------- datasets of one's own


class Squares(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index == 6:
            raise KeyError("no six")
        return {"x": np.float32(index), "y": index**2, "name": f"n{index}"}


def test_a_dataset_of_ones_own():
    batch = next(iter(DataLoader(Squares(), batch_size=3)))
    assert batch["name"] == ["n0", "n1", "n2"]
    assert batch["x"].dtype == np.float32
    assert batch["y"].tolist() == [0, 1, 4]


def test_plain_sequences_are_datasets():
    assert [batch.tolist() for batch in DataLoader([1, 2, 3], batch_size=2)] == [[1, 2], [3]]


def test_batches_may_be_fetched_together():
    class Together(Squares):
        def __getitems__(self, indices):
            return [index * 10 for index in indices]

    assert [batch.tolist() for batch in DataLoader(Together(), batch_size=5)] == [
        [0, 10, 20, 30, 40],
        [50, 60, 70, 80, 90],
    ]


def test_the_failing_sample_is_named():
    with pytest.raises(KeyError) as raised:
        list(DataLoader(Squares(), batch_size=4))
    assert raised.value.__notes__ == ["while loading the sample at index 6 of the dataset Squares"]


def test_a_ragged_batch_is_named():
    ragged = [np.zeros(3), np.zeros(3), np.zeros(4)]
    with pytest.raises(ShapeError) as raised:
        list(DataLoader(ragged, batch_size=3, sampler=[1, 2, 0]))
    assert "sample 0 of the batch has (3,), sample 1 of the batch has (4,)" in str(raised.value)
    assert raised.value.__notes__ == ["while collating the samples at indices [1, 2, 0] of the dataset list"]


def test_an_index_out_of_range_is_named():
    for dataset in (small_mnist(23), TensorDataset(np.zeros(23)), Subset(small_mnist(), range(23))):
        with pytest.raises(DimensionError, match=r"index 23 is out of range for \w+ of 23 samples"):
            list(DataLoader(dataset, batch_size=4, sampler=[1, 2, 23]))


def test_an_iterable_dataset_is_read_in_its_order():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(7))

    assert [batch.tolist() for batch in DataLoader(Stream(), batch_size=3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch.tolist() for batch in DataLoader(Stream(), batch_size=3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert list(DataLoader(Stream(), batch_size=None)) == list(range(7))
    with pytest.raises(ShapeError, match="an IterableDataset decides its own order"):
        DataLoader(Stream(), shuffle=True)


def test_without_batches():
    loader = DataLoader(small_mnist(5), batch_size=None, shuffle=True)
    samples = list(loader)
    assert len(samples) == len(loader) == 5
    assert samples[0][0].shape == (28, 28)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size has to be a positive integer, got 0"),
        ({"batch_size": 2.0}, "batch_size has to be a positive integer, got 2.0"),
        ({"shuffle": True, "sampler": [0]}, "a sampler already decides the order"),
        ({"batch_sampler": [[0]], "batch_size": 3}, "a batch_sampler already decides the batches"),
        ({"batch_size": None, "drop_last": True}, "there is no last one to drop"),
    ],
)
def test_arguments_that_clash_say_so(arguments, message):
    with pytest.raises(ShapeError, match=message):
        DataLoader([1, 2, 3], **arguments)


def test_what_is_no_dataset_is_refused():
    with pytest.raises(DtypeError, match="set has no __getitem__"):
        DataLoader({1, 2})


def test_arguments_of_other_machines_are_accepted():
    loader = DataLoader(
        TensorDataset(np.arange(4)), batch_size=4, num_workers=4, pin_memory=True, persistent_workers=True
    )
    assert order_of(loader) == [0, 1, 2, 3]
    assert loader.num_workers == 4


# ---------------------------------------------------------------- collating


Point = collections.namedtuple("Point", "x y")

NUMBERS = st.one_of(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=4),
)


@given(NUMBERS, st.integers(0, 3), st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]))
@settings(deadline=None)
def test_collating_agrees_with_torch(numbers, side, dtype):
    torch = pytest.importorskip("torch")
    collate = pytest.importorskip("torch.utils.data").default_collate
    rng = np.random.default_rng(len(numbers))
    arrays = [rng.integers(0, 2, (2, side)).astype(dtype) for _ in numbers]

    def samples(tensor):
        return [
            {"n": number, "p": Point(tensor(array), (array, [number])), "s": array.sum(dtype=np.float64), "t": "text"}
            for number, array in zip(numbers, arrays, strict=True)
        ]

    def plain(batch):
        """Dtypes and values, without the library."""
        if isinstance(batch, TensorCore):
            return batch.array.dtype.name, batch.array.tolist()
        if isinstance(batch, torch.Tensor):
            return str(batch.dtype).removeprefix("torch."), batch.tolist()
        if isinstance(batch, dict):
            return {key: plain(value) for key, value in batch.items()}
        if isinstance(batch, tuple) and hasattr(batch, "_fields"):
            return Point, [plain(part) for part in batch]
        return [plain(part) for part in batch] if isinstance(batch, (list, tuple)) else batch

    assert plain(default_collate(samples(wrap))) == plain(collate(samples(torch.from_numpy)))


def test_collating_promotes_as_torch_does():
    torch = pytest.importorskip("torch")
    for first, second in [("float32", "float64"), ("int64", "float32"), ("uint8", "int8"), ("bool", "int32")]:
        arrays = [np.zeros(2, first), np.ones(2, second)]
        theirs = torch.cat([torch.from_numpy(array) for array in arrays]).dtype
        assert default_collate(arrays).dtype.name == str(theirs).removeprefix("torch.")
    assert default_collate([1, 2.5]).dtype == np.float32
    assert default_collate([1.0, 2]).dtype == np.float64


def test_mappings_keep_their_kind():
    samples = [collections.OrderedDict(a=1, b=2.0)] * 2
    batch = default_collate(samples)
    assert type(batch) is collections.OrderedDict
    assert list(batch) == ["a", "b"]
    assert samples[0]["a"] == 1


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ([], ShapeError, "no samples"),
        ([None, None], DtypeError, "a sample is None"),
        ([(1, None)], DtypeError, r"a sample at \[1\] is None"),
        ([(1, object())], DtypeError, r"(?s)at \[1\] is of type object.*collate_fn"),
        ([{"a": 1}, {"b": 1}], ShapeError, "sample 1 of the batch lacks 'a' and adds 'b'"),
        ([{"a": 1}, 3], DtypeError, "sample 0 of the batch is of type dict, but sample 1 of the batch is of type int"),
        ([(1, 2), (1,)], ShapeError, "sample 0 of the batch has 2, sample 1 of the batch has 1"),
        ([np.zeros(2), 1.0], DtypeError, "of type ndarray, but sample 1 of the batch is of type float"),
        ([1, "a"], DtypeError, "of type int, but sample 1 of the batch is of type str"),
        ([{"a": [np.zeros((2, 1))]}, {"a": [np.zeros((2, 2))]}], ShapeError, r"at \['a'\]\[0\] has \(2, 1\), .*\(2, 2\)"),
        ([Point(1, np.array(["a"]))], DtypeError, r"at \.y is an array of <U1"),
        ([2**70, 1], DtypeError, "fit no Tensor"),
    ],
)  # fmt: skip
def test_what_cannot_be_collated_says_where(samples, error, message):
    with pytest.raises(error, match=message):
        default_collate(samples)


def test_converting_single_samples():
    converted = default_convert({"a": np.arange(2), "b": [np.float32(1.5), "x"], "p": Point(1, np.zeros(1))})
    assert converted["a"].tolist() == [0, 1]
    assert converted["b"][0].dtype == np.float32
    assert converted["b"][1] == "x"
    assert isinstance(converted["p"], Point)


def test_collating_tracked_tensors_records():
    x = wrap(np.ones(2))
    x.requires_grad = True
    batch = default_collate([x * 2, wrap(np.zeros(2))])
    batch.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [2.0, 2.0])


def test_a_loader_leaves_no_cycles():
    loader = DataLoader(small_mnist(), batch_size=2)
    before = sys.getrefcount(loader)
    for _ in loader:
        break
    assert sys.getrefcount(loader) == before
