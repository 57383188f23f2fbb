"""Parameters that will not learn: without a gradient, with a gradient of 0, or without an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ...autograd import grad
from ...engine import Node
from ...nn import Module
from ..holdings import optimized
from .finding import Finding, listed

__all__ = ["check_held", "check_zero", "named_parameters"]


def named_parameters(trainer: Any) -> dict[str, Any]:
    """What may be trained: the parameters of the model and of a loss that has some."""
    found = dict(trainer.model.named_parameters())
    known = {id(one) for one in found.values()}
    if isinstance(trainer.loss, Module):
        found.update((f"loss.{name}", one) for name, one in trainer.loss.named_parameters() if id(one) not in known)
    return found


def check_held(trainer: Any, reached: set[Node]) -> Iterator[Finding]:
    """Parameters that no optimizer of the trainer's updates, and parameters of its optimizer that are nobody's.

    Args:
        reached: the nodes of the step's graph.
    """
    if not hasattr(trainer.optimizer, "param_groups"):
        return
    held = {id(one): one for one in optimized(trainer)}
    own = named_parameters(trainer)
    known = {id(one) for one in own.values()}
    trained = {name: one for name, one in own.items() if one.requires_grad}
    if trained and held and not known.intersection(held):
        yield Finding(
            "parameters",
            f"the optimizer holds {len(held)} parameters, and none of the model's {len(own)}: it was made for another "
            "model, or before the model's parameters were replaced",
            "Make the optimizer from model.parameters(), after the model is complete.", severity="error",
        )  # fmt: skip
        return
    missing = tuple(name for name, one in trained.items() if id(one) not in held)
    if missing and held:
        many = len(missing) > 1
        yield Finding(
            "parameters",
            f"the optimizer does not hold {listed(missing)}, which {'want' if many else 'wants'} a gradient and will stay "
            "as at the start",
            "Give it model.parameters(), or freeze what is to stay: requires_grad_(False).", names=missing,
        )  # fmt: skip
    foreign = [one for key, one in held.items() if key not in known and one.node not in reached]
    if foreign:
        yield Finding(
            "parameters",
            f"the optimizer holds {len(foreign)} parameters that are not the model's, and on which the loss does not "
            f"depend, the first of shape {tuple(foreign[0].shape)}",
            "Make the optimizer after the model is complete, from model.parameters().",
        )


def check_zero(
    parameters: Mapping[str, Any], gradients: Mapping[str, np.ndarray], loss: Callable[[], Any]
) -> Iterator[Finding]:
    """Parameters whose gradient is 0 in every element, and stays so when the others have moved.

    A last layer that starts at 0 keeps the gradient from all before it, for one step. So the others take a step before
    anything is said; the caller puts the parameters back.

    Args:
        parameters: by name.
        gradients: of those that the loss depends on.
        loss: the loss for the parameters as they are.
    """
    dead = [name for name, one in gradients.items() if one.size and not one.any()]
    if not dead:
        return
    if len(dead) == len(gradients):
        yield Finding(
            "parameters", "the gradient of every parameter is exactly 0, so nothing will be learnt",
            "Does the loss depend on the outputs here, or is it at its minimum? Are all inputs, weights or sample weights "
            "0? Has every ReLU died?", names=tuple(dead),
        )  # fmt: skip
        return
    dead = [name for name in dead if gradients[name].size > 1]  # one number may cancel out by chance
    if not dead:
        return
    for name, gradient in gradients.items():
        if gradient.any():
            parameters[name].array[...] -= 0.01 * np.sign(gradient)
    after = loss()
    tensors = [parameters[name] for name in dead]
    found = grad(after, tensors, allow_unused=True) if after.requires_grad else [None] * len(dead)
    still = tuple(
        name for name, one in zip(dead, found, strict=True) if one is None or not one.detach().array.any()
    )  # fmt: skip
    if still:
        many = len(still) > 1
        zero = [name for name in still if not parameters[name].array.any() and parameters[name].array.ndim > 1]
        advice = (
            f"{listed(zero)} start{'s' if len(zero) == 1 else ''} at 0: draw the weights at random (nn.init.kaiming_uniform_)."
            if zero
            else "Does everything behind end in a ReLU that is negative for the whole batch? Look at the biases, and at how "
            "large the weights are."
        )
        yield Finding(
            "parameters",
            f"{listed(still)} get{'' if many else 's'} a gradient of exactly 0, also after a step of the other parameters",
            advice, names=still,
        )  # fmt: skip
