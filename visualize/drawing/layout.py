"""From DOT text to a picture: Graphviz, as it is found on this machine.

``dot`` from PATH comes first, then the Graphviz that pygraphviz brings along in its wheel. Both run in a process of
their own, so that neither a crash nor a hang of the layout reaches the user's program.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

from autograd_ff.errors import AutogradError

__all__ = ["FORMATS", "LayoutError", "layout", "scalable"]

FORMATS = ("png", "svg", "pdf")
_DPI = 160

# Each runs in a process of its own: DOT text in, picture out. The first one calls `dot`.
_GRAPHVIZ = """
import sys
import graphviz
text = sys.stdin.buffer.read().decode("utf-8")
sys.stdout.buffer.write(graphviz.Source(text).pipe(format=sys.argv[1]))
"""
_PYGRAPHVIZ = """
import sys
import pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot"))
"""

# The same graph gives the same PDF: a date of the same length, so that the offsets in the file stay true.
_DATE = re.compile(rb"/CreationDate \(D:\d{14}")
_NO_DATE = b"/CreationDate (D:20000101000000"

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_SIDE = re.compile(r'\b(width|height)="([\d.]+)pt"\s*')
_ID = re.compile(r'(?<=<g) id="[^"]*"')

# Where the best layout takes too long: fewer rounds, straight edges.
_FAST = ("nslimit=1", "nslimit1=1", "mclimit=0.1", "splines=line")


class LayoutError(AutogradError):
    """No layout engine, or none that could lay out this graph."""


class _Failed(Exception):
    """One attempt that did not work."""


def layout(dot: str, format: str, *, timeout: float = 60.0, dpi: int = _DPI) -> bytes:
    """A picture of DOT text.

    An engine that crashes or exceeds half of the time is followed by the next one, and at last by a coarser layout.

    Args:
        dot: the graph.
        format: ``"png"``, ``"svg"`` or ``"pdf"``.
        timeout: seconds for all attempts together.
        dpi: pixels per inch of a PNG.

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
    settings = (f"dpi={dpi}",) if format == "png" else ()
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


def scalable(svg: bytes) -> str:
    """An SVG picture for the inside of a page: in its natural size, or as wide as its place where that is narrower.

    The prologue goes, which has no place inside HTML, and so do ids, which several pictures of a page would share.

    >>> scalable(b'<?xml version="1.0"?><svg width="96pt" height="48pt" viewBox="0 0 96 48"><g id="n0"/></svg>')
    '<svg width="128" height="64" style="max-width:100%;height:auto" role="img" viewBox="0 0 96 48"><g/></svg>'
    """
    text = svg.decode("utf-8")
    text = _COMMENT.sub("", text[text.index("<svg") :])
    head, body = text.split(">", 1)
    pixels = {name: f"{float(points) * 4 / 3:.0f}" for name, points in _SIDE.findall(head)}
    attributes = " ".join(f'{name}="{pixels[name]}"' for name in ("width", "height") if name in pixels)
    head = _SIDE.sub("", head.removeprefix("<svg"))
    return f'<svg {attributes} style="max-width:100%;height:auto" role="img" {head.strip()}>{_ID.sub("", body).strip()}'


def _engines(format: str) -> Iterator[tuple[str, list[str]]]:
    """The engines of this machine: names, and commands that read DOT text and write a picture."""
    if not sys.executable:
        return
    if shutil.which("dot") and importlib.util.find_spec("graphviz") is not None:
        yield "dot", [sys.executable, "-P", "-c", _GRAPHVIZ, format]
    if importlib.util.find_spec("pygraphviz") is not None:
        yield "pygraphviz", [sys.executable, "-P", "-c", _PYGRAPHVIZ, format]


def _run(name: str, command: list[str], settings: tuple[str, ...], dot: str, timeout: float) -> bytes:
    # Last in the graph, where they prevail over what it says itself.
    text = dot.rstrip().removesuffix("}") + "".join(f"  {one};\n" for one in settings) + "}\n"
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # the libraries as this process finds them
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise _Failed(f"{name} did not start: {error}") from error
    try:
        output, errors = process.communicate(text.encode(), timeout)
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"{name} took longer than {timeout:g} s") from error
    finally:
        _end(process)
    if process.returncode or not output:
        said = errors.decode(errors="replace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        how = (
            f"was ended by signal {-process.returncode}" if process.returncode < 0 else f"failed ({process.returncode})"
        )
        raise _Failed(f"{name} {how}{last}")
    return _DATE.sub(_NO_DATE, output)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and the `dot` that it may have started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
