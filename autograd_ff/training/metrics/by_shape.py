"""Accuracy by name alone: which one is meant, the first batch shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..loss_kind import BINARY, has_classes_second, is_binary, kind_of, option_of, takes_logits
from . import accuracy
from .inputs import as_array
from .metric import Metric

__all__ = ["AccuracyByShape"]


class AccuracyByShape(Metric):
    """The sparse, categorical or binary accuracy, whichever the first batch after a reset is for.

    As in Keras: one score per sample is binary; labels of fewer dimensions than the scores, or of one column where the
    scores have several, are class numbers; else the labels are one-hot. Beyond Keras, the loss tells what shapes cannot:

    - logits of a binary loss have the threshold 0;
    - labels of several columns under `nn.BCELoss` or `nn.BCEWithLogitsLoss` are yes or no, each for itself;
    - under PyTorch's cross-entropies the classes lie along axis 1, and ``ignore_index`` does not count.
    """

    direction = "up"

    def __init__(self, name: str = "accuracy", loss: Any = None) -> None:
        super().__init__(name)
        self._chosen: Metric | None = None
        self._form: dict[str, Any] = {}
        self._threshold = 0.0 if takes_logits(loss) and is_binary(loss) else 0.5
        self._independent = kind_of(loss) == BINARY
        self._classes_second = has_classes_second(loss)
        self._ignored: int | None = option_of(loss, "ignore_index", -100) if self._classes_second else None

    def _choose(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
        columns = scores.shape[-1] if scores.ndim > 1 else 1
        axis = 1 if self._classes_second and scores.ndim > 2 else -1
        if self._classes_second and scores.ndim > 1:
            columns = max(columns, scores.shape[1], 2)  # a cross-entropy is never of yes or no
        if columns == 1 or (self._independent and labels.shape == scores.shape):
            return {"form": "binary", "threshold": self._threshold}
        if labels.ndim < scores.ndim or labels.shape[-1] == 1 < scores.shape[-1]:
            return {"form": "sparse", "axis": axis, "ignore_class": self._ignored}
        return {"form": "categorical", "axis": axis}

    def _build(self, form: dict[str, Any]) -> Metric:
        options = {name: value for name, value in form.items() if name != "form"}
        kinds: dict[str, Any] = {
            "binary": accuracy.BinaryAccuracy,
            "sparse": accuracy.SparseCategoricalAccuracy,
            "categorical": accuracy.CategoricalAccuracy,
        }
        self._form = form
        built: Metric = kinds[form["form"]](name=self.name, **options)
        return built

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        chosen = self._chosen
        if chosen is None:
            form = self._choose(as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))
            chosen = self._build(form)
            chosen.update_state(y_true, y_pred, sample_weight)
            self._chosen = chosen  # a batch that it cannot take decides nothing
        else:
            chosen.update_state(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        return 0.0 if self._chosen is None else self._chosen.result()

    def reset_state(self) -> None:
        # The next pass may be over other labels: mixed ones to train on, class numbers to validate with.
        self._chosen, self._form = None, {}

    def state_dict(self) -> dict[str, Any]:
        if self._chosen is None:
            return {"form": {}, "state": {}}
        return {"form": dict(self._form), "state": self._chosen.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.expect_keys(state, ("form", "state"))
        self._chosen = None
        if state["form"]:
            self._chosen = self._build(dict(state["form"]))
            self._chosen.load_state_dict(state["state"])
