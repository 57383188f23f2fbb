"""Learning rate schedules, against closed formulas and against PyTorch over long runs."""

from __future__ import annotations

import copy
import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd_ff import engine, optim
from autograd_ff.errors import OptimizerError, StateDictError
from autograd_ff.optim import lr_scheduler
from autograd_ff.optim.lr_scheduler import ReduceLROnPlateau, SequentialLR


def leaf():
    tensor = engine.wrap(np.ones(2))
    tensor.requires_grad = True
    return tensor


def sgd(*rates, **options):
    return optim.SGD([{"params": [leaf()], "lr": rate} for rate in rates], **options)


def rates_of(optimizer, scheduler, steps, *arguments):
    """The rates of the first group, one for each epoch."""
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*arguments)
    return found


FORMULAS = [
    ("StepLR", {"step_size": 7, "gamma": 0.5}, lambda e: 0.5 ** (e // 7)),
    (
        "MultiStepLR",
        {"milestones": [30, 5, 5, 80], "gamma": 0.3},
        lambda e: 0.3 ** ((e >= 5) * 2 + (e >= 30) + (e >= 80)),
    ),
    ("ExponentialLR", {"gamma": 0.97}, lambda e: 0.97**e),
    ("ConstantLR", {"factor": 0.2, "total_iters": 9}, lambda e: 0.2 if e < 9 else 1.0),
    ("ConstantLR", {"factor": 0.0, "total_iters": 9}, lambda e: 0.0 if e < 9 else 1.0),
    ("LinearLR", {"start_factor": 0.1, "total_iters": 50}, lambda e: 0.1 + 0.9 * min(e, 50) / 50),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 50}, lambda e: 1 - min(e, 50) / 50),
    ("CosineAnnealingLR", {"T_max": 60}, lambda e: (1 + math.cos(math.pi * e / 60)) / 2),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.02}, lambda e: 0.1 + 0.9 * (1 + math.cos(math.pi * e / 7)) / 2),
    ("CosineAnnealingWarmRestarts", {"T_0": 11}, lambda e: (1 + math.cos(math.pi * (e % 11) / 11)) / 2),
    ("LambdaLR", {"lr_lambda": lambda e: 1 / (1 + e)}, lambda e: 1 / (1 + e)),
]


@pytest.mark.parametrize(("name", "arguments", "formula"), FORMULAS)
def test_against_the_formula(name, arguments, formula):
    optimizer = sgd(0.2)
    scheduler = getattr(lr_scheduler, name)(optimizer, **arguments)
    found = rates_of(optimizer, scheduler, 300)
    np.testing.assert_allclose(found, [0.2 * formula(epoch) for epoch in range(300)], rtol=1e-9, atol=1e-12)
    assert scheduler.last_epoch == 300


def one_cycle(step, total, top, pct, linear=False, div=25.0, final=1e4):
    low, rise = top / div, pct * total - 1
    if step <= rise:
        start, end, part = low, top, step / rise
    else:
        start, end, part = top, low / final, (step - rise) / (total - 1 - rise)
    return start + (end - start) * (part if linear else (1 - math.cos(math.pi * part)) / 2)


@given(total=st.integers(12, 400), pct=st.floats(0.2, 0.8), linear=st.booleans())
@settings(max_examples=30, deadline=None)
def test_one_cycle_against_the_formula(total, pct, linear):
    optimizer = sgd(0.2)
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, 0.3, total_steps=total, pct_start=pct, anneal_strategy="linear" if linear else "cos"
    )
    found, momenta = [], []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    expected = [one_cycle(step, total, 0.3, pct, linear) for step in range(total)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert momenta[0] == pytest.approx(0.95)
    assert min(momenta) == pytest.approx(0.85, abs=0.03)
    assert momenta[-1] == pytest.approx(0.95)


# One factory for both libraries: ``of`` is the module of schedulers.
BUILD = {
    "step": lambda of, o: of.StepLR(o, 3, 0.7),
    "multistep": lambda of, o: of.MultiStepLR(o, [4, 9, 9, 40], 0.5),
    "exponential": lambda of, o: of.ExponentialLR(o, 0.99),
    "constant": lambda of, o: of.ConstantLR(o, 0.3, 6),
    "linear": lambda of, o: of.LinearLR(o, 0.2, 0.9, 13),
    "cosine": lambda of, o: of.CosineAnnealingLR(o, 17, 0.001),
    "cosine, short": lambda of, o: of.CosineAnnealingLR(o, 1),
    "restarts": lambda of, o: of.CosineAnnealingWarmRestarts(o, 5, 2, 0.01),
    "lambda": lambda of, o: of.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "one cycle": lambda of, o: of.OneCycleLR(o, [0.5, 1.0], total_steps=250),
    "one cycle, linear": lambda of, o: of.OneCycleLR(o, 0.5, epochs=25, steps_per_epoch=10, anneal_strategy="linear"),
    "one cycle, three phases": lambda of, o: of.OneCycleLR(o, 0.5, total_steps=250, three_phase=True, pct_start=0.25),
    "sequential": lambda of, o: of.SequentialLR(
        o, [of.LinearLR(o, 0.1, total_iters=10), of.CosineAnnealingLR(o, 90), of.ExponentialLR(o, 0.9)], [10, 100]
    ),
    "sequential, constant": lambda of, o: of.SequentialLR(o, [of.ConstantLR(o, 0.1, 20), of.StepLR(o, 5, 0.5)], [20]),
}


@pytest.mark.torch
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", BUILD)
def test_against_torch(name, optimizer):
    torch = pytest.importorskip("torch")
    mine = getattr(optim, optimizer)([{"params": [leaf()]}, {"params": [leaf()], "lr": 0.02}], lr=0.3)
    parameters = [torch.ones(2, requires_grad=True) for _ in range(2)]
    theirs = getattr(torch.optim, optimizer)(
        [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.02}], lr=0.3
    )
    scheduler = BUILD[name](lr_scheduler, mine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = BUILD[name](torch.optim.lr_scheduler, theirs)
        for _ in range(249):
            for key in ("lr", "betas", "momentum"):
                ours = [group.get(key) for group in mine.param_groups]
                assert ours == [group.get(key) for group in theirs.param_groups]
            assert scheduler.get_last_lr() == reference.get_last_lr()
            mine.step()
            theirs.step()
            scheduler.step()
            reference.step()


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@given(seed=st.integers(0, 1000), patience=st.integers(0, 4), cooldown=st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_plateau_against_torch(mode, threshold_mode, seed, patience, cooldown):
    torch = pytest.importorskip("torch")
    arguments = {
        "mode": mode, "factor": 0.5, "patience": patience, "threshold": 0.05, "threshold_mode": threshold_mode,
        "cooldown": cooldown, "min_lr": [0.001, 0.1],
    }  # fmt: skip
    mine = sgd(0.3, 0.2)
    theirs = torch.optim.SGD([{"params": [torch.ones(1)], "lr": 0.3}, {"params": [torch.ones(1)], "lr": 0.2}])
    scheduler = ReduceLROnPlateau(mine, **arguments)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **arguments)
    rng = np.random.default_rng(seed)
    for metric in [*rng.random(60), math.nan, *rng.random(20)]:
        scheduler.step(engine.wrap(np.array(metric)))
        reference.step(metric)
        assert scheduler.get_last_lr() == reference.get_last_lr()


def test_plateau_reduces_after_patience_and_not_below_the_minimum():
    optimizer = sgd(1.0)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.1, patience=2, min_lr=0.05)
    found = []
    for loss in [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]:
        scheduler.step(loss)
        found += scheduler.get_last_lr()
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])


@pytest.mark.torch
def test_fractions_of_an_epoch():
    torch = pytest.importorskip("torch")
    mine, theirs = sgd(0.3), torch.optim.SGD([torch.ones(1)], 0.3)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(mine, 3, 2)
    reference = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, 3, 2)
    mine.step()
    for number in range(100):
        scheduler.step(number / 7)
        reference.step(number / 7)
        assert scheduler.get_last_lr() == pytest.approx(reference.get_last_lr(), rel=1e-12)


def test_schedulers_on_one_optimizer_multiply():
    optimizer = sgd(1.0)
    first = lr_scheduler.ExponentialLR(optimizer, 0.9)
    second = lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(5):
        optimizer.step()
        first.step()
        second.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.9**5 * 0.25)


# ---------------------------------------------------------------- state


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("after", [1, 8, 10, 60])
def test_state_dict_continues_with_equal_rates(name, after):
    optimizer = optim.Adam([{"params": [leaf()]}, {"params": [leaf()], "lr": 0.02}], lr=0.3)
    scheduler = BUILD[name](lr_scheduler, optimizer)
    rates_of(optimizer, scheduler, after)
    saved = json.loads(json.dumps({"scheduler": scheduler.state_dict(), "optimizer": optimizer.state_dict()}))
    again = optim.Adam([{"params": [leaf()]}, {"params": [leaf()], "lr": 7.0}], lr=9.0)
    restored = BUILD[name](lr_scheduler, again)
    again.load_state_dict(saved["optimizer"])
    restored.load_state_dict(saved["scheduler"])
    assert restored.get_last_lr() == scheduler.get_last_lr()
    assert rates_of(again, restored, 100) == rates_of(optimizer, scheduler, 100)
    assert again.param_groups[1]["betas"] == optimizer.param_groups[1]["betas"]


@pytest.mark.torch
@pytest.mark.parametrize("name", BUILD)
def test_state_of_torch_loads(name):
    torch = pytest.importorskip("torch")
    theirs = torch.optim.Adam([{"params": [torch.ones(1)]}, {"params": [torch.ones(1)], "lr": 0.02}], lr=0.3)
    mine = optim.Adam([{"params": [leaf()]}, {"params": [leaf()], "lr": 0.02}], lr=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = BUILD[name](torch.optim.lr_scheduler, theirs)
        for _ in range(20):
            reference.step()
        scheduler = BUILD[name](lr_scheduler, mine)
        mine.load_state_dict(theirs.state_dict())
        scheduler.load_state_dict(reference.state_dict())
        for _ in range(100):
            scheduler.step()
            reference.step()
            assert scheduler.get_last_lr() == reference.get_last_lr()


def test_a_state_dict_is_a_snapshot_and_is_checked():
    optimizer = sgd(1.0)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [2])
    state = scheduler.state_dict()
    kept = copy.deepcopy(state)
    rates_of(optimizer, scheduler, 5)
    assert state == kept
    with pytest.raises(StateDictError, match="lacks step_size"):
        lr_scheduler.StepLR(sgd(1.0), 2).load_state_dict(state)


def test_callable_objects_are_part_of_the_state():
    class Warm:
        def __init__(self, length):
            self.length = length

        def __call__(self, epoch):
            return min(1.0, epoch / self.length)

    scheduler = lr_scheduler.LambdaLR(sgd(1.0), Warm(10))
    other = lr_scheduler.LambdaLR(sgd(1.0), Warm(99))
    other.load_state_dict(scheduler.state_dict())
    assert other.lr_lambdas[0].length == 10


def test_deepcopy_of_scheduler_and_optimizer_together():
    optimizer = sgd(1.0)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    other, twin = copy.deepcopy((optimizer, scheduler))
    assert twin.optimizer is other
    other.step()
    twin.step()
    assert (other.param_groups[0]["lr"], optimizer.param_groups[0]["lr"]) == (0.5, 1.0)


def test_going_on_at_an_epoch():
    optimizer = sgd(1.0)
    with pytest.raises(OptimizerError, match="no 'initial_lr'"):
        lr_scheduler.StepLR(optimizer, 2, last_epoch=3)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch), last_epoch=3)
    assert scheduler.last_epoch == 4
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


# ---------------------------------------------------------------- mistakes


def test_the_wrong_order_is_warned_of_once():
    optimizer = sgd(1.0)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match=r"lr_scheduler.step\(\) was called before optimizer.step\(\)") as caught:
        scheduler.step()
    assert caught[0].filename == __file__
    scheduler.step()  # the filter makes an error of any further warning


def test_the_right_order_is_not_warned_of():
    optimizer = sgd(1.0)
    sequence = BUILD["sequential"](lr_scheduler, optimizer)
    rates_of(optimizer, sequence, 110)
    assert sequence.last_epoch == 110


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda o: lr_scheduler.StepLR(o, 0), "positive integer step_size"),
        (lambda o: lr_scheduler.StepLR("sgd", 1), "needs an Optimizer, got str"),
        (lambda o: lr_scheduler.ConstantLR(o, 2.0), "between 0 and 1"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), "greater than 0"),
        (lambda o: lr_scheduler.LinearLR(o, 0.5, 2.0), "between 0 and 1"),
        (lambda o: lr_scheduler.LambdaLR(o, [len, len]), "expected 1 values of lr_lambda"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), "positive integer T_0"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), "total_steps OR"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=0), "positive integer total_steps"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, pct_start=2.0), "pct_start"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, anneal_strategy="sin"), "'cos' or 'linear'"),
        (lambda o: lr_scheduler.OneCycleLR(o, [0.1, 0.2], total_steps=9), "values of max_lr"),
        (lambda o: ReduceLROnPlateau(o, factor=1.0), "Factor should be < 1.0"),
        (lambda o: ReduceLROnPlateau(o, mode="up"), "mode is 'min' or 'max'"),
        (lambda o: ReduceLROnPlateau(o, threshold_mode="up"), "threshold_mode"),
        (lambda o: SequentialLR(o, [], []), "at least one scheduler"),
        (lambda o: SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]), "need 0 milestones"),
        (lambda o: SequentialLR(o, [lr_scheduler.StepLR(sgd(1.0), 1)], []), "another optimizer"),
        (lambda o: SequentialLR(o, [ReduceLROnPlateau(o)], []), "needs a metric"),
    ],
)
def test_arguments_that_cannot_be(build, message):
    with pytest.raises(OptimizerError, match=message):
        build(sgd(1.0))


def test_one_cycle_ends():
    optimizer = sgd(1.0)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)
    rates_of(optimizer, scheduler, 5)
    with pytest.raises(OptimizerError, match="Tried to step 6 times"):
        scheduler.step()


def test_one_cycle_needs_something_to_cycle():
    class Plain(optim.Optimizer):
        pass

    optimizer = Plain([leaf()], {"lr": 0.1})
    with pytest.raises(OptimizerError, match="neither momentum nor betas"):
        lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)
    lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5, cycle_momentum=False)


def test_a_group_added_later_takes_part():
    for name, arguments, factor in [
        ("ExponentialLR", (0.5,), 0.5),
        ("LambdaLR", (lambda epoch: 0.5**epoch,), 0.25),
        ("CosineAnnealingWarmRestarts", (4,), 0.5),
    ]:
        optimizer = sgd(1.0)
        scheduler = getattr(lr_scheduler, name)(optimizer, *arguments)
        rates_of(optimizer, scheduler, 1)
        optimizer.add_param_group({"params": [leaf()], "lr": 8.0})
        rates_of(optimizer, scheduler, 1)
        assert optimizer.param_groups[1]["lr"] == pytest.approx(8.0 * factor), name
        assert len(scheduler.get_last_lr()) == 2


def test_a_group_added_later_that_cannot_take_part():
    for scheduler in (
        lr_scheduler.OneCycleLR(sgd(1.0), 0.1, total_steps=5),
        lr_scheduler.LambdaLR(sgd(1.0, 1.0), [lambda epoch: 1.0, lambda epoch: 2.0]),
    ):
        scheduler.optimizer.step()
        scheduler.optimizer.add_param_group({"params": [leaf()]})
        with pytest.raises(OptimizerError, match="group was added"):
            scheduler.step()


# ---------------------------------------------------------------- as actions of a step that is recorded and replayed


class Actions(engine.Observer):
    def __init__(self):
        self.seen = []

    def host(self, action, arguments, result):
        self.seen.append((action, arguments))


def _sequence(optimizer):
    parts = [lr_scheduler.ExponentialLR(optimizer, 0.9), lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[3])


class OwnStep(lr_scheduler.StepLR):
    """A schedule whose author wrapped `step`, as one does in PyTorch."""

    calls = 0

    def step(self):
        self.calls += 1
        super().step()


SCHEDULES = {
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 4]),
    "ConstantLR": lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.5, 3),
    "LinearLR": lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.5, 1.0, 3),
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 3),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, 2),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, 20),
    "SequentialLR": _sequence,
    "of Sequentials": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [_sequence(optimizer), OwnStep(optimizer, 2)], milestones=[5]
    ),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=2),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_step_is_one_action_that_can_be_repeated(name):
    """Calling what the recorder was told goes through the same rates as calling `step`."""
    rates = []
    for replayed in (False, True):
        optimizer = optim.Adam([leaf()], lr=0.1)
        scheduler = SCHEDULES[name](optimizer)
        arguments = (1.0,) if name == "ReduceLROnPlateau" else ()
        optimizer.step()
        with engine.observe(Actions()) as actions:
            scheduler.step(*arguments)
        assert len(actions.seen) == 1  # those of schedulers inside are part of it
        action, given = actions.seen[0]
        for _ in range(8):
            optimizer.step()
            if replayed:
                action(*given)
            else:
                scheduler.step(*arguments)
            rates.append((replayed, optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]))
    assert [one[1:] for one in rates[:8]] == [one[1:] for one in rates[8:]]
    assert len({rate for _, rate, _ in rates}) > 1


def test_an_action_that_fails_leaves_the_next_one_whole():
    optimizer = optim.SGD([leaf()], lr=0.1)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, 1, cycle_momentum=False)
    optimizer.step()
    scheduler.step()
    with pytest.raises(OptimizerError, match="Tried to step"):
        scheduler.step()
    other = lr_scheduler.StepLR(optimizer, 2)
    optimizer.step()
    with engine.observe(Actions()) as actions:
        other.step()
    assert len(actions.seen) == 1
