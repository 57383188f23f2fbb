"""Our functions beside PyTorch's: the same values, dtypes, gradients and gradients of gradients."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af


def agree(ours, theirs, *arrays, order=2, rtol=1e-9, atol=1e-10):
    """Call both with tensors of these arrays (floating ones require grad) and compare all that comes out.

    The upstream gradient is random but fixed; the gradient of the gradient is that of ``sum(gradient * random)``.
    """
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    mine = [af.tensor(one, requires_grad=one.dtype.kind == "f") for one in map(np.asarray, arrays)]
    other = [torch.tensor(one, requires_grad=one.dtype.kind == "f") for one in map(np.asarray, arrays)]
    with np.errstate(all="ignore"):
        a, b = ours(*mine), theirs(*other)
        same(a, b, rtol, atol)
        if not b.requires_grad:
            assert not a.requires_grad
            return
        assert a.requires_grad
        upstream = np.asarray(rng.normal(size=b.shape), dtype=a.dtype)
        leaves = [one for one in mine if one.requires_grad], [one for one in other if one.requires_grad]
        deeper = order > 1
        ga = af.autograd.grad(a, leaves[0], af.tensor(upstream), create_graph=deeper, allow_unused=True)
        gb = torch.autograd.grad(b, leaves[1], torch.tensor(upstream), create_graph=deeper, allow_unused=True)
        for one, two in zip(ga, gb, strict=True):
            same_or_nothing(one, two, rtol, atol)
        if not deeper:
            return
        pairs = [(one, two) for one, two in zip(ga, gb, strict=True) if two is not None and two.requires_grad]
        if not pairs:
            return
        factors = [rng.normal(size=two.shape) for _, two in pairs]
        total_a = sum(((one * f).sum() for (one, _), f in zip(pairs, factors, strict=True)), af.tensor(0.0))
        total_b = sum((two * torch.tensor(f)).sum() for (_, two), f in zip(pairs, factors, strict=True))
        if not total_a.requires_grad:  # a constant gradient: PyTorch may record it as zeros all the same
            ha = [None] * len(leaves[0])
        else:
            ha = af.autograd.grad(total_a, leaves[0], allow_unused=True)
        hb = torch.autograd.grad(total_b, leaves[1], allow_unused=True)
        for one, two in zip(ha, hb, strict=True):
            same_or_nothing(one, two, rtol * 10, atol * 10)


def same(mine, other, rtol=1e-9, atol=1e-10):
    found = mine.detach().numpy()
    expected = other.numpy(force=True)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def same_or_nothing(mine, other, rtol, atol):
    """No gradient and a gradient of zeros are the same."""
    if mine is None or other is None:
        for one in (mine, other):
            assert one is None or not np.any(one.numpy(force=True) if not isinstance(one, af.Tensor) else one.array)
        return
    same(mine, other, rtol, atol)
