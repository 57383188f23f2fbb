"""`detect_anomaly`: the first op that made a NaN or an infinity, and its line."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff.autograd import detect_anomaly
from autograd_ff.errors import AnomalyError, InplaceError

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_forward_names_op_index_inputs_and_line():
    x = af.tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        af.exp(af.log(x)).sum()
    assert "log made -inf at index (1,)" in str(caught.value)
    assert "(0.0)" in str(caught.value)
    assert "af.exp(af.log(x)).sum()" in str(caught.value)


def test_backward_names_the_forward_line():
    x = af.tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly():
        y = af.sqrt(x)
        with pytest.raises(AnomalyError) as caught:
            y.sum().backward()
    assert "derivative of sqrt made inf at index (1,)" in str(caught.value)
    assert "y = af.sqrt(x)" in str(caught.value)


def test_only_the_first_op_is_blamed():
    bad = af.tensor([np.nan], requires_grad=True)
    with detect_anomaly():
        y = (bad * 2 + 1).sum()  # handed in as NaN: no op made it
        y.backward()
    assert np.isnan(bad.grad.item()) == np.isnan(2.0)


def test_a_masked_branch_is_explained():
    x = af.tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly():
        y = af.where(x > 0, af.sqrt(x), x)
        with pytest.raises(AnomalyError, match=r"where\(mask, f, g, x\)"):
            (y * y).sum().backward()


def test_infinity_can_be_allowed():
    x = af.tensor([0.0], requires_grad=True)
    with detect_anomaly(allow_infinity=True):
        y = af.log(x)
        with pytest.raises(AnomalyError, match="nan"):
            y - y


def test_saved_arrays_are_protected_until_backward():
    x = af.tensor([1.0, 2.0], requires_grad=True)
    with detect_anomaly():
        y = x * x
        with pytest.raises(ValueError, match="read-only"):
            x.detach().numpy()[0] = 5
        with pytest.raises(InplaceError, match="read-only"), af.no_grad():
            x.mul_(2)
        y.sum().backward()
        x.detach().numpy()[0] = 5  # backward has passed: free again
    assert x.tolist() == [5.0, 2.0]


def test_protection_ends_with_the_block():
    x = af.tensor([1.0], requires_grad=True)
    with detect_anomaly():
        y = x * x
    x.detach().numpy()[0] = 3
    assert y.item() == 1
    assert x.item() == 3


def test_training_under_detection_changes_nothing():
    def train(steps):
        w = af.tensor([[0.5, -0.5]], requires_grad=True)
        for _ in range(steps):
            loss = ((w @ w.T) - 2).square().sum()
            w.grad = None
            loss.backward()
            with af.no_grad():
                w -= 0.01 * w.grad
        return w.tolist()

    with detect_anomaly():
        watched = train(5)
    assert watched == train(5)
