"""Numbers in 16 bits: float16, and bfloat16, which is the upper half of a float32."""

from __future__ import annotations

import numpy as np

STORAGES = ("float16", "bfloat16")
BLOCK = 1 << 14  # numbers that are rounded at once: what they pass through stays in the cache


def widened(bits, storage, dtype=np.float32, out=None):
    """The numbers that 16 bits stand for, exactly."""
    if out is None:
        out = np.empty(bits.shape, dtype)
    if storage == "float16":
        np.copyto(out, bits.view(np.float16))
    elif out.dtype == np.float32:
        np.left_shift(bits, 16, out=out.view(np.uint32), dtype=np.uint32)
    else:
        np.copyto(out, np.left_shift(bits, 16, dtype=np.uint32).view(np.float32))
    return out


def narrowed(array, storage, out=None):
    """The bits of the nearest numbers in half precision; of two equally near, the even one."""
    if out is None:
        out = np.empty(array.shape, np.uint16)
    if storage == "float16":
        with np.errstate(over="ignore"):  # infinite then
            np.copyto(out.view(np.float16), array, casting="same_kind")
        return out
    numbers = np.ascontiguousarray(array, np.float32).reshape(-1)
    target = out.reshape(-1)
    scratch = np.empty(min(BLOCK, numbers.size), np.uint32)
    for first in range(0, numbers.size, BLOCK):
        block = numbers[first : first + BLOCK]
        bits, rounded = block.view(np.uint32), scratch[: block.size]
        np.right_shift(bits, 16, out=rounded)
        rounded &= 1
        rounded += 0x7FFF
        rounded += bits
        rounded >>= 16
        nan = block != block
        if nan.any():  # the carry would make an infinity of a NaN, and of some NaNs a number
            rounded[nan] = bits[nan] >> 16 | 0x40
        target[first : first + BLOCK] = rounded
    return out
