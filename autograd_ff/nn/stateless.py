"""Running a module on other tensors than its own parameters and buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ..engine import TensorCore, here
from ..errors import DtypeError, ModuleError, StateDictError
from ..functions.tensor import Tensor
from .module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other tensors in the place of its parameters and buffers.

    The module is as it was when the call ends, however it ends. The tensors may be tracked ones, so that gradients flow
    through the module's parameters into what they were computed from. What is not named keeps the module's own value.
    Other threads must not use the module meanwhile.

    Args:
        module: the module to call.
        parameter_and_buffer_dicts: tensors by qualified name, as `named_parameters` and `named_buffers` give them; or
            several such dicts, which may not have a name in common. Where forward puts another tensor in the place of a
            buffer, a single dict holds that one afterwards.
        args: what to call the module with: a tuple of arguments, or one argument.
        kwargs: keyword arguments of the call.
        tie_weights: a parameter that the module has under several names is replaced under all of them when one is
            named.
        strict: every parameter and buffer must be named.

    Returns:
        What the module returns.

    Raises:
        StateDictError: a name that the module does not have (PyTorch, unless ``strict``, would run with the module's own
            value); with ``strict``, a missing one; two tensors for one parameter.
        DtypeError: a value that is not a Tensor.

    >>> import autograd_ff as af
    >>> layer = af.nn.Linear(2, 1, bias=False)
    >>> weight = af.tensor([[3.0, 4.0]], requires_grad=True)
    >>> out = af.func.functional_call(layer, {"weight": weight * 2}, (af.tensor([1.0, 10.0]),))
    >>> out.tolist()
    [86.0]
    >>> out.backward()
    >>> weight.grad.tolist(), layer.weight.grad
    ([[2.0, 20.0]], None)
    """
    if not isinstance(module, Module):
        instead = " Give an instance, not the class." if isinstance(module, type) else ""
        raise ModuleError(f"functional_call takes a Module, not a {type(module).__name__}.{instead}{here()}")
    given = _merged(parameter_and_buffer_dicts)
    slots = _slots(module)
    _refuse_unknown(module, slots, given)
    chosen = _with_tied_names(slots, given) if tie_weights else [(slots[name], name) for name in given]
    if strict:
        _refuse_missing(module, slots, chosen)
    replaced: dict[
        tuple[int, str], str
    ] = {}  # which name spoke for a place: a shared module has one under several names
    for (store, attribute), name in chosen:
        other = replaced.setdefault((id(store), attribute), name)
        if given[other] is not given[name]:
            raise StateDictError(
                f"{other!r} and {name!r} are one and the same {'parameter' if tie_weights else 'place'} of "
                f"{type(module).__name__}, and are given two different tensors.{here()}\n"
                f"  Name one of them only{', or pass tie_weights=False' if tie_weights else ''}."
            )
    arguments = args if isinstance(args, tuple) else () if args is None else (args,)
    with _in_place_of(chosen, given) as current:
        try:
            return module(*arguments, **(kwargs or {}))
        finally:
            if isinstance(parameter_and_buffer_dicts, dict):
                parameter_and_buffer_dicts.update(current())


# Where a tensor of a module is kept: the dict of its parameters or buffers, and its name there.
_Slot = tuple[dict[str, Any], str]


@contextlib.contextmanager
def _in_place_of(chosen: list[tuple[_Slot, str]], given: Mapping[str, Any]) -> Iterator[Any]:
    """The given tensors in their places. Hands over a function that tells which of them forward exchanged."""
    before = [(slot, slot[0][slot[1]]) for slot, _ in chosen]

    def exchanged() -> dict[str, Any]:
        now = {name: store.get(attribute) for (store, attribute), name in chosen}
        return {name: one for name, one in now.items() if one is not None and one is not given[name]}

    try:
        for (store, attribute), name in chosen:
            store[attribute] = given[name]
        yield exchanged
    finally:
        for (store, attribute), own in before:
            store[attribute] = own


def _merged(dicts: Any) -> dict[str, Any]:
    several = [dicts] if isinstance(dicts, Mapping) else dicts
    if not isinstance(several, Sequence) or not all(isinstance(one, Mapping) for one in several):
        raise DtypeError(f"functional_call takes a dict of tensors by name, or several, not {dicts!r:.80}.{here()}")
    merged: dict[str, Any] = {}
    for one in several:
        for name, value in one.items():
            if name in merged:
                raise StateDictError(f"{name!r} is in more than one of the dicts: which tensor shall it be?{here()}")
            if not isinstance(value, TensorCore):
                raise DtypeError(
                    f"{name!r} must be a Tensor, not a {type(value).__name__}.{here()}\n"
                    "  Make one of it: autograd_ff.tensor(value)."
                )
            merged[name] = value
    return merged


def _slots(module: Module) -> dict[str, _Slot]:
    """The place of every parameter and buffer, under each of its names."""
    found: dict[str, _Slot] = {}
    for path, one in module.named_modules(remove_duplicate=False):
        for store in (one._parameters, one._buffers):
            for name in store:
                found[f"{path}.{name}" if path else name] = (store, name)
    return found


def _refuse_unknown(module: Module, slots: dict[str, _Slot], given: Mapping[str, Any]) -> None:
    unknown = [name for name in given if name not in slots]
    if unknown:
        near = get_close_matches(str(unknown[0]), slots, 1)
        raise StateDictError(
            f"{type(module).__name__} has no parameter or buffer {', '.join(map(repr, unknown))}; "
            + (f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, slots)) or 'none'}.")
            + here()
        )


def _refuse_missing(module: Module, slots: dict[str, _Slot], chosen: list[tuple[_Slot, str]]) -> None:
    filled = {(id(store), own) for (store, own), _ in chosen}
    missing = [
        name for name, (store, own) in slots.items() if store[own] is not None and (id(store), own) not in filled
    ]
    if missing:
        raise StateDictError(
            f"strict: {', '.join(map(repr, missing))} of {type(module).__name__} "
            f"{'are' if len(missing) > 1 else 'is'} not given.{here()}"
        )


def _with_tied_names(slots: dict[str, _Slot], given: Mapping[str, Any]) -> list[tuple[_Slot, str]]:
    """For every place to fill, the given name whose tensor goes there."""
    names_of: dict[int, list[str]] = {}
    for name, (store, own) in slots.items():
        if store[own] is not None:
            names_of.setdefault(id(store[own]), []).append(name)
    chosen: list[tuple[_Slot, str]] = []
    for name in given:
        store, own = slots[name]
        names = [name] if store[own] is None else names_of[id(store[own])]
        chosen += [(slots[other], name) for other in names]
    return chosen
