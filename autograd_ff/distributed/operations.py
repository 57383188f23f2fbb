"""Communication as ops of the engine: a compiled step records them like all others, and they become calls of its plan.

Each writes in place, and no gradient goes through any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, TensorCore, apply_raw, constant, kernel
from ..engine.core_ops import write
from ..engine.dispatch import NO_PARAMS
from ..engine.op import Op
from ..engine.state import LOCAL
from ..kernels.clipping import gradient_norm
from .work import progress

if TYPE_CHECKING:
    from .transfer import Transfer

__all__ = [
    "average_slice", "collective", "collective_from", "finish_all_reduce", "join_presence", "norm_over_ranks", "pack_gradient",
    "perform", "recorded_zeros",
    "start_all_reduce",
]  # fmt: skip


def perform(op: Op, inputs: tuple[Any, ...], params: dict[str, Any] = NO_PARAMS) -> None:
    """`apply_raw` on Tensors too: a recorder has to know whose the arrays are, which stay the same from step to step."""
    for observer in LOCAL.state.observers or ():
        observer.takes(op, inputs)
    apply_raw(op, tuple(one.array if isinstance(one, TensorCore) else one for one in inputs), params)


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


def _collective_from(target: np.ndarray, source: np.ndarray, run: Callable[..., None] | None) -> np.ndarray:
    if run is not None:
        run(target, source)
    return target


def _draw_collective_from(draw: Draw) -> Call:
    shape = (draw.integer(1, 5),)
    return Call((draw.array(shape), draw.array(shape)), {"run": None})


# The same for one that reads another array.
collective_from = kernel(
    None, NONDIFFERENTIABLE, name="collective_from", forward=_collective_from, inputs=("target", "source"),
    mutates=("target",), params={"run": None}, domain=_draw_collective_from,
)  # fmt: skip


def _pack_gradient(place: np.ndarray, gradient: np.ndarray, factor: float) -> np.ndarray:
    np.multiply(gradient, factor, out=place)
    progress()
    return place


def _draw_pack(draw: Draw) -> Call:
    shape = draw.shape()
    return Call((draw.array(shape), draw.array(shape)), {"factor": np.float32(0.5)})


# place = factor * gradient. Divided before the sum and not after: float16 has little room above. MPI moves messages only
# while it is called, so each gradient that comes lets those before it go on.
pack_gradient = kernel(
    None, NONDIFFERENTIABLE, name="pack_gradient", forward=_pack_gradient, inputs=("place", "gradient"),
    mutates=("place",), params={"factor": 1.0}, domain=_draw_pack,
)  # fmt: skip


def recorded_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros to write into, piece by piece: a recorder that first saw a piece would not know whose it is."""
    whole = constant(np.zeros(shape, dtype))
    apply_raw(write, (whole, constant(np.zeros((), dtype))))
    return whole


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


def _average_slice(mean: np.ndarray, *gradients: np.ndarray, positions: Any, run: Any) -> np.ndarray:
    if run is not None:
        run(mean, gradients, positions)
    return mean


def _draw_slice(draw: Draw) -> Call:
    size = (draw.integer(1, 5),)
    return Call((draw.array(size), draw.array(size)), {"positions": (0,), "run": None})


# mean = the mean over all ranks of one stretch of all gradients end to end, of which this rank has ``positions``.
average_slice = kernel(
    None, NONDIFFERENTIABLE, name="average_slice", forward=_average_slice, inputs=("mean", "gradient"),
    mutates=("mean",), params={"positions": (), "run": None}, domain=_draw_slice,
)  # fmt: skip


def _join_presence(present: np.ndarray, own: tuple[bool, ...], run: Any) -> np.ndarray:
    present[...] = own
    if run is not None:
        run(present)
    return present


def _draw_presence(draw: Draw) -> Call:
    own = (draw.boolean(), draw.boolean())
    return Call((draw.integers((2,), 0, 1).astype(np.int8),), {"own": own, "run": None})


# Which parameters have a gradient on some rank, of what this one has.
join_presence = kernel(
    None, NONDIFFERENTIABLE, name="join_presence", forward=_join_presence, inputs=("present",), mutates=("present",),
    params={"own": (), "run": None}, domain=_draw_presence,
)  # fmt: skip


def _norm_over_ranks(norm: np.ndarray, *gradients: np.ndarray, norm_type: float, run: Any) -> np.ndarray:
    with np.errstate(all="ignore"):  # an infinite norm is an answer
        own = gradient_norm.forward(*gradients, norm_type=norm_type) if gradients else 0.0
        norms = [own] if run is None else run(float(own))
        norm[...] = np.linalg.norm(norms, norm_type) if len(norms) > 1 else norms[0]
    return norm


def _draw_norm(draw: Draw) -> Call:
    return Call((np.zeros(()), draw.array(draw.shape())), {"norm_type": draw.choice([2.0, 1.0]), "run": None})


# norm = the norm of gradients that lie in stretches on all ranks: the norm of the ranks' norms.
norm_over_ranks = kernel(
    None, NONDIFFERENTIABLE, name="norm_over_ranks", forward=_norm_over_ranks, inputs=("norm", "gradient"),
    mutates=("norm",), params={"norm_type": 2.0, "run": None}, domain=_draw_norm,
)  # fmt: skip
