"""Layers, losses, initialisers: PyTorch's ``torch.nn``."""

from . import functional, init, regularizers, utils
from .activation import (
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from .attention import MultiheadAttention
from .cache import KeyValueCache
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .decoder_cache import DecoderCache
from .dropout import Dropout
from .embedding import Embedding
from .feedforward import FeedForward, gated_hidden, relu_squared
from .linear import Bilinear, Linear
from .loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from .mixture_of_experts import MixtureOfExperts, Routing, auxiliary_loss
from .module import Module
from .normalization import BatchNorm1d, GroupNorm, LayerNorm, RMSNorm
from .parameter import Buffer, Parameter
from .positions import RotaryEmbedding, SinusoidalPositions, rotary_embedding, sinusoidal_positions
from .shape import Flatten, Identity, Unflatten
from .transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "Bilinear", "Buffer", "CELU", "CrossEntropyLoss", "DecoderCache", "Dropout", "ELU",
    "Embedding", "FeedForward", "Flatten", "GELU", "GLU", "GaussianNLLLoss", "GroupNorm", "Hardsigmoid", "Hardswish",
    "Hardtanh", "HuberLoss", "Identity", "KLDivLoss", "KeyValueCache", "L1Loss", "LayerNorm", "LeakyReLU", "Linear",
    "LogSigmoid", "LogSoftmax", "MSELoss", "Mish", "MixtureOfExperts", "Module", "ModuleDict", "ModuleList",
    "MultiheadAttention", "NLLLoss", "PReLU", "Parameter", "ParameterDict", "ParameterList", "RMSNorm", "ReLU",
    "ReLU6", "RotaryEmbedding", "Routing", "SELU", "Sequential", "SiLU", "Sigmoid", "SinusoidalPositions",
    "SmoothL1Loss", "Softmax", "Softmin", "Softplus", "Softsign", "Tanh", "Tanhshrink", "Threshold", "Transformer",
    "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer", "Unflatten",
    "auxiliary_loss", "functional", "gated_hidden", "init", "regularizers", "relu_squared", "rotary_embedding",
    "sinusoidal_positions", "utils",
]  # fmt: skip
