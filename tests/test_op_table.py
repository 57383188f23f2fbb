"""Every row of the op table, against numeric derivatives, references and itself in other modes.

The ops are taken from the table when the tests are collected, so an op cannot be left out; each draws its examples from
its own domain.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_references import REFERENCES, Satisfies, needs_reference

import autograd_ff
import autograd_ff.distributed  # noqa: F401  (fills the table)
from autograd_ff.engine import OPS
from autograd_ff.engine.register import CallableOp
from autograd_ff.errors import AutogradError
from autograd_ff.testing import HypothesisDraw, NumPyDraw, table
from autograd_ff.testing.faults import Fault
from autograd_ff.testing.mutation import plant

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
# Systematically planted faults are in test_mutation.py; these are wrong formulas that people write, and wrong
# declarations.


def planted(op, position, function):
    """A copy of an op outside the table, with another formula for one of its rules."""
    names = tuple(inspect.signature(function).parameters)[1:]
    fault = Fault("formula", "another", lambda right, g, values: function(g, *(values[name] for name in names)), names)
    return plant(op, position, fault)


WRONG_FORMULAS = [
    ("divide", 1, "sign", lambda g, x2, out: g * out / x2),
    ("tanh", 0, "no square", lambda g, out: g * (1 - out)),
    ("tanh", 0, "wrong on one side", lambda g, out: np.where(out > 0, g, g * (1 - out * out))),
    ("log", 0, "swapped operands", lambda g, x: x / g),
    ("exp", 0, "input for output", lambda g, out: g * np.log(out)),
    ("linear", 2, "missing sum over rows", lambda g, meta_bias: np.reshape(g, (-1, meta_bias.shape[0]))[0]),
    ("linear", 1, "one number for all", lambda g, x, meta_weight: np.ravel(x)[0] * np.sum(g) + np.zeros(meta_weight.shape)),
    ("sum", 0, "spread by mean", lambda g, meta_a, axis: OPS["sum"].vjps[0].function(g, meta_a, axis) / (2 if meta_a.shape else 1)),
    ("transpose", 0, "not inverted", lambda g, axes: np.transpose(g, axes)),
    ("flip", 0, "not flipped", lambda g: g),
    ("roll", 0, "same direction", lambda g, shift, axis: np.roll(g, shift, axis)),
    ("softmax", 0, "diagonal only", lambda g, out: g * out * (1 - out)),
    ("softmax", 0, "all axes", lambda g, out: out * (g - np.sum(g * out))),
    ("where", 1, "not masked", lambda g: g),
    ("index_add", 1, "sorted", lambda g, index: g[np.sort(index)]),
    ("index", 0, "overwrites repeated places", lambda g, meta_a, index: overwritten(g, meta_a, index)),
    ("var", 0, "ddof forgotten", lambda g, a, axis: OPS["var"].vjps[0].function(g, a, axis, 0)),
    ("logsumexp", 0, "not a softmax", lambda g, a, axis: OPS["sum"].vjps[0].function(g, a, axis) * np.exp(a)),
    ("maximum", 0, "compares the gradient", lambda g, x2: g * np.greater(g, x2)),
]  # fmt: skip


def overwritten(g, meta, index):
    gradient = np.zeros(meta.shape)
    gradient[index] = g
    return gradient


def fails(op, check, seeds=30):
    """Whether a check fails for one of the first examples."""
    for seed in range(seeds):
        try:
            check(op, table.sample(op, NumPyDraw(seed)))
        except (AssertionError, AutogradError):
            return True
    return False


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of divisions by zero in the wrong rules
@pytest.mark.parametrize(
    ("name", "position", "fault", "function"),
    WRONG_FORMULAS,
    ids=[f"{name}-{where}-{fault}" for name, where, fault, _ in WRONG_FORMULAS],
)
def test_wrong_formulas_fail(name, position, fault, function):
    wrong = planted(OPS[name], position, function)
    assert fails(wrong, table.check_gradient), f"{name}, input {position}: {fault} was not noticed"
    assert not fails(OPS[name], table.check_gradient)


def test_planted_kernel_that_differs_from_its_definition():
    op = OPS["cross_entropy"]
    wrong = plant(op, 0, Fault("factor", "off by little", lambda right, g, values: right(g, values) * (1 + 1e-6)))
    assert fails(wrong, table.check_definition)
    assert not fails(op, table.check_definition)


def test_planted_rules_that_widen_the_dtype():
    wrong = planted(OPS["tanh"], 0, lambda g, out: np.float64(1.0) * (g * (1 - out * out)))
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
    assert fails(near_kink, table.check_branches, seeds=2000)
    writes = CallableOp(
        "writes", "primitive", lambda x: np.exp(x, out=x), exp.domain, inputs=("x",), vjps=[lambda g, out: g * out]
    )
    assert fails(writes, table.check_gradient)
