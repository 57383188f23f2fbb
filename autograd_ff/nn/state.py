"""What differs between a module and a state dict, told so that the mistake can be seen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..engine import here

__all__ = ["IncompatibleKeys", "difference", "plain_array"]

_SHOWN = 20  # entries of each kind in a message


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` returns: the names on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def plain_array(value: Any) -> np.ndarray | None:
    """The numbers of a Tensor, an array, or another library's tensor; None of anything else."""
    if hasattr(value, "detach"):  # a tracked tensor refuses to become an array
        value = value.detach()
    if not hasattr(value, "__array__"):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "buifc" else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" if shape is None else f"{getattr(value, 'dtype', '')} {tuple(shape)}".strip()


def _limited(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"    and {len(lines) - _SHOWN} more"]


def _common_prefix(unexpected: list[str], missing: Iterable[str]) -> str | None:
    """A prefix that all unexpected names have and without which they are the missing ones."""
    if not unexpected:
        return None
    wanted = set(missing)
    parts = unexpected[0].split(".")
    for length in range(1, len(parts)):
        prefix = ".".join(parts[:length]) + "."
        if all(name.startswith(prefix) and name.removeprefix(prefix) in wanted for name in unexpected):
            return prefix
    return None


def difference(
    module: str,
    own: Mapping[str, Any],
    given: Mapping[str, Any],
    missing: list[str],
    unexpected: list[str],
    unequal: list[str],
    unreadable: list[str],
    strict: bool,
) -> str:
    """The message of a state dict that does not fit."""
    counts = [
        _count(len(names), what)
        for names, what in (
            (missing, "missing key"),
            (unexpected, "unexpected key"),
            (unequal, "different shape"),
            (unreadable, "value that is no tensor"),
        )
        if names
    ]
    lines = [f"the state dict does not fit {module}: {', '.join(counts)}. Nothing was loaded.{here()}"]
    width = max(map(len, (*missing, *unexpected, *unequal, *unreadable)))
    if missing:
        lines.append("  missing (in the module, not in the state dict):")
        entries = []
        for name in missing:
            near = difflib.get_close_matches(name, unexpected, 1, 0.8)
            hint = f"   is it {near[0]!r} of the state dict?" if near else ""
            entries.append(f"    {name:<{width}}  {_describe(own[name])}{hint}")
        lines += _limited(entries)
    if unexpected:
        lines.append("  unexpected (in the state dict, not in the module):")
        lines += _limited([f"    {name:<{width}}  {_describe(given[name])}" for name in unexpected])
    if unequal:
        column = max([len("module"), *(len(str(tuple(own[name].shape))) for name in unequal)])
        lines.append(f"  {'different shapes:':<{width + 2}}  {'module':<{column}}  state dict")
        lines += _limited([
            f"    {name:<{width}}  {tuple(own[name].shape)!s:<{column}}  {tuple(given[name].shape)}" for name in unequal
        ])  # fmt: skip
    if unreadable:
        lines.append("  not tensors:")
        lines += _limited([f"    {name:<{width}}  {_describe(given[name])}" for name in unreadable])
    prefix = _common_prefix(unexpected, missing)
    if prefix is not None:
        lines.append(
            f"  Every name has {prefix!r} in front; take it off: "
            f"{{name.removeprefix({prefix!r}): value for name, value in state_dict.items()}}"
        )
    elif unequal or unreadable:
        lines.append("  Build the module as it was when the state dict was saved.")
    elif strict:
        lines.append("  Pass strict=False to load what has the same name on both sides.")
    return "\n".join(lines)
