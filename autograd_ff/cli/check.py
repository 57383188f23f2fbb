"""``python -m autograd_ff check``: hold the gradients of a user's own code, or of the whole op table, against numbers."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine import OPS, Op
from ..errors import AutogradError
from ..functions.random import manual_seed
from .examples import NOT_CHECKED, Choices, Result, argument_names, check
from .runs import positive, seed
from .target import START, TargetError, Thing, start, things, told

__all__ = ["add_command"]

_EPILOG = """\
examples:
  check cube.py                          every op, Function and Module of the file
  check cube.py --output .               ... and draw each wrong one, and write a test that shows it
  check cube.py:Cube --shape 3x4         one of them, on inputs of that shape
  check package.module:attention --shape 2x3x4 2x5x4 2x5x4 --order 2
  check --all-ops                        the library's own table of ops

exit code: 0 where all pass, 1 where something does not, 2 where there is nothing of the kind asked for
"""


# ---------------------------------------------------------------- options


def shape(text: str) -> tuple[int, ...]:
    """``3x4`` as (3, 4), ``4`` as (4,), ``scalar`` as ()."""
    if text in ("scalar", "()"):
        return ()
    if not re.fullmatch(r"[1-9]\d*([x×,][1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 3x4; one number has the shape scalar")
    return tuple(map(int, re.split("[x×,]", text)))


def finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return number


def add_command(commands: Any) -> None:
    """Add ``check`` to the command line's commands."""
    parser = commands.add_parser(
        "check",
        help="check gradients against numeric derivatives",
        description="Check gradients against numeric derivatives, and say which operation is wrong.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "target", nargs="?", help="file.py (each op, Function and Module that it defines), file.py:name, or module:name"
    )
    add("--all-ops", action="store_true", help="check every op of the library's table")
    add(
        "--shape",
        dest="shapes",
        type=shape,
        nargs="+",
        action="extend",
        default=[],
        metavar="3x4",
        help="of each argument, or one for all; guessed by default",
    )
    add("--examples", type=positive, metavar="N", help="how many inputs to draw for each (default: 3; an op's 10)")
    add("--seed", type=seed, default=0, metavar="N", help="of the first example's numbers (default: 0)")
    add("--order", type=int, choices=[1, 2], default=1, help="2: the gradient of the gradient as well (default: 1)")
    add("--low", type=finite, metavar="X", help="lowest input (default: -2, or what gives finite outputs)")
    add("--high", type=finite, metavar="X", help="highest input (default: 2)")
    add(
        "--constant",
        dest="constants",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="arguments that need no gradient, such as targets",
    )
    add("--output", type=Path, metavar="FOLDER", help="for a picture and a test of each wrong gradient")
    add("--picture", type=Path, metavar="FILE", help="draw the first wrong gradient's graph, the guilty node red")
    add("--save", type=Path, metavar="FILE", help="write a pytest file that shows the first wrong gradient by itself")
    parser.set_defaults(run=run, parser=parser)


# ---------------------------------------------------------------- the command


def run(options: argparse.Namespace) -> int:
    """Check, and say what was found; returns the exit code."""
    if (options.target is None) != options.all_ops:
        options.parser.error(
            "name what to check: file.py, module:name, or --all-ops"
            if options.target is None
            else "either name a target or give --all-ops, not both"
        )
    if options.low is not None and options.high is not None and options.low >= options.high:
        options.parser.error(f"--low {options.low:g} is not below --high {options.high:g}")
    # Before anything of the user's runs, which may change the working directory.
    here = START.set(Path.cwd())
    try:
        return _run(options)
    finally:
        START.reset(here)


def _run(options: argparse.Namespace) -> int:
    _resolve(options)
    manual_seed(options.seed)  # networks that a file makes when it is imported are the same again, too
    if options.all_ops:
        for name in ("shapes", "low", "high", "constants"):
            if getattr(options, name) not in (None, []):
                options.parser.error(f"--{name.removesuffix('s')} goes with a target: ops have domains of their own")
        results = _all_ops(options)
    else:
        try:
            found = things(options.target)
        except TargetError as error:
            print("error:", error, file=sys.stderr)
            return 2
        _require_arguments(options, found)
        results = []
        for thing in found:
            results.append(check(thing, _choices(options, thing)))
            _print(results[-1])
    failing = [result for result in results if result.failed]
    _leave(options, failing)
    return _conclude(options, results, failing)


def _choices(options: argparse.Namespace, thing: Thing | None) -> Choices:
    examples = options.examples or (10 if thing is None or isinstance(thing.value, Op) else 3)
    constants = frozenset(options.constants)
    return Choices(tuple(options.shapes), examples, options.order, options.seed, options.low, options.high, constants)


def _require_arguments(options: argparse.Namespace, found: list[Thing]) -> None:
    """Each constant is an argument of something."""
    names = list(dict.fromkeys(name for thing in found for name in argument_names(thing)))
    for name in options.constants:
        if name not in names:
            options.parser.error(
                f"--constant {name}: there is no such argument; there are: {', '.join(names) or 'none'}"
            )


# ---------------------------------------------------------------- where it may write


def _resolve(options: argparse.Namespace) -> None:
    """Make the paths absolute; refuse what cannot be written before the time of a check is spent."""
    for name in ("output", "picture", "save"):
        given: Path | None = getattr(options, name)
        if given is None:
            continue
        path = start() / given
        try:
            problem = _folder_problem(path) if name == "output" else _file_problem(path)
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or str(error)
        targets = (options.target or "", (options.target or "").rpartition(":")[0])
        if not problem and path.resolve() in [(start() / one).resolve() for one in targets if one.endswith(".py")]:
            problem = "that is the file to be checked"
        if problem:
            options.parser.error(f"--{name} {given}: {problem}")
        setattr(options, name, path)


def _folder_problem(path: Path) -> str:
    """Why a folder cannot be made there, or nothing be written into it."""
    standing = next(one for one in (path, *path.parents) if one.exists())
    if not standing.is_dir():
        return f"{shown(standing)} is a file"
    try:
        with tempfile.TemporaryFile(dir=standing):
            return ""
    except OSError as error:
        return f"nothing can be written into {shown(standing)}: {error.strerror}"


def _file_problem(path: Path) -> str:
    if path.is_dir():
        return "it is a folder; name a file in it"
    if path.exists():
        return "" if os.access(path, os.W_OK) else "it cannot be written"
    return _folder_problem(path.parent) if path.parent.exists() else f"there is no folder {shown(path.parent)}"


def shown(path: Path) -> str:
    """A path from where the user is, where it lies below."""
    return str(path.relative_to(start())) if path.is_relative_to(start()) else str(path)


def _all_ops(options: argparse.Namespace) -> list[Result]:
    """The whole table: a line for each op that does not pass, and on a terminal a bar."""
    from tqdm import tqdm

    choices = _choices(options, None)
    results = []
    with tqdm(list(OPS.values()), desc="ops", leave=False, disable=None) as bar:
        for op in bar:
            result = check(Thing(op.name, op.kind, op), choices)
            results.append(result)
            if result.failed:
                with bar.external_write_mode():
                    print(_line(result), flush=True)
    return results


# ---------------------------------------------------------------- what it says


def _line(result: Result) -> str:
    """A result in one line."""
    worst = None if result.report is None else result.report.worst
    found = "" if worst is None else f"; {worst}"
    return f"{result.verdict}  {result.thing}: {' '.join(map(str.strip, result.detail.splitlines()))}{found}"


def _print(result: Result) -> None:
    print(f"{result.verdict}  {result.thing}: {result.detail}", flush=True)
    if result.report is not None:
        print(re.sub("^", "  ", str(result.report), flags=re.MULTILINE), flush=True)


def _conclude(options: argparse.Namespace, results: list[Result], failing: list[Result]) -> int:
    checked = sum(result.verdict != NOT_CHECKED for result in results)
    passed = checked - len(failing)
    left = len(results) - checked
    if len(results) > 1:
        tail = f", {left} not checked" if left else ""
        again = f"; --examples {options.examples or 10}, --seed {options.seed}" if options.all_ops else ""
        print(f"{passed} of {checked} pass{tail}{again}")
    if any(result.verdict == "FAIL" and result.report is not None for result in failing) and not (
        options.output or options.picture or options.save
    ):
        print("To draw what is wrong, and to keep it as a test: --output FOLDER")
    return 0 if checked and not failing else 1


def _leave(options: argparse.Namespace, failing: list[Result]) -> None:
    """Pictures and tests of what is wrong."""
    with_report = [result for result in failing if result.verdict == "FAIL" and result.report is not None]
    if options.output is not None and with_report:
        options.output.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(with_report):
        name = re.sub(r"\W+", "_", result.thing.name)
        pictures = [options.output / f"{name}_wrong.png"] if options.output is not None else []
        tests = [options.output / f"test_{name}_gradient.py"] if options.output is not None else []
        if number == 0:
            pictures += [options.picture] if options.picture is not None else []
            tests += [options.save] if options.save is not None else []
        for path in pictures:
            _draw(result, path)
        for path in tests:
            _save(result, path)


def _draw(result: Result, path: Path) -> None:
    """The picture; without a layout engine only it is missing."""
    assert result.report is not None
    if _left("drawn", result.report.render, path):
        print(f"drawn: {shown(path)}")


def _save(result: Result, path: Path) -> None:
    """The test; what cannot stand in a file of its own, a closure say, has none."""
    assert result.report is not None
    if _left("written", result.report.save, path):
        print(f"test written: {shown(path)}; run it: pytest {os.path.relpath(path, start())}")


def _left(what: str, make: Callable[[Path], Any], path: Path) -> bool:
    """Whether it was made. That it was not is said: the user's code runs again for it, and may raise whatever it will."""
    from visualize import LayoutError

    try:
        make(path)
    except KeyboardInterrupt:
        raise
    except (AutogradError, LayoutError, OSError) as error:
        print(f"not {what}: {error}", file=sys.stderr)
    except BaseException as error:
        print(f"not {what}: {told(error)}", file=sys.stderr)
    else:
        return True
    return False
