"""What people call the arrays of a computation: qualified parameter names, and the names of their own variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

import numpy as np

from autograd_ff.engine import Leaf, TensorCore
from autograd_ff.engine import Node as Recorded
from autograd_ff.nn.module import Module
from autograd_ff.nn.parameter import Parameter

__all__ = ["Names", "caller_variables", "flatten", "module_detail", "modules_behind", "storage", "telling"]

_DETAIL = 40  # characters of a module's own description that a label has room for


def caller_variables(frame: FrameType | None, *functions: Any) -> dict[str, Any]:
    """The variables that hold tensors, arrays or modules where a picture was asked for; local ones first.

    Those that the given functions read from around them count too. A module of theirs keeps its name even where the
    caller has another of that name, for it is theirs that is drawn.
    """
    found: dict[str, Any] = {}
    if frame is not None:
        for variables in (dict(frame.f_locals), frame.f_globals):
            for name, value in telling(variables).items():
                found.setdefault(name, value)
    for function in functions:
        for name, value in telling(_variables_behind(function)).items():
            if name not in found or isinstance(value, Module):
                found[name] = value
    return found


def telling(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Of some variables those whose names are names of tensors, arrays or modules."""
    return {
        name: value
        for name, value in list(variables.items())
        if not name.startswith("_") and isinstance(value, (TensorCore, np.ndarray, Module))
    }


def _variables_behind(target: Any) -> dict[str, Any]:
    """What a function in Python reads from around it: variables of enclosing functions, and global ones."""
    function = getattr(target, "__func__", target)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return {}
    found: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue
    codes = [code]
    while codes:  # comprehensions and lambdas inside have code of their own
        code = codes.pop()
        for name in code.co_names:
            if name in function.__globals__:
                found.setdefault(name, function.__globals__[name])
        codes += [one for one in code.co_consts if isinstance(one, CodeType)]
    return found


def modules_behind(target: Any) -> list[Module]:
    """The modules that calling ``target`` may run: itself, the owner of a method, what a function's variables hold."""
    function = getattr(target, "__func__", target)
    candidates = [target, getattr(target, "__self__", None), *_variables_behind(target).values()]
    candidates += getattr(function, "__defaults__", None) or ()
    found: list[Module] = []
    for one in candidates:
        for part in one if isinstance(one, (tuple, list)) else (one,):
            if isinstance(part, Module) and not any(part is known for known in found):
                found.append(part)
    return found


class Names:
    """Finds the names of recorded nodes, arrays and modules."""

    def __init__(self) -> None:
        self._nodes: dict[Recorded, list[str]] = {}
        self._arrays: dict[int, tuple[str, list[str]]] = {}
        self._leaves: dict[int, Leaf] = {}
        self._details: dict[tuple[str, str], set[str]] = {}
        self._kept: dict[int, list[np.ndarray]] = {}  # by storage; an id means something only while its array lives

    def add_module(self, module: Module, prefix: str = "") -> None:
        """Parameters and buffers under their qualified names, and what each module says of itself."""
        for name, parameter in module.named_parameters(prefix, remove_duplicate=False):
            self.add_tensor(name, parameter, "parameter")
        for name, buffer in module.named_buffers(prefix, remove_duplicate=False):
            self.add_tensor(name, buffer, "buffer")
        for name, one in module.named_modules(remove_duplicate=False):
            kind = type(one).__name__
            self._details.setdefault((name or kind, kind), set()).add(module_detail(one))

    def add_tensor(self, name: str, value: Any, kind: str = "input") -> None:
        """One tensor or array."""
        if isinstance(value, TensorCore):
            if value.node is not None:
                names = self._nodes.setdefault(value.node, [])
                if name not in names:
                    names.append(name)
                if isinstance(value.node, Leaf):
                    self._leaves[id(value.array)] = value.node
            value = value.array
        self._kept.setdefault(storage(value), []).append(value)
        names = self._arrays.setdefault(id(value), (kind, []))[1]
        if name not in names:
            names.append(name)

    def is_parameter(self, node: Leaf) -> bool:
        """Whether a leaf belongs to a module."""
        tensor = node.tensor()
        known = None if tensor is None else self._arrays.get(id(tensor.array))
        return isinstance(tensor, Parameter) or (known is not None and known[0] == "parameter")

    def add_variables(self, variables: Mapping[str, Any]) -> None:
        """What a mapping of names holds. A module that stands alone gives its parameters their names unprefixed."""
        modules = {name: value for name, value in variables.items() if isinstance(value, Module)}
        inner = {id(below) for module in modules.values() for below in module.modules() if below is not module}
        outer = {name: module for name, module in modules.items() if id(module) not in inner}
        distinct = {id(module): name for name, module in reversed(list(outer.items()))}
        for name, module in outer.items():
            if distinct[id(module)] == name:
                self.add_module(module, name if len(distinct) > 1 else "")
        for name, value in variables.items():
            if isinstance(value, Module):
                continue
            if isinstance(value, TensorCore) and value.node is not None:
                known = bool(self._nodes.get(value.node))
            else:
                known = id(value.array if isinstance(value, TensorCore) else value) in self._arrays
            if not known:  # the first name wins; a parameter's qualified name is better than a variable's
                self.add_tensor(name, value)

    def of_node(self, node: Recorded) -> tuple[str, ...]:
        """The names of the tensor that a node stands for."""
        found = self._nodes.get(node)
        if found is None and isinstance(node, Leaf):
            tensor = node.tensor()
            found = None if tensor is None else self._arrays.get(id(tensor.array), ("", []))[1]
        return tuple(found or ())

    def of_array(self, array: np.ndarray) -> tuple[str, tuple[str, ...]]:
        """What an array without a node is (an "input" where it has a name, else a "constant") and its names."""
        known = self._arrays.get(id(array))
        if known is None:  # perhaps a named one in another shape
            same = [
                self._arrays[id(one)]
                for one in self._kept.get(storage(array), ())
                if one.size == array.size > 1 and one.dtype == array.dtype and np.may_share_memory(one, array)
            ]
            known = same[0] if same else ("constant", [])
        return known[0], tuple(known[1])

    def leaf_of(self, array: Any) -> Leaf | None:
        """The leaf whose tensor this array belongs to, where it is read without a gradient."""
        return self._leaves.get(id(array))

    def detail(self, name: str, kind: str) -> str:
        """What the module of that name and type says of itself, where that is unambiguous."""
        details = self._details.get((name, kind), set())
        return next(iter(details)) if len(details) == 1 else ""


def storage(array: np.ndarray) -> int:
    """The id of the array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def module_detail(module: Module) -> str:
    """What a module says of itself, in a few characters: ``"784→128"``."""
    sizes = [getattr(module, name, None) for name in ("in_features", "out_features")]
    if all(isinstance(size, int) for size in sizes):
        return f"{sizes[0]}→{sizes[1]}"
    text = ", ".join(part for part in module.extra_repr().split(", ") if part != "inplace=False")
    return text if len(text) <= _DETAIL and "\n" not in text else ""


def flatten(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The tensors and arrays in nested tuples, lists and dicts, each with its name: ``batch['ids']``, ``x[0]``."""
    stack: list[tuple[str, Any]] = [(name, value)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, (TensorCore, np.ndarray)):
            yield name, value
        elif isinstance(value, Mapping):
            stack += reversed([(f"{name}[{key!r}]", one) for key, one in value.items()])
        elif isinstance(value, (tuple, list)):
            fields = getattr(value, "_fields", None)
            stack += reversed(
                [(f"{name}[{at}]" if fields is None else f"{name}.{fields[at]}", one) for at, one in enumerate(value)]
            )
        elif hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
            stack += reversed([(f"{name}.{field}", getattr(value, field)) for field in value.__dataclass_fields__])
