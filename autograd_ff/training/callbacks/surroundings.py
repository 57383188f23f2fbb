"""Where the output goes: a terminal, a notebook, or a file; and saying something there."""

from __future__ import annotations

import sys

from ...distributed.group import joined

__all__ = ["announce", "in_notebook", "on_terminal"]


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, whose cells show pictures; IPython in a terminal is none.

    >>> in_notebook()
    False
    """
    ipython = sys.modules.get("IPython")  # a kernel has it loaded
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def on_terminal() -> bool:
    """Whether standard output is a terminal, where a line can be written again."""
    isatty = getattr(sys.stdout, "isatty", None)
    try:
        return isatty is not None and bool(isatty())
    except ValueError:  # closed
        return False


def announce(text: str) -> None:
    """Print a line, above a progress bar where one stands; where several processes train, the first alone does.

    >>> announce("Epoch 3: early stopping")
    Epoch 3: early stopping
    """
    if joined().rank:
        return
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None:
        tqdm.tqdm.write(text, file=sys.stdout)
    else:
        print(text, flush=True)
