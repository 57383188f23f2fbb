"""Putting a layer into another one, wherever in a model it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..engine import here
from ..errors import ModuleError
from ..nn import Module
from .patterns import matching

__all__ = ["Wrapper", "replace_modules", "wrap_modules"]


class Wrapper(Module):
    """A module with one inside, whose place it took: its ``base_layer``.

    >>> from autograd_ff import nn
    >>> wrapper = Wrapper(nn.Linear(3, 2))
    >>> list(wrapper.state_dict())
    ['base_layer.weight', 'base_layer.bias']
    """

    def __init__(self, base_layer: Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.training = base_layer.training

    def own_parameters(self) -> Iterator[tuple[str, Any]]:
        """The parameters that it adds to those of its base, and their names."""
        base = self.base_layer
        for path, module in self.named_modules({base}):  # what was seen is left out, with all below
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield f"{path}.{name}" if path else name, parameter


def _unwrapped(module: Module) -> list[Module]:
    """A module, and what is inside of it, wrapper by wrapper."""
    found = [module]
    while isinstance(found[-1], Wrapper):
        found.append(found[-1].base_layer)
    return found


def outer_modules(model: Module) -> Iterator[tuple[str, Module]]:
    """All modules, but of wrappers only these and what is in their base, under the name that it had without them."""

    def walk(path: str, module: Module) -> Iterator[tuple[str, Module]]:
        yield path, module
        for name, child in _unwrapped(module)[-1]._modules.items():
            if child is not None:
                yield from walk(f"{path}.{name}" if path else name, child)

    return walk("", model)


def replace_modules(model: Module, new: dict[int, Module]) -> None:
    """Put modules into the places of others, which are given by their ``id``, under each name that those have.

    >>> from autograd_ff import nn
    >>> model = nn.Sequential(nn.Linear(2, 2))
    >>> replace_modules(model, {id(model[0]): nn.Identity()})
    >>> model
    Sequential(
      (0): Identity()
    )
    """
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if id(child) in new and new[id(child)] is not module:  # a wrapper keeps its base
                setattr(module, name, new[id(child)])


def wrap_modules(
    model: Module,
    patterns: str | Iterable[str],
    kinds: Callable[[Module], bool],
    make: Callable[[str, Module], Wrapper],
    what: str,
    barred: type[Wrapper],
    inside: bool = False,
    whole: bool = False,
) -> dict[str, Wrapper]:
    """Put wrappers around the modules whose names fit.

    Args:
        model: that holds them.
        patterns: of the names that they have without any wrappers.
        kinds: which modules come into question.
        make: gives the wrapper of a module, which it gets with its name.
        what: they are called in messages.
        barred: a wrapper that none of them may have already.
        inside: whether the new wrapper goes inside of those that a module has, rather than around them.
        whole: whether a pattern must fit the name itself, not that of a module around it.

    Returns:
        The wrappers by name; a module that has several is wrapped once, and comes under the first.

    Raises:
        ModuleError: a pattern fits none, one is wrapped already, or it is the model itself.

    >>> from autograd_ff import nn
    >>> model = nn.Sequential(nn.Linear(2, 2))
    >>> list(wrap_modules(model, "0", lambda one: True, lambda name, one: Wrapper(one), "module", Wrapper))
    ['0']
    """
    there = {path: module for path, module in outer_modules(model) if path and kinds(_unwrapped(module)[-1])}
    found: dict[str, Module] = {}
    seen: set[int] = set()
    for path in matching(list(there), patterns, what, whole):
        around = _unwrapped(there[path])
        if any(isinstance(one, barred) for one in around):
            raise ModuleError(f"{path!r} has {barred.__name__} around it already.{here()}")
        module = around[-1 if inside else 0]
        if id(module) not in seen:
            seen.add(id(module))
            found[path] = module
    wrappers = {path: make(path, module) for path, module in found.items()}  # all, before the first is put in place
    replace_modules(model, {id(module): wrappers[path] for path, module in found.items()})
    return wrappers
