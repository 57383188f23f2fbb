"""Flushing subnormal numbers to zero: what it changes, what it leaves alone, and whose thread it is."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd_ff import engine, optim
from autograd_ff.engine import subnormals
from autograd_ff.kernels import optimizers as kernels

KINDS = [
    ("SGD", {"momentum": 0.5}),
    ("Adam", {"betas": (0.5, 0.9)}),
    ("AdamW", {"betas": (0.5, 0.9), "amsgrad": True}),
    ("RMSprop", {"alpha": 0.5, "centered": True, "momentum": 0.5}),
]

needs_mode = pytest.mark.skipif(not subnormals.available(), reason="this platform cannot flush subnormals")


def halved(dtype=np.float32):
    """The product of the smallest normal number and a half: subnormal, or zero where it is flushed."""
    return (np.full(9, np.finfo(dtype).smallest_normal, dtype) * dtype(0.5)).tolist()


def flushing():
    return halved() == [0.0] * 9


def leaf(values):
    tensor = engine.wrap(np.array(values))
    tensor.requires_grad = True
    return tensor


def unavailable(monkeypatch):
    monkeypatch.setattr(subnormals, "_setter", subnormals._unavailable)


# ---------------------------------------------------------------- the mode


@needs_mode
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_and_operands_count_as_zero(dtype):
    smallest = np.nextafter(dtype(0), dtype(1))
    with subnormals.flush_to_zero():
        assert halved(dtype) == [0.0] * 9
        assert (np.full(9, smallest) * dtype(2.0**40) == 0).all()
        assert (np.full(9, smallest) + dtype(0)).tobytes() == bytes(9 * smallest.nbytes)
    assert min(halved(dtype)) > 0
    assert (np.full(9, smallest) * dtype(2.0**40) > 0).all()


@needs_mode
def test_the_mode_is_restored():
    assert not flushing()
    seen = []

    def fail():
        with subnormals.flush_to_zero():
            seen.append(flushing())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [True]
    assert not flushing()
    with subnormals.flush_to_zero():
        with subnormals.flush_to_zero():
            assert flushing()
        assert flushing()  # the inner one leaves what it found
    assert not flushing()
    assert subnormals.set_flush(True) is False
    assert subnormals.set_flush(True) is True
    assert subnormals.set_flush(False) is True
    assert subnormals.set_flush(False) is False
    assert not flushing()


@needs_mode
@given(
    bits=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40),
    others=st.lists(st.integers(0, 2**32 - 1), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_normal_numbers_are_computed_as_ever(bits, others):
    """Bit for bit, wherever neither operands nor result are subnormal."""
    a = np.array(bits, np.uint32).view(np.float32)
    b = np.resize(np.array(others, np.uint32), a.shape).view(np.float32)
    tiny = np.finfo(np.float32).smallest_normal
    with np.errstate(all="ignore"):
        for function in (np.multiply, np.add, np.divide, lambda one, other: np.sqrt(np.abs(one))):
            plain = function(a, b)
            with subnormals.flush_to_zero():
                flushed = function(a, b)
            subnormal = np.zeros(a.shape, bool)
            for values in (a, b, plain):
                magnitude = np.abs(values)
                # Of the smallest normal number the processor may say only after rounding that it is none.
                subnormal |= (magnitude <= tiny) & (magnitude != 0)
            assert flushed[~subnormal].tobytes() == plain[~subnormal].tobytes()


@needs_mode
def test_threads_have_modes_of_their_own():
    seen = {}
    inside, done = threading.Event(), threading.Event()

    def other():
        with subnormals.flush_to_zero():
            inside.set()
            done.wait(10)
            seen["other"] = flushing()

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    seen["this"] = flushing()
    done.set()
    thread.join()
    assert seen == {"other": True, "this": False}


@needs_mode
def test_rounding_and_floating_point_errors_stay_the_users():
    with np.errstate(over="raise"), subnormals.flush_to_zero(), pytest.raises(FloatingPointError):
        np.full(9, 1e38, np.float32) * np.float32(1e10)
    assert 0.1 + 0.2 == 0.30000000000000004


@pytest.mark.parametrize("fault", ["no library", "another layout"])
def test_where_it_does_not_work_nothing_happens(monkeypatch, fault):
    if fault == "no library":

        def environment():
            raise OSError("no C library")
    else:

        def environment():
            return lambda mode: False  # does nothing, as where the bits stand elsewhere

    monkeypatch.setattr(subnormals, "_setter", None)
    monkeypatch.setattr(subnormals, "_environment", environment)
    monkeypatch.setattr(subnormals, "_windows", environment)
    assert not subnormals.available()
    with subnormals.flush_to_zero():
        assert not flushing()
    assert subnormals.set_flush(True) is False


def test_an_unknown_processor(monkeypatch):
    monkeypatch.setattr(subnormals.platform, "machine", lambda: "mos6502")
    assert subnormals._environment() is None


# ---------------------------------------------------------------- optimizers


def run(name, options, steps, flushes, values, gradients, monkeypatch=None):
    param = leaf(values)
    optimizer = getattr(optim, name)([param], **options)
    optimizer.flushes_subnormals = flushes
    for number in range(steps):
        gradient = gradients if number < 3 else np.zeros_like(gradients)
        param.grad = engine.wrap(gradient.copy())
        optimizer.step()
    return param.array.copy(), {
        key: value.array.copy() for key, value in optimizer.state[param].items() if key != "step"
    }


def subnormal(array):
    magnitude = np.abs(array)
    return (magnitude > 0) & (magnitude < np.finfo(array.dtype).smallest_normal)


@needs_mode
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_moments_never_become_subnormal(name, options):
    gradients = np.geomspace(1e-12, 1e3, 40).astype(np.float32)
    values = np.linspace(-1, 1, 40).astype(np.float32)
    met = False
    for steps in (60, 150, 300):
        _, unflushed = run(name, options, steps, False, values, gradients)
        _, flushed = run(name, options, steps, True, values, gradients)
        met = met or any(subnormal(moment).any() for moment in unflushed.values())
        assert not any(subnormal(moment).any() for moment in flushed.values())
    assert met  # otherwise the test shows nothing
    assert not flushing()


@needs_mode
@pytest.mark.parametrize(("name", "options"), KINDS)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 12))
@settings(max_examples=10, deadline=None)
def test_ordinary_steps_are_the_same_bit_for_bit(name, options, seed, steps):
    rng = np.random.default_rng(seed)
    values, gradients = rng.standard_normal((2, 30)).astype(np.float32)
    plain, plain_moments = run(name, options, steps, False, values, gradients)
    flushed, flushed_moments = run(name, options, steps, True, values, gradients)
    assert plain.tobytes() == flushed.tobytes()
    for key, moment in plain_moments.items():
        assert moment.tobytes() == flushed_moments[key].tobytes()


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_the_fallback_clears_moments_every_so_many_steps(name, options, monkeypatch):
    unavailable(monkeypatch)
    monkeypatch.setattr(optim.FlatOptimizer, "_flush_interval", 8)
    gradients = np.geomspace(1e-12, 1e3, 40).astype(np.float32)
    values = np.linspace(-1, 1, 40).astype(np.float32)
    met = False
    for steps in (64, 152, 304):  # multiples of the interval
        _, moments = run(name, options, steps, True, values, gradients)
        assert not any(subnormal(moment).any() for moment in moments.values())
        _, moments = run(name, options, steps + 3, True, values, gradients)
        met = met or any(subnormal(moment).any() for moment in moments.values())
        _, without = run(name, options, steps, False, values, gradients)
        met = met or any(subnormal(moment).any() for moment in without.values())
    assert met


def test_the_fallback_is_an_op_that_can_be_replayed(monkeypatch):
    unavailable(monkeypatch)

    class Seen(engine.Observer):
        def __init__(self):
            self.ops, self.answers = [], []

        def op(self, op, inputs, params, outputs, node, scope):
            self.ops.append((op.name, params))

        def host(self, action, arguments, result):
            self.answers.append(result)

    param = leaf(np.ones(3, np.float32))
    optimizer = optim.Adam([param])
    param.grad = engine.wrap(np.ones(3, np.float32))
    with engine.observe(Seen()) as seen:
        optimizer.step()
    names = [name for name, _ in seen.ops]
    assert names == ["adam_update", "flush_subnormals", "flush_subnormals"]
    assert all(any(params is answer for answer in seen.answers) for _, params in seen.ops)


@given(
    st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=40),
    st.sampled_from([4, 16, 1 << 19]),
)
@settings(max_examples=60, deadline=None)
def test_the_kernel_of_the_fallback(values, chunk):
    before = np.array(values, np.float32)
    moment = before.copy()
    usual, kernels.CHUNK_BYTES = kernels.CHUNK_BYTES, chunk
    try:
        kernels.flush_subnormals.forward(moment, due=False)
        assert moment.tobytes() == before.tobytes()
        kernels.flush_subnormals.forward(moment)
    finally:
        kernels.CHUNK_BYTES = usual
    np.testing.assert_array_equal(moment, np.where(subnormal(before), np.float32(0), before))


def test_a_step_that_fails_restores_the_mode():
    class Failing(optim.SGD):
        def _update(self, buffer, gradients, group):
            assert flushing() == subnormals.available()
            raise ZeroDivisionError

    param = leaf(np.ones(2))
    param.grad = engine.wrap(np.ones(2))
    optimizer = Failing([param])
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    assert not flushing()
