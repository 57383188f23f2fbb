"""``python -m autograd_ff train``: a classifier of images, or a language model."""

from __future__ import annotations

from typing import Any

from . import train_images, train_lm

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Add ``train`` to the command line's commands."""
    parser = commands.add_parser(
        "train",
        help="train a feedforward classifier or a language model",
        description="Train a network. The options are those of what is trained: train mnist --help.",
    )
    kinds = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    train_images.add_datasets(kinds)
    train_lm.add_model(kinds)
