"""Users' own operations: `autograd.Function`."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.autograd import Function, grad, once_differentiable
from autograd_ff.errors import GraphError, InplaceError


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 3 * x * x


class Exp(Function):
    """Saves its own output."""

    @staticmethod
    def forward(ctx, x):
        y = af.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * y


class SumAndProduct(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x + y, x * y

    @staticmethod
    def backward(ctx, for_sum, for_product):
        x, y = ctx.saved_tensors
        return for_sum + for_product * y, for_sum + for_product * x


class Scale(Function):
    """An argument that is no Tensor, by setup_context."""

    @staticmethod
    def forward(x, factor):
        return x * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


numbers = st.floats(-2, 2).map(lambda one: round(one, 3))


@given(st.lists(numbers, min_size=1, max_size=4))
def test_first_and_second_derivative(values):
    x = af.tensor(values, dtype=af.float64, requires_grad=True)
    (first,) = grad(Cube.apply(x).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    np.testing.assert_allclose(first.detach().numpy(), 3 * np.square(values), atol=1e-12)
    np.testing.assert_allclose(second.numpy(), 6 * np.array(values), atol=1e-12)


def test_saved_output_differentiates_any_number_of_times():
    x = af.tensor([0.5, -1.0], dtype=af.float64, requires_grad=True)
    derivative = Exp.apply(x)
    for _ in range(3):
        (derivative,) = grad(derivative.sum(), x, create_graph=True)
        np.testing.assert_allclose(derivative.detach().numpy(), np.exp([0.5, -1.0]))


@given(numbers, numbers, st.booleans(), st.booleans())
def test_several_outputs_and_absent_gradients(a, b, use_sum, use_product):
    x, y = (af.tensor(one, dtype=af.float64, requires_grad=True) for one in (a, b))
    total, product = SumAndProduct.apply(x, y)
    loss = x * 0
    expected_x = expected_y = 0.0
    if use_sum:
        loss, expected_x, expected_y = loss + total, expected_x + 1, expected_y + 1
    if use_product:
        loss, expected_x, expected_y = loss + 2 * product, expected_x + 2 * b, expected_y + 2 * a
    dx, dy = grad(loss, (x, y), materialize_grads=True)
    assert dx.item() == pytest.approx(expected_x)
    assert dy.item() == pytest.approx(expected_y)


def test_gradients_are_none_for_absent_outputs_where_asked():
    seen = []

    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x + 0, x * 2

        @staticmethod
        def backward(ctx, first, second):
            seen.append((first is None, second is None))
            return second * 2

    x = af.tensor(1.0, requires_grad=True)
    _, doubled = Both.apply(x)
    doubled.backward()
    assert seen == [(True, False)]
    assert x.grad.item() == 2


def test_setup_context_and_needs_input_grad():
    seen = []

    class Product(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, gradient):
            seen.append(ctx.needs_input_grad)
            x, y = ctx.saved_tensors
            return gradient * y, gradient * x

    x = af.tensor([1.0, 2.0], requires_grad=True)
    Scale.apply(x, 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    Product.apply(x, af.tensor([4.0, 5.0])).sum().backward()
    assert seen == [(True, False)]


def test_mark_dirty_writes_in_place_and_records():
    class AddOne(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.array += 1
            return x

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 10

    leaf = af.tensor([1.0, 2.0], requires_grad=True)
    x = leaf * 1
    y = x * x  # saves x, which the write makes stale
    same = AddOne.apply(x)
    assert same is x
    assert x.tolist() == [2.0, 3.0]
    x.sum().backward()
    assert leaf.grad.tolist() == [10.0, 10.0]
    with pytest.raises(InplaceError, match="modified in place"):
        y.sum().backward()
    with pytest.raises(InplaceError, match="leaf"):
        AddOne.apply(leaf)


def test_mark_non_differentiable():
    class SortWithIndex(Function):
        @staticmethod
        def forward(ctx, x):
            index = af.argsort(x)
            ctx.mark_non_differentiable(index)
            ctx.index = index
            return x[index], index

        @staticmethod
        def backward(ctx, gradient, _):
            result = af.zeros_like(gradient)
            result[ctx.index] = gradient
            return result

    x = af.tensor([3.0, 1.0, 2.0], requires_grad=True)
    values, index = SortWithIndex.apply(x)
    assert not index.requires_grad
    (values * af.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [3.0, 1.0, 2.0]


def test_once_differentiable_refuses_a_second_time():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return af.tensor(2 * x.detach().numpy()) * gradient

    x = af.tensor(3.0, requires_grad=True)
    (first,) = grad(Square.apply(x), x, create_graph=True)
    assert first.item() == 6
    with pytest.raises(GraphError, match="once_differentiable"):
        grad(first, x)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda g: g[:1], r"Wrong.backward returned float32 \(1,\).*argument 0.*float32 \(2,\)"),
        (lambda g: (g, g), "returned 2 gradients for 1 arguments"),
        (lambda g: af.tensor([1, 2]), r"returned int64 \(2,\)"),
    ],
)
def test_wrong_gradients_are_named_with_the_line(returned, message):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return returned(gradient)

    x = af.tensor([1.0, 2.0], requires_grad=True)
    y = Wrong.apply(x)
    with pytest.raises(GraphError, match=message) as caught:
        y.sum().backward()
    assert "y = Wrong.apply(x)" in str(caught.value)


def test_no_cycle_keeps_the_graph():
    gc.collect()
    gc.disable()
    try:
        x = af.tensor([1.0], requires_grad=True)
        y = Exp.apply(x)
        node = y.node
        alive = weakref.ref(y)
        (first,) = grad(y.sum(), x, create_graph=True)
        array = weakref.ref(node.params["ctx"])
        del y, first, node
        assert alive() is None
        assert array() is None
    finally:
        gc.enable()


def test_a_second_backward_raises_and_an_untracked_call_records_nothing():
    x = af.tensor([2.0], requires_grad=True)
    y = Cube.apply(x).sum()
    y.backward()
    with pytest.raises(GraphError, match="second time"):
        y.backward()
    with af.no_grad():
        assert not Cube.apply(x).requires_grad
    assert not Cube.apply(af.tensor([1.0])).requires_grad
    with pytest.raises(TypeError, match="apply"):
        Cube()


def test_calling_the_class_names_apply():
    class Double(af.autograd.Function):
        pass

    with pytest.raises(TypeError, match=r"Double\.apply"):
        Double(af.ones(2))
