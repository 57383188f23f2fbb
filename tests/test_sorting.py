"""Sorting against PyTorch and NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import errors


def draw_array(data, ties):
    shape = tuple(data.draw(st.lists(st.integers(0 if ties else 1, 5), max_size=3), label="shape"))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    array = generator.integers(-2, 3, shape).astype(float) if ties else generator.normal(size=shape)
    if ties and data.draw(st.booleans(), label="nan"):
        array = np.where(array == 2, math.nan, array)
    last = max(len(shape), 1)
    return np.asarray(array), data.draw(st.integers(-last, last - 1), label="dim")


@pytest.mark.torch
@given(data=st.data(), descending=st.booleans())
def test_sort_is_pytorchs_stable_sort(data, descending):
    torch = pytest.importorskip("torch")
    array, dim = draw_array(data, ties=True)
    ours = af.tensor(array).sort(dim, descending)
    theirs = torch.tensor(array).sort(dim=dim, descending=descending, stable=True)
    np.testing.assert_array_equal(ours.values.numpy(), theirs.values.numpy())
    np.testing.assert_array_equal(ours.indices.numpy(), theirs.indices.numpy())
    assert ours.indices.dtype == af.int64
    order = af.argsort(af.tensor(array), dim, descending)
    np.testing.assert_array_equal(order.numpy(), theirs.indices.numpy())


@pytest.mark.torch
@given(data=st.data(), flag=st.booleans())
def test_gradients_of_sort_topk_kthvalue(data, flag):
    from against_torch import assert_same_gradients

    array, dim = draw_array(data, ties=False)
    size = array.shape[dim] if array.ndim else 1
    k = data.draw(st.integers(1, size), label="k")
    assert_same_gradients(lambda lib, x: tuple(lib.sort(x, dim, flag)), array)
    assert_same_gradients(lambda lib, x: tuple(lib.topk(x * x, k, dim, largest=flag)), array)
    assert_same_gradients(lambda lib, x: tuple(lib.kthvalue(x, k, dim)), array)
    assert_same_gradients(lambda lib, x: lib.msort(x) if x.ndim else x * 1, array)


def test_integers_and_booleans_descend_without_overflow():
    x = af.tensor([-128, 127, 0], dtype=af.int8)
    assert x.sort(descending=True).values.tolist() == [127, 0, -128]
    assert af.tensor([0, 255, 3], dtype=af.uint8).topk(2).values.tolist() == [255, 3]
    assert af.tensor([True, False, True]).sort().values.tolist() == [False, True, True]
    assert af.tensor([0, 255, 3], dtype=af.uint8).argsort(descending=True).tolist() == [1, 2, 0]


def test_gradient_goes_where_the_elements_stood():
    x = af.tensor([3.0, 1.0, 2.0], requires_grad=True)
    (x.sort().values * af.tensor([10.0, 20.0, 30.0])).sum().backward()
    assert x.grad.tolist() == [30.0, 10.0, 20.0]


def test_named_results():
    values, indices = result = af.tensor([2.0, 3.0, 1.0]).topk(2)
    assert result.values is values
    assert result.indices is indices
    assert (values.tolist(), indices.tolist()) == ([3.0, 2.0], [1, 0])
    assert af.tensor([2.0, 3.0]).topk(0).values.shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.topk(4, 1), errors.ShapeError, "4 of the 3"),
        (lambda x: x.topk(-1), errors.ShapeError, "-1 of the 3"),
        (lambda x: x.kthvalue(0), errors.ShapeError, "element 0 of 3"),
        (lambda x: x.sort(2), errors.DimensionError, "dimension 2"),
        (lambda x: x.argsort(-3), errors.DimensionError, "dimension -3"),
    ],
)
def test_errors_name_the_clash_and_the_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call(af.ones(2, 3))
    assert "test_sorting.py" in str(caught.value)


def test_numpys_front_door():
    array = np.random.default_rng(0).normal(size=(3, 4))
    for axis in (None, 0, -1):
        x = af.tensor(array, requires_grad=True)
        out = np.sort(x, axis=axis)
        np.testing.assert_array_equal(out.detach().numpy(), np.sort(array, axis=axis))
        (out * out).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * array)
        np.testing.assert_array_equal(
            np.argsort(x, axis=axis, kind="stable").numpy(), np.argsort(array, axis, kind="stable")
        )
    order = np.argsort(array, 1)
    np.testing.assert_array_equal(np.take_along_axis(x, order, 1).detach().numpy(), np.sort(array, 1))
    np.testing.assert_array_equal(np.take_along_axis(x, order[0], None).detach().numpy(), array.reshape(-1)[order[0]])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("sort", ()), ("argsort", ()), ("topk", (1,)), ("flatten", ()), ("transpose", (0, 1)), ("squeeze", ()),
     ("unsqueeze", (0,)), ("flip", (0,)), ("roll", (1,)), ("split", (1,)), ("ones_like", ()), ("zeros_like", ())],
)  # fmt: skip
def test_what_is_no_tensor_is_named(name, arguments):
    with pytest.raises(errors.DtypeError, match=rf"{name} takes a Tensor, got a list: \[1.0, 2.0\]"):
        getattr(af, name)([1.0, 2.0], *arguments)
