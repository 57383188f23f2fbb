"""The command line: ``python -m autograd_ff COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import AutogradError
from . import train

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m autograd_ff", description="Train, inspect and check networks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train.add_command(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (AutogradError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
