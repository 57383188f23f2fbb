"""Where generated source and its machine code are kept, so that a second process need not compile.

The directory is ``AUTOGRAD_FF_CACHE``, or else ``autograd_ff`` in the user's cache directory. Machine code in it is run
without further ado, so it is used only where nobody else can write; elsewhere everything is compiled anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import linecache
import os
import stat
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["directory", "load"]

_LOADED: dict[str, dict[str, Any]] = {}


def directory() -> Path | None:
    """The cache directory, made where it was not there; None where none can be trusted or written."""
    chosen = os.environ.get("AUTOGRAD_FF_CACHE")
    if chosen:
        path = Path(chosen)
    elif sys.platform == "win32":
        path = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "autograd_ff" / "cache"
    elif sys.platform == "darwin":
        path = Path.home() / "Library" / "Caches" / "autograd_ff"
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autograd_ff"
    path = path / "loops"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = path.stat()
    except (OSError, RuntimeError):
        return None
    if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        return None
    return path if os.access(path, os.W_OK | os.X_OK) else None


def load(source: str) -> dict[str, Any]:
    """The globals of a generated module, executed once a process."""
    key = _key(source)
    if key not in _LOADED:
        _LOADED[key] = _execute(source, key)
    return _LOADED[key]


def _key(source: str) -> str:
    import numba

    from . import pointers  # which the source uses, and which has no version of its own

    parts = (source, inspect.getsource(pointers), sys.version, np.__version__, numba.__version__, _version())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _version() -> str:
    try:
        return metadata.version("autograd_ff")
    except metadata.PackageNotFoundError:
        return ""


def _execute(source: str, key: str) -> dict[str, Any]:
    name = f"autograd_ff_loops_{key}"
    path = _written(source, name)
    file = str(path) if path is not None else f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    # What is executed is the source that was made here, whatever the file holds: numba wants to know it for its cache.
    code = compile(source, file, "exec")
    for cached in (True, True, False) if path is not None else (False,):
        module = ModuleType(name)
        module.__dict__.update(__file__=file, CACHE=cached)
        sys.modules[name] = module  # machine code that is loaded looks for its module by name
        try:
            exec(code, module.__dict__)
            break
        except Exception:
            if path is None or not cached:
                raise
            _discard(path)  # machine code that cannot be read: cut off by a crash, say
    return module.__dict__


def _discard(path: Path) -> None:
    for file in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        with contextlib.suppress(OSError):
            file.unlink()


def _written(source: str, name: str) -> Path | None:
    """The path of a file with this source; None where it cannot be kept."""
    folder = directory()
    if folder is None:
        return None
    path = folder / f"{name}.py"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == source:
            return path
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".writing-")  # for the user's eyes only
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(source)
            os.utime(temporary, (0, 0))  # numba compares the time: two processes that write the same are of one mind
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        return None
    return path
