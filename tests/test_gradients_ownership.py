"""Whose memory a gradient is: .grad belongs to its leaf alone, and nobody else's array is ever written."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import engine
from autograd_ff.engine import wrap
from autograd_ff.engine.backward import _Walk
from autograd_ff.errors import DtypeError, GraphError, ShapeError


def leaf(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


SHAPE = (2, 3)

# functions of one array and a list of those at hand: the shape stays or broadcasts back to SHAPE
PASSING_ON = {
    "itself": lambda x, y: x + 0.0,
    "twice": lambda x, y: x + x,
    "sum": lambda x, y: x + y,
    "difference": lambda x, y: y - x,
    "product": lambda x, y: x * y,
    "reshaped": lambda x, y: np.reshape(np.reshape(x, (3, 2)), SHAPE),
    "turned": lambda x, y: np.transpose(np.transpose(x) + 0.0),
    "widened": lambda x, y: np.squeeze(np.expand_dims(x, 0), axis=0),
    "broadcast": lambda x, y: x + np.broadcast_to(x[0], SHAPE),
    "row": lambda x, y: x[:1] + y,
    "scalar": lambda x, y: np.sum(x) + y,
    "mean": lambda x, y: np.mean(x, axis=0) + y,
    "pieces": lambda x, y: np.concatenate([x[:1], y[1:]], axis=0),
    "copied": lambda x, y: x.clone(),
    "cast": lambda x, y: x.to(af.float32).to(af.float64),
    "where": lambda x, y: np.where(np.ones(SHAPE, bool), x, y),
    "written": lambda x, y: written(x, y),
    "hooked": lambda x, y: hooked(x + y),
    "alias": lambda x, y: engine.OPS["alias"](x),
    "view": lambda x, y: x[:],
}


def written(x, y):
    target = x + 0.0
    target[0] = y[1]
    return target


def hooked(t):
    t.register_hook(lambda g: g)
    return t


graphs = given(
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(PASSING_ON)), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8
    ),
    seed=st.integers(0, 100),
    order=st.sampled_from("CF"),
    roots=st.integers(1, 3),
    rounds=st.integers(1, 3),
)
first_failure = settings(phases=[Phase.generate], database=None)  # found is enough, it need not be small


@settings(max_examples=200)
@graphs
def test_every_grad_is_its_own_memory_and_nothing_else_is_written(steps, seed, order, roots, rounds):
    check_ownership(steps, seed, order, roots, rounds)


def check_ownership(steps, seed, order, roots, rounds):
    numbers = np.random.default_rng(seed)
    leaves = [leaf(numbers.normal(size=SHAPE)) for _ in range(3)]
    seen = []
    tensors = list(leaves)
    for name, first, second in steps:
        tensors.append(PASSING_ON[name](tensors[first % len(tensors)], tensors[second % len(tensors)]))
        tensors[-1].register_hook(lambda g: seen.append((g.array, g.array.copy())))
    upstream = [np.asarray(numbers.normal(size=SHAPE), order=order) for _ in range(roots)]
    before = [one.copy() for one in upstream]
    values = [one.array.copy() for one in tensors]
    chosen = tensors[-roots:] if len(tensors) >= roots else tensors[-1:] * roots
    for _ in range(rounds):
        af.autograd.backward(chosen, [wrap(one) for one in upstream], retain_graph=True)
    results = af.autograd.grad(chosen, leaves, [wrap(one) for one in upstream], allow_unused=True)
    for tensor, value in zip(tensors, values, strict=True):
        assert np.array_equal(tensor.array, value)
    for one, old in zip(upstream, before, strict=True):
        assert np.array_equal(one, old)
    grads = [one.grad for one in leaves if one.grad is not None]
    for one in leaves:
        if one.grad is None:
            continue
        gradient = one.grad.array
        assert gradient.shape == one.shape
        assert gradient.dtype == one.dtype
        assert gradient.flags.c_contiguous
        assert gradient.flags.writeable
        others = [array for array, _ in seen] + upstream + [tensor.array for tensor in tensors]
        others += [other.array for other in grads if other is not one.grad]
        others += [result.array for result in results if result is not None]
        assert not any(np.shares_memory(gradient, other) for other in others)
    for array, old in seen:  # what hooks were shown was not written afterwards
        assert np.array_equal(array, old)
    for one, result in zip(leaves, results, strict=True):
        assert (one.grad is None) == (result is None)
        if result is not None:
            np.testing.assert_allclose(one.grad.array, rounds * result.array, rtol=1e-9, atol=1e-9)
    marks = [one.grad.array.copy() for one in leaves if one.grad is not None]
    if grads:
        grads[0].array[...] = 77.0  # a write to one gradient reaches no other array
        for one, mark in list(zip(grads, marks, strict=True))[1:]:
            assert np.array_equal(one.array, mark)


def _add_in_place_always(self, node, value):
    current = self.pending.get(node)
    if current is None:
        self.pending[node] = value
    elif isinstance(value, engine.Scatter):
        value.add_into(current)
    else:
        current += value


def test_the_property_finds_an_engine_that_adds_into_arrays_of_others(monkeypatch):
    monkeypatch.setattr(_Walk, "add", _add_in_place_always)
    with pytest.raises(BaseException):  # noqa: B017
        first_failure(graphs(check_ownership))()


def test_the_property_finds_a_grad_that_is_shared(monkeypatch):
    monkeypatch.setattr("autograd_ff.engine.backward._is_private", lambda array: True)
    with pytest.raises(BaseException):  # noqa: B017
        first_failure(graphs(check_ownership))()


def test_the_gradient_of_a_sum_is_not_one_array_for_both():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    z = x + y
    upstream = wrap(np.array([1.0, 10.0]))
    z.backward(upstream)
    x.grad.array[0] = -5.0
    assert y.grad.tolist() == [1.0, 10.0]
    assert upstream.tolist() == [1.0, 10.0]


def test_a_leaf_differentiated_directly():
    x = leaf([1.0, 2.0])
    upstream = wrap(np.array([3.0, 4.0]))
    x.backward(upstream)
    x.grad.array[0] = 9.0
    assert upstream.tolist() == [3.0, 4.0]
    assert x.tolist() == [1.0, 2.0]


def test_broadcast_gradients_become_contiguous_and_writable():
    x = leaf(np.ones((3, 4)))
    x.sum().backward()
    assert x.grad.array.flags.c_contiguous
    assert x.grad.array.flags.writeable
    assert x.grad.array.strides == (32, 8)
    y = leaf(np.ones((3, 4)))
    (y.T * wrap(np.ones((4, 3)))).sum().backward()
    assert y.grad.array.flags.c_contiguous


def test_a_leaf_of_any_memory_order_gets_a_contiguous_gradient():
    x = af.from_numpy(np.asfortranarray(np.ones((3, 4))))
    x.requires_grad = True
    (x * 2.0).sum().backward()
    assert x.grad.array.flags.c_contiguous


def test_accumulation_goes_into_the_same_array():
    x = leaf([1.0, 2.0])
    (x * 2.0).sum().backward()
    array = x.grad.array
    (x * 3.0).sum().backward()
    assert x.grad.array is array
    assert array.tolist() == [5.0, 5.0]


def test_accumulation_into_a_grad_that_cannot_be_written_replaces_it():
    x = leaf([1.0, 2.0])
    frozen = np.array([1.0, 1.0])
    frozen.flags.writeable = False
    x.grad = wrap(frozen)
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert frozen.tolist() == [1.0, 1.0]


def test_a_grad_that_is_its_own_upstream_gradient():
    """The pass adds into .grad while that very array is still on its way to others."""
    a = leaf([1.0])
    h = a * 2.0
    x = leaf([1.0])  # younger than h, so its gradient is accumulated first
    y = h + x
    x.grad = wrap(np.array([10.0]))
    y.backward(x.grad)
    assert a.grad.tolist() == [20.0]
    assert x.grad.tolist() == [20.0]


def test_ten_thousand_uses_of_one_tensor():
    x = leaf([1.0, 2.0])
    total = x * 0.0
    for _ in range(1_000):
        total = total + x
    total.sum().backward()
    assert x.grad.tolist() == [1000.0, 1000.0]
    y = leaf(np.arange(1_000.0))
    sum(y[n] * float(n) for n in range(1_000)).backward()
    assert y.grad.tolist() == list(np.arange(1_000.0))


def test_slices_are_added_into_one_buffer(monkeypatch):
    made = []
    zeros = np.zeros
    x = leaf(np.ones((50, 4)))
    total = sum(x[n].sum() for n in range(50))
    monkeypatch.setattr(np, "zeros", lambda shape, *rest, **kwargs: made.append(shape) or zeros(shape, *rest, **kwargs))
    total.backward()
    assert made.count((50, 4)) == 1
    assert x.grad.tolist() == np.ones((50, 4)).tolist()


def test_a_gradient_of_indices_that_repeat():
    x = leaf([1.0, 2.0, 3.0])
    (x[[0, 0, 2, -1]] * wrap(np.array([1.0, 10.0, 100.0, 1000.0]))).sum().backward()
    assert x.grad.tolist() == [11.0, 0.0, 1100.0]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "make", [lambda x: x[0] + x[1] * x[1], lambda x: x[[0, 0]].sum(0) * x[1]], ids=["slices", "indices"]
)
def test_slices_with_and_without_a_graph_of_their_own(make, create_graph):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = make(x).sum()
    (dx,) = af.autograd.grad(y, x, create_graph=create_graph)
    step = np.zeros((2, 2))
    for index in np.ndindex(2, 2):
        high, low = x.array.copy(), x.array.copy()
        high[index] += 1e-6
        low[index] -= 1e-6
        step[index] = (make(wrap(high)).sum().item() - make(wrap(low)).sum().item()) / 2e-6
    np.testing.assert_allclose(dx.detach().array, step, rtol=1e-6)
    assert dx.requires_grad == create_graph


def test_with_create_graph_accumulation_is_out_of_place():
    x = leaf([2.0])
    with pytest.warns(UserWarning, match="reference cycle"):
        (x**3).sum().backward(create_graph=True)
    first = x.grad
    with pytest.warns(UserWarning, match="reference cycle"):
        (x**3).sum().backward(create_graph=True)
    assert x.grad is not first
    assert first.item() == 12.0
    assert x.grad.item() == 24.0
    (second,) = af.autograd.grad(x.grad.sum(), x)
    assert second.item() == 24.0
    x.grad = None


# ---------------------------------------------------------------------- autograd.grad


def test_grad_of_inputs_that_are_not_leaves():
    x = leaf([1.0, 2.0])
    h = x * x
    y = (h * 3.0).sum()
    dh, dx = af.autograd.grad(y, [h, x])
    assert dh.tolist() == [3.0, 3.0]
    assert dx.tolist() == [6.0, 12.0]
    assert x.grad is None
    assert h.grad is None


def test_grad_of_the_output_itself():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    (dy,) = af.autograd.grad(y, y, wrap(np.array([3.0, 4.0])))
    assert dy.tolist() == [3.0, 4.0]
    (dx,) = af.autograd.grad(x, x, wrap(np.array([3.0, 4.0])))
    assert dx.tolist() == [3.0, 4.0]


def test_unused_inputs():
    x, y = leaf([1.0]), leaf([2.0, 3.0])
    with pytest.raises(GraphError, match="no output depends on input 1"):
        af.autograd.grad((x * 2.0).sum(), [x, y])
    dx, dy = af.autograd.grad((x * 2.0).sum(), [x, y], allow_unused=True)
    assert dx.tolist() == [2.0]
    assert dy is None
    dx, dy = af.autograd.grad((x * 2.0).sum(), [x, y], materialize_grads=True)
    assert dy.tolist() == [0.0, 0.0]
    assert dy.dtype == y.dtype


def test_several_outputs_and_upstream_gradients():
    x = leaf([1.0, 2.0])
    first, second = x * 2.0, (x * x).sum()
    (dx,) = af.autograd.grad([first, second], x, [wrap(np.array([1.0, 10.0])), None])
    assert dx.tolist() == [4.0, 24.0]
    with pytest.raises(GraphError):
        af.autograd.grad([first, second], x, [None])
    with pytest.raises(ShapeError):
        af.autograd.grad(first, x, wrap(np.ones(3)))
    with pytest.raises(GraphError, match="one number to start from"):
        af.autograd.grad(first, x)


def test_outputs_of_a_function_with_several():
    x = leaf([1.25, 2.5])
    fraction, whole = np.modf(x)
    (dx,) = af.autograd.grad(fraction.sum(), x, retain_graph=True)
    assert dx.tolist() == [1.0, 1.0]
    (dx,) = af.autograd.grad([fraction.sum(), (fraction * 2.0).sum(), whole.sum()], x)
    assert dx.tolist() == [3.0, 3.0]
    fraction, whole = np.modf(x)
    (df,) = af.autograd.grad((fraction * whole).sum(), fraction)
    assert df.tolist() == [1.0, 2.0]


def test_backward_into_chosen_inputs():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = x * w
    y = (h * h).sum()
    y.backward(inputs=[x], retain_graph=True)
    assert w.grad is None
    assert x.grad.tolist() == [18.0, 64.0]
    y.backward(inputs=[h, w], retain_graph=True)
    assert h.grad.tolist() == [6.0, 16.0]  # once
    assert w.grad.tolist() == [6.0, 32.0]
    assert x.grad.tolist() == [18.0, 64.0]
    y.backward(inputs=h, retain_graph=True)
    assert h.grad.tolist() == [12.0, 32.0]
    h.retain_grad()
    y.backward(inputs=[h])
    assert h.grad.tolist() == [18.0, 48.0]
    assert not np.shares_memory(h.grad.array, h.array)
    with pytest.raises(GraphError):
        y.backward(inputs=[])
    with pytest.raises(GraphError):
        y.backward(inputs=[wrap(np.ones(1))])


def test_a_grad_is_assigned_only_where_it_fits():
    x = leaf([1.0, 2.0])
    with pytest.raises(ShapeError):
        x.grad = wrap(np.ones(3))
    with pytest.raises(DtypeError):
        x.grad = wrap(np.ones(2, np.float32))
    with pytest.raises(DtypeError):
        x.grad = np.ones(2)
    x.grad = wrap(np.ones(2))
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_gradients_through_a_kernel_with_a_graph_of_their_own_stop_at_its_inputs():
    """The nested pass must neither walk nor free what lies before the kernel."""
    x = leaf(np.random.default_rng(0).normal(size=(4, 3)))
    h = np.tanh(x * 2.0)
    loss = engine.OPS["cross_entropy"](h, np.array([0, 1, 2, 0])).sum()
    (dx,) = af.autograd.grad(loss, x, create_graph=True)
    (ddx,) = af.autograd.grad((dx * dx).sum(), x)

    def plain(a):
        t = np.tanh(2.0 * a)
        p = np.exp(t) / np.exp(t).sum(1, keepdims=True)
        p[np.arange(4), [0, 1, 2, 0]] -= 1.0
        return p * (1 - t * t) * 2.0

    np.testing.assert_allclose(dx.detach().array, plain(x.array), rtol=1e-10)
    numeric = np.zeros((4, 3))
    for index in np.ndindex(4, 3):
        high, low = x.array.copy(), x.array.copy()
        high[index] += 1e-6
        low[index] -= 1e-6
        numeric[index] = ((plain(high) ** 2).sum() - (plain(low) ** 2).sum()) / 2e-6
    np.testing.assert_allclose(ddx.array, numeric, rtol=1e-5, atol=1e-7)


def test_a_deep_copy_of_a_leaf_accumulates_into_itself():
    x = af.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    (y * 3).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([2.0, 2.0], [5.0, 5.0])
    with af.no_grad():
        y += 1
    assert x.tolist() == [1.0, 1.0]
    first, second = copy.deepcopy([x, x])
    assert first is second


def test_a_shallow_copy_of_a_leaf_shares_its_memory_only():
    x = af.ones(2, requires_grad=True)
    y = copy.copy(x)
    (y * 3).sum().backward()
    assert y.array is x.array
    assert x.grad is None
    assert y.grad.tolist() == [3.0, 3.0]


def test_a_deep_copy_of_a_computed_tensor_raises():
    y = af.ones(2, requires_grad=True) * 2
    with pytest.raises(GraphError, match=r"multiply\n.*\n.*detach"):
        copy.deepcopy(y)


@pytest.mark.parametrize("tracked", [False, True])
def test_pickle_keeps_the_numbers_and_leaves_the_graph(tracked):
    x = af.ones(2, requires_grad=tracked)
    for one in (x, x * 1):
        again = pickle.loads(pickle.dumps(one))
        assert (again.is_leaf, again.requires_grad, again.tolist()) == (True, tracked, [1.0, 1.0])


class Labelled(af.Tensor):
    """A subclass with attributes of both kinds."""

    __slots__ = ("__dict__", "label")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_keep_what_a_subclass_added(copied):
    x = Labelled([1.0], requires_grad=True)
    x.label, x.notes = "a", ["b"]
    again = copied(x)
    assert type(again) is Labelled
    assert again.requires_grad
    assert (again.label, again.notes) == ("a", ["b"])


@pytest.mark.parametrize("gradient", [[1.0, 2.0], np.array([1.0, 2.0]), (1.0, 2.0)])
def test_an_upstream_gradient_need_not_be_a_tensor(gradient):
    x = af.ones(2, requires_grad=True)
    (x * 3).backward(gradient)
    assert x.grad.tolist() == [3.0, 6.0]


def test_what_is_no_gradient_and_no_target():
    x = af.ones(2, requires_grad=True)
    calls = [
        lambda: (x * 3).backward("a"),
        lambda: af.autograd.grad(3, x),
        lambda: af.autograd.grad(x.sum(), {"x": x}),
        lambda: x.sum().backward(inputs=["x"]),
        lambda: x.register_hook(3),
        lambda: setattr(x, "data", "a"),
        lambda: setattr(x, "data", af.tensor([1, 2])),
    ]
    for call in calls:
        with pytest.raises(DtypeError) as caught:
            call()
        assert "test_gradients_ownership.py" in str(caught.value)
