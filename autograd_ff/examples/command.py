"""The command line that all examples share: their options, a table, a picture, how far they are."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["parser", "picture", "positive", "progress", "table"]

T = TypeVar("T")


def positive(text: str) -> int:
    """A whole number from 1 up, of an option.

    >>> positive("3")
    3
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def parser(
    document: str | None,
    *,
    samples: int | None = None,
    epochs: int | None = None,
    seed: bool = True,
    picture: bool = True,
) -> argparse.ArgumentParser:
    """The options of an example, to which it may add its own.

    Args:
        document: the example's docstring, which ``--help`` shows.
        samples, epochs: the defaults of ``--samples`` and ``--epochs``; None where the example has no such option.
        seed: whether the example has ``--seed``.
        picture: whether the example draws one, and has ``--output``.

    >>> parser("A claim.", samples=100).parse_args(["--seed", "1"])
    Namespace(samples=100, seed=1, output=PosixPath('runs/examples'))
    """
    made = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    if samples is not None:
        made.add_argument(
            "--samples", type=positive, default=samples, metavar="N", help=f"to train on (default: {samples})"
        )
    if epochs is not None:
        made.add_argument(
            "--epochs", type=positive, default=epochs, metavar="N", help=f"passes over them (default: {epochs})"
        )
    if seed:
        made.add_argument("--seed", type=int, default=0, metavar="N", help="of all random numbers (default: 0)")
    if picture:
        made.add_argument(
            "--output", type=Path, default=Path("runs/examples"), metavar="FOLDER",
            help="for the picture (default: runs/examples)",
        )  # fmt: skip
    return made


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under a header: the first column to the left, the others to the right, numbers with four digits.

    >>> table(["rule", "loss", "accuracy"], [["SGD", 0.123456, "91.2 %"], ["Adam", 1e-9, "97.0 %"]])
    rule    loss  accuracy
    ----------------------
    SGD   0.1235    91.2 %
    Adam   1e-09    97.0 %
    """
    cells = [list(header), *([_shown(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(text.rjust(width) if place else text.ljust(width) for place, (text, width) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]  # fmt: skip
    lines.insert(1, "-" * len(lines[0]))
    print("\n".join(line.rstrip() for line in lines), flush=True)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def picture(options: argparse.Namespace, name: str, draw: Callable[[str], Any]) -> None:
    """Have a picture drawn into the folder of ``--output``, and say where it is; without matplotlib, why there is none."""
    path = options.output / name
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        draw(os.fspath(path))
    except ImportError as error:
        print(f"no picture: {error}")
    else:
        print(f"picture: {path}")


def progress(items: Iterable[T], label: str) -> Iterator[T]:
    """The items, with a bar of how many are done on a terminal.

    >>> list(progress("ab", "letters"))
    ['a', 'b']
    """
    from tqdm import tqdm

    yield from tqdm(items, desc=label, leave=False, disable=None)
