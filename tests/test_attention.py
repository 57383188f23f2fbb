"""Scaled dot-product attention: blocks, masks, dropout, memory, and what a caller is told."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from compile_cases import World, check_twins
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.engine import OPS
from autograd_ff.errors import DtypeError, ShapeError
from autograd_ff.kernels import attention as kernels
from autograd_ff.nn import functional as F
from autograd_ff.testing import HypothesisDraw, NumPyDraw, table
from autograd_ff.testing.faults import Fault
from autograd_ff.testing.mutation import plant

attend = F.scaled_dot_product_attention


def numbers(*shape, seed=0, dtype=np.float64, requires_grad=False):
    return af.tensor(np.random.default_rng(seed).standard_normal(shape), dtype=dtype, requires_grad=requires_grad)


def triple(*shape, columns=None, **options):
    other = shape if columns is None else (*shape[:-2], columns, shape[-1])
    return [numbers(*one, seed=seed, **options) for seed, one in enumerate((shape, other, other))]


def plain(query, key, value, allowed=True, scale=None):
    """The textbook's formula, in float64."""
    q, k, v = (one.detach().numpy().astype(np.float64) for one in (query, key, value))
    scores = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = np.where(allowed, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


# ---------------------------------------------------------------- blocks


@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "self_attention"])
@pytest.mark.parametrize(("block", "rows"), [(1, 1), (4, 1), (6, 2), (12, 2)])
def test_any_division_into_blocks_is_the_definition(monkeypatch, name, block, rows):
    monkeypatch.setattr(kernels, "BLOCK", block)
    monkeypatch.setattr(kernels, "CAUSAL_ROWS", rows)

    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def check(data):
        call = table.sample(OPS[name], HypothesisDraw(data))
        table.check_definition(OPS[name], call)
        table.check_subsets(OPS[name], call)

    check()


@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "self_attention"])
def test_a_wrong_gradient_is_caught(name):
    op = OPS[name]
    wrong = plant(op, 0, Fault("factor", "off by little", lambda right, g, values: right(g, values) * (1 + 1e-6)))
    table.check_definition(op, table.sample(op, NumPyDraw(0)))
    with pytest.raises(AssertionError):
        table.check_definition(wrong, table.sample(wrong, NumPyDraw(0)))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 150), st.integers(1, 150), st.booleans(), st.booleans())
def test_long_sequences_are_the_textbooks_formula(batch, heads, rows, columns, causal, side_by_side):
    q, k, v = triple(batch, heads, rows, 8, columns=columns, dtype=np.float32)
    if side_by_side:  # in memory as a projection leaves them
        q, k, v = (one.transpose(1, 2).contiguous().transpose(1, 2) for one in (q, k, v))
    allowed = np.tri(rows, columns, dtype=bool) if causal else True
    got = attend(q, k, v, is_causal=causal)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.numpy(), plain(q, k, v, allowed), rtol=2e-5, atol=2e-5)


def test_the_output_lies_in_memory_as_the_queries_do():
    q, k, v = (numbers(2, 5, 3, 4, seed=seed).transpose(1, 2) for seed in range(3))
    assert attend(q, k, v).transpose(1, 2).is_contiguous()


def test_memory_grows_with_the_tokens_and_not_with_their_square():
    rows = 2048
    inputs = triple(1, 1, rows, 16, dtype=np.float32)
    for one in inputs:
        one.requires_grad_()
    tracemalloc.start()
    attend(*inputs, is_causal=True).sum().backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * rows * 4 / 4  # a quarter of one float32 matrix; three would be made otherwise


# ---------------------------------------------------------------- large numbers, and none


@pytest.mark.parametrize("size", [1.0, 30.0, 1e3, 1e6])
def test_large_scores_neither_overflow_nor_vanish(size):
    q, k, v = triple(2, 40, 8, dtype=np.float32)
    q = (q * size).requires_grad_()
    with np.errstate(all="raise", under="ignore"):
        out = attend(q, k, v)
        out.sum().backward()
    np.testing.assert_allclose(out.detach().numpy(), plain(q, k, v), rtol=1e-4, atol=1e-4 * min(size, 30))
    assert np.isfinite(q.grad.numpy()).all()


@pytest.mark.parametrize("shift", [-1e4, -80.0, 80.0, 1e4])
def test_scores_shifted_by_a_mask_keep_weights_and_gradients(shift):
    """A number added to all scores of a row changes nothing, however large."""
    results = []
    for added in (0.0, shift):
        q, k, v = (one.requires_grad_() for one in triple(2, 20, 8, dtype=np.float32))
        mask = af.full((20, 20), added)
        out = attend(q, k, v, mask)
        (out * numbers(2, 20, 8, seed=9, dtype=np.float32)).sum().backward()
        results.append([out.detach().numpy(), *(one.grad.numpy() for one in (q, k, v))])
    tolerance = 1e-5 + 3e-7 * abs(shift)  # what float32 loses at that size
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_weights_sum_to_one_in_the_gradient_too_where_scores_are_coarse():
    """As with -1e9 for a mask of keys, where nothing is left of the scores but that number, and none of their sum."""
    q, k, v = (one.requires_grad_() for one in triple(2, 20, 8, dtype=np.float32))
    out = attend(q, k, v, af.full((20, 20), -1e9))
    np.testing.assert_allclose(
        out.detach().numpy(), np.broadcast_to(v.mean(1, keepdim=True).detach(), out.shape), atol=1e-5
    )
    out.sum().backward()
    np.testing.assert_allclose(v.grad.numpy(), 1.0, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3, 5])
def test_gradients_of_keys_that_no_query_sees_are_written(rows):
    q, k, v, g = (np.ones((1, side, 2)) for side in (rows, 5, 5, rows))
    out, logsumexp = kernels.forward(q, k, v, causal=True)
    filled = [np.full(one.shape, np.nan) for one in (q, k, v)]
    kernels.fill_backward(*filled, None, None, g, q, k, v, None, None, out, logsumexp, 1.0, True, 1.0)
    assert all(np.isfinite(one).all() for one in filled)
    assert not any(one[:, rows:].any() for one in filled[1:])


def test_rows_in_which_all_is_masked_are_zero_and_pass_no_gradient():
    for mask in (af.tensor([[True, True], [False, False]]), af.tensor([[0.0, 0.0], [-np.inf, -np.inf]])):
        q, k, v = (one.requires_grad_() for one in triple(3, 2, 4))
        out = attend(q, k, v, mask.double() if mask.dtype.kind == "f" else mask)
        out.sum().backward()
        assert not out[:, 1].detach().numpy().any()
        assert not q.grad[:, 1].numpy().any()
        np.testing.assert_allclose(out[:, 0].detach().numpy(), plain(q, k, v)[:, 0])
        assert np.isfinite(k.grad.numpy()).all()


def test_nan_stays_nan():
    q, k, v = triple(2, 3, 4)
    q[0, 1, 0] = np.nan
    out = attend(q, k, v).numpy()
    assert np.isnan(out[0, 1]).all()
    assert np.isfinite(out[1]).all()
    assert np.isfinite(out[0, 0]).all()


@pytest.mark.parametrize("shape", [(2, 0, 3, 4, 5), (2, 3, 0, 4, 5), (0, 3, 2, 4, 5), (2, 3, 3, 0, 5), (2, 3, 3, 4, 0)])
@pytest.mark.parametrize("causal", [False, True])
def test_empty_inputs(shape, causal):
    batch, rows, columns, features, width = shape
    q, k, v = (
        numbers(*one, requires_grad=True)
        for one in ((batch, rows, features), (batch, columns, features), (batch, columns, width))
    )
    out = attend(q, k, v, is_causal=causal)
    out.sum().backward()
    assert out.shape == (batch, rows, width)
    assert all(one.grad.shape == one.shape and not np.isnan(one.grad.numpy()).any() for one in (q, k, v))
    if not columns:
        assert not out.detach().numpy().any()


# ---------------------------------------------------------------- masks


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_boolean_masks_are_numbers_of_minus_infinity(data):
    draw = HypothesisDraw(data)
    shape = (2, 3, draw.integer(1, 5), draw.integer(1, 5))
    mask_shape = tuple(draw.choice([side, 1]) for side in shape)
    mask = draw.integers(mask_shape, 0, 2) > 0
    results = []
    for one in (af.tensor(mask), af.tensor(np.where(mask, 0.0, -np.inf))):
        q, k, v = (x.requires_grad_() for x in triple(*shape[:3], 4, columns=shape[3]))
        out = attend(q, k, v, one)
        out.sum().backward()
        results.append([out.detach().numpy(), *(x.grad.numpy() for x in (q, k, v))])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_a_mask_of_keys_leaves_them_out():
    q, k, v = triple(2, 3, 7, 4, dtype=np.float32)
    lengths = np.array([4, 7])
    mask = np.arange(7) < lengths[:, None, None, None]
    got = attend(q, k, v, af.tensor(mask)).numpy()
    for row, length in enumerate(lengths):
        alone = attend(q[row], k[row, :, :length], v[row, :, :length]).numpy()
        np.testing.assert_allclose(got[row], alone, rtol=1e-5, atol=1e-6)


def test_heads_that_share_keys_are_repeated_keys():
    q, (k, v) = (
        numbers(2, 6, 5, 4, requires_grad=True),
        (numbers(2, 3, 5, 4, seed=s, requires_grad=True) for s in (1, 2)),
    )
    out = attend(q, k, v, enable_gqa=True)
    repeated = [one.repeat_interleave(2, dim=1) for one in (k, v)]
    expected = attend(q, *repeated)
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    for one, other in zip(
        af.autograd.grad(out.sum(), [q, k, v]), af.autograd.grad(expected.sum(), [q, k, v]), strict=True
    ):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------- dropout


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 100))
def test_dropout_keeps_so_many_weights_and_scales_them(p, seed):
    """With a value for each key that is the key's own unit vector, the output is the matrix of weights."""
    q, k = numbers(4, 40, 8), numbers(4, 50, 8, seed=1)
    v = af.tensor(np.broadcast_to(np.eye(50), (4, 50, 50)).copy())
    weights = attend(q, k, v).numpy()
    af.manual_seed(seed)
    dropped = attend(q, k, v, dropout_p=p).numpy()
    kept = dropped != 0
    assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / kept.size)
    np.testing.assert_allclose(dropped[kept], weights[kept] / (1 - p), rtol=1e-4)
    af.manual_seed(seed)
    assert np.array_equal(attend(q, k, v, dropout_p=p).numpy(), dropped)


def test_all_dropped():
    q, k, v = triple(2, 3, 4, requires_grad=True)
    out = attend(q, k, v, dropout_p=1.0)
    out.sum().backward()
    assert not out.detach().numpy().any()
    assert not v.grad.numpy().any()


@pytest.mark.parametrize("gqa", [False, True])
def test_gradients_with_dropout(gqa):
    shape = (2, 4, 5, 3)
    q, k, v = numbers(*shape), numbers(2, 2 if gqa else 4, 5, 3, seed=1), numbers(2, 2 if gqa else 4, 5, 3, seed=2)
    af.testing.assert_gradients(lambda q, k, v: attend(q, k, v, dropout_p=0.3, enable_gqa=gqa), (q, k, v), frozen=True)


# ---------------------------------------------------------------- compiled


@pytest.mark.parametrize("kind", ["plain", "causal", "mask", "dropout"])
def test_a_compiled_step_captures_it(kind):
    def make():
        weight = af.nn.Linear(6, 18)
        mask = af.tensor(np.arange(5) < 4)[None, :]

        def step(x):
            weight.zero_grad()
            q, k, v = (one.unflatten(-1, (2, 3)).transpose(1, 2) for one in weight(x).chunk(3, -1))
            options = {
                "plain": {}, "causal": {"is_causal": True}, "mask": {"attn_mask": mask}, "dropout": {"dropout_p": 0.5},
            }[kind]  # fmt: skip
            loss = attend(q, k, v, **options).pow(2).sum()
            loss.backward()
            return loss

        return World(step, weight=weight)

    check_twins(make, [(numbers(2, 5, 6, seed=seed, dtype=np.float32),) for seed in range(5)])


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("shapes", "options", "error", "words"),
    [
        (((4,), (3, 4), (3, 4)), {}, ShapeError, "takes a query"),
        (((2, 4), (3, 5), (3, 4)), {}, ShapeError, "takes a query"),
        (((2, 4), (3, 4), (2, 4)), {}, ShapeError, "takes a query"),
        (((4, 2, 4), (2, 3, 4), (2, 3, 4)), {}, ShapeError, "do not broadcast"),
        (((1, 4, 2, 4), (1, 2, 3, 4), (1, 2, 3, 4)), {}, ShapeError, "enable_gqa=True"),
        (((1, 3, 2, 4), (1, 2, 3, 4), (1, 2, 3, 4)), {"enable_gqa": True}, ShapeError, "divide"),
        (((2, 4), (3, 4), (3, 4)), {"dropout_p": 1.5}, ShapeError, "1.5"),
        (((2, 4), (3, 4), (3, 4)), {"attn_mask": af.ones(2, 3), "is_causal": True}, ShapeError, "either"),
        (((2, 4), (3, 4), (3, 4)), {"attn_mask": af.ones(2, 3).long()}, DtypeError, "mask.bool()"),
        (((2, 2, 4), (2, 3, 4), (2, 3, 4)), {"attn_mask": af.ones(5, 2, 2, 3)}, ShapeError, "does not broadcast"),
        (((2, 1, 2, 4), (2, 1, 3, 4), (2, 1, 3, 4)), {"attn_mask": af.ones(4, 3)}, ShapeError, "None, None"),
    ],
)
def test_misfits_are_told(shapes, options, error, words):
    with pytest.raises(error, match=r"test_attention\.py") as caught:
        attend(*(af.ones(*shape) for shape in shapes), **options)
    assert words in str(caught.value)


def test_unequal_dtypes_are_told():
    with pytest.raises(DtypeError, match="float64"):
        attend(af.ones(2, 4), af.ones(2, 4, dtype=af.float64), af.ones(2, 4))
    with pytest.raises(DtypeError, match="ndarray"):
        attend(np.ones((2, 4)), af.ones(2, 4), af.ones(2, 4))
