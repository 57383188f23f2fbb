"""What is trained by each method, and what the others keep frozen."""

from __future__ import annotations

import copy
import os
from typing import Any

from ... import finetuning
from ...hub import SentenceClassifier
from ...hub.bert import BertLayer
from ...optim import AdamW
from .settings import FineTuningSettings

__all__ = ["optimizer_of", "plain", "prepare", "save_classifier"]

CLASSIFIER = "classifier"
# Where LoRA goes: all affine layers but those that join the heads.
LORA = ("*.query", "*.key", "*.value", "*.intermediate.dense", "*.output.dense")
ADAPTERS = "*.output.dense"
NORMS = "*.LayerNorm"
ADAPTER_FILE = "adapters.safetensors"
NO_DECAY = ("*.bias", "*LayerNorm*")


def prepare(model: SentenceClassifier, settings: FineTuningSettings) -> None:
    """Freeze what is not trained, put in what is new, store and checkpoint as the settings say. In place."""
    method = settings.method
    if method == "full":
        finetuning.unfreeze(model)
    elif method == "feedforward":
        finetuning.train_only(model, [*finetuning.feedforward(model), CLASSIFIER])
    elif method == "lora":
        finetuning.add_lora(model, LORA, settings.rank, train_also=CLASSIFIER)
    elif method == "adapters":
        finetuning.add_adapters(model, ADAPTERS, settings.size, train_also=[NORMS, CLASSIFIER])
    else:
        finetuning.train_only(model, CLASSIFIER)
    pooler = getattr(model.encoder.model, "pooler", None)
    if pooler is not None:
        finetuning.freeze(pooler)  # no part of the mean over the tokens
    if settings.storage is not None:
        finetuning.store_frozen(model, settings.storage)
    if settings.checkpointing and method != "head":
        finetuning.checkpoint_modules(model, layers_of(model))


def layers_of(model: Any) -> list[str]:
    """The names of the layers of the encoder."""
    return [name for name, module in model.named_modules() if isinstance(module, BertLayer)]


def optimizer_of(model: SentenceClassifier, settings: FineTuningSettings) -> AdamW:
    """AdamW over what is trained, with rates that fall towards the input where they shall."""
    groups = finetuning.layerwise_groups(
        model,
        settings.learning_rate,
        settings.decay,
        layers="encoder.model.encoder.layer",
        weight_decay=settings.weight_decay,
        no_decay=NO_DECAY,
    )
    return AdamW(groups, lr=settings.learning_rate)


def plain(model: SentenceClassifier) -> SentenceClassifier:
    """A copy of what was trained without LoRA, which is merged, 16-bit storage and checkpointing; adapters stay."""
    model = copy.deepcopy(model)
    if any(isinstance(one, finetuning.StoredLinear | finetuning.StoredEmbedding) for one in model.modules()):
        finetuning.widen_frozen(model)
    if any(isinstance(one, finetuning.LoRA) for one in model.modules()):
        finetuning.remove_lora(model)
    checkpointed = [name for name in layers_of(model) if type(model.get_submodule(name)) is not BertLayer]
    if checkpointed:
        finetuning.checkpoint_modules(model, checkpointed, on=False)
    return model.eval()


def save_classifier(model: SentenceClassifier, folder: Any) -> None:
    """Write `plain` of a classifier into a folder; adapters beside it, which `finetuning.load_adapters` puts in."""
    model = plain(model)
    adapted = any(isinstance(one, finetuning.Adapter) for one in model.modules())
    path = os.path.join(folder, ADAPTER_FILE)
    if adapted:
        os.makedirs(folder, exist_ok=True)
        finetuning.save_adapters(model, path)
        finetuning.remove_adapters(model)
    elif os.path.exists(path):  # an earlier run's
        os.remove(path)
    model.save_pretrained(folder, adapters=ADAPTER_FILE if adapted else None)
