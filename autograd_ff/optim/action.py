"""What schedulers do at a step, as actions of Python's own, which a replayed step repeats."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..engine import host

__all__ = ["act"]


class _Thread(threading.local):
    acting = False


_THREAD = _Thread()


def act(action: Callable[..., None], *arguments: Any) -> None:
    """Do what a scheduler's step does as one action of Python's own, which a replayed step repeats (see `engine.host`).

    A scheduler that another one calls is part of that one's action.
    """
    if _THREAD.acting:
        action(*arguments)
    else:
        host(_outermost, action, *arguments)


def _outermost(action: Callable[..., None], *arguments: Any) -> None:
    _THREAD.acting = True
    try:
        action(*arguments)
    finally:
        _THREAD.acting = False
