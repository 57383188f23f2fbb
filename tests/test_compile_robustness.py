"""`compile` beside errors, interrupts, threads, nesting and observers."""

from __future__ import annotations

import copy
import threading

import pytest
from compile_cases import (
    World,
    arrays,
    batches,
    check_twins,
    classifier,
    exactly,
    numbers,
    plain,
    regression,
)

import autograd_ff as af
from autograd_ff import nn, optim

F = nn.functional


# ---------------------------------------------------------------- errors in the middle


def test_bad_label_leaves_a_usable_state():
    world = classifier().compiled()
    data = batches(6)
    for x, y in data[:4]:
        world.step(x, y)
    before = [one.tolist() for one in world.model.parameters()]
    with pytest.raises(af.errors.AutogradError):
        world.step(data[0][0], af.tensor([0, 1, 9, 0, 1]))
    assert [one.tolist() for one in world.model.parameters()] == before
    world.step(*data[4])


def test_interrupts_leave_a_usable_state():
    stop = [False]

    def rate(epoch):
        if stop[0]:
            stop[0] = False
            raise KeyboardInterrupt
        return 1 / (1 + epoch)

    world = regression(make_scheduler=lambda o: optim.lr_scheduler.LambdaLR(o, rate)).compiled()
    for call in arrays(4, 4, 3):
        world.step(*call)
    stop[0] = True
    with pytest.raises(KeyboardInterrupt):
        world.step(numbers(4, 3))
    assert not world.step._lock.locked()
    before = world.model.weight.tolist()
    world.step(numbers(4, 3))
    assert world.model.weight.tolist() != before


def test_infinities_take_their_course():
    calls = [(af.tensor(one),) for one in ([1.0, 2.0], [1.0, 3e38], [1.0, float("inf")], [float("nan"), 1.0])] * 2

    def make():
        weight = nn.Parameter(numbers(2))
        optimizer = optim.Adam([weight])

        def step(x):
            optimizer.zero_grad()
            loss = (weight * x).sum()
            loss.backward()
            optimizer.step()
            return loss

        return World(step, weight=weight, optimizer=optimizer)

    check_twins(make, calls)


# ---------------------------------------------------------------- threads, nesting, observers


def test_threads_take_turns():
    total = af.zeros(4)

    @exactly
    def step(x):
        total.add_(x)
        return total * 1

    step(af.ones(4))
    step(af.ones(4))
    found, lock = [], threading.Lock()

    def work():
        for _ in range(50):
            result = step(af.ones(4)).tolist()
            with lock:
                found.append(result)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(found) == [[float(k)] * 4 for k in range(3, 203)]


def test_steps_nest_and_call_themselves():
    inner = exactly(lambda x: x * 2)

    @exactly
    def outer(x, depth):
        return inner(x) + (outer(x, depth - 1) if depth else x)

    for k in range(5):
        x = numbers(3, seed=k)
        assert plain(outer(x, 2)) == plain(x * 2 + (x * 2 + (x * 2 + x)))
        assert plain(inner(x)) == plain(x * 2)


def test_methods():
    class Model(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.scale = scale

        @exactly
        def predict(self, x):
            return self.layer(x).detach() * self.scale

    models = [Model(1.0), Model(2.0)]
    for k in range(10):
        model, x = models[k % 2], numbers(4, 3, seed=k)
        assert plain(model.predict(x)) == plain(model.layer(x).detach() * model.scale)
    assert "matmul" in models[0].predict.source


def test_compiled_attribute_of_a_module_is_copied():
    model = nn.Linear(3, 2)
    model.fast = exactly(model.forward)
    copy.deepcopy(model)


def test_observers_see_everything():
    from autograd_ff.engine import Observer, observe

    class Names(Observer):
        def __init__(self):
            self.names = []

        def op(self, op, inputs, params, outputs, node, scope):
            self.names.append(op.name)

    world = regression().compiled()
    for call in arrays(4, 4, 3):
        world.step(*call)
    seen = Names()
    with observe(seen):
        world.step(numbers(4, 3))
    assert {"linear", "sgd_update"} <= set(seen.names)
    with af.autograd.detect_anomaly():
        world.step(numbers(4, 3))
