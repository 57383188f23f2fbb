"""Indexing: reading and writing by every kind of index, against PyTorch; placing and selecting along dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import errors
from autograd_ff.engine import Observer, observe

SHAPE = (2, 3, 4)


@st.composite
def indices(draw, positive_steps=True):
    """An index of a tensor of shape (2, 3, 4), with index arrays that broadcast together."""
    common = draw(st.sampled_from([(2,), (3, 1), (1,), ()]))
    parts, dim = [], 0
    count = draw(st.integers(0, 3))
    while dim < count:
        side = SHAPE[dim]
        kind = draw(st.sampled_from(["int", "slice", "array", "mask", "none", "list"]))
        if kind == "none":
            parts.append(None)
            continue
        if kind == "int":
            parts.append(draw(st.integers(-side, side - 1)))
        elif kind == "slice":
            low, high = draw(st.integers(-side, side)), draw(st.integers(-side, side + 1))
            step = draw(st.integers(1, 3)) * (1 if positive_steps else draw(st.sampled_from([1, -1])))
            parts.append(
                draw(st.sampled_from([slice(None), slice(low, high), slice(low, high, step), slice(None, None, step)]))
            )
        elif kind == "mask":
            # as many true as fit the other index arrays: one, which broadcasts
            mask = np.zeros(side, dtype=bool)
            mask[draw(st.integers(0, side - 1))] = True
            parts.append(mask)
        else:
            size = int(np.prod(common))
            numbers = draw(st.lists(st.integers(-side, side - 1), min_size=size, max_size=size))
            array = np.array(numbers, dtype=np.int64).reshape(common)
            parts.append(array.tolist() if kind == "list" and array.ndim else array)
        dim += 1
    if draw(st.booleans()) and count < 3:
        parts.append(Ellipsis)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) and parts[0].__class__ is not list else tuple(parts)


def of_library(library, index):
    """The index with its arrays as the library's tensors."""
    if isinstance(index, tuple):
        return tuple(of_library(library, part) for part in index)
    return library.tensor(index) if isinstance(index, np.ndarray) else index


@pytest.mark.torch
@given(index=indices(), as_tensors=st.booleans())
def test_reading_like_pytorch(index, as_tensors):
    from against_torch import assert_same_gradients, torch

    array = np.random.default_rng(0).normal(size=SHAPE)
    assert_same_gradients(lambda lib, x: x[of_library(lib, index) if as_tensors or lib is torch else index] * 1, array)


@pytest.mark.torch
@given(index=indices(), data=st.data())
def test_writing_like_pytorch(index, data):
    from against_torch import assert_same_gradients, torch

    array = np.random.default_rng(0).normal(size=SHAPE)
    shape = tuple(torch.tensor(array)[of_library(torch, index)].shape)
    if data.draw(st.booleans(), label="scalar"):
        shape = ()
    values = np.random.default_rng(1).normal(size=shape)
    places = np.zeros(SHAPE, dtype=np.int64)
    flat = torch.arange(24).reshape(SHAPE)[of_library(torch, index)].numpy().reshape(-1)
    np.add.at(places.reshape(-1), flat, 1)
    if places.max(initial=0) > 1:
        return  # which of several values stays is not defined

    def write(lib, x, v):
        target = x * 1
        target[of_library(lib, index)] = v
        return target * target

    assert_same_gradients(write, array, values)


@given(index=indices(positive_steps=False))
def test_basic_indices_are_views(index):
    parts = index if isinstance(index, tuple) else (index,)
    x = af.arange(24).reshape(SHAPE)
    out = x[index]
    basic = all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)
    basic = basic or all(not isinstance(part, (list, np.ndarray)) or np.ndim(part) == 0 for part in parts)
    assert out.numel() == 0 or np.shares_memory(out.numpy(), x.numpy()) == basic


def test_integers_come_before_index_arrays():
    # NumPy moves both dimensions to the front here; PyTorch takes x[0] first
    x = af.arange(24).reshape(SHAPE)
    assert x[0, :, [0, 1]].shape == (3, 2)
    assert x.numpy()[0, :, [0, 1]].shape == (2, 3)
    x[0, :, af.tensor([0, 1])] = -af.arange(6).reshape(3, 2)
    assert x[0, :, :2].tolist() == [[0, -1], [-2, -3], [-4, -5]]


def test_writing_through_a_view_with_integers_before_arrays():
    leaf = af.ones(2, 2, 3, requires_grad=True)
    base = leaf * 1
    view = base[0]
    view[0, [0, 2]] = 5.0
    (view.sum() + base.sum()).backward()
    assert leaf.grad[0].tolist() == [[0.0, 2.0, 0.0], [2.0, 2.0, 2.0]]
    other = leaf * 1
    part = other[:1]
    part[0, :, [0, 2]] = 7.0
    assert other[0].tolist() == [[7.0, 1.0, 7.0]] * 2
    assert part.sum().item() == 30.0


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        (5, errors.DimensionError, "5.*0.*2"),
        ((slice(None), 3), errors.DimensionError, "3.*1.*3"),
        ([5], errors.DimensionError, "5.*0.*2"),
        ((0, 0, 0, 0), errors.DimensionError, "too many"),
        (np.array([True]), errors.DimensionError, "boolean"),
        ([0.5], errors.DtypeError, "float64"),
        (1.5, errors.DtypeError, "float64"),
        ("a", errors.DtypeError, "index"),
        (slice(0.5), errors.DtypeError, "slice"),
    ],
)
def test_index_errors(index, error, words):
    x = af.zeros(SHAPE)
    with pytest.raises(error, match=words) as caught:
        x[index]
    assert "test_indexing.py" in str(caught.value)
    with pytest.raises(error, match=words):
        x[index] = 1.0
    with pytest.raises(errors.DtypeError, match="float32"):
        x[af.zeros(2)]
    assert (x == 0).all()


def test_two_thousand_slices_go_into_one_buffer():
    class CountAdds(Observer):
        traces_backward = False
        slices = 0

        def backward(self, node, gradient, input_gradients):
            self.slices += node.op.name == "slice"

    x = af.ones(2000, 10, requires_grad=True)
    total = x[0].sum()
    for row in range(1, 2000):
        total = total + (row + 1) * x[row].sum()
    with observe(CountAdds()) as counter:
        total.backward()
    assert counter.slices == 2000
    np.testing.assert_array_equal(x.grad.numpy()[:, 3], np.arange(1, 2001))


def test_repeated_index_accumulates():
    x = af.tensor([1.0, 2.0], requires_grad=True)
    x[[0, 0, 1]].sum().backward()
    assert x.grad.tolist() == [2.0, 1.0]


# ---------------------------------------------------------------- along a dimension


@st.composite
def placed(draw, least=0):
    """An array, a dimension, and an index of it with sides no larger than the array's except in that dimension."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    sides = [draw(st.integers(least, side)) for side in shape]
    sides[dim] = draw(st.integers(0, 5))
    generator = np.random.default_rng(draw(st.integers(0, 9999)))
    return generator.normal(size=shape), dim, generator.integers(0, shape[dim], sides), generator


@pytest.mark.torch
@given(placed())
def test_gather_and_scatter_add(example):
    from against_torch import assert_same_gradients

    array, dim, index, generator = example
    source = generator.normal(size=index.shape)
    assert_same_gradients(lambda lib, x, i: lib.gather(x, dim, i), array, index)
    assert_same_gradients(lambda lib, x, i, s: lib.scatter_add(x * x, dim, i, s), array, index, source)
    # a larger source: its first elements count (PyTorch's own gradient fails there)
    x, s = af.tensor(array), af.tensor(generator.normal(size=[side + 1 for side in index.shape]), requires_grad=True)
    corner = tuple(slice(side) for side in index.shape)
    out = af.scatter_add(x, dim, af.tensor(index), s)
    np.testing.assert_allclose(
        out.detach().numpy(), af.scatter_add(x, dim, af.tensor(index), s[corner]).detach().numpy()
    )
    out.sum().backward()
    assert s.grad[corner].sum().item() == s.grad.sum().item() == index.size


@pytest.mark.torch
@given(placed())
def test_scatter_in_places_of_their_own(example):
    from against_torch import assert_same_gradients

    array, dim, index, generator = example
    size = min(index.shape[dim], array.shape[dim])
    order = np.argsort(
        generator.random((*index.shape[: dim % array.ndim], array.shape[dim], *index.shape[dim % array.ndim + 1 :])),
        dim,
    )
    unique = np.take(order, np.arange(size), dim)
    source = generator.normal(size=unique.shape)
    assert_same_gradients(lambda lib, x, i, s: lib.scatter(x * x, dim, i, s), array, unique, source)
    assert_same_gradients(lambda lib, x, i: lib.scatter(x * x, dim, i, 2.5), array, unique)


@pytest.mark.torch
@given(st.data())
def test_index_select_index_add_take(data):
    from against_torch import assert_same_gradients

    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    index = np.array(data.draw(st.lists(st.integers(0, shape[dim] - 1), max_size=5)), dtype=np.int64)
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    array = generator.normal(size=shape)
    sides = list(shape)
    sides[dim] = len(index)
    source = generator.normal(size=sides)
    assert_same_gradients(lambda lib, x, i: lib.index_select(x, dim, i), array, index)
    assert_same_gradients(lambda lib, x, i, s: lib.index_add(x * x, dim, i, s * s, alpha=2), array, index, source)
    flat = generator.integers(0, array.size, (2, 3))
    assert_same_gradients(lambda lib, x, i: lib.take(x, i), array, flat)
    assert_same_gradients(lambda lib, x, i: lib.take_along_dim(x, i.reshape(-1)), array, flat)
    order = np.argsort(array, dim)
    assert_same_gradients(lambda lib, x, i: lib.take_along_dim(x, i, dim), array, order)


@pytest.mark.torch
@given(st.data())
def test_index_put(data):
    from against_torch import assert_same_gradients

    array = np.random.default_rng(0).normal(size=(3, 4))
    rows = np.array(data.draw(st.lists(st.integers(0, 2), min_size=2, max_size=4)))
    values = np.random.default_rng(1).normal(size=len(rows))
    columns = np.arange(len(rows))
    assert_same_gradients(lambda lib, x, i, j, v: lib.index_put(x * x, (i, j), v), array, rows, columns, values)
    assert_same_gradients(
        lambda lib, x, i, j, v: lib.index_put(x * x, (i, j * 0), v, accumulate=True), array, rows, columns, values
    )


@pytest.mark.torch
@given(st.data())
def test_masks(data):
    from against_torch import assert_same_gradients

    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=3)))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    array, mask = (
        np.asarray(generator.normal(size=shape)),
        np.asarray(generator.random(shape[1:] if shape else ()) < 0.5),
    )
    assert_same_gradients(lambda lib, x, m: lib.masked_fill(x * x, m, -1.5), array, mask)
    assert_same_gradients(lambda lib, x, m, v: lib.masked_fill(x * x, m, v * v), array, mask, np.array(3.0))
    assert_same_gradients(lambda lib, x, m: lib.masked_select(x * x, m), array, mask)


@pytest.mark.torch
@given(st.data())
def test_triangles_and_diagonals(data):
    from against_torch import assert_same_gradients, assert_same_values

    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)))
    offset = data.draw(st.integers(-5, 5))
    array = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=shape)
    assert_same_gradients(lambda lib, x: lib.tril(x, offset), array)
    assert_same_gradients(lambda lib, x: lib.triu(x, offset), array)
    within = max(min(offset, shape[1]), -shape[0])
    assert_same_gradients(lambda lib, x: lib.diagonal(x, within), array)
    assert_same_gradients(lambda lib, x: lib.diagonal(x, 0, -1, 0), array)
    assert_same_gradients(lambda lib, x: lib.diag_embed(x), array)
    matrix = array.reshape(-1, shape[-1])
    assert_same_gradients(lambda lib, x: lib.trace(x), matrix)
    assert_same_gradients(
        lambda lib, x: lib.diag(x, within) if within < x.shape[1] and -within < x.shape[0] else x * 1, matrix
    )
    assert_same_gradients(lambda lib, x: lib.diag(x, offset), matrix[0])
    assert_same_values(lambda lib, x: lib.nonzero(x > 0), array)
    assert_same_values(lambda lib, x: lib.nonzero(x > 0, as_tuple=True), array)
    assert_same_values(lambda lib, x: lib.count_nonzero(x > 0, dim=0), array)


@pytest.mark.torch
@given(st.lists(st.integers(0, 4), min_size=1), st.booleans())
def test_one_hot(classes, given_number):
    from against_torch import assert_same_values

    index = np.array(classes).reshape(1, -1)
    number = 6 if given_number else -1
    assert_same_values(lambda lib, i: (lib.one_hot if lib is af else lib.nn.functional.one_hot)(i, number), index)


def test_nonzero_of_zero_dimensions():
    assert af.tensor(3).nonzero().shape == (1, 0)
    assert af.tensor(0).nonzero().shape == (0, 0)
    assert [one.tolist() for one in af.tensor(3).nonzero(as_tuple=True)] == [[0]]


def test_select_and_narrow_are_views():
    x = af.arange(12).reshape(3, 4)
    assert x.select(1, -1).tolist() == [3, 7, 11]
    assert x.narrow(1, 1, 2).tolist() == [[1, 2], [5, 6], [9, 10]]
    assert x.narrow(0, -1, 1).tolist() == [[8, 9, 10, 11]]
    assert np.shares_memory(x.select(0, 1).numpy(), x.numpy())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.gather(1, af.tensor([[3]])), errors.DimensionError, "index 3.*dimension 1 of size 3"),
        (lambda x: x.gather(1, af.tensor([[-1]])), errors.DimensionError, "index -1"),
        (lambda x: x.gather(0, af.tensor([0])), errors.ShapeError, r"\(1,\).*\(2, 3\)"),
        (lambda x: x.gather(0, af.zeros(1, 1)), errors.DtypeError, "float32"),
        (lambda x: x.gather(0, af.zeros(1, 4, dtype=af.int64)), errors.ShapeError, "no larger side"),
        (lambda x: x.scatter_add(0, af.tensor([[0, 0]]), af.ones(1, 1)), errors.ShapeError, "source"),
        (lambda x: x.scatter_add(0, af.tensor([[0]]), af.ones(1, 1).double()), errors.DtypeError, "float64"),
        (lambda x: x.scatter(0, af.tensor([[0]])), errors.ShapeError, "src or value"),
        (lambda x: x.scatter(0, af.tensor([[0]]), 1.0, reduce="mean"), errors.ShapeError, "mean"),
        (lambda x: x.index_select(0, af.tensor([[0]])), errors.ShapeError, "gather"),
        (lambda x: x.index_select(0, af.tensor([2])), errors.DimensionError, "index 2.*size 2"),
        (lambda x: x.index_add(0, af.tensor([0]), af.ones(2, 3)), errors.ShapeError, r"\(1, 3\)"),
        (lambda x: x.take_along_dim(af.tensor([0]), 1), errors.ShapeError, "dimensions"),
        (lambda x: x.take_along_dim(af.tensor([6])), errors.DimensionError, "index 6.*size 6"),
        (lambda x: x.masked_fill(af.ones(2, 3), 1.0), errors.DtypeError, "booleans"),
        (lambda x: x.masked_fill(x > 0, af.ones(3)), errors.ShapeError, "one number"),
        (lambda x: x.long().masked_fill(x > 0, 1.5), errors.DtypeError, "1.5"),
        (lambda x: x.masked_select(af.ones(2) > 0), errors.ShapeError, r"\(2,\)"),
        (lambda x: x.narrow(0, 1, 2), errors.DimensionError, "narrow"),
        (lambda x: x.select(0, 2), errors.DimensionError, "index 2"),
        (lambda x: x.diagonal(0, 1, 1), errors.DimensionError, "same"),
        (lambda x: af.one_hot(af.tensor([3]), 3), errors.DimensionError, "class 3.*3 classes"),
        (lambda x: af.one_hot(af.tensor([-1]), 3), errors.DimensionError, "class -1"),
        (lambda x: x[0, 0].diag(), errors.ShapeError, "vector or a matrix"),
        (lambda x: x[0].trace(), errors.ShapeError, "matrix"),
    ],
)
def test_errors_name_the_clash_and_the_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call(af.ones(2, 3))
    assert "test_indexing.py" in str(caught.value)


def test_masked_fill_keeps_the_dtype():
    mask = af.tensor([True, False])
    assert af.tensor([1, 2]).masked_fill(mask, 7).tolist() == [7, 2]
    assert af.tensor([True, True]).masked_fill(mask, 0).tolist() == [False, True]
    assert af.ones(2).masked_fill(mask, af.inf).dtype == af.float32
    assert af.ones(2, dtype=af.float16).masked_fill(mask, -af.inf).dtype == af.float16


def test_nodes_name_the_users_line():
    x = af.ones(2, 3, requires_grad=True)
    index = af.tensor([[0]])
    for out in (
        x[0], x[:, [0, 1]], x.unsqueeze(0)[0, :, [0]], x.gather(0, index), x.scatter_add(0, index, af.ones(1, 1)),
        x.masked_fill(x > 0, 1.0) * x, x.index_select(0, af.tensor([0])), x.diagonal(), x.select(0, 0), x.tril(),
    ):  # fmt: skip
        assert out.grad_fn.site.file.endswith("test_indexing.py")


def test_numpys_front_door():
    array = np.random.default_rng(0).normal(size=(3, 4))
    calls = {
        "tril": np.tril, "triu": lambda a: np.triu(a, 1), "diagonal": np.diagonal, "diag": np.diag, "trace": np.trace,
        "diag of a vector": lambda a: np.diag(a[0]),
    }  # fmt: skip
    for name, call in calls.items():
        x = af.tensor(array, requires_grad=True)
        out = call(x)
        np.testing.assert_allclose(out.detach().numpy(), call(array), err_msg=name)
        out.sum().backward()
        np.testing.assert_allclose((x * x.grad).sum().item(), call(array).sum(), err_msg=name)
    assert np.argwhere(x > 0).tolist() == np.argwhere(array > 0).tolist()
