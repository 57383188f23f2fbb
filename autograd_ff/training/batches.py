"""From whatever a user trains on to batches of (inputs, targets, weights)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data import DataLoader, IterableDataset, TensorDataset
from ..engine import TensorCore, get_default_dtype, here, wrap
from ..errors import DtypeError, ShapeError
from .randomness import Randomness, generators_in

__all__ = [
    "Batch",
    "Batches",
    "batches_of",
    "holds_arrays",
    "is_dataset",
    "is_numbers",
    "leaves",
    "parts_of",
    "rebuilt",
]


class Batch(NamedTuple):
    """One batch: what the model is given, what it should give, and what each sample counts."""

    inputs: Any  # a Tensor; a tuple or dict of them for a model with several arguments
    targets: Any = None
    weights: Any = None  # None, or a Tensor with a number for each sample

    @property
    def size(self) -> int:
        """The number of samples."""
        first = self.inputs
        while isinstance(first, (Mapping, tuple, list)):
            first = next(iter(leaves(first)), None)
        if not getattr(first, "shape", ()):
            raise ShapeError(
                f"a batch has its samples along the first dimension of its inputs, got {self.inputs!r}{here()}"
            )
        return int(first.shape[0])


class Batches:
    """The batches of an epoch, as often as there are epochs.

    Args:
        source: gives an iterable with the batches of one epoch at each call.
        count: batches of an epoch, or None where nobody knows.
        generators: of random numbers, besides the default one, that decide the order.
        streams: passes may be one and the same stream, so that none is begun in vain.
        once: the source is one pass that cannot be begun again.

    Attributes:
        began: the state of the randomness when the last epoch began, before anything was drawn for it.
    """

    def __init__(
        self,
        source: Callable[[], Iterable[Any]],
        count: int | None = None,
        *,
        unpack: Callable[[Any], Batch] | None = None,
        generators: Sequence[Any] = (),
        streams: bool = False,
        once: bool = False,
    ) -> None:
        self._source = source
        self._unpack = unpack or unpacked
        self._streams = streams or once
        self._once = once
        self._pass: Iterator[Any] | None = None  # the only one there is
        self._ahead: tuple[list[Any], Iterator[Any]] | None = None  # an epoch that was looked into, and its randomness
        self.began: list[Any] = []
        self.count = count
        self.randomness = Randomness(generators)

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch. The order is drawn here and now."""
        self.began, batches = self._ahead or (self.randomness.state(), self._begin())
        self._ahead = None
        return map(self._unpack, batches)

    def _begin(self) -> Iterator[Any]:
        if not self._once:
            return iter(self._source())
        if self._pass is None:
            self._pass = iter(self._source())
        return self._pass

    def first(self) -> Batch | None:
        """The first batch of the next epoch, which will have it all the same; None where there is none."""
        if self._streams:
            began, batches = self._ahead or (self.randomness.state(), self._begin())
            found = list(itertools.islice(batches, 1))
            batches = itertools.chain(found, batches)
            if self._once:
                self._pass = batches
            self._ahead = began, batches
            return self._unpack(found[0]) if found else None
        state = self.randomness.state()
        try:
            return next(self.epoch(), None)
        finally:
            self.randomness.restore(state)


# ---------------------------------------------------------------- arrays, datasets, loaders, iterables


def batches_of(
    data: Any,
    targets: Any = None,
    weights: Any = None,
    *,
    batch_size: int | None = None,
    otherwise: int | None = None,
    shuffle: bool = False,
    drop_last: bool = False,
    inputs_only: bool = False,
) -> Batches:
    """The batches of what a user gave.

    Args:
        data: arrays or Tensors; ``(inputs, targets)`` or ``(inputs, targets, weights)`` of them, where ``inputs`` may be
            a tuple or a dict of arrays; a Dataset, a DataLoader, an iterable of batches, or a function that makes one.
        targets, weights: where they are not part of ``data``.
        batch_size: samples in a batch; of what comes in batches already it cannot be given.
        otherwise: samples in a batch where none is given, instead of 32.
        shuffle, drop_last: of arrays and Datasets, as a DataLoader has them.
        inputs_only: a tuple holds several inputs, and no targets.
    """
    if isinstance(data, Batches):
        return data
    if targets is None and not inputs_only:
        data, targets, weights = parts_of(data, weights)
    size = next((one for one in (batch_size, otherwise) if one is not None), 32)
    loading: dict[str, Any] = {"batch_size": size, "shuffle": shuffle, "drop_last": drop_last}
    if holds_arrays(data):
        return _of_arrays(data, targets, weights, loading)
    for name, given in (("targets", targets), ("sample_weight", weights)):
        if given is not None:
            raise DtypeError(f"{type(data).__name__} brings its own targets and weights; leave {name} away.{here()}")
    if isinstance(data, DataLoader):
        _comes_in_batches(data, batch_size)
        streams = isinstance(data.dataset, IterableDataset)
        return Batches(lambda: data, _length(data), generators=generators_in(data), streams=streams)
    if is_dataset(data):
        loader = DataLoader(data, **loading)
        return Batches(lambda: loader, len(loader), generators=generators_in(data))
    if hasattr(data, "__iter__"):
        _comes_in_batches(data, batch_size)
        return Batches(
            lambda: data, _length(data), generators=generators_in(data), streams=True, once=iter(data) is data
        )
    if callable(data):
        _comes_in_batches(data, batch_size)
        return Batches(data, streams=True)
    raise DtypeError(
        f"data are arrays, Tensors, a Dataset, a DataLoader, an iterable of batches or a function that makes one; got "
        f"{type(data).__name__}.{here()}"
    )


def parts_of(data: Any, weights: Any) -> tuple[Any, Any, Any]:
    """``(inputs, targets)`` or ``(inputs, targets, weights)`` taken apart; a list of batches is none of these."""
    if (
        isinstance(data, (tuple, list))
        and 2 <= len(data) <= 3
        and not is_numbers(data)
        and all(map(holds_arrays, data))
    ):
        batches = isinstance(data, list) and all(isinstance(one, (tuple, list)) and not is_numbers(one) for one in data)
        if not batches:
            inputs, targets, *rest = data
            return inputs, targets, rest[0] if rest else weights
    return data, None, weights


def _comes_in_batches(data: Any, batch_size: int | None) -> None:
    if batch_size is not None:
        raise ShapeError(
            f"{type(data).__name__} decides the batches itself, so batch_size={batch_size} has no meaning; leave it away"
            f".{here()}"
        )


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, AttributeError, NotImplementedError):
        return None


def is_dataset(data: Any) -> bool:
    """Whether it gives samples by their number; what Python itself has of that kind holds batches."""
    collection = isinstance(data, (DataLoader, list, tuple, str, Mapping))
    return not collection and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _is_array(value: Any) -> bool:
    return isinstance(value, (TensorCore, np.ndarray))


def holds_arrays(value: Any) -> bool:
    """Whether it is an array, or a tuple, list or dict of them, or numbers in lists."""
    if isinstance(value, Mapping):
        return bool(value) and all(map(_is_array, value.values()))
    if isinstance(value, (tuple, list)):
        return bool(value) and (all(map(_is_array, value)) or is_numbers(value))
    return _is_array(value) or hasattr(value, "to_numpy")


def is_numbers(value: Any) -> bool:
    first = value
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(first, (bool, int, float, np.generic))


def as_tensor(value: Any, what: str) -> Any:
    """An array as a Tensor on its memory. NumPy's float64 becomes the default dtype: it is what NumPy makes of any number."""
    if isinstance(value, TensorCore):
        return value
    if hasattr(value, "to_numpy"):  # a DataFrame or a Series
        value = value.to_numpy()
    if isinstance(value, (list, tuple)) and is_numbers(value):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ShapeError(f"{what} are lists of different lengths: {error}{here()}") from None
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise DtypeError(
            f"{what} are one array, got a {type(value).__name__}.{here()}\n"
            "  Fill in what is masked; several arrays come in batches of one's own, from a Dataset or a generator."
        )
    value = value.view(np.ndarray)
    if value.dtype.kind not in "biuf":
        raise DtypeError(f"{what} are an array of {value.dtype}; only numbers can be trained on.{here()}")
    if value.dtype.newbyteorder("=") == np.float64:
        value = value.astype(get_default_dtype())
    return wrap(value)


def _for_each(weights: Any) -> Any:
    """Weights with one number for each sample; a column is taken for that."""
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if weights.ndim != 1:
        raise ShapeError(f"weights are a number for each sample, got shape {tuple(weights.shape)}.{here()}")
    return weights


def leaves(inputs: Any) -> list[Any]:
    """The arrays of ``inputs``."""
    if isinstance(inputs, Mapping):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]


def rebuilt(inputs: Any, arrays: Sequence[Any]) -> Any:
    """A structure like ``inputs`` of other arrays."""
    if isinstance(inputs, Mapping):
        return dict(zip(inputs, arrays, strict=True))
    return tuple(arrays) if isinstance(inputs, (tuple, list)) else arrays[0]


def _of_arrays(inputs: Any, targets: Any, weights: Any, loading: Mapping[str, Any]) -> Batches:
    if isinstance(inputs, (tuple, list)) and is_numbers(inputs):
        inputs = np.asarray(inputs)
    columns = [as_tensor(array, "inputs") for array in leaves(inputs)]
    several = len(columns)
    if targets is not None:
        columns.append(as_tensor(targets, "targets"))
    if weights is not None:
        columns.append(_for_each(as_tensor(weights, "sample_weight")))
    lengths = [column.shape[0] if column.shape else None for column in columns]
    if None in lengths or len(set(lengths)) > 1:
        names = [*("inputs" for _ in range(several)), *(["targets"] if targets is not None else []), "sample_weight"]
        shown = ", ".join(f"{name} {tuple(column.shape)}" for name, column in zip(names, columns, strict=False))
        raise ShapeError(f"inputs, targets and weights need the same number of samples, got {shown}.{here()}")
    if not lengths[0]:
        raise ShapeError(f"there are no samples: the inputs have shape {tuple(columns[0].shape)}.{here()}")
    loader = DataLoader(TensorDataset(*columns), **loading)

    def unpack(batch: list[Any]) -> Batch:
        rest = batch[several:]
        return Batch(
            rebuilt(inputs, batch[:several]),
            rest.pop(0) if targets is not None else None,
            rest.pop(0) if weights is not None else None,
        )

    return Batches(lambda: loader, len(loader), unpack=unpack)


def unpacked(batch: Any) -> Batch:
    """What a loader or an iterable gave, as a `Batch`."""
    if isinstance(batch, Batch):
        return batch
    if _is_array(batch) or isinstance(batch, Mapping):
        return Batch(_tensors(batch))
    if isinstance(batch, (tuple, list)) and 1 <= len(batch) <= 3:
        inputs, *rest = map(_tensors, batch)
        if len(rest) == 2 and rest[1] is not None:
            rest[1] = _for_each(rest[1])
        return Batch(inputs, *rest)
    size = f" of length {len(batch)}" if isinstance(batch, (tuple, list)) else ""
    raise DtypeError(
        f"a batch is (inputs, targets) or (inputs, targets, weights), got {type(batch).__name__}{size}.{here()}\n"
        "  Several inputs go into a tuple: ((first, second), targets)."
    )


def _tensors(value: Any) -> Any:
    if value is None or isinstance(value, TensorCore):
        return value
    if isinstance(value, (tuple, list, Mapping)) and not is_numbers(value):
        return rebuilt(value, [_tensors(one) for one in leaves(value)])
    return as_tensor(np.asarray(value) if not hasattr(value, "to_numpy") else value, "a batch")
