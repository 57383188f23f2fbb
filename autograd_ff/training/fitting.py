"""One run of a training: from the check before it to the state that it leaves."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..compiler import CompiledStep
from ..compiler import compile as compile_step
from ..distributed.collectives import gathered
from ..engine import TensorCore, get_default_dtype, here, warn, wrap
from ..errors import AutogradError, CaptureError, DtypeError, NonFiniteError, StateDictError
from ..functions.random import default_generator
from ..serialization import check_writable
from .batches import Batch, Batches
from .callback import Callback, Callbacks
from .callbacks.surroundings import announce
from .holdings import optimizers_of
from .interrupt import Interruption
from .passes import Passes
from .running import RunningLogs, RunningMeans, logs_of
from .snapshot import KeptBuffers, Snapshot, put_modes

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["INTERRUPTED", "WHOLE", "Fitting", "NotFinite", "Part"]

# Attributes of a trainer that no step depends on, or that it is told of otherwise.
OF_THE_LOOP = {
    "_fitting", "_proportions", "batch", "batches", "called", "epoch", "epochs", "has_validation", "history", "metrics", "part",
    "sharing", "stop_reason", "verbose",
}  # fmt: skip
LONG = 3.0  # seconds; what takes longer is told of
CHANGES = 16  # of the others, after which compiling anew each time is no gain
INTERRUPTED = "interrupted.safetensors"  # where a training without a checkpoint of its own is left by Ctrl-C


class Part(NamedTuple):
    """Which part of a step a batch is, where several are accumulated."""

    first: bool
    last: bool
    share: Any = None  # of the samples of the step, as a Tensor; None for all


WHOLE = Part(True, True)


class NotFinite(Exception):
    """Raised in the middle of a step, before anything is written; `Fitting` makes a `NonFiniteError` of it."""


class Fitting:
    """The loop over epochs and batches.

    What it changes for others to see (epoch, batch, history, stop_reason) stands in the trainer.
    """

    def __init__(
        self,
        trainer: Trainer,
        training: Batches,
        validation: Batches | None,
        callbacks: Callbacks,
        *,
        class_weight: Mapping[Any, float] | None,
        accumulate: int,
        steps_per_epoch: int | None,
        validation_steps: int | None,
        validation_freq: int,
        compile: bool | Mapping[str, Any],
        checkpoint: Any,
    ) -> None:
        self.trainer = trainer
        self.training = training
        self.validation = validation
        self.callbacks = callbacks
        self.sharing = trainer.sharing
        self.passes = Passes(training, self.sharing, steps_per_epoch)
        self.class_weight = class_weight
        self.accumulate = accumulate
        self.validation_steps = validation_steps
        self.validation_freq = validation_freq
        self.checkpoint = checkpoint
        self.means = RunningMeans()
        self.running = False
        self.compile: Mapping[str, Any] | None = None
        if compile:
            self.compile = {} if compile is True else compile
        # Compiled steps by (first, last, which of a batch's fields there are): calls with Tensors alone replay fastest.
        self._compiled: dict[Any, CompiledStep] = {}
        self._captured: set[Any] = set()
        self._course: dict[str, Any] | None = None  # the trainer's attributes when a step was last recorded
        self._changes = 0
        self._completed: Any = None
        self._buffers = KeptBuffers(trainer.model)

    # ---------------------------------------------------------------- the run

    def run(self, checks: bool | Collection[str]) -> None:
        trainer = self.trainer
        if self.checkpoint is not None and (failure := self.sharing.attempt(lambda: check_writable(self.checkpoint))):
            raise failure
        modes = [(module, module.training) for module in trainer.model.modules()]
        with ExitStack() as closing, Interruption() as interruption:
            closing.callback(put_modes, modes)
            closing.callback(setattr, trainer, "part", WHOLE)
            self.running = True
            closing.callback(setattr, self, "running", False)
            trainer.model.train()
            if checks and trainer.epoch < trainer.epochs:
                self._examine(checks)
            begun: list[Callback] = []
            closing.callback(self._end_callbacks, begun)
            for one in self.callbacks:
                begun.append(one)
                one.on_train_begin({})
            try:
                while trainer.epoch < trainer.epochs and trainer.stop_reason is None:
                    self._epoch(interruption)
            except NonFiniteError:
                trainer.stop_reason = "not finite"
                raise
            if trainer.stop_reason == "interrupted":
                raise self._interruption()

    def _end_callbacks(self, callbacks: list[Callback]) -> None:
        """Tell all that it is over, also where one of them fails at that."""
        logs = {name: values[-1] for name, values in self.trainer.history.items()}
        with ExitStack() as all_of_them:
            for one in reversed(callbacks):  # the stack calls the last first
                all_of_them.callback(one.on_train_end, logs)

    def _examine(self, checks: bool | Collection[str]) -> None:
        from .checks import announce, examine

        batch = self.passes.first()
        if batch is not None:
            self.sharing.synchronize(False)
            # By all processes, whose layers may communicate; the first one speaks.
            with self.sharing.alike():
                announce(examine(self.trainer, *self._weighted(batch), checks))

    def _epoch(self, interruption: Interruption) -> None:
        trainer = self.trainer
        done = trainer.batch
        trainer.model.train()
        if not done:
            self._reset()
            self.callbacks.call("on_epoch_begin", trainer.epoch, {})
        self._buffers = KeptBuffers(trainer.model)
        batches = map(self._weighted, self.passes.epoch(trainer.epoch, done))
        while group := tuple(islice(batches, self.accumulate)):
            if self._group(group, interruption):
                self._look(interruption)
                if trainer.stop_reason == "interrupted":
                    return
                break
        self._end_epoch()
        self._look(interruption)

    def _look(self, interruption: Interruption) -> None:
        """Whether the training is to stop, for all processes alike."""
        trainer = self.trainer
        if interruption.requested:
            trainer.stop_reason = "interrupted"
        if not self.sharing.alone:
            reasons = gathered(trainer.stop_reason, self.sharing.group, "whether to stop")
            trainer.stop_reason = "interrupted" if "interrupted" in reasons else next(filter(None, reasons), None)

    def _reset(self) -> None:
        self.means = RunningMeans()
        for metric in self.trainer.metrics:
            metric.reset_state()

    def _end_epoch(self) -> None:
        trainer = self.trainer
        self.sharing.buffers()
        logs = self.logs()
        if self.validation is not None and (trainer.epoch + 1) % self.validation_freq == 0:
            found = trainer._evaluate(self.validation, self.validation_steps, self.callbacks)
            logs.update({f"val_{name}": value for name, value in found.items()})
        number = trainer.epoch
        trainer.epoch, trainer.batch = number + 1, 0
        trainer.history.append(number, logs)
        self.callbacks.call("on_epoch_end", number, logs)
        if self.checkpoint is not None:
            failure = self._write(self.checkpoint)
            if failure and self.sharing.leads:  # a full disk, say; the file before is still there
                warn(f"the checkpoint {self.checkpoint} could not be written: {failure}. The training goes on.")

    def logs(self) -> dict[str, float]:
        """The means over the epoch so far."""
        return logs_of(self.means, self.trainer.metrics)

    def _write(self, path: Any) -> Exception | None:
        """Write a checkpoint; why it could not be. No process goes on, or ends, before it is written."""
        self.sharing.consolidate(optimizers_of(self.trainer))
        return self.sharing.attempt(lambda: self.trainer.save(path))

    def _interruption(self) -> KeyboardInterrupt:
        trainer = self.trainer
        path = INTERRUPTED if self.checkpoint is None else self.checkpoint
        if failure := self._write(path):
            return KeyboardInterrupt(
                f"the training stopped after epoch {trainer.epoch} and {trainer.batch} batches; its state could not be "
                f"written to {path}: {failure}.\n  trainer.save(path) writes it elsewhere."
            )
        return KeyboardInterrupt(
            f"the training stopped in epoch {trainer.epoch + 1}, after {trainer.batch} batches; its state is in {path}.\n"
            f"  The same fit(…, resume={str(path)!r}) goes on from there."
        )

    # ---------------------------------------------------------------- steps

    def _weighted(self, batch: Batch) -> Batch:
        """The batch with what its classes count."""
        if self.class_weight is None or batch.targets is None:
            return batch
        if not isinstance(batch.targets, TensorCore):
            raise DtypeError(f"class_weight needs targets in one array, got a {type(batch.targets).__name__}.{here()}")
        labels = batch.targets.array
        if labels.ndim > 1 and labels.shape[-1] > 1:
            labels = labels.argmax(-1)
        labels = labels.reshape(-1)
        counts = np.ones(len(labels), get_default_dtype())
        for label, weight in self.class_weight.items():
            counts[labels == label] = float(weight)
        if batch.weights is not None:
            counts *= batch.weights.array
        return batch._replace(weights=wrap(counts))

    def _group(self, group: tuple[Batch, ...], interruption: Interruption) -> bool:
        """One step, on one batch or on several together; whether it is to be the last, for all processes alike."""
        trainer, callbacks, sharing = self.trainer, self.callbacks, self.sharing
        self._buffers.keep()
        random = default_generator().numpy.bit_generator.state
        stopping = False
        for place, whole in enumerate(group):
            number = trainer.batch
            callbacks.call("on_train_batch_begin", number, {})
            batch, counted = sharing.part(whole)
            share = sharing.share(batch, counted, group)
            first, last = place == 0, place == len(group) - 1
            trainer.part = Part(first, last, share)  # for callbacks: a replayed step does not set it
            sharing.synchronize(last)
            try:
                # What is not finite is found below, and told with the operation that made it so.
                with np.errstate(all="ignore") if trainer.check_finite else nullcontext():
                    if self.compile is None:
                        result = self._step(first, last, *batch, share)
                    else:
                        result = self._replayed(first, last, (*batch, share), batch.size)
            except NotFinite as error:
                raise self._not_finite(whole, str(error), random) from None
            wished = interruption.requested or trainer.stop_reason is not None
            result, stopping = sharing.together(result, batch, counted, whole, wished)
            self.means.add(trainer.measured(result, whole, trainer.metrics), whole.size)
            self._completed = result = None  # frees what they hold before the next step
            trainer.batch += 1
            callbacks.call("on_train_batch_end", number, RunningLogs(self.logs))
        # What this process alone has come to wish since, the others hear of after the next step.
        return stopping if not sharing.alone else interruption.requested or trainer.stop_reason is not None

    def _step(self, first: bool, last: bool, inputs: Any, targets: Any, weights: Any, share: Any) -> Any:
        """The trainer's step; what nobody looks at is not returned."""
        trainer = self.trainer
        trainer.part = Part(first, last, share)
        trainer.called = set()
        result = trainer.train_step(inputs, targets, weights)
        self._check_use()
        if isinstance(result, Mapping):
            result = {name: value for name, value in result.items() if name != "outputs" or trainer.metrics}
        self._completed = result
        return result

    def _check_use(self) -> None:
        """What a train_step of the user's own must make use of, where `fit` was asked for what depends on it."""
        both = {"backward", "update"}
        needs = [
            ("accumulate", self.accumulate > 1, both),
            ("clip", self.trainer.clip is not None, both),
            ("training by several processes", not self.sharing.alone, {"backward"}),
        ]
        asked = [name for name, wanted, _ in needs if wanted]
        missing = {call for _, wanted, calls in needs if wanted for call in calls} - self.trainer.called
        if missing:
            raise AutogradError(
                f"{' and '.join(asked)} cannot work: {type(self.trainer).__name__}.train_step calls "
                f"{' and '.join(f'self.{name}()' for name in sorted(missing))} nowhere.{here()}\n"
                "  Let it call self.backward(loss) and self.update() where it calls loss.backward() and optimizer.step()."
            )

    def _replayed(self, first: bool, last: bool, fields: tuple[Any, ...], size: int) -> Any:
        """The step, compiled; as usual from the moment on that it cannot be."""
        changed = self._changed_attribute()
        if changed is not None:  # by a callback, say; a plan has what the trainer's attributes were
            self._compiled.clear()
            self._captured.clear()
            self._changes += 1
            if self._changes > CHANGES:
                warn(
                    f"the training goes on without compiling its step: the trainer's attribute {changed!r} was changed "
                    f"{self._changes} times.\n  A number that changes is a Tensor, written in place."
                )
                self.compile = None
                return self._step(first, last, *fields)
        there = tuple(field is not None for field in fields)
        given = [field for field in fields if field is not None]
        compiled = self._compiled.get((first, last, there))
        if compiled is None:

            def step(*given: Any) -> Any:
                rest = iter(given)
                return self._step(first, last, *(next(rest) if one else None for one in there))

            compiled = self._compiled[first, last, there] = compile_step(step, **self.compile or {})
        if (compiled, size) in self._captured:
            return compiled(*given)
        # The first calls are recorded, and a step may be refused before or after it is done.
        before = Snapshot(self.trainer)
        self._completed = None
        began = time.perf_counter()
        try:
            result = compiled(*given)
            self._course = self._attributes()
        except CaptureError as error:
            warn(f"the training goes on without compiling its step: {error}")
            self.compile = None
            if self._completed is not None:
                return self._completed
            before.restore()
            return self._step(first, last, *fields)
        if self._completed is None:  # it was replayed
            self._captured.add((compiled, size))
        elif self.trainer.verbose and (took := time.perf_counter() - began) > LONG:
            announce(f"Compiling the step took {took:.0f} s; its loops are kept on disk for the next time.")
        return result

    def _attributes(self) -> dict[str, Any]:
        """What the trainer is made of, apart from what the loop itself changes."""
        return {name: value for name, value in vars(self.trainer).items() if name not in OF_THE_LOOP}

    def _changed_attribute(self) -> str | None:
        """The name of an attribute of the trainer that is another one than when the last step was recorded."""
        now, then = self._attributes(), self._course
        if then is None:
            return None
        return next((name for name in now.keys() | then.keys() if now.get(name) is not then.get(name)), None)

    def _not_finite(self, batch: Batch, what: str, random: Any) -> NonFiniteError:
        """The error that names batch and operation; model and generator are put back to before the step."""
        from .nonfinite import explain

        trainer = self.trainer
        self.sharing.synchronize(False)
        self._buffers.restore()
        default_generator().numpy.bit_generator.state = random
        with self.sharing.alike():  # layers may communicate, so all processes look at the same
            told = explain(trainer, *batch)
        if trainer.optimizer is not None:
            trainer.optimizer.zero_grad()
        rate = "" if trainer.optimizer is None else f", with a learning rate of {trainer.learning_rate:.3g}"
        return NonFiniteError(
            f"{what} in epoch {trainer.epoch + 1}, batch {trainer.batch + 1}{rate}. Weights and optimizer are as before.\n"
            f"{told}"
        )

    # ---------------------------------------------------------------- its state

    def state_dict(self) -> dict[str, Any]:
        return {
            "position": {**self.passes.state_dict(), "batches": self.trainer.batches},
            "means": {name: list(entry) for name, entry in self.means.sums.items()},
            "metrics": [metric.state_dict() for metric in self.trainer.metrics],
            "callbacks": [[type(one).__name__, one.state_dict()] for one in self.callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        batches, kept = self.trainer.batches, state["position"]["batches"]
        if state["batch"] and batches != kept:
            raise StateDictError(
                f"the training to resume stands in an epoch of {kept} batches, and the data given have {batches}.{here()}\n"
                "  Give the same data and batch_size; other data can follow after a whole epoch."
            )
        self.passes.load_state_dict(state["position"])
        self.means.sums = {name: list(entry) for name, entry in state["means"].items()}
        if len(self.trainer.metrics) != len(state["metrics"]):
            raise StateDictError(
                f"the training to resume has {len(state['metrics'])} metrics, this one {len(self.trainer.metrics)}: "
                f"{', '.join(metric.name for metric in self.trainer.metrics) or 'none'}.{here()}"
            )
        for metric, kept in zip(self.trainer.metrics, state["metrics"], strict=True):
            metric.load_state_dict(kept)
        # Other callbacks may look on now: each takes up the next state of its own kind.
        kept_states = [*state["callbacks"]]
        for one in self.callbacks:
            own = next((entry for entry in kept_states if entry[0] == type(one).__name__), None)
            if own is not None:
                kept_states.remove(own)
                one.load_state_dict(own[1])
