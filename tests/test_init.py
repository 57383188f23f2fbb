"""Initial values: the distributions, by their statistics, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import InplaceError, ShapeError
from autograd_ff.nn import init

seeds = st.integers(0, 2**32)


def generator(seed):
    return af.Generator().manual_seed(seed)


def check_uniform(values, low, high):
    """Kolmogorov's distance from the uniform distribution, far beyond chance only (probability below 1e-8)."""
    values = np.sort(values.ravel().astype(np.float64))
    assert values[0] >= low - 1e-6
    assert values[-1] <= high + 1e-6
    check_distribution((values - low) / (high - low))


def check_distribution(probabilities):
    probabilities = np.sort(probabilities.ravel())
    steps = (np.arange(probabilities.size) + 0.5) / probabilities.size
    assert np.abs(probabilities - steps).max() < 3.2 / math.sqrt(probabilities.size)


def check_normal(values, mean, std):
    from scipy.special import ndtr

    check_distribution(ndtr((values.astype(np.float64) - mean) / std))


# ---------------------------------------------------------------- what all of them do

FILLS = {
    "uniform_": lambda t: init.uniform_(t, -1, 2),
    "normal_": lambda t: init.normal_(t, 1, 2),
    "trunc_normal_": init.trunc_normal_,
    "constant_": lambda t: init.constant_(t, 3),
    "ones_": init.ones_,
    "zeros_": init.zeros_,
    "eye_": init.eye_,
    "xavier_uniform_": init.xavier_uniform_,
    "xavier_normal_": init.xavier_normal_,
    "kaiming_uniform_": init.kaiming_uniform_,
    "kaiming_normal_": init.kaiming_normal_,
    "orthogonal_": init.orthogonal_,
    "sparse_": lambda t: init.sparse_(t, 0.5),
}


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("dtype", [af.float32, af.float64])
def test_all_fill_in_place_without_recording(name, dtype):
    parameter = nn.Parameter(np.full((4, 5), np.nan, dtype))
    array, version = parameter.array, parameter._version
    assert FILLS[name](parameter) is parameter
    assert parameter.array is array
    assert parameter.dtype == dtype
    assert np.isfinite(array).all()
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert parameter._version > version


@pytest.mark.parametrize("name", FILLS)
def test_all_take_what_a_tensor_views(name):
    base = af.zeros(4, 10)
    FILLS[name](base[:, ::2])
    assert not base.array[:, 1::2].any()
    assert name == "zeros_" or base.array[:, ::2].any()


@pytest.mark.parametrize("name", FILLS)
def test_expanded_tensors_are_refused(name):
    with pytest.raises(InplaceError):
        FILLS[name](af.zeros(1, 3).expand(2, 3))


@given(seeds)
@settings(max_examples=10)
def test_a_generator_decides_the_numbers(seed):
    for fill in (init.uniform_, init.normal_, init.trunc_normal_, init.xavier_uniform_, init.xavier_normal_,
                 init.kaiming_uniform_, init.kaiming_normal_, init.orthogonal_,
                 lambda t, generator: init.sparse_(t, 0.3, generator=generator)):  # fmt: skip
        first = fill(af.empty(4, 3), generator=generator(seed)).tolist()
        assert fill(af.empty(4, 3), generator=generator(seed)).tolist() == first
        assert fill(af.empty(4, 3), generator=generator(seed + 1)).tolist() != first


# ---------------------------------------------------------------- distributions


@given(seeds, st.floats(-5, 5), st.floats(0.1, 5))
@settings(max_examples=10)
def test_uniform_and_normal(seed, low, width):
    check_uniform(init.uniform_(af.empty(100, 30), low, low + width, generator(seed)).array, low, low + width)
    check_normal(init.normal_(af.empty(100, 30), low, width, generator(seed)).array, low, width)


@given(seeds, st.floats(-3, 3), st.floats(0.3, 3), st.floats(-4, 4), st.floats(0.5, 4))
@settings(max_examples=20)
@pytest.mark.filterwarnings("ignore:the mean")
def test_a_truncated_normal_has_the_shape_that_is_left(seed, mean, std, low, width):
    from scipy.stats import truncnorm

    values = init.trunc_normal_(af.empty(3000, dtype=af.float64), mean, std, low, low + width, generator(seed)).array
    assert values.min() >= low
    assert values.max() <= low + width
    check_distribution(truncnorm((low - mean) / std, (low + width - mean) / std, loc=mean, scale=std).cdf(values))


def test_a_truncated_normal_far_out_stays_inside_and_warns():
    with pytest.warns(UserWarning, match="outside"):
        values = init.trunc_normal_(af.empty(1000), 0.0, 1.0, 8.0, 9.0).array
    assert 8 <= values.min() < values.mean() < 8.3
    assert values.max() <= 9


def test_a_truncated_normal_without_spread_is_constant():
    assert init.trunc_normal_(af.empty(3), 1.0, 0.0, -2.0, 2.0).tolist() == [1.0] * 3


@given(seeds, st.integers(1, 80), st.integers(1, 80), st.lists(st.integers(1, 3), max_size=2), st.floats(0.5, 3))
@settings(max_examples=20)
def test_xavier_and_kaiming(seed, fan_out, fan_in, field, gain):
    shape = (fan_out, fan_in, *field)
    area = math.prod(field)
    first, second = fan_in * area, fan_out * area
    std = gain * math.sqrt(2 / (first + second))
    reach = math.sqrt(3) * std
    check_uniform(init.xavier_uniform_(af.empty(*shape), gain, generator(seed)).array, -reach, reach)
    check_normal(init.xavier_normal_(af.empty(*shape), gain, generator(seed)).array, 0, std)
    for mode, fan in (("fan_in", first), ("fan_out", second)):
        std = math.sqrt(2 / (1 + 0.2**2)) / math.sqrt(fan)
        reach = math.sqrt(3) * std
        drawn = init.kaiming_uniform_(af.empty(*shape), 0.2, mode, generator=generator(seed)).array
        check_uniform(drawn, -reach, reach)
        std = math.sqrt(2) / math.sqrt(fan)
        drawn = init.kaiming_normal_(af.empty(*shape), mode=mode, nonlinearity="relu", generator=generator(seed)).array
        check_normal(drawn, 0, std)


@given(seeds, st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 3))
@settings(max_examples=30)
def test_orthogonal_rows_or_columns(seed, rows, columns, gain):
    matrix = init.orthogonal_(af.empty(rows, columns, dtype=af.float64), gain, generator(seed)).array / gain
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    assert np.allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_matrices_are_uniformly_distributed():
    # Without the sign correction the diagonal of 1x1 matrices would always be of one sign.
    signs = [init.orthogonal_(af.empty(1, 1), generator=generator(seed)).item() for seed in range(40)]
    assert {round(sign) for sign in signs} == {-1, 1}
    assert init.orthogonal_(af.empty(3, 2, 2)).array.reshape(3, 4).shape == (3, 4)
    assert init.orthogonal_(af.empty(0, 3)).shape == (0, 3)


@given(seeds, st.integers(1, 20), st.integers(1, 6), st.floats(0, 1))
@settings(max_examples=30)
def test_sparse_columns(seed, rows, columns, sparsity):
    values = init.sparse_(af.empty(rows, columns), sparsity, 0.5, generator(seed)).array
    assert ((values == 0).sum(axis=0) == math.ceil(sparsity * rows)).all()


@given(st.integers(0, 5), st.integers(0, 5))
def test_eye(rows, columns):
    assert np.array_equal(init.eye_(af.ones(rows, columns)).array, np.eye(rows, columns))


@pytest.mark.torch
@pytest.mark.parametrize(("shape", "groups"), [((4, 2, 3), 1), ((2, 4, 3, 5), 1), ((6, 2, 3, 3, 3), 3)])
def test_dirac_is_pytorchs(shape, groups):
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.dirac_(torch.empty(*shape), groups).numpy()
    assert np.array_equal(init.dirac_(af.empty(*shape), groups).array, expected)


# ---------------------------------------------------------------- gains, fans, errors


@pytest.mark.torch
def test_gains_and_fans_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "conv_transpose1d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)
    for shape in ((3, 4), (5, 2, 7), (5, 2, 7, 3)):
        assert init._calculate_fan_in_and_fan_out(af.empty(*shape)) == (
            torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(*shape))
        )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: init.xavier_uniform_(af.empty(3)), "For a bias"),
        (lambda: init.kaiming_normal_(af.empty(())), "2 dimensions or more"),
        (lambda: init.kaiming_uniform_(af.empty(2, 2), mode="fan_avg"), "'fan_in' or 'fan_out'"),
        (lambda: init.kaiming_uniform_(af.empty(2, 2), nonlinearity="swish"), "no gain is known for 'swish'"),
        (lambda: init.calculate_gain("leaky_relu", True), "slope"),
        (lambda: init.eye_(af.empty(2)), "eye_ fills tensors of 2 dimensions"),
        (lambda: init.sparse_(af.empty(2, 2, 2), 0.1), "sparse_ fills"),
        (lambda: init.sparse_(af.empty(2, 2), 1.5), "between 0 and 1"),
        (lambda: init.orthogonal_(af.empty(3)), "2 dimensions or more"),
        (lambda: init.normal_(af.empty(3), 0, -1), "standard deviation"),
        (lambda: init.uniform_(af.empty(3), 2, 1), "a <= b"),
        (lambda: init.trunc_normal_(af.empty(3), a=1, b=0), "a <= b"),
        (lambda: init.dirac_(af.empty(3, 3)), "dirac_ fills tensors of 3 or 4 or 5"),
        (lambda: init.dirac_(af.empty(3, 3, 3), 2), "2 groups"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ShapeError, match=words):
        call()
