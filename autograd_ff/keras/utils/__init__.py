"""What Keras has under ``keras.utils``: preparing arrays, seeding, drawing a model, naming classes of one's own."""

from ..backend import clear_session
from ..dataset import PyDataset, Sequence
from ..registry import custom_object_scope, get_custom_objects, get_registered_name, register_keras_serializable
from .numerical import normalize, to_categorical
from .plotting import plot_model
from .seeding import set_random_seed

__all__ = [
    "clear_session", "custom_object_scope", "get_custom_objects", "get_registered_name", "normalize", "plot_model",
    "PyDataset", "Sequence", "register_keras_serializable", "set_random_seed", "to_categorical",
]  # fmt: skip
