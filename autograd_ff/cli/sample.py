"""``python -m autograd_ff sample FOLDER``: a language model writes, onto the terminal, as it goes."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

from ..errors import AutogradError
from .runs import number, positive, seed

__all__ = ["add_command"]

DEFAULT_TEMPERATURE = 0.8

temperature = number("a number, 0 or more", lambda value: 0 <= value < math.inf)
share = number("a share above 0, 1 at most", lambda value: 0 < value <= 1)


def add_command(commands: Any) -> None:
    """Add ``sample`` to the command line's commands."""
    parser = commands.add_parser(
        "sample",
        help="let a language model write",
        description="Let the language model in a folder write: one that train lm left, or another GPT-2 with Hugging Face's "
        "files and a tokenizer.json.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="with config.json, model.safetensors and tokenizer.json")
    add("--prompt", default="", help="how the text begins (default: as texts begin)")
    add("--length", type=positive, default=500, metavar="N", help="tokens at most (default: 500)")
    add(
        "--temperature", type=temperature, metavar="T",
        help=f"below 1 more likely tokens, above 1 more surprising ones (default: {DEFAULT_TEMPERATURE})",
    )  # fmt: skip
    add("--top-k", type=positive, metavar="K", help="only the K likeliest tokens")
    add("--top-p", type=share, metavar="P", help="only the likeliest tokens that together have probability P")
    add("--greedy", action="store_true", help="always the likeliest token")
    add("--seed", type=seed, metavar="N", help="the same text for the same seed (default: another each time)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write; returns the exit code."""
    from ..hub import GPT2LMHeadModel, from_pretrained
    from ..training.language_modelling import read_tokenizer, write

    folder: Path = options.folder
    for name in ("temperature", "top_k", "top_p", "seed"):
        if options.greedy and getattr(options, name) is not None:
            raise AutogradError(f"--greedy takes the likeliest token, so --{name.replace('_', '-')} has no effect")
    if not (folder / "config.json").exists():
        unfinished = (folder / "checkpoint.safetensors").exists()
        way = f"The run there is not finished: python -m autograd_ff train lm --output {folder} --resume"
        raise AutogradError(
            f"{folder} holds no model: there is no config.json in it.\n  "
            + (way if unfinished else "python -m autograd_ff train lm leaves one in runs/lm.")
        )
    model = from_pretrained(folder)
    if not isinstance(model, GPT2LMHeadModel):
        raise AutogradError(f"{folder} holds a {type(model).__name__}, which does not write; a GPT2LMHeadModel does")
    tokenizer = read_tokenizer(folder)
    # Escapes as in Python, so that a prompt can have several lines.
    prompt = options.prompt.replace("\\n", "\n")
    heat = DEFAULT_TEMPERATURE if options.temperature is None else options.temperature
    pieces = write(
        model, tokenizer, prompt, options.length, greedy=options.greedy, temperature=heat, top_k=options.top_k,
        top_p=options.top_p, seed=options.seed,
    )  # fmt: skip
    print(prompt, end="", flush=True)
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    print()
    return 0
