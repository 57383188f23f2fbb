"""Ctrl-C between two steps rather than in the middle of one."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from ..distributed.group import joined

TOGETHER = 1.0  # seconds


class Interruption:
    """While the ``with`` block runs, the first Ctrl-C only sets ``requested``, and says so; a later one interrupts as usual.

    Keys are easily pressed twice: what comes within a second belongs to the first.

    The loop looks at ``requested`` after each step, so that what it saves then is never half a step. Outside the main
    thread, where Python delivers no signals, it does nothing.

    >>> with Interruption() as interruption:
    ...     interruption.requested
    False
    """

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            handlers: dict[int, Any] = {signal.SIGINT: self._handle}
            if joined().size > 1:
                handlers[signal.SIGTERM] = self._end
            for number, handler in handlers.items():
                if signal.getsignal(number) is not signal.SIG_IGN:  # who ignores it means to go on
                    self._previous[number] = signal.signal(number, handler)
        return self

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Schedulers whose time is up send this, and launchers before they kill: the state is kept if time is left."""
        self.requested = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested and now - self._since > TOGETHER:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested, self._since = True, now
            # Past the buffer, in the middle of whose writing the signal may have come; of several processes the first alone.
            said = (
                b"\nCtrl-C: the training stops after this step, and keeps its state; Ctrl-C again stops it at once.\n"
            )
            os.write(2, b"" if joined().rank else said)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
