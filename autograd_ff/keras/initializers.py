"""Initial values of weights under Keras's names and arguments, drawn by `autograd_ff.nn.init`.

An initializer is called with a shape in Keras's layout, (inputs, outputs) for a dense kernel, and returns a Tensor.
Without a seed each call draws from the default generator, which `manual_seed` seeds; with one, each call gives the same
numbers, those of that seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine import get_default_dtype, here
from ..errors import ShapeError
from ..functions.creation import empty
from ..functions.dtypes import as_dtype
from ..functions.random import Generator
from ..functions.tensor import Tensor
from ..nn import init
from .lookup import describe, find

__all__ = [
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "IdentityInitializer",
    "Initializer", "LecunNormal", "LecunUniform", "Ones", "Orthogonal", "OrthogonalInitializer", "RandomNormal",
    "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros", "constant", "deserialize", "get", "glorot_normal",
    "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal", "lecun_uniform", "ones", "orthogonal",
    "random_normal", "random_uniform", "serialize", "truncated_normal", "variance_scaling", "zeros",
]  # fmt: skip


class Initializer:
    """The base of all initializers: a subclass defines `fill`, which writes into a tensor of the wanted shape.

    >>> from autograd_ff.keras import initializers
    >>> class Counting(initializers.Initializer):
    ...     def fill(self, tensor):
    ...         tensor.copy_(range(tensor.shape[0]))
    >>> Counting()((3,)).tolist()
    [0.0, 1.0, 2.0]
    """

    def fill(self, tensor: Tensor) -> None:
        """Write the initial values into a tensor."""
        raise NotImplementedError(f"{type(self).__name__} does not define fill()")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        """A new tensor of a shape, of the default dtype unless another is given."""
        tensor = empty(*shape, dtype=get_default_dtype() if dtype is None else as_dtype(dtype))
        self.fill(tensor)
        return tensor

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The initializer whose `get_config` this is."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.get_config().items())})"


class Zeros(Initializer):
    """All 0.

    >>> from autograd_ff.keras import initializers
    >>> initializers.Zeros()((2,)).tolist()
    [0.0, 0.0]
    """

    def fill(self, tensor: Tensor) -> None:
        init.zeros_(tensor)


class Ones(Initializer):
    """All 1.

    >>> from autograd_ff.keras import initializers
    >>> initializers.Ones()((2,)).tolist()
    [1.0, 1.0]
    """

    def fill(self, tensor: Tensor) -> None:
        init.ones_(tensor)


class Constant(Initializer):
    """All one number.

    >>> from autograd_ff.keras import initializers
    >>> initializers.Constant(0.5)((2,)).tolist()
    [0.5, 0.5]
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def fill(self, tensor: Tensor) -> None:
        init.constant_(tensor, self.value)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


class Identity(Initializer):
    """The identity matrix times a gain.

    >>> from autograd_ff.keras import initializers
    >>> initializers.Identity(2.0)((2, 2)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def fill(self, tensor: Tensor) -> None:
        init.eye_(tensor)
        if self.gain != 1:
            tensor.mul_(self.gain)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class _Random(Initializer):
    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise ShapeError(f"a seed is a whole number or None, not {seed!r}.{here()}")
        self.seed = seed

    def generator(self) -> Generator | None:
        """A new generator of the seed; None, the default one, without a seed."""
        return None if self.seed is None else Generator().manual_seed(self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class RandomNormal(_Random):
    """Normal numbers, N(mean, stddev²).

    >>> from autograd_ff.keras import initializers
    >>> initializers.RandomNormal(stddev=0.1, seed=1)((3, 4)).shape
    (3, 4)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def fill(self, tensor: Tensor) -> None:
        init.normal_(tensor, self.mean, self.stddev, generator=self.generator())

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Normal numbers; those more than two standard deviations from the mean are drawn again.

    >>> from autograd_ff.keras import initializers
    >>> values = initializers.TruncatedNormal(stddev=1.0)((100,))
    >>> bool((values.abs() <= 2).all())
    True
    """

    def fill(self, tensor: Tensor) -> None:
        low, high = self.mean - 2 * self.stddev, self.mean + 2 * self.stddev
        init.trunc_normal_(tensor, self.mean, self.stddev, low, high, generator=self.generator())


class RandomUniform(_Random):
    """Uniform numbers from [minval, maxval).

    >>> from autograd_ff.keras import initializers
    >>> values = initializers.RandomUniform(0.0, 1.0)((100,))
    >>> bool((values >= 0).all() and (values < 1).all())
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def fill(self, tensor: Tensor) -> None:
        init.uniform_(tensor, self.minval, self.maxval, generator=self.generator())

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class Orthogonal(_Random):
    """An orthogonal matrix times a gain; all dimensions but the last are taken as one.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import initializers
    >>> w = initializers.Orthogonal()((2, 5))
    >>> bool(((w @ w.T - af.eye(2)).abs() < 1e-5).all())
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def fill(self, tensor: Tensor) -> None:
        if tensor.ndim < 2:
            raise ShapeError(f"Orthogonal fills two dimensions or more, not {tuple(tensor.shape)}.{here()}")
        init.orthogonal_(tensor.reshape(-1, tensor.shape[-1]), self.gain, generator=self.generator())

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}


# The standard deviation of a normal number that lies within two of its own: what is cut off would have added the rest.
_CUT = 0.87962566103423978


class VarianceScaling(_Random):
    """Numbers whose variance is ``scale`` over a fan, the number of inputs or outputs that a weight connects.

    Args:
        scale: a positive number.
        mode: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"``, the mean of both.
        distribution: ``"truncated_normal"``, ``"untruncated_normal"`` or ``"uniform"``.
        seed: of the numbers; None draws from the default generator.

    Source: Glorot and Bengio 2010; He et al. 2015.

    >>> from autograd_ff.keras import initializers
    >>> w = initializers.VarianceScaling(2.0, "fan_in", "uniform")((6, 100))
    >>> bool((w.abs() <= 1).all())
    True
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if not scale > 0:
            raise ShapeError(f"scale is a positive number, not {scale!r}.{here()}")
        distribution = "truncated_normal" if distribution == "normal" else distribution
        modes, distributions = ("fan_in", "fan_out", "fan_avg"), ("truncated_normal", "untruncated_normal", "uniform")
        for name, value, known in (("mode", mode, modes), ("distribution", distribution, distributions)):
            if value not in known:
                raise ShapeError(f"{name} is one of {', '.join(known)}, not {value!r}.{here()}")
        self.scale = scale
        self.mode = mode
        self.distribution = distribution

    def variance(self, shape: Sequence[int]) -> float:
        """The variance of weights of a shape in Keras's layout, whose last two sides are inputs and outputs."""
        sides = tuple(shape)
        if len(sides) < 2:
            fans = (sides[0] if sides else 1,) * 2
        else:
            # The layout of nn is outputs, inputs, the rest.
            fans = init._calculate_fan_in_and_fan_out(empty(sides[-1], sides[-2], *sides[:-2]))
        fan = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[self.mode]
        return self.scale / max(1.0, fan)

    def fill(self, tensor: Tensor) -> None:
        variance = self.variance(tensor.shape)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            init.uniform_(tensor, -limit, limit, generator=self.generator())
        elif self.distribution == "untruncated_normal":
            init.normal_(tensor, 0.0, math.sqrt(variance), generator=self.generator())
        else:
            std = math.sqrt(variance) / _CUT
            init.trunc_normal_(tensor, 0.0, std, -2 * std, 2 * std, generator=self.generator())

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "distribution": self.distribution, **super().get_config()}


class _Scaled(VarianceScaling):
    """A `VarianceScaling` of which only the seed is left to choose."""

    how: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.how, seed=seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_Scaled):
    """Uniform in ±√(6 / (inputs + outputs)): what dense kernels start from. Source: Glorot and Bengio 2010.

    >>> from autograd_ff.keras import initializers
    >>> bool((initializers.GlorotUniform()((3, 3)).abs() <= 1).all())
    True
    """

    how = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal of variance 2 / (inputs + outputs). Source: Glorot and Bengio 2010.

    >>> from autograd_ff.keras import initializers
    >>> abs(initializers.GlorotNormal()((300, 200)).std().item() - (2 / 500) ** 0.5) < 0.002
    True
    """

    how = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform in ±√(6 / inputs), for rectifiers. Source: He et al. 2015.

    >>> from autograd_ff.keras import initializers
    >>> bool((initializers.HeUniform()((6, 3)).abs() <= 1).all())
    True
    """

    how = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal of variance 2 / inputs, for rectifiers. Source: He et al. 2015.

    >>> from autograd_ff.keras import initializers
    >>> abs(initializers.HeNormal()((300, 200)).std().item() - (2 / 300) ** 0.5) < 0.002
    True
    """

    how = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform in ±√(3 / inputs). Source: LeCun et al. 1998, "Efficient BackProp".

    >>> from autograd_ff.keras import initializers
    >>> bool((initializers.LecunUniform()((3, 6)).abs() <= 1).all())
    True
    """

    how = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal of variance 1 / inputs, for `selu`. Source: LeCun et al. 1998; Klambauer et al. 2017.

    >>> from autograd_ff.keras import initializers
    >>> abs(initializers.LecunNormal()((300, 200)).std().item() - (1 / 300) ** 0.5) < 0.002
    True
    """

    how = (1.0, "fan_in", "truncated_normal")


IdentityInitializer = identity = Identity
OrthogonalInitializer = orthogonal = Orthogonal
zeros, ones, constant = Zeros, Ones, Constant
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling = VarianceScaling
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

_TABLE: dict[str, Any] = {
    "zeros": Zeros, "ones": Ones, "constant": Constant, "identity": Identity, "orthogonal": Orthogonal,
    "random_normal": RandomNormal, "random_uniform": RandomUniform, "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling, "glorot_uniform": GlorotUniform, "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform, "he_normal": HeNormal, "lecun_uniform": LecunUniform, "lecun_normal": LecunNormal,
    "zero": Zeros, "one": Ones, "normal": RandomNormal, "uniform": RandomUniform,
    "IdentityInitializer": Identity, "OrthogonalInitializer": Orthogonal,
}  # fmt: skip
_TABLE |= {one.__name__: one for one in list(_TABLE.values())}


def get(identifier: Any) -> Any:
    """The initializer of a name, or of what `serialize` gave; an initializer or function stays as it is.

    >>> from autograd_ff.keras import initializers
    >>> initializers.get("he_normal")
    HeNormal(seed=None)
    >>> initializers.get("he_norm")
    Traceback (most recent call last):
    autograd_ff.errors.ShapeError: there is no initializer 'he_norm'; did you mean 'he_normal' or 'he_uniform' or ...
    """
    return find(identifier, _TABLE, "initializer")


def serialize(initializer: Any) -> Any:
    """An initializer as its name and arguments.

    >>> from autograd_ff.keras import initializers
    >>> initializers.serialize(initializers.Constant(2.0))
    {'class_name': 'Constant', 'config': {'value': 2.0}}
    """
    return describe(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The initializer that `serialize` wrote down.

    >>> from autograd_ff.keras import initializers
    >>> initializers.deserialize({"class_name": "Constant", "config": {"value": 2.0}})
    Constant(value=2.0)
    """
    return find(config, _TABLE, "initializer", custom_objects)
