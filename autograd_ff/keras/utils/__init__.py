"""What Keras has under ``keras.utils``: preparing arrays, seeding, drawing a model."""

from .numerical import normalize, to_categorical
from .plotting import plot_model
from .seeding import set_random_seed

__all__ = ["normalize", "plot_model", "set_random_seed", "to_categorical"]
