"""The strategies of `autograd_ff.testing` keep their promises, and `given_gradients` finds what is wrong."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck, NoSuchExample, Unsatisfiable

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.engine import NONZERO, OPS, POSITIVE, REAL, UNIT, Domain
from autograd_ff.engine.register import CallableOp
from autograd_ff.errors import AutogradError, GraphError, ShapeError
from autograd_ff.testing import gradcheck
from autograd_ff.testing.expressions import Expression, Use, differentiable_ops, expressions
from autograd_ff.testing.given import given_gradients
from autograd_ff.testing.networks import Residual, networks
from autograd_ff.testing.strategies import (
    arrays,
    broadcastable_shapes,
    generators,
    gufunc_shapes,
    indices,
    op_calls,
    permutations,
    reduction_axes,
    shapes,
    tensors,
)
from autograd_ff.testing.tree import flatten
from autograd_ff.testing.values import SPECIAL, numbers

FLOATS = ["float16", "float32", "float64"]
WHOLE = ["int8", "int16", "int32", "int64", "uint8"]
few = settings(max_examples=30)


def smallest(strategy, condition, examples=300):
    """The example that Hypothesis shrinks to."""
    return find(strategy, condition, settings=settings(max_examples=examples, database=None, deadline=None))


def gap(array):
    return np.min(np.diff(np.sort(np.asarray(array, np.float64), axis=None)), initial=math.inf)


# ---------------------------------------------------------------- numbers


@given(data=st.data(), shape=shapes(max_side=6), dtype=st.sampled_from([*FLOATS, *WHOLE, "bool"]))
def test_tensors_have_the_shape_and_dtype_asked_for(data, shape, dtype):
    x = data.draw(tensors(shape, dtype))
    assert isinstance(x, af.Tensor)
    assert (x.shape, x.array.dtype) == (shape, np.dtype(dtype))
    assert not x.requires_grad
    if np.dtype(dtype).kind == "f":
        assert np.all(np.abs(x.array) <= 3)


@given(
    data=st.data(), domain=st.sampled_from([REAL, POSITIVE, NONZERO, UNIT, REAL.away_from(-1, 0, 2), (0, 1), (-50.0, -20.0)]),
    dtype=st.sampled_from(FLOATS),
)  # fmt: skip
def test_floating_numbers_lie_in_their_domain_and_apart(data, domain, dtype):
    x = data.draw(arrays(st.sampled_from([(), 1, 7, (3, 5)]), dtype, domain=domain, spread=0.04))
    domain = Domain(*domain) if isinstance(domain, tuple) else domain
    assert x.dtype == np.dtype(dtype)
    wide = x.astype(np.float64)
    assert np.all((wide >= domain.low) & (wide <= domain.high))
    for point in domain.avoid:
        assert np.all(np.abs(wide - point) >= domain.margin - 1e-12)
    assert gap(x) >= 0.04


@given(x=tensors(st.sampled_from([(5, 8), (40,), (1, 1), (0, 3)])), y=tensors((30, 30)))
@few
def test_without_spread_numbers_keep_apart_all_the_same(x, y):
    assert gap(x) >= 0.05
    assert gap(y) >= 6 / 1800 - 1e-12  # half of what an even division gives
    assert y.min() < -2 < 2 < y.max()


@given(x=tensors((9, 9), spread=0.5), y=tensors((40,), "int64", spread=3))
@few
def test_the_default_domain_widens_for_the_spread(x, y):
    assert gap(x) >= 0.5
    assert gap(y) >= 3


@given(data=st.data(), dtype=st.sampled_from(WHOLE), spread=st.sampled_from([1, 2]))
@few
def test_whole_numbers(data, dtype, spread):
    x = data.draw(arrays((5,), dtype, domain=(0, 20), spread=spread))
    assert gap(x) >= spread
    assert np.all((x >= 0) & (x <= 20))
    away = data.draw(arrays((30,), "int64", domain=Domain(-2, 2, avoid=(0.0,))))
    assert set(away.tolist()) <= {-2, -1, 1, 2}


def test_every_number_of_a_small_domain_is_drawn():
    drawn = numbers(np.random.default_rng(0), (200,), np.int64, Domain(-2, 3))
    assert set(drawn.tolist()) == {-2, -1, 0, 1, 2, 3}
    halves = numbers(np.random.default_rng(0), (400,), domain=REAL.away_from(0.0))
    assert 150 < np.sum(halves > 0) < 250
    assert np.ptp(halves) > 5.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (30,), "domain": UNIT, "spread": 0.1}, r"30 numbers 0.1 apart do not fit .*room for 18"),
        (
            {"shape": (5,), "dtype": "int64", "domain": (0, 3), "spread": 1},
            r"5 numbers 1 apart do not fit .*room for 4",
        ),
        ({"shape": (5,), "dtype": "int64", "domain": (0.2, 0.8)}, "no whole number"),
    ],
)
def test_numbers_that_do_not_fit_say_so(options, message):
    with pytest.raises(ShapeError, match=message):
        find(arrays(**options), lambda x: True)


@pytest.mark.parametrize(
    "options",
    [
        {"spread": 0.0}, {"domain": (3, 1)}, {"domain": "positive"}, {"shape": -1}, {"shape": "ab"}, {"dtype": "complex128"},
        {"special": ["zeros"]}, {"special": "zero"}, {"domain": Domain(-0.05, 0.05, avoid=(0.0,))},
    ],
)  # fmt: skip
def test_wrong_options_are_refused_when_the_strategy_is_made(options):
    with pytest.raises(ShapeError):
        tensors(**options)


def test_a_drawn_example_is_the_same_when_it_is_drawn_again():
    drawn: list[list] = []

    @settings(max_examples=20, derandomize=True, database=None)
    @given(tensors(), arrays(special=True))
    def draw(x, y):
        drawn[-1].append((x.array.copy(), y))

    for _ in range(2):
        drawn.append([])
        draw()
    one, two = drawn
    for first, second in zip(one, two, strict=True):
        for mine, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(mine, other)


@given(x=tensors((4,)), y=tensors((4,)), z=arrays((4,)), g=generators())
def test_several_tensors_of_an_example_are_never_equal(x, y, z, g):
    """Not even where all their seeds are 0: equal inputs stand on the kink of every comparison."""
    values = [x.array, y.array, z, numbers(g, (4,))]
    for position, one in enumerate(values):
        for other in values[:position]:
            assert not np.any(one == other)


def test_a_tensor_shrinks_to_the_smallest_shape():
    assert smallest(tensors(), lambda x: x.ndim >= 2).shape == (1, 1)
    assert smallest(tensors(shapes(max_side=30)), lambda x: x.ndim > 0 and x.shape[0] > 10).shape == (11,)
    assert smallest(tensors(), lambda x: bool((x > 0.5).any())).numel() == 1
    assert smallest(tensors(dtype=["float64", "float32"]), lambda x: True).array.dtype == np.float64


@settings(max_examples=100, database=None, suppress_health_check=[], deadline=200)
@given(x=tensors((64, 100)), y=tensors((64, 100), "float32", domain=POSITIVE, special=True))
def test_mid_sized_tensors_trip_no_health_check(x, y):
    assert x.shape == y.shape


# ---------------------------------------------------------------- special values


def is_special(kind, x):
    limits = np.finfo(x.dtype)
    size = np.abs(x)
    with np.errstate(invalid="ignore"):
        return {
            "zero": np.any(x == 0),
            "one": np.any(size == 1),
            "tie": gap(x) == 0,
            "tiny": np.any((size >= limits.tiny) & (size <= math.sqrt(limits.tiny) * 1.01)),
            "subnormal": np.any((size > 0) & (size < limits.tiny)),
            "huge": np.any(np.isfinite(x) & (size >= math.sqrt(limits.max) * 0.99)),
            "infinite": np.any(np.isinf(x)),
            "nan": np.any(np.isnan(x)),
        }[kind]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [*SPECIAL, "infinite", "nan"])
def test_special_values_occur_and_only_where_asked_for(kind, dtype):
    found = smallest(arrays((6,), dtype, special=[kind]), lambda x: is_special(kind, x), 50)
    assert found.shape == (6,)
    if kind in SPECIAL:
        assert is_special(kind, smallest(arrays((6,), dtype, special=True), lambda x: is_special(kind, x)))
    others = [other for other in SPECIAL if other != kind]
    with pytest.raises(NoSuchExample):
        smallest(arrays((6,), dtype, special=others, domain=(0.5, 0.9)), lambda x: is_special(kind, x), 50)


@given(x=arrays((3, 4), special=True, domain=POSITIVE), y=arrays((3, 4), "int32", special=True))
def test_special_values_keep_the_sign_of_the_domain(x, y):
    assert not np.any(np.signbit(x))
    assert np.all(np.isfinite(x))
    assert y.dtype == np.int32


def test_an_example_that_fails_without_special_values_shrinks_to_one_without():
    found = smallest(arrays(special=True), lambda x: x.size >= 4)
    assert np.all(np.abs(found) <= 3)
    assert gap(found) >= 0.05


# ---------------------------------------------------------------- shapes


@given(
    found=st.integers(1, 4).flatmap(lambda count: st.tuples(st.just(count), broadcastable_shapes(count, max_side=5)))
)
def test_broadcastable_shapes_broadcast(found):
    count, several = found
    assert len(several) == count
    full = np.broadcast_shapes(*several)
    assert len(full) <= 3
    assert all(1 <= side <= 5 for side in full)


def test_broadcastable_shapes_differ_in_every_way():
    assert smallest(broadcastable_shapes(), lambda pair: len(pair[0]) < len(pair[1]))
    assert smallest(broadcastable_shapes(), lambda pair: len(pair[0]) > len(pair[1]))
    assert smallest(broadcastable_shapes(), lambda pair: pair[0][-1:] == (1,) and pair[1][-1:] > (1,))


def symmetric(side):
    return np.eye(side[-1]) + np.zeros(side)


@pytest.mark.parametrize(
    ("signature", "function", "make"),
    [
        (np.matmul.signature, np.matmul, np.ones),
        ("(m,n),(n,p)->(m,p)", np.matmul, np.ones),
        ("(m, n), (n) -> (m)", lambda a, b: np.einsum("...mn,...n->...m", a, b), np.ones),
        ("(n),(n)->()", np.vecdot, np.ones),
        ("(3),(3)->(3)", np.cross, np.ones),
        ("(n,n)->()", np.linalg.det, symmetric),
        (
            "(n,n),(n,k)->(n,k)",
            np.linalg.solve,
            lambda side: symmetric(side) if side[-1] == side[-2] else np.ones(side),
        ),
        ("(),()->()", np.add, np.ones),
    ],
)
@given(data=st.data())
@few
def test_shapes_by_signature_fit_the_function(signature, function, make, data):
    inputs, output = data.draw(gufunc_shapes(signature))
    if function is np.linalg.solve:
        make = [symmetric, np.ones]
        assert np.shape(function(*(one(side) for one, side in zip(make, inputs, strict=True)))) == output
    else:
        assert np.shape(function(*map(make, inputs))) == output


@given(found=gufunc_shapes("(m,n),(n)->(m)", max_dims=0, min_side=2, max_side=3))
@few
def test_shapes_by_signature_without_further_dimensions(found):
    ((m, n), (k,)), out = found
    assert (k, out) == (n, (m,))
    assert {m, n} <= {2, 3}


def test_optional_dimensions_are_left_out_and_kept():
    seen = set()

    @settings(max_examples=300, database=None)
    @given(gufunc_shapes(np.matmul.signature))
    def collect(found):
        seen.add(tuple(len(one) > 1 for one in found[0]))

    collect()
    assert len(seen) >= 3  # of the four ways to take vectors for matrices


# ---------------------------------------------------------------- indices, axes, permutations


@given(data=st.data(), shape=shapes(max_dims=4))
@settings(max_examples=300)
def test_indices_are_valid_and_tensors_take_them(data, shape):
    index = data.draw(indices(shape))
    array = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    expected = array[index]
    assert np.size(expected) > 0
    got = af.tensor(array)[index]
    np.testing.assert_array_equal(got.numpy(), expected)


def kinds_in(index):
    items = index if isinstance(index, tuple) else (index,)
    arrays_in = [one.dtype.kind for one in items if isinstance(one, np.ndarray)]
    return {*(type(one) for one in items), *arrays_in}


@pytest.mark.parametrize("kind", [int, slice, type(None), type(Ellipsis), "i", "b"])
def test_every_kind_of_index_occurs(kind):
    assert smallest(indices((2, 3)), lambda index: kind in kinds_in(index)) is not ...


def test_indices_mix_masks_and_arrays():
    assert smallest(indices((2, 3, 4)), lambda index: {"i", "b"} <= kinds_in(index), 2000)
    assert smallest(indices(4, negative_steps=True), runs_backwards, 1000)
    assert smallest(indices((2, 3), empty=True), lambda index: np.ones((2, 3))[index].size == 0)


@given(
    neither=indices((2, 3), arrays=False, masks=False, newaxis=False),
    masks=indices((2, 3), arrays=False),
    arrays=indices((2, 3), masks=False),
)
def test_what_is_not_wanted_does_not_occur_in_indices(neither, masks, arrays):
    assert not {"i", "b", type(None)} & kinds_in(neither)
    assert "i" not in kinds_in(masks)
    assert "b" not in kinds_in(arrays)
    assert not any(map(runs_backwards, (neither, masks, arrays)))


def runs_backwards(index):
    items = index if isinstance(index, tuple) else (index,)
    return any(isinstance(one, slice) and (one.step or 1) < 0 for one in items)


@given(index=indices((0, 3), empty=True))
@few
def test_indices_of_empty_arrays_are_valid(index):
    assert np.ones((0, 3))[index].size == 0


@given(data=st.data(), shape=shapes(max_dims=4))
def test_reduction_axes_reduce(data, shape):
    axis = data.draw(reduction_axes(shape))
    x = data.draw(tensors(shape))
    expected = np.sum(x.array, axis=axis)
    np.testing.assert_allclose(af.sum(x, dim=axis).numpy(), expected, rtol=1e-12, atol=1e-12)
    count = len(shape) if axis is None else len(axis) if isinstance(axis, tuple) else 1
    assert expected.ndim == len(shape) - count
    assert axis != ()


def test_reduction_axes_of_every_kind_occur():
    for kind in (type(None), int, tuple):
        assert isinstance(smallest(reduction_axes(3), lambda axis, kind=kind: type(axis) is kind), kind)
    assert smallest(reduction_axes(3), lambda axis: isinstance(axis, int) and axis < 0) < 0
    plain = reduction_axes(3, none=False, tuples=False, negative=False)
    with pytest.raises(NoSuchExample):
        smallest(plain, lambda axis: axis not in (0, 1, 2))
    assert smallest(reduction_axes(()), lambda axis: True) is None
    with pytest.raises(ShapeError, match="no axis but None"):
        reduction_axes(0, none=False)


@given(data=st.data(), shape=shapes(max_dims=4), negative=st.booleans())
def test_permutations_permute(data, shape, negative):
    axes = data.draw(permutations(shape, negative=negative))
    x = data.draw(tensors(shape))
    expected = np.transpose(x.array, axes)
    np.testing.assert_array_equal(x.permute(*axes).numpy() if axes else x.numpy(), expected)
    assert sorted(axis % len(shape) for axis in axes) == list(range(len(shape)))
    assert negative or all(axis >= 0 for axis in axes)


def test_all_permutations_occur():
    for wanted in [(0, 1, 2), (2, 1, 0), (1, 2, 0)]:
        assert smallest(permutations(3, negative=False), lambda axes, wanted=wanted: axes == wanted) == wanted


@given(call=op_calls("hypot"), same=op_calls(OPS["amax"]))
@few
def test_calls_of_ops_are_drawn_from_their_domain(call, same):
    assert all(np.all(np.abs(one) >= 0.3) for one in call.inputs)
    assert gap(same.inputs[0]) >= 0.15
    with pytest.raises(ShapeError, match="hypotenuse"):
        op_calls("hypotenuse")


# ---------------------------------------------------------------- expressions


@given(f=expressions())
@settings(max_examples=60)
def test_expressions_are_the_same_on_arrays_and_tensors_and_have_right_gradients(f):
    value = f(*f.inputs)
    tracked = [af.tensor(one, requires_grad=True) for one in f.inputs]
    result = f(*tracked)
    assert result.requires_grad
    np.testing.assert_allclose(result.detach().numpy(), value, rtol=1e-12, atol=1e-12)
    report = gradcheck(f, f.inputs)
    assert report.verdict == "PASS", f"{report}\n{f}"


@given(f=expressions(max_ops=4, max_side=2))
@settings(max_examples=15)
def test_expressions_have_right_gradients_of_gradients(f):
    assert gradcheck(f, f.inputs, order=2, full=200).verdict == "PASS"


@given(f=expressions())
@settings(max_examples=60)
def test_values_stay_in_the_domain_of_every_op_and_moderate(f):
    values = f.trace(*f.inputs)
    for value in values:
        assert value.dtype == np.float64
        assert np.all(np.isfinite(value))
        assert np.max(np.abs(value)) <= 100
        assert 0 < value.size <= 64
    for step in f.steps:
        arguments = flatten(step.arguments(values))
        for position, domain in step.domains:
            if domain == REAL:
                continue
            taken = arguments[position]
            assert np.all((taken >= domain.low) & (taken <= domain.high)), f"{step.op.name}\n{f}"
            for point in domain.avoid:
                assert np.all(np.abs(taken - point) >= domain.margin / 2), f"{step.op.name}\n{f}"


@given(f=expressions(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_expressions_are_smooth_where_they_are_drawn(f, seed):
    """Straight to within a bend: what a kink or a pole between here and a small step would not be."""
    generator = np.random.default_rng(seed)
    directions = [generator.uniform(-1, 1, one.shape) for one in f.inputs]
    here, ahead, behind = (f(*(x + t * d for x, d in zip(f.inputs, directions, strict=True))) for t in (0, 1e-4, -1e-4))
    assert np.max(np.abs(ahead - behind)) < 1
    assert np.max(np.abs(ahead + behind - 2 * here)) < 2e-5


@given(f=expressions())
@settings(max_examples=60)
def test_the_text_of_an_expression_is_the_program(f):
    text = str(f)
    assert text == repr(f)
    assert text.startswith("def expression(")
    for name in set(f.ops):
        text = re.sub(rf"(?<=[ ]){re.escape(name)}\(", f"OPS[{name!r}](", text)
    space = {"OPS": OPS, "array": np.array, "inf": math.inf, "dtype": np.dtype, "np": np}
    exec(text, space)
    np.testing.assert_allclose(space["expression"](*f.inputs), f(*f.inputs), rtol=1e-4, atol=1e-4)


def test_expressions_vary():
    seen = set()
    shared = []

    @settings(max_examples=300, database=None)
    @given(expressions())
    def collect(f):
        seen.update(f.ops)
        uses = [one.number for step in f.steps for one in flatten(step.inputs) if isinstance(one, Use)]
        shared.append(len(uses) > len(set(uses)))

    collect()
    assert len(seen) > 80
    assert sum(shared) > 30  # values that are used several times
    assert {"argmax", "bernoulli", "write", "equal"} & {op.name for op in differentiable_ops()} == set()


def test_expressions_shrink_to_few_ops_and_small_shapes():
    found = smallest(expressions(), lambda f: "exp" in f.ops, 3000)
    assert len(found.steps) <= 6  # an op before it at most, and what brings its value into the domain
    assert all(one.size <= 1 for one in found.inputs)


def wrong_copy(name, vjp):
    right = OPS[name]
    return CallableOp(
        f"wrong_{name}", "primitive", right.forward, right.domain, function=right.function, inputs=right.inputs, vjps=[vjp],
        promotion=right.promotion, broadcasts=right.broadcasts,
    )  # fmt: skip


def test_planted_an_op_with_a_wrong_rule_is_found_in_expressions():
    wrong = wrong_copy("sin", lambda g, x: g * np.cos(x) * 1.001)
    strategy = expressions(ops=[wrong, "tanh", "multiply", "sum", OPS["matmul"]])
    found = smallest(strategy, lambda f: gradcheck(f, f.inputs).verdict == "FAIL")
    assert found.ops == ("wrong_sin",)
    assert found.inputs[0].size == 1
    assert gradcheck(found, found.inputs).culprit.op == "wrong_sin"


def test_expressions_of_what_has_no_derivative_are_refused():
    for ops in (["argmax"], ["write"], [], ["no such op"]):
        with pytest.raises(ShapeError):
            expressions(ops=ops)
    f = smallest(expressions(), lambda f: len(f.inputs) == 1)
    assert isinstance(f, Expression)
    with pytest.raises(ShapeError, match="takes 1 inputs, got 2"):
        f(1.0, 2.0)


# ---------------------------------------------------------------- networks


@given(net=networks())
@settings(max_examples=30)
def test_networks_have_right_gradients(net):
    report = gradcheck(net.module, net.inputs, net.loss)
    assert report.verdict == "PASS", f"{report}\n{net}"
    assert {entry.input for entry in report.entries} == {name for name, _ in net.module.named_parameters()}


@given(net=networks(dropout=True))
@settings(max_examples=30)
def test_networks_with_dropout_have_right_gradients_when_frozen(net):
    report = gradcheck(net.module, net.inputs, net.loss, frozen=True)
    assert report.verdict == "PASS", f"{report}\n{net}"


def test_networks_have_all_kinds_of_layers_and_losses():
    layers: dict[bool, set] = {}

    @settings(max_examples=150, database=None)
    @given(plain=networks(), dropping=networks(dropout=True))
    def collect(plain, dropping):
        layers.setdefault(False, set()).update(map(type, plain.module.modules()))
        layers.setdefault(True, set()).update(map(type, dropping.module.modules()))

    collect()
    assert nn.Dropout in layers[True] - layers[False]
    assert {nn.Linear, nn.Tanh, nn.ReLU} <= layers[False]
    assert smallest(networks(), lambda net: any(isinstance(one, Residual) for one in net.module), examples=3000)
    assert len(layers[False]) > 12
    biases = [len([name for name, _ in smallest(networks(max_layers=0), condition).module.named_parameters()])
              for condition in (lambda net: net.module[0].bias is None, lambda net: net.module[0].bias is not None)]  # fmt: skip
    assert biases == [1, 2]
    losses = {type(smallest(networks(), lambda net, kind=kind: isinstance(net.loss.function, kind)).loss.function)
              for kind in (nn.MSELoss, nn.CrossEntropyLoss, nn.BCEWithLogitsLoss, nn.HuberLoss)}  # fmt: skip
    assert len(losses) == 4


def test_networks_shrink_to_one_layer_and_one_number():
    net = smallest(networks(), lambda net: True)
    assert len(list(net.module.parameters())) == 1
    assert net.inputs[0].shape == (1, 1)
    assert net.inputs[0].array.dtype == np.float64


def test_networks_leave_the_random_numbers_alone():
    af.manual_seed(3)
    before = af.get_rng_state()
    smallest(networks(dropout=True), lambda net: True)
    assert af.equal(before, af.get_rng_state())


# ---------------------------------------------------------------- given_gradients


@given_gradients(x=tensors(), y=tensors((), domain=POSITIVE), order=2, max_examples=20)
def test_given_by_name(x, y):
    return (x * x / y).sum()


@given_gradients(st.just(2), tensors(), max_examples=10)
def test_given_by_position(power, x):
    assert isinstance(power, int)
    return x**power


@given_gradients("(m,n),(n,p)->(m,p)", max_examples=10)
def test_given_a_signature(a, b):
    return a @ b


@given_gradients(x=(3, 4), w=(2, 4), b=2, max_examples=5)
def test_given_shapes(x, w, b):
    assert (x.shape, w.shape, b.shape) == ((3, 4), (2, 4), (2,))
    return nn.functional.linear(x, w, b)


@given_gradients(pair=shapes(1, 3).flatmap(lambda shape: st.tuples(tensors(shape), indices(shape))), max_examples=30)
def test_given_a_structure(pair):
    x, index = pair
    return x[index] * 2


@given_gradients(parts=st.fixed_dictionaries({"a": tensors((2,)), "b": st.lists(tensors((2,)), min_size=1, max_size=2)}),
                 max_examples=5)  # fmt: skip
def test_given_dicts_and_lists(parts):
    return {"sum": sum(parts["b"]) * parts["a"]}


@pytest.fixture(scope="module")
def factor():
    return 3.0


@pytest.mark.parametrize("shift", [0.0, 1.0])
@given_gradients(x=tensors(), max_examples=5)
def test_given_beside_fixtures_and_parameters(factor, shift, x):
    return x * factor + shift


class TestMethods:
    @given_gradients(tensors(), max_examples=5)
    def test_given_on_a_method(self, x):
        assert isinstance(self, TestMethods)
        return x.exp()


def test_planted_a_wrong_gradient_fails_and_names_the_input():
    shapes_seen = []

    @given_gradients(x=tensors(shapes(1, 3)), y=tensors(), settings=settings(database=None, print_blob=False))
    def wrong(x, y):
        shapes_seen.append(x.shape)
        return (x * x.detach()).sum() + (y * y).sum()

    with pytest.raises(AssertionError) as caught:
        wrong()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("FAIL: gradient")
    worst = next(line for line in lines if "analytic" in line)
    assert worst.strip().startswith("x[0]")
    assert worst.endswith("FAIL")
    assert shapes_seen[-1] == (1,)  # Hypothesis's last call is the smallest example


def test_planted_a_gradient_that_is_cut_at_second_order_fails_only_there():
    def cut(x):
        return Cut.apply(x)

    class Cut(af.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * (x * x).detach()

    quiet = settings(database=None, max_examples=20)
    given_gradients(x=tensors(), settings=quiet)(cut)()
    with pytest.raises(AssertionError, match="gradient of the gradient"):
        given_gradients(x=tensors(), order=2, settings=quiet)(cut)()


def test_random_numbers_are_frozen_within_an_example_and_differ_between_examples():
    masks = {}

    @given_gradients(x=tensors((8,)), settings=settings(database=None, max_examples=20))
    def drop(x):
        mask = nn.functional.dropout(af.ones(8, dtype=af.float64), 0.5)
        masks.setdefault(round(float(x.array.mean()), 1), set()).add(mask.numpy().tobytes())
        return x * mask

    before = af.get_rng_state()
    drop()
    assert af.equal(before, af.get_rng_state())
    assert len(set().union(*masks.values())) > 3

    seeds: list[list] = []

    @given_gradients(x=tensors((8,)), settings=settings(database=None, max_examples=10, derandomize=True))
    def again(x):
        seeds[-1].append(af.rand(4).tolist())
        return x * 2

    for _ in range(2):
        seeds.append([])
        again()
    assert seeds[0] == seeds[1]


def test_without_freezing_randomness_is_found():
    @given_gradients(x=tensors((20,)), frozen=False, settings=settings(database=None, max_examples=5))
    def drop(x):
        return nn.functional.dropout(x, 0.5)

    with pytest.raises(AssertionError, match="NONDETERMINISTIC"):
        drop()


def test_kinks_are_drawn_anew_and_nothing_but_kinks_is_said():
    seen = []

    @given_gradients(x=tensors((3,), special=["zero"]), settings=settings(database=None, max_examples=30))
    def rectify(x):
        seen.append(bool((x == 0).any()))
        return af.relu(x)

    rectify()
    assert any(seen)

    @given_gradients(x=st.just(af.zeros(2)), settings=settings(database=None))
    def always(x):
        return af.relu(x)

    with pytest.raises((Unsatisfiable, FailedHealthCheck)):
        always()


def test_settings_are_taken_and_the_deadline_is_off():
    calls = []

    @given_gradients(x=(), max_examples=7)
    @settings(derandomize=True)
    def below(x):
        return x * 2

    @given_gradients(
        x=(), max_examples=7, settings=settings(deadline=1, derandomize=True, suppress_health_check=list(HealthCheck))
    )
    def beside(x):
        calls.append(0)
        return x * 2

    for test in (below, beside):
        used = test._hypothesis_internal_use_settings
        assert (used.max_examples, used.deadline, used.derandomize) == (7, None, True)
        test()
    assert calls


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((), {}, "given none"),
        ((), {"z": tensors()}, "'z', which is no further parameter"),
        ((tensors(), tensors(), tensors()), {}, "2 parameters .* 3 inputs"),
        ((tensors(),), {"y": tensors()}, "'y', which is no further parameter"),
    ],
)
def test_inputs_that_are_no_parameters_are_refused(arguments, named, message):
    with pytest.raises(GraphError, match=message):
        given_gradients(*arguments, **named)(lambda x, y: x * y)


def test_an_order_other_than_1_or_2_is_refused():
    with pytest.raises(ValueError, match="order is 1 or 2, not 3"):
        given_gradients(x=(), order=3)


def test_errors_of_the_function_itself_come_through():
    @given_gradients(x=(2, 3), settings=settings(database=None, max_examples=2))
    def mistaken(x):
        return x @ x

    with pytest.raises(AutogradError, match="matmul"):
        mistaken()
