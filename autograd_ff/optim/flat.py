"""Flat buffers: parameters of one group and dtype end to end in one array, and what is kept for them likewise.

An update then runs over a few long arrays instead of many short ones. A parameter's own array is a slice of the flat
one, so nothing is copied back and forth. Parameters move there when the optimizer is made, and not at its first step:
a graph, a view or a ``detach()`` taken in between then shows the memory that the step will write.

Somebody else may give a parameter another array at any time (assigning ``p.data``, loading a state dict, a second
optimizer over the same parameter). So each step asks of every parameter whether its array is, by identity, the slice
that was placed, and moves it again if not, with its present values, to fresh memory: neither the array that it was
given nor the slice that it left is written any more, for somebody may hold them. All that move at once lie together
again, so a whole model that was loaded anew is one flat array as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from ..engine import TensorCore, apply_raw, here, restructured, touch
from ..engine.core_ops import write
from ..engine.state import LOCAL
from ..errors import DtypeError, OptimizerError, ShapeError
from ..kernels.optimizers import CHUNK_BYTES

__all__ = ["FlatBuffer", "Layout", "ParameterState", "check_apart"]

_WINDOWS = 256  # more distinct runs than this are not worth remembering


class ParameterState:
    """What an optimizer keeps for one parameter: how many steps it took, and copies of its moments by name."""

    __slots__ = ("count", "moments")

    def __init__(self, count: int = 0, moments: dict[str, np.ndarray] | None = None) -> None:
        self.count = count
        self.moments = moments or {}


class FlatBuffer:
    """Parameters of one dtype in one flat array, with flat arrays for their moments.

    `window` hands out what an update kernel works on: for a run of neighbouring parameters the slices of the flat
    arrays, under the kernels' names ("param", "scratch" and those of the moments). Gradients stay where they are.
    """

    __slots__ = (
        "_windows", "array", "bounds", "counts", "cuts", "dtype", "home", "moments", "params", "pattern", "placed", "scratch",
    )  # fmt: skip

    def __init__(self, params: Sequence[Any], dtype: np.dtype[Any]) -> None:
        self.params: list[Any] = list(params)  # None where one has moved out
        self.dtype = dtype
        self.bounds = [0]
        for param in params:
            self.bounds.append(self.bounds[-1] + param.array.size)
        total = self.bounds[-1]
        self.array = np.empty(total, dtype)
        # What is updated here, with moments as long, and where each parameter begins in it: all. A buffer may keep a part.
        self.home, self.cuts = self.array, self.bounds
        self.scratch = np.empty((2, min(total, CHUNK_BYTES // dtype.itemsize)), dtype)
        self.moments: dict[str, np.ndarray] = {}
        self.counts = [0] * len(params)  # of steps; written by `count` and `set_state` alone
        # Which neighbours have taken equally many steps: True where all have, otherwise the places where it changes.
        self.pattern: Any = True
        self._windows: dict[tuple[int, int], dict[str, np.ndarray]] = {}
        self.placed: list[np.ndarray] = []
        for position, param in enumerate(params):
            place = self.array[self.bounds[position] : self.bounds[position + 1]].reshape(param.array.shape)
            np.copyto(place, param.array)
            self.placed.append(place)
            give(param, place)

    def part(self, flat: np.ndarray, position: int) -> np.ndarray:
        """The slice of a flat array that belongs to one parameter, in its shape."""
        return flat[self.bounds[position] : self.bounds[position + 1]].reshape(self.placed[position].shape)

    def require(self, *names: str) -> None:
        """Have a flat array for each of these moments, zeros at first."""
        for name in names:
            if name not in self.moments:
                self.moments[name] = np.zeros_like(self.home)
                self._windows.clear()

    def window(self, first: int, last: int) -> dict[str, np.ndarray]:
        """The slices of all flat arrays for the parameters from ``first`` up to but without ``last``."""
        window = self._windows.get((first, last))
        if window is None:
            if len(self._windows) >= _WINDOWS:
                self._windows.clear()
            span = slice(self.cuts[first], self.cuts[last])
            window = {"param": self.home[span], "scratch": self.scratch}
            window |= {name: flat[span] for name, flat in self.moments.items()}
            self._windows[first, last] = window
        return window

    def gradients(self) -> list[np.ndarray | None]:
        """The gradient array of each parameter, None where there is none."""
        found: list[np.ndarray | None] = []
        dtype = self.dtype
        observed = LOCAL.state.observers is not None
        for param, place in zip(self.params, self.placed, strict=True):
            if observed and param is not None:
                touch(param, "read")
            gradient = None if param is None else param._grad
            if gradient is None:
                found.append(None)
                continue
            array = gradient.array
            if array.shape != place.shape or array.dtype is not dtype:
                _check_gradient(array, place)
            found.append(array)
        return found

    def runs(self, gradients: list[np.ndarray | None], by_count: bool) -> Iterator[tuple[int, int]]:
        """The longest runs of neighbours that have a gradient and, where ``by_count``, equal step counts."""
        counts, total = self.counts, len(gradients)
        if not by_count or self.pattern is True:
            for gradient in gradients:
                if gradient is None:
                    break
            else:
                yield 0, total
                return
        first = None
        for position, gradient in enumerate(gradients):
            if first is not None and (gradient is None or (by_count and counts[position] != counts[first])):
                yield first, position
                first = None
            if first is None and gradient is not None:
                first = position
        if first is not None:
            yield first, total

    def count(self, first: int, last: int) -> int:
        """Count a step of the parameters from ``first`` up to but without ``last``, which have taken equally many."""
        step = self.counts[first] + 1
        self.counts[first:last] = [step] * (last - first)
        if last - first < len(self.counts):
            self._compare_counts()
        return step

    def count_each(self, first: int, last: int) -> None:
        """Count a step of each of these parameters, whatever number it is of them."""
        self.counts[first:last] = [count + 1 for count in self.counts[first:last]]
        if last - first < len(self.counts):
            self._compare_counts()

    def _compare_counts(self) -> None:
        counts = self.counts
        self.pattern = tuple(at for at in range(1, len(counts)) if counts[at] != counts[at - 1]) or True

    def state(self, position: int) -> ParameterState:
        """A copy of what is kept for one parameter."""
        moments = {name: self.part(flat, position).copy() for name, flat in self.moments.items()}
        return ParameterState(self.counts[position], moments)

    def set_state(self, position: int, state: ParameterState) -> None:
        """Take over what was kept for one parameter elsewhere; moments that the state does not name become zero."""
        restructured()
        self.counts[position] = state.count
        self._compare_counts()
        self.require(*state.moments)
        for name, flat in self.moments.items():
            apply_raw(write, (self.part(flat, position), np.asarray(state.moments.get(name, 0.0))))


class Layout:
    """Where the parameters of one group lie."""

    __slots__ = ("buffers", "homes", "make", "params", "placed")

    def __init__(self, make: Callable[[Sequence[Any], np.dtype[Any]], FlatBuffer] = FlatBuffer) -> None:
        self.make = make
        self.params: list[Any] = []
        self.placed: list[np.ndarray] = []
        # The buffer and the position in it; None for what is not floating, which cannot have a gradient.
        self.homes: list[tuple[FlatBuffer, int] | None] = []
        self.buffers: list[FlatBuffer] = []

    def holds(self, params: Sequence[Any]) -> bool:
        """Whether these are the parameters laid out here, each on the array that was placed."""
        if len(params) != len(self.params):
            return False
        for param, known, place in zip(params, self.params, self.placed, strict=True):
            if param is not known or param.array is not place:
                return False
        return True

    def settle(self, params: Sequence[Any], kept: dict[int, tuple[Any, ParameterState]]) -> None:
        """Lay out ``params``; those that are new here, or on another array than was placed, go to fresh memory.

        ``kept`` holds the state of parameters that are in no group at the moment: those that leave enter it, those that
        come take theirs from it.
        """
        restructured()
        before = {
            id(param): (param, place, home)
            for param, place, home in zip(self.params, self.placed, self.homes, strict=True)
        }
        for param in params:
            if id(param) not in before:
                continue
            _, old_place, old_home = before[id(param)]
            steps = 0 if old_home is None else old_home[0].counts[old_home[1]]
            if steps and old_place.shape != param.array.shape:
                raise ShapeError(
                    f"a parameter of shape {old_place.shape}, after {steps} steps, was given data of shape "
                    f"{param.array.shape}, which the moments kept for it do not fit.{here()}\n"
                    "  Make a new optimizer for parameters of another shape."
                )
        moving: dict[np.dtype[Any], list[tuple[int, Any, ParameterState | None]]] = {}
        placed: list[np.ndarray] = []
        homes: list[tuple[FlatBuffer, int] | None] = []
        for at, param in enumerate(params):
            _, place, home = before.pop(id(param), (None, None, None))
            placed.append(param.array)
            if param.array is place:
                homes.append(home)
                continue
            homes.append(None)
            state = _leave(home) if home is not None else kept.pop(id(param), (None, None))[1]
            if param.array.dtype.kind == "f":
                moving.setdefault(param.array.dtype, []).append((at, param, state))
        for gone, _, home in before.values():
            if home is not None:
                state = _leave(home)
                if state.count:
                    kept[id(gone)] = (gone, state)
        for dtype, members in moving.items():
            buffer = self.make([param for _, param, _ in members], dtype)
            self.buffers.append(buffer)
            for position, (at, _, state) in enumerate(members):
                homes[at] = (buffer, position)
                placed[at] = buffer.placed[position]
                if state is not None and state.count:
                    buffer.set_state(position, state)
        self.params, self.placed, self.homes = list(params), placed, homes
        self.buffers = [one for one in self.buffers if any(param is not None for param in one.params)]


def _leave(home: tuple[FlatBuffer, int]) -> ParameterState:
    """Take a parameter out of its buffer; its slice stays empty from now on."""
    buffer, position = home
    state = buffer.state(position)
    buffer.params[position] = None
    return state


def give(param: TensorCore, array: np.ndarray) -> None:
    """Make ``array`` the memory of a parameter."""
    restructured()
    param.array = array
    param.view_of = None  # a leaf that was a view shows its base's memory no more
    if param.node is not None:
        param.node.shape, param.node.dtype = array.shape, array.dtype


def _check_gradient(gradient: np.ndarray, place: np.ndarray) -> None:
    if gradient.shape != place.shape:
        raise ShapeError(
            f"a parameter of shape {place.shape} has a gradient of shape {gradient.shape}.{here()}\n"
            "  Its data was replaced after backward(); call zero_grad() and backward() again."
        )
    if gradient.dtype != place.dtype:
        raise DtypeError(
            f"a parameter of dtype {place.dtype} has a gradient of dtype {gradient.dtype}.{here()}\n"
            "  Convert a model (model.double()) between zero_grad() and backward(), or convert the gradient."
        )


def check_apart(params: Sequence[Any]) -> None:
    """Raise where two different parameters lie on the same memory: each would move to a place of its own, silently."""
    spans = sorted((*byte_bounds(param.array), at) for at, param in enumerate(params) if param.array.size)
    reaching: list[tuple[int, int, int]] = []
    for low, high, at in spans:
        reaching = [span for span in reaching if span[1] > low]
        for _, _, other in reaching:
            if _share(params[at].array, params[other].array):
                first, second = sorted((at, other))
                raise OptimizerError(
                    f"parameters {first} and {second} are two tensors on the same memory, of shapes "
                    f"{params[first].array.shape} and {params[second].array.shape}.{here()}\n"
                    "  To tie weights use one and the same Parameter in both places: decoder.weight = encoder.weight."
                )
        reaching.append((low, high, at))


def _share(first: np.ndarray, second: np.ndarray) -> bool:
    try:
        return np.shares_memory(first, second, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return False
