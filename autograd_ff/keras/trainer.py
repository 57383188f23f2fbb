"""The trainer of a Keras model: `autograd_ff.training.Trainer`, with Keras's losses, weights and penalties."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine import TensorCore, here, no_grad
from ..errors import ModuleError
from ..training import Trainer
from ..training.batches import Batch
from . import activations
from .targets import check_targets

__all__ = ["KerasTrainer", "several_outputs"]


def several_outputs(name: str) -> str:
    """What to do with a model of several outputs, which `fit` does not train."""
    return (
        f"{name!r} has several outputs, and a loss is of one: what has several computes and predicts, and is not trained by "
        f"fit.{here()}\n  Train a model of one output with the same layers: keras.Model(inputs, one). Or join the outputs by "
        "keras.layers.Concatenate, and take them apart in the loss; or define train_step of autograd_ff.training.Trainer."
    )


class KerasTrainer(Trainer):
    """Trains a `keras.Model` as it was compiled.

    What differs from its base class:

    - The loss is called ``(y_true, y_pred, sample_weight)``.
    - Where the model ends in a softmax or a sigmoid and the loss is the cross-entropy to that, the loss is computed from
      what comes before it, which neither overflows nor loses small probabilities. The metrics see probabilities.
    - The penalties of the layers (``kernel_regularizer=``, `add_loss`) are added to the loss.
    - Sample weights count in the weighted metrics only.
    - A model is given its inputs as one argument, also where they are several in a tuple or a dict.
    """

    def __init__(
        self, model: Any, loss: Any, optimizer: Any, metrics: Iterable[Any], weighted: Iterable[Any], scale: float = 1.0
    ) -> None:
        super().__init__(model, loss, optimizer)
        self.loss: Any = loss
        self.metrics = [*metrics, *weighted]
        self._weighted = {metric.name for metric in weighted}
        self._scale = scale
        self._of_logits = {} if loss is None else {name: loss.with_logits(name) for name in ("softmax", "sigmoid")}

    def __call__(self, inputs: Any) -> Any:
        return self.model(list(inputs) if isinstance(inputs, tuple) else inputs)

    def compute_loss(self, inputs: Any, targets: Any, weights: Any = None) -> tuple[Any, Any]:
        inputs = list(inputs) if isinstance(inputs, tuple) else inputs
        value, name = self.model.split(inputs) if any(self._of_logits.values()) else (self.model(inputs), "linear")
        of_logits = self._of_logits.get(name)
        if of_logits is None:
            outputs = scored = value if name == "linear" else activations.get(name)(value)
            loss = self.loss
        else:
            with no_grad():
                outputs = activations.get(name)(value)
            scored, loss = value, of_logits
        total = None
        if loss is not None:
            if targets is None:
                raise ModuleError(f"the loss {loss.name!r} compares with targets, and there are none: give y.{here()}")
            if not isinstance(outputs, TensorCore):
                raise ModuleError(several_outputs(self.model.name))
            check_targets(self.loss, targets, outputs)
            total = loss(targets, scored, weights)
            if self._scale != 1.0:
                total = total * self._scale
        for penalty in self.model.losses:
            total = penalty if total is None else total + penalty
        if total is None:
            raise ModuleError(
                f"there is nothing to descend: compile {self.model.name!r} with a loss, or let a layer add_loss().{here()}"
            )
        return total, outputs

    def measured(self, result: Any, batch: Batch, metrics: Iterable[Any]) -> dict[str, float]:
        if batch.weights is None:
            return super().measured(result, batch, metrics)
        given = list(metrics)
        super().measured(result, batch._replace(weights=None), [one for one in given if one.name not in self._weighted])
        return super().measured(result, batch, [one for one in given if one.name in self._weighted])
