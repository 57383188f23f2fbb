"""Running a step without leaving a trace of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import TensorCore, restructured
from ..nn import Module
from ..nn.naming import children_changed
from .holdings import modules_of, optimized
from .randomness import RandomState

__all__ = ["untouched"]

_STORES = ("_parameters", "_buffers", "_modules")
_LARGE = 2**26  # bytes of a plain array in an attribute that is data rather than state
_CONTAINERS = (list, dict, set, deque)


@contextmanager
def untouched(trainer: Any) -> Iterator[None]:
    """Put back, bit for bit, whatever a forward and a backward pass may change.

    That is parameters, buffers and ``.grad`` (their numbers and which arrays they are), the attributes of modules and
    trainer (a module that counts its calls, or makes its layers when it is first called), whether each module trains, and
    all generators of random numbers. An optimizer takes no step here, so its state needs no keeping; where one does, take a
    `snapshot.Snapshot`.
    """
    undo = [RandomState(trainer).restore]
    tensors: dict[int, TensorCore] = {}
    for holder in (trainer, *modules_of(trainer)):
        undo.append(_keep_attributes(holder))
        for store in _STORES[:2]:
            tensors.update((id(one), one) for one in getattr(holder, store, {}).values() if one is not None)
        for value in vars(holder).values():
            if isinstance(value, TensorCore):
                tensors[id(value)] = value
            elif isinstance(value, np.ndarray) and value.dtype != object and value.nbytes < _LARGE:
                undo.append(_keep_array(value))
    tensors.update((id(one), one) for one in optimized(trainer))
    undo += [_keep_tensor(one) for one in tensors.values()]
    try:
        yield
    finally:
        for one in undo:
            one()


def _keep_array(array: np.ndarray) -> Callable[[], None]:
    values = array.copy()

    def put_back() -> None:
        if array.flags.writeable:
            np.copyto(array, values)

    return put_back


def _keep_tensor(tensor: Any) -> Callable[[], None]:
    array, node, view, gradient = tensor.array, tensor.node, tensor.view_of, tensor._grad
    numbers = _keep_array(array)
    gradient_numbers = None if gradient is None else _keep_array(gradient.array)

    def put_back() -> None:
        tensor.array, tensor.node, tensor.view_of, tensor._grad = array, node, view, gradient
        numbers()
        if gradient_numbers is not None:
            gradient_numbers()

    return put_back


def _keep_attributes(holder: Any) -> Callable[[], None]:
    own = vars(holder)
    before = dict(own)
    contents = [(value, value.copy()) for value in before.values() if type(value) in _CONTAINERS]

    def put_back() -> None:
        changed = _replaced(own, before)
        for container, values in contents:
            if isinstance(container, dict):
                changed |= _replaced(container, values)
            elif len(container) != len(values) or any(
                one is not other for one, other in zip(container, values, strict=True)
            ):
                changed = True
                container.clear()
                container.update(values) if isinstance(container, set) else container.extend(values)
        if changed and isinstance(holder, Module):
            children_changed()
            restructured()

    return put_back


def _replaced(own: dict[Any, Any], before: dict[Any, Any]) -> bool:
    """Give a dict the entries that it had; whether that changed anything."""
    if own.keys() == before.keys() and all(own[key] is value for key, value in before.items()):
        return False
    own.clear()
    own.update(before)
    return True
