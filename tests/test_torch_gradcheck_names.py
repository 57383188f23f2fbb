"""`autograd.gradcheck` and `gradgradcheck`: PyTorch's calls, and PyTorch's answers where those are right."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff.autograd import Function, gradcheck, gradgradcheck
from autograd_ff.errors import GradcheckError, GraphError, ShapeError


def ours(data):
    return af.tensor(np.array(data), requires_grad=True)


X = [[0.5, -1.0, 2.0], [0.3, 0.7, -1.4]]
W = [[1.0, 0.2], [-0.6, 0.4], [0.1, -2.0]]

# Written with what both libraries have: each takes the library and its tensors.
RIGHT = {
    "cube": (lambda lib, x: x**3, [X]),
    "sum of products": (lambda lib, x, y: (x * y).sum(), [X, X[0]]),
    "matmul": (lambda lib, x, w: lib.tanh(x @ w), [X, W]),
    "softmax": (lambda lib, x: lib.softmax(x, 1), [X]),
    "several outputs": (lambda lib, x: (x.exp(), x.sum(0)), [X]),
    "views": (lambda lib, x: x.T[1:] * x[0, 0], [X]),
    "norm": (lambda lib, x: ((x * x).sum(1)).sqrt(), [X]),
    "constant": (lambda lib, x: (x * 0.0).sum(), [X]),
}
WRONG = {
    "half of a product": (lambda lib, x: x * x.detach(), [X]),
    "lost factor": (lambda lib, x: x.detach() * lib.sin(x), [X]),
    "wrong second input": (lambda lib, x, y: x * y.detach() + y, [X, X]),
    "cut off": (lambda lib, x: lib.exp(x).detach() + 0 * x, [X]),
    "second output": (lambda lib, x: (x.exp(), x.detach() * x), [X]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_pass(name):
    function, data = RIGHT[name]
    inputs = tuple(map(ours, data))
    assert gradcheck(lambda *inputs: function(af, *inputs), inputs) is True
    assert gradgradcheck(lambda *inputs: function(af, *inputs), list(inputs)) is True


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_fail(name):
    function, data = WRONG[name]
    inputs = tuple(map(ours, data))
    with pytest.raises(GradcheckError, match=r"^FAIL") as error:
        gradcheck(lambda *inputs: function(af, *inputs), inputs)
    assert error.value.report.verdict == "FAIL"
    assert str(error.value) == str(error.value.report)
    assert isinstance(error.value, RuntimeError)
    assert gradcheck(lambda *inputs: function(af, *inputs), inputs, raise_exception=False) is False


@pytest.mark.torch
@pytest.mark.parametrize("name", [*RIGHT, *WRONG])
@pytest.mark.parametrize("order", [1, 2])
def test_the_same_truth_as_pytorch(name, order):
    torch = pytest.importorskip("torch")
    function, data = {**RIGHT, **WRONG}[name]
    theirs = tuple(torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in data)
    own, their = (gradcheck, torch.autograd.gradcheck) if order == 1 else (gradgradcheck, torch.autograd.gradgradcheck)
    expected = their(lambda *inputs: function(torch, *inputs), theirs, raise_exception=False)
    assert own(lambda *inputs: function(af, *inputs), tuple(map(ours, data)), raise_exception=False) == expected


@pytest.mark.torch
@pytest.mark.parametrize("name", ["gradcheck", "gradgradcheck"])
def test_the_same_signature_as_pytorch(name):
    torch = pytest.importorskip("torch")
    theirs = inspect.signature(getattr(torch.autograd, name)).parameters
    own = inspect.signature(getattr(af.autograd, name)).parameters
    assert [(one.name, one.kind, one.default) for one in own.values()] == [
        (one.name, one.kind, one.default) for one in theirs.values()
    ]


def test_where_the_names_are():
    from autograd_ff.autograd.gradcheck import GradcheckError as same

    assert same is GradcheckError
    assert inspect.isfunction(af.autograd.gradcheck)
    assert af.autograd.gradgradcheck is gradgradcheck


class SlopeWithoutGraph(Function):
    """A right gradient that cannot be differentiated again: it hides from the graph."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 3 * x.detach() ** 2


def test_a_gradient_that_is_right_once_only():
    x = ours(X)
    assert gradcheck(SlopeWithoutGraph.apply, x)
    with pytest.raises(GradcheckError, match="gradient of the gradient"):
        gradgradcheck(SlopeWithoutGraph.apply, x)
    assert gradgradcheck(SlopeWithoutGraph.apply, (x,), raise_exception=False) is False


def test_grad_outputs_of_the_users_own():
    x, upstream = ours(X), ours(np.ones((2, 3)))
    assert gradgradcheck(lambda x: x**3, x, upstream)
    assert gradgradcheck(lambda x: x**3, (x,), (upstream.detach(),))
    assert gradgradcheck(lambda x, y: (x * y, y), (x, ours(X[1])), (upstream, ours([0.5, 1.0, 2.0])))
    assert not gradgradcheck(SlopeWithoutGraph.apply, x, upstream, raise_exception=False)
    # where the upstream gradient is zero, nothing wrong is seen, in PyTorch too
    assert gradgradcheck(SlopeWithoutGraph.apply, x, af.zeros(2, 3))
    with pytest.raises(ShapeError, match="1 outputs require grad, and 2 grad_outputs are given"):
        gradgradcheck(lambda x: x**3, x, (upstream, upstream))


NESTED = {
    "dict": (lambda one: one["a"] ** 3 * one["b"], lambda x, y: ({"a": x, "b": y},)),
    "list": (lambda one, more: one[0] ** 3 * more, lambda x, y: ([x], y)),
    "dict of tuples": (lambda one: one["a"][0] ** 3 * one["a"][1], lambda x, y: {"a": (x, y)}),
}


@pytest.mark.parametrize("name", NESTED)
def test_inputs_inside_dicts_and_lists(name):
    function, nest = NESTED[name]
    x, y, upstream = ours(X), ours(X[1]), ours(np.ones((2, 3)))
    assert gradcheck(function, nest(x, y))
    assert gradgradcheck(function, nest(x, y))
    assert gradgradcheck(function, nest(x, y), (upstream,))
    assert gradgradcheck(function, nest(x, y.detach()), upstream.detach())
    wrong = lambda *inputs: SlopeWithoutGraph.apply(function(*inputs))
    assert not gradgradcheck(wrong, nest(x, y), (upstream,), raise_exception=False)
    with pytest.raises(GradcheckError, match=r"input_0\["):
        gradgradcheck(wrong, nest(x, y.detach()), (upstream.detach(),))


class OneOfTwo(Function):
    """Two outputs; what backward does with a gradient that is missing is up to its subclasses."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3


class TakesNone(OneOfTwo):
    @staticmethod
    def backward(ctx, first, second):
        parts = [part * factor for part, factor in ((first, 2), (second, 3)) if part is not None]
        return sum(parts) if parts else None


class StumblesOverNone(OneOfTwo):
    @staticmethod
    def backward(ctx, first, second):
        return first * 2 + second * 3


class InventsForNone(OneOfTwo):
    @staticmethod
    def backward(ctx, first, second):
        first, second = (af.ones(2, 3) if part is None else part for part in (first, second))
        return first * 2 + second * 3


def test_a_missing_gradient_stands_for_zero():
    x = ours(X)
    assert gradcheck(TakesNone.apply, x)
    with pytest.raises(GradcheckError, match=r"no gradient for output 0 of 2(.|\n)*raised TypeError"):
        gradcheck(StumblesOverNone.apply, x)
    with pytest.raises(GradcheckError, match="gave a gradient that is not zero"):
        gradcheck(InventsForNone.apply, x)
    for one in (StumblesOverNone, InventsForNone):
        assert not gradcheck(one.apply, x, raise_exception=False)
        assert gradcheck(one.apply, x, check_undefined_grad=False)


def test_a_kink_is_not_passed_and_said_to_be_one():
    x = ours([0.0, 1.0])
    with pytest.raises(GradcheckError, match=r"^KINK(.|\n)*no derivative here, so the gradient is not wrong"):
        gradcheck(lambda x: af.relu(x) - af.relu(-x), x)
    assert gradcheck(lambda x: af.relu(x) - af.relu(-x), x, raise_exception=False) is False
    assert gradcheck(lambda x: af.relu(x) - af.relu(-x), ours([0.5, 1.0]))


def test_what_does_not_repeat_itself():
    numbers = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match=r"^NONDETERMINISTIC(.|\n)*seed its generator"):
        gradcheck(lambda x: x * float(numbers.random()), ours(X))


def test_tolerances_are_the_callers():
    class OffByAPercent(SlopeWithoutGraph):
        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * 3.03 * x**2

    x = ours(X)
    assert not gradcheck(OffByAPercent.apply, x, raise_exception=False)
    assert gradcheck(OffByAPercent.apply, x, rtol=0.02)
    # a gradient below PyTorch's absolute tolerance is still held to its own size
    assert not gradcheck(lambda x: 1e-4 * OffByAPercent.apply(x), x, raise_exception=False)


def test_float32_is_checked_as_well():
    x = af.tensor(X, requires_grad=True)
    assert x.dtype == np.float32
    assert gradcheck(lambda x: af.exp(x).sum(), x)
    assert x.grad is None


def test_only_what_requires_grad_is_checked():
    x, y = ours(X), af.tensor(X)
    assert gradcheck(lambda x, y: x * y.detach(), (x, y))
    assert gradcheck(lambda x, power: x**power, (x, 2))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_nothing_that_requires_grad(check):
    with pytest.raises(ValueError, match="at least one input that requires grad"):
        check(lambda x: x * 2, (af.tensor(X), 3))


@pytest.mark.parametrize(
    ("check", "options", "message"),
    [
        (gradcheck, {"check_forward_ad": True}, "no forward-mode"),
        (gradcheck, {"check_backward_ad": False}, "no forward-mode"),
        (gradcheck, {"check_batched_grad": True}, "no vmap"),
        (gradcheck, {"check_batched_forward_grad": True, "check_forward_ad": True}, "no forward-mode"),
        (gradgradcheck, {"check_fwd_over_rev": True}, "no forward-mode"),
        (gradgradcheck, {"check_rev_over_rev": False}, "no forward-mode"),
        (gradgradcheck, {"check_batched_grad": True}, "no vmap"),
    ],
)
def test_what_there_is_not_is_refused(check, options, message):
    with pytest.raises(GraphError, match=message) as error:
        check(lambda x: x * 2, ours(X), raise_exception=False, **options)
    assert not isinstance(error.value, GradcheckError)


def test_options_without_effect_are_taken():
    options = {"eps": 1e-4, "nondet_tol": 1e-3, "fast_mode": True, "masked": True, "check_grad_dtypes": True}
    assert gradcheck(lambda x: x.exp(), ours(X), **options)
    assert gradgradcheck(lambda x: x.exp(), ours(X), gen_non_contig_grad_outputs=True, **options)


def test_errors_of_the_function_come_through():
    with pytest.raises(ShapeError):
        gradcheck(lambda x: x.reshape(5), ours(X), raise_exception=False)
