"""`compile` refuses what a replay could not do rightly, and names the line."""

from __future__ import annotations

import numpy as np
import pytest
from compile_cases import (
    World,
    batches,
    check_correct_or_refused,
    check_twins,
    classifier,
    exactly,
    numbers,
    plain,
    snapshot,
)

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import CaptureError

F = nn.functional


REFUSED = {
    "item": lambda x: (x.sum().item(), x),
    "bool": lambda x: x * 2 if x.sum() > 0 else x,
    "float": lambda x: x * float(x.sum()),
    "int": lambda x: x * int(x.sum()),
    "numpy": lambda x: x + af.tensor(x.numpy()),
    "tolist": lambda x: x.tolist(),
    "asarray": lambda x: np.asarray(x),
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "masked_select": lambda x: af.masked_select(x, x > 0),
    "where": lambda x: af.where(x > 0),
    "index": lambda x: [1, 2, 3][af.tensor(1)],
    "equal": lambda x: af.equal(x, x),
    "max": lambda x: max(x[0], x[1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_line(name):
    step = exactly(REFUSED[name])
    for k in range(3):
        with pytest.raises(CaptureError, match=r"test_compile_refusals\.py"):
            step(numbers(3, seed=k))
    assert not step._lock.locked()


def test_live_graph_is_refused():
    weight = nn.Parameter(numbers(3))
    step = exactly(lambda x: x * weight)
    with pytest.raises(CaptureError, match="no_grad"):
        step(numbers(3))
    with af.no_grad():
        assert plain(step(numbers(3))) == plain(numbers(3) * weight)


def test_eager_goes_on_after_a_refusal():
    world, eager = classifier(), classifier()
    world.model.load_state_dict(eager.model.state_dict())
    function = world.step

    def step(x, y):
        return function(x, y).item()

    compiled = exactly(step)
    for x, y in batches(3):
        with pytest.raises(CaptureError):
            compiled(x, y)
        eager.step(x, y)
    for x, y in batches(3):
        assert snapshot(world, function(x, y)) == snapshot(eager, eager.step(x, y))


def test_python_counters_are_refused():
    count = [0]

    def step(x):
        count[0] += 1
        return x * count[0]

    compiled = exactly(step)

    def calls():
        for k in range(9):
            assert plain(compiled(numbers(3, seed=k))) == plain(numbers(3, seed=k) * count[0])

    with pytest.raises(CaptureError, match=r"test_compile_refusals\.py"):
        calls()


def test_state_kept_by_rebinding_is_refused():
    held = [af.zeros(3)]

    def step(x):
        held[0] = held[0] * 0.5 + x
        return held[0] * 1

    compiled = exactly(step)

    def calls():
        for k in range(9):
            compiled(numbers(3, seed=k))

    with pytest.raises(CaptureError, match=r"test_compile_refusals\.py"):
        calls()


def test_memory_given_away_in_the_step():
    held = af.zeros(3)

    def step(x):
        held.data = x * 2
        return x + 1

    compiled = exactly(step)
    try:
        for k in range(5):
            compiled(numbers(3, seed=k))
            assert plain(held) == plain(numbers(3, seed=k) * 2), k
    except CaptureError:
        pass


HIDDEN = {
    "array": lambda x, a: x * af.tensor(a * 2),
    "number": lambda x, a: x * float(a.mean()),
    "shape": lambda x, a: x[: int(a[0])],
    "branch": lambda x, a: x * 2 if a[0] > 2 else x,
}


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("name", HIDDEN)
def test_numpy_behind_the_engines_back(name, equal):
    values = [1.0, 1.0, 3.0, 2.0, 1.0] if equal else [1.0, 3.0, 2.0, 1.0, 2.0]
    check_correct_or_refused(HIDDEN[name], [lambda v=v: (numbers(3), np.full(3, v, np.float32)) for v in values])


def test_seeding_in_the_step():
    dropout = nn.Dropout(0.5)

    def step(x):
        af.manual_seed(3)
        return dropout(x)

    check_correct_or_refused(step, [lambda: (af.ones(20),)] * 5)


def test_python_numbers_returned_are_those_of_the_capture():
    """Documented: what is no Tensor is returned as the recorded call returned it."""
    counts = [0]

    def step(x):
        counts[0] += x.shape[0] > 4
        return x * 2, counts[0]

    compiled = exactly(step)
    assert [compiled(numbers(3, seed=seed))[1] for seed in range(4)] == [0] * 4


def test_a_refusal_keeps_nothing_alive():
    step = exactly(lambda x: x[x > 0])
    lengths = []
    for k in range(4):
        with pytest.raises(CaptureError) as caught:
            step(numbers(3, seed=k))
        lengths.append(len(caught.traceback))
    assert lengths[-1] <= lengths[0]


def test_calls_that_use_other_arrays_are_told_apart():
    weight = af.tensor([1.0], requires_grad=True)

    def step(x):
        return (weight.detach() * x).sum(), weight.grad is None

    compiled = exactly(step)
    for k in range(6):
        weight.grad = numbers(1, seed=k) if k % 3 else None
        assert plain(compiled(numbers(1, seed=k))) == plain(step(numbers(1, seed=k)))


def test_a_returned_array_is_refused_at_once():
    step = exactly(lambda x: np.ones(3))
    with pytest.raises(CaptureError, match="returned a NumPy array"):
        step(af.ones(3))


def test_labels_out_of_range_and_ignored_ones():
    def make():
        model = nn.Linear(3, 3)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return World(step, model=model, optimizer=optimizer)

    labels = [[0, 1], [2, 1], [1, 1], [0, -100], [-100, 2], [0, 2], [-100, 1]]
    calls = [(numbers(2, 3, seed=k), af.tensor(one)) for k, one in enumerate(labels)]
    check_twins(make, calls, most_runs=4)
    world = make().compiled()
    for one in calls[:3]:
        world.step(*one)
    for bad in (-1, 3):
        with pytest.raises(af.errors.ShapeError, match=f"class {bad}"):
            world.step(calls[0][0], af.tensor([0, bad]))


def test_positions_out_of_range():
    step = exactly(lambda x, i: x.gather(1, i))
    x = numbers(2, 3)
    for _ in range(3):
        step(x, af.tensor([[0], [1]]))
    for bad in (-1, 3):
        with pytest.raises(af.errors.DimensionError, match=f"index {bad}"):
            step(x, af.tensor([[0], [bad]]))


def test_positions_that_the_step_computes():
    def step(x):
        place = (x.sum(1) * 10).long()
        return x.index_select(0, place)

    compiled = exactly(step)
    for _ in range(3):
        compiled(af.zeros(4, 4))
    with pytest.raises(af.errors.ShapeError, match="would go on otherwise"):
        compiled(af.ones(4, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "takes a function"),
        ({"model": nn.Linear}, "a class"),
        ({"model": abs, "verify": -1}, "number of calls"),
        ({"model": abs, "modus": "fast"}, "no argument 'modus'"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(CaptureError, match=message):
        af.compile(**arguments)
