"""Random small networks, with inputs and a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..engine import Domain, here, no_grad, observe, wrap
from ..errors import ShapeError
from ..functions.random import get_rng_state, manual_seed, set_rng_state
from .branches import BranchRecorder
from .strategies import Strategy, hypothesis_strategies
from .values import numbers

__all__ = ["Loss", "Network", "Residual", "networks"]

_ACTIVATIONS = (
    nn.Tanh, nn.ReLU, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus, nn.ELU, nn.LeakyReLU, nn.PReLU, nn.SELU, nn.CELU,
    nn.Mish, nn.Softsign, nn.Tanhshrink, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish,
)  # fmt: skip
_LOSSES = (nn.MSELoss, nn.BCEWithLogitsLoss, nn.HuberLoss, nn.CrossEntropyLoss)
_PROBE = 2.0**-8  # how far the parameters are moved to see whether a kink is near
_ATTEMPTS = 8


class Residual(nn.Module):
    """x + body(x).

    >>> import autograd_ff as af
    >>> Residual(nn.Identity())(af.ones(2))
    tensor([2., 2.])
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, input: Any) -> Any:
        """x + body(x), of the shape of x."""
        return input + self.body(input)


@dataclass(frozen=True)
class Loss:
    """A loss of a network's output alone: the target is fixed.

    >>> import autograd_ff as af
    >>> Loss(nn.MSELoss(), af.zeros(2))(af.ones(2))
    tensor(1.)
    """

    function: nn.Module
    target: Any

    def __call__(self, output: Any) -> Any:
        return self.function(output, self.target)


class Network(NamedTuple):
    """A module, what to call it with, and a loss of its output.

    >>> import autograd_ff as af
    >>> net = Network(nn.Linear(2, 1), (af.ones(3, 2),), Loss(nn.MSELoss(), af.zeros(3, 1)))
    >>> net.loss(net.module(*net.inputs)).shape
    ()
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    loss: Callable[[Any], Any]


def networks(*, max_layers: int = 4, max_width: int = 4, max_batch: int = 4, dropout: bool = False) -> Strategy:
    """Small `Network`s, in float64: linear layers with and without bias, activations, normalisation, softmax, residuals.

    They are drawn with parameters, an input and a loss at which no kink is near. The default random generator is left
    as it was.

    Args:
        max_layers: the most layers after the first, which is linear.
        max_width: the most features.
        max_batch: the most rows.
        dropout: whether there may be dropout. Two calls then differ: check such a network with ``frozen=True``.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, database=None)
    ... @given(networks())
    ... def test(net):
    ...     loss = net.loss(net.module(*net.inputs))
    ...     loss.backward()
    ...     assert all(one.grad.shape == one.shape for one in net.module.parameters())
    >>> test()
    """
    if min(max_width, max_batch) < 1 or max_layers < 0:
        raise ShapeError(f"a network has at least one feature, one row and 0 further layers.{here()}")
    st = hypothesis_strategies()
    kinds = [
        "linear", "linear without bias", *_ACTIVATIONS, "residual", "softmax", "log softmax", "norm",
        *["dropout"] * dropout,
    ]  # fmt: skip
    width = st.integers(1, max_width)
    # Not sampled_from, which Hypothesis likes to draw the same from again and again.
    kind_of_layer = st.integers(0, 2**16 - 1).map(lambda code: kinds[code % len(kinds)])

    @st.composite
    def network(draw: Callable[..., Any]) -> Network:
        rows = draw(st.lists(st.integers(1, max_batch), min_size=1, max_size=2))
        first, second = draw(width), draw(width)
        rest = draw(st.lists(st.tuples(kind_of_layer, width), max_size=max_layers))
        losses = _LOSSES if len(rows) == 1 else _LOSSES[:-1]
        loss = draw(st.sampled_from(losses))()
        seed = draw(st.integers(0, 2**32 - 1))
        before = get_rng_state()
        try:
            layers: list[nn.Module] = [nn.Linear(first, second, bias=draw(st.booleans()))]
            for kind, features in rest:
                layers.append(_layer(kind, second, features))
                second = features if str(kind).startswith("linear") else second
            module = nn.Sequential(*layers).double()
            for attempt in range(_ATTEMPTS):
                found = _filled(module, (*rows, first), loss, np.random.default_rng([seed, attempt]))
                if _is_steady(found, seed):
                    break
        finally:
            set_rng_state(before)
        return found

    return network()


def _layer(kind: Any, width: int, features: int) -> nn.Module:
    if kind in ("linear", "linear without bias"):
        return nn.Linear(width, features, bias=kind == "linear")
    if kind == "residual":
        return Residual(nn.Sequential(nn.Linear(width, features), nn.Tanh(), nn.Linear(features, width)))
    if kind == "norm":
        return nn.LayerNorm(width)
    if kind == "softmax":
        return nn.Softmax(dim=-1)
    if kind == "log softmax":
        return nn.LogSoftmax(dim=-1)
    return nn.Dropout(0.3) if kind == "dropout" else kind()


def _filled(module: nn.Module, shape: tuple[int, ...], loss: nn.Module, generator: np.random.Generator) -> Network:
    """The module with random parameters, an input of that shape, and a target for its output."""
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            domain = Domain(-0.5, 0.5) if name.endswith("bias") else Domain(0.2, 1.2)
        else:
            reach = 1.5 / np.sqrt(parameter.shape[-1])
            domain = Domain(-reach, reach)
        parameter.data = wrap(numbers(generator, tuple(parameter.shape), domain=domain))
    inputs = wrap(numbers(generator, shape, domain=Domain(-2.0, 2.0)))
    with no_grad():
        output = module(inputs)
    if isinstance(loss, nn.CrossEntropyLoss):
        target = numbers(generator, tuple(output.shape[:-1]), np.int64, Domain(0, output.shape[-1] - 1))
    else:
        target = numbers(generator, tuple(output.shape), domain=Domain(0.05, 0.95))
    return Network(module, (inputs,), Loss(loss, wrap(target)))


def _is_steady(net: Network, seed: int) -> bool:
    """Whether the network takes the same branches when its parameters move a little."""
    generator = np.random.default_rng(seed)
    parameters = [(one, one.array) for one in net.module.parameters()]
    moves = [generator.choice([-_PROBE, _PROBE], home.shape) for _, home in parameters]
    pieces = set()
    for sign in (0, 1, -1):
        for (parameter, home), move in zip(parameters, moves, strict=True):
            parameter.data = wrap(home + sign * move)
        manual_seed(0)  # of dropout
        with no_grad(), observe(recorder := BranchRecorder()):
            net.loss(net.module(*net.inputs))
        pieces.add(recorder.digest)
    for parameter, home in parameters:
        parameter.data = wrap(home)
    return len(pieces) == 1
