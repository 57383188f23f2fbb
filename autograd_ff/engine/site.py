"""Where in the user's code something happened.

A site is a pair (code object, instruction offset). Both are kept as they are when an op is recorded, which costs a
tenth of a microsecond, and become a file, a line and its text only when somebody asks. A frame is never kept: it would
keep the caller's local variables alive.
"""

from __future__ import annotations

import copy
import linecache
import os
import sys
import warnings
from types import CodeType, FrameType
from typing import NamedTuple

import numpy as np

_NUMPY = os.path.dirname(np.__file__)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Code in these places is never the user's: this package, and the libraries whose Python code calls Tensors back.
_LIBRARIES = (
    "<frozen ",  # runpy and the import system
    "<compiled step>",
    copy.__file__,
    _PACKAGE + os.sep,
    os.path.join(os.path.dirname(_PACKAGE), "visualize") + os.sep,
    _NUMPY + os.sep,
    *(os.path.join(os.path.dirname(_NUMPY), name) + os.sep for name in ("scipy", "hypothesis")),
)
_EXAMPLES = os.path.join(_PACKAGE, "examples") + os.sep  # programs as users write them


class Site(NamedTuple):
    """A line of source code.

    >>> str(Site("train.py", 12, "loss = f(x)"))
    'train.py:12: loss = f(x)'
    """

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        file = _from_here(self.file)
        return f"{file}:{self.line}: {self.text}" if self.text else f"{file}:{self.line}"


def _from_here(file: str) -> str:
    """A path as people say it: from the working directory, where it lies below that."""
    try:
        return file.removeprefix(os.path.join(os.getcwd(), ""))
    except OSError:  # the working directory is gone
        return file


def in_package(code: CodeType) -> bool:
    """Whether the code belongs to autograd_ff itself (or to NumPy or SciPy), rather than to its user."""
    return code.co_filename.startswith(_LIBRARIES) and not code.co_filename.startswith(_EXAMPLES)


def resolve(code: CodeType, offset: int) -> Site:
    """The source line of the instruction at byte ``offset`` of ``code``."""
    line = code.co_firstlineno
    for index, position in enumerate(code.co_positions()):
        if index * 2 == offset:
            line = position[0] or line
            break
    return Site(code.co_filename, line, linecache.getline(code.co_filename, line).strip())


def calling_code() -> tuple[CodeType, int] | None:
    """The innermost code now running that is the user's, and the offset of its instruction."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and in_package(frame.f_code):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


def calling_site() -> Site | None:
    """The innermost line now running that is the user's."""
    found = calling_code()
    return None if found is None else resolve(*found)


def at(site: Site | None, how: str = "at") -> str:
    """A site as the closing line of an error message.

    >>> at(Site("train.py", 12, "loss = f(x)"), "saved at")
    '\\n  saved at train.py:12: loss = f(x)'
    >>> at(None)
    ''
    """
    return "" if site is None else f"\n  {how} {site}"


def here() -> str:
    """`at` the user's line that is running now."""
    return at(calling_site())


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning at the user's line that is running now, however many calls of this package lie between."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and in_package(frame.f_code):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
