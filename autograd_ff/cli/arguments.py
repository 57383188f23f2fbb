"""What a user's function is called with: Tensors of guessed or given shapes, and plain values where it wants those."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ..engine import Domain, TensorCore, wrap

__all__ = [
    "OnCopies", "Parameter", "Plan", "Shape", "UnfitError", "count_text", "needed_keywords", "parameters_of", "plans",
    "shape_text",
]  # fmt: skip

Shape = tuple[int, ...]

TENSOR, NUMBER, OTHER = "Tensor", "number", "other"


class UnfitError(ValueError):
    """There is no call to be made of what was asked for."""


def shape_text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def count_text(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# ---------------------------------------------------------------- parameters


@dataclass(frozen=True)
class Parameter:
    """A positional parameter, and what may be given for it."""

    name: str
    kind: str  # TENSOR, NUMBER or OTHER
    required: bool
    value: Any = None  # what it gets where that is no Tensor
    wanted: str = ""  # its annotation


def parameters_of(function: Any, skip: int = 0) -> list[Parameter] | None:
    """The positional parameters; None for ``*args`` alone, or where nobody can tell."""
    signature = _signature(function)
    if signature is None:
        return None
    every = list(signature.parameters.values())
    positional = [one for one in every if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)][skip:]
    if not positional and any(one.kind is one.VAR_POSITIONAL for one in every):
        return None
    return [_parameter(one) for one in positional]


def needed_keywords(function: Any) -> list[str]:
    """The keyword-only parameters without a default."""
    signature = _signature(function)
    every = [] if signature is None else signature.parameters.values()
    return [one.name for one in every if one.kind is one.KEYWORD_ONLY and one.default is one.empty]


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


# What an argument gets whose annotation says that it is a plain number, and no default says which.
_NUMBERS = {"int": 2, "float": 0.5, "bool": True}
_OTHERS = {
    "str", "bytes", "dict", "list", "tuple", "set", "frozenset", "type", "slice", "range", "dtype", "Path", "Generator",
    "List", "Dict", "Tuple", "Set", "Sequence", "Iterable", "Mapping", "Callable", "Literal", "Enum",
}  # fmt: skip


def _parameter(one: inspect.Parameter) -> Parameter:
    required = one.default is one.empty
    default = None if required else one.default
    allowed = _type_names(one.annotation) - {"None", "NoneType"} if one.annotation is not one.empty else set()
    if allowed and allowed <= _OTHERS | set(_NUMBERS):
        value = default if not required else next((_NUMBERS[name] for name in _NUMBERS if name in allowed), None)
        kind = NUMBER if allowed & set(_NUMBERS) else OTHER
        return Parameter(one.name, kind, required, value, " or ".join(sorted(allowed)))
    # Without an annotation the default tells. A float may stand where a Tensor could; True, 2 or "mean" may not.
    like_a_tensor = default is None or isinstance(default, (float, TensorCore, np.ndarray))
    return Parameter(one.name, TENSOR if allowed or like_a_tensor else OTHER, required, default)


def _type_names(annotation: Any) -> set[str]:
    """The names of the types that an annotation allows: "int" and "None" for ``int | None``."""
    if isinstance(annotation, str):
        text = annotation.strip("'\" ")
        while inner := re.fullmatch(r"(?:\w+\.)*(?:Optional|Union)\[(.*)\]", text):
            text = inner[1].replace(",", "|")
        while "[" in text and (shorter := re.sub(r"\[[^\[\]]*\]", "", text)) != text:
            text = shorter
        return {part.strip().rpartition(".")[2] for part in text.split("|")}
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return {name for one in typing.get_args(annotation) for name in _type_names(one)}
    return {str(getattr(origin or annotation, "__name__", None) or getattr(origin, "_name", None) or annotation)}


# ---------------------------------------------------------------- calls


@dataclass(frozen=True)
class Plan:
    """The arguments of a call: for each a shape, or a value that is no Tensor."""

    names: tuple[str, ...]
    arguments: tuple[Any, ...]
    tensors: tuple[bool, ...]  # whether the argument is a shape
    fallback: bool = False  # to be used only where no better guess works
    constants: frozenset[str] = frozenset()  # names of Tensors that need no gradient

    def draw(self, seed: int, interval: tuple[float, float]) -> tuple[Any, ...]:
        numbers = np.random.default_rng(seed)
        domain = Domain(*interval)
        drawn: list[Any] = []
        for name, one, is_tensor in zip(self.names, self.arguments, self.tensors, strict=True):
            if is_tensor:
                one = wrap(np.asarray(domain.fit(numbers.random(one)), dtype=np.float64))
                one.requires_grad = name not in self.constants
            drawn.append(one)
        return tuple(drawn)

    @property
    def free(self) -> list[str]:
        """The names of those that are differentiated."""
        pairs = zip(self.names, self.tensors, strict=True)
        return [name for name, is_tensor in pairs if is_tensor and name not in self.constants]

    def with_constants(self, names: frozenset[str]) -> Plan:
        return replace(self, constants=self.constants | names)

    def broadcast(self) -> Plan | None:
        """The same call with only the last axis of every Tensor but the first; None where there is nothing to drop."""
        first = self.tensors.index(True)
        arguments = tuple(
            one[-1:] if is_tensor and position != first else one
            for position, (one, is_tensor) in enumerate(zip(self.arguments, self.tensors, strict=True))
        )
        return replace(self, arguments=arguments) if arguments != self.arguments else None

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {shape_text(one)}" if is_tensor else f"{name}={one!r:.40}"
            for name, one, is_tensor in zip(self.names, self.arguments, self.tensors, strict=True)
        )


def plans(
    parameters: list[Parameter] | None,
    shapes: Sequence[Shape],
    guesses: Sequence[tuple[Shape, ...]],
    constants: frozenset[str] = frozenset(),
) -> list[Plan]:
    """The calls to try, the likeliest first.

    Raises:
        UnfitError: there are more shapes than arguments, or fewer; or an argument is wanted that cannot be made up.
    """
    taken = _taken(parameters, shapes)
    free = [one for one in taken if one.kind == TENSOR]
    if len(shapes) == 1:
        candidates: list[tuple[tuple[Shape, ...], bool]] = [((shapes[0],) * len(free), False)]
    elif shapes:
        if len(shapes) != len(free):
            raise UnfitError(
                f"{count_text(len(shapes), 'shape')} given for {count_text(len(free), 'argument')}: "
                f"{', '.join(one.name for one in free)}\n  Give one for each, or one for all."
            )
        candidates = [(tuple(shapes), False)]
    else:
        candidates = [(guess, False) for guess in guesses if len(guess) == len(free)]
        candidates += [(guess, bool(candidates) or late) for guess, late in _guesses(len(free))]
    names, tensors = tuple(one.name for one in taken), tuple(one.kind == TENSOR for one in taken)
    made: list[Plan] = []
    for candidate, fallback in candidates:
        given = iter(candidate)
        arguments = tuple(next(given) if one.kind == TENSOR else one.value for one in taken)
        made.append(Plan(names, arguments, tensors, fallback, constants))
    return made


def _taken(parameters: list[Parameter] | None, shapes: Sequence[Shape]) -> list[Parameter]:
    """The parameters that get an argument: the required ones, and where shapes are left over, or none of those is a
    Tensor, as many more as that takes."""
    if parameters is None:
        return [Parameter(f"input {position}", TENSOR, True) for position in range(len(shapes) or 1)]
    if not parameters:
        raise UnfitError("it takes no argument, so there is nothing to differentiate")
    tensors = [one for one in parameters if one.kind == TENSOR]
    if not tensors:
        numbers = all(one.kind == NUMBER for one in parameters)
        raise UnfitError(f"it takes {'plain numbers' if numbers else 'other things'} only; a gradient needs a Tensor")
    if len(shapes) > len(tensors):
        raise UnfitError(
            f"{count_text(len(shapes), 'shape')} given, and it takes {count_text(len(tensors), 'argument')}: "
            f"{', '.join(one.name for one in tensors)}"
        )
    taken = [one for one in parameters if one.required]
    count = max(1, len(shapes))
    if sum(one.kind == TENSOR for one in taken) < count:
        last = parameters.index(tensors[count - 1])
        taken = parameters[: max(last + 1, len(taken))]
    for one in taken:
        if one.kind == OTHER and one.required:
            raise UnfitError(f"it needs a {one.wanted} for {one.name}")
    return taken


def _guesses(count: int) -> Iterator[tuple[tuple[Shape, ...], bool]]:
    """Shapes of ``count`` arguments: equal ones; then, to be used where those do not work, some that fit each other."""
    equal: list[Shape] = [(3, 4), (4,), ()]
    unusual: list[Shape] = [(3, 3), (2, 3, 4), (2, 3, 4, 4)]
    for shape in equal:
        yield (shape,) * count, False
    if count == 2:
        yield ((3, 4), (4, 2)), True
        yield ((3, 4), (4,)), True
        yield ((3, 4), (2, 4)), True
    if count == 3:
        yield ((3, 4), (4, 2), (2,)), True
        yield ((3, 4), (2, 4), (2,)), True
    for shape in unusual:
        yield (shape,) * count, True
    if count > 1:
        yield ((3, 4), *((),) * (count - 1)), True


class OnCopies:
    """A function that writes its inputs, as one that writes copies of them."""

    def __init__(self, function: Callable[..., Any], names: Sequence[str]) -> None:
        self.function = function
        kind = inspect.Parameter.POSITIONAL_ONLY
        if all(map(str.isidentifier, names)):
            self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])

    def __repr__(self) -> str:
        return f"{getattr(self.function, '__qualname__', self.function)} on copies of its inputs"

    def __call__(self, *inputs: Any) -> Any:
        return self.function(*[cast(Any, one) * 1 if isinstance(one, TensorCore) else one for one in inputs])
