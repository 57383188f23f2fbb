"""``verify``: wrong replays are noticed, right ones are not, and a verified call leaves what an unverified one leaves."""

from __future__ import annotations

import re

import numpy as np
import pytest
from compile_cases import World, arrays, batches, difference, snapshot

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.compiler.fuse import is_available
from autograd_ff.errors import CaptureError

F = nn.functional
FAST = [False, pytest.param(True, marks=pytest.mark.skipif(not is_available(), reason="needs numba"))]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("AUTOGRAD_FF_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def training(make_optimizer, *, inplace=False, every=1, to_none=True, schedule=True):
    """A classifier with a bias before a BatchNorm (whose gradient is nothing but rounding), dropout and a schedule."""
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3))
    optimizer = make_optimizer(model.parameters())
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 30) if schedule else None

    def step(x, y):
        if every == 1:
            optimizer.zero_grad(set_to_none=to_none)
        if inplace:
            with af.no_grad():
                x.mul_(0.5)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if every == 1:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if scheduler:
                scheduler.step()
        return loss

    state = {"model": model, "optimizer": optimizer}
    return World(step, **state, **({"scheduler": scheduler} if scheduler else {}))


WORLDS = {
    "adam": lambda: training(lambda p: optim.Adam(p, lr=0.1)),
    "adamw in place": lambda: training(lambda p: optim.AdamW(p, amsgrad=True), inplace=True),
    "sgd to zero": lambda: training(lambda p: optim.SGD(p, lr=0.1, momentum=0.9), to_none=False),
    "rmsprop": lambda: training(lambda p: optim.RMSprop(p, lr=0.01, momentum=0.9)),
    "adagrad": lambda: training(lambda p: optim.Adagrad(p, lr=0.05, lr_decay=0.1, initial_accumulator_value=0.1)),
    "accumulating": lambda: training(lambda p: optim.SGD(p, lr=0.1), every=3, schedule=False),
}


def between(world, number):
    if "scheduler" not in world.state and number % 3 == 0:
        world.optimizer.step()
        world.optimizer.zero_grad()


@pytest.mark.parametrize("fast", FAST)
@pytest.mark.parametrize("name", WORLDS)
def test_right_replays_pass_and_leave_what_others_leave(name, fast):
    """A verified call ends as the eager one, bit for bit; over 100 calls nothing is raised falsely."""
    data = batches(100)

    def run(step_of):
        af.manual_seed(0)
        world = WORLDS[name]()
        step = step_of(world.raw)
        found = []
        for number, (x, y) in enumerate(data):
            between(world, number)
            x = x.clone()
            found.append(snapshot(world, (step(x, y), x)))
        return found

    expected = run(lambda step: step)
    # Each call is verified, so that each is what eager makes of it.
    for number, (one, other) in enumerate(
        zip(expected, run(lambda step: af.compile(step, fast=fast, verify=1)), strict=True)
    ):
        wrong = difference(one, other)
        assert not wrong, f"after call {number}:\n{wrong}"
    if fast:
        return
    exact = run(lambda step: af.compile(step, fast=False, threads=False, verify=3))
    for number, (one, other) in enumerate(zip(expected, exact, strict=True)):
        wrong = difference(one, other)
        assert not wrong, f"after call {number}:\n{wrong}"


def spoiled(world, change, data, **options):
    """Whether ``verify`` notices a change of the program of a world's plan; its state must be eager's all the same."""
    step = af.compile(world.raw, verify=1, **options)
    for x, y in data[:3]:
        step(x, y)
    program = step._last.program
    before = program.source
    program.source = change(before)
    try:
        for x, y in data[3:]:
            step(x, y)
    except CaptureError as error:
        return "did not do what the step itself does" in str(error)
    return False


CALLS = re.compile(r"^ +(?=[^ ])(?!return|try|finally|switch|#)")


@pytest.mark.parametrize("fast", FAST)
def test_missing_lines_are_noticed(fast):
    """A program without one of its lines is caught, whichever it is."""

    def make():
        af.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
        optimizer = optim.Adam(model.parameters(), lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return World(step, model=model, optimizer=optimizer)

    data = batches(5)
    options = {"fast": fast, "threads": False}
    world = make()
    assert not spoiled(world, lambda source: source, data, **options)
    step = af.compile(make().raw, **options)
    for x, y in data[:3]:
        step(x, y)
    lines = step.source.splitlines()
    places = [at for at, line in enumerate(lines) if CALLS.match(line)]
    assert len(places) >= 4
    for place in places:

        def change(source, place=place):
            kept = source.splitlines()
            del kept[place]
            return "\n".join(kept)

        assert spoiled(make(), change, data, **options), lines[place]


@pytest.mark.parametrize("fast", FAST)
def test_python_variables_are_noticed(fast):
    """What the step reads and a plan does not know: each change is caught, in results, gradients, state and actions."""
    known = {"scale": 1.0, "rate": 0.1, "decay": 0.0, "step": True, "label": "a", "noise": 0.0}

    def make():
        known.update(scale=1.0, rate=0.1, decay=0.0, step=True, label="a", noise=0.0)
        weight, other = nn.Parameter(af.randn(3, 3)), nn.Parameter(af.randn(3, 3))
        optimizer = optim.SGD([other], lr=0.01)

        def step(x):
            optimizer.zero_grad()
            weight.grad = None
            loss = (x @ weight).tanh().sum() * known["scale"] + (x @ other).pow(2).mean() + known["noise"] * other.sum()
            loss.backward()
            with af.no_grad():
                weight.sub_(known["rate"] * weight.grad)
                if known["decay"]:
                    weight.mul_(1 - known["decay"])
            if known["step"]:
                optimizer.step()
            return loss.detach() * 1, known["label"]

        return af.compile(step, fast=fast, verify=1), weight

    calls = [one for (one,) in arrays(6, 3, 3)]
    changes = {"scale": 1.1, "rate": 0.05, "decay": 0.01, "step": False, "label": "b", "noise": 0.1}
    for name, value in changes.items():
        step, weight = make()
        for x in calls[:4]:
            step(x)
        known[name] = value
        with pytest.raises(CaptureError, match="did not do what the step itself does"):
            step(calls[4])
        assert np.isfinite(weight.detach().numpy()).all()
        assert not step._lock.locked()


@pytest.mark.parametrize("fast", FAST)
def test_arguments_that_are_written(fast):
    def step(x, overlapping):
        with af.no_grad():
            x.add_(1.0)
            overlapping.mul_(2.0)
            return x * 2 + overlapping

    def call(k):
        base = af.arange(12.0) + k
        return base, (base[:8], base[4:])

    compiled = af.compile(step, fast=fast, verify=1)
    for k in range(6):
        (one, first), (other, second) = call(k), call(k)
        expected, got = step(*first), compiled(*second)
        assert got.tolist() == expected.tolist()
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("fast", FAST)
def test_gradients_of_arguments(fast):
    def step(x):
        (x * x).sum().backward()
        return x.detach() * 1

    compiled = af.compile(step, fast=fast, verify=1)
    for k in range(6):
        x = af.tensor([1.0, 2.0 + k], requires_grad=True)
        if k % 2:
            x.grad = af.ones(2)
        compiled(x)
        assert x.grad.tolist() == [2.0 + k % 2, 4.0 + 2 * k + k % 2]


@pytest.mark.parametrize("fast", FAST)
def test_errors_in_a_verified_call(fast):
    """They are the step's own, and the next call is right."""
    world = WORLDS["adam"]()
    step = af.compile(world.raw, fast=fast, verify=1)
    data = batches(8)
    for x, y in data[:4]:
        step(x, y)
    before = snapshot(world)
    with pytest.raises(af.errors.AutogradError):
        step(data[0][0], af.tensor([0, 1, 9, 0, 1]))
    assert snapshot(world)["model.0.weight"] == before["model.0.weight"]
    for x, y in data[4:]:
        step(x, y)


def test_every_nth_call():
    runs = []

    def step(x):
        runs.append(1)
        return x * 2

    compiled = af.compile(step, verify=3)
    for (x,) in arrays(2 + 9, 3):
        compiled(x)
    assert len(runs) == 2 + 3
