"""Means over the batches of an epoch so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["RunningLogs", "RunningMeans"]


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
