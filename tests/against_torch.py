"""Comparing a computation with the same one in PyTorch: value, gradients, and gradients of gradients, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af

torch = pytest.importorskip("torch")

__all__ = ["assert_same_gradients", "assert_same_values", "torch"]


def leaves(library, arrays):
    make = torch.tensor if library is torch else af.tensor
    return [
        make(array, requires_grad=array.dtype.kind == "f") if isinstance(array, np.ndarray) else array
        for array in arrays
    ]


def as_array(tensor):
    return tensor.detach().numpy(force=True) if isinstance(tensor, torch.Tensor) else tensor.detach().numpy()


def run(library, function, arrays, order, seed):
    """Values, gradients, and gradients of a random combination of the gradients."""
    grad = torch.autograd.grad if library is torch else af.autograd.grad

    def dense(key, shape):
        array = np.random.default_rng((seed, *key)).uniform(0.5, 1.5, shape)
        return torch.tensor(array) if library is torch else af.tensor(array)

    inputs = leaves(library, arrays)
    wanted = [one for one in inputs if getattr(one, "requires_grad", False)]
    outputs = function(library, *inputs)
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    values = [as_array(one) for one in outputs]
    tracked = [one for one in outputs if one.requires_grad]
    upstream = [dense((1, i), tuple(one.shape)) for i, one in enumerate(tracked)]
    first = grad(tracked, wanted, upstream, create_graph=True, allow_unused=True)
    results = [("value", values), ("gradient", [None if one is None else as_array(one) for one in first])]
    again = {i: one for i, one in enumerate(first) if one is not None and one.requires_grad}
    if order > 1 and again:
        seeds = [dense((2, i), tuple(one.shape)) for i, one in again.items()]
        second = grad(list(again.values()), wanted, seeds, allow_unused=True)
        results.append(("second gradient", [None if one is None else as_array(one) for one in second]))
    return results


def assert_same_gradients(function, *arrays, order=2, seed=0, rtol=1e-9, atol=1e-11):
    """``function(library, *inputs)`` gives the same in both libraries. A gradient that is absent equals zeros."""
    ours, theirs = (run(library, function, arrays, order, seed) for library in (af, torch))
    for (what, mine), (_, other) in zip(ours, theirs, strict=False):
        assert len(mine) == len(other)
        for position, (one, two) in enumerate(zip(mine, other, strict=True)):
            one = np.zeros(()) if one is None else one
            two = np.zeros_like(one) if two is None else two
            np.testing.assert_allclose(one, two, rtol=rtol, atol=atol, err_msg=f"{what} {position}")
            assert one.shape == two.shape or not one.any(), f"{what} {position}"
    if len(ours) > len(theirs):  # we have a second gradient where PyTorch has none: it must be zero
        assert all(one is None or not one.any() for one in ours[2][1])


def assert_same_values(function, *arrays):
    """``function(library, *inputs)`` gives the same values, dtypes and shapes; inputs keep their dtypes."""
    make = {af: af.tensor, torch: torch.tensor}
    results = []
    for library in (af, torch):
        inputs = [make[library](one) if isinstance(one, np.ndarray) else one for one in arrays]
        out = function(library, *inputs)
        results.append([np.asarray(one) for one in (out if isinstance(out, (tuple, list)) else [out])])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7)
        assert (one.shape, one.dtype) == (two.shape, two.dtype)
