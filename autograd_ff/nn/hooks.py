"""What users hook into a module's call: before it, after it, and on its way back."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..autograd.function import Function
from ..engine import TensorCore, restructured
from ..errors import GraphError

if TYPE_CHECKING:
    from .module import Module

__all__ = ["Hook", "ModuleHooks", "Passage", "RemovableHandle", "add"]

_serial = itertools.count()


class Hook:
    """A function and how it wants to be called."""

    __slots__ = ("always_call", "function", "with_kwargs")

    def __init__(self, function: Callable[..., Any], with_kwargs: bool = False, always_call: bool = False) -> None:
        self.function = function
        self.with_kwargs = with_kwargs
        self.always_call = always_call


class ModuleHooks:
    """All hooks of one module."""

    __slots__ = ("backward", "backward_pre", "forward", "forward_pre")

    def __init__(self) -> None:
        self.forward_pre: OrderedDict[int, Hook] = OrderedDict()
        self.forward: OrderedDict[int, Hook] = OrderedDict()
        self.backward_pre: OrderedDict[int, Hook] = OrderedDict()
        self.backward: OrderedDict[int, Hook] = OrderedDict()


class RemovableHandle:
    """What registering a hook returns. ``remove()``, or leaving a ``with`` block, takes the hook off again."""

    def __init__(self, hooks: dict[int, Any]) -> None:
        self.id = next(_serial)
        self._hooks = hooks

    def remove(self) -> None:
        restructured()
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def add(hooks: OrderedDict[int, Hook], hook: Hook, prepend: bool = False) -> RemovableHandle:
    """Register a hook, behind those already there or before them."""
    restructured()
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


# ---------------------------------------------------------------- on the way back
#
# The gradients of all of a module's outputs meet in one node behind the module, those of its inputs in one node before
# it. Both are identities on the way forward.


class Passage:
    """One call of a module with backward hooks: what its two nodes tell each other.

    It holds the module weakly, since the graph holds it.
    """

    def __init__(self, module: Module, hooks: ModuleHooks) -> None:
        self.module = weakref.ref(module)
        self.hooks = [one.function for one in hooks.backward.values()]
        self.pre_hooks = [one.function for one in hooks.backward_pre.values()]
        self.grad_output: tuple[Any, ...] = ()
        self.inputs: list[int] = []  # positions of the tracked inputs among all …
        self.input_count = 0  # … of which there are so many; the same of the outputs
        self.outputs: list[int] = []
        self.output_count = 0

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of forward, with the tracked Tensors among them led through one node."""
        self.inputs, self.input_count = _tracked(args), len(args)
        return _through(_ModuleInput, self, args, self.inputs)

    def leave(self, result: Any) -> Any:
        """The result of forward, with its tracked Tensors led through one node; of nested ones only tuples are seen."""
        parts = result if isinstance(result, tuple) else (result,)
        self.outputs, self.output_count = _tracked(parts), len(parts)
        parts = _through(_ModuleOutput, self, parts, self.outputs)
        return parts if isinstance(result, tuple) else parts[0]

    def run(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        module, grad_output = self.module(), self.grad_output
        self.grad_output = ()  # under create_graph it leads back to the node that holds this call
        if module is None:
            return grad_input
        for hook in self.hooks:
            grad_input = _replaced(hook(module, grad_input, grad_output), grad_input, "a full backward hook")
        return grad_input

    def run_before(self, grad_output: tuple[Any, ...]) -> tuple[Any, ...]:
        module = self.module()
        if module is None:
            return grad_output
        for hook in self.pre_hooks:
            grad_output = _replaced(hook(module, grad_output), grad_output, "a full backward pre-hook")
        return grad_output


def _replaced(result: Any, before: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    if result is None:
        return before
    replaced = result if isinstance(result, tuple) else (result,)
    if len(replaced) != len(before):
        raise GraphError(f"{what} must return None or {len(before)} gradients, it returned {len(replaced)}.")
    return replaced


class _ModuleInput(Function):
    @staticmethod
    def forward(ctx: Any, passage: Passage, *tensors: Any) -> Any:
        ctx.passage = passage
        return tuple(tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        passage = ctx.passage
        grad_input = passage.run(_spread(gradients, passage.inputs, passage.input_count))
        return (None, *(grad_input[position] for position in passage.inputs))


class _ModuleOutput(Function):
    @staticmethod
    def forward(ctx: Any, passage: Passage, *tensors: Any) -> Any:
        ctx.passage = passage
        return tuple(tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        passage = ctx.passage
        grad_output = passage.grad_output = passage.run_before(
            _spread(gradients, passage.outputs, passage.output_count)
        )
        if not passage.inputs:  # no input is tracked: nothing more will come back through this call
            passage.run((None,) * passage.input_count)
        return (None, *(grad_output[position] for position in passage.outputs))


def _spread(gradients: tuple[Any, ...], positions: list[int], count: int) -> tuple[Any, ...]:
    """Gradients at the positions that they belong to, None at the others."""
    spread: list[Any] = [None] * count
    for position, gradient in zip(positions, gradients, strict=True):
        spread[position] = gradient
    return tuple(spread)


def _tracked(values: tuple[Any, ...]) -> list[int]:
    return [place for place, one in enumerate(values) if isinstance(one, TensorCore) and one.node is not None]


def _through(
    function: type[Function], passage: Passage, values: tuple[Any, ...], positions: list[int]
) -> tuple[Any, ...]:
    if not positions:
        return values
    marked = function.apply(passage, *(values[position] for position in positions))
    fresh = dict(zip(positions, marked, strict=True))
    return tuple(fresh.get(position, one) for position, one in enumerate(values))
