"""The command line: ``python -m autograd_ff COMMAND``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from ..distributed import abort, init_process_group, is_initialized
from ..distributed.group import joined, launched
from ..errors import AutogradError
from . import check, fetch, finetune, sample, train

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, 1 after an error (2 after a wrong option, by argparse), 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m autograd_ff", description="Train, inspect and check networks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train.add_command(commands)
    sample.add_command(commands)
    finetune.add_command(commands)
    check.add_command(commands)
    fetch.add_command(commands)
    options = parser.parse_args(arguments)
    try:
        if launched() and not is_initialized():
            init_process_group()
        with first_process_alone_speaks():
            if joined().size > 1 and options.command in ("train", "finetune"):
                print(f"processes  {joined().size}, each with its part of every batch")
            code: int = options.run(options)
    except (AutogradError, OSError) as error:
        # The line of code that an error names is the user's; there is none here but what started this program.
        print("error:", re.sub(r"\n  at [^\n]*", "", str(error)), file=sys.stderr)
        abort(1)  # the other processes of a job would wait for this one
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


@contextmanager
def first_process_alone_speaks() -> Iterator[None]:
    """Of several processes that run the same command, the others print nothing; errors go to standard error all the same."""
    if not joined().rank:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
