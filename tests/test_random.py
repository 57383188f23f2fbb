"""Generators, random numbers and dropout."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import autograd_ff as af
from autograd_ff.autograd import grad
from autograd_ff.engine import Observer, observe
from autograd_ff.errors import DtypeError, FileFormatError, InplaceError, ShapeError


def seeded(seed=0):
    return af.Generator().manual_seed(seed)


DRAWS = {
    "rand": lambda **how: af.rand(3, 2, **how),
    "randn": lambda **how: af.randn((3, 2), **how),
    "randint": lambda **how: af.randint(0, 100, (6,), **how),
    "randperm": lambda **how: af.randperm(20, **how),
    "rand_like": lambda **how: af.rand_like(af.zeros(4), **how),
    "randn_like": lambda **how: af.randn_like(af.zeros(4), **how),
    "randint_like": lambda **how: af.randint_like(af.zeros(6), 100, **how),
    "normal": lambda **how: af.normal(1.0, 2.0, (4,), **how),
    "normal of tensors": lambda **how: af.normal(af.zeros(4), af.ones(4), **how),
    "bernoulli": lambda **how: af.bernoulli(af.full((40,), 0.5), **how),
    "multinomial": lambda **how: af.multinomial(af.ones(50), 10, **how),
    "multinomial with replacement": lambda **how: af.multinomial(af.ones(50), 10, True, **how),
    "dropout": lambda **how: af.dropout(af.ones(50), **how),
    "uniform_": lambda **how: af.zeros(4).uniform_(-1, 1, **how),
    "normal_": lambda **how: af.zeros(4).normal_(1, 2, **how),
    "bernoulli_": lambda **how: af.zeros(40).bernoulli_(0.5, **how),
    "random_": lambda **how: af.zeros(8).random_(100, **how),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_seed_decides(name):
    draw = DRAWS[name]
    first = draw(generator=seeded(5)).tolist()
    assert first == draw(generator=seeded(5)).tolist()
    assert first != draw(generator=seeded(6)).tolist()
    stream = seeded(5)
    assert draw(generator=stream).tolist() == first
    assert draw(generator=stream).tolist() != first
    af.manual_seed(5)
    assert draw().tolist() == first
    assert draw(generator=np.random.Generator(np.random.PCG64(5))).tolist() == first


def test_generator_states():
    g = seeded(3)
    af.rand(3, generator=g)  # an odd number of 32-bit draws: half a word is left over
    state = g.get_state()
    assert state.dtype == af.uint8
    ahead = af.randn(5, generator=g).tolist()
    for other in (af.Generator().set_state(state), g.set_state(state)):
        assert af.randn(5, generator=other).tolist() == ahead
        assert other.initial_seed() == 3
    g.set_state(state)
    for other in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert af.randn(5, generator=other).tolist() == ahead
    before = af.get_rng_state()
    first = af.rand(4).tolist()
    af.set_rng_state(before)
    assert af.rand(4).tolist() == first
    with pytest.raises(FileFormatError, match="48 bytes"):
        g.set_state(af.zeros(3))


def test_seeds():
    assert af.default_generator() is af.manual_seed(7)
    assert af.initial_seed() == 7
    assert af.seed() == af.initial_seed() != 7
    assert af.Generator().initial_seed() == 67280421310721  # PyTorch's
    assert seeded(-1).initial_seed() == 2**64 - 1
    numpy = seeded(1).numpy
    generator = af.Generator()
    held = generator.numpy
    generator.manual_seed(1)
    assert generator.numpy is held  # who recorded it sees the new seed
    assert held.random() == numpy.random()
    for bad in (1.5, "1", None):
        with pytest.raises(DtypeError, match="a seed is an integer"):
            af.manual_seed(bad)
    with pytest.raises(ShapeError, match="64 bits"):
        af.manual_seed(2**70)
    with pytest.raises(DtypeError, match="generator must be a Generator, got int"):
        af.rand(2, generator=3)


def test_processes_start_apart():
    code = "import autograd_ff as af; print(af.rand(4).tolist())"
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(found) == 2


def test_threads_share_a_generator():
    """Every number of the stream is drawn just once, whoever draws it."""
    g = seeded(2)
    found: list[float] = []

    def work():
        mine = [af.rand((), dtype=af.float64, generator=g).item() for _ in range(200)]
        found.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(af.rand(800, dtype=af.float64, generator=seeded(2)).tolist())


# ---------------------------------------------------------------- distributions


def distributed(sample, distribution):
    """Kolmogorov-Smirnov: the sample (of a fixed seed) is what the distribution would give."""
    return stats.kstest(np.ravel(sample.detach().numpy()).astype(np.float64), distribution).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [af.float32, af.float64])
def test_distributions(dtype):
    g, n = seeded(0), 20_000
    assert distributed(af.rand(n, dtype=dtype, generator=g), stats.uniform().cdf)
    assert distributed(af.randn(n, dtype=dtype, generator=g), stats.norm().cdf)
    assert distributed(af.zeros(n, dtype=dtype).uniform_(-2, 3, generator=g), stats.uniform(-2, 5).cdf)
    assert distributed(af.zeros(n, dtype=dtype).normal_(-2, 3, generator=g), stats.norm(-2, 3).cdf)
    assert distributed(af.normal(1.0, 0.5, (n,), dtype=dtype, generator=g), stats.norm(1, 0.5).cdf)
    assert distributed(af.normal(af.full((n,), 1.0, dtype=dtype), 0.5, generator=g), stats.norm(1, 0.5).cdf)
    assert not distributed(af.randn(n, dtype=dtype, generator=g) * 1.2, stats.norm().cdf)  # the test can fail


def test_whole_numbers_are_evenly_spread():
    g = seeded(0)
    counts = np.bincount(af.randint(2, 7, (10_000,), generator=g).numpy(), minlength=7)
    assert counts[:2].sum() == 0
    assert stats.chisquare(counts[2:]).pvalue > 1e-3
    orders = np.stack([af.randperm(3, generator=g).numpy() for _ in range(3000)])
    assert stats.chisquare(np.bincount(orders @ [9, 3, 1])[[5, 7, 11, 15, 19, 21]]).pvalue > 1e-3
    p = np.array([0.1, 0.9])
    assert np.abs(af.bernoulli(af.tensor(np.tile(p, (20_000, 1))), generator=g).numpy().mean(0) - p).max() < 0.01


def test_multinomial_follows_the_weights():
    g = seeded(0)
    weights = af.tensor([[1.0, 2.0, 0.0, 7.0], [1.0, 1.0, 1.0, 1.0]])
    drawn = af.multinomial(weights, 8000, replacement=True, generator=g).numpy()
    np.testing.assert_allclose(np.bincount(drawn[0], minlength=4) / 8000, [0.1, 0.2, 0, 0.7], atol=0.02)
    np.testing.assert_allclose(np.bincount(drawn[1], minlength=4) / 8000, 0.25, atol=0.02)
    first = np.array([af.multinomial(weights[0], 3, generator=g).tolist() for _ in range(4000)])
    assert {tuple(sorted(row)) for row in first} == {(0, 1, 3)}
    np.testing.assert_allclose(np.bincount(first[:, 0], minlength=4) / 4000, [0.1, 0.2, 0, 0.7], atol=0.03)


@given(st.lists(st.integers(0, 4), max_size=3).map(tuple), st.sampled_from([af.float16, af.float32, af.float64]))
def test_shapes_and_dtypes(shape, dtype):
    like = af.zeros(shape, dtype=dtype)
    for made in (af.rand(shape, dtype=dtype), af.randn(*shape, dtype=dtype), af.rand_like(like), af.randn_like(like),
                 af.normal(0.0, 1.0, shape, dtype=dtype), af.normal(like, 1.0), af.bernoulli(like),
                 af.randint_like(like, 3)):  # fmt: skip
        assert made.shape == shape
        assert made.dtype == dtype
        assert made.grad_fn is None
    assert af.rand(shape, requires_grad=True).requires_grad
    assert af.randint(3, shape).dtype == af.int64
    assert af.randint(3, shape, dtype=af.uint8).dtype == af.uint8
    uniform = af.rand(shape, dtype=dtype).numpy()
    assert np.all((uniform >= 0) & (uniform <= 1))
    inner = af.zeros(shape, dtype=af.float32).uniform_(1.0, 1.0000001).numpy()  # one step of float32 wide
    assert np.all(inner == 1.0)


def test_calls_in_pytorchs_ways():
    g = seeded
    expected = af.randint(2, 5, (3,), generator=g()).tolist()
    assert af.randint(low=2, high=5, size=(3,), generator=g()).tolist() == expected
    assert af.randint(2, 5, size=(3,), generator=g()).tolist() == expected
    assert af.randint(high=5, size=(3,)).shape == af.randint(5, (3,)).shape == (3,)
    assert af.randperm(0).shape == (0,)
    assert set(af.zeros(50).bernoulli_(af.full((50,), 1.0)).tolist()) == {1.0}


def test_wrong_arguments():
    for call, error, message in (
        (lambda: af.randint(5, 5, (2,)), ShapeError, "low < high; got 5 and 5"),
        (lambda: af.randint(5), ShapeError, "randint takes"),
        (lambda: af.rand(2, dtype=af.int64), DtypeError, "floating dtype, not int64"),
        (lambda: af.randn(-1), ShapeError, "negative"),
        (lambda: af.randperm(-1), ShapeError, "n >= 0"),
        (lambda: af.normal(0.0, -1.0, (2,)), ShapeError, "not negative, got -1.0"),
        (lambda: af.normal(0.0, 1.0), ShapeError, "needs a size"),
        (lambda: af.bernoulli(af.tensor([1.5])), ShapeError, r"lie in \[0, 1\]"),
        (lambda: af.bernoulli(af.tensor([1])), DtypeError, "floating"),
        (lambda: af.multinomial(af.tensor([1.0, 0.0]), 2), ShapeError, "replacement=True"),
        (lambda: af.multinomial(af.tensor([-1.0, 2.0]), 1), ShapeError, "not negative"),
        (lambda: af.zeros(2).uniform_(1, 0), ShapeError, "a <= b"),
        (lambda: af.zeros(2).normal_(0, -1), ShapeError, "not negative"),
        (lambda: af.dropout(af.ones(2), 1.5), ShapeError, r"lies in \[0, 1\], got 1.5"),
        (lambda: af.dropout(af.tensor([1, 2])), DtypeError, "floating dtype"),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "test_random.py" in str(caught.value)


def test_in_place_draws_obey_the_rules_of_writing():
    leaf = af.zeros(2, requires_grad=True)
    with pytest.raises(InplaceError, match="leaf"):
        leaf.normal_()
    with af.no_grad():
        assert leaf.normal_() is leaf
    assert leaf.tolist() != [0.0, 0.0]
    view = af.zeros(2, 3)
    view[0].uniform_(1, 2)
    assert (view[0] >= 1).all()
    assert not view[1].any()


# ---------------------------------------------------------------- dropout


@given(st.floats(0.05, 0.95), st.integers(0, 1000))
def test_dropout_keeps_or_drops(p, seed):
    x = af.tensor(np.random.default_rng(seed).uniform(0.5, 1.5, (30, 7)), requires_grad=True)
    out = af.dropout(x, p, generator=seeded(seed))
    dropped = out.detach().numpy() == 0
    np.testing.assert_allclose(out.detach().numpy(), np.where(dropped, 0, x.detach().numpy() / (1 - p)), rtol=1e-12)
    assert abs(dropped.mean() - p) < 5 * math.sqrt(p * (1 - p) / dropped.size) + 1e-9
    (gradient,) = grad(out.sum(), x)
    np.testing.assert_allclose(gradient.numpy(), np.where(dropped, 0, 1 / (1 - p)), rtol=1e-12)


def test_dropout_edges():
    x = af.ones(4, requires_grad=True)
    assert af.dropout(x, 0.7, training=False) is x
    assert af.dropout(x, 0.0) is x
    assert af.dropout(x, 1.0).tolist() == [0.0] * 4
    assert grad(af.dropout(x, 1.0).sum(), x)[0].tolist() == [0.0] * 4
    assert af.dropout(af.ones(0)).shape == (0,)
    assert af.dropout(af.ones(3, dtype=af.float16)).dtype == af.float16
    y = x * 1.0
    assert af.dropout(y, 0.5, inplace=True) is y
    assert set(y.tolist()) <= {0.0, 2.0}


def test_a_record_of_dropout_can_be_replayed_with_fresh_masks():
    class Record(Observer):
        def __init__(self):
            self.ops = []

        def op(self, op, inputs, params, outputs, node, scope):
            self.ops.append((op, inputs, params, outputs))

    record = Record()
    g = seeded(0)
    with observe(record):
        out = af.dropout(af.ones(100), generator=g)
    (draw, inputs, params, (mask,)), (multiply, _, _, (result,)) = record.ops
    assert (draw.name, multiply.name) == ("dropout_mask", "multiply")
    assert params["generator"] is g.numpy
    assert result is out.array
    fresh = draw.forward(*inputs, **params)
    assert fresh.tolist() != mask.tolist()
    assert set(fresh.tolist()) == {0.0, 2.0}
    g.manual_seed(0)
    assert draw.forward(*inputs, **params).tolist() == mask.tolist()
    with observe(record):
        af.randn(2, generator=g)
    assert record.ops[-1][0].name == "random_normal"
