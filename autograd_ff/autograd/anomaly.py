"""Finding the first operation that made a NaN or an infinity."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np

from ..engine import Node, Observer, Op, Scope, here, observe
from ..engine.dispatch import describe
from ..engine.site import at
from ..errors import AnomalyError

__all__ = ["detect_anomaly"]


def _first_bad(array: Any) -> tuple[Any, ...] | None:
    """The index of the first NaN or infinity; None where there is none."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return tuple(int(one) for one in np.argwhere(~np.isfinite(array))[0])


def _plain(value: Any) -> Any:
    return getattr(value, "array", value)


class detect_anomaly(Observer):
    """Context manager: raise at the first op that makes a NaN or an infinity out of finite inputs.

    Forward or backward, the error names the op, the element, its inputs there and the line of the user's code. Arrays
    that the graph saved are read-only while it waits for its backward pass, so that a write by NumPy itself
    (``t.numpy()[...] = …``), which the engine cannot see, raises where it happens.

    Args:
        check_nan: look at values; without it only the saved arrays are protected.
        allow_infinity: stop at NaN only.

    >>> import autograd_ff as af
    >>> x = af.tensor([1.0, 0.0], requires_grad=True)
    >>> with af.autograd.detect_anomaly():
    ...     y = af.log(x)
    Traceback (most recent call last):
        ...
    autograd_ff.errors.AnomalyError: log made -inf at index (1,) of its output, float32 (2,)...
    """

    def __init__(self, check_nan: bool = True, allow_infinity: bool = False) -> None:
        self.check_nan = check_nan
        self.allow_infinity = allow_infinity
        self._protected: dict[int, tuple[np.ndarray, int]] = {}
        self._observing: list[ExitStack] = []

    def __enter__(self) -> detect_anomaly:
        context = ExitStack()
        context.enter_context(np.errstate(all="ignore"))  # NumPy's warnings would say less, and not where
        context.enter_context(observe(self))
        self._observing.append(context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observing.pop().close()
        if not self._observing:
            for array, _ in self._protected.values():
                array.flags.writeable = True
            self._protected.clear()

    def op(
        self,
        op: Op,
        inputs: list[Any],
        params: dict[str, Any],
        outputs: tuple[Any, ...],
        node: Node | None,
        scope: Scope | None,
    ) -> None:
        if self.check_nan:
            for position, output in enumerate(outputs[: op.outputs]):
                bad = self._bad(output)
                if bad is not None and not any(self._bad(one) is not None for one in inputs):
                    which = "its output" if op.outputs == 1 else f"its output {position}"
                    raise AnomalyError(
                        f"{op.name} made {output[bad]} at index {bad} of {which}, {describe(output)}, from finite "
                        f"inputs{_inputs_at(inputs, bad, output.shape)}.{here()}"
                    )
        if node is not None and node.saved is not None:
            for value in node.saved:
                if isinstance(value, np.ndarray):
                    self._protect(value)

    def backward(self, node: Node, gradient: Any, input_gradients: list[Any]) -> None:
        for value in node.saved or ():
            if isinstance(value, np.ndarray):
                self._release(value)
        upstream = gradient if isinstance(gradient, (list, tuple)) else (gradient,)
        if not self.check_nan or any(self._bad(_plain(one)) is not None for one in upstream):
            return
        for position, value in enumerate(input_gradients):
            array = _plain(value)
            bad = self._bad(array)
            if bad is not None:
                advice = ""
                if any(parent is not None and parent.op.name == "where" for parent in node.parents) or any(
                    _masked(one) for one in upstream
                ):
                    advice = (
                        "\n  If a where() hides this element, its branch is still differentiated: use "
                        "where(mask, f, g, x), which evaluates each branch on its own elements only."
                    )
                raise AnomalyError(
                    f"the derivative of {node.op.name} made {array[bad]} at index {bad} of the gradient of its "
                    f"{node.op.saved_name(position)}, {describe(array)}, from a finite upstream gradient."
                    f"{at(node.site)}{advice}"
                )

    def _bad(self, array: Any) -> tuple[Any, ...] | None:
        bad = _first_bad(array)
        if bad is not None and self.allow_infinity:
            return _first_bad(np.where(np.isinf(array), 0, array))
        return bad

    def _protect(self, array: np.ndarray) -> None:
        held = self._protected.get(id(array))
        if held is not None:
            self._protected[id(array)] = (array, held[1] + 1)
        elif array.flags.writeable:
            array.flags.writeable = False
            self._protected[id(array)] = (array, 1)

    def _release(self, array: np.ndarray) -> None:
        held = self._protected.get(id(array))
        if held is None:
            return
        if held[1] > 1:
            self._protected[id(array)] = (array, held[1] - 1)
        else:
            del self._protected[id(array)]
            array.flags.writeable = True


def _masked(gradient: Any) -> bool:
    """Whether an upstream gradient has the zeros that a where() leaves for the branch that was not taken."""
    array = _plain(gradient)
    return isinstance(array, np.ndarray) and array.size > 0 and bool((array == 0).any())


def _inputs_at(inputs: list[Any], index: tuple[Any, ...], shape: tuple[int, ...]) -> str:
    """The elements of the inputs that met at an output's index, where they broadcast to it."""
    shown = []
    for value in inputs:
        try:
            shown.append(str(np.broadcast_to(np.asarray(value), shape)[index]))
        except ValueError:
            return ""
    return f" ({', '.join(shown)})" if shown else ""
