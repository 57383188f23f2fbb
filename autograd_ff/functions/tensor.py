"""The public Tensor: the engine's core with PyTorch's operators, properties and methods."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import engine
from ..engine import TensorCore, apply, get_default_dtype, here, restructured, touch, wrap
from ..engine.inplace import update
from ..engine.node import HookHandle, Leaf, Node, add_hook, hooks_of
from ..engine.site import at
from ..engine.tensor import note_read
from ..engine.versions import version
from ..errors import DimensionError, DtypeError, GraphError, ShapeError
from ..rules import elementwise
from ..rules import indexing as index_rules
from ..rules import linalg as product_rules
from ..rules.indexing import slice_view
from . import creation, indexing, linalg, reductions, shaping, sorting
from .activations import Activations
from .comparison import Comparison
from .conversion import Conversions
from .dims import dim_of
from .inplace import InPlace
from .pointwise import Pointwise, power_of
from .random import Random

__all__ = ["Tensor"]


def _binary(op: engine.Op, doc: str) -> Callable[[Any, Any], Tensor]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, (TensorCore, np.ndarray, float, int, np.generic, list, tuple)):
            return NotImplemented
        return apply(op, (self, other))

    method.__doc__ = doc
    return method


def _reflected(op: engine.Op, doc: str) -> Callable[[Any, Any], Tensor]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, (np.ndarray, float, int, np.generic, list, tuple)):
            return NotImplemented
        return apply(op, (other, self))

    method.__doc__ = doc
    return method


def _in_place(op: engine.Op, doc: str) -> Callable[[Any, Any], Tensor]:
    def method(self: Any, other: Any) -> Any:
        return update(op, self, (other,))

    method.__doc__ = doc
    return method


class Tensor(Pointwise, Comparison, InPlace, Activations, Random, Conversions):
    """An array that remembers how it was computed.

    Args:
        data: numbers, nested lists of them, an array or a Tensor; copied. The dtype is the default one (float32), as
            in PyTorch's ``torch.Tensor``; `tensor` infers it instead.
        requires_grad: whether operations on it are recorded.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ()
    __array_ufunc__ = engine.array_ufunc
    __array_function__ = engine.array_function
    __array_priority__ = 1000

    def __init__(self, data: Any = (), *, requires_grad: bool = False) -> None:
        if isinstance(data, TensorCore):
            data = data.array
        self.array = np.array(data, dtype=get_default_dtype())
        self.node = None
        self._grad = None
        self.view_of = None
        if requires_grad:
            self.requires_grad = True

    # ---------------------------------------------------------------- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sides of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def device(self) -> str:
        """Always ``"cpu"``."""
        return "cpu"

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor; only leaves accumulate `grad`."""
        return self.node is None or isinstance(self.node, Leaf)

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this tensor; None for a leaf."""
        return None if self.is_leaf else self.node

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` accumulated here, or None."""
        touch(self, "read")
        return self._grad  # type: ignore[return-value]

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, TensorCore):
                raise DtypeError(f"a gradient must be a Tensor or None, got {type(value).__name__}{here()}")
            if value.array.shape != self.array.shape:
                raise ShapeError(f"a gradient of shape {value.array.shape} for a tensor of {self.array.shape}{here()}")
            if value.array.dtype != self.array.dtype:
                raise DtypeError(f"a gradient of dtype {value.array.dtype} for a tensor of {self.array.dtype}{here()}")
        touch(self, "write")
        self._grad = value

    @property
    def data(self) -> Tensor:
        """A detached Tensor on the same memory. Assigning replaces this tensor's memory."""
        if self.node is not None:
            note_read(self, "data")
        return wrap(self.array)

    @data.setter
    def data(self, value: Any) -> None:
        array = value.array if isinstance(value, TensorCore) else np.asarray(value)
        if array.dtype.kind not in "buifc" or (self.node is not None and array.dtype.kind not in "fc"):
            found = array.dtype if array.dtype.kind in "buifc" else f"a {type(value).__name__}"
            needed = "numbers" if self.node is None else "floating numbers, for it requires grad"
            raise DtypeError(f"the data of this tensor must be {needed}, got {found}.{here()}")
        note_read(self, "replace")
        self.array = array
        self.view_of = None
        restructured()
        if isinstance(self.node, Leaf):
            self.node.shape, self.node.dtype = array.shape, array.dtype

    @property
    def _version(self) -> int:
        return version(self.array)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one side of it."""
        if dim is None:
            return self.shape
        if not self.array.ndim:
            raise DimensionError(f"size: a 0-d tensor has no dimension {dim}{here()}")
        return self.shape[dim_of(dim, self.array.ndim, "size")]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self.array.size

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    def is_floating_point(self) -> bool:
        return self.array.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        return bool(self.array.flags.c_contiguous)

    def __len__(self) -> int:
        if not self.array.ndim:
            raise DtypeError(f"a 0-d tensor has no length{here()}")
        return len(self.array)

    def __repr__(self) -> str:
        body = np.array2string(self.array, separator=", ", prefix="tensor(", floatmode="maxprec_equal", precision=4)
        notes = ""
        if self.dtype not in (get_default_dtype(), np.dtype(np.int64), np.dtype(bool)) or not self.array.size:
            notes += f", dtype={self.dtype}"
        if self.node is not None:
            notes += ", requires_grad=True" if self.is_leaf else f", grad_fn=<{self.node.op.name}>"
        return f"tensor({body}{notes})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: a tensor with a graph as its picture, where `visualize` is there to draw it."""
        try:
            from visualize.drawing.notebook import bundle
        except ImportError:
            return {"text/plain": repr(self)}
        return bundle(self, include, exclude)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.array.ndim == 0 and spec else repr(self)

    __hash__ = object.__hash__

    # ---------------------------------------------------------------- copies of the object

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For ``copy.copy`` and pickle: a leaf with these numbers; neither the graph nor ``.grad`` goes with it."""
        return _rebuild, (type(self), self.array, self.requires_grad), _attributes(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf on memory of its own, its ``.grad`` copied too.

        Raises:
            GraphError: the tensor was computed; a copy of it would leave the graph silently.
        """
        if not self.is_leaf:
            raise GraphError(
                "only leaves can be copied deeply, and this tensor is the result of "
                f"{self.node.op.name}{at(self.node.site)}\n"  # type: ignore[union-attr]
                "  Copy x.detach() for its value alone, or use x.clone(), which is recorded."
            )
        copied = memo[id(self)] = _rebuild(type(self), self.array.copy(), self.requires_grad)
        state = copy.deepcopy(_attributes(self), memo)
        for name, value in state[1].items() if state else ():
            setattr(copied, name, value)
        if state and state[0]:
            copied.__dict__.update(state[0])
        copied._grad = copy.deepcopy(self._grad, memo)
        return copied

    # ---------------------------------------------------------------- gradients

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | Tensor | None = None,
    ) -> None:
        """Add the gradient of this tensor to the ``.grad`` of the leaves that it depends on.

        Args:
            gradient: the upstream gradient, of this tensor's shape; 1 for a tensor of one element.
            retain_graph: keep what the graph saved, to go backward through it again; ``create_graph`` by default.
            create_graph: record the backward pass too, for gradients of gradients.
            inputs: accumulate into these tensors only.

        Raises:
            GraphError: the tensor is not tracked, has several elements and no ``gradient`` is given, or its graph has
                been freed.

        >>> from autograd_ff import tensor
        >>> w = tensor([3.0], requires_grad=True)
        >>> (w**2).backward()
        >>> w.grad
        tensor([6.])
        """
        from ..autograd.differentiate import backward

        given = None if gradient is None else (gradient,)  # a list here is one gradient, not several
        backward(self, given, retain_graph=retain_graph, create_graph=create_graph, inputs=inputs)

    def detach(self) -> Tensor:
        """A Tensor on the same memory, cut from the graph."""
        if self.node is not None:
            note_read(self, "detach")
        return wrap(self.array)

    def detach_(self) -> Tensor:
        """Cut this tensor itself from the graph."""
        if self.view_of is not None:
            raise GraphError(f"a view cannot be detached in place; use x = x.detach().{here()}")
        if self.node is not None:
            note_read(self, "detach")
        self.node = None
        restructured()
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad`; returns the tensor."""
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor in ``.grad`` although it is not a leaf."""
        if self.node is None:
            raise GraphError(f"this tensor does not require grad, so it has no gradient to retain.{here()}")
        if not isinstance(self.node, Leaf):
            import weakref

            hooks_of(self.node).retaining = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this non-leaf."""
        hooks = None if self.node is None else self.node.hooks
        return hooks is not None and hooks.retaining is not None and hooks.retaining() is self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call ``hook(gradient)`` when this tensor's gradient is known; what it returns, if anything, replaces it.

        A hook that holds this tensor keeps its graph alive until Python's cycle collector runs.
        """
        if self.node is None:
            raise GraphError(f"this tensor does not require grad, so there is no gradient to hook.{here()}")
        if not callable(hook):
            raise DtypeError(f"a hook is a function of the gradient, got {hook!r}{here()}")
        return add_hook(self.node, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> HookHandle:
        """Call ``hook(tensor)`` after a backward pass has updated this leaf's ``.grad``."""
        if not isinstance(self.node, Leaf):
            raise GraphError(f"only a leaf that requires grad accumulates a gradient.{here()}")
        return add_hook(self.node, hook, after=True)

    # ---------------------------------------------------------------- to Python and NumPy

    def numpy(self) -> np.ndarray:
        """The array itself, on the same memory; for a tensor that is not tracked."""
        if self.node is not None:
            raise GraphError(f"numpy() of a tracked tensor would cut the gradient; use x.detach().numpy().{here()}")
        note_read(self, "numpy")
        return self.array

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.array.size != 1:
            raise ShapeError(f"item() needs a tensor of one element, this one has shape {self.shape}{here()}")
        note_read(self, "item")
        return self.array.item()

    def tolist(self) -> Any:
        """Nested Python lists."""
        note_read(self, "tolist")
        return self.array.tolist()

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ShapeError(f"the truth of a tensor of shape {self.shape} is ambiguous; use .any() or .all(){here()}")
        note_read(self, "bool")
        return bool(self.array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.array.dtype.kind not in "iub":
            raise DtypeError(f"only an integer tensor can be an index, this one is {self.dtype}{here()}")
        return int(self.item())

    def __iter__(self) -> Iterator[Tensor]:
        if not self.array.ndim:
            raise DtypeError(f"a 0-d tensor cannot be iterated over{here()}")
        with engine.scope("composite", "unbind", "unbind"):  # names the user's line, not this one
            return iter([self[position] for position in range(len(self.array))])

    def __contains__(self, value: Any) -> bool:
        return bool((self.array == (value.array if isinstance(value, TensorCore) else value)).any())

    # ---------------------------------------------------------------- operators

    __add__ = _binary(elementwise.add, "``self + other``, broadcasting.")
    __radd__ = _reflected(elementwise.add, "``other + self``.")
    __sub__ = _binary(elementwise.subtract, "``self - other``, broadcasting.")
    __rsub__ = _reflected(elementwise.subtract, "``other - self``.")
    __mul__ = _binary(elementwise.multiply, "``self * other``, broadcasting.")
    __rmul__ = _reflected(elementwise.multiply, "``other * self``.")
    __truediv__ = _binary(elementwise.divide, "``self / other``, broadcasting.")
    __rtruediv__ = _reflected(elementwise.divide, "``other / self``.")
    __floordiv__ = _binary(elementwise.floor_divide, "``self // other``, broadcasting.")
    __rfloordiv__ = _reflected(elementwise.floor_divide, "``other // self``.")
    __mod__ = _binary(elementwise.remainder, "``self % other``, broadcasting.")
    __rmod__ = _reflected(elementwise.remainder, "``other % self``.")
    __matmul__ = _binary(product_rules.matmul, "Matrix product, batched over leading dimensions.")
    __rmatmul__ = _reflected(product_rules.matmul, "``other @ self``.")
    __rpow__ = _reflected(elementwise.power, "``other ** self``.")

    def __pow__(self, exponent: Any) -> Tensor:
        """``self ** exponent``, broadcasting."""
        return apply(*power_of(self, exponent))

    def __neg__(self) -> Tensor:
        return apply(elementwise.negative, (self,))

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return apply(elementwise.absolute, (self,))

    __iadd__ = _in_place(elementwise.add, "``self += other`` in place.")
    __isub__ = _in_place(elementwise.subtract, "``self -= other`` in place.")
    __imul__ = _in_place(elementwise.multiply, "``self *= other`` in place.")
    __itruediv__ = _in_place(elementwise.divide, "``self /= other`` in place.")
    __ipow__ = _in_place(elementwise.power, "``self **= other`` in place.")

    __eq__ = _binary(engine.OPS["equal"], "Elementwise ``self == other``.")  # type: ignore[assignment]
    __ne__ = _binary(engine.OPS["not_equal"], "Elementwise ``self != other``.")  # type: ignore[assignment]
    __lt__ = _binary(engine.OPS["less"], "Elementwise ``self < other``.")
    __le__ = _binary(engine.OPS["less_equal"], "Elementwise ``self <= other``.")
    __gt__ = _binary(engine.OPS["greater"], "Elementwise ``self > other``.")
    __ge__ = _binary(engine.OPS["greater_equal"], "Elementwise ``self >= other``.")
    __and__ = _binary(engine.OPS["bitwise_and"], "Elementwise ``self & other``, of booleans or integers.")
    __or__ = _binary(engine.OPS["bitwise_or"], "Elementwise ``self | other``, of booleans or integers.")
    __xor__ = _binary(engine.OPS["bitwise_xor"], "Elementwise ``self ^ other``, of booleans or integers.")

    def __invert__(self) -> Tensor:
        """Elementwise ``~self``, of booleans or integers."""
        return apply(engine.OPS["invert"], (self,))

    # ---------------------------------------------------------------- indexing

    def __getitem__(self, index: Any) -> Tensor:
        """The elements at ``index``: integers, slices, None, masks, index arrays and Tensors, as in PyTorch.

        Integers and slices make a view, masks and arrays a copy. Unlike in PyTorch, slices may have negative steps.
        """
        kind = index.__class__
        if kind is int or kind is slice:
            return apply(slice_view, (self,), {"index": index})
        if kind is tuple:
            for part in index:
                kind = part.__class__
                if kind is not int and kind is not slice and part is not None and part is not Ellipsis:
                    break
            else:
                return apply(slice_view, (self,), {"index": index})
        first, rest = indexing.plain_index(index)
        if rest is not None:
            return indexing.apart_item(self, first, rest)
        return apply(index_rules.select(self, first), (self,), {"index": first})

    def __setitem__(self, index: Any, value: Any) -> None:
        indexing.put_item(self, index, value)

    # ---------------------------------------------------------------- reductions

    sum = reductions.sum
    mean = reductions.mean
    prod = reductions.prod
    cumsum = reductions.cumsum
    cumprod = reductions.cumprod
    max = reductions.max
    min = reductions.min
    amax = reductions.amax
    amin = reductions.amin
    aminmax = reductions.aminmax
    argmax = reductions.argmax
    argmin = reductions.argmin
    median = reductions.median
    var = reductions.var
    std = reductions.std
    logsumexp = reductions.logsumexp
    norm = reductions.norm
    any = reductions.any
    all = reductions.all
    count_nonzero = reductions.count_nonzero
    sort = sorting.sort
    argsort = sorting.argsort
    msort = sorting.msort
    topk = sorting.topk
    kthvalue = sorting.kthvalue

    # ---------------------------------------------------------------- new ones of this dtype

    new_tensor = creation.new_tensor
    new_zeros = creation.new_zeros
    new_ones = creation.new_ones
    new_empty = creation.new_empty
    new_full = creation.new_full

    # ---------------------------------------------------------------- selecting and placing

    select = indexing.select
    narrow = indexing.narrow
    index_select = indexing.index_select
    take_along_dim = indexing.take_along_dim
    gather = indexing.gather
    scatter = indexing.scatter
    scatter_add = indexing.scatter_add
    index_add = indexing.index_add
    index_put = indexing.index_put
    masked_fill = indexing.masked_fill
    masked_select = indexing.masked_select
    nonzero = indexing.nonzero
    tril = indexing.tril
    triu = indexing.triu
    diagonal = indexing.diagonal
    diag = indexing.diag
    trace = indexing.trace

    # ---------------------------------------------------------------- products

    matmul = linalg.matmul
    mm = linalg.mm
    bmm = linalg.bmm
    mv = linalg.mv
    dot = linalg.dot
    outer = linalg.outer
    inner = linalg.inner

    # ---------------------------------------------------------------- shaping

    T = property(shaping.reversed_dims, doc="The dimensions in reverse order.")
    mT = property(shaping.matrix_transpose, doc="The last two dimensions exchanged.")
    reshape = shaping.reshape
    reshape_as = shaping.reshape_as
    view = shaping.view
    view_as = shaping.view_as
    flatten = shaping.flatten
    ravel = shaping.ravel
    unflatten = shaping.unflatten
    squeeze = shaping.squeeze
    unsqueeze = shaping.unsqueeze
    permute = shaping.permute
    transpose = shaping.transpose
    swapaxes = shaping.transpose
    swapdims = shaping.transpose
    t = shaping.t
    movedim = shaping.movedim
    moveaxis = shaping.movedim
    expand = shaping.expand
    expand_as = shaping.expand_as
    broadcast_to = shaping.broadcast_to
    split = shaping.split
    chunk = shaping.chunk
    tensor_split = shaping.tensor_split
    unbind = shaping.unbind
    flip = shaping.flip
    fliplr = shaping.fliplr
    flipud = shaping.flipud
    rot90 = shaping.rot90
    roll = shaping.roll
    tile = shaping.tile
    repeat = shaping.repeat
    repeat_interleave = shaping.repeat_interleave


def _rebuild(kind: type[Tensor], array: np.ndarray, requires_grad: bool) -> Any:
    """A leaf of this class, made without calling its ``__init__``."""
    made = kind.__new__(kind)
    made.array = array
    made.node = None
    made._grad = None
    made.view_of = None
    made.requires_grad = requires_grad
    return made


def _attributes(tensor: Tensor) -> tuple[dict[str, Any] | None, dict[str, Any]] | None:
    """What subclasses added, as pickle wants it: the contents of ``__dict__`` and of their slots."""
    names = [
        name for kind in type(tensor).__mro__ if kind not in Tensor.__mro__ for name in vars(kind).get("__slots__", ())
    ]
    slots = {name: getattr(tensor, name) for name in names if hasattr(tensor, name)}
    contents = getattr(tensor, "__dict__", None)
    return (contents, slots) if contents or slots else None


engine.set_tensor_class(Tensor)
