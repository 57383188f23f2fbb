"""What fine-tuning adds to a model, alone: as a state dict and as a file of a few megabytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from .. import serialization
from ..engine import here, wrap
from ..errors import AutogradError, FileFormatError, ModuleError, StateDictError
from ..functions.tensor import Tensor
from ..hub.layers import Conv1D
from ..nn import Linear, Module
from .adapters import Adapter
from .lora import LoRA
from .patterns import matching, named_slots, require_module
from .wrapping import Wrapper, wrap_modules

__all__ = ["adapter_state_dict", "load_adapters", "save_adapters"]

_FORMAT = "autograd_ff.finetuning.adapters"


def adapter_state_dict(model: Module, also: str | Iterable[str] = ()) -> OrderedDict[str, Tensor]:
    """The parameters of all LoRA and adapters by qualified name, and no others.

    As in `Module.state_dict` the tensors share the model's memory. ``model.load_state_dict(state, strict=False)`` takes
    them back.

    Args:
        model: with LoRA or adapters.
        also: patterns of other parameters that belong to it, such as those of a classifier.

    Raises:
        ModuleError: it has neither.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> _ = finetuning.add_lora(model, "0", rank=2)
    >>> list(finetuning.adapter_state_dict(model, also="2"))
    ['0.lora_A', '0.lora_B', '2.weight', '2.bias']
    """
    require_module(model, "adapter_state_dict")
    wrappers = [module for module in model.modules() if isinstance(module, Wrapper)]
    if not wrappers:
        raise ModuleError(f"{type(model).__name__} has neither LoRA nor adapters.{here()}")
    own = {id(parameter) for wrapper in wrappers for _, parameter in wrapper.own_parameters()}
    slots = named_slots(model)
    own |= {id(slots[name]) for name in matching(list(slots), also)}
    return OrderedDict((name, wrap(one.array)) for name, one in model.named_parameters() if id(one) in own)


def save_adapters(model: Module, path: Any, also: str | Iterable[str] = ()) -> None:
    """Write LoRA and adapters into a file, without the model that they were put into.

    Args:
        model: with LoRA or adapters.
        path: of a safetensors file, see `autograd_ff.save`.
        also: patterns of other parameters to write, such as those of a classifier.

    Raises:
        ModuleError: it has neither.
        OSError: the file cannot be written.

    >>> import os, tempfile
    >>> from autograd_ff import finetuning, nn
    >>> model, same = (nn.Sequential(nn.Linear(4, 8)) for _ in range(2))
    >>> _ = same.load_state_dict(model.state_dict())
    >>> _ = finetuning.add_lora(model, "0", rank=2)
    >>> path = os.path.join(tempfile.mkdtemp(), "adapters.safetensors")
    >>> finetuning.save_adapters(model, path)
    >>> finetuning.load_adapters(same, path)
    ['0']
    """
    state = adapter_state_dict(model, also)
    places = {}
    for path_of, module in model.named_modules():
        if isinstance(module, LoRA):
            places[_bare(path_of)] = {
                "kind": "lora",
                "rank": module.rank,
                "alpha": module.alpha,
                "dropout": module.dropout,
            }
    for path_of, module in model.named_modules():
        if isinstance(module, Adapter):
            known = {"kind": "adapter", "size": module.size, "width": module.width, "activation": module.activation}
            places.setdefault(_bare(path_of), {})
            places[_bare(path_of)] = {"inner": places[_bare(path_of)], **known} if places[_bare(path_of)] else known
    serialization.save({"format": _FORMAT, "places": places, "state": dict(state)}, path)


def _bare(path: str) -> str:
    """A name as it is without wrappers."""
    return ".".join(part for part in path.split(".") if part != "base_layer")


def load_adapters(model: Module, path: Any) -> list[str]:
    """Put the LoRA and adapters of a file into a model, frozen otherwise; returns the names of the layers.

    Args:
        model: as the one that they were trained in; without any, or with the very ones of the file, which then take its
            values.
        path: of a file that `save_adapters` wrote.

    Raises:
        FileFormatError: it is no such file.
        StateDictError: names or shapes differ; the model is then left with new adapters that change nothing.
        ModuleError: the model has no such layers, or other adapters than the file.

    >>> from autograd_ff import finetuning
    >>> finetuning.load_adapters.__name__  # see save_adapters
    'load_adapters'
    """
    require_module(model, "load_adapters")
    places, state = _read(path)
    there = {_bare(name): module for name, module in model.named_modules() if isinstance(module, Wrapper)}
    if there and set(there) != set(places):
        differ = sorted(set(there) ^ set(places))
        raise ModuleError(
            f"the model has LoRA or adapters already, and others than the file: {differ[:5]} differ.{here()}"
        )
    if any(isinstance(one, LoRA) and one.merged for one in model.modules()):
        raise ModuleError(f"LoRA is merged into the weights; take it out first: unmerge_lora(model).{here()}")
    if not there:
        for parameter in model.parameters():
            parameter.requires_grad = False
        for place, options in places.items():
            _put(model, place, options)
    own = model.state_dict(keep_vars=True)
    absent = [name for name in adapter_state_dict(model) if name not in state]
    unknown = [name for name in state if name not in own]
    if absent or unknown:
        raise StateDictError(
            f"the adapters of {path} do not fit {type(model).__name__}: missing {absent[:5]}, unexpected {unknown[:5]}.{here()}"
        )
    model.load_state_dict(state, strict=False)
    return list(places)


def _put(model: Module, place: str, options: Mapping[str, Any]) -> None:
    inner = options.get("inner")
    if inner:
        _put(model, place, inner)
    literal = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in place)
    if options["kind"] == "lora":
        wrap_modules(
            model, literal, lambda one: isinstance(one, (Linear, Conv1D)),
            lambda _, module: LoRA(module, options["rank"], options["alpha"], options["dropout"]),
            "Linear or Conv1D", LoRA, inside=True, whole=True,
        )  # fmt: skip
    else:
        wrap_modules(
            model, literal, lambda one: True,
            lambda _, module: Adapter(module, options["size"], options["width"], options["activation"]),
            "module", Adapter, whole=True,
        )  # fmt: skip


def _read(path: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    content = serialization.load(path)
    try:
        if content["format"] != _FORMAT:
            raise KeyError
        places, state = content["places"], content["state"]
        for options in places.values():
            for one in (options, options.get("inner")):
                if one:
                    needed = ("rank", "alpha", "dropout") if one["kind"] == "lora" else ("size", "width", "activation")
                    [one[name] for name in needed]
    except AutogradError:
        raise
    except (KeyError, TypeError, AttributeError):
        raise FileFormatError(f"{path} holds no adapters that save_adapters wrote.{here()}") from None
    return places, state
