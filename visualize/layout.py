"""From DOT text to a picture: Graphviz, as it is found on this machine.

``dot`` from PATH comes first, then the Graphviz that pygraphviz brings along in its wheel. Both run in a process of
their own, so that neither a crash nor a hang of the layout reaches the user's program.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

from autograd_ff.errors import AutogradError

__all__ = ["FORMATS", "LayoutError", "layout"]

FORMATS = ("png", "svg", "pdf")
_DPI = 160

# Runs in a process of its own: DOT text in, picture out.
_PYGRAPHVIZ = """
import sys
import pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
for setting in sys.argv[2:]:
    name, value = setting.split("=", 1)
    graph.graph_attr[name] = value
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot"))
"""

# The same graph gives the same PDF: a date of the same length, so that the offsets in the file stay true.
_DATE = re.compile(rb"/CreationDate \(D:\d{14}")
_NO_DATE = b"/CreationDate (D:20000101000000"

# Where the best layout takes too long: fewer rounds, straight edges.
_FAST = ("nslimit=1", "nslimit1=1", "mclimit=0.1", "splines=line")


class LayoutError(AutogradError):
    """No layout engine, or none that could lay out this graph."""


class _Failed(Exception):
    """One attempt that did not work."""


def layout(dot: str, format: str, *, timeout: float = 60.0) -> bytes:
    """A picture of DOT text.

    An engine that crashes or exceeds half of the time is followed by the next one, and at last by a coarser layout.

    Args:
        dot: the graph.
        format: ``"png"``, ``"svg"`` or ``"pdf"``.
        timeout: seconds for all attempts together.

    Raises:
        LayoutError: neither ``dot`` nor pygraphviz is there, or none managed in time; the message names the way out.
    """
    if format not in FORMATS:
        raise LayoutError(f"pictures are {', '.join(FORMATS)}, not {format!r}")
    engines = list(_engines(format))
    if not engines:
        raise LayoutError(
            f"no layout engine was found for a .{format} picture: neither Graphviz's `dot` on PATH nor pygraphviz.\n"
            '  Install one by: pip install "autograd_ff[draw]"\n'
            "  A .dot file needs none."
        )
    problems: list[str] = []
    settings = (f"dpi={_DPI}",) if format == "png" else ()
    slow = False
    for name, command in engines:
        try:
            return _run(name, command, settings, dot, timeout / 2 / len(engines))
        except _Failed as problem:
            problems.append(str(problem))
            slow = slow or isinstance(problem.__cause__, subprocess.TimeoutExpired)
    if slow:
        try:
            return _run(f"{name} with a coarser layout", command, (*settings, *_FAST), dot, timeout / 2)
        except _Failed as problem:
            problems.append(str(problem))
    raise LayoutError(
        f"no picture of this graph ({dot.count(' -> '):,} edges) came out:\n  "
        + "\n  ".join(problems)
        + "\n  Write a .dot file instead, draw a smaller part, or give more time (timeout=)."
    )


def _engines(format: str) -> Iterator[tuple[str, list[str]]]:
    """The engines of this machine: names, and commands that read DOT text and write a picture."""
    dot = shutil.which("dot")
    if dot:
        yield "dot", [dot, f"-T{format}"]
    if importlib.util.find_spec("pygraphviz") is not None and sys.executable:
        yield "pygraphviz", [sys.executable, "-P", "-c", _PYGRAPHVIZ, format]


def _run(name: str, command: list[str], settings: tuple[str, ...], dot: str, timeout: float) -> bytes:
    given = [f"-G{one}" for one in settings] if name.startswith("dot") else list(settings)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(one for one in sys.path if one)  # pygraphviz as this process finds it
    try:
        done = subprocess.run(
            [*command, *given], input=dot.encode(), capture_output=True, timeout=timeout, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"{name} took longer than {timeout:g} s") from error
    except OSError as error:
        raise _Failed(f"{name} did not start: {error}") from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else f"failed ({done.returncode})"
        raise _Failed(f"{name} {how}{last}")
    return _DATE.sub(_NO_DATE, done.stdout)
