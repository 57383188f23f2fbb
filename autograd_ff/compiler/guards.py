"""What a plan rests on, asked before each replay: whose memory it uses, flags, options, which gradients are there.

Most of it changes only through functions of this package, which count such changes (`engine.restructured`): as long as
the count stands, one comparison of numbers is all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine import versions
from ..engine.node import Leaf
from ..nn import Module
from .record import Recorder

__all__ = ["Guards", "conditions", "has_gradient_like"]

_PLAIN = (int, float, bool, str, type(None))


class Guards:
    """Everything outside of the arguments that a record depends on, as it was when the call had ended."""

    def __init__(self, record: Recorder, passed: list[Any]) -> None:
        """``passed``: the tensors among the arguments, which are other ones at each call."""
        self._questions = list(_unique(record.questions))
        theirs = {id(one) for one in passed}
        lasting = [one for one in record.touched if one.lasts and id(one.tensor) not in theirs]
        read = [one for one in lasting if one.read]
        self._absent = [one.tensor for one in read if one.entry is None]
        self._present = [
            (one.tensor, one.entry.shape, one.entry.dtype, one.entry.strides) for one in read if one.entry is not None
        ]
        # Tensors that the step itself made are gone by now, or will be.
        owners = {id(one): one for weak in record.owners.values() if (one := weak()) is not None}
        owners = {key: one for key, one in owners.items() if key not in theirs}
        owners |= {id(one.tensor): one.tensor for one in lasting}
        self._modules: list[tuple[Any, Any]] = []
        for outermost in record.modules.values():
            for module in outermost.modules():
                self._modules.append((module, _describe(module)))
                for tensor in (*module._parameters.values(), *module._buffers.values()):
                    if tensor is not None:
                        owners[id(tensor)] = tensor
        self._owners = [(one, one.array, one.node is None, _leaf_hooks(one)) for one in owners.values()]
        self._structure = self._made = versions.structure

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
        return all(has_gradient_like(*known) for known in self._present)

    def _structure_holds(self) -> bool:
        for tensor, array, untracked, hooks in self._owners:
            if tensor.array is not array or (tensor.node is None) is not untracked or _leaf_hooks(tensor) != hooks:
                return False
            if versions.retired_since(tensor, self._made):
                return False
        for module, before in self._modules:
            if _describe(module) != before or versions.retired_since(module, self._made):
                return False
        return True


def conditions(record: Recorder) -> Any:
    """What a call met that may have decided its course, for comparison with what another one met."""
    modules = [_describe(module) for outermost in record.modules.values() for module in outermost.modules()]
    answers = [answer for _, _, answer in _unique(record.questions)]
    return answers, [(one.read, one.entry is None) for one in record.touched], modules


def has_gradient_like(tensor: Any, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...]) -> bool:
    """Whether a tensor has a gradient of its own like the one recorded."""
    gradient = tensor._grad
    if gradient is None or gradient.node is not None:
        return False
    array = gradient.array
    return bool(array.shape == shape and array.dtype == dtype and array.strides == strides)


def _leaf_hooks(tensor: Any) -> Any:
    hooks = tensor.node.hooks if isinstance(tensor.node, Leaf) else None
    return None if hooks is None else (tuple(hooks.before), tuple(hooks.after))


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
