"""Flushing subnormal numbers to zero, by the processor, in the current thread.

Arithmetic on subnormal numbers, those between 0 and the smallest normal one (1.2e-38 in float32, 2.2e-308 in float64),
is up to 24 times slower than on others. A training step meets them where something decays for long: the moments of an
optimizer whose gradients have become zero. Processors have a mode in which such results and such inputs
count as zero: flush-to-zero and denormals-are-zero, in MXCSR on x86 and in FPCR on ARM. Python cannot set it, but the C
library can, as part of the floating-point environment (`fegetenv`, `fesetenv`; `_controlfp_s` on Windows), and that is
reached through ctypes. Whether it works is tried once, by computing a subnormal number; where it does not, nothing
happens and `available` says so.

The mode is a thread's own. Threads of BLAS, which run products, do not see it.

Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.2.3 (MXCSR); Arm Architecture Reference Manual,
FPCR.
"""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["available", "flush_to_zero", "is_flushing", "set_flush"]

Setter = Callable[[bool], bool]

_X86_BITS = 1 << 15 | 1 << 6  # flush to zero, denormals are zero
_ARM_BITS = 1 << 24

_setter: Setter | None = None  # None until the first use


def set_flush(mode: bool) -> bool:
    """Switch the flushing of subnormals on or off in this thread, and say whether it was on.

    False at all times where it is not available. Whoever switches it on switches it back in a ``finally``; or use
    `flush_to_zero`.

    >>> before = set_flush(True)
    >>> set_flush(before) == available()
    True
    """
    return (_setter or _detect())(mode)


def available() -> bool:
    """Whether this platform can flush subnormals to zero."""
    return (_setter or _detect()) is not _unavailable


def is_flushing() -> bool:
    """Whether this thread flushes subnormals to zero now.

    >>> is_flushing()
    False
    """
    mode = set_flush(True)
    set_flush(mode)
    return mode


class flush_to_zero:
    """Context manager: in this thread, results and operands smaller than the smallest normal number count as zero.

    The mode from before comes back at the end, also after an exception. Where the platform does not have it, nothing
    happens.

    >>> import numpy as np
    >>> tiny = np.array([1e-38], np.float32)
    >>> with flush_to_zero():
    ...     flushed = tiny * np.float32(0.125)
    >>> bool(flushed[0] == 0) == available()
    True
    >>> bool((tiny * np.float32(0.125))[0] > 0)
    True
    """

    __slots__ = ("_previous",)

    def __enter__(self) -> None:
        self._previous = set_flush(True)

    def __exit__(self, *error: object) -> None:
        set_flush(self._previous)


def _unavailable(mode: bool) -> bool:
    return False


def _detect() -> Setter:
    """Find what works here, once."""
    global _setter
    found: Setter = _unavailable
    try:
        candidate = _windows() if sys.platform == "win32" else _environment()
        if candidate is not None and _works(candidate):
            found = candidate
    except Exception:  # another C library, another layout: then there is no such mode
        found = _unavailable
    _setter = found
    return found


def _works(setter: Setter) -> bool:
    before = setter(True)
    try:
        inside = _subnormals()
    finally:
        setter(False)
    after = _subnormals()
    if before:
        setter(True)
    return not inside.any() and bool(after.all())


def _subnormals() -> np.ndarray:
    """Subnormal products and sums; long enough for vector instructions, with a rest for the others."""
    with np.errstate(all="ignore"):
        single = np.full(19, 1.5e-38, np.float32) * np.float32(0.25)
        double = np.full(19, 3e-308) * 0.25
        # Subnormal operands, made of their bits: 2^23 - 1 times the smallest.
        operands = np.full(19, 0x7FFFFF, np.int32).view(np.float32) + np.float32(0)
    return np.concatenate([single, double, operands])


def _environment() -> Setter | None:
    """By the C library's floating-point environment, of which one word holds the bits."""
    import ctypes

    machine = platform.machine().lower()
    apple = sys.platform == "darwin"
    if machine in ("x86_64", "amd64") and sys.maxsize > 2**32:
        position, bits = (1 if apple else 7), _X86_BITS
    elif machine in ("aarch64", "arm64") and sys.maxsize > 2**32:
        position, bits = (2 if apple else 0), _ARM_BITS
    else:
        return None
    # PyDLL, not CDLL: letting other threads run takes longer than the call.
    library: Any = ctypes.PyDLL(None)
    if not hasattr(library, "fesetenv"):
        library = ctypes.PyDLL("libm.so.6")
    get, put = library.fegetenv, library.fesetenv

    class Environment(threading.local):
        """A thread's buffer, larger than any fenv_t."""

        def __init__(self) -> None:
            buffer = (ctypes.c_uint32 * 64)()
            self.buffer = memoryview(buffer).cast("B").cast("I"), ctypes.byref(buffer)

    local = Environment()
    clear = ~bits & 0xFFFFFFFF

    def setter(mode: bool) -> bool:
        words, reference = local.buffer
        get(reference)
        word = words[position]
        before = word & bits == bits
        if before is not mode:
            words[position] = word | bits if mode else word & clear
            put(reference)
        return before

    return setter


def _windows() -> Setter:
    """By the Universal C Runtime's control word."""
    import ctypes

    control = ctypes.CDLL("ucrtbase")._controlfp_s
    flush, mask = 0x01000000, 0x03000000  # _DN_FLUSH, _MCW_DN

    def setter(mode: bool) -> bool:
        current = ctypes.c_uint()
        control(ctypes.byref(current), 0, 0)
        before = current.value & mask == flush
        if before is not mode:
            control(ctypes.byref(current), flush if mode else 0, mask)
        return before

    return setter
