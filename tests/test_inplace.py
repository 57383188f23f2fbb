"""Writing in place: clauses (a) to (h), and PyTorch where the semantics are the same."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.engine import Observer, Site, observe, versions
from autograd_ff.errors import AutogradError, DtypeError, InplaceError, ShapeError


def leaf(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


def plain(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype))


def line():
    return sys._getframe(1).f_lineno


def refuses(error, call, *words, on=()):
    """``call``, a lambda on one line, raises ``error``; the message names that line of this file and has these words."""
    with pytest.raises(error) as caught:
        call(*on)
    message = str(caught.value)
    for word in (str(Site(call.__code__.co_filename, call.__code__.co_firstlineno, "")), *words):
        assert word in message, message


# ---------------------------------------------------------------------- (a) stale saved arrays


def assert_stale(root, saved, written, what):
    """The backward pass refuses, naming the saving line, the writing line and what was saved."""
    with pytest.raises(InplaceError) as caught:
        root.backward()
    message = str(caught.value)
    assert f"saved at {Site(__file__, saved, '')}:" in message, message
    assert f"written at {Site(__file__, written, '')}:" in message, message
    assert what in message, message


def test_a_stale_output():
    x = leaf([1.0, 2.0])
    y, saved = x.exp(), line()
    z = y.sum()
    y += 1.0
    written = line() - 1
    assert_stale(z, saved, written, "exp saved its output, float64 (2,)")


def test_a_stale_input():
    x, c = leaf([1.0, 2.0]), plain([3.0, 4.0])
    z, saved = (x * c).sum(), line()
    c[0] = 5.0
    written = line() - 1
    assert_stale(z, saved, written, "multiply saved its input 'x2'")


def writers():
    def by_data(t):
        t.data.mul_(2.0)

    def by_detach(t):
        t.detach()[0] = 9.0

    def by_view(t):
        t[:1].add_(1.0)

    def by_view_of_a_view(t):
        t.reshape(2, 1)[0].view(1).add_(1.0)

    def by_another_tensor_on_the_array(t):
        af.from_numpy(t.array)[0] = 3.0

    def by_a_tensor_on_a_numpy_view(t):
        af.from_numpy(t.array[:1]).zero_()

    def by_numpy_of_a_tensor(t):
        af.from_numpy(t.detach().numpy()).add_(1.0)

    def by_mask(t):
        t[t > 0] = 0.0

    def by_index_array(t):
        t[np.array([0])] = 7.0

    def by_copy(t):
        t.copy_(plain([0.0, 0.0]))

    return [one for name, one in locals().items() if name.startswith("by_")]


@pytest.mark.parametrize("write", writers(), ids=lambda write: write.__name__)
@pytest.mark.parametrize("recording", [True, False])
def test_every_way_to_write_counts(write, recording):
    x, c = leaf([1.0, 2.0]), plain([3.0, 4.0])
    z = (x * c).sum()
    before = c._version
    with af.set_grad_enabled(recording):
        write(c)
    assert c._version > before
    assert c.detach()._version == c._version
    with pytest.raises(InplaceError) as caught:
        z.backward()
    assert f"written at {Site(__file__, write.__code__.co_firstlineno + 1, '')}" in str(caught.value)


def test_a_write_to_one_part_leaves_the_saved_other_parts_alone():
    buffer = plain(np.arange(12.0))
    parts = [buffer[4 * n : 4 * n + 4] for n in range(3)]
    x = leaf(np.ones(4))
    z = (x * parts[0]).sum()
    parts[1].mul_(2.0)
    with af.no_grad():
        buffer[8:] = 0.0
    z.backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0, 3.0]
    z = (x * parts[0]).sum()
    buffer[3:5] = 1.0  # reaches into it
    with pytest.raises(InplaceError):
        z.backward()


@given(spans=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=8), low=st.integers(0, 9))
def test_exactly_the_overlapping_writes_make_stale(spans, low):
    buffer, x = plain(np.ones(16)), leaf(np.ones(3))
    z = (x * buffer[low : low + 3]).sum()
    for start, length in spans:
        buffer[start : start + length] = 2.0
    if any(start < low + 3 and low < start + length for start, length in spans):
        with pytest.raises(InplaceError):
            z.backward()
    else:
        z.backward()


def test_many_separate_writes_are_merged_and_still_found():
    buffer, x = plain(np.ones(400)), leaf(np.ones(1))
    z = (x * buffer[100:101]).sum()
    for position in range(0, 400, 2):
        buffer[position] = 2.0
    entry = versions._writes[id(versions.owner_of(buffer.array))]
    assert len(entry.spans) <= 70
    with pytest.raises(InplaceError):
        z.backward()


def test_what_was_saved_after_the_write_is_not_stale():
    c = plain([1.0, 2.0])
    c += 1.0
    x = leaf([1.0, 1.0])
    (x * c).sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]


def test_what_a_rule_does_not_read_may_be_written():
    x, c = leaf([1.0, 2.0]), plain([3.0, 4.0])
    z = (x + c).sum()
    c.zero_()
    z.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_an_index_that_was_written_is_stale_too():
    x, index = leaf([1.0, 2.0, 3.0]), af.tensor([0, 1])
    z, saved = x[index].sum(), line()
    index += 1
    written = line() - 1
    assert_stale(z, saved, written, "index saved its index, int64 (2,)")


def test_a_written_mask_is_stale():
    x, mask = leaf([1.0, 2.0]), af.tensor([True, False])
    z = af.where(mask, x, 0.0).sum()
    mask[0] = False
    with pytest.raises(InplaceError, match="where saved its input 'condition'"):
        z.backward()


def test_the_book_of_writes_forgets_memory_that_is_gone():
    gc.collect()
    before = len(versions._writes)
    for _ in range(50):
        t = plain(np.zeros(3))
        t += 1.0
        t[0] = 2.0
    assert len(versions._writes) == before + 1
    del t
    assert len(versions._writes) == before


def test_writing_what_an_accumulated_gradient_was_computed_from():
    """A second backward pass adds to .grad in place, and a graph that read .grad notices."""
    x = leaf([1.0, 2.0])
    (x * 3.0).sum().backward()
    penalty = (x * x.grad).sum()
    (x * 1.0).sum().backward()
    with pytest.raises(InplaceError):
        penalty.backward()


# ---------------------------------------------------------------------- (b) leaves


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.add_(1.0),
        lambda x: x.__iadd__(1.0),
        lambda x: x.copy_(plain([0.0, 0.0])),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.__setitem__([0], 1.0),
        lambda x: x.__setitem__(x > 0, 1.0),
        lambda x: x[0].add_(1.0),
        lambda x: x[:1].mul_(leaf([2.0])),
        lambda x: x.zero_(),
        lambda x: x.fill_(3.0),
        lambda x: x.clamp_(0.0, 1.0),
    ],
    ids=["add_", "+=", "copy_", "item", "index array", "mask", "view", "tracked", "zero_", "fill_", "clamp_"],
)
def test_a_leaf_that_requires_grad_is_not_written_while_recording(write):
    x = leaf([1.0, 2.0])
    before = x._version
    refuses(InplaceError, write, "leaf that requires grad", "no_grad", on=(x,))
    assert x.tolist() == [1.0, 2.0]
    assert x._version == before
    with af.no_grad():
        write(x)
    assert x._version > before
    assert x.is_leaf
    assert x.requires_grad


# ---------------------------------------------------------------------- (c) whole tensors


def test_a_write_to_a_whole_tensor_gives_it_a_new_node():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = x * 2.0
    before, array = y.node, y.array
    y.copy_(w)
    assert y.node is not before
    assert y.array is array  # its own memory
    assert y.tolist() == [3.0, 4.0]
    (y * y).sum().backward()
    assert w.grad.tolist() == [6.0, 8.0]
    assert x.grad is None  # nothing of the old value is left


def test_the_old_value_of_a_tensor_written_with_constants_gets_zeros():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    y.copy_(plain([5.0, 6.0]))
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_a_tensor_times_itself_in_place():
    x = leaf([2.0, 3.0])
    y = x * 1.0
    y.mul_(y)
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_second_order_through_a_write():
    x = leaf([2.0])
    y = x * 1.0
    y *= y
    y *= x
    (first,) = af.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = af.autograd.grad(first.sum(), x)
    assert first.item() == 12.0  # x ** 3
    assert second.item() == 12.0


# ---------------------------------------------------------------------- (d) views


def test_writing_a_view_gives_base_and_view_new_nodes():
    x, w = leaf([1.0, 2.0, 3.0]), leaf([10.0])
    y = x * 2.0
    view = y[1:2]
    nodes = y.node, view.node
    view.copy_(w)
    assert y.node is not nodes[0]
    assert view.node is not nodes[1]
    assert y.node.op is af.engine.OPS["write_view"]
    assert y.tolist() == [2.0, 10.0, 6.0]
    (y * y + view * 0.0).sum().backward()
    assert x.grad.tolist() == [8.0, 0.0, 24.0]
    assert w.grad.tolist() == [20.0]


def test_the_written_view_and_the_base_stay_usable():
    x = leaf([1.0, 2.0, 3.0])
    y = x * 1.0
    view = y[:2]
    view *= 3.0
    inner = view[1:]
    inner *= 5.0
    (y.sum() + inner.sum()).backward()
    assert x.grad.tolist() == [3.0, 30.0, 1.0]


def test_writing_through_a_view_by_index_keeps_that_view_usable():
    y = leaf([1.0, 2.0, 3.0]) * 1.0
    view = y[1:]
    view[0] += 10.0
    view[1] = 7.0
    view[[0, 1]] *= 2.0
    assert view.tolist() == [24.0, 14.0]
    (view * view).sum().backward()


@pytest.mark.parametrize(
    "chain",
    [
        lambda t: t.T,
        lambda t: t.T.reshape(-1),
        lambda t: t.reshape(-1),
        lambda t: t.T[1:].unsqueeze(0),
        lambda t: t[::-1] if isinstance(t, np.ndarray) else t[1:],
        lambda t: t.T[0],
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_views_through_any_memory_order(chain, order):
    """A base in Fortran order has other views than one in C order; the gradient must know which places were written."""
    data = np.arange(6.0).reshape(2, 3)
    x = leaf(data)
    y = (x.T.contiguous() * 1.0).T if order == "F" else x * 1.0
    y = y * 1.0  # NumPy keeps the order
    assert y.array.flags.f_contiguous == (order == "F")
    view = chain(y)
    if view.view_of is None:
        assert not np.shares_memory(view.array, y.array)
        return
    numbers = plain(np.arange(view.array.size).reshape(view.shape) + 1.0)
    view.mul_(numbers)
    y.sum().backward()
    expected = np.ones((2, 3))
    positions = chain(af.tensor(np.arange(6.0).reshape(2, 3))).array.astype(int)
    expected.reshape(-1)[positions.reshape(-1)] = numbers.array.reshape(-1)
    assert x.grad.tolist() == expected.tolist()


def test_values_broadcast_to_the_target_and_their_gradient_is_summed():
    y, w = plain(np.zeros((2, 3))), leaf([5.0])
    y[:, 1:] = w
    y.sum().backward()
    assert w.grad.tolist() == [4.0]
    y = plain(np.zeros((2, 3)))
    w = leaf(2.0)
    y[0] = w
    y[1, 1] = w
    y.sum().backward()
    assert w.grad.item() == 4.0


def test_leading_ones_are_dropped_in_an_assignment_by_index():
    y, w = plain(np.zeros((2, 3))), leaf(np.ones((1, 1, 3)))
    y[0] = w
    y.sum().backward()
    assert w.grad.shape == (1, 1, 3)
    refuses(ShapeError, lambda: y.detach().copy_(plain(np.ones((1, 2, 3)))))


def test_the_last_writer_of_a_place_gets_its_gradient():
    y, w = plain([0.0, 0.0]), leaf([1.0, 2.0, 3.0])
    y[np.array([0, 1, 0])] = w
    assert y.tolist() == [3.0, 2.0]
    (y * plain([10.0, 100.0])).sum().backward()
    assert w.grad.tolist() == [0.0, 100.0, 10.0]


@pytest.mark.parametrize("index", [0, slice(1, None), (0, 1), [0, 1], np.array([[True, False], [False, True]]), ...])
def test_augmented_assignment_writes_once(index):
    data = np.array([[1.0, 2.0], [3.0, 4.0]])
    for base in (plain(data), leaf(data) * 1.0, (leaf(np.stack([data, data])) * 1.0)[1]):
        expected = data.copy()
        base[index] += 5.0
        expected[index] += 5.0
        assert base.tolist() == expected.tolist()
        base[index] *= base.detach()[index]
        expected[index] *= expected[index]
        assert base.tolist() == expected.tolist()


def test_a_tensor_assigned_to_parts_of_itself():
    x = leaf([1.0, 2.0, 3.0, 4.0])
    y = x * 1.0
    y[1:] = y[:-1]
    assert y.tolist() == [1.0, 1.0, 2.0, 3.0]
    (y * plain([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.tolist() == [11.0, 100.0, 1000.0, 0.0]


def test_the_value_written_stays_a_tensor_of_its_own():
    x = leaf([1.0])
    value = x * 2.0
    y = plain([0.0, 0.0])
    y[:1] = value
    value += 5.0
    assert y.tolist() == [2.0, 0.0]
    y.sum().backward()
    assert x.grad.tolist() == [2.0]


# ---------------------------------------------------------------------- (e) stale views


def test_other_views_of_a_written_base_are_stale():
    y = leaf([1.0, 2.0, 3.0]) * 1.0
    first, second, whole = y[:1], y[1:], y.view(3)
    nested = second[1:]
    first.mul_(2.0)
    written = line() - 1
    at = f"written at {Site(__file__, written, '')}"
    refuses(InplaceError, lambda: second * 2.0, "Take the view again", at)
    refuses(InplaceError, lambda: nested.sum(), at)
    refuses(InplaceError, lambda: whole[0], at)
    refuses(InplaceError, lambda: np.concatenate([second, second]), at)
    refuses(InplaceError, lambda: second.add_(1.0), at)
    refuses(InplaceError, lambda: y.detach().copy_(whole), at)
    refuses(InplaceError, lambda: whole.backward(plain([1.0, 1.0, 1.0])), at)
    refuses(InplaceError, lambda: np.modf(second), at)
    assert (first * 1.0).requires_grad
    assert (y[1:] * 1.0).requires_grad
    with af.no_grad():
        assert (second * 2.0).tolist() == [4.0, 6.0]  # the memory is right all the same


def test_a_write_to_the_whole_base_makes_its_views_stale():
    y = leaf([1.0, 2.0]) * 1.0
    view = y[:1]
    y += 1.0
    refuses(InplaceError, lambda: view * 1.0, "Take the view again")


def test_an_untracked_view_is_stale_once_its_base_is_tracked():
    y = plain([1.0, 2.0])
    view = y[:1]
    y[1:] = leaf([5.0])
    refuses(InplaceError, lambda: view * 2.0, "Take the view again")
    out = plain([0.0])
    refuses(InplaceError, lambda: out.copy_(view), "Take the view again")
    refuses(InplaceError, lambda: out.__setitem__([0], view), "Take the view again")


def test_writes_that_are_not_recorded_make_no_view_stale():
    x = leaf([1.0, 2.0])
    y = x * 1.0
    view = y[:1]
    with af.no_grad():
        y.mul_(3.0)
    (view * 2.0).sum().backward()
    assert x.grad.tolist() == [2.0, 0.0]
    base = plain([1.0, 2.0])
    part = base[:1]
    base += 1.0
    assert (part * 1.0).tolist() == [2.0]


def test_a_view_of_a_leaf_is_good_after_an_update_under_no_grad():
    w = leaf([1.0, 2.0])
    view = w[:1]
    with af.no_grad():
        w -= 0.5
    (view * view).sum().backward()
    assert w.grad.tolist() == [1.0, 0.0]


# ---------------------------------------------------------------------- (f) what is refused


@pytest.mark.parametrize(
    "take",
    [lambda t: t.split(1)[0], lambda t: t.chunk(2)[0], lambda t: t.unbind(0)[0]],
    ids=["split", "chunk", "unbind"],
)
def test_outputs_of_split_chunk_and_unbind_are_not_written_while_recording(take):
    y = leaf(np.ones((2, 2))) * 1.0
    part = take(y)
    refuses(InplaceError, lambda: part.add_(1.0), "indexing")
    refuses(InplaceError, lambda: part.__setitem__(0, 1.0))
    with af.no_grad():
        part.add_(1.0)
    assert y.array.sum() > 4.0


def test_views_made_under_no_grad_are_not_written_while_recording():
    y = leaf([1.0, 2.0]) * 1.0
    with af.no_grad():
        view = y[:1]
        inner = y.view(2)[1:]
    refuses(InplaceError, lambda: view.add_(1.0), "no_grad")
    refuses(InplaceError, lambda: inner.mul_(leaf([2.0])), "no_grad")
    untracked = plain([1.0])
    with af.no_grad():
        free = untracked[:]
    free += 1.0  # nothing is recorded here
    assert untracked.tolist() == [2.0]


@pytest.mark.parametrize("recording", [True, False])
def test_expanded_and_read_only_targets(recording):
    with af.set_grad_enabled(recording):
        wide = plain([1.0, 2.0]).expand(3, 2)
        refuses(InplaceError, lambda: wide.add_(1.0), "clone")
        refuses(InplaceError, lambda: wide.__setitem__(0, 1.0))
        refuses(InplaceError, lambda: wide.__setitem__([0], 1.0))
        array = np.zeros(2)
        array.flags.writeable = False
        frozen = af.from_numpy(array) if recording else af.engine.wrap(array)
        refuses(InplaceError, lambda: frozen.add_(1.0), "read-only")
        refuses(InplaceError, lambda: frozen.__setitem__(0, 1.0), "read-only")
        refuses(InplaceError, lambda: frozen.__setitem__([0], 1.0), "read-only")
        refuses(InplaceError, lambda: frozen.copy_(plain([1.0, 1.0])), "read-only")
    assert array.tolist() == [0.0, 0.0]


def test_casts():
    numbers, flags = af.tensor([1, 2]), af.tensor([True, False])
    refuses(DtypeError, lambda: numbers.add_(1.5), "float32", "int64")
    refuses(DtypeError, lambda: numbers.div_(2), "float32")
    refuses(DtypeError, lambda: flags.add_(1), "int64", "bool")
    refuses(DtypeError, lambda: numbers.__setitem__(af.tensor([True, False]), leaf([1.5])))
    assert numbers.tolist() == [1, 2]
    half = plain([1.0, 2.0], np.float32)
    half += plain([1.0, 1.0], np.float64)  # may narrow
    assert half.dtype == np.float32
    assert half.tolist() == [2.0, 3.0]
    numbers += af.tensor([True, True])
    assert numbers.tolist() == [2, 3]


def test_narrowing_writes_give_each_gradient_its_own_dtype():
    x, w = leaf([1.0, 2.0], np.float32), leaf([3.0, 4.0], np.float64)
    y = x * 1.0
    y *= w
    y[0] += w[0]
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert w.grad.dtype == np.float64
    assert x.grad.tolist() == [3.0, 4.0]
    assert w.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "write",
    [
        lambda t: t.add_(plain([1.0, 2.0, 3.0])),
        lambda t: t.copy_(plain([[1.0, 2.0]] * 2)),
        lambda t: t.__setitem__(slice(None), plain([1.0, 2.0, 3.0])),
        lambda t: t.__setitem__([0, 1], plain([1.0, 2.0, 3.0])),
        lambda t: t.__setitem__(5, 1.0),
        lambda t: t.__setitem__([5], 1.0),
        lambda t: t.__setitem__((0, 0), 1.0),
        lambda t: t.__setitem__(np.array([True, True, False]), 1.0),
        lambda t: t.__setitem__(0.5, 1.0),
    ],
)
@pytest.mark.parametrize("tracked", [True, False])
def test_what_does_not_fit_is_refused_in_our_words(write, tracked):
    t = leaf([1.0, 2.0]) * 1.0 if tracked else plain([1.0, 2.0])
    refuses(AutogradError, write, on=(t,))
    assert t.tolist() == [1.0, 2.0]


# ---------------------------------------------------------------------- (g) no_grad, (h) NumPy


def test_under_no_grad_writes_go_through_and_leave_the_graph_as_it_was():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    node = y.node
    with af.no_grad():
        y[0] = 10.0
        y.mul_(2.0)
        y[[1]] = 1.0
        y.copy_(y + 1.0)
    assert y.node is node
    assert y.tolist() == [21.0, 2.0]
    (y * y).sum().backward()  # at the values that are there now
    assert x.grad.tolist() == [84.0, 8.0]


def test_writes_by_numpy_itself_are_not_seen():
    x, c = leaf([1.0, 2.0]), plain([3.0, 4.0])
    z = (x * c).sum()
    c.numpy()[0] = 100.0
    z.backward()
    assert x.grad.tolist() == [100.0, 4.0]


def test_detect_anomaly_protects_saved_arrays_against_numpy():
    x, c = leaf([1.0, 2.0]), plain([3.0, 4.0])
    with af.autograd.detect_anomaly():
        z = (x * c).sum()
        with pytest.raises(ValueError, match="read-only"):
            c.numpy()[0] = 100.0
        z.backward()
    c.numpy()[0] = 100.0
    assert x.grad.tolist() == [3.0, 4.0]


# ---------------------------------------------------------------------- with the rest of the engine


def test_retain_grad_follows_a_write_and_hooks_stay_with_the_value():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    y.retain_grad()
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y *= 3.0
    y.sum().backward()
    assert y.retains_grad
    assert y.grad.tolist() == [1.0, 1.0]  # of the value that it has now
    assert seen == [[3.0, 3.0]]  # of the one that it had
    assert x.grad.tolist() == [6.0, 6.0]


def test_observers_see_every_write():
    class Log(Observer):
        def __init__(self):
            self.ops = []

        def op(self, op, inputs, params, outputs, node, scope):
            self.ops.append((op.name, bool(op.mutates), node is not None))

    log = Log()
    y, c = leaf([1.0, 2.0]) * 1.0, plain([1.0, 2.0])
    with observe(log):
        y += 1.0
        y[0] = 2.0
        c += 1.0
        c[0] = 1.0
        c[[0]] = 1.0
        with af.no_grad():
            y[[0]] = 3.0
            y[0] = 3.0
    writes = [(name, tracked) for name, mutates, tracked in log.ops if mutates]
    assert writes == [
        ("write", True), ("write_view", True), ("write", False), ("write", False), ("write", False), ("write", False),
        ("write", False),
    ]  # fmt: skip


def test_a_base_whose_data_was_replaced_has_no_views_any_more():
    x = plain([1.0, 2.0])
    view = x[:1]
    x.data = plain([5.0, 6.0])
    view.copy_(leaf([9.0]))
    assert x.tolist() == [5.0, 6.0]
    assert not x.requires_grad
    assert view.tolist() == [9.0]


def test_views_keep_their_base_and_nothing_keeps_the_views():
    gc.disable()
    try:
        base = leaf([1.0, 2.0]) * 1.0
        view = base[:1]
        view.mul_(2.0)
        gone, kept = weakref.ref(view), weakref.ref(base)
        del base
        assert kept() is not None
        del view
        assert gone() is None
        assert kept() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------- PyTorch

INDICES = [
    0,
    -1,
    slice(1, None),
    slice(None, None, 2),
    (slice(None), 1),
    (0, 2),
    ...,
    (None, 0),
    [0, 1],
    [1],
    ([0, 1], [2, 0]),
    (slice(None), [0, 2]),
    "mask",
]
VALUES = ["scalar", "0-d", "row", "constant"]


@pytest.mark.torch
@settings(max_examples=150)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(range(len(INDICES))), st.sampled_from(VALUES),
            st.sampled_from(["=", "+=", "*=", "whole +=", "whole *=", "view *=", "copy_"]),
        ),
        min_size=1, max_size=5,
    ),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_sequence_of_writes_gives_torch_s_values_and_gradients(steps, seed):
    torch = pytest.importorskip("torch")
    numbers = np.random.default_rng(seed)
    data, other, mask = numbers.normal(size=(2, 3)), numbers.normal(size=()), numbers.random((2, 3)) < 0.5

    def run(make, constant, mask, widen):
        x, w = make(data), make(other)
        y = x * 1.0
        for position, value, how in steps:
            index = INDICES[position]
            index = mask if isinstance(index, str) else index
            region = y[index]
            v = {"scalar": 1.5, "0-d": w, "row": widen(w * 2.0, region.shape), "constant": constant(other)}[value]
            if how == "=":
                y[index] = v
            elif how == "+=":
                y[index] += v
            elif how == "*=":
                y[index] *= v
            elif how == "whole +=":
                y += w
            elif how == "whole *=":
                y *= y.detach().clone() if value == "constant" else w
            elif how == "view *=":
                part = y[0:1]
                part[:, 1:] *= w
                part += 1.0
            else:
                y.copy_(w)
        result = (y * y).sum()
        result.backward()
        return y, x.grad, w.grad

    ours = run(leaf, plain, af.tensor(mask), lambda t, shape: t.expand(tuple(shape)))
    theirs = run(
        lambda a: torch.tensor(a, requires_grad=True),
        torch.tensor,
        torch.tensor(mask),
        lambda t, shape: t.expand(shape),
    )
    for mine, reference in zip(ours, theirs, strict=True):
        if mine is None or reference is None:  # where PyTorch has zeros, no path is left in ours
            assert reference is None or not reference.any()
            assert mine is None or not mine.array.any()
        else:
            np.testing.assert_allclose(mine.detach().numpy(), reference.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.torch
@pytest.mark.parametrize("case", range(7))
def test_torch_refuses_the_same(case):
    torch = pytest.importorskip("torch")

    def cases(make, no_grad):
        x = make([1.0, 2.0])
        y = x * 1.0
        if case == 0:
            x.add_(1.0)
        elif case == 1:
            x[0] = 1.0
        elif case == 2:
            x[:1].mul_(2.0)
        elif case == 3:
            with no_grad():
                v = y[:1]
            v.mul_(2.0)
        elif case == 4:
            y.split(1)[0].mul_(2.0)
        elif case == 5:
            z = y.exp()
            z.mul_(2.0)
            z.sum().backward()
        else:
            y.expand(2, 2).mul_(2.0)

    with pytest.raises(RuntimeError):
        cases(lambda a: torch.tensor(a, requires_grad=True), torch.no_grad)
    with pytest.raises(InplaceError):
        cases(leaf, af.no_grad)


def test_an_element_of_a_leaf_is_named_as_the_leaf_itself():
    leaf = af.ones(3, requires_grad=True)
    with pytest.raises(InplaceError, match="this tensor is a leaf"):
        leaf[0] = 5
    with pytest.raises(InplaceError, match="this is a view of a leaf"):
        leaf[1:].mul_(2)
    with af.no_grad():
        leaf[0] = 5
    assert leaf.tolist() == [5.0, 1.0, 1.0]
