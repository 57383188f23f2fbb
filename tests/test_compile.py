"""`compile`: a replayed call does what the eager one does, for all kinds of arguments, results and gradients."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest
from compile_cases import (
    World,
    arrays,
    batches,
    check_correct_or_refused,
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
from autograd_ff import nn, optim
from autograd_ff.errors import InplaceError

F = nn.functional


# ---------------------------------------------------------------- arguments


def test_batches_are_slices_of_one_array():
    data = numbers(40, 4)
    with af.no_grad():
        check_same(lambda x: x * 2 + 1, [lambda k=k: (data[8 * k : 8 * k + 8],) for k in range(5)])


def test_numpy_batches_are_slices_of_one_array():
    data = numbers(40, 4).numpy()
    check_same(lambda x: af.from_numpy(x) * 2, [lambda k=k: (data[8 * k : 8 * k + 8],) for k in range(5)])


@pytest.mark.parametrize(
    "look",
    [
        lambda a: a,
        lambda a: a[:],
        lambda a: a[1:],
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: a.reshape(-1),
    ],
)
def test_numpy_views_of_array_arguments(look):
    function = lambda a: af.from_numpy(look(a)) * 2
    check_correct_or_refused(function, [lambda k=k: (numbers(3, 3, seed=k).numpy(),) for k in range(4)])


def test_array_argument_is_copied_into_a_tensor():
    check_correct_or_refused(lambda a: af.tensor(a) * 2, [lambda k=k: (numbers(3, seed=k).numpy(),) for k in range(8)])


@pytest.mark.parametrize("together", [[0, 0, 0, 1, 0], [1, 1, 1, 0, 1]])
def test_same_array_twice(together):
    def call(k):
        x, y = numbers(3, seed=k), numbers(3, seed=10 + k)
        return (x, x) if together[k] else (x, y)

    check_same(lambda a, b: a * 2 + b * 3, [lambda k=k: call(k) for k in range(5)], most_runs=4)


@pytest.mark.parametrize("together", [[0, 0, 0, 1, 0], [1, 1, 1, 0, 1]])
def test_overlapping_arguments_that_are_written(together):
    def step(a, b):
        before = a * 2
        b.add_(1)
        return before + a * 2

    def call(k):
        base = numbers(6, seed=k)
        with af.no_grad():
            return base[:4], (base[2:] if together[k] else numbers(4, seed=10 + k))

    with af.no_grad():
        check_same(step, [lambda k=k: call(k) for k in range(5)], most_runs=4)


def test_object_arguments_are_told_apart_when_an_id_is_used_again():
    step = exactly(lambda x, function: function(x))
    x = numbers(3)
    double = lambda t: t * 2
    for _ in range(3):
        step(x, double)
    before = id(double)
    del double
    held = []
    for _ in range(1000):
        triple = lambda t: t * 3
        if id(triple) == before:
            break
        held.append(triple)
    assert plain(step(x, triple)) == plain(x * 3)


def test_parameter_as_argument():
    def make():
        model = nn.Linear(3, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, weight=None):
            weight = model.weight if weight is None else weight
            optimizer.zero_grad()
            loss = (x @ weight.t()).sum() + model(x).pow(2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return World(step, model=model, optimizer=optimizer)

    eager, compiled = make(), make().compiled()
    compiled.model.load_state_dict(eager.model.state_dict())
    for (x,) in arrays(5, 4, 3):
        one, two = eager.step(x, eager.model.weight), compiled.step(x, compiled.model.weight)
        assert snapshot(eager, one) == snapshot(compiled, two)


def test_containers_keywords_and_numbers():
    def step(x, *, pair, scale=2, name="a", flag=None):
        return {"out": [x["a"] * scale, pair[0]], "name": name, "flag": flag, "number": 1.5}

    compiled = exactly(step)
    for k in range(12):
        arguments = ({"a": numbers(3, seed=k)},)
        options = {"pair": (numbers(2, seed=k), None), "scale": k % 3, "flag": k % 2 == 0 or None}
        assert plain(compiled(*arguments, **options)) == plain(step(*arguments, **options))


@pytest.mark.parametrize(
    "make",
    [
        lambda k: af.tensor(float(k)),
        lambda k: af.zeros(0, 3),
        lambda k: numbers(4, 3, seed=k).t(),
        lambda k: numbers(4, 3, seed=k, dtype=np.float64),
        lambda k: af.tensor([[k, 2], [3, 4]]),
        lambda k: numbers(4, 3, seed=k) > 0,
        lambda k: numbers(8, 3, seed=k)[::2],
        lambda k: af.from_numpy(np.broadcast_to(numbers(3, seed=k).numpy(), (4, 3)).copy()).flip(0),
        lambda k: af.tensor(np.random.default_rng(k).standard_normal((2, 3, 4)).transpose(1, 0, 2)),
    ],
)
def test_kinds_of_arguments(make):
    with af.no_grad():
        check_same(
            lambda x: (x * 2, x.sum(), (x + 1).reshape(-1), x.float().mean() if x.numel() else x),
            [lambda k=k: (make(k),) for k in range(4)],
            most_runs=8,  # of slices the offset differs
        )


def test_read_only_arrays():
    def call(k):
        array = numbers(3, seed=k).numpy()
        array.flags.writeable = False
        return (array,)

    check_same(lambda a: af.as_tensor(a) * 2, [lambda k=k: call(k) for k in range(4)])


def test_gradient_of_an_argument():
    model = nn.Linear(3, 2)

    def step(x):
        model.zero_grad()
        model(x).pow(2).sum().backward()
        return x.grad

    def call(k):
        return (numbers(4, 3, seed=k).requires_grad_(),)

    compiled = check_same(step, [lambda k=k: call(k) for k in range(5)])
    (x,) = call(7)
    compiled(x)
    assert x.grad is not None


@pytest.mark.parametrize("present", [[0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0]])
def test_gradient_of_an_argument_that_is_there_already(present):
    def step(x):
        (x * x).sum().backward()

    compiled = exactly(step)
    for k in range(6):
        x, y = numbers(3, seed=k).requires_grad_(), numbers(3, seed=k).requires_grad_()
        if present[k]:
            x.grad, y.grad = af.ones(3), af.ones(3)
        compiled(x)
        step(y)
        assert plain(x.grad) == plain(y.grad), k


def test_leaf_made_in_the_step():
    model = nn.Linear(3, 2)

    def step(x):
        model.zero_grad()
        shift = af.zeros(4, 3, requires_grad=True)
        model(x + shift).pow(2).sum().backward()
        return shift.grad

    check_same(step, [lambda k=k: (numbers(4, 3, seed=k),) for k in range(5)])


def test_gradient_penalty():
    def make():
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = optim.Adam(model.parameters())

        def step(x):
            optimizer.zero_grad()
            x = x.detach().clone().requires_grad_()
            (slope,) = af.autograd.grad(model(x).sum(), [x], create_graph=True)
            loss = ((slope.pow(2).sum(1) + 1e-6).sqrt() - 1).pow(2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return World(step, model=model, optimizer=optimizer)

    check_twins(make, arrays(8, 4, 3), most_runs=3)  # the last bias, without a gradient, is in a state of its own


@pytest.mark.parametrize("changes", [[2.0] * 4 + [3.0] * 2, [1.0, 2.0, 3.0, 4.0]])
def test_argument_with_a_graph_of_its_own(changes):
    weight = nn.Parameter(numbers(3))

    def step(y):
        weight.grad = None
        (y * y).sum().backward()
        return weight.grad.clone()

    check_correct_or_refused(step, [lambda c=c: (weight * c,) for c in changes])


# ---------------------------------------------------------------- results


def test_parameter_that_no_op_used_is_returned_itself():
    weight = nn.Parameter(numbers(3))
    step = exactly(lambda x: (x * 2, weight, weight.detach()))
    for k in range(4):
        _, same, _ = step(numbers(3, seed=k))
        assert same is weight
    with af.no_grad():
        weight.fill_(7.0)
    assert step(numbers(3))[2].tolist() == [7.0] * 3


def test_dict_subclasses_are_returned():
    def step(x):
        found = collections.defaultdict(list)
        found["a"] = x * 2
        return found, collections.OrderedDict(b=x)

    compiled = exactly(step)
    for k in range(4):
        found, ordered = compiled(numbers(3, seed=k))
        assert type(found) is collections.defaultdict
        assert type(ordered) is collections.OrderedDict


def test_named_tuples_none_and_arguments_are_returned():
    step = exactly(lambda x: (af.max(x, dim=0), None, x, "text", 3))
    for k in range(4):
        x = numbers(3, 2, seed=k)
        best, nothing, same, text, three = step(x)
        assert plain(best.values) == plain(af.max(x, dim=0).values)
        assert (nothing, text, three) == (None, "text", 3)
        assert same is x


def test_results_keep_their_strides():
    step = exactly(lambda x: (x * 2).t())
    for k in range(4):
        found = step(numbers(4, 3, seed=k))
    assert found.array.strides == (numbers(4, 3) * 2).t().array.strides


def test_results_are_never_overwritten():
    step = exactly(lambda x: (x * 2, (x * 3)[1:], x.sum()))
    found = [(step(numbers(3, seed=k)), numbers(3, seed=k)) for k in range(6)]
    for (double, part, total), x in found:
        assert plain(double) == plain(x * 2)
        assert plain(part) == plain((x * 3)[1:])
        assert plain(total) == plain(x.sum())


# ---------------------------------------------------------------- new shapes and modes


def test_shapes_alternate_and_the_last_batch_is_smaller():
    calls = [one for pair in zip(batches(5), batches(5, rows=2), strict=True) for one in pair]
    check_twins(classifier, calls, most_runs=4)
    check_twins(classifier, [*batches(5), *batches(1, rows=2), *batches(5), *batches(1, rows=2)], most_runs=4)


def test_dtypes_modes_and_statics_record_anew():
    weight = nn.Parameter(numbers(3))

    def step(x, scale):
        y = x * weight * scale
        return y.detach(), y.requires_grad, af.zeros(2)

    compiled = exactly(step)
    for k in range(24):
        x = numbers(4, 3, seed=k, dtype=(np.float32, np.float64)[k % 2])
        with af.set_grad_enabled(k % 3 == 0):
            af.set_default_dtype((af.float32, af.float64)[k % 4 == 0])
            try:
                assert plain(compiled(x, 1.0 + k % 2)) == plain(step(x, 1.0 + k % 2))
            finally:
                af.set_default_dtype(af.float32)


# ---------------------------------------------------------------- gradients


def test_clipping_gradients_that_the_step_found():
    def make():
        model = nn.Linear(3, 2)
        return World(lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.1), model=model)

    def between(world, number):
        world.model.zero_grad()
        world.model(numbers(4, 3, seed=number)).pow(2).sum().backward()

    check_twins(make, [()] * 6, between)


def test_zeroing_gradients_that_the_step_does_not_make():
    def make():
        first, second = nn.Parameter(numbers(3)), nn.Parameter(numbers(3))
        optimizer = optim.SGD([first, second], lr=0.1)

        def step(x):
            optimizer.zero_grad(set_to_none=False)
            (first * x).sum().backward()
            optimizer.step()

        return World(step, first=first, second=second)

    def between(world, number):
        world.first.grad, world.second.grad = af.ones(3), af.ones(3)

    check_twins(make, arrays(6, 3), between)


def gradient_step():
    weight = nn.Parameter(numbers(3))

    def step(x):
        weight.grad = None
        loss = (weight * x).sum()
        loss.backward()
        return loss

    return weight, exactly(step)


def test_equal_gradients_do_not_share_memory():
    first, second = nn.Parameter(numbers(3)), nn.Parameter(numbers(3))

    @exactly
    def step(x):
        first.grad = second.grad = None
        ((first + second) * x).pow(2).sum().backward()

    for k in range(4):
        step(numbers(3, seed=k))
    assert not np.shares_memory(first.grad.array, second.grad.array)


def test_gradient_of_another_array_does_not_stay():
    weight, step = gradient_step()
    for k in range(4):
        step(numbers(3, seed=k))
    weight.grad.data = af.zeros(3)
    step(numbers(3, seed=9))
    assert plain(weight.grad) == plain(numbers(3, seed=9))


def test_gradient_that_requires_grad_does_not_stay():
    weight, step = gradient_step()
    for k in range(4):
        step(numbers(3, seed=k))
    weight.grad.requires_grad_()
    step(numbers(3, seed=9))
    assert not weight.grad.requires_grad


# ---------------------------------------------------------------- eager graphs beside replays


def test_graph_that_saved_a_parameter_notices_the_replay():
    world = regression().compiled()
    for call in arrays(4, 4, 3):
        world.step(*call)
    x = numbers(4, 3).requires_grad_()
    total = world.model(x).sum()
    world.step(numbers(4, 3))
    with pytest.raises(InplaceError):
        total.backward()


def test_graph_that_saved_a_gradient_notices_the_replay():
    weight, step = gradient_step()
    for k in range(4):
        step(numbers(3, seed=k))
    other = nn.Parameter(numbers(3))
    total = (other * weight.grad).sum()
    step(numbers(3, seed=8))
    with pytest.raises(InplaceError):
        total.backward()


def test_graph_that_saved_an_argument_notices_the_replay():
    step = exactly(lambda x: x.add_(1))
    for k in range(4):
        step(numbers(3, seed=k))
    weight, x = nn.Parameter(numbers(3)), numbers(3)
    total = (weight * x).sum()
    step(x)
    with pytest.raises(InplaceError):
        total.backward()


def test_the_last_calls_gradient_as_an_argument():
    weight = af.tensor([1.0, 2.0], requires_grad=True)

    def step(x, g):
        weight.grad = None
        loss = (weight * x).pow(2).sum()
        loss.backward()
        return loss.detach() + (g * x).sum()

    compiled = exactly(step)
    x = af.tensor([3.0, 4.0])
    for _ in range(5):
        compiled(x, numbers(2))
    gradient = weight.grad
    expected = step(x, gradient.clone()).item()
    weight.grad = None
    step(x, numbers(2))
    compiled(x, numbers(2))
    assert compiled(x, weight.grad).item() == expected


def test_known_shapes_stay_known_beside_many_others():
    drop = nn.Dropout(0.5)
    step = exactly(lambda x: drop(x) * 2)

    def calls():
        for size in range(1, 66):
            for _ in range(2):
                step(af.ones(size))

    with pytest.warns(UserWarning, match="recorded for 64"):
        calls()
    drop.eval()
    for _ in range(3):
        assert plain(step(af.ones(3))) == plain(af.ones(3) * 2)
    assert len(step._variants[next(iter(step._variants))]) >= 1


def test_a_compiled_module_is_still_a_module():
    model = nn.Linear(2, 2)
    compiled = exactly(model)
    assert list(compiled.parameters()) == list(model.parameters())
    assert compiled.eval() is model
    assert not model.training


def test_hints_of_pytorch():
    step = af.compile(lambda x: x * 2, mode="max-autotune", fullgraph=True)
    assert step(af.ones(1)).item() == 2
    assert af.compile(abs, disable=True) is abs


def test_state_passed_as_an_argument():
    """The array of w is the argument's at the capture, and then it is not."""

    def make():
        w = af.arange(3.0)

        @af.no_grad()
        def step(a):
            one = a * 2
            w.add_(1)
            return one + a * 2

        return World(step, w=w)

    eager, compiled = make(), make().compiled()
    for _ in range(4):
        assert plain(compiled.step(compiled.w.detach())) == plain(eager.raw(eager.w.detach()))
    for k in range(4):
        assert plain(compiled.step(numbers(3, seed=k))) == plain(eager.raw(numbers(3, seed=k)))


def test_dataclasses_as_arguments_and_results():
    @dataclasses.dataclass
    class Batch:
        x: af.Tensor
        scale: float = 2.0

    runs = []

    def step(batch):
        runs.append(batch)
        return Batch(batch.x * batch.scale, batch.scale)

    compiled = exactly(step)
    for k in range(5):
        made = compiled(Batch(numbers(3, seed=k)))
        assert isinstance(made, Batch)
        assert plain(made.x) == plain(numbers(3, seed=k) * 2.0)
        assert made.scale == 2.0
    assert len(runs) == 2


def test_batches_cut_from_one_array_share_what_they_compute():
    compiled = exactly(lambda x, y: (x.exp() + y, x.exp() * y))
    whole = numbers(4, 6)
    for _ in range(3):
        compiled(whole[:, :4], whole[:, 2:])
    assert [one.name for one in compiled.plan.instructions].count("exp") == 1
