"""New tensors: from data, filled, counted off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import OPS, TensorCore, apply_raw, constant, get_default_dtype, here, is_observed, wrap
from ..engine.tensor import note_read
from ..errors import DtypeError, ShapeError
from .composition import composed
from .conversion import check_device, to
from .dtypes import as_dtype, dtype_of
from .operands import check_tensors

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_numpy", "full", "full_like", "linspace",
    "logspace", "meshgrid", "ones", "ones_like", "scalar_tensor", "tensor", "zeros", "zeros_like",
]  # fmt: skip


# ---------------------------------------------------------------- from data


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``.

    Args:
        data: a number, nested lists of numbers, an array, a Tensor.
        dtype: of the tensor. Where it is not given: Python floats get the default dtype (float32), integers int64,
            booleans bool; arrays, NumPy scalars and Tensors keep theirs.
        device: ``"cpu"`` or None.
        requires_grad: whether operations on it are recorded.

    Raises:
        ShapeError: lists of unequal lengths at one level.
        DtypeError: something that is not a number.

    >>> import autograd_ff as af
    >>> af.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    >>> af.tensor([1, 2]).dtype, af.tensor(True).dtype
    (dtype('int64'), dtype('bool'))
    """
    check_device(device)
    if isinstance(data, np.ndarray) and is_observed():  # whoever records hears of the copy
        wanted = data.dtype if dtype is None else as_dtype(dtype)
        _check_numbers(data)
        copied = apply_raw(OPS["cast"], (np.asarray(data),), {"dtype": wanted})
        return _finish(copied if copied is not data else np.array(data), requires_grad)
    array = _array_of(data, dtype)
    made = np.array(array) if array is data or isinstance(data, TensorCore) else array
    return _finish(made if isinstance(data, (np.ndarray, TensorCore)) else constant(made), requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, without a copy where that is possible: a Tensor as it is, an array's memory shared.

    >>> import numpy as np
    >>> import autograd_ff as af
    >>> array = np.zeros(2)
    >>> af.as_tensor(array)[0] = 1.0  # writes to the array
    >>> array
    array([1., 0.])
    """
    check_device(device)
    if isinstance(data, TensorCore):
        found: Any = data
        return found if dtype is None else to(found, dtype)
    return wrap(_array_of(data, dtype))


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """`as_tensor`, or `tensor` where ``copy=True``.

    >>> import autograd_ff as af
    >>> x = af.ones(2)
    >>> af.asarray(x) is x, af.asarray(x, copy=True) is x
    (True, False)
    """
    return tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype=dtype, device=device)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor on the memory of an array: what is written to one shows in the other.

    A read-only array is welcome; writing to the tensor in place then raises. What NumPy writes to the array is not seen
    by the checks of saved values.

    >>> import numpy as np
    >>> import autograd_ff as af
    >>> af.from_numpy(np.arange(3.0))
    tensor([0., 1., 2.], dtype=float64)
    """
    if not isinstance(ndarray, np.ndarray):
        raise DtypeError(f"from_numpy takes an array, got {type(ndarray).__name__}; use tensor(...).{here()}")
    _check_numbers(ndarray)
    if not ndarray.dtype.isnative:
        raise DtypeError(
            f"an array of dtype {ndarray.dtype.str} has its bytes in another order than this machine, so its memory "
            f"cannot be shared; tensor(array) copies it.{here()}"
        )
    return wrap(ndarray if type(ndarray) is np.ndarray else ndarray.view(np.ndarray))


def scalar_tensor(value: float, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-d tensor of the default dtype.

    >>> import autograd_ff as af
    >>> af.scalar_tensor(2)
    tensor(2.)
    """
    return _finish(np.asarray(value, dtype=get_default_dtype() if dtype is None else as_dtype(dtype)), requires_grad)


def _finish(array: np.ndarray, requires_grad: bool) -> Tensor:
    made: Tensor = wrap(array)
    if requires_grad:
        made.requires_grad = True
    return made


def _check_numbers(array: np.ndarray) -> None:
    if array.dtype.kind not in "buifc":
        raise DtypeError(f"a Tensor holds numbers and booleans, not {array.dtype} data.{here()}")


def _array_of(data: Any, dtype: Any) -> np.ndarray:
    """``data`` as an array of the dtype asked for or inferred; the very array, or a Tensor's, where nothing changes."""
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, TensorCore):
        note_read(data, "array")
        array = data.array
    elif isinstance(data, np.ndarray):
        if isinstance(data, np.ma.MaskedArray):
            raise DtypeError(f"a masked array has values that are missing; fill it first: x.filled(0).{here()}")
        array = data
    elif isinstance(data, (bool, int, float, complex)) and not isinstance(data, np.generic):
        try:
            return np.array(data, dtype=dtype_of(data) if wanted is None else wanted)
        except OverflowError:
            raise DtypeError(
                f"{data} does not fit into {wanted or dtype_of(data)}; use a floating dtype.{here()}"
            ) from None
    else:
        array = _array_from_sequence(data)
        if wanted is None and array.dtype.kind in "fc" and _first_number_is_python(data):
            wanted = dtype_of(0.0 if array.dtype.kind == "f" else 0j)
    _check_numbers(array)
    if wanted is None and not array.dtype.isnative:  # bytes in another order would count as another dtype
        wanted = as_dtype(array.dtype)
    return array if wanted is None else array.astype(wanted, copy=False)


def _array_from_sequence(data: Any) -> np.ndarray:
    try:
        array = np.array(data)
    except ValueError as error:
        if isinstance(data, (list, tuple)):
            _check_lengths(data)
        raise ShapeError(f"no tensor can be made of this {type(data).__name__}: {error}{here()}") from error
    except TypeError as error:
        raise DtypeError(f"no tensor can be made of this {type(data).__name__}: {error}{here()}") from error
    if array.dtype.kind == "O":
        if isinstance(data, (list, tuple)):
            _check_lengths(data)
        found = type(array.flat[0]).__name__ if array.size else "object"
        raise DtypeError(f"a Tensor holds numbers and booleans, not {found}.{here()}")
    return np.asarray(array)


def _length(value: Any) -> int | None:
    """The number of elements of a sequence; None for a number."""
    if isinstance(value, (list, tuple)):
        return len(value)
    shape = getattr(value, "shape", ())
    return shape[0] if shape else None


def _check_lengths(data: Any) -> None:
    """Raise where the lists of one level differ in length: level by level, so that the outermost clash is named."""
    level, dim = [data], 0
    while level:
        lengths = [_length(one) for one in level]
        expected = lengths[0]
        for one in lengths:
            if one != expected:
                names = ["a number" if n is None else f"a sequence of length {n}" for n in (expected, one)]
                raise ShapeError(
                    f"the lists are ragged: at dimension {dim} there is {names[0]}, and {names[1]} beside it.{here()}\n"
                    "  Pad them to one length, or make a tensor of each."
                )
        if expected is None:
            return
        level = [inner for one in level if isinstance(one, (list, tuple)) for inner in one]
        dim += 1


def _first_number_is_python(data: Any) -> bool:
    """Whether the numbers of nested lists are Python's, which have no dtype of their own."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return not isinstance(data, (np.generic, np.ndarray, TensorCore)) and not hasattr(data, "__array__")


# ---------------------------------------------------------------- filled


def shape_of(size: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape that a user gave as several integers or as one sequence of them.

    >>> shape_of((2, 3)), shape_of(((2, 3),)), shape_of(())
    ((2, 3), (2, 3), ())
    """
    if len(size) == 1 and isinstance(size[0], (tuple, list, np.ndarray)):
        size = tuple(size[0])
    try:
        shape = tuple(one.__index__() for one in size)
    except (AttributeError, TypeError):
        raise DtypeError(f"a shape is made of integers, got {size!r}{here()}") from None
    if any(side < 0 for side in shape):
        raise ShapeError(f"a shape has no negative side, got {shape}{here()}")
    return shape


def zeros(*size: int | Sequence[int], dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the given shape, in the default dtype where none is given.

    >>> import autograd_ff as af
    >>> af.zeros(2, 3).shape, af.zeros((2, 3)).shape
    ((2, 3), (2, 3))
    """
    return _finish(constant(np.zeros(shape_of(size), _float_or(dtype, device))), requires_grad)


def ones(*size: int | Sequence[int], dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the given shape, in the default dtype where none is given.

    >>> import autograd_ff as af
    >>> af.ones(2)
    tensor([1., 1.])
    """
    return _finish(constant(np.ones(shape_of(size), _float_or(dtype, device))), requires_grad)


def empty(*size: int | Sequence[int], dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the given shape whose values are whatever stood in the memory.

    >>> import autograd_ff as af
    >>> af.empty(2, 3).shape
    (2, 3)
    """
    return _finish(np.empty(shape_of(size), _float_or(dtype, device)), requires_grad)


def full(
    size: int | Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``fill_value`` everywhere; its dtype is inferred as in `tensor`.

    >>> import autograd_ff as af
    >>> af.full((2,), 7)
    tensor([7, 7])
    """
    check_device(device)
    array = _array_of(fill_value, dtype)
    if array.ndim:
        raise ShapeError(f"full takes one number to fill with, got one of shape {array.shape}{here()}")
    return _finish(
        constant(np.full(shape_of((size,) if isinstance(size, int) else (tuple(size),)), array)), requires_grad
    )


def _float_or(dtype: Any, device: Any) -> np.dtype[Any]:
    check_device(device)
    return get_default_dtype() if dtype is None else as_dtype(dtype)


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.zeros_like(af.tensor([1, 2]))
    tensor([0, 0])
    """
    check_tensors("zeros_like", input)
    return _finish(constant(np.zeros(input.shape, _same_or(input, dtype, device))), requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.ones_like(af.tensor([1, 2]))
    tensor([1, 1])
    """
    check_tensors("ones_like", input)
    return _finish(constant(np.ones(input.shape, _same_or(input, dtype, device))), requires_grad)


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory of the shape and dtype of ``input``, not filled.

    >>> import autograd_ff as af
    >>> af.empty_like(af.tensor([1, 2])).dtype
    dtype('int64')
    """
    check_tensors("empty_like", input)
    return _finish(np.empty(input.shape, _same_or(input, dtype, device)), requires_grad)


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``fill_value`` everywhere, in the shape and dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.full_like(af.zeros(2), 7)
    tensor([7., 7.])
    """
    check_tensors("full_like", input)
    return full(input.shape, fill_value, dtype=_same_or(input, dtype, device), requires_grad=requires_grad)


def _same_or(input: Tensor, dtype: Any, device: Any) -> np.dtype[Any]:
    check_device(device)
    return input.dtype if dtype is None else as_dtype(dtype)


def new_tensor(input: Tensor, data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """``data`` as a tensor with the dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.zeros(2, dtype=af.float64).new_tensor([1, 2]).dtype
    dtype('float64')
    """
    return tensor(data, dtype=input.dtype if dtype is None else dtype, requires_grad=requires_grad)


def new_zeros(input: Tensor, *size: int | Sequence[int], dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the given shape with the dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.tensor([1, 2]).new_zeros(3)
    tensor([0, 0, 0])
    """
    return _finish(constant(np.zeros(shape_of(size), _same_or(input, dtype, None))), requires_grad)


def new_ones(input: Tensor, *size: int | Sequence[int], dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the given shape with the dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.tensor([1, 2]).new_ones(3)
    tensor([1, 1, 1])
    """
    return _finish(constant(np.ones(shape_of(size), _same_or(input, dtype, None))), requires_grad)


def new_empty(input: Tensor, *size: int | Sequence[int], dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Memory for the given shape with the dtype of ``input``, not filled.

    >>> import autograd_ff as af
    >>> af.tensor([1, 2]).new_empty(3).dtype
    dtype('int64')
    """
    return _finish(np.empty(shape_of(size), _same_or(input, dtype, None)), requires_grad)


def new_full(
    input: Tensor, size: int | Sequence[int], fill_value: Any, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """``fill_value`` everywhere, with the dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.tensor([1.0, 2.0]).new_full((3,), 7)
    tensor([7., 7., 7.])
    """
    return full(size, fill_value, dtype=_same_or(input, dtype, None), requires_grad=requires_grad)


# ---------------------------------------------------------------- counted off


def _number(value: Any, what: str) -> Any:
    """One number, given as such or as a tensor or array of one element."""
    found = value.item() if hasattr(value, "item") else value
    if not isinstance(found, (int, float)):
        raise DtypeError(f"{what} counts with numbers, got {value!r}{here()}")
    return found


def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The numbers ``start, start + step, …`` before ``end``; one argument counts from 0.

    All integers make an int64 tensor; a float among them makes the default dtype.

    >>> import autograd_ff as af
    >>> af.arange(3), af.arange(1, 2, 0.5)
    (tensor([0, 1, 2]), tensor([1.0, 1.5]))
    """
    check_device(device)
    if end is None:
        start, end = 0, start
    start, end, step = (_number(one, "arange") for one in (start, end, step))
    if step == 0:
        raise ShapeError(f"arange cannot count in steps of 0{here()}")
    if (end - start) * step < 0:
        raise ShapeError(f"arange cannot reach {end} from {start} in steps of {step}{here()}")
    if dtype is None:
        dtype = dtype_of(1.0 if any(isinstance(one, float) for one in (start, end, step)) else 1)
    # Each number from its position, in float64 or integers: adding up steps in float32 would drift.
    count = math.ceil((end - start) / step)
    return _finish(constant((start + step * np.arange(count)).astype(as_dtype(dtype))), requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, both included, evenly apart.

    >>> import autograd_ff as af
    >>> af.linspace(0, 1, 3)
    tensor([0.0, 0.5, 1.0])
    """
    start, end = (_number(one, "linspace") for one in (start, end))
    if steps < 0:
        raise ShapeError(f"linspace cannot make {steps} numbers{here()}")
    return _finish(constant(np.linspace(start, end, steps).astype(_float_or(dtype, device))), requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``base ** linspace(start, end, steps)``.

    >>> import autograd_ff as af
    >>> af.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    start, end = (one.item() if hasattr(one, "item") else one for one in (start, end))
    return _finish(constant(np.logspace(start, end, steps, base=base).astype(_float_or(dtype, device))), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The (n, m) matrix with ones on its diagonal; square where m is not given.

    >>> import autograd_ff as af
    >>> af.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _finish(
        constant(np.eye(*shape_of((n, n if m is None else m)), dtype=_float_or(dtype, device))), requires_grad
    )


@composed
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Grids of coordinates: for 1-d tensors of lengths n₁…n_d, d views of shape (n₁, …, n_d).

    ``indexing="xy"`` exchanges the first two dimensions. Not written in place: the grids are expanded.

    >>> import autograd_ff as af
    >>> rows, columns = af.meshgrid(af.arange(2), af.arange(3))
    >>> (10 * rows + columns).tolist()
    [[0, 1, 2], [10, 11, 12]]
    """
    given = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if indexing not in ("ij", "xy"):
        raise ShapeError(f'meshgrid\'s indexing is "ij" or "xy", got {indexing!r}{here()}')
    vectors = [one.reshape(-1) for one in given]
    swapped = indexing == "xy" and len(vectors) > 1
    if swapped:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    full_shape = tuple(one.numel() for one in vectors)
    grids = []
    for position, vector in enumerate(vectors):
        narrow = tuple(-1 if dim == position else 1 for dim in range(len(vectors)))
        grids.append(vector.reshape(narrow).expand(full_shape))
    if swapped:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)
