"""Public functions that call several ops, or other public functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..engine import scope

__all__ = ["composed"]

F = TypeVar("F", bound=Callable[..., Any])


def composed(function: F) -> F:
    """Decorator: what the function records is put under its name and belongs to the line that called it."""
    name = function.__name__

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with scope("composite", name, name):
            return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]
