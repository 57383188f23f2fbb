"""Normalisation layers."""

from __future__ import annotations

from typing import Any

from ... import nn
from ...engine import here
from ...errors import ShapeError
from .. import initializers, regularizers
from .dense import Elementwise, as_floating, initialize, refuse_constraints

__all__ = ["BatchNormalization", "LayerNormalization", "RMSNormalization"]


class _Normalization(Elementwise):
    """What the layers share: gamma and beta, kept as the weight and bias of a module."""

    def __init__(
        self,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)

    def _track_affine(self, module: Any) -> None:
        for wanted, name, attribute, initializer, regularizer in (
            (self.scale, "gamma", "weight", self.gamma_initializer, self.gamma_regularizer),
            (self.center, "beta", "bias", self.beta_initializer, self.beta_regularizer),
        ):
            if wanted:
                self.track(name, module, attribute, regularizer=regularizer)
                initialize(self._weights[-1], initializer)
            else:
                setattr(module, attribute, None)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
        }


class BatchNormalization(_Normalization):
    """Each feature less its mean over the batch, over its standard deviation; then times gamma, plus beta.

    In training the statistics are the batch's, and moving ones are kept, which evaluation uses. A layer that is not
    trainable always uses the moving ones, as in Keras.

    Args:
        axis: the features' axis.
        momentum: how much of the moving statistics each batch keeps: 0.99 is PyTorch's momentum of 0.01.
        epsilon: keeps the root from zero.
        center, scale: whether there are a beta and a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: what they start from.
        beta_regularizer, gamma_regularizer: what large values of them cost.
        options: those of every `Layer`.

    The moving variance is that of the biased variances, as in Keras, and not of the unbiased ones, as in PyTorch.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layer = layers.BatchNormalization(momentum=0.5, epsilon=0.0)
    >>> layer(af.tensor([[1.0], [3.0]]), training=True).tolist()
    [[-1.0], [1.0]]
    >>> layer.moving_mean.tolist(), layer.moving_variance.tolist()
    ([1.0], [1.0])
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, **options
        )
        refuse_constraints("BatchNormalization", beta_constraint=beta_constraint, gamma_constraint=gamma_constraint)
        self.axis = axis
        self.momentum = momentum
        self.epsilon = epsilon
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape: Any) -> None:
        """Make the `nn.BatchNorm1d` for the features along the axis."""
        ndim = len(input_shape)
        if not -ndim <= self.axis < ndim or self.axis % ndim == 0 or input_shape[self.axis] is None:
            raise ShapeError(
                f"{self.name} normalises the features along axis {self.axis}, whose number is to be known; the input has "
                f"shape {input_shape}.{here()}"
            )
        self.norm = nn.BatchNorm1d(
            input_shape[self.axis],
            eps=self.epsilon,
            momentum=1 - self.momentum,
            dtype=self.dtype,
            unbiased=False,
        )
        self._track_affine(self.norm)
        self.track("moving_mean", self.norm, "running_mean", trainable=False)
        initialize(self._weights[-1], self.moving_mean_initializer)
        self.track("moving_variance", self.norm, "running_var", trainable=False)
        initialize(self._weights[-1], self.moving_variance_initializer)

    @property
    def gamma(self) -> Any:
        """The factors of the features, or None."""
        return self.norm.weight

    @property
    def beta(self) -> Any:
        """What is added to the features, or None."""
        return self.norm.bias

    @property
    def moving_mean(self) -> Any:
        """The means that evaluation uses."""
        return self.norm.running_mean

    @property
    def moving_variance(self) -> Any:
        """The variances that evaluation uses."""
        return self.norm.running_var

    def train(self, mode: bool = True) -> Any:
        """Training mode for this layer, unless it is not trainable."""
        super().train(mode)
        if mode and not self._trainable and "norm" in self._modules:
            self.norm.train(False)
        return self

    def call(self, inputs: Any) -> Any:
        x = as_floating(inputs, self)
        if x.ndim == 2:
            return self.norm(x)
        moved = x.movedim(self.axis, -1)
        return self.norm(moved.reshape(-1, moved.shape[-1])).reshape(moved.shape).movedim(-1, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


def _last_sides(name: str, axis: Any, input_shape: Any) -> tuple[int, ...]:
    """The sides along axes that are the last ones of a shape."""
    ndim = len(input_shape)
    axes = sorted(one % ndim for one in ([axis] if isinstance(axis, int) else axis))
    sides = tuple(input_shape[one] for one in axes)
    if axes != list(range(ndim - len(axes), ndim)) or None in sides or not axes:
        raise ShapeError(
            f"{name} normalises over the last axes, whose sides are to be known; axis={axis} of an input of shape "
            f"{input_shape} is not that.{here()}\n  layers.Permute puts an axis last."
        )
    return sides


class LayerNormalization(_Normalization):
    """Each sample less its mean, over its standard deviation; then times gamma, plus beta.

    Args:
        axis: the last axis, or several last ones.
        epsilon: keeps the root from zero.
        center, scale: whether there are a beta and a gamma.
        beta_initializer, gamma_initializer: what they start from.
        beta_regularizer, gamma_regularizer: what large values of them cost.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.LayerNormalization(epsilon=0.0)(af.tensor([[1.0, 3.0], [0.0, 10.0]])).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, **options
        )
        refuse_constraints("LayerNormalization", beta_constraint=beta_constraint, gamma_constraint=gamma_constraint)
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Make the `nn.LayerNorm` for the last sides."""
        sides = _last_sides(self.name, self.axis, input_shape)
        self.norm = nn.LayerNorm(sides, eps=self.epsilon, dtype=self.dtype)
        self._track_affine(self.norm)

    @property
    def gamma(self) -> Any:
        """The factors of the features, or None."""
        return self.norm.weight

    @property
    def beta(self) -> Any:
        """What is added to the features, or None."""
        return self.norm.bias

    def call(self, inputs: Any) -> Any:
        return self.norm(as_floating(inputs, self))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


class RMSNormalization(Elementwise):
    """Each sample over the root of its mean square; then times a scale.

    Args:
        axis: the last axis, or several last ones.
        epsilon: keeps the root from zero.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.RMSNormalization(epsilon=0.0)(af.tensor([[2.0, -2.0]])).tolist()
    [[1.0, -1.0]]
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Make the `nn.RMSNorm` for the last sides."""
        sides = _last_sides(self.name, self.axis, input_shape)
        self.norm = nn.RMSNorm(sides, eps=self.epsilon, dtype=self.dtype)
        self.track("scale", self.norm, "weight")

    def call(self, inputs: Any) -> Any:
        return self.norm(as_floating(inputs, self))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}
