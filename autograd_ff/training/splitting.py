"""Holding samples back for validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data import Subset, TensorDataset
from ..engine import TensorCore, here, warn, wrap
from ..errors import DtypeError, ShapeError
from .batches import as_tensor, holds_arrays, is_dataset, is_numbers, leaves, parts_of, rebuilt

__all__ = ["split_off"]

SPLITS = ("last", "shuffled", "stratified")


def split_off(
    data: Any, targets: Any, weights: Any, fraction: float, how: str = "last", seed: int = 0
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Training and validation parts of arrays or of a Dataset, each as (data, targets, weights).

    Args:
        fraction: of the samples that are held back, between 0 and 1.
        how: ``"last"``, the last rows as they stand; ``"shuffled"``, at random; ``"stratified"``, at random with the same
            share of each class on both sides.
        seed: of the random choice, which the default generator has no part in.

    A class that is missing on one side is warned of.
    """
    if not isinstance(fraction, (int, float, np.number)) or not 0 < fraction < 1:
        raise ShapeError(f"validation_split is a fraction of the samples between 0 and 1, got {fraction!r}.{here()}")
    if how not in SPLITS:
        raise ShapeError(f"split is one of {', '.join(map(repr, SPLITS))}, not {how!r}.{here()}")
    if targets is None:
        data, targets, weights = parts_of(data, weights)
    data, targets, weights = (_array_of_numbers(one) for one in (data, targets, weights))
    arrays = holds_arrays(data)
    if not arrays and not is_dataset(data):
        raise DtypeError(
            f"validation_split divides arrays and Datasets, not {type(data).__name__}.{here()}\n"
            "  Split the dataset with autograd_ff.data.random_split, and give validation_data."
        )
    length = len(next(iter(leaves(data)))) if arrays else len(data)
    lengths = {len(leaf) for one in (data, targets, weights) if arrays and one is not None for leaf in leaves(one)}
    if len(lengths) > 1:
        raise ShapeError(f"inputs, targets and weights need the same number of samples, got {sorted(lengths)}.{here()}")
    held = length - math.floor(length * (1 - fraction))  # as Keras rounds
    if not 0 < held < length:
        raise ShapeError(
            f"validation_split={fraction} of {length} samples leaves {length - held} to train on and {held} to validate "
            f"on.{here()}"
        )
    classes = _classes(data, targets)
    order = _order(length, held, how, classes, np.random.default_rng(seed))
    _warn_of_missing_classes(classes, order, held, how)
    parts = []
    for chosen in (order[: length - held], order[length - held :]):
        if arrays:
            parts.append(
                tuple(None if one is None else rebuilt(one, [_rows(a, chosen) for a in leaves(one)])
                      for one in (data, targets, weights))
            )  # fmt: skip
        else:
            parts.append((Subset(data, chosen), None, None))
    return parts[0], parts[1]  # type: ignore[return-value]


def _array_of_numbers(value: Any) -> Any:
    return as_tensor(value, "lists") if isinstance(value, (list, tuple)) and is_numbers(value) else value


def _rows(array: Any, chosen: np.ndarray) -> Any:
    if hasattr(array, "to_numpy"):
        array = array.to_numpy()
    contiguous = len(chosen) and (np.diff(chosen) == 1).all()
    rows = slice(int(chosen[0]), int(chosen[-1]) + 1) if contiguous else chosen
    return wrap(array.array[rows]) if isinstance(array, TensorCore) else np.asarray(array)[rows]


def _classes(data: Any, targets: Any) -> np.ndarray | None:
    """The class of each sample where the targets are whole numbers in one column; else None."""
    if targets is None:
        targets = getattr(data, "targets", None)
        if targets is None and isinstance(data, TensorDataset) and len(data.tensors) > 1:
            targets = data.tensors[1]
    if targets is None or isinstance(targets, Mapping):
        return None
    array = targets.array if isinstance(targets, TensorCore) else np.asarray(targets)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    return array if array.ndim == 1 and array.dtype.kind in "biu" else None


def _order(length: int, held: int, how: str, classes: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
    """All positions, those to be held back at the end."""
    if how == "last":
        return np.arange(length)
    if how == "shuffled":
        return generator.permutation(length)
    if classes is None:
        raise DtypeError(
            f"split='stratified' needs targets that are classes: whole numbers, one for each sample.{here()}"
        )
    # Within each class at random; then each sample by its rank in its class, so that any end holds all classes alike.
    shuffled = generator.permutation(length)
    _, members, counts = np.unique(classes[shuffled], return_inverse=True, return_counts=True)
    by_class = np.argsort(members, kind="stable")
    rank = np.empty(length)
    rank[by_class] = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    order = shuffled[np.argsort(rank, kind="stable")]
    ordered: np.ndarray = np.concatenate([np.sort(order[: length - held]), np.sort(order[length - held :])])
    return ordered


def _warn_of_missing_classes(classes: np.ndarray | None, order: np.ndarray, held: int, how: str) -> None:
    if classes is None:
        return
    training, validation = np.unique(classes[order[:-held]]), np.unique(classes[order[-held:]])
    if len(training) + len(validation) > 2 * max(20, len(classes) // 10):
        return  # numbers rather than classes
    for side, other, name in ((training, validation, "training"), (validation, training, "validation")):
        missing = np.setdiff1d(other, side)
        if len(missing):
            shown = ", ".join(map(str, missing[:8].tolist())) + (", …" if len(missing) > 8 else "")
            out = "split='stratified'" if how != "last" else "split='shuffled' or split='stratified'"
            warn(
                f"validation_split leaves no sample of class {shown} in the {name} part, which holds the "
                f"{'last' if name == 'validation' else 'first'} rows as they stand; choose {out}."
                if how == "last"
                else f"validation_split leaves no sample of class {shown} in the {name} part; choose {out}."
            )
