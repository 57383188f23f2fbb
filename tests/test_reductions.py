"""Reductions: values and gradients against PyTorch and NumPy, and the edge cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import errors


def draw_array(data, shape, ties=False):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    if ties:
        return generator.integers(-2, 3, shape).astype(np.float64)
    return np.asarray(generator.normal(size=shape))


def draw_shape(data, min_dims=0, min_side=1):
    return tuple(data.draw(st.lists(st.integers(min_side, 4), min_size=min_dims, max_size=3), label="shape"))


def draw_dim(data, ndim, several=True):
    one = st.integers(-max(ndim, 1), max(ndim, 1) - 1)
    options = [st.none(), one]
    if several and ndim:
        options.append(st.permutations(range(ndim)).flatmap(lambda p: st.integers(1, ndim).map(lambda n: tuple(p[:n]))))
    return data.draw(st.one_of(options), label="dim")


NUMPY = {
    "sum": np.sum, "mean": np.mean, "prod": np.prod, "amax": np.max, "amin": np.min, "any": np.any, "all": np.all,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NUMPY))
@given(data=st.data())
def test_values_are_numpys(name, data):
    shape = draw_shape(data)
    array, dim = draw_array(data, shape, ties=True), draw_dim(data, len(shape), several=name != "prod")
    keep = data.draw(st.booleans(), label="keepdim")
    expected = NUMPY[name](array, axis=dim, keepdims=keep) if shape else NUMPY[name](array)
    out = getattr(af, name)(af.tensor(array), dim, keep)
    np.testing.assert_allclose(out.numpy(), expected)
    assert out.shape == np.shape(expected)
    by_numpys_names = getattr(af.tensor(array), name)(axis=dim, keepdims=keep)
    np.testing.assert_array_equal(by_numpys_names.numpy(), out.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "logsumexp", "var", "std", "norm"])
@given(data=st.data())
def test_gradients_are_pytorchs(name, data):
    from against_torch import assert_same_gradients

    shape = draw_shape(data, min_side=2)
    array = draw_array(data, shape, ties=name.startswith("am"))
    dim = draw_dim(data, len(shape))
    if dim is None and name == "logsumexp":
        dim = tuple(range(len(shape)))
    keep = data.draw(st.booleans(), label="keepdim")
    if not shape and name in ("var", "std"):
        return
    if name == "norm":
        orders = [2, 1, 3, 0.5, 2.5, math.inf, -math.inf, 0, None]
        if not isinstance(dim, tuple) or len(dim) < 3:  # PyTorch's "fro" takes no more dimensions
            orders.append("fro")
        p = data.draw(st.sampled_from(orders), label="p")
        assert_same_gradients(lambda lib, x: lib.norm(x, p, dim=dim, keepdim=keep), array)
    elif name in ("var", "std"):
        correction = data.draw(st.sampled_from([0, 1]), label="correction")
        assert_same_gradients(lambda lib, x: getattr(lib, name)(x, dim=dim, correction=correction, keepdim=keep), array)
    else:
        arguments = (dim,) if dim is not None else ()
        if dim is None and name != "logsumexp":
            keep = False
        assert_same_gradients(
            lambda lib, x: getattr(lib, name)(x, *arguments, **({"keepdim": keep} if arguments else {})), array
        )


@pytest.mark.torch
@given(data=st.data())
def test_product_with_zeros(data):
    from against_torch import assert_same_gradients

    shape = draw_shape(data, min_dims=1)
    array = draw_array(data, shape, ties=True)  # zeros among them
    dim = draw_dim(data, len(shape), several=False)
    assert_same_gradients(lambda lib, x: lib.prod(x) if dim is None else lib.prod(x, dim), array)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@given(data=st.data())
def test_along_a_dimension(name, data):
    from against_torch import assert_same_gradients

    shape = draw_shape(data)
    array = draw_array(data, shape, ties=True)
    dim = draw_dim(data, len(shape), several=False) or 0
    assert_same_gradients(lambda lib, x: getattr(lib, name)(x, dim), array)


def test_second_derivative_of_cumprod_at_zeros():
    x = af.tensor([0.0, 0.0, 3.0], dtype=af.float64, requires_grad=True)
    (first,) = af.autograd.grad(x.cumprod(0)[2], x, create_graph=True)
    assert first.tolist() == [0.0, 0.0, 0.0]
    (second,) = af.autograd.grad(first[0], x)
    assert second.tolist() == [0.0, 3.0, 0.0]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["max", "min", "median"])
@given(data=st.data())
def test_values_and_indices(name, data):
    from against_torch import assert_same_gradients

    shape = draw_shape(data, min_dims=1)
    array = np.asarray(np.random.default_rng(data.draw(st.integers(0, 9999))).permutation(math.prod(shape)), float)
    dim = draw_dim(data, len(shape), several=False)
    keep = data.draw(st.booleans(), label="keepdim")
    if dim is None:
        assert_same_gradients(lambda lib, x: getattr(lib, name)(x), array.reshape(shape))
    else:
        assert_same_gradients(lambda lib, x: tuple(getattr(lib, name)(x, dim, keep)), array.reshape(shape))


def test_full_maximum_shares_and_maximum_along_a_dimension_chooses():
    x = af.tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]
    x.grad = None
    x.max(dim=0).values.backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


def test_gradient_of_a_nan_maximum_goes_to_the_nan():
    x = af.tensor([1.0, math.nan, 3.0], requires_grad=True)
    x.amax().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


def test_maximum_of_two():
    a, b = af.tensor([1.0, 5.0], requires_grad=True), af.tensor([2.0, 3.0], requires_grad=True)
    af.max(a, b).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([0.0, 1.0], [1.0, 0.0])
    assert af.min(a, b).tolist() == [1.0, 3.0]
    assert a.max(other=b).tolist() == [2.0, 5.0]


@pytest.mark.parametrize("rows", [[-math.inf, -math.inf], [-math.inf, 0.0], [1000.0, -1000.0], [math.inf, 0.0]])
def test_logsumexp_of_infinities_and_large_numbers(rows):
    from scipy.special import logsumexp

    x = af.tensor([rows], dtype=af.float64, requires_grad=True)
    out = x.logsumexp(1)
    np.testing.assert_allclose(out.detach().numpy(), logsumexp(np.array([rows]), axis=1))
    if math.inf not in rows:
        out.sum().backward()
        expected = np.exp(np.array(rows) - out.item()) if math.isfinite(out.item()) else np.zeros(2)
        np.testing.assert_allclose(x.grad.numpy(), [expected])


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, math.inf, 0, "fro"])
def test_gradient_of_the_norm_at_zero_is_zero(p):
    x = af.zeros(3, requires_grad=True)
    x.norm(p).backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_gradient_of_the_standard_deviation_of_equal_numbers_is_zero():
    x = af.ones(3, requires_grad=True)
    x.std().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_moments_of_too_few_numbers_are_nan():
    assert math.isnan(af.ones(1).var().item())
    assert math.isnan(af.ones(0).std().item())
    assert math.isnan(af.ones(0).mean().item())
    assert af.ones(1).var(correction=0).item() == 0.0
    x = af.ones(1, requires_grad=True)
    x.var().backward()
    assert math.isnan(x.grad.item())


def test_older_forms_of_the_variance():
    x = af.tensor([1.0, 2.0, 4.0], dtype=af.float64)
    assert x.var(False).item() == pytest.approx(np.var(x.numpy()))
    assert x.var(unbiased=True).item() == x.var().item() == pytest.approx(np.var(x.numpy(), ddof=1))
    assert x.std(0, False, True).shape == (1,)
    with pytest.raises(TypeError):
        x.var(unbiased=True, correction=0)


def test_integers():
    assert af.tensor([200, 100], dtype=af.uint8).sum().item() == 300
    for dtype in (af.uint8, af.int8, af.int32, af.bool):
        for name in ("sum", "prod"):
            assert getattr(af.ones(2, dtype=dtype), name)().dtype == af.int64
        assert af.ones(2, dtype=dtype).cumsum(0).dtype == af.int64
    assert af.tensor([1, 2]).sum(dtype=af.float32).dtype == af.float32
    assert af.ones(2, dtype=af.int64).sum(dtype=af.int32).dtype == af.int32
    assert not af.ones(2, requires_grad=True).sum(dtype=af.int64).requires_grad
    for name in ("mean", "var", "std", "norm"):
        with pytest.raises(errors.DtypeError, match="float"):
            getattr(af.tensor([1, 2]), name)()
    assert af.tensor([1, 2]).mean(dtype=af.float64).item() == 1.5


def test_half_precision_sums_in_single_precision():
    x = af.full((4096,), 1.0, dtype=af.float16)
    assert x.sum().item() == 4096.0  # summed one by one in float16 it would stop at 2048
    assert x.mean().dtype == af.float16


def test_empty_tensors():
    empty = af.zeros(0, 3)
    assert empty.sum().item() == 0.0
    assert empty.prod(0).tolist() == [1.0, 1.0, 1.0]
    assert empty.logsumexp(0).tolist() == [-math.inf] * 3
    assert empty.norm().item() == 0.0
    assert empty.amax(1).shape == empty.max(1).values.shape == (0,)
    assert (empty.any().item(), empty.all().item()) == (False, True)
    for call in (lambda: empty.amax(), lambda: empty.max(), lambda: empty.max(0), lambda: empty.argmax()):
        with pytest.raises(errors.ShapeError):
            call()


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "prod", "logsumexp", "norm", "argmax", "cumsum"])
def test_zero_dimensions_have_dimension_zero(name):
    x = af.tensor(3.0, requires_grad=True)
    out = x.norm(dim=0) if name == "norm" else getattr(x, name)(0)
    assert out.shape == ()
    if name != "argmax":
        out.backward()
        assert x.grad.item() == 1.0
    with pytest.raises(errors.DimensionError, match="-1 to 0"):
        x.norm(dim=1) if name == "norm" else getattr(x, name)(1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.sum(2), errors.DimensionError, "dimension 2 is out of range"),
        (lambda x: x.sum((0, -2)), errors.DimensionError, "twice"),
        (lambda x: x.sum(1.5), errors.DtypeError, "1.5"),
        (lambda x: x.sum(True), errors.DtypeError, "True"),
        (lambda x: x.sum(axis=True), errors.DtypeError, "True"),
        (lambda x: x.norm("nuc"), errors.ShapeError, "nuc"),
        (lambda x: x.norm(math.nan), errors.ShapeError, "nan"),
    ],
)
def test_errors_name_the_clash_and_the_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call(af.ones(2, 3))
    assert "test_reductions.py" in str(caught.value)


def test_numpys_front_door():
    array = np.random.default_rng(0).normal(size=(3, 4))
    for function in (
        np.sum,
        np.mean,
        np.max,
        np.min,
        np.var,
        np.std,
        np.prod,
        np.cumsum,
        np.cumprod,
        np.argmax,
        np.any,
    ):
        for axis in (None, 0, -1):
            x = af.tensor(array, requires_grad=True)
            out = function(x, axis=axis)
            assert isinstance(out, af.Tensor)
            np.testing.assert_allclose(out.detach().numpy(), function(array, axis=axis))
            if out.dtype.kind == "f":
                out.sum().backward()
                assert x.grad is not None
    x = af.tensor(array, requires_grad=True)
    np.testing.assert_allclose(np.add.reduce(x).detach().numpy(), np.add.reduce(array))
    np.testing.assert_allclose(np.maximum.reduce(x, axis=1).detach().numpy(), array.max(1))
    for options in (
        {},
        {"ord": 1, "axis": 0},
        {"ord": "fro"},
        {"ord": 1},
        {"ord": np.inf},
        {"axis": (0, 1), "ord": -1},
    ):
        np.testing.assert_allclose(np.linalg.norm(x, **options).detach().numpy(), np.linalg.norm(array, **options))
    with pytest.raises(errors.NoRuleError):
        np.linalg.norm(x, ord=2)
    with pytest.raises(errors.NoRuleError, match="where"):
        np.sum(x, where=array > 0)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((3, 4), 2, 12)


def test_what_is_no_tensor_is_named():
    for call in (lambda: af.sum(None), lambda: af.mean(3.0), lambda: af.max([1.0], 0), lambda: af.var("a")):
        with pytest.raises(errors.DtypeError, match="takes a Tensor, got a"):
            call()
