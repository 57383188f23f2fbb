"""Gradient checkpointing: what a stretch of a model computes is not kept for backward, but computed again there.

Source: Chen, Xu, Zhang and Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost". The interface is that of
`torch.utils.checkpoint`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..autograd import Function, FunctionContext
from ..compiler.trees import flatten, rebuild
from ..engine import (
    Node,
    Observer,
    TensorCore,
    enable_grad,
    here,
    host,
    is_grad_enabled,
    no_grad,
    observe,
    restructured,
    run_backward,
)
from ..engine.backward import alias
from ..engine.dispatch import make_node
from ..engine.site import at
from ..engine.versions import tick
from ..errors import GraphError, ModuleError, ShapeError
from ..functions.random import default_generator
from ..nn import Module, ModuleDict, ModuleList
from .patterns import matching, require_module

__all__ = ["checkpoint", "checkpoint_modules", "checkpoint_sequential"]


class _Users(Observer):
    """Collects the tracked tensors that operations take, each once."""

    def __init__(self) -> None:
        self.found: dict[int, Any] = {}

    def takes(self, op: Any, inputs: tuple[Any, ...]) -> None:
        for one in inputs:
            self.note(one)

    def note(self, one: Any) -> None:
        if isinstance(one, TensorCore) and one.node is not None:
            self.found.setdefault(id(one), one)
        elif isinstance(one, (list, tuple)):
            for part in one:
                self.note(part)


class _Place:
    """Where a generator stood. Equal to any other: that of each call of a compiled step is its own."""

    state: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place)

    __hash__ = None  # type: ignore[assignment]


class _Run:
    """One call of a checkpointed function, and how to make it again."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], keep: bool) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.random = _Place() if keep else None  # where the default generator stood
        self.used: list[Any] = []  # tracked tensors
        self.outputs: list[Any] = []  # as the first run gave them, until they are recorded
        self.described: list[Any] = []

    def first(self) -> Any:
        """Run without recording; returns the structure of what came out."""
        if self.random is not None:
            host(_note_random, self.random)
        users = _Users()
        with no_grad(), observe(users):
            result = self.function(*self.args, **self.kwargs)
        leaves: list[Any] = []
        structure = flatten(result, leaves)
        given: list[Any] = []
        flatten((self.args, self.kwargs), given)
        # What is handed through unchanged is used too; and a Function of the user's may work on its arrays alone.
        users.note([*leaves, *given])
        self.used = list(users.found.values())
        self.outputs = leaves
        self.described = _described(leaves)
        return structure

    def again(self) -> list[Any]:
        """Run as at first, recorded; the leaves of what came out."""
        with _as_before(self.random), enable_grad():
            result = self.function(*self.args, **self.kwargs)
        leaves: list[Any] = []
        flatten(result, leaves)
        if _described(leaves) != self.described:
            raise GraphError(
                f"a checkpointed function gave {self.described} at first and {_described(leaves)} when it was run again for "
                "backward.\n  It must compute the same both times: let it depend on nothing that changes in between."
            )
        return leaves


def _described(leaves: list[Any]) -> list[str]:
    return [
        f"{one.array.dtype} {tuple(one.array.shape)}" if isinstance(one, TensorCore) else type(one).__name__
        for one in leaves
    ]


# The state of the default generator goes in and out by declared actions, which a compiled step repeats.
def _note_random(into: _Place) -> None:
    into.state = default_generator().numpy.bit_generator.state


def _set_random(back: _Place) -> None:
    default_generator().numpy.bit_generator.state = back.state


@contextmanager
def _as_before(random: _Place | None) -> Iterator[None]:
    """The default generator where it stood, and afterwards where it stands now."""
    if random is None:
        yield
        return
    now = _Place()
    host(_note_random, now)
    host(_set_random, random)
    try:
        yield
    finally:
        host(_set_random, now)


@contextmanager
def _cut_off(tensors: Sequence[Any], which: Sequence[bool]) -> Iterator[list[Node | None]]:
    """Let tensors hang on nodes of their own, at which a backward pass can stop, or on none."""
    before = [(one, one.node, one.view_of) for one in tensors]
    nodes: list[Node | None] = []
    try:
        for one, wanted in zip(tensors, which, strict=True):
            node = make_node(alias, [one.node], {}, one.array.shape, one.array.dtype) if wanted else None
            nodes.append(node)
            one.node, one.view_of = node, None
        yield nodes
    finally:
        for one, node, view in before:
            one.node, one.view_of = node, view


def _refuse_others(roots: list[Node], cut: set[Node], start: int) -> None:
    """Raise where a run used tracked tensors that the first one was not seen to use: they would get no gradient."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node in cut:
            continue
        if node.number < start:
            raise GraphError(
                f"a checkpointed function used a tracked tensor of shape {node.shape} in a way that was not seen at first."
                f"{at(node.site, 'made at')}\n  Pass it as an argument: checkpoint(function, …, tensor)."
            )
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)


class Checkpoint(Function):
    """Stands for a checkpointed function in the graph; its inputs are the tracked tensors that the function used."""

    @staticmethod
    def forward(ctx: FunctionContext, run: _Run, *used: Any) -> Any:
        ctx.run = run  # type: ignore[attr-defined]
        ctx.save_for_backward(*used)  # no copies: they are looked through for writes in between
        ctx.set_materialize_grads(False)
        outputs, run.outputs = run.outputs, []
        return tuple(outputs)

    @staticmethod
    def backward(ctx: FunctionContext, *gradients: Any) -> Any:
        run: _Run = ctx.run  # type: ignore[attr-defined]
        create_graph = is_grad_enabled()
        start = tick()  # nodes with larger numbers are of this run
        needs = ctx.needs_input_grad[1:]
        # A gradient of the gradient may be wanted of any of them.
        with _cut_off(run.used, [True] * len(needs) if create_graph else needs) as nodes:
            leaves = [one for one in run.again() if isinstance(one, TensorCore) and one.array.dtype.kind in "fc"]
            pairs = [
                (leaf.node, gradient)
                for leaf, gradient in zip(leaves, gradients, strict=True)
                if gradient is not None and leaf.node is not None
            ]
            wanted = [node for node, needed in zip(nodes, needs, strict=True) if needed and node is not None]
            _refuse_others([node for node, _ in pairs], {node for node in nodes if node is not None}, start)
            del leaves
            found = run_backward(
                [node for node, _ in pairs],
                [gradient for _, gradient in pairs],
                wanted=wanted,
                retain_graph=create_graph,
                create_graph=create_graph,
            )
        return (None, *(None if node is None else found.get(node) for node in nodes))


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool = False,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, of which only the inputs are kept until backward, which runs it again.

    It takes one more forward pass and spares what that would keep. Gradients reach the arguments, and all other tracked
    tensors that the function uses: its parameters. They are the same numbers as without, and `autograd.grad`, gradients of
    gradients, hooks, tied weights and checkpoints inside of checkpoints work as without. Where nothing is recorded, the
    function is just called. Source: Chen et al. 2016; the interface is PyTorch's.

    The function must compute the same when it runs again. What it does beside, it does twice: running statistics of batch
    norm move twice, as in PyTorch. In a compiled step it spares memory likewise.

    Args:
        function: a module or a function. It may take and give tensors in tuples, lists, dicts and dataclasses.
        args: what to call it with.
        use_reentrant: accepted for PyTorch's sake, and without effect: there is one implementation, which does what
            PyTorch's ``use_reentrant=False`` does.
        preserve_rng_state: run it again with the default generator as it stood, so that dropout drops the same. False
            spares looking it up.
        kwargs: further arguments of the function.

    Raises:
        GraphError: in backward, where shapes are others when it runs again.
        InplaceError: in backward, where an input was written in place in between.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> block = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    >>> x = af.ones(2, 4)
    >>> finetuning.checkpoint(block, x).sum().backward()
    >>> block[0].weight.grad.shape
    (8, 4)
    """
    if not callable(function):
        raise ModuleError(f"checkpoint takes a function or a module, not a {type(function).__name__}.{here()}")
    if not is_grad_enabled():
        return function(*args, **kwargs)
    run = _Run(function, args, kwargs, preserve_rng_state)
    structure = run.first()
    leaves = list(run.outputs)
    inexact = [at for at, one in enumerate(leaves) if isinstance(one, TensorCore) and one.array.dtype.kind in "fc"]
    if run.used and inexact:
        run.outputs = [leaves[at] for at in inexact]
        recorded = Checkpoint.apply(run, *run.used)
        for at, one in zip(inexact, recorded, strict=True):
            leaves[at] = one
    taken = iter(leaves)
    return rebuild(structure, lambda: next(taken))


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool = False,
    preserve_rng_state: bool = True,
) -> Any:
    """Modules one after the other, checkpointed in ``segments`` stretches, of which the last is kept as usual.

    With √n segments of n equal layers, memory is about 2√n layers' instead of n. Source: Chen et al. 2016, section 3.

    Args:
        functions: an `nn.Sequential`, or a list of functions of one argument.
        segments: how many stretches of about equal length.
        input: of the first.
        use_reentrant, preserve_rng_state: see `checkpoint`.

    Raises:
        ShapeError: a number of segments below 1 or above that of the functions.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(6)])
    >>> finetuning.checkpoint_sequential(model, 3, af.ones(2, 4)).shape
    (2, 4)
    """
    members = list(functions.children()) if isinstance(functions, Module) else list(functions)
    if isinstance(segments, bool) or not isinstance(segments, int) or not 1 <= segments <= len(members):
        raise ShapeError(f"{len(members)} functions cannot make {segments!r} segments.{here()}")
    size = len(members) // segments
    for start in range(0, size * (segments - 1), size):
        stretch = functools.partial(_in_turn, members[start : start + size])
        input = checkpoint(stretch, input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return _in_turn(members[size * (segments - 1) :], input)


def _in_turn(functions: Sequence[Callable[[Any], Any]], input: Any) -> Any:
    for function in functions:
        input = function(input)
    return input


class _Checkpointed(Module):
    """Put before a module's own class: its forward is checkpointed while it trains."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        own = super().forward
        return checkpoint(own, *args, **kwargs) if self.training else own(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        _, plain = type(self).__bases__
        return _restore, (plain, self.__dict__.copy())


def _restore(plain: type[Module], values: dict[str, Any]) -> Module:
    module = object.__new__(_checkpointed(plain))  # type: ignore[arg-type]
    module.__dict__.update(values)
    return module


@functools.cache
def _checkpointed(kind: type[Module]) -> type[Module]:
    return type(f"Checkpointed{kind.__name__}", (_Checkpointed, kind), {"__module__": kind.__module__})


def checkpoint_modules(model: Module, patterns: str | Iterable[str], on: bool = True) -> list[str]:
    """Checkpoint modules whose names fit, each time that they run in training mode; returns their names.

    The modules stay what they are, with their parameters and names; only their class is another one, which calls
    `checkpoint`.

    Args:
        model: that holds them.
        patterns: each of whole names: ``"encoder.layer.?"`` for the layers of a `BertModel`, ``"h.?"`` of a `GPT2Model`.
        on: False ends it.

    Raises:
        ModuleError: a pattern fits no module, or one that none calls (a ModuleList).

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    >>> finetuning.checkpoint_modules(model, "?")
    ['0', '1']
    >>> model
    Sequential(
      (0): CheckpointedLinear(in_features=4, out_features=4, bias=True)
      (1): CheckpointedLinear(in_features=4, out_features=4, bias=True)
    )
    """
    require_module(model, "checkpoint_modules")
    modules = {name: one for name, one in model.named_modules() if name}
    chosen = matching(list(modules), patterns, "module", whole=True)
    for name in chosen:
        if isinstance(modules[name], (ModuleDict, ModuleList)) or type(modules[name]).forward is Module.forward:
            raise ModuleError(
                f"{name!r} is a {type(modules[name]).__name__}, which is never called itself.{here()}\n"
                f"  Name what is in it: {name + '.?'!r}."
            )
    for name in chosen:
        module, kind = modules[name], type(modules[name])
        if on and not issubclass(kind, _Checkpointed):
            module.__class__ = _checkpointed(kind)  # type: ignore[arg-type]
        elif not on and issubclass(kind, _Checkpointed):
            module.__class__ = kind.__bases__[1]
    restructured()
    return chosen
