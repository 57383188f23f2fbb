"""What `Model.compile` was told."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..engine import TensorCore, here
from ..errors import DtypeError, ShapeError
from . import losses, metrics, optimizers
from .lookup import describe, look_up
from .metrics import MeanMetricWrapper, Metric, resolve

__all__ = ["Settings"]


class Settings:
    """Optimizer, loss and metrics of a model, resolved from names and objects.

    Attributes:
        optimizer: of `keras.optimizers`.
        loss: of `keras.losses`, or None.
        metrics, weighted_metrics: lists of metrics; sample weights count in the latter.
        scale: what the loss is multiplied by.
    """

    def __init__(
        self,
        optimizer: Any,
        loss: Any,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
    ) -> None:
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(_single(loss, "loss"))
        self.scale = _number(loss_weights)
        # A metric called "accuracy" takes the form that fits the targets; keras.losses that take logits move its threshold.
        self.metrics = [resolve(one, self.loss) for one in _listed(metrics, "metrics")]
        self.weighted_metrics = [resolve(one, self.loss) for one in _listed(weighted_metrics, "metrics")]
        names = {metric.name for metric in self.metrics}
        for metric in self.weighted_metrics:
            if metric.name in names:
                metric.name = f"weighted_{metric.name}"
        if jit_compile not in (True, False, "auto", None):
            raise ShapeError(f"jit_compile is True, False or 'auto', not {jit_compile!r}.{here()}")
        self.run_eagerly = bool(run_eagerly)
        self.jit_compile = jit_compile
        self._given = {"metrics": metrics, "weighted_metrics": weighted_metrics, "loss_weights": self.scale}

    @property
    def metrics_names(self) -> list[str]:
        """In the order in which `Model.evaluate` gives the numbers."""
        return ["loss", *(metric.name for metric in (*self.metrics, *self.weighted_metrics))]

    def get_config(self) -> dict[str, Any]:
        """As plain data, from which `from_config` makes the same."""
        return {
            "optimizer": optimizers.serialize(self.optimizer),
            "loss": losses.serialize(self.loss) if self.loss is not None else None,
            "loss_weights": self.scale,
            **{name: [_described(one) for one in _listed(self._given[name], name)] for name in METRICS},
            "run_eagerly": self.run_eagerly,
            "jit_compile": self.jit_compile,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> Settings:
        """The settings whose `get_config` this is."""
        own = dict(custom_objects)
        loss = config["loss"]
        return cls(
            optimizers.deserialize(config["optimizer"], own),
            None if loss is None else losses.deserialize(loss, own),
            config["loss_weights"],
            metrics=[_read_metric(one, own) for one in config["metrics"]],
            weighted_metrics=[_read_metric(one, own) for one in config["weighted_metrics"]],
            run_eagerly=config["run_eagerly"],
            jit_compile=config["jit_compile"],
        )

    # ---------------------------------------------------------------- the optimizer of a model

    def bound(self, model: Any) -> Any:
        """The working optimizer, of the weights of the model that are trained now; with its moments where it has any."""
        if not isinstance(self.optimizer, optimizers.Optimizer):  # one of optim, which has its parameters
            return self.optimizer
        trained = model.trainable_weights
        known = {id(one) for one in self.optimizer.variables}
        if not known & {id(one) for one in (*model.parameters(),)}:
            return self.optimizer.build(trained) if trained else None
        thawed = [one for one in trained if id(one) not in known]
        worker = self.optimizer.optimizer
        if thawed:
            worker.add_param_group({"params": thawed, "lr": worker.param_groups[0]["lr"]})
        return worker

    def worker(self) -> Any:
        """The working optimizer, or None where there is none yet."""
        return self.optimizer.optimizer if isinstance(self.optimizer, optimizers.Optimizer) else self.optimizer

    def optimizer_size(self) -> tuple[int, int] | None:
        """Numbers and bytes that the optimizer keeps: its moments, the count of its steps, and the learning rate."""
        worker = self.worker()
        if worker is None:
            return None
        moments = [
            value.array
            for state in worker.state_dict()["state"].values()
            for name, value in state.items()
            if name != "step" and isinstance(value, TensorCore)
        ]
        return sum(one.size for one in moments) + 2, sum(one.nbytes for one in moments) + 8

    def optimizer_state(self, model: Any) -> dict[str, Any] | None:
        """The moments of the optimizer, of which weights they are, and how many steps it took."""
        worker = self.worker()
        if worker is None or not isinstance(self.optimizer, optimizers.Optimizer):
            return None
        names = {id(one): name for name, one in model.named_parameters()}
        groups = [[names.get(id(one)) for one in group["params"]] for group in worker.param_groups]
        if any(None in group for group in groups):
            return None
        return {"names": groups, "state": worker.state_dict(), "iterations": self.optimizer.iterations}

    def load_optimizer_state(self, model: Any, entry: Mapping[str, Any] | None) -> None:
        """Take up what `optimizer_state` gave."""
        if entry is None:
            return
        parameters = dict(model.named_parameters())
        first, *others = ([parameters[name] for name in group] for group in entry["names"])
        worker = self.optimizer.build(first)
        for group in others:
            worker.add_param_group({"params": group})
        worker.load_state_dict(entry["state"])
        worker.steps_taken = int(entry["iterations"])


METRICS = ("metrics", "weighted_metrics")


def _described(metric: Any) -> Any:
    """A metric as its name, or as its class and the arguments that are found among its attributes."""
    if isinstance(metric, str) or not isinstance(metric, Metric):
        return metric if isinstance(metric, str) else describe(metric)
    if isinstance(metric, MeanMetricWrapper):
        return describe(metric.fn)
    names = [name for name in inspect.signature(type(metric).__init__).parameters if name not in ("self", "dtype")]
    config = {name: getattr(metric, name) for name in names if hasattr(metric, name)}
    return {"class_name": type(metric).__name__, "config": config}


def _read_metric(entry: Any, custom_objects: Mapping[str, Any]) -> Any:
    known = {name: getattr(metrics, name) for name in metrics.__all__} | dict(custom_objects)
    if isinstance(entry, str):
        return custom_objects.get(entry, entry)
    return look_up(entry["class_name"], known, "metric")(**entry["config"])


def _single(value: Any, name: str) -> Any:
    """What stands in a list or dict of one; several are for several outputs."""
    if isinstance(value, (list, tuple, Mapping)) and "class_name" not in value:
        values = list(value.values() if isinstance(value, Mapping) else value)
        if len(values) != 1:
            raise DtypeError(
                f"{name} has {len(values)} entries, one for each output of a model with several; here a model has one "
                f"output.{here()}\n  Add the losses up in a function (y_true, y_pred), or in train_step of a Trainer."
            )
        return values[0]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(weights: Any) -> float:
    if isinstance(weights, str) or (isinstance(weights, (list, tuple)) and not all(map(_is_number, weights))):
        raise DtypeError(
            f"loss_weights, the third argument of compile, is a number, not {weights!r}.{here()}\n"
            "  Metrics are given by name: compile(optimizer, loss, metrics=[…])."
        )
    weight = _single(weights, "loss_weights")
    if weight is None:
        return 1.0
    if not _is_number(weight):
        raise DtypeError(f"loss_weights is a number, not {weight!r}.{here()}")
    return float(weight)


def _listed(metrics: Any, name: str) -> list[Any]:
    if metrics is None:
        return []
    if isinstance(metrics, str) or callable(metrics):
        return [metrics]
    if isinstance(metrics, Mapping):
        metrics = _single(metrics, name)
        return _listed(metrics, name)
    if len(metrics) == 1 and isinstance(metrics[0], (list, tuple)):  # for each output of one
        return list(metrics[0])
    return list(metrics)
