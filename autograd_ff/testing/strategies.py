"""Hypothesis strategies for tensors, and for what tensors are handled with: shapes, indices, axes, permutations.

Of an array they draw the shape and a seed rather than each element: that is quick, keeps the values apart from each
other, and shrinks to the smallest shape that still fails. Hypothesis is imported when a strategy is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..engine import OPS, Call, Domain, Op, here, wrap
from ..errors import ShapeError
from .draws import HypothesisDraw
from .values import as_domain, numbers, plant, special_kinds

__all__ = [
    "Strategy", "arrays", "as_op", "broadcastable_shapes", "generators", "gufunc_shapes", "hypothesis_strategies",
    "indices", "op_calls", "permutations", "reduction_axes", "shapes", "tensors",
]  # fmt: skip

Strategy = Any  # a hypothesis.strategies.SearchStrategy: importing that package for a name would make everyone need it


def hypothesis_strategies() -> ModuleType:
    """The module ``hypothesis.strategies``.

    >>> hypothesis_strategies().__name__
    'hypothesis.strategies'
    """
    try:
        import hypothesis.strategies
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}: strategies are Hypothesis's. Run: pip install hypothesis") from error
    return hypothesis.strategies


def _is_strategy(value: Any) -> bool:
    from hypothesis.strategies import SearchStrategy

    return isinstance(value, SearchStrategy)


# ---------------------------------------------------------------- numbers


def generators() -> Strategy:
    """NumPy random generators, each with a stream of its own: two in one example differ even when both shrink to seed 0.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(generators(), generators())
    ... def test(first, second):
    ...     assert first.random() != second.random()
    >>> test()
    """
    st = hypothesis_strategies()
    count = st.shared(st.builds(itertools.count), key="autograd_ff.testing.generators")  # afresh in every example
    seeds = st.integers(0, 2**32 - 1)

    @st.composite
    def generator(draw: Callable[..., Any]) -> np.random.Generator:
        return np.random.default_rng([draw(seeds), next(draw(count))])

    return generator()


def arrays(
    shape: Any = None,
    dtype: Any = np.float64,
    *,
    domain: Domain | tuple[float, float] | None = None,
    spread: float | None = None,
    special: bool | Sequence[str] = False,
) -> Strategy:
    """NumPy arrays: `tensors`, before they are wrapped. The arguments are the same.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(arrays((2, 3), domain=(0, 1)))
    ... def test(x):
    ...     assert x.shape == (2, 3) and np.all((0 <= x) & (x <= 1))
    >>> test()
    """
    st = hypothesis_strategies()
    wanted_shape = _as_shapes(shape)
    wanted_dtype = _as_dtypes(dtype)
    domain = as_domain(domain)
    if spread is not None and not spread > 0:
        raise ShapeError(
            f"spread is the smallest distance between two values, a number above 0, not {spread!r}.{here()}"
        )
    kinds = special_kinds(special)
    planted = st.lists(st.sampled_from(kinds), unique=True) if kinds else None
    seeds = generators()

    @st.composite
    def array(draw: Callable[..., Any]) -> np.ndarray:
        one_shape = draw(wanted_shape)  # the shape first, so that it is what shrinks first
        one_dtype = draw(wanted_dtype)
        generator = draw(seeds)
        made = numbers(generator, one_shape, one_dtype, domain, spread)
        return made if planted is None else plant(generator, made, draw(planted), domain)

    return array()


def tensors(
    shape: Any = None,
    dtype: Any = np.float64,
    *,
    domain: Domain | tuple[float, float] | None = None,
    spread: float | None = None,
    special: bool | Sequence[str] = False,
    requires_grad: bool = False,
) -> Strategy:
    """Tensors of random numbers, for tests of values and of gradients.

    Args:
        shape: an int, a tuple of ints, or a strategy of them; any small shape if None, from () to three dimensions.
        dtype: a dtype or its name, a list of them to choose from, or a strategy. Floating, integer or bool; float64 by
            default, in which gradients are checked.
        domain: where the numbers lie: a pair (low, high), or a ``Domain``, such as ``POSITIVE`` or
            ``REAL.away_from(0.0)``, which keeps clear of a kink. If None: [-3, 3], whole numbers [-9, 9] (unsigned:
            [0, 9]), and further out where ``spread`` needs room.
        spread: the smallest distance between any two values of a tensor. If None, floating values keep 0.05 apart, or
            as far as there is room where they are many; whole numbers may repeat. So maxima and sorts have no ties.
        special: True to plant special values too: 0, ±1, ties, the tiniest normal numbers, subnormal and huge ones. Or a
            list of kinds: ``"zero"``, ``"one"``, ``"tie"``, ``"tiny"``, ``"subnormal"``, ``"huge"``, ``"infinite"``,
            ``"nan"``. They may lie outside the domain, yet with its sign. An example that fails without them shrinks
            to one without them.
        requires_grad: of the tensors.

    Raises:
        ShapeError: so many values do not fit into the domain with that spread.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(tensors((4, 3), "float32", domain=(0.5, 2.0), spread=0.01))
    ... def test(x):
    ...     assert x.shape == (4, 3) and 0.5 <= x.min() and x.max() <= 2.0
    >>> test()
    """
    made = arrays(shape, dtype, domain=domain, spread=spread, special=special)

    def tensor(array: np.ndarray) -> Any:
        one = wrap(array)
        one.requires_grad = requires_grad
        return one

    return made.map(tensor)


def _as_shapes(shape: Any) -> Strategy:
    st = hypothesis_strategies()
    if shape is None:
        return shapes()
    if _is_strategy(shape):
        return shape.map(_as_shape)
    return st.just(_as_shape(shape))


def _as_shape(shape: Any) -> tuple[int, ...]:
    sides = (shape,) if isinstance(shape, (int, np.integer)) else shape
    if not isinstance(sides, (tuple, list)) or not all(
        isinstance(side, (int, np.integer)) and side >= 0 for side in sides
    ):
        raise ShapeError(f"a shape is a whole number or a tuple of them, not {shape!r}.{here()}")
    return tuple(int(side) for side in sides)


def _as_dtypes(dtype: Any) -> Strategy:
    st = hypothesis_strategies()
    if _is_strategy(dtype):
        return dtype.map(np.dtype)
    options = [np.dtype(one) for one in (dtype if isinstance(dtype, (list, tuple)) else [dtype])]
    wrong = [one for one in options if one.kind not in "biuf"]
    if wrong or not options:
        raise ShapeError(f"tensors are drawn of floating, integer and bool dtypes, not {dtype!r}.{here()}")
    return st.sampled_from(options)


# ---------------------------------------------------------------- shapes


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> Strategy:
    """Shapes: tuples of ``min_dims`` to ``max_dims`` sides, each ``min_side`` to ``max_side`` long.

    >>> from hypothesis import find
    >>> find(shapes(max_side=9), lambda shape: sum(shape) > 5)
    (6,)
    """
    st = hypothesis_strategies()
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def broadcastable_shapes(
    count: int = 2, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> Strategy:
    """Tuples of ``count`` shapes that broadcast together: leading dimensions may be missing, and sides may be 1.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(broadcastable_shapes(3))
    ... def test(shapes):
    ...     np.broadcast_shapes(*shapes)
    >>> test()
    """
    from hypothesis.extra.numpy import mutually_broadcastable_shapes

    options: Any = {"min_dims": min_dims, "max_dims": max_dims, "min_side": min_side, "max_side": max_side}
    return mutually_broadcastable_shapes(num_shapes=count, **options).map(lambda found: tuple(found.input_shapes))


def gufunc_shapes(
    signature: str, *, min_dims: int = 0, max_dims: int = 2, min_side: int = 1, max_side: int = 4
) -> Strategy:
    """Shapes that fit a signature of a generalised ufunc: pairs (input shapes, output shape).

    Args:
        signature: as NumPy writes it: ``"(m,n),(n,p)->(m,p)"``. Equal letters are equal sides, a number is a fixed side,
            ``?`` marks a dimension that may be absent: ``np.matmul.signature`` is ``"(n?,k),(k,m?)->(n?,m?)"``.
        min_dims: the fewest leading dimensions, which broadcast.
        max_dims: the most of them; 0 for the shapes of the signature alone.
        min_side: of each dimension, the smallest side.
        max_side: the largest.

    Source: https://numpy.org/doc/stable/reference/c-api/generalized-ufuncs.html

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(gufunc_shapes("(m,n),(n,p)->(m,p)"))
    ... def test(shapes):
    ...     (left, right), product = shapes
    ...     assert np.matmul(np.ones(left), np.ones(right)).shape == product
    >>> test()
    """
    from hypothesis.extra.numpy import mutually_broadcastable_shapes

    options: Any = {"min_dims": min_dims, "max_dims": max_dims, "min_side": min_side, "max_side": max_side}
    found = mutually_broadcastable_shapes(signature=signature.replace(" ", ""), **options)
    return found.map(lambda one: (tuple(one.input_shapes), one.result_shape))


# ---------------------------------------------------------------- indices, axes, permutations


def indices(
    shape: int | Sequence[int],
    *,
    arrays: bool = True,
    masks: bool = True,
    newaxis: bool = True,
    negative_steps: bool = False,
    empty: bool = False,
) -> Strategy:
    """Index expressions that are valid for ``shape``: whatever NumPy's ``x[index]`` takes.

    Integers, slices, Ellipsis, None, integer arrays that broadcast together, and a boolean mask of one or more
    dimensions, alone or mixed. But no integer stands beside arrays or a mask: NumPy counts it among the arrays, PyTorch
    does not, and they put the dimensions into different places.

    Args:
        shape: of what is indexed; an int for one dimension.
        arrays: whether integer arrays occur.
        masks: whether boolean masks occur.
        newaxis: whether None occurs.
        negative_steps: whether slices may run backwards, as NumPy's do and PyTorch's do not.
        empty: whether nothing may be selected at all.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(indices((3, 4)))
    ... def test(index):
    ...     assert np.ones((3, 4))[index].size > 0
    >>> test()
    """
    sides = _as_shape(shape)
    st = hypothesis_strategies()
    kinds = ["basic", *["arrays"] * arrays, *["mask"] * masks, *["mixed"] * (arrays and masks)]

    @st.composite
    def index(draw: Callable[..., Any]) -> Any:
        kind = draw(st.sampled_from(kinds))
        count = draw(st.integers(0, len(sides)))  # of named dimensions; an Ellipsis may skip the others
        dots = draw(st.sampled_from([None, *range(count + 1)]))
        named = sides[:count] if dots is None else sides[:dots] + sides[len(sides) - count + dots :]
        mask_start, mask_stop, common = count, count, None
        generator = draw(generators())
        if kind in ("mask", "mixed") and count:
            mask_start = draw(st.integers(0, count - 1))
            wall = count if dots is None or mask_start >= dots else dots  # a mask does not reach over the Ellipsis
            mask_stop = draw(st.integers(mask_start + 1, wall))
            mask = _mask(generator, named[mask_start:mask_stop], empty)
            common = (int(mask.sum()),)
        elif kind == "arrays":
            common = draw(shapes(0, 2, 1, 3))
        items: list[Any] = []
        for position, side in enumerate(named):
            if position == dots:
                items.append(Ellipsis)
            if position == mask_start:
                items.append(mask)
            elif not mask_start < position < mask_stop:
                if common is not None and side and kind != "mask" and draw(st.booleans()):
                    # None of 0 dimensions beside others, which would be an integer to PyTorch.
                    full = draw(st.sampled_from([common, (1,) * len(common), common[1:] or common]))
                    items.append(numbers(generator, full, np.int64, Domain(-side, side - 1)))
                else:
                    items.append(draw(_basic(side, kind == "basic", negative_steps, empty)))
        if dots == count:
            items.append(Ellipsis)
        if newaxis and draw(st.booleans()):
            items.insert(draw(st.integers(0, len(items))), None)
        return items[0] if len(items) == 1 and draw(st.booleans()) else tuple(items)

    return index()


def _mask(generator: np.random.Generator, shape: tuple[int, ...], empty: bool) -> np.ndarray:
    mask = numbers(generator, shape, np.bool_)
    if mask.size and not empty and not mask.any():
        mask[tuple(int(generator.integers(side)) for side in shape)] = True
    return mask


def _basic(side: int, integers: bool, negative_steps: bool, empty: bool) -> Strategy:
    """A slice for one dimension, or an integer."""
    st = hypothesis_strategies()
    if not side:
        return st.just(slice(None))

    @st.composite
    def cut(draw: Callable[..., Any]) -> slice:
        start = draw(st.integers(0, side - 1))
        stop = draw(st.integers(0 if empty else start + 1, side))
        step = draw(st.sampled_from([None, 1, 2, *[-1, -2] * negative_steps]))
        if step is not None and step < 0:
            return slice(stop - 1, start - 1 if start else None, step)
        return slice(draw(st.sampled_from([start, start - side])), stop, step)

    return st.one_of(st.just(slice(None)), *[st.integers(-side, side - 1)] * integers, cut())


def reduction_axes(
    ndim: int | Sequence[int], *, none: bool = True, tuples: bool = True, negative: bool = True
) -> Strategy:
    """What a reduction takes as ``dim``: None for all dimensions, one, or a tuple of different ones.

    Args:
        ndim: the number of dimensions, or a shape.
        none: whether None occurs. Of no dimensions it is all that there is.
        tuples: whether tuples occur, which are never empty.
        negative: whether axes may be counted from the end.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(reduction_axes((2, 3)))
    ... def test(axis):
    ...     assert np.ones((2, 3)).sum(axis=axis).ndim < 2
    >>> test()
    """
    st = hypothesis_strategies()
    count = ndim if isinstance(ndim, int) else len(ndim)
    options = [st.none()] if none else []
    if count:
        axis = st.integers(-count if negative else 0, count - 1)
        options.append(axis)
        if tuples:
            several = st.lists(axis, min_size=1, max_size=count, unique_by=lambda one: one % count)
            options.append(several.map(tuple))
    if not options:
        raise ShapeError(f"without dimensions there is no axis but None.{here()}")
    return st.one_of(options)


def permutations(ndim: int | Sequence[int], *, negative: bool = True) -> Strategy:
    """Permutations of the dimensions, as ``permute`` and ``np.transpose`` take them.

    Args:
        ndim: the number of dimensions, or a shape.
        negative: whether some may be counted from the end.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(permutations(3))
    ... def test(axes):
    ...     assert sorted(axis % 3 for axis in axes) == [0, 1, 2]
    >>> test()
    """
    st = hypothesis_strategies()
    count = ndim if isinstance(ndim, int) else len(ndim)
    turned = st.lists(st.booleans(), min_size=count, max_size=count) if negative else st.just([False] * count)
    return st.tuples(st.permutations(range(count)), turned).map(
        lambda both: tuple(axis - count if back else axis for axis, back in zip(*both, strict=True))
    )


def as_op(op: Op | str) -> Op:
    """An op, or the one of that name in the table."""
    found = OPS.get(op) if isinstance(op, str) else op
    if found is None:
        raise ShapeError(f"the op table has no {op!r}.{here()}")
    return found


def op_calls(op: Op | str) -> Strategy:
    """Examples of one op of the table, from its own domain: ``Call(inputs, params)``.

    Args:
        op: the op or its name, such as ``"tanh"``; an op of your own works as well.

    >>> from hypothesis import given, settings
    >>> from autograd_ff.testing import table
    >>> @settings(max_examples=10, database=None)
    ... @given(op_calls("divide"))
    ... def test(call):
    ...     table.check_gradient(OPS["divide"], call)
    >>> test()
    """
    from .table import sample

    st = hypothesis_strategies()
    one = as_op(op)

    @st.composite
    def call(draw: Callable[..., Any]) -> Call:
        return sample(one, HypothesisDraw(draw))

    return call()
