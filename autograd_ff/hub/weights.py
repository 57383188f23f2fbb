"""Weights on disk: one safetensors file, or several with an index, under Hugging Face's file names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from ..engine import TensorCore, here, wrap
from ..errors import DtypeError, FileFormatError, ShapeError
from ..functions.dtypes import as_dtype
from ..functions.tensor import Tensor
from ..serialization import STORABLE, map_safetensors, read_safetensors, write_atomically
from .config import read_json

__all__ = ["load_weights", "save_weights"]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_INDEX = 100_000_000  # bytes
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def load_weights(path: Any, dtype: Any = None, *, mmap: bool = True) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a folder with ``model.safetensors`` or shards and their index.

    Args:
        path: the file, the index, or the folder.
        dtype: what the floating tensors become: ``"float32"`` widens float16 and bfloat16 (exactly), ``"float16"`` halves
            what they take. None leaves them as they are stored, bfloat16 aside, which NumPy does not have and which
            becomes float32.
        mmap: leave what needs no conversion in the file, mapped into memory: it is read when it is used, pages that
            are only read are shared between processes, and writing to a tensor changes this process's copy alone. The
            file must not be shortened in place while the tensors live. False reads everything now.

    Returns:
        The tensors by name.

    Raises:
        FileFormatError: a file that is damaged or truncated, an index that does not fit its shards or names files
            elsewhere, or values that the dtype cannot hold.
        FileNotFoundError: no weights, or a shard that is missing.

    >>> import tempfile
    >>> import autograd_ff as af
    >>> from autograd_ff.hub import load_weights, save_weights
    >>> folder = tempfile.mkdtemp()
    >>> _ = save_weights({"weight": af.tensor([1.0, 2.0])}, folder)
    >>> load_weights(folder, "float16")
    {'weight': tensor([1., 2.], dtype=float16)}
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if wanted is not None and wanted.kind != "f":
        raise DtypeError(f"weights are loaded in a floating dtype, not in {wanted}{here()}")
    weights: dict[str, Tensor] = {}
    for file, names in _files(os.fspath(path)):
        arrays = _read(file, mmap)
        if names is not None and names != arrays.keys():
            raise FileFormatError(f"{file} does not fit its index: {_difference(names, arrays.keys())}{here()}")
        for name, array in arrays.items():
            weights[name] = wrap(array if wanted is None else _converted(array, wanted, f"{file}, tensor {name!r}"))
    return weights


def _read(file: str, mmap: bool) -> dict[str, np.ndarray]:
    if mmap:
        return map_safetensors(file)[0]
    try:
        with open(file, "rb") as opened:
            return read_safetensors(opened.read(), file)[0]
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "there is no such file to load", file) from None


def _converted(array: np.ndarray, dtype: np.dtype[Any], where: str) -> np.ndarray:
    if array.dtype.kind != "f" or array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if dtype.itemsize < array.dtype.itemsize and np.count_nonzero(np.isinf(converted)) != np.count_nonzero(
        np.isinf(array)
    ):
        largest = float(np.max(np.abs(array[np.isfinite(array)])))
        raise FileFormatError(
            f"{where} holds values up to {largest:.4g}, and {dtype} ends at {np.finfo(dtype).max}; load it as float32{here()}"
        )
    return converted


def _files(path: str) -> Iterator[tuple[str, set[str] | None]]:
    """The files that hold the weights, each with the names that it should hold, where an index says so."""
    if not os.path.isdir(path):
        if not path.endswith(".index.json"):
            yield path, None
            return
        index = path
    else:
        single, index = os.path.join(path, SINGLE), os.path.join(path, INDEX)
        if os.path.exists(single):
            yield single, None
            return
        if not os.path.exists(index):
            raise FileNotFoundError(f"{path} holds neither {SINGLE} nor {INDEX}.{_other_weights(path)}{here()}")
    folder = os.path.dirname(index)
    for file, names in _shards(index).items():
        shard = os.path.join(folder, file)
        if not os.path.isfile(shard):
            raise FileNotFoundError(f"{index} names the file {file}, which is not in the folder{here()}")
        yield shard, names


def _shards(index: str) -> dict[str, set[str]]:
    """The files that an index names, with the tensors of each."""
    mapping = read_json(index, MAX_INDEX).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise FileFormatError(f"{index} has no weight_map, which says where each tensor is{here()}")
    shards: dict[str, set[str]] = {}
    for name, file in mapping.items():
        plain = isinstance(file, str) and file.endswith(".safetensors") and not re.search(r"[/\\:\0]|^\.", file)
        if not plain:
            raise FileFormatError(
                f"{index} puts the tensor {name[:80]!r} into {str(file)[:80]!r}; a shard is a .safetensors file in the "
                f"same folder, and nothing else is opened{here()}"
            )
        shards.setdefault(file, set()).add(name)
    return shards


def _difference(promised: set[str], found: Any) -> str:
    missing, more = sorted(promised - set(found)), sorted(set(found) - promised)
    parts = [f"it lacks {_some(missing)}"] if missing else []
    return "; ".join([*parts, f"it holds {_some(more)} besides"] if more else parts)


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _other_weights(folder: str) -> str:
    others = sorted(name for name in os.listdir(folder) if name.endswith((".bin", ".pt", ".pth", ".h5", ".msgpack")))
    if not others:
        return ""
    return (
        f"\n  {others[0]} is of another format, which can run code and is not read. Convert it where PyTorch is:"
        '\n  safetensors.torch.save_file(torch.load(path, weights_only=True), "model.safetensors").'
    )


def save_weights(
    weights: Mapping[str, Any], folder: Any, max_shard_size: int | str = "5GB", *, dtype: Any = None
) -> list[str]:
    """Write tensors into a folder as ``model.safetensors``, or as shards with an index where that would be too large.

    Args:
        weights: Tensors or arrays by name. Those on the very same memory (tied weights) are stored under each name.
        folder: made where it is not there. Each file is written beside its place and moved into it; weights in the
            other layout that were there before are removed at the end.
        max_shard_size: bytes of tensors in a file, or a string such as ``"200MB"`` or ``"1GiB"``. A tensor that is larger
            has a file of its own.
        dtype: what the floating tensors are stored as; None leaves them as they are.

    Returns:
        The names of the files written.

    Raises:
        DtypeError: a tensor of a dtype that the format does not have.
        ShapeError: a size that is none.
        OSError: the folder cannot be written.

    >>> import tempfile
    >>> import autograd_ff as af
    >>> from autograd_ff.hub import load_weights, save_weights
    >>> folder = tempfile.mkdtemp()
    >>> for name in save_weights({"a": af.ones(3), "b": af.zeros(2)}, folder, max_shard_size=12):
    ...     print(name)
    model-00001-of-00002.safetensors
    model-00002-of-00002.safetensors
    model.safetensors.index.json
    >>> load_weights(folder)
    {'a': tensor([1., 1., 1.]), 'b': tensor([0., 0.])}
    """
    from safetensors.numpy import save as serialize

    limit = _bytes(max_shard_size)
    wanted = None if dtype is None else as_dtype(dtype)
    arrays = {name: _storable(name, value, wanted) for name, value in weights.items()}
    os.makedirs(folder, exist_ok=True)
    before = _present(folder)
    shards: list[dict[str, np.ndarray]] = [{}]
    taken = 0
    for name, array in arrays.items():
        if shards[-1] and taken + array.nbytes > limit:
            shards.append({})
            taken = 0
        shards[-1][name] = array
        taken += array.nbytes
    count = len(shards)
    files = [SINGLE] if count == 1 else [f"model-{one:05}-of-{count:05}.safetensors" for one in range(1, count + 1)]
    for file, shard in zip(files, shards, strict=True):
        # Hugging Face's reader wants to know for which framework the shapes are meant: PyTorch's, as here.
        write_atomically(os.path.join(folder, file), serialize(shard, metadata={"format": "pt"}))
    if count > 1:
        mapping = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        total = sum(array.nbytes for array in arrays.values())
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": mapping}, indent=2) + "\n"
        files.append(INDEX)
        write_atomically(os.path.join(folder, INDEX), text.encode())
    for file in before - set(files):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, file))
    return files


def _present(folder: Any) -> set[str]:
    """The files of weights that `save_weights` may have written earlier."""
    pattern = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
    return {name for name in os.listdir(folder) if name == INDEX or pattern.fullmatch(name)}


def _storable(name: str, value: Any, dtype: np.dtype[Any] | None) -> np.ndarray:
    array = value.array if isinstance(value, TensorCore) else np.asarray(value)
    if array.dtype.newbyteorder("=") not in STORABLE:
        raise DtypeError(f"{name!r} is of dtype {array.dtype}, which a safetensors file cannot hold{here()}")
    if dtype is not None:
        array = _converted(array, dtype, repr(name))
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _bytes(size: int | str) -> int:
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", size) if isinstance(size, str) else None
    if match and match[2].upper() in _UNITS and float(match[1]) > 0:
        return int(float(match[1]) * _UNITS[match[2].upper()])
    raise ShapeError(f'a shard takes a number of bytes, or a string such as "200MB" or "1GiB", not {size!r}{here()}')
