"""From a list of samples to one batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from ..engine import TensorCore, get_default_dtype, here, promote_types, wrap
from ..errors import DtypeError, ShapeError
from ..functions import Tensor

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """Join samples of one structure into a batch of the same structure.

    ====================================  =============================================================
    samples                               batch
    ====================================  =============================================================
    Tensors, arrays of one shape          a Tensor with a new first dimension (tracked where a sample is)
    Python floats                         a float64 Tensor
    integers, booleans                    an int64 or bool Tensor
    NumPy numbers                         a Tensor of their dtype
    strings, bytes                        a list of them
    dicts                                 a dict of the same keys, each collated
    namedtuples                           the same namedtuple, each field collated
    tuples, lists                         a list, each position collated
    ====================================  =============================================================

    Raises:
        ShapeError: shapes, lengths or keys differ from sample to sample; the message names both and where they are.
        DtypeError: samples of a type that cannot be joined (None, an image object…) or of different types.

    >>> import autograd_ff as af
    >>> default_collate([(af.tensor([1.0, 2.0]), 0), (af.tensor([3.0, 4.0]), 1)])
    [tensor([[1., 2.],
            [3., 4.]]), tensor([0, 1])]
    >>> default_collate([{"name": "a", "size": 1.5}, {"name": "b", "size": 2.5}])
    {'name': ['a', 'b'], 'size': tensor([1.5, 2.5], dtype=float64)}
    """
    if not len(batch):
        raise ShapeError(f"there are no samples to collate{here()}")
    return _collate(batch, "")


def _collate(batch: Sequence[Any], where: str) -> Any:
    first = batch[0]
    if isinstance(first, (TensorCore, np.ndarray)):
        return _stack(batch, where)
    if isinstance(first, (bool, int, float, complex, np.generic)):
        return _numbers(batch, where)
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return _mappings(batch, where)
    if isinstance(first, (tuple, list)):
        return _sequences(batch, where)
    raise DtypeError(
        f"samples can be collated where they are Tensors, arrays, numbers, strings, or dicts, tuples and lists of "
        f"those; {_place(where)} is {_kind(first)}.{here()}\n"
        "  Convert it in the dataset (images with transforms.ToTensor()), or pass collate_fn to the DataLoader."
    )


def _place(where: str, number: int | None = None) -> str:
    return ("a sample" if number is None else f"sample {number} of the batch") + (f" at {where}" if where else "")


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _mixed(first: Any, other: Any, number: int, where: str) -> DtypeError:
    return DtypeError(
        f"{_place(where, 0)} is {_kind(first)}, but {_place(where, number)} is {_kind(other)}; the samples of a batch "
        f"need one structure{here()}"
    )


def _stack(batch: Sequence[Any], where: str) -> Any:
    arrays: list[np.ndarray] = []
    for number, sample in enumerate(batch):
        if not isinstance(sample, (TensorCore, np.ndarray)):
            raise _mixed(batch[0], sample, number, where)
        arrays.append(sample.array if isinstance(sample, TensorCore) else sample)
        if arrays[-1].shape != arrays[0].shape:
            raise ShapeError(
                f"the samples of a batch need one shape to be stacked: {_place(where, 0)} has {arrays[0].shape}, "
                f"{_place(where, number)} has {arrays[-1].shape}.{here()}\n"
                "  Bring them to one shape in the dataset, or pass collate_fn to the DataLoader (to pad, say)."
            )
    if any(isinstance(sample, TensorCore) and sample.requires_grad for sample in batch):
        from ..functions.shaping import stack

        return stack([sample if isinstance(sample, Tensor) else wrap(sample) for sample in batch])
    dtype = arrays[0].dtype
    if dtype.kind not in "biufc":
        raise DtypeError(
            f"{_place(where, 0)} is an array of {dtype}, which no Tensor can hold; pass collate_fn to the DataLoader"
            f"{here()}"
        )
    for array in arrays:
        if array.dtype != dtype:
            dtype = promote_types(dtype, array.dtype)
    joined = np.empty((len(arrays), *arrays[0].shape), dtype)
    for number, array in enumerate(arrays):
        joined[number] = array
    return wrap(joined)


def _numbers(batch: Sequence[Any], where: str) -> Any:
    first = batch[0]
    for number, sample in enumerate(batch):
        if not isinstance(sample, (bool, int, float, complex, np.generic)):
            raise _mixed(first, sample, number, where)
    try:
        joined = np.asarray(batch)
    except OverflowError as error:
        raise DtypeError(f"{_place(where)} is an integer too large for a Tensor{here()}") from error
    if joined.dtype.kind not in "biufc":
        raise DtypeError(
            f"the numbers at {where or 'this place'} of the batch fit no Tensor (NumPy makes {joined.dtype} of them, "
            f"the first is {first!r}){here()}"
        )
    if isinstance(first, int) and joined.dtype.kind == "f":
        joined = joined.astype(get_default_dtype())  # the first number says what the batch is, as in PyTorch
    return wrap(joined)


def _mappings(batch: Sequence[Any], where: str) -> Any:
    first = batch[0]
    for number, sample in enumerate(batch):
        if not isinstance(sample, Mapping):
            raise _mixed(first, sample, number, where)
        if sample.keys() != first.keys():
            missing = [key for key in first if key not in sample]
            extra = [key for key in sample if key not in first]
            raise ShapeError(
                f"the samples of a batch need the same keys: {_place(where, number)} "
                + " and ".join(
                    f"{verb} {', '.join(map(repr, keys))}"
                    for verb, keys in (("lacks", missing), ("adds", extra))
                    if keys
                )
                + here()
            )
    joined = {key: _collate([sample[key] for sample in batch], f"{where}[{key!r}]") for key in first}
    if type(first) is dict:
        return joined
    if isinstance(first, MutableMapping):  # a defaultdict, an OrderedDict: the same kind again
        clone = copy.copy(first)
        clone.update(joined)
        return clone
    return joined


def _sequences(batch: Sequence[Any], where: str) -> Any:
    first = batch[0]
    for number, sample in enumerate(batch):
        if not isinstance(sample, (tuple, list)):
            raise _mixed(first, sample, number, where)
        if len(sample) != len(first):
            raise ShapeError(
                f"the samples of a batch need the same number of parts: {_place(where, 0)} has {len(first)}, "
                f"{_place(where, number)} has {len(sample)}.{here()}\n"
                "  Make Tensors of them where they are numbers and pad those, or pass collate_fn to the DataLoader."
            )
    fields = getattr(first, "_fields", None)
    joined = [
        _collate(part, f"{where}.{fields[position]}" if fields else f"{where}[{position}]")
        for position, part in enumerate(zip(*batch, strict=True))
    ]
    return type(first)(*joined) if fields else joined


def default_convert(sample: Any) -> Any:
    """A sample with its arrays and NumPy numbers as Tensors and all else as it is; what a DataLoader without batches uses.

    >>> import numpy as np
    >>> default_convert((np.arange(3), "name"))
    (tensor([0, 1, 2]), 'name')
    """
    if isinstance(sample, (np.ndarray, np.generic)) and sample.dtype.kind in "biufc":
        return wrap(np.asarray(sample))
    if isinstance(sample, Mapping):
        converted = {key: default_convert(value) for key, value in sample.items()}
        if type(sample) is dict or not isinstance(sample, MutableMapping):
            return converted
        clone = copy.copy(sample)
        clone.update(converted)
        return clone
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(default_convert, sample))
    if isinstance(sample, (tuple, list)):
        return type(sample)(map(default_convert, sample))
    return sample
