"""Finding things by name, and writing them down as a name and their arguments."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engine import here
from ..errors import ShapeError
from .registry import known_objects

__all__ = ["absent", "describe", "find", "look_up", "near"]


def look_up(name: str, table: Mapping[str, Any], what: str) -> Any:
    """What goes by a name; where nothing does, the error names those that are spelled alike.

    >>> look_up("rleu", {"relu": 1, "tanh": 2}, "activation")
    Traceback (most recent call last):
    autograd_ff.errors.ShapeError: there is no activation 'rleu'; did you mean 'relu'?...
    """
    if name in table:
        return table[name]
    alike = near(name, table)
    if alike:
        hint = f"did you mean {' or '.join(map(repr, alike))}?"
    else:
        hint = f"known are {', '.join(sorted(table))}."
    raise ShapeError(f"there is no {what} {name!r}; {hint}{here()}")


def absent(module: str, name: str, offered: Sequence[str]) -> AttributeError:
    """The error for a name of Keras's that is not offered here, for a module's ``__getattr__``."""
    alike = difflib.get_close_matches(name, offered, n=3)
    hint = f"did you mean {' or '.join(map(repr, alike))}?" if alike else f"there are {', '.join(offered)}."
    return AttributeError(f"{module.removeprefix('autograd_ff.')} has no {name!r} here; {hint}", name=name)


def near(name: str, table: Mapping[str, Any]) -> list[str]:
    """Up to three names of different things that are spelled alike, the nearest first."""
    found: list[str] = []
    spellings: dict[str, list[str]] = {}
    for known in table:
        spellings.setdefault(known.lower(), []).append(known)
    for one in difflib.get_close_matches(name.lower(), spellings, n=9, cutoff=0.6):
        for known in spellings[one]:
            if all(table[known] is not table[other] for other in found):
                found.append(known)
    return found[:3]


def find(identifier: Any, table: Mapping[str, Any], what: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What is meant by a name, a class, ``{"class_name": …, "config": {…}}``, or the thing itself.

    Args:
        identifier: one of these; None stays None.
        table: the things by name; classes are called without arguments.
        what: how to call such a thing in an error.
        custom_objects: further ones, which go before those of the table.
    """
    known = {**table, **known_objects(), **(custom_objects or {})}
    if identifier is None:
        return None
    if isinstance(identifier, Mapping):
        if "class_name" not in identifier:
            raise ShapeError(
                f'a written-down {what} has the keys "class_name" and "config", this one has {list(identifier)}.{here()}'
            )
        made = look_up(identifier["class_name"], known, what)
        config = dict(identifier.get("config") or {})
        if not inspect.isclass(made):
            return made
        return made.from_config(config) if hasattr(made, "from_config") else made(**config)
    if isinstance(identifier, str):
        identifier = look_up(identifier, known, what)
    if inspect.isclass(identifier):
        return identifier()
    if callable(identifier):
        return identifier
    raise ShapeError(
        f"{what}: a name, a function or an object is expected, not {identifier!r} ({type(identifier).__name__}).{here()}"
    )


def describe(thing: Any) -> Any:
    """A thing as its name and arguments, which can be written as JSON and which `find` reads."""
    if thing is None:
        return None
    if hasattr(thing, "get_config"):
        return {"class_name": type(thing).__name__, "config": thing.get_config()}
    function: Callable[..., Any] = thing
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise ShapeError(f"{thing!r} cannot be written down: it has no name. Define it with def.{here()}")
    return name
