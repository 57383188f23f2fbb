"""`Model`: layers together, compiled, trained, judged and saved.

All training is done by `autograd_ff.training.Trainer`; what stands here is Keras's way of asking for it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import TensorCore, here, no_grad
from ..errors import DtypeError, ModuleError, NonFiniteError, ShapeError
from ..nn import Module, ModuleDict, ModuleList
from ..training import Callback, History
from ..training.batches import Batches, batches_of, leaves
from ..training.callbacks import TerminateOnNaN
from ..training.splitting import split_off
from .dataset import PyDataset, dataset_batches
from .layers.layer import Layer, as_tensors, shape_of
from .layers.shaping import Lambda
from .layers.symbolic import is_symbolic
from .losses import LossFunctionWrapper
from .saving import (
    load_weights,
    save_model,
    save_weights,
)
from .settings import Settings
from .summary import summary_text
from .targets import check_last_layer
from .trainer import KerasTrainer, several_outputs

__all__ = ["Model"]


# What Keras's models may define to be trained in another way.
STEPS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")

# A step is recorded, and loops are made for it, in a second or less, and each replay saves half of a millisecond or less.
WORTH_RECORDING = 200


class Model(Layer):
    """Layers together, with `compile`, `fit`, `evaluate` and `predict`.

    One's own model derives from this class, makes its layers in ``__init__`` and computes with them in ``call``. It is
    an `autograd_ff.nn.Module` too: pictures, gradient checks and the training loops of this package take it.

    Args:
        name: how the model is called; by default by its class.
        trainable: whether its weights are trained.

    Keras's functional API is ``Model(inputs, outputs)``, which makes a `Functional`: layers are called with `keras.Input` s
    and what other layers made of them, and the model is what leads from the one to the other.

    >>> import numpy as np
    >>> from autograd_ff import keras
    >>> x = keras.Input((4,))
    >>> y = keras.layers.Add()([x, keras.layers.Dense(4, activation="relu")(x)])
    >>> keras.Model(x, y)(np.ones((2, 4))).shape
    (2, 4)

    A class of one's own:

    >>> class Residual(keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.inner = keras.layers.Dense(4, activation="relu")
    ...         self.head = keras.layers.Dense(1)
    ...     def call(self, x, training=None):
    ...         return self.head(x + self.inner(x))
    >>> model = Residual()
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> history = model.fit(x, x.sum(1), epochs=3, verbose=0)
    >>> len(history["loss"]), model.count_params()
    (3, 25)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and _is_functional(args, kwargs):
            from .functional import Functional  # which is a Model

            return super().__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, trainable: bool = True, name: str | None = None, **kwargs: Any) -> None:
        if _is_functional(args, kwargs):
            from .functional import Functional

            if not isinstance(self, Functional):  # super().__init__(inputs, outputs) in a class of one's own
                _make_functional(type(self), Functional)
            begin: Any = Functional.__init__
            begin(self, *args, trainable=trainable, **(kwargs if len(args) > 2 else {"name": name, **kwargs}))
            return
        super().__init__(name=name, trainable=trainable, **kwargs)
        own = self.__dict__  # past Module.__setattr__: a loss may be a module, and is no part of the model
        own["_settings"] = None
        own["_places"] = {}
        own["_running"] = None
        self.history: History | None = None

    # ---------------------------------------------------------------- layers

    @property
    def layers(self) -> list[Any]:
        """The layers of the model, those that are in lists and dicts among them."""
        self._adopt()
        found: list[Any] = []
        for child in self.children():
            found += child.children() if isinstance(child, (ModuleList, ModuleDict)) else [child]
        return [layer for layer in found if isinstance(layer, Layer)]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, (list, dict)) and not value and "_places" in self.__dict__:
            self.__dict__["_places"][name] = len(self._modules)  # layers may come into it later

    def _adopt(self) -> None:
        """Register layers that came into plain lists and dicts, as Keras does: else they would never be trained."""
        adopted = 0
        for name, value in list(self.__dict__.items()):
            if name == "_modules" or not value:
                continue
            if isinstance(value, (list, tuple)) and all(isinstance(one, Module) for one in value):
                setattr(self, name, ModuleList(value))
            elif isinstance(value, dict) and all(isinstance(one, Module) for one in value.values()):
                setattr(self, name, ModuleDict(value))
            else:
                continue
            modules = list(self._modules.items())
            modules.insert(self.__dict__["_places"].get(name, len(modules)) + adopted, modules.pop())
            self._modules.clear()
            self._modules.update(modules)
            adopted += 1

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer of that name, or at that place.

        >>> from autograd_ff import keras
        >>> model = keras.Sequential([keras.layers.Dense(3, name="first"), keras.layers.Dense(2)])
        >>> model.get_layer("first") is model.get_layer(index=0)
        True
        """
        if (name is None) == (index is None):
            raise ModuleError(f"get_layer takes either a name or an index.{here()}")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ModuleError(f"there is no layer {index}: {self.name!r} has {len(layers)} layers.{here()}")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise ModuleError(f"there is no layer {name!r}; there are {', '.join(layer.name for layer in layers)}.{here()}")

    def last_layer(self) -> Any:
        """The layer whose output is the model's, where that is known."""
        return None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.built:
            self._adopt()
            if type(self).build is Model.build and args and not is_symbolic(args):
                args = (as_tensors(args[0]), *args[1:])
                self._finish_building(shape_of(args[0]))  # the layers are built by the call itself
        return super().forward(*args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the model computes. Every subclass defines it, with a parameter ``training`` if it wants to know the mode."""
        raise ModuleError(f"{type(self).__name__} does not define call(self, inputs).{here()}")

    def build(self, input_shape: Any) -> None:
        """Make the weights of all layers for inputs of a shape, ``(None, 784)``, by calling the model on zeros."""
        self._adopt()
        self.__dict__["built"] = True  # or the call would come back here
        try:
            self.compute_output_shape(input_shape)
        except Exception:
            self.__dict__["built"] = False
            raise

    # ---------------------------------------------------------------- compile

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Say how the model is to be trained.

        Args:
            optimizer: a name (``"adam"``) or an object of `keras.optimizers`.
            loss: a name (``"sparse_categorical_crossentropy"``), an object of `keras.losses`, or a function of
                ``(y_true, y_pred)``.
            loss_weights: a number that the loss is multiplied by.
            metrics: names (``["accuracy"]``), objects of `keras.metrics`, or functions of ``(y_true, y_pred)``; sample and
                class weights have no part in them.
            weighted_metrics: the same, with those weights.
            run_eagerly: run each step as it is written, without recording it.
            jit_compile: record the step and replay it (`autograd_ff.compile`): always, never, or, with ``"auto"``, where
                all layers are of this package and there are 200 steps or more.
            steps_per_execution, auto_scale_loss: accepted, and without effect.

        Raises:
            ShapeError (a ValueError): an unknown name; the message names those that are spelled alike.

        >>> from autograd_ff import keras
        >>> model = keras.Sequential([keras.layers.Dense(1)])
        >>> model.compile(optimizer="adma", loss="mse")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        autograd_ff.errors.ShapeError: there is no optimizer 'adma'; did you mean 'adam' or 'adamw'?...
        """
        self.__dict__["_settings"] = Settings(
            optimizer, loss, loss_weights, metrics, weighted_metrics, run_eagerly, jit_compile
        )

    def _several_outputs(self) -> bool:
        """Whether it is known that there are several outputs."""
        return False

    def _compiled(self, wish: str) -> Settings:
        settings = self.__dict__["_settings"]
        if settings is None:
            raise ModuleError(
                f"{wish} needs to know the optimizer and the loss: call {self.name}.compile(optimizer='adam', loss=…) "
                f"first.{here()}"
            )
        if settings.loss is not None and self._several_outputs():
            raise ModuleError(several_outputs(self.name))
        return settings

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.__dict__["_settings"] is not None

    @property
    def optimizer(self) -> Any:
        """The optimizer that `compile` was given, or None."""
        settings = self.__dict__["_settings"]
        return None if settings is None else settings.optimizer

    @property
    def loss(self) -> Any:
        """The loss that `compile` was given, or None."""
        settings = self.__dict__["_settings"]
        return None if settings is None else settings.loss

    @property
    def metrics(self) -> list[Any]:
        """The metrics that `compile` was given."""
        settings = self.__dict__["_settings"]
        return [] if settings is None else [*settings.metrics, *settings.weighted_metrics]

    @property
    def metrics_names(self) -> list[str]:
        """What the numbers of `evaluate` are called."""
        return self._compiled("metrics_names").metrics_names

    @property
    def stop_training(self) -> bool:
        """Whether a callback asked for the end of the running `fit`; set it to True to ask."""
        trainer = self.__dict__["_running"]
        return trainer is not None and trainer.stop_reason is not None

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        trainer = self.__dict__["_running"]
        if trainer is not None:
            trainer.stop_reason = "stop_training" if value else None

    # ---------------------------------------------------------------- fit, evaluate, predict

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Iterable[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[Any, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        **options: Any,
    ) -> History:
        """Train the model.

        Args:
            x: the inputs: an array or Tensor, a list or dict of them for a model that takes several; or, without ``y``, a
                Dataset, a DataLoader, a `keras.utils.PyDataset`, or an iterable of batches ``(x, y)`` or ``(x, y, sample_weight)``. float64 arrays
                become float32.
            y: the targets.
            batch_size: samples in a step; 32 by default.
            epochs: the number of the last epoch: with ``initial_epoch`` n, so many less n are run.
            verbose: 0 for silence, 1 for a progress bar, 2 for a line per epoch; ``"auto"`` is 1.
            callbacks: of `keras.callbacks`, or one's own.
            validation_split: the fraction of the samples to hold back for validation: the last ones, before anything is
                shuffled, as in Keras. ``split="shuffled"`` or ``split="stratified"`` chooses them at random.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or in another form that ``x`` has.
            shuffle: a new order in each epoch.
            class_weight: ``{class: weight}``, what the samples of each class count in the loss.
            sample_weight: what each sample counts.
            initial_epoch: the number of the first epoch, from 0 on.
            steps_per_epoch, validation_steps: batches in an epoch and in a validation, for data without an end. Arrays
                without a ``batch_size`` are divided into so many batches.
            validation_batch_size, validation_freq: samples in a batch of the validation, and epochs from one to the next.
            options: what `autograd_ff.training.Trainer.fit` takes besides: ``checks=False`` does without the look at the
                first batch, ``clip=1.0`` limits the gradients' norm, ``accumulate=4`` makes one step of four batches,
                ``checkpoint="run.safetensors"`` and ``resume=`` go on where a training stopped.

        Returns:
            The `History`: ``history.history["val_loss"]`` is a list with a number for each epoch.

        Raises:
            ModuleError: the model was not compiled.
            ShapeError: shapes that do not fit.
            NonFiniteError: the loss or a gradient became NaN or infinite. With the callback `TerminateOnNaN` the training ends
                without an error, and the loss of that epoch in the history is NaN.

        >>> import numpy as np
        >>> from autograd_ff import keras
        >>> keras.utils.set_random_seed(0)
        >>> x = np.random.rand(256, 2)
        >>> y = (x[:, 0] > x[:, 1]).astype(int)
        >>> model = keras.Sequential([
        ...     keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2, activation="softmax")])
        >>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        >>> history = model.fit(x, y, epochs=30, validation_split=0.25, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'loss', 'val_accuracy', 'val_loss']
        >>> history.history["val_accuracy"][-1] > 0.85
        True
        """
        settings = self._compiled("fit")
        last = self.last_layer()
        if last is not None and options.get("checks", True):
            check_last_layer(last, settings.loss)
        listed = _listed(callbacks)
        for one in listed:  # BackupAndRestore knows where to go on
            options = {**getattr(one, "fit_options", dict)(), **options}
        if isinstance(x, PyDataset):
            x = dataset_batches(x, shuffle, y=y, batch_size=batch_size, sample_weight=sample_weight)
            y = None
        x, y = _several(x, "fit"), _one(y)
        validation: Any = None
        if validation_data is not None:
            validation = _validation(validation_data, validation_batch_size, batch_size)
        elif validation_split:
            (x, y, sample_weight), held = split_off(x, y, sample_weight, validation_split, options.pop("split", "last"))
            validation = batches_of(*held, batch_size=validation_batch_size, otherwise=batch_size)
        size = _batch_size(x, batch_size, steps_per_epoch)
        training = batches_of(x, y, sample_weight, batch_size=size, shuffle=shuffle)
        self._make(training, x)
        if not self.trainable_weights:
            raise ModuleError(
                f"{self.name!r} has no weights to train: it has none at all, or all are frozen.{here()}\n"
                "  Set layer.trainable = True, and compile again."
            )
        batches = training.count if steps_per_epoch is None else steps_per_epoch
        options.setdefault("compile", self._records(settings, batches and batches * (epochs - initial_epoch)))
        if epochs == 0:  # as in Keras, where callbacks begin and end
            epochs = initial_epoch = 1
        trainer = self._trainer()
        self.__dict__["_running"] = trainer
        try:
            self.history = trainer.fit(
                training, epochs=epochs, verbose=verbose, callbacks=listed, validation_data=validation,
                class_weight=class_weight, initial_epoch=initial_epoch, steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps, validation_freq=validation_freq, **options,
            )  # fmt: skip
        except NonFiniteError:
            if not any(isinstance(one, TerminateOnNaN) for one in listed):
                raise
            self.history = trainer.history  # asked for: the end, and no error
            self.history.append(trainer.epoch, {"loss": math.nan})
        finally:
            self.__dict__["_running"] = None
        return self.history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Iterable[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and the metrics on data, in inference mode.

        Args:
            x, y, batch_size, verbose, sample_weight, callbacks: as of `fit`.
            steps: batches to take, for data without an end.
            return_dict: give a dict by names.

        Returns:
            A list of numbers in the order of `metrics_names`, the loss first; without metrics the loss alone.

        >>> import numpy as np
        >>> from autograd_ff import keras
        >>> model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile(loss="mse", metrics=["mae"])
        >>> model.evaluate(np.ones((4, 3)), np.full(4, 2.0), verbose=0)
        [4.0, 2.0]
        """
        settings = self._compiled("evaluate")
        if isinstance(x, PyDataset):
            x, y = dataset_batches(x, y=y, batch_size=batch_size, sample_weight=sample_weight), None
        x = _several(x, "evaluate")
        batches = batches_of(x, _one(y), sample_weight, batch_size=_batch_size(x, batch_size, steps))
        self._make(batches, x)
        found = self._trainer().evaluate(batches, steps=steps, callbacks=_listed(callbacks), verbose=verbose)
        if return_dict:
            return found
        values = [found[name] for name in settings.metrics_names]
        return values if len(values) > 1 else values[0]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Iterable[Callback] | Callback | None = None,
    ) -> Any:
        """The model's outputs for all inputs, in inference mode: NumPy arrays as long as the inputs are.

        Needs no `compile`.

        >>> import numpy as np
        >>> from autograd_ff import keras
        >>> model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
        >>> model.predict(np.zeros((3, 4)), verbose=0)
        array([[0.5, 0.5],
               [0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
        """
        x = _several(dataset_batches(x, batch_size=batch_size) if isinstance(x, PyDataset) else x, "predict")
        batches = batches_of(x, batch_size=_batch_size(x, batch_size, steps), inputs_only=True)
        self._make(batches, x)
        found = self._trainer().predict(batches, steps=steps, callbacks=_listed(callbacks), verbose=verbose)
        return _arrays(found)

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One step on one batch; the loss and the metrics of this batch, as `evaluate` gives them.

        (Keras's metrics go on counting from batch to batch until `reset_metrics`.)

        >>> import numpy as np
        >>> from autograd_ff import keras
        >>> model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        >>> model.train_on_batch(np.ones((4, 1)), np.ones(4)), model.train_on_batch(np.ones((4, 1)), np.ones(4))
        (1.0, 0.36000001430511475)
        """
        kept = self.history
        history = self.fit(
            x, y, batch_size=_length(x), verbose=0, shuffle=False, sample_weight=sample_weight,
            class_weight=class_weight, checks=False, compile=False,
        )  # fmt: skip
        self.history = kept
        found = {name: values[-1] for name, values in history.items()}
        if return_dict:
            return found
        values = [found[name] for name in self.metrics_names]
        return values if len(values) > 1 else values[0]

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """`evaluate` on one batch."""
        return self.evaluate(
            x, y, batch_size=_length(x), verbose=0, sample_weight=sample_weight, return_dict=return_dict
        )

    def predict_on_batch(self, x: Any) -> Any:
        """`predict` on one batch."""
        return self.predict(x, batch_size=_length(x), verbose=0)

    def reset_metrics(self) -> None:
        """Forget what the metrics have counted. `fit` and `evaluate` do it themselves."""
        for metric in self.metrics:
            metric.reset_state()

    # ---------------------------------------------------------------- behind them

    def _make(self, batches: Batches, x: Any) -> None:
        """Build the model for the inputs of these batches, where it is not built yet; else see whether it is for such."""
        shape = self.input_shape
        if isinstance(shape, tuple) and getattr(x, "ndim", len(shape)) == len(shape) - 1 and len(x):
            raise ShapeError(
                f"{self.name!r} was built for inputs of shape {shape}, and these have shape {tuple(x.shape)}.{here()}\n"
                "  One sample is a batch of one: x[None]."
            )
        if self.built and all(layer.built for layer in self.modules() if isinstance(layer, Layer)):
            return
        batch = batches.first()
        if batch is not None:
            with no_grad():
                self(batch.inputs, training=False)

    def _trainer(self) -> KerasTrainer:
        own = [name for name in STEPS if hasattr(type(self), name)]
        if own:
            raise ModuleError(
                f"{type(self).__name__} defines {', '.join(own)}, which nothing here would call.{here()}\n"
                "  A step of one's own is the train_step(inputs, targets, weights) of a subclass of "
                "autograd_ff.training.Trainer: Trainer(model, loss, optimizer).fit(x, y)."
            )
        settings = self.__dict__["_settings"]
        if settings is None:
            return KerasTrainer(self, None, None, (), ())
        return KerasTrainer(
            self, settings.loss, settings.bound(self), settings.metrics, settings.weighted_metrics, settings.scale
        )

    def _records(self, settings: Settings, steps: int | None) -> bool:
        """Whether the step, of which there are to be so many, is to be recorded and replayed."""
        if settings.run_eagerly or not settings.jit_compile:
            return False
        if settings.jit_compile is True:
            return True
        if steps is not None and steps < WORTH_RECORDING:
            return False
        package = __name__.partition(".")[0]
        functions = (Lambda, LossFunctionWrapper)  # somebody's Python, which may do what a record does not see
        parts = [*self.modules(), settings.loss]
        return all(type(one).__module__.partition(".")[0] == package for one in parts) and not any(
            isinstance(one, functions) for one in parts
        )

    # ---------------------------------------------------------------- looking at it

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print the layers, the shapes of their outputs and their numbers of parameters, as Keras 3 does.

        The batch is None, also where the model was built by the data.

        Args:
            line_length: characters in a line; by default what the terminal has, up to 88.
            positions: where the columns end, as shares of the line.
            print_fn: is called with the text instead.
            expand_nested: show the layers of models within this one.
            show_trainable: a column more: whether the layer is trained.
            layer_range: the names of the first and the last layer to show, or patterns of them.

        >>> from autograd_ff import keras
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10, name="digits")], name="small")
        >>> model.summary(line_length=60)
        Model: "small"
        ┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┓
        ┃ Layer (type)             ┃ Output Shape      ┃   Param # ┃
        ┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━┩
        │ digits (Dense)           │ (None, 10)        │     7,850 │
        └──────────────────────────┴───────────────────┴───────────┘
         Total params: 7,850 (30.66 KB)
         Trainable params: 7,850 (30.66 KB)
         Non-trainable params: 0 (0.00 B)
        """
        text = summary_text(self, line_length, positions, expand_nested, show_trainable, layer_range)
        if print_fn is None:
            print(text, end="")
        else:
            print_fn(text)

    def _optimizer_size(self) -> tuple[int, int] | None:
        """Numbers and bytes that the optimizer keeps, or None where it has nothing yet."""
        settings = self.__dict__["_settings"]
        return None if settings is None else settings.optimizer_size()

    # ---------------------------------------------------------------- files

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, **kwargs: Any) -> None:
        """Write the whole model to a file; see `keras.saving.save_model`."""
        save_model(self, filepath, overwrite, **kwargs)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights to a file; see `keras.saving.save_weights`."""
        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
        """Take over the weights in a file; see `keras.saving.load_weights`."""
        load_weights(self, filepath, skip_mismatch)


# ---------------------------------------------------------------- arguments


def _is_functional(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return bool(args) or "inputs" in kwargs or "outputs" in kwargs


def _make_functional(cls: type, functional: type) -> None:
    """Let a class derive from `Functional` where it derives from `Model`, as Keras does."""
    for base in cls.__bases__:
        if base is not Model and issubclass(base, Model):
            _make_functional(base, functional)
    cls.__bases__ = tuple(functional if base is Model else base for base in cls.__bases__)


def _several(x: Any, wish: str) -> Any:
    """The inputs; several arrays in a list are a tuple from here on, and a list of numbers an array."""
    if x is None:
        raise DtypeError(f"{wish} needs data: x, an array of inputs.{here()}")
    if isinstance(x, (list, tuple)) and x and all(isinstance(one, (TensorCore, np.ndarray)) for one in x):
        return tuple(x) if len(x) > 1 else x[0]
    return x


def _one(y: Any) -> Any:
    return y[0] if isinstance(y, (list, tuple)) and len(y) == 1 and isinstance(y[0], (TensorCore, np.ndarray)) else y


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _length(x: Any) -> int:
    return len(x) if not isinstance(x, (list, tuple, Mapping)) else len(leaves(x)[0])


def _batch_size(x: Any, batch_size: int | None, steps: int | None) -> int | None:
    """Samples in a batch: where none are given, arrays are divided into as many batches as there are to be steps."""
    first: Any = next(iter(leaves(x)), None) if isinstance(x, (tuple, Mapping)) else x
    if batch_size is None and steps and getattr(first, "shape", None):
        return -(-len(first) // int(steps))
    return batch_size


def _arrays(outputs: Any) -> Any:
    if isinstance(outputs, Mapping):
        return {name: one.array for name, one in outputs.items()}
    return [one.array for one in outputs] if isinstance(outputs, (list, tuple)) else outputs.array


def _validation(data: Any, batch_size: int | None, otherwise: int | None) -> Batches:
    if isinstance(data, PyDataset):
        return dataset_batches(data, batch_size=batch_size)
    if isinstance(data, (list, tuple)):
        if not 2 <= len(data) <= 3:
            raise DtypeError(
                f"validation_data is (x, y) or (x, y, sample_weight), not {len(data)} things in a {type(data).__name__}"
                f".{here()}"
            )
        x, y, *weights = data
        return batches_of(_several(x, "validation"), _one(y), *weights, batch_size=batch_size, otherwise=otherwise)
    return batches_of(data, batch_size=batch_size, otherwise=otherwise)
