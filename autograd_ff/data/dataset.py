"""What a dataset is, and datasets made of tensors and of other datasets."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..engine import TensorCore, here, warn, wrap
from ..errors import DimensionError, DtypeError, ShapeError
from ..functions import Tensor
from .batching import batched
from .sampler import permutation

__all__ = ["ConcatDataset", "Dataset", "IterableDataset", "Subset", "TensorDataset", "check_index", "random_split"]

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Samples by number. A dataset of one's own defines ``__getitem__`` and ``__len__``.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 10
    ...     def __getitem__(self, index):
    ...         return index, index**2
    >>> Squares()[3]
    (3, 9)
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__(self, index)")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Samples one after another, where there are no numbers to ask by. One's own defines ``__iter__``.

    >>> class Lines(IterableDataset):
    ...     def __iter__(self):
    ...         return iter(["one", "two"])
    >>> list(Lines())
    ['one', 'two']
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__(self)")


def check_index(index: Any, length: int, dataset: Any) -> int:
    """``index`` as an integer in ``0 .. length - 1``, counted from the end where it is negative."""
    try:
        position: int = index.__index__()
    except AttributeError:
        raise DtypeError(
            f"{type(dataset).__name__} is indexed by one integer, got {type(index).__name__}; "
            f"for several samples use Subset(dataset, indices) or a DataLoader.{here()}"
        ) from None
    if not -length <= position < length:
        raise DimensionError(
            f"index {position} is out of range for {type(dataset).__name__} of {length} samples{here()}"
        )
    return position + length if position < 0 else position


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is the tuple of row i of each tensor.

    Args:
        tensors: Tensors, or arrays (whose memory is shared), all of the same length.

    Raises:
        ShapeError: the lengths differ, or a tensor is 0-d.

    >>> import numpy as np
    >>> dataset = TensorDataset(np.zeros((4, 2)), np.arange(4))
    >>> len(dataset), dataset[3]
    (4, (tensor([0., 0.], dtype=float64), tensor(3)))
    """

    def __init__(self, *tensors: Tensor | np.ndarray) -> None:
        if not tensors:
            raise ShapeError(f"TensorDataset needs at least one tensor{here()}")
        self.tensors: tuple[Tensor, ...] = tuple(_as_tensor(tensor) for tensor in tensors)
        shapes = [tensor.shape for tensor in self.tensors]
        if not all(shapes):
            raise ShapeError(f"a 0-d tensor has no rows; the tensors have shapes {_listed(shapes)}{here()}")
        if len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(
                f"the tensors of a TensorDataset need the same number of rows, got "
                f"{' and '.join(str(shape[0]) for shape in shapes)} (shapes {_listed(shapes)}){here()}"
            )

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        if not isinstance(index, (slice, list, np.ndarray, TensorCore)):
            index = check_index(index, len(self), self)
        return tuple(tensor[index] for tensor in self.tensors)

    def batched(self) -> Callable[[np.ndarray], list[Tensor]] | None:
        if any(tensor.requires_grad for tensor in self.tensors):
            return None  # stacking the rows records the graph
        arrays = [tensor.array for tensor in self.tensors]
        return lambda indices: [wrap(array[indices]) for array in arrays]


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, TensorCore):
        return value  # type: ignore[return-value]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
        raise DtypeError(f"TensorDataset takes Tensors and numeric arrays, got {type(value).__name__}{here()}")
    made: Tensor = wrap(value)
    return made


def _listed(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(str(shape) for shape in shapes)


class Subset(Dataset[T]):
    """The samples of a dataset at the given indices, in that order.

    >>> import numpy as np
    >>> subset = Subset(TensorDataset(np.arange(10)), [7, 3])
    >>> len(subset), subset[0]
    (2, (tensor(7),))
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> T:
        chosen: T = self.dataset[self.indices[check_index(index, len(self), self)]]
        return chosen

    def batched(self) -> Callable[[np.ndarray], Any] | None:
        read = batched(self.dataset, "__getitem__")
        chosen = self.indices.array if isinstance(self.indices, TensorCore) else np.asarray(self.indices)
        if read is None or chosen.dtype.kind not in "iu":
            return None
        return lambda indices: read(chosen[indices])


class ConcatDataset(Dataset[T]):
    """Datasets one after another.

    >>> import numpy as np
    >>> both = ConcatDataset([TensorDataset(np.arange(3)), TensorDataset(np.arange(10, 12))])
    >>> len(both), both[3]
    (5, (tensor(10),))
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ShapeError(f"ConcatDataset needs at least one dataset{here()}")
        self.cumulative_sizes = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: Any) -> T:
        position = check_index(index, len(self), self)
        which = bisect.bisect_right(self.cumulative_sizes, position)
        sample: T = self.datasets[which][position - (self.cumulative_sizes[which - 1] if which else 0)]
        return sample


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset[Any]]:
    """Split a dataset at random into subsets that do not overlap.

    Args:
        dataset: anything with a length.
        lengths: how many samples each subset gets; or the fractions that they are of the whole, which sum to 1 (what
            rounding down leaves over goes to the first subsets, one each).
        generator: draws the permutation; the default generator (see `manual_seed`) where it is None.

    Raises:
        ShapeError: the lengths do not sum to the length of the dataset, or one is negative.

    >>> from autograd_ff.data import TensorDataset
    >>> import numpy as np
    >>> [len(part) for part in random_split(TensorDataset(np.arange(10)), [0.75, 0.25])]
    [8, 2]
    """
    total = len(dataset)
    if any(length < 0 for length in lengths):
        raise ShapeError(f"a subset cannot have a negative length, got {list(lengths)}{here()}")
    sizes = [int(length) for length in lengths]
    if sizes != list(lengths) or (sum(sizes) == 1 and total != 1):
        if not math.isclose(sum(lengths), 1):
            raise ShapeError(f"fractions have to sum to 1, got {list(lengths)}, which sum to {sum(lengths)}{here()}")
        sizes = [math.floor(total * fraction) for fraction in lengths]
        for position in range(total - sum(sizes)):
            sizes[position % len(sizes)] += 1
    if sum(sizes) != total:
        raise ShapeError(f"lengths {sizes} sum to {sum(sizes)}, but the dataset has {total} samples{here()}")
    for position, size in enumerate(sizes):
        if not size:
            warn(f"subset {position} of random_split is empty")
    order = permutation(total, generator).tolist()
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
