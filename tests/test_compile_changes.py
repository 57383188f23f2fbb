"""`compile` honours what is changed between two calls, or records the step anew."""

from __future__ import annotations

import copy

import pytest
from compile_cases import (
    World,
    arrays,
    check_twins,
    exactly,
    numbers,
    regression,
)

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.engine import subnormals

F = nn.functional


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
