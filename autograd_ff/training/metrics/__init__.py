"""Streaming metrics: what a training reports beside its loss, under Keras's names.

A metric is fed batch by batch and asked for its value in between::

    accuracy = metrics.SparseCategoricalAccuracy()
    for images, labels in loader:
        accuracy.update_state(labels, model(images))
    print(accuracy.result())

Read in this order: `metric` (the protocol), `inputs` (what a metric accepts), `mean` (averages of per-sample values),
then the subjects: `accuracy`, `top_k`, `confusion` (precision, recall), `f_score`, `ranking` (AUC), `regression`,
`crossentropy`; and `resolve` (a metric from its name).

All sums are kept as float64. What is asked before the first update, or when every sample had the weight 0, is 0.0 for
means and ratios of counts, as in Keras, and NaN for `AUC` and `R2Score`, whose 0.0 has a meaning of its own.
"""

from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
)
from .confusion import FalseNegatives, FalsePositives, Precision, Recall, TrueNegatives, TruePositives
from .crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from .f_score import F1Score, FBetaScore
from .mean import Mean, MeanMetricWrapper, Sum
from .metric import Metric
from .ranking import AUC
from .regression import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    R2Score,
    RootMeanSquaredError,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from .resolve import resolve
from .top_k import (
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)

__all__ = [
    "AUC", "Accuracy", "BinaryAccuracy", "BinaryCrossentropy", "CategoricalAccuracy", "CategoricalCrossentropy",
    "F1Score", "FBetaScore", "FalseNegatives", "FalsePositives", "Mean", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanMetricWrapper", "MeanSquaredError", "MeanSquaredLogarithmicError", "Metric",
    "Precision", "R2Score", "Recall", "RootMeanSquaredError", "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy", "Sum", "TopKCategoricalAccuracy",
    "TrueNegatives", "TruePositives", "binary_accuracy", "binary_crossentropy", "categorical_accuracy",
    "categorical_crossentropy", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "resolve", "sparse_categorical_accuracy", "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy", "top_k_categorical_accuracy",
]  # fmt: skip
