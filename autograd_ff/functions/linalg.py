"""Products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..engine import TensorCore, apply, here
from ..errors import DtypeError, ShapeError
from ..kernels import linear as linear_kernel
from ..rules import linalg as rules
from .composition import composed
from .operands import check_tensors

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "addmm", "bmm", "dot", "einsum", "ger", "inner", "kron", "linear", "matmul", "mm", "mv", "outer", "tensordot",
]  # fmt: skip

_linear = linear_kernel.linear


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, ``input @ other``, batched over leading dimensions, which broadcast.

    A vector on the left is a row, one on the right a column; two vectors give their dot product.

    >>> import autograd_ff as af
    >>> af.matmul(af.ones(5, 2, 3), af.ones(3, 4)).shape
    (5, 2, 4)
    """
    return apply(rules.matmul, (input, other))


def _check_dims(what: str, *expected: tuple[Any, int]) -> None:
    check_tensors(what, *(value for value, _ in expected))
    for value, ndim in expected:
        if value.array.ndim != ndim:
            shapes = " and ".join(str(one.shape) for one, _ in expected)
            raise ShapeError(
                f"{what} takes tensors of {' and '.join(str(one) for _, one in expected)} dimensions, got {shapes}; "
                f"matmul (@) takes others.{here()}"
            )


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices, (n, k) and (k, m).

    >>> import autograd_ff as af
    >>> af.mm(af.ones(2, 3), af.ones(3, 4)).shape
    (2, 4)
    """
    _check_dims("mm", (input, 2), (mat2, 2))
    return apply(rules.matmul, (input, mat2))


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of the matrices of two batches, (b, n, k) and (b, k, m).

    >>> import autograd_ff as af
    >>> af.bmm(af.ones(5, 2, 3), af.ones(5, 3, 4)).shape
    (5, 2, 4)
    """
    _check_dims("bmm", (input, 3), (mat2, 3))
    if input.array.shape[0] != mat2.array.shape[0]:
        raise ShapeError(f"bmm: batches of {input.array.shape[0]} and {mat2.array.shape[0]} matrices{here()}")
    return apply(rules.matmul, (input, mat2))


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (n, k) and a vector (k,).

    >>> import autograd_ff as af
    >>> af.mv(af.ones(2, 3), af.ones(3))
    tensor([3., 3.])
    """
    _check_dims("mv", (input, 2), (vec, 1))
    return apply(rules.matmul, (input, vec))


def dot(input: Tensor, other: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements.

    >>> import autograd_ff as af
    >>> af.dot(af.tensor([1.0, 2.0]), af.tensor([3.0, 4.0]))
    tensor(11.)
    """
    _check_dims("dot", (input, 1), (other, 1))
    return apply(rules.matmul, (input, other))


@composed
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last dimensions of two tensors.

    >>> import autograd_ff as af
    >>> af.inner(af.ones(2, 3), af.ones(4, 3)).shape
    (2, 4)
    """
    return rules.inner(input, other)


@composed
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The matrix of the products of each element of one vector with each of another.

    >>> import autograd_ff as af
    >>> af.outer(af.tensor([1, 2]), af.tensor([3, 4])).tolist()
    [[3, 4], [6, 8]]
    """
    _check_dims("outer", (input, 1), (vec2, 1))
    return rules.outer(input, vec2)


ger = outer


@composed
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of ``input`` times all of ``other``, in the arrangement of ``input``.

    >>> import autograd_ff as af
    >>> af.kron(af.tensor([1, 10]), af.tensor([1, 2]))
    tensor([ 1,  2, 10, 20])
    """
    return rules.kron(input, other)


@composed
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sums of products over pairs of dimensions.

    Args:
        dims: how many: the last ones of ``a`` with the first ones of ``b``; or two lists, of dimensions of ``a`` and of
            those of ``b`` that go with them.

    >>> import autograd_ff as af
    >>> af.tensordot(af.ones(2, 3), af.ones(3, 4), dims=([1], [0])).shape
    (2, 4)
    """
    if not isinstance(dims, int):
        dims = tuple(tuple(one.array.tolist() if isinstance(one, TensorCore) else one) for one in dims)
    return rules.tensordot(a, b, axes=dims)


@composed
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``.

    >>> import autograd_ff as af
    >>> af.addmm(af.ones(2), af.ones(2, 3), af.ones(3, 2)).tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """
    product: Any = mm(mat1, mat2)
    return (input if beta == 1 else input * beta) + (product if alpha == 1 else product * alpha)


def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """Sums of products in Einstein's notation: letters name dimensions, those not in the output are summed.

    Args:
        equation: for example ``"ij,jk->ik"``. Without ``->`` the output is what occurs once, in alphabetical order. A
            letter twice in one operand takes a diagonal; ``...`` stands for dimensions that broadcast.
        operands: tensors, or one list of them.

    >>> import autograd_ff as af
    >>> af.einsum("bij,bjk->bik", af.ones(5, 2, 3), af.ones(5, 3, 4)).shape
    (5, 2, 4)
    >>> af.einsum("ii", af.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    if not isinstance(equation, str):
        raise DtypeError(f'einsum takes its equation first, as in einsum("ij,jk->ik", a, b){here()}')
    given: tuple[Any, ...] = operands
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        given = tuple(operands[0])
    if not given:
        raise ShapeError(f"einsum of no tensors at all{here()}")
    check_tensors("einsum", *given)
    return apply(rules.einsum, given, {"subscripts": rules.explicit(equation, [one.array.ndim for one in given])})


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``, the affine map of a feedforward layer.

    Args:
        input: (…, in_features).
        weight: (out_features, in_features).
        bias: (out_features,) or None.

    Returns:
        (…, out_features).

    Raises:
        ShapeError: shapes that do not fit; for images that were not flattened the message says how to flatten them.

    >>> import autograd_ff as af
    >>> af.linear(af.ones(64, 784), af.zeros(128, 784), af.ones(128)).shape
    (64, 128)
    """
    return apply(_linear, (input, weight, bias))
