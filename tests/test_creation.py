"""New tensors and conversions, against PyTorch's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autograd_ff as af
from autograd_ff import errors

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
numbers = st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.floats(-1e6, 1e6, width=32))


def nested(leaf, depth):
    """Lists of equal lengths, ``depth`` deep."""
    if not depth:
        return leaf
    return st.integers(0, 3).flatmap(lambda size: st.lists(nested(leaf, depth - 1), min_size=size, max_size=size))


@pytest.mark.torch
@given(st.one_of(numbers, st.lists(numbers, max_size=4), st.lists(st.tuples(numbers, numbers), max_size=3)))
def test_inference_is_pytorchs(data):
    torch = pytest.importorskip("torch")
    ours, theirs = af.tensor(data), torch.tensor(data)
    assert str(theirs.dtype) == f"torch.{ours.dtype}"
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_arrays_keep_their_dtype_and_are_copied(dtype, data):
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
    made = af.tensor(array)
    assert (made.dtype, made.shape) == (array.dtype, array.shape)
    assert not np.shares_memory(made.numpy(), array)
    np.testing.assert_array_equal(made.numpy(), array)
    assert af.tensor(made).dtype == array.dtype
    assert af.tensor([made, made]).dtype == array.dtype or not array.size


def test_numpy_scalars_keep_their_dtype():
    assert af.tensor(np.float64(1.0)).dtype == af.tensor([np.float64(1.0)]).dtype == af.float64
    assert af.tensor([np.float32(1.0)]).dtype == af.float32
    assert af.tensor(np.int8(1)).dtype == af.int8


def test_default_dtype():
    try:
        af.set_default_dtype(af.float64)
        assert (
            af.get_default_dtype()
            == af.tensor(1.0).dtype
            == af.zeros(1).dtype
            == af.linspace(0, 1, 2).dtype
            == af.float64
        )
        assert af.tensor(1).dtype == af.int64
    finally:
        af.set_default_dtype(af.float32)
    assert af.tensor([1.0, 2]).dtype == af.tensor([]).dtype == af.float32


def test_dtype_and_requires_grad():
    x = af.tensor([1, 2], dtype=af.float64, requires_grad=True)
    assert x.dtype == af.float64
    assert x.requires_grad
    assert x.is_leaf
    assert af.tensor(x, requires_grad=True) is not x
    assert not af.tensor(x).requires_grad  # a copy of the numbers, cut from the graph
    with pytest.raises(errors.GraphError, match="int64"):
        af.tensor([1], requires_grad=True)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ([[1, 2], [3]], errors.ShapeError, "dimension 1.*length 2.*length 1"),
        ([[[1, 2], [3]], [[1], [2]]], errors.ShapeError, "dimension 2"),
        ([1, [2]], errors.ShapeError, "a number.*length 1"),
        ("abc", errors.DtypeError, "numbers"),
        (["abc"], errors.DtypeError, "numbers"),
        ([None], errors.DtypeError, "NoneType"),
        (object(), errors.DtypeError, "object"),
        (np.array(["a"]), errors.DtypeError, "numbers"),
        (np.array([1, None]), errors.DtypeError, "object"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), errors.DtypeError, "datetime64"),
        (np.ma.masked_array([1.0], mask=[True]), errors.DtypeError, "masked"),
        ({"a": 1}, errors.DtypeError, "dict"),
        ([10**30], errors.DtypeError, "int"),
    ],
)
def test_what_is_no_tensor(data, error, words):
    with pytest.raises(error, match=words) as caught:
        af.tensor(data)
    assert "test_creation.py" in str(caught.value)


def test_lists_of_tracked_tensors_raise_rather_than_cut_the_gradient():
    x = af.tensor(1.0, requires_grad=True)
    with pytest.raises(errors.GraphError, match="gradient"):
        af.tensor([x, x])


def test_as_tensor_and_from_numpy_share_memory():
    array = np.arange(3.0)
    for shared in (af.as_tensor(array), af.from_numpy(array), af.asarray(array)):
        assert np.shares_memory(shared.array, array)
    tensor = af.ones(2)
    assert af.as_tensor(tensor) is tensor
    assert af.as_tensor(tensor, dtype=af.float64).dtype == af.float64
    assert not np.shares_memory(af.asarray(array, copy=True).array, array)
    tracked = af.ones(2, requires_grad=True)
    af.as_tensor(tracked, dtype=af.float64).sum().backward()
    assert tracked.grad.tolist() == [1.0, 1.0]


def test_read_only_arrays():
    array = np.arange(3.0)
    array.flags.writeable = False
    x = af.from_numpy(array)
    assert (x * 2).tolist() == [0.0, 2.0, 4.0]
    with pytest.raises(errors.InplaceError, match="read-only"):
        x += 1
    assert array.tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(errors.DtypeError, match="list"):
        af.from_numpy([1.0])


@pytest.mark.parametrize("make", [af.zeros, af.ones, af.empty])
def test_filled(make):
    for made in (make(2, 3), make((2, 3)), make([2, 3]), make(np.int64(2), 3)):
        assert (made.shape, made.dtype) == ((2, 3), af.float32)
    assert make(()).shape == make(*()).shape == ()
    assert make(2, dtype=af.int64).dtype == af.int64
    assert make(2, requires_grad=True).requires_grad
    like = {af.zeros: af.zeros_like, af.ones: af.ones_like, af.empty: af.empty_like}[make]
    assert like(af.zeros(2, 1, dtype=af.int8)).dtype == af.int8
    assert like(af.zeros(2, 1), dtype=af.float64).shape == (2, 1)
    with pytest.raises(errors.ShapeError, match="-1"):
        make(-1)
    with pytest.raises(errors.DtypeError, match="integers"):
        make(1.5)


def test_full():
    assert af.full((2,), 1.5).dtype == af.float32
    assert af.full((2,), 1).dtype == af.int64
    assert af.full(2, True).dtype == af.bool
    assert af.full_like(af.zeros(2, dtype=af.float64), 3).tolist() == [3.0, 3.0]
    with pytest.raises(errors.ShapeError, match="one number"):
        af.full((2,), [1, 2])


@pytest.mark.torch
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 7), st.booleans())
def test_arange(start, end, step, floating):
    torch = pytest.importorskip("torch")
    step = step if end >= start else -step
    arguments = (start, end, step * 0.3 if floating else step)
    ours, theirs = af.arange(*arguments), torch.arange(*arguments)
    assert str(theirs.dtype) == f"torch.{ours.dtype}"
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-6)


def test_arange_errors():
    with pytest.raises(errors.ShapeError, match="reach 2 from 5"):
        af.arange(5, 2)
    with pytest.raises(errors.ShapeError, match="steps of 0"):
        af.arange(5, 2, 0)


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 9))
def test_linspace(start, end, steps):
    np.testing.assert_allclose(
        af.linspace(start, end, steps, dtype=af.float64).numpy(), np.linspace(start, end, steps), rtol=1e-12, atol=1e-12
    )


@pytest.mark.torch
@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshgrid_and_eye(indexing):
    torch = pytest.importorskip("torch")
    ours = af.meshgrid(af.arange(2), af.arange(3), af.arange(4), indexing=indexing)
    theirs = torch.meshgrid(torch.arange(2), torch.arange(3), torch.arange(4), indexing=indexing)
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    np.testing.assert_array_equal(af.eye(2, 3).numpy(), torch.eye(2, 3).numpy())


def test_new_ones_of_a_tensors_dtype():
    x = af.tensor([1, 2], dtype=af.int16)
    for made in (x.new_zeros(2, 3), x.new_ones((2, 3)), x.new_empty(2, 3), x.new_full((2, 3), 7)):
        assert (made.shape, made.dtype) == ((2, 3), af.int16)
    assert x.new_tensor([1.0]).dtype == af.int16
    assert x.new_zeros(1, dtype=af.float64, requires_grad=True).requires_grad


# ---------------------------------------------------------------- conversions


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_conversion(source, target):
    x = af.tensor([0, 1, 3], dtype=source)
    wanted = np.dtype(target)
    for converted in (
        x.to(wanted),
        x.to(dtype=wanted),
        x.type(target),
        x.astype(target),
        x.to(af.zeros(1, dtype=wanted)),
    ):
        assert converted.dtype == wanted
        np.testing.assert_array_equal(converted.numpy(), x.numpy().astype(wanted))
    assert (x.to(wanted) is x) == (source == target)


def test_conversion_methods():
    x = af.tensor([1.7, -1.7])
    got = [
        getattr(x, name)().dtype.name for name in ("float", "double", "half", "long", "int", "short", "char", "bool")
    ]
    assert got == ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "bool"]
    assert x.long().tolist() == [1, -1]
    assert x.type() == "float32"
    assert x.cpu() is x.to("cpu") is x.to("cpu:0") is x
    assert x.to(x.double()).dtype == x.type_as(x.double()).dtype == af.float64
    assert x.to("cpu", af.float64).dtype == x.to(af.float64, copy=True).dtype == af.float64
    assert x.to(copy=True) is not x
    assert not np.shares_memory(x.to(copy=True).array, x.array)
    with pytest.raises(errors.AutogradError, match="cuda"):
        x.to("cuda")
    with pytest.raises(errors.AutogradError, match="cuda"):
        af.zeros(1, device="cuda")
    with pytest.raises(errors.DtypeError, match="no dtype"):
        x.type("U5")


def test_gradients_flow_through_floating_conversions_only():
    x = af.tensor([1.0, 2.0], requires_grad=True)
    (x.double() * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert x.grad.dtype == af.float32
    assert not x.long().requires_grad
    assert not x.bool().requires_grad


def test_clone_and_contiguous():
    x = af.ones(2, 3, requires_grad=True)
    copy = x.clone()
    assert copy.tolist() == x.tolist()
    assert not np.shares_memory(copy.array, x.array)
    turned = x.T
    assert x.contiguous() is x
    assert not turned.is_contiguous()
    assert turned.contiguous().is_contiguous()
    (copy.sum() + turned.contiguous().sum()).backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_names_of_the_package():
    assert (af.pi, af.e, af.inf) == (math.pi, math.e, math.inf)
    assert math.isnan(af.nan)
    assert (af.float, af.double, af.half, af.long, af.int) == (af.float32, af.float64, af.float16, af.int64, af.int32)
    for name in DTYPES:
        assert getattr(af, name) == np.dtype(name)


def test_another_byte_order_is_no_other_dtype():
    swapped = np.arange(3).astype(">f4")
    for made in (af.tensor(swapped), af.as_tensor(swapped), af.zeros(3, dtype=">f4")):
        assert made.dtype == af.float32
        assert made.dtype.isnative
    assert af.tensor(swapped).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(errors.DtypeError, match=r">f4.*tensor\(array\)"):
        af.from_numpy(swapped)


def test_what_is_no_number_to_count_with():
    for call in (lambda: af.arange("a"), lambda: af.arange(0, None, None), lambda: af.linspace(0, "b", 3)):
        with pytest.raises(errors.DtypeError, match="counts with numbers"):
            call()
    with pytest.raises(errors.DtypeError, match="does not fit into int64"):
        af.tensor(2**70)


def test_size_of_a_dimension():
    x = af.zeros(2, 3)
    assert (x.size(), x.size(0), x.size(-1)) == ((2, 3), 2, 3)
    for wrong in (lambda: x.size(2), lambda: af.tensor(1.0).size(0)):
        with pytest.raises(errors.DimensionError, match="dimension"):
            wrong()
