"""Sums and means over samples: the metrics that most others are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...engine import TensorCore, here, no_grad, wrap
from ...errors import ShapeError
from .inputs import as_array, weights_for
from .metric import Metric

__all__ = ["EPSILON", "Mean", "MeanMetricWrapper", "MeanOfSamples", "Sum", "over_last"]

EPSILON = 1e-7  # of Keras: the smallest number that a value per sample divides by or takes the logarithm of


class Sum(Metric):
    """The sum of all values, each times its sample's weight.

    >>> total = Sum()
    >>> total.update_state([1, 3, 5, 7])
    >>> total.update_state([1, 3], sample_weight=[2, 0])
    >>> total.result()
    18.0
    """

    state = ("total",)

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.total = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        array = np.atleast_1d(as_array(values, "values"))
        if sample_weight is None:
            self.total += float(array.sum(dtype=np.float64))
        else:
            weights = weights_for(sample_weight, array.shape)
            array = array.sum(axis=tuple(range(weights.ndim, array.ndim)), dtype=np.float64)
            self.total += float(_weighted(array, weights).sum())

    def result(self) -> float:
        return self.total

    def reset_state(self) -> None:
        self.total = 0.0


class Mean(Metric):
    """The mean of all values, weighted by their samples' weights: sum(w · v) / sum(w).

    Values of more than one dimension, (n, …), are averaged over all but the first, so that every sample counts once.
    Weights are (n,), or of more of the values' leading dimensions. A value under the weight 0 does not count, be it
    NaN. Without values, or if all weights are 0, the result is 0.0.

    >>> mean = Mean()
    >>> mean.update_state([1, 3, 5, 7])
    >>> mean.result()
    4.0
    >>> mean.reset_state()
    >>> mean.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    >>> mean.result()
    2.0
    """

    state = ("total", "count")

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.total = 0.0
        self.count = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        self.add(np.atleast_1d(as_array(values, "values")), sample_weight)

    def add(self, values: np.ndarray, sample_weight: Any = None) -> None:
        """Take in values of at least one dimension, the first of which counts the samples."""
        size = values.size
        if not size:
            return
        samples = len(values)
        if sample_weight is None:
            self.total += float(values.sum(dtype=np.float64)) * (samples / size)
            self.count += samples
            return
        weights = weights_for(sample_weight, values.shape)
        if values.ndim > weights.ndim:
            values = values.mean(axis=tuple(range(weights.ndim, values.ndim)), dtype=np.float64)
        share = samples / values.size
        self.total += float(_weighted(values, weights).sum()) * share
        self.count += float(weights.sum()) * share

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        self.total = 0.0
        self.count = 0.0


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    product = np.zeros(values.shape)
    np.multiply(values, weights, out=product, where=weights != 0)  # 0 · NaN would be NaN
    return product


def over_last(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis, unless that is the samples'."""
    return values.mean(axis=-1) if values.ndim > 1 else values


class MeanOfSamples(Mean):
    """The mean of a number per sample; what the subjects' metrics derive from."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        self.add(self.values(as_array(y_true, "y_true"), as_array(y_pred, "y_pred")), sample_weight)


class MeanMetricWrapper(Mean):
    """The mean of a function ``fn(y_true, y_pred, **kwargs)`` over all samples.

    The function is handed Tensors without a graph, and returns values per sample, (n, …), or one number for the batch.
    A number counts for as many samples as the batch has (or for the sum of their weights), so that a smaller last batch
    does not count as much as the others; in Keras it does.

    >>> import autograd_ff as af
    >>> far = MeanMetricWrapper(lambda y_true, y_pred: (y_true - y_pred).abs() > 1, name="far")
    >>> far.update_state([1.0, 2.0], af.tensor([1.5, 4.0]))
    >>> far.result()
    0.5
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(_name_of(fn) if name is None else name, dtype)
        self.fn = fn
        self._options = kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        y_true, y_pred = _tensors(y_true), _tensors(y_pred)
        with no_grad():
            values = as_array(self.fn(y_true, y_pred, **self._options), f"what {self.name} returned")
        samples = _samples(y_true, y_pred)
        if values.ndim == 0:
            values = np.broadcast_to(values, (samples,))
        elif len(values) != samples:
            raise ShapeError(
                f"the metric {self.name!r} returned values of the shape {values.shape} for {samples} samples; it is to "
                f"return one value per sample, or one number for the batch{here()}"
            )
        self.add(values, sample_weight)


def _name_of(fn: Any) -> str:
    while not hasattr(fn, "__name__") and hasattr(fn, "func"):  # functools.partial
        fn = fn.func
    name: str = getattr(fn, "__name__", type(fn).__name__)
    return name


def _tensors(value: Any) -> Any:
    """What a function of the user's is handed: Tensors without a graph, in the structure that the model returned."""
    if isinstance(value, TensorCore):
        return wrap(value.array)
    if isinstance(value, dict):
        return {key: _tensors(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_tensors(one) for one in value)
    return wrap(as_array(value, "a metric's argument"))


def _samples(*values: Any) -> int:
    for value in values:
        while isinstance(value, (dict, tuple)) and value:
            value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        if isinstance(value, TensorCore) and value.array.ndim:
            return len(value.array)
    return 1
