"""What every metric can do: take in a batch, give its value, start over, be saved."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np

from ...engine import TensorCore, here
from ...errors import StateDictError
from .variable import Variable

__all__ = ["Metric"]


KEPT = (int, float, np.ndarray, Variable)


class Metric:
    """A value over all samples seen since the last reset.

    Args:
        name: under which it is logged; by default the class's name in snake case.
        dtype: accepted as Keras does, and without effect: sums are float64.

    A metric of your own defines `update_state`, `result` and `reset_state`. Its numbers and arrays among its attributes
    are its state, which a checkpoint keeps; name them in the class attribute ``state`` to keep only those. The class
    attribute ``direction`` says what is better: ``"up"``, ``"down"``, or None where nobody knows.

    >>> import numpy as np
    >>> class Largest(Metric):
    ...     direction = "up"
    ...     def __init__(self, name=None):
    ...         super().__init__(name)
    ...         self.reset_state()
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.value = max(self.value, float(np.max(y_pred)))
    ...     def result(self):
    ...         return self.value
    ...     def reset_state(self):
    ...         self.value = float("-inf")
    >>> largest = Largest()
    >>> largest.update_state([0, 1], [0.25, 0.75])
    >>> largest.name, largest.result(), largest.state_dict()
    ('largest', 0.75, {'value': 0.75})
    """

    direction: ClassVar[str | None] = None
    state: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        self.name = snake_case(type(self).__name__) if name is None else name

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take in a batch: ``update_state(y_true, y_pred, sample_weight=None)``, arrays or Tensors."""
        raise NotImplementedError(f"{type(self).__name__} does not define update_state(y_true, y_pred, sample_weight)")

    def result(self) -> Any:
        """The value over what was taken in so far: a float, or an array where there are several."""
        raise NotImplementedError(f"{type(self).__name__} does not define result()")

    def reset_state(self) -> None:
        """Forget what was taken in. By itself, what `add_weight` made becomes 0."""
        variables = [value for value in vars(self).values() if isinstance(value, Variable)]
        if not variables:
            raise NotImplementedError(f"{type(self).__name__} does not define reset_state()")
        for variable in variables:
            variable.assign(0.0)

    def add_weight(self, shape: Any = (), initializer: Any = "zeros", dtype: Any = None, name: Any = None) -> Variable:
        """A tensor to count in, as Keras's metrics do; to be assigned to an attribute.

        Args:
            shape: of the tensor.
            initializer: ``"zeros"``, ``"ones"``, or a function of the shape.
            dtype, name: accepted as Keras does, and without effect: sums are float64.

        >>> class Seen(Metric):
        ...     def __init__(self, name="seen"):
        ...         super().__init__(name)
        ...         self.count = self.add_weight(name="count", initializer="zeros")
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.count.assign_add(len(y_true))
        ...     def result(self):
        ...         return self.count
        >>> seen = Seen()
        >>> float(seen([0, 1], [0.2, 0.8])), float(seen([0], [0.1]))
        (2.0, 3.0)
        """
        make = {"zeros": np.zeros, "ones": np.ones}.get(initializer, initializer)
        values = make(shape)
        return Variable(values.array if isinstance(values, TensorCore) else values)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take in a batch, and give the value over all that was taken in so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def state_dict(self) -> dict[str, Any]:
        """What was taken in so far, as numbers and arrays."""
        if self.state is None:
            values = vars(self).items()
            return {name: _copy(value) for name, value in values if isinstance(value, KEPT)}
        return {name: _copy(getattr(self, name)) for name in self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the metric stood that `state` was taken from.

        Raises:
            StateDictError: the state is of another kind of metric.
        """
        self.expect_keys(state, self.state_dict())
        for name, value in state.items():
            current = getattr(self, name)
            if isinstance(current, Variable):
                current.assign(value)
            else:
                setattr(self, name, _copy(value))

    def expect_keys(self, state: dict[str, Any], own: Any) -> None:
        if set(state) != set(own):
            raise StateDictError(
                f"the state of the metric {self.name!r} has the keys {sorted(own)}, and this one has "
                f"{sorted(state)}: it was saved by another kind of metric{here()}"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


def _copy(value: Any) -> Any:
    if isinstance(value, TensorCore):
        value = value.array
    return value.copy() if isinstance(value, np.ndarray) else value


def snake_case(name: str) -> str:
    """A class's name in small letters, with an underscore before each word, as Keras writes it.

    >>> [snake_case(name) for name in ("MeanSquaredError", "AUC", "R2Score", "ReLU")]
    ['mean_squared_error', 'auc', 'r2_score', 're_lu']
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
