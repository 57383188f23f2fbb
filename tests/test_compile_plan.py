"""What `compile` makes: the plan, its source, and what is left behind."""

from __future__ import annotations

import gc
import weakref

import pytest
from compile_cases import (
    World,
    arrays,
    batches,
    check_same,
    check_twins,
    classifier,
    exactly,
    numbers,
    plain,
    regression,
    snapshot,
)

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import CaptureError

F = nn.functional


def test_deep_networks_share_memory():
    model = nn.Sequential(*[one for _ in range(8) for one in (nn.Linear(16, 16), nn.Tanh())])
    step = regression(model=model).compiled().step
    for call in arrays(3, 64, 16):
        step(*call)
    assert step.plan.arena_bytes < 0.7 * step.plan.eager_bytes
    assert "compile_cases.py" in step.source
    compile(step.source, "source", "exec")


def test_dead_code_goes_and_equal_code_is_shared():
    def step(x):
        (x.sin() + 1).cos()  # dead
        return x.exp() * 2 + x.exp() * 2

    compiled = check_same(step, [lambda k=k: (numbers(40, 40, seed=k),) for k in range(4)])
    names = [one.name for one in compiled.plan.instructions]
    assert names.count("exp") == 1
    assert not {"sin", "cos"} & set(names)


def test_random_draws_are_kept_though_their_result_is_dead():
    def make():
        def step(x):
            af.rand(3)
            return x * af.rand(3)

        return World(step)

    check_twins(make, arrays(6, 3))


def test_planted_faults_are_noticed():
    """A plan with an instruction less, or operands swapped, fails the comparison that these tests rest on."""
    from autograd_ff.compiler.emit import emit

    def spoil(change):
        world, eager = classifier().compiled(), classifier()
        world.model.load_state_dict(eager.model.state_dict())
        for x, y in batches(3):
            world.step(x, y)
            eager.step(x, y)
        captured = world.step._last
        change(captured.plan.instructions)
        captured.replay = emit(captured.plan, "spoiled", False).function()
        return any(
            snapshot(world, world.step(x, y)) != snapshot(eager, eager.step(x, y)) for x, y in batches(2, seed=5)
        )

    assert not spoil(lambda instructions: None)
    count = 0
    af.manual_seed(0)
    step = classifier().compiled().step
    for x, y in batches(3):
        step(x, y)
    for number, one in enumerate(step._last.plan.instructions):
        if one.form != "action":
            assert spoil(lambda instructions, number=number: instructions.pop(number)), one
            count += 1
    assert count > 8


def test_decorator_and_name():
    def step(x):
        """What it does."""
        return x * 2

    compiled = exactly(step)
    assert (compiled.__name__, compiled.__doc__, compiled.__wrapped__) == ("step", "What it does.", step)
    assert "step" in repr(compiled)

    @exactly()
    def other(x):
        return x * 3

    assert plain(other(numbers(3))) == plain(numbers(3) * 3)
    with pytest.raises(CaptureError):
        _ = other.source


def test_dropped_step_frees_its_memory(no_collector):
    model = nn.Linear(3, 2)
    step = exactly(lambda x: model(x).detach())
    for k in range(4):
        step(numbers(4, 3, seed=k))
    replay = weakref.ref(step._last.replay)
    del step
    assert replay() is None


def test_replays_leave_nothing_behind(no_collector):
    world = classifier().compiled()
    x, y = batches(1)[0]
    for one in batches(3):
        world.step(*one)

    def count():
        return sum(str(type(one).__module__).startswith("autograd_ff") for one in gc.get_objects())

    before = count()
    for _ in range(10_000):
        world.step(x, y)
    assert count() <= before + 2


def test_state_in_any_memory_order():
    state = numbers(2, 3, 4).transpose(0, 1) * 1
    check_same(lambda x: x * state, [lambda k=k: (numbers(3, 2, 4, seed=k),) for k in range(4)])


def test_linear_of_three_dimensions():
    def make():
        return regression(model=nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))

    check_twins(make, arrays(6, 2, 5, 3))


LABELS = {
    "weight": lambda o, y: F.cross_entropy(o, y, weight=af.tensor([0.2, 1.0, 3.0])),
    "smoothing": lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1),
    "ignored": lambda o, y: F.cross_entropy(o, y, ignore_index=1),
    "int32": lambda o, y: F.cross_entropy(o, y.int()),
    "nll": lambda o, y: F.nll_loss(F.log_softmax(o, dim=1), y),
    "index_select": lambda o, y: (af.tensor([0.2, 1.0, 3.0]).index_select(0, y)[:, None] * o).mean(),
    "assignment": lambda o, y: (o * _one_hot(y)).mean(),
}


def _one_hot(y):
    hot = af.zeros(len(y), 3)
    hot[af.arange(len(y)), y] = 1.0
    return hot


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("name", LABELS)
def test_losses_of_labels(name, equal):
    def make():
        model = nn.Linear(4, 3)

        def step(x, y):
            model.zero_grad()
            loss = LABELS[name](model(x), y)
            loss.backward()
            return loss

        return World(step, model=model)

    data = batches(8)
    if equal:
        data[1] = data[0]
    check_twins(make, data, most_runs=4)
