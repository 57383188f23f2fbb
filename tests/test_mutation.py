"""The gradient checker's mutation score and false alarms, and that the measuring itself can fail.

The whole op table is measured: every rule, every way to get it wrong. A group of ops is one test, so that several
processes share the work.
"""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff.engine import OPS, REAL, TABLE, Call, Domain, apply
from autograd_ff.engine.register import CallableOp
from autograd_ff.testing import NumPyDraw, table
from autograd_ff.testing.faults import FAMILIES, Fault, cuts, faults
from autograd_ff.testing.mutation import (
    FalseAlarms,
    MutationScore,
    false_alarms,
    mutants,
    mutation_score,
    plant,
    verdict,
)

NAMES = sorted(name for name, op in OPS.items() if op.differentiable)
WITH_RULES = [name for name in NAMES if OPS[name].kind != "composite"]
GROUPS = 12
EVERY = 5  # of the wrong rules one in so many, each of another fault; `python -m benchmarks checker` tries them all


def group(names, number):
    return [OPS[name] for name in names[number::GROUPS]]


# ---------------------------------------------------------------- the gate


@pytest.mark.parametrize("number", range(GROUPS))
def test_wrong_rules_are_caught(number):
    score = mutation_score(group(WITH_RULES, number), every=EVERY)
    assert score.counted > 50
    assert len(score.families) >= 9
    assert score.unable == 0
    assert score.share >= 0.99, score


@pytest.mark.parametrize("number", range(GROUPS))
def test_wrong_rules_are_caught_along_directions(number):
    """As large Jacobians are checked."""
    score = mutation_score(group(WITH_RULES, number), check=lambda op, call: verdict(op, call, full=0), every=2 * EVERY)
    assert score.counted > 25
    assert score.share >= 0.99, score


@pytest.mark.parametrize("number", range(GROUPS))
def test_cut_derivatives_are_caught_at_the_second_order(number):
    score = mutation_score(group(WITH_RULES, number), order=2, every=EVERY)
    assert score.counted > 3
    assert score.share >= 0.99, score


@pytest.mark.parametrize("number", range(GROUPS))
def test_right_rules_are_not_accused(number):
    found = false_alarms(group(NAMES, number), examples=10, seed=1000)
    assert found.examples >= 100
    assert found.alarms == []
    assert sum(found.no_verdict.values()) <= found.examples // 100, found.no_verdict


def test_a_part_of_the_mutants_is_counted_through_all_ops():
    ops = [OPS["exp"], OPS["multiply"], OPS["tanh"]]
    parts = [mutation_score(ops, check=accepts_everything, every=every).survivors for every in (1, 7)]
    planted = [str(mutant) for op in ops for mutant in mutants(op)]
    assert [name for name in planted[::7] if name in parts[0]] == parts[1]
    assert len(parts[1]) > 10


def test_every_rule_has_mutants_of_its_own():
    assert len(WITH_RULES) > 100
    for name in WITH_RULES:
        op = OPS[name]
        rules = 1 if op.joint is not None else sum(rule is not None for rule in op.vjps)
        planted = mutants(op)
        assert len(planted) >= 20 * rules, name
        assert len({str(mutant) for mutant in planted}) == len(planted), f"{name}: two mutants of one name"


# ---------------------------------------------------------------- the measuring can fail


def accepts_everything(op, call):
    return "PASS"


def test_a_checker_that_accepts_everything_scores_nothing():
    score = mutation_score([OPS["multiply"], OPS["cross_entropy"], OPS["einsum"]], check=accepts_everything)
    assert score.counted > 50
    assert score.share == 0.0
    assert score.at_once == 0
    assert len(score.survivors) == score.counted
    assert "multiply, x1: doubled" in score.survivors


@pytest.mark.parametrize("said", ["KINK", "UNRELIABLE", "NONDETERMINISTIC"])
def test_no_verdict_is_no_catch(said):
    assert mutation_score(OPS["exp"], check=lambda op, call: said).share == 0.0
    assert false_alarms(OPS["exp"], check=lambda op, call: said, examples=3) == FalseAlarms(3, [], {said: 3})


def test_a_checker_that_cannot_run_is_not_judged():
    score = mutation_score(OPS["exp"], check=lambda op, call: "UNABLE")
    assert (score.counted, score.unable > 10) == (0, True)
    assert np.isnan(score.share)


def test_a_coarse_checker_misses_what_is_off_by_little():
    def coarse(op, call):
        right, wrong = gradient(OPS[op.name], call), gradient(op, call)
        return "PASS" if np.allclose(right, wrong, rtol=0.01) else "FAIL"

    score = mutation_score(OPS["exp"], check=coarse)
    assert score.families["off by 0.1 %"] == [0, 2]
    assert score.families["factor"] == [2, 2]
    assert score.families["sign"] == [1, 1]
    assert {"exp, x: times 1.001", "exp, x: times 1.001 in the last element"} < set(score.survivors)


def test_false_alarms_can_be_found():
    right = OPS["exp"]
    wrong = plant(right, 0, faults(right, 0)[0])
    found = false_alarms([right, wrong], examples=5)
    assert (found.examples, found.no_verdict) == (10, {})
    assert found.alarms == [f"exp, seed {seed}: FAIL" for seed in range(5)]
    assert false_alarms(OPS["equal"]).examples == 0


def gradient(op, call):
    x, *rest = [af.tensor(value, requires_grad=True) for value in call.inputs]
    (found,) = af.autograd.grad(apply(op, (x, *rest), call.params).sum(), [x])
    return found.numpy()


X1, X2 = np.array([[1.0, -2.0], [3.0, 5.0]]), np.array([[-4.0, 6.0], [7.0, -9.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("doubled", 2 * X2),
        ("halved", X2 / 2),
        ("opposite sign", -X2),
        ("times 1.001", 1.001 * X2),
        ("times 1.001 in the last element", X2 * [[1, 1], [1, 1.001]]),
        ("zero", 0 * X2),
        ("x2 taken for 1", np.ones((2, 2))),
        ("x2 taken for 0", np.zeros((2, 2))),
        ("gradient transposed", X2.T),
        ("gradient reversed", X2[:, ::-1]),
        ("x1 for x2", X1),
        ("out for x2", X1 * X2),
        ("only the first row of g", X2 * [[1, 1], [0, 0]]),
        ("doubled where positive", X2 * [[1, 2], [2, 1]]),
        ("doubled where x1 > 0", X2 * [[2, 1], [2, 2]]),
        ("doubled where out > 0", X2 * [[1, 1], [2, 1]]),
        ("doubled where g > 0", 2 * X2),
        ("doubled in the first element", X2 * [[2, 1], [1, 1]]),
        ("doubled in the last element", X2 * [[1, 1], [1, 2]]),
        ("doubled in the first half", X2 * [[2, 2], [1, 1]]),
        ("doubled in every other element", X2 * [[1, 2], [1, 2]]),
        ("doubled for matrices", 2 * X2),
        ("doubled for vectors", X2),
        ("doubled for more than 4 elements", X2),
    ],
)
def test_faults_do_what_they_say(name, expected):
    op = OPS["multiply"]
    fault = next(one for one in faults(op, 0) if one.name == name)
    np.testing.assert_allclose(gradient(plant(op, 0, fault), Call((X1, X2))), expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("first element of a broadcast axis", X2[:1]), ("mean over a broadcast axis", X2.mean(axis=0, keepdims=True))],
)
def test_missing_sums_over_broadcast_axes(name, expected):
    op = OPS["multiply"]
    fault = next(one for one in faults(op, 0) if one.name == name)
    np.testing.assert_allclose(gradient(plant(op, 0, fault), Call((X1[:1], X2))), expected)
    np.testing.assert_allclose(gradient(plant(op, 0, fault), Call((X1[0], X2))), expected[0])
    np.testing.assert_allclose(gradient(plant(op, 0, fault), Call((X1, X2))), X2)


@pytest.mark.parametrize("g", ["g taken for 1", "g squared", "g taken for its size", "g transposed"])
def test_faults_of_the_upstream_gradient(g):
    op, upstream = OPS["exp"], np.array([[-1.0, 2.0], [3.0, -5.0]])
    changed = {
        "g taken for 1": np.ones((2, 2)),
        "g squared": upstream**2,
        "g taken for its size": np.abs(upstream),
        "g transposed": upstream.T,
    }
    wrong = plant(op, 0, next(one for one in faults(op, 0) if one.name == g))
    x = af.tensor(X1, requires_grad=True)
    (found,) = af.autograd.grad(apply(wrong, (x,)), [x], af.tensor(upstream))
    np.testing.assert_allclose(found.numpy(), changed[g] * np.exp(X1))


def test_ignored_parameters():
    op = OPS["leaky_relu"]
    wrong = plant(op, 0, next(one for one in faults(op, 0) if one.name == "negative_slope ignored"))
    call = Call((np.array([-1.0, 1.0]),), {"negative_slope": 0.2})
    np.testing.assert_allclose(gradient(wrong, call), [op.params["negative_slope"], 1.0])


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "cut"])
def test_every_family_changes_gradients(family):
    """Of each family there are mutants whose gradient is another one, of an elementwise op, a product and a kernel."""
    score = mutation_score([OPS[name] for name in ("divide", "matmul", "linear")], check=accepts_everything)
    caught, counted = score.families[family]
    assert counted >= 5
    assert caught == 0


def test_planted_in_one_of_the_gradients_of_a_joint_rule():
    op = OPS["einsum"]
    call = Call((X1, X2), {"subscripts": "ij,jk->ik"})
    doubled = next(fault for fault in faults(op, 0) if fault.name == "doubled")
    for position, factors in ((0, (2, 1)), (-1, (1, 2))):
        wrong = plant(op, position, doubled)
        inputs = [af.tensor(value, requires_grad=True) for value in call.inputs]
        found = af.autograd.grad(apply(wrong, tuple(inputs), call.params).sum(), inputs)
        right = np.ones((2, 2)) @ X2.T, X1.T @ np.ones((2, 2))
        for one, factor, expected in zip(found, factors, right, strict=True):
            np.testing.assert_allclose(one.numpy(), factor * expected)


def test_a_kernel_is_wrong_where_its_backward_is_observed_too():
    op = OPS["cross_entropy"]
    call = table.sample(op, NumPyDraw(0))
    doubled = next(fault for fault in faults(op, 0) if fault.name == "doubled")
    wrong = plant(op, 0, doubled)
    with pytest.raises(AssertionError, match="kernel"):
        table.check_definition(wrong, call)
    table.check_modes_agree(op, call)
    logits = af.tensor(call.inputs[0], requires_grad=True)

    class Watching(af.engine.Observer):
        traces_backward = True

    results = {}
    for which in (op, wrong):
        with af.engine.observe(Watching()):
            out = apply(which, (logits, call.inputs[1]), call.params)
            (results[which],) = af.autograd.grad(out.sum(), [logits])
    np.testing.assert_allclose(results[wrong].numpy(), 2 * results[op].numpy())


def test_the_table_stays_right():
    before, size = {name: (op, op.vjps, op.joint, op.backward) for name, op in OPS.items()}, len(TABLE)
    mutation_score([OPS["tanh"], OPS["cross_entropy"]], check=accepts_everything)
    assert {name: (op, op.vjps, op.joint, op.backward) for name, op in OPS.items()} == before
    assert len(TABLE) == size
    call = table.sample(OPS["tanh"], NumPyDraw(0))
    table.check_gradient(OPS["tanh"], call)


def test_a_rule_that_does_not_exist_cannot_be_wrong():
    with pytest.raises(ValueError, match="no rule for its input 'condition'"):
        plant(OPS["where"], 0, faults(OPS["exp"], 0)[0])
    assert mutants(OPS["equal"]) == []
    assert mutants(OPS["outer"]) == []
    assert mutants(OPS["cross_entropy"], order=2) == []


# ---------------------------------------------------------------- what counts


def primitive_of(forward, vjp, domain):
    return CallableOp("mine", "primitive", forward, domain, inputs=("x",), vjps=[vjp])


def test_mutants_that_no_example_tells_apart_are_not_counted():
    """Where the domain draws nothing but 1, no checker can see that x was forgotten."""
    ones = primitive_of(lambda x: x * x, lambda g, x: g * (2 * x), lambda draw: Call((np.ones(draw.shape(1, 1)),)))
    reals = primitive_of(lambda x: x * x, lambda g, x: g * (2 * x), REAL)
    narrow, wide = (mutation_score(op, check=accepts_everything) for op in (ones, reals))
    assert "mine, x: x taken for 1" not in narrow.survivors
    assert "mine, x: x taken for 1" in wide.survivors
    assert narrow.equivalent > wide.equivalent
    assert narrow.counted + narrow.equivalent == wide.counted + wide.equivalent


def test_mutants_of_a_gradient_that_is_zero_are_equivalent():
    score = mutation_score(OPS["floor"])
    assert score.counted == 0
    assert score.equivalent == len(mutants(OPS["floor"]))


def test_mutants_that_raise_are_not_counted():
    """They need no checker: the engine refuses their shapes."""
    score = mutation_score(OPS["pad_constant"], check=lambda op, call: "FAIL")
    assert score.crashing > 0
    names = [str(mutant) for mutant in mutants(OPS["pad_constant"])]
    assert score.counted + score.equivalent + score.crashing == len(names)


def test_a_users_own_primitive():
    good = primitive_of(lambda x: np.sin(x) * x, lambda g, x: g * (np.cos(x) * x + np.sin(x)), Domain(-2.0, 2.0))
    score = mutation_score(good)
    assert score.share == 1.0, score
    assert score.counted > 20
    assert verdict(good, table.sample(good, NumPyDraw(0))) == "PASS"
    assert mutation_score(good, order=2).share == 1.0
    assert [fault.name for fault in cuts(good, 0)][-1] == "no derivative through x"


def test_cuts_have_the_right_value():
    """Only the second order can tell them from the right rule."""
    op = OPS["multiply"]
    call = table.sample(op, NumPyDraw(3))
    for fault in cuts(op, 0):
        wrong = plant(op, 0, fault)
        table.check_gradient(wrong, call)
        with pytest.raises(AssertionError):
            table.check_gradient(wrong, call, order=2)


def test_a_fault_of_ones_own():
    """A rule of a formula of its own, which asks for values that the right one does not ask for."""
    fault = Fault("mine", "of x", lambda right, g, values: right(g, values) + values["x"] * 0.1, ("x",))
    wrong = plant(OPS["exp"], 0, fault)
    np.testing.assert_allclose(gradient(wrong, Call((X1,))), np.exp(X1) + 0.1 * X1)


def test_scores_add_up_and_read_well():
    score = MutationScore({"zero": [1, 2]}, ["exp, x: zero"], 1, 3, 0, 0) + MutationScore(
        {"zero": [2, 2]}, [], 2, 0, 1, 0
    )
    assert score == MutationScore({"zero": [3, 4]}, ["exp, x: zero"], 3, 3, 1, 0)
    assert (score.caught, score.counted, score.share) == (3, 4, 0.75)
    assert str(score).splitlines() == [
        "caught 3 of 4 wrong rules (75.00%)",
        "  zero                     3 of     4",
        "  not counted: 3 equivalent, 1 that raise, 0 unable",
        "  survived: exp, x: zero",
    ]
    assert FalseAlarms(1, ["a"], {"KINK": 1}) + FalseAlarms(2, [], {"KINK": 1}) == FalseAlarms(3, ["a"], {"KINK": 2})
