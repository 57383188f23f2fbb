"""The feedforward block of transformers: two affine maps with a function between, or three where it is gated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..engine import here, scope
from ..errors import ModuleError, ShapeError, StateDictError
from ..functions.tensor import Tensor
from . import functional as F
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm, RMSNorm

__all__ = ["ACTIVATIONS", "GATES", "LAYOUTS", "FeedForward", "gated_hidden", "relu_squared"]


def relu_squared(input: Tensor) -> Tensor:
    """max(x, 0)², any shape to the same. Source: So et al. 2021, "Primer".

    >>> import autograd_ff as af
    >>> af.nn.relu_squared(af.tensor([-1.0, 3.0]))
    tensor([0., 9.])
    """
    with scope("composite", "relu_squared", "relu_squared"):
        positive = F.relu(input)
        return positive * positive


def _gelu_tanh(input: Tensor) -> Tensor:
    return F.gelu(input, approximate="tanh")


def _identity(input: Tensor) -> Tensor:
    return input


# The functions between the maps, by name.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": F.silu,
    "relu2": relu_squared,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "identity": _identity,
}

# The gated blocks of Shazeer 2020, and the function of each one's gate.
GATES = {"glu": "sigmoid", "reglu": "relu", "geglu": "gelu", "swiglu": "silu", "bilinear": "identity"}

# Where other families of models keep the parameters of a layer's block: their names by ours.
LAYOUTS: dict[str, dict[str, str]] = {
    "pytorch": {"up": "linear1", "down": "linear2", "norm": "norm2"},
    "bert": {"up": "intermediate.dense", "down": "output.dense", "norm": "output.LayerNorm"},
    "gpt2": {"up": "mlp.c_fc", "down": "mlp.c_proj", "norm": "ln_2"},
    "llama": {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj", "norm": "post_attention_layernorm"},
    "t5": {
        "gate": "DenseReluDense.wi_0", "up": "DenseReluDense.wi_1", "down": "DenseReluDense.wo", "norm": "layer_norm",
    },
    "mixtral": {"gate": "w1", "up": "w3", "down": "w2"},
}  # fmt: skip
_TRANSPOSED = {"gpt2"}  # weights are (in, out) there


def gated_hidden(hidden: int, multiple_of: int = 1) -> int:
    """The hidden side with which a gated block has the parameters of a plain one: 2/3 of its, rounded up to a multiple.

    A gated block has three matrices of width × hidden, a plain one two. Source: Shazeer 2020; with ``multiple_of``, which
    keeps the sides handy for hardware, Touvron et al. 2023, "LLaMA".

    Args:
        hidden: the hidden side of the plain block.
        multiple_of: round up to a multiple of this.

    Raises:
        ShapeError: a number below 1.

    >>> import autograd_ff as af
    >>> af.nn.gated_hidden(3072), af.nn.gated_hidden(4 * 4096, multiple_of=256)
    (2048, 11008)
    """
    for name, number in (("hidden", hidden), ("multiple_of", multiple_of)):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise ShapeError(f"{name} must be a whole number, 1 or more, not {number!r}.{here()}")
    return -(-max(1, 2 * int(hidden) // 3) // int(multiple_of)) * int(multiple_of)


def _function(activation: str | Callable[[Tensor], Tensor], gated: bool | None) -> tuple[Any, bool]:
    """The function that is meant, and whether it is that of a gate."""
    if not isinstance(activation, str):
        return activation, bool(gated)
    name = activation
    if name in GATES:
        if gated is False:
            raise ModuleError(
                f"{name} is a gated block, and gated is False. For its function alone, give "
                f'activation="{GATES[name]}".{here()}'
            )
        return ACTIVATIONS[GATES[name]], True
    if name not in ACTIVATIONS:
        raise ModuleError(
            f"the activation {name!r} is not known; known are {', '.join((*ACTIVATIONS, *GATES))}, and any function of a "
            f"Tensor.{here()}"
        )
    return ACTIVATIONS[name], bool(gated)


class FeedForward(Module):
    """down(f(up(x))), or, gated, down(f(gate(x)) · up(x)): the block that holds most of a transformer's parameters.

    ========================  =====================================  ===================================
    ``activation``            between the maps                       source
    ========================  =====================================  ===================================
    ``"relu"``                max(u, 0)                              Vaswani et al. 2017
    ``"gelu"``                u Φ(u)                                 Hendrycks and Gimpel 2016; BERT
    ``"gelu_tanh"``           its approximation by tanh              GPT-2
    ``"silu"``                u σ(u)                                 Ramachandran et al. 2017
    ``"relu2"``               max(u, 0)²                             So et al. 2021
    ``"glu"``                 σ(g) · u                               Dauphin et al. 2017; Shazeer 2020
    ``"bilinear"``            g · u                                  Shazeer 2020
    ``"reglu"``               max(g, 0) · u                          Shazeer 2020
    ``"geglu"``               g Φ(g) · u                             Shazeer 2020
    ``"swiglu"``              g σ(g) · u                             Shazeer 2020; LLaMA
    ========================  =====================================  ===================================

    with u = up(x) and g = gate(x). Of a function that has no name here, and of ``"sigmoid"``, ``"tanh"`` and
    ``"identity"``, ``gated=True`` makes a gate too.

    With ``norm``, before (``pre_norm``) norm(x) is what the block sees, after it norm(…) is what it gives; with
    ``residual`` what goes in is added: x + block(norm(x)), or norm(x + block(x)). Source: Xiong et al. 2020.

    Args:
        width: the last side of input and output.
        hidden: the side between the maps; 4 · width if None, and 2/3 of that where the block is gated (`gated_hidden`), so
            that it has as many parameters.
        activation: a name of the table, or a function of a Tensor.
        gated: whether the function is that of a gate; None for what the name says.
        bias: whether the maps and a `LayerNorm` have a bias.
        dropout: the probability of dropping a feature between the maps, in training.
        norm: ``"layer"`` for a `LayerNorm`, ``"rms"`` for an `RMSNorm`, or None.
        pre_norm: whether the norm comes before the block rather than after.
        residual: whether the input is added.
        residual_dropout: the probability of dropping a feature of the block's result, before it is added.
        norm_eps: keeps the norm's root from zero; its own default if None.
        dtype: of the parameters; the default dtype if None.

    Attributes:
        up: `Linear` from width to hidden.
        gate: likewise; None where the block is not gated.
        down: `Linear` from hidden to width.
        norm: the norm, or None.

    Raises:
        ModuleError: an unknown activation or norm.
        ShapeError: a side or probability out of range.

    The parameters of LLaMA, GPT-2, BERT, T5, Mixtral and PyTorch's `TransformerEncoderLayer` fit under a mapping of names
    (``LAYOUTS``), which `load_from` and `state_as` apply:

    =========  ================  ============  =========================
    family     up                gate          down
    =========  ================  ============  =========================
    pytorch    linear1                         linear2
    bert       intermediate.dense              output.dense
    gpt2       mlp.c_fc (in, out)              mlp.c_proj (in, out)
    llama      mlp.up_proj       mlp.gate_proj mlp.down_proj
    t5         …wi_1             …wi_0         …wo
    mixtral    w3                w1            w2
    =========  ================  ============  =========================

    >>> import autograd_ff as af
    >>> block = af.nn.FeedForward(48, activation="swiglu", bias=False, norm="rms", residual=True)
    >>> block(af.ones(2, 5, 48)).shape
    (2, 5, 48)
    >>> [(name, one.shape) for name, one in block.named_parameters()]
    [('up.weight', (128, 48)), ('gate.weight', (128, 48)), ('down.weight', (48, 128)), ('norm.weight', (48,))]
    """

    gate: Linear | None
    norm: LayerNorm | RMSNorm | None

    def __init__(
        self,
        width: int,
        hidden: int | None = None,
        activation: str | Callable[[Tensor], Tensor] = "gelu",
        gated: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        norm: str | None = None,
        pre_norm: bool = True,
        residual: bool = False,
        residual_dropout: float = 0.0,
        norm_eps: float | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.activation, self.gated = _function(activation, gated)
        self._name = activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))
        if hidden is None:
            hidden = gated_hidden(4 * width) if self.gated else 4 * width
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.width = width
        self.hidden = hidden
        self.pre_norm = pre_norm
        self.residual = residual
        self.up = Linear(width, hidden, bias, **made)
        self.gate = Linear(width, hidden, bias, **made) if self.gated else None
        self.down = Linear(hidden, width, bias, **made)
        self.dropout = Dropout(dropout)
        self.residual_dropout = Dropout(residual_dropout)
        if norm not in (None, "layer", "rms"):
            raise ModuleError(f'norm is "layer", "rms" or None, not {norm!r}.{here()}')
        if norm == "layer":
            self.norm = LayerNorm(width, 1e-5 if norm_eps is None else norm_eps, bias=bias, **made)
        else:
            self.norm = RMSNorm(width, norm_eps, **made) if norm == "rms" else None

    def forward(self, input: Tensor) -> Tensor:
        """(…, width) to the same shape."""
        norm, gate = self.norm, self.gate
        x = norm(input) if norm is not None and self.pre_norm else input
        inner = self.activation(self.up(x)) if gate is None else self.activation(gate(x)) * self.up(x)
        if self.dropout.p:  # without, modules that do nothing stay out of the way, and out of pictures
            inner = self.dropout(inner)
        out = self.down(inner)
        if self.residual_dropout.p:
            out = self.residual_dropout(out)
        if self.residual:
            out = input + out
        return out if norm is None or self.pre_norm else norm(out)

    def load_from(self, state: Mapping[str, Any], layout: str, prefix: str = "") -> None:
        """Load the parameters from the state of a model of another family, in which they have other names.

        Args:
            state: the state dict; entries that are not this block's are left out.
            layout: a key of ``LAYOUTS``.
            prefix: of the layer's names, such as ``"model.layers.0."``.

        Raises:
            StateDictError: a parameter is missing or of another shape.

        >>> import autograd_ff as af
        >>> layer = af.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation="gelu")
        >>> block = af.nn.FeedForward(4, 8)
        >>> block.load_from(layer.state_dict(), "pytorch")
        >>> bool((block.up.weight == layer.linear1.weight).all())
        True
        """
        own: dict[str, Any] = {}
        for name, theirs in self._names(layout, prefix).items():
            if theirs not in state:
                there = f"{len(state)} entries, none of which begins with {prefix!r}" if not any(
                    one.startswith(prefix) for one in state
                ) else f"{len(state)} entries"  # fmt: skip
                raise StateDictError(
                    f"{name} is {theirs} in the layout {layout!r}; the state has {there}, not it.{here()}"
                )
            own[name] = _turned(state[theirs], layout, name)
        self.load_state_dict(own)

    def state_as(self, layout: str, prefix: str = "") -> dict[str, Tensor]:
        """The parameters under the names that a model of another family gives them; see `load_from`.

        >>> import autograd_ff as af
        >>> block = af.nn.FeedForward(4, 8, bias=False, activation="swiglu")
        >>> [(name, one.shape) for name, one in block.state_as("llama", "model.layers.0.").items()][0]
        ('model.layers.0.mlp.up_proj.weight', (8, 4))
        """
        state = self.state_dict()
        return {theirs: _turned(state[name], layout, name) for name, theirs in self._names(layout, prefix).items()}

    def _names(self, layout: str, prefix: str) -> dict[str, str]:
        """The layout's names of this block's parameters by its own."""
        if layout not in LAYOUTS:
            raise ModuleError(f"the layout {layout!r} is not known; known are {', '.join(LAYOUTS)}.{here()}")
        known, found = LAYOUTS[layout], {}
        for name in self.state_dict():
            module, _, parameter = name.partition(".")
            if module not in known:
                raise ModuleError(f"the layout {layout!r} has no place for {module}, which this block has.{here()}")
            found[name] = f"{prefix}{known[module]}.{parameter}"
        return found

    def extra_repr(self) -> str:
        text = f"{self.width}, hidden={self.hidden}, activation={self._name!r}"
        text += ", gated=True" if self.gated and self._name not in GATES else ""
        text += ", pre_norm=False" if self.norm is not None and not self.pre_norm else ""
        return text + (", residual=True" if self.residual else "")


def _turned(value: Any, layout: str, name: str) -> Any:
    turn = layout in _TRANSPOSED and name in ("up.weight", "down.weight")
    return (value.T if isinstance(value, np.ndarray) else value.t()) if turn else value
