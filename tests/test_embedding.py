"""`nn.Embedding` and `functional.embedding`: their gradients, and PyTorch beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import DimensionError, DtypeError, ShapeError
from autograd_ff.nn import functional as F
from autograd_ff.testing import assert_gradients


@settings(max_examples=25)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 3), st.sampled_from([None, 0, -1]))
def test_the_gradient_is_the_sum_over_the_places_that_were_looked_up(index, side, padding):
    weight = af.randn(5, side, dtype="float64", requires_grad=True)
    upward = np.random.default_rng(0).normal(size=(len(index), side))
    F.embedding(af.tensor(index), weight, padding).backward(af.tensor(upward))
    expected = np.zeros((5, side))
    for place, row in zip(index, upward, strict=True):
        if padding is None or place != padding % 5:
            expected[place] += row
    np.testing.assert_allclose(weight.grad.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("padding", [None, 1])
def test_gradients_of_both_orders(padding):
    index = af.tensor([[0, 2], [2, 3]])  # not the padding, whose number the finite differences would move

    def loss(weight):
        return (F.embedding(index, weight, padding) ** 3).sum()

    weight = af.randn(4, 3, dtype="float64", requires_grad=True)
    assert_gradients(loss, (weight,), order=2)


def test_padding_starts_at_zero_and_stays():
    layer = nn.Embedding(4, 3, padding_idx=-1)
    assert layer.padding_idx == 3
    optimizer = af.optim.SGD(layer.parameters(), lr=0.1)
    layer(af.tensor([0, 3, 3])).sum().backward()
    before = layer.weight.detach().clone()
    optimizer.step()
    assert layer.weight[3].tolist() == [0.0, 0.0, 0.0]
    assert not af.equal(layer.weight[0], before[0])


def test_large_rows_are_scaled_down_where_they_are_looked_up():
    weight = af.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]])
    out = F.embedding(af.tensor([0, 1, 0]), weight, max_norm=1.0)
    np.testing.assert_allclose(out.numpy(), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(weight.numpy(), [[0.6, 0.8], [0.3, 0.4], [30.0, 40.0]], rtol=1e-6)


def test_given_vectors():
    vectors = af.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(vectors)
    assert not layer.weight.requires_grad
    assert layer(af.tensor(1)).tolist() == [3.0, 4.0]
    assert nn.Embedding.from_pretrained(vectors, freeze=False).weight.requires_grad
    assert repr(nn.Embedding(10, 3, padding_idx=2)) == "Embedding(10, 3, padding_idx=2)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: F.embedding(af.tensor([5]), af.zeros(5, 2)), DimensionError, "5 is out of range"),
        (lambda: F.embedding(af.tensor([-1]), af.zeros(5, 2)), DimensionError, "-1 is out of range"),
        (lambda: F.embedding(af.tensor([1.0]), af.zeros(5, 2)), DtypeError, "must be integers"),
        (lambda: F.embedding(af.tensor([1]), af.zeros(5)), ShapeError, "rows of a matrix"),
        (lambda: F.embedding(af.tensor([1]), af.zeros(5, 2), padding_idx=5), DimensionError, "padding_idx 5"),
        (lambda: nn.Embedding(5, 2, padding_idx=-6), DimensionError, "padding_idx -6"),
        (lambda: nn.Embedding(5, 2, _weight=af.zeros(2, 5)), ShapeError, r"\(2, 5\)"),
        (lambda: nn.Embedding.from_pretrained(af.zeros(5)), ShapeError, "matrix"),
    ],
)
def test_errors_say_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_training_by_a_recorded_step_is_the_same():
    losses = {}
    for recorded in (False, True):
        af.manual_seed(0)
        model = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(12, 2))
        optimizer = af.optim.Adam(model.parameters(), lr=0.05)

        def step(index, target, model=model, optimizer=optimizer):
            loss = F.cross_entropy(model(index), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = af.compile(step) if recorded else step
        rng = np.random.default_rng(1)
        losses[recorded] = [
            run(af.tensor(rng.integers(0, 20, (8, 3))), af.tensor(rng.integers(0, 2, 8))).item() for _ in range(8)
        ]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-5)


def test_against_torch():
    torch = pytest.importorskip("torch")
    index = np.random.default_rng(0).integers(0, 6, (3, 4))
    for options in ({}, {"padding_idx": 2}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}):
        theirs = torch.nn.Embedding(6, 3, **options)
        ours = nn.Embedding(6, 3, **options)
        ours.load_state_dict(theirs.state_dict())
        mine, its = ours(af.tensor(index)), theirs(torch.tensor(index))
        np.testing.assert_allclose(mine.detach().numpy(), its.detach().numpy(), rtol=1e-6)
        (mine**2).sum().backward()
        (its**2).sum().backward()
        np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-5, atol=1e-6)
