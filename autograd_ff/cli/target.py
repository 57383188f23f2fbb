"""What ``check`` was asked for: ``file.py``, ``module``, or one name in either, as ``module:name``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ..autograd import Function
from ..engine import OPS, Op
from ..errors import AutogradError
from ..nn import Module

__all__ = ["START", "TargetError", "Thing", "start", "things", "told"]


# Where the program was started: a file may change the working directory when it is imported.
START: ContextVar[Path | None] = ContextVar("START", default=None)


def start() -> Path:
    """The folder that the user's paths are meant from."""
    return START.get() or Path.cwd()


class TargetError(AutogradError):
    """What was named cannot be found, or not be imported."""


@dataclass(frozen=True)
class Thing:
    """Something that has a gradient."""

    name: str
    kind: str  # "function", "Function", "Module", or what kind of op
    value: Any
    site: str = ""  # file:line of its definition

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}{', ' if self.site else ''}{self.site})"


def things(target: str) -> list[Thing]:
    """What a target names: one thing, or all that a file or module defines.

    Raises:
        TargetError: there is no such file, module or name, importing it fails, or it has no gradient.
    """
    place, name = _split(target)
    before = set(OPS)
    module = _load(place)
    if name is not None:
        return [_named(module, place, name)]
    found = [*_ops(module, before), *_functions(module), *_modules(module)]
    if not found:
        functions = [key for key, one in vars(module).items() if inspect.isfunction(one) and _own(one, module)]
        way_out = f"{place}:{functions[0]}" if functions else f"{place}:name"
        raise TargetError(
            f"{place} defines no op, no autograd.Function and no nn.Module.\n  For a plain function, name it: {way_out}"
        )
    return found


def _split(target: str) -> tuple[str, str | None]:
    place, colon, name = target.rpartition(":")
    if not colon or Path(target).exists() or os.path.splitdrive(target)[1] == name:
        return target, None
    if not place or not name:
        raise TargetError(f"{target!r} names nothing: write file.py, module:name or file.py:name")
    return place, name


# ---------------------------------------------------------------- importing


def _load(place: str) -> ModuleType:
    dotted = all(part.isidentifier() for part in place.split("."))
    return _load_module(place) if dotted and not place.endswith(".py") else _load_file(Path(place))


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        if path.is_dir():
            raise TargetError(f"{path} is a folder; name one of its files")
        beside = [one.stem for one in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = get_close_matches(path.stem, beside, 1)
        hint = f"; did you mean {path.with_name(f'{near[0]}.py')}?" if near else f"; looked from {start()}"
        raise TargetError(f"there is no file {path}{hint}")
    given, path = str(path), path.resolve()
    if (path.parent / "__init__.py").exists():
        return _load_module(_dotted(path))
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None:
        name = f"{name}_checked"  # there is another module of that name, which others need
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _on_the_path(str(path.parent))  # as for a script: it imports what lies beside it
    try:
        with _told(given):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _dotted(path: Path) -> str:
    """The name by which a file inside a package is imported, so that its relative imports work."""
    names = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").exists():
        names.append(folder.name)
        folder = folder.parent
    _on_the_path(str(folder))
    return ".".join(reversed(names))


def _load_module(name: str) -> ModuleType:
    _on_the_path(os.getcwd())
    try:
        with _told(name):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        file = Path(*name.split(".")).with_suffix(".py")
        hint = f"; did you mean {file}?" if file.is_file() else f"; looked in {start()} and on the path"
        raise TargetError(f"there is no module {error.name!r}{hint}\n  For a file, write its name: file.py") from None


def _on_the_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


class _told:
    """Turns what a user's module raises while it is imported into one line that names the place."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        if isinstance(error, ModuleNotFoundError) and error.name and f"{self.name}.".startswith(f"{error.name}."):
            return  # the module asked for itself
        if isinstance(error, SyntaxError):
            text = f": {error.text.strip()}" if error.text else ""
            raise TargetError(
                f"{place_of(error.filename or self.name, error.lineno or 1)}: {error.msg}{text}"
            ) from None
        raise TargetError(f"importing {self.name} failed: {told(error)}") from None


_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep


def told(error: BaseException) -> str:
    """An error of a user's code: its kind, its message, and the innermost line that is the user's."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # its own __str__ fails
        lines = []
    kind = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    inside = [one for one in frames if not one.filename.startswith((_PACKAGE, "<frozen"))]
    at = f" at {place_of(inside[-1].filename, inside[-1].lineno or 1)}" if inside else ""
    if isinstance(error, SystemExit):
        return f"it ends the program by sys.exit({'' if error.code is None else error.code}){at}"
    return f"{kind}{at}: {lines[0]}" if lines else f"{kind}{at}"


# ---------------------------------------------------------------- what there is


def _named(module: ModuleType, place: str, name: str) -> Thing:
    value: Any = module
    done: list[str] = []
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            near = get_close_matches(part, [one for one in dir(value) if not one.startswith("__")], 1)
            owner = f"{place}:{'.'.join(done)}" if done else place
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TargetError(f"{owner} has no attribute {part!r}{hint}") from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of a property, or of the module's __getattr__
            raise TargetError(f"{place}:{name} cannot be read: {told(error)}") from None
        done.append(part)
    return _thing(name, value, place)


def _thing(name: str, value: Any, place: str) -> Thing:
    if isinstance(value, Op):
        return Thing(name, value.kind, value, _site_of_op(value))
    if isinstance(value, Module) or (inspect.isclass(value) and issubclass(value, Module)):
        return Thing(name, "Module", value, _site(value if inspect.isclass(value) else type(value)))
    if inspect.isclass(value):
        if issubclass(value, Function):
            return Thing(name, "Function", value, _site(value))
        raise TargetError(
            f"{place}:{name} is a class that is neither an nn.Module nor an autograd.Function\n"
            "  Name a function, an op, a Function, a Module or an instance of one."
        )
    owner = getattr(value, "__self__", None)
    if inspect.isclass(owner) and issubclass(owner, Function) and value == owner.apply:
        return Thing(name, "Function", owner, _site(owner))
    if not callable(value):
        raise TargetError(
            f"{place}:{name} is a {type(value).__name__}, which cannot be called, so it has no gradient\n"
            "  Name a function, an op, a Function, a Module or an instance of one."
        )
    return Thing(name, "function", value, _site(value))


def _ops(module: ModuleType, before: set[str]) -> Iterator[Thing]:
    """The ops that importing registered; and where the module was there already, those whose rules it holds."""
    held = {id(one): name for name, one in vars(module).items() if isinstance(one, Op)}
    file = getattr(module, "__file__", None)
    for op in list(OPS.values()):
        new = op.name not in before and (id(op) in held or _file_of_op(op) == file)
        if new or (id(op) in held and _file_of_op(op) == file):
            yield Thing(held.get(id(op), op.name), op.kind, op, _site_of_op(op))


def _functions(module: ModuleType) -> Iterator[Thing]:
    for name, one in vars(module).items():
        if inspect.isclass(one) and issubclass(one, Function) and _own(one, module):
            yield Thing(name, "Function", one, _site(one))


def _modules(module: ModuleType) -> Iterator[Thing]:
    """Modules that stand in the file ready made, and classes of which there is none."""
    instances = {name: one for name, one in vars(module).items() if isinstance(one, Module)}
    for name, instance in instances.items():
        yield Thing(name, "Module", instance, _site(type(instance)) if _own(type(instance), module) else "")
    made = {type(one) for one in instances.values()}
    for name, one in vars(module).items():
        if inspect.isclass(one) and issubclass(one, Module) and _own(one, module) and one not in made:
            yield Thing(name, "Module", one, _site(one))


def _own(one: Any, module: ModuleType) -> bool:
    return getattr(one, "__module__", None) == module.__name__


def _codes(op: Op) -> Iterator[Any]:
    """The code of an op's functions, those of its rules first."""
    rules = [rule.function for rule in (*op.vjps, op.joint) if rule is not None]
    for function in (*rules, op.forward, op.function, op.definition):
        code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
        if code is not None:
            yield code


def _file_of_op(op: Op) -> str | None:
    return next((code.co_filename for code in _codes(op)), None)


def _site_of_op(op: Op) -> str:
    return next((place_of(code.co_filename, code.co_firstlineno) for code in _codes(op)), "")


def _site(value: Any) -> str:
    try:
        file, (_, line) = inspect.getsourcefile(value), inspect.getsourcelines(value)
    except (TypeError, OSError):
        return ""
    return place_of(file or "", line)


def place_of(file: str, line: int) -> str:
    """A place in a file, from here where it is below."""
    try:
        return f"{(start() / file).resolve().relative_to(start().resolve())}:{line}"
    except ValueError:
        return f"{file}:{line}"
