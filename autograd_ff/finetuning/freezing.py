"""Which parameters are trained: `freeze`, `unfreeze`, `train_only`, and the parts of a model by what they are for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..engine import here
from ..errors import ModuleError
from ..hub.bert import BertLayer
from ..hub.gpt2 import GPT2MLP
from ..hub.pretrained import PretrainedModel
from ..nn import Module, Parameter, TransformerDecoderLayer, TransformerEncoderLayer
from .patterns import matching, named_slots, require_module

__all__ = ["feedforward", "freeze", "head", "train_only", "trainable_parameters", "unfreeze"]

Patterns = str | Iterable[str]


def _chosen(model: Module, patterns: Patterns, except_: Patterns) -> dict[str, Parameter]:
    """The parameters that ``patterns`` mean and ``except_`` does not, each under its first name that was meant."""
    slots = named_slots(model)
    names = list(slots)
    spared = {id(slots[name]) for name in matching(names, except_)}
    found: dict[str, Parameter] = {}
    seen: set[int] = set()
    for name in matching(names, patterns):
        if id(slots[name]) not in seen and id(slots[name]) not in spared:
            seen.add(id(slots[name]))
            found[name] = slots[name]
    return found


def freeze(model: Module, patterns: Patterns = "*", *, except_: Patterns = ()) -> list[str]:
    """Let no gradient flow into the parameters whose names fit; returns these names.

    Where all that leads to an operation is frozen, nothing is recorded; where a weight is frozen, what its gradient would
    need is not kept. A ``.grad`` that is there is dropped, so that no optimizer steps on it.

    Args:
        model: whose parameters.
        patterns: of qualified names, or of modules, which stand for all that is in them; see `matching`.
        except_: those that stay as they are. A tied weight is spared under any of its names.

    Raises:
        ModuleError: a pattern fits no parameter; the message names some that are like it.

    >>> from autograd_ff import nn
    >>> from autograd_ff.finetuning import freeze
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> freeze(model, "*", except_="2")
    ['0.weight', '0.bias']
    >>> [parameter.requires_grad for parameter in model.parameters()]
    [False, False, True, True]
    """
    require_module(model, "freeze")
    chosen = _chosen(model, patterns, except_)
    for parameter in chosen.values():
        parameter.requires_grad = False
        parameter.grad = None
    return list(chosen)


def unfreeze(model: Module, patterns: Patterns = "*", *, except_: Patterns = ()) -> list[str]:
    """Let gradients flow into the parameters whose names fit; returns these names.

    Args:
        model: whose parameters.
        patterns: as of `freeze`.
        except_: those that stay as they are.

    Raises:
        ModuleError: a pattern fits no parameter; or one is stored in half precision, in which small steps are lost.

    >>> from autograd_ff import nn
    >>> from autograd_ff.finetuning import freeze, unfreeze
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> _ = freeze(model)
    >>> unfreeze(model, "*.bias")
    ['0.bias', '2.bias']
    """
    require_module(model, "unfreeze")
    chosen = _chosen(model, patterns, except_)
    for name, parameter in chosen.items():
        if parameter.array.dtype.kind not in "fc" or parameter.array.dtype == np.float16:
            raise ModuleError(
                f"{name!r} is stored as {parameter.array.dtype}, too coarse to be trained in.{here()}\n"
                "  Widen it first: finetuning.widen_frozen(model)."
            )
    for parameter in chosen.values():
        parameter.requires_grad = True
    return list(chosen)


def train_only(model: Module, patterns: Patterns) -> list[str]:
    """Freeze all parameters but those whose names fit; returns the names of these.

    Args:
        model: whose parameters.
        patterns: as of `freeze`; ``feedforward(model)`` and ``head(model)`` give such ones.

    Raises:
        ModuleError: as `unfreeze`; nothing is changed then.

    >>> from autograd_ff import nn
    >>> from autograd_ff.finetuning import train_only
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> train_only(model, "2")
    ['2.weight', '2.bias']
    >>> [parameter.requires_grad for parameter in model.parameters()]
    [False, False, True, True]
    """
    require_module(model, "train_only")
    kept = unfreeze(model, patterns)
    ids = {id(parameter) for name, parameter in named_slots(model).items() if name in set(kept)}
    for parameter in model.parameters():
        if id(parameter) not in ids:
            parameter.requires_grad = False
            parameter.grad = None
    return kept


def trainable_parameters(model: Module) -> Iterator[tuple[str, Parameter]]:
    """The parameters that are not frozen, and their names: what to hand to an optimizer.

    An optimizer moves all that it is given into memory of its own, frozen weights too; these leave them where they are.

    >>> import autograd_ff as af
    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> _ = finetuning.freeze(model, "0")
    >>> optimizer = af.optim.AdamW(finetuning.trainable_parameters(model))
    >>> optimizer.param_groups[0]["param_names"]
    ['2.weight', '2.bias']
    """
    require_module(model, "trainable_parameters")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter


# ---------------------------------------------------------------- parts of a model


def feedforward(model: Module) -> list[str]:
    """The names of the affine layers of all feedforward blocks: two in each layer of a transformer.

    Known are the layers of `BertModel`, `GPT2Model`, `nn.TransformerEncoderLayer` and `nn.TransformerDecoderLayer`. They
    are patterns for `train_only`, `add_lora` and the like.

    Args:
        model: that holds them.

    Raises:
        ModuleError: there is none.

    >>> from autograd_ff import finetuning, hub
    >>> model = hub.BertModel(hub.BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...                                      intermediate_size=16, max_position_embeddings=10))
    >>> finetuning.feedforward(model)
    ['encoder.layer.0.intermediate.dense', 'encoder.layer.0.output.dense']
    """
    require_module(model, "feedforward")
    known: dict[type[Module], tuple[str, ...]] = {
        BertLayer: ("intermediate.dense", "output.dense"),
        GPT2MLP: ("c_fc", "c_proj"),
        TransformerEncoderLayer: ("linear1", "linear2"),
        TransformerDecoderLayer: ("linear1", "linear2"),
    }
    found: list[str] = []
    for path, module in model.named_modules():
        for kind, names in known.items():
            if isinstance(module, kind):
                found += [f"{path}.{name}" if path else name for name in names]
    if not found:
        raise ModuleError(
            f"{type(model).__name__} holds none of {', '.join(kind.__name__ for kind in known)}, of which alone it is known "
            f"which part is the feedforward block.{here()}\n  Name its layers by patterns."
        )
    return found


def head(model: Module) -> list[str]:
    """The names of the parameters that belong to no pretrained model inside: those of the layers put on top of it.

    Args:
        model: with a `PretrainedModel` among its children.

    Raises:
        ModuleError: there is no pretrained model inside, or nothing outside of it.

    >>> from autograd_ff import finetuning, hub, nn
    >>> class Classifier(nn.Module):
    ...     def __init__(self, config):
    ...         super().__init__()
    ...         self.body = hub.BertModel(config)
    ...         self.classifier = nn.Linear(8, 2)
    >>> model = Classifier(hub.BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...                                   intermediate_size=16, max_position_embeddings=10))
    >>> finetuning.head(model)
    ['classifier.weight', 'classifier.bias']
    """
    require_module(model, "head")
    bodies = [one for one in model.modules() if isinstance(one, PretrainedModel) and not one.has_head]
    inside = {id(parameter) for body in bodies for parameter in body.parameters()}
    found = [name for name, parameter in model.named_parameters() if id(parameter) not in inside]
    if not bodies or not found:
        what = "holds no pretrained model" if not bodies else "has no parameters outside of its pretrained model"
        raise ModuleError(f"{type(model).__name__} {what}, so it is not known which are its head.{here()}\n"
                          "  Name its layers by patterns.")  # fmt: skip
    return found
