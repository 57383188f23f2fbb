"""Saving and loading: nested structures of tensors and plain values, as one safetensors file, without pickle.

The tensors are the file's tensors, so that every safetensors reader opens it. What stands around them (dicts, lists,
numbers, strings) is JSON in the file's metadata, under the key ``autograd_ff``:

    {"version": 1, "structure": ...}

JSON's null, booleans, integers, strings, finite floats and lists stand for themselves. All else is an object of one
key that names its type: ``{"tensor": name}``, ``{"array": name}``, ``{"scalar": name}`` (a NumPy number),
``{"dict": [[key, value], ...]}``, ``{"tuple": [...]}``, ``{"float": "nan"}``, ``{"complex": [real, imaginary]}``. A
Tensor that required grad has ``"requires_grad": true`` beside its name.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .engine import TensorCore, here, wrap
from .errors import DtypeError, FileFormatError, ShapeError

__all__ = ["load", "save"]

METADATA_KEY = "autograd_ff"
VERSION = 1
MAX_DEPTH = 100
MAX_STRUCTURE = 50_000_000  # characters; readers of safetensors refuse headers of 100 MB
# The dtypes of safetensors that NumPy has too.
DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
STORABLE = {np.dtype(dtype) for dtype in DTYPES.values()}


def save(obj: Any, f: Any) -> None:
    """Write a state dict, or a whole checkpoint, to one safetensors file.

    Args:
        obj: Tensors, arrays, numbers, strings, booleans and None, in dicts, lists and tuples to any sensible depth. Keys
            of dicts may be strings, numbers, booleans, None and tuples of those. A flat dict from strings to tensors
            is stored under its own keys; deeper tensors are named by their path (``model.fc1.weight``).
        f: a path, or a binary file opened for writing. To a path the file is written atomically: beside it first, then
            moved into its place; where that fails, or is interrupted, what was there before stays as it was.

    Tensors on the very same memory (tied weights) are stored once, and are one Tensor again after loading. A Tensor with
    a graph is stored as its values. Dicts of other classes (OrderedDict, defaultdict) come back as plain dicts.

    Raises:
        DtypeError: something that the file cannot hold; the message names its path in ``obj``.
        ShapeError: nesting deeper than 100 levels (a list that holds itself, say).
        OSError: the file cannot be written.

    >>> import tempfile, os
    >>> import autograd_ff as af
    >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> af.save({"model": {"weight": af.tensor([1.0, 2.0])}, "epoch": 3}, path)
    >>> af.load(path)
    {'model': {'weight': tensor([1., 2.])}, 'epoch': 3}
    """
    import json

    from safetensors.numpy import save as serialize

    packer = _Packer()
    structure = packer.pack(obj, "checkpoint", "" if isinstance(obj, (dict, list, tuple)) else "value", 0)
    text = json.dumps({"version": VERSION, "structure": structure}, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_STRUCTURE:
        raise ShapeError(
            f"the values around the tensors take {len(text):,} characters, where {MAX_STRUCTURE:,} are the most; keep "
            f"long lists of numbers as arrays{here()}"
        )
    data = serialize(packer.arrays, metadata={METADATA_KEY: text})
    if hasattr(f, "write"):
        f.write(data)
    else:
        write_atomically(f, data)


def load(f: Any, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Read what `save` wrote, or any other safetensors file, as a dict of Tensors.

    Args:
        f: a path, or a binary file opened for reading.
        map_location, weights_only: accepted so that programs run unchanged, and without effect: everything lies on the
            CPU, and a file holds nothing that could run.

    bfloat16, which NumPy does not have, is widened to float32.

    Raises:
        FileFormatError: the file is empty, truncated, damaged, or no safetensors file.
        OSError: the file cannot be read (`FileNotFoundError`, say).

    >>> import io
    >>> import autograd_ff as af
    >>> file = io.BytesIO()
    >>> af.save([1, "two", af.tensor(3.0)], file)
    >>> _ = file.seek(0)
    >>> af.load(file)
    [1, 'two', tensor(3.)]
    """
    if hasattr(f, "read"):
        data, name = f.read(), str(getattr(f, "name", "the file"))
        if not isinstance(data, bytes):
            raise DtypeError(f"load reads binary files; open {name} in mode 'rb'{here()}")
    else:
        name = os.fspath(f)
        try:
            with open(f, "rb") as file:
                data = file.read()
        except FileNotFoundError as error:
            raise FileNotFoundError(error.errno, "there is no such file to load", name) from None
    arrays, metadata = read_safetensors(data, name)
    text = metadata.get(METADATA_KEY)
    if text is None:
        return {key: wrap(array) for key, array in arrays.items()}
    return _Unpacker(arrays, name).unpack_file(text)


# ---------------------------------------------------------------- the file


def write_atomically(path: Any, data: bytes) -> None:
    """Make ``data`` the contents of the file at ``path``, whole or not at all."""
    target = os.path.realpath(path)  # the file that a link stands for, not the link
    if os.path.exists(target) and not os.path.isfile(target):  # a pipe or a device, which nothing may be moved over
        with open(target, "wb") as file:
            file.write(data)
        return
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to save into", folder)
    temporary = os.path.join(folder, f".{name[:100]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C too
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def check_writable(path: Any) -> None:
    """Raise before long work what writing the file after it would raise.

    Raises:
        OSError: there is no such folder, nothing may be written in it, or the path is a folder itself.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to save into", folder)
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "a folder stands where the file is to be written", target)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "nothing may be written into the folder", folder)


def _sync_folder(folder: str) -> None:
    """Bring the new name to the disk too, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems cannot; the file itself is written
    finally:
        os.close(descriptor)


@contextmanager
def _damaged(name: str) -> Iterator[None]:
    """Turn what goes wrong while reading into an error that names the file."""
    from safetensors import SafetensorError

    try:
        yield
    except FileFormatError:
        raise
    except (SafetensorError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise FileFormatError(f"{name} is damaged: {str(error) or type(error).__name__}{here()}") from error


def read_safetensors(data: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file, in the order of its header, and its metadata."""
    import json

    from safetensors import deserialize

    _check_beginning(data[:16], len(data), name)
    with _damaged(name):
        entries = dict(deserialize(data))  # checks the header, the offsets and the sizes
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        arrays = {key: _array(entries[key], f"{name}, tensor {key!r}") for key in header if key != "__metadata__"}
        return arrays, header.get("__metadata__") or {}


def map_safetensors(path: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What `read_safetensors` gives, with the arrays on the file's own memory: nothing is read before it is used.

    The arrays may be written to, which changes them and not the file. bfloat16 is widened, hence copied. The file must
    not be shortened while the arrays live; a file that another is moved over, as `write_atomically` does, lives on.
    """
    import json

    from safetensors import safe_open

    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            beginning = file.read(16)
            _check_beginning(beginning, size, name)
            file.seek(8)
            text = file.read(int.from_bytes(beginning[:8], "little"))
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "there is no such file to load", name) from None
    with _damaged(name):
        with safe_open(name, framework="numpy"):
            pass  # it has checked the header, the offsets and the sizes
        header = json.loads(text)
        mapped = np.memmap(path, np.uint8, mode="c")  # "c": writes stay in this process
        arrays = {}
        for key, entry in header.items():
            if key != "__metadata__":
                start, stop = (8 + len(text) + offset for offset in entry["data_offsets"])
                part = {"dtype": entry["dtype"], "shape": entry["shape"], "data": mapped[start:stop]}
                arrays[key] = _array(part, f"{name}, tensor {key!r}")
        return arrays, header.get("__metadata__") or {}


def _check_beginning(beginning: bytes, size: int, name: str) -> None:
    """Raise where a file of ``size`` bytes that begins so is no safetensors file, or not a whole one."""
    if not size:
        raise FileFormatError(f"{name} is empty{here()}")
    pickled = beginning[:4] == b"PK\x03\x04" or beginning[:2] in (b"\x80\x02", b"\x80\x04", b"\x80\x05")
    if pickled and beginning[8:9] != b"{":  # the length of a header may begin with those bytes too
        raise FileFormatError(
            f"{name} is a file of PyTorch's own format or a pickle, which can run code and is not read.{here()}\n"
            "  Convert it where it comes from: safetensors.torch.save_file(state_dict, path)."
        )
    if size < 8 or int.from_bytes(beginning[:8], "little") > size - 8:
        promised = f", its header is said to take {int.from_bytes(beginning[:8], 'little'):,}" if size >= 8 else ""
        raise FileFormatError(
            f"{name} is no safetensors file, or a truncated one: it has {size:,} bytes{promised}{here()}"
        )


def _array(entry: Any, where: str) -> np.ndarray:
    code, shape, data = entry["dtype"], tuple(entry["shape"]), entry["data"]
    if isinstance(data, bytes):
        data = bytearray(data)  # a buffer of its own, which the Tensor may write to
    if code == "BF16":  # the upper half of a float32
        widened = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return widened.view(np.float32).reshape(shape)
    if code == "C64":
        return np.ndarray(shape, "<c8", data).astype(np.complex64, copy=False)
    if code not in DTYPES:
        raise FileFormatError(f"{where} has dtype {code}, which NumPy does not have{here()}")
    if code == "BOOL":  # a byte of a damaged file may be neither 0 nor 1
        return np.not_equal(np.frombuffer(data, np.uint8), 0).reshape(shape)
    dtype = np.dtype(DTYPES[code])
    array = np.ndarray(shape, dtype.newbyteorder("<"), data).astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy()


# ---------------------------------------------------------------- the structure


class _Packer:
    """Takes the tensors out of a structure and makes JSON of the rest."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[Any, str] = {}  # of the memory that a tensor shows
        self.alive: list[np.ndarray] = []  # so that no address is used twice while packing

    def pack(self, value: Any, where: str, name: str, depth: int) -> Any:
        """``value`` as JSON; errors call it ``where``, and a tensor is stored under ``name``."""
        if depth > MAX_DEPTH:
            raise ShapeError(
                f"{where[:80]}… is nested deeper than {MAX_DEPTH} levels; does a list or dict hold itself?{here()}"
            )
        if isinstance(value, TensorCore):
            packed: dict[str, Any] = {"tensor": self.store(value.array, where, name)}
            if value.requires_grad and getattr(value, "is_leaf", True):
                packed["requires_grad"] = True
            return packed
        if isinstance(value, np.ndarray):
            return {"array": self.store(value, where, name)}
        if isinstance(value, np.generic):
            return {"scalar": self.store(np.asarray(value), where, name)}
        if isinstance(value, dict):
            items = []
            for key, item in value.items():
                inside = f"{where}[{key!r}]"
                path = key if name == "" and isinstance(key, str) else f"{name}.{key}"
                items.append([self.pack_key(key, inside), self.pack(item, inside, path, depth + 1)])
            return {"dict": items}
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            parts = [
                self.pack(part, f"{where}[{position}]", f"{name}.{position}" if name else str(position), depth + 1)
                for position, part in enumerate(value)
            ]
            return parts if isinstance(value, list) else {"tuple": parts}
        return self.pack_plain(value, where)

    def pack_plain(self, value: Any, where: str) -> Any:
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            if value.bit_length() > 10_000:  # Python's JSON reader refuses integers of more than 4,300 digits
                raise DtypeError(f"{where} is an integer of {value.bit_length():,} bits, too large to save{here()}")
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is complex:
            return {"complex": [self.pack_plain(value.real, where), self.pack_plain(value.imag, where)]}
        raise DtypeError(f"{where} is {_described(value)}, which cannot be saved.{here()}\n  {_way_out(value)}")

    def pack_key(self, key: Any, where: str) -> Any:
        if isinstance(key, tuple) and not hasattr(key, "_fields"):
            return {"tuple": [self.pack_key(part, where) for part in key]}
        if key is None or type(key) in (bool, int, float, str):
            return self.pack_plain(key, where)
        raise DtypeError(
            f"the key of {where} is {_described(key)}; keys may be strings, numbers, booleans, None and tuples of "
            f"those{here()}"
        )

    def store(self, array: np.ndarray, where: str, name: str) -> str:
        if array.dtype.newbyteorder("=") not in STORABLE or isinstance(array, np.ma.MaskedArray):
            kind = "a masked array" if isinstance(array, np.ma.MaskedArray) else f"of dtype {array.dtype}"
            raise DtypeError(
                f"{where} is {kind}, which a safetensors file cannot hold; it holds "
                f"{', '.join(sorted(dtype.name for dtype in STORABLE))}{here()}"
            )
        memory = array.__array_interface__["data"][0] if array.size else id(array)
        key = (memory, array.shape, array.strides, array.dtype.str)
        if key not in self.names:
            self.alive.append(array)
            stored = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
            self.names[key] = free = self.free_name(name)
            self.arrays[free] = stored
        return self.names[key]

    def free_name(self, name: str) -> str:
        """``name``, or one like it where it is taken or the format cannot have it."""
        name = name.encode("utf-8", "replace").decode()
        candidate, number = name, 1
        while candidate in self.arrays or candidate == "__metadata__":
            number += 1
            candidate = f"{name}~{number}"
        return candidate


def _described(value: Any) -> str:
    kind = type(value).__name__
    if callable(value) and hasattr(value, "__name__"):
        return f"a {kind} ({value.__name__})"
    if hasattr(type(value), "_fields"):
        return f"a namedtuple ({kind})"
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _way_out(value: Any) -> str:
    if hasattr(value, "state_dict"):
        return "Save its state_dict()."
    if isinstance(value, (set, frozenset)):
        return "Save a list of its elements."
    if isinstance(value, os.PathLike):
        return "Save it as a string: str(path)."
    if hasattr(value, "_asdict"):
        return "Save its _asdict()."
    return (
        "A file holds Tensors, arrays, numbers, strings, booleans and None in dicts, lists and tuples; leave this out, "
        "or save what it can be made of again."
    )


class _Unpacker:
    """Puts a structure together again, without trusting it."""

    def __init__(self, arrays: dict[str, np.ndarray], name: str) -> None:
        self.arrays = arrays
        self.name = name
        self.tensors: dict[tuple[str, bool], Any] = {}
        self.unused = set(arrays)

    def unpack_file(self, text: str) -> Any:
        import json

        with _damaged(self.name):
            content = json.loads(text)
            if not isinstance(content, dict) or "structure" not in content:
                raise self.fault("its metadata describes no structure")
            if content.get("version") != VERSION:
                raise FileFormatError(
                    f"{self.name} has version {str(content.get('version'))[:40]} of the format, this autograd_ff reads "
                    f"version {VERSION}; a newer one may read it{here()}"
                )
            value = self.unpack(content["structure"])
            if self.unused:
                raise self.fault(f"it holds tensors that its structure does not mention: {_some(self.unused)}")
            return value

    def fault(self, what: str) -> FileFormatError:
        return FileFormatError(f"{self.name} is damaged: {what}{here()}")

    def unpack(self, packed: Any) -> Any:
        if packed is None or isinstance(packed, (bool, int, float, str)):
            return packed
        if isinstance(packed, list):
            return [self.unpack(part) for part in packed]
        (kind, content), *rest = packed.items() if packed else [("nothing", None)]
        if kind == "tensor":
            return self.tensor(content, dict(rest).get("requires_grad") is True)
        if rest:
            raise self.fault(f"an entry of its structure has the keys {_some(packed)}")
        if kind == "array":
            return self.array(content)
        if kind == "scalar":
            array = self.array(content)
            if array.ndim:
                raise self.fault(f"the number {content!r} has shape {array.shape}")
            return array[()]
        if kind == "float" and content in ("nan", "inf", "-inf"):
            return float(content)
        if kind == "complex" and isinstance(content, list) and len(content) == 2:
            return complex(*(self.unpack(part) for part in content))
        if kind == "tuple" and isinstance(content, list):
            return tuple(self.unpack(part) for part in content)
        if kind == "dict" and isinstance(content, list):
            value = {self.unpack(key): self.unpack(item) for key, item in content}
            if len(value) != len(content):
                raise self.fault("a dict in its structure has a key twice")
            return value
        raise self.fault(f"its structure has an entry of the unknown kind {kind[:40]!r}")

    def array(self, name: Any) -> np.ndarray:
        if name not in self.arrays:
            raise self.fault(f"its structure mentions a tensor {str(name)[:80]!r} that is not there")
        self.unused.discard(name)
        return self.arrays[name]

    def tensor(self, name: Any, requires_grad: bool) -> Any:
        array = self.array(name)
        if (name, requires_grad) not in self.tensors:
            tensor = wrap(array)
            if requires_grad:
                if array.dtype.kind != "f":
                    raise self.fault(f"the tensor {name!r} of {array.dtype} is said to require a gradient")
                tensor.requires_grad = True
            self.tensors[name, requires_grad] = tensor
        return self.tensors[name, requires_grad]


def _some(names: Any) -> str:
    shown = sorted(map(str, names))
    return ", ".join(repr(name[:80]) for name in shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
