"""The gradient checker: numeric derivatives with honest error estimates, verdicts, reports."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.engine import OPS, apply, wrap
from autograd_ff.errors import GraphError
from autograd_ff.testing import (
    HypothesisDraw,
    NumPyDraw,
    assert_gradients,
    complex_step,
    derivative,
    gradcheck,
)
from autograd_ff.testing.tree import flatten, rebuild

seeds = st.integers(0, 2**32 - 1)


def array(seed, shape=(), low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


# ---------------------------------------------------------------- numeric derivatives

SMOOTH = [
    (np.exp, np.exp, (-3, 3)),
    (np.sin, np.cos, (-9, 9)),
    (np.log, np.reciprocal, (0.05, 9)),
    (np.arctan, lambda x: 1 / (1 + x * x), (-9, 9)),
    (lambda x: x**5, lambda x: 5 * x**4, (-3, 3)),
    (lambda x: 1e8 * x, lambda x: 1e8 + 0 * x, (-3, 3)),
    (lambda x: 1e-12 * np.exp(x), lambda x: 1e-12 * np.exp(x), (-3, 3)),
    (lambda x: np.tanh(50 * x), lambda x: 50 / np.cosh(50 * x) ** 2, (-1, 1)),
    (lambda x: 1e6 + np.sin(x), np.cos, (-3, 3)),
]


@pytest.mark.parametrize(("function", "slope", "span"), SMOOTH)
@given(seed=seeds)
@settings(max_examples=30)
def test_numeric_derivative_is_within_its_own_estimate(function, slope, span, seed):
    x = array(seed, (5,), *span)
    value, estimate = derivative(lambda t: function(x + t))
    truth = slope(x)
    assert np.all(np.abs(value - truth) <= 2 * estimate + 1e-12 * np.abs(truth))
    assert np.all(estimate <= 1e-5 * np.max(np.abs(truth)) + 1e-5 * np.max(np.abs(function(x))))


def test_numeric_derivative_of_a_constant_is_zero():
    value, estimate = derivative(lambda t: np.array([7.0, -1e9]))
    assert np.all(value == 0)
    assert np.all(estimate < 1e-2)


def test_numeric_derivative_next_to_a_pole_and_beyond_it():
    value, estimate = derivative(lambda t: np.log(np.array([1e-6]) + t))
    assert abs(value[0] - 1e6) <= 1e6 * 1e-6 + estimate[0]
    _, estimate = derivative(lambda t: np.sqrt(np.array([-1.0]) + t))
    assert estimate[0] == math.inf


@pytest.mark.parametrize("x", [0.1, 0.3, 1.7, -2.2])
def test_numeric_derivative_knows_that_float32_is_noisy(x):
    epsilon = float(np.finfo(np.float32).eps)
    value, estimate = derivative(lambda t: np.float64(np.exp(np.float32(x + t))), epsilon)
    assert abs(value - math.exp(x)) <= estimate
    assert 1e-7 < estimate < 1e-3


def test_a_function_that_rounds_to_float32_is_not_failed():
    report = gradcheck(lambda x: np.tanh(apply(OPS["cast"], (x,), {"dtype": np.dtype(np.float32)})), array(0, (5,)))
    assert report.passed, report


@given(seed=seeds)
@settings(max_examples=30)
def test_complex_step_is_exact_to_rounding(seed):
    x, direction = array(seed, (4,)), array(seed + 1, (4,))
    exact = np.cos(x) * np.exp(np.sin(x)) * direction
    np.testing.assert_allclose(complex_step(lambda x: np.exp(np.sin(x)), [x], [direction]), exact, rtol=1e-14)


# ---------------------------------------------------------------- right gradients pass


@given(data=st.data(), seed=seeds)
@settings(max_examples=25)
def test_right_gradients_pass_at_both_orders(data, seed):
    draw = HypothesisDraw(data)
    n, k = draw.integer(1, 4), draw.integer(1, 4)
    x, w, b = array(seed, (n, k)), array(seed + 1, (k, 3)), array(seed + 2, (3,))
    assert_gradients(lambda x, w, b: np.tanh(x @ w + b), (x, w, b), order=2, seed=seed % 1000)


def test_inputs_may_be_float32_tensors_arrays_and_nested():
    x = wrap(np.ones((2, 3), np.float32))
    report = gradcheck(lambda pair, more: np.tanh(pair[0]) * pair[1] + more["c"], ((x, np.ones(3)), {"c": np.ones(())}))
    assert report.passed, report
    assert {entry.input for entry in report.entries} == {"pair[0]", "pair[1]", "more['c']"}


def test_outputs_may_be_nested_and_partly_not_floating():
    report = gradcheck(lambda x: {"a": (x * x, x > 0), "b": [np.exp(x)]}, np.array([0.5, -1.5]))
    assert report.passed, report


def test_only_tensors_that_require_grad_are_checked_where_one_does():
    x, y = wrap(np.array([1.0, 2.0])), wrap(np.array([3.0, 4.0]))
    x.requires_grad = True
    report = gradcheck(lambda x, y: x * wrap(y.array), (x, y))
    assert report.passed
    assert [entry.input for entry in report.entries] == ["x"]


def test_large_inputs_are_checked_along_directions():
    report = gradcheck(lambda x, w: np.tanh(x @ w), (array(0, (30, 40)), array(1, (40, 50))))
    assert report.passed, report
    assert report.worst.index is None
    assert report.evaluations < 300  # an entry at a time it would be 19,200


def test_empty_and_zero_dimensional_inputs():
    assert gradcheck(lambda x: x * x, np.zeros((0, 3))).passed
    assert gradcheck(lambda x: x * x, np.array(3.0)).passed
    assert gradcheck(lambda x: x * x, np.array(3.0), order=2).passed


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e3, 1e9])
def test_scale_of_input_and_output_does_not_matter(scale):
    x = np.array([0.5, -1.5, 2.0])
    assert gradcheck(lambda x: np.sin(x) * scale, x).passed
    assert not gradcheck(lambda x: np.sin(x) * scale + 0.001 * scale * wrap(np.sin(x.array)), x).passed
    assert gradcheck(lambda x: np.square(x), x * scale).passed


def test_a_gradient_that_is_constant_passes_at_second_order():
    assert gradcheck(lambda x: 3 * x, np.ones(3), order=2).passed


# ---------------------------------------------------------------- wrong ones do not

WRONG = {
    "detached": lambda x: x * x.detach(),
    "all detached": lambda x: x.detach() * 2,
    "off by a thousandth": lambda x: x * x + 0.001 * wrap(x.array * x.array),
    "one element": lambda x: x * x + wrap(np.where(np.arange(x.array.size) == 1, x.array, 0)),
}


@pytest.mark.parametrize("name", WRONG)
@given(seed=seeds)
@settings(max_examples=10)
def test_wrong_gradients_fail(name, seed):
    report = gradcheck(WRONG[name], array(seed, (4,), 0.5, 2.0), seed=seed % 100)
    assert report.verdict == "FAIL"
    worst = report.worst
    assert worst.verdict == "FAIL"
    assert worst.error > 100
    assert abs(worst.analytic - worst.numeric) > 1e-4


def test_one_wrong_element_is_named():
    report = gradcheck(WRONG["one element"], np.array([0.5, 1.0, 1.5]))
    assert report.worst.index == (1,)
    assert report.worst.input == "x"


def test_wrong_gradients_fail_in_large_inputs():
    x, w = array(0, (30, 40)), array(1, (40, 50))

    def one_row_detached(x, w):
        product = x @ w
        hidden = np.zeros(product.shape)
        hidden[3] = 0.01
        return np.tanh(product) + hidden * wrap(np.tanh(product.array))

    report = gradcheck(one_row_detached, (x, w))
    assert report.verdict == "FAIL", report


def test_second_order_fails_where_the_first_passes():
    def cut(x):
        return _RightOnceOnly()(x)

    x = np.array([0.5, 1.5])
    assert gradcheck(cut, x).passed
    assert gradcheck(cut, x, order=2).verdict == "FAIL"
    with pytest.raises(AssertionError, match="gradient of the gradient"):
        assert_gradients(cut, x, order=2)


class _RightOnceOnly:
    def __call__(self, x):
        from autograd_ff.engine.register import CallableOp

        op = CallableOp(
            "cube", "primitive", lambda x: x**3, None, inputs=("x",),
            vjps=[lambda g, x: g * wrap(3 * x.array**2) if hasattr(x, "array") else g * 3 * x**2],
        )  # fmt: skip
        return apply(op, (x,))


def test_nondeterminism_is_its_own_verdict():
    generator = np.random.default_rng(0)
    report = gradcheck(lambda x: x * generator.random(), np.ones(3))
    assert report.verdict == "NONDETERMINISTIC"
    assert not report.passed


@pytest.mark.parametrize("function", [lambda x: np.log(x * 0), lambda x: np.sqrt(x - 1)])
def test_nonfinite_is_its_own_verdict(function):
    with np.errstate(all="ignore"):
        report = gradcheck(function, np.ones(3))
    assert report.verdict in ("NONFINITE", "UNRELIABLE"), report
    assert not report.passed


def test_a_numeric_derivative_too_poor_to_judge_by_does_not_pass():
    noise = np.random.default_rng(0).normal(size=1000)

    def noisy(x):
        return x * 0 + wrap(np.sqrt(x.array) + 0.01 * noise[(x.array * 1e12 % 1000).astype(int)])

    report = gradcheck(noisy, np.array([0.5, 1.5]))
    assert report.verdict in ("UNRELIABLE", "FAIL")


KINKED = {
    "relu at 0": (lambda x: np.maximum(x, 0.0), [0.0, 1.0]),
    "difference of relus": (lambda x: np.maximum(x, 0.0) - np.maximum(-x, 0.0), [0.0, 1.0]),
    "abs at 0": (np.abs, [0.0, -1.0]),
    "where, from a comparison": (lambda x: np.where(x > 0, x * x, -x), [0.0, 2.0]),
    "where, from what Python read": (lambda x: x * 2 if x[0] > 0 else -x, [0.0, 2.0]),
    "tied maximum": (lambda x: np.max(x), [1.0, 1.0]),
}


@pytest.mark.parametrize("name", KINKED)
def test_kinks_neither_pass_nor_fail(name):
    function, point = KINKED[name]
    report = gradcheck(function, np.array(point))
    assert report.verdict == "KINK", report
    assert not report.passed


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6])
def test_next_to_a_kink_right_gradients_pass_and_wrong_ones_fail(distance):
    x = np.array([distance, 1.0, -distance])
    assert gradcheck(lambda x: np.maximum(x, 0.0), x).passed
    assert gradcheck(lambda x: np.maximum(x, 0.0) * (1 + 0.001 * x.detach() / x.detach()), x).passed
    wrong = gradcheck(lambda x: np.maximum(x, 0.0) + 0.001 * wrap(np.maximum(x.array, 0.0)), x)
    assert wrong.verdict == "FAIL", wrong


def test_a_function_that_writes_its_input_is_noticed():
    def writes(x):
        x.array[...] = 0
        return x * 1

    with pytest.raises(ValueError, match="read-only"):
        gradcheck(writes, np.ones(3))


def test_inputs_are_left_as_they_are():
    x = wrap(np.array([1.0, 2.0], np.float32))
    before = x.array.copy()
    gradcheck(lambda x: x * x, x)
    assert np.array_equal(x.array, before)
    assert x.dtype == np.float32
    assert x.grad is None


def test_nothing_to_check_is_an_error():
    with pytest.raises(GraphError, match="no floating"):
        gradcheck(lambda n: n, np.arange(3))
    with pytest.raises(GraphError, match="no floating Tensor"):
        gradcheck(lambda x: x > 0, np.ones(3))
    with pytest.raises(ValueError, match="order"):
        gradcheck(lambda x: x, np.ones(3), order=3)


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-4])
def test_next_to_the_end_of_a_domain_right_gradients_pass(distance):
    """The first steps leave [0, 1], where the function raises."""
    target = np.array([0.3, 0.6])
    report = gradcheck(
        lambda x: af.nn.functional.binary_cross_entropy(x, wrap(target)), np.array([distance, 1 - distance])
    )
    assert report.passed, str(report)


# ---------------------------------------------------------------- reports


def test_report_is_readable_and_short():
    def many(*tensors):
        total = tensors[0].detach()
        for tensor in tensors[1:]:
            total = total + tensor
        return total

    report = gradcheck(many, tuple(np.ones(2) * position for position in range(20)))
    lines = str(report).splitlines()
    assert len(lines) <= 12
    assert lines[0].startswith("FAIL: gradient of 20 inputs")
    assert "cut at add" in lines[1]
    assert "analytic 0, numeric" in lines[3]
    assert "inputs with smaller errors" in lines[-1]


def test_assert_gradients_raises_with_the_report():
    with pytest.raises(AssertionError, match=r"FAIL: gradient of 1 input, (?s:.*)\n  x\[0\].*analytic .*, numeric "):
        assert_gradients(lambda x: x * x.detach(), np.array([1.0]))


# ---------------------------------------------------------------- modules


class Network(af.nn.Module):
    def __init__(self, seed=0, wrong=False):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.w = af.nn.Parameter(wrap(rng.normal(size=(6, 5)).astype(np.float32)))
        self.b = af.nn.Parameter(wrap(rng.normal(size=5).astype(np.float32)))
        self.v = af.nn.Parameter(wrap(rng.normal(size=(5, 3)).astype(np.float32)))
        self.wrong = wrong

    def forward(self, x):
        hidden = np.maximum(x @ self.w + self.b, 0)
        v = self.v + 0.01 * self.v.detach() if self.wrong else self.v
        return hidden @ v


def test_modules_lists_every_parameter():
    network, x = Network(), array(0, (8, 6)).astype(np.float32)
    before = network.w.array.copy()
    report = gradcheck(network, wrap(x), lambda output: np.mean(output * output))
    assert report.passed, report
    assert [entry.input for entry in report.entries] == ["w", "b", "v"]
    assert np.array_equal(network.w.array, before)
    assert network.w.dtype == np.float32
    assert network.w.grad is None
    assert len(report.table().splitlines()) == 4
    assert "6×5" in report.table()
    assert json.loads(json.dumps(report.as_dict()))["entries"][1]["shape"] == [5]


def test_modules_names_the_wrong_parameter():
    report = gradcheck(Network(wrong=True), wrap(array(0, (8, 6))), lambda output: np.mean(output * output))
    assert report.verdict == "FAIL"
    assert {entry.input: entry.verdict for entry in report.entries} == {
        "w": "PASS", "b": "PASS", "v": "FAIL",
    }  # fmt: skip
    assert report.worst.input == "v"


def test_modules_of_a_real_network():
    af.manual_seed(0)
    network = af.nn.Sequential(af.nn.Linear(20, 16), af.nn.ReLU(), af.nn.Linear(16, 10))
    x, target = af.randn(32, 20), af.randint(0, 10, (32,))
    report = gradcheck(network, x, lambda output: af.nn.functional.cross_entropy(output, target))
    assert report.passed, report
    assert [entry.input for entry in report.entries] == ["0.weight", "0.bias", "2.weight", "2.bias"]


@pytest.mark.parametrize("seed", range(3))
def test_modules_among_thousands_of_kinks(seed):
    """A trained network: tiny losses, large numbers that cancel, and a ReLU's kink within every ordinary step."""
    af.manual_seed(seed)
    network = af.nn.Sequential(
        af.nn.Linear(100, 64), af.nn.ReLU(), af.nn.Linear(64, 64), af.nn.ReLU(), af.nn.Linear(64, 10)
    )
    x, target = af.rand(64, 100), af.randint(0, 10, (64,))

    def loss(output):
        return af.nn.functional.cross_entropy(output, target)

    optimizer = af.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss(network(x)).backward()
        optimizer.step()
    report = gradcheck(network, x, loss, seed=seed)
    assert report.passed, report

    def wrong(output):
        return loss(output) + 0.01 * loss(output.detach())

    assert gradcheck(network, x, wrong, seed=seed).verdict == "FAIL"


def test_modules_need_a_floating_output_and_repeat_themselves():
    with pytest.raises(GraphError, match="no floating"):
        gradcheck(Network(), wrap(array(0, (8, 6))), lambda output: output > 0)
    generator = np.random.default_rng(0)
    report = gradcheck(Network(), wrap(array(0, (8, 6))), lambda output: np.mean(output * generator.random()))
    assert report.verdict == "NONDETERMINISTIC"


# ---------------------------------------------------------------- draws and trees


@given(data=st.data(), seed=seeds)
@settings(max_examples=30)
def test_draws_keep_their_promises(data, seed):
    for draw in (HypothesisDraw(data), NumPyDraw(seed)):
        shape = draw.shape(1, 3, 2, 5)
        assert 1 <= len(shape) <= 3
        assert all(2 <= side <= 5 for side in shape)
        assert 2 <= draw.integer(2, 4) <= 4
        assert draw.choice(["a", "b"]) in ("a", "b")
        assert isinstance(draw.boolean(), bool)
        distinct = np.sort(draw.distinct(shape), axis=None)
        assert distinct.dtype == np.float64
        assert np.all(np.diff(distinct) >= 0.15 - 1e-12)
        whole = draw.integers(shape, -2, 3)
        assert whole.dtype == np.int64
        assert whole.min() >= -2
        assert whole.max() <= 3
        assert draw.array(shape).shape == shape


def test_draws_from_the_same_seed_are_the_same():
    first, second = NumPyDraw(5), NumPyDraw(5)
    assert [first.integer(0, 99) for _ in range(5)] == [second.integer(0, 99) for _ in range(5)]
    assert np.array_equal(first.array((3, 4)), second.array((3, 4)))
    assert not np.array_equal(first.array((3, 4)), first.array((3, 4)))


def test_trees_come_back_as_they_were():
    tree = (1, [2, {"a": (3,), "b": []}], 4)
    assert rebuild(tree, flatten(tree)) == tree
