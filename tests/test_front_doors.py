"""NumPy's protocols as a front door: np.exp(t), array @ t, np.sum(t) are recorded and differentiated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import engine
from autograd_ff.engine import Site, TensorCore
from autograd_ff.errors import AutogradError, NoRuleError
from autograd_ff.testing.draws import NumPyDraw


def leaf(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


DATA = np.array([[0.3, 0.5, 0.9], [0.2, 0.7, 0.4]])
ROW = np.array([0.6, 0.1, 0.8])

# what people write with NumPy, as a function of one array
EXPRESSIONS = [
    lambda x: np.exp(x),
    lambda x: np.log1p(np.abs(x)),
    lambda x: x + ROW,
    lambda x: ROW - x,
    lambda x: ROW * x,
    lambda x: ROW / x,
    lambda x: ROW**x,
    lambda x: x @ ROW,
    lambda x: ROW @ x.T,
    lambda x: np.dot(x, ROW),
    lambda x: np.matmul(DATA.T, x),
    lambda x: np.where(DATA > 0.4, x, 0.0),
    lambda x: np.where(DATA > 0.4, x, ROW),
    lambda x: np.maximum(x, ROW),
    lambda x: np.sum(x, axis=0),
    lambda x: np.sum(x, 1, keepdims=True),
    lambda x: np.mean(x, axis=(0, 1)),
    lambda x: np.max(x, axis=-1),
    lambda x: np.prod(x, axis=1),
    lambda x: np.var(x, axis=0),
    lambda x: np.std(x),
    lambda x: np.cumsum(x, axis=1),
    lambda x: np.concatenate([x, DATA], axis=0),
    lambda x: np.concatenate([DATA, x, x], axis=1),
    lambda x: np.stack([x, DATA]),
    lambda x: np.vstack([x, ROW]),
    lambda x: np.reshape(x, (3, 2)),
    lambda x: np.transpose(x),
    lambda x: np.swapaxes(x, 0, 1),
    lambda x: np.moveaxis(x, 0, 1),
    lambda x: np.expand_dims(x, 1),
    lambda x: np.squeeze(np.expand_dims(x, 1)),
    lambda x: np.broadcast_to(x, (4, 2, 3)),
    lambda x: np.flip(x, 0),
    lambda x: np.roll(x, 1, axis=1),
    lambda x: np.einsum("ij,j->i", x, ROW),
    lambda x: np.outer(x[0], x[1]),
    lambda x: np.tril(x),
    lambda x: np.clip(x, 0.25, 0.75),
    lambda x: np.ravel(x),
    lambda x: np.linalg.norm(x),
    lambda x: np.float64(2.0) * x,
    lambda x: np.float32(2.0) - x,
    lambda x: np.int64(2) * x,
    lambda x: 2.0 * x - 1,
    lambda x: x[0] * x[:, [0, 1, 1]][1],
    lambda x: np.modf(x * 3.0)[0],
    lambda x: np.take_along_axis(x, np.argsort(DATA, axis=1), axis=1),
]


@pytest.mark.parametrize("number", range(len(EXPRESSIONS)))
def test_numpy_expressions_are_differentiated(number):
    """Value as NumPy's own, gradient as central differences say; or a refusal that says so."""
    function = EXPRESSIONS[number]
    x = leaf(DATA)
    try:
        result = function(x)
    except NoRuleError as error:
        pytest.skip(str(error).splitlines()[0])
    expected = function(DATA)
    assert isinstance(result, TensorCore)
    assert result.requires_grad
    np.testing.assert_allclose(result.array, expected, rtol=1e-12)
    upstream = np.random.default_rng(number).normal(size=np.shape(expected))
    result.backward(af.tensor(upstream))
    step, numeric = 1e-6, np.zeros_like(DATA)
    for index in np.ndindex(DATA.shape):
        high, low = DATA.copy(), DATA.copy()
        high[index] += step
        low[index] -= step
        numeric[index] = np.sum(upstream * (function(high) - function(low))) / (2 * step)
    np.testing.assert_allclose(x.grad.array, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "operation", ["__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__matmul__", "__mod__"]
)
def test_an_array_on_the_left_hands_over(operation):
    array, t = np.full((2, 2), 2.0), leaf(np.full((2, 2), 3.0))
    result = getattr(array, operation)(t)
    assert isinstance(result, TensorCore)
    assert result.requires_grad
    np.testing.assert_allclose(result.array, getattr(array, operation)(t.detach().numpy()))


@pytest.mark.parametrize("operation", ["__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"])
def test_comparisons_with_an_array_on_the_left(operation):
    result = getattr(np.array([1.0, 2.0]), operation)(leaf([2.0, 2.0]))
    assert isinstance(result, TensorCore)
    assert result.dtype == np.bool_
    assert not result.requires_grad


def test_the_same_node_through_every_door():
    x = leaf(DATA)
    doors = [np.tanh(x), af.tanh(x), x.tanh(), engine.OPS["tanh"](x)]
    assert {one.node.op.name for one in doors} == {"tanh"}
    for one in doors:
        assert np.array_equal(one.array, np.tanh(DATA))


def test_reductions_return_0d_arrays_and_never_numpy_scalars():
    x = leaf(DATA)
    for one in (np.sum(x), x.sum(), np.mean(x), x[0, 0], x[0, 0] * 2.0, np.max(x), x.array.sum() * x[0, 0], ROW @ x[0]):
        assert type(one.array) is np.ndarray
        assert one.shape == ()


def test_positional_and_named_arguments():
    x = leaf(DATA)
    assert np.sum(x, 0).tolist() == np.sum(x, axis=0).tolist() == np.sum(a=x, axis=0).tolist()
    assert np.reshape(x, (6,)).shape == np.reshape(x, shape=(6,)).shape == (6,)
    # what NumPy takes for "not given"
    assert np.sum(x, axis=None, out=None).item() == pytest.approx(DATA.sum())
    assert np.add(x, 1.0, out=None).requires_grad


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.exp(x, where=DATA > 0.5),
        lambda x: np.exp(x, np.zeros((2, 3))),
        lambda x: np.add(x, x, dtype=np.float32),
        lambda x: np.add(x, x, order="F"),
        lambda x: np.add(x, x, subok=False),
        lambda x: np.sum(x, initial=1.0),
        lambda x: np.mean(x, where=DATA > 0.5),
        lambda x: np.max(x, initial=0.5),
        lambda x: np.concatenate([x, x], casting="unsafe", dtype="f4"),
        lambda x: np.reshape(x, (6,), order="F"),
        lambda x: np.copyto(np.zeros((2, 3)), x),
        lambda x: np.put(np.zeros(6), [0], x),
        lambda x: np.save("nowhere", x),
    ],
)
def test_arguments_without_a_rule_are_refused_with_the_line(call):
    x = leaf(DATA)
    with pytest.raises(AutogradError) as caught:
        call(x)
    assert f"{Site(__file__, call.__code__.co_firstlineno, '')}" in str(caught.value)


def test_reduce_of_a_ufunc_is_not_the_ufunc():
    x = leaf(DATA)
    for ufunc in (np.add, np.multiply, np.maximum):
        try:
            result = ufunc.reduce(x)
        except NoRuleError:
            continue
        np.testing.assert_allclose(result.array, ufunc.reduce(DATA))


def test_in_place_numpy_operators_on_arrays_refuse_a_tensor():
    array = np.ones((2, 3))
    with pytest.raises(AutogradError) as caught:
        array += leaf(DATA)
    assert "array += leaf(DATA)" in str(caught.value)
    assert array.tolist() == np.ones((2, 3)).tolist()


def test_matrices_and_other_subclasses_become_plain_arrays():
    class Loud(np.ndarray):
        pass

    x = leaf(DATA)
    loud = DATA.view(Loud)
    for result in (x * loud, loud * x, np.add(loud, x)):
        assert type(result.array) is np.ndarray


def test_a_tensor_is_not_swallowed_by_other_types():
    class Other:
        def __radd__(self, other):
            return "other"

        def __rmul__(self, other):
            return "other"

    assert leaf([1.0]) + Other() == "other"
    assert leaf([1.0]) * Other() == "other"
    with pytest.raises(TypeError):
        leaf([1.0]) + "text"
    with pytest.raises(TypeError):
        leaf([1.0]) + None
    assert (leaf([1.0]) == None) is False  # noqa: E711
    assert (leaf([1.0]) == "text") is False


UNARY = sorted(
    name
    for name, op in engine.OPS.items()
    if isinstance(op.function, np.ufunc) and op.inputs == ("x",) and op.outputs == 1 and op.differentiable
)


@given(name=st.sampled_from(UNARY), seed=st.integers(0, 1000), shape=st.sampled_from([(), (3,), (2, 3), (0,)]))
def test_every_unary_ufunc_computes_what_numpy_computes_and_leaves_the_input_alone(name, seed, shape):
    op = engine.OPS[name]
    data = np.random.default_rng(seed).uniform(
        1.1 if name == "arccosh" else 0.1, 0.9 if name != "arccosh" else 3, shape
    )
    frozen = data.copy()
    frozen.flags.writeable = False
    x = engine.wrap(frozen)
    x.requires_grad = True
    y = op.function(x)
    np.testing.assert_allclose(y.array, op.function(data), rtol=1e-12)
    y.backward(engine.wrap(np.ones(shape)))
    assert x.grad.shape == shape


def test_results_never_share_memory_with_inputs_unless_they_are_views():
    """Else a write to one would change the other unseen."""
    checked = 0
    for name, op in sorted(engine.OPS.items()):
        if op.domain is None or op.view or op.mutates or op.kind == "composite" or name == "alias":
            continue
        call = op.domain(NumPyDraw(0))
        outputs = engine.apply(op, call.inputs, call.params)
        for out in outputs if isinstance(outputs, tuple) else (outputs,):
            for one in call.inputs:
                if out is not None and isinstance(one, np.ndarray):
                    assert not np.may_share_memory(out.array, one), f"{name} returns memory of its input"
        checked += 1
    assert checked > 60
