"""Rotary and sinusoidal positions, and the cache of keys and values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import GraphError, ShapeError
from autograd_ff.nn import functional as F


def numbers(*shape, seed=0, dtype=np.float32):
    return af.tensor(np.random.default_rng(seed).standard_normal(shape), dtype=dtype)


# ---------------------------------------------------------------- sinusoidal


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 9))
def test_sinusoidal_positions_are_the_papers_formula(length, dim):
    table = nn.sinusoidal_positions(length, dim, dtype=af.float64).numpy()
    assert table.shape == (length, dim)
    for position in range(length):
        for feature in range(dim):
            angle = position / 10000 ** (2 * (feature // 2) / dim)
            expected = math.cos(angle) if feature % 2 else math.sin(angle)
            assert math.isclose(table[position, feature], expected, abs_tol=1e-12)


def test_sinusoidal_positions_are_added():
    layer = nn.SinusoidalPositions(6, max_len=8)
    x = numbers(2, 5, 6)
    expected = x.numpy() + nn.sinusoidal_positions(8, 6).numpy()[3:8]
    np.testing.assert_allclose(layer(x, offset=3).numpy(), expected)
    assert layer.state_dict() == {}
    with pytest.raises(ShapeError, match="8 positions"):
        layer(x, offset=4)
    with pytest.raises(ShapeError):
        nn.sinusoidal_positions(3, 0)


# ---------------------------------------------------------------- rotary


@settings(max_examples=20, deadline=None)
@given(st.booleans(), st.integers(0, 5), st.integers(0, 50), st.sampled_from([4, 6]))
def test_scores_depend_on_the_distance_alone(interleaved, distance, position, dim):
    rotary = nn.RotaryEmbedding(dim, interleaved=interleaved, dtype=af.float64)
    query, key = numbers(1, 8, dtype=np.float64), numbers(1, 8, seed=1, dtype=np.float64)

    def score(at):
        return (rotary(query, offset=at + distance) * rotary(key, offset=at)).sum().item()

    assert math.isclose(score(position), score(0), rel_tol=1e-9, abs_tol=1e-9)
    turned = rotary(query, offset=position).numpy()
    np.testing.assert_allclose(np.linalg.norm(turned), np.linalg.norm(query.numpy()))
    assert np.array_equal(turned[:, dim:], query.numpy()[:, dim:])
    assert np.array_equal(rotary(query).numpy(), query.numpy())


def test_the_two_layouts_are_one_rotation_of_features_in_another_order():
    x = numbers(2, 3, 5, 8)
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # of neighbours, the first ones before the second ones
    one = nn.RotaryEmbedding(8, interleaved=True)(x).numpy()[..., order]
    other = nn.RotaryEmbedding(8)(af.tensor(x.numpy()[..., order])).numpy()
    np.testing.assert_allclose(one, other, rtol=1e-6)
    assert not np.allclose(nn.RotaryEmbedding(8)(x).numpy(), nn.RotaryEmbedding(8, interleaved=True)(x).numpy())


def test_rotary_is_llamas_formula():
    """``x * cos + rotate_half(x) * sin`` with the angles twice side by side."""
    x = numbers(2, 3, 5, 8).numpy()
    frequencies = 1 / 10000 ** (np.arange(0, 8, 2) / 8)
    angles = np.concatenate([np.outer(np.arange(5), frequencies)] * 2, axis=-1)
    half = np.concatenate([-x[..., 4:], x[..., :4]], axis=-1)
    expected = x * np.cos(angles) + half * np.sin(angles)
    np.testing.assert_allclose(nn.RotaryEmbedding(8)(af.tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_rotary_positions_of_each_row():
    rotary, x = nn.RotaryEmbedding(4), numbers(2, 3, 5, 4)
    positions = af.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])
    got = rotary(x, positions=positions).numpy()
    np.testing.assert_allclose(got[0], rotary(x[0]).numpy())
    np.testing.assert_allclose(got[1, :, 2:], rotary(x[1, :, 2:]).numpy())
    np.testing.assert_allclose(rotary(x, positions=af.arange(5) + 2).numpy(), rotary(x, offset=2).numpy())


def test_rotary_gradients_and_dtypes():
    rotary = nn.RotaryEmbedding(4, dtype=af.float64)
    for interleaved in (False, True):
        rotary.interleaved = interleaved
        af.testing.assert_gradients(lambda x: rotary(x), numbers(2, 3, 5, dtype=np.float64), order=2)
    assert nn.RotaryEmbedding(4)(numbers(3, 4)).dtype == np.float32
    assert nn.RotaryEmbedding(4).state_dict() == {}


def test_rotary_misfits_are_told():
    with pytest.raises(ShapeError, match="even"):
        nn.RotaryEmbedding(3)
    with pytest.raises(ShapeError, match="4 positions"):
        nn.RotaryEmbedding(4, max_len=4)(numbers(5, 4))
    with pytest.raises(ShapeError, match="2 R"):
        nn.RotaryEmbedding(8)(numbers(5, 4))
    with pytest.raises(ShapeError, match="broadcasts"):
        nn.rotary_embedding(numbers(5, 4), numbers(3, 2), numbers(3, 2))


# ---------------------------------------------------------------- the cache


class Decoder(nn.Module):
    """A layer of causal attention with rotary positions, keys shared by pairs of heads; with and without a cache."""

    def __init__(self, rotary=True):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.rotary = nn.RotaryEmbedding(4) if rotary else None

    def forward(self, x, cache=None):
        offset = 0 if cache is None else cache.length
        q, k, v = (one(x).unflatten(-1, (-1, 4)).transpose(1, 2) for one in (self.query, self.key, self.value))
        if self.rotary is not None:
            q, k = self.rotary(q, offset), self.rotary(k, offset)
        if cache is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            out = cache.attend(q, k, v)
        return out.transpose(1, 2).flatten(-2)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.booleans())
def test_decoding_with_a_cache_is_computing_everything_anew(stretches, rotary):
    """However the tokens come, one by one or several at once."""
    model, length = Decoder(rotary), sum(stretches)
    x, cache = numbers(2, length, 16), nn.KeyValueCache(2, 2, length, 4)
    with af.no_grad():
        whole = model(x).numpy()
        parts, at = [], 0
        for count in stretches:
            parts.append(model(x[:, at : at + count], cache).numpy())
            at += count
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-6)
    assert len(cache) == length == cache.max_len


def test_a_cache_copies_nothing_of_the_past():
    cache = nn.KeyValueCache(1, 2, 8, 4)
    first, _ = cache.append(numbers(1, 2, 3, 4), numbers(1, 2, 3, 4))
    before = first.numpy().copy()
    second, values = cache.append(numbers(1, 2, 2, 4, seed=1), numbers(1, 2, 2, 4, seed=2))
    assert np.shares_memory(first.numpy(), second.numpy())
    assert second.shape == values.shape == (1, 2, 5, 4)
    assert np.array_equal(first.numpy(), before)


def test_a_cache_goes_back_starts_anew_and_changes_rows():
    cache = nn.KeyValueCache(2, 1, 8, 4)
    keys = numbers(2, 1, 3, 4)
    cache.append(keys, keys)
    cache.reorder(af.tensor([1, 1]))
    more = numbers(2, 1, 1, 4, seed=1)
    found, _ = cache.append(more, more)
    assert np.array_equal(found[0, 0, :3].numpy(), keys[1, 0].numpy())
    cache.reset(2)
    assert cache.length == 2
    cache.reset()
    assert cache.length == 0
    with pytest.raises(ShapeError, match="cannot stay"):
        cache.reset(1)


def test_a_cache_says_what_does_not_fit():
    cache, x = nn.KeyValueCache(1, 2, 4, 4), numbers(1, 2, 3, 4)
    cache.append(x, x)
    with pytest.raises(ShapeError, match="room for 4"):
        cache.append(x, x)
    with pytest.raises(ShapeError, match="takes keys"):
        cache.append(x[:, :1], x)
    with pytest.raises(GraphError, match="no_grad"):
        cache.append(x[:, :, :1].clone().requires_grad_(), x[:, :, :1])
    assert cache.length == 3
