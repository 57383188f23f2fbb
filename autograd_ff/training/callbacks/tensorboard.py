"""Event files for TensorBoard."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...engine import here
from ...errors import ShapeError
from ..callback import Callback
from ..counts import check_counts

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Writes the numbers of a training where TensorBoard shows them: ``tensorboard --logdir logs``.

    The training's go to ``log_dir/train``, the validation's to ``log_dir/validation``, both as ``epoch_loss``,
    ``epoch_accuracy`` and so on, so that TensorBoard draws them into one picture, as with Keras. Needs the extra
    ``tensorboard``, which is tensorboardX; TensorBoard itself is not needed for writing.

    Args:
        log_dir: the folder; one for each run.
        histogram_freq: the histograms of all parameters after each so many epochs; 0 for none.
        write_graph: the tree of the modules, with the shapes of their parameters, under "Text".
        write_images: where histograms are written, weights of two dimensions as pictures too.
        write_steps_per_second: training steps a second, of each epoch.
        update_freq: ``"epoch"``; or after how many batches (``"batch"`` is 1) to write the means of the epoch so far, as
            ``batch_loss`` and so on, too.
        profile_batch, embeddings_freq, embeddings_metadata: Keras's, of which only the defaults are taken.

    A training that is resumed goes on in the same folder; the numbers of epochs that are run again are no longer shown.

    Raises:
        ImportError: tensorboardX is missing.
        ShapeError: an `update_freq` that is neither, or something that is not offered.

    >>> from autograd_ff.training.callbacks import TensorBoard
    >>> board = TensorBoard("logs/first", histogram_freq=1)  # doctest: +SKIP
    >>> trainer.fit(x, y, epochs=5, callbacks=[board])  # doctest: +SKIP
    """

    order = 20  # after those that add to the logs
    leader_only = True

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        if importlib.util.find_spec("tensorboardX") is None:
            raise ImportError(f'TensorBoard needs tensorboardX: pip install "autograd_ff[tensorboard]"{here()}')
        frequency = 1 if update_freq == "batch" else update_freq
        if frequency != "epoch":
            check_counts(", 'epoch' or 'batch'", update_freq=frequency)
        if profile_batch or embeddings_freq:
            what = "profile_batch" if profile_batch else "embeddings_freq"
            raise ShapeError(f"{what} is not offered; leave it at 0{here()}")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = frequency
        self._writers: dict[str, Any] = {}
        self._step = 0  # batches since the training began
        self._since = (0, 0.0)  # steps and time when the epoch began
        self._loaded = False

    def _writer(self, part: str) -> Any:
        if part not in self._writers:
            from tensorboardX import SummaryWriter

            options: dict[str, Any] = {}
            if self._loaded:
                # Files are named by the second, which may be the same.
                options["filename_suffix"] = f".{self.trainer.epoch}"
                # Else steps that count epochs would be compared with steps that count batches.
                if self.update_freq == "epoch":
                    options["purge_step"] = self.trainer.epoch
            self._writers[part] = SummaryWriter(os.path.join(self.log_dir, part), **options)
        return self._writers[part]

    def on_train_begin(self, logs: Any = None) -> None:
        if not self._loaded:
            self._step = 0
        self._since = (self._step, time.perf_counter())
        if self.write_graph and not self._loaded:
            lines = [str(self.model), "", *(f"{name}  {one.shape}" for name, one in self.model.named_parameters())]
            self._writer("train").add_text("model", "\n".join(f"    {line}" for line in "\n".join(lines).splitlines()))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._since = (self._step, time.perf_counter())

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step += 1
        if self.update_freq != "epoch" and self._step % int(self.update_freq) == 0:
            self._scalars("train", "batch_", logs or {}, self._step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = dict(logs or {})
        trained = {name: value for name, value in logs.items() if not name.startswith("val_")}
        validated = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        if self.trainer.optimizer is not None:
            trained.setdefault("learning_rate", self.trainer.learning_rate)
        if self.write_steps_per_second:
            steps, began = self._since
            trained["steps_per_second"] = (self._step - steps) / max(time.perf_counter() - began, 1e-9)
        self._scalars("train", "epoch_", trained, epoch)
        if validated:
            self._scalars("validation", "epoch_", validated, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._weights(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        self._loaded = False

    def _scalars(self, part: str, prefix: str, values: Mapping[str, Any], step: int) -> None:
        writer = self._writer(part)
        for name, value in values.items():
            if isinstance(value, (int, float, np.number)):
                writer.add_scalar(prefix + name, float(value), step)

    def _weights(self, epoch: int) -> None:
        writer = self._writer("train")
        for name, parameter in self.model.named_parameters():
            array = parameter.array
            if not np.isfinite(array).all() or not array.size:
                continue  # has no histogram
            tag = name.replace(".", "/")
            writer.add_histogram(f"{tag}/histogram", array, epoch)
            if self.write_images and array.ndim == 2:
                low, high = float(array.min()), float(array.max())
                picture = (array - low) / (high - low) if high > low else np.zeros_like(array)
                writer.add_image(f"{tag}/image", picture.astype(np.float32), epoch, dataformats="HW")

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._step = state["step"]
        self._loaded = True
