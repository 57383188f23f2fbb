"""Shaping: values, gradients and views against PyTorch and NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import errors


def draw_array(data, min_dims=0, max_dims=4, min_side=1):
    shape = tuple(data.draw(st.lists(st.integers(min_side, 4), min_size=min_dims, max_size=max_dims), label="shape"))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    return np.asarray(generator.normal(size=shape))


def draw_dim(data, ndim, extra=0):
    last = max(ndim + extra, 1)
    return data.draw(st.integers(-last, last - 1), label="dim")


def call_of(data, name, array):
    """A call of a shaping function on a tensor of the array's shape, the same in both libraries."""
    ndim, shape = array.ndim, array.shape

    def dim(extra=0):
        return draw_dim(data, ndim, extra)

    def integers(low, high, count):
        return tuple(data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count), label="integers"))

    if name == "reshape":
        wanted = data.draw(st.sampled_from([(-1,), (1, -1), shape[::-1], (*shape, 1)]))
        return lambda lib, x: lib.reshape(x, wanted) * (x.reshape(*wanted) if wanted else 1)
    if name == "flatten":
        one, two = sorted(draw_dim(data, ndim) % max(ndim, 1) for _ in range(2))
        return lambda lib, x: lib.flatten(x, one, two)
    if name == "unflatten":
        return lambda lib, x: x.flatten().unflatten(0, (*shape, 1))
    if name == "squeeze":
        at = data.draw(st.sampled_from([None, 0, -1]))
        return lambda lib, x: lib.squeeze(x.unsqueeze(0)) if at is None else lib.squeeze(x, at)
    if name == "unsqueeze":
        at = dim(1)
        return lambda lib, x: lib.unsqueeze(x, at)
    if name in ("transpose", "swapaxes"):
        one, two = dim(), dim()
        return lambda lib, x: getattr(lib, name)(x, one, two)
    if name == "permute":
        order = tuple(data.draw(st.permutations(range(ndim))))
        return lambda lib, x: lib.permute(x, order)
    if name == "movedim":
        one, two = dim(), dim()
        return lambda lib, x: lib.movedim(x, one, two)
    if name == "expand":
        extra = integers(1, 3, 2)
        return lambda lib, x: x.unsqueeze(-1).expand(*extra, *[-1] * ndim, 3)
    if name == "broadcast_to":
        return lambda lib, x: lib.broadcast_to(x, (2, *shape))
    if name == "cat":
        at = draw_dim(data, ndim)
        return lambda lib, x: lib.cat([x, 2 * x, x], dim=at)
    if name == "stack":
        at = dim(1)
        return lambda lib, x: lib.stack([x, 2 * x], dim=at)
    if name in ("hstack", "vstack"):
        return lambda lib, x: getattr(lib, name)([x, x * x])
    if name == "split":
        at, size = dim(), data.draw(st.integers(1, 5))
        return lambda lib, x: lib.split(x, size, at)
    if name == "chunk":
        at, pieces = dim(), data.draw(st.integers(1, 5))
        return lambda lib, x: lib.chunk(x, pieces, at)
    if name == "tensor_split":
        at, pieces = dim(), data.draw(st.sampled_from([1, 2, 3, 5, (1, 3), (2, 1), ()]))
        return lambda lib, x: lib.tensor_split(x, pieces, at)
    if name == "unbind":
        at = dim()
        return lambda lib, x: lib.unbind(x, at)
    if name == "flip":
        at = tuple(data.draw(st.permutations(range(ndim))))[: data.draw(st.integers(0, ndim))]
        return lambda lib, x: lib.flip(x, at)
    if name == "roll":
        if data.draw(st.booleans()):
            shift = data.draw(st.integers(-5, 5))
            return lambda lib, x: lib.roll(x, shift)
        shifts, dims = integers(-5, 5, 2), (dim(), dim())
        return lambda lib, x: lib.roll(x, shifts, dims)
    if name == "tile":
        counts = integers(0, 3, data.draw(st.integers(0, 5)))
        return lambda lib, x: lib.tile(x, counts)
    if name == "repeat":
        counts = integers(0, 3, ndim + data.draw(st.integers(0, 1)))
        return lambda lib, x: x.repeat(*counts) if counts else x.repeat(())
    if name == "repeat_interleave":
        at = data.draw(st.sampled_from([None, dim()]))
        times = data.draw(st.integers(0, 3))
        return lambda lib, x: lib.repeat_interleave(x, times, dim=at)
    if name == "rot90":
        turns = data.draw(st.integers(-2, 5))
        return lambda lib, x: lib.rot90(x, turns, (0, -1))
    if name == "T":
        return lambda lib, x: x.mT
    assert name == "pad"
    amounts = integers(-1, 3, 2 * data.draw(st.integers(0, ndim)))
    sides = [side + low + high for side, low, high in zip(shape[::-1], amounts[::2], amounts[1::2], strict=False)]
    if any(side < 0 for side in sides):
        amounts = tuple(max(one, 0) for one in amounts)
    return lambda lib, x: (lib.pad if lib is af else lib.nn.functional.pad)(x, amounts, value=1.5)


NAMES = [
    "T", "broadcast_to", "cat", "chunk", "expand", "flatten", "flip", "hstack", "movedim", "pad", "permute", "repeat",
    "repeat_interleave", "reshape", "roll", "rot90", "split", "squeeze", "stack", "swapaxes", "tensor_split", "tile",
    "transpose", "unbind", "unflatten", "unsqueeze", "vstack",
]  # fmt: skip
LEAST = {
    "T": 2,
    "rot90": 2,
    "cat": 1,
    "split": 1,
    "chunk": 1,
    "tensor_split": 1,
    "unbind": 1,
    "roll": 1,
    "repeat_interleave": 1,
}


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_like_pytorch(name, data):
    from against_torch import assert_same_gradients

    array = draw_array(data, LEAST.get(name, 0))
    call = call_of(data, name, array)
    assert_same_gradients(call, array)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("rot90",)])
@given(data=st.data())
def test_empty_tensors_like_pytorch(name, data):
    from against_torch import assert_same_values

    array = draw_array(data, max(LEAST.get(name, 0), 1), min_side=0)
    if array.size or name in ("reshape", "roll", "chunk", "pad"):
        return
    assert_same_values(call_of(data, name, array), array)


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@given(data=st.data())
def test_padding_with_the_tensors_own_elements(mode, data):
    from against_torch import assert_same_gradients

    shape = (2, data.draw(st.integers(2, 4)), data.draw(st.integers(2, 4)))
    array = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=shape)
    amounts = tuple(data.draw(st.integers(0, shape[2] - 1)) for _ in range(2))
    assert_same_gradients(
        lambda lib, x: (lib.pad if lib is af else lib.nn.functional.pad)(x, amounts, mode=mode), array
    )


VIEWS = {
    "reshape": lambda x: x.reshape(3, 2), "view": lambda x: x.view(6), "flatten": lambda x: x.flatten(),
    "transpose": lambda x: x.transpose(0, 1), "permute": lambda x: x.permute(1, 0), "T": lambda x: x.T,
    "mT": lambda x: x.mT, "t": lambda x: x.t(), "squeeze": lambda x: x.squeeze(), "unsqueeze": lambda x: x.unsqueeze(0),
    "expand": lambda x: x.expand(2, 2, 3), "movedim": lambda x: x.movedim(0, 1), "unflatten": lambda x: x.unflatten(1, (3, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_views_share_memory_and_writes_through_them_are_recorded(name):
    leaf = af.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    base = leaf * 1
    view = VIEWS[name](base)
    assert np.shares_memory(view.array, base.array)
    if name == "expand":
        with pytest.raises(errors.InplaceError, match="expanded"):
            view.mul_(2)
        return
    view[...] = view * 3
    base.sum().backward()
    assert leaf.grad.tolist() == [[3.0] * 3] * 2
    assert base.tolist()[0] == [3.0, 6.0, 9.0]


@pytest.mark.parametrize(
    "cut", [lambda x: x.split(1), lambda x: x.chunk(2), lambda x: x.unbind(), lambda x: x.tensor_split(2)]
)
def test_outputs_of_split_are_views_that_cannot_be_written_while_recording(cut):
    base = af.ones(2, 3, requires_grad=True) * 1
    part = cut(base)[0]
    assert np.shares_memory(part.array, base.array)
    with pytest.raises(errors.InplaceError, match=r"split|chunk|unbind"):
        part.add_(1)
    with af.no_grad():
        part.add_(1)
    assert base.tolist()[0] == [2.0, 2.0, 2.0]


def test_copies_do_not_share_memory():
    x = af.arange(6).reshape(2, 3)
    for copy in (x.flip(0), x.roll(1), x.tile(1), x.repeat(1, 1), af.cat([x]), af.stack([x]), af.pad(x, (0, 0))):
        assert not np.shares_memory(copy.array, x.array)
        copy.add_(1)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_view_of_what_has_no_view():
    x = af.arange(6).reshape(2, 3)
    assert x.view(3, 2).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert x.T.view(3, 2, 1).shape == (3, 2, 1)  # splitting a dimension needs no order
    with pytest.raises(errors.ShapeError, match="reshape"):
        x.T.view(6)
    assert x.T.reshape(6).tolist() == [0, 3, 1, 4, 2, 5]
    with pytest.raises(errors.DtypeError, match="shape"):
        x.view(af.float32)
    assert x.view_as(af.zeros(6)).shape == x.reshape_as(af.zeros(6)).shape == (6,)


def test_spellings_of_sizes():
    x = af.arange(6)
    for shaped in (x.reshape(2, 3), x.reshape((2, 3)), x.reshape([2, 3]), x.reshape(af.tensor(2), -1), x.view(2, 3)):
        assert shaped.shape == (2, 3)
    assert af.ones(1).reshape(()).shape == af.ones(1).reshape([]).shape == ()
    assert af.flip(x, [0]).tolist() == af.flip(x, dims=(0,)).tolist() == x.flip(0).tolist()
    assert af.permute(af.zeros(2, 3), dims=(1, 0)).shape == (3, 2)
    assert af.tile(x, dims=(2,)).shape == (12,)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.reshape(4), errors.ShapeError, r"\(2, 3\).*\(4,\)"),
        (lambda x: x.permute(0, 0), errors.DimensionError, "twice"),
        (lambda x: x.permute(0), errors.DimensionError, "1 dimensions were given"),
        (lambda x: x.transpose(0, 2), errors.DimensionError, "dimension 2"),
        (lambda x: x.unsqueeze(4), errors.DimensionError, "dimension 4"),
        (lambda x: x.unsqueeze(0).t(), errors.DimensionError, "mT"),
        (lambda x: x[0].mT, errors.DimensionError, "two dimensions"),
        (lambda x: x.expand(2, 4), errors.ShapeError, "size 3 cannot become 4"),
        (lambda x: x.expand(3), errors.ShapeError, "1 sizes"),
        (lambda x: af.broadcast_tensors(x, af.zeros(4)), errors.ShapeError, r"\(2, 3\), \(4,\)"),
        (lambda x: af.cat([x, af.zeros(2, 4)]), errors.ShapeError, "3.*4"),
        (lambda x: af.cat([]), errors.ShapeError, "no tensors"),
        (lambda x: af.cat(x), errors.DtypeError, "list"),
        (lambda x: af.cat([af.tensor(1.0)]), errors.ShapeError, "stack"),
        (lambda x: af.stack([x, x.T]), errors.ShapeError, r"tensor 1 has \(3, 2\)"),
        (lambda x: x.split((1, 1), 1), errors.ShapeError, "add up"),
        (lambda x: x.split(0), errors.ShapeError, "size 0"),
        (lambda x: x.chunk(0), errors.ShapeError, "chunk"),
        (lambda x: x.flatten(1, 0), errors.DimensionError, "after"),
        (lambda x: x.unflatten(1, (2, -1)), errors.ShapeError, "make up"),
        (lambda x: x.repeat(2), errors.ShapeError, "1 numbers"),
        (lambda x: x.repeat_interleave(af.tensor([1, 2, 3]), 0), errors.ShapeError, "size 2"),
        (lambda x: x.roll((1, 2), 0), errors.ShapeError, "2 shifts"),
        (lambda x: af.pad(x, (1,)), errors.ShapeError, "1 numbers"),
        (lambda x: af.pad(x, (3, 0), "reflect"), errors.ShapeError, "cannot add 3"),
        (lambda x: af.pad(x, (-2, -2)), errors.ShapeError, "cuts off"),
        (lambda x: af.pad(x, (1, 0), "zeros"), errors.ShapeError, "zeros"),
    ],
)
def test_errors_name_the_clash_and_the_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call(af.ones(2, 3))
    assert "test_shaping.py" in str(caught.value)


def test_nodes_name_the_users_line():
    x = af.ones(2, 3, requires_grad=True)
    for out in (
        x.reshape(6), x.T, x.view_as(af.ones(6)), x.split(1)[0], x.unbind()[0], af.hstack([x, x]), x.rot90(), x.tile(2),
        af.pad(x, (1, 1), "circular"), x.broadcast_to((2, 2, 3)), x.repeat_interleave(2),
    ):  # fmt: skip
        assert out.grad_fn.site.file.endswith("test_shaping.py")


def test_a_first_order_gradient_of_cat_and_stack_keeps_dtypes():
    a, b = af.ones(2, requires_grad=True), af.ones(2, dtype=af.float64, requires_grad=True)
    for joined in (af.cat([a, b]), af.stack([a, b])):
        assert joined.dtype == af.float64
        joined.sum().backward()
        assert (a.grad.dtype, b.grad.dtype) == (af.float32, af.float64)


def test_numpys_front_door():
    array = np.random.default_rng(0).normal(size=(4, 3))
    calls = {
        "reshape": lambda a: np.reshape(a, (3, 4)), "transpose": lambda a: np.transpose(a), "squeeze": np.squeeze,
        "expand_dims": lambda a: np.expand_dims(a, 1), "broadcast_to": lambda a: np.broadcast_to(a, (2, 4, 3)),
        "concatenate": lambda a: np.concatenate([a, a], axis=1), "stack": lambda a: np.stack([a, a], axis=-1),
        "hstack": lambda a: np.hstack([a, a]), "vstack": lambda a: np.vstack([a, a[0]]),
        "split": lambda a: np.split(a, 2)[1], "split at": lambda a: np.split(a, [1, 3], axis=0)[1],
        "pad": lambda a: np.pad(a, 1), "pad pairs": lambda a: np.pad(a, ((1, 0), (0, 2)), constant_values=2.0),
        "pad edge": lambda a: np.pad(a, ((1, 0), (0, 2)), mode="edge"), "tile": lambda a: np.tile(a, (2, 1)),
        "repeat": lambda a: np.repeat(a, 2, axis=1), "flip": lambda a: np.flip(a, 0), "roll": lambda a: np.roll(a, 1),
        "moveaxis": lambda a: np.moveaxis(a, 0, 1), "swapaxes": lambda a: np.swapaxes(a, 0, 1),
    }  # fmt: skip
    for name, call in calls.items():
        x = af.tensor(array, requires_grad=True)
        out = call(x)
        assert isinstance(out, af.Tensor), name
        np.testing.assert_array_equal(out.detach().numpy(), call(array), err_msg=name)
        (out * out).sum().backward()
        # each element of the result is an element of x or a constant, so x · gradient is twice the squares of the former
        squares = np.square(call(array)).sum() - np.square(call(0 * array)).sum()
        assert math.isclose((x * x.grad).sum().item(), 2 * squares, rel_tol=1e-12), name
    with pytest.raises(errors.ShapeError, match="equal"):
        np.split(x, 3)


def test_what_is_no_tensor_is_named():
    for call in (lambda: af.cat([af.ones(2), [1.0]]), lambda: af.stack([1.0, 2.0]), lambda: af.cat(3)):
        with pytest.raises(errors.DtypeError, match=r"got (a list|a float|3)"):
            call()
