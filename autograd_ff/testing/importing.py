"""Which modules a file can import wherever it lies, and where a value can be imported from."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["environment", "folder_of", "found_by_name", "importable"]

_PACKAGE = __name__.partition(".")[0]
_QUESTION = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]).origin)"


def importable(name: str | None) -> bool:
    """Whether a module can be imported from anywhere: it is Python's own, or installed, also in editable form."""
    module = sys.modules.get(name or "")
    if name is None or module is None or name == "__main__":
        return False
    return _certainly(module) or _asked(name, getattr(module, "__file__", None))


def _certainly(module: ModuleType) -> bool:
    top = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None) or ""
    return top == _PACKAGE or top in sys.stdlib_module_names or f"{os.sep}site-packages{os.sep}" in file


@functools.cache
def _asked(name: str, file: str | None) -> bool:
    """A fresh interpreter is asked, in an empty folder: this one's path knows the folders of scripts and tests too."""
    if file is None or name not in sys.modules:
        return False
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = subprocess.run(
                [sys.executable, "-P", "-c", _QUESTION, name],
                cwd=folder, env=own, capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return False
    origin = found.stdout.strip()
    return bool(origin) and os.path.realpath(origin) == os.path.realpath(file)


def environment() -> dict[str, str]:
    """The environment of a fresh interpreter that finds this package, wherever it lies, and nothing beside a script."""
    root = Path(__file__).resolve().parents[2]
    installed = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if "site-packages" in part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *installed])}


def found_by_name(name: str, value: Any) -> tuple[str, str] | None:
    """The module and the name from which a value can be imported, where there is one.

    >>> import math
    >>> found_by_name("root", math.sqrt)
    ('math', 'sqrt')
    """
    own = getattr(value, "__name__", None)
    names = dict.fromkeys(one for one in (own, name) if isinstance(one, str) and one.isidentifier())
    home = getattr(value, "__module__", None)
    parts = home.split(".") if isinstance(home, str) else []
    for length in range(1, len(parts) + 1):  # a package may offer what its modules define
        module = ".".join(parts[:length])
        for one in names:
            if vars(sys.modules.get(module, object)).get(one) is value and importable(module):
                return module, one
    found = [
        (module.__name__, one)
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType) and module.__name__ in sys.modules
        for one in names
        if vars(module).get(one) is value and _certainly(module)
    ]
    return min(found, key=lambda place: ("._" in f".{place[0]}", place[0].count("."), place), default=None)


def folder_of(module: ModuleType) -> Path | None:
    """The folder from which a module can be imported under its name."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    return path.parents[module.__name__.count(".") + (path.name == "__init__.py")]
