"""Penalties on large weights, to be added to a loss.

A regularizer is called with a Tensor, or with a Module for the sum over its weights. Weight decay is something else, and
an option of the optimizers: it shrinks the weights directly, which for Adam is not the same as adding an L2 penalty.
"""

from __future__ import annotations

from typing import Any

from ..engine import here
from ..errors import ShapeError
from ..functions.tensor import Tensor
from .module import Module

__all__ = ["L1", "L1L2", "L2", "Regularizer"]


class Regularizer:
    """The base of all penalties: a subclass defines `penalty`, what one tensor costs.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import regularizers
    >>> class Squared(regularizers.Regularizer):
    ...     def penalty(self, weight):
    ...         return (weight * weight).sum()
    >>> Squared()(af.tensor([1.0, 2.0])).item()
    5.0
    """

    def penalty(self, weight: Tensor) -> Tensor:
        """What one tensor of weights costs, a number."""
        raise NotImplementedError(f"{type(self).__name__} does not define penalty()")

    def __call__(self, weights: Tensor | Module) -> Tensor:
        """What the weights cost: those of a tensor, or all of a module.

        Of a module the parameters with two dimensions or more count, which are the weights; biases and gains are left
        out, because they multiply nothing and do not overfit.
        """
        if not isinstance(weights, Module):
            return self.penalty(weights)
        counted: list[Any] = [one for one in weights.parameters() if one.ndim > 1]
        if not counted:
            raise ShapeError(
                f"{type(weights).__name__} has no parameter of two dimensions or more to penalise.{here()}\n"
                "  Call the regularizer with the parameter itself."
            )
        total = self.penalty(counted[0])
        for weight in counted[1:]:
            total = total + self.penalty(weight)
        return total

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """The regularizer whose `get_config` this is."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value}' for key, value in self.get_config().items())})"


def _factor(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ShapeError(f"{name} is the factor of a penalty, a number from 0 up, not {value!r}.{here()}")
    return float(value)


class L1L2(Regularizer):
    """``l1 * sum(|w|) + l2 * sum(w²)``.

    The first term makes weights exactly zero, the second keeps them small (Zou and Hastie 2005, "Regularization and
    variable selection via the elastic net").

    Args:
        l1: the factor of the sum of magnitudes.
        l2: the factor of the sum of squares. Without the factor ½ that textbooks put there: the gradient is 2 l2 w.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import regularizers
    >>> regularizers.L1L2(l1=0.5, l2=0.25)(af.tensor([1.0, -2.0])).item()
    2.75
    >>> layer = af.nn.Linear(3, 2)
    >>> regularizers.L1L2(l1=0.01)(layer).shape
    ()
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _factor("l1", l1)
        self.l2 = _factor("l2", l2)

    def penalty(self, weight: Tensor) -> Tensor:
        """The cost of one tensor."""
        if not self.l2:
            return weight.abs().sum() * self.l1
        squares = (weight * weight).sum() * self.l2
        return weight.abs().sum() * self.l1 + squares if self.l1 else squares

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """``l1 * sum(|w|)``: weights that do not help become exactly zero. Source: Tibshirani 1996, the lasso.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import regularizers
    >>> regularizers.L1(0.5)(af.tensor([1.0, -2.0])).item()
    1.5
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(L1L2):
    """``l2 * sum(w²)``: all weights stay small. Source: Hoerl and Kennard 1970, ridge regression.

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import regularizers
    >>> regularizers.L2(0.5)(af.tensor([1.0, -2.0])).item()
    2.5
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}
