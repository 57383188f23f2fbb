"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import apply_raw, here, host
from ..errors import OptimizerError
from ..kernels.optimizers import adam_update, amsgrad_update
from .flat import FlatBuffer
from .optimizer import FlatOptimizer, check_hints, check_number

__all__ = ["Adam", "AdamW"]


class Adam(FlatOptimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    With the gradient ``g`` (plus ``weight_decay * p``), and ``t`` the number of steps this parameter has taken::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g²
        p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Kingma & Ba, "Adam: a method for stochastic optimization" (2015). With ``amsgrad`` the largest ``v`` so far takes
    the place of ``v``: Reddi et al., "On the convergence of Adam and beyond" (2018).

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of groups; see `Optimizer`.
        lr: learning rate; about the largest change of a parameter in a step.
        betas: how much of the running means each step keeps.
        eps: keeps the denominator from zero. It is added to the root, outside of it.
        weight_decay: factor of the L2 penalty, added to the gradient. The running means scale it with the gradient,
            so parameters with large gradients decay less; `AdamW` decays all alike.
        amsgrad: use the largest second moment so far.
        maximize: climb instead of descending.
        decoupled_weight_decay: decay as `AdamW` does.
        hints: PyTorch's ``foreach``, ``fused``, ``capturable`` and ``differentiable``: accepted; every update runs
            over flat arrays.

    Raises:
        OptimizerError: an option out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> w = af.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in w.tolist()]
    [0.9, 1.9]
    >>> optimizer.state[w]["step"].item()
    1.0
    """

    moment_names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **hints: Any,
    ) -> None:
        check_hints(hints.items())
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        defaults = {**options, "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        check_number("learning rate", group["lr"])
        check_number("epsilon value", group["eps"])
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise OptimizerError(f"betas must be a pair of numbers, got {group['betas']!r}{here()}")
        for index, beta in enumerate(group["betas"]):
            check_number(f"beta parameter at index {index}", beta, below=1.0)
        check_number("weight_decay value", group["weight_decay"])

    def _course_options(self, group: dict[str, Any]) -> Any:
        return group["amsgrad"], group["maximize"], group["decoupled_weight_decay"], not group["weight_decay"]

    def _update(self, buffer: FlatBuffer, gradients: list[np.ndarray | None], group: dict[str, Any]) -> None:
        op, moments = (amsgrad_update, self.moment_names) if group["amsgrad"] else (adam_update, self.moment_names[:2])
        buffer.require(*moments)
        for first, last in buffer.runs(gradients, by_count=True):
            window = buffer.window(first, last)
            options = host(self._advance, buffer, first, last, group)
            arrays = (window["param"], *[window[name] for name in moments], window["scratch"], *gradients[first:last])
            apply_raw(op, arrays, options)

    @staticmethod
    def _advance(buffer: FlatBuffer, first: int, last: int, group: dict[str, Any]) -> dict[str, Any]:
        """Count a step, and give the numbers that it takes."""
        beta1, beta2 = group["betas"]
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        decoupled = group["decoupled_weight_decay"]
        return {
            "lr": lr,
            "beta1": float(beta1),
            "beta2": float(beta2),
            "eps": float(group["eps"]),
            "decay": lr * decay if decoupled else 0.0,
            "weight_decay": 0.0 if decoupled else decay,
            "maximize": bool(group["maximize"]),
            "step": buffer.count(first, last),
        }


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Before each step of `Adam`, without a penalty in its gradient, the parameter shrinks by itself::

        p = p * (1 - lr * weight_decay)

    so that all parameters decay alike, however large their gradients. Loshchilov & Hutter, "Decoupled weight decay
    regularization" (2019), in PyTorch's form: the decay is scaled by the learning rate.

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of groups; see `Optimizer`.
        lr: learning rate.
        betas: how much of the running means each step keeps.
        eps: keeps the denominator from zero.
        weight_decay: by which part of itself, times ``lr``, a parameter shrinks.
        amsgrad: use the largest second moment so far.
        maximize: climb instead of descending.
        hints: as in `Adam`.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> w = af.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in w.tolist()]
    [0.85, 1.8]
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True, **hints
        )
