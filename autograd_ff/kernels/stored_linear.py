"""``x @ widened(weight).T + bias`` with a weight that is stored in half precision, as bits, and never kept wider.

A frozen weight needs no gradient, so the numbers behind the bits need not exist for longer than a product takes: forward and
backward each widen them into a temporary array.
"""

from __future__ import annotations

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, kernel, primitive
from . import linear as affine
from .half_precision import STORAGES, narrowed, widened


def draw_bits(draw: Draw) -> Call:
    storage = draw.choice(STORAGES)
    dtype = draw.choice([np.dtype(np.float32), np.dtype(np.float64)])
    return Call((narrowed(draw.array(draw.shape()), storage),), {"storage": storage, "dtype": dtype})


widen = primitive(
    widened,
    NONDIFFERENTIABLE,
    name="widen",
    inputs=("bits",),
    params={"storage": "float16", "dtype": np.float32},
    domain=draw_bits,
)


def definition(x, bits, bias=None, storage="float16"):
    return affine.definition(x, widen(bits, storage=storage), bias)


def forward(x, bits, bias=None, storage="float16"):
    return affine.forward(x, widened(bits, storage), bias)


def draw(draw: Draw) -> Call:
    x, weight, bias = affine.draw(draw).inputs
    storage = draw.choice(STORAGES)
    return Call((x, narrowed(weight, storage), bias), {"storage": storage})


stored_linear = kernel(
    definition,
    lambda g, bits, storage: np.matmul(g, widen(bits, storage=storage)),
    None,
    lambda g, meta_bias: affine.bias_gradient(g, meta_bias),
    name="stored_linear",
    forward=forward,
    inputs=("x", "bits", "bias"),
    params={"storage": "float16"},
    promotion="common",
    promoted=(0, 2),
    domain=draw,
)
