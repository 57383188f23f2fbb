"""The idx format, in which MNIST and its relatives are published: a short header, then numbers, big-endian.

Header: two zero bytes, a dtype code, the number of dimensions, then each side as an unsigned 32-bit integer.
"""

from __future__ import annotations

import math
import os
import struct
from typing import Any

import numpy as np

from ..errors import FileFormatError

__all__ = ["read_idx"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
MAX_DIMS = 32
# Deflate cannot expand a byte to more than this, so a header that claims more than that of its gzip file is a lie.
MAX_EXPANSION = 1032


def read_idx(source: str | os.PathLike[str] | bytes) -> np.ndarray:
    """The array in an idx file, plain or compressed with gzip.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        A read-only array of the shape and dtype that the header names, in the machine's byte order. Take ``.copy()`` of
        it to write.

    Raises:
        FileFormatError: the bytes are no idx file, are fewer or more than the header says, or the compressed stream is
            damaged. Nothing of the size that a header claims is allocated before the data behind it is there.
        OSError: the file cannot be read.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".

    >>> read_idx(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes([1, 2, 3, 4, 5, 6]))
    array([[1, 2, 3],
           [4, 5, 6]], dtype=uint8)
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), f"these {len(source)} bytes"
    else:
        with open(source, "rb") as file:
            data = file.read()
        name = os.fspath(source)
    return parse(data, name)


def parse(data: bytes, name: str) -> np.ndarray:
    """The array in ``data``, which errors call ``name``."""
    compressed = data[:2] == GZIP_MAGIC
    header = _expand(data, 4 + 4 * MAX_DIMS, name)[0] if compressed else data[: 4 + 4 * MAX_DIMS]
    shape, dtype, start = _parse_header(header, name)
    expected = start + math.prod(shape) * dtype.itemsize
    if compressed:
        if expected > MAX_EXPANSION * len(data) + 1024:
            raise FileFormatError(
                f"{name}: the header promises {_size(shape, dtype)}, more than {len(data):,} bytes of gzip can hold"
            )
        data, finished = _expand(data, expected + 1, name)
        if len(data) <= expected and not finished:
            raise FileFormatError(
                f"{name}: the gzip stream breaks off after {len(data):,} of {expected:,} bytes; the file is truncated"
            )
    if len(data) != expected:
        found = f"more than {expected:,}" if compressed and len(data) > expected else f"{len(data):,}"
        fault = "truncated" if len(data) < expected else "followed by something else"
        raise FileFormatError(
            f"{name}: the header promises {_size(shape, dtype)}, hence {expected:,} bytes in all, but there are "
            f"{found}; the file is {fault}"
        )
    array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    array = array.astype(dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    return array


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"an array of shape {shape} and dtype {dtype.name}"


def _parse_header(header: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype, and where the numbers start."""
    if len(header) < 4:
        raise FileFormatError(f"{name}: {len(header)} bytes are too few for an idx file, whose header has at least 4")
    if header[0] or header[1] or header[2] not in DTYPES:
        raise FileFormatError(
            f"{name}: not an idx file: it starts with 0x{header[:4].hex()}, where two zero bytes, a dtype code (one of "
            f"{', '.join(f'0x{code:02x}' for code in DTYPES)}) and the number of dimensions are expected"
        )
    ndim = header[3]
    if ndim > MAX_DIMS:
        raise FileFormatError(f"{name}: the header promises {ndim} dimensions; {MAX_DIMS} are the most that is read")
    start = 4 + 4 * ndim
    if len(header) < start:
        raise FileFormatError(f"{name}: a header of {ndim} dimensions has {start} bytes, the file only {len(header)}")
    shape = struct.unpack(f">{ndim}I", header[4:start])
    # An empty array may not promise sides whose product NumPy cannot count either.
    if math.prod(side for side in shape if side) >= 2**63 // 8:
        raise FileFormatError(f"{name}: the header promises sides {shape}, more than any array can have")
    return shape, np.dtype(DTYPES[header[2]]), start


def _expand(data: bytes, limit: int, name: str) -> tuple[bytes, bool]:
    """At most ``limit`` bytes of what the gzip stream holds, and whether that is all of it, checksum included."""
    import zlib

    stream = zlib.decompressobj(wbits=31)
    try:
        expanded = stream.decompress(data, limit)
    except zlib.error as error:
        raise FileFormatError(f"{name}: the gzip stream is damaged: {error}") from error
    return expanded, stream.eof
