"""Learning rate schedules, with PyTorch's numbers.

A scheduler sets ``group["lr"]`` of its optimizer's parameter groups: once when it is made, and at each `step`, which is
called after the optimizer's, once an epoch or once a batch as the schedule is meant. Most compute the next rate from
the present one, so that several schedulers on one optimizer multiply, and a rate set by hand is carried on.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, SupportsFloat

from ..engine import here, warn
from ..errors import OptimizerError, StateDictError
from .action import act
from .optimizer import Optimizer

__all__ = [
    "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ExponentialLR", "LRScheduler", "LambdaLR",
    "LinearLR", "MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


class LRScheduler:
    """Base class of the schedules: `get_lr` says what the rates are at ``self.last_epoch``.

    Args:
        optimizer: whose learning rates to set.
        last_epoch: the number of the last epoch; -1 to start. Another number goes on with groups that know their
            ``initial_lr`` from an earlier scheduler or a loaded state dict.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> class Halving(optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [base_lr * 0.5**self.last_epoch for base_lr in self.base_lrs]
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = Halving(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    _not_saved: tuple[str, ...] = ("optimizer", "_steps_before", "_is_initial")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make a ``step`` written outside of this package an action of Python's own, like those inside it."""
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None and not cls.__module__.startswith(f"{__package__}."):

            @functools.wraps(step)
            def acting(self: Any, *args: Any) -> None:
                act(step, self, *args)

            cls.step = acting  # type: ignore[method-assign]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _check_optimizer(optimizer)
        self.optimizer = optimizer
        for position, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise OptimizerError(
                    f"parameter group {position} has no 'initial_lr', from which a schedule goes on at epoch "
                    f"{last_epoch}.{here()}\n  Load the optimizer's state dict first, or start with last_epoch=-1."
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        """Set the rates of the first epoch."""
        self._step_count = 0
        self._steps_before = self.optimizer.steps_taken
        self._is_initial = True
        self.step()
        self._is_initial = False

    def _undo(self) -> None:
        """Take back the step that `_initial_step` made, except for the rates."""
        self.last_epoch -= 1

    def get_lr(self) -> list[float]:
        """The learning rate of each parameter group at ``self.last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def get_last_lr(self) -> list[float]:
        """The learning rates that were set last, one for each parameter group."""
        return self._last_lr

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go to the next epoch and set its learning rates. Call it after the optimizer's ``step``."""
        act(self._advance)

    def _advance(self) -> None:
        if self._step_count == 1:
            self._warn_of_order()
        self._step_count += 1
        self._update_lr()

    def _warn_of_order(self) -> None:
        taken = self.optimizer.steps_taken
        if taken is not None and taken == self._steps_before:
            warn(
                "lr_scheduler.step() was called before optimizer.step(), so the first learning rate of the schedule is "
                "skipped. Call optimizer.step() first."
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        self._welcome(self.optimizer.param_groups[len(self.base_lrs) :])
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            self.last_epoch = epoch
            rates = self._closed_form()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _welcome(self, groups: list[dict[str, Any]]) -> None:
        """Take in parameter groups that were added to the optimizer since the last step."""
        for group in groups:
            self.base_lrs.append(group.setdefault("initial_lr", group["lr"]))

    def _closed_form(self) -> list[float]:
        """The rates at ``self.last_epoch`` whatever the present ones are."""
        return self.get_lr()

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of everything that the scheduler knows, its optimizer aside, in numbers, strings and lists."""
        return {key: deepcopy(value) for key, value in self.__dict__.items() if key not in self._not_saved}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of `state_dict`.

        Raises:
            StateDictError: the state lacks what this scheduler needs.
        """
        expected = [key for key in self.__dict__ if key not in self._not_saved]
        missing = [key for key in expected if key not in state_dict]
        if missing:
            raise StateDictError(
                f"the state dict of {type(self).__name__} lacks {', '.join(missing)}.{here()}\n"
                "  It is another scheduler's, or damaged."
            )
        for key in expected:
            setattr(self, key, deepcopy(state_dict[key]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(last_epoch={self.last_epoch}, lr={self._last_lr})"


def _check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise OptimizerError(f"a scheduler needs an Optimizer, got {type(optimizer).__name__}{here()}")


def _for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each parameter group, of one for all or a list."""
    if not isinstance(value, (list, tuple)):
        return [value] * len(optimizer.param_groups)
    if len(value) != len(optimizer.param_groups):
        raise OptimizerError(
            f"expected {len(optimizer.param_groups)} values of {name}, one for each parameter group, got "
            f"{len(value)}{here()}"
        )
    return list(value)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise OptimizerError(f"Expected positive integer {name}, but got {value!r}{here()}")
    return value


def cosine_between(start: float, end: float, part: float) -> float:
    """From ``start`` to ``end`` along half a cosine, ``part`` of the way."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def line_between(start: float, end: float, part: float) -> float:
    return (end - start) * part + start


class LambdaLR(LRScheduler):
    """The initial rate times a function of the epoch: ``lr = initial_lr * lr_lambda(epoch)``.

    Args:
        optimizer: whose learning rates to set.
        lr_lambda: a function of the epoch, or a list of one for each parameter group. Functions are not part of the
            state dict; callable objects are, by their attributes.
        last_epoch: the number of the last epoch.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    _not_saved = (*LRScheduler._not_saved, "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer)
        self.lr_lambdas = _for_each_group("lr_lambda", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def _welcome(self, groups: list[dict[str, Any]]) -> None:
        if groups and len(set(self.lr_lambdas)) > 1:
            raise OptimizerError(
                f"a parameter group was added, and LambdaLR has a function for each of the {len(self.lr_lambdas)} "
                f"before.{here()}\n  Append one to scheduler.lr_lambdas and its rate to scheduler.base_lrs."
            )
        super()._welcome(groups)
        self.lr_lambdas += self.lr_lambdas[:1] * len(groups)

    def get_lr(self) -> list[float]:
        return [
            base_lr * function(self.last_epoch)
            for function, base_lr in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["lr_lambdas"] = [
            None if callable(function) and hasattr(function, "__code__") else deepcopy(vars(function))
            for function in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for function, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes is not None:
                vars(function).update(deepcopy(attributes))


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` epochs: ``lr = initial_lr * gamma ** (epoch // step_size)``.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = _whole("step_size", step_size)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        return [base_lr * self.gamma ** (self.last_epoch // self.step_size) for base_lr in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` at each of the ``milestones``: ``lr = initial_lr * gamma ** (milestones reached)``.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        reached = self.milestones.count(self.last_epoch)
        return [rate * self.gamma**reached for rate in self._rates()] if reached else self._rates()

    def _closed_form(self) -> list[float]:
        return [base_lr * self.gamma ** bisect_right(self.milestones, self.last_epoch) for base_lr in self.base_lrs]

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if isinstance(self.milestones, Mapping):  # PyTorch keeps them as a Counter
            self.milestones = sorted(epoch for epoch, times in self.milestones.items() for _ in range(times))


class ConstantLR(LRScheduler):
    """The rate times ``factor`` during the first ``total_iters`` epochs, and whole from then on.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise OptimizerError(f"Constant multiplicative factor expected to be between 0 and 1, got {factor}{here()}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch != self.total_iters:
            return self._rates()
        # A rate of zero cannot be multiplied back.
        return [rate * (1.0 / self.factor) for rate in self._rates()] if self.factor else list(self.base_lrs)

    def _closed_form(self) -> list[float]:
        return [base_lr * (1 if self.last_epoch >= self.total_iters else self.factor) for base_lr in self.base_lrs]


class LinearLR(LRScheduler):
    """The rate times a factor that goes in a line from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise OptimizerError(
                f"Starting multiplicative factor expected to be greater than 0 and at most 1, got {start_factor}{here()}"
            )
        if not 0 <= end_factor <= 1:
            raise OptimizerError(
                f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}{here()}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = _whole("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        difference = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * difference
        return [rate * (1.0 + difference / before) for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        part = min(self.total_iters, self.last_epoch) / self.total_iters
        return [base_lr * line_between(self.start_factor, self.end_factor, part) for base_lr in self.base_lrs]


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` every epoch: ``lr = initial_lr * gamma ** epoch``.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._rates() if self._is_initial else [rate * self.gamma for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        return [base_lr * self.gamma**self.last_epoch for base_lr in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """From the initial rate to ``eta_min`` along half a cosine in ``T_max`` epochs, and back in the next ``T_max``.

    ``lr = eta_min + (initial_lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2``, computed from one epoch to the next.
    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), without the restarts.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += [round(rate, 3) for rate in scheduler.get_last_lr()]
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = _whole("T_max", T_max)
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, low = self.last_epoch, self.eta_min
        if self._is_initial:
            return self._rates()
        if self._step_count == 1 and epoch > 0:
            return self._closed_form()
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the rate is eta_min: there is nothing to multiply
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [rate + (base_lr - low) * rise for rate, base_lr in zip(self._rates(), self.base_lrs, strict=True)]
        now, before = math.cos(math.pi * epoch / self.T_max), math.cos(math.pi * (epoch - 1) / self.T_max)
        return [(1 + now) / (1 + before) * (rate - low) + low for rate in self._rates()]

    def _closed_form(self) -> list[float]:
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (base_lr - self.eta_min) * height / 2 for base_lr in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate to ``eta_min`` in ``T_0`` epochs, then again in ``T_0 * T_mult``, and so on.

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017). `step` may be given the epoch
    as a fraction, to anneal within epochs: ``scheduler.step(epoch + batch / batches)``.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += [round(rate, 3) for rate in scheduler.get_last_lr()]
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = self.T_i = _whole("T_0", T_0)
        self.T_mult = _whole("T_mult", T_mult)
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base_lr - self.eta_min) * height / 2 for base_lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to ``epoch``, which may be a fraction."""
        act(self._go_to, epoch)

    def _go_to(self, epoch: float | None) -> None:
        if self._step_count == 1:
            self._warn_of_order()
        self._step_count += 1
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            if epoch < 0:
                raise OptimizerError(f"Expected non-negative epoch, but got {epoch}{here()}")
            self._enter(epoch)
        self.last_epoch = math.floor(epoch)
        self._welcome(self.optimizer.param_groups[len(self.base_lrs) :])
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _enter(self, epoch: float) -> None:
        """Find the cycle that an epoch is in."""
        start, length = 0, self.T_0
        if self.T_mult == 1:
            start = int(epoch // length) * length
        else:
            while epoch >= start + length:
                start, length = start + length, length * self.T_mult
        self.T_cur, self.T_i = epoch - start, length

    def _update_lr(self, epoch: int | None = None) -> None:
        self._go_to(epoch)


class OneCycleLR(LRScheduler):
    """One rise of the rate to ``max_lr`` and one fall to almost nothing, in ``total_steps`` steps: one for each batch.

    From ``max_lr / div_factor`` up to ``max_lr`` during the first ``pct_start`` of the steps, then down to the initial
    rate divided by ``final_div_factor``. Momentum (or Adam's beta1) goes the opposite way. Smith & Topin,
    "Super-convergence: very fast training of neural networks using large learning rates" (2019).

    Args:
        optimizer: whose learning rates to set.
        max_lr: the top of the rate, for all parameter groups or a list of one for each.
        total_steps: the number of steps in all; or give
        epochs, steps_per_epoch: their product.
        pct_start: the part of the steps in which the rate rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: let momentum fall and rise as the rate rises and falls.
        base_momentum: the bottom of the momentum.
        max_momentum: the top of the momentum.
        div_factor: ``max_lr`` over the initial rate.
        final_div_factor: the initial rate over the last.
        three_phase: fall to the initial rate as long as it rose, and only then to the last.
        last_epoch: the number of the last step.

    Raises:
        OptimizerError: an option out of range, an optimizer without momentum, or more than ``total_steps`` steps.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.Adam([af.zeros(1, requires_grad=True)])
    >>> scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=5, pct_start=0.4)
    >>> rates = []
    >>> for batch in range(5):
    ...     rates += [round(rate, 3) for rate in scheduler.get_last_lr()]
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.04, 1.0, 0.75, 0.25, 0.0]
    """

    _not_saved = (*LRScheduler._not_saved, "use_beta1")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer)
        if total_steps is not None:
            self.total_steps = _whole("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = _whole("epochs", epochs) * _whole("steps_per_epoch", steps_per_epoch)
        else:
            raise OptimizerError(f"You must define either total_steps OR (epochs AND steps_per_epoch){here()}")
        if not 0 <= pct_start <= 1:
            raise OptimizerError(f"Expected float between 0 and 1 pct_start, but got {pct_start}{here()}")
        if anneal_strategy not in ("cos", "linear"):
            raise OptimizerError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy!r}{here()}"
            )
        self._anneal_func_type = anneal_strategy
        self._schedule_phases = _phases(pct_start, self.total_steps, three_phase)
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise OptimizerError(
                f"{type(optimizer).__name__} has neither momentum nor betas to cycle; pass cycle_momentum=False.{here()}"
            )
        if last_epoch == -1:
            tops = _for_each_group("max_lr", optimizer, max_lr)
            highs = _for_each_group("max_momentum", optimizer, max_momentum)
            lows = _for_each_group("base_momentum", optimizer, base_momentum)
            for group, top, high, low in zip(optimizer.param_groups, tops, highs, lows, strict=True):
                group["initial_lr"] = top / div_factor
                group["max_lr"] = top
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)

    def _welcome(self, groups: list[dict[str, Any]]) -> None:
        if any("max_lr" not in group for group in groups):
            raise OptimizerError(
                f"a parameter group was added that OneCycleLR knows no max_lr for.{here()}\n"
                "  Make a new schedule, or give the group initial_lr, max_lr, min_lr, max_momentum and base_momentum."
            )
        super()._welcome(groups)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise OptimizerError(
                f"Tried to step {step} times. The specified number of total steps is {self.total_steps}.{here()}\n"
                "  Call scheduler.step() once a batch, and give total_steps = epochs * batches."
            )
        start, phase = 0.0, self._schedule_phases[0]
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        length = phase["end_step"] - start
        part = (step - start) / length if length else 1.0
        anneal = cosine_between if self._anneal_func_type == "cos" else line_between
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(anneal(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                momentum = anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], part)
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates


def _phases(pct_start: float, total_steps: int, three_phase: bool) -> list[dict[str, Any]]:
    def phase(end_step: float, *names: str) -> dict[str, Any]:
        keys = ("start_lr", "end_lr", "start_momentum", "end_momentum")
        return {"end_step": end_step, **dict(zip(keys, names, strict=True))}

    rise = phase(float(pct_start * total_steps) - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    last = total_steps - 1
    if not three_phase:
        return [rise, phase(last, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    fall = phase(float(2 * pct_start * total_steps) - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")
    return [rise, fall, phase(last, "initial_lr", "min_lr", "max_momentum", "max_momentum")]


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` when a metric has not become better for more than ``patience`` epochs.

    Args:
        optimizer: whose learning rates to set.
        mode: ``"min"`` where a smaller metric is better, ``"max"`` where a larger one is.
        factor: less than 1.
        patience: epochs without improvement that are let pass.
        threshold: how much counts as an improvement,
        threshold_mode: ``"rel"``: as a part of the best so far, ``"abs"``: as a difference to it.
        cooldown: epochs after a reduction that are not counted.
        min_lr: the rate is not made smaller, for all parameter groups or a list of one for each.
        eps: a smaller change of the rate is not made.

    A metric that is NaN is no improvement.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> rates = []
    >>> for loss in [3.0, 2.0, 2.0, 2.0, 1.0]:
    ...     optimizer.step()
    ...     scheduler.step(loss)
    ...     rates += scheduler.get_last_lr()
    >>> rates
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        _check_optimizer(optimizer)
        if factor >= 1.0:
            raise OptimizerError(f"Factor should be < 1.0, got {factor}{here()}")
        if mode not in ("min", "max"):
            raise OptimizerError(f"mode is 'min' or 'max', got {mode!r}{here()}")
        if threshold_mode not in ("rel", "abs"):
            raise OptimizerError(f"threshold_mode is 'rel' or 'abs', got {threshold_mode!r}{here()}")
        self.optimizer = optimizer
        self.mode, self.factor, self.patience, self.cooldown, self.eps = mode, factor, patience, cooldown, eps
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.min_lrs = _for_each_group("min_lr", optimizer, min_lr)
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = self._rates()

    @property
    def in_cooldown(self) -> bool:
        """Whether bad epochs are not counted at the moment."""
        return self.cooldown_counter > 0

    def step(self, metrics: SupportsFloat) -> None:  # type: ignore[override]
        """Note the metric of an epoch, and reduce the rates where it is time."""
        act(self._note, float(metrics))

    def _note(self, current: float) -> None:
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()

    def _is_better(self, current: float) -> bool:
        if self.mode == "min":
            level = self.best * (1.0 - self.threshold) if self.threshold_mode == "rel" else self.best - self.threshold
            return current < level
        level = self.best * (1.0 + self.threshold) if self.threshold_mode == "rel" else self.best + self.threshold
        return current > level

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):  # groups were added
            if self.default_min_lr is None:
                raise OptimizerError(
                    f"the optimizer has {len(groups)} parameter groups, and ReduceLROnPlateau was made with a min_lr for "
                    f"each of {len(self.min_lrs)}.{here()}\n  Extend scheduler.min_lrs when adding a group."
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, low in zip(groups, self.min_lrs, strict=True):
            before = float(group["lr"])
            rate = max(before * self.factor, low)
            if before - rate > self.eps:
                group["lr"] = rate


class SequentialLR(LRScheduler):
    """Several schedulers one after the other; each starts anew at its milestone.

    Args:
        optimizer: the optimizer of all of them.
        schedulers: in their order.
        milestones: the epochs at which the second, third... takes over.
        last_epoch: the number of the last epoch.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> from autograd_ff.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> optimizer = optim.SGD([af.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm, decay = ConstantLR(optimizer, factor=0.5, total_iters=9), ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = SequentialLR(optimizer, [warm, decay], milestones=[2])
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.5, 1.0, 0.5, 0.25]
    """

    _not_saved = (*LRScheduler._not_saved, "_schedulers")

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        _check_optimizer(optimizer)
        if not schedulers:
            raise OptimizerError(f"SequentialLR expects at least one scheduler, but got no scheduler.{here()}")
        for index, scheduler in enumerate(schedulers):
            name = type(scheduler).__name__
            if not isinstance(scheduler, LRScheduler):
                raise OptimizerError(f"scheduler {index} is a {name}, which is none.{here()}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise OptimizerError(
                    f"scheduler {index} is ReduceLROnPlateau, whose step needs a metric; call it apart.{here()}"
                )
            if scheduler.optimizer is not optimizer:
                raise OptimizerError(f"scheduler {index}, {name}, belongs to another optimizer.{here()}")
        if len(milestones) != len(schedulers) - 1:
            raise OptimizerError(
                f"{len(schedulers)} schedulers need {len(schedulers) - 1} milestones, got {len(milestones)}{here()}"
            )
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Each scheduler set the first rate of its own when it was made: take that back, and start with the first.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            scheduler._undo()
        self._initial_step()

    def _initial_step(self) -> None:
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def _undo(self) -> None:
        for scheduler in self._schedulers:
            scheduler._undo()

    def step(self) -> None:
        """Go to the next epoch of the scheduler whose turn it is."""
        act(self._pass_on)

    def _pass_on(self) -> None:
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)
