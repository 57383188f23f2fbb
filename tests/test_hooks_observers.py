"""Hooks on gradients, and observers of everything."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import engine
from autograd_ff.engine import Observer, TensorCore, observe, scope, wrap
from autograd_ff.errors import GraphError


def leaf(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


# ---------------------------------------------------------------------- hooks


def test_a_hook_sees_the_whole_gradient_once():
    x = leaf([1.0, 2.0])
    h = x * 1.0
    seen = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    (h * 2.0 + h * 3.0).sum().backward()
    assert seen == [[5.0, 5.0]]


def test_a_hook_replaces_the_gradient():
    x = leaf([1.0, 2.0])
    h = x * 1.0
    h.register_hook(lambda g: g * 10.0)
    h.register_hook(lambda g: g + 1.0)
    h.sum().backward()
    assert x.grad.tolist() == [11.0, 11.0]


def test_a_hook_of_a_leaf_acts_before_accumulation():
    x = leaf([1.0, 2.0])
    handle = x.register_hook(lambda g: g * 0.0)
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]
    handle.remove()
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    handle.remove()  # a second time is nothing


def test_hooks_act_in_grad_too():
    x = leaf([1.0])
    h = x * 2.0
    h.register_hook(lambda g: g * 5.0)
    dh, dx = af.autograd.grad(h.sum(), [h, x])
    assert dh.item() == 5.0
    assert dx.item() == 10.0


def test_hooks_on_one_output_of_several():
    x = leaf([1.25, 2.5])
    fraction, _ = np.modf(x)
    fraction.register_hook(lambda g: g * 7.0)
    fraction.sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]


@pytest.mark.parametrize("bad", [lambda g: 3.0, lambda g: wrap(np.ones(5)), lambda g: g.array, lambda g: "text"])
def test_a_hook_that_returns_nonsense_is_named(bad):
    x = leaf([1.0, 2.0])
    h = x * 1.0
    h.register_hook(bad)
    with pytest.raises(GraphError, match="hook must return None or a Tensor of shape"):
        h.sum().backward()


def test_a_hook_s_exception_comes_through_and_leaves_the_engine_usable():
    x = leaf([1.0])
    h = x * x
    handle = h.register_hook(lambda g: 1 / 0)
    y = h.sum()
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_graph=True)
    assert af.is_grad_enabled()
    handle.remove()
    y.backward()
    assert x.grad.item() == 2.0


def test_with_create_graph_a_hook_s_work_is_differentiated():
    x = leaf([2.0])
    h = x * x
    h.register_hook(lambda g: g * x)
    (dx,) = af.autograd.grad(h.sum(), x, create_graph=True)
    assert dx.item() == 8.0  # x * 2 x
    (ddx,) = af.autograd.grad(dx, x)
    assert ddx.item() == 8.0


def test_hooks_can_run_a_backward_pass_of_their_own():
    x, other = leaf([2.0]), leaf([3.0])

    def hook(gradient):
        (other * other).sum().backward()

    h = x * 1.0
    h.register_hook(hook)
    h.sum().backward()
    assert x.grad.item() == 1.0
    assert other.grad.item() == 6.0


def test_post_accumulate_hooks_see_the_finished_grad():
    x = leaf([1.0, 2.0])
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda p: seen.append((p is x, p.grad.tolist())))
    (x * 2.0 + x * 3.0).sum().backward()
    (x * 1.0).sum().backward()
    handle.remove()
    (x * 1.0).sum().backward()
    assert seen == [(True, [5.0, 5.0]), (True, [6.0, 6.0])]


def test_an_optimizer_inside_the_backward_pass():
    w = leaf([1.0])

    def step(p):
        with af.no_grad():
            p -= 0.1 * p.grad
        p.grad = None

    w.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (w * w).sum().backward()
    assert w.grad is None
    assert w.item() == pytest.approx(0.8**3)


@given(
    st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=3), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
    st.integers(1, 2),
)
def test_post_accumulate_hooks_run_as_soon_as_the_gradient_is_whole(uses, hooked, roots):
    """Whatever leaves come in where: neither before the last op that gives to the leaf, nor after the next."""
    weights = [leaf(1.0 + 0.25 * number) for number in range(8)]
    for number in hooked:
        weights[number].register_post_accumulate_grad_hook(lambda p, number=number: log.append(("leaf", number)))
    log, outputs, x = [], [], leaf(0.5)
    for place, layer in enumerate(uses):
        x = x * 1.0  # walked after what is made of it
        x.register_hook(lambda gradient, place=place: log.append(("layer", place)))
        for number in layer:
            x = x * weights[number]
        outputs.append(x)
    af.autograd.backward(outputs[-roots:], [af.tensor(1.0, dtype=af.float64)] * len(outputs[-roots:]))
    for number in hooked:
        layers = [place for place, layer in enumerate(uses) if number in layer]
        assert log.count(("leaf", number)) == bool(layers)
        if layers:
            after = log[log.index(("leaf", number)) + 1 :]
            assert [place for kind, place in after if kind == "layer"] == list(range(layers[0], -1, -1))
    expected = sum(
        0.5 * np.prod([1.0 + 0.25 * number for layer in uses[: len(uses) - back] for number in layer])
        for back in range(len(outputs[-roots:]))
    )
    assert float(sum(outputs[-roots:]).detach()) == pytest.approx(expected)
    for number, weight in enumerate(weights):
        counts = [
            sum(layer.count(number) for layer in uses[: len(uses) - back]) for back in range(len(outputs[-roots:]))
        ]
        values = [float(one.detach()) for one in outputs[-roots:]][::-1]
        gradient = sum(count * value for count, value in zip(counts, values, strict=True)) / (1.0 + 0.25 * number)
        assert (0.0 if weight.grad is None else float(weight.grad)) == pytest.approx(gradient)


def test_post_accumulate_hooks_are_for_leaves_and_hooks_for_tracked_tensors():
    x = leaf([1.0])
    with pytest.raises(GraphError):
        (x * 2.0).register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(GraphError):
        x.detach().register_hook(lambda g: None)
    with pytest.raises(GraphError):
        x.detach().retain_grad()


def test_grad_runs_no_post_accumulate_hook():
    x = leaf([1.0])
    x.register_post_accumulate_grad_hook(lambda p: pytest.fail("nothing was accumulated"))
    (gradient,) = af.autograd.grad((x * 2.0).sum(), x)
    assert gradient.tolist() == [2.0]
    assert x.grad is None


# ---------------------------------------------------------------------- retain_grad


def test_retain_grad():
    x = leaf([1.0, 2.0])
    h = x * 2.0
    assert not h.retains_grad
    h.retain_grad()
    h.retain_grad()
    assert h.retains_grad
    y = (h * h).sum()
    y.backward(retain_graph=True)
    assert h.grad.tolist() == [4.0, 8.0]
    y.backward()
    assert h.grad.tolist() == [8.0, 16.0]
    assert x.grad.tolist() == [16.0, 32.0]
    h.grad.array[0] = -1.0  # its own memory
    assert x.grad.tolist() == [16.0, 32.0]
    x.retain_grad()  # nothing to do
    assert not x.retains_grad


def test_retain_grad_sees_what_hooks_made_of_the_gradient():
    x = leaf([1.0])
    h = x * 2.0
    h.retain_grad()
    h.register_hook(lambda g: g * 3.0)
    h.sum().backward()
    assert h.grad.item() == 3.0


def test_retain_grad_holds_its_tensor_weakly():
    gc.disable()
    try:
        x = leaf([1.0])
        h = x * 2.0
        h.retain_grad()
        gone = weakref.ref(h)
        y = h.sum()
        del h
        assert gone() is None
        y.backward()
        assert x.grad.item() == 2.0
    finally:
        gc.enable()


@pytest.mark.torch
def test_hooks_and_retained_gradients_as_in_torch():
    torch = pytest.importorskip("torch")

    def run(x):
        log = []
        h = x * 2
        h.retain_grad()
        h.register_hook(lambda g: log.append(g.tolist()))
        first = h.register_hook(lambda g: g * 3)
        h.register_hook(lambda g: log.append(g.tolist()))
        x.register_hook(lambda g: g + 1)
        x.register_post_accumulate_grad_hook(lambda p: log.append(p.grad.tolist()))
        y = (h * h).sum()
        y.backward(retain_graph=True)
        first.remove()
        y.backward()
        return log, h.grad.tolist(), x.grad.tolist()

    assert run(leaf([1.0, 2.0])) == run(torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True))


# ---------------------------------------------------------------------- observers


class Log(Observer):
    def __init__(self):
        self.ops = []
        self.backs = []
        self.reads = []

    def op(self, op, inputs, params, outputs, node, scope):
        self.ops.append((op, list(inputs), dict(params), outputs, node, scope))

    def backward(self, node, gradient, input_gradients):
        self.backs.append((node, gradient, list(input_gradients)))

    def read(self, tensor, how):
        self.reads.append(how)

    @property
    def names(self):
        return [entry[0].name for entry in self.ops]


class Tracing(Log):
    traces_backward = True


def test_an_observer_sees_every_op_tracked_or_not():
    x, c = leaf([1.0, 2.0]), af.tensor([3.0, 4.0], dtype=af.float64)
    with observe(Log()) as log:
        y = x * c
        z = np.sum(y, axis=0)
        c + 1.0
        with af.no_grad():
            x.exp()
        np.modf(x)
        np.concatenate([x, c])
        x[0]
    assert log.names == ["multiply", "sum", "add", "exp", "modf", "concatenate", "slice"]
    op, inputs, params, outputs, node, where = log.ops[0]
    assert op is engine.OPS["multiply"]
    assert inputs[0] is x.array
    assert inputs[1] is c.array
    assert params == {}
    assert outputs[0] is y.array
    assert node is y.node
    assert where is None
    assert log.ops[1][2] == {"axis": 0}
    assert log.ops[1][3][0] is z.array
    assert [entry[4] is None for entry in log.ops] == [False, False, True, True, False, False, False]
    assert len(log.ops[4][3]) == 2
    assert len(log.ops[5][1]) == 2


def test_observers_are_shown_values_that_the_graph_itself_does_not_keep():
    x, c = leaf([1.0, 2.0]), af.tensor([3.0, 4.0], dtype=af.float64)
    with observe(Log()) as log:
        y = x + c
    assert y.node.saved is None
    assert [one.tolist() for one in log.ops[0][1]] == [[1.0, 2.0], [3.0, 4.0]]


def test_an_observer_sees_the_scope_and_its_chain():
    x = leaf([1.0])
    with observe(Log()) as log, scope("module", "encoder", "Encoder"), scope("module", "encoder.0", "Linear"):
        y = x * 2.0
        x.var(correction=0)
    inner = log.ops[0][5]
    assert [one.name for one in inner.chain()] == ["encoder", "encoder.0"]
    assert (inner.kind, inner.type) == ("module", "Linear")
    assert y.node.scope is inner
    assert log.ops[-1][5].parent is not None


def test_an_observer_sees_the_backward_pass():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = x * w
    z = y.sum()
    with observe(Log()) as log:
        z.backward()
    assert [node for node, _, _ in log.backs] == [z.node, y.node]
    _, gradient, inputs = log.backs[1]
    assert gradient.tolist() == [1.0, 1.0]
    assert [one.tolist() for one in inputs] == [[3.0, 4.0], [1.0, 2.0]]
    assert log.ops == []  # on arrays, the rules are plain NumPy
    frozen = (x * w.detach()).sum()
    with observe(Log()) as log:
        frozen.backward()
    assert log.backs[1][2][1] is None


def test_tracing_makes_the_backward_pass_visible_op_by_op():
    x = leaf([0.5, 1.0])
    y = np.tanh(x).sum()
    with observe(Tracing()) as log:
        y.backward()
    assert {"multiply", "subtract"} <= set(log.names)
    assert all(entry[4] is None for entry in log.ops)  # nothing is recorded
    inside = [entry[5] for entry in log.ops if entry[0].name == "subtract"]
    assert inside[0].kind == "backward"
    assert inside[0].name == "tanh"
    np.testing.assert_allclose(x.grad.array, 1 - np.tanh([0.5, 1.0]) ** 2)
    assert x.grad.node is None
    assert x.grad.array.flags.writeable


@pytest.mark.parametrize("name", ["linear", "cross_entropy"])
def test_tracing_goes_through_kernels(name):
    numbers = np.random.default_rng(0)
    arguments = {
        "linear": lambda: (leaf(numbers.normal(size=(4, 3))), leaf(numbers.normal(size=(2, 3))), leaf([0.1, 0.2])),
        "cross_entropy": lambda: (leaf(numbers.normal(size=(4, 3))), np.array([0, 2, 1, 0])),
    }[name]()
    tracked = [one for one in arguments if isinstance(one, TensorCore)]
    plain = af.autograd.grad(engine.OPS[name](*arguments).sum(), tracked)
    loss = engine.OPS[name](*arguments).sum()
    with observe(Tracing()) as log:
        loss.backward()
    for one, gradient in zip(tracked, plain, strict=True):
        assert np.array_equal(one.grad.array, gradient.array)  # bit for bit
    assert ("cross_entropy.backward" if name == "cross_entropy" else "matmul") in log.names


def test_the_traced_pass_gives_the_same_gradients_bit_for_bit():
    numbers = np.random.default_rng(1)

    def build():
        x, w = leaf(data), leaf(weights)
        h = np.maximum(x @ w, 0.0)
        h[0] *= 2.0
        first, second = h[:, 0], h[:, 1:]
        loss = (first.reshape(-1, 1) * second).mean() + np.sum(np.modf(x)[0]) + x[[0, 0]].sum()
        return x, w, loss

    data, weights = numbers.normal(size=(4, 3)), numbers.normal(size=(3, 3))
    x, w, loss = build()
    loss.backward()
    x2, w2, loss2 = build()
    with observe(Tracing()):
        loss2.backward()
    assert np.array_equal(x.grad.array, x2.grad.array)
    assert np.array_equal(w.grad.array, w2.grad.array)


def test_observers_stack_and_are_restored():
    x = leaf([1.0])
    state = engine.state.LOCAL.state
    with observe(Log()) as outer:
        x * 1.0
        with observe(Log()) as inner:
            x * 2.0
        assert state.observers == (outer,)
        x * 3.0
    assert state.observers is None
    assert len(outer.ops) == 3
    assert len(inner.ops) == 1


def test_an_exception_inside_restores_the_observers():
    with pytest.raises(ZeroDivisionError), observe(Log()):
        1 / 0
    assert engine.state.LOCAL.state.observers is None

    class Refusing(Observer):
        def op(self, *_):
            raise ZeroDivisionError

    x = leaf([1.0])
    with pytest.raises(ZeroDivisionError), observe(Refusing()):
        x * 2.0
    assert engine.state.LOCAL.state.observers is None
    assert (x * 2.0).item() == 2.0


def test_an_exception_of_an_observer_in_backward_restores_mode_and_scope():
    class Stop(Exception):
        pass

    class Refusing(Observer):
        traces_backward = True

        def op(self, op, *_):
            if op.name == "cos":
                raise Stop

    x = leaf([1.0])
    y = np.sin(x).sum()
    with pytest.raises(Stop), observe(Refusing()):
        y.backward()
    state = engine.state.LOCAL.state
    assert state.grad_enabled
    assert state.scope is None


def test_without_observers_nothing_is_called(monkeypatch):
    calls = []
    monkeypatch.setattr("autograd_ff.engine.dispatch.notify", lambda *_: calls.append("dispatch"))
    monkeypatch.setattr("autograd_ff.engine.inplace.notify", lambda *_: calls.append("inplace"))
    x = leaf([1.0, 2.0])
    y = x * 2.0
    y += 1.0
    y[0] = 3.0
    y.sum().backward()
    assert calls == []
    with observe(Log()):
        y = x * 2.0
        y += 1.0
    assert calls


def test_each_thread_has_its_own_observers():
    x = leaf([1.0])
    with observe(Log()) as log:
        thread = threading.Thread(target=lambda: x * 2.0)
        thread.start()
        thread.join()
        x + 1.0
    assert log.names == ["add"]


def test_observers_see_values_leave_the_graph():
    x = af.tensor([1.0], dtype=af.float64)
    with observe(Log()) as log:
        bool(x > 0.0)
        float(x)
        x.item()
        x.numpy()
        np.asarray(x)
        x[af.tensor([0])]
    assert log.reads == ["bool", "item", "item", "numpy", "array", "index"]


def test_an_observer_keeps_nothing_alive_after_it_is_gone():
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        with observe(Log()) as log:
            y = x.exp()
        array = weakref.ref(y.array)
        del y
        assert array() is not None
        del log
        assert array() is None
    finally:
        gc.enable()


def test_a_step_can_be_recorded_and_replayed_bit_for_bit():
    """What capture will need: ops, inputs and parameters as observed are enough to compute every output again."""
    numbers = np.random.default_rng(2)
    x, w = af.tensor(numbers.normal(size=(4, 3))), leaf(numbers.normal(size=(2, 3)))
    with observe(Tracing()) as log:
        out = np.tanh(engine.OPS["linear"](x, w, None)) * 1.0
        out[0] = 0.5
        engine.OPS["cross_entropy"](out, np.array([0, 1, 1, 0])).sum().backward()
    checked = 0
    for op, inputs, params, outputs, _, _ in log.ops:
        if op.mutates:
            continue
        if any(out is not None and not out.flags.owndata for out in outputs):
            continue
        again = op.forward(*inputs, **params)
        again = again if isinstance(again, tuple) else (again,)
        written = any(other.mutates and other_out[0] is one for other, _, _, other_out, _, _ in log.ops
                      for one in (*inputs, *outputs))  # fmt: skip
        if not written:
            for mine, theirs in zip(again, outputs, strict=True):
                assert mine is None or np.array_equal(mine, theirs), op
            checked += 1
    assert checked >= 8
