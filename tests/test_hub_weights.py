"""Weights on disk: what is written comes back, whatever lies in the folder, and no file can do harm."""

import json
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.engine import wrap
from autograd_ff.errors import DtypeError, FileFormatError, ShapeError
from autograd_ff.hub import load_weights, save_weights

DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint16", "bool"]
INDEX = "model.safetensors.index.json"


def safetensors_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, start, stop):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@st.composite
def arrays(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return np.asarray(rng.normal(size=shape) * 9).astype(draw(st.sampled_from(DTYPES)))


WEIGHTS = st.dictionaries(st.text("abc.0_é", min_size=1, max_size=8), arrays(), min_size=1, max_size=6)


@given(WEIGHTS, st.integers(1, 300), st.booleans())
@settings(max_examples=60)
def test_what_is_written_comes_back(tmp_path_factory, weights, limit, mmap):
    folder = tmp_path_factory.mktemp("weights")
    files = save_weights({name: wrap(array) for name, array in weights.items()}, folder, limit)
    assert sorted(files) == sorted(os.listdir(folder))
    found = load_weights(folder, mmap=mmap)
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        ours = found[name].array
        assert (ours.dtype, ours.shape, ours.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert ours.flags.writeable
        assert ours.flags.aligned
    for file in files:
        if file.endswith(".safetensors"):
            in_file = load_weights(folder / file)
            assert sum(one.array.nbytes for one in in_file.values()) <= limit or len(in_file) == 1


def test_another_reader_understands_the_shards(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    files = save_weights({"a": np.arange(4.0), "b": np.ones(3, np.float16)}, tmp_path, 32)
    assert files == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", INDEX]
    index = json.loads((tmp_path / INDEX).read_text())
    assert index == {"metadata": {"total_size": 38}, "weight_map": {"a": files[0], "b": files[1]}}
    assert safetensors.load_file(tmp_path / files[1])["b"].tolist() == [1, 1, 1]


def test_saving_again_leaves_nothing_of_before(tmp_path):
    save_weights({"a": np.ones(4), "b": np.ones(4)}, tmp_path, 32)
    (tmp_path / "notes.safetensors").write_bytes(b"someone's")
    assert save_weights({"c": np.zeros(2)}, tmp_path) == ["model.safetensors"]
    assert sorted(os.listdir(tmp_path)) == ["model.safetensors", "notes.safetensors"]
    save_weights({"a": np.ones(4), "b": np.ones(4)}, tmp_path, 32)
    assert load_weights(tmp_path).keys() == {"a", "b"}


@pytest.mark.parametrize(("size", "count"), [("200MB", 1), ("16", 2), ("0.016 kb", 2), ("1KiB", 1), (16, 2)])
def test_sizes_of_shards(tmp_path, size, count):
    files = save_weights({"a": np.ones(2), "b": np.ones(2)}, tmp_path, size)
    assert sum(file != INDEX for file in files) == count


@pytest.mark.parametrize("size", [0, -1, True, "many", "5 XB", "0MB", 1.5, None])
def test_sizes_that_are_none(tmp_path, size):
    with pytest.raises(ShapeError, match="a shard takes"):
        save_weights({"a": np.ones(2)}, tmp_path, size)


# ---------------------------------------------------------------- dtypes


def brain_float(values):
    """The upper halves of float32 numbers."""
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()


@pytest.mark.parametrize("mmap", [True, False])
def test_bfloat16_is_widened_or_kept_at_half_the_size(tmp_path, mmap):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_file({"w": entry("BF16", [3], 0, 6)}, brain_float([1.5, -2.0, 0.25])))
    for dtype, wanted in ((None, "float32"), ("float32", "float32"), ("float16", "float16"), ("float64", "float64")):
        found = load_weights(tmp_path, dtype, mmap=mmap)["w"]
        assert found.array.dtype == wanted
        assert found.tolist() == [1.5, -2.0, 0.25]


@given(st.lists(st.floats(width=16, allow_nan=False), max_size=5))
def test_float16_widens_exactly(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("half")
    save_weights({"w": np.asarray(values, np.float16), "n": np.arange(3)}, folder)
    found = load_weights(folder, "float32")
    assert found["w"].array.dtype == np.float32
    assert found["w"].tolist() == values
    assert found["n"].array.dtype == np.int64  # whole numbers stay what they are


def test_a_value_too_large_for_float16_is_told(tmp_path):
    save_weights({"small": np.ones(2, np.float32), "large": np.float32([1e5, np.inf])}, tmp_path)
    with pytest.raises(FileFormatError, match=r"'large' holds values up to 1e\+05, and float16 ends at 65504"):
        load_weights(tmp_path, "float16")
    with pytest.raises(FileFormatError, match="'x' holds values up to"):
        save_weights({"x": np.float32([1e5])}, tmp_path, dtype="float16")


def test_dtypes_that_are_none(tmp_path):
    save_weights({"w": np.ones(2)}, tmp_path)
    with pytest.raises(DtypeError, match="floating dtype"):
        load_weights(tmp_path, "int32")
    with pytest.raises(DtypeError, match="'w' is of dtype complex128"):
        save_weights({"w": np.ones(2, complex)}, tmp_path)


# ---------------------------------------------------------------- memory


def test_a_mapped_tensor_is_written_to_here_and_not_in_the_file(tmp_path):
    save_weights({"w": np.ones(3, np.float32)}, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    found = load_weights(tmp_path)["w"]
    found.add_(1.0)
    assert found.tolist() == [2, 2, 2]
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert load_weights(tmp_path)["w"].tolist() == [1, 1, 1]


def test_a_mapped_tensor_outlives_the_file_that_is_saved_over_it(tmp_path):
    save_weights({"w": np.ones(3, np.float32)}, tmp_path)
    found = load_weights(tmp_path)["w"]
    save_weights({"w": found + 1.0}, tmp_path)
    assert found.tolist() == [1, 1, 1]
    assert load_weights(tmp_path)["w"].tolist() == [2, 2, 2]


def test_tensors_that_do_not_begin_at_a_multiple_of_their_size(tmp_path):
    data = b"\x01" + np.arange(3, dtype="<f4").tobytes()
    header = {"flag": entry("BOOL", [1], 0, 1), "w": entry("F32", [3], 1, 13)}
    (tmp_path / "model.safetensors").write_bytes(safetensors_file(header, data))
    found = load_weights(tmp_path)["w"].array
    assert found.flags.aligned
    assert found.tolist() == [0, 1, 2]


# ---------------------------------------------------------------- hostile files


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"abc", "truncated"),
        (b"PK\x03\x04" + b"0" * 60, "pickle"),
        (struct.pack("<Q", 2**60) + b"{}", "truncated"),
        (safetensors_file(b"not json"), "damaged"),
        (safetensors_file({"w": entry("F32", [3], 0, 12)}, b"1234"), "damaged"),
        (safetensors_file({"w": entry("F32", [4], 0, 12)}, b"123412341234"), "damaged"),
        (safetensors_file({"w": entry("F32", [3], -4, 8)}, b"123412341234"), "damaged"),
        (safetensors_file({"w": entry("F32", [2**62, 8], 0, 12)}, b"123412341234"), "damaged"),
        (safetensors_file({"w": entry("F8_E4M3", [4], 0, 4)}, b"1234"), "NumPy does not have"),
    ],
)
def test_damaged_files(tmp_path, data, message, mmap):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(FileFormatError, match=message):
        load_weights(tmp_path, mmap=mmap)


@given(cut=st.integers(0, 400), flip=st.integers(0, 400), mask=st.integers(1, 255), mmap=st.booleans())
@settings(max_examples=150)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory, cut, flip, mask, mmap):
    folder = tmp_path_factory.mktemp("damaged")
    save_weights({"a": np.arange(5.0), "b": np.ones((2, 3), np.float32)}, folder)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    if flip < len(data):
        data[flip] ^= mask
    path.write_bytes(bytes(data[: max(len(data) - cut, 0)] if cut % 2 else data))
    found, refused = {}, None
    try:
        found = load_weights(folder, mmap=mmap)
    except FileFormatError as error:
        refused = error
    assert all(isinstance(one, af.Tensor) for one in found.values())
    assert refused is None or str(path) in str(refused)


def sharded(folder):
    save_weights({"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}, folder, 16)
    return json.loads((folder / INDEX).read_text())


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors", "/etc/passwd", "sub/model.safetensors", "..\\x.safetensors", "C:x.safetensors", ".hidden.safetensors",
        "model.bin", "..", "", 3, None, ["a"], "a\0.safetensors",
    ],
)  # fmt: skip
def test_an_index_names_files_beside_it_alone(tmp_path, name):
    (tmp_path / "secret.safetensors").write_bytes(safetensors_file({"a": entry("F64", [2], 0, 16)}, bytes(16)))
    folder = tmp_path / "model"
    folder.mkdir()
    index = sharded(folder)
    index["weight_map"]["a"] = name
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(FileFormatError, match=r"puts the tensor 'a' into .* nothing else is opened"):
        load_weights(folder)


def test_an_index_that_does_not_fit_its_shards(tmp_path):
    index = sharded(tmp_path)
    (tmp_path / INDEX).write_text(
        json.dumps({**index, "weight_map": {**index["weight_map"], "d": index["weight_map"]["a"]}})
    )
    with pytest.raises(FileFormatError, match=r"00001-of-00003.safetensors does not fit its index: it lacks 'd'"):
        load_weights(tmp_path)
    del index["weight_map"]["b"]
    index["weight_map"]["c"] = "model-00002-of-00003.safetensors"
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(FileFormatError, match=r"it lacks 'c'; it holds 'b' besides"):
        load_weights(tmp_path)


def test_missing_and_truncated_shards(tmp_path):
    sharded(tmp_path)
    second = tmp_path / "model-00002-of-00003.safetensors"
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match=r"00002-of-00003.safetensors is damaged"):
        load_weights(tmp_path)
    second.unlink()
    with pytest.raises(FileNotFoundError, match=r"00002-of-00003.safetensors, which is not in the folder"):
        load_weights(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "{" * 100_000, "nonsense"]
)
def test_an_index_that_is_none(tmp_path, text):
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(FileFormatError, match=INDEX.replace(".", r"\.")):
        load_weights(tmp_path)


def test_no_weights_or_weights_of_another_format(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds neither"):
        load_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model.bin is of another format.*\n.*save_file"):
        load_weights(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "nothing.safetensors")
