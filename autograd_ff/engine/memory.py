"""A setting of the C library's allocator for those who train without `compile`: memory that was freed stays at hand.

Each operation makes an array for its result. The C library takes large blocks from the system, and gives them back when
they are freed; the next operation gets fresh ones, which the system fills with zeros, page by page, as they are touched.
From a quarter of a megabyte up that can cost several times the work itself.
"""

from __future__ import annotations

import operator
import sys
from typing import Any

from ..errors import AutogradError, DtypeError
from .site import here

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt
_LARGEST_MMAP_THRESHOLD = 1 << 25  # what glibc takes on 64 bit
_LARGEST_INT = (1 << 31) - 1


def keep_freed_memory(limit_bytes: int = 1 << 28) -> bool:
    """Let the process keep memory that arrays have left, up to ``limit_bytes``, for the arrays that come next.

    Meant for eager training on Linux with arrays of 0.1 to 32 MB: the memory of one step then serves the next, without
    the page faults that fresh memory costs. It is a setting of the whole process, of glibc's ``malloc``
    (``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``), so it acts on other libraries too, and stays until the process ends or
    it is set again. Results do not change. The price: the process may hold that much memory that it does not use.
    Compiled steps work in memory of their own and gain nothing from it.

    Args:
        limit_bytes: how much free memory is kept at most, from 0 up to 2 GiB; arrays of more than 32 MB go back to the
            system in any case.

    Returns:
        Whether the setting was made: False where the C library is not glibc (macOS, Windows, Alpine Linux).

    Raises:
        AutogradError: ``limit_bytes`` is negative. DtypeError (a TypeError): it is not a whole number.

    See ``man 3 mallopt``.

    >>> import autograd_ff as af
    >>> af.keep_freed_memory() in (True, False)
    True
    """
    try:
        limit = operator.index(limit_bytes)
    except TypeError:
        raise DtypeError(f"limit_bytes is a whole number of bytes, got {limit_bytes!r}.{here()}") from None
    if limit < 0:
        raise AutogradError(f"limit_bytes is a number of bytes from 0 up, got {limit}.{here()}")
    if not sys.platform.startswith("linux"):
        return False
    try:
        import ctypes

        library: Any = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (only glibc has it)
        set_option = library.mallopt
    except (ImportError, OSError, AttributeError):
        return False
    set_option.argtypes, set_option.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    kept = set_option(_TRIM_THRESHOLD, min(limit, _LARGEST_INT))
    return bool(kept and set_option(_MMAP_THRESHOLD, min(limit, _LARGEST_MMAP_THRESHOLD)))
