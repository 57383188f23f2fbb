"""Communication as ops of the engine: a compiled step records them like all others, and they become calls of its plan.

Each writes in place, and no gradient goes through any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, kernel

if TYPE_CHECKING:
    from .compression import Transfer

__all__ = ["collective", "finish_all_reduce", "pack_gradient", "start_all_reduce", "unpack_gradient"]


def _collective(target: np.ndarray, run: Callable[[np.ndarray], None] | None) -> np.ndarray:
    if run is not None:
        run(target)
    return target


def _draw_collective(draw: Draw) -> Call:
    return Call((draw.array((draw.integer(1, 5),)),), {"run": None})


# A collective that writes its array, and does not return before it has.
collective = kernel(
    None, NONDIFFERENTIABLE, name="collective", forward=_collective, inputs=("target",), mutates=("target",),
    params={"run": None}, domain=_draw_collective,
)  # fmt: skip


def _pack_gradient(place: np.ndarray, gradient: np.ndarray, factor: float) -> np.ndarray:
    np.multiply(gradient, factor, out=place)
    return place


def _draw_pack(draw: Draw) -> Call:
    shape = draw.shape()
    return Call((draw.array(shape), draw.array(shape)), {"factor": np.float32(0.5)})


# place = factor * gradient. Divided before the sum and not after: float16 has little room above.
pack_gradient = kernel(
    None, NONDIFFERENTIABLE, name="pack_gradient", forward=_pack_gradient, inputs=("place", "gradient"),
    mutates=("place",), params={"factor": 1.0}, domain=_draw_pack,
)  # fmt: skip


def _unpack_gradient(gradient: np.ndarray, place: np.ndarray) -> np.ndarray:
    np.copyto(gradient, place)
    return gradient


def _draw_unpack(draw: Draw) -> Call:
    shape = draw.shape()
    return Call((draw.array(shape), draw.array(shape)))


unpack_gradient = kernel(
    None, NONDIFFERENTIABLE, name="unpack_gradient", forward=_unpack_gradient, inputs=("gradient", "place"),
    mutates=("gradient",), domain=_draw_unpack,
)  # fmt: skip


def _start_all_reduce(flat: np.ndarray, transfer: Transfer | None) -> np.ndarray:
    if transfer is not None:
        transfer.start()
    return flat


def _finish_all_reduce(flat: np.ndarray, transfer: Transfer | None) -> np.ndarray:
    if transfer is not None:
        transfer.finish()
    return flat


def _draw_flat(draw: Draw) -> Call:
    return Call((draw.array((draw.integer(1, 5),)),), {"transfer": None})


# The mean of a flat array over all ranks, in two halves. Both write it: between them nobody else may.
start_all_reduce = kernel(
    None, NONDIFFERENTIABLE, name="start_all_reduce", forward=_start_all_reduce, inputs=("flat",), mutates=("flat",),
    params={"transfer": None}, domain=_draw_flat,
)  # fmt: skip
finish_all_reduce = kernel(
    None, NONDIFFERENTIABLE, name="finish_all_reduce", forward=_finish_all_reduce, inputs=("flat",), mutates=("flat",),
    params={"transfer": None}, domain=_draw_flat,
)  # fmt: skip
