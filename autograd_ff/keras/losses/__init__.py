"""Losses with Keras's names, arguments and reductions, computed by `autograd_ff.nn.functional`.

A loss is called ``loss(y_true, y_pred, sample_weight=None)``, the truth first, and gives one number; its `Loss.call`, and
the functions in small letters, give one for each sample: the mean over the last axis. Reductions:

- ``"sum_over_batch_size"`` (the default; also ``"mean"``): the sum over all samples, over their number, whatever their
  weights are;
- ``"mean_with_sample_weight"``: over the sum of their weights;
- ``"sum"``, and ``"none"`` for one loss a sample.

Where Keras broadcasts a truth and a prediction of unequal shapes, these raise: (32,) against (32, 10) would train on wrong
pairs. A last side of 1 that one of the two lacks is the exception, as in Keras.

For a model that ends in a softmax or a sigmoid: `Loss.with_logits` gives the same loss of what comes before it.
"""

from .by_name import deserialize, get, serialize
from .crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from .loss import Loss, LossFunctionWrapper
from .margins import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
from .regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)

__all__ = [
    "BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "CosineSimilarity", "Hinge", "Huber",
    "KLDivergence", "LogCosh", "Loss", "LossFunctionWrapper", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge",
    "binary_crossentropy", "categorical_crossentropy", "categorical_hinge", "cosine_similarity", "deserialize", "get",
    "hinge", "huber", "kl_divergence", "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_error", "mean_squared_logarithmic_error", "poisson", "serialize", "sparse_categorical_crossentropy",
    "squared_hinge",
]  # fmt: skip
