"""What the loss compares: the shapes of outputs and targets, and the numbers that targets may be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...engine import TensorCore
from ..loss_kind import BINARY, CLASSES, LOGS, PAIRED, kind_of, name_of, option_of, takes_logits
from .finding import Finding
from .inputs import named, spoiled

__all__ = ["check_labels", "check_outputs", "check_shapes"]

_SPARSE = "sparse"  # class indices beside scores whose last side is the classes, as Keras has it
_KERAS = {"sparse_categorical_crossentropy": _SPARSE, "binary_crossentropy": BINARY}  # by the loss's ``name``


def _arrays(outputs: Any, targets: Any) -> tuple[np.ndarray, np.ndarray] | None:
    if isinstance(outputs, TensorCore) and isinstance(targets, TensorCore):
        return outputs.array, targets.array
    return None


def _without_classes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


# ---------------------------------------------------------------- shapes


def check_shapes(loss: Any, outputs: Any, targets: Any) -> Iterator[Finding]:
    """Outputs and targets that do not fit each other; the loss will refuse them."""
    kind, both = kind_of(loss), _arrays(outputs, targets)
    if not kind or both is None:
        return
    given, wanted = both[0].shape, both[1].shape
    if kind in (BINARY, PAIRED):
        if given != wanted:
            what = f"{name_of(loss)} compares element by element, and the outputs are {given}, the targets {wanted}"
            yield Finding("shapes", what, _pair_advice(loss, given, wanted, both[1]), severity="error")
        return
    if not given:
        yield Finding(
            "shapes", f"{name_of(loss)} needs a score for each class and sample, and the output is one number",
            "Let the model end with Linear(…, number of classes).", severity="error",
        )  # fmt: skip
        return
    expected = _without_classes(given)
    if wanted == expected or (wanted == given and kind == CLASSES and both[1].dtype.kind == "f"):
        return
    what = f"{name_of(loss)} of outputs {given} needs class indices of shape {expected}, and the targets are {wanted}"
    if wanted == given and both[1].dtype.kind in "biu":
        what = f"{name_of(loss)} takes class indices of shape {expected}, and the targets are {both[1].dtype} {wanted}"
        rows = both[1].reshape(-1) if both[1].ndim < 2 else both[1].sum(axis=1)
        advice = "Give it class indices (y.argmax(1)), or probabilities as floating numbers (y.float())."
        if not bool((rows == 1).all()):
            advice = "Several classes for one sample are the business of nn.BCEWithLogitsLoss (targets y.float())."
    elif len(given) == 1 and wanted == given:
        what = f"{name_of(loss)} needs a score for each class, and the outputs are {given}: one number for each sample"
        advice = (
            "For two classes use nn.BCEWithLogitsLoss; for more let the model end with Linear(…, number of classes)."
        )
    elif math.prod(wanted) == math.prod(expected):
        dims = [dim for dim, side in enumerate(wanted) if side == 1]
        advice = f"Write targets.squeeze({dims[0]})." if len(dims) == 1 else f"Write targets.reshape{expected}."
    elif given[0] != (wanted[0] if wanted else 1):
        advice = (
            f"The model gives {given[0]} rows for {wanted[0] if wanted else 1} samples: look for a reshape in it that "
            "mixes the samples."
        )
    else:
        advice = "The dimension after the samples is that of the classes."
    yield Finding("shapes", what, advice, severity="error")


def _pair_advice(loss: Any, given: tuple[int, ...], wanted: tuple[int, ...], targets: np.ndarray) -> str:
    for dim, side in enumerate(given):
        if side == 1 and given[:dim] + given[dim + 1 :] == wanted:
            return f"Broadcast, each output would meet every target. Write targets.unsqueeze({dim})."
    for dim, side in enumerate(wanted):
        if side == 1 and wanted[:dim] + wanted[dim + 1 :] == given:
            return f"Broadcast, each output would meet every target. Write targets.squeeze({dim})."
    if len(given) == 2 and wanted == given[:1]:
        if targets.dtype.kind in "iu":
            return f"For class indices beside {given[1]} outputs use nn.CrossEntropyLoss."
        return f"The model gives {given[1]} numbers for each sample, and there is one to compare them with."
    if math.prod(given) == math.prod(wanted):
        return "If the elements correspond in order, write targets.reshape(outputs.shape)."
    if given and wanted and given[0] != wanted[0]:
        return (
            f"The model gives {given[0]} rows for {wanted[0]} targets: look for a reshape in it that mixes the samples."
        )
    return "Both need the same shape."


# ---------------------------------------------------------------- labels


def check_labels(loss: Any, outputs: Any, targets: Any) -> Iterator[Finding]:
    """Targets that are no classes, no probabilities or no numbers."""
    for name, tensor in named(targets, "targets"):
        what = spoiled(name, tensor.array)
        if what:
            yield Finding("labels", what, "Remove these samples.", severity="error")
            return
    kind, both = kind_of(loss) or _KERAS.get(str(getattr(loss, "name", "")), ""), _arrays(outputs, targets)
    if not kind or not isinstance(targets, TensorCore) or not targets.array.size:
        return
    if kind == BINARY:
        yield from _binary(loss, targets.array)
    elif kind == _SPARSE and both is not None and both[0].ndim > 1:
        numbers = both[1]  # which Keras takes as floating numbers too, and with a last side of 1
        if (numbers == np.rint(numbers)).all():
            yield from _in_range(loss, both[0].shape[-1], numbers.astype(np.int64))
    elif kind in (CLASSES, LOGS) and both is not None and both[0].ndim:
        yield from _classes(loss, *both)


def _binary(loss: Any, array: np.ndarray) -> Iterator[Finding]:
    low, high = array.min(), array.max()
    if low >= 0 and high <= 1:
        return
    values = np.unique(array)
    advice = (
        f"Give it 0 and 1: map the targets to them, or use nn.{'MSELoss' if len(values) > 2 else 'CrossEntropyLoss'}."
    )
    if len(values) <= 2 and set(values.tolist()) <= {-1.0, 1.0}:
        advice = "Give it 0 and 1: (y + 1) / 2."
    elif len(values) <= 2 and set(values.tolist()) <= {1.0, 2.0}:
        advice = "Give it 0 and 1: y - 1."
    elif array.dtype.kind in "iu" and low >= 0:
        advice = "For more than two classes use nn.CrossEntropyLoss, with an output for each class."
    what = f"{name_of(loss)} takes targets in [0, 1], and these run from {low:g} to {high:g}"
    yield Finding("labels", what, advice, severity="error")


def _classes(loss: Any, outputs: np.ndarray, array: np.ndarray) -> Iterator[Finding]:
    count = outputs.shape[1] if outputs.ndim > 1 else outputs.shape[0]
    if array.shape == outputs.shape and array.dtype.kind == "f":
        yield from _probabilities(loss, array)
        return
    if array.shape == outputs.shape and outputs.ndim > 1:
        return  # one-hot codes of whole numbers, of which "shapes" speaks
    if array.dtype.kind == "f":
        whole = bool((array == np.rint(array)).all())
        what = f"{name_of(loss)} takes class indices, whole numbers, and the targets are {array.dtype}"
        first = ", ".join(f"{one:g}" for one in array.reshape(-1)[:3])
        if whole:
            yield Finding("labels", what, "Write y.long() (y.astype('int64') of an array).", severity="error")
            array = array.astype(np.int64)
        else:
            yield Finding("labels", f"{what}: {first}, …", "For regression use nn.MSELoss.", severity="error")
            return
    if array.dtype.kind == "b":
        what = f"{name_of(loss)} takes class indices, whole numbers, and the targets are bool"
        yield Finding("labels", what, "Write y.long() (y.astype('int64') of an array).", severity="error")
        return
    yield from _in_range(loss, count, array)


def _in_range(loss: Any, count: int, array: np.ndarray) -> Iterator[Finding]:
    """Whether class numbers are those of ``count`` outputs."""
    ignored = option_of(loss, "ignore_index", None)
    if ignored is None:
        ignored = option_of(loss, "ignore_class", None)
    ignored = -100 if ignored is None else ignored
    counted = array[array != ignored]
    if not counted.size:
        what = f"all {array.size} labels of the batch are ignore_index = {ignored}, so the loss is a mean over nothing"
        yield Finding("labels", what, "Are these the right labels?", severity="error")
        return
    low, high = int(counted.min()), int(counted.max())
    if low >= 0 and high < count:
        return
    what = f"the labels run from {low} to {high}, and the model has {count} outputs, for the classes 0 to {count - 1}"
    if count == 1:
        advice = (
            "For two classes and one output use nn.BCEWithLogitsLoss; else give the model an output for each class."
        )
    elif low >= 1 and high == count:
        advice = "Subtract 1: y - 1."
    elif low < 0:
        where = [int(one) for one in np.argwhere((array < 0) & (array != ignored))[0]]
        advice = f"The first label below 0 is at index {where} of the batch; CrossEntropyLoss(ignore_index={low}) leaves it out."
        if set(np.unique(counted).tolist()) <= {-1, 1}:
            advice = "Write (y + 1) // 2."
    else:
        where = [int(one) for one in np.argwhere((array >= count) & (array != ignored))[0]]
        advice = (
            f"Let the last layer have {high + 1} outputs or more, or look at the label {high} (the first of {count} or more "
            f"is at index {where} of the batch)."
        )
    yield Finding("labels", what, advice, severity="error")


def _probabilities(loss: Any, array: np.ndarray) -> Iterator[Finding]:
    sums = array.sum(axis=1 if array.ndim > 1 else 0)
    low = float(array.min())
    if low < 0 or not np.allclose(sums, 1, atol=1e-3):
        yield Finding(
            "labels",
            f"{name_of(loss)} takes targets of the outputs' shape for probabilities, and a sample's add up to "
            f"{float(np.min(sums)):.4g} to {float(np.max(sums)):.4g}" + (f", the least being {low:.4g}" if low < 0 else ""),
            "Let each sample's add up to 1. For several classes of one sample use nn.BCEWithLogitsLoss, for numbers "
            "nn.MSELoss.",
        )  # fmt: skip


# ---------------------------------------------------------------- outputs


def check_outputs(loss: Any, outputs: Any) -> Iterator[Finding]:
    """Outputs that are not what the loss takes them for."""
    if not isinstance(outputs, TensorCore) or not outputs.array.size or outputs.array.dtype.kind != "f":
        return
    array, kind = outputs.array, kind_of(loss)
    if not np.isfinite(array).all():
        return
    if kind == LOGS and array.ndim > 1:
        sums = np.exp(array.astype(np.float64)).sum(axis=1)
        if not np.allclose(sums, 1, atol=1e-2):
            yield Finding(
                "output",
                f"{name_of(loss)} takes log-probabilities, and the probabilities of a sample add up to {sums[0]:.4g}, not 1",
                "Use nn.CrossEntropyLoss on scores, or let the model end with nn.LogSoftmax(1).", severity="error",
            )  # fmt: skip
    elif kind == BINARY and not takes_logits(loss) and (array.min() < 0 or array.max() > 1):
        yield Finding(
            "output",
            f"{name_of(loss)} takes probabilities, and the outputs run from {array.min():.4g} to {array.max():.4g}",
            "Use nn.BCEWithLogitsLoss, which takes any number, or let the model end with nn.Sigmoid().", severity="error",
        )  # fmt: skip
