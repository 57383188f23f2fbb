"""What the commands that train share: their options, the output folder, going on from a checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import AutogradError
from ..serialization import check_writable

__all__ = [
    "CHECKPOINT", "add_output", "given_settings", "go_on_with", "not_drawn", "number", "positive", "prepare",
    "rate", "resumed", "seed",
]  # fmt: skip

CHECKPOINT = "checkpoint.safetensors"


# ---------------------------------------------------------------- kinds of numbers


def positive(text: str) -> int:
    if not re.fullmatch(r"\d+", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def seed(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 on")
    return int(text)


def number(words: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """The type of an option that takes a number, and what it is called where it is none."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
        return value

    return read


rate = number("a positive number", lambda value: 0 < value < math.inf)


# ---------------------------------------------------------------- options that all have


def add_output(parser: argparse.ArgumentParser, default: str) -> None:
    """``--output`` and ``--resume``."""
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=f"for what the run leaves (default: {default})")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in the output folder, with its settings"
    )
    parser.set_defaults(resume=False, output=None)


def given_settings(options: argparse.Namespace, settings: type) -> dict[str, Any]:
    """What was asked for, by the names of the settings' fields; what was not given is absent."""
    names = [field.name for field in dataclasses.fields(settings)]
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


# ---------------------------------------------------------------- the run's folder


def prepare(folder: Path) -> None:
    """Make the output folder, and see before the training rather than after it whether it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder / CHECKPOINT)
    except OSError as error:
        raise AutogradError(
            f"the output folder {folder} cannot be written to: {error.strerror or error}.\n  Choose another: --output"
        ) from None


def resumed(
    folder: Path, given: Mapping[str, Any], load: Callable[[str], tuple[Any, Mapping[str, Any]]]
) -> tuple[Any, Mapping[str, Any]]:
    """The run of a folder's checkpoint and its state, unless it was made with other settings than the ones given.

    Args:
        folder: of the run.
        given: settings that were asked for.
        load: from a checkpoint's path to the run and its state.
    """
    checkpoint = folder / CHECKPOINT
    if not checkpoint.exists():
        raise AutogradError(
            f"there is no run to resume: {checkpoint} does not exist.\n  Start one without --resume, or name its --output."
        )
    try:
        run, state = load(str(checkpoint))
    except AutogradError as error:
        raise AutogradError(f"{error}\n  Start a new run without --resume.") from None
    for name, value in given.items():
        if value != (kept := getattr(run.settings, name)):
            raise AutogradError(
                f"the run in {folder} has {name} {kept}, not {value}, and goes on with its own settings.\n"
                "  Leave the option away, or start a new run without --resume."
            )
    return run, state


def go_on_with(name: str, folder: Path, command: str = "train") -> str:
    """The command that goes on with an interrupted run."""
    return " ".join(["python -m autograd_ff", command, *name.split(), f"--output {shlex.quote(str(folder))} --resume"])


def not_drawn(name: str, reason: str) -> None:
    print(f"{name} could not be drawn: {reason}\n  Then --resume the finished run: it draws again.", file=sys.stderr)
