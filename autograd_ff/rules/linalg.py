"""Products of matrices and vectors."""

from __future__ import annotations

import numpy as np

from ..engine import REAL, Call, Draw, primitive


def swap(x):
    """The last two dimensions exchanged."""
    return np.swapaxes(x, -1, -2)


def _draw_matmul(draw: Draw) -> Call:
    n, k, m = draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 4)
    batch = draw.shape(max_dims=2, max_side=3)
    kind = draw.choice(["matrices", "vector left", "vector right", "vectors", "batch", "batch broadcast"])
    shapes = {
        "matrices": ((n, k), (k, m)),
        "vector left": ((k,), (*batch, k, m)),
        "vector right": ((*batch, n, k), (k,)),
        "vectors": ((k,), (k,)),
        "batch": ((*batch, n, k), (*batch, k, m)),
        "batch broadcast": ((*batch, n, k), (k, m)),
    }[kind]
    return Call((draw.array(shapes[0]), draw.array(shapes[1])))


# A vector is a matrix with one row (on the left) or one column (on the right); the engine's sum over broadcast
# dimensions does the rest, batches included.
matmul = primitive(
    np.matmul,
    lambda g, meta_x1, x2: (
        g[..., None] * x2
        if x2.ndim == 1
        else np.matmul(g[..., None, :], swap(x2))[..., 0, :] if meta_x1.ndim == 1 else np.matmul(g, swap(x2))
    ),
    lambda g, x1, meta_x2: (
        x1[..., :, None] * g[..., None, :]
        if x1.ndim == 1 and meta_x2.ndim > 1
        else np.matmul(swap(x1), g[..., None])[..., 0] if x1.ndim > 1 and meta_x2.ndim == 1
        else g[..., None] * x1 if meta_x2.ndim == 1
        else np.matmul(swap(x1), g)
    ),
    domain=_draw_matmul,
    analytic=True,
)
