"""Products of matrices and vectors, and sums of products by Einstein's notation."""

from __future__ import annotations

import math
import string

import numpy as np

from ..engine import REAL, TABLE, Call, Draw, composite, here, primitive
from ..engine.register import CallableOp, _register
from ..errors import ShapeError


def swap(x):
    """The last two dimensions exchanged."""
    return np.swapaxes(x, -1, -2)


def _draw_matmul(draw: Draw) -> Call:
    n, k, m = draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 4)
    batch = draw.shape(max_dims=2, max_side=3)
    kind = draw.choice(["matrices", "vector left", "vector right", "vectors", "batch", "batch right", "batch left"])
    shapes = {
        "matrices": ((n, k), (k, m)),
        "vector left": ((k,), (*batch, k, m)),
        "vector right": ((*batch, n, k), (k,)),
        "vectors": ((k,), (k,)),
        "batch": ((*batch, n, k), (*batch, k, m)),
        "batch right": ((*batch, n, k), (k, m)),
        "batch left": ((n, k), (*batch, k, m)),
    }[kind]
    return Call((draw.array(shapes[0]), draw.array(shapes[1])))


def _left(g, meta_x1, x2):
    """g @ x2ᵀ, a vector standing for a matrix with one row (on the left) or one column (on the right)."""
    if x2.ndim == 1:
        return g[..., None] * x2
    if meta_x1.ndim == 1:
        return np.matmul(g[..., None, :], swap(x2))[..., 0, :]
    return np.matmul(g, swap(x2))


def _right(g, x1, meta_x2):
    """x1ᵀ @ g."""
    if meta_x2.ndim == 1:
        return g * x1 if x1.ndim == 1 else np.matmul(swap(x1), g[..., None])[..., 0]
    if x1.ndim == 1:
        return x1[:, None] * g[..., None, :]
    return np.matmul(swap(x1), g)


def _matmul(x1, x2):
    try:
        return np.matmul(x1, x2)
    except ValueError:
        first, second = np.shape(x1), np.shape(x2)
    if not first or not second:
        raise ShapeError(f"matmul of {first} and {second}: a 0-d tensor is no matrix; multiply with *.{here()}")
    if first[-1] != second[max(len(second) - 2, 0)]:
        raise ShapeError(
            f"matmul of {first} and {second}: the last dimension of the left one, {first[-1]}, must equal the "
            f"{'last but one' if len(second) > 1 else 'only one'} of the right one, {second[max(len(second) - 2, 0)]}."
            f"{here()}"
        )
    raise ShapeError(f"matmul of {first} and {second}: the batch dimensions do not broadcast{here()}")


# The engine's sum over broadcast dimensions does the rest, batches included.
matmul = primitive(np.matmul, _left, _right, forward=_matmul, domain=_draw_matmul, analytic=True)


def _draw_dot(draw: Draw) -> Call:
    k = draw.integer(1, 4)
    shapes = draw.choice([((k,), (k,)), ((2, k), (k, 3)), ((), (k, 2)), ((2, 3, k), (k,)), ((2, k), (3, k, 2))])
    return Call((draw.array(shapes[0]), draw.array(shapes[1])))


@composite(np.dot, domain=_draw_dot)
def dot(a, b):
    """NumPy's dot: of the last dimension of a with the last but one of b."""
    if not len(a.shape) or not len(b.shape):
        return a * b
    if len(b.shape) <= 2:
        return np.matmul(a, b)
    return np.tensordot(a, b, axes=((-1,), (-2,)))


def _draw_inner(draw: Draw) -> Call:
    k = draw.integer(1, 4)
    shapes = draw.choice([((k,), (k,)), ((2, k), (3, k)), ((2, 3, k), (k,))])
    return Call((draw.array(shapes[0]), draw.array(shapes[1])))


@composite(np.inner, domain=_draw_inner)
def inner(a, b):
    """Sums of products over the last dimensions."""
    if not len(a.shape) or not len(b.shape):
        return a * b
    return np.tensordot(a, b, axes=((-1,), (-1,)))


@composite(np.outer, domain=(REAL, REAL))
def outer(a, b):
    """The product of each element of a with each of b, a matrix."""
    return np.reshape(a, (math.prod(a.shape), 1)) * np.reshape(b, (1, math.prod(b.shape)))


def _draw_tensordot(draw: Draw) -> Call:
    k, m = draw.integer(1, 3), draw.integer(1, 3)
    shapes, axes = draw.choice([
        (((2, k, m), (k, m, 2)), 2),
        (((2, k), (3,)), 0),
        (((m, 2, k), (k, 3, m)), ((0, 2), (2, 0))),
        (((2, k), (k, 3)), ((-1,), (0,))),
    ])  # fmt: skip
    return Call((draw.array(shapes[0]), draw.array(shapes[1])), {"axes": axes})


@composite(np.tensordot, domain=_draw_tensordot)
def tensordot(a, b, axes=2):
    """Sums of products over pairs of dimensions: the last ``axes`` of a with the first of b, or the pairs given."""
    if isinstance(axes, int):
        first, second = tuple(range(len(a.shape) - axes, len(a.shape))), tuple(range(axes))
    else:
        first, second = (tuple(one) if isinstance(one, (tuple, list)) else (one,) for one in axes)
        first, second = tuple(one % len(a.shape) for one in first), tuple(one % len(b.shape) for one in second)
    left = tuple(one for one in range(len(a.shape)) if one not in first)
    right = tuple(one for one in range(len(b.shape)) if one not in second)
    summed = [a.shape[one] for one in first]
    if summed != [b.shape[one] for one in second]:
        raise ShapeError(
            f"tensordot: dimensions {first} of a tensor of shape {tuple(a.shape)} do not fit dimensions {second} of "
            f"one of shape {tuple(b.shape)}{here()}"
        )
    size = math.prod(summed)
    rows, columns = tuple(a.shape[one] for one in left), tuple(b.shape[one] for one in right)
    product = np.matmul(
        np.reshape(np.transpose(a, left + first), (math.prod(rows), size)),
        np.reshape(np.transpose(b, second + right), (size, math.prod(columns))),
    )
    return np.reshape(product, rows + columns)


def _draw_kron(draw: Draw) -> Call:
    return Call((draw.array(draw.shape(max_dims=2, max_side=3)), draw.array(draw.shape(max_dims=2, max_side=3))))


@composite(np.kron, domain=_draw_kron)
def kron(a, b):
    """The Kronecker product: each element of a times all of b, in a's arrangement."""
    ndim = max(len(a.shape), len(b.shape))
    rows = (1,) * (ndim - len(a.shape)) + tuple(a.shape)
    columns = (1,) * (ndim - len(b.shape)) + tuple(b.shape)
    wide = [side for pair in zip(rows, (1,) * ndim, strict=True) for side in pair]
    narrow = [side for pair in zip((1,) * ndim, columns, strict=True) for side in pair]
    product = np.reshape(a, tuple(wide)) * np.reshape(b, tuple(narrow))
    return np.reshape(product, tuple(one * two for one, two in zip(rows, columns, strict=True)))


# ---------------------------------------------------------------- einsum


def explicit(subscripts, ndims):
    """Subscripts with an output and without an ellipsis, for operands of the given numbers of dimensions.

    >>> explicit("ij,jk", (2, 2)), explicit("...i->...", (3,))
    ('ij,jk->ik', 'abi->ab')
    """
    compact = subscripts.replace(" ", "")
    left, arrow, right = compact.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ShapeError(f"einsum: {subscripts!r} names {len(terms)} operands, got {len(ndims)}{here()}")
    for term in (*terms, right):
        plain = term.replace("...", "", 1)
        if any(letter not in string.ascii_letters for letter in plain):
            raise ShapeError(f"einsum: {term!r} in {subscripts!r} is not made of letters and one ellipsis{here()}")
    free = [letter for letter in string.ascii_letters if letter not in compact]
    extra = [ndim - len(term.replace("...", "")) for term, ndim in zip(terms, ndims, strict=True)]
    for term, more, ndim in zip(terms, extra, ndims, strict=True):
        if more < 0 or (more and "..." not in term):
            raise ShapeError(
                f"einsum: {term!r} in {subscripts!r} names {len(term.replace('...', ''))} dimensions, its operand has "
                f"{ndim}{here()}"
            )
    width = max((more for term, more in zip(terms, extra, strict=True) if "..." in term), default=0)
    dots = "".join(free[:width])
    terms = [term.replace("...", dots[width - more :]) for term, more in zip(terms, extra, strict=True)]
    if not arrow:
        # NumPy's and PyTorch's: the ellipsis first, then what occurs once, in alphabetical order.
        right = dots + "".join(sorted(one for one in set(left) - set(".,") if left.count(one) == 1))
    else:
        right = right.replace("...", dots)
    unknown = set(right) - set("".join(terms))
    if unknown or len(set(right)) < len(right):
        raise ShapeError(
            f"einsum: the output {right!r} of {subscripts!r} repeats a letter or names one that no operand has{here()}"
        )
    return ",".join(terms) + "->" + right


def _sizes(terms, shapes):
    """The size of each letter; a side of 1 broadcasts."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, side in zip(term, shape, strict=True):
            known = sizes.get(letter, 1)
            if side != known and 1 not in (side, known):
                raise ShapeError(f"einsum: {letter!r} has size {known} in one operand and {side} in another{here()}")
            sizes[letter] = side if known == 1 else known
    return sizes


def _einsum(*operands, subscripts):
    left, _, right = subscripts.partition("->")
    _sizes(left.split(","), [one.shape for one in operands])
    if len(operands) == 1:
        return np.array(np.einsum(subscripts, *operands))  # a copy: NumPy may return a view here
    # Pairwise products on BLAS where there is something to sum; else NumPy's own loop is as good.
    return np.einsum(subscripts, *operands, optimize=len(operands) > 2 or set(left) - {","} != set(right))


def _einsum_gradients(g, operands, subscripts, needs):
    left, _, right = subscripts.partition("->")
    terms = left.split(",")
    sizes = _sizes(terms, [one.shape for one in operands])
    return [
        _operand_gradient(g, operands, terms, right, position, sizes) if wanted else None
        for position, wanted in enumerate(needs)
    ]


def _operand_gradient(g, operands, terms, right, position, sizes):
    """The gradient of one operand: an einsum of the others with g."""
    operand, term = operands[position], terms[position]
    letters = "".join(dict.fromkeys(term))
    side = {letter: operand.shape[term.index(letter)] for letter in letters}
    # A side of 1 that was broadcast is summed over, as any letter that the gradient does not name.
    wanted = "".join(letter for letter in letters if side[letter] == sizes[letter])
    others = [(terms[one], operands[one]) for one in range(len(terms)) if one != position]
    # What has its full size in this operand alone was summed: its gradient is the same all along.
    known = set(right).union(
        *(
            {letter for letter, side in zip(one, other.shape, strict=True) if side == sizes[letter]}
            for one, other in others
        )
    )
    alone = "".join(letter for letter in wanted if letter not in known)
    if alone:
        others.append((alone, np.ones([sizes[letter] for letter in alone], dtype=g.dtype)))
    names = ",".join([right, *(one for one, _ in others)]) + "->" + wanted
    gradient = einsum(names, g, *(one for _, one in others))
    gradient = np.reshape(gradient, tuple(side[letter] for letter in letters))
    return gradient if letters == term else _on_diagonal(gradient, letters, term, operand.shape)


def _on_diagonal(gradient, letters, term, shape):
    """The gradient of an operand of which a diagonal was taken: zeros elsewhere."""
    mask = np.ones((1,) * len(term), dtype=bool)
    for position, letter in enumerate(term):
        first = term.index(letter)
        if first != position:
            index = [np.reshape(np.arange(shape[one]), [-1 if at == one else 1 for at in range(len(term))])
                     for one in (first, position)]  # fmt: skip
            mask = mask & np.equal(index[0], index[1])
    sides = tuple(shape[position] if term.index(letter) == position else 1 for position, letter in enumerate(term))
    order = [letters.index(letter) for letter in dict.fromkeys(term)]
    return np.where(mask, np.reshape(np.transpose(gradient, order), sides), np.zeros((), gradient.dtype))


def _draw_einsum(draw: Draw) -> Call:
    i, j, k = draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 3)
    subscripts, shapes = draw.choice([
        ("ij,jk->ik", ((i, j), (j, k))),
        ("ij->ji", ((i, j),)),
        ("ij->", ((i, j),)),
        ("ii->i", ((i, i),)),
        ("iij->ij", ((i, i, j),)),
        ("ii->", ((i, i),)),
        ("abij,abjk->abik", ((2, 1, i, j), (1, 2, j, k))),
        ("i,j->ij", ((i,), (j,))),
        ("ij,jk,kl->il", ((i, j), (j, k), (k, 2))),
        ("ij,kj->k", ((i, j), (k, j))),
        ("ij,ij->j", ((i, j), (i, j))),
        ("ijk,ij->ik", ((i, j, k), (1, j))),
    ])  # fmt: skip
    return Call(tuple(draw.array(shape) for shape in shapes), {"subscripts": subscripts})


class _Einsum(CallableOp):
    """The op of `np.einsum`, whose operands come after its subscripts."""

    __slots__ = ()

    def bind(self, args, kwargs):
        given = {key: value for key, value in kwargs.items() if key != "optimize"}
        subscripts = given.pop("subscripts", None)
        if subscripts is None:
            subscripts, *args = args
        if not isinstance(subscripts, str):
            raise ShapeError(f'einsum takes its subscripts first, as in einsum("ij,jk->ik", a, b){here()}')
        if given:
            return super().bind(tuple(args), given)  # which raises
        return tuple(args), {
            "subscripts": explicit(
                subscripts, [len(one.shape) if hasattr(one, "shape") else np.ndim(one) for one in args]
            )
        }


einsum = _register(
    _Einsum(
        "einsum",
        "primitive",
        _einsum,
        _draw_einsum,
        inputs=("operands",),
        params={"subscripts": ""},
        vjps=(),
        joint=_einsum_gradients,
        variadic=True,
        promotion="common",
        analytic=True,
    )
)
TABLE[np.einsum, "__call__"] = einsum
