"""Random numbers: ops that take their generator.

The generator is a parameter, so a record of ops draws fresh numbers each time it is replayed. A mask that an op draws is
an input of what comes after it, never drawn inside a formula, so that the backward pass sees the same mask.
"""

from __future__ import annotations

import numpy as np

from ..engine import NONDIFFERENTIABLE, PROBABILITY, REAL, Call, Draw, primitive

_SINGLE, _INT64 = np.dtype(np.float32), np.dtype(np.int64)


def _computed(dtype):
    """The dtype that NumPy's generators draw in."""
    dtype = np.dtype(dtype)
    return dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32 if dtype == np.float16 else np.float64)


def _uniform(like, generator, shape, low=0.0, high=1.0, dtype=_SINGLE):
    out = generator.random(shape, dtype=_computed(dtype))
    if (low, high) != (0, 1):
        out = out * (high - low) + low
        # Rounding may lift the largest numbers up to `high`, which is excluded.
        out = np.where(out >= high, np.nextafter(out.dtype.type(high), out.dtype.type(low)), out) if high > low else out
    return np.asarray(out, dtype=dtype)


def _normal(like, generator, shape, mean=0.0, std=1.0, dtype=_SINGLE):
    out = generator.standard_normal(shape, dtype=_computed(dtype))
    return np.asarray(out if (mean, std) == (0, 1) else out * std + mean, dtype=dtype)


def _integers(like, generator, shape, low, high, dtype=_INT64):
    return np.asarray(generator.integers(low, high, shape), dtype=dtype)


def _permutation(like, generator, n, dtype=_INT64):
    return np.asarray(generator.permutation(n), dtype=dtype)


def _bernoulli(p, generator):
    return np.asarray(generator.random(p.shape) < p, dtype=p.dtype)


def _dropout_mask(x, generator, p=0.5):
    if p == 1:
        return np.zeros_like(x)
    dtype = _computed(x.dtype)
    mask = np.asarray(generator.random(x.shape, dtype=dtype) >= p, dtype=dtype)
    mask *= 1 / (1 - p)
    return mask if mask.dtype == x.dtype else mask.astype(x.dtype)


def _draws(**params):
    """A sampler of calls without an input."""

    def sample(draw: Draw) -> Call:
        chosen = {key: value(draw) if callable(value) else value for key, value in params.items()}
        return Call((None,), {"generator": draw.generator(), **chosen})

    return sample


def _shape(draw: Draw):
    return draw.shape()


uniform = primitive(
    _uniform,
    NONDIFFERENTIABLE,
    name="random_uniform",
    inputs=("like",),
    params={"generator": None, "shape": (), "low": 0.0, "high": 1.0, "dtype": _SINGLE},
    domain=_draws(shape=_shape, low=-1.0, high=2.0, dtype=np.dtype(np.float64)),
)
normal = primitive(
    _normal,
    NONDIFFERENTIABLE,
    name="random_normal",
    inputs=("like",),
    params={"generator": None, "shape": (), "mean": 0.0, "std": 1.0, "dtype": _SINGLE},
    domain=_draws(shape=_shape, mean=1.0, std=2.0, dtype=np.dtype(np.float64)),
)
integers = primitive(
    _integers,
    NONDIFFERENTIABLE,
    name="random_integers",
    inputs=("like",),
    params={"generator": None, "shape": (), "low": 0, "high": 1, "dtype": _INT64},
    domain=_draws(shape=_shape, low=-2, high=5, dtype=_INT64),
)
permutation = primitive(
    _permutation,
    NONDIFFERENTIABLE,
    name="random_permutation",
    inputs=("like",),
    params={"generator": None, "n": 0, "dtype": _INT64},
    domain=_draws(n=lambda draw: draw.integer(0, 5), dtype=_INT64),
)


def _draw_bernoulli(draw: Draw) -> Call:
    return Call((draw.array(draw.shape(), PROBABILITY),), {"generator": draw.generator()})


def _draw_dropout(draw: Draw) -> Call:
    return Call((draw.array(draw.shape(), REAL),), {"generator": draw.generator(), "p": draw.choice([0.5, 0.1, 1.0])})


# 1 with probability p, else 0
bernoulli = primitive(
    _bernoulli, NONDIFFERENTIABLE, name="bernoulli", inputs=("p",), params={"generator": None}, domain=_draw_bernoulli
)
# 0 with probability p, else 1 / (1 - p): what dropout multiplies with
dropout_mask = primitive(
    _dropout_mask,
    NONDIFFERENTIABLE,
    name="dropout_mask",
    inputs=("x",),
    params={"generator": None, "p": 0.5},
    domain=_draw_dropout,
)
