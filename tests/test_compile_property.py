"""A compiled step equals the eager one bit for bit, over random networks, losses, optimizers, schedules and programs."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
from compile_cases import World, check_twins, exactly, plain
from hypothesis import given, note, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.engine import OPS, TensorCore, wrap
from autograd_ff.testing import NumPyDraw, table
from autograd_ff.testing.networks import Residual
from autograd_ff.testing.tree import flatten, rebuild

F = nn.functional
FEATURES, CLASSES, ROWS = 4, 3, 5

ACTIVATIONS = [
    nn.Tanh, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.GELU, partial(nn.GELU, approximate="tanh"), nn.SiLU, nn.Softplus, nn.ELU,
    nn.LeakyReLU, nn.PReLU, nn.SELU, nn.CELU, nn.Mish, nn.Softsign, nn.Tanhshrink, nn.LogSigmoid, nn.Hardtanh,
    nn.Hardswish, nn.Hardsigmoid, partial(nn.Softmax, dim=-1), partial(nn.LogSoftmax, dim=-1), partial(nn.Threshold, 0.1, 0.2),
]  # fmt: skip

# ---------------------------------------------------------------- layers that only tests have


class Apply(nn.Module):
    """A function of the activations as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Lookup(nn.Module):
    """Adds rows of a table, taken by integers that are computed from the input."""

    def __init__(self, width):
        super().__init__()
        self.table = nn.Parameter(af.randn(6, width))

    def forward(self, x):
        index = (x.detach().sum(-1) * 3).long().abs() % 6
        return x + self.table[index]


class Counter(nn.Module):
    """Keeps state of its own in a buffer, written in place."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", af.zeros(width))

    def forward(self, x):
        with af.no_grad():
            self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        return x - self.mean


def in_place(x):
    y = x * 2
    y[:, 0] += 1
    y[1:3] = 0.5
    y.mul_(0.5).add_(x)
    return y


def shuffled(x):
    return af.cat([x[:, 1:], x[:, :1]], dim=1) + af.stack([x, x * 2], dim=0).mean(0)


FUNCTIONS = [
    in_place,
    shuffled,
    lambda x: x.flip(0).flip(0) + x[af.tensor([2, 0, 1, 1, 4])],
    lambda x: af.where(x > 0, x, x * 0.3),
    lambda x: x.t().contiguous().t() + x.reshape(-1).view(x.shape),
    lambda x: af.cat(x.chunk(2, dim=1), dim=1) * x.max(1, keepdim=True)[0],
    lambda x: x.clamp(-1, 1) ** 2 + x.abs().sqrt(),
    lambda x: x / (1e-3 + x.norm(dim=1, keepdim=True)),
    lambda x: x + af.arange(x.shape[1], dtype=x.dtype) * 0.1,
    lambda x: x + 0.1 * af.randn_like(x),
    lambda x: x.sort(dim=0)[0] + x.cumsum(1),
    lambda x: (x.unsqueeze(0).expand(2, *x.shape) * 0.5).sum(0),
]


@st.composite
def layers(draw, depth=4):
    """A network as a recipe: a function that builds it, so that twins are equal."""
    kinds = draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(2, 5)), min_size=1, max_size=depth))
    makers, width = [], FEATURES
    for code, after in kinds:
        kind = ("linear", "activation", "norm", "dropout", "residual", "function", "lookup", "counter", "tied")[
            code % 9
        ]
        number = code // 9
        if kind == "linear":
            makers.append(partial(nn.Linear, width, after, bias=bool(number % 2)))
            width = after
        elif kind == "activation":
            makers.append(ACTIVATIONS[number % len(ACTIVATIONS)])
        elif kind == "norm":
            makers.append([
                partial(nn.LayerNorm, width), partial(nn.RMSNorm, width), partial(nn.GroupNorm, 1, width),
                partial(nn.BatchNorm1d, width), partial(nn.LayerNorm, width, elementwise_affine=False),
            ][number % 5])  # fmt: skip
        elif kind == "dropout":
            makers.append(partial(nn.Dropout, 0.3, inplace=False))
        elif kind == "residual":
            inner = ACTIVATIONS[number % len(ACTIVATIONS)]
            makers.append(lambda width=width, inner=inner: Residual(nn.Sequential(nn.Linear(width, width), inner())))
        elif kind == "function":
            makers.append(partial(Apply, FUNCTIONS[number % len(FUNCTIONS)]))
        elif kind == "lookup":
            makers.append(partial(Lookup, width))
        elif kind == "counter":
            makers.append(partial(Counter, width))
        else:
            makers.append(lambda width=width: _tied(width))

    def build():
        return nn.Sequential(*[make() for make in makers], nn.Linear(width, CLASSES))

    build.kinds = makers
    return build


def _tied(width):
    first, second = nn.Linear(width, width), nn.Linear(width, width)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


@st.composite
def losses(draw):
    """A loss of (output, labels), where labels are integers."""
    kind = draw(st.integers(0, 12))
    reduction = draw(st.sampled_from(["mean", "sum", "none"]))
    weight = af.tensor([0.2, 1.0, 3.0])
    functions = [
        lambda o, y: F.cross_entropy(o, y, reduction=reduction),
        lambda o, y: F.cross_entropy(o, y, weight=weight.to(o.dtype), reduction=reduction),
        lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1, reduction=reduction),
        lambda o, y: F.cross_entropy(o, y, ignore_index=1, reduction="sum"),
        lambda o, y: F.nll_loss(F.log_softmax(o, dim=1), y, reduction=reduction),
        lambda o, y: F.mse_loss(o, F.one_hot(y, CLASSES).to(o.dtype), reduction=reduction),
        lambda o, y: F.l1_loss(o, F.one_hot(y, CLASSES).to(o.dtype), reduction=reduction),
        lambda o, y: F.binary_cross_entropy_with_logits(o, F.one_hot(y, CLASSES).to(o.dtype), reduction=reduction),
        lambda o, y: F.huber_loss(o, F.one_hot(y, CLASSES).to(o.dtype), reduction=reduction),
        lambda o, y: F.smooth_l1_loss(o, F.one_hot(y, CLASSES).to(o.dtype), reduction=reduction),
        lambda o, y: F.kl_div(F.log_softmax(o, dim=1), F.softmax(o.detach() + 1, dim=1), reduction="batchmean"),
        lambda o, y: F.cross_entropy(o, F.softmax(o.detach() * 2, dim=1), reduction=reduction),
        lambda o, y: o.tanh().pow(3).mean() + o.tanh().exp().sum(1).log().mean(),  # bounded: no step runs away
    ]
    note(f"loss {kind}, {reduction}")
    return lambda o, y: functions[kind](o, y).mean() if reduction == "none" else functions[kind](o, y)


class HeavyBall(optim.Optimizer):
    """An optimizer as a user writes it, with state in tensors that are written in place."""

    def __init__(self, params, lr=0.05, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["velocity"] = af.zeros_like(p)

    @af.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                velocity = self.state[p]["velocity"]
                velocity.mul_(group["momentum"]).add_(p.grad)
                p.add_(velocity, alpha=-group["lr"])


OPTIMIZERS = [
    partial(optim.SGD, lr=0.1),
    partial(optim.SGD, lr=0.1, weight_decay=0.01, maximize=True),
    partial(optim.SGD, lr=0.1, momentum=0.9),
    partial(optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    partial(optim.SGD, lr=0.1, momentum=0.9, dampening=0.3),
    partial(optim.Adam, lr=0.01),
    partial(optim.Adam, lr=0.01, weight_decay=0.1, betas=(0.8, 0.99), eps=1e-6),
    partial(optim.Adam, lr=0.01, amsgrad=True, maximize=True),
    partial(optim.AdamW, lr=0.01),
    partial(optim.AdamW, lr=0.01, amsgrad=True),
    partial(optim.RMSprop, lr=0.01),
    partial(optim.RMSprop, lr=0.01, momentum=0.9, weight_decay=0.1),
    partial(optim.RMSprop, lr=0.01, centered=True),
    partial(optim.RMSprop, lr=0.01, centered=True, momentum=0.5, maximize=True),
    partial(optim.Adagrad, lr=0.05),
    partial(optim.Adagrad, lr=0.05, lr_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.1, maximize=True),
    HeavyBall,
]

schedules = optim.lr_scheduler
SCHEDULERS = [
    None,
    lambda o: schedules.StepLR(o, 2),
    lambda o: schedules.MultiStepLR(o, [2, 5]),
    lambda o: schedules.ConstantLR(o, 0.5, 3),
    lambda o: schedules.LinearLR(o, total_iters=4),
    lambda o: schedules.ExponentialLR(o, 0.9),
    lambda o: schedules.CosineAnnealingLR(o, 5),
    lambda o: schedules.CosineAnnealingWarmRestarts(o, 3),
    lambda o: schedules.OneCycleLR(o, 0.1, 20, cycle_momentum=bool({"momentum", "betas"} & o.defaults.keys())),
    lambda o: schedules.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    lambda o: schedules.SequentialLR(o, [schedules.LinearLR(o, total_iters=2), schedules.ExponentialLR(o, 0.9)], [2]),
]

CLIPPING = [
    lambda params: None,
    lambda params: nn.utils.clip_grad_norm_(params, 0.5),
    lambda params: nn.utils.clip_grad_norm_(params, 0.5, norm_type=float("inf")),
    lambda params: nn.utils.clip_grad_norm_(params, 0.5, norm_type=1),
    lambda params: nn.utils.clip_grad_value_(params, 0.05),
]


@st.composite
def worlds(draw):
    """A whole training step, as (a function that builds it, what happens between calls, how many plans it may need)."""
    build, loss_of = draw(layers()), draw(losses())
    make_optimizer = draw(st.sampled_from(OPTIMIZERS))
    own = make_optimizer is HeavyBall
    make_scheduler = None if own else draw(st.sampled_from(SCHEDULERS))  # its rates are constants of a user's step
    clip = draw(st.sampled_from(CLIPPING))
    double, frozen, several = draw(st.booleans()), draw(st.integers(0, 3)), draw(st.booleans())
    every, to_none = draw(st.sampled_from([1, 1, 2, 3])), draw(st.booleans())

    def make():
        model = build()
        if double:
            model.double()
        parameters = list(dict.fromkeys(model.parameters()))
        if frozen == 1 and len(parameters) > 2:
            parameters[0].requires_grad_(False)
        unused = nn.Parameter(af.ones(2, dtype=parameters[0].dtype))  # never gets a gradient
        trained = [*(one for one in parameters if one.requires_grad), unused]
        groups = trained
        if several and len(trained) > 2:
            groups = [{"params": trained[:2], "lr": 0.03}, {"params": trained[2:]}]
        optimizer = make_optimizer(groups)
        scheduler = make_scheduler(optimizer) if make_scheduler else None

        def step(x, y):
            if every == 1:
                optimizer.zero_grad(set_to_none=to_none)
            loss = loss_of(model(x), y) / every
            loss.backward()
            if every == 1:
                norm = clip(trained)
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
                return {"loss": loss, "norm": norm}
            return loss

        known = {"model": model, "optimizer": optimizer, "unused": unused}
        return World(step, **known, **({"scheduler": scheduler} if scheduler else {}))

    def between(world, number):
        if every > 1 and number % every == 0 and number:
            world.optimizer.step()
            world.optimizer.zero_grad(set_to_none=to_none)

    note(f"{build.kinds}, {make_optimizer}, frozen {frozen}, groups {several}, every {every}, to none {to_none}")
    return make, between, double, 12


# over calls; linear of three dimensions; power with small arrays.
@settings(max_examples=60)
@given(worlds(), st.integers(0, 2**16))
def test_training_steps_equal_eager_bit_for_bit(world, seed):
    make, between, double, most_runs = world
    draw = np.random.default_rng(seed)
    dtype = np.float64 if double else np.float32
    calls = [
        (af.tensor(draw.standard_normal((ROWS, FEATURES)).astype(dtype)), af.tensor(draw.integers(0, CLASSES, ROWS)))
        for _ in range(8)
    ]
    check_twins(make, calls, between, seed=seed, most_runs=most_runs)


# ---------------------------------------------------------------- every op of the table, with its gradient


SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-30, 1e30, -1.5, 0.5, 2.0])


def check_op(op, draw, dtype, special):
    call = table.sample(op, draw)
    tracked = table.checked_positions(op, call) if op.differentiable else []
    generator = draw.generator()

    def step(*leaves):
        inputs = rebuild(call.inputs, list(leaves))
        outputs = [one for one in flatten(table.run(op, inputs, call.params)) if isinstance(one, TensorCore)]
        differentiable = [one for one in outputs if one.requires_grad]
        sources = [one for one in leaves if isinstance(one, TensorCore) and one.requires_grad]
        gradients = ()
        if differentiable:
            total = sum((one * one).sum() for one in differentiable)
            gradients = af.autograd.grad(total, sources, allow_unused=True)
        return [one.detach() for one in outputs], gradients

    def arguments():
        leaves = []
        for position, leaf in enumerate(flatten(call.inputs)):
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
                leaf = generator.choice(SPECIAL, leaf.shape) if special else leaf * (1 + 0.01 * generator.random())
                leaf = np.asarray(leaf, dtype)
            leaves.append((np.array(leaf), position in tracked) if isinstance(leaf, np.ndarray) else leaf)
        return leaves

    def tensors(leaves):
        made = []
        for leaf in leaves:
            if isinstance(leaf, tuple) and len(leaf) == 2 and isinstance(leaf[0], np.ndarray):
                tensor = wrap(leaf[0].copy())
                tensor.requires_grad = leaf[1]
                leaf = tensor
            made.append(leaf)
        return made

    compiled = exactly(step)
    for number in range(4):
        leaves = arguments()
        try:
            expected = step(*tensors(leaves))
        except af.errors.AutogradError:
            return  # these values have no place in the op's domain
        got = compiled(*tensors(leaves))
        assert plain(got) == plain(expected), f"{op.name} differs at call {number}:\n{compiled.source}"


@pytest.mark.parametrize("name", sorted(name for name, op in OPS.items() if op.domain is not None))
def test_every_op_and_its_gradient(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # infinities and NaN are the point
        for seed in range(2):
            for dtype in (np.float64, np.float32):
                for special in (False, True):
                    check_op(OPS[name], NumPyDraw(seed), dtype, special)


# ---------------------------------------------------------------- programs on arrays: views, writes, sharing


@st.composite
def programs(draw):
    """A straight program over a pool of (4, 3) tensors, as a list of instructions."""
    return draw(st.lists(st.tuples(st.integers(0, 21), *[st.integers(0, 30)] * 3), min_size=1, max_size=14))


def interpret(program, x, y, state):
    pool = [x, y, state, x * 1]
    for code, a, b, c in program:
        one, two = pool[a % len(pool)], pool[b % len(pool)]
        rows = slice(c % 3, c % 3 + 2)
        match code:
            case 0:
                made = one + two
            case 1:
                made = one * two
            case 2:
                made = one - two * 0.5
            case 3:
                made = af.where(one > two, one, two)
            case 4:
                made = one.exp().clamp(max=10.0)
            case 5:
                made = (one.t() * 2).t()
            case 6:
                made = one.clone()
            case 7:
                made = af.cat([one[2:], two[:2]])
            case 8:
                made = one.sum(0, keepdim=True) + two
            case 9:
                made = one.mean(1, keepdim=True) * two
            case 10:
                made = one @ (two.t() @ one) * 0.1
            case 11:
                made = one.flip(0)
            case 12:
                made = one.reshape(3, 4).t().reshape(4, 3) + 0
            case 13:
                one.add_(two.clone())
                made = one * 1
            case 14:
                one.mul_(0.5)
                made = two * 1
            case 15:
                one[rows] = two[rows].clone()
                made = one * 1
            case 16:
                one[:, c % 3] += 1
                made = two + one
            case 17:
                one.copy_(two.clone())
                made = one.t().t()
            case 18:
                made = one[0:4].t().t()  # shows the same memory
            case 19:
                made = one.float() * two.double().float()
            case 20:
                made = one.new_zeros(4, 3) + two
            case _:
                one.t()[c % 3].fill_(0.25)
                made = one
        pool.append(made.clamp(-1e3, 1e3) if code in (1, 10) else made)
    return [one * 1 for one in pool[-3:]], pool[-1]


@settings(max_examples=150)
@given(programs(), st.integers(0, 2**16))
def test_programs_with_views_and_writes(program, seed):
    def make():
        state = af.zeros(4, 3)

        @af.no_grad()
        def step(x, y):
            return interpret(program, x, y, state)

        return World(step, state=state)

    draw = np.random.default_rng(seed)
    data = [[draw.standard_normal((4, 3)).astype(np.float32) for _ in range(2)] for _ in range(5)]
    calls = [partial(lambda pair: tuple(af.tensor(one) for one in pair), pair) for pair in data]
    check_twins(make, calls, seed=seed)


@settings(max_examples=60)
@given(programs(), st.integers(0, 2**16))
def test_gradients_of_programs(program, seed):
    steady = [one for one in program if one[0] not in (13, 14, 15, 16, 17, 21)]  # writes into leaves raise

    def make():
        weight = af.randn(4, 3, requires_grad=True)

        def step(x, y):
            weight.grad = None
            results, _ = interpret(steady, x, y * weight, weight)
            loss = sum((one * one).mean() for one in results) + (weight * weight * x).mean()
            (first,) = af.autograd.grad(loss, [weight], create_graph=True)
            (first * first).sum().backward()
            return loss, first.detach()

        return World(step, weight=weight)

    draw = np.random.default_rng(seed)
    calls = [tuple(af.tensor(draw.standard_normal((4, 3)).astype(np.float32)) for _ in range(2)) for _ in range(5)]
    check_twins(make, calls, seed=seed)
