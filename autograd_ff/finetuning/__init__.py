"""Fine-tuning: which parameters of a pretrained model are trained, how fast, and in how little memory.

from autograd_ff import finetuning

finetuning.add_lora(model, ["*.query", "*.value"], rank=8, train_also="classifier")
optimizer = af.optim.AdamW(finetuning.trainable_parameters(model), lr=1e-3)
schedule = finetuning.warmup_schedule(optimizer, warmup_steps=50, total_steps=1000)
print(finetuning.parameter_table(model))
"""

from .adapter_files import adapter_state_dict, load_adapters, save_adapters
from .adapters import Adapter, add_adapters, remove_adapters
from .checkpointing import checkpoint, checkpoint_modules, checkpoint_sequential
from .freezing import feedforward, freeze, head, train_only, trainable_parameters, unfreeze
from .lora import LoRA, add_lora, merge_lora, remove_lora, unmerge_lora
from .patterns import matching
from .rates import WarmupRate, layerwise_groups, warmup_schedule
from .storage import StoredConv1D, StoredEmbedding, StoredLinear, store_frozen, widen_frozen
from .table import ParameterRow, ParameterTable, parameter_table

__all__ = [
    "Adapter", "LoRA", "ParameterRow", "ParameterTable", "StoredConv1D", "StoredEmbedding", "StoredLinear", "WarmupRate",
    "adapter_state_dict", "add_adapters", "add_lora", "checkpoint", "checkpoint_modules", "checkpoint_sequential",
    "feedforward", "freeze", "head", "layerwise_groups", "load_adapters", "matching", "merge_lora", "parameter_table",
    "remove_adapters", "remove_lora", "save_adapters", "store_frozen", "train_only", "trainable_parameters", "unfreeze",
    "unmerge_lora", "warmup_schedule", "widen_frozen",
]  # fmt: skip
