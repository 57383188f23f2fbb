"""What is logged: means over the batches of an epoch so far, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..engine import TensorCore, here
from ..errors import DtypeError, ShapeError

__all__ = ["RunningLogs", "RunningMeans", "logs_of", "number_of"]


class RunningMeans:
    """The mean of each named number over the samples seen.

    >>> means = RunningMeans()
    >>> means.add({"loss": 1.0}, 3)
    >>> means.add({"loss": 2.0}, 1)
    >>> means.result()
    {'loss': 1.25}
    """

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}  # of each name: value times samples, and samples

    def add(self, values: Mapping[str, Any], samples: int) -> None:
        for name, value in values.items():
            entry = self.sums.setdefault(name, [0.0, 0])
            entry[0] += float(value) * samples
            entry[1] += samples

    def result(self) -> dict[str, float]:
        return {name: total / samples for name, (total, samples) in self.sums.items()}


def logs_of(means: RunningMeans, metrics: Iterable[Any]) -> dict[str, float]:
    """The numbers by their names, the metrics' after the means."""
    return {**means.result(), **{metric.name: _value_of(metric) for metric in metrics}}


def _value_of(metric: Any) -> float:
    value = metric.result()
    if getattr(value, "ndim", 0):
        raise ShapeError(
            f"a training logs numbers, and the metric {metric.name!r} has {np.size(value)}{here()}\n"
            "  Let it average them (average='macro', say), or take it to the outputs of predict."
        )
    return float(value)


def number_of(name: str, value: Any) -> float:
    """What a step returned under a name, as a number to log.

    >>> number_of("loss", 0.5)
    0.5
    """
    try:
        return float(value.array.item() if isinstance(value, TensorCore) else value)
    except (TypeError, ValueError):
        raise DtypeError(
            f"a step returns numbers under their names (and 'outputs'); {name!r} is {value!r}{here()}"
        ) from None


class RunningLogs(Mapping[str, float]):
    """The logs of a batch, computed only if somebody looks at them.

    >>> logs = RunningLogs(lambda: {"loss": 0.5})
    >>> logs["loss"], dict(logs)
    (0.5, {'loss': 0.5})
    """

    def __init__(self, compute: Callable[[], dict[str, float]]) -> None:
        self._compute = compute
        self._values: dict[str, float] | None = None

    def _known(self) -> dict[str, float]:
        if self._values is None:
            self._values = self._compute()
        return self._values

    def __getitem__(self, name: str) -> float:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def copy(self) -> dict[str, float]:
        return dict(self._known())

    def __repr__(self) -> str:
        return repr(self._known())
