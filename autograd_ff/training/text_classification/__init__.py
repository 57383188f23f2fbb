"""Fine-tuning a pretrained encoder to tell classes of texts apart: methods, network, data, schedule."""

from .data import TextData, read_texts
from .settings import METHODS, FineTuningSettings
from .trainer import TextClassification

__all__ = ["METHODS", "FineTuningSettings", "TextClassification", "TextData", "read_texts"]
