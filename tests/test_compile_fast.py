"""Compiled loops (numba) in whole steps: up to rounding they do what eager does, call by call from the same state."""

from __future__ import annotations

import copy
import gc
import importlib.util
import os
import sys
import tracemalloc
import weakref
from functools import partial

import numpy as np
import pytest
from compile_cases import World, batches

pytest.importorskip("numba")

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.compiler import fuse
from autograd_ff.engine import TensorCore
from autograd_ff.errors import AutogradError, CaptureError
from autograd_ff.testing.networks import Residual
from autograd_ff.testing.tree import flatten

F = nn.functional
TOLERANCE = {2: 5e-3, 4: 1e-5, 8: 1e-12}  # of the largest number of an array, by the size of its dtype

fast = partial(af.compile, fast=True, threads=False)
exact = partial(af.compile, fast=False, threads=False)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("AUTOGRAD_FF_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def check_close(one, other, what="", scale=0.0, factor=1.0):
    """Two arrays are equal up to rounding, which is measured by the largest number, or by ``scale``."""
    one, other = (thing.array if isinstance(thing, TensorCore) else thing for thing in (one, other))
    assert (one.shape, one.dtype) == (other.shape, other.dtype), what
    if one.dtype.kind not in "fc":
        assert one.tobytes() == other.tobytes(), f"{what}: {one} {other}"
        return
    finite = np.isfinite(one)
    np.testing.assert_array_equal(np.where(finite, 0, one), np.where(np.isfinite(other), 0, other), what)
    if finite.any():
        wide = np.complex128 if one.dtype.kind == "c" else np.float64
        first, second = one[finite].astype(wide), other[finite].astype(wide)
        scale = max(scale, float(np.abs(first).max()))
        worst = float(np.abs(first - second).max())
        allowed = factor * TOLERANCE[one.dtype.itemsize // (2 if one.dtype.kind == "c" else 1)] * scale
        assert worst <= allowed, f"{what}: off by {worst:.3g}, of numbers up to {scale:.3g}"


def check_same(function, calls, how=fast):
    """Each call returns what the function returns; at least two are replays."""
    compiled = how(function)
    for number, call in enumerate(calls):
        arguments = call() if callable(call) else call
        again = call() if callable(call) else call
        expected, got = flatten(function(*arguments)), flatten(compiled(*again))
        for position, (one, other) in enumerate(zip(expected, got, strict=True)):
            check_close(one, other, f"result {position} of call {number}")
    assert compiled.plan.instructions
    return compiled


def loops(compiled):
    return [one for one in compiled.plan.instructions if one.form == "kernel"]


def numbers(*shape, seed=0, dtype=np.float32):
    return af.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


# ---------------------------------------------------------------- training steps


def parts(world):
    """Everything that a step leaves: parameters, buffers, moments, gradients."""
    found, gradients = {}, {}
    for name, tensor in (*world.model.named_parameters(), *world.model.named_buffers()):
        found[name] = tensor.array.copy()
        if tensor._grad is not None:
            gradients[name] = tensor._grad.array.copy()
    moments = {}
    for key, values in world.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                moments[f"{key}.{name}"] = np.array(value.array if isinstance(value, TensorCore) else value)
    return found, gradients, moments


def check_steps(make, calls, dtype=np.float32):
    """Call by call from equal state, a compiled world does what its eager twin does."""
    af.manual_seed(0)
    eager = make()
    af.manual_seed(0)
    compiled = make()
    for one in (eager, compiled):
        one.model.to(af.float64 if dtype == np.float64 else af.float32)
    step = fast(compiled.raw)
    for number, (x, y) in enumerate(calls):
        if x.is_floating_point():
            x = af.tensor(x.array.astype(dtype))
        random = af.get_rng_state()
        expected = eager.raw(x, y)
        drawn = af.get_rng_state()
        af.set_rng_state(random)
        got = step(x, y)
        assert repr(af.get_rng_state()) == repr(drawn)
        (state, gradients, moments), (other_state, other_gradients, other_moments) = parts(eager), parts(compiled)
        assert gradients.keys() == other_gradients.keys()
        assert moments.keys() == other_moments.keys()
        assert eager.optimizer.param_groups[0]["lr"] == compiled.optimizer.param_groups[0]["lr"]
        largest = max((float(np.abs(one).max()) for one in gradients.values()), default=0.0)
        for one, other in zip(flatten(expected), flatten(got), strict=True):
            check_close(one, other, f"result of call {number}", scale=0.1)
        for name, one in gradients.items():
            check_close(one, other_gradients[name], f"{name}.grad of call {number}", scale=largest)
        for name, one in moments.items():
            check_close(
                one, other_moments[name], f"moment {name} of call {number}", scale=max(largest, largest**2), factor=3
            )
        for name, one in state.items():
            # An adaptive update of a gradient that is nothing but rounding is as large as any.
            sure = np.abs(gradients[name]) > 1e-3 * largest if name in gradients else np.ones(one.shape, np.bool_)
            if one.dtype.kind == "f":
                check_close(one[sure], other_state[name][sure], f"{name} after call {number}", scale=1.0, factor=30)
            else:
                check_close(one, other_state[name], f"{name} after call {number}")
        eager.model.load_state_dict(compiled.model.state_dict())
        eager.optimizer.load_state_dict(copy.deepcopy(compiled.optimizer.state_dict()))
    assert step._last is not None
    assert loops(step)
    return step


def world(model, make_optimizer, loss, clip=None, make_scheduler=None):
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer) if make_scheduler else None

    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        norm = clip(model.parameters()) if clip else None
        optimizer.step()
        if scheduler:
            scheduler.step()
        return value if norm is None else (value, norm)

    return World(step, model=model, optimizer=optimizer)


class Written(nn.Module):
    """Views, and writes through them."""

    def forward(self, x):
        y = x * 2
        y[:, 0] += 1
        y[1:] = y[:-1].clone() * 0.5
        y.mul_(0.5).add_(x)
        y[2:4] = y[1:3]
        return af.cat([y[:, 1:], y.t()[:1].t()], dim=1)


def one_hot(y):
    return F.one_hot(y, 3).float()


NETWORKS = {
    "relu, adam": lambda: world(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), optim.Adam, F.cross_entropy
    ),
    "transformer block, adamw": lambda: world(
        nn.Sequential(
            nn.Linear(4, 6), Residual(nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6))),
            nn.RMSNorm(6), nn.Linear(6, 3),
        ),
        partial(optim.AdamW, lr=0.01, amsgrad=True), partial(F.cross_entropy, label_smoothing=0.1),
        lambda p: nn.utils.clip_grad_norm_(p, 0.5), lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 5),
    ),
    "batch norm and dropout, momentum": lambda: world(
        nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.SiLU(), nn.Linear(6, 3), nn.Sigmoid()),
        partial(optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda o, y: F.binary_cross_entropy(o, one_hot(y).to(o.dtype)), lambda p: nn.utils.clip_grad_value_(p, 0.01),
    ),
    "activations, rmsprop": lambda: world(
        nn.Sequential(
            nn.Linear(4, 6), nn.Mish(), nn.Linear(6, 6), nn.ELU(), nn.Linear(6, 6), nn.Softplus(), nn.Linear(6, 6),
            nn.GELU(approximate="tanh"), nn.Linear(6, 6), nn.PReLU(), nn.Linear(6, 3), nn.Softmax(dim=-1),
        ),
        partial(optim.RMSprop, lr=0.01, momentum=0.5), lambda o, y: F.huber_loss(o, one_hot(y).to(o.dtype)),
    ),
    "adagrad": lambda: world(
        nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        partial(optim.Adagrad, lr=0.05, lr_decay=0.1, initial_accumulator_value=0.1, weight_decay=0.01), F.cross_entropy,
    ),
    "views and writes, sgd": lambda: world(
        nn.Sequential(nn.Linear(4, 4), Written(), nn.Tanh(), Written(), nn.Linear(4, 3), nn.LogSoftmax(dim=1)),
        partial(optim.SGD, lr=0.1, maximize=True), F.nll_loss,
        lambda p: nn.utils.clip_grad_norm_(p, 0.5, norm_type=1), lambda o: optim.lr_scheduler.ExponentialLR(o, 0.5),
    ),
    "wide enough for BLAS, adam": lambda: world(
        nn.Sequential(nn.Linear(4, 300), nn.LeakyReLU(), nn.Linear(300, 300), nn.GroupNorm(2, 300), nn.Linear(300, 3)),
        optim.Adam, lambda o, y: F.smooth_l1_loss(o, one_hot(y).to(o.dtype)) + F.kl_div(F.log_softmax(o, 1), one_hot(y).to(o.dtype)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps_equal_eager(name):
    check_steps(NETWORKS[name], batches(7, rows=6))


@pytest.mark.parametrize("name", ["relu, adam", "batch norm and dropout, momentum"])
def test_float64_to_the_last_digits(name):
    check_steps(NETWORKS[name], batches(5, rows=6), np.float64)


def test_no_less_precise_than_eager():
    """Against the same step in float64, the errors of compiled loops are no larger than NumPy's."""
    af.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)
    )
    twin = copy.deepcopy(model).double()

    def gradients(model, x, y):
        loss = F.cross_entropy(model(x), y)
        return [loss.detach(), *af.autograd.grad(loss, list(model.parameters()))]

    compiled = fast(lambda x, y: gradients(model, x, y))
    for x, y in batches(4, rows=50, features=64, classes=10):
        got, eager, true = compiled(x, y), gradients(model, x, y), gradients(twin, x.double(), y)
        for one, two, three in zip(got, eager, true, strict=True):
            error, its = (np.abs(each.array - three.array).max() for each in (one, two))
            assert error <= 2 * its + 1e-6 * np.abs(three.array).max()


def test_gradients_of_gradients():
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))

    def step(x):
        x = x.detach().requires_grad_()
        (slope,) = af.autograd.grad(model(x).sum(), [x], create_graph=True)
        penalty = (slope.norm(dim=1) - 1).pow(2).mean()
        return [penalty.detach(), *af.autograd.grad(penalty, list(model.parameters()), allow_unused=True)[:3]]

    calls = [(numbers(5, 4, seed=k),) for k in range(5)]
    assert loops(check_same(step, calls))
    check_same(step, calls, exact)  # which groups are formed changes nothing beyond rounding


# ---------------------------------------------------------------- numbers of all kinds


SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, 1e30, -1.5, 0.5, 2.0, 88.8, -104.0, 1e-30])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinity_take_the_same_course():
    @af.no_grad()
    def step(x):
        one_by_one = [
            x.exp(), x.log(), x.tanh(), x.sigmoid(), F.relu(x), F.gelu(x), F.silu(x), F.softplus(x), x.sqrt(), x.clamp(-1, 1),
            x.maximum(x * 0 + 1), 1 / x, x.sign(), x.log1p(), F.elu(x), F.leaky_relu(x), F.hardtanh(x), F.logsigmoid(x),
            x.nan_to_num(), x.isnan(), x.isfinite(), x > 0, x.pow(3), x.rsqrt(),
        ]  # fmt: skip
        rows = [
            x.softmax(1),
            x.log_softmax(1),
            x.sum(0),
            x.sum(1),
            x.mean(),
            x.amax(),
            x.amin(0),
            F.layer_norm(x, (17,)),
        ]
        return one_by_one + rows

    draw = np.random.default_rng(0)
    check_same(step, [(af.tensor(draw.choice(SPECIAL, (13, 17)).astype(np.float32)),) for _ in range(5)])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("classes", [3, 40])
def test_nan_and_infinity_in_cross_entropy(classes):
    def step(x, y):
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(x, y)
        return [loss.detach(), *af.autograd.grad(loss, [x]), F.cross_entropy(x.detach(), y, reduction="none")]

    def call(k):
        x, y = batches(1, rows=20, features=classes, classes=classes, seed=k)[0]
        x.array[k, 1] = [np.nan, np.inf, -np.inf, 1e30, 3e38][k]
        x.array[5] = -np.inf
        return x, y

    check_same(step, [call(k) for k in range(5)])


def test_tanh_ends_at_one():
    """Where tanh is flat its slope is 0, so that what multiplies it may be large."""

    def step(x):
        found = []
        for function in (af.tanh, F.mish, partial(F.gelu, approximate="tanh"), F.tanhshrink):
            y = x.detach().requires_grad_()
            found += af.autograd.grad(function(y).sum(), [y])
        return found

    values = np.array([5, 8, 9, 9.5, 12, 100, 1e4], np.float32)
    compiled = fast(step)
    for k in (0.0, 0.1, 0.2, 0.0):
        x = af.tensor(np.concatenate([values + np.float32(k), -values]))
        for one, other in zip(step(x), compiled(x), strict=True):
            np.testing.assert_allclose(other.array, one.array, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_whole_numbers_and_truth(dtype):
    @af.no_grad()
    def step(x):
        both = [
            x * 2 + 1,
            x * x,
            x.sum(),
            x.float() / 3,
            (x > 1) & (x < 3),
            af.where(x > 0, x, x * 2),
            (x > 0) * 0.5,
            x == 3,
        ]
        return (
            both
            if dtype == np.bool_
            else [*both, x - 3, (x + 100) * 3, x // 2, x % 3, x.cumsum(0), x.amax(), x.clamp(0, 5)]
        )

    draw = np.random.default_rng(0)
    low, high = (0, 2) if dtype == np.bool_ else (0, 200) if dtype == np.uint8 else (-5, 9)
    check_same(step, [(af.tensor(draw.integers(low, high, (4, 5)).astype(dtype)),) for _ in range(4)])


def test_half_precision():
    def make():
        return world(
            nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)), partial(optim.SGD, lr=0.1), F.cross_entropy
        )

    eager = make()
    eager.model.half()
    compiled = make()
    compiled.model.half()
    compiled.model.load_state_dict(eager.model.state_dict())
    step = fast(compiled.raw)
    for x, y in batches(5):
        check_close(eager.raw(x.half(), y), step(x.half(), y))
        for one, other in zip(eager.model.parameters(), compiled.model.parameters(), strict=True):
            check_close(one.grad, other.grad, scale=1.0)
        eager.model.load_state_dict(compiled.model.state_dict())


# ---------------------------------------------------------------- memory in all forms


@af.no_grad()
def chain(x):
    return [x.exp() + x * 2, x.sum(0), (x * 2).sum(), F.relu(x).reshape(-1)]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1, 1), (2, 0, 3)])
def test_small_and_empty_arrays(shape):
    def step(x):
        return [*(chain(x) if x.dim() else [x.exp() + x * 2, x.sum()]), x.tanh() * 3 - x]

    check_same(af.no_grad()(step), [(numbers(*shape, seed=k),) for k in range(4)])


def misaligned(array):
    raw = bytearray(array.nbytes + 1)
    made = np.frombuffer(raw, array.dtype, array.size, 1).reshape(array.shape)
    made[...] = array
    return made


def read_only(array):
    array.flags.writeable = False
    return array


FORMS = {
    "transposed": lambda a: a.T,
    "every other": lambda a: a[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1],
    "spread": lambda a: np.broadcast_to(a[:1], a.shape),
    "misaligned": misaligned,
    "read-only": read_only,
}


@pytest.mark.parametrize("form", FORMS)
def test_arguments_in_any_form(form):
    for rows in (6, 90):  # copied into place, and read where they are
        draw = np.random.default_rng(0)
        calls = [FORMS[form](draw.standard_normal((rows, 60)).astype(np.float32)) for _ in range(4)]
        assert loops(check_same(lambda x: chain(af.from_numpy(x)), [(one,) for one in calls]))


def test_many_chunks():
    @af.no_grad()
    def step(x):
        return [(x.exp() * 2).sum(), (x * x).mean(0), x.softmax(1), x.sum(1) + 1, F.gelu(x), F.layer_norm(x, (500,))]

    check_same(step, [(numbers(1200, 500, seed=k),) for k in range(3)])


def below(y):
    y[1:] = y[:-1]


def above(y):
    y[:-1].copy_(y[1:])


def transposed(y):
    y.copy_(y.t())


def onto_transposed(y):
    y.t()[:] = y


def reversed_rows(y):
    y.copy_(y.flip(0))


def own_row(y):
    y[:] = y[2]


def shifted_sum(y):
    y[:, :-1] += y[:, 1:]


@pytest.mark.parametrize("write", [below, above, transposed, onto_transposed, reversed_rows, own_row, shifted_sum])
def test_writes_that_read_what_they_write(write):
    """NumPy takes a copy where source and target overlap."""

    @af.no_grad()
    def step(x):
        y = x * 1
        write(y)
        return y * 2

    check_same(step, [(numbers(5, 5, seed=k),) for k in range(4)])


def test_arguments_that_overlap_and_are_written():
    @af.no_grad()
    def step(a, b):
        before = a * 2
        b.add_(1)
        return before + a * 2

    def call(k):
        base = numbers(6, seed=k)
        return base[:4], base[2:]

    check_same(step, [partial(call, k) for k in range(4)])


def test_argument_that_shows_state():
    state = af.arange(6.0)

    @af.no_grad()
    def step(a):
        before = a * 2
        state.add_(1)
        return before + a * 2

    for compiled in (fast(step), exact(step)):
        for _ in range(5):
            first = state[:4].tolist()
            assert compiled(state[:4]).tolist() == [4 * one + 2 for one in first]


# ---------------------------------------------------------------- errors


def dropout_world():
    af.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3))
    return world(model, optim.Adam, F.cross_entropy, None, lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9))


def check_usable(one, step, count):
    """The lock is free, ``count`` updates were counted, and the next calls change the parameters."""
    assert not step._lock.locked()
    assert one.optimizer.state_dict()["state"][0]["step"].item() == count
    before = one.model[0].weight.tolist()
    for x, y in batches(3, seed=9):
        assert np.isfinite(step(x, y).item())
    assert one.model[0].weight.tolist() != before
    assert one.optimizer.state_dict()["state"][0]["step"].item() == count + 3


@pytest.mark.parametrize("how", [fast, exact])
def test_bad_labels_change_nothing(how):
    one = dropout_world()
    step = how(one.raw)
    data = batches(6)
    for x, y in data[:4]:
        step(x, y)
    before = parts(one)
    for bad in (9, -4, 3):
        with pytest.raises(AutogradError):
            step(data[0][0], af.tensor([0, 1, bad, 0, 1]))
    for mine, its in zip(before[::2], parts(one)[::2], strict=True):  # state and moments; gradients are the step's own
        for name in mine:
            assert mine[name].tobytes() == its[name].tobytes(), name
    check_usable(one, step, 4)


@pytest.mark.parametrize("how", [fast, exact])
def test_no_memory_for_a_plan(how, monkeypatch):
    from autograd_ff.compiler import allocate

    one = dropout_world()
    step = how(one.raw)
    data = batches(4)
    step(*data[0])

    def none(size):
        raise MemoryError

    monkeypatch.setattr(allocate, "aligned", none)
    with pytest.raises(MemoryError):
        step(*data[1])
    monkeypatch.undo()
    check_usable(one, step, 2)


@pytest.mark.parametrize("how", [fast, exact])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_errors_in_the_middle_of_a_replay(how, error):
    """Where a replay draws its random numbers, it runs out of memory, or is interrupted."""
    one = dropout_world()
    step = how(one.raw)
    for x, y in batches(4):
        step(x, y)
    captured = step._last
    name = next(name for name in captured.program.names if "rand" in name or "draw" in name or "dropout" in name)

    def fail(*args, **kwargs):
        raise error

    before, captured.replay = captured.replay, captured.program.function(**{name: fail})
    with pytest.raises(error):
        step(*batches(1)[0])
    captured.replay = before
    check_usable(one, step, 4)


@pytest.mark.parametrize("when", range(4))
def test_errors_in_the_users_step(when):
    """An exception in the Python of a step, while it is recorded, and an interrupt in a scheduler's."""
    stop = []

    def rate(epoch):
        if stop:
            raise stop.pop()
        return 1 / (1 + epoch)

    one = world(
        nn.Sequential(nn.Linear(4, 3)),
        optim.Adam,
        F.cross_entropy,
        None,
        lambda o: optim.lr_scheduler.LambdaLR(o, rate),
    )
    step = fast(one.raw)
    data = batches(6)
    for x, y in data[:when]:
        step(x, y)
    for error in (KeyboardInterrupt, ZeroDivisionError):
        stop.append(error)
        with pytest.raises(error):
            step(*data[when])
    check_usable(one, step, when + 2)


def test_threads_of_blas_are_left_as_they_were():
    """After calls, errors and interrupts; `threads` sets them before each product."""
    from autograd_ff.compiler.threads import blas_threads

    blas = blas_threads()
    if not blas.available:
        pytest.skip("not an OpenBLAS that can be told")
    before = blas.get()
    stop = []

    def rate(epoch):
        if stop:
            raise KeyboardInterrupt
        return 1.0

    model = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 3))  # one product on one thread
    one = world(
        model, partial(optim.SGD, lr=0.1), F.cross_entropy, None, lambda o: optim.lr_scheduler.LambdaLR(o, rate)
    )
    step = af.compile(one.raw, fast=True)
    data = batches(5, rows=64, features=128)
    try:
        blas.set(2)
        if blas.get() != 2:
            pytest.skip("this OpenBLAS has one thread")
        for x, y in data:
            step(x, y)
            assert blas.get() == 2
        assert "switch(1)" in step.source
        with pytest.raises(AutogradError):
            step(data[0][0], data[0][1] + 7)
        assert blas.get() == 2
        stop.append(1)
        with pytest.raises(KeyboardInterrupt):
            step(*data[0])
        assert blas.get() == 2
    finally:
        blas.set(before)


# ---------------------------------------------------------------- without numba, without a cache


def test_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not fuse.is_available()
    with pytest.raises(ImportError, match=r"pip install .*autograd_ff\[fast\]"):
        af.compile(lambda x: x, fast=True)
    compiled = af.compile(lambda x: x.exp() * 2 + 1)
    for k in range(4):
        compiled(numbers(3, seed=k))
    assert not loops(compiled)


def test_with_a_numba_that_does_not_import(monkeypatch):
    spec = importlib.util.find_spec("numba")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setitem(sys.modules, "numba", None)
    fuse._works.cache_clear()
    compiled = af.compile(lambda x: x.exp() * 2 + 1)
    try:
        compiled(numbers(3))
        with pytest.warns(UserWarning, match="numba"):
            compiled(numbers(3, seed=1))
        assert compiled(numbers(3, seed=2)).shape == (3,)
    finally:
        fuse._works.cache_clear()


@pytest.mark.parametrize("kind", ["file", "read-only", "missing", "broken"])
def test_any_cache_directory(tmp_path, monkeypatch, kind):
    place = tmp_path / "cache"
    if kind == "file":
        place.write_text("not a directory")
    elif kind == "read-only":
        place.mkdir(mode=0o500)
    elif kind == "missing":
        place = place / "nobody" / "made" / "this"
    else:
        (place / "loops").mkdir(parents=True)
        (place / "loops" / "__pycache__").write_text("not a directory")
    monkeypatch.setenv("AUTOGRAD_FF_CACHE", str(place))
    number = 2.0 + len(kind)  # another program for each case
    check_same(af.no_grad()(lambda x: x.exp() * number + x), [(numbers(3, seed=k),) for k in range(3)])
    if kind == "read-only":
        os.chmod(place, 0o700)


# ---------------------------------------------------------------- memory


def deep():
    af.manual_seed(0)
    layers = [layer for _ in range(8) for layer in (nn.Linear(32, 32), nn.Tanh(), nn.LayerNorm(32))]
    return world(nn.Sequential(*layers), partial(optim.SGD, lr=0.01), lambda o, y: o.pow(2).mean())


def memory(step, x):
    """What stays and what is added at most during calls, in bytes."""
    for _ in range(4):
        step(x, None)
    tracemalloc.start()
    try:
        step(x, None)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(10):
            step(x, None)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return now - before, peak - before


def test_replays_take_no_memory():
    x = numbers(1024, 32)
    _, eager = memory(deep().raw, x)
    step = fast(deep().raw)
    grown, peak = memory(step, x)
    assert grown < 2000
    assert peak < 20_000
    # With what the plan holds: no more than a tenth above eager's peak, whose graph holds the same activations.
    assert step.plan.arena_bytes < 1.1 * eager


def test_dropped_step_frees_everything(no_collector):
    one = dropout_world()
    step = fast(one.raw)
    for x, y in batches(5):
        step(x, y)
    captured = step._last
    arrays = [weakref.ref(thing) for thing in captured.program.names.values() if isinstance(thing, np.ndarray)]
    bound = [
        weakref.ref(held)
        for thing in captured.program.names.values()
        for held in getattr(getattr(thing, "__wrapped__", thing), "_held", ())
    ]
    others = [
        weakref.ref(thing) for thing in (captured, captured.replay, captured.plan, step, one.model, one.optimizer)
    ]
    assert arrays
    assert bound
    del step, captured, one
    assert not any(ref() is not None for ref in (*arrays, *bound, *others))


# ---------------------------------------------------------------- what PyTorch's users try


def test_model_that_is_trained_outside():
    model = nn.Linear(3, 2)
    compiled = fast(model)
    for k in range(3):
        with pytest.raises(CaptureError, match="Compile the whole step"):
            compiled(numbers(4, 3, seed=k))
    loss = model(numbers(4, 3)).sum()  # eagerly it goes on
    loss.backward()
    assert model.weight.grad is not None


def test_model_for_inference():
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 2)).eval()
    compiled = fast(model)
    with af.no_grad():
        for k in range(4):
            x = numbers(4, 3, seed=k)
            check_close(model(x), compiled(x))
    assert loops(compiled)


def test_arguments_in_containers():
    @af.no_grad()
    def step(batch, *more, scale=2.0, **named):
        total = batch["x"][0] * scale + sum(more)
        return {"total": total, "named": [one * 2 for one in named.values()], "none": None}

    compiled = fast(step)
    for k in range(4):
        x, y, z = (numbers(3, 4, seed=3 * k + number) for number in range(3))
        for args, kwargs in [
            (({"x": (x, 1)},), {}), (({"x": (x, 1)}, y), {}), (({"x": [x]}, y, z), {"scale": 3.0}), (({"x": (x, 1)},), {"b": y}),
        ]:  # fmt: skip
            expected, got = step(*args, **kwargs), compiled(*args, **kwargs)
            assert expected.keys() == got.keys()
            check_close(expected["total"], got["total"])
            for one, other in zip(expected["named"], got["named"], strict=True):
                check_close(one, other)
            assert got["none"] is None
    gc.collect()


def test_an_argument_that_changes_between_two_loops():
    """A small argument is copied for the loops that read it; one that is written in the meantime must not be."""

    @af.no_grad()
    def step(x):
        before = x * 2 + 1
        middle = af.sort(x * 1.0).values.sum()  # no loop does that: it ends the first one
        x.add_(1)
        again = af.sort(x * 1.0).values.sum()
        return before, middle, again, x * 3 - 1

    compiled = af.compile(step, fast=True)
    for k in range(5):
        x = af.from_numpy(np.random.default_rng(k).standard_normal(7, dtype=np.float32))
        y = x.clone()
        for one, other in zip(step(x), compiled(y), strict=True):
            np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(y.numpy(), x.numpy(), rtol=1e-6)
