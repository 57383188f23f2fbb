"""Clipping gradients, and parameters as one vector."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.engine import Observer, observe
from autograd_ff.errors import AutogradError, DtypeError, InplaceError, ShapeError
from autograd_ff.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=4)
norms = st.sampled_from([2.0, 1.0, 3.0, 0.5, math.inf])


def parameters(shapes, seed, scale=1.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    made = [nn.Parameter(np.zeros(shape, dtype)) for shape in shapes]
    for one in made:
        one.grad = af.from_numpy(np.asarray(rng.standard_normal(one.shape) * scale, dtype))
    return made


@given(shapes, st.integers(0, 99), st.floats(0.01, 100), norms)
def test_the_norm_after_clipping_is_at_most_the_given_one(shapes, seed, max_norm, norm_type):
    made = parameters(shapes, seed)
    before = [one.grad.array.copy() for one in made]
    grads = [one.grad for one in made]
    norm = clip_grad_norm_(made, max_norm, norm_type)
    flat = np.concatenate([one.ravel() for one in before])
    assert norm.item() == pytest.approx(np.linalg.norm(flat, norm_type), rel=1e-9)
    factor = min(1, max_norm / (norm.item() + 1e-6))
    for one, gradient, old in zip(made, grads, before, strict=True):
        assert one.grad is gradient
        assert np.allclose(gradient.array, old * factor, rtol=1e-9)
    assert get_total_norm(grads, norm_type).item() <= max_norm * (1 + 1e-6)


@pytest.mark.torch
@given(shapes, st.integers(0, 99), st.floats(0.01, 10), norms, st.booleans())
def test_clipping_is_pytorchs(shapes, seed, limit, norm_type, single):
    torch = pytest.importorskip("torch")
    dtype = np.float32 if single else np.float64
    ours, again = parameters(shapes, seed, dtype=dtype), parameters(shapes, seed, dtype=dtype)
    theirs = [torch.nn.Parameter(torch.from_numpy(one.array.copy())) for one in ours]
    for one, other in zip(ours, theirs, strict=True):
        other.grad = torch.from_numpy(one.grad.array.copy())
    norm = clip_grad_norm_(ours, limit, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit, norm_type)
    assert norm.dtype == dtype
    assert norm.item() == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one.grad.array, other.grad.numpy(), rtol=1e-5)
    for one, other in zip(again, theirs, strict=True):
        other.grad = torch.from_numpy(one.grad.array.copy())
    clip_grad_value_(again, limit)
    torch.nn.utils.clip_grad_value_(theirs, limit)
    for one, other in zip(again, theirs, strict=True):
        assert np.array_equal(one.grad.array, other.grad.numpy())


def test_norms_beyond_the_squares_of_float32():
    for scale in (1e25, 1e-25):
        made = parameters([(3, 4)], 0, scale, np.float32)
        expected = np.linalg.norm(made[0].grad.array.astype(np.float64))
        assert get_total_norm([made[0].grad]).item() == pytest.approx(expected, rel=1e-5)


def test_parameters_without_a_gradient_and_single_tensors():
    one, other = nn.Parameter(af.zeros(2)), nn.Parameter(af.zeros(2))
    assert clip_grad_norm_([one, other], 1.0).item() == 0.0
    other.grad = af.tensor([3.0, 4.0])
    assert clip_grad_norm_(iter([one, other]), 1.0).item() == 5.0
    assert np.allclose(other.grad.array, [0.6, 0.8])
    assert clip_grad_norm_(other, 0.5).item() == pytest.approx(1.0)
    assert np.allclose(other.grad.array, [0.3, 0.4])
    clip_grad_value_(other, 0.35)
    assert np.allclose(other.grad.array, [0.3, 0.35])
    assert one.grad is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite(bad):
    made = nn.Parameter(af.zeros(2))
    made.grad = af.tensor([1.0, bad])
    with pytest.raises(AutogradError, match=r"1 of 1 hold a NaN.*\n.*test_clip_grad.py[\s\S]*detect_anomaly"):
        clip_grad_norm_([made], 1.0, error_if_nonfinite=True)
    assert made.grad.array[0] == 1.0
    norm = clip_grad_norm_([made], 1.0)
    assert not np.isfinite(norm.item())
    assert np.isnan(made.grad.array).any()  # PyTorch's result: infinity times 0


def test_clipping_is_a_write_that_observers_and_graphs_see():
    class Watch(Observer):
        def __init__(self) -> None:
            self.seen = []

        def op(self, op, inputs, params, outputs, node, scope):
            self.seen.append(op.name)

    made = nn.Parameter(af.zeros(2))
    made.grad = af.tensor([3.0, 4.0])
    factor = af.ones(2, requires_grad=True)
    product = (factor * made.grad).sum()
    with observe(Watch()) as watch:
        clip_grad_norm_([made], 1.0)
        clip_grad_value_([made], 1.0)
    assert watch.seen == ["gradient_norm", "scale_gradient", "clip_gradient"]
    with pytest.raises(InplaceError, match="modified in place"):
        product.backward()


def test_a_precomputed_norm_and_read_only_gradients():
    made = nn.Parameter(af.zeros(2))
    made.grad = af.tensor([3.0, 4.0])
    clip_grads_with_norm_([made], 1.0, af.tensor(10.0))
    assert np.allclose(made.grad.array, [0.3, 0.4])
    made.grad.array.flags.writeable = False
    with pytest.raises(InplaceError, match="read-only"):
        clip_grad_value_([made], 0.1)


def test_parameters_as_one_vector_and_back():
    net = nn.Linear(3, 2)
    memory = net.weight.array
    vector = parameters_to_vector(net.parameters())
    assert vector.tolist() == [*net.weight.array.ravel().tolist(), *net.bias.array.tolist()]
    vector.sum().backward()
    assert net.bias.grad.tolist() == [1.0, 1.0]
    vector_to_parameters(af.arange(8).float(), net.parameters())
    assert net.weight.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert net.bias.tolist() == [6.0, 7.0]
    assert net.weight.array is memory
    with pytest.raises(ShapeError, match="8 elements"):
        vector_to_parameters(af.zeros(9), net.parameters())


def test_a_module_in_place_of_its_parameters():
    with pytest.raises(DtypeError, match=r"Linear.*\n.*\n.*\.parameters\(\)"):
        clip_grad_norm_(nn.Linear(2, 1), 1.0)
