"""The record of a training: one number of each name for each epoch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..serialization import write_atomically

__all__ = ["History"]


class History(Mapping[str, list[Any]]):
    """What `Trainer.fit` returns: a mapping from names (``"loss"``, ``"val_accuracy"``) to a list with a number per epoch.

    Attributes:
        history: the same as a plain dict, as in Keras.
        epoch: the numbers of the epochs, from 0 on.
        params: what the training was asked for: ``epochs``, and ``steps``, the batches of an epoch.
        stop_reason: None where all epochs were run, else why not: ``"patience"``, ``"interrupted"``, ``"not finite"``.

    >>> history = History()
    >>> history.append(0, {"loss": 0.5, "val_loss": 0.7})
    >>> history.append(1, {"loss": 0.25, "val_loss": 0.6})
    >>> history["loss"], list(history), len(history.epoch)
    ([0.5, 0.25], ['loss', 'val_loss'], 2)
    >>> print(history.to_csv(), end="")
    epoch,loss,val_loss
    0,0.5,0.7
    1,0.25,0.6
    """

    def __init__(self) -> None:
        self._logs: list[dict[str, Any]] = []
        self.epoch: list[int] = []
        self.params: dict[str, Any] = {}
        self.stop_reason: str | None = None

    def append(self, epoch: int, logs: dict[str, Any]) -> None:
        """Add the numbers of an epoch. The dict is kept as it is: what callbacks add to it later is in the history too."""
        self.epoch.append(epoch)
        self._logs.append(logs)

    @property
    def history(self) -> dict[str, list[Any]]:
        names = dict.fromkeys(name for logs in self._logs for name in logs)
        return {name: [logs.get(name) for logs in self._logs] for name in names}

    def rows(self) -> list[dict[str, Any]]:
        """A dict for each epoch, with its number as ``"epoch"``; None stands where it has no number of a name."""
        names = list(self.history)
        return [
            {"epoch": epoch, **{name: logs.get(name) for name in names}}
            for epoch, logs in zip(self.epoch, self._logs, strict=True)
        ]

    def __getitem__(self, name: str) -> list[Any]:
        return self.history[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.history)

    def __len__(self) -> int:
        return len(self.history)

    def __repr__(self) -> str:
        last = {name: values[-1] for name, values in self.history.items()}
        numbers = ", ".join(f"{name} {_shown(value)}" for name, value in last.items())
        stopped = f", stopped: {self.stop_reason}" if self.stop_reason else ""
        return f"History({len(self.epoch)} epochs{stopped}{'; last: ' if numbers else ''}{numbers})"

    def to_pandas(self) -> Any:
        """A pandas DataFrame with the epochs as its index.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas  # type: ignore[import-untyped, unused-ignore]

        return pandas.DataFrame(self.history, index=pandas.Index(self.epoch, name="epoch"))

    def to_csv(self, path: Any = None) -> str:
        """A line for each epoch, and the names above them; also written to ``path`` where one is given."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *self.history], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return _written(text.getvalue(), path)

    def to_json(self, path: Any = None) -> str:
        """A list with an object for each epoch; also written to ``path`` where one is given."""
        return _written(json.dumps(self.rows(), indent=2, default=_plain) + "\n", path)

    def plot(self, path: Any = None, title: str = "training", *, metrics: Sequence[str] | None = None) -> Any:
        """The curves of all metrics, or of those named, as a matplotlib figure; also written to ``path`` where one is given.

        Needs the extra ``plot``.
        """
        from visualize.charts.curves import plot_history

        return plot_history([{**row, "epoch": row["epoch"] + 1} for row in self.rows()], path, title, metrics=metrics)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": list(self.epoch), "logs": [dict(logs) for logs in self._logs]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        rows = [(epoch, dict(logs)) for epoch, logs in zip(state["epoch"], state["logs"], strict=True)]
        self.epoch, self._logs = [epoch for epoch, _ in rows], [logs for _, logs in rows]


def _plain(value: Any) -> Any:
    """What callbacks put into logs beside Python's numbers: NumPy's, and Tensors."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)


def _written(text: str, path: Any) -> str:
    if path is not None:
        write_atomically(path, text.encode("utf-8"))
    return text
