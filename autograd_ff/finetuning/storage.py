"""Frozen weights in half precision, computed with in float32.

Source for computing in float32 on weights of 16 bits: Micikevicius et al. 2018, "Mixed Precision Training"; for bfloat16,
Kalamkar et al. 2019.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import apply, here, restructured, wrap
from ..errors import DtypeError, ModuleError
from ..functions.tensor import Tensor
from ..hub.layers import Conv1D
from ..kernels.half_precision import STORAGES, narrowed, widened
from ..kernels.stored_linear import stored_linear, widen
from ..nn import Embedding, Linear, Module, Parameter
from ..nn import functional as F
from .patterns import matching, require_module

__all__ = ["StoredConv1D", "StoredEmbedding", "StoredLinear", "store_frozen", "widen_frozen"]


class Stored(Module):
    """Put before a layer's own class: its weight is kept as 16 bits a number, in the buffer ``weight_<storage>``.

    >>> from autograd_ff.finetuning.storage import Stored, StoredLinear
    >>> issubclass(StoredLinear, Stored)
    True
    """

    storage: str
    plain: type[Module]

    def bits(self) -> Tensor:
        """The weight as uint16."""
        found: Any = self._buffers[f"weight_{self.storage}"]
        return found

    @property
    def weight(self) -> Tensor:
        """The weight in float32, made anew whenever it is read."""
        found: Tensor = widen(self.bits(), storage=self.storage)
        return found

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, storage={self.storage}"


class StoredLinear(Stored, Linear):  # type: ignore[misc]  # weight is computed here
    """`nn.Linear` with a frozen weight of 16 bits a number, made by `store_frozen`.

    y = x W̃ᵀ + b, with W̃ the weight rounded to float16 or bfloat16, widened to float32 for the product.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 3)).requires_grad_(False)
    >>> _ = finetuning.store_frozen(model)
    >>> model[0]
    StoredLinear(in_features=4, out_features=3, bias=True, storage=float16)
    """

    def forward(self, input: Tensor) -> Tensor:
        """(…, in_features) to (…, out_features)."""
        result: Tensor = apply(stored_linear, (input, self.bits(), self.bias), {"storage": self.storage})
        return result


class StoredConv1D(Stored, Conv1D):  # type: ignore[misc]  # weight is computed here
    """GPT-2's `Conv1D` with a frozen weight of 16 bits a number, made by `store_frozen`.

    >>> from autograd_ff import finetuning, nn
    >>> from autograd_ff.hub.layers import Conv1D
    >>> model = nn.Sequential(Conv1D(3, 4)).requires_grad_(False)
    >>> _ = finetuning.store_frozen(model, "bfloat16")
    >>> model[0]
    StoredConv1D(in_features=4, out_features=3, storage=bfloat16)
    """

    def forward(self, input: Tensor) -> Tensor:
        """(…, in_features) to (…, out_features)."""
        result: Tensor = apply(stored_linear, (input, self.bits().t(), self.bias), {"storage": self.storage})
        return result


class StoredEmbedding(Stored, Embedding):  # type: ignore[misc]  # weight is computed here
    """`nn.Embedding` with frozen vectors of 16 bits a number, made by `store_frozen`; it widens those that are looked up.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Embedding(5, 2)).requires_grad_(False)
    >>> _ = finetuning.store_frozen(model)
    >>> model[0]
    StoredEmbedding(5, 2, storage=float16)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Whole numbers (…) to vectors (…, embedding_dim)."""
        found: Tensor = widen(F.embedding(input, self.bits()), storage=self.storage)
        return found


_KINDS: tuple[tuple[type[Module], type[Stored]], ...] = (
    (Linear, StoredLinear),
    (Conv1D, StoredConv1D),
    (Embedding, StoredEmbedding),
)


def _kind_for(module: Module) -> type[Stored] | None:
    """The class that a layer takes on; None of a layer that computes in a way of its own."""
    for plain, stored in _KINDS:
        if isinstance(module, plain) and type(module).forward is plain.forward and not isinstance(module, Stored):
            if isinstance(module, Embedding) and module.max_norm is not None:
                return None  # it writes its weight
            return stored
    return None


def store_frozen(model: Module, storage: str = "float16", patterns: str | Iterable[str] = "*") -> list[str]:
    """Keep the frozen weights of a model in half precision, at half the memory; returns the names of the layers.

    The layers compute in float32 as before, on the rounded weights: each product widens its weight into a temporary array,
    in forward and again in backward, and nothing wider is kept. Relative errors of a weight are at most 2⁻¹¹ with float16
    (numbers below 6e-5 in size lose more; those above 65504 are refused), 2⁻⁹ with bfloat16, which widens ten times as
    fast. Stored are the weights of `nn.Linear`, `Conv1D` and `nn.Embedding`; biases and norms are small and stay. A weight
    tied to a parameter of another kind, or that is trained, stays too.

    The state dict has the bits, as uint16 ``weight_float16`` or ``weight_bfloat16``; `widen_frozen` brings the names back.

    Args:
        model: changed in place. Its stored layers are then `StoredLinear` and so on.
        storage: ``"float16"`` or ``"bfloat16"``.
        patterns: of names of layers.

    Raises:
        DtypeError: another storage; a weight that float16 cannot hold. Nothing is changed then.
        ModuleError: a pattern fits no such layer, or there is none with a frozen weight.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 2))
    >>> _ = finetuning.freeze(model, "0")
    >>> x = af.ones(1, 64)
    >>> before = model(x)
    >>> finetuning.store_frozen(model, "float16")
    ['0']
    >>> af.allclose(model(x), before, atol=1e-3)
    True
    """
    require_module(model, "store_frozen")
    if storage not in STORAGES:
        raise DtypeError(f"the storage is 'float16' or 'bfloat16', not {storage!r}.{here()}")
    layers = {name: one for name, one in model.named_modules() if _kind_for(one) is not None}
    users: dict[int, int] = {}
    for one in model.modules():
        for parameter in one._parameters.values():
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    chosen: dict[str, Module] = {}
    shared: dict[int, int] = {}
    for name in matching(list(layers), patterns, "Linear, Conv1D or Embedding"):
        weight = layers[name]._parameters.get("weight")
        if weight is not None and not weight.requires_grad and weight.array.dtype.kind == "f":
            chosen[name] = layers[name]
            shared[id(weight)] = shared.get(id(weight), 0) + 1
    chosen = {name: one for name, one in chosen.items() if shared[id(one.weight)] == users[id(one.weight)]}
    if not chosen:
        raise ModuleError(
            f"store_frozen: no weight of these layers is frozen.{here()}\n  Freeze first: freeze(model, …)."
        )
    if storage == "float16":
        for name, one in chosen.items():
            largest = float(np.abs(one.weight.array).max(initial=0.0))
            if largest > float(np.finfo(np.float16).max):
                raise DtypeError(
                    f"{name}.weight has a number of size {largest:.3g}, and float16 ends at 65504.{here()}\n"
                    "  Take bfloat16, or leave this layer out."
                )
    bits: dict[int, tuple[Any, Tensor]] = {}  # by id of the weight, which is held so that ids stay apart
    for one in chosen.values():
        weight = one.weight
        if id(weight) not in bits:
            bits[id(weight)] = weight, wrap(narrowed(weight.array, storage))
        _become(one, storage, bits[id(weight)][1])
    restructured()
    return list(chosen)


def _become(module: Module, storage: str, bits: Tensor) -> None:
    stored = _kind_for(module)
    assert stored is not None
    own = module.__dict__
    own["plain"], own["storage"], own["stored_dtype"] = type(module), storage, module.weight.array.dtype
    del module.weight
    module.__class__ = stored
    module._buffers[f"weight_{storage}"] = bits


def widen_frozen(model: Module, patterns: str | Iterable[str] = "*") -> list[str]:
    """Undo `store_frozen`: frozen float32 weights under their old names again, as rounded; returns the layers' names.

    Args:
        model: changed in place.
        patterns: of names of layers.

    Raises:
        ModuleError: a pattern fits no stored layer.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 3)).requires_grad_(False)
    >>> _ = finetuning.store_frozen(model)
    >>> finetuning.widen_frozen(model), model
    (['0'], Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
    ))
    """
    require_module(model, "widen_frozen")
    layers: dict[str, Any] = {name: one for name, one in model.named_modules() if isinstance(one, Stored)}
    chosen = matching(list(layers), patterns, "layer in half precision")
    parameters: dict[int, tuple[Any, Parameter]] = {}
    for name in chosen:
        one = layers[name]
        bits, own = one.bits(), one.__dict__
        if id(bits) not in parameters:
            array = widened(bits.array, one.storage).astype(own["stored_dtype"], copy=False)
            parameters[id(bits)] = bits, Parameter(array, False)
        delattr(one, f"weight_{one.storage}")
        one.__class__ = own.pop("plain")
        del own["storage"], own["stored_dtype"]
        others = dict(one._parameters)
        one._parameters.clear()
        one.weight = parameters[id(bits)][1]
        one._parameters.update(others)  # the weight comes first, as it did
    restructured()
    return chosen
