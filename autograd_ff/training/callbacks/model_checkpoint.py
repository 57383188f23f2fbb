"""Files of the model, or of the whole training, as it goes on."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from ...engine import here, warn
from ...errors import ShapeError
from ...serialization import check_writable, save
from ..counts import check_counts
from ..holdings import optimizers_of
from .monitor import Monitor
from .surroundings import announce

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(Monitor):
    """Writes a file after each epoch, after a number of batches, or where a number has become better.

    Args:
        filepath: where to; ``{epoch}`` (from 1 on), ``{batch}`` and the names of logged numbers are filled in, formatted as
            ``{epoch:02d}-{val_loss:.2f}`` asks for. Folders that are not there are made.
        monitor: the number that says which model is best.
        verbose: 1 to say what is written.
        save_best_only: write only where the number is better than ever before.
        save_weights_only: write ``model.state_dict()``, for ``model.load_state_dict(autograd_ff.load(path))``. Otherwise the
            whole training, which ``trainer.fit(…, resume=path)`` goes on from.
        mode: ``"min"``, ``"max"``, or ``"auto"`` to tell by the name.
        save_freq: ``"epoch"``, or after how many batches; the numbers are then those of the epoch so far.
        initial_value_threshold: what the number has to beat at first.
        keep: how many files to keep: the best, or, where the number is not logged, the latest. Others that this callback
            wrote are deleted, each after the one that takes its place is written. None keeps all.

    Attributes:
        kept: the files that it wrote and did not delete, with their numbers (None where there was none), the oldest first.
        best: the best value so far.

    Every file is written atomically: a crash or a full disk leaves what was there. A file that cannot be written is a
    warning, not the end of the training; a folder that cannot be is an error, when the training begins.

    Raises:
        ShapeError: `save_freq` or `keep` is no positive integer; `filepath` names a number that is not logged.
        OSError: the folder cannot be made or written to.

    >>> import os, tempfile
    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> from autograd_ff.training.callbacks import ModelCheckpoint
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.1))
    >>> folder = tempfile.mkdtemp()
    >>> files = ModelCheckpoint(os.path.join(folder, "{epoch}.safetensors"), monitor="loss", keep=2)
    >>> _ = trainer.fit(af.ones(8, 2), af.zeros(8, 1), epochs=4, callbacks=[files], checks=False, verbose=0)
    >>> sorted(os.listdir(folder))
    ['3.safetensors', '4.safetensors']
    """

    order = 50  # last, for the whole training includes what the others are to know of this epoch
    purpose = "tell which model is best, and writes each"

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        *,
        keep: int | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if save_freq != "epoch":
            check_counts(" or 'epoch'", save_freq=save_freq)
        check_counts(keep=keep)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self.initial_value_threshold = initial_value_threshold
        self.keep = keep
        self.reset()

    def reset(self) -> None:
        self.best = self.initial_value_threshold
        self.kept: list[tuple[str, float | None]] = []
        self._batches = 0  # since the last file
        self._failed = 0

    def watches(self) -> bool:
        return self.save_best_only or self.keep is not None

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        folder = os.path.dirname(self.filepath)
        if "{" not in folder and (failure := self.trainer.sharing.attempt(lambda: self._prepare(folder))):
            raise failure

    def _prepare(self, folder: str) -> None:
        os.makedirs(folder or os.curdir, exist_ok=True)
        check_writable(self.filepath)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.save_freq != "epoch":
            self._batches += 1
            if self._batches >= int(self.save_freq) and self.trainer.part.last:  # an accumulated step is over
                self._batches = 0
                self._consider(self.trainer.epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._consider(epoch, None, logs)

    def on_train_end(self, logs: Any = None) -> None:
        super().on_train_end(logs)
        if self._failed and self.trainer.sharing.leads:
            last = f"the last that was is {self.kept[-1][0]}" if self.kept else "none was"
            warn(f"{type(self).__name__}: {self._failed} of its files could not be written; {last}.")

    def _consider(self, epoch: int, batch: int | None, logs: Mapping[str, Any] | None) -> None:
        current = self.current(logs) if self.watches() else None
        better = current is not None and self.is_improvement(current, self.best)
        if self.save_best_only and current is not None and not better:
            self._say(epoch, f"{self.monitor} {current:.5g} is no better than {_shown(self.best)}")
            return
        path = self._path(epoch, batch, logs)
        kept = [entry for entry in self.kept if entry[0] != path]
        kept.append((path, current))
        dropped = [] if self.keep is None else self._surplus(kept)
        before = self.kept, self.best
        # Noted before it is written, since the file may hold this callback's own state.
        self.kept = [entry for entry in kept if entry not in dropped]
        if better:
            self.best = current
        if (path, current) not in dropped:
            if not self.save_weights_only:
                self.trainer.sharing.consolidate(optimizers_of(self.trainer))
            failure = self.trainer.sharing.attempt(lambda: self._write(path))
            if failure is not None:
                self.kept, self.best = before
                self._failed += 1
                if self.trainer.sharing.leads:
                    warn(f"{type(self).__name__} could not write {path}: {failure}. The training goes on.")
                return
            self._say(epoch, f"{self.monitor} {current:.5g}, wrote {path}" if better else f"wrote {path}")
        for old, _ in dropped:
            if old != path and self.trainer.sharing.leads:
                self._delete(old)

    def _write(self, path: str) -> None:
        os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
        self.write(path)

    def write(self, path: str) -> None:
        """Write the file; of several processes the first alone does. A subclass may write another kind."""
        if self.save_weights_only:
            save(self.model.state_dict(), path)
        else:
            self.trainer.save(path)

    def _surplus(self, kept: list[tuple[str, float | None]]) -> list[tuple[str, float | None]]:
        """What is too much: the worst, and of equals the latest; where numbers are missing, the oldest."""
        count = len(kept) - (self.keep or 0)
        if count <= 0:
            return []
        if any(value is None for _, value in kept):
            return kept[:count]
        sign = self.direction()

        def badness(place: int) -> tuple[bool, float, int]:
            value = kept[place][1]
            assert value is not None
            return (math.isnan(value), 0.0 if math.isnan(value) else -sign * value, place)

        return [kept[place] for place in sorted(range(len(kept)), key=badness)[-count:]]

    def _path(self, epoch: int, batch: int | None, logs: Mapping[str, Any] | None) -> str:
        known = {**(logs or {}), "epoch": epoch + 1}
        if batch is not None:
            known["batch"] = batch + 1
        try:
            return self.filepath.format(**known)
        except (KeyError, IndexError, ValueError) as error:
            raise ShapeError(
                f"filepath {self.filepath!r} cannot be filled in: {error}. There are {', '.join(map(repr, known))}.{here()}"
            ) from error

    def _delete(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # somebody moved it away
        except OSError as error:
            warn(f"{type(self).__name__} could not delete {path}: {error}")

    def _say(self, epoch: int, text: str) -> None:
        if self.verbose:
            announce(f"Epoch {epoch + 1}: {text}")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "kept": [list(entry) for entry in self.kept], "batches": self._batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]
        self.kept = [(path, value) for path, value in state["kept"]]
        self._batches = state["batches"]
        self._loaded = True


def _shown(value: float | None) -> str:
    return "any" if value is None else f"{value:.5g}"
