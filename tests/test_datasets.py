"""Datasets: the packaged MNIST, idx files good and bad, and datasets made of others."""

import contextlib
import gzip
import importlib.resources
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd_ff import engine
from autograd_ff.data import (
    ConcatDataset,
    Dataset,
    Subset,
    TensorDataset,
    datasets,
    random_split,
    read_idx,
    transforms,
)
from autograd_ff.data.datasets.images import SHA256, file_names, packaged_file
from autograd_ff.data.idx import DTYPES
from autograd_ff.engine import wrap
from autograd_ff.errors import DimensionError, DtypeError, FileFormatError, InplaceError, ShapeError

DEBIAN = "/usr/share/datasets/fashion-mnist"


def idx_bytes(array, code):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


# ---------------------------------------------------------------- MNIST


@pytest.mark.parametrize(("train", "count", "total"), [(True, 60_000, 1_567_298_545), (False, 10_000, 264_923_200)])
def test_mnist_is_the_real_one(train, count, total):
    dataset = datasets.MNIST(train=train)
    assert len(dataset) == count
    assert dataset.data.shape == (count, 28, 28)
    assert dataset.data.dtype == np.uint8
    assert dataset.targets.shape == (count,)
    assert dataset.targets.dtype == np.int64
    assert int(dataset.data.array.sum(dtype=np.int64)) == total
    classes = np.bincount(dataset.targets.array)
    assert len(classes) == 10
    assert classes.min() > 0.08 * count


def test_mnist_has_the_known_first_labels():
    assert datasets.MNIST(train=True).targets.array[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert datasets.MNIST(train=False).targets.array[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_mnist_has_torchvisions_signature_and_needs_no_folder(tmp_path):
    dataset = datasets.MNIST(str(tmp_path / "nowhere"), True, transforms.ToTensor(), lambda label: label * 2, True)
    image, label = dataset[-1]
    assert image.shape == (1, 28, 28)
    assert image.dtype == np.float32
    assert label == 2 * int(dataset.targets.array[-1])
    assert not (tmp_path / "nowhere").exists()
    assert dataset.class_to_idx["3 - three"] == 3
    assert "Number of datapoints: 60000" in repr(dataset)
    assert "ToTensor()" in repr(dataset)


def test_an_image_without_a_transform_is_the_bytes_themselves():
    dataset = datasets.MNIST(train=False)
    image, label = dataset[3]
    assert type(label) is int
    np.testing.assert_array_equal(image.array, dataset.data.array[3])


def test_mnist_is_shared_and_read_only():
    first, second = datasets.MNIST(train=False), datasets.MNIST(train=False)
    assert np.shares_memory(first.data.array, second.data.array)
    with pytest.raises(InplaceError):
        first.data[0] = 0
    with pytest.raises(InplaceError):
        first.targets[0] = 0


def test_data_can_be_replaced():
    dataset = datasets.MNIST(train=False)
    dataset.data, dataset.targets = dataset.data[:5], dataset.targets.array[:5].tolist()
    assert len(dataset) == 5
    assert dataset[4][1] == 4
    with pytest.raises(DimensionError, match="index 5 is out of range for MNIST of 5 samples"):
        dataset[5]
    assert len(list(dataset)) == 5


def test_an_index_that_is_no_integer_is_refused():
    with pytest.raises(DtypeError, match="indexed by one integer, got slice"):
        datasets.MNIST(train=False)[:3]


def test_a_damaged_package_file_is_noticed(monkeypatch):
    name = "t10k-labels-idx1-ubyte.gz"
    assert packaged_file(name)[:2] == b"\x1f\x8b"
    monkeypatch.setitem(SHA256, name, "0" * 64)
    with pytest.raises(FileFormatError, match="is damaged: its SHA-256 is b91679a0"):
        packaged_file(name)


def test_the_licence_lies_beside_the_data():
    text = (importlib.resources.files("autograd_ff.data.mnist") / "LICENSE").read_text()
    assert "Yann LeCun" in text
    assert "Corinna Cortes" in text
    assert "Attribution-Share Alike 3.0" in text


# ---------------------------------------------------------------- idx files


@given(
    st.sampled_from(sorted(DTYPES)),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 999),
    st.booleans(),
)
@settings(deadline=None)
def test_idx_files_are_read_as_they_were_written(code, shape, seed, compress):
    dtype = np.dtype(DTYPES[code])
    array = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    data = idx_bytes(array, code)
    read = read_idx(gzip.compress(data, 1) if compress else data)
    assert read.dtype == dtype.newbyteorder("=")
    assert read.dtype.isnative
    assert not read.flags.writeable
    np.testing.assert_array_equal(read, array)


def test_idx_files_are_read_from_paths(tmp_path):
    data = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3), 8)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b.gz").write_bytes(gzip.compress(data))
    assert read_idx(tmp_path / "a").tolist() == read_idx(str(tmp_path / "b.gz")).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "c")


@pytest.mark.parametrize("compress", [False, True])
def test_every_truncation_and_every_surplus_is_an_error(compress):
    plain = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), 8)
    whole = gzip.compress(plain) if compress else plain
    assert read_idx(whole).size == 24
    for length in range(len(whole)):
        with pytest.raises(FileFormatError):
            read_idx(whole[:length])
    for surplus in (b"\0", b"x" * 1000):
        with pytest.raises(FileFormatError, match=r"hence 40 bytes in all, but there are (more than 40|41|1,040)"):
            read_idx(gzip.compress(plain + surplus) if compress else plain + surplus)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_idx_file_is_read_or_refused_and_nothing_else(data):
    plain = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), 8)
    whole = bytearray(gzip.compress(plain) if data.draw(st.booleans()) else plain)
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FileFormatError):
        assert isinstance(read_idx(bytes(whole)), np.ndarray)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"\x00\x00\x07\x01\x00\x00\x00\x00", "not an idx file: it starts with 0x00000701"),
        (b"PK\x03\x04", "not an idx file"),
        (bytes([0, 0, 8, 200]) + b"\0" * 4 * 200, "promises 200 dimensions"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31), "more than any array can have"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 0) + b"x", "followed by something else"),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 2**31), "hence 2,147,483,656 bytes in all, but there are 8"),
    ],
)
def test_hostile_headers_allocate_nothing(header, message):
    for data in (header, gzip.compress(header)):
        tracemalloc.start()
        try:
            with pytest.raises(FileFormatError) as raised:
                read_idx(data)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
        assert message in str(raised.value) or "more than" in str(raised.value)


def test_a_gzip_bomb_is_not_expanded():
    bomb = idx_bytes(np.zeros(8, dtype=np.uint8), 8) + b"\0" * 50_000_000
    data = zlib.compress(bomb, 9, wbits=31)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="more than 16"):
            read_idx(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- Fashion-MNIST


def write_fashion(folder, count=12, compress=False, labels=None):
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8) if labels is None else labels
    for names in (file_names(True), file_names(False)):
        for name, data in zip(names, (idx_bytes(images, 8), idx_bytes(labels, 8)), strict=True):
            path = folder / (name + (".gz" if compress else ""))
            path.write_bytes(gzip.compress(data, 1) if compress else data)
    return images


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("inside", ["", "FashionMNIST/raw"])
def test_fashion_mnist_is_read_from_a_folder(tmp_path, compress, inside):
    images = write_fashion(tmp_path / inside, compress=compress)
    for train in (True, False):
        dataset = datasets.FashionMNIST(tmp_path, train=train, download=True)
        np.testing.assert_array_equal(dataset.data.array, images)
        assert dataset[11][1] == 1
        assert dataset.classes[dataset[9][1]] == "Ankle boot"


def test_missing_fashion_files_are_named_with_where_to_get_them(tmp_path):
    write_fashion(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert len(datasets.FashionMNIST(tmp_path, train=True)) == 12
    with pytest.raises(FileNotFoundError) as raised:
        datasets.FashionMNIST(tmp_path, train=False)
    for part in ("t10k-labels-idx1-ubyte", str(tmp_path), "dataset-fashion-mnist", DEBIAN):
        assert part in str(raised.value)


def test_images_and_labels_have_to_belong_together(tmp_path):
    write_fashion(tmp_path, labels=np.zeros(11, dtype=np.uint8))
    with pytest.raises(FileFormatError, match="12 images, but 11 labels"):
        datasets.FashionMNIST(tmp_path)
    write_fashion(tmp_path, labels=np.full(12, 10, dtype=np.uint8))
    with pytest.raises(FileFormatError, match="labels have to be in 0 … 9, found 10 … 10"):
        datasets.FashionMNIST(tmp_path)
    write_fashion(tmp_path, labels=np.zeros((12, 1), dtype=np.uint8))
    with pytest.raises(FileFormatError, match="n integer labels"):
        datasets.FashionMNIST(tmp_path)


@pytest.mark.skipif(not os.path.isdir(DEBIAN), reason="the Debian package dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist():
    dataset = datasets.FashionMNIST(DEBIAN)
    assert dataset.data.shape == (60_000, 28, 28)
    assert np.bincount(dataset.targets.array).tolist() == [6000] * 10


# ---------------------------------------------------------------- datasets of tensors and of datasets


def test_a_tensor_dataset_gives_rows():
    x, y = wrap(np.arange(12.0).reshape(4, 3)), wrap(np.arange(4))
    dataset = TensorDataset(x, y)
    assert len(dataset) == 4
    for index in range(-4, 4):
        row, label = dataset[index]
        assert row.tolist() == x.array[index].tolist()
        assert label.item() == y.array[index]
    with pytest.raises(DimensionError, match="index 4 is out of range"):
        dataset[4]


def test_tensor_datasets_have_to_agree():
    with pytest.raises(ShapeError, match=r"the same number of rows, got 4 and 5 \(shapes \(4, 3\), \(5,\)\)"):
        TensorDataset(np.zeros((4, 3)), np.zeros(5))
    with pytest.raises(ShapeError, match="0-d tensor has no rows"):
        TensorDataset(np.zeros(3), wrap(np.array(1.0)))
    with pytest.raises(ShapeError, match="at least one"):
        TensorDataset()
    with pytest.raises(DtypeError, match="got list"):
        TensorDataset([1, 2, 3])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
@settings(deadline=None)
def test_concatenated_datasets_read_on(lengths):
    parts = [TensorDataset(np.arange(length) + 100 * number) for number, length in enumerate(lengths)]
    joined = ConcatDataset(parts)
    expected = [100 * number + i for number, length in enumerate(lengths) for i in range(length)]
    assert [joined[i][0].item() for i in range(len(joined))] == expected
    assert [joined[i - len(joined)][0].item() for i in range(len(joined))] == expected
    assert len(parts[0] + parts[-1]) == len(parts[0]) + len(parts[-1])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99))
@settings(deadline=None)
def test_random_split_is_a_partition_at_random(lengths, seed):
    dataset = TensorDataset(np.arange(sum(lengths)))
    parts = random_split(dataset, lengths, generator=np.random.default_rng(seed))
    again = random_split(dataset, lengths, generator=np.random.default_rng(seed))
    assert [len(part) for part in parts] == lengths
    found = [part[i][0].item() for part in parts for i in range(len(part))]
    assert sorted(found) == list(range(sum(lengths)))
    assert [list(part.indices) for part in parts] == [list(part.indices) for part in again]


def test_random_split_shuffles():
    first, _ = random_split(range(1000), [500, 500], generator=np.random.default_rng(0))
    assert list(first.indices) != sorted(first.indices)
    assert max(first.indices) > 900


@given(st.integers(1, 40), st.lists(st.integers(1, 9), min_size=1, max_size=4))
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore:subset . of random_split is empty")
def test_fractions_cover_the_whole(total, weights):
    fractions = [weight / sum(weights) for weight in weights]
    sizes = [len(part) for part in random_split(range(total), fractions)]
    assert sum(sizes) == total
    for size, fraction in zip(sizes, fractions, strict=True):
        assert abs(size - total * fraction) <= len(weights)


def test_fractions_split_as_in_torch():
    data = pytest.importorskip("torch.utils.data")
    for total, fractions in ((10, [0.75, 0.25]), (101, [0.5, 0.3, 0.2]), (7, [0.25] * 4)):
        ours = [len(part) for part in random_split(range(total), fractions)]
        theirs = [len(part) for part in data.random_split(range(total), fractions)]
        assert ours == theirs


def test_bad_splits_say_so():
    with pytest.raises(ShapeError, match=r"lengths \[3, 4\] sum to 7, but the dataset has 10 samples"):
        random_split(range(10), [3, 4])
    with pytest.raises(ShapeError, match="fractions have to sum to 1"):
        random_split(range(10), [0.5, 0.4])
    with pytest.raises(ShapeError, match="negative"):
        random_split(range(10), [11, -1])
    with pytest.warns(UserWarning, match="subset 1 of random_split is empty"):
        random_split(range(10), [10, 0])


def test_a_subset_of_a_subset():
    inner = Subset(TensorDataset(np.arange(10)), [9, 5, 1])
    outer = Subset(inner, wrap(np.array([2, 0])))
    assert [outer[i][0].item() for i in (0, 1, -1)] == [1, 9, 9]
    with pytest.raises(DimensionError, match="index 2 is out of range for Subset of 2 samples"):
        outer[2]


def test_a_dataset_without_getitem_says_what_is_missing():
    class Empty(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Empty does not define __getitem__"):
        Empty()[0]


def test_an_error_names_the_users_line():
    with pytest.raises(ShapeError, match=r"at .*test_datasets.py:\d+: TensorDataset"):
        TensorDataset(np.zeros(3), np.zeros(4))
    assert engine.is_grad_enabled()
