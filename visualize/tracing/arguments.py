"""What an operation was given beside arrays, in a few characters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from autograd_ff import engine
from autograd_ff.engine import Op

__all__ = ["arguments", "text_of"]


def arguments(op: Op, params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What an op was given beside arrays, where it says something: readable, and the same in every run."""
    for name, value in params.items():
        default = op.params.get(name)
        if (
            value is None
            or value is default
            or (_is_plain(value) and type(value) is type(default) and value == default)
        ):
            continue
        text = _index(value) if name == "index" else text_of(value)
        if text:
            yield name, text


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex, str))


def text_of(value: Any) -> str:
    """A parameter's value in a few characters; "" for what has no readable form.

    >>> text_of(0.1), text_of(np.float32), text_of((0, -1))
    ('0.1', 'float32', '(0, -1)')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    if _is_plain(value) or value is None:
        return str(value)
    if isinstance(value, slice):
        parts = ["" if one is None else str(one) for one in (value.start, value.stop)]
        return ":".join(parts if value.step is None else [*parts, str(value.step)])
    if value is Ellipsis:
        return "…"
    if isinstance(value, np.ndarray):
        return f"{'×'.join(map(str, value.shape))} {value.dtype}" if value.ndim else str(value)
    if isinstance(value, np.generic):
        return text_of(value.item())
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return str(np.dtype(value))
    if isinstance(value, engine.Geometry):
        return " ".join(_index(params["index"]) if "index" in params else op.name for op, params in value.steps)
    if isinstance(value, (tuple, list)):
        return f"({', '.join([*(text_of(one) for one in value[:8]), *['…'] * (len(value) > 8)])})"
    return ""


def _index(index: Any) -> str:
    """
    >>> _index((slice(1, 3), Ellipsis, None)), _index(0)
    ('[1:3, …, None]', '[0]')
    """
    return f"[{', '.join(text_of(one) for one in index) if isinstance(index, tuple) else text_of(index)}]"
