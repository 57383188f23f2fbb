"""Modules that hold modules: `Sequential`, `ModuleList`, `ModuleDict`; and `ParameterList`, `ParameterDict`."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from ..engine import TensorCore, here
from ..errors import DimensionError, ModuleError
from .module import Module, indented, layout
from .naming import children_changed
from .parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]

S = TypeVar("S", bound="_Numbered")


class _Numbered(Module):
    """Children in an order, which Sequential and ModuleList address by position."""

    def _position(self, index: Any, end: int = 0) -> int:
        position, count = operator.index(index), len(self._modules)
        if not -count <= position < count + end:
            raise DimensionError(f"there is no module {position} in a {type(self).__name__} of {count}.{here()}")
        return position + count if position < 0 else position

    def _key(self, index: Any) -> str:
        return list(self._modules)[self._position(index)]

    def _renumber(self, modules: Iterable[Any]) -> None:
        modules = list(modules)
        self._modules.clear()
        for position, module in enumerate(modules):
            self.add_module(str(position), module)
        children_changed()

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        keys = list(self._modules)
        for key in keys[index] if isinstance(index, slice) else [self._key(index)]:
            self._let_go(key)
            del self._modules[key]
        self._renumber(self._modules.values())

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def append(self: S, module: Module) -> S:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add modules at the end."""
        if not isinstance(modules, Iterable):
            raise ModuleError(f"extend takes an iterable of modules, not a {type(modules).__name__}.{here()}")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: S, index: int, module: Module) -> S:
        """Put a module before the one at ``index``."""
        if not isinstance(module, Module):
            raise ModuleError(f"insert takes a Module, not a {type(module).__name__}.{here()}")
        modules = list(self._modules.values())
        modules.insert(self._position(index, end=1), module)
        self._renumber(modules)
        return self

    def __iadd__(self: S, other: Iterable[Module]) -> S:
        return self.extend(other)

    def pop(self, index: int = -1) -> Any:
        """Take a module out and return it."""
        module = self._modules[self._key(index)]
        del self[index]
        return module

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]


class Sequential(_Numbered):
    """Modules that run one after the other, each on the result of the one before.

    Args:
        args: the modules; or one ``OrderedDict`` of names and modules.

    >>> from autograd_ff import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    >>> net
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=4, out_features=2, bias=True)
      (2): ReLU()
    )
    >>> net[1:]
    Sequential(
      (1): Linear(in_features=4, out_features=2, bias=True)
      (2): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
            return
        if len(args) == 1 and isinstance(args[0], (list, tuple)):
            raise ModuleError(
                f"Sequential takes modules one by one, not a {type(args[0]).__name__} of them: Sequential(*modules)."
                f"{here()}"
            )
        for position, module in enumerate(args):
            self.add_module(str(position), module)

    def forward(self, input: Any) -> Any:
        """The result of the last module."""
        for module in self._modules.values():
            input = module(input)
        return input

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._key(index)]

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def __mul__(self, times: int) -> Sequential:
        if not isinstance(times, int):
            return NotImplemented
        if times < 1:
            raise ModuleError(f"a Sequential can be repeated once or more, not {times} times.{here()}")
        return Sequential(*(list(self) * times))

    __rmul__ = __mul__


class ModuleList(_Numbered):
    """A list whose modules are registered, so that their parameters are trained and saved.

    It does not run them: ``for layer in self.layers: x = layer(x)``.

    >>> from autograd_ff import nn
    >>> nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    ModuleList(
      (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise ModuleError(f"a ModuleList cannot be called; call its modules, or use Sequential.{here()}")

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        return self._modules[self._key(index)]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        # Equal neighbours are shown once: "(0-11): 12 x Block(…)".
        runs: list[tuple[int, int, str]] = []
        for position, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], position, text)
            else:
                runs.append((position, position, text))
        children = [
            indented(f"({first}): {text}" if first == last else f"({first}-{last}): {last - first + 1} x {text}")
            for first, last, text in runs
        ]
        return layout(type(self).__name__, [], children)


class ModuleDict(Module):
    """A dictionary whose modules are registered, so that their parameters are trained and saved.

    >>> from autograd_ff import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(8, 10), "parity": nn.Linear(8, 2)})
    >>> heads["parity"].out_features, list(heads)
    (2, ['digit', 'parity'])
    """

    _names_are_keys = True

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise ModuleError(f"a ModuleDict cannot be called; call one of its modules.{here()}")

    def __getitem__(self, key: str) -> Any:
        if key not in self._modules:
            raise ModuleError(f"there is no module {key!r}; there are {list(self._modules)}.{here()}")
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        self[key]
        self._let_go(key)
        del self._modules[key]
        children_changed()

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()
        children_changed()

    def pop(self, key: str) -> Any:
        """Take a module out and return it."""
        module = self[key]
        del self[key]
        return module

    def get(self, key: str, default: Any = None) -> Any:
        """The module of that name, or ``default``."""
        return self._modules.get(key, default)

    def keys(self) -> Any:
        return self._modules.keys()

    def items(self) -> Any:
        return self._modules.items()

    def values(self) -> Any:
        return self._modules.values()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        if not isinstance(modules, Iterable):
            raise ModuleError(f"a ModuleDict is made of a mapping, not of a {type(modules).__name__}.{here()}")
        for key, module in modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules:
            self[key] = module


def _as_parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)


def _describe(parameter: Parameter) -> str:
    return f"Parameter containing: [{parameter.dtype} of shape {tuple(parameter.shape)}]"


class ParameterList(Module):
    """A list of registered parameters; Tensors and arrays become parameters.

    >>> import numpy as np
    >>> from autograd_ff import nn
    >>> len(nn.ParameterList([np.zeros(2), np.zeros(3)]))
    2
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        for value in values or ():
            self.append(value)

    def _key(self, index: Any) -> str:
        position, count = operator.index(index), len(self)
        if not -count <= position < count:
            raise DimensionError(f"there is no parameter {position} in a ParameterList of {count}.{here()}")
        return str(position % count)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._parameters[self._key(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        key, value = self._key(index), _as_parameter(value)
        self._let_go(key)
        self._parameters[key] = value

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end."""
        if isinstance(values, TensorCore):
            raise ModuleError(f"extend takes an iterable of tensors, not one tensor.{here()}")
        for value in list(values):
            self.append(value)
        return self

    __iadd__ = extend

    def __repr__(self) -> str:
        children = [f"({name}): {_describe(one)}" for name, one in self._parameters.items() if one is not None]
        return layout(type(self).__name__, [], children)


class ParameterDict(Module):
    """A dictionary of registered parameters; Tensors and arrays become parameters.

    >>> import numpy as np
    >>> from autograd_ff import nn
    >>> list(nn.ParameterDict({"scale": np.ones(2)}).state_dict())
    ['scale']
    """

    _names_are_keys = True

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        if key not in self._parameters:
            raise ModuleError(f"there is no parameter {key!r}; there are {list(self._parameters)}.{here()}")
        return self._parameters[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        self[key]
        self._let_go(key)
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def keys(self) -> Any:
        return self._parameters.keys()

    def items(self) -> Any:
        return self._parameters.items()

    def values(self) -> Any:
        return self._parameters.values()

    def update(self, parameters: Mapping[str, Any]) -> None:
        """Add or replace parameters."""
        for key, value in parameters.items():
            self[key] = value

    def __repr__(self) -> str:
        children = [f"({name}): {_describe(one)}" for name, one in self._parameters.items() if one is not None]
        return layout(type(self).__name__, [], children)
