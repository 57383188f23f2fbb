"""What each thread carries with it: the grad mode, the current scope, and who is observing.

All three sit in one object behind one thread-local, so that an op looks them up once.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .site import Site, calling_code, in_package, resolve

if TYPE_CHECKING:
    from .node import Node
    from .op import Op

__all__ = [
    "Observer", "Scope", "condition", "constant", "depend", "enable_grad", "host", "is_grad_enabled", "is_observed", "no_grad", "observe", "scope",
    "set_grad_enabled", "touch",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


class Scope:
    """A named stretch of a computation: a module's forward, a composite op, the backward of an op.

    It holds the module's qualified name and the site of the call as plain names, never the module, so that a graph
    keeps no module alive.
    """

    __slots__ = ("code", "kind", "name", "offset", "parent", "type")

    def __init__(
        self, kind: str, name: str, type: str, code: CodeType | None, offset: int, parent: Scope | None
    ) -> None:
        self.kind = kind  # "module", "composite", "function" (a user's) or "backward"
        self.name = name  # qualified: "encoder.layer.0"
        self.type = type  # the class or op name: "Linear"
        self.code = code
        self.offset = offset
        self.parent = parent

    def chain(self) -> list[Scope]:
        """This scope and those around it, outermost first."""
        found: list[Scope] = []
        current: Scope | None = self
        while current is not None:
            found.append(current)
            current = current.parent
        return found[::-1]

    def __repr__(self) -> str:
        return f"Scope({self.kind} {self.name!r})"


def user_site(code: CodeType | None, offset: int, scope: Scope | None) -> Site | None:
    """The innermost site outside autograd_ff among an op's own and those of the scopes around it."""
    while code is None or in_package(code):
        if scope is None:
            return None
        code, offset, scope = scope.code, scope.offset, scope.parent
    return resolve(code, offset)


class Observer:
    """Sees what the engine does, while installed by `observe`. Override what is of interest.

    Pictures, NaN detection, checking and capture are observers. ``traces_backward = True`` makes the backward pass run
    its rules on Tensors, so that `op` sees every primitive of the backward pass too.
    """

    traces_backward = False

    def op(self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Node | None,
           scope: Scope | None) -> None:  # fmt: skip
        """After an op ran, recorded or not. Inputs and outputs are arrays or Python scalars."""

    def backward(self, node: Node, gradient: Any, input_gradients: list[Any]) -> None:
        """After the backward pass went through a node."""

    def read(self, tensor: Any, how: str) -> None:
        """Before a value leaves the graph: ``bool``, ``item``, ``index``, ``numpy`` for Python; ``detach``, ``data``."""

    def takes(self, op: Op, inputs: tuple[Any, ...]) -> None:
        """Before an op of Tensors: what it was given, Tensors as such, for those who must know whose an array is."""

    def enter(self, scope: Scope) -> None:
        """Before a module's forward runs, whose scope this is."""

    def condition(self, question: Callable[..., Any], array: Any, arguments: tuple[Any, ...], answer: Any) -> None:
        """After a declared question about the numbers of an array (see `condition`)."""

    def touch(self, tensor: Any, how: str) -> None:
        """Before the ``.grad`` of a tensor is used: ``read``, ``write``."""

    def constant(self, array: Any) -> None:
        """An array whose values follow from shapes and dtypes alone was made outside of the ops."""

    def host(self, action: Callable[..., Any], arguments: tuple[Any, ...], result: Any) -> None:
        """After a declared action of Python's own (see `host`)."""

    def depend(self, question: Callable[..., Any], arguments: tuple[Any, ...], answer: Any) -> None:
        """After a declared question on whose answer the course of the computation depends (see `depend`)."""


class ThreadState:
    __slots__ = ("ending", "grad_enabled", "observers", "scope")

    def __init__(self) -> None:
        self.grad_enabled = True
        self.scope: Scope | None = None
        self.observers: tuple[Observer, ...] | None = None  # None, not empty: one identity test tells
        self.ending: list[Callable[[], None]] | None = None  # what is done when the backward pass that runs is over


class _Local(threading.local):
    def __init__(self) -> None:
        self.state = ThreadState()


LOCAL = _Local()


def is_grad_enabled() -> bool:
    """Whether this thread records operations.

    >>> import autograd_ff as af
    >>> with af.no_grad():
    ...     af.is_grad_enabled()
    False
    """
    return LOCAL.state.grad_enabled


class _GradMode:
    """Sets the grad mode of this thread inside a ``with`` block or a decorated function."""

    _mode = True

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        state = LOCAL.state
        self._previous.append(state.grad_enabled)
        state.grad_enabled = self._mode

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        LOCAL.state.grad_enabled = self._previous.pop()

    def _again(self) -> _GradMode:
        return type(self)()

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
                # The mode holds while the generator runs, not while its consumer does.
                inner = function(*args, **kwargs)
                resume, given = inner.send, None
                try:
                    while True:
                        with self._again():
                            try:
                                item = resume(given)
                            except StopIteration as stop:
                                return stop.value
                        try:
                            resume, given = inner.send, (yield item)
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            resume, given = inner.throw, error
                finally:
                    with self._again():
                        inner.close()

            return generator  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


class _FixedMode(_GradMode):
    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        if callable(function):  # used as a decorator without parentheses: ``@no_grad``
            return cls()(function)
        return super().__new__(cls)


class no_grad(_FixedMode):
    """Context manager and decorator: operations inside are not recorded.

    >>> import autograd_ff as af
    >>> x = af.ones(2, requires_grad=True)
    >>> with af.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    _mode = False


class enable_grad(_FixedMode):
    """Context manager and decorator: operations inside are recorded, also within `no_grad`.

    >>> import autograd_ff as af
    >>> x = af.ones(2, requires_grad=True)
    >>> with af.no_grad(), af.enable_grad():
    ...     (x * 2).requires_grad
    True
    """

    _mode = True


class set_grad_enabled(_GradMode):
    """Sets the grad mode at once, and restores it where used as a context manager.

    >>> import autograd_ff as af
    >>> with af.set_grad_enabled(False):
    ...     af.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._mode = bool(mode)
        self._before = LOCAL.state.grad_enabled
        LOCAL.state.grad_enabled = self._mode

    def __enter__(self) -> None:
        self._previous.append(self._before)
        LOCAL.state.grad_enabled = self._mode

    def _again(self) -> set_grad_enabled:
        return set_grad_enabled(self._mode)

    def __call__(self, function: F) -> F:
        LOCAL.state.grad_enabled = self._before  # as a decorator it must not change the mode where it stands
        return super().__call__(function)


@contextmanager
def observe(observer: Observer) -> Iterator[Observer]:
    """Let ``observer`` see everything that this thread does inside the ``with`` block."""
    state = LOCAL.state
    before = state.observers
    state.observers = (*(before or ()), observer)
    try:
        yield observer
    finally:
        state.observers = before


# ---------------------------------------------------------------- what a computation does beside its ops


def is_observed() -> bool:
    """Whether anybody observes what this thread does."""
    return LOCAL.state.observers is not None


def touch(tensor: Any, how: str) -> None:
    """Tell observers that the ``.grad`` of a tensor is about to be used: ``read`` or ``write``."""
    observers = LOCAL.state.observers
    if observers is not None:
        for observer in observers:
            observer.touch(tensor, how)


def constant(array: R) -> R:
    """Declare that an array made outside of the ops follows from shapes and dtypes alone; returns it."""
    for observer in LOCAL.state.observers or ():
        observer.constant(array)
    return array


def host(action: Callable[..., R], *arguments: Any) -> R:
    """Do something of Python's own that belongs to a step: count it, look up the learning rate, move a schedule on.

    Whoever replays a recorded step does it again at this place. A dict that it returns may be the ``params`` of ops,
    whose numbers are then those of each replay. The action runs no ops.
    """
    result = action(*arguments)
    for observer in LOCAL.state.observers or ():
        observer.host(action, arguments, result)
    return result


def depend(question: Callable[..., R], *arguments: Any) -> R:
    """The answer to a question that decides which ops follow: an optimizer's options, which parameters it holds.

    Whoever replays a recorded step asks first, and replays only where the answer is equal.
    """
    answer = question(*arguments)
    for observer in LOCAL.state.observers or ():
        observer.depend(question, arguments, answer)
    return answer


def condition(question: Callable[..., R], array: Any, *arguments: Any) -> R:
    """The answer to a question about numbers on which the course of a computation depends: are all indices in range?

    Whoever replays a recorded step asks it of the new numbers, and replays only where the answer is equal.
    """
    answer = question(array, *arguments)
    for observer in LOCAL.state.observers or ():
        observer.condition(question, array, arguments, answer)
    return answer


class scope:
    """Put the ops recorded inside the ``with`` block under a name, called from the user's innermost line."""

    # A class, not a generator function: contextlib's own frame would pass for the user's, and it would cost more.
    __slots__ = ("_before", "_kind", "_name", "_state", "_type")

    def __init__(self, kind: str, name: str, type: str) -> None:
        self._kind = kind
        self._name = name
        self._type = type

    def __enter__(self) -> None:
        state = self._state = LOCAL.state
        code, offset = calling_code() or (None, 0)
        before = self._before = state.scope
        state.scope = Scope(self._kind, self._name, self._type, code, offset, before)

    def __exit__(self, *error: object) -> None:
        self._state.scope = self._before
