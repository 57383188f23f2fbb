"""What is checked: a function of Tensors, or a module with its loss, as one function of a flat list of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Function, grad
from ..engine import Op, TensorCore, enable_grad, here, no_grad, wrap
from ..errors import GraphError
from ..functions.random import get_rng_state, set_rng_state
from ..nn import Module
from ..nn.stateless import functional_call
from .recording import Recording, Replay, complex_replay, dependent_ops, record
from .tree import flatten, rebuild

__all__ = ["Subject", "read_only", "second_order"]

Arrays = list[np.ndarray]


class Subject:
    """A function of float64 arrays, with names for them.

    Args:
        call: from one Tensor for each value to the result, any tree of Tensors.
        values: the point, in float64.
        names: what to call each value.
        frozen: put the default random generator into the same state before every call.
        tracked: run the function on Tensors that require grad, for its values too: it may differentiate inside.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        values: Arrays,
        names: Sequence[str],
        *,
        frozen: bool = False,
        tracked: bool = False,
    ) -> None:
        self.call = call
        self.values = values
        self.names = list(names)
        self.frozen = frozen
        self.tracked = tracked
        self.epsilon = float(np.finfo(np.float64).eps)  # or more, where a narrower dtype lies on the way
        self._state = get_rng_state() if frozen else None
        self._recorded: tuple[Recording, list[Any], list[Any]] | None = None
        self.constant: set[int] = set()  # outputs that a Function marked as not differentiable

    # ---------------------------------------------------------------- running it

    def tensors(self, tracked: bool, values: Arrays | None = None) -> list[Any]:
        """Tensors on read-only memory."""
        made = [wrap(read_only(value)) for value in (self.values if values is None else values)]
        for tensor in made:
            tensor.requires_grad = tracked
        return made

    def outputs(self, tensors: Sequence[Any]) -> list[Any]:
        """The floating Tensors of the result."""
        if self._state is not None:
            set_rng_state(self._state)
        leaves = flatten(self.call(*tensors))
        found = [leaf for leaf in leaves if isinstance(leaf, TensorCore) and leaf.array.dtype.kind == "f"]
        if not found:
            raise GraphError(f"the function returned no floating Tensor, so there is no gradient to check.{here()}")
        return [one for position, one in enumerate(found) if position not in self.constant]

    def evaluate(self, values: Arrays) -> Arrays:
        """The outputs as arrays."""
        with enable_grad() if self.tracked else no_grad():
            return [output.array for output in self.outputs(self.tensors(self.tracked, values))]

    def record(self) -> Recording:
        """A run with everything tracked, whose graph `gradients` goes back through."""
        if self._recorded is None:
            tensors = self.tensors(tracked=True)
            with enable_grad():
                recording, outputs = record(lambda *given: self.outputs(given), tensors)
            self.constant = _marked_constant(recording, outputs)
            outputs = [one for position, one in enumerate(outputs) if position not in self.constant]
            self._recorded = recording, tensors, outputs
            narrow = [
                float(np.finfo(output.dtype).eps)
                for one in dependent_ops(recording, [tensor.array for tensor in tensors])
                for output in one.outputs
                if isinstance(output, np.ndarray) and output.dtype.kind == "f"
            ]
            self.epsilon = max(self.epsilon, *narrow) if narrow else self.epsilon
        return self._recorded[0]

    def forget(self) -> None:
        """Let go of the recorded graph."""
        self._recorded = None

    def gradients(self, upstream: np.ndarray) -> Arrays:
        """The gradients of all values, for one flat upstream gradient of all outputs."""
        self.record()
        assert self._recorded is not None
        _, tensors, outputs = self._recorded
        seeds = split(upstream, outputs)
        pairs = [(output, seed) for output, seed in zip(outputs, seeds, strict=True) if output.requires_grad]
        found: Sequence[Any] = [None] * len(tensors)
        if pairs:
            found = grad(
                [output for output, _ in pairs],
                tensors,
                [seed for _, seed in pairs],
                retain_graph=True,
                allow_unused=True,
            )
        return [
            np.zeros_like(value) if one is None else np.asarray(one.detach().array, np.float64)
            for one, value in zip(found, self.values, strict=True)
        ]

    def tracked_arrays(self) -> Arrays:
        """The very arrays that the recorded run started from."""
        self.record()
        assert self._recorded is not None
        return [tensor.array for tensor in self._recorded[1]]

    def replay(self) -> Replay | None:
        """The recorded run as a function of complex numbers, where every op on the way is analytic."""
        recording = self.record()
        assert self._recorded is not None
        _, tensors, outputs = self._recorded
        return complex_replay(recording, [one.array for one in tensors], [one.array for one in outputs], self.values)


def _marked_constant(recording: Recording, outputs: Sequence[Any]) -> set[int]:
    """Positions of the outputs that a recorded Function returned untracked: it marked them as not differentiable."""
    made = {
        id(array)
        for one in recording.ops
        if one.op.pullback is not None and one.node is not None
        for array in one.outputs
    }
    return {at for at, one in enumerate(outputs) if not one.requires_grad and id(one.array) in made}


def second_order(subject: Subject, upstream: Arrays) -> Subject:
    """The gradients of a subject, as a function of its values and of the upstream gradients."""
    count = len(subject.values)

    def gradient(*arguments: Any) -> list[Any]:
        recording = any(argument.requires_grad for argument in arguments)
        if not recording:  # for a numeric derivative only the value of the gradient counts: the plain backward pass
            arguments = tuple(wrap(argument.array) for argument in arguments)
            for argument in arguments[:count]:
                argument.requires_grad = True
        tensors, seeds = list(arguments[:count]), arguments[count:]
        with enable_grad():
            outputs = subject.outputs(tensors)
        pairs = [(output, seed) for output, seed in zip(outputs, seeds, strict=True) if output.requires_grad]
        if not pairs:
            return [wrap(np.zeros(tensor.shape)) for tensor in tensors]
        found = grad(
            [output for output, _ in pairs], tensors, [seed for _, seed in pairs], create_graph=recording,
            allow_unused=True,
        )  # fmt: skip
        return [
            wrap(np.zeros(tensor.shape)) if one is None else one for tensor, one in zip(tensors, found, strict=True)
        ]

    labels = [f"upstream gradient {position}" for position in range(len(upstream))]
    second = Subject(gradient, [*subject.values, *upstream], [*subject.names, *labels])
    second.epsilon = subject.epsilon
    return second


# -------------------------------------------------------------------- of a function


def of_function(fn: Callable[..., Any], inputs: Any, frozen: bool = False) -> Subject:
    """A function of Tensors at some inputs, of which some are checked and the others stay."""
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    leaves = flatten(arguments)
    positions = _checked(leaves)
    if not positions:
        raise GraphError(f"there is no floating Tensor or array among the inputs, so no gradient to check.{here()}")
    fixed = [as_argument(leaf) for leaf in leaves]

    def call(*tensors: Any) -> Any:
        given = list(fixed)
        for position, tensor in zip(positions, tensors, strict=True):
            given[position] = tensor
        return fn(*rebuild(arguments, given))

    names = _names(fn, arguments)
    values = [np.array(_array_of(leaves[position]), dtype=np.float64) for position in positions]
    return Subject(call, values, [names[position] for position in positions], frozen=frozen, tracked=True)


def of_module(module: Module, inputs: Any, loss: Callable[[Any], Any] | None, frozen: bool = False) -> Subject:
    """A network and its loss as a function of the parameters, and of the inputs that require grad.

    The module itself is not touched: it runs with other Tensors in the place of its own.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    leaves = flatten(arguments)
    parameters = {name: one for name, one in module.named_parameters() if one.requires_grad}
    positions = [position for position, leaf in enumerate(leaves) if getattr(leaf, "requires_grad", False)]
    if not parameters and not positions:
        raise GraphError(f"no parameter of this module requires grad, so there is no gradient to check.{here()}")
    state = [*module.named_parameters(), *module.named_buffers()]
    others = {name: one for name, one in state if name not in parameters}
    fixed = [as_argument(leaf) for leaf in leaves]

    def call(*tensors: Any) -> Any:
        given = list(fixed)
        for position, tensor in zip(positions, tensors[len(parameters) :], strict=True):
            given[position] = tensor
        # Buffers may be written, running statistics say, so each call gets copies.
        place = {name: as_argument(one, writable=True) for name, one in others.items()}
        place.update(zip(parameters, tensors, strict=False))
        output = functional_call(module, place, rebuild(arguments, given))
        return output if loss is None else loss(output)

    names = _names(module.forward, arguments)
    values = [np.array(one.array, np.float64) for one in parameters.values()]
    values += [np.array(_array_of(leaves[position]), np.float64) for position in positions]
    labels = [*parameters, *(names[position] for position in positions)]
    return Subject(call, values, labels, frozen=frozen, tracked=True)


def _checked(leaves: list[Any]) -> list[int]:
    """Positions of the leaves to check: those that require grad, or all floating ones where none does."""
    floating = [
        position
        for position, leaf in enumerate(leaves)
        if isinstance(leaf, (TensorCore, np.ndarray)) and _array_of(leaf).dtype.kind == "f"
    ]
    wanted = [position for position in floating if getattr(leaves[position], "requires_grad", False)]
    return wanted or floating


def _array_of(leaf: Any) -> np.ndarray:
    return leaf.array if isinstance(leaf, TensorCore) else leaf


def as_argument(leaf: Any, writable: bool = False) -> Any:
    """What is not checked, as it is handed to the function: floating numbers in float64, so that nothing is rounded."""
    if not isinstance(leaf, (TensorCore, np.ndarray)):
        return leaf
    array = _array_of(leaf)
    copied = np.array(array, dtype=np.float64 if array.dtype.kind == "f" else array.dtype)
    return wrap(copied if writable else read_only(copied))


def read_only(array: np.ndarray) -> np.ndarray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def split(flat: np.ndarray, outputs: Sequence[Any]) -> list[Any]:
    """A flat upstream gradient as one Tensor for each output, read-only."""
    ends = np.cumsum([output.array.size for output in outputs])[:-1]
    parts = np.split(flat, ends)
    return [
        wrap(read_only(part.reshape(output.array.shape).astype(output.array.dtype)))
        for part, output in zip(parts, outputs, strict=True)
    ]


def parameter_names(fn: Callable[..., Any]) -> list[str]:
    """The names of a function's positional parameters; of a Function's ``apply``, those of its forward."""
    if isinstance(fn, Op):
        return list(fn.inputs) if not fn.variadic else []
    owner = getattr(fn, "__self__", None)
    own_context = False
    if isinstance(owner, type) and issubclass(owner, Function):
        fn = owner.forward
        own_context = owner.setup_context is Function.setup_context
    try:
        parameters = [
            one.name
            for one in inspect.signature(fn).parameters.values()
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        return []
    return parameters[1:] if own_context else parameters


def _names(fn: Callable[..., Any], arguments: tuple[Any, ...]) -> list[str]:
    """What to call each leaf: the function's parameter, with the place inside it where that holds several."""
    parameters = parameter_names(fn)
    names: list[str] = []
    for position, argument in enumerate(arguments):
        name = parameters[position] if position < len(parameters) else f"input {position}"
        names += _paths(argument, name)
    return names


def _paths(tree: Any, name: str) -> list[str]:
    if isinstance(tree, dict):
        return [path for key, part in tree.items() for path in _paths(part, f"{name}[{key!r}]")]
    if isinstance(tree, (tuple, list)):
        return [path for number, part in enumerate(tree) for path in _paths(part, f"{name}[{number}]")]
    return [name]
