"""The engine's promises: no cycles, no recursion, no silent zero, only leaves accumulate, nothing kept in vain, threads."""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import engine
from autograd_ff.engine import Geometry, Leaf, Node, Observer, Scatter, Scope, Site, TensorCore, View, observe
from autograd_ff.engine.node import FREED, Hooks
from autograd_ff.errors import AutogradError, DtypeError, GraphError, NoRuleError

ENGINE_CLASSES = (Node, Leaf, TensorCore, View, Hooks, Scope, Geometry, Scatter)


def leaf(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


def engine_objects():
    # by type(one): isinstance also asks for __class__, which objects of other packages answer with warnings
    return sum(issubclass(type(one), ENGINE_CLASSES) for one in gc.get_objects())


def refuses(error, call):
    """``call``, a lambda on one line, raises ``error`` and the message names that line of this file."""
    with pytest.raises(error) as caught:
        call()
    code = call.__code__
    assert str(Site(code.co_filename, code.co_firstlineno, "")) in str(caught.value), str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------- no reference cycles


def mlp_step(state):
    w1, w2, x, y = state
    hidden = np.maximum(x @ w1, 0.0)
    loss = ((hidden @ w2 - y) ** 2).mean()
    loss.backward()
    with af.no_grad():
        for w in (w1, w2):
            w -= 0.01 * w.grad
            w.grad = None


def views_step(state):
    w, x = state[1], state[2]
    h = x[:, :4] * 2.0
    h[0] = w[:, 0]
    h[1:, 1] *= 3.0
    h += 1.0
    first, second = h[0], h[1]
    (first * second).sum().backward()
    w.grad = None


def higher_order_step(state):
    w = state[1]
    (first,) = af.autograd.grad((w**3).sum(), w, create_graph=True)
    (second,) = af.autograd.grad((first * first).sum(), w, create_graph=True)
    af.autograd.grad(second.sum(), w)


def outputs_step(state):
    w = state[1]
    fraction, whole = np.modf(w * 1.5)
    (fraction * whole).sum().backward(retain_graph=True)
    w.grad = None


def hooks_step(state):
    w = state[1]
    h = w * 2.0
    h.retain_grad()
    h.register_hook(lambda g: g * 2.0)
    handle = w.register_post_accumulate_grad_hook(lambda p: None)
    h.sum().backward()
    handle.remove()
    w.grad = None


def unfinished_step(state):
    """A graph that nobody goes back through."""
    w = state[1]
    ((w * w).tanh() @ w.T).sum()


def refused_step(state):
    w = state[1]
    loss = (w * w).sum()
    loss.backward()
    with pytest.raises(GraphError):
        loss.backward()
    w.grad = None


STEPS = [mlp_step, views_step, higher_order_step, outputs_step, hooks_step, unfinished_step]


@pytest.fixture
def state():
    numbers = np.random.default_rng(0)
    return [
        leaf(numbers.normal(size=(5, 4)) * 0.1),
        leaf(numbers.normal(size=(4, 4)) * 0.1),
        af.tensor(numbers.normal(size=(3, 5))),
        af.tensor(numbers.normal(size=(3, 4))),
    ]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_steps_leave_no_engine_object_behind_without_the_collector(step, state, no_collector):
    for _ in range(20):
        step(state)
    before = engine_objects()
    for _ in range(300):
        step(state)
    assert engine_objects() == before


def test_ten_thousand_training_steps_keep_memory_flat(state, no_collector):
    for _ in range(50):
        mlp_step(state)
    before = engine_objects()
    for _ in range(9_000):
        mlp_step(state)
    tracemalloc.start()
    try:
        for _ in range(20):
            mlp_step(state)
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(1_000):
            mlp_step(state)
        assert tracemalloc.get_traced_memory()[0] < first + 4096
    finally:
        tracemalloc.stop()
    assert engine_objects() == before


def test_a_refused_backward_pass_leaves_nothing_once_its_error_is_gone(state, no_collector):
    refused_step(state)
    gc.collect()  # pytest's own record of the exception
    before = engine_objects()
    for _ in range(5):
        refused_step(state)
    gc.collect()
    assert engine_objects() == before


def test_backward_with_create_graph_makes_the_documented_cycle_and_warns(no_collector):
    x = leaf([2.0])
    with pytest.warns(UserWarning, match="reference cycle"):
        (x**3).sum().backward(create_graph=True)
    alive = weakref.ref(x)
    graph = x.grad.node
    assert graph is not None
    del graph
    x.grad = None  # the way out that the warning names
    del x
    assert alive() is None


def test_a_result_is_freed_with_its_graph_the_moment_it_goes(no_collector):
    x = leaf(np.ones(3))
    h = x * 2.0
    y = h.tanh()
    seen = weakref.ref(y)
    array = weakref.ref(y.array)
    del y
    assert seen() is None
    assert array() is None


def chain(x, length, remember):
    for _ in range(length):
        x = np.tanh(x)
        remember.append(weakref.ref(x.array))
    return x


@pytest.mark.parametrize("retain", [False, True])
def test_saved_arrays_are_freed_as_the_backward_pass_goes(retain, no_collector):
    x = leaf(np.ones(4))
    early = x * 1.0
    arrays = []
    last = chain(early, 10, arrays).sum()
    alive = []
    early.register_hook(lambda g: alive.extend(one() is not None for one in arrays))
    last.backward(retain_graph=retain)
    assert alive == [retain] * 10


def test_memory_goes_down_during_the_backward_pass(no_collector):
    x = leaf(np.ones(100_000))
    y = x
    for _ in range(20):
        y = y.tanh()
    root = y.sum()
    del y
    sizes = []

    class Watch(Observer):
        def backward(self, node, gradient, input_gradients):
            sizes.append(sum(isinstance(one, np.ndarray) and one.size == 100_000 for one in alive()))

    def alive():
        node, found = root.node, []
        while node is not None and not isinstance(node, Leaf):
            if node.saved not in (None, FREED):
                found += [one for one in node.saved if one is not None]
            node = node.parents[0]
        return found

    with observe(Watch()):
        root.backward()
    assert sizes[0] == 20
    assert alive() == []


# ---------------------------------------------------------------------- no recursion


@pytest.fixture
def shallow():
    """A recursion limit close above what this test already needs."""
    depth = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 80)
    yield
    sys.setrecursionlimit(limit)


def test_a_chain_of_a_hundred_thousand_ops_is_differentiated_and_freed(shallow, no_collector):
    before = engine_objects()
    x = leaf([1.0])
    y = x
    for _ in range(50_000):
        y = y * 1.0
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1.0
    del x, y
    assert engine_objects() == before


def test_a_long_chain_is_freed_without_a_backward_pass(shallow, no_collector):
    before = engine_objects()
    x = leaf([1.0])
    y = x
    for _ in range(100_000):
        y = y.tanh()
    del x, y
    assert engine_objects() == before


def test_a_long_chain_of_writes_and_views_is_differentiated_and_freed(shallow, no_collector):
    before = engine_objects()
    x = leaf(np.ones(3))
    y = x * 1.0
    for _ in range(3_000):
        y[0] *= 1.0
        y += 0.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    del x, y
    assert engine_objects() == before


def test_second_order_through_a_long_chain(shallow):
    x = leaf([0.5])
    y = x
    for _ in range(2_000):
        y = y * 1.0
    (first,) = af.autograd.grad(y * y, x, create_graph=True)
    (second,) = af.autograd.grad(first, x)
    assert first.item() == 1.0
    assert second.item() == 2.0


class CountBackward(Observer):
    def __init__(self):
        self.nodes = []

    def backward(self, node, gradient, input_gradients):
        self.nodes.append(node)


def test_a_node_is_visited_once_however_many_paths_lead_to_it():
    x = leaf([1.0])
    y = x
    for _ in range(60):
        y = y + y  # 2 ** 60 paths
    counted = CountBackward()
    with observe(counted):
        y.backward()
    assert len(counted.nodes) == len(set(counted.nodes)) == 60
    assert x.grad.item() == 2.0**60


def test_a_wide_graph():
    x = leaf(np.arange(4.0))
    total = af.stack([x * float(n) for n in range(2_000)]).sum()
    total.backward()
    assert x.grad.tolist() == [float(sum(range(2_000)))] * 4


def test_grad_does_not_walk_what_is_older_than_all_it_wants():
    x = leaf([1.0])
    y = x
    for _ in range(50):
        y = y * 1.0
    counted = CountBackward()
    with observe(counted):
        af.autograd.grad((y * 2.0).sum(), y)
    assert len(counted.nodes) == 2


# ---------------------------------------------------------------------- no silent zero

x3 = leaf([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: np.asarray(x3),
        lambda: np.array(x3),
        lambda: np.array([x3, x3]),
        lambda: np.asarray(x3, dtype=np.float32),
        lambda: np.ascontiguousarray(x3),
        lambda: np.full(3, x3),
        lambda: np.zeros(3).__setitem__(slice(None), x3),
        lambda: np.zeros(3).__iadd__(x3),
        lambda: np.zeros(3).dot(x3),
        lambda: np.fft.fft(x3),
        lambda: np.histogram(x3),
        lambda: np.interp(x3, [0.0, 1.0], [0.0, 1.0]),
        lambda: np.linalg.eigvals(x3),
        lambda: np.percentile(x3, 50),
        lambda: np.add.at(x3, [0], 1.0),
        lambda: np.add.at(np.zeros(3), [0, 1, 2], x3),
        lambda: np.multiply.outer(x3, x3),
        lambda: np.add.accumulate(x3),
        lambda: np.add.reduceat(x3, [0, 1]),
        lambda: np.nextafter(x3, 0.0),
        lambda: np.add(x3, 1.0, out=np.zeros(3)),
        lambda: np.add(x3, 1.0, where=np.array([True, False, True])),
        lambda: np.add(x3, 1.0, casting="unsafe"),
        lambda: np.add(x3, 1.0, dtype=np.float32),
        lambda: np.sum(x3, initial=3.0),
        lambda: np.sum(x3, where=np.array([True, False, True])),
        lambda: np.sum(x3, out=np.zeros(())),
        lambda: np.mean(x3, where=np.array([True, False, True])),
        lambda: np.max(x3, initial=0.0),
        lambda: np.concatenate([x3, x3], dtype=np.float32),
        lambda: np.concatenate([x3, x3], out=np.zeros(6)),
        lambda: x3.numpy(),
    ],
    ids=lambda call: inspect.getsource(call).strip().removeprefix("lambda: ").rstrip(","),
)
def test_what_has_no_rule_raises_and_names_the_line(call):
    refuses((NoRuleError, GraphError), call)


@pytest.mark.parametrize(
    "call",
    [
        lambda: x3 + np.ma.masked_array([1.0, 2.0, 3.0], mask=[True, False, False]),
        lambda: np.ma.masked_array([1.0, 2.0, 3.0], mask=[True, False, False]) * x3,
        lambda: np.multiply(np.ma.masked_array([1.0, 2.0, 3.0], mask=[True, False, False]), x3),
        lambda: x3 * np.array([1.0, None, "a"], dtype=object),
        lambda: x3 + np.array(["a", "b", "c"]),
        lambda: x3 + np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
    ids=["masked right", "masked left", "masked ufunc", "objects", "strings", "dates"],
)
def test_arrays_that_have_no_place_in_a_graph_raise_and_name_the_line(call):
    refuses(AutogradError, call)


def never_a_plain_number(function, tensor):
    """Whatever a NumPy function is called with, a tracked tensor must not come out as something without a graph."""
    for count in range(1, 5):
        try:
            result = function(*[tensor] * count)
        except AutogradError:
            return
        except TypeError as error:
            if "argument" in str(error) or "nargs" in str(error):
                continue  # too few or too many of them
            return  # NumPy refused it as a file name, a format or the like
        except (AttributeError, OSError, RuntimeError, ValueError):
            return
        if function in SHAPES_ONLY:
            return
        if isinstance(result, (TensorCore, tuple, list)):
            parts = result if isinstance(result, (tuple, list)) else [result]
            assert all(isinstance(one, TensorCore) for one in parts), f"{function} returned {result!r}"
        else:
            raise AssertionError(f"{function} returned {result!r}")
        return


# they look at the shape or the identity of their argument, make text of it, or say whether it is equal
SHAPES_ONLY = {np.shape, np.ndim, np.size, np.isscalar, np.iscomplexobj, np.isrealobj, np.result_type, np.can_cast,
               np.may_share_memory, np.shares_memory, np.min_scalar_type, np.common_type,
               np.array_str, np.array_repr, np.array2string, np.array_equal, np.array_equiv, np.allclose}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_function_that_numpy_dispatches_is_differentiated_or_refused():
    tensor = leaf([[1.0, 2.0], [3.0, 4.0]])
    functions = np.testing.overrides.get_overridable_numpy_array_functions()
    assert len(functions) > 200
    for function in functions:
        never_a_plain_number(function, tensor)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # outside their domain some are infinite
def test_every_ufunc_is_differentiated_or_refused():
    tensor = leaf([[1.0, 2.0], [3.0, 4.0]])
    ufuncs = np.testing.overrides.get_overridable_numpy_ufuncs()
    assert len(ufuncs) > 80
    for ufunc in ufuncs:
        never_a_plain_number(ufunc, tensor)
        for method in ("reduce", "accumulate", "outer", "reduceat", "at"):
            if (ufunc, method) not in engine.TABLE:
                with pytest.raises((AutogradError, TypeError, ValueError, RuntimeError)):
                    getattr(ufunc, method)(*[tensor] * {"outer": 2, "reduceat": 2, "at": 3}.get(method, 1))


def test_an_untracked_tensor_becomes_an_array():
    plain = af.tensor([1.0, 2.0])
    assert np.asarray(plain).tolist() == [1.0, 2.0]
    assert np.asarray(x3.detach()).tolist() == [1.0, 2.0, 3.0]
    assert np.array(plain, copy=True) is not plain.array


# ---------------------------------------------------------------------- leaves, freeing, second passes


def test_only_leaves_accumulate():
    x = leaf([1.0, 2.0])
    h = x * 2.0
    y = (h * h).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    assert h.grad is None
    assert y.grad is None
    assert x.grad.tolist() == [16.0, 32.0]  # twice 8 x


def test_a_second_pass_through_freed_values_raises_and_names_both_lines():
    x = leaf([1.0, 2.0])
    y, recorded = (x * x).sum(), sys._getframe().f_lineno
    y.backward()
    message = refuses(GraphError, lambda: y.backward())
    assert f"recorded at {Site(__file__, recorded, '')}" in message
    assert "retain_graph=True" in message
    assert x.grad.tolist() == [2.0, 4.0]  # the refused pass added nothing


def test_grad_frees_what_it_used_and_nothing_else():
    x = leaf([1.0, 2.0])
    h = x * x
    y = (h * h).sum()
    (dh,) = af.autograd.grad(y, h)
    assert dh.tolist() == [2.0, 8.0]
    with pytest.raises(GraphError, match="second time"):
        af.autograd.grad(y, h)
    h.sum().backward()  # what made h was not used
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_second_pass_is_fine_where_nothing_was_saved():
    x = leaf([1.0, 2.0])
    y = (x + 1.0).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_integers_cannot_require_a_gradient():
    t = af.tensor([1, 2])
    refuses((GraphError, DtypeError), lambda: t.requires_grad_())


# ---------------------------------------------------------------------- what a node keeps alive


def kept(node):
    return [] if node.saved is None else [one for one in node.saved if isinstance(one, np.ndarray)]


def keeps(result, *arrays):
    """A node keeps exactly these arrays."""
    found = kept(result.node)
    return len(found) == len(arrays) and all(any(one is array for array in arrays) for one in found)


def test_a_node_keeps_what_the_rules_it_will_run_read():
    x, w = leaf(np.ones((2, 3))), leaf(np.ones((3, 4)))
    frozen_x, frozen_w = x.detach(), w.detach()
    assert keeps(x @ frozen_w, frozen_w.array)
    assert keeps(frozen_x @ w, frozen_x.array)
    assert keeps(x @ w, x.array, w.array)
    assert keeps(x + frozen_x)
    assert keeps(x - x)
    assert keeps(x * frozen_x, frozen_x.array)
    assert keeps(x * 2.0)
    assert keeps(np.sum(x))
    assert keeps(np.mean(x, axis=0))
    assert keeps(x[0])
    assert keeps(x.reshape(6))
    assert keeps(np.concatenate([x, frozen_x]))
    out = np.tanh(x)
    assert keeps(out, out.array)
    out = np.exp(x)
    assert keeps(out, out.array)
    out = np.log(x)
    assert keeps(out, x.array)


def test_linear_keeps_no_more_than_its_rules_read():
    linear = engine.OPS["linear"]
    x, w, b = af.tensor(np.ones((2, 3))), leaf(np.ones((4, 3))), leaf(np.zeros(4))
    assert keeps(linear(x, w, b), x.array)  # the first layer: no gradient for x, so w is not kept
    hidden = leaf(np.ones((2, 3)))
    assert keeps(linear(hidden, w, b), hidden.array, w.array)
    assert keeps(linear(hidden, w.detach(), b), w.array)
    assert keeps(linear(x, w.detach(), b))


def test_arrays_that_nobody_keeps_are_freed_at_once(no_collector):
    x, w = leaf(np.ones((2, 3))), af.tensor(np.ones((3, 4)))
    hidden = x * 2.0
    array = weakref.ref(hidden.array)
    out = hidden @ w
    del hidden
    assert array() is None  # with w frozen, the product does not need hidden
    out.sum().backward()
    assert x.grad.tolist() == [[8.0] * 3] * 2


def test_a_graph_does_not_keep_its_leaves_tensor_nor_its_intermediate_tensors(no_collector):
    x = leaf(np.ones(3))
    h = x * 2.0
    y = h.exp()
    gone = [weakref.ref(x), weakref.ref(h)]
    del x, h
    assert [one() for one in gone] == [None, None]
    y.sum().backward()  # nobody can look at the gradient, and nobody stumbles


@pytest.mark.parametrize("name", ["multiply", "add", "divide", "matmul", "where", "maximum", "linear", "power"])
@given(mask=st.integers(1, 7))
def test_a_vjp_runs_only_for_inputs_that_need_it(name, mask):
    op = engine.OPS[name]
    ran = []
    originals = [None if rule is None else rule.function for rule in op.vjps]

    def counting(position, function):
        def vjp(*args):
            ran.append(position)
            return function(*args)

        return vjp

    arrays = {
        "where": [np.array([True, False]), np.ones(2), np.ones(2)],
        "linear": [np.ones((2, 3)), np.ones((4, 3)), np.ones(4)],
        "matmul": [np.ones((2, 3)), np.ones((3, 4))],
    }.get(name, [np.full(2, 2.0), np.full(2, 3.0)])
    differentiable = [rule is not None for rule in op.vjps]
    needed = [bool(mask >> position & 1) and differentiable[position] for position in range(len(arrays))]
    if not any(needed):
        return
    try:
        for position, rule in enumerate(op.vjps):
            if rule is not None:
                rule.function = counting(position, rule.function)
        inputs = [leaf(array) if need else af.from_numpy(array) for array, need in zip(arrays, needed, strict=True)]
        op(*inputs).sum().backward()
        wanted = [position for position, need in enumerate(needed) if need]
        assert sorted(ran) == wanted
        ran.clear()
        outputs = op(*inputs).sum()
        af.autograd.grad(outputs, inputs[wanted[0]])  # of those, only what is asked for
        assert ran == wanted[:1]
    finally:
        for rule, original in zip(op.vjps, originals, strict=True):
            if rule is not None:
                rule.function = original


# ---------------------------------------------------------------------- threads


def test_each_thread_has_its_own_grad_mode():
    seen = []
    inside, done = threading.Event(), threading.Event()

    def other():
        with af.no_grad():
            inside.set()
            done.wait(10)
        seen.append(af.is_grad_enabled())

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    assert af.is_grad_enabled()
    assert (leaf([1.0]) * 2.0).requires_grad
    done.set()
    thread.join()
    assert seen == [True]


def test_threads_build_and_differentiate_separate_graphs_at_once():
    barrier = threading.Barrier(4)
    failures = []

    def work(seed):
        numbers = np.random.default_rng(seed)
        barrier.wait()
        try:
            for _ in range(60):
                data = numbers.normal(size=(3, 3))
                x = leaf(data)
                h = np.tanh(x @ x) * 1.0
                h[0] *= 2.0
                if seed % 2:
                    with af.no_grad():
                        h.detach() * 2.0
                (h * x).sum().backward()
                t = np.tanh(data @ data)
                weight = np.ones((3, 3))
                weight[0] = 2.0
                inner = weight * data * (1 - t * t)
                want = weight * t + inner @ data.T + data.T @ inner
                np.testing.assert_allclose(x.grad.array, want, rtol=1e-9, atol=1e-12)
        except BaseException as error:
            failures.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert not failures, failures
