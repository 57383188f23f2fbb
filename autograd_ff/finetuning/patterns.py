"""Names by pattern: which parameters or modules ``"encoder.layer.*"`` means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from ..engine import here
from ..errors import ModuleError
from ..nn import Module

__all__ = ["matching", "require_module"]


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern fits a qualified name, or that of a module around it."""
    while True:
        if fnmatchcase(name, pattern):
            return True
        name, dot, _ = name.rpartition(".")
        if not dot:
            return False


def as_patterns(patterns: str | Iterable[str], what: str = "patterns") -> list[str]:
    """One pattern or several, as a list."""
    if isinstance(patterns, str):
        return [patterns]
    found: list[Any] = list(patterns) if isinstance(patterns, Iterable) else [patterns]
    for one in found:
        if not isinstance(one, str):
            raise ModuleError(f"{what} are strings such as 'encoder.layer.*', not a {type(one).__name__}.{here()}")
    return found


def _near(pattern: str, names: Sequence[str]) -> list[str]:
    """Names like a pattern, for those who mistyped it: by the whole, or by the last part that is no star."""
    found = get_close_matches(pattern, names, 3, 0.5)
    parts = [part for part in pattern.split(".") if part.strip("*?")]
    for part in parts[::-1]:
        words = {word for name in names for word in name.split(".")}
        near = get_close_matches(part, sorted(words), 3, 0.6)
        found += [name for name in names if any(word in near for word in name.split("."))][:3]
        if found:
            break
    return list(dict.fromkeys(found))[:3] or list(names[:3])


def matching(
    names: Sequence[str], patterns: str | Iterable[str], what: str = "parameter", whole: bool = False
) -> list[str]:
    """The names that a pattern fits, in their order.

    ``*`` stands for any characters, dots among them, ``?`` for one, ``[0-3]`` for one of several (`fnmatch`). A pattern that
    fits the name of a module takes all that is in it: ``"encoder.layer.0"`` is ``"encoder.layer.0.*"``.

    Args:
        names: qualified names.
        patterns: one or several.
        what: they are names of, for the message.
        whole: whether a pattern must fit the name itself, not that of a module around it.

    Raises:
        ModuleError: a pattern fits none of the names; the message names some that are like it.

    >>> from autograd_ff.finetuning import matching
    >>> names = ["layer.0.weight", "layer.0.bias", "layer.10.bias", "head.bias"]
    >>> matching(names, "layer.0"), matching(names, "*.bias"), matching(names, ["layer.?.bias", "head"])
    (['layer.0.weight', 'layer.0.bias'], ['layer.0.bias', 'layer.10.bias', 'head.bias'], ['layer.0.bias', 'head.bias'])
    """
    fits = fnmatchcase if whole else _fits
    found: set[str] = set()
    for pattern in as_patterns(patterns):
        fitting = [name for name in names if fits(name, pattern)]
        if not fitting:
            near = ", ".join(map(repr, _near(pattern, names)))
            raise ModuleError(
                f"the pattern {pattern!r} fits the name of no {what}.{here()}\n"
                + (f"  There are {len(names)}, such as {near}." if names else f"  There is no {what} at all.")
            )
        found.update(fitting)
    return [name for name in names if name in found]


def require_module(model: Any, what: str) -> None:
    """Raise where ``model`` is no module.

    Raises:
        ModuleError: with the name of the function that was called.

    >>> from autograd_ff import nn
    >>> require_module(nn.Linear(1, 1), "freeze")
    """
    if not isinstance(model, Module):
        instead = " Give an instance, not the class." if isinstance(model, type) else ""
        raise ModuleError(f"{what} takes a Module, not a {type(model).__name__}.{instead}{here()}")


def named_slots(model: Module) -> dict[str, Any]:
    """Every parameter under each of its names: tied weights have several."""
    return dict(model.named_parameters(remove_duplicate=False))
