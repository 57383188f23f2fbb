"""What Keras has under ``keras.models``: the kinds of models, and reading and writing them."""

from .functional import Functional
from .model import Model
from .saving import load_model, save_model
from .sequential import Sequential

__all__ = ["Functional", "Model", "Sequential", "load_model", "save_model"]
