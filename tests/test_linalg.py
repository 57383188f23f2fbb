"""Products against PyTorch and NumPy: values, gradients, and gradients of gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import errors

sides = st.integers(1, 4)


def arrays(*shapes, seed=0):
    generator = np.random.default_rng(seed)
    return [np.asarray(generator.normal(size=shape)) for shape in shapes]


@st.composite
def factors(draw):
    """Two shapes that matmul takes: vectors, matrices, batches that broadcast."""
    n, k, m = draw(sides), draw(sides), draw(sides)
    batch = draw(st.lists(sides, max_size=2))
    left = [draw(st.sampled_from([side, 1])) for side in batch][draw(st.integers(0, len(batch))) :]
    right = [1 if a != side else draw(st.sampled_from([side, 1])) if a == side else side
             for a, side in zip([1] * (len(batch) - len(left)) + left, batch, strict=True)]  # fmt: skip
    right = [side if draw(st.booleans()) else one for one, side in zip(right, batch, strict=True)]
    first, second = (*left, n, k), (*right, k, m)
    kind = draw(st.sampled_from(["matrices", "row", "column", "vectors"]))
    return {"matrices": (first, second), "row": ((k,), second), "column": (first, (k,)), "vectors": ((k,), (k,))}[kind]


@pytest.mark.torch
@given(factors())
def test_matmul(shapes):
    from against_torch import assert_same_gradients

    a, b = arrays(*shapes)
    assert_same_gradients(lambda lib, x, y: x @ y, a, b)
    assert_same_gradients(lambda lib, x, y: lib.matmul(x * x, y * y), a, b)


@pytest.mark.torch
@given(sides, sides, sides, sides)
def test_products_with_fixed_dimensions(b, n, k, m):
    from against_torch import assert_same_gradients

    assert_same_gradients(lambda lib, x, y: lib.mm(x, y), *arrays((n, k), (k, m)))
    assert_same_gradients(lambda lib, x, y: lib.bmm(x, y), *arrays((b, n, k), (b, k, m)))
    assert_same_gradients(lambda lib, x, y: lib.mv(x, y), *arrays((n, k), (k,)))
    assert_same_gradients(lambda lib, x, y: lib.dot(x, y), *arrays((k,), (k,)))
    assert_same_gradients(lambda lib, x, y: lib.outer(x, y), *arrays((n,), (m,)))
    assert_same_gradients(lambda lib, x, y: lib.inner(x, y), *arrays((b, n, k), (m, k)))
    assert_same_gradients(lambda lib, x, y: lib.kron(x, y), *arrays((n, k), (m, b)))
    assert_same_gradients(lambda lib, x, y: lib.kron(x, y), *arrays((n, k, 2), (m,)))
    assert_same_gradients(lambda lib, x, y, z: lib.addmm(x, y, z, beta=0.5, alpha=2), *arrays((n, m), (n, k), (k, m)))
    assert_same_gradients(lambda lib, x, y: lib.tensordot(x, y, dims=2), *arrays((b, n, k), (n, k, m)))
    assert_same_gradients(lambda lib, x, y: lib.tensordot(x, y, dims=([0, -1], [2, 0])), *arrays((b, n, k), (k, m, b)))
    assert_same_gradients(lambda lib, x, y: lib.tensordot(x, y, dims=0), *arrays((n,), (m, k)))


EQUATIONS = [
    ("ij,jk->ik", ("ij", "jk")), ("ij,jk", ("ij", "jk")), ("bij,bjk->bik", ("bij", "bjk")), ("ij->ji", ("ij",)),
    ("ji", ("ij",)), ("ij->", ("ij",)), ("ij->j", ("ij",)), ("ii->i", ("ii",)), ("ii", ("ii",)), ("iij->ji", ("iij",)),
    ("iii->i", ("iii",)), ("iijj->ij", ("iijj",)), ("i,j->ij", ("i", "j")), ("i,i", ("i", "i")), ("i,i->i", ("i", "i")),
    ("ij,ij->", ("ij", "ij")), ("ij,kj->ik", ("ij", "kj")), ("ij,k->", ("ij", "k")), ("ii,ij->j", ("ii", "ij")),
    ("ij,jk,kb->ib", ("ij", "jk", "kb")), ("i,ij,j->", ("i", "ij", "j")), ("ijk,ij->ik", ("ijk", "ij")),
    ("...ij,...jk->...ik", ("bij", "jk")), ("...ij,jk", ("bij", "jk")), ("b...,b...->b", ("bij", "bij")),
    ("...,...->...", ("ij", "bij")), ("i...->...", ("ijk",)), ("ij...,jk...->ik...", ("ijb", "jkb")), (",i->i", ("", "i")),
    (" ij , jk -> ik ", ("ij", "jk")),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(("equation", "names"), EQUATIONS)
@given(data=st.data())
def test_einsum(equation, names, data):
    from against_torch import assert_same_gradients

    size = {letter: data.draw(sides, label=letter) for letter in "bijk"}
    operands = arrays(*(tuple(size[letter] for letter in name) for name in names))
    assert_same_gradients(lambda lib, *xs: lib.einsum(equation, *xs), *operands)
    assert_same_gradients(lambda lib, *xs: lib.einsum(equation, [x * x for x in xs]), *operands)
    if "..." not in equation:
        np.testing.assert_allclose(
            af.einsum(equation, *map(af.tensor, operands)).numpy(), np.einsum(equation, *operands)
        )


@pytest.mark.torch
def test_einsum_broadcasts_sides_of_one():
    from against_torch import assert_same_gradients

    assert_same_gradients(lambda lib, x, y: lib.einsum("...ij,...jk->...ik", x, y), *arrays((5, 1, 2, 3), (4, 3, 2)))
    assert_same_gradients(lambda lib, x, y: lib.einsum("ij,ij->i", x, y), *arrays((1, 3), (4, 3)))
    assert_same_gradients(lambda lib, x, y: lib.einsum("ij,jk->ik", x, y), *arrays((2, 1), (3, 4)))


def test_einsum_never_returns_a_view():
    x = af.ones(3, 3)
    af.einsum("ii->i", x).mul_(0)
    assert x.tolist() == [[1.0] * 3] * 3


@pytest.mark.torch
@given(st.lists(sides, max_size=3), sides, sides, st.booleans())
def test_linear(batch, fan_in, fan_out, biased):
    from against_torch import assert_same_gradients

    def linear(lib, *inputs):
        return (lib.linear if lib is af else lib.nn.functional.linear)(*inputs)

    operands = arrays((*batch, fan_in), (fan_out, fan_in), (fan_out,))
    assert_same_gradients(linear, *operands[: 3 if biased else 2])


def test_linear_runs_on_batches_without_rows():
    weight = af.ones(3, 2, requires_grad=True)
    out = af.linear(af.ones(0, 2), weight, af.ones(3))
    out.sum().backward()
    assert out.shape == (0, 3)
    assert weight.grad.tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize(
    ("shape", "weight", "words"),
    [
        ((64, 1, 28, 28), (128, 784), r"\(64, 1, 28, 28\).*\(128, 784\)[\s\S]*flatten first: x\.flatten\(1\)"),
        ((64, 28, 28), (128, 784), r"x\.flatten\(1\)"),
        ((2, 5, 28, 28), (128, 784), r"x\.flatten\(2\)"),
        ((28, 28), (128, 784), r"x\.flatten\(0\)"),
        ((784, 64), (128, 784), r"x\.T"),
        ((64, 783), (128, 784), r"must be 784"),
        ((), (128, 784), r"must be 784"),
        ((64, 784), (784,), r"matrix"),
    ],
)
def test_linear_says_how_to_fit_the_input(shape, weight, words):
    with pytest.raises(errors.ShapeError, match=words) as caught:
        af.linear(af.zeros(shape), af.zeros(weight))
    assert "test_linalg.py" in str(caught.value)


def test_linear_advice_works():
    x, weight = af.ones(2, 1, 3, 3), af.ones(4, 9)
    with pytest.raises(errors.ShapeError, match=r"x\.flatten\(1\)"):
        af.linear(x, weight)
    assert af.linear(x.flatten(1), weight).shape == (2, 4)
    with pytest.raises(errors.ShapeError, match=r"bias has shape \(1,\)"):
        af.linear(x.flatten(1), weight, af.ones(1))


def test_dtypes_of_products():
    single, double, whole = af.ones(2, 2), af.ones(2, 2, dtype=af.float64), af.ones(2, 2, dtype=af.int64)
    assert (single @ double).dtype == af.float64
    assert (single @ whole).dtype == af.float32
    assert (whole @ whole).dtype == af.int64
    assert (single.half() @ single.half()).dtype == af.float16
    assert af.linear(single.half(), single.half()).dtype == af.float16
    assert (np.ones((2, 2), np.float32) @ single).dtype == af.float32


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x @ x, r"\(2, 3\) and \(2, 3\): the last dimension of the left one, 3.*2"),
        (lambda x: x @ af.ones(2), r"\(2, 3\) and \(2,\).*3.*only one.*2"),
        (lambda x: x @ af.tensor(1.0), "0-d"),
        (lambda x: af.ones(2, 2, 3) @ af.ones(3, 3, 1), "batch"),
        (lambda x: x.mm(af.ones(3)), r"\(2, 3\) and \(3,\)"),
        (lambda x: af.bmm(af.ones(2, 2, 3), af.ones(1, 3, 2)), "2 and 1"),
        (lambda x: x.dot(x), "matmul"),
        (lambda x: x.outer(x), "outer"),
        (lambda x: af.tensordot(x, x, dims=1), r"\(2, 3\)"),
        (lambda x: af.einsum("ij,jk", x, x), "'j' has size 3.*2"),
        (lambda x: af.einsum("ij->ik", x), "'ik'"),
        (lambda x: af.einsum("ij->ii", x), "repeats"),
        (lambda x: af.einsum("i", x), "'i'.*2"),
        (lambda x: af.einsum("ij,jk", x), "2 operands, got 1"),
        (lambda x: af.einsum("i1", x), "letters"),
    ],
)
def test_errors_name_the_clash_and_the_line(call, words):
    with pytest.raises(errors.ShapeError, match=words) as caught:
        call(af.ones(2, 3))
    assert "test_linalg.py" in str(caught.value)


def test_empty_products_are_zeros():
    assert (af.ones(2, 0) @ af.ones(0, 3)).tolist() == [[0.0] * 3] * 2
    assert af.einsum("ij,jk->ik", af.ones(2, 0), af.ones(0, 3)).tolist() == [[0.0] * 3] * 2


def test_numpys_front_door():
    a, b = arrays((2, 3), (3, 4))
    v = b[:, 0]
    calls = {
        "matmul": lambda x: np.matmul(x, b), "dot": lambda x: np.dot(x, b), "dot vector": lambda x: np.dot(x, v),
        "inner": lambda x: np.inner(x, a), "outer": lambda x: np.outer(x, v),
        "einsum": lambda x: np.einsum("ij,jk->ik", x, b), "einsum implicit": lambda x: np.einsum("ij,jk", x, b),
        "tensordot": lambda x: np.tensordot(x, b, axes=1), "kron": lambda x: np.kron(x, b), "@": lambda x: a.T @ x,
        "einsum optimize": lambda x: np.einsum("ij,jk,k->i", x, b, b[0], optimize=True),
    }  # fmt: skip
    for name, call in calls.items():
        x = af.tensor(a, requires_grad=True)
        out = call(x)
        assert isinstance(out, af.Tensor), name
        np.testing.assert_allclose(out.detach().numpy(), call(a), err_msg=name)
        out.sum().backward()
        np.testing.assert_allclose((x * x.grad).sum().item(), call(a).sum(), err_msg=name)  # all are linear in x
    with pytest.raises(errors.AutogradError):
        np.einsum(x, [0, 1], [1, 0])


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.mm(np.ones((3, 2))),
        lambda x: af.bmm(1, 2),
        lambda x: af.dot([1.0], [2.0]),
        lambda x: af.mv(x, None),
        lambda x: af.outer("a", "b"),
        lambda x: af.einsum("ij,jk", x, 3),
    ],
)
def test_what_is_no_tensor_is_named(call):
    with pytest.raises(errors.DtypeError, match=r"takes a Tensor, got a (ndarray|int|list|NoneType|str)") as caught:
        call(af.ones(2, 3))
    assert "test_linalg.py" in str(caught.value)
