"""Localisation: which op of a computation is wrong, in which input, and why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.autograd import Function
from autograd_ff.engine import OPS, apply, wrap
from autograd_ff.engine.register import CallableOp
from autograd_ff.testing import gradcheck

seeds = st.integers(0, 2**32 - 1)


def array(seed, shape=(), low=0.5, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def wrong(name, forward, *vjps, inputs=("x",), **details):
    """An op outside the table."""
    return CallableOp(name, "primitive", forward, None, inputs=inputs, vjps=vjps, **details)


CAUSES = {
    "zero": (wrong("w", np.exp, lambda g, out: g * 0), "zero everywhere"),
    "sign": (wrong("w", np.exp, lambda g, out: -g * out), "the sign is wrong"),
    "factor": (wrong("w", np.exp, lambda g, out: g * out * 2 / 3), "2/3 of what it should be"),
    "odd factor": (wrong("w", np.exp, lambda g, out: g * out * 1.001), "1.001 of what it should be|1001/1000"),
    "upstream unused": (wrong("w", np.exp, lambda g, out: out), "upstream gradient is not used"),
    "upstream squared": (wrong("w", np.exp, lambda g, out: g * g * out), "not proportional to the upstream"),
    "one branch": (
        wrong("w", lambda x: x * abs(x), lambda g, x: np.where(x > 0, g * x, 2 * g * abs(x))),
        r"wrong only where x > 0: a factor: the gradient is 1/2",
    ),
    "some elements": (
        wrong("w", np.exp, lambda g, out: g * out * np.where(np.arange(out.size).reshape(out.shape) == 1, 3.0, 1.0)),
        "1 of 6 elements",
    ),
    "transposed": (
        wrong("w", lambda x: (x * x).T, lambda g, x: np.reshape(np.transpose(2 * x * g.T), x.shape)),
        "transposed",
    ),
}


@pytest.mark.parametrize("fault", CAUSES)
@given(seed=seeds)
@settings(max_examples=5)
def test_the_guilty_op_is_named_with_its_cause(fault, seed):
    op, cause = CAUSES[fault]

    def composition(x, w):
        hidden = np.tanh(x * w)
        return np.sum(apply(op, (hidden - 0.3,)), axis=0) * 2 + 1

    x = array(seed, (2, 3), -2, 2)
    x[:, 0] = 1.5, -1.5  # on both sides
    report = gradcheck(composition, (x, array(seed + 1, (3,))))
    assert report.verdict == "FAIL"
    culprit = report.culprit
    assert (culprit.op, culprit.input) == ("w", "x")
    assert "hidden - 0.3" in culprit.source
    assert __import__("re").search(cause, culprit.cause), culprit.cause
    assert len(str(report).splitlines()) <= 12
    assert culprit.cause in str(report)


def product(x1, x2):
    return x1 * x2


@given(seed=seeds)
@settings(max_examples=10)
def test_swapped_operands(seed):
    op = wrong("w", product, lambda g, x1: g * x1, lambda g, x1: g * x1, inputs=("x1", "x2"))
    report = gradcheck(lambda a, b: np.exp(apply(op, (a, b))), (array(seed, (3,)), array(seed + 1, (3,))))
    assert report.culprit.input == "x1"
    assert "swapped operands: this is the gradient of x2" in report.culprit.cause


@given(seed=seeds, axis=st.sampled_from([0, 1]))
@settings(max_examples=10)
def test_a_missing_sum_over_a_broadcast_axis(seed, axis):
    def rule(g, x1):
        return (g * x1)[:1] if axis == 0 else (g * x1)[:, :1]

    op = wrong("w", product, lambda g, x2: g * x2, rule, inputs=("x1", "x2"), broadcasts=True)
    other = (1, 4) if axis == 0 else (3, 1)
    report = gradcheck(lambda a, b: apply(op, (a, b)), (array(seed, (3, 4)), array(seed + 1, other)))
    assert report.culprit.input == "x2"
    assert f"missing sum over the broadcast axis {axis}" in report.culprit.cause


def test_a_stale_value_is_told_from_a_wrong_rule():
    class Keeps(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.kept = x.detach().numpy().copy()
            Keeps.last = ctx.kept
            return x * x

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2 * wrap(ctx.kept)

    def function(x):
        y = Keeps.apply(x)
        Keeps.last += 1  # NumPy writes behind the engine's back
        return y

    report = gradcheck(function, array(0, (3,)))
    assert report.verdict == "FAIL"
    assert report.culprit.op == "Keeps"
    assert "stale" in report.culprit.cause


CUTS = {
    "detach": (lambda x: x * x.detach(), "multiply"),
    "numpy": (lambda x: x * 2 + wrap(np.sin(x.detach().numpy())), "numpy"),
    "item": (lambda x: x * x[0].item(), "item"),
    "no_grad": (lambda x: x + _without(x), "exp"),
}


def _without(x):
    with af.no_grad():
        return np.exp(x)


@pytest.mark.parametrize("how", CUTS)
def test_where_the_path_is_cut(how):
    function, op = CUTS[how]
    report = gradcheck(function, array(0, (3,)))
    assert report.verdict == "FAIL", report
    assert report.culprit.cut
    assert report.culprit.op == op
    assert "test_localize.py" in report.culprit.source


def test_at_second_order_the_op_whose_gradient_does_not_flow_is_named():
    cut = wrong("w", lambda x: x**3, lambda g, x: g * wrap(3 * x.array**2) if hasattr(x, "array") else g * 3 * x**2)
    report = gradcheck(lambda x: np.tanh(apply(cut, (np.sin(x),))), array(0, (3,)), order=2)
    assert report.verdict == "FAIL"
    assert report.culprit.op == "w"


def test_a_module_with_a_wrong_layer():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class Layer(af.nn.Module):
        def forward(self, x):
            return Twice.apply(x)

    af.manual_seed(0)
    network = af.nn.Sequential(af.nn.Linear(5, 4), af.nn.Tanh(), Layer(), af.nn.Linear(4, 2))
    before = [parameter.detach().numpy().copy() for parameter in network.parameters()]
    report = gradcheck(network, af.randn(6, 5), lambda output: (output**2).mean())
    assert report.culprit.op == "Twice"
    assert "1/2 of what it should be" in report.culprit.cause
    assert {entry.input: entry.verdict for entry in report.entries} == {
        "0.weight": "FAIL", "0.bias": "FAIL", "3.weight": "PASS", "3.bias": "PASS",
    }  # fmt: skip
    for parameter, array_before in zip(network.parameters(), before, strict=True):
        assert np.array_equal(parameter.detach().numpy(), array_before)
        assert parameter.grad is None


def test_dropout_is_frozen_on_request():
    network = af.nn.Sequential(af.nn.Linear(5, 8), af.nn.Dropout(0.5), af.nn.Linear(8, 2))
    x = af.randn(3, 5)
    report = gradcheck(network, x, lambda output: output.sum())
    assert report.verdict == "NONDETERMINISTIC"
    assert "frozen=True" in str(report)
    state = af.get_rng_state()
    assert gradcheck(network, x, lambda output: output.sum(), frozen=True).passed
    assert np.array_equal(af.get_rng_state().numpy(), state.numpy())


# ---------------------------------------------------------------- kinks


class NumPyRelu(Function):
    """A kink that no op declares."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return wrap(np.maximum(x.detach().numpy(), 0))

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


class BeyondBothSides(NumPyRelu):
    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0) + 3 * gradient * (x == 0)


def test_undeclared_kinks_are_no_false_alarm():
    assert gradcheck(NumPyRelu.apply, np.array([0.0, 1.0])).verdict == "KINK"
    assert gradcheck(lambda x: NumPyRelu.apply(x) - NumPyRelu.apply(-x), np.array([0.0, 1.0])).verdict == "KINK"


def test_at_a_kink_a_gradient_beyond_both_sides_fails():
    report = gradcheck(BeyondBothSides.apply, np.array([0.0, 1.0]))
    assert (report.verdict, report.culprit.op) == ("FAIL", "BeyondBothSides")
    beyond = wrong("w", np.abs, lambda g, x: np.where(x == 0, 1.5 * g, g * np.sign(x)), branches=lambda x: np.sign(x))
    report = gradcheck(lambda x: np.exp(apply(beyond, (x,))), np.array([0.0, 1.0]))
    assert (report.verdict, report.culprit.op) == ("FAIL", "w")
    within = wrong("w", np.abs, lambda g, x: np.where(x == 0, 0.9 * g, g * np.sign(x)), branches=lambda x: np.sign(x))
    assert gradcheck(lambda x: np.exp(apply(within, (x,))), np.array([0.0, 1.0])).verdict == "KINK"


def test_at_a_kink_another_op_that_is_wrong_is_still_found():
    bad = CAUSES["factor"][0]
    report = gradcheck(lambda x: apply(bad, (np.maximum(x, 0.0),)), np.array([0.0]))
    assert (report.verdict, report.culprit.op) == ("FAIL", "w")


AT_KINKS = {
    "relu": (af.relu, [0.0, 1.0]),
    "abs": (abs, [0.0, -1.0]),
    "clamp ends": (lambda x: af.clamp(x, -1, 1), [-1.0, 1.0, 0.5]),
    "tied max": (lambda x: x.max(), [1.0, 1.0, 0.0]),
    "four tied amax": (lambda x: af.amax(x, 0), [2.0, 2.0, 2.0, 2.0]),
    "tied sort": (lambda x: af.sort(x)[0], [1.0, 1.0, 3.0]),
    "tied topk": (lambda x: af.topk(x, 1)[0], [1.0, 1.0]),
    "norm of 0": (af.norm, [0.0, 0.0]),
    "std of equals": (lambda x: x.std(), [1.5, 1.5, 1.5]),
    "where edge": (lambda x: af.where(x > 0, x * x, x), [0.0, 1.0]),
    "round": (af.round, [0.5, 1.2]),
    "floor": (af.floor, [1.0, 2.3]),
    "difference of relus": (lambda x: af.relu(x) - af.relu(-x), [0.0, 1.0]),
    "tied maximum": (lambda x: af.maximum(x, x * x), [1.0, 0.0]),
    "median": (af.median, [1.0, 1.0, 2.0]),
    "leaky relu": (lambda x: af.nn.functional.leaky_relu(x, 0.1), [0.0]),
    "elu with a kink": (lambda x: af.nn.functional.elu(x, 2.0), [0.0]),
    "hardtanh": (af.nn.functional.hardtanh, [1.0, -1.0]),
    "relu6": (af.nn.functional.relu6, [0.0, 6.0]),
    "l1 loss": (lambda x: af.nn.functional.l1_loss(x, wrap(np.zeros(2))), [0.0, 1.0]),
    "maxpool of ties": (lambda x: x.reshape(2, 2).amax(1), [1.0, 1.0, 2.0, 2.0]),
}


@pytest.mark.parametrize("name", AT_KINKS)
@pytest.mark.parametrize("outer", [lambda y: y, lambda y: af.exp(y) * 0.5])
def test_right_functions_at_their_kinks_are_never_failed(name, outer):
    function, point = AT_KINKS[name]
    report = gradcheck(lambda x: outer(function(x)), np.array(point))
    assert report.verdict == "KINK", report


# ---------------------------------------------------------------- complex step


def test_analytic_compositions_are_checked_to_rounding():
    def smooth(x, w):
        return np.sum(np.exp(np.sin(x @ w)) / (1 + np.square(x[:, :2])), axis=0)

    report = gradcheck(smooth, (array(0, (3, 4)), array(1, (4, 2))))
    assert report.passed
    assert max(entry.estimate for entry in report.entries) < 1e-10
    slightly = wrong("w", np.exp, lambda g, out: g * out * (1 + 1e-7), analytic=True)
    assert gradcheck(lambda x: apply(slightly, (x,)), array(0, (3,)), rtol=1e-8).verdict == "FAIL"
    assert gradcheck(lambda x: np.exp(x), array(0, (3,)), rtol=1e-8).passed


def test_what_leaves_the_graph_is_not_taken_for_a_constant():
    """By complex step alone these would pass: it follows recorded ops only."""
    assert not gradcheck(lambda x: x * 1 + wrap(np.sin(x.array)), array(0, (3,))).passed
    assert not gradcheck(lambda x: x * wrap(x.array * 1), array(0, (3,))).passed


def test_ops_of_the_table_are_still_as_they_were():
    assert OPS["exp"].function is np.exp
