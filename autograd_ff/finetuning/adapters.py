"""Adapters: small feedforward blocks after layers of a frozen model.

Source: Houlsby, Giurgiu, Jastrzebski, Morrone, de Laroussilhe, Gesmundo, Attariyan and Gelly 2019, "Parameter-Efficient
Transfer Learning for NLP".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import TensorCore, here
from ..errors import ModuleError, ShapeError
from ..functions.tensor import Tensor
from ..hub.layers import activation as function_of
from ..nn import Linear, Module, init
from .lora import freeze_others, parameters_to_train
from .patterns import require_module
from .wrapping import Wrapper, replace_modules, wrap_modules

__all__ = ["Adapter", "add_adapters", "remove_adapters"]

_STD = 1e-2  # of the first layer's weight, as in the paper


class Adapter(Wrapper):
    """y ← y + W₂ act(W₁ y + b₁) + b₂ on the output y of the module that it wraps.

    W₁ (size, width) is drawn from N(0, 0.01²), and W₂ (width, size) is zero at first, so that the module begins as the one
    that it wraps (in the paper W₂ is drawn likewise, and it begins near it). Source: Houlsby et al. 2019, section 2.1.

    Args:
        base_layer: the module; its output is one Tensor, (…, width).
        size: of the bottleneck.
        width: of the output; found from the module's own ``out_features``, ``embedding_dim`` or ``normalized_shape`` if
            None.
        activation: between the two, by Hugging Face's names.

    Attributes:
        base_layer: the module.
        down: W₁ and b₁.
        up: W₂ and b₂.

    Raises:
        ModuleError: the width is not known.
        ShapeError: a size below 1, an unknown activation.

    >>> import autograd_ff as af
    >>> from autograd_ff import nn
    >>> from autograd_ff.finetuning import Adapter
    >>> layer = Adapter(nn.Linear(20, 30), size=4)
    >>> layer.down, layer.up
    (Linear(in_features=30, out_features=4, bias=True), Linear(in_features=4, out_features=30, bias=True))
    >>> af.equal(layer(af.ones(5, 20)), layer.base_layer(af.ones(5, 20)))
    True
    """

    def __init__(self, base_layer: Module, size: int = 64, width: int | None = None, activation: str = "gelu") -> None:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ShapeError(f"the size of an adapter is a whole number, 1 or more, not {size!r}.{here()}")
        super().__init__(base_layer)
        self.size, self.activation = int(size), activation
        self.width = _width(base_layer) if width is None else int(width)
        self._function = function_of(activation)
        self.down = Linear(self.width, self.size)
        self.up = Linear(self.size, self.width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W₁ anew and set the rest to 0: no change."""
        init.normal_(self.down.weight, std=_STD)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            assert zero is not None
            init.zeros_(zero)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the module gives for these arguments, changed."""
        states = self.base_layer(*args, **kwargs)
        if not isinstance(states, TensorCore):
            raise ModuleError(
                f"an adapter changes one Tensor, and {type(self.base_layer).__name__} gives another thing: "
                f"{type(states).__name__}.{here()}\n"
                "  Put adapters around layers inside of it."
            )
        changed: Any = states + self.up(self._function(self.down(states)))
        return changed

    def extra_repr(self) -> str:
        return f"size={self.size}, activation={self.activation}"


def _width(module: Any) -> int:
    for name in ("out_features", "embedding_dim", "normalized_shape", "width", "d_model"):
        found = getattr(module, name, None)
        if isinstance(found, (tuple, list)) and found:
            found = found[-1]
        if isinstance(found, (int, np.integer)):
            return int(found)
    raise ModuleError(
        f"it is not known how wide the output of {type(module).__name__} is.{here()}\n  Say it: width=768."
    )


def add_adapters(
    model: Module,
    patterns: str | Iterable[str],
    size: int = 64,
    *,
    width: int | None = None,
    activation: str = "gelu",
    train_also: str | Iterable[str] = (),
    freeze_rest: bool = True,
) -> list[str]:
    """Put an `Adapter` after each module whose name fits, and freeze all else; returns the names of these modules.

    In the paper they stand after the last affine layer of each attention and each feedforward block, before the residual
    is added: ``"*.output.dense"`` in a `BertModel`, ``"*.c_proj"`` in a `GPT2Model`. Layer norms are trained beside them
    there: ``train_also="*.LayerNorm"``. Source: Houlsby et al. 2019.

    Args:
        model: changed in place.
        patterns: of names of modules, each fitting the whole name.
        size: of the bottleneck.
        width: of the modules' outputs, where it cannot be found.
        activation: in the bottleneck, by Hugging Face's names.
        train_also: patterns of parameters that are trained in full beside it. The others of the model are frozen, those of
            other adapters and of LoRA aside.
        freeze_rest: False leaves what is not wrapped as it is.

    Raises:
        ModuleError: a pattern fits no module, or one that has an adapter already; a width is not known.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> finetuning.add_adapters(model, "0", size=3, train_also="2")
    ['0']
    >>> [name for name, _ in finetuning.trainable_parameters(model)]
    ['0.down.weight', '0.down.bias', '0.up.weight', '0.up.bias', '2.weight', '2.bias']
    """
    require_module(model, "add_adapters")
    also = parameters_to_train(model, train_also)
    wrappers = wrap_modules(
        model,
        patterns,
        lambda one: True,
        lambda name, module: Adapter(module, size, width, activation),
        "module",
        Adapter,
        whole=True,
    )
    freeze_others(model, also, wrappers.values(), freeze_rest)
    return list(wrappers)


def remove_adapters(model: Module) -> Module:
    """Take all adapters away, with what they learned; returns the model.

    Args:
        model: with adapters.

    Raises:
        ModuleError: it has none.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 8))
    >>> _ = finetuning.add_adapters(model, "0")
    >>> finetuning.remove_adapters(model)
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
    )
    """
    require_module(model, "remove_adapters")
    found: dict[int, Module] = {id(one): one.base_layer for one in model.modules() if isinstance(one, Adapter)}
    if not found:
        raise ModuleError(f"remove_adapters: {type(model).__name__} has no adapters.{here()}")
    replace_modules(model, found)
    return model
