"""``python -m autograd_ff.examples``: what examples there are, each with its claim."""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path


def claims() -> Iterator[tuple[str, str]]:
    """Name and first paragraph of each module of this package that has a ``run`` and a ``main``; none is imported."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if {"run", "main"} <= functions:
            yield path.stem, " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m autograd_ff.examples", description="List the examples.",
        epilog="Run one with: python -m autograd_ff.examples.NAME",
    )  # fmt: skip
    parser.parse_args(arguments)
    found = list(claims())
    width = max(len(name) for name, _ in found) + 2
    for name, claim in found:
        print(textwrap.fill(claim, 110, initial_indent=name.ljust(width), subsequent_indent=" " * width))
    print("\nRun one with: python -m autograd_ff.examples.NAME")
    return 0


if __name__ == "__main__":
    sys.exit(main())
