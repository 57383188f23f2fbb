"""Functions that are hard to check: right ones must not fail, wrong ones must not pass, innocent ops not be blamed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff.autograd import Function
from autograd_ff.engine import wrap
from autograd_ff.testing import gradcheck


def function(forward, backward, name="Own"):
    """A Function of one input from two lambdas: forward(ctx, x), backward(ctx, g)."""
    return type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def keeping(result):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return result(x)

    return forward


Cube = function(keeping(lambda x: x**3), lambda ctx, g: g * 2 * ctx.saved_tensors[0] ** 2, "Cube")


def points(*values):
    return np.array(values)


def narrow(dtype, outer):
    return lambda x: outer(x.astype(dtype)).astype(np.float64)


def force(x):
    return af.autograd.grad((x**3).sum(), x, create_graph=True)[0]


class Marked(Function):
    @staticmethod
    def forward(ctx, x):
        mask = x * 2
        ctx.mark_non_differentiable(mask)
        return x * 1, mask

    @staticmethod
    def backward(ctx, gradient, _):
        return gradient


class Doubled(Function):
    """Writes its input in place."""

    @staticmethod
    def forward(ctx, x):
        x.mul_(2.0)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


class WronglyDoubled(Doubled):
    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


random = np.random.default_rng(0).normal

RIGHT = {
    "float32 inside, matmul": (narrow(np.float32, lambda x: ((x @ x.T) ** 2).sum()), random(size=(6, 6))),
    "float32 inside, square": (narrow(np.float32, lambda x: x**2), random(size=5)),
    "float32 inside, tanh": (narrow(np.float32, lambda x: af.tanh(x).sum()), random(size=20)),
    "reciprocal next to its pole": (lambda x: 1 / x, points(1e-8)),
    "power next to its pole": (lambda x: x**-2, points(1e-8)),
    "steep tanh": (lambda x: np.tanh(1e9 * x), points(5e-10)),
    "fast sine": (lambda x: np.sin(1e9 * x), points(0.3)),
    "sine of a large number": (np.sin, points(1e9 + 0.3)),
    "tangent next to its pole": (np.tan, points(np.pi / 2 - 1e-9)),
    "difference of nearly equal": (lambda x: (1 - np.cos(x)) / x**2, points(1e-3, 1e-2, 1.0)),
    "a gradient inside": (force, points(0.5, 0.7)),
    "an output without a gradient": (Marked.apply, points(0.5, 0.7)),
    "written in place": (lambda x: Doubled.apply(x * 1), points(0.5, 0.7)),
    "constant float32": (lambda x: af.ones(3) + 0 * x, points(2.0)),
    "exponential next to its overflow": (np.exp, points(708.5)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_pass(name):
    function, point = RIGHT[name]
    report = gradcheck(function, point)
    assert report.verdict in ("PASS", "UNRELIABLE"), report
    if "float32" not in name:
        assert report.passed, report


WRONG = {
    "beside a much larger derivative": (
        lambda x: (
            function(keeping(lambda x: x * 1), lambda ctx, g: g * np.array([1.0, 2.0])).apply(x) * np.array([1e10, 1.0])
        ),
        points(0.5, 0.7),
    ),
    "a leak beside a much larger output": (
        lambda x: af.stack([x.sum() * 1e9, (x.detach() * x).sum()]),
        points(0.5, 0.7),
    ),
    "written in place": (lambda x: WronglyDoubled.apply(x * 1), points(0.5, 0.7)),
    "float32 inside": (narrow(np.float32, lambda x: x * x.detach()), points(0.5, 0.7)),
    "a gradient inside": (lambda x: force(Cube.apply(x)), points(0.5, 0.7)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_fail(name):
    function, point = WRONG[name]
    assert gradcheck(function, point).verdict == "FAIL"


class Checked(Function):
    """The identity of what sums to 1, and an error for anything else."""

    @staticmethod
    def forward(ctx, x):
        if abs(float(x.detach().sum()) - 1) > 1e-9:
            raise ValueError("not a distribution")
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_the_guilty_op_behind_innocent_ones():
    behind_marked = gradcheck(lambda x: Cube.apply(Marked.apply(x)[0]), points(0.5, 0.7))
    assert behind_marked.culprit.op == "Cube"
    behind_a_check = gradcheck(lambda x: Cube.apply(Checked.apply(x / x.sum())), points(0.5, 0.7))
    assert behind_a_check.culprit.op == "Cube"
    behind_a_pole = gradcheck(lambda x: Cube.apply(1e-8 / x), points(1e-8))
    assert behind_a_pole.culprit is None or behind_a_pole.culprit.op == "Cube"


def test_a_domain_that_raises_is_not_left():
    def positive(x):
        if (x.detach().numpy() < 0).any():
            raise ValueError("negative")
        return np.sqrt(x + 1) * 2

    assert gradcheck(positive, points(0.001, 0.5)).passed


def test_hooks_are_not_the_ops_fault():
    def doubled(x):
        y = np.tanh(x)
        y.register_hook(lambda gradient: gradient * 2)
        return y

    report = gradcheck(doubled, points(0.5))
    assert report.verdict == "FAIL"
    assert report.culprit is None


def test_innocent_reads_beside_a_kink_are_no_cut():
    relu = function(
        lambda ctx, x: ctx.save_for_backward(x) or af.tensor(np.maximum(x.detach().numpy(), 0)),
        lambda ctx, g: g * (ctx.saved_tensors[0] > 0),
    )

    def logged(x):
        y = relu.apply(x) - relu.apply(-x)
        float(y.sum())
        return y

    assert gradcheck(logged, points(0.0, 1.0)).verdict == "KINK"


@pytest.mark.parametrize("error", [ValueError("operands could not be broadcast"), KeyError("x"), TypeError("no")])
def test_a_backward_that_raises_has_failed(error):
    def raising(ctx, g):
        raise error

    broken = function(keeping(lambda x: x * 2), raising, "Broken")
    report = gradcheck(lambda x: broken.apply(x).sum(), points(0.5, 0.7))
    assert report.verdict == "FAIL"
    assert type(error).__name__ in str(report)
    assert report.culprit.op == "Broken"


def test_a_long_error_leaves_a_short_report():
    def raising(ctx, g):
        raise RuntimeError("line\n" * 30)

    broken = function(keeping(lambda x: x * 2), raising, "Broken")
    report = gradcheck(lambda *xs: sum(broken.apply(x).sum() for x in xs), tuple(np.ones(2) for _ in range(30)))
    assert len(str(report).splitlines()) <= 12


@pytest.mark.parametrize(
    "options", [{"rtol": float("nan")}, {"rtol": -1}, {"atol": np.inf}, {"full": -5}, {"seed": None}, {"full": 1.5}]
)
def test_tolerances_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        gradcheck(np.sin, points(0.5), **options)


def test_no_warning_leaves_the_check():
    wrong_root = function(keeping(np.sqrt), lambda ctx, g: g * ctx.saved_tensors[0] ** -0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gradcheck(wrong_root.apply, points(0.0, 1.0)).verdict in ("FAIL", "NONFINITE")
        assert gradcheck(np.log, points(0.0)).verdict == "NONFINITE"
        assert not gradcheck(af.relu, points(1.797e308, -1.0, 0.0)).passed


def test_a_check_leaves_no_trace():
    def drawing(x):
        return x * af.rand(2).double()

    before = af.get_rng_state().numpy().copy()
    x = af.tensor([0.5, 0.7], requires_grad=True)
    gradcheck(drawing, x)
    assert np.array_equal(af.get_rng_state().numpy(), before)
    assert x.grad is None


def test_a_report_keeps_no_graph():
    import gc

    from autograd_ff.engine import Node

    gc.collect()
    before = sum(issubclass(type(one), Node) for one in gc.get_objects())
    reports = [gradcheck(lambda x: np.tanh(np.tanh(x)), random(size=(10, 10))) for _ in range(3)]
    gc.collect()
    assert sum(issubclass(type(one), Node) for one in gc.get_objects()) == before
    assert all(report.passed for report in reports)
    wrong = gradcheck(lambda x: np.tanh(Cube.apply(x)), points(0.5, 0.7))
    gc.collect()
    assert sum(issubclass(type(one), Node) for one in gc.get_objects()) == before
    assert wrong.culprit.op == "Cube"


def test_numpy_behind_the_engine_is_seen_at_every_scale():
    for scale in (1e-4, 1.0, 1e6):
        report = gradcheck(lambda x, scale=scale: x * 1 + wrap(scale * np.sin(x.array)), points(0.3))
        assert report.verdict == "FAIL", scale
