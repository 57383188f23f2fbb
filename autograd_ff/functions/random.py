"""Random numbers and dropout.

All of them draw from a `Generator`: the one given as ``generator=``, else the default one, which `manual_seed` seeds. The
numbers are NumPy's (PCG64), so the same seed gives the same numbers on every machine, though not PyTorch's.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import TensorCore, apply, condition, get_default_dtype, here, host, scope, wrap
from ..engine.inplace import assign, update
from ..engine.tensor import note_read
from ..errors import DtypeError, FileFormatError, ShapeError
from ..rules import elementwise
from ..rules import random as rules
from .conversion import check_device
from .creation import shape_of
from .dtypes import as_dtype, int64

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "Generator", "bernoulli", "default_generator", "dropout", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "seed",
    "set_rng_state",
]  # fmt: skip


# ---------------------------------------------------------------- generators


class Generator:
    """A stream of random numbers, determined by its seed.

    The NumPy generator behind it, ``.numpy``, stays the same object when it is seeded anew. Threads may share one: each
    draw is atomic, in whatever order they come.

    >>> import autograd_ff as af
    >>> g = af.Generator().manual_seed(0)
    >>> first = af.rand(3, generator=g)
    >>> g = g.manual_seed(0)
    >>> af.equal(first, af.rand(3, generator=g))
    True
    """

    __slots__ = ("_seed", "numpy")

    _FIRST_SEED = 67280421310721  # that of PyTorch's new generators

    def __init__(self, device: Any = None) -> None:
        check_device(device)
        self._seed = self._FIRST_SEED
        self.numpy = np.random.Generator(np.random.PCG64(self._seed))

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed; returns the generator."""
        host(self._start, _as_seed(seed))
        return self

    def _start(self, seed: int) -> None:
        self.numpy.bit_generator.state = np.random.PCG64(seed).state
        self._seed = seed

    def seed(self) -> int:
        """Start the stream of a seed from the operating system's randomness; returns the seed."""
        self.manual_seed(secrets.randbits(63))
        return self._seed

    def initial_seed(self) -> int:
        """The seed last set."""
        return self._seed

    def get_state(self) -> Tensor:
        """Where the stream stands, as a uint8 tensor; `set_state` goes on from there."""
        state: Any = self.numpy.bit_generator.state
        words = [
            state["state"]["state"].to_bytes(16, "little"),
            state["state"]["inc"].to_bytes(16, "little"),
            state["has_uint32"].to_bytes(4, "little"),
            state["uinteger"].to_bytes(4, "little"),
            self._seed.to_bytes(8, "little"),
        ]
        return wrap(np.frombuffer(b"".join(words), dtype=np.uint8).copy())

    def set_state(self, new_state: Tensor) -> Generator:
        """Go on from where `get_state` was called."""
        array = new_state.array if isinstance(new_state, TensorCore) else np.asarray(new_state)
        if array.dtype != np.uint8 or array.shape != (48,):
            raise FileFormatError(
                f"the state of a generator is a uint8 tensor of 48 bytes, got {array.dtype} {array.shape}{here()}"
            )
        data = array.tobytes()
        numbers = [
            int.from_bytes(data[start:stop], "little") for start, stop in ((0, 16), (16, 32), (32, 36), (36, 40))
        ]
        self.numpy.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": numbers[0], "inc": numbers[1]},
            "has_uint32": numbers[2],
            "uinteger": numbers[3],
        }
        self._seed = int.from_bytes(data[40:], "little")
        return self

    @property
    def device(self) -> str:
        """Always ``"cpu"``."""
        return "cpu"

    def __repr__(self) -> str:
        return f"Generator(seed={self._seed})"

    def __getstate__(self) -> bytes:
        return self.get_state().array.tobytes()

    def __setstate__(self, state: bytes) -> None:
        self.numpy = np.random.Generator(np.random.PCG64(0))
        self.set_state(wrap(np.frombuffer(state, dtype=np.uint8)))


def _as_seed(seed: Any) -> int:
    try:
        number = int(seed.item() if hasattr(seed, "item") else seed.__index__())
    except (AttributeError, TypeError):
        raise DtypeError(f"a seed is an integer, got {seed!r}{here()}") from None
    if not -(2**63) <= number < 2**64:
        raise ShapeError(f"a seed has 64 bits, got {number}{here()}")
    return number % 2**64  # negative seeds count from the top, as in PyTorch


_DEFAULT = Generator()
_DEFAULT.seed()


def default_generator() -> Generator:
    """The generator that is used where none is given. Unless seeded it starts somewhere else in each process.

    >>> import autograd_ff as af
    >>> af.default_generator() is af.manual_seed(0)
    True
    """
    return _DEFAULT


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; returns it.

    >>> import autograd_ff as af
    >>> generator = af.manual_seed(0)
    >>> first = af.randn(2)
    >>> generator = af.manual_seed(0)
    >>> af.equal(first, af.randn(2))
    True
    """
    return _DEFAULT.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system's randomness; returns the seed.

    >>> import autograd_ff as af
    >>> af.seed() == af.initial_seed()
    True
    """
    return _DEFAULT.seed()


def initial_seed() -> int:
    """The seed of the default generator.

    >>> import autograd_ff as af
    >>> _ = af.manual_seed(7)
    >>> af.initial_seed()
    7
    """
    return _DEFAULT.initial_seed()


def get_rng_state() -> Tensor:
    """Where the default generator stands: see `Generator.get_state`.

    >>> import autograd_ff as af
    >>> state = af.get_rng_state()
    >>> first = af.rand(2)
    >>> af.set_rng_state(state)
    >>> af.equal(af.rand(2), first)
    True
    """
    return _DEFAULT.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator go on from where `get_rng_state` was called.

    >>> import autograd_ff as af
    >>> state = af.get_rng_state()
    >>> first = af.randn(2)
    >>> af.set_rng_state(state)
    >>> af.equal(af.randn(2), first)
    True
    """
    _DEFAULT.set_state(new_state)


def source(generator: Any) -> np.random.Generator:
    """NumPy's generator of what was given as ``generator=``: ours, NumPy's own, or None for the default one."""
    if generator is None:
        return _DEFAULT.numpy
    if isinstance(generator, Generator):
        return generator.numpy
    if isinstance(generator, np.random.Generator):
        return generator
    raise DtypeError(f"generator must be a Generator, got {type(generator).__name__}{here()}")


# ---------------------------------------------------------------- new tensors


def _floating(dtype: Any, otherwise: np.dtype[Any] | None = None) -> np.dtype[Any]:
    found = (otherwise or get_default_dtype()) if dtype is None else as_dtype(dtype)
    if found.kind != "f":
        raise DtypeError(
            f"uniform and normal numbers have a floating dtype, not {found}; integers come from randint.{here()}"
        )
    return found


def _finish(made: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        made.requires_grad = True
    return made


def rand(
    *size: int | Sequence[int], generator: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uniform numbers from [0, 1).

    >>> import autograd_ff as af
    >>> x = af.rand(2, 3)
    >>> x.shape, bool(((x >= 0) & (x < 1)).all())
    ((2, 3), True)
    """
    check_device(device)
    params = {"generator": source(generator), "shape": shape_of(size), "dtype": _floating(dtype)}
    return _finish(apply(rules.uniform, (None,), params), requires_grad)


def randn(
    *size: int | Sequence[int], generator: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers of mean 0 and variance 1.

    >>> import autograd_ff as af
    >>> af.randn(2, 3, dtype=af.float64).dtype
    dtype('float64')
    """
    check_device(device)
    params = {"generator": source(generator), "shape": shape_of(size), "dtype": _floating(dtype)}
    return _finish(apply(rules.normal, (None,), params), requires_grad)


def randint(
    *arguments: Any, low: int | None = None, high: int | None = None, size: Any = None, generator: Any = None,
    dtype: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Whole numbers from ``low`` (0 by default) up to, and without, ``high``: ``randint(low, high, size)``.

    Args:
        arguments: ``(high, size)`` or ``(low, high, size)``, or the three by name.
        dtype: int64 by default.

    >>> import autograd_ff as af
    >>> x = af.randint(10, (4,))
    >>> x.dtype, bool(((x >= 0) & (x < 10)).all())
    (dtype('int64'), True)
    """
    check_device(device)
    given = list(arguments)
    if size is None and given:
        size = given.pop()
    if high is None and given:
        high = given.pop()
    if low is None and given:
        low = given.pop()
    if given or high is None or size is None:
        raise ShapeError(f"randint takes (high, size) or (low, high, size){here()}")
    low = 0 if low is None else low
    if low >= high:
        raise ShapeError(f"randint draws from low up to high, which needs low < high; got {low} and {high}{here()}")
    params = {
        "generator": source(generator), "shape": shape_of((size,)), "low": low, "high": high,
        "dtype": int64 if dtype is None else as_dtype(dtype),
    }  # fmt: skip
    return _finish(apply(rules.integers, (None,), params), requires_grad)


def randperm(n: int, *, generator: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The numbers 0 … n - 1 in random order.

    >>> import autograd_ff as af
    >>> sorted(af.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    check_device(device)
    if n < 0:
        raise ShapeError(f"randperm needs n >= 0, got {n}{here()}")
    params = {"generator": source(generator), "n": int(n), "dtype": int64 if dtype is None else as_dtype(dtype)}
    return apply(rules.permutation, (None,), params)


def rand_like(
    input: Tensor, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform numbers from [0, 1) in the shape and dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.rand_like(af.zeros(2, 3)).shape
    (2, 3)
    """
    check_device(device)
    params = {"generator": source(generator), "shape": input.array.shape, "dtype": _floating(dtype, input.array.dtype)}
    return _finish(apply(rules.uniform, (None,), params), requires_grad)


def randn_like(
    input: Tensor, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normal numbers of mean 0 and variance 1 in the shape and dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.randn_like(af.zeros(2, 3)).shape
    (2, 3)
    """
    check_device(device)
    params = {"generator": source(generator), "shape": input.array.shape, "dtype": _floating(dtype, input.array.dtype)}
    return _finish(apply(rules.normal, (None,), params), requires_grad)


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, generator: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Whole numbers in the shape and dtype of ``input``: ``randint_like(input, high)`` or ``(input, low, high)``.

    >>> import autograd_ff as af
    >>> x = af.randint_like(af.zeros(2, 3), 10)
    >>> x.shape, x.dtype, bool((x < 10).all())
    ((2, 3), dtype('float32'), True)
    """
    low, high = (0, low) if high is None else (low, high)
    return randint(
        low, high, input.array.shape, generator=generator, device=device, requires_grad=requires_grad,
        dtype=input.array.dtype if dtype is None else dtype,
    )  # fmt: skip


def normal(
    mean: Tensor | float = 0.0, std: Tensor | float = 1.0, size: Any = None, *, generator: Any = None, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers: of one mean and standard deviation in a shape, or of those that Tensors give element by element.

    No gradient flows to ``mean`` or ``std``, as in PyTorch; ``mean + std * randn(...)`` has one.

    >>> import autograd_ff as af
    >>> af.normal(5.0, 0.0, (2,)), af.normal(af.tensor([1.0, 2.0]), 0.0)
    (tensor([5., 5.]), tensor([1., 2.]))
    """
    check_device(device)
    values = [one.detach() if isinstance(one, TensorCore) else one for one in (mean, std)]
    lowest = min(
        (one.array.min() if one.array.size else 0) if isinstance(one, TensorCore) else one for one in values[1:]
    )
    if lowest < 0:
        raise ShapeError(f"a standard deviation is not negative, got {lowest}{here()}")
    if not any(isinstance(one, TensorCore) for one in values):
        if size is None:
            raise ShapeError(f"normal of two numbers needs a size: normal(mean, std, (2, 3)){here()}")
        params = {
            "generator": source(generator), "shape": shape_of((size,)), "mean": mean, "std": std,
            "dtype": _floating(dtype),
        }  # fmt: skip
        return _finish(apply(rules.normal, (None,), params), requires_grad)
    with scope("composite", "normal", "normal"):
        shape = np.broadcast_shapes(*(one.array.shape for one in values if isinstance(one, TensorCore)))
        of = next(one.array.dtype for one in values if isinstance(one, TensorCore))
        params = {"generator": source(generator), "shape": shape, "dtype": _floating(dtype, of)}
        drawn = apply(elementwise.multiply, (apply(rules.normal, (None,), params), values[1]))
        return _finish(apply(elementwise.add, (drawn, values[0])), requires_grad)


def _are_probabilities(array: np.ndarray) -> bool:
    return bool(array.min() >= 0 and array.max() <= 1)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with probability ``input`` (element by element) or ``p``, else 0; of the dtype of ``input``.

    >>> import autograd_ff as af
    >>> af.bernoulli(af.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    array = input.array if p is None else np.full(input.array.shape, p)
    if p is None and array.dtype.kind != "f":
        raise DtypeError(f"probabilities are floating numbers, these are {array.dtype}{here()}")
    if array.size and not condition(_are_probabilities, array):
        raise ShapeError(f"probabilities lie in [0, 1], got numbers from {array.min()} to {array.max()}{here()}")
    drawn = apply(rules.bernoulli, (input if p is None else array,), {"generator": source(generator)})
    return drawn if drawn.array.dtype == input.array.dtype else drawn.to(input.array.dtype)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Positions drawn with probabilities proportional to the weights in ``input``, (n,) or (m, n), along its last dim.

    Returns:
        int64, (num_samples,) or (m, num_samples).

    >>> import autograd_ff as af
    >>> af.multinomial(af.tensor([0.0, 3.0, 0.0]), 1)
    tensor([1])
    """
    note_read(input, "multinomial")
    weights = np.asarray(input.array, dtype=np.float64)
    if weights.ndim not in (1, 2) or not weights.shape[-1]:
        raise ShapeError(f"multinomial takes weights of shape (n,) or (m, n), got {weights.shape}{here()}")
    if not np.all(weights >= 0) or not np.all(np.isfinite(weights)) or not np.all(weights.sum(-1) > 0):
        raise ShapeError(f"multinomial needs finite weights that are not negative and not all 0{here()}")
    rows = weights if weights.ndim == 2 else weights[None]
    fewest = int(np.count_nonzero(rows, axis=1).min(initial=rows.shape[1]))
    if num_samples < 1 or (not replacement and num_samples > fewest):
        raise ShapeError(
            f"{num_samples} samples without replacement from {fewest} weights that are not 0{here()}\n"
            "  Draw fewer, or pass replacement=True."
        )
    numpy = source(generator)
    if replacement:
        edges = np.cumsum(rows, axis=1)
        points = numpy.random((len(rows), num_samples)) * edges[:, -1:]
        found = np.stack(
            [np.searchsorted(edge, point, side="right") for edge, point in zip(edges, points, strict=True)]
        )
    else:  # the largest of weight ** (1 / uniform) are such a sample (Efraimidis and Spirakis, 2006)
        with np.errstate(divide="ignore"):
            keys = np.log(numpy.random(rows.shape)) / rows
        found = np.argsort(-keys, axis=1)[:, :num_samples]
    return wrap(np.asarray(found if weights.ndim == 2 else found[0], dtype=np.int64))


# ---------------------------------------------------------------- dropout


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Tensor:
    """Elements set to 0 with probability ``p``, the others divided by ``1 - p``, so that the mean stays.

    Args:
        input: any shape.
        p: the probability of dropping an element.
        training: where false, the input is returned as it is.
        inplace: overwrite the input.
        generator: of the mask; the default one otherwise.

    Raises:
        ShapeError: p outside [0, 1].

    Source: Srivastava et al., 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".

    >>> import autograd_ff as af
    >>> x = af.ones(1000)
    >>> sorted(set(af.dropout(x, 0.5).tolist()))
    [0.0, 2.0]
    >>> af.dropout(x, training=False) is x
    True
    """
    if not 0 <= p <= 1:
        raise ShapeError(f"the probability of dropping an element lies in [0, 1], got {p}{here()}")
    if not training or p == 0 or not input.array.size:
        return input
    if input.array.dtype.kind != "f":
        raise DtypeError(f"dropout scales what it keeps, which needs a floating dtype, not {input.array.dtype}{here()}")
    with scope("composite", "dropout", "dropout"):
        mask = apply(rules.dropout_mask, (input,), {"generator": source(generator), "p": p})
        if inplace:
            return update(elementwise.multiply, input, (mask,))
        return apply(elementwise.multiply, (input, mask))


class Random(TensorCore):
    """Random numbers written into a Tensor."""

    __slots__ = ()

    def uniform_(self, a: float = 0.0, b: float = 1.0, *, generator: Any = None) -> Tensor:
        """Overwrite with uniform numbers from [a, b)."""
        if a > b:
            raise ShapeError(f"uniform_ draws from [a, b), which needs a <= b; got {a} and {b}{here()}")
        params = {
            "generator": source(generator), "shape": self.array.shape, "low": a, "high": b,
            "dtype": _floating(None, self.array.dtype),
        }  # fmt: skip
        return assign(self, apply(rules.uniform, (None,), params))

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
        """Overwrite with normal numbers."""
        if std < 0:
            raise ShapeError(f"a standard deviation is not negative, got {std}{here()}")
        params = {
            "generator": source(generator), "shape": self.array.shape, "mean": mean, "std": std,
            "dtype": _floating(None, self.array.dtype),
        }  # fmt: skip
        return assign(self, apply(rules.normal, (None,), params))

    def bernoulli_(self, p: float | Tensor = 0.5, *, generator: Any = None) -> Tensor:
        """Overwrite with 1 with probability ``p``, else 0."""
        if isinstance(p, TensorCore):
            return assign(self, bernoulli(p, generator=generator))
        return assign(self, bernoulli(self, p, generator=generator))  # type: ignore[arg-type]

    def random_(self, low: int = 0, high: int | None = None, *, generator: Any = None) -> Tensor:
        """Overwrite with whole numbers: ``random_(high)`` or ``random_(low, high)``, without ``high``."""
        if high is None:
            low, high = 0, low or 2**31
        return assign(self, randint(low, high, self.array.shape, generator=generator))
