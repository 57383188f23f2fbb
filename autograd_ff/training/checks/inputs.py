"""What comes into a network: how large the numbers are that its first layers multiply, and whether they are numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...engine import Node, Observer, Op, Scope, TensorCore, calling_site
from .finding import Finding

__all__ = ["Entering", "check_inputs", "named", "spoiled"]

_LARGEST = 20.0  # of typical numbers in a column; standardised ones are near 1
_SPREAD = 10.0  # standard deviation
_RATIO = 1e4  # of the standard deviations of two columns

_PRODUCTS = {"linear": (0,), "matmul": (0, 1)}  # which inputs of an operation its other ones multiply


def named(tree: Any, name: str) -> list[tuple[str, Any]]:
    """The Tensors of a batch with their names: ``inputs``, ``inputs[1]``, ``inputs['image']``."""
    if isinstance(tree, Mapping):
        return [one for key, part in tree.items() for one in named(part, f"{name}[{key!r}]")]
    if isinstance(tree, (tuple, list)):
        return [one for place, part in enumerate(tree) for one in named(part, f"{name}[{place}]")]
    return [(name, tree)] if isinstance(tree, TensorCore) else []


def spoiled(name: str, array: np.ndarray, of: str = " of the batch") -> str:
    """Where an array holds what is no number; "" where it is finite. ``of`` says what the index counts in.

    >>> spoiled("inputs", np.array([[1.0, 2.0], [np.nan, 0.0]]))
    'inputs holds nan at index [1, 0] of the batch, the first of 1 out of 4 numbers that are NaN or infinite'
    """
    if array.dtype.kind != "f":
        return ""
    bad = ~np.isfinite(array)
    if not bad.any():
        return ""
    where = tuple(int(one) for one in np.argwhere(bad)[0])
    return (
        f"{name} holds {array[where]} at index {list(where)}{of}, the first of {int(bad.sum())} out of "
        f"{array.size} numbers that are NaN or infinite"
    )


class _Data(NamedTuple):
    """Numbers of the batch as they enter a product with weights."""

    name: str
    array: np.ndarray
    given: np.dtype[Any]  # dtype of the input that they were made of
    op: str
    site: str


class Entering(Observer):
    """Follows the inputs up to the weights that multiply them, through whatever scales or reshapes them on the way."""

    def __init__(self, inputs: Any) -> None:
        self.data: list[_Data] = []
        # By the id of an array, which is held with it: an id means something while its array lives.
        self._behind: dict[int, tuple[np.ndarray, str, np.dtype[Any]]] = {}
        for name, tensor in named(inputs, "inputs"):
            if tensor.node is None:
                self._behind[id(tensor.array)] = tensor.array, name, tensor.array.dtype

    def op(
        self, op: Op, inputs: list[Any], params: dict[str, Any], outputs: tuple[Any, ...], node: Node | None,
        scope: Scope | None,
    ) -> None:  # fmt: skip
        known = [self._behind.get(id(value)) if isinstance(value, np.ndarray) else None for value in inputs]
        if node is None:
            first = next((one for one in known if one is not None), None)
            if first is not None:
                for output in outputs[: op.outputs]:
                    if isinstance(output, np.ndarray):
                        self._behind[id(output)] = output, first[1], first[2]
            return
        for position in _PRODUCTS.get(op.name, ()):
            found = known[position] if position < len(known) else None
            if found is not None and node.parents[position] is None and not any(found[0] is d.array for d in self.data):
                site = calling_site()
                self.data.append(_Data(found[1], found[0], found[2], op.name, "" if site is None else str(site)))


def check_inputs(inputs: Any, entering: Entering, finite: bool) -> Iterator[Finding]:
    """Inputs that are not finite, not scaled, or all the same.

    Args:
        inputs: of the batch.
        entering: what saw the step.
        finite: whether the step gave a finite loss and finite gradients: then the model knows how to handle NaN.
    """
    floating = [(name, one.array) for name, one in named(inputs, "inputs") if one.array.dtype.kind == "f"]
    bad = [] if finite else [what for name, array in floating if (what := spoiled(name, array))]
    for what in bad:
        advice = "Remove these samples, or fill them in: np.nan_to_num(x), or the mean of the column."
        yield Finding("inputs", what, advice, severity="error")
    if bad:
        return
    whole = [one.array for _, one in named(inputs, "inputs")]
    if floating and all(one.ndim and len(one) > 1 and one.size and bool((one == one[:1]).all()) for one in whole):
        shown = "" if np.ptp(floating[0][1]) else f": every number is {floating[0][1].flat[0]:g}"
        yield Finding("inputs", f"all {len(whole[0])} samples of the batch are the same{shown}", "Are the data loaded?")
        return
    told: set[str] = set()
    for one in entering.data:
        finding = _scale(one)
        if finding is not None and one.name not in told:
            told.add(one.name)
            yield finding


def _scale(data: _Data) -> Finding | None:
    array = data.array
    if array.ndim < 2 or array.size < 2 or array.dtype.kind != "f" or not np.isfinite(array).all():
        return None
    columns = array.reshape(-1, array.shape[-1])
    low, high, spread = float(columns.min()), float(columns.max()), float(columns.std(dtype=np.float64))
    what = f"{data.name} enters {data.op} unscaled: from {low:.4g} to {high:.4g}, standard deviation {spread:.3g}"
    if data.given.kind in "biu":
        what += f", as {data.given}"
    if data.name != "inputs" or data.array.shape[0] < 2:
        standardise = "Standardise it: (x - mean) / std, with the numbers of the training data."
    else:
        standardise = "Standardise each column: (x - x.mean(0)) / x.std(0), with the numbers of the training data."
    if low >= 0 and high <= 255 and high > 100 and spread > _SPREAD and bool((columns == np.rint(columns)).all()):
        return Finding("inputs", what, "These are bytes of images: x / 255 (transforms.ToTensor() does it).", data.site)
    typical = np.abs(columns).mean(axis=0)  # of a column, which an outlier or two do not make large
    large = typical > _LARGEST
    if large.any() and large.mean() < 0.5:
        worst = int(typical.argmax())
        column = columns[:, worst].astype(np.float64)
        others = f" (and {int(large.sum()) - 1} more)" if large.sum() > 1 else ""
        what = (
            f"column {worst}{others} of {data.name} enters {data.op} unscaled: mean {column.mean():.4g}, standard deviation "
            f"{column.std():.3g}, from {column.min():.4g} to {column.max():.4g}"
        )
    if large.any() or spread > _SPREAD:
        return Finding("inputs", what, standardise, data.site)
    return _uneven(columns, data, standardise)


def _uneven(columns: np.ndarray, data: _Data, standardise: str) -> Finding | None:
    """Columns whose scales lie too far apart. A column that is mostly one number, as border pixels are, has no scale."""
    if len(columns) < 4:
        return None
    spreads = columns.std(axis=0, dtype=np.float64)
    varying = spreads > 1e-20 * spreads.max()  # less is a constant, in all but name
    if not varying.any() or spreads.max() <= _RATIO * spreads[varying].min():
        return None
    varying &= (columns != np.median(columns, axis=0)).mean(axis=0) > 0.4
    if not varying.any():
        return None
    places = np.flatnonzero(varying)
    small, large = (int(places[one]) for one in (spreads[places].argmin(), spreads[places].argmax()))
    if spreads[large] <= _RATIO * spreads[small]:
        return None
    return Finding(
        "inputs",
        f"the columns of {data.name} have very different scales: standard deviation {spreads[large]:.3g} of column {large}, "
        f"{spreads[small]:.3g} of column {small}",
        standardise,
        data.site,
    )
