"""Keras's optimizers: what was asked for, and, once built for parameters, the one of `autograd_ff.optim` that works."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ... import optim
from ...engine import TensorCore, here, wrap
from ...errors import OptimizerError
from ..lookup import describe, find
from ..naming import snake_case
from . import bound
from .schedules import LearningRateSchedule
from .schedules import deserialize as read_schedule
from .schedules import serialize as write_schedule

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "deserialize", "get", "serialize"]

# What Keras's optimizers take besides, and where it is found here.
ELSEWHERE = {
    "use_ema": "the callback ExponentialMovingAverage averages weights",
    "ema_momentum": "the callback ExponentialMovingAverage averages weights",
    "ema_overwrite_frequency": "the callback ExponentialMovingAverage averages weights",
    "loss_scale_factor": "gradients are computed in the weights' own dtype, which needs no scaling",
    "gradient_accumulation_steps": "fit(…, accumulate=4) makes one step of four batches",
}
HARMLESS = {"use_ema": False, "ema_momentum": 0.99}


class Optimizer:
    """The base of all of Keras's optimizers.

    Args:
        learning_rate: a number, or a schedule of `keras.optimizers.schedules`.
        name: of the optimizer.
        weight_decay: by which part of itself, times the learning rate, a weight shrinks with each step.
        clipnorm: what the norm of each weight's gradient is limited to.
        clipvalue: what each element of the gradients is limited to, both ways.
        global_clipnorm: what the common norm of all gradients is limited to. Of these three one can be given.
        own: what a subclass takes besides, by name; it becomes attributes.

    Attributes:
        optimizer: the `autograd_ff.optim.Optimizer` that works, once `build` was called; else None.

    >>> import autograd_ff as af
    >>> from autograd_ff import keras
    >>> w = af.tensor([1.0], requires_grad=True)
    >>> optimizer = keras.optimizers.SGD(learning_rate=0.5)
    >>> worker = optimizer.build([w])
    >>> (w * w).sum().backward()
    >>> worker.step()
    >>> w.tolist(), optimizer.learning_rate, int(optimizer.iterations)
    ([0.0], 0.5, 1)
    """

    decays_itself: ClassVar[bool] = False  # whether the working optimizer does the weight decay
    default_rate: ClassVar[float] = 0.001
    _schedule: Any

    def __init__(
        self,
        learning_rate: Any = None,
        *,
        name: str | None = None,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        own: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        for argument, value in others.items():
            if argument not in ELSEWHERE:
                raise OptimizerError(f"{type(self).__name__} has no argument {argument!r}.{here()}")
            if value is not None and value != HARMLESS.get(argument):
                raise OptimizerError(
                    f"{type(self).__name__} does not offer {argument}={value!r}: {ELSEWHERE[argument]}.{here()}"
                )
        given = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        limits = {key: value for key, value in given.items() if value is not None}
        if len(limits) > 1:
            raise OptimizerError(f"one of {', '.join(limits)} can be given, not several.{here()}")
        for key, value in {**limits, "weight_decay": weight_decay or 0}.items():
            if not value >= 0:
                raise OptimizerError(f"{key} is a number from 0 up, not {value!r}.{here()}")
        self.name = snake_case(type(self).__name__) if name is None else name
        self._own = tuple(own or ())
        for key, value in (own or {}).items():
            setattr(self, key, value)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.optimizer: Any = None
        if isinstance(learning_rate, dict):
            learning_rate = read_schedule(learning_rate)
        rate = self.default_rate if learning_rate is None else learning_rate
        self.schedule = rate if isinstance(rate, LearningRateSchedule) or callable(rate) else None
        self._rate = float(self.schedule(0)) if self.schedule is not None else _rate(rate)

    # ---------------------------------------------------------------- the working optimizer

    def build(self, parameters: Iterable[Any]) -> optim.Optimizer:
        """Make the optimizer of `autograd_ff.optim` that changes these parameters, and return it.

        Called again with the same parameters, it returns the one that there is, with its moments.
        """
        params = list(parameters)
        if self.optimizer is not None:
            present = [param for group in self.optimizer.param_groups for param in group["params"]]
            if len(present) == len(params) and all(one is other for one, other in zip(present, params, strict=True)):
                return self.optimizer
        made = self._make(params)
        made.asked = self
        self.optimizer = made
        return made

    bind = build

    def _make(self, params: list[Any]) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what works for it")

    @property
    def built(self) -> bool:
        """Whether `build` was called."""
        return self.optimizer is not None

    @property
    def variables(self) -> list[Any]:
        """The parameters that it changes."""
        return [] if self.optimizer is None else [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def learning_rate(self) -> LearningRate:
        """The learning rate, that of the next step where a schedule sets it; it can be set where none does."""
        if self.schedule is not None:
            return LearningRate(self, self.schedule(self._scheduled()))
        return LearningRate(self, self._rate if self.optimizer is None else self.optimizer.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, LearningRateSchedule):
            self.schedule = value
            return
        if self.schedule is not None:
            raise OptimizerError(
                f"the learning rate follows a {type(self.schedule).__name__}, and cannot be set besides.{here()}\n"
                "  Give the optimizer a number: learning_rate=0.001."
            )
        self._rate = _rate(value)
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate

    lr = learning_rate

    def _scheduled(self) -> int:
        return 0 if self.optimizer is None else int(self.optimizer.param_groups[0].get("iterations", 0))

    @property
    def iterations(self) -> int:
        """How many steps it has taken."""
        return 0 if self.optimizer is None else max(int(self.optimizer.steps_taken or 0), self._scheduled())

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Take a step with gradients that were computed elsewhere.

        Args:
            grads: a gradient for each parameter, or None.
            trainable_variables: the parameters; those it was built for if None.

        >>> import autograd_ff as af
        >>> from autograd_ff import keras
        >>> w = af.tensor([1.0], requires_grad=True)
        >>> keras.optimizers.SGD(0.5).apply([af.tensor([1.0])], [w])
        >>> w.tolist()
        [0.5]
        """
        gradients = list(grads)
        worker = self.optimizer if trainable_variables is None else self.build(trainable_variables)
        if worker is None:
            raise OptimizerError(
                f"{type(self).__name__} does not know its parameters: give trainable_variables.{here()}"
            )
        parameters = self.variables
        if len(parameters) != len(gradients):
            raise OptimizerError(f"{len(gradients)} gradients for {len(parameters)} parameters.{here()}")
        for param, gradient in zip(parameters, gradients, strict=True):
            array = gradient.array if isinstance(gradient, TensorCore) else gradient
            param.grad = None if array is None else wrap(np.array(array, param.dtype))
        worker.step()

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> None:
        """`apply` with pairs of a gradient and its parameter.

        >>> import autograd_ff as af
        >>> from autograd_ff import keras
        >>> w = af.tensor([1.0], requires_grad=True)
        >>> keras.optimizers.SGD(0.5).apply_gradients([(af.tensor([1.0]), w)])
        >>> w.tolist()
        [0.5]
        """
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [parameter for _, parameter in pairs])

    # ---------------------------------------------------------------- writing down

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer, without its moments."""
        rate: Any = float(self.learning_rate)
        if self.schedule is not None:
            rate = write_schedule(self.schedule)
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            **{name: getattr(self, name) for name in self._own},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The optimizer whose `get_config` this is."""
        return cls(**config)

    def __repr__(self) -> str:
        config = self.get_config()
        shown = {"learning_rate": config.pop("learning_rate"), **config}
        shown = {key: value for key, value in shown.items() if value is not None and key != "name"}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in shown.items())})"


class LearningRate(float):
    """A number that programs for Keras can treat as the variable that it is there: ``learning_rate.assign(0.1)``."""

    _optimizer: Optimizer

    def __new__(cls, optimizer: Optimizer, value: Any) -> LearningRate:
        rate = super().__new__(cls, value)
        rate._optimizer = optimizer
        return rate

    def __reduce__(self) -> Any:
        return float, (float(self),)  # a copy is the number

    def assign(self, value: Any) -> None:
        """Set the learning rate of the optimizer."""
        self._optimizer.learning_rate = value

    def numpy(self) -> Any:
        """The number as NumPy's."""
        return np.float32(self)


def _rate(value: Any) -> float:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise OptimizerError(f"learning_rate is a number or a schedule, not {value!r}.{here()}") from None
    if not rate >= 0:
        raise OptimizerError(f"learning_rate is a number from 0 up, not {value!r}.{here()}")
    return rate


class SGD(Optimizer):
    """Stochastic gradient descent by `optim.SGD`, with momentum and Nesterov's look ahead.

    Args:
        learning_rate: a number or a schedule.
        momentum: how much of the velocity each step keeps.
        nesterov: look ahead, where there is momentum.
        options: those of every `Optimizer`.

    >>> from autograd_ff import keras
    >>> keras.optimizers.SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    default_rate = 0.01
    momentum: float
    nesterov: bool

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ) -> None:
        if not 0 <= momentum <= 1:
            raise OptimizerError(f"momentum is a number from 0 to 1, not {momentum!r}.{here()}")
        super().__init__(learning_rate, own={"momentum": momentum, "nesterov": nesterov}, **options)

    @property
    def decays_itself(self) -> bool:  # type: ignore[override]
        """Without momentum the penalty in the gradient is the decay: lr · (g + decay · w)."""
        return not self.momentum

    def _make(self, params: list[Any]) -> Any:
        decay = self.weight_decay or 0 if self.decays_itself else 0
        ahead = self.nesterov and self.momentum > 0
        return bound.SGD(params, self._rate, self.momentum, weight_decay=decay, nesterov=ahead)


class Adam(Optimizer):
    """Adam by `optim.Adam`; epsilon is added as in Keras, to the root of the uncorrected second moment.

    Args:
        learning_rate: a number or a schedule.
        beta_1, beta_2: how much of the running means of the gradient and of its square each step keeps.
        epsilon: keeps the denominator from zero.
        amsgrad: use the largest second moment so far.
        options: those of every `Optimizer`.

    >>> from autograd_ff import keras
    >>> keras.optimizers.Adam().epsilon
    1e-07
    """

    decays_itself = True
    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        own = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon, "amsgrad": amsgrad}
        super().__init__(learning_rate, own=own, **options)

    def _make(self, params: list[Any]) -> Any:
        betas, decay = (self.beta_1, self.beta_2), self.weight_decay or 0
        return bound.Adam(params, self._rate, betas, self.epsilon, decay, self.amsgrad, decoupled_weight_decay=True)


class AdamW(Adam):
    """Adam with weight decay.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: by which part of itself, times the learning rate, a weight shrinks; PyTorch's default is 0.01.
        beta_1, beta_2, epsilon, amsgrad: as in `Adam`.
        options: those of every `Optimizer`.

    >>> from autograd_ff import keras
    >>> keras.optimizers.AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)


class RMSprop(Optimizer):
    """RMSprop by `optim.RMSprop`; epsilon is added inside of the root, as in Keras.

    Args:
        learning_rate: a number or a schedule.
        rho: how much of the running mean of squares each step keeps.
        momentum: how much of the last step each step keeps.
        epsilon: keeps the denominator from zero.
        centered: divide by the standard deviation instead of the root mean square.
        options: those of every `Optimizer`.

    >>> from autograd_ff import keras
    >>> keras.optimizers.RMSprop().rho
    0.9
    """

    rho: float
    momentum: float
    epsilon: float
    centered: bool

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ) -> None:
        own = {"rho": rho, "momentum": momentum, "epsilon": epsilon, "centered": centered}
        super().__init__(learning_rate, own=own, **options)

    def _make(self, params: list[Any]) -> Any:
        return bound.RMSprop(params, self._rate, self.rho, self.epsilon, 0, self.momentum, self.centered)


class Adagrad(Optimizer):
    """Adagrad by `optim.Adagrad`.

    Args:
        learning_rate: a number or a schedule.
        initial_accumulator_value: what the sums of squares start from.
        epsilon: keeps the denominator from zero.
        options: those of every `Optimizer`.

    >>> from autograd_ff import keras
    >>> keras.optimizers.Adagrad().initial_accumulator_value
    0.1
    """

    initial_accumulator_value: float
    epsilon: float

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        own = {"initial_accumulator_value": initial_accumulator_value, "epsilon": epsilon}
        super().__init__(learning_rate, own=own, **options)

    def _make(self, params: list[Any]) -> Any:
        return bound.Adagrad(
            params, self._rate, initial_accumulator_value=self.initial_accumulator_value, eps=self.epsilon
        )


_CLASSES = (SGD, Adam, AdamW, RMSprop, Adagrad)
_TABLE: dict[str, Any] = {**{one.__name__.lower(): one for one in _CLASSES}, **{one.__name__: one for one in _CLASSES}}


def get(identifier: Any) -> Any:
    """The optimizer of a name in any case, or of what `serialize` gave; an optimizer stays as it is.

    An optimizer of `autograd_ff.optim`, which has its parameters already, stays as it is too.

    >>> from autograd_ff import keras
    >>> keras.optimizers.get("adam").learning_rate
    0.001
    >>> keras.optimizers.get("adma")
    Traceback (most recent call last):
    autograd_ff.errors.ShapeError: there is no optimizer 'adma'; did you mean 'adam' or 'adamw'?...
    """
    if isinstance(identifier, (Optimizer, optim.Optimizer)):
        return identifier
    if isinstance(identifier, str) and identifier.lower() in _TABLE:
        identifier = identifier.lower()
    if isinstance(identifier, type) and issubclass(identifier, optim.Optimizer):
        raise OptimizerError(
            f"{identifier.__name__} of autograd_ff.optim is made with parameters.{here()}\n"
            f"  Take keras.optimizers.{identifier.__name__}, or give one that was made: "
            f"optim.{identifier.__name__}(model.parameters())."
        )
    found = find(identifier, _TABLE, "optimizer")
    if isinstance(found, Optimizer):
        return found
    raise OptimizerError(f"an optimizer is a name or an object of keras.optimizers, not {identifier!r}.{here()}")


def serialize(optimizer: Any) -> dict[str, Any]:
    """An optimizer as its name and arguments, without its moments.

    >>> from autograd_ff import keras
    >>> keras.optimizers.serialize(keras.optimizers.SGD(0.5))["config"]["learning_rate"]
    0.5
    """
    return describe(optimizer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The optimizer that `serialize` wrote down.

    >>> from autograd_ff import keras
    >>> keras.optimizers.deserialize({"class_name": "SGD", "config": {"learning_rate": 0.5}}).learning_rate
    0.5
    """
    if isinstance(config, dict) and config.get("class_name") in _TABLE and not custom_objects:
        return get(config)
    return find(config, _TABLE, "optimizer", custom_objects)
