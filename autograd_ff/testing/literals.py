"""Values as source code that gives the same values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import TensorCore
from ..errors import AutogradError

__all__ = ["LARGEST", "Aliases", "NoSourceError", "literal"]

LARGEST = 4096  # elements of an array that are written out


class NoSourceError(AutogradError):
    """Something that cannot be written down as source code."""


class Aliases:
    """The names under which a file knows NumPy and autograd_ff."""

    numpy = "np"
    package = "af"


def literal(value: Any, aliases: Aliases | None = None) -> str:
    """A value as source code that gives the same value.

    Args:
        value: a number, string, slice, dtype, array or Tensor, or a tuple, list, set or dict of them.
        aliases: the names of NumPy and autograd_ff in that code; ``np`` and ``af`` by default.

    Raises:
        NoSourceError: the value is of another type, or too large to be written out.

    >>> literal((1, 2.5, None, slice(0, 2, None), float("-inf")))
    '(1, 2.5, None, slice(0, 2, None), float("-inf"))'
    """
    return _Writer(aliases or Aliases()).write(value)


class _Writer:
    def __init__(self, aliases: Aliases) -> None:
        self.aliases = aliases

    def write(self, value: Any) -> str:
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, str, bytes):
            return "Ellipsis" if value is Ellipsis else repr(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        if kind is complex:
            return f"complex({self.write(value.real)}, {self.write(value.imag)})"
        if kind in (slice, range):
            return f"{kind.__name__}({self.write(value.start)}, {self.write(value.stop)}, {self.write(value.step)})"
        if isinstance(value, np.generic) and value.dtype.kind in "biufc" and value.dtype.char not in "gG":
            return f"{self.aliases.numpy}.{kind.__name__}({self.write(value.item())})"
        if isinstance(value, np.dtype) and value.names is None:
            return f"{self.aliases.numpy}.dtype({value.str!r})"
        name = getattr(value, "__name__", "")
        if isinstance(value, type) and issubclass(value, np.generic) and getattr(np, name, None) is value:
            return f"{self.aliases.numpy}.{name}"
        if kind is np.ndarray:
            return self._array(value)
        if isinstance(value, TensorCore) and kind.__module__.startswith("autograd_ff."):
            tracked = ", requires_grad=True" if value.requires_grad else ""
            return f"{self.aliases.package}.tensor({self._array(value.array)}{tracked})"
        return self._container(value)

    def _array(self, value: np.ndarray) -> str:
        dtype = value.dtype
        if dtype.kind not in "biufc" or dtype.char in "gG":
            raise NoSourceError(f"an array of dtype {dtype} has no literal")
        if value.size > LARGEST:
            raise NoSourceError(f"an array of shape {value.shape} is too large to be written out")
        if not value.size:  # [] says nothing of the other lengths
            return f"{self.aliases.numpy}.zeros({value.shape}, dtype={dtype.name!r})"
        return f"{self.aliases.numpy}.array({self.write(value.tolist())}, dtype={dtype.name!r})"

    def _container(self, value: Any) -> str:
        kind = type(value)
        if kind is tuple:
            return f"({', '.join(map(self.write, value))}{',' if len(value) == 1 else ''})"
        if kind is list:
            return f"[{', '.join(map(self.write, value))}]"
        if kind in (set, frozenset):
            return f"{kind.__name__}([{', '.join(sorted(map(self.write, value)))}])"
        if kind is dict:
            return "{" + ", ".join(f"{self.write(key)}: {self.write(part)}" for key, part in value.items()) + "}"
        raise NoSourceError(f"a value of type {kind.__name__} has no literal: {value!r:.80}")
