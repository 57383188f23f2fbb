"""The loop of a training: epochs, batches, steps, and who looks on."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from ..engine import TensorCore, condition, depend, here, no_grad, wrap
from ..errors import AutogradError, DtypeError, FileFormatError, OptimizerError, ShapeError
from ..functions import Tensor
from ..nn import Module
from ..nn.utils import clip_grad_norm_
from ..serialization import load, save
from .batches import Batch, Batches, batches_of, leaves, rebuilt
from .callback import Callback, Callbacks
from .callbacks import ProgressBar
from .counts import check_counts
from .fitting import WHOLE, Fitting, NotFinite
from .history import History
from .holdings import optimizers_of, stateful
from .loss_kind import divisor, unreduced
from .metrics import resolve
from .running import RunningLogs, RunningMeans, logs_of, number_of
from .sharing import Sharing, refuse_divided
from .snapshot import Snapshot, put_modes
from .splitting import split_off

__all__ = ["Trainer"]

FORMAT = "autograd_ff training"  # what a checkpoint says that it is


class Trainer:
    """Trains a module: the loop over epochs and batches, validation, metrics, callbacks and checkpoints.

    Args:
        model: any module. A batch whose inputs are a tuple calls ``model(*inputs)``, a dict ``model(**inputs)``.
        loss: of ``(outputs, targets)``: a loss module or a function, that gives one number.
        optimizer: of the model's parameters.
        metrics: names (``"accuracy"``), `Metric` objects, or functions of ``(targets, outputs)``.
        penalty: a function of the model that is added to the loss, as ``nn.regularizers.L2(1e-4)`` is.

    A step is that of the loop that everybody writes, and gives the same weights, bit for bit, under the same seed::

        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()

    A subclass may override `compute_loss` (what to descend), `train_step` (all that a step does, with several optimizers,
    say) and `test_step`. With ``self.backward(loss)`` and ``self.update()`` in place of ``loss.backward()`` and
    ``optimizer.step()``, clipping, accumulating and the look for NaN go on working::

        class Consistent(Trainer):
            def compute_loss(self, inputs, targets, weights=None):
                outputs = self.model(inputs)
                shifted = self.model(inputs + 0.1 * af.randn_like(inputs))
                return self.loss(outputs, targets) + F.mse_loss(shifted, outputs), outputs

        class Twice(Trainer):
            def train_step(self, inputs, targets, weights=None):
                for _ in range(2):
                    loss, outputs = self.compute_loss(inputs, targets, weights)
                    self.backward(loss)
                    self.update()
                return {"loss": loss, "outputs": outputs}

    Attributes:
        epoch, batch: where the training stands: epochs completed, and batches completed of the present one.
        epochs, batches: how many there are to be; ``batches`` is None where the data do not say.
        history: the `History` of the last `fit`.
        stop_reason: why it ended before its last epoch, or None.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> _ = af.manual_seed(0)
    >>> x = af.randn(256, 2)
    >>> y = (x[:, 0] > x[:, 1]).long()
    >>> model = af.nn.Sequential(af.nn.Linear(2, 16), af.nn.ReLU(), af.nn.Linear(16, 2))
    >>> optimizer = af.optim.Adam(model.parameters(), lr=0.01)
    >>> trainer = Trainer(model, af.nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    >>> history = trainer.fit(x, y, epochs=20, verbose=0)
    >>> history["accuracy"][-1] > 0.97
    True
    >>> sorted(trainer.evaluate(x, y))
    ['accuracy', 'loss']
    >>> trainer.predict(x).shape
    (256, 2)
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any] | None = None,
        optimizer: Any = None,
        metrics: Iterable[Any] = (),
        *,
        penalty: Callable[[Any], Any] | None = None,
    ) -> None:
        if not isinstance(model, Module):
            raise DtypeError(f"a Trainer trains an nn.Module, got {type(model).__name__}.{here()}")
        for name, given in (("loss", loss), ("penalty", penalty)):
            if given is not None and not callable(given):
                raise DtypeError(f"{name} is a module or a function, got {given!r}.{here()}")
        if inspect.isclass(loss) or inspect.isclass(optimizer):
            raise DtypeError(f"loss and optimizer are objects, not classes: give them parentheses.{here()}")
        if optimizer is not None and not hasattr(optimizer, "param_groups"):
            raise OptimizerError(
                f"optimizer is one of autograd_ff.optim, got {optimizer!r}.{here()}\n"
                "  Make it of the model's parameters: optim.Adam(model.parameters())."
            )
        self.model = model
        self.loss: Any = loss
        self.optimizer = optimizer
        self.penalty = penalty
        self.metrics = self._resolved(metrics)
        self.history = History()
        self.epochs = self.epoch = self.batch = 0
        self.batches: int | None = None
        self.verbose = 0
        self.has_validation = False
        self.stop_reason: str | None = None
        self.clip: float | None = None
        self.check_finite = True
        self.part = WHOLE
        self.called: set[str] = set()  # which of `backward` and `update` a step made use of
        self._proportions: list[float] = []  # of the groups' learning rates
        self._fitting: Fitting | None = None
        self.sharing = Sharing(self)  # what this process has of the training, where several work at it

    # ---------------------------------------------------------------- what a step is

    def compute_loss(self, inputs: Any, targets: Any, weights: Any = None) -> tuple[Any, Any]:
        """The loss to descend, and the outputs that the metrics look at.

        Args:
            inputs, targets: of the batch.
            weights: None, or what each sample counts: the loss is then the sum of weight times loss over the samples,
                divided by their number.
        """
        outputs = self(inputs)
        if weights is not None:
            loss = (self._sample_losses(outputs, targets) * weights).sum() / weights.shape[0]
        elif self.loss is None:
            raise DtypeError(f"there is no loss: Trainer(model, loss, optimizer).{here()}")
        else:
            loss = self.loss(outputs) if targets is None else self.loss(outputs, targets)
        if self.penalty is not None:
            loss = loss + self.penalty(self.model)
        return loss, outputs

    def divisor(self, inputs: Any, targets: Any, weights: Any = None) -> float | None:
        """What the loss of a batch divides by, None of a sum.

        Where several batches make one step (``accumulate``), or several processes have parts of one, their losses count by
        that. Override it beside a `compute_loss` that is no mean over the samples.
        """
        samples = Batch(inputs).size
        return float(samples) if weights is not None else divisor(self.loss, targets, samples)

    def train_step(self, inputs: Any, targets: Any, weights: Any = None) -> Mapping[str, Any]:
        """One step: from a batch to new weights.

        Returns:
            Numbers to log under their names, ``"loss"`` among them; and under ``"outputs"`` what the metrics look at.
        """
        loss, outputs = self._computed(inputs, targets, weights)
        self.backward(loss)
        self.update()
        return {"loss": loss, "outputs": outputs}

    def test_step(self, inputs: Any, targets: Any, weights: Any = None) -> Mapping[str, Any]:
        """As `train_step`, for a batch that nothing is learnt from."""
        loss, outputs = self._computed(inputs, targets, weights)
        return {"loss": loss, "outputs": outputs}

    def _computed(self, inputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        computed = self.compute_loss(inputs, targets, weights)
        if not isinstance(computed, tuple) or len(computed) != 2:
            raise DtypeError(
                f"compute_loss returns (loss, outputs), and {type(self).__name__}'s returned "
                f"{type(computed).__name__}.{here()}\n  The outputs are what the metrics look at."
            )
        return computed

    def backward(self, loss: Any) -> None:
        """The gradients of a loss, after a look whether it is finite; of a part of a larger batch, added to the others'."""
        if not isinstance(loss, Tensor):
            raise DtypeError(
                f"the loss is a Tensor of one number, got {loss!r}.{here()}\n"
                "  What item(), float() or numpy() gives has no gradient."
            )
        self.called |= {"backward"}
        if self.check_finite and self.sharing.alone:  # else the others would wait; they see it in the mean gradient
            condition(_finite_loss, loss.array)
        if self.part.first:
            self.optimizer.zero_grad()
        (loss if self.part.share is None else loss * self.part.share).backward()

    def update(self) -> None:
        """Clip the gradients where asked to, see that they are finite, and let the optimizer step.

        While gradients are accumulated, the last batch of each group does it.
        """
        self.called |= {"update"}
        if not self.part.last:
            return
        if self.clip is not None:
            norm = clip_grad_norm_(self.optimized(), self.clip)
            if self.check_finite:
                condition(_finite_gradient, norm.array)
        elif self.check_finite:
            for parameter in self.optimized():
                gradient = parameter.grad
                if gradient is not None:
                    condition(_finite_gradient, gradient.array)
        self.optimizer.step()

    def __call__(self, inputs: Any) -> Any:
        """The model's outputs for the inputs of a batch."""
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        return self.model(*inputs) if isinstance(inputs, tuple) else self.model(inputs)

    def optimized(self) -> list[Any]:
        """The parameters that the optimizer holds."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _sample_losses(self, outputs: Any, targets: Any) -> Any:
        """The loss of each sample by itself."""
        depend(_settings, self.loss)  # a compiled step sees the copy alone
        values, samples = unreduced(self.loss)(outputs, targets), leaves(outputs)[0].shape[0]
        if not values.shape or values.shape[0] != samples:
            raise ShapeError(
                f"weights need a loss for each of the {samples} samples, got values of shape "
                f"{tuple(values.shape)}.{here()}"
            )
        return values.reshape(values.shape[0], -1).mean(1) if values.ndim > 1 else values

    # ---------------------------------------------------------------- fit

    def fit(
        self,
        data: Any,
        targets: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        split: str = "last",
        shuffle: bool = True,
        drop_last: bool = False,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | None = None,
        callbacks: Iterable[Callback] | Callback | None = (),
        metrics: Iterable[Any] | None = None,
        accumulate: int = 1,
        clip: float | None = None,
        compile: bool | Mapping[str, Any] = False,
        checks: bool | Collection[str] = True,
        check_finite: bool = True,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        initial_epoch: int = 0,
        verbose: int | str = "auto",
        checkpoint: Any = None,
        resume: Any = None,
    ) -> History:
        """Train.

        Args:
            data: inputs, with ``targets`` beside them, or ``(inputs, targets)``: arrays or Tensors. Or a Dataset, a
                DataLoader, an iterable of batches, or a function that makes one for each epoch. A batch is ``(inputs,
                targets)`` or ``(inputs, targets, weights)``. NumPy's float64 arrays become the default dtype.
            targets: where ``data`` are the inputs alone.
            epochs: passes over the data.
            batch_size: samples in a batch of arrays or of a Dataset; 32 by default.
            validation_data: in any of the forms of ``data``; evaluated after each epoch.
            validation_split: the fraction of ``data`` to hold back for validation instead.
            split: which samples are held back: the ``"last"``, as they stand; ``"shuffled"``, at random; or
                ``"stratified"``, at random with the same share of each class on both sides.
            shuffle: a new order of arrays and Datasets in each epoch, drawn from the default generator.
            drop_last: leave out the last batch of arrays and Datasets where it would be smaller.
            sample_weight: what each sample counts in the loss and in the metrics.
            class_weight: what the samples of each class count, by its number.
            callbacks: who looks on and steers; see `Callback`.
            metrics: other ones than the trainer's from now on.
            accumulate: gradients of so many batches make one step, as those of one large batch would.
            clip: the norm to which the gradients are scaled down.
            compile: record the step and replay it; see `autograd_ff.compile`, whose arguments a dict here gives. A step that
                cannot be captured goes on as usual, with a warning. Without rounding differences: ``{"fast": False,
                "threads": False}``.
            checks: look at the first batch before the first epoch, and warn of what is wrong; or the names of the checks to
                make. See `check`.
            check_finite: stop where the loss or a gradient is not finite.
            steps_per_epoch: batches in an epoch, for data that never end.
            validation_steps, validation_batch_size, validation_freq: batches of a validation, samples in one, and after
                how many epochs there is one.
            initial_epoch: the number of the first epoch.
            verbose: 0 for silence, 1 for a progress bar (lines where there is no terminal), 2 for a line per epoch.
            checkpoint: a file to keep the whole state of the training in, written after each epoch and at Ctrl-C.
            resume: such a file; the training goes on from there, in the middle of an epoch too, as if nothing had
                happened.

        A Ctrl-C takes effect between two steps. It leaves a checkpoint (in ``checkpoint``, else in
        ``interrupted.safetensors``), and is raised when the callbacks have ended.

        Raises:
            NonFiniteError: a loss or a gradient is not finite; says in which batch, and which operation made it so. The
                weights and the optimizer are as before that batch.
            ShapeError, DtypeError: data that cannot be trained on.
        """
        for one in (data, validation_data):
            refuse_divided(one)
        if self.fitting:
            raise AutogradError(
                f"this trainer is in the middle of a fit, which another one would upset.{here()}\n"
                "  Within it, a second Trainer of the same model can fit."
            )
        if clip is not None and not (isinstance(clip, (int, float, np.number)) and clip > 0):
            raise ShapeError(f"clip is a norm above 0, got {clip!r}{here()}")
        check_counts(
            epochs=epochs, accumulate=accumulate, validation_freq=validation_freq, steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
        )  # fmt: skip
        if isinstance(initial_epoch, bool) or not isinstance(initial_epoch, (int, np.integer)) or initial_epoch < 0:
            raise ShapeError(f"initial_epoch is the number of an epoch, from 0 on, got {initial_epoch!r}{here()}")
        if class_weight is not None:
            numbers = isinstance(class_weight, Mapping) and all(
                isinstance(one, (int, float, np.number)) for part in class_weight.items() for one in part
            )
            if not numbers:
                raise DtypeError(
                    f"class_weight maps each class to a number, both numbers; got {class_weight!r}{here()}"
                )
        if self.optimizer is None and type(self).train_step is Trainer.train_step:
            raise OptimizerError(f"there is no optimizer: Trainer(model, loss, optimizer).{here()}")
        weights, validation = sample_weight, None
        if validation_data is not None:
            validation = batches_of(validation_data, batch_size=validation_batch_size, otherwise=batch_size)
        elif validation_split:
            (data, targets, weights), held = split_off(data, targets, weights, validation_split, split)
            validation = batches_of(*held, batch_size=validation_batch_size, otherwise=batch_size)
        training = batches_of(data, targets, weights, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
        if metrics is not None:
            self.metrics = self._resolved(metrics)
        self.clip, self.check_finite = clip, check_finite
        self.epochs, self.epoch, self.batch = epochs, initial_epoch, 0
        self.batches = training.count if steps_per_epoch is None else steps_per_epoch
        self.has_validation = validation is not None
        self.verbose = _level(verbose)
        self.stop_reason = None
        self.sharing = Sharing(self, learning=True)
        try:
            self.verbose = self.verbose if self.sharing.leads else 0
            called = Callbacks(self._with_progress(callbacks), self)
            self._agree(accumulate, called)
            self.history = History()
            self.history.params = {"epochs": epochs, "steps": self.batches, "verbose": self.verbose}
            self._fitting = Fitting(
                self, training, validation, called,
                class_weight=class_weight, accumulate=accumulate, steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps, validation_freq=validation_freq, compile=compile,
                checkpoint=checkpoint,
            )  # fmt: skip
            if resume is not None:
                self.load_state_dict(resume if isinstance(resume, Mapping) else read_checkpoint(resume))
            self._fitting.run(checks)
        finally:
            self.history.stop_reason = self.stop_reason
            self.sharing.close()
        return self.history

    def _agree(self, accumulate: int, callbacks: Callbacks) -> None:
        """Raise, in all processes, where they are not about to train the same."""
        steering = [type(one).__name__ for one in callbacks if not one.leader_only]
        options = []
        for one in optimizers_of(self):
            for group in one.param_groups:
                plain = {key: value for key, value in group.items() if isinstance(value, (int, float, str, tuple))}
                options.append(f"{type(one).__name__}({', '.join(f'{key}={value}' for key, value in plain.items())})")
        self.sharing.agree(
            "what to train", f"{self.epochs} epochs", f"batches: {self.batches}", f"accumulate={accumulate}",
            f"the callbacks {', '.join(steering) or 'none'} (rank 0 alone writes, but all ranks have them)", *options,
        )  # fmt: skip

    @property
    def fitting(self) -> bool:
        """Whether `fit` is running."""
        return self._fitting is not None and self._fitting.running

    def stop(self, reason: str = "stopped") -> None:
        """End the training after the running step, or after the epoch where called from its end."""
        self.stop_reason = reason

    @property
    def learning_rate(self) -> float:
        """Of the optimizer's first group; setting it changes all groups in proportion."""
        return float(self.optimizer.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        groups = self.optimizer.param_groups
        first = float(groups[0]["lr"])
        if first or len(self._proportions) != len(groups):  # at a rate of 0 they do not show
            self._proportions = [float(group["lr"]) / first if first else 1.0 for group in groups]
        for group, proportion in zip(groups, self._proportions, strict=True):
            group["lr"] = value * proportion

    # ---------------------------------------------------------------- looking before the start

    def check(self, data: Any, targets: Any = None, *, batch_size: int | None = None, which: Any = True) -> list[Any]:
        """What looks wrong with a training on these data, before anybody waits for it.

        Looks at the first batch, and runs the step on it without changing anything: shapes, labels, the scale of the
        inputs, float64, parameters that no gradient reaches, and whether the gradient is right along random directions.

        Args:
            data, targets, batch_size: as of `fit`.
            which: names of checks; all by default.

        Returns:
            The findings; each prints what it found, where, and what to do.

        >>> import autograd_ff as af
        >>> from autograd_ff.training import Trainer
        >>> model = af.nn.Linear(3, 2)
        >>> trainer = Trainer(model, af.nn.CrossEntropyLoss(), af.optim.SGD(model.parameters(), lr=0.1))
        >>> [finding.kind for finding in trainer.check(af.rand(4, 3), af.tensor([1, 2, 1, 2]))]
        ['labels']
        """
        from .checks import examine

        batch = batches_of(data, targets, batch_size=batch_size).first()
        return [] if batch is None else examine(self, *batch, which)

    # ---------------------------------------------------------------- evaluate and predict

    def evaluate(
        self,
        data: Any,
        targets: Any = None,
        *,
        batch_size: int | None = None,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Iterable[Callback] = (),
        verbose: int | str = 0,
    ) -> dict[str, float]:
        """The means of loss and metrics over data in any form that `fit` takes, in evaluation mode.

        Args:
            steps: batches to take, for data that never end.
        """
        refuse_divided(data)
        batches = batches_of(data, targets, sample_weight, batch_size=batch_size)
        with self._saying(verbose):
            if not self.fitting:
                self.sharing = Sharing(self)
                self.batches = batches.count if steps is None else steps
            return self._evaluate(batches, steps, Callbacks(self._with_progress(callbacks), self))

    def _evaluate(self, batches: Batches, steps: int | None, callbacks: Callbacks) -> dict[str, float]:
        metrics = [copy.deepcopy(metric) for metric in self.metrics]
        for metric in metrics:
            metric.reset_state()
        means = RunningMeans()
        logs = functools.partial(logs_of, means, metrics)
        with self._evaluating():
            callbacks.call("on_test_begin")
            for number, batch in enumerate(islice(self.sharing.start_pass(batches, "an evaluation"), steps)):
                callbacks.call("on_test_batch_begin", number)
                part, counted = self.sharing.part(batch)
                result = self.test_step(*part)
                if not metrics and isinstance(result, Mapping):  # nobody looks at the outputs
                    result = {name: value for name, value in result.items() if name != "outputs"}
                result, _ = self.sharing.together(result, part, counted, batch)
                means.add(self.measured(result, batch, metrics), batch.size)
                callbacks.call("on_test_batch_end", number, RunningLogs(logs))
            if not means.sums:
                raise ShapeError(f"there is nothing to evaluate: the data gave no batch.{here()}")
            found = logs()
            callbacks.call("on_test_end", found)
        return found

    def predict(
        self,
        inputs: Any,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        callbacks: Iterable[Callback] = (),
        verbose: int | str = 0,
    ) -> Any:
        """The model's outputs for all inputs, in evaluation mode: Tensors as long as the inputs are.

        Args:
            inputs: as the ``data`` of `fit`; targets in them are left aside.
        """
        refuse_divided(inputs)
        batches = batches_of(inputs, batch_size=batch_size, inputs_only=True)
        parts: list[Any] = []
        with self._saying(verbose), self._evaluating():
            if not self.fitting:
                self.sharing = Sharing(self)
                self.batches = batches.count if steps is None else steps
            called = Callbacks(self._with_progress(callbacks), self)
            called.call("on_predict_begin")
            for number, batch in enumerate(islice(self.sharing.start_pass(batches, "a prediction"), steps)):
                called.call("on_predict_batch_begin", number)
                part, counted = self.sharing.part(batch)
                found, _ = self.sharing.together({"outputs": self(part.inputs)}, part, counted, batch)
                parts.append(found["outputs"])
                called.call("on_predict_batch_end", number, {"outputs": parts[-1]})
            called.call("on_predict_end")
        if not parts:
            raise ShapeError(f"there is nothing to predict: the data gave no batch.{here()}")
        return _joined(parts)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with no_grad():
                yield
        finally:
            put_modes(modes)

    @contextmanager
    def _saying(self, verbose: int | str) -> Iterator[None]:
        """What an evaluation says is its own affair, also within a fit."""
        before, self.verbose = self.verbose, _level(verbose)
        try:
            yield
        finally:
            self.verbose = before

    def measured(self, result: Any, batch: Batch, metrics: Iterable[Any]) -> dict[str, float]:
        """The numbers of a step's result, after the metrics have looked at its outputs."""
        values = dict(result) if isinstance(result, Mapping) else {"loss": result}
        outputs = values.pop("outputs", None)
        if outputs is not None and batch.targets is not None:
            weights = None if batch.weights is None else batch.weights.array
            for metric in metrics:
                metric.update_state(batch.targets, outputs, weights)
        return {name: number_of(name, value) for name, value in values.items()}

    # ---------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """All that a training needs to go on as if nothing had happened.

        That is the state of every module, optimizer and scheduler that the trainer has as an attribute (those of a
        subclass among them), of the random numbers, metrics and callbacks, the position and the history.
        """
        if self._fitting is None:
            raise AutogradError(f"there is no training to keep the state of: call fit first.{here()}")
        if not self.part.last:
            raise AutogradError(
                f"in the middle of an accumulated step there is no state to go on from.{here()}\n"
                "  Wait for its last batch: trainer.part.last tells."
            )
        return {
            **{name: held.state_dict() for name, held in stateful(self).items()},
            "epoch": self.epoch,
            "batch": self.batch,
            "history": self.history.state_dict(),
            **self._fitting.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a training of the same model, optimizer, data and callbacks.

        Raises:
            StateDictError, FileFormatError: the state is of another training, or none at all; nothing was changed.
        """
        if self._fitting is None:
            raise AutogradError(f"a training is resumed by fit(…, resume=path).{here()}")
        before = Snapshot(self)
        try:
            self._take_up(state)
        except BaseException as error:
            before.restore()
            if isinstance(
                error, (LookupError, TypeError, ValueError, AttributeError, OverflowError)
            ) and not isinstance(error, AutogradError):
                raise FileFormatError(f"this is no state of a training to resume: {error!r}{here()}") from error
            raise

    def _take_up(self, state: Mapping[str, Any]) -> None:
        for name in ("epoch", "batch"):
            number = state[name]
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise FileFormatError(f"the state to resume has {name} {number!r}; it is a number from 0 on.{here()}")
        for name, held in stateful(self).items():
            held.load_state_dict(state[name])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.history.load_state_dict(state["history"])
        assert self._fitting is not None
        self._fitting.load_state_dict(state)

    def save(self, path: Any) -> None:
        """Write `state_dict` to a safetensors file, whole or not at all; ``fit(…, resume=path)`` goes on from it.

        Of several processes the first writes. Where an optimizer's state is spread over them all have to call it.
        """
        self.sharing.consolidate(optimizers_of(self))
        if self.sharing.leads:
            save({"format": FORMAT, **self.state_dict()}, path)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has the model, not the data: what a running or past `fit` needed stays behind."""
        return {**vars(self), "_fitting": None, "part": WHOLE, "sharing": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.sharing = Sharing(self)

    # ---------------------------------------------------------------- small things

    def _resolved(self, metrics: Any) -> list[Any]:
        single = isinstance(metrics, str) or callable(metrics) or hasattr(metrics, "update_state")
        given = [metrics] if single else list(metrics or ())
        return _named_apart([resolve(metric, self.loss) for metric in given])

    def _with_progress(self, callbacks: Iterable[Callback] | Callback | None) -> list[Callback]:
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or ())
        if self.verbose and not any(isinstance(one, ProgressBar) for one in given):
            given.append(ProgressBar())
        return given


def _finite_loss(array: np.ndarray) -> bool:
    if not np.isfinite(array).all():
        raise NotFinite(f"the loss became {array.item() if array.size == 1 else array}")
    return True


def _finite_gradient(array: np.ndarray) -> bool:
    # A product of the whole with itself is the quickest look; where it overflows, each number is asked.
    flat = array.reshape(-1)
    if not math.isfinite(np.dot(flat, flat)) and not np.isfinite(array).all():
        raise NotFinite("a gradient is not finite")
    return True


def _settings(loss: Any) -> dict[str, Any]:
    """The options of a loss module that are plain values."""
    return {name: one for name, one in getattr(loss, "__dict__", {}).items() if isinstance(one, (int, float, str))}


def _level(verbose: int | str) -> int:
    if verbose not in ("auto", 0, 1, 2):
        raise ShapeError(f"verbose is 0, 1, 2 or 'auto', got {verbose!r}{here()}")
    return 1 if verbose == "auto" else int(verbose)


def _joined(parts: list[Any]) -> Any:
    """The outputs of all batches, in the structure of one."""
    if isinstance(parts[0], (tuple, list, Mapping)):
        return rebuilt(parts[0], [_joined(list(column)) for column in zip(*map(leaves, parts), strict=True)])
    if any(not isinstance(one, TensorCore) or not one.array.shape for one in parts):
        raise ShapeError(f"predict joins Tensors along their samples, and the model returned {parts[0]!r}{here()}")
    return wrap(np.concatenate([one.array for one in parts]))


def _named_apart(metrics: list[Any]) -> list[Any]:
    """The metrics, of which a second one of a name is called ``name_1``, as in Keras."""
    seen: dict[str, int] = {}
    for metric in metrics:
        count = seen[metric.name] = seen.get(metric.name, -1) + 1
        if count:
            metric.name = f"{metric.name}_{count}"
    return metrics


def read_checkpoint(path: Any) -> Mapping[str, Any]:
    """The state in a file that `Trainer.save` wrote."""
    state = load(path)
    if not isinstance(state, Mapping) or state.get("format") != FORMAT:
        raise FileFormatError(
            f"{path} is no checkpoint of a training, as fit(…, checkpoint=path) and Trainer.save write them.{here()}"
        )
    return state
