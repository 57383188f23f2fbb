"""Keras's layers: thin ones over `autograd_ff.nn`, which make their weights when they see their first input."""

from typing import Never

from ..lookup import absent
from .dense import ELU, Activation, Dense, LeakyReLU, PReLU, ReLU, Softmax
from .embedding import Embedding
from .input_layer import InputLayer
from .layer import Layer
from .merging import Add, Average, Concatenate, Maximum, Minimum, Multiply, Subtract, add, concatenate, multiply
from .normalization import BatchNormalization, LayerNormalization, RMSNormalization
from .regularization import ActivityRegularization, Dropout, GaussianNoise
from .serialization import deserialize, get, serialize
from .shaping import Flatten, Identity, Lambda, Permute, Rescaling, Reshape
from .symbolic import Input, KerasTensor

__all__ = [
    "Activation", "ActivityRegularization", "Add", "Average", "BatchNormalization", "Concatenate", "Dense", "Dropout",
    "ELU", "Embedding", "Flatten", "GaussianNoise", "Identity", "Input", "InputLayer", "KerasTensor", "Lambda", "Layer",
    "LayerNormalization", "LeakyReLU", "Maximum", "Minimum", "Multiply", "PReLU", "Permute", "RMSNormalization", "ReLU",
    "Rescaling", "Reshape", "Softmax", "Subtract", "add", "concatenate", "deserialize", "get", "multiply", "serialize",
]  # fmt: skip


def __getattr__(name: str) -> Never:
    raise absent(__name__, name, __all__)
