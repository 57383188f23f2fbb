"""The source code of a function or class, with all that it needs to run in a file of its own."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from types import ModuleType
from typing import Any

from ..errors import AutogradError

__all__ = ["NoSourceError", "literal", "source_of"]


class NoSourceError(AutogradError):
    """Something that cannot be written down as source code."""


class _File:
    """What goes above the code itself: imports, and definitions of the same module."""

    def __init__(self) -> None:
        self.imports: dict[str, None] = {}
        self.definitions: dict[str, str] = {}

    def add(self, name: str, value: Any, home: ModuleType | None) -> None:
        """Make a global name known."""
        if name in self.definitions:
            return
        module = getattr(value, "__module__", None)
        if isinstance(value, ModuleType):
            alias = "" if value.__name__ == name else f" as {name}"
            self.imports[f"import {value.__name__}{alias}"] = None
        elif inspect.isfunction(value) or inspect.isclass(value):
            if home is not None and module == home.__name__:
                self.define(name, value)
            else:
                alias = "" if value.__name__ == name else f" as {name}"
                self.imports[f"from {module} import {value.__name__}{alias}"] = None
        else:
            self.definitions[name] = f"{name} = {literal(value)}"

    def define(self, name: str, value: Any) -> None:
        """Write a function or class down, after what it names."""
        tree, text = _parsed(value)
        self.definitions[name] = ""  # for those that name each other
        home = inspect.getmodule(value)
        space = vars(home) if home is not None else {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in space and node.id != name:
                self.add(node.id, space[node.id], home)
        del self.definitions[name]
        self.definitions[name] = text

    def text(self) -> str:
        return "\n\n\n".join(part.rstrip() for part in self.definitions.values() if part)


def _parsed(value: Any) -> tuple[ast.AST, str]:
    closure = getattr(value, "__closure__", None)
    if closure:
        raise NoSourceError(
            f"{value.__qualname__} uses variables of the function around it, so it cannot stand in a file of its own; "
            "define it at the top of a module"
        )
    try:
        text = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError) as error:
        raise NoSourceError(f"the source of {value!r} is not known: {error}") from error
    if getattr(value, "__name__", "") == "<lambda>":
        return _lambda(value, text)
    return ast.parse(text), text


def _lambda(value: Any, text: str) -> tuple[ast.AST, str]:
    for start in range(len(text)):  # the line may begin in the middle of a call
        if text.startswith("lambda", start):
            for end in range(len(text), start, -1):
                try:
                    tree = ast.parse(text[start:end].strip(), mode="eval").body
                except SyntaxError:
                    continue
                if isinstance(tree, ast.Tuple):  # the arguments after it
                    tree = tree.elts[0]
                if isinstance(tree, ast.Lambda) and len(tree.args.args) == value.__code__.co_argcount:
                    return tree, f"function = {ast.unparse(tree)}"
                break
    raise NoSourceError("the source of this lambda cannot be told from its line; give it a def of its own")


def source_of(value: Any) -> tuple[list[str], str, str]:
    """The imports, the definitions, and the name of a function or class.

    What it uses of its own module is written down too; what comes from elsewhere is imported.

    Raises:
        NoSourceError: it is a closure, was typed into a prompt, or uses a global value that has no literal.
    """
    name = "function" if value.__name__ == "<lambda>" else value.__name__
    file = _File()
    home = sys.modules.get(value.__module__)
    if home is not None and _installed(home):
        return [f"from {value.__module__} import {name}"], "", name
    file.define(name, value)
    return list(file.imports), file.text(), name


def _installed(module: ModuleType) -> bool:
    """Whether a module can be imported from anywhere."""
    file = getattr(module, "__file__", None) or ""
    return module.__name__ != "__main__" and ("site-packages" in file or module.__name__.split(".")[0] == "autograd_ff")


def literal(value: Any) -> str:
    """A value as source code that gives the same value.

    >>> literal((1, 2.5, None, slice(0, 2, None)))
    '(1, 2.5, None, slice(0, 2, None))'
    """
    import numpy as np

    if value is None or isinstance(value, (bool, int, float, str, slice)) or value is Ellipsis:
        return "Ellipsis" if value is Ellipsis else repr(value)
    if isinstance(value, np.dtype):
        return f"np.dtype({value.name!r})"
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()!r}, dtype={value.dtype.name!r})"
    if type(value) is tuple:
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if type(value) is list:
        return f"[{', '.join(map(literal, value))}]"
    if type(value) is dict:
        return "{" + ", ".join(f"{literal(key)}: {literal(part)}" for key, part in value.items()) + "}"
    raise NoSourceError(f"a value of type {type(value).__name__} has no literal: {value!r:.80}")
