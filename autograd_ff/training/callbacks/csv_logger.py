"""The numbers of each epoch as a line of a CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from typing import Any

from ...engine import warn
from ...serialization import write_atomically
from ..callback import Callback

__all__ = ["CSVLogger"]

_MISSING = "NA"


class CSVLogger(Callback):
    """Writes a line for each epoch: its number, from 0 on, and its logs in the order of their names.

    Args:
        filename: the file.
        separator: what stands between two values.
        append: add to a file that is there, instead of beginning it anew.

    A name that comes in a later epoch gets a column too; lines without it have ``NA``. A training that is resumed goes
    on in its file, behind the epochs before. Unlike Keras's, there are no columns for a validation that does not take
    place.

    Raises:
        OSError: the file cannot be written; when the training begins, and not only after its first epoch.

    >>> import os, pathlib, tempfile
    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> from autograd_ff.training.callbacks import CSVLogger
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.0))
    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> _ = trainer.fit(af.zeros(8, 2), af.zeros(8, 1), epochs=2, callbacks=[CSVLogger(path)], checks=False, verbose=0)
    >>> [line.split(",")[0] for line in pathlib.Path(path).read_text().splitlines()]
    ['epoch', '0', '1']
    """

    order = 20  # after those that add to the logs
    leader_only = True

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self._names: list[str] = []
        self._loaded = False

    def on_train_begin(self, logs: Any = None) -> None:
        rows: list[dict[str, str]] = []
        self._names = []
        if (self.append or self._loaded) and os.path.exists(self.filename):
            rows = self._read()
            if self._loaded:  # epochs that are run again
                rows = [row for row in rows if not _is_from(row["epoch"], self.trainer.epoch)]
        self._loaded = False
        self._write(rows)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        try:
            self._add({"epoch": epoch, **(logs or {})})
        except OSError as error:  # a training does not end for its log; the history has the numbers too
            warn(f"CSVLogger could not write epoch {epoch} to {self.filename}: {error}")

    def _add(self, row: dict[str, Any]) -> None:
        new = sorted(set(row) - set(self._names) - {"epoch"})
        if new:
            rows: list[dict[str, Any]] = [*self._read()] if self._names else []
            self._names += new
            self._write([*rows, row])
            return
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            self._writer(file).writerow(row)

    def _writer(self, file: Any) -> Any:
        return csv.DictWriter(
            file, ["epoch", *self._names], restval=_MISSING, delimiter=self.sep, lineterminator="\n"
        )  # fmt: skip

    def _write(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = self._writer(text)
        if self._names:
            writer.writeheader()
        writer.writerows(rows)
        folder = os.path.dirname(self.filename)
        if folder:
            os.makedirs(folder, exist_ok=True)
        write_atomically(self.filename, text.getvalue().encode("utf-8"))

    def _read(self) -> list[dict[str, str]]:
        with open(self.filename, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, delimiter=self.sep)
            self._names = [name for name in reader.fieldnames or () if name != "epoch"]
            return [row for row in reader if row.get("epoch") is not None]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loaded = True


def _is_from(text: str, epoch: int) -> bool:
    try:
        return int(text) >= epoch
    except ValueError:
        return False
