"""What a plan rests on, asked before each replay: whose memory it uses, flags, options, which gradients are there.

Most of it changes only through functions of this package, which count such changes (`engine.restructured`): as long as
the count stands, one comparison of numbers is all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine import versions
from ..nn import Module
from .record import Recorder

__all__ = ["Guards"]

_PLAIN = (int, float, bool, str, type(None))


class Guards:
    """Everything outside of the arguments that a record depends on, as it was when the call had ended."""

    def __init__(self, record: Recorder, passed: set[int]) -> None:
        """``passed``: the ids of the tensors that are arguments."""
        self._questions = list(_unique(record.questions))
        self._absent = [
            one.tensor
            for one in record.touched.values()
            if one.read and one.entry is None and id(one.tensor) not in passed
        ]
        self._present = [
            (one.tensor, one.entry.shape, one.entry.dtype, one.entry.strides)
            for one in record.touched.values()
            if one.read and one.entry is not None
        ]
        owners = {id(one): one for one in record.owners.values() if id(one) not in passed}
        self._modules = []
        for outermost in record.modules.values():
            for module in outermost.modules():
                self._modules.append((module, _describe(module)))
                for tensor in (*module._parameters.values(), *module._buffers.values()):
                    if tensor is not None:
                        owners[id(tensor)] = tensor
        self._owners = [(one, one.array, one.node is None) for one in owners.values()]
        self._structure = versions.structure

    def hold(self) -> bool:
        """Whether everything is as it was."""
        if versions.structure != self._structure:
            if not self._structure_holds():
                return False
            self._structure = versions.structure
        for question, arguments, answer in self._questions:
            if question(*arguments) != answer:
                return False
        for tensor in self._absent:
            if tensor._grad is not None:
                return False
        for tensor, shape, dtype, strides in self._present:
            gradient = tensor._grad
            if gradient is None or gradient.node is not None:
                return False
            array = gradient.array
            if array.shape != shape or array.dtype != dtype or array.strides != strides:
                return False
        return True

    def _structure_holds(self) -> bool:
        for tensor, array, untracked in self._owners:
            if tensor.array is not array or (tensor.node is None) is not untracked:
                return False
        return all(_describe(module) == before for module, before in self._modules)


def _unique(questions: list[tuple[Callable[..., Any], tuple[Any, ...], Any]]) -> list[Any]:
    """Each question once: the first answer, which is the one at the beginning of the call, may not be given again."""
    found: list[Any] = []
    for question, arguments, answer in questions:
        if not any(question == asked and arguments == given for asked, given, _ in found):
            found.append((question, arguments, answer))
    return found


def _describe(module: Module) -> dict[str, Any]:
    """What decides how a module computes: flags, numbers, which tensors and children, which hooks."""
    described: dict[str, Any] = {}
    for name, value in module.__dict__.items():
        if name in ("_parameters", "_buffers", "_modules"):
            described[name] = tuple((key, id(one)) for key, one in value.items())
        elif name == "_hooks":
            described[name] = _hooks(value)
        elif isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(isinstance(one, _PLAIN) for one in value)):
            described[name] = value
        elif name != "_paths":
            described[name] = id(value)
    return described


def _hooks(hooks: Any) -> Any:
    if hooks is None:
        return None
    return tuple((name, tuple(getattr(hooks, name))) for name in type(hooks).__slots__)
