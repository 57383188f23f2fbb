"""Every row of the op table, against numeric derivatives, references and itself in other modes.

The ops are taken from the table when the tests are collected, so an op cannot be left out; each draws its examples from
its own domain.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_references import REFERENCES, Satisfies, needs_reference

import autograd_ff  # noqa: F401  (fills the table)
from autograd_ff.engine import OPS, Scatter, TensorCore, wrap
from autograd_ff.engine.register import CallableOp
from autograd_ff.errors import AutogradError
from autograd_ff.testing import HypothesisDraw, NumPyDraw, table

NAMES = sorted(OPS)


def examples(count):
    """``count`` examples of a property."""

    def decorate(function):
        return settings(max_examples=count)(given(data=st.data())(function))

    return decorate


def example(name, data):
    op = OPS[name]
    return op, table.sample(op, HypothesisDraw(data))


def test_every_op_draws_examples():
    assert len(NAMES) > 80
    assert [name for name in NAMES if OPS[name].domain is None] == []


@pytest.mark.parametrize("name", NAMES)
@examples(15)
def test_gradient(name, data):
    op, call = example(name, data)
    if op.differentiable:
        table.check_gradient(op, call)
    else:
        table.check_not_differentiable(op, call)


@pytest.mark.parametrize("name", [name for name in NAMES if OPS[name].differentiable])
@examples(8)
def test_gradient_of_the_gradient(name, data):
    op, call = example(name, data)
    table.check_gradient(op, call, order=2, full=300)


@pytest.mark.parametrize("name", NAMES)
@examples(8)
def test_modes_subsets_and_dtypes(name, data):
    op, call = example(name, data)
    table.check_dtypes(op, call, np.float32)
    table.check_dtypes(op, call, np.float16)
    table.check_modes_agree(op, call)
    table.check_subsets(op, call)


@pytest.mark.parametrize("name", NAMES)
@examples(12)
def test_values(name, data):
    op, call = example(name, data)
    table.check_definition(op, call)
    table.check_front_door(op, call)
    reference = REFERENCES.get(name)
    if reference is not None:
        got = table.run(op, call.inputs, call.params)
        expected = reference(*call.inputs, **call.params)
        if isinstance(expected, Satisfies):
            assert expected.holds(got.array), f"{name} is not {expected.what}: {got}"
            return
        got = got if isinstance(got, tuple) else (got,)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one.array, other, rtol=1e-10, atol=1e-12)
            assert one.array.shape == np.shape(other)


def test_every_own_forward_has_a_reference():
    """What is not a NumPy function itself is compared with something written apart from it."""
    missing = [name for name in NAMES if needs_reference(OPS[name]) and name not in REFERENCES]
    assert missing == [], f"add a reference to tests/op_references.py for {missing}"
    assert [name for name in REFERENCES if name not in OPS] == [], "references of ops that do not exist"


@pytest.mark.parametrize("name", NAMES)
@examples(8)
def test_complex_step_and_branches(name, data):
    op, call = example(name, data)
    table.check_complex_step(op, call)
    table.check_branches(op, call)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the mean of nothing
@pytest.mark.parametrize("name", NAMES)
def test_empty_and_zero_dimensional(name):
    op = OPS[name]
    table.check_empty(op, table.sample(op, NumPyDraw(0)))


# ---------------------------------------------------------------- the checks themselves: wrong rules must fail them


def planted(op, position, change):
    """A copy of an op outside the table, with one rule replaced by ``change(right rule) -> wrong rule``."""
    right = op.joint if position is None else op.vjps[position]
    wrong = functools.wraps(right.function)(change(right.function))
    details = {
        key: getattr(op, key) for key in ("params", "promotion", "promoted", "broadcasts", "outputs", "residuals")
    }
    vjps = [None if rule is None else rule.function for rule in op.vjps]
    if position is None:
        details["joint"] = wrong
    else:
        vjps[position] = wrong
    copy = CallableOp(
        op.name, op.kind, op.forward, op.domain, function=op.function, inputs=op.inputs, variadic=op.variadic,
        definition=op.definition, vjps=vjps, **details,
    )  # fmt: skip
    copy.backward = op.backward
    return copy


def scaled(factor):
    return lambda rule: lambda *args: times(rule(*args), factor)


def times(result, factor):
    """A rule's result times a number, whatever kind of result it is."""
    if isinstance(result, (tuple, list)):
        return type(result)(None if one is None else times(one, factor) for one in result)
    return Scatter(result.index, result.gradient * factor) if isinstance(result, Scatter) else result * factor


def constant_in_g(rule):
    """A rule that forgets the upstream gradient."""
    return lambda g, *rest: rule(g * 0 + 1.0, *rest)


def square_of_g(rule):
    return lambda g, *rest: rule(g * g, *rest)


def first_of_broadcast(shape_of):
    """A rule that takes one element along each broadcast dimension where it should sum over them."""

    def change(rule):
        def wrong(*args):
            g = rule(*args)
            shape = shape_of(*args)
            while len(g.shape) > len(shape):
                g = g[0]
            for axis, side in enumerate(shape):
                if side == 1 and g.shape[axis] != 1:
                    g = g[(slice(None),) * axis + (slice(0, 1),)]
            return g

        return wrong

    return change


def rule_of(function):
    """A rule with another formula that asks for the same values."""
    return lambda rule: lambda *args: function(*args)


EVERYWHERE = {
    "factor 1.001": scaled(1.001),
    "zero": scaled(0.0),
    "sign": scaled(-1.0),
    "doubled": scaled(2.0),
    "forgets the upstream gradient": constant_in_g,
    "squares the upstream gradient": square_of_g,
}
PLANTED = [
    (name, position, fault, change)
    for name, positions in [
        ("add", (0, 1)), ("subtract", (1,)), ("multiply", (0, 1)), ("divide", (0, 1)), ("matmul", (0, 1)), ("tanh", (0,)),
        ("log", (0,)), ("exp", (0,)), ("sum", (0,)), ("linear", (0, 1, 2)), ("cross_entropy", (None,)), ("where", (1, 2)),
        ("maximum", (0, 1)), ("transpose", (0,)), ("slice", (0,)), ("index", (0,)), ("concatenate", (None,)),
        ("softmax", (0,)), ("amax", (0,)),
    ]
    for position in positions
    for fault, change in EVERYWHERE.items()
]  # fmt: skip
PLANTED += [
    ("multiply", 0, "swapped operands", rule_of(lambda g, x2: g * g / x2)),
    ("divide", 0, "swapped operands", rule_of(lambda g, x2: g * x2)),
    ("divide", 1, "dropped term", rule_of(lambda g, x2, out: -g / x2)),
    ("divide", 1, "sign", rule_of(lambda g, x2, out: g * out / x2)),
    ("tanh", 0, "dropped term", rule_of(lambda g, out: g)),
    ("tanh", 0, "wrong on one side", rule_of(lambda g, out: np.where(out > 0, g, g * (1 - out * out)))),
    ("log", 0, "swapped operands", rule_of(lambda g, x: x / g)),
    ("exp", 0, "input for output", rule_of(lambda g, out: g * np.log(out))),
    ("add", 0, "missing sum over a broadcast", first_of_broadcast(lambda g: tuple(1 for _ in g.shape[1:]))),
    ("multiply", 1, "missing sum over a broadcast", first_of_broadcast(lambda g, x1: x1.shape)),
    ("linear", 2, "missing sum over rows", rule_of(lambda g, meta_bias: np.reshape(g, (-1, meta_bias.shape[0]))[0])),
    ("linear", 1, "swapped operands", rule_of(lambda g, x, meta: np.reshape(np.ravel(x)[0] * np.sum(g), ()) + np.zeros(meta.shape))),
    ("matmul", 0, "transposed", rule_of(lambda g, m, x2: np.reshape(np.transpose(OPS["matmul"].vjps[0].function(g, m, x2)), m.shape))),
    ("matmul", 1, "not transposed", rule_of(lambda g, x1, m: np.reshape(np.transpose(OPS["matmul"].vjps[1].function(g, x1, m)), m.shape))),
    ("sum", 0, "spread by mean", rule_of(lambda g, m, axis: OPS["sum"].vjps[0].function(g, m, axis) / (2 if m.shape else 1))),
    ("transpose", 0, "not inverted", rule_of(lambda g, axes: np.transpose(g, axes))),
    ("flip", 0, "not flipped", rule_of(lambda g, axis: g)),
    ("roll", 0, "same direction", rule_of(lambda g, shift, axis: np.roll(g, shift, axis))),
    ("softmax", 0, "diagonal only", rule_of(lambda g, out, axis: g * out * (1 - out))),
    ("softmax", 0, "all axes", rule_of(lambda g, out, axis: out * (g - np.sum(g * out)))),
    ("where", 1, "not masked", rule_of(lambda g, condition: g)),
    ("index_add", 1, "scattered", rule_of(lambda g, index: g[np.sort(index)])),
]  # fmt: skip


def fails(op, check, seeds=30):
    """Whether a check fails for one of the first examples, by an assertion or by an error of the engine."""
    for seed in range(seeds):
        try:
            check(op, table.sample(op, NumPyDraw(seed)))
        except (AssertionError, AutogradError):
            return True
    return False


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of divisions by zero in the wrong rules
@pytest.mark.parametrize(
    ("name", "position", "fault", "change"),
    PLANTED,
    ids=[f"{name}-{where}-{fault}" for name, where, fault, _ in PLANTED],
)
def test_planted_wrong_rules_fail(name, position, fault, change):
    wrong = planted(OPS[name], position, change)
    assert fails(wrong, table.check_gradient), f"{name}, input {position}: {fault} was not noticed"


@pytest.mark.parametrize(
    ("name", "position"), [("tanh", 0), ("multiply", 0), ("divide", 1), ("log", 0), ("linear", 1), ("matmul", 0)]
)
def test_planted_wrong_rules_fail_at_second_order(name, position):
    """A rule whose value is right and whose own derivative is cut: only the second order can notice."""
    cut = planted(OPS[name], position, lambda rule: lambda *args: wrap(plain(rule(*map(plain, args)))))
    assert fails(cut, functools.partial(table.check_gradient, order=2)), f"{name}: a cut gradient was not noticed"


def plain(value):
    return value.array if isinstance(value, TensorCore) else value


def test_right_rules_do_not_fail_in_the_same_examples():
    for name in sorted({name for name, *_ in PLANTED}):
        assert not fails(OPS[name], table.check_gradient)


def test_planted_kernel_that_differs_from_its_definition():
    op = OPS["cross_entropy"]
    wrong = planted(op, None, scaled(1 + 1e-6))
    assert fails(wrong, table.check_definition)
    assert not fails(op, table.check_definition)


def test_planted_rules_that_widen_the_dtype():
    wrong = planted(OPS["tanh"], 0, lambda rule: lambda g, out: np.float64(1.0) * rule(g, out))
    # The engine casts every gradient to its input's dtype, so what a rule widens cannot leave the node …
    table.check_dtypes(wrong, table.sample(wrong, NumPyDraw(0)), np.float32)
    # … but a forward that widens is seen.
    wide = CallableOp(
        "wide", "primitive", lambda x: np.exp(x) * np.float64(2.0), OPS["exp"].domain, inputs=("x",), promotion="float",
        vjps=[lambda g, out: g * out],
    )  # fmt: skip
    assert fails(wide, lambda op, call: table.check_dtypes(op, call, np.float32))


def test_planted_wrong_declarations():
    absolute, exp = OPS["abs"], OPS["exp"]
    as_analytic = CallableOp(
        "abs",
        "primitive",
        np.absolute,
        absolute.domain,
        inputs=("x",),
        vjps=[lambda g, x: g * np.sign(x)],
        analytic=True,
    )
    assert fails(as_analytic, table.check_complex_step)
    near_kink = CallableOp(
        "abs", "primitive", np.absolute, exp.domain, inputs=("x",), vjps=[lambda g, x: g * np.sign(x)],
        branches=lambda x: np.sign(x),
    )  # fmt: skip
    assert fails(near_kink, table.check_branches, seeds=200)
    writes = CallableOp(
        "writes", "primitive", lambda x: np.exp(x, out=x), exp.domain, inputs=("x",), vjps=[lambda g, out: g * out]
    )
    assert fails(writes, table.check_gradient)
