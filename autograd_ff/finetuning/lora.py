"""LoRA: low-rank changes to the weights of affine layers, trained in their stead.

Source: Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import here, no_grad
from ..errors import DtypeError, ModuleError, ShapeError
from ..functions.tensor import Tensor
from ..hub.layers import Conv1D
from ..nn import Linear, Module, Parameter, init
from ..nn import functional as F
from .freezing import freeze
from .patterns import matching, named_slots, require_module
from .wrapping import Wrapper, replace_modules, wrap_modules

__all__ = ["LoRA", "add_lora", "merge_lora", "remove_lora", "unmerge_lora"]


class LoRA(Wrapper):
    """y = W x + b + (alpha / rank) · B A dropout(x): an affine layer with a low-rank change to its weight.

    W and b stay as they are. A (rank, in) is drawn as `nn.Linear`'s weight is and B (out, rank) is zero at first, so that
    the layer begins as the one that it wraps. Source: Hu et al. 2021, section 4.1.

    Args:
        base_layer: an `nn.Linear`, or a `Conv1D` of GPT-2, whose weight is (in, out). It is frozen.
        rank: of the change; at most the smaller side of the weight is of use.
        alpha: the change is scaled by alpha / rank, so that rates of learning fit other ranks too.
        dropout: the probability of dropping an element of the change's input while training.

    Attributes:
        base_layer: the frozen layer.
        lora_A: A, (rank, in_features).
        lora_B: B, (out_features, rank).
        merged: whether the change is within the base's weight at the moment.
        weight: W + (alpha / rank) · B A in the base's shape, computed when read; without dropout.
        bias: the base's.

    Raises:
        ModuleError: the base is another layer.
        ShapeError: a rank below 1, or a probability outside 0 to 1.

    >>> import autograd_ff as af
    >>> from autograd_ff import nn
    >>> from autograd_ff.finetuning import LoRA
    >>> layer = LoRA(nn.Linear(20, 30), rank=4)
    >>> [(name, one.shape) for name, one in layer.named_parameters() if one.requires_grad]
    [('lora_A', (4, 20)), ('lora_B', (30, 4))]
    >>> x = af.ones(5, 20)
    >>> af.equal(layer(x), layer.base_layer(x))
    True
    """

    lora_A: Parameter
    lora_B: Parameter

    def __init__(self, base_layer: Module, rank: int = 8, alpha: float | None = None, dropout: float = 0.0) -> None:
        if not isinstance(base_layer, (Linear, Conv1D)):
            raise ModuleError(
                f"LoRA changes the weight of a Linear or a Conv1D, and this is of class {type(base_layer).__name__}.{here()}"
            )
        if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)) or rank < 1:
            raise ShapeError(f"the rank of LoRA is a whole number, 1 or more, not {rank!r}.{here()}")
        if not 0 <= dropout < 1:
            raise ShapeError(f"the dropout of LoRA lies between 0 and 1, below 1, got {dropout!r}.{here()}")
        super().__init__(base_layer)
        self.in_features, self.out_features = base_layer.in_features, base_layer.out_features
        self.rank, self.dropout = int(rank), float(dropout)
        self.alpha = float(rank if alpha is None else alpha)
        self.merged = False
        self._unmerged: Any = None  # the base's own weight, while it is merged
        freeze(base_layer)
        dtype = base_layer.weight.array.dtype
        kind = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)
        self.lora_A = Parameter(np.empty((rank, self.in_features), kind))
        self.lora_B = Parameter(np.empty((self.out_features, rank), kind))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw A anew and set B to 0: no change."""
        init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        init.zeros_(self.lora_B)

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    @property
    def transposed(self) -> bool:
        """Whether the base's weight is (in, out)."""
        return isinstance(self.base_layer, Conv1D)

    def change(self) -> Tensor:
        """(alpha / rank) · B A, in the shape of the base's weight."""
        product = (self.lora_B * self.scale) @ self.lora_A
        return product.t() if self.transposed else product

    @property
    def weight(self) -> Tensor:
        base: Any = self.base_layer
        return base.weight if self.merged else base.weight + self.change()

    @property
    def bias(self) -> Any:
        return self.base_layer.bias

    def forward(self, input: Tensor) -> Tensor:
        """(…, in_features) to (…, out_features).

        Raises:
            ModuleError: it is merged, and in training mode, where A and B would silently get no gradient.
        """
        base = self.base_layer(input)
        if self.merged:
            if self.training:
                raise ModuleError(
                    f"this LoRA is merged into its base, so that training would not reach it.{here()}\n"
                    "  Take it out again: finetuning.unmerge_lora(model); or use the model in evaluation mode: model.eval()."
                )
            return base
        own = self._parameters
        dropped = F.dropout(input, self.dropout, self.training) if self.dropout and self.training else input
        low = F.linear(dropped, own["lora_A"])  # type: ignore[arg-type]
        if self.scale != 1:
            low = low * self.scale  # the smallest array on the way
        return base + F.linear(low, own["lora_B"])  # type: ignore[arg-type]

    def merge(self) -> None:
        """Put the change into the base's weight, so that the layer costs what the base alone does.

        The weight that the base had is kept beside, so that `unmerge` gives back its very numbers.
        """
        if self.merged:
            return
        weight: Any = self.base_layer.weight
        if weight.array.dtype.kind != "f" or weight.array.dtype == np.float16 or hasattr(self.base_layer, "storage"):
            raise DtypeError(
                f"LoRA cannot be merged into a weight that is stored in half precision: the change would be rounded away."
                f"{here()}\n  Widen the weights first: finetuning.widen_frozen(model)."
            )
        with no_grad():
            merged = weight.array + self.change().array
        # A Parameter of its own: others that this weight is tied to stay as they are.
        self._unmerged = (weight,)  # in a tuple, for as an attribute it would be registered
        self.base_layer.weight = Parameter(np.ascontiguousarray(merged, weight.array.dtype), False)
        self.merged = True

    def unmerge(self) -> None:
        """Give the base the weight back that it had before `merge`."""
        if self.merged:
            self.base_layer.weight, self._unmerged = self._unmerged[0], None
            self.merged = False

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """As of any module.

        Raises:
            ModuleError: it is merged: who loads such a state would apply the change a second time.
        """
        if self.merged:
            raise ModuleError(
                f"the LoRA {prefix.rstrip('.')!r} is merged, and a state dict with the changed weight and the change beside it "
                f"would count it twice.{here()}\n  Take it out, unmerge_lora(model), or leave the change in for good, "
                "remove_lora(model)."
            )
        return super().state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha:g}, dropout={self.dropout:g}" + (", merged" if self.merged else "")


def add_lora(
    model: Module,
    patterns: str | Iterable[str],
    rank: int = 8,
    alpha: float | None = None,
    dropout: float = 0.0,
    *,
    train_also: str | Iterable[str] = (),
    freeze_rest: bool = True,
) -> list[str]:
    """Wrap the affine layers whose names fit in `LoRA`, and freeze all else; returns the names of these layers.

    Of the layers `nn.Linear` and GPT-2's `Conv1D` come into question. Where a layer stands at several places, all get the
    same wrapper. Source: Hu et al. 2021.

    Args:
        model: changed in place.
        patterns: of names of layers, or of modules around them: ``"*.query"``, ``["*.query", "*.value"]``,
            ``feedforward(model)``.
        rank: of the change to each weight.
        alpha: the change is scaled by alpha / rank; by 1 if None.
        dropout: of the change's input while training.
        train_also: patterns of parameters that are trained in full beside it, such as ``"classifier"``. The others of the
            model are frozen, those of other adapters aside.
        freeze_rest: False leaves what is not wrapped as it is.

    Raises:
        ModuleError: a pattern fits no affine layer, or one that has LoRA already; nothing is changed then.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> finetuning.add_lora(model, "0", rank=2, train_also="2")
    ['0']
    >>> [name for name, _ in finetuning.trainable_parameters(model)]
    ['0.lora_A', '0.lora_B', '2.weight', '2.bias']
    >>> model[0]
    LoRA(
      rank=2, alpha=2, dropout=0
      (base_layer): Linear(in_features=4, out_features=8, bias=True)
    )
    """
    require_module(model, "add_lora")
    also = parameters_to_train(model, train_also)
    wrappers = wrap_modules(
        model,
        patterns,
        lambda one: isinstance(one, (Linear, Conv1D)),
        lambda name, module: LoRA(module, rank, alpha, dropout),
        "Linear or Conv1D",
        LoRA,
        inside=True,
    )
    freeze_others(model, also, wrappers.values(), freeze_rest)
    return list(wrappers)


def parameters_to_train(model: Module, patterns: str | Iterable[str]) -> list[Parameter]:
    """The parameters whose names fit, each once."""
    slots = named_slots(model)
    return list({id(slots[name]): slots[name] for name in matching(list(slots), patterns)}.values())


def freeze_others(model: Module, also: list[Parameter], wrappers: Iterable[Wrapper], rest: bool) -> None:
    """Freeze the bases of wrappers, and with ``rest`` all that belongs to no wrapper and is not to be trained ``also``."""
    adapting = [one for one in model.modules() if isinstance(one, Wrapper)]
    own = {id(one) for wrapper in adapting for _, one in wrapper.own_parameters()}
    bases = {id(one) for wrapper in wrappers for one in wrapper.base_layer.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in own and (rest or id(parameter) in bases):
            parameter.requires_grad = False
            parameter.grad = None
    for parameter in also:
        parameter.requires_grad = True


def _all_lora(model: Module, what: str) -> dict[str, LoRA]:
    require_module(model, what)
    found = {name: module for name, module in model.named_modules() if isinstance(module, LoRA)}
    if not found:
        raise ModuleError(f"{what}: {type(model).__name__} has no LoRA.{here()}")
    return found


def merge_lora(model: Module) -> Module:
    """Put all changes by LoRA into the weights, so that the model costs what it did without; returns the model.

    W ← W + (alpha / rank) · B A. The wrappers stay, and keep the weights as they were, for `unmerge_lora`; `remove_lora`
    takes them away for good.

    Args:
        model: with LoRA.

    Raises:
        DtypeError: the weights are stored in half precision, where the change would be rounded away.
        ModuleError: it has no LoRA.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 3))
    >>> _ = finetuning.add_lora(model, "0", rank=2)
    >>> _ = nn.init.ones_(model[0].lora_B)
    >>> x = af.ones(1, 4)
    >>> before = model(x)
    >>> after = finetuning.merge_lora(model).eval()(x)
    >>> af.allclose(before, after, atol=1e-6)
    True
    """
    for layer in _all_lora(model, "merge_lora").values():
        layer.merge()
    return model


def unmerge_lora(model: Module) -> Module:
    """Take the changes by LoRA out of the weights again, which get back their very numbers; returns the model.

    Args:
        model: with LoRA.

    Raises:
        ModuleError: it has no LoRA.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 3))
    >>> _ = finetuning.add_lora(model, "0", rank=2)
    >>> finetuning.unmerge_lora(finetuning.merge_lora(model))[0].merged
    False
    """
    for layer in _all_lora(model, "unmerge_lora").values():
        layer.unmerge()
    return model


def remove_lora(model: Module, merge: bool = True) -> Module:
    """Put the layers that LoRA wraps back into their places, so that names are as without it; returns the model.

    Args:
        model: with LoRA.
        merge: whether the change goes into the weights, or is dropped. The layers stay frozen.

    Raises:
        DtypeError: as `merge_lora`.
        ModuleError: it has no LoRA; or a weight is tied to that of another layer, which the change is not for.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 3))
    >>> _ = finetuning.add_lora(model, "0", rank=2)
    >>> finetuning.remove_lora(model)
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
    )
    """
    layers = _all_lora(model, "remove_lora")
    if merge:
        _refuse_tied(model, layers)
    for layer in layers.values():
        if merge:
            layer.merge()
        else:
            layer.unmerge()
    replace_modules(model, {id(layer): layer.base_layer for layer in layers.values()})
    return model


def _refuse_tied(model: Module, layers: dict[str, LoRA]) -> None:
    weights = {
        id(layer._unmerged[0] if layer.merged else layer.base_layer.weight): name for name, layer in layers.items()
    }
    bases = {id(layer.base_layer) for layer in layers.values()}
    for module_name, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if id(parameter) in weights and id(module) not in bases:
                raise ModuleError(
                    f"the weight of {weights[id(parameter)]!r} is tied to {module_name}.{name}, which the change by LoRA is "
                    f"not for.{here()}\n  Keep LoRA (merge_lora), or untie them first: give the layer a Parameter of its own."
                )
