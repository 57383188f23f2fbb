"""One function of ours beside the same one of PyTorch: values, dtypes, gradients and gradients of gradients."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff.autograd import grad

__all__ = ["assert_agrees"]


def assert_agrees(ours, theirs, *arrays, order=2, rtol=1e-9, atol=1e-10):
    """Call both with tensors of these arrays (floating ones require grad) and compare all that comes out.

    The upstream gradient is random but fixed; the gradient of the gradient is that of ``sum(gradient * random)``. No
    gradient and a gradient of zeros are the same.
    """
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    mine = [af.tensor(one, requires_grad=one.dtype.kind == "f") for one in map(np.asarray, arrays)]
    other = [torch.tensor(one, requires_grad=one.dtype.kind == "f") for one in map(np.asarray, arrays)]
    with np.errstate(all="ignore"):
        a, b = ours(*mine), theirs(*other)
        same(a, b, rtol, atol)
        assert a.requires_grad == b.requires_grad
        if not b.requires_grad:
            return
        upstream = np.asarray(rng.normal(size=tuple(b.shape)), dtype=a.dtype)
        leaves = [one for one in mine if one.requires_grad], [one for one in other if one.requires_grad]
        deeper = order > 1
        first = grad(a, leaves[0], af.tensor(upstream), create_graph=deeper, allow_unused=True)
        expected = torch.autograd.grad(b, leaves[1], torch.tensor(upstream), create_graph=deeper, allow_unused=True)
        for one, two in zip(first, expected, strict=True):
            same_or_nothing(one, two, rtol, atol)
        pairs = [
            (one, two, rng.normal(size=tuple(two.shape)))
            for one, two in zip(first, expected, strict=True)
            if deeper and one is not None and two is not None and two.requires_grad
        ]
        if not pairs:
            return
        total = sum((one * af.tensor(factor)).sum() for one, _, factor in pairs)
        second = [None] * len(leaves[0])
        if total.requires_grad:  # a constant gradient may still be on record in PyTorch
            second = grad(total, leaves[0], allow_unused=True)
        total = sum((two * torch.tensor(factor)).sum() for _, two, factor in pairs)
        expected = torch.autograd.grad(total, leaves[1], allow_unused=True)
        for one, two in zip(second, expected, strict=True):
            same_or_nothing(one, two, rtol * 10, atol * 10)


def array_of(tensor):
    return tensor.array if isinstance(tensor, af.Tensor) else tensor.numpy(force=True)


def same(mine, other, rtol, atol):
    found, expected = array_of(mine), array_of(other)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def same_or_nothing(mine, other, rtol, atol):
    if mine is None or other is None:
        assert all(one is None or not array_of(one).any() for one in (mine, other))
    else:
        same(mine, other, rtol, atol)
