"""The exponential moving average of a model's weights."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...engine import here, host, no_grad, versions, wrap
from ...engine.subnormals import set_flush
from ...errors import DtypeError, ShapeError, StateDictError
from ...kernels.optimizers import CHUNK_BYTES
from ...nn import Module
from ..callback import Callback
from ..counts import check_counts

__all__ = ["ExponentialMovingAverage"]

_CORRECTIONS = ("warm-up", "bias", None)


class ExponentialMovingAverage(Callback):
    r"""Keeps the exponential moving average of the weights, which generalises better than the last ones do.

    After each step, with the weights ``p`` and ``n`` updates before this one::

        average = d * average + (1 - d) * p

    with, for ``correction=``

    - ``"warm-up"``: ``d = min(decay, (1 + n) / (10 + n))``, so that the first, bad weights are soon forgotten;
    - ``"bias"``: ``d = decay * (1 - decay**n) / (1 - decay**(n + 1))``: the average of the weights after each step, with
      factors that fall by ``decay`` and add up to 1, as Adam corrects its moments; the initial weights do not count;
    - ``None``: ``d = decay``.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), for averaging; Kingma and Ba,
    "Adam" (2015), section 7.2, for the exponential one and its correction.

    Args:
        model: for a loop of one's own. As a callback of `Trainer.fit` it takes the trainer's.
        decay: how much of the average an update keeps.
        correction: how to begin, see above.
        every: update after each so many batches.
        validation: as a callback, validate with the averaged weights. They are then in the model at the end of each epoch
            too, so that `EarlyStopping` and `ModelCheckpoint` keep the weights that were validated; the next epoch goes on
            with its own.
        at_end: as a callback, leave the averaged weights in the model when the training ends.
        use_buffers: average floating buffers too (running statistics, say), rather than take them as they are.

    Attributes:
        updates: how many there were.

    The weights are written in place, into the memory that the optimizer has too. A callback's `state_dict` holds both
    weights where the averaged ones are in the model. float16 is averaged in float32.

    Raises:
        ShapeError: a decay that is not from 0 up to but without 1, or another correction.

    >>> import autograd_ff as af
    >>> from autograd_ff.training.callbacks import ExponentialMovingAverage
    >>> model = af.nn.Linear(1, 1, bias=False)
    >>> optimizer = af.optim.SGD(model.parameters(), lr=1.0)
    >>> average = ExponentialMovingAverage(model, decay=0.5, correction="bias")
    >>> weights = []
    >>> for step in range(3):
    ...     optimizer.zero_grad()
    ...     model(af.ones(1, 1)).sum().backward()
    ...     optimizer.step()
    ...     average.update()
    ...     weights.append(model.weight.item())
    >>> with average.applied():
    ...     averaged = model.weight.item()
    >>> abs(averaged - (weights[0] + 2 * weights[1] + 4 * weights[2]) / 7) < 1e-6, model.weight.item() == weights[2]
    (True, True)
    """

    order = -100  # before all that look at the weights

    def __init__(
        self,
        model: Module | None = None,
        decay: float = 0.999,
        *,
        correction: str | None = "warm-up",
        every: int = 1,
        validation: bool = True,
        at_end: bool = True,
        use_buffers: bool = False,
    ) -> None:
        if model is not None and not isinstance(model, Module):
            raise DtypeError(f"model is an nn.Module, got {model!r}; give the decay by its name: decay=0.999.{here()}")
        if not 0 <= decay < 1:
            raise ShapeError(f"decay is from 0 up to but without 1, got {decay}{here()}")
        if correction not in _CORRECTIONS:
            raise ShapeError(f"correction is 'warm-up', 'bias' or None, got {correction!r}{here()}")
        check_counts(every=every)
        self.decay = decay
        self.correction = correction
        self.every = every
        self.validation = validation
        self.at_end = at_end
        self.use_buffers = use_buffers
        self.updates = 0
        self._own = model
        self._of: Any = None  # the model that the averages are of
        self._averages: dict[str, np.ndarray] = {}
        self._raw: dict[str, np.ndarray] | None = None  # the weights, while the averages are in the model
        self._batches = 0  # since the last update
        self._begin_anew()
        if model is not None:
            self._settle()

    @property
    def model(self) -> Any:
        return self.trainer.model if self._own is None else self._own

    # ---------------------------------------------------------------- a loop of one's own

    def update(self) -> None:
        """Take the present weights into the average. Call it after the optimizer's ``step``; a compiled step repeats it."""
        host(self._advance)

    def apply(self) -> None:
        """Write the averages into the model, until `restore`."""
        if self._raw is None:
            self._settle()
            self._raw = {name: tensor.array.copy() for name, tensor in self._tensors}
            self._write(self._averages)

    def restore(self) -> None:
        """Write back the weights that `apply` took out."""
        if self._raw is not None:
            raw, self._raw = self._raw, None
            self._write(raw)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A ``with`` block inside which the model has the averaged weights."""
        if self._raw is not None:  # it has them already
            yield
            return
        self.apply()
        try:
            yield
        finally:
            self.restore()

    # ---------------------------------------------------------------- as a callback

    def on_train_begin(self, logs: Any = None) -> None:
        if self._of is not None and self._of() is not self.model:  # another model than last time
            self.updates, self._averages, self._raw, self._of = 0, {}, None, None
        self._begin_anew()
        self._settle()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.restore()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        if self._batches >= self.every:
            self._batches = 0
            self.update()

    def on_test_begin(self, logs: Any = None) -> None:
        if self.validation:
            self._join()
            self.apply()

    def on_test_end(self, logs: Any = None) -> None:
        if self.validation:
            self.restore()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._join()
        if self.validation:
            self.apply()

    def on_train_end(self, logs: Any = None) -> None:
        if not self.at_end:
            self.restore()
        elif self.updates and self._tensors:  # none where the training could not begin
            self.apply()
            self._raw = None

    # ---------------------------------------------------------------- the averages

    def _join(self) -> None:
        """Of several processes take the first one's averages of buffers: running statistics are of each one's own part."""
        if self.use_buffers and not self.trainer.sharing.alone:
            names = dict(self.model.named_buffers()).keys() & self._averages.keys()
            first = self.trainer.sharing.common({name: self._averages[name] for name in sorted(names)})
            for name, average in first.items():
                self._averages[name][...] = average

    def _begin_anew(self) -> None:
        self._tensors: list[tuple[str, Any]] = []
        self._placed: list[np.ndarray] = []
        self._runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._structure = -1  # of the engine, when all this was looked up

    def _settle(self) -> None:
        """Find the runs of weights that lie end to end in memory, as an optimizer lays them; their averages lie likewise."""
        if self._structure == versions.structure:
            return
        self._structure = versions.structure
        tensors = list(self._members())
        placed = [tensor.array for _, tensor in tensors]
        same = len(placed) == len(self._placed) and all(
            one is other for one, other in zip(placed, self._placed, strict=True)
        )
        if same:
            return
        old = self._averages
        self._check_fits(tensors)
        self._tensors, self._placed, self._averages, self._runs = tensors, placed, {}, []
        for run in _runs([tensor.array for _, tensor in tensors]):
            names = [tensors[place][0] for place in run]
            arrays = [placed[place] for place in run]
            dtype = np.result_type(arrays[0].dtype, np.float32)
            flat = np.empty(sum(array.size for array in arrays), dtype)
            start = 0
            for name, array in zip(names, arrays, strict=True):
                average = flat[start : start + array.size].reshape(array.shape)
                np.copyto(average, old.get(name, array))
                self._averages[name] = average
                start += array.size
            weights = _span(arrays)
            if weights is None:  # scattered in memory: by itself, in its shape
                weights, flat = arrays[0], self._averages[names[0]]
            scratch = np.empty(min(flat.size, CHUNK_BYTES // dtype.itemsize) if flat.ndim == 1 else flat.shape, dtype)
            self._runs.append((weights, flat, scratch))
        self._of = weakref.ref(self.model)

    def _members(self) -> Iterator[tuple[str, Any]]:
        model = self.model
        yield from ((name, one) for name, one in model.named_parameters() if one.array.dtype.kind == "f")
        if self.use_buffers:
            yield from ((name, one) for name, one in model.named_buffers() if one.array.dtype.kind == "f")

    def _check_fits(self, tensors: list[tuple[str, Any]]) -> None:
        """Averages that were loaded, or taken before, are of these weights."""
        for name, tensor in tensors:
            average = self._averages.get(name)
            if average is not None and average.shape != tensor.array.shape:
                raise StateDictError(
                    f"the average of {name!r} has shape {average.shape}, the model's {tensor.array.shape}.{here()}"
                )
        known = {name for name, _ in tensors}
        if self.updates and self._averages.keys() != known:
            other = sorted(self._averages.keys() ^ known)
            raise StateDictError(f"the averages are not of this model: {', '.join(other[:5])} differ.{here()}")

    def _factor(self) -> float:
        """What the present weights count in this update, ``1 - d``."""
        n = self.updates
        if self.correction == "bias":
            return (1 - self.decay) / (1 - self.decay ** (n + 1))
        if self.correction == "warm-up":
            return 1 - min(self.decay, (1 + n) / (10 + n))
        return 1 - self.decay

    def _advance(self) -> None:
        self.restore()
        self._settle()
        factor = self._factor()
        self.updates += 1
        before = set_flush(True)  # averages of weights that became zero decay into subnormal numbers
        try:
            for weights, average, scratch in self._runs:
                if average.ndim != 1:
                    _approach(average, weights, scratch, factor)
                    continue
                for start in range(0, average.size, max(scratch.size, 1)):
                    part = slice(start, min(start + scratch.size, average.size))
                    _approach(average[part], weights[part], scratch[: part.stop - start], factor)
        finally:
            set_flush(before)

    def _write(self, values: Mapping[str, np.ndarray]) -> None:
        with no_grad():
            for name, tensor in self._tensors:
                tensor.copy_(values[name].astype(tensor.array.dtype, copy=False))

    # ---------------------------------------------------------------- state

    def __getstate__(self) -> dict[str, Any]:
        """A copy looks up anew where its model's weights lie."""
        there: dict[str, Any] = {"_of": None, "_tensors": [], "_placed": [], "_runs": [], "_structure": -1}
        return {**vars(self), **there}

    def state_dict(self) -> dict[str, Any]:
        self._settle()
        return {
            "updates": self.updates,
            "batches": self._batches,
            "average": {name: wrap(array.copy()) for name, array in self._averages.items()},
            "weights": None if self._raw is None else {name: wrap(array) for name, array in self._raw.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]
        self._batches = state["batches"]
        self._averages = {name: one.array.copy() for name, one in state["average"].items()}
        raw = state["weights"]
        self._raw = None if raw is None else {name: one.array.copy() for name, one in raw.items()}
        self._of = None
        self._begin_anew()


def _approach(average: np.ndarray, weights: np.ndarray, scratch: np.ndarray, factor: float) -> None:
    """``average += factor * (weights - average)``: exact where both are equal, unlike a sum of two products."""
    np.subtract(weights, average, out=scratch)
    np.multiply(scratch, factor, out=scratch)
    np.add(average, scratch, out=average)


def _runs(arrays: list[np.ndarray]) -> list[list[int]]:
    """The positions of the arrays, those together that lie end to end in one array, in the order of memory."""
    keys = [_place(array) for array in arrays]
    found: list[list[int]] = []
    end: tuple[int, int] | None = None  # owner, and where the last one ended
    for position in sorted(range(len(arrays)), key=lambda one: keys[one] or (0, 0)):
        key = keys[position]
        if key is not None and key == end:
            found[-1].append(position)
        else:
            found.append([position])
        end = None if key is None else (key[0], key[1] + arrays[position].nbytes)
    return found


def _place(array: np.ndarray) -> tuple[int, int] | None:
    """The flat array that this one is a slice of, and the byte where it begins; None where it is no such slice."""
    base = array.base
    if base is None or not array.size or not array.flags.c_contiguous:
        return None
    if not isinstance(base, np.ndarray) or base.ndim != 1 or base.dtype != array.dtype or not base.flags.c_contiguous:
        return None
    return id(base), _address(array) - _address(base)


def _span(arrays: list[np.ndarray]) -> np.ndarray | None:
    """One flat view of arrays that lie end to end; None of one that is not contiguous."""
    first = arrays[0]
    if len(arrays) == 1:
        return first.reshape(-1) if first.flags.c_contiguous else None
    base: Any = first.base
    start = (_address(first) - _address(base)) // first.itemsize
    return base[start : start + sum(array.size for array in arrays)]


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
