"""`compile`: a replayed call does what the eager one does, or is refused."""

from __future__ import annotations

import collections
import copy
import dataclasses
import gc
import threading
import weakref

import numpy as np
import pytest
from compile_cases import World, arrays, batches, check_twins, classifier, exactly, plain, snapshot

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.engine import subnormals
from autograd_ff.errors import CaptureError, InplaceError

F = nn.functional


def numbers(*shape, seed=0, dtype=np.float32):
    return af.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def regression(make_optimizer=lambda params: optim.SGD(params, lr=0.1), model=None, make_scheduler=None, **zero):
    """A linear model with everything in its step."""
    model = model or nn.Linear(3, 2)
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer) if make_scheduler else None

    def step(x):
        optimizer.zero_grad(**zero)
        loss = model(x).pow(2).sum()
        loss.backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        return loss

    return World(step, model=model, optimizer=optimizer, **({"scheduler": scheduler} if scheduler else {}))


def check_same(function, calls, most_runs=2):
    """A function without state of its own: compiled equals eager; each call is a function that makes the arguments."""
    runs = []

    def counted(*args, **kwargs):
        runs.append(1)
        return function(*args, **kwargs)

    compiled = exactly(counted)
    for number, call in enumerate(calls):
        assert plain(compiled(*call())) == plain(function(*call())), f"call {number}"
    assert len(runs) <= most_runs
    return compiled


def check_correct_or_refused(function, calls):
    """Each call gives what eager gives, or raises CaptureError. Returns how many were refused."""
    compiled, refused = exactly(function), 0
    for number, call in enumerate(calls):
        try:
            got = compiled(*call())
        except CaptureError:
            refused += 1
            continue
        assert plain(got) == plain(function(*call())), f"call {number}"
    return refused


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


# ---------------------------------------------------------------- correct or refused


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
        with pytest.raises(CaptureError, match=r"test_compile\.py"):
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

    with pytest.raises(CaptureError, match=r"test_compile\.py"):
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

    with pytest.raises(CaptureError, match=r"test_compile\.py"):
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


# ---------------------------------------------------------------- changes between calls


def at(number, change):
    def between(world, now):
        if now == number:
            change(world)

    return between


def every(period, change):
    return lambda world, number: change(world, number) if number % period == 0 else None


def norm_model():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.4), nn.LayerNorm(4), nn.Linear(4, 2))


def halve(world):
    with af.no_grad():
        world.model[0].weight.mul_(0.5)


def hold_data(world):
    world.model[0].weight.data = numbers(4, 3, seed=9)


def load(world):
    world.model.load_state_dict({name: one * 0.5 for name, one in world.model.state_dict().items()})


def load_optimizer(world):
    state = world.optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.03
    world.optimizer.load_state_dict(state)


def replace_module(world):
    world.model[0] = nn.Linear(3, 4)


def replace_parameter(world):
    world.model[0].weight = nn.Parameter(numbers(4, 3, seed=5))


def freeze(world):
    world.model[0].weight.requires_grad_(False)


def set_option(name, value):
    def change(world):
        world.optimizer.param_groups[0][name] = value

    return change


def set_attribute(place, name, value):
    def change(world):
        setattr(world.model[place], name, value)

    return change


def give_gradient(world):
    for one in world.model.parameters():
        one.grad = af.ones_like(one)


def drop_gradient(world):
    world.model[0].weight.grad = None


def write_moments(world):
    for one in world.model.parameters():
        world.optimizer.state[one]["exp_avg"].zero_()


def forget(world):
    world.optimizer.state = {}


def new_group(world):
    extra = nn.Parameter(af.ones(3))
    world.optimizer.add_param_group({"params": [extra], "lr": 1.0})


def replace_group(world):
    world.optimizer.param_groups[0] = dict(world.optimizer.param_groups[0], lr=0.5)


def gradient_hook(world):
    world.model[0].weight.register_hook(lambda gradient: gradient * 10)


def forward_hook(world):
    world.model[0].register_forward_hook(lambda module, inputs, output: output * 2)


def forward_pre_hook(world):
    world.model[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))


def to_double_and_back(world):
    world.model.double().float()


CHANGES = [
    halve, hold_data, load, load_optimizer, replace_module, replace_parameter, freeze, give_gradient, drop_gradient,
    write_moments, forget, new_group, replace_group, gradient_hook, forward_hook, forward_pre_hook, to_double_and_back,
    lambda world: world.model.eval(), lambda world: world.model[2].eval(), lambda world: world.model[1].eval(),
    set_attribute(2, "p", 0.8), set_attribute(3, "eps", 0.1), set_attribute(1, "momentum", 0.5),
    set_option("lr", 0.5), set_option("betas", (0.5, 0.6)), set_option("weight_decay", 0.3), set_option("maximize", True),
    set_option("eps", 0.1), set_option("amsgrad", True), lambda world: af.manual_seed(99),
    lambda world: world.optimizer.zero_grad(set_to_none=False), lambda world: copy.deepcopy(world.model),
]  # fmt: skip


@pytest.mark.parametrize(
    "change", CHANGES, ids=[f"{n} {one.__qualname__}".replace("<locals>.", "") for n, one in enumerate(CHANGES)]
)
@pytest.mark.parametrize("zero", [{}, {"set_to_none": False}], ids=["none", "zeros"])
def test_changes_between_calls_are_honoured(change, zero):
    def make():
        return regression(lambda params: optim.Adam(params, lr=0.01), norm_model(), **zero)

    check_twins(make, arrays(10, 5, 3), at(5, change), most_runs=6)


def test_gradients_accumulate_over_calls():
    def make():
        world = regression()
        model = world.model

        def step(x):
            loss = model(x).pow(2).sum()
            loss.backward()
            return loss

        return World(step, **world.state)

    for period in (2, 3):
        for to_none in (True, False):

            def between(world, number, period=period, to_none=to_none):
                if number % period == 0:
                    world.optimizer.step()
                    world.optimizer.zero_grad(set_to_none=to_none)

            check_twins(make, arrays(12, 4, 3), between, most_runs=6)


def test_train_and_eval_alternate():
    def make():
        model = norm_model()

        @af.no_grad()
        def step(x):
            return model(x)

        return World(step, model=model)

    check_twins(make, arrays(12, 5, 3), lambda world, number: world.model.train(number % 2 == 0), most_runs=6)


def test_modules_used_piecewise_are_replaced():
    def make():
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))

        @af.no_grad()
        def step(x):
            return F.linear(model[0](x), model[1].weight)

        return World(step, model=model)

    def change(world):
        world.model[0] = nn.Linear(3, 4)
        world.model[1].weight = nn.Parameter(numbers(2, 4, seed=3))

    check_twins(make, arrays(8, 5, 3), at(4, change), most_runs=4)


class Descent(optim.Optimizer):
    """As a user writes it."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @af.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad


@pytest.mark.parametrize("through_model", [False, True])
def test_options_of_a_users_optimizer(through_model):
    def make():
        world = regression(Descent)
        model, optimizer = world.model, world.optimizer

        def step(x):
            (model if through_model else optimizer).zero_grad()
            loss = model(x).pow(2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return World(step, model=model, optimizer=optimizer)

    check_twins(make, arrays(8, 4, 3), at(4, set_option("lr", 0.01)), most_runs=4)


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


# ---------------------------------------------------------------- the plan, the source, and what is left behind


def test_deep_networks_share_memory():
    model = nn.Sequential(*[one for _ in range(8) for one in (nn.Linear(16, 16), nn.Tanh())])
    step = regression(model=model).compiled().step
    for call in arrays(3, 64, 16):
        step(*call)
    assert step.plan.arena_bytes < 0.7 * step.plan.eager_bytes
    assert "test_compile.py" in step.source
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


# ---------------------------------------------------------------- what a review found


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


def test_an_optimizer_that_keeps_subnormal_numbers():
    for flushes in (True, False):
        weight = af.tensor([3e-39], requires_grad=True)
        optimizer = optim.SGD([weight], lr=0.1)
        optimizer.flushes_subnormals = flushes

        def step(x, weight=weight, optimizer=optimizer):
            optimizer.zero_grad()
            (weight * x).sum().backward()
            optimizer.step()

        compiled = exactly(step)
        for _ in range(4):
            compiled(af.zeros(1))
        assert (weight.item() == 0) == (flushes and subnormals.available())


def test_a_users_scheduler_with_a_step_of_its_own():
    class Halving(optim.lr_scheduler.LRScheduler):
        def step(self):
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.5
            self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def make():
        return regression(make_scheduler=Halving)

    check_twins(make, arrays(8, 4, 3))


def test_a_refusal_keeps_nothing_alive():
    step = exactly(lambda x: x[x > 0])
    lengths = []
    for k in range(4):
        with pytest.raises(CaptureError) as caught:
            step(numbers(3, seed=k))
        lengths.append(len(caught.traceback))
    assert lengths[-1] <= lengths[0]


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


def test_a_compiled_module_is_still_a_module():
    model = nn.Linear(2, 2)
    compiled = exactly(model)
    assert list(compiled.parameters()) == list(model.parameters())
    assert compiled.eval() is model
    assert not model.training


# ---------------------------------------------------------------- what a new user found


@pytest.mark.parametrize("change", ["mode", "p"])
def test_a_dropout_outside_of_other_modules(change):
    def make():
        weight = af.randn(4, 3, requires_grad=True)
        drop = nn.Dropout(0.0 if change == "p" else 0.5)
        optimizer = optim.SGD([weight], lr=0.1)
        if change == "mode":
            drop.eval()

        def step(x):
            optimizer.zero_grad()
            loss = (drop(x) @ weight).pow(2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return World(step, drop=drop, optimizer=optimizer, weight=weight)

    def between(world, number):
        if number == 4:
            world.drop.train()
            world.drop.p = 0.5

    check_twins(make, arrays(8, 5, 4), between, most_runs=4)


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
