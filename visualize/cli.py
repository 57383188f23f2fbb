"""The command line: ``python -m visualize``."""

from __future__ import annotations

import argparse
import linecache
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autograd_ff.engine.site import in_package
from autograd_ff.errors import AutogradError
from autograd_ff.nn.module import Module

from .drawing.animation import animate
from .drawing.module_tree import module_tree
from .drawing.style import THEMES
from .errors import PACKAGE, PictureError
from .graph.view import MEASURES, GraphView
from .inspection.measure import measure
from .rendering import SUFFIXES, render
from .tracing.targets import Target, array_of_text, find
from .tracing.walk import trace_from

__all__ = ["main"]

_EXAMPLES = """\
examples:
  python -m visualize mymodels:Net --input 64x784 -o net.svg
  python -m visualize train.py:loss_of --input 64x784 --input 64:int64 -o loss.png --backward
  python -m visualize mymodels:Net --input 64x784 -o net.html --measure --color-by zeros
  python -m visualize runs/mnist/checkpoint.safetensors -o net.png
  python -m visualize net.json -o net.pdf --theme dark --depth 2
"""
_SUFFIXES = (*SUFFIXES, ".gif")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what the arguments name.

    Returns:
        The exit code: 0, 1 after an error (2 after a wrong option, by argparse), 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        print("error:", _told(error), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m visualize",
        description="Draw the graph of a network, a function, a checkpoint, or a graph that was saved.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "target",
        help="module:callable or file.py:callable (a network, a class, a function that makes one, or a function of "
        "tensors); a .safetensors file; the .json file of a graph",
    )
    add(
        *("--input", "-i"), action="append", default=[], type=_input, metavar="SHAPE[:DTYPE]", dest="inputs",
        help="what it is called with, once for each argument: 64x784, 32x16:int64, mask=32x16:bool",
    )  # fmt: skip
    add(
        *("-o", "--output"), action="append", required=True, type=_output, metavar="FILE", dest="outputs",
        help=f"the picture, as often as wanted: {', '.join(_SUFFIXES)} (a film of the backward pass)",
    )  # fmt: skip
    readable = parser.add_argument_group("what is shown")
    add = readable.add_argument
    add("--depth", type=_count, metavar="N", help="levels of modules that are open (default: as many as fit)")
    add(
        "--open",
        action="append",
        default=[],
        metavar="NAME",
        help="open modules of this name, pattern or type; all: 'all'",
    )
    add(
        "--fold",
        action="append",
        default=[],
        metavar="NAME",
        help="show modules of this name, pattern or type as one node",
    )
    add(
        "--hide",
        action="append",
        default=[],
        metavar="KIND",
        help="leave out: constant, view, buffer … or an operation",
    )
    passes = readable.add_mutually_exclusive_group()
    passes.add_argument("--backward", action="store_true", help="with the backward pass")
    passes.add_argument(
        "--backward-only", action="store_const", const="only", dest="backward", help="the backward pass alone"
    )
    add("--tree", action="store_true", help="the modules of a network and their parameters, without running it")
    add("--measure", action="store_true", help="run forward and backward, and show times, bytes and statistics")
    add(
        "--color-by",
        default="",
        choices=[*MEASURES, "none"],
        metavar="MEASURE",
        help=f"measure, and colour by one of: {', '.join(MEASURES)}; with --measure alone by the forward time; none: do "
        "not colour",
    )
    looks = parser.add_argument_group("how it looks")
    add = looks.add_argument
    add("--title", default="", help="above the picture")
    add("--caption", default="", help="below it")
    add("--theme", default="light", choices=[*THEMES], help="colours (default: light)")
    add("--direction", default="TB", choices=["TB", "LR", "BT", "RL"], help="where data flow (default: TB, down)")
    add("--no-legend", action="store_true", help="leave the legend out")
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="for the layout (default: 60)")
    add = parser.add_argument
    add("--traceback", action="store_true", help="after an error, show where in the program it happened")
    return parser


def _input(text: str) -> tuple[str, Any]:
    try:
        return array_of_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _output(text: str) -> str:
    path = Path(text)
    if path.suffix.lower() not in _SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r} should end in {', '.join(_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent} to write into")
    return text


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Trace, draw, and say what was written."""
    target = find(options.target, options.inputs, run=not options.tree)
    view = _view(target, options)
    shown: dict[str, Any] = {
        "depth": options.depth,
        "open": "all" in options.open or _chosen(options.open),
        "fold": _chosen(options.fold),
        "hide": tuple(options.hide),
        "title": options.title,
        "theme": options.theme,
        "direction": options.direction,
        "timeout": options.timeout,
    }
    words = {"caption": options.caption, "legend": not options.no_legend, "color_by": options.color_by}
    for path in options.outputs:
        if path.lower().endswith(".gif"):
            animate(view, path=path, **shown)
        else:
            render(view, path=path, **shown, **words)
        print(f"{path}: {_counted(len(view.nodes), 'node')} traced, {os.path.getsize(path) / 1000:,.0f} KB")


def _chosen(names: list[str]) -> Any:
    """A selection of modules: one that is there is expected of a single name, and of several together."""
    return names[0] if len(names) == 1 else names or False


def _view(target: Target, options: argparse.Namespace) -> GraphView:
    measured = options.measure or options.color_by not in ("", "none")
    if options.tree:
        if not isinstance(target.value, Module) or measured or options.backward:
            raise PictureError("--tree draws the modules of a network as they are: nothing is run or measured")
        return module_tree(target.value)
    if isinstance(target.value, GraphView):
        if options.backward or options.measure:
            raise PictureError("a graph that was saved cannot be run again: --backward and --measure need a callable")
        return target.value
    if measured and options.backward:
        raise PictureError("--measure and --color-by show a run of the forward graph: leave --backward away")
    if measured:
        return measure(target.value, *target.inputs, kwargs=target.kwargs)
    return trace_from(None, target.value, target.inputs, target.kwargs, backward=options.backward)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _told(error: Exception) -> str:
    """An error in the words of its message; a foreign one with its type and the user's line."""
    if isinstance(error, AutogradError):
        return re.sub(r"\n  at <frozen [^\n]*", "", str(error))  # what started this program is no line of the user's
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    line, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith((PACKAGE, "<")) and not in_package(code):
            text = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            line = f"\n  at {code.co_filename}:{trace.tb_lineno}: {text}"
        trace = trace.tb_next
    kind = "" if isinstance(error, (OSError, PictureError)) else f"{type(error).__name__}: "
    return f"{kind}{error}{line}"
