"""Gradients of indexing by rows, held to `np.add.at`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.engine import Scatter
from autograd_ff.engine.core_ops import ROW
from autograd_ff.nn import functional as F
from autograd_ff.testing import assert_gradients


@st.composite
def scatters(draw):
    count = draw(st.integers(1, 30))
    inner = draw(st.sampled_from([(ROW,), (ROW + 5,), (ROW - 1,), (4, ROW // 4), (2, 3), ()]))
    lead = draw(st.sampled_from([(0,), (1,), (7,), (40,), (3, 5), (2, 0), ()]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    few = draw(st.integers(1, count))  # the fewer places, the oftener each
    index = generator.integers(-few, few, lead).astype(draw(st.sampled_from(["int64", "int32", "int8"])))
    dtype = draw(st.sampled_from(["float32", "float64", "int64"]))
    gradient = (100 * generator.standard_normal((*lead, *inner))).astype(dtype)
    if draw(st.booleans()):
        gradient = np.array(gradient, order="F")
    return (count, *inner), index, gradient


@settings(deadline=None, max_examples=300)
@given(scatters())
def test_sums_into_zeros_are_those_of_add_at_to_the_bit(drawn):
    shape, index, gradient = drawn
    expected, found = np.zeros(shape, gradient.dtype), np.zeros(shape, gradient.dtype)
    np.add.at(expected, index, gradient)
    Scatter(index, gradient).add_into(found)
    assert found.tobytes() == expected.tobytes()


@settings(deadline=None, max_examples=100)
@given(scatters())
def test_sums_onto_numbers_are_those_of_add_at_to_rounding(drawn):
    shape, index, gradient = drawn
    start = np.random.default_rng(0).standard_normal(shape).astype(gradient.dtype)
    expected, found, again = start.copy(), start.copy(), start.copy()
    np.add.at(expected, index, gradient)
    Scatter(index, gradient).add_into(found)
    Scatter(index, gradient).add_into(again)
    # Relative to what was added up, not to what is left of it
    scale = np.full(shape, 1.0)
    np.add.at(scale, index, np.abs(gradient).astype(np.float64))
    assert (np.abs(found - expected) <= 1e-5 * scale).all()
    assert found.tobytes() == again.tobytes()


def test_an_index_out_of_range_is_refused_and_nothing_written():
    total, gradient = np.zeros((3, ROW), np.float32), np.ones((2, ROW), np.float32)
    for index in ([0, 3], [-4, 0]):
        with pytest.raises(IndexError, match="out of bounds"):
            Scatter(np.array(index), gradient).add_into(total)


def test_a_gradient_that_broadcasts_or_has_another_dtype_is_added_as_before():
    for gradient in (np.float32(2), np.ones(ROW, np.float32), np.ones((2, ROW), np.float64)):
        expected, found = np.zeros((3, ROW), np.float32), np.zeros((3, ROW), np.float32)
        np.add.at(expected, np.array([1, 1]), gradient)
        Scatter(np.array([1, 1]), gradient).add_into(found)
        assert np.array_equal(found, expected)


def test_embeddings_have_gradients_of_gradients():
    table = af.randn(4, ROW, dtype=af.float64, requires_grad=True)
    tokens = af.tensor([[0, 2, 2], [3, 0, 0]])
    assert_gradients(lambda weight: (F.embedding(tokens, weight) ** 3).sum(), (table,), order=2, full=64)
