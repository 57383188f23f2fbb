"""The source code of functions and classes, with all that it needs to run in a file of its own."""

from __future__ import annotations

import ast
import builtins
import copy
import enum
import functools
import inspect
import keyword
import symtable
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .importing import found_by_name, importable
from .literals import Aliases, NoSourceError, literal

__all__ = ["NoSourceError", "SourceFile", "literal"]

_OWN = object()  # a name of the file's own


class SourceFile(Aliases):
    """The upper part of a file: its imports and definitions, and the names that they take.

    Include all functions and classes first; only then ask for names of the file's own, and for literals.
    """

    def __init__(self) -> None:
        self._bound: dict[str, Any] = {}  # name → what it stands for
        self._imports: dict[str, None] = {}
        self._parts: dict[str, Callable[[], str]] = {}  # written late, when all names are taken
        self._statements: list[str] = []
        self._missing: set[str] = set()  # names that the code uses and its module does not define

    # ---------------------------------------------------------------- what stands in it

    def include(self, value: Any) -> str:
        """Make a function or class known, and return the expression for it.

        What it uses of modules that can be imported from anywhere is imported. All else, of its own module and of those
        beside it, is written down.

        Raises:
            NoSourceError: it is a closure, was typed into a prompt, or uses a global value that has no literal.
        """
        name = getattr(value, "__name__", "function")
        if name == "<lambda>" or not name.isidentifier() or keyword.iskeyword(name):
            name = "function"
        top, _, rest = getattr(value, "__qualname__", name).partition(".")
        module = value.__module__
        if importable(module) and "<" not in top + rest and top.isidentifier():
            outer = getattr(__import__(module, fromlist=[top]), top, None)
            found = outer
            for part in rest.split(".") if rest else []:
                found = getattr(found, part, None)
            if found is value:
                self._import_from(module, top, top, outer)
                return f"{top}.{rest}" if rest else top
        return self._define(value, name)

    def import_module(self, module: str, preferred: str) -> str:
        """Import a module for the file's own use, and return its name there."""
        value = __import__(module, fromlist=["*"])
        name = next((name for name, bound in self._bound.items() if bound is value), None)
        if name is None:
            name = self.free(preferred)
            self._import(module, name, value)
        return name

    def import_name(self, module: str, name: str) -> str:
        """Import something from a module for the file's own use, and return its name there."""
        value = getattr(__import__(module, fromlist=[name]), name)
        alias = next((alias for alias, bound in self._bound.items() if bound is value), None)
        if alias is None:
            alias = self.free(name)
            self._import_from(module, name, alias, value)
        return alias

    def statement(self, line: str) -> None:
        """A line after the imports."""
        self._statements.append(line)

    def free(self, preferred: str) -> str:
        """A name that means nothing else in this file, and now means something of the file's own."""
        name = preferred
        while name in self._bound or name in self._missing or keyword.iskeyword(name) or hasattr(builtins, name):
            name += "_"
        self._bound[name] = _OWN
        return name

    @property
    def numpy(self) -> str:  # type: ignore[override]
        return self.import_module("numpy", "np")

    @property
    def package(self) -> str:  # type: ignore[override]
        return self.import_module("autograd_ff", "af")

    def literal(self, value: Any) -> str:
        return literal(value, self)

    def text(self) -> tuple[str, str]:
        """The imports and the definitions."""
        written = [part().rstrip() for part in self._parts.values()]  # which may import something
        plain = sorted(one for one in self._imports if one.startswith("import "))
        rest = sorted(one for one in self._imports if one.startswith("from "))
        return "\n".join([*plain, *rest, *self._statements]), "\n\n\n".join(written)

    # ---------------------------------------------------------------- how it gets there

    def _bind(self, name: str, value: Any) -> bool:
        """Give a name its meaning; whether it is new."""
        if name not in self._bound:
            self._bound[name] = value
            return True
        if not _same(self._bound[name], value):
            raise NoSourceError(
                f"two different things are named {name}, in modules that would have to go into one file; rename one"
            )
        return False

    def _import(self, module: str, name: str, value: Any) -> None:
        self._bound[name] = value
        self._imports[f"import {module}" if module == name else f"import {module} as {name}"] = None

    def _import_from(self, module: str, name: str, alias: str, value: Any) -> None:
        _refuse_test_names(alias, value)
        self._bound[alias] = value
        self._imports[
            f"from {module} import {name}" if name == alias else f"from {module} import {name} as {alias}"
        ] = None

    def _add(self, name: str, value: Any) -> None:
        """Make a global name known."""
        if not self._bind(name, value):
            return
        if isinstance(value, ModuleType):
            self._import(value.__name__, name, value)
            return
        if not isinstance(value, (FunctionType, type)):
            try:
                literal(value)
            except NoSourceError:
                pass
            else:
                self._parts[name] = lambda: f"{name} = {literal(value, self)}"
                return
        found = found_by_name(name, value)
        if found is not None:
            self._import_from(*found, name, value)
        elif isinstance(value, enum.Enum):
            member = f"{self.include(type(value))}.{value.name}"
            self._parts[name] = lambda: f"{name} = {member}"
        elif isinstance(value, type) or inspect.isfunction(inspect.unwrap(value) if callable(value) else value):
            del self._bound[name]
            defined = self._define(value, name)
            if defined != name:
                self._bound[name] = value
                self._parts[name] = lambda: f"{name} = {defined}"
        else:
            literal(value)  # raises
            raise NoSourceError(f"{name} cannot be written down: {value!r:.80}")

    def _add_module(self, name: str, module: ModuleType, members: list[str]) -> None:
        """Write down what is used of a module that cannot be imported, under its name."""
        if self._bind(name, module):
            space = self.import_name("types", "SimpleNamespace")
            self._parts[name] = lambda: f"{name} = {space}()"
        for member in members:
            place, value = f"{name}.{member}", getattr(module, member, None)
            if place in self._parts:
                continue
            if inspect.isfunction(value) or isinstance(value, type):
                self._parts[place] = functools.partial("{} = {}".format, place, self.include(value))
            elif _beside(value):
                raise NoSourceError(
                    f"{place} is a module that cannot be imported from anywhere; import from it by name"
                )
            else:
                literal(value)
                self._parts[place] = functools.partial(
                    lambda place, value: f"{place} = {self.literal(value)}", place, value
                )

    def _add_hint(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType):
            if importable(value.__name__):
                self._import(value.__name__, name, value)
        elif (found := found_by_name(name, value)) is not None:
            self._import_from(*found, name, value)

    def _define(self, value: Any, wanted: str) -> str:
        """Write a function or class down, after what it names; returns the name that its own code gives it."""
        code = _Code(value)
        name = code.name or wanted
        if not self._bind(name, value):
            return name
        _refuse_test_names(name, value)
        needed, hints = code.names()
        for one in needed:
            if one == name:
                if code.space.get(one, value) is not value and "<locals>" not in value.__qualname__:
                    raise NoSourceError(f"{name} names something else in its module now")
            elif one in code.space and _beside(code.space[one]):
                self._add_module(one, code.space[one], code.members(one))
            elif one in code.space:
                self._add(one, code.space[one])
            elif not hasattr(builtins, one):
                self._missing.add(one)
        for one in hints:  # of annotations, which are not evaluated
            if one in code.space and one not in self._bound:
                self._add_hint(one, code.space[one])
        later = dict(code.attributes())

        def text() -> str:
            lines = [f"{name}.{one} = {literal(part, self)}" for one, part in later.items()]
            if isinstance(value, type) and name.startswith("Test"):
                lines.append(f"{name}.__test__ = False  # for pytest: it is no test itself")
            return code.text(name).rstrip() + ("\n\n\n" if lines else "") + "\n".join(lines)

        self._parts[name] = text
        return name


def _beside(value: Any) -> bool:
    """Whether this is a module that only this program can import."""
    return isinstance(value, ModuleType) and not importable(value.__name__)


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other) or callable(one):
        return False
    try:
        return literal(one) == literal(other)
    except NoSourceError:
        return False


def _refuse_test_names(name: str, value: Any) -> None:
    if name.startswith("test") and not isinstance(value, (type, ModuleType)):
        raise NoSourceError(f"pytest would take the function {name} for a test of its own; give it another name")


# -------------------------------------------------------------------- one function or class


class _Code:
    """The source of one function or class, and what it says."""

    def __init__(self, value: Any) -> None:
        self.value = value
        inner = inspect.unwrap(value)
        if inspect.ismethod(inner):
            raise NoSourceError(
                f"{inner.__qualname__} is a method of an object, which cannot be written down; check a function"
            )
        self._functions = list(_functions(inner))
        _refuse_closures(inner, self._functions)
        self.space = _space(inner, self._functions)
        self.tree, self._source = _parsed(inner)
        if hasattr(value, "__wrapped__") and not getattr(self.tree, "decorator_list", True):
            raise NoSourceError(f"{value.__qualname__} was wrapped by a call; decorate it with @ where it is defined")
        self.name: str = getattr(self.tree, "name", "")  # a lambda has none

    def text(self, name: str) -> str:
        return f"{name} = {self._source}" if isinstance(self.tree, ast.Lambda) else self._source

    def names(self) -> tuple[list[str], list[str]]:
        """The names that it takes from outside, and those that only its annotations use."""
        bare = _without_annotations(self.tree)
        body = ast.Expr(bare) if isinstance(bare, ast.expr) else bare
        text = ast.unparse(ast.fix_missing_locations(body))
        needed = set(_global_names(symtable.symtable(text, "<source>", "exec")))
        inner = inspect.unwrap(self.value)
        around = needed & _local_names_around(inner) - {self.name}
        if around:
            raise _closure(inner, around)
        used = dict.fromkeys(node.id for node in ast.walk(bare) if isinstance(node, ast.Name))
        ordered = [*(one for one in used if one in needed), *sorted(needed - set(used))]
        everywhere = dict.fromkeys(node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name))
        return ordered, [one for one in everywhere if one not in used]

    def members(self, module: str) -> list[str]:
        """What it uses of a module.

        Raises:
            NoSourceError: the module itself.
        """
        inside = [node for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)]
        found = [node.attr for node in inside if isinstance(node.value, ast.Name) and node.value.id == module]
        if len(found) < sum(isinstance(node, ast.Name) and node.id == module for node in ast.walk(self.tree)):
            raise NoSourceError(
                f"the module {module} cannot be imported from anywhere; import what is needed of it by name: "
                f"from {module} import ..."
            )
        return list(dict.fromkeys(found))

    def attributes(self) -> Iterator[tuple[str, Any]]:
        """What was set on it after its definition.

        Raises:
            NoSourceError: it has no literal.
        """
        inner = inspect.unwrap(self.value)
        if isinstance(inner, type) and (type(inner) is not type or issubclass(inner, tuple)):
            return  # an enumeration or a named tuple: what made the class set them
        said = _assigned(self.tree, self.space) if isinstance(self.tree, ast.ClassDef) else {}
        for name, part in vars(inner).items():
            if (name.startswith("__") and name.endswith("__")) or name in ("_op", "_abc_impl"):
                continue
            if name in said:
                before = said[name]
                if before is _UNKNOWN or _same(before, part) or (callable(part) and part is before):
                    continue
                if isinstance(before, ast.AST):
                    if _of_node(part, before, self._source, self.value):
                        continue
                    raise NoSourceError(f"{self.name}.{name} was replaced after its definition")
            try:
                literal(part)
            except NoSourceError as error:
                raise NoSourceError(f"{self.name}.{name} was set after its definition, and {error}") from error
            yield name, part


_UNKNOWN = object()  # the value of an expression that is better not evaluated again


def _assigned(tree: ast.ClassDef, space: dict[str, Any]) -> dict[str, Any]:
    """What the body of a class binds: a value, the definition, or `_UNKNOWN`."""
    found: dict[str, Any] = {}
    for child in symtable.symtable(ast.unparse(tree), "<source>", "exec").get_children():
        if child.get_name() == tree.name:
            found = {one.get_name(): _UNKNOWN for one in child.get_symbols() if one.is_local()}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = node
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(node, (ast.Assign, ast.AnnAssign)):
                if node.value is None:  # a bare annotation
                    found.pop(target.id, None)
                else:
                    found[target.id] = _evaluated(node.value, space)
    return found


def _evaluated(node: ast.expr, space: dict[str, Any]) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return space.get(node.id, _UNKNOWN) if isinstance(node, ast.Name) else _UNKNOWN


def _of_node(part: Any, node: ast.AST, source: str, owner: Any) -> bool:
    """Whether a method is still the one that the body of its class defines."""
    decorators = {ast.unparse(one) for one in node.decorator_list}  # type: ignore[attr-defined]
    if decorators - {"staticmethod", "classmethod"}:
        return True  # what these made of it cannot be told
    function = inspect.unwrap(getattr(part, "__func__", part))
    if not inspect.isfunction(function) or function.__code__.co_name != node.name:  # type: ignore[attr-defined]
        return False
    definition = "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])  # type: ignore[attr-defined]
    try:
        return ast.dump(ast.parse(textwrap.dedent(definition))) == ast.dump(_undecorated(function))
    except (OSError, SyntaxError, IndexError):
        return False


def _undecorated(function: Callable[..., Any]) -> ast.Module:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []  # type: ignore[attr-defined]
    return tree


def _functions(value: Any) -> Iterator[FunctionType]:
    """A function, or those that a class defines, without what is wrapped around them."""
    if isinstance(value, type):
        for part in vars(value).values():
            members = (part.fget, part.fset, part.fdel) if isinstance(part, property) else (part,)
            for member in members:
                function = inspect.unwrap(getattr(member, "__func__", member)) if member is not None else None
                if inspect.isfunction(function) and function.__module__ == value.__module__:
                    yield function
                elif isinstance(function, type) and function.__qualname__.startswith(f"{value.__qualname__}."):
                    yield from _functions(function)
    elif inspect.isfunction(value):
        yield value


def _closure(value: Any, names: set[str]) -> NoSourceError:
    return NoSourceError(
        f"{value.__qualname__} uses variables of the function around it ({', '.join(sorted(names))}), so it cannot stand "
        "in a file of its own; define it at the top of a module"
    )


def _refuse_closures(value: Any, functions: list[FunctionType]) -> None:
    for function in functions:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                content = cell.cell_contents
            except ValueError:  # empty
                content = None
            if name != "__class__" and content is not value:  # its own name, a global in the file
                raise _closure(value, {name})


def _space(value: Any, functions: list[FunctionType]) -> dict[str, Any]:
    """The global names that the code sees."""
    if functions:
        return functions[0].__globals__
    home = inspect.getmodule(value)
    return vars(home) if home is not None else {}


def _parsed(value: Any) -> tuple[ast.AST, str]:
    """The definition as a tree, and as text."""
    try:
        if getattr(value, "__name__", "") == "<lambda>":
            return _lambda(value)
        text = textwrap.dedent(inspect.getsource(value))
        tree: ast.AST = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise NoSourceError(f"the source of {value!r} is not known: {error}") from error
    if not isinstance(tree, (ast.FunctionDef, ast.ClassDef)):
        raise NoSourceError(f"the source of {value!r} is not known")
    return tree, text


def _lambda(value: FunctionType) -> tuple[ast.AST, str]:
    lines, _ = inspect.findsource(value)
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, ast.Lambda) and node.lineno == value.__code__.co_firstlineno:
            expression = ast.fix_missing_locations(ast.Expression(node))
            if _same_code(compile(expression, "<source>", "eval").co_consts[0], value.__code__):
                _fix_defaults(node, value)
                return node, ast.unparse(node)
    raise NoSourceError("the source of this lambda cannot be told from its line; give it a def of its own")


def _same_code(one: Any, other: Any) -> bool:
    if not isinstance(one, CodeType) or not isinstance(other, CodeType):
        return type(one) is type(other) and repr(one) == repr(other)
    return (
        (one.co_code, one.co_names, one.co_varnames, one.co_freevars)
        == (other.co_code, other.co_names, other.co_varnames, other.co_freevars)
        and len(one.co_consts) == len(other.co_consts)
        and all(
            _same_code(first, second)
            for first, second in zip(one.co_consts, other.co_consts, strict=True)
            if not isinstance(first, str) or "<lambda>" not in first  # the qualified name
        )
    )


def _fix_defaults(node: ast.Lambda, value: FunctionType) -> None:
    """Defaults as they were at the definition: a loop may have changed the variable since."""
    for position, default in enumerate(value.__defaults__ or ()):
        if type(default) in (int, float, bool, str):
            node.args.defaults[position] = ast.parse(literal(default), mode="eval").body


# -------------------------------------------------------------------- names


class _Bare(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _without_annotations(tree: ast.AST) -> ast.AST:
    return _Bare().visit(copy.deepcopy(tree))


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)


def _local_names_around(value: Any) -> set[str]:
    """The local variables of the functions around a definition."""
    if "<locals>" not in value.__qualname__:
        return set()
    try:
        lines, _ = inspect.findsource(value)
        tables = [symtable.symtable("".join(lines), "<source>", "exec")]
    except (OSError, TypeError, SyntaxError) as error:
        raise NoSourceError(f"the source of {value!r} is not known: {error}") from error
    found: set[str] = set()
    for part in value.__qualname__.split(".")[:-1]:
        if part == "<locals>":
            continue
        name = "lambda" if part == "<lambda>" else part
        tables = [child for table in tables for child in table.get_children() if child.get_name() == name]
        for table in tables:
            if isinstance(table, symtable.Function):
                found |= set(table.get_locals())
    return found
