"""Targets and last layers that do not belong to a loss: found before it computes, and said with the way out."""

from __future__ import annotations

from typing import Any

from ..engine import here, warn
from ..errors import ShapeError
from . import activations
from .layers.dense import Dense
from .losses import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy

__all__ = ["check_last_layer", "check_targets"]


def check_last_layer(layer: Any, loss: Any) -> None:
    """Warn where a `Dense` layer without an activation goes into a loss that takes probabilities."""
    if type(layer) is not Dense or layer.activation is not activations.linear or loss is None:
        return
    for name in ("softmax", "sigmoid"):
        if loss.with_logits(name) is not None:
            warn(
                f"the last layer {layer.name!r} has no activation, and {loss.name} takes probabilities, so it clips what is "
                f"below 0.\n  Give the layer activation={name!r}, or compile with "
                f"loss=keras.losses.{type(loss).__name__}(from_logits=True)."
            )


def check_targets(loss: Any, targets: Any, outputs: Any) -> None:
    """See whether targets fit a model's outputs under a loss of `keras.losses`, where its own error would say less.

    Raises:
        ShapeError: they do not.

    >>> import autograd_ff as af
    >>> from autograd_ff import keras
    >>> check_targets(keras.losses.SparseCategoricalCrossentropy(), af.tensor([0, 2]), af.ones(2, 3))
    """
    wanted, given = tuple(outputs.shape), tuple(targets.shape)
    if given == wanted and type(loss) is not SparseCategoricalCrossentropy:
        return
    numbers = given in (wanted[:-1], (*wanted[:-1], 1))  # one for each sample
    if not numbers and len(wanted) > 2 and len(given) <= 2 and wanted[:1] == given[:1]:
        raise ShapeError(
            f"the model's outputs have shape {wanted}, and the targets {given}: a Dense layer works on the last dimension "
            f"alone, and the others are still there.{here()}\n"
            "  Put keras.layers.Flatten() first in the model, or flatten the inputs: x.reshape(len(x), -1)."
        )
    if getattr(loss, "axis", -1) != -1:
        return
    if type(loss) is SparseCategoricalCrossentropy and given == wanted and len(given) > 1 and wanted[-1] > 1:
        raise ShapeError(
            f"the targets have shape {given}: they are one-hot, and sparse_categorical_crossentropy takes class numbers."
            f"{here()}\n  Use loss='categorical_crossentropy', or class numbers: y.argmax(-1)."
        )
    if type(loss) is CategoricalCrossentropy and numbers and wanted[-1:] != (1,):
        raise ShapeError(
            f"the targets have shape {given}: they are class numbers, and categorical_crossentropy takes one-hot rows of "
            f"shape {wanted}.{here()}\n"
            f"  Use loss='sparse_categorical_crossentropy', or keras.utils.to_categorical(y, {wanted[-1]})."
        )
    if type(loss) is CategoricalCrossentropy and len(wanted) == len(given) and wanted[:-1] == given[:-1]:
        raise ShapeError(
            f"the targets have {given[-1]} classes, and the model's outputs {wanted[-1]}.{here()}\n"
            f"  Give the last layer {given[-1]} units, or keras.utils.to_categorical(y, {wanted[-1]})."
        )
    if type(loss) is BinaryCrossentropy and numbers and wanted[-1] > 1:
        raise ShapeError(
            f"the targets have shape {given}, and the model's outputs {wanted}: binary_crossentropy compares one output with "
            f"one target.{here()}\n  Give the last layer 1 unit; or, for {wanted[-1]} classes, activation='softmax' and "
            "loss='sparse_categorical_crossentropy'."
        )
