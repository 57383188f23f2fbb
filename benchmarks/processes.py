"""The processes that are measured: where they run, what they answer, and why one failed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
from typing import Any

# Set on some machines: for old OpenBLAS builds, which slows a current NumPy; and to keep Python from caching bytecode,
# which an installed package comes with.
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")
# With which someone limits threads: everything is measured as it comes.
LIMITING = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS",
    "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    return {**{key: value for key, value in os.environ.items() if key not in SLOWING + LIMITING}, **more}


class Failed(Exception):
    """A process could not do what it was asked; the message says why, in a few words."""


def reason(errors: str, code: int | None = None) -> str:
    """Why a process ended, from what it wrote to standard error.

    >>> reason("Traceback ...\\n  File ...\\nModuleNotFoundError: No module named 'x'\\n")
    "ModuleNotFoundError: No module named 'x'"
    """
    named = re.findall(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception|Expired|Interrupt)\b.*)", errors, re.MULTILINE)
    lines = errors.split("\n")
    text = named[-1] if named else next((line for line in reversed(lines) if line.strip()), "")
    if not text:
        text = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return text if len(text) <= 100 else text[:99] + "…"


class Process:
    """A module of this package in a process of its own, which answers a line of JSON to each line."""

    def __init__(self, module: str, *arguments: str, **variables: str) -> None:
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment(**variables),
        )

    def answer(self, limit: float = 600) -> dict[str, Any]:
        """The next answer, within ``limit`` seconds."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(limit) else None
        if line:
            found: dict[str, Any] = json.loads(line)
            if "failed" not in found:
                return found
            why = found["failed"]
        elif line is None:
            why = f"no answer in {limit:.0f} s"
        else:
            code = self.process.wait()
            self.errors.seek(0)
            why = reason(self.errors.read(), code)
        self.close()
        raise Failed(why)

    def ask(self, limit: float = 600) -> dict[str, Any]:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # where it has ended, the answer says why
            self.process.stdin.write(b"go\n")
            self.process.stdin.flush()
        return self.answer(limit)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):  # what was written to a process that has ended
            self.process.stdin.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
